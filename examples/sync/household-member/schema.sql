-- The tables that mapping.yaml and sync.yaml speak of, for SQLite and PostgreSQL.
CREATE TABLE household (
	no            varchar(20) PRIMARY KEY,
	village       text,
	area          varchar(20),
	registered_on date,
	roof          text,
	has_power     integer,
	changed_at    timestamp NOT NULL
);
CREATE TABLE member (
	no           varchar(20) PRIMARY KEY,
	household_no varchar(20) REFERENCES household,
	name         text,
	sex          char(1),
	born         date,
	relation     text,
	national_id  varchar(20),
	changed_at   timestamp NOT NULL
);
