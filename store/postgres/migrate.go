package postgres

import (
	"context"
	_ "embed"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

//go:embed schema.sql
var schemaV1 string

// migrations grow at the end only.
func migrations() []string { return []string{schemaV1} }

// Setup says what Migrate prepares beside the schema.
type Setup struct {
	// Dictionary is the standard dictionary: its filterable fields get columns. May be nil.
	Dictionary *annona.Dictionary
	// App is the role that serves. It is made when it is missing, and gets what serving needs
	// and no more: no change of the schema, no change of what is written once. Empty: the
	// owner serves.
	App string
	// Keys is the role that alone reaches the keys, in the schema annona_keys. It is made when it
	// is missing. Empty: the role that has been given them before, otherwise App.
	Keys string
}

// Status is the version of a schema and the one that this program brings. Version 0: the
// database holds no registry.
type Status struct{ Version, Latest int }

// Migrate brings the schema of a registry up to date, as its owner. It may run twice, and on
// two nodes at once: one waits for the other. Errors have the codes store_too_new,
// store_foreign, role_malformed or those of Open.
func Migrate(ctx context.Context, url string, s Setup) (Status, error) {
	if err := s.check(); err != nil {
		return Status{}, err
	}
	return migrate(ctx, url, s, migrations())
}

// check refuses roles that cannot be made.
func (s Setup) check() error {
	for flag, role := range map[string]string{"app-role": s.App, "keys-role": s.Keys} {
		if role != "" && !roleName.MatchString(role) {
			return annona.Invalid("role_malformed", "a database role has lower-case letters, digits and underscores").On(flag)
		}
	}
	if s.Keys != "" && s.Keys == s.App {
		return annona.Invalid("role_malformed", "the role of the keys is another one than the role that serves").On("keys-role")
	}
	return nil
}

var roleName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

const migrating = "bring the registry's schema up to date"

func migrate(ctx context.Context, url string, s Setup, steps []string) (status Status, err error) {
	for range mostMigrations {
		err = asOwner(ctx, url, func(c *conn) (err error) {
			status, err = c.migrate(s, steps)
			return err
		})
		if !metAnother(err) {
			break
		}
	}
	return status, ended(ctx, migrating, err)
}

// mostMigrations is how often a migration is begun that met another one.
const mostMigrations = 5

// metAnother reports whether another database of the same server was migrated at the same moment: roles
// belong to the whole server, and lockSchema is one database's.
func metAnother(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) &&
		(refused.Code == "23505" && refused.ConstraintName == "pg_authid_rolname_index" || refused.Code == "42710" || refused.Code == "XX000" && refused.Message == "tuple concurrently updated")
}

func (c *conn) migrate(s Setup, steps []string) (status Status, err error) {
	if err := lockSchema(c); err != nil {
		return status, err
	}
	if status, err = readStatus(c, len(steps)); err != nil {
		return status, err
	}
	if err := c.apply(steps, &status); err != nil {
		return status, err
	}
	if s.Dictionary != nil {
		if err := addColumns(c, s.Dictionary); err != nil {
			return status, err
		}
	}
	return status, grantAll(c, s)
}

// MigrationStatus reads the version of the schema and changes nothing.
func MigrationStatus(ctx context.Context, url string) (status Status, err error) {
	err = asOwner(ctx, url, func(c *conn) error {
		status, err = readStatus(c, len(migrations()))
		return err
	})
	return status, ended(ctx, "read the version of the schema", err)
}

// asOwner runs fn in one transaction on a connection of its own.
func asOwner(ctx context.Context, url string, fn func(*conn) error) error {
	config, err := parse(url, altering)
	if err != nil {
		return err
	}
	session, err := dial(ctx, config)
	if err != nil {
		return err
	}
	defer hangUp(session)
	p, err := session.Begin(ctx)
	if err != nil {
		return err
	}
	defer rollBack(p)
	if err := fn(&conn{ctx: ctx, db: p}); err != nil {
		return err
	}
	return commit(p)
}

// hangUp ends a session whose work is committed or given up.
func hangUp(session *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = session.Close(ctx) // what matters is committed by now
}

// lockSchema makes those who change the schema take turns, until the transaction ends.
func lockSchema(c *conn) error {
	return c.exec("SELECT pg_advisory_xact_lock($1)", int64(schemaLock))
}

// readStatus reads the version of the schema and refuses one that this program cannot use.
func readStatus(c *conn, latest int) (Status, error) {
	status := Status{Latest: latest}
	tables, err := c.integer("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('annona') AND relkind = 'r'")
	if err != nil || tables == 0 {
		return status, err
	}
	ours, err := c.integer("SELECT count(*) FROM pg_class WHERE oid = to_regclass('annona.schema_version')")
	if err != nil {
		return status, err
	}
	if ours == 0 {
		return status, annona.Conflict("store_foreign", "the schema annona of the database was not made by Annona; choose another database")
	}
	version, err := c.integer("SELECT version FROM annona.schema_version")
	status.Version = int(version)
	if status.Version > latest {
		return status, annona.Conflict("store_too_new", "the database was written by a newer version of Annona; use that version or a newer one")
	}
	return status, err
}

// apply runs the steps that the schema lacks.
func (c *conn) apply(steps []string, status *Status) error {
	if status.Version == 0 {
		for _, sql := range []string{
			"CREATE SCHEMA IF NOT EXISTS annona", "CREATE SCHEMA IF NOT EXISTS annona_keys",
			"CREATE TABLE schema_version (version bigint NOT NULL)", "INSERT INTO schema_version VALUES (0)",
		} {
			if err := c.exec(sql); err != nil {
				return err
			}
		}
	}
	for _, sql := range steps[status.Version:] {
		if _, err := c.db.Exec(c.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		status.Version++
	}
	return c.exec("UPDATE schema_version SET version = $1", status.Version)
}

// checkKeysSchema says whether the keys of a schema can be reached.
func checkKeysSchema(c *conn) error {
	if err := checkSchema(c, nil); err != nil {
		return err
	}
	allowed, err := c.one("SELECT WHERE has_schema_privilege($1, 'USAGE')", func(row) {}, keysSchema)
	if err == nil && !allowed {
		return annona.Unavailable("store_keys_not_allowed", "the database role may not reach the keys of the registry; name the role that may with --keys-database").On("keys-database")
	}
	return err
}

// checkSchema says whether a store can work with the schema as it is.
func checkSchema(c *conn, d *annona.Dictionary) error {
	status, err := readStatus(c, len(migrations()))
	if err != nil {
		return err
	}
	if status.Version == 0 {
		return annona.Invalid("store_missing", "the database holds no registry; make one with annona init")
	}
	if status.Version < status.Latest {
		return errOutdated()
	}
	if d == nil {
		return nil
	}
	missing, err := missingColumns(c, d)
	if err == nil && len(missing) > 0 {
		return errOutdated()
	}
	return err
}

func errOutdated() error {
	return annona.Conflict("store_outdated", "the database was written by an older version of Annona; run annona migrate as its owner")
}

// grants are what the serving role may do with each table beside reading it. What is written
// once (events, the log, the ledger, versions of agreements) it can neither change nor delete,
// except that it empties the images in the events of an erased record.
var grants = []struct{ rights, tables string }{
	{"INSERT, UPDATE", "areas, reorganizations, indexes, unmapped_codes, clients, syncs, loads"},
	{"INSERT, UPDATE, DELETE", "requests, change_requests, households, individuals, relationships, restrictions, consents, erasure_refusals, tombstones, other_keys, deleted_records, merges, candidates"},
	{"INSERT, DELETE", "decisions, area_links, former_areas, memberships, identifier_index, successors, event_queue, ledger_queue, name_index, name_waiting, parts, row_blocks"},
	{"UPDATE (dropped)", "mappings, export_specs"},
	{"INSERT, UPDATE", "export_jobs"},
	{"INSERT, UPDATE, DELETE", "export_parts"},
	{"UPDATE (before)", "events"}, // emptied when a record is erased
	{"INSERT", "agreements, policies, programs, crosswalks, mappings, export_specs, events, log, ledger, ledger_content, ledger_subjects, ledger_fields, ledger_leaves, ledger_nodes, ledger_checkpoints"},
	{"UPDATE", "counters"},
	{"SELECT, INSERT, UPDATE, DELETE", "annona_keys.secrets, annona_keys.subject_keys"},
	{"UPDATE", "log_epoch"},
	{"INSERT, UPDATE, DELETE", "followers"},
	{"INSERT, DELETE", "follower_ranges, follower_views, departed"},
	{"INSERT, UPDATE, DELETE", "tokens, delegations"},
	{"INSERT, DELETE", "assertion_claims, proof_claims"},
	{"INSERT", "proof_epoch"},
	{"INSERT, UPDATE", "buckets, quotas"},
	{"INSERT, UPDATE, DELETE", "habits"},
	{"INSERT, UPDATE", "users, identity_providers, approvals, break_glass, uses"},
	{"INSERT", "break_glass_seen"},
	{"INSERT, UPDATE, DELETE", "matters, matter_shares, attachment_parts"},
	{"INSERT, UPDATE, DELETE", "outside_ends"},
	{"INSERT, UPDATE, DELETE", "factors, sessions, attempts"},
}

// keysSchema is where the keys lie, apart from what they open.
const keysSchema = "annona_keys"

// grantAll gives the roles that serve what they need. A table that no line of grants names can be
// read in the schema of the registry, and not even that in the schema of the keys.
func grantAll(c *conn, s Setup) error {
	super, err := c.one("SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper", func(row) {})
	if err != nil {
		return err
	}
	keeper, err := keyKeeper(c, s)
	if err != nil {
		return err
	}
	if s.App != "" {
		if err := grantTo(c, s.App, super, appGrants(keeper == s.App)); err != nil {
			return err
		}
	}
	if keeper == "" || keeper == s.App {
		return nil
	}
	if s.App != "" {
		app := pgx.Identifier{s.App}.Sanitize()
		if err := c.execAll("REVOKE ALL ON ALL TABLES IN SCHEMA "+keysSchema+" FROM "+app, "REVOKE ALL ON SCHEMA "+keysSchema+" FROM "+app); err != nil {
			return err
		}
	}
	return grantTo(c, keeper, super, slices.Concat([]string{"USAGE ON SCHEMA annona", "SELECT ON schema_version"}, keyGrants()))
}

// keyKeeper returns the role that reaches the keys. Once they are apart from the role that serves,
// they stay apart, also when whoever migrates forgets to say so.
func keyKeeper(c *conn, s Setup) (string, error) {
	if s.Keys != "" {
		return s.Keys, nil
	}
	before, err := c.text(`SELECT r.rolname::text FROM pg_namespace n, aclexplode(n.nspacl) a JOIN pg_roles r ON r.oid = a.grantee
		WHERE n.nspname = $1 AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner
			AND NOT has_table_privilege(r.oid, 'annona.individuals', 'SELECT') ORDER BY 1 LIMIT 1`, keysSchema)
	if err != nil || before == "" {
		return s.App, err
	}
	return before, nil
}

func appGrants(keys bool) []string {
	rights := []string{"USAGE ON SCHEMA annona", "SELECT ON ALL TABLES IN SCHEMA annona", "USAGE, SELECT ON ALL SEQUENCES IN SCHEMA annona", "EXECUTE ON FUNCTION prune_events, expect_areas, expect_indexes, expect_written"}
	for _, g := range grants {
		if !strings.HasPrefix(g.tables, keysSchema+".") {
			rights = append(rights, g.rights+" ON "+g.tables)
		}
	}
	if keys {
		rights = append(rights, keyGrants()...)
	}
	return rights
}

func keyGrants() []string {
	rights := []string{"USAGE ON SCHEMA " + keysSchema}
	for _, g := range grants {
		if strings.HasPrefix(g.tables, keysSchema+".") {
			rights = append(rights, g.rights+" ON "+g.tables)
		}
	}
	return rights
}

// grantTo gives a role those rights, and makes it when it is missing. When the owner is a
// superuser, the role also gets the settings that keep values out of the server's log.
func grantTo(c *conn, name string, super bool, rights []string) error {
	role := pgx.Identifier{name}.Sanitize()
	known, err := c.integer("SELECT count(*) FROM pg_roles WHERE rolname = $1", name)
	if err != nil {
		return err
	}
	var statements []string
	if known == 0 {
		statements = append(statements, "CREATE ROLE "+role+" LOGIN")
	}
	for _, right := range rights {
		statements = append(statements, "GRANT "+right+" TO "+role)
	}
	if super {
		statements = append(statements,
			"ALTER ROLE "+role+" SET log_error_verbosity = 'terse'",
			"ALTER ROLE "+role+" SET log_parameter_max_length = 0",
			"ALTER ROLE "+role+" SET log_parameter_max_length_on_error = 0")
	}
	return c.execAll(statements...)
}

func (c *conn) execAll(statements ...string) error {
	for _, sql := range statements {
		if err := c.exec(sql); err != nil {
			return err
		}
	}
	return nil
}
