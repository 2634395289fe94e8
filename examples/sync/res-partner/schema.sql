-- A registry in the shape of OpenSPP and OpenG2P: groups and individuals are rows of one table
-- (is_group), memberships have kinds, registration ids have types. Written for these examples: only
-- what mapping.yaml needs, for PostgreSQL and SQLite.
CREATE TABLE spp_area (id integer PRIMARY KEY, code varchar(20), draft_name text, parent_id integer);
CREATE TABLE res_partner (
	id                 integer PRIMARY KEY,
	name               text,
	given_name         text,
	family_name        text,
	is_registrant      boolean,
	is_group           boolean,
	active             boolean,
	birthdate          date,
	birthdate_not_exact boolean,
	gender             text,
	street             text,
	city               text,
	zip                text,
	area_id            integer REFERENCES spp_area,
	registration_date  date,
	write_date         timestamp
);
CREATE TABLE g2p_group_membership_kind (id integer PRIMARY KEY, name text);
CREATE TABLE g2p_group_membership (
	id         integer PRIMARY KEY,
	"group"    integer REFERENCES res_partner,
	individual integer REFERENCES res_partner,
	start_date timestamp,
	ended_date timestamp,
	is_ended   boolean,
	write_date timestamp
);
CREATE TABLE g2p_group_membership_kind_rel (membership_id integer REFERENCES g2p_group_membership, kind_id integer REFERENCES g2p_group_membership_kind);
CREATE TABLE g2p_id_type (id integer PRIMARY KEY, name text);
CREATE TABLE g2p_reg_id (id integer PRIMARY KEY, partner_id integer REFERENCES res_partner, id_type integer REFERENCES g2p_id_type, value text, expiry_date date, write_date timestamp);
CREATE TABLE g2p_phone_number (id integer PRIMARY KEY, partner_id integer REFERENCES res_partner, phone_no text, write_date timestamp);
