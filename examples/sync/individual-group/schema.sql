-- A registry in the shape of openIMIS: individuals, groups, and rows that join them with a role; keys
-- are UUIDs, what a country adds lies in json_ext, rows are deleted by a mark and valid for a time.
-- Written for these examples: only what mapping.yaml needs, for PostgreSQL and SQLite.
CREATE TABLE location (id integer PRIMARY KEY, code varchar(20), name text, parent_id integer);
CREATE TABLE individual_individual (
	id            uuid PRIMARY KEY,
	first_name    text,
	last_name     text,
	dob           date,
	json_ext      json,
	location_id   integer REFERENCES location,
	is_deleted    boolean NOT NULL,
	date_created  timestamp,
	date_updated  timestamp,
	date_valid_from timestamp,
	date_valid_to timestamp
);
CREATE TABLE individual_group (
	id            uuid PRIMARY KEY,
	code          text,
	json_ext      json,
	location_id   integer REFERENCES location,
	is_deleted    boolean NOT NULL,
	date_created  timestamp,
	date_updated  timestamp,
	date_valid_to timestamp
);
CREATE TABLE individual_groupindividual (
	id             uuid PRIMARY KEY,
	group_id       uuid REFERENCES individual_group,
	individual_id  uuid REFERENCES individual_individual,
	role           text,
	recipient_type text,
	is_deleted     boolean NOT NULL,
	date_updated   timestamp
);
