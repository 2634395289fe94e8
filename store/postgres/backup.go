package postgres

import (
	"context"
	"encoding/binary"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

// Kind names this store in a backup.
const Kind = "postgresql"

var (
	_ annona.Dumper  = (*Store)(nil)
	_ annona.Reviver = (*Store)(nil)
)

// recordSchema is what a backup has. A copy of keys has keysSchema; no file has both.
const recordSchema = "annona"

// sequencesTable is a table of a backup that is none of the database: where the sequences stand.
var sequencesTable = annona.Table{Name: "sequences", Columns: []annona.TableColumn{{Name: "name", Type: annona.CellText}, {Name: "value", Type: annona.CellInteger}}}

// Dump gives the whole store, as of one moment, to what begin returns. It reads by COPY on a
// connection of its own, while everybody else reads and writes. What is committed before Dump is
// called has its place in the log and in the ledger; what comes later may still wait for one, and
// gets it after a restore.
func (s *Store) Dump(ctx context.Context, begin func(annona.StoreState) (annona.TableSink, error)) error {
	if err := s.Settle(ctx); err != nil {
		return err
	}
	return dump(ctx, s.url, recordSchema, "dump the registry", begin)
}

// DumpSecrets gives the whole key store of a database, as Store.Dump does the records.
func DumpSecrets(ctx context.Context, url string, begin func(annona.StoreState) (annona.TableSink, error)) error {
	return dump(ctx, url, keysSchema, "dump the key store", begin)
}

func dump(ctx context.Context, url, schema, doing string, begin func(annona.StoreState) (annona.TableSink, error)) error {
	config, err := parse(url, copying)
	if err != nil {
		return err
	}
	session, err := dial(ctx, config)
	if err != nil {
		return ended(ctx, doing, err)
	}
	defer hangUp(session)
	t, err := session.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return ended(ctx, doing, err)
	}
	defer rollBack(t)
	d := dumper{conn: &conn{ctx: ctx, db: t}, session: session.PgConn(), schema: schema}
	err = d.dump(begin)
	if d.failed != nil {
		return d.failed
	}
	return ended(ctx, doing, err)
}

type dumper struct {
	*conn
	session *pgconn.PgConn
	schema  string
	to      annona.TableSink
	failed  error // of the sink: comes back as it is
}

func (d *dumper) dump(begin func(annona.StoreState) (annona.TableSink, error)) error {
	state, err := d.state()
	if err != nil {
		return err
	}
	if d.to, d.failed = begin(state); d.failed != nil {
		return d.failed
	}
	all, err := describeTables(d.conn, d.schema)
	if err != nil {
		return err
	}
	for _, t := range all {
		if slices.Contains(forgotten(), t.Name) {
			continue
		}
		if err := d.dumpTable(t); err != nil {
			return err
		}
	}
	return d.dumpSequences()
}

// forgotten are the tables that no backup has: a restore makes every position of the log void, and
// with it what was remembered of followers; tokens live for minutes, whoever was signed in
// signs in again, and lets applications act again, and export jobs read at positions. What rows became is
// learned again by the next load.
func forgotten() []string {
	return []string{"followers", "follower_views", "follower_ranges", "tokens", "export_jobs", "export_parts", "delegations", "assertion_claims", "sessions", "attempts", "proof_claims", "proof_epoch", "buckets", "row_blocks"}
}

// state says where the store stands in this snapshot.
func (c *dumper) state() (annona.StoreState, error) {
	state := annona.StoreState{Kind: Kind}
	status, err := readStatus(c.conn, len(migrations()))
	if state.Schema = status.Version; err != nil || c.schema != recordSchema {
		return state, err
	}
	if state.Position, err = c.integer("SELECT coalesce(max(seq), 0) FROM log"); err != nil {
		return state, err
	}
	if state.Epoch, err = c.text("SELECT encode(uuid_send(epoch), 'hex') FROM log_epoch"); err != nil {
		return state, err
	}
	if state.LedgerSize, err = treeSize(c.conn); err != nil {
		return state, err
	}
	edge, err := readEdge(c.conn, state.LedgerSize)
	if err == nil && state.LedgerSize > 0 {
		state.LedgerRoot, err = edge.GetRootHash(nil)
	}
	return state, err
}

// typed is a table with the types that the server gives its columns.
type typed struct {
	annona.Table
	types []string
}

// describeTables describes every table of a schema but the one that tells its version, in order of name.
func describeTables(c *conn, schema string) (all []typed, err error) {
	unknown := false
	err = c.each(`SELECT t.relname::text, a.attname::text, format_type(a.atttypid, NULL)
		FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
		WHERE t.relnamespace = to_regnamespace($1) AND t.relkind IN ('r', 'p') AND t.relname <> 'schema_version'
			AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
		ORDER BY t.relname COLLATE "C", a.attnum`, func(r row) error {
		if name := r.text(0); len(all) == 0 || all[len(all)-1].Name != name {
			all = append(all, typed{Table: annona.Table{Name: name}})
		}
		t := &all[len(all)-1]
		cell, known := cellTypes[r.text(2)]
		unknown = unknown || !known
		t.Columns = append(t.Columns, annona.TableColumn{Name: r.text(1), Type: cell})
		t.types = append(t.types, r.text(2))
		return nil
	}, schema)
	if err == nil && unknown {
		err = annona.Internal("describe the tables: a column has a type that a backup does not know", nil)
	}
	return all, err
}

// cellTypes says how a type of the server stands in a backup. All of them but boolean have the
// same bytes there as in a binary COPY.
var cellTypes = map[string]annona.CellType{
	"bigint": annona.CellInteger, "boolean": annona.CellInteger, "text": annona.CellText, "bytea": annona.CellBytes, "uuid": annona.CellBytes,
}

func (d *dumper) dumpTable(t typed) error {
	if d.failed = d.to.Table(t.Table); d.failed != nil {
		return d.failed
	}
	out := &copyOut{types: t.types, to: d.to, row: make(annona.TableRow, len(t.types))}
	_, err := d.session.CopyTo(d.ctx, out, "COPY "+pgx.Identifier{d.schema, t.Name}.Sanitize()+" ("+columnList(t.Table)+") TO STDOUT (FORMAT binary)")
	if out.failed != nil {
		d.failed = out.failed
		return out.failed
	}
	if err == nil && !out.ended {
		err = errCopy
	}
	return err
}

func columnList(t annona.Table) string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = pgx.Identifier{c.Name}.Sanitize()
	}
	return strings.Join(names, ", ")
}

// dumpSequences gives the last value of each sequence that has given one out. Sequences stand
// outside of snapshots: they may be ahead of the tables, never behind.
func (d *dumper) dumpSequences() error {
	if d.failed = d.to.Table(sequencesTable); d.failed != nil {
		return d.failed
	}
	return d.each("SELECT sequencename::text, last_value FROM pg_sequences WHERE schemaname = $1 AND last_value IS NOT NULL ORDER BY sequencename", func(r row) error {
		d.failed = d.to.Row(annona.TableRow{r[0], r[1]})
		return d.failed
	}, d.schema)
}

// Load makes a registry in a database that has none, as its owner, from a backup. All of it is one
// transaction, the schema is brought up to date behind it. Open refuses the registry until
// Store.Release: whoever restores has more to do. One that was loaded and never released is
// replaced.
//
// It refuses with codes registry_exists, keys_exist, secrets_missing, store_too_new,
// backup_schema, or backup_damaged when a table or column is none of that schema.
func Load(ctx context.Context, url string, s Setup, from annona.Contents) error {
	if err := s.check(); err != nil {
		return err
	}
	config, err := parse(url, altering)
	if err != nil {
		return err
	}
	session, err := dial(ctx, config)
	if err != nil {
		return ended(ctx, loadingBackup, err)
	}
	defer hangUp(session)
	t, err := session.Begin(ctx)
	if err != nil {
		return ended(ctx, loadingBackup, err)
	}
	defer rollBack(t)
	c := &conn{ctx: ctx, db: t}
	if err := c.loadAll(session.PgConn(), s, from); err != nil {
		return ended(ctx, loadingBackup, err)
	}
	return ended(ctx, loadingBackup, commit(t))
}

func (c *conn) loadAll(session *pgconn.PgConn, s Setup, from annona.Contents) error {
	if err := c.prepareLoad(from); err != nil {
		return err
	}
	origin := keysKept
	if err := (&loader{conn: c, session: session, schema: recordSchema}).load(from.Records); err != nil {
		return err
	}
	if from.Keys != nil {
		origin = keysLoaded
		if err := (&loader{conn: c, session: session, schema: keysSchema}).load(from.Keys); err != nil {
			return err
		}
	}
	if err := c.setCounter(unfinishedCounter, int64(origin)); err != nil {
		return err
	}
	status := Status{Version: from.Schema}
	if err := c.apply(migrations(), &status); err != nil {
		return err
	}
	if s.Dictionary != nil {
		if err := addColumns(c, s.Dictionary); err != nil {
			return err
		}
	}
	return grantAll(c, s)
}

const loadingBackup = "load a backup"

// prepareLoad makes the tables of that version, and puts the keys that are kept into them.
func (c *conn) prepareLoad(from annona.Contents) error {
	if from.Schema > len(migrations()) || from.Schema < 1 {
		return annona.Conflict("store_too_new", "the backup was written by a newer version of Annona; use that version or a newer one")
	}
	if from.Keys != nil && from.KeySchema != from.Schema {
		return annona.Conflict("backup_schema", "backup and copy of the keys were made by different versions of Annona; use two of the same version")
	}
	if err := lockSchema(c); err != nil {
		return err
	}
	if err := c.dropUnfinished(); err != nil {
		return err
	}
	kept, err := c.integer("SELECT count(*) FROM pg_namespace WHERE nspname = $1", keysSchema)
	if err != nil {
		return err
	}
	switch {
	case kept == 0 && from.Keys == nil:
		return annona.Conflict("secrets_missing", "the database has no keys that could be kept; give a copy of them with --keys FILE")
	case kept > 0 && from.Keys != nil:
		return annona.Conflict("keys_exist", "the database holds keys already; use them with --keys kept, or choose another database")
	case kept > 0:
		err = c.exec("ALTER SCHEMA " + keysSchema + " RENAME TO " + keptSchema)
	}
	if err == nil {
		status := Status{}
		err = c.apply(migrations()[:from.Schema], &status)
	}
	if err == nil && kept > 0 {
		err = c.keepKeys()
	}
	return err
}

const keptSchema = keysSchema + "_kept"

// keepKeys puts the keys that were in the database before into the key store that the schema has
// just made.
func (c *conn) keepKeys() error {
	made, err := describeTables(c, keysSchema)
	if err != nil {
		return err
	}
	had, err := describeTables(c, keptSchema)
	if err != nil {
		return err
	}
	for _, t := range had {
		if !slices.ContainsFunc(made, func(m typed) bool { return m.Name == t.Name && slices.Equal(m.Columns, t.Columns) }) {
			return annona.Conflict("backup_schema", "the keys in the database have another form than those of the backup's version; restore with the version that wrote them, then upgrade")
		}
		list := columnList(t.Table)
		if err := c.exec("INSERT INTO " + pgx.Identifier{keysSchema, t.Name}.Sanitize() + " (" + list + ") OVERRIDING SYSTEM VALUE SELECT " + list +
			" FROM " + pgx.Identifier{keptSchema, t.Name}.Sanitize()); err != nil {
			return err
		}
	}
	return c.exec("DROP SCHEMA " + keptSchema + " CASCADE")
}

// dropUnfinished removes the registry of a restore that did not finish, and no other; keys only
// when that restore has brought them.
func (c *conn) dropUnfinished() error {
	status, err := readStatus(c, len(migrations()))
	if err != nil || status.Version == 0 {
		return err
	}
	unfinished, err := c.counter(unfinishedCounter)
	switch {
	case err != nil:
		return err
	case unfinished == 0:
		return annona.Conflict("registry_exists", "the database holds a registry already, and a backup is restored into an empty one only; choose another database")
	case unfinished == keysLoaded:
		err = c.exec("DROP SCHEMA " + keysSchema + " CASCADE")
	}
	if err == nil {
		err = c.exec("DROP SCHEMA " + recordSchema + " CASCADE")
	}
	return err
}

// Unload removes a registry that was loaded and never released, with the keys that it has brought.
func Unload(ctx context.Context, url string) error {
	err := asOwner(ctx, url, func(c *conn) error {
		if err := lockSchema(c); err != nil {
			return err
		}
		return c.dropUnfinished()
	})
	return ended(ctx, "remove a restore", err)
}

// loader is the sink of Load, for one schema.
type loader struct {
	*conn
	session *pgconn.PgConn
	schema  string
	tables  []typed
	current *copyIn // COPY that is running; nil: none
	indexes []string
	values  bool // the table is sequencesTable
}

func (l *loader) load(fill annona.Fill) error {
	if err := l.empty(); err != nil {
		return err
	}
	err := fill(l)
	if ended := l.endCopy(err); err == nil {
		err = ended
	}
	if err != nil {
		return err
	}
	for _, sql := range l.indexes {
		if err := l.exec(sql); err != nil {
			return err
		}
	}
	return nil
}

// empty drops the indexes, which are made faster at the end, and what the schema brings along.
func (l *loader) empty() (err error) {
	if l.tables, err = describeTables(l.conn, l.schema); err != nil {
		return err
	}
	var drop []string
	err = l.each(`SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		WHERE c.relnamespace = to_regnamespace($1) AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)`, func(r row) error {
		drop, l.indexes = append(drop, "DROP INDEX "+r.text(0)), append(l.indexes, r.text(1))
		return nil
	}, l.schema)
	if err != nil {
		return err
	}
	for _, t := range l.tables {
		drop = append(drop, "DELETE FROM "+pgx.Identifier{l.schema, t.Name}.Sanitize())
	}
	for _, sql := range drop {
		if err := l.exec(sql); err != nil {
			return err
		}
	}
	return nil
}

// indexName is that of a column of the index of filters, which the dictionary has added.
var indexName = regexp.MustCompile(`^f_[a-z0-9_]{1,60}$`)

// Table begins a table of the schema. Columns of the index of filters are added.
func (l *loader) Table(t annona.Table) error {
	if err := l.endCopy(nil); err != nil {
		return err
	}
	if l.values = t.Name == sequencesTable.Name && slices.Equal(t.Columns, sequencesTable.Columns); l.values {
		return nil
	}
	at := slices.IndexFunc(l.tables, func(known typed) bool { return known.Name == t.Name })
	if at < 0 {
		return errForm()
	}
	types, err := l.columns(&l.tables[at], t)
	if err != nil {
		return err
	}
	l.current = startCopy(l.ctx, l.session, types, "COPY "+pgx.Identifier{l.schema, t.Name}.Sanitize()+" ("+columnList(t)+") FROM STDIN (FORMAT binary)")
	return nil
}

// columns returns the server's types of the columns of t, and adds those that the dictionary had.
func (l *loader) columns(have *typed, t annona.Table) (types []string, err error) {
	for _, column := range t.Columns {
		at := slices.IndexFunc(have.Columns, func(c annona.TableColumn) bool { return c.Name == column.Name })
		if at >= 0 && have.Columns[at] != column || at < 0 && !indexName.MatchString(column.Name) {
			return nil, errForm()
		}
		if at < 0 {
			kind, known := addedTypes[column.Type]
			if !known {
				return nil, errForm()
			}
			if err := l.exec("ALTER TABLE " + pgx.Identifier{l.schema, t.Name}.Sanitize() + " ADD COLUMN " + column.Name + " " + kind); err != nil {
				return nil, err
			}
			at = len(have.Columns)
			have.Columns, have.types = append(have.Columns, column), append(have.types, strings.Fields(kind)[0])
		}
		types = append(types, have.types[at])
	}
	return types, nil
}

var addedTypes = map[annona.CellType]string{annona.CellInteger: "bigint", annona.CellText: `text COLLATE "C"`}

func errForm() error {
	return annona.Conflict("backup_damaged", "the backup has a table or a column that its schema does not have; use another backup")
}

// Row takes a row.
func (l *loader) Row(row annona.TableRow) error {
	if !l.values {
		return l.current.row(row)
	}
	return l.moveSequence(string(row[0]), row[1])
}

func (l *loader) moveSequence(name string, value []byte) error {
	known, err := l.integer("SELECT count(*) FROM pg_sequences WHERE schemaname = $1 AND sequencename = $2", l.schema, name)
	if err != nil {
		return err
	}
	if known == 0 || value == nil {
		return errForm()
	}
	return l.exec("SELECT setval($1::text::regclass, $2)", pgx.Identifier{l.schema, name}.Sanitize(), int64(binary.BigEndian.Uint64(value)))
}

// endCopy ends the COPY that is running; because of an error, when there is one.
func (l *loader) endCopy(because error) error {
	if l.current == nil {
		return nil
	}
	c := l.current
	l.current = nil
	return c.end(because)
}
