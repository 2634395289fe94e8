-- The registry. Text compares by its bytes, so every text column has COLLATE "C". Instants are
-- nanoseconds since 1970: what a ledger entry commits to comes back to the last digit.

-- Counters that move in a transaction: the policy epoch and the day of the household lines.
CREATE TABLE counters (
	name  text COLLATE "C" PRIMARY KEY,
	value bigint NOT NULL
);
INSERT INTO counters (name, value) VALUES ('policy_epoch', 1), ('lines_day', 0), ('areas', 0), ('indexes', 0), ('approvals', 0);

-- Numbers. A sequence gives them out without a lock; one that a failed change took stays unused.
CREATE SEQUENCE households_number;
CREATE SEQUENCE individuals_number;
CREATE SEQUENCE memberships_number;
CREATE SEQUENCE relationships_number;

-- Records. What an export shows stands first; the groups of a record lie apart from the rest of its
-- image, so that they are read where somebody asks for them; the columns f_* are the index of filters and
-- are added from the dictionary. f_area_code is always there: the store itself needs it. source and
-- source_key are the record's first key; digest and as_of are of what was last reported under it. Its index
-- begins with the hash, which alone tells records apart: the source is the same for millions.
CREATE TABLE households (
	number        bigint PRIMARY KEY,
	version       bigint NOT NULL,
	uid           uuid NOT NULL,
	digest        bytea NOT NULL,
	source        text COLLATE "C" NOT NULL,
	updated_at    text COLLATE "C" NOT NULL,
	received_at   text COLLATE "C" NOT NULL,
	clear         bytea,
	sealed        bytea,
	clear_groups  bytea,
	sealed_groups bytea,
	source_key    text COLLATE "C" NOT NULL,
	as_of         bigint,
	identifiers   bytea,
	f_area_code   text COLLATE "C"
);
ALTER TABLE households ALTER COLUMN sealed SET STORAGE EXTERNAL, ALTER COLUMN sealed_groups SET STORAGE EXTERNAL, ALTER COLUMN identifiers SET STORAGE EXTERNAL; -- sealed bytes do not shrink
CREATE UNIQUE INDEX households_uid ON households (uid);
CREATE UNIQUE INDEX households_source ON households (source_key, source);
CREATE INDEX households_area ON households (f_area_code);

-- The household line (household_number to area_code) is that of the primary membership.
CREATE TABLE individuals (
	number               bigint PRIMARY KEY,
	version              bigint NOT NULL,
	uid                  uuid NOT NULL,
	household_number     bigint,
	household_uid        uuid,
	digest               bytea NOT NULL,
	source               text COLLATE "C" NOT NULL,
	updated_at           text COLLATE "C" NOT NULL,
	received_at          text COLLATE "C" NOT NULL,
	role                 text COLLATE "C",
	role_source_code     text COLLATE "C",
	relationship_to_head text COLLATE "C",
	area_code            text COLLATE "C",
	clear                bytea,
	sealed               bytea,
	clear_groups         bytea,
	sealed_groups        bytea,
	source_key           text COLLATE "C" NOT NULL,
	as_of                bigint,
	identifiers          bytea
);
ALTER TABLE individuals ALTER COLUMN sealed SET STORAGE EXTERNAL, ALTER COLUMN sealed_groups SET STORAGE EXTERNAL, ALTER COLUMN identifiers SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX individuals_uid ON individuals (uid);
CREATE UNIQUE INDEX individuals_source ON individuals (source_key, source);
CREATE INDEX individuals_area ON individuals (area_code);

-- Keys that lead to a record beside its first one, with what was last reported under each.
CREATE TABLE other_keys (
	source     text COLLATE "C" NOT NULL,
	source_key text COLLATE "C" NOT NULL,
	dataset    text COLLATE "C" NOT NULL,
	number     bigint NOT NULL,
	digest     bytea NOT NULL,
	as_of      bigint,
	PRIMARY KEY (source, source_key, dataset)
);
CREATE INDEX other_keys_number ON other_keys (dataset, number, source);

-- Records that are out of sight and may come back. version is that of the delete marker, one more
-- than that of the images; before is what the record was, for whoever brings it back; area_code is
-- where a household stood.
CREATE TABLE deleted_records (
	dataset       text COLLATE "C" NOT NULL,
	number        bigint NOT NULL,
	uid           uuid NOT NULL,
	source        text COLLATE "C" NOT NULL,
	source_key    text COLLATE "C" NOT NULL,
	digest        bytea NOT NULL,
	as_of         bigint,
	received_at   text COLLATE "C" NOT NULL,
	version       bigint NOT NULL,
	clear         bytea,
	sealed        bytea,
	clear_groups  bytea,
	sealed_groups bytea,
	before        bytea,
	area_code     text COLLATE "C",
	PRIMARY KEY (dataset, number)
);
ALTER TABLE deleted_records ALTER COLUMN sealed SET STORAGE EXTERNAL, ALTER COLUMN sealed_groups SET STORAGE EXTERNAL, ALTER COLUMN before SET STORAGE EXTERNAL;
CREATE INDEX deleted_records_source ON deleted_records (source, source_key, dataset);

-- What took the place of deleted records.
CREATE TABLE successors (
	dataset   text COLLATE "C" NOT NULL,
	number    bigint NOT NULL,
	successor bigint NOT NULL,
	PRIMARY KEY (dataset, number, successor)
);

-- What records consist of that others were merged into: for each of those, and for the record itself
-- (place 0), what its own sources say, sealed under its own key.
CREATE TABLE parts (
	dataset text COLLATE "C" NOT NULL,
	record  bigint NOT NULL,
	place   bigint NOT NULL,
	number  bigint NOT NULL,
	version bigint NOT NULL,
	own     bytea NOT NULL,
	PRIMARY KEY (dataset, record, place)
);
CREATE INDEX parts_number ON parts (number, dataset);

-- Which records were merged. rights is JSON: ids of restrictions and consents.
CREATE TABLE merges (
	id        uuid PRIMARY KEY,
	dataset   text COLLATE "C" NOT NULL,
	survivor  bigint NOT NULL,
	merged    bigint NOT NULL,
	version   bigint NOT NULL,
	at        bigint NOT NULL,
	operator  text,
	client    uuid,
	reason    text,
	undone    bigint NOT NULL,
	undone_at bigint,
	rights    bytea,
	position  bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX merges_survivor ON merges (survivor, dataset);
CREATE INDEX merges_merged ON merges (merged, dataset);

-- Records that may be of one individual: numbers and codes, nothing else. score is in millionths.
CREATE TABLE candidates (
	key        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id         uuid NOT NULL UNIQUE,
	dataset    text COLLATE "C" NOT NULL,
	a          bigint NOT NULL,
	b          bigint NOT NULL,
	origin     text NOT NULL,
	engine     text,
	score      bigint NOT NULL,
	evidence   text,
	state      text COLLATE "C" NOT NULL,
	at         bigint NOT NULL,
	operator   text,
	client     uuid,
	reason     text,
	decided_at bigint,
	merge      uuid,
	UNIQUE (dataset, a, b)
);
CREATE INDEX candidates_b ON candidates (b, dataset);
CREATE INDEX candidates_state ON candidates (state, key);

-- Memberships lie with their household, its head first (rank 0), in order of number. source is NULL
-- where it is that of the individual's first key; decided: see annona.Membership.
CREATE TABLE memberships (
	household            bigint NOT NULL,
	rank                 bigint NOT NULL,
	number               bigint NOT NULL,
	individual           bigint NOT NULL,
	uid                  uuid NOT NULL,
	is_primary           boolean NOT NULL,
	role                 text COLLATE "C",
	role_source_code     text COLLATE "C",
	relationship_to_head text COLLATE "C",
	recipient_type       text COLLATE "C",
	start_date           text COLLATE "C",
	end_date             text COLLATE "C",
	source               text COLLATE "C",
	decided              boolean NOT NULL,
	ahead                boolean NOT NULL,
	PRIMARY KEY (household, rank, number)
);
CREATE INDEX memberships_individual ON memberships (individual, number);
CREATE INDEX memberships_start ON memberships (start_date) WHERE ahead;
CREATE INDEX memberships_end ON memberships (end_date) WHERE ahead;

-- to_number is NULL until the other individual arrives, and while it is deleted.
CREATE TABLE relationships (
	from_number bigint NOT NULL,
	number      bigint NOT NULL,
	uid         uuid NOT NULL,
	to_number   bigint,
	to_key      text COLLATE "C" NOT NULL,
	source      text COLLATE "C" NOT NULL,
	type        text COLLATE "C",
	start_date  text COLLATE "C",
	end_date    text COLLATE "C",
	end_reason  text COLLATE "C",
	PRIMARY KEY (from_number, number)
);
CREATE INDEX relationships_to ON relationships (to_number) WHERE to_number IS NOT NULL;
CREATE INDEX relationships_unresolved ON relationships (source, to_key) WHERE to_number IS NULL;

-- Where identifiers lead: a place, see identifierPlace, and a number that may hold one there. What a record holds
-- stands in its row: whoever follows an entry compares. Whoever writes entries of a holder has locked its row.
CREATE TABLE identifier_index (
	place  bigint NOT NULL,
	number bigint NOT NULL
);
CREATE INDEX identifier_index_place ON identifier_index (place);

-- How the indexes of hashes stand: kept, of which version of their key, and how far they are made anew.
CREATE TABLE indexes (
	kind       text COLLATE "C" PRIMARY KEY,
	kept       boolean NOT NULL,
	version    bigint NOT NULL,
	whole      boolean NOT NULL,
	dataset    text COLLATE "C",
	after      bigint NOT NULL,
	started_at bigint
);
INSERT INTO indexes (kind, kept, version, whole, after) VALUES ('index', true, 0, true, 0), ('name-search', false, 0, true, 0);

-- Fails a transaction, which then runs again, when the indexes are not as it believes; from then on
-- they stay so until it ends.
CREATE FUNCTION expect_indexes(lock bigint, moves bigint) RETURNS void LANGUAGE plpgsql SET search_path = annona, pg_temp AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(lock);
	IF (SELECT value FROM counters WHERE name = 'indexes') <> moves THEN
		RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'the indexes have moved';
	END IF;
END $$;

-- Fails a transaction that would write the next version of something whose version is another one.
CREATE FUNCTION expect_written(count bigint) RETURNS void LANGUAGE plpgsql SET search_path = annona, pg_temp AS $$
BEGIN
	IF count <> 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = 'another version is on file';
	END IF;
END $$;

-- Tokens of names, while they are kept, and whose are to be made anew.
CREATE TABLE name_index (
	token  bigint NOT NULL,
	number bigint NOT NULL,
	PRIMARY KEY (token, number)
);
CREATE INDEX name_index_number ON name_index (number);

CREATE TABLE name_waiting (number bigint PRIMARY KEY);

CREATE TABLE areas (
	code        text COLLATE "C" PRIMARY KEY,
	parent      text COLLATE "C",
	level       bigint NOT NULL,
	names       text COLLATE "C" NOT NULL,
	valid_from  text COLLATE "C",
	valid_to    text COLLATE "C",
	replaced_by text COLLATE "C"
);

-- From an area to those directly inside it (inside), and to those that replaced it.
CREATE TABLE area_links (
	origin text COLLATE "C" NOT NULL,
	code   text COLLATE "C" NOT NULL,
	inside boolean NOT NULL,
	PRIMARY KEY (origin, code, inside)
);
CREATE INDEX area_links_code ON area_links (code);

-- The households that stood in an area, or inside it, when it was closed.
CREATE TABLE former_areas (
	area      text COLLATE "C" NOT NULL,
	household bigint NOT NULL,
	PRIMARY KEY (area, household)
);
CREATE INDEX former_areas_household ON former_areas (household);

-- What the codes of sources mean, and those that nothing leads on from: the code behind an equals
-- sign, or * for all that did not look like codes.
CREATE TABLE crosswalks (
	source     text COLLATE "C" NOT NULL,
	list       text COLLATE "C" NOT NULL,
	version    bigint NOT NULL,
	body       text COLLATE "C" NOT NULL,
	applied_at bigint NOT NULL,
	PRIMARY KEY (source, list, version)
);

-- Export specifications, as JSON. A version never changes but for being dropped.
CREATE TABLE export_specs (
	name      text COLLATE "C" NOT NULL,
	version   bigint NOT NULL,
	agreement text COLLATE "C" NOT NULL,
	body      text COLLATE "C" NOT NULL,
	put_at    bigint NOT NULL,
	dropped   boolean NOT NULL,
	PRIMARY KEY (name, version)
);

-- Export jobs. body is the order as JSON; worker and lease_until say who has it, turn when it was lent.
-- Which records are in it, and in each of its parts, lies sealed.
CREATE TABLE export_jobs (
	key         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id          uuid NOT NULL UNIQUE,
	agreement   text COLLATE "C" NOT NULL,
	client      uuid NOT NULL,
	request_key bytea,
	body        text COLLATE "C" NOT NULL,
	state       text COLLATE "C" NOT NULL,
	code        text COLLATE "C",
	epoch       bigint NOT NULL,
	attempts    bigint NOT NULL,
	worker      uuid,
	lease_until bigint,
	not_before  bigint,
	turn        bigint NOT NULL,
	plan        bytea,
	total       bigint NOT NULL,
	part_count  bigint NOT NULL,
	row_count   bigint NOT NULL,
	byte_count  bigint NOT NULL,
	started_at  bigint,
	ended_at    bigint,
	expires_at  bigint,
	manifest    text COLLATE "C",
	memory      bytea,
	reached     bytea,
	swept       boolean NOT NULL,
	UNIQUE (client, request_key)
);
CREATE INDEX export_jobs_state ON export_jobs (state, agreement);
CREATE INDEX export_jobs_agreement ON export_jobs (agreement, turn);
CREATE INDEX export_jobs_memory ON export_jobs (memory) WHERE reached IS NOT NULL;

CREATE TABLE export_parts (
	job      uuid NOT NULL,
	number   bigint NOT NULL,
	body     text COLLATE "C" NOT NULL,
	subjects bytea,
	PRIMARY KEY (job, number)
);

-- What programs have decided about people and households. reference is a keyed hash; body is JSON of codes, days and numbers.
CREATE TABLE decisions (
	key       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id        uuid NOT NULL,
	agreement text COLLATE "C" NOT NULL,
	client    uuid NOT NULL,
	reference text COLLATE "C" NOT NULL,
	dataset   text COLLATE "C" NOT NULL,
	subject   bigint NOT NULL,
	digest    bytea NOT NULL,
	at        bigint NOT NULL,
	body      bytea NOT NULL,
	UNIQUE (agreement, reference)
);
CREATE INDEX decisions_subject ON decisions (subject, dataset);
CREATE INDEX decisions_agreement ON decisions (agreement, dataset, key);

-- Programs. A version never changes; body is JSON.
CREATE TABLE programs (
	code    text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	body    text COLLATE "C" NOT NULL,
	PRIMARY KEY (code, version)
);

-- Matters: what programs and case workers keep about people, each dataset with numbers of its own. subject
-- is whom it is about, NULL while that is nobody on file; worker and source_key are keyed hashes. What
-- moves often stands in no index, so that most updates write none.
CREATE SEQUENCE enrollments_number;
CREATE SEQUENCE benefits_number;
CREATE SEQUENCE cases_number;
CREATE SEQUENCE case_notes_number;
CREATE SEQUENCE case_attachments_number;
CREATE SEQUENCE transitions_number;
CREATE TABLE matters (
	dataset         text COLLATE "C" NOT NULL,
	number          bigint NOT NULL,
	uid             uuid NOT NULL,
	version         bigint NOT NULL,
	subject_dataset text COLLATE "C",
	subject         bigint,
	parent_dataset  text COLLATE "C",
	parent          bigint,
	program         text COLLATE "C",
	owner           text COLLATE "C",
	worker          text COLLATE "C",
	state           text COLLATE "C",
	confidentiality text COLLATE "C",
	due             text COLLATE "C",
	source          text COLLATE "C",
	source_key      text COLLATE "C",
	clear           bytea,
	clear_groups    bytea,
	sealed          bytea,
	sealed_groups   bytea,
	registered_at   text COLLATE "C" NOT NULL,
	updated_at      text COLLATE "C" NOT NULL,
	PRIMARY KEY (dataset, number)
) WITH (fillfactor = 80);
ALTER TABLE matters ALTER COLUMN sealed SET STORAGE EXTERNAL, ALTER COLUMN sealed_groups SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX matters_uid ON matters (uid);
CREATE UNIQUE INDEX matters_source ON matters (source_key, source, dataset) WHERE source_key IS NOT NULL;
CREATE INDEX matters_subject ON matters (subject, subject_dataset, dataset) WHERE subject IS NOT NULL;
CREATE INDEX matters_parent ON matters (parent, parent_dataset, dataset) WHERE parent IS NOT NULL;
CREATE INDEX matters_owner ON matters (owner, dataset, number) WHERE owner IS NOT NULL;
CREATE INDEX matters_program ON matters (program, dataset, number) WHERE program IS NOT NULL;

-- What a transition lets a partner see of a matter that another one owns; until is the last day, consent the purpose of a
-- consent of whom the matter is about, without which it ends.
CREATE TABLE matter_shares (
	dataset    text COLLATE "C" NOT NULL,
	number     bigint NOT NULL,
	partner    text COLLATE "C" NOT NULL,
	transition uuid NOT NULL,
	until      text COLLATE "C",
	consent    text COLLATE "C",
	fields     text COLLATE "C",
	edit       boolean NOT NULL,
	PRIMARY KEY (dataset, number, partner, transition)
);
CREATE INDEX matter_shares_partner ON matter_shares (partner, dataset, number);

-- What attachments of cases contain, sealed part by part. attachment is the number of a matter of case_attachments.
CREATE TABLE attachment_parts (
	attachment bigint NOT NULL,
	part       bigint NOT NULL,
	sealed     bytea NOT NULL,
	PRIMARY KEY (attachment, part)
);
ALTER TABLE attachment_parts ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- Mappings for loads over a wire. A version never changes but for being dropped.
CREATE TABLE mappings (
	name    text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	source  text COLLATE "C" NOT NULL,
	body    text COLLATE "C" NOT NULL,
	put_at  bigint NOT NULL,
	dropped boolean NOT NULL,
	PRIMARY KEY (name, version)
);

CREATE TABLE unmapped_codes (
	source   text COLLATE "C" NOT NULL,
	field    text COLLATE "C" NOT NULL,
	code     text COLLATE "C" NOT NULL,
	times    bigint NOT NULL,
	loads    bigint NOT NULL,
	first_at bigint NOT NULL,
	last_at  bigint NOT NULL,
	PRIMARY KEY (source, field, code)
);

-- Fails a transaction, which then runs again, when the areas are not those that it has read; from
-- then on they stay so until it ends.
CREATE FUNCTION expect_areas(lock bigint, version bigint) RETURNS void LANGUAGE plpgsql SET search_path = annona, pg_temp AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(lock);
	IF (SELECT value FROM counters WHERE name = 'areas') <> version THEN
		RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'the areas have moved';
	END IF;
END $$;

CREATE TABLE reorganizations (
	id          uuid PRIMARY KEY,
	effective   text COLLATE "C" NOT NULL,
	body        text COLLATE "C" NOT NULL,
	recorded_at bigint NOT NULL,
	applied_at  bigint
);

-- Lists of purposes and recipients have the unit separator before, between and behind.
CREATE TABLE restrictions (
	id             uuid PRIMARY KEY,
	position       bigint GENERATED ALWAYS AS IDENTITY,
	subject        bigint NOT NULL,
	kind           text COLLATE "C" NOT NULL,
	purposes       text COLLATE "C",
	recipients     text COLLATE "C",
	ground         text COLLATE "C",
	effective_date text COLLATE "C",
	expiry_date    text COLLATE "C",
	lifted_at      bigint,
	recorded_at    bigint
);
CREATE INDEX restrictions_subject ON restrictions (subject);

CREATE TABLE consents (
	id             uuid PRIMARY KEY,
	position       bigint GENERATED ALWAYS AS IDENTITY,
	subject        bigint NOT NULL,
	purposes       text COLLATE "C",
	recipients     text COLLATE "C",
	status         text COLLATE "C" NOT NULL,
	notice_version text COLLATE "C",
	medium         text COLLATE "C",
	signed_date    text COLLATE "C",
	effective_date text COLLATE "C",
	expiry_date    text COLLATE "C",
	withdrawn_at   bigint,
	recorded_at    bigint
);
CREATE INDEX consents_subject ON consents (subject);

CREATE TABLE erasure_refusals (
	id         uuid PRIMARY KEY,
	position   bigint GENERATED ALWAYS AS IDENTITY,
	subject    bigint NOT NULL,
	reason     text COLLATE "C" NOT NULL,
	refused_at bigint NOT NULL,
	lifted_at  bigint
);
CREATE INDEX erasure_refusals_subject ON erasure_refusals (subject);

-- Tombstones: what stays of records that were erased. complete_at is known once the key is shredded.
CREATE TABLE tombstones (
	id          uuid PRIMARY KEY,
	position    bigint GENERATED ALWAYS AS IDENTITY,
	dataset     text COLLATE "C" NOT NULL,
	source      text COLLATE "C" NOT NULL,
	source_key  text COLLATE "C" NOT NULL,
	number      bigint NOT NULL,
	reason      text COLLATE "C" NOT NULL,
	erased_at   bigint NOT NULL,
	expires_at  bigint NOT NULL,
	shredded_at bigint,
	complete_at bigint
);
CREATE INDEX tombstones_key ON tombstones (source, source_key, dataset);

CREATE TABLE agreements (
	name    text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	body    text COLLATE "C" NOT NULL,
	at      bigint NOT NULL,
	PRIMARY KEY (name, version)
);

CREATE TABLE policies (
	version bigint PRIMARY KEY,
	body    text COLLATE "C" NOT NULL
);

CREATE TABLE approvals (
	id       uuid PRIMARY KEY,
	kind     text COLLATE "C" NOT NULL,
	state    text COLLATE "C" NOT NULL,
	asked_at bigint NOT NULL,
	body     bytea NOT NULL
);
CREATE INDEX approvals_asked ON approvals (asked_at);

-- Emergencies, and who was seen in each. A person has one that is not reviewed.
CREATE TABLE break_glass (
	id        uuid PRIMARY KEY,
	person    uuid NOT NULL,
	opened_at bigint NOT NULL,
	reviewed  boolean NOT NULL,
	body      bytea NOT NULL
);
CREATE UNIQUE INDEX break_glass_person ON break_glass (person) WHERE NOT reviewed;
CREATE INDEX break_glass_opened ON break_glass (opened_at);

CREATE TABLE break_glass_seen (
	break_glass uuid NOT NULL,
	dataset     text COLLATE "C" NOT NULL,
	number      bigint NOT NULL,
	PRIMARY KEY (break_glass, dataset, number)
);

-- When a client last used what it is granted. A row without a field is of the verb itself.
CREATE TABLE uses (
	client  uuid NOT NULL,
	verb    text COLLATE "C" NOT NULL,
	purpose text COLLATE "C" NOT NULL,
	dataset text COLLATE "C" NOT NULL,
	field   text COLLATE "C" NOT NULL,
	used_at bigint NOT NULL,
	PRIMARY KEY (client, verb, purpose, dataset, field)
);

-- How much clients did on each of the last days: requests from a network, in an hour, and rows.
CREATE TABLE habits (
	client uuid NOT NULL,
	day    text COLLATE "C" NOT NULL,
	kind   text COLLATE "C" NOT NULL,
	value  text COLLATE "C" NOT NULL,
	count  bigint NOT NULL,
	PRIMARY KEY (client, day, kind, value)
);

CREATE TABLE clients (
	id         uuid PRIMARY KEY,
	position   bigint GENERATED ALWAYS AS IDENTITY,
	key_id     text COLLATE "C" NOT NULL UNIQUE,
	hash       bytea NOT NULL,
	agreement  text COLLATE "C" NOT NULL,
	label      text COLLATE "C",
	demo       boolean NOT NULL,
	networks   text COLLATE "C",
	created_at bigint,
	expires_at bigint,
	revoked_at bigint,
	method     text COLLATE "C",
	keys       bytea,
	subject    text COLLATE "C",
	role       text COLLATE "C",
	redirects  text COLLATE "C"
);

-- Access tokens by their keyed hash, and what may be shown once. Proofs of DPoP are many: after a
-- crash PostgreSQL empties what is unlogged, and with it the epoch without which no older proof is
-- taken.
CREATE TABLE tokens (
	hash        bytea PRIMARY KEY,
	client      uuid NOT NULL,
	key         bytea,
	certificate bytea,
	purpose     text COLLATE "C",
	datasets    text COLLATE "C",
	person      uuid,
	assurance   bigint NOT NULL,
	signed_in   bigint,
	delegation  uuid,
	issued_at   bigint NOT NULL,
	expires_at  bigint NOT NULL,
	revoked_at  bigint
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX tokens_expiry ON tokens (expires_at);
CREATE INDEX tokens_person ON tokens (person) WHERE person IS NOT NULL;
CREATE INDEX tokens_delegation ON tokens (delegation) WHERE delegation IS NOT NULL;

-- Issuers of access tokens that others run, and whose tokens of theirs are over: those of a person or of
-- a sign-in that were issued at a moment or before.
CREATE TABLE identity_providers (
	name       text COLLATE "C" PRIMARY KEY,
	issuer     text COLLATE "C" NOT NULL,
	version    bigint NOT NULL,
	body       text COLLATE "C" NOT NULL,
	put_at     bigint NOT NULL,
	removed_at bigint
);
CREATE UNIQUE INDEX identity_providers_issuer ON identity_providers (issuer) WHERE removed_at IS NULL;
CREATE TABLE outside_ends (
	id    uuid PRIMARY KEY,
	until bigint NOT NULL,
	kept  bigint NOT NULL
);

-- Which clients act for which people. hash is of what the client shows next, code of the code that was
-- shown once.
CREATE TABLE delegations (
	id        uuid PRIMARY KEY,
	client    uuid NOT NULL,
	stage     text COLLATE "C" NOT NULL,
	hash      bytea NOT NULL UNIQUE,
	code      bytea UNIQUE,
	request   bytea,
	purpose   text COLLATE "C",
	datasets  text COLLATE "C",
	person    uuid,
	assurance bigint NOT NULL,
	signed_in bigint,
	began_at  bigint NOT NULL,
	until     bigint NOT NULL,
	ended_at  bigint
);
CREATE INDEX delegations_person ON delegations (person);
CREATE INDEX delegations_until ON delegations (until);
CREATE TABLE assertion_claims (
	client uuid NOT NULL,
	hash   bytea NOT NULL,
	until  bigint NOT NULL,
	PRIMARY KEY (client, hash)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE UNLOGGED TABLE proof_claims (
	client uuid NOT NULL,
	hash   bytea NOT NULL,
	until  bigint NOT NULL,
	PRIMARY KEY (client, hash)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE UNLOGGED TABLE proof_epoch (
	one   boolean PRIMARY KEY,
	epoch uuid NOT NULL
);

-- How often was asked. A bucket is full from full_at on; drawn is what was drawn last. After a crash all are full.
CREATE UNLOGGED TABLE buckets (
	name    text COLLATE "C" PRIMARY KEY,
	full_at bigint NOT NULL,
	drawn   bigint NOT NULL
) WITH (fillfactor = 50);

-- What was drawn of what is to last, likewise.
CREATE TABLE quotas (
	name    text COLLATE "C" PRIMARY KEY,
	full_at bigint NOT NULL,
	drawn   bigint NOT NULL
);

-- Those who sign in, what they have registered (sealed), where they are signed in, and what was tried.
CREATE TABLE users (
	id            uuid PRIMARY KEY,
	name          text COLLATE "C" NOT NULL UNIQUE,
	display       text COLLATE "C",
	partner       text COLLATE "C",
	roles         text COLLATE "C",
	status        text COLLATE "C" NOT NULL,
	version       bigint NOT NULL,
	invitation    bytea UNIQUE,
	invited_until bigint,
	created_at    bigint NOT NULL,
	provider      text COLLATE "C",
	granted_at    bigint,
	made_by       text COLLATE "C",
	ended_at      bigint,
	roles_until   text COLLATE "C"
);
CREATE TABLE factors (
	id         uuid PRIMARY KEY,
	person     uuid NOT NULL,
	kind       text COLLATE "C" NOT NULL,
	label      text COLLATE "C",
	sealed     bytea NOT NULL,
	counter    bigint NOT NULL,
	created_at bigint NOT NULL,
	used_at    bigint
);
CREATE INDEX factors_user ON factors (person);
CREATE TABLE sessions (
	hash         bytea PRIMARY KEY,
	person       uuid NOT NULL,
	user_version bigint NOT NULL,
	assurance    bigint NOT NULL,
	device       bytea,
	label        text COLLATE "C",
	created_at   bigint NOT NULL,
	proved_at    bigint NOT NULL,
	seen_at      bigint NOT NULL
);
CREATE INDEX sessions_user ON sessions (person);
CREATE TABLE attempts (
	lane   bytea PRIMARY KEY,
	failed bigint NOT NULL,
	at     bigint NOT NULL
);

CREATE TABLE extensions (
	position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	body     text COLLATE "C" NOT NULL
);

-- Changes. A writer inserts an event while it holds the lock of the record, and its number
-- into the queue; the sequencer moves committed numbers from the queue into the log. Only the
-- log has an order. event ascends among the changes of one record and means nothing else. A row of the
-- queue is a run of numbers, from event to last: a load has a thousand in one.
CREATE TABLE events (
	event   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id      uuid NOT NULL,
	at      bigint NOT NULL,
	actor   text COLLATE "C",
	client  uuid,
	purpose text COLLATE "C",
	dataset text COLLATE "C" NOT NULL,
	record  bigint NOT NULL,
	version bigint NOT NULL,
	kind    text COLLATE "C" NOT NULL,
	reason  text COLLATE "C",
	load    bigint,
	before  bytea
);
CREATE INDEX events_load ON events (load, event) WHERE load IS NOT NULL;
ALTER TABLE events ALTER COLUMN before SET STORAGE EXTERNAL;
CREATE INDEX events_before ON events (record, dataset) WHERE before IS NOT NULL; -- erasure empties them
CREATE INDEX events_matters ON events (record, dataset, event) WHERE dataset NOT IN ('individuals', 'households');
CREATE TABLE event_queue (event bigint PRIMARY KEY, last bigint NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE TABLE log (
	seq   bigint PRIMARY KEY,
	event bigint NOT NULL
);

-- Runs of imports. report is JSON: counts and codes. confirmed are numbers of records that were found
-- unchanged, as bitmaps.
CREATE TABLE loads (
	key         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id          uuid NOT NULL UNIQUE,
	source      text COLLATE "C" NOT NULL,
	mode        text COLLATE "C" NOT NULL,
	operator    text COLLATE "C",
	client      uuid,
	reason      text COLLATE "C",
	as_of       bigint,
	started_at  bigint,
	finished_at bigint,
	state       text COLLATE "C" NOT NULL,
	undoes      uuid,
	report      bytea,
	confirmed   bytea
);

-- What rows of sources became, in blocks: keyed digests and numbers, see exchange/rows.go. The records of a
-- block lie between the numbers; a block goes when one of them is erased.
CREATE TABLE row_blocks (
	id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source           text COLLATE "C" NOT NULL,
	first_household  bigint NOT NULL,
	last_household   bigint NOT NULL,
	first_individual bigint NOT NULL,
	last_individual  bigint NOT NULL,
	rows             bytea NOT NULL
);
CREATE INDEX row_blocks_source ON row_blocks (source, id);
ALTER TABLE row_blocks ALTER COLUMN rows SET STORAGE EXTERNAL;

-- The ledger. Entries are written as they come; the sequencer gives them their leaves in the
-- tree. What they say lies apart, sealed, so that it can be deleted. A field list lies in clear
-- under its hash. node is the lock that the node which released holds as long as it runs.
CREATE TABLE ledger (
	entry   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id      uuid NOT NULL,
	at      bigint,
	kind    text COLLATE "C" NOT NULL,
	leaf    bytea NOT NULL,
	hash    bytea NOT NULL,
	request uuid NOT NULL,
	node    bigint
);
CREATE INDEX ledger_releases ON ledger (request) WHERE kind = 'release';
CREATE INDEX ledger_outcomes ON ledger (request) WHERE kind = 'outcome';

-- All parts of an entry in one piece, sealed.
CREATE TABLE ledger_content (
	entry bigint PRIMARY KEY,
	parts bytea NOT NULL
);
ALTER TABLE ledger_content ALTER COLUMN parts SET STORAGE EXTERNAL; -- sealed bytes do not shrink

-- Where sets of subjects are found: reach is the least k with max - min < 2^k.
CREATE TABLE ledger_subjects (
	noun  text COLLATE "C" NOT NULL,
	reach bigint NOT NULL,
	min   bigint NOT NULL,
	max   bigint NOT NULL,
	entry bigint NOT NULL
);
CREATE INDEX ledger_subjects_numbers ON ledger_subjects (noun, reach, min, max, entry);

CREATE TABLE ledger_fields (
	hash    bytea PRIMARY KEY,
	content bytea NOT NULL
);

CREATE TABLE ledger_queue (entry bigint PRIMARY KEY) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE TABLE ledger_leaves (
	idx   bigint PRIMARY KEY,
	entry bigint NOT NULL
);
CREATE UNIQUE INDEX ledger_leaves_entry ON ledger_leaves (entry);
-- The nodes of the tree in the order in which they come to be (annona.TreeNode.Place).
CREATE TABLE ledger_nodes (
	place bigint PRIMARY KEY,
	hash  bytea NOT NULL
);

CREATE TABLE ledger_checkpoints (
	size bigint PRIMARY KEY,
	root bytea NOT NULL,
	at   bigint NOT NULL,
	note text COLLATE "C" NOT NULL
);

-- The wrapped keys of the vault, in a schema of their own: class secrets and generations, then the
-- keys of subjects. A block holds those of consecutive subjects of one noun, sealed together by one
-- generation. Vacuum comes soon: it removes what a rewritten block was before.
CREATE TABLE annona_keys.secrets (
	label   text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	at      bigint NOT NULL,
	wrapped bytea NOT NULL,
	PRIMARY KEY (label, version)
);
CREATE TABLE annona_keys.subject_keys (
	noun       text COLLATE "C" NOT NULL,
	block      bigint NOT NULL,
	generation bigint NOT NULL,
	wrapped    bytea NOT NULL,
	PRIMARY KEY (noun, block)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50);
ALTER TABLE annona_keys.subject_keys ALTER COLUMN wrapped SET STORAGE EXTERNAL;
CREATE INDEX subject_keys_generation ON annona_keys.subject_keys (generation, noun, block);

-- Readers of the log. What each follower was shown of a record is a tag of 8 bytes; the first
-- views lie packed in ranges of numbers, later ones as rows.
CREATE TABLE log_epoch (epoch uuid NOT NULL);
INSERT INTO log_epoch (epoch) VALUES (gen_random_uuid());

CREATE TABLE followers (
	key        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id         uuid NOT NULL UNIQUE,
	generation bigint NOT NULL,
	used_at    bigint NOT NULL
);

CREATE TABLE follower_ranges (
	follower   bigint NOT NULL,
	first      bigint NOT NULL,
	last       bigint NOT NULL,
	generation bigint NOT NULL,
	views      bytea NOT NULL,
	PRIMARY KEY (follower, first)
);
ALTER TABLE follower_ranges ALTER COLUMN views SET STORAGE EXTERNAL; -- tags do not shrink

CREATE TABLE follower_views (
	follower   bigint NOT NULL,
	number     bigint NOT NULL,
	generation bigint NOT NULL,
	seq        bigint NOT NULL,
	tag        bigint NOT NULL,
	PRIMARY KEY (follower, number, generation)
);
CREATE INDEX follower_views_generation ON follower_views (follower, generation);

-- The ids of erased and deleted records stay as long as the log, to tell those who have followed them.
CREATE TABLE departed (
	dataset text COLLATE "C" NOT NULL,
	number  bigint NOT NULL,
	uid     uuid NOT NULL,
	seq     bigint NOT NULL,
	PRIMARY KEY (dataset, number)
);
CREATE FUNCTION depart() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO annona.departed (dataset, number, uid, seq)
		VALUES (TG_TABLE_NAME, old.number, old.uid, (SELECT coalesce(max(seq), 0) FROM annona.log)) ON CONFLICT DO NOTHING;
	RETURN old;
END $$;
CREATE TRIGGER households_depart AFTER DELETE ON households FOR EACH ROW EXECUTE FUNCTION depart();
CREATE TRIGGER individuals_depart AFTER DELETE ON individuals FOR EACH ROW EXECUTE FUNCTION depart();

-- Requests of writing, by a keyed hash of client, route and key. Until is when the key is free again.
CREATE TABLE requests (
	id      uuid PRIMARY KEY,
	digest  bytea NOT NULL,
	at      bigint NOT NULL,
	until   bigint NOT NULL,
	status  bigint NOT NULL,
	noun    text COLLATE "C",
	record  uuid,
	version bigint NOT NULL
);
CREATE INDEX requests_until ON requests (until);

-- What was asked of records and is not done, or was decided. sealed is sealed under the subject's key.
CREATE TABLE change_requests (
	key       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id        uuid NOT NULL UNIQUE,
	type      text COLLATE "C" NOT NULL,
	conflict  boolean NOT NULL,
	dataset   text COLLATE "C" NOT NULL,
	subject   bigint NOT NULL,
	state     text COLLATE "C" NOT NULL,
	source    text COLLATE "C",
	agreement text COLLATE "C" NOT NULL,
	client    uuid NOT NULL,
	person    uuid,
	purpose   text COLLATE "C",
	version   bigint NOT NULL,
	sealed    bytea,
	at        bigint NOT NULL,
	until     bigint,
	decided_at bigint,
	operator  text COLLATE "C",
	decider   uuid,
	reason    text COLLATE "C",
	load      uuid
);
CREATE INDEX change_requests_subject ON change_requests (subject, dataset);
CREATE INDEX change_requests_state ON change_requests (state, key);
CREATE INDEX change_requests_agreement ON change_requests (agreement, key);

-- Sources that are synchronized. The holder is the process that has one; body is its own JSON.
CREATE TABLE syncs (
	source     text COLLATE "C" PRIMARY KEY,
	holder     uuid,
	held_until bigint,
	body       text COLLATE "C"
);

-- The serving role cannot delete events. It can have the beginning of the log removed, up to a
-- day ago, never the last event. Returns how many events went: at most so many.
CREATE FUNCTION prune_events(before bigint, most bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = annona, pg_temp AS $$
DECLARE
	until bigint;
	gone  bigint;
BEGIN
	before := least(before, (extract(epoch FROM now() - interval '1 day') * 1e9)::bigint);
	WITH first AS MATERIALIZED (SELECT l.seq, e.at FROM log l JOIN events e ON e.event = l.event ORDER BY l.seq LIMIT most)
		SELECT least((SELECT min(seq) FROM first WHERE at >= before), (SELECT min(seq) + most FROM first), (SELECT max(seq) FROM log)) INTO until;
	WITH pruned AS (DELETE FROM log WHERE seq < until RETURNING event)
		DELETE FROM events WHERE event IN (SELECT event FROM pruned);
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN gone;
END $$;
REVOKE ALL ON FUNCTION prune_events FROM PUBLIC;
