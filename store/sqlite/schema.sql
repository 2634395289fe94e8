-- Counters: the last number given out of each kind, and the policy epoch.
CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES
	('households', 0), ('individuals', 0), ('memberships', 0), ('relationships', 0),
	('enrollments', 0), ('benefits', 0), ('cases', 0), ('case_notes', 0), ('case_attachments', 0), ('transitions', 0),
	('policy_epoch', 1), ('lines_day', 0), ('areas', 0), ('indexes', 0);

-- Records. What an export shows stands first; the groups of a record lie apart from the rest of its
-- image, so that they are read where somebody asks for them; the columns f_* are the index of filters and
-- are added from the dictionary. f_area_code is always there: the store itself needs it. source and
-- source_key are the record's first key; digest and as_of are of what was last reported under it.
-- identifiers are the blind indexes of a record, one behind the other, see identifiers.go.
CREATE TABLE households (
	number        INTEGER PRIMARY KEY,
	uid           BLOB NOT NULL,
	source        TEXT NOT NULL,
	updated_at    TEXT NOT NULL,
	received_at   TEXT NOT NULL,
	version       INTEGER NOT NULL,
	clear         BLOB,
	sealed        BLOB,
	clear_groups  BLOB,
	sealed_groups BLOB,
	source_key    TEXT NOT NULL,
	digest        BLOB NOT NULL,
	as_of         INTEGER,
	identifiers   BLOB,
	f_area_code   TEXT
) STRICT;
CREATE UNIQUE INDEX households_uid ON households (uid);
CREATE INDEX households_area ON households (f_area_code);

-- The household line (household_number to area_code) is that of the primary membership.
CREATE TABLE individuals (
	number               INTEGER PRIMARY KEY,
	uid                  BLOB NOT NULL,
	household_number     INTEGER,
	household_uid        BLOB,
	role                 TEXT,
	role_source_code     TEXT,
	relationship_to_head TEXT,
	area_code            TEXT,
	source               TEXT NOT NULL,
	updated_at           TEXT NOT NULL,
	received_at          TEXT NOT NULL,
	version              INTEGER NOT NULL,
	clear                BLOB,
	sealed               BLOB,
	clear_groups         BLOB,
	sealed_groups        BLOB,
	source_key           TEXT NOT NULL,
	digest               BLOB NOT NULL,
	as_of                INTEGER,
	identifiers          BLOB
) STRICT;
CREATE UNIQUE INDEX individuals_uid ON individuals (uid);
CREATE INDEX individuals_area ON individuals (area_code);

-- Keys that lead to a record beside its first one, with what was last reported under each.
CREATE TABLE other_keys (
	source     TEXT NOT NULL,
	source_key TEXT NOT NULL,
	dataset    TEXT NOT NULL,
	number     INTEGER NOT NULL,
	digest     BLOB NOT NULL,
	as_of      INTEGER,
	PRIMARY KEY (source, source_key, dataset)
) STRICT, WITHOUT ROWID;
CREATE INDEX other_keys_number ON other_keys (dataset, number, source);

-- Records that are out of sight and may come back. version is that of the delete marker, one more
-- than that of the images; before is what the record was, for whoever brings it back; area_code is
-- where a household stood.
CREATE TABLE deleted_records (
	dataset       TEXT NOT NULL,
	number        INTEGER NOT NULL,
	uid           BLOB NOT NULL,
	source        TEXT NOT NULL,
	source_key    TEXT NOT NULL,
	digest        BLOB NOT NULL,
	as_of         INTEGER,
	received_at   TEXT NOT NULL,
	version       INTEGER NOT NULL,
	clear         BLOB,
	sealed        BLOB,
	clear_groups  BLOB,
	sealed_groups BLOB,
	before        BLOB,
	area_code     TEXT,
	PRIMARY KEY (dataset, number)
) STRICT;
CREATE INDEX deleted_records_source ON deleted_records (source, source_key, dataset);

-- What took the place of deleted records.
CREATE TABLE successors (
	dataset   TEXT NOT NULL,
	number    INTEGER NOT NULL,
	successor INTEGER NOT NULL,
	PRIMARY KEY (dataset, number, successor)
) STRICT, WITHOUT ROWID;

-- What records consist of that others were merged into: for each of those, and for the record itself
-- (place 0), what its own sources say, sealed under its own key.
CREATE TABLE parts (
	dataset TEXT NOT NULL,
	record  INTEGER NOT NULL,
	place   INTEGER NOT NULL,
	number  INTEGER NOT NULL,
	version INTEGER NOT NULL,
	own     BLOB NOT NULL,
	PRIMARY KEY (dataset, record, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX parts_number ON parts (number, dataset);

-- Which records were merged. rights is JSON: ids of restrictions and consents.
CREATE TABLE merges (
	id        BLOB PRIMARY KEY,
	dataset   TEXT NOT NULL,
	survivor  INTEGER NOT NULL,
	merged    INTEGER NOT NULL,
	version   INTEGER NOT NULL,
	at        INTEGER NOT NULL,
	operator  TEXT,
	client    BLOB,
	reason    TEXT,
	undone    INTEGER NOT NULL,
	undone_at INTEGER,
	rights    BLOB
) STRICT;
CREATE INDEX merges_survivor ON merges (survivor, dataset);
CREATE INDEX merges_merged ON merges (merged, dataset);

-- Records that may be of one individual: numbers and codes, nothing else. score is in millionths.
CREATE TABLE candidates (
	key        INTEGER PRIMARY KEY,
	id         BLOB NOT NULL UNIQUE,
	dataset    TEXT NOT NULL,
	a          INTEGER NOT NULL,
	b          INTEGER NOT NULL,
	origin     TEXT NOT NULL,
	engine     TEXT,
	score      INTEGER NOT NULL,
	evidence   TEXT,
	state      TEXT NOT NULL,
	at         INTEGER NOT NULL,
	operator   TEXT,
	client     BLOB,
	reason     TEXT,
	decided_at INTEGER,
	merge      BLOB,
	UNIQUE (dataset, a, b)
) STRICT;
CREATE INDEX candidates_b ON candidates (b, dataset);
CREATE INDEX candidates_state ON candidates (state, key);

-- Memberships lie with their household, its head first (rank 0), in order of number. source is NULL
-- where it is that of the individual's first key; decided: see annona.Membership. ahead: it begins or
-- ends on the day on which it was written, or later; only those wait for a day to come.
CREATE TABLE memberships (
	household            INTEGER NOT NULL,
	rank                 INTEGER NOT NULL,
	number               INTEGER NOT NULL,
	individual           INTEGER NOT NULL,
	uid                  BLOB NOT NULL,
	role                 TEXT,
	role_source_code     TEXT,
	relationship_to_head TEXT,
	recipient_type       TEXT,
	is_primary           INTEGER NOT NULL,
	start_date           TEXT,
	end_date             TEXT,
	source               TEXT,
	decided              INTEGER NOT NULL,
	ahead                INTEGER NOT NULL,
	PRIMARY KEY (household, rank, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_individual ON memberships (individual, number);
CREATE INDEX memberships_start ON memberships (start_date) WHERE ahead = 1;
CREATE INDEX memberships_end ON memberships (end_date) WHERE ahead = 1;

-- to_number is NULL until the other individual arrives, and while it is deleted.
CREATE TABLE relationships (
	from_number INTEGER NOT NULL,
	number      INTEGER NOT NULL,
	uid         BLOB NOT NULL,
	to_number   INTEGER,
	to_key      TEXT NOT NULL,
	source      TEXT NOT NULL,
	type        TEXT,
	start_date  TEXT,
	end_date    TEXT,
	end_reason  TEXT,
	PRIMARY KEY (from_number, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX relationships_to ON relationships (to_number) WHERE to_number IS NOT NULL;
CREATE INDEX relationships_unresolved ON relationships (source, to_key) WHERE to_number IS NULL;

-- How the indexes of hashes stand: kept, of which version of their key, and how far they are made anew.
CREATE TABLE indexes (
	kind       TEXT PRIMARY KEY,
	kept       INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	whole      INTEGER NOT NULL,
	dataset    TEXT,
	after      INTEGER NOT NULL,
	started_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO indexes (kind, kept, version, whole, after) VALUES ('index', 1, 0, 1, 0), ('name-search', 0, 0, 1, 0);

-- Tokens of names, while they are kept, and whose are to be made anew.
CREATE TABLE name_index (
	token  INTEGER NOT NULL,
	number INTEGER NOT NULL,
	PRIMARY KEY (token, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX name_index_number ON name_index (number);

CREATE TABLE name_waiting (number INTEGER PRIMARY KEY) STRICT;

-- What records are found by, their keys and their identifiers: hashes with numbers, see finder.go.
CREATE TABLE finder (
	block   INTEGER PRIMARY KEY,
	entries BLOB
) STRICT;

CREATE TABLE areas (
	code        TEXT PRIMARY KEY,
	parent      TEXT,
	level       INTEGER NOT NULL,
	names       TEXT NOT NULL,
	valid_from  TEXT,
	valid_to    TEXT,
	replaced_by TEXT
) STRICT, WITHOUT ROWID;

-- From an area to those directly inside it (inside), and to those that replaced it.
CREATE TABLE area_links (
	origin TEXT NOT NULL,
	code   TEXT NOT NULL,
	inside INTEGER NOT NULL,
	PRIMARY KEY (origin, code, inside)
) STRICT, WITHOUT ROWID;
CREATE INDEX area_links_code ON area_links (code);

-- The households that stood in an area, or inside it, when it was closed.
CREATE TABLE former_areas (
	area      TEXT NOT NULL,
	household INTEGER NOT NULL,
	PRIMARY KEY (area, household)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_areas_household ON former_areas (household);

-- What the codes of sources mean, and those that nothing leads on from: the code behind an equals
-- sign, or * for all that did not look like codes.
CREATE TABLE crosswalks (
	source     TEXT NOT NULL,
	list       TEXT NOT NULL,
	version    INTEGER NOT NULL,
	body       TEXT NOT NULL,
	applied_at INTEGER NOT NULL,
	PRIMARY KEY (source, list, version)
) STRICT;

-- Export specifications, as JSON. A version never changes but for being dropped.
CREATE TABLE export_specs (
	name      TEXT NOT NULL,
	version   INTEGER NOT NULL,
	agreement TEXT NOT NULL,
	body      TEXT NOT NULL,
	put_at    INTEGER NOT NULL,
	dropped   INTEGER NOT NULL,
	PRIMARY KEY (name, version)
) STRICT;

-- Export jobs. body is the order as JSON; worker and lease_until say who has it, turn when it was lent.
-- Which records are in it, and in each of its parts, lies sealed.
CREATE TABLE export_jobs (
	key         INTEGER PRIMARY KEY AUTOINCREMENT,
	id          BLOB NOT NULL UNIQUE,
	agreement   TEXT NOT NULL,
	client      BLOB NOT NULL,
	request_key BLOB,
	body        TEXT NOT NULL,
	state       TEXT NOT NULL,
	code        TEXT,
	epoch       INTEGER NOT NULL,
	attempts    INTEGER NOT NULL,
	worker      BLOB,
	lease_until INTEGER,
	not_before  INTEGER,
	turn        INTEGER NOT NULL,
	plan        BLOB,
	total       INTEGER NOT NULL,
	part_count  INTEGER NOT NULL,
	row_count   INTEGER NOT NULL,
	byte_count  INTEGER NOT NULL,
	started_at  INTEGER,
	ended_at    INTEGER,
	expires_at  INTEGER,
	manifest    TEXT,
	memory      BLOB,
	reached     BLOB,
	swept       INTEGER NOT NULL,
	UNIQUE (client, request_key)
) STRICT;
CREATE INDEX export_jobs_state ON export_jobs (state, agreement);
CREATE INDEX export_jobs_agreement ON export_jobs (agreement, turn);
CREATE INDEX export_jobs_memory ON export_jobs (memory) WHERE reached IS NOT NULL;

CREATE TABLE export_parts (
	job      BLOB NOT NULL,
	number   INTEGER NOT NULL,
	body     TEXT NOT NULL,
	subjects BLOB,
	PRIMARY KEY (job, number)
) STRICT;

-- What programs have decided about people and households. reference is a keyed hash; body is JSON of codes, days and numbers.
CREATE TABLE decisions (
	key       INTEGER PRIMARY KEY,
	id        BLOB NOT NULL,
	agreement TEXT NOT NULL,
	client    BLOB NOT NULL,
	reference TEXT NOT NULL,
	dataset   TEXT NOT NULL,
	subject   INTEGER NOT NULL,
	digest    BLOB NOT NULL,
	at        INTEGER NOT NULL,
	body      BLOB NOT NULL,
	UNIQUE (agreement, reference)
) STRICT;
CREATE INDEX decisions_subject ON decisions (subject, dataset);
CREATE INDEX decisions_agreement ON decisions (agreement, dataset, key);

-- Programs. A version never changes; body is JSON.
CREATE TABLE programs (
	code    TEXT NOT NULL,
	version INTEGER NOT NULL,
	body    TEXT NOT NULL,
	PRIMARY KEY (code, version)
) STRICT, WITHOUT ROWID;

-- Matters: what programs and case workers keep about people, each dataset with numbers of its own. subject
-- is whom it is about, NULL while that is nobody on file; worker and source_key are keyed hashes.
CREATE TABLE matters (
	dataset         TEXT NOT NULL,
	number          INTEGER NOT NULL,
	uid             BLOB NOT NULL,
	version         INTEGER NOT NULL,
	subject_dataset TEXT,
	subject         INTEGER,
	parent_dataset  TEXT,
	parent          INTEGER,
	program         TEXT,
	owner           TEXT,
	worker          TEXT,
	state           TEXT,
	confidentiality TEXT,
	due             TEXT,
	source          TEXT,
	source_key      TEXT,
	clear           BLOB,
	clear_groups    BLOB,
	sealed          BLOB,
	sealed_groups   BLOB,
	registered_at   TEXT NOT NULL,
	updated_at      TEXT NOT NULL,
	PRIMARY KEY (dataset, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX matters_uid ON matters (uid);
CREATE UNIQUE INDEX matters_source ON matters (source_key, source, dataset) WHERE source_key IS NOT NULL;
CREATE INDEX matters_subject ON matters (subject, subject_dataset, dataset) WHERE subject IS NOT NULL;
CREATE INDEX matters_parent ON matters (parent, parent_dataset, dataset) WHERE parent IS NOT NULL;
CREATE INDEX matters_owner ON matters (owner, dataset, number) WHERE owner IS NOT NULL;
CREATE INDEX matters_program ON matters (program, dataset, number) WHERE program IS NOT NULL;

-- What a transition lets a partner see of a matter that another one owns; until is the last day, consent the purpose of a
-- consent of whom the matter is about, without which it ends.
CREATE TABLE matter_shares (
	dataset    TEXT NOT NULL,
	number     INTEGER NOT NULL,
	partner    TEXT NOT NULL,
	transition BLOB NOT NULL,
	until      TEXT,
	consent    TEXT,
	fields     TEXT,
	edit       INTEGER NOT NULL,
	PRIMARY KEY (dataset, number, partner, transition)
) STRICT, WITHOUT ROWID;
CREATE INDEX matter_shares_partner ON matter_shares (partner, dataset, number);

-- What was drawn of what is to last. A bucket is full from full_at on (nanoseconds since 1970); drawn is what was
-- drawn last.
CREATE TABLE quotas (
	name    TEXT PRIMARY KEY,
	full_at INTEGER NOT NULL,
	drawn   INTEGER NOT NULL
) STRICT;

-- What attachments of cases contain, sealed part by part. attachment is the number of a matter of case_attachments.
CREATE TABLE attachment_parts (
	attachment INTEGER NOT NULL,
	part       INTEGER NOT NULL,
	sealed     BLOB NOT NULL,
	PRIMARY KEY (attachment, part)
) STRICT;

-- Mappings for loads over a wire. A version never changes but for being dropped.
CREATE TABLE mappings (
	name    TEXT NOT NULL,
	version INTEGER NOT NULL,
	source  TEXT NOT NULL,
	body    TEXT NOT NULL,
	put_at  INTEGER NOT NULL,
	dropped INTEGER NOT NULL,
	PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE unmapped_codes (
	source   TEXT NOT NULL,
	field    TEXT NOT NULL,
	code     TEXT NOT NULL,
	times    INTEGER NOT NULL,
	loads    INTEGER NOT NULL,
	first_at INTEGER NOT NULL,
	last_at  INTEGER NOT NULL,
	PRIMARY KEY (source, field, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE reorganizations (
	id          BLOB PRIMARY KEY,
	effective   TEXT NOT NULL,
	body        TEXT NOT NULL,
	recorded_at INTEGER NOT NULL,
	applied_at  INTEGER
) STRICT;

-- Lists of purposes and recipients have the unit separator before, between and behind.
CREATE TABLE restrictions (
	id             BLOB PRIMARY KEY,
	subject        INTEGER NOT NULL,
	kind           TEXT NOT NULL,
	purposes       TEXT,
	recipients     TEXT,
	ground         TEXT,
	effective_date TEXT,
	expiry_date    TEXT,
	lifted_at      INTEGER,
	recorded_at    INTEGER
) STRICT;
CREATE INDEX restrictions_subject ON restrictions (subject);

CREATE TABLE consents (
	id             BLOB PRIMARY KEY,
	subject        INTEGER NOT NULL,
	purposes       TEXT,
	recipients     TEXT,
	status         TEXT NOT NULL,
	notice_version TEXT,
	medium         TEXT,
	signed_date    TEXT,
	effective_date TEXT,
	expiry_date    TEXT,
	withdrawn_at   INTEGER,
	recorded_at    INTEGER
) STRICT;
CREATE INDEX consents_subject ON consents (subject);

CREATE TABLE erasure_refusals (
	id         BLOB PRIMARY KEY,
	subject    INTEGER NOT NULL,
	reason     TEXT NOT NULL,
	refused_at INTEGER NOT NULL,
	lifted_at  INTEGER
) STRICT;
CREATE INDEX erasure_refusals_subject ON erasure_refusals (subject);

-- Tombstones: what stays of records that were erased. complete_at is known once the key is shredded.
CREATE TABLE tombstones (
	id          BLOB PRIMARY KEY,
	dataset     TEXT NOT NULL,
	source      TEXT NOT NULL,
	source_key  TEXT NOT NULL,
	number      INTEGER NOT NULL,
	reason      TEXT NOT NULL,
	erased_at   INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	shredded_at INTEGER,
	complete_at INTEGER
) STRICT;
CREATE INDEX tombstones_key ON tombstones (source, source_key, dataset);

CREATE TABLE agreements (
	name    TEXT NOT NULL,
	version INTEGER NOT NULL,
	body    TEXT NOT NULL,
	at      INTEGER NOT NULL,
	PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE policies (
	version INTEGER PRIMARY KEY,
	body    TEXT NOT NULL
) STRICT;

CREATE TABLE approvals (
	id       BLOB PRIMARY KEY,
	kind     TEXT NOT NULL,
	state    TEXT NOT NULL,
	asked_at INTEGER NOT NULL,
	body     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_asked ON approvals (asked_at);

-- Emergencies, and who was seen in each. A person has one that is not reviewed.
CREATE TABLE break_glass (
	id        BLOB PRIMARY KEY,
	person    BLOB NOT NULL,
	opened_at INTEGER NOT NULL,
	reviewed  INTEGER NOT NULL,
	body      BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX break_glass_person ON break_glass (person) WHERE reviewed = 0;
CREATE INDEX break_glass_opened ON break_glass (opened_at);

CREATE TABLE break_glass_seen (
	break_glass BLOB NOT NULL,
	dataset     TEXT NOT NULL,
	number      INTEGER NOT NULL,
	PRIMARY KEY (break_glass, dataset, number)
) STRICT, WITHOUT ROWID;

-- When a client last used what it is granted. A row without a field is of the verb itself.
CREATE TABLE uses (
	client  BLOB NOT NULL,
	verb    TEXT NOT NULL,
	purpose TEXT NOT NULL,
	dataset TEXT NOT NULL,
	field   TEXT NOT NULL,
	used_at INTEGER NOT NULL,
	PRIMARY KEY (client, verb, purpose, dataset, field)
) STRICT, WITHOUT ROWID;

-- How much clients did on each of the last days: requests from a network, in an hour, and rows.
CREATE TABLE habits (
	client BLOB NOT NULL,
	day    TEXT NOT NULL,
	kind   TEXT NOT NULL,
	value  TEXT NOT NULL,
	count  INTEGER NOT NULL,
	PRIMARY KEY (client, day, kind, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
	id         BLOB PRIMARY KEY,
	key_id     TEXT NOT NULL UNIQUE,
	hash       BLOB NOT NULL,
	agreement  TEXT NOT NULL,
	label      TEXT,
	demo       INTEGER NOT NULL,
	networks   TEXT,
	created_at INTEGER,
	expires_at INTEGER,
	revoked_at INTEGER,
	method     TEXT,
	keys       BLOB,
	subject    TEXT,
	role       TEXT,
	redirects  TEXT
) STRICT;

-- Access tokens by their keyed hash, and assertions that were shown. Proofs of DPoP are remembered
-- in memory.
CREATE TABLE tokens (
	hash        BLOB PRIMARY KEY,
	client      BLOB NOT NULL,
	key         BLOB,
	certificate BLOB,
	purpose     TEXT,
	datasets    TEXT,
	person      BLOB,
	assurance   INTEGER NOT NULL,
	signed_in   INTEGER,
	delegation  BLOB,
	issued_at   INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	revoked_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_expiry ON tokens (expires_at);
CREATE INDEX tokens_person ON tokens (person) WHERE person IS NOT NULL;
CREATE INDEX tokens_delegation ON tokens (delegation) WHERE delegation IS NOT NULL;

-- Issuers of access tokens that others run, and whose tokens of theirs are over: those of a person or of
-- a sign-in that were issued at a moment or before.
CREATE TABLE identity_providers (
	name       TEXT PRIMARY KEY,
	issuer     TEXT NOT NULL,
	version    INTEGER NOT NULL,
	body       TEXT NOT NULL,
	put_at     INTEGER NOT NULL,
	removed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX identity_providers_issuer ON identity_providers (issuer) WHERE removed_at IS NULL;
CREATE TABLE outside_ends (
	id    BLOB PRIMARY KEY,
	until INTEGER NOT NULL,
	kept  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which clients act for which people. hash is of what the client shows next, code of the code that was
-- shown once.
CREATE TABLE delegations (
	id        BLOB PRIMARY KEY,
	client    BLOB NOT NULL,
	stage     TEXT NOT NULL,
	hash      BLOB NOT NULL UNIQUE,
	code      BLOB UNIQUE,
	request   BLOB,
	purpose   TEXT,
	datasets  TEXT,
	person    BLOB,
	assurance INTEGER NOT NULL,
	signed_in INTEGER,
	began_at  INTEGER NOT NULL,
	until     INTEGER NOT NULL,
	ended_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX delegations_person ON delegations (person);
CREATE INDEX delegations_until ON delegations (until);
CREATE TABLE assertion_claims (
	client BLOB NOT NULL,
	hash   BLOB NOT NULL,
	until  INTEGER NOT NULL,
	PRIMARY KEY (client, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX assertion_claims_until ON assertion_claims (until);

-- Those who sign in, what they have registered (sealed), where they are signed in, and what was tried.
CREATE TABLE users (
	id            BLOB PRIMARY KEY,
	name          TEXT NOT NULL UNIQUE,
	display       TEXT,
	partner       TEXT,
	roles         TEXT,
	status        TEXT NOT NULL,
	version       INTEGER NOT NULL,
	invitation    BLOB UNIQUE,
	invited_until INTEGER,
	created_at    INTEGER NOT NULL,
	provider      TEXT,
	granted_at    INTEGER,
	made_by       TEXT,
	ended_at      INTEGER,
	roles_until   TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE factors (
	id         BLOB PRIMARY KEY,
	person     BLOB NOT NULL,
	kind       TEXT NOT NULL,
	label      TEXT,
	sealed     BLOB NOT NULL,
	counter    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	used_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX factors_user ON factors (person);
CREATE TABLE sessions (
	hash         BLOB PRIMARY KEY,
	person       BLOB NOT NULL,
	user_version INTEGER NOT NULL,
	assurance    INTEGER NOT NULL,
	device       BLOB,
	label        TEXT,
	created_at   INTEGER NOT NULL,
	proved_at    INTEGER NOT NULL,
	seen_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (person);
CREATE TABLE attempts (
	lane   BLOB PRIMARY KEY,
	failed INTEGER NOT NULL,
	at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE extensions (
	position INTEGER PRIMARY KEY,
	body     TEXT NOT NULL
) STRICT;

CREATE TABLE events (
	seq     INTEGER PRIMARY KEY,
	id      BLOB NOT NULL,
	at      INTEGER NOT NULL,
	actor   TEXT,
	client  BLOB,
	purpose TEXT,
	dataset TEXT NOT NULL,
	record  INTEGER NOT NULL,
	version INTEGER NOT NULL,
	kind    TEXT NOT NULL,
	reason  TEXT,
	load    INTEGER,
	before  BLOB
) STRICT;
CREATE INDEX events_before ON events (record, dataset) WHERE before IS NOT NULL; -- erasure empties them
CREATE INDEX events_matters ON events (record, dataset, seq) WHERE dataset NOT IN ('individuals', 'households');

-- Where the events of loads stand: runs of their numbers, one or few for a transaction.
CREATE TABLE load_runs (
	load  INTEGER NOT NULL,
	first INTEGER NOT NULL,
	last  INTEGER NOT NULL,
	PRIMARY KEY (load, first)
) STRICT, WITHOUT ROWID;

-- Runs of imports. report is JSON: counts and codes. confirmed are numbers of records that were found
-- unchanged, as bitmaps.
CREATE TABLE loads (
	key         INTEGER PRIMARY KEY,
	id          BLOB NOT NULL UNIQUE,
	source      TEXT NOT NULL,
	mode        TEXT NOT NULL,
	operator    TEXT,
	client      BLOB,
	reason      TEXT,
	as_of       INTEGER,
	started_at  INTEGER,
	finished_at INTEGER,
	state       TEXT NOT NULL,
	undoes      BLOB,
	report      BLOB,
	confirmed   BLOB
) STRICT;

-- What rows of sources became, in blocks: keyed digests and numbers, see exchange/rows.go. The records of a
-- block lie between the numbers; a block goes when one of them is erased.
CREATE TABLE row_blocks (
	id               INTEGER PRIMARY KEY,
	source           TEXT NOT NULL,
	first_household  INTEGER NOT NULL,
	last_household   INTEGER NOT NULL,
	first_individual INTEGER NOT NULL,
	last_individual  INTEGER NOT NULL,
	rows             BLOB NOT NULL
) STRICT;
CREATE INDEX row_blocks_source ON row_blocks (source, id);

-- The ledger: entries, what they say (sealed; it can be deleted), the tree over their leaves
-- and its signed checkpoints. A field list lies in clear under its hash.
CREATE TABLE ledger (
	idx     INTEGER PRIMARY KEY,
	id      BLOB NOT NULL,
	at      INTEGER,
	kind    TEXT NOT NULL,
	leaf    BLOB NOT NULL,
	hash    BLOB NOT NULL,
	request BLOB NOT NULL
) STRICT;
CREATE INDEX ledger_releases ON ledger (request) WHERE kind = 'release';
CREATE INDEX ledger_outcomes ON ledger (request) WHERE kind = 'outcome';

-- All parts of an entry in one piece, sealed.
CREATE TABLE ledger_content (
	idx   INTEGER PRIMARY KEY,
	parts BLOB NOT NULL
) STRICT;

-- Where sets of subjects are found: reach is the least k with max - min < 2^k.
CREATE TABLE ledger_subjects (
	noun  TEXT NOT NULL,
	reach INTEGER NOT NULL,
	min   INTEGER NOT NULL,
	max   INTEGER NOT NULL,
	idx   INTEGER NOT NULL,
	PRIMARY KEY (noun, reach, min, max, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_fields (
	hash    BLOB PRIMARY KEY,
	content BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The nodes of the tree in the order in which they come to be (annona.TreeNode.Place).
CREATE TABLE ledger_nodes (
	place INTEGER PRIMARY KEY,
	hash  BLOB NOT NULL
) STRICT;

CREATE TABLE ledger_checkpoints (
	size INTEGER PRIMARY KEY,
	root BLOB NOT NULL,
	at   INTEGER NOT NULL,
	note TEXT NOT NULL
) STRICT;

-- Readers of the log. What each follower was shown of a record is a tag of 8 bytes; the first
-- views lie packed in ranges of numbers, later ones as rows.
CREATE TABLE log_epoch (epoch BLOB NOT NULL) STRICT;
INSERT INTO log_epoch (epoch) VALUES (randomblob(16));

CREATE TABLE followers (
	key        INTEGER PRIMARY KEY AUTOINCREMENT,
	id         BLOB NOT NULL UNIQUE,
	generation INTEGER NOT NULL,
	used_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE follower_ranges (
	follower   INTEGER NOT NULL,
	first      INTEGER NOT NULL,
	last       INTEGER NOT NULL,
	generation INTEGER NOT NULL,
	views      BLOB NOT NULL,
	PRIMARY KEY (follower, first)
) STRICT;

CREATE TABLE follower_views (
	follower   INTEGER NOT NULL,
	number     INTEGER NOT NULL,
	generation INTEGER NOT NULL,
	seq        INTEGER NOT NULL,
	tag        INTEGER NOT NULL,
	PRIMARY KEY (follower, number, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX follower_views_generation ON follower_views (follower, generation);

-- The ids of erased and deleted records stay as long as the log, to tell those who have followed them.
CREATE TABLE departed (
	dataset TEXT NOT NULL,
	number  INTEGER NOT NULL,
	uid     BLOB NOT NULL,
	seq     INTEGER NOT NULL,
	PRIMARY KEY (dataset, number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER households_depart AFTER DELETE ON households BEGIN
	INSERT OR REPLACE INTO departed (dataset, number, uid, seq)
		VALUES ('households', old.number, old.uid, (SELECT coalesce(max(seq), 0) FROM events));
END;
CREATE TRIGGER individuals_depart AFTER DELETE ON individuals BEGIN
	INSERT OR REPLACE INTO departed (dataset, number, uid, seq)
		VALUES ('individuals', old.number, old.uid, (SELECT coalesce(max(seq), 0) FROM events));
END;

-- Requests of writing, by a keyed hash of client, route and key. Until is when the key is free again.
CREATE TABLE requests (
	id      BLOB PRIMARY KEY,
	digest  BLOB NOT NULL,
	at      INTEGER NOT NULL,
	until   INTEGER NOT NULL,
	status  INTEGER NOT NULL,
	noun    TEXT,
	record  BLOB,
	version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_until ON requests (until);

-- What was asked of records and is not done, or was decided. sealed is sealed under the subject's key.
CREATE TABLE change_requests (
	key       INTEGER PRIMARY KEY AUTOINCREMENT,
	id        BLOB NOT NULL UNIQUE,
	type      TEXT NOT NULL,
	conflict  INTEGER NOT NULL,
	dataset   TEXT NOT NULL,
	subject   INTEGER NOT NULL,
	state     TEXT NOT NULL,
	source    TEXT,
	agreement TEXT NOT NULL,
	client    BLOB NOT NULL,
	person    BLOB,
	purpose   TEXT,
	version   INTEGER NOT NULL,
	sealed    BLOB,
	at        INTEGER NOT NULL,
	until     INTEGER,
	decided_at INTEGER,
	operator  TEXT,
	decider   BLOB,
	reason    TEXT,
	load      BLOB
) STRICT;
CREATE INDEX change_requests_subject ON change_requests (subject, dataset);
CREATE INDEX change_requests_state ON change_requests (state, key);
CREATE INDEX change_requests_agreement ON change_requests (agreement, key);

-- Sources that are synchronized. The holder is the process that has one; body is its own JSON.
CREATE TABLE syncs (
	source     TEXT PRIMARY KEY,
	holder     BLOB,
	held_until INTEGER,
	body       TEXT
) STRICT, WITHOUT ROWID;
