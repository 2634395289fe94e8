package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"

	"github.com/annona-exchange/annona"
)

// Kind names this store in a backup.
const Kind = "sqlite"

var (
	_ annona.Dumper  = (*Store)(nil)
	_ annona.Reviver = (*Store)(nil)
)

// Dump gives the whole store, as of one moment, to what begin returns. It has a connection of its
// own: pages are read meanwhile as ever. Writers go on too; the write-ahead log keeps what they
// write until Dump has returned.
func (s *Store) Dump(ctx context.Context, begin func(annona.StoreState) (annona.TableSink, error)) error {
	return dump(ctx, s.readers.path, "dump the registry", begin)
}

// DumpSecrets gives the whole key store in the folder dir, as Store.Dump does the records.
func DumpSecrets(ctx context.Context, dir string, begin func(annona.StoreState) (annona.TableSink, error)) error {
	path := filepath.Join(dir, SecretsFileName)
	if !isThere(path) {
		return errNoSecrets()
	}
	return dump(ctx, path, "dump the key store", begin)
}

func dump(ctx context.Context, path, doing string, begin func(annona.StoreState) (annona.TableSink, error)) error {
	c, err := openReading(path)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetInterrupt(ctx.Done())
	var failed error // of begin or of its sink: comes back as it is
	err = c.snapshot(func(c *conn) error {
		state, err := c.state()
		if err != nil {
			return err
		}
		to, err := begin(state)
		if err != nil {
			failed = err
			return err
		}
		all, err := describeTables(c)
		if err != nil {
			return err
		}
		for _, t := range all {
			if slices.Contains(forgotten(), t.Name) {
				continue
			}
			if err := c.dumpTable(t, to, &failed); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case failed != nil:
		return failed
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	}
	return fault(doing, err)
}

// forgotten are the tables that no backup has: a restore makes every position of the log void, and
// with it what was remembered of followers; tokens live for minutes, whoever was signed in
// signs in again, and lets applications act again, and export jobs read at positions. What rows became is
// learned again by the next load.
func forgotten() []string {
	return []string{"followers", "follower_views", "follower_ranges", "tokens", "export_jobs", "export_parts", "delegations", "assertion_claims", "sessions", "attempts", "row_blocks"}
}

// state says where the store stands at the moment of the transaction.
func (c *conn) state() (annona.StoreState, error) {
	state := annona.StoreState{Kind: Kind}
	version, err := c.integer("PRAGMA user_version")
	if err != nil {
		return state, err
	}
	state.Schema = int(version)
	isRegistry, err := c.integer("SELECT count(*) FROM sqlite_master WHERE name = 'ledger_nodes'")
	if err != nil || isRegistry == 0 {
		return state, err
	}
	if state.Position, err = c.integer("SELECT coalesce(max(seq), 0) FROM events"); err != nil {
		return state, err
	}
	if state.Epoch, err = c.text("SELECT lower(hex(epoch)) FROM log_epoch"); err != nil {
		return state, err
	}
	if state.LedgerSize, err = treeSize(c); err != nil {
		return state, err
	}
	edge, err := readEdge(c, state.LedgerSize)
	if err == nil && state.LedgerSize > 0 {
		state.LedgerRoot, err = edge.GetRootHash(nil)
	}
	return state, err
}

// describeTables describes every table of a file, in order of name.
func describeTables(c *conn) (all []annona.Table, err error) {
	err = c.each(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`, func(s *sqlite.Stmt) error {
		all = append(all, annona.Table{Name: s.ColumnText(0)})
		return nil
	})
	for i := range all {
		if err == nil {
			all[i].Columns, err = describe(c, all[i].Name)
		}
	}
	return all, err
}

var errColumnType = errors.New("a column has a type that a backup does not know")

func describe(c *conn, table string) (columns []annona.TableColumn, err error) {
	err = c.each("SELECT name, type FROM pragma_table_info(?)", func(s *sqlite.Stmt) error {
		t, known := cellTypes[s.ColumnText(1)]
		if !known {
			return errColumnType
		}
		columns = append(columns, annona.TableColumn{Name: s.ColumnText(0), Type: t})
		return nil
	}, table)
	return columns, err
}

var cellTypes = map[string]annona.CellType{"INTEGER": annona.CellInteger, "TEXT": annona.CellText, "BLOB": annona.CellBytes}

// dumpTable gives a table with its rows, in the order in which they lie.
func (c *conn) dumpTable(t annona.Table, to annona.TableSink, failed *error) error {
	if *failed = to.Table(t); *failed != nil {
		return *failed
	}
	row := make(annona.TableRow, len(t.Columns))
	cells := make([][]byte, len(t.Columns)) // memory of the row, reused
	return c.each("SELECT "+columnList(t)+" FROM "+quoted(t.Name), func(s *sqlite.Stmt) error {
		for i, column := range t.Columns {
			if row[i] = nil; s.ColumnIsNull(i) {
				continue
			}
			if column.Type == annona.CellInteger {
				cells[i] = binary.BigEndian.AppendUint64(cells[i][:0], uint64(s.ColumnInt64(i)))
			} else {
				cells[i] = appendColumn(cells[i][:0], s, i)
			}
			row[i] = cells[i][:len(cells[i]):len(cells[i])]
			if row[i] == nil {
				row[i] = []byte{}
			}
		}
		*failed = to.Row(row)
		return *failed
	})
}

func columnList(t annona.Table) string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = quoted(c.Name)
	}
	return strings.Join(names, ", ")
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// loadingSuffix marks a file that is being loaded. It counts for nothing until it has its name.
const loadingSuffix = ".restoring"

// Load makes the registry of the folder dir from a backup; Open brings its schema up to date. The
// registry appears as a whole when Load returns, and Open refuses it until Store.Release: whoever
// restores has more to do. One that was loaded and never released is replaced.
//
// It refuses with codes registry_exists, keys_exist, secrets_missing, store_too_new, or
// backup_damaged when a table or column is none of that schema.
func Load(ctx context.Context, dir string, from annona.Contents) error {
	if from.Schema > len(migrations().Migrations) || from.Schema < 1 || from.Keys != nil && (from.KeySchema > len(secretsMigrations().Migrations) || from.KeySchema < 1) {
		return annona.Conflict("store_too_new", "the backup was written by a newer version of Annona; use that version or a newer one")
	}
	if err := makeRoom(dir, from.Keys != nil); err != nil {
		return err
	}
	records, keys := filepath.Join(dir, FileName), filepath.Join(dir, SecretsFileName)
	if from.Keys == nil {
		return loadFile(ctx, records, version(migrations(), from.Schema), from.Records, keysKept)
	}
	if err := loadFile(ctx, records, version(migrations(), from.Schema), from.Records, keysLoaded); err != nil {
		return err
	}
	err := loadFile(ctx, keys, version(secretsMigrations(), from.KeySchema), from.Keys, 0)
	if err != nil {
		err = errors.Join(err, removeFiles(records))
	}
	return err
}

// version returns a schema as it was in that version.
func version(s sqlitemigration.Schema, n int) sqlitemigration.Schema {
	s.Migrations = s.Migrations[:n]
	return s
}

// makeRoom refuses a folder whose registry or keys are not to be replaced, and removes what a
// restore that did not finish has left.
func makeRoom(dir string, bringKeys bool) error {
	records, keys := filepath.Join(dir, FileName), filepath.Join(dir, SecretsFileName)
	unfinished := int64(0)
	if isThere(records) {
		var err error
		if unfinished, err = readUnfinished(records); err != nil || unfinished == 0 {
			return annona.Conflict("registry_exists", "the folder holds a registry already, and a backup is restored into an empty place only; choose another folder")
		}
	}
	switch {
	case !bringKeys && (!isThere(keys) || unfinished == keysLoaded):
		return annona.Conflict("secrets_missing", "the folder has no key store that could be kept; put %s back, or give a copy of the keys with --keys FILE", SecretsFileName)
	case bringKeys && isThere(keys) && unfinished != keysLoaded:
		return annona.Conflict("keys_exist", "the folder holds a key store already; use it with --keys kept, or choose another folder")
	}
	if bringKeys && unfinished == keysLoaded {
		if err := removeFiles(keys); err != nil {
			return err
		}
	}
	return removeFiles(records)
}

// Unload removes a registry that was loaded and never released, with the keys that it has brought.
func Unload(dir string) error {
	records, keys := filepath.Join(dir, FileName), filepath.Join(dir, SecretsFileName)
	unfinished, err := readUnfinished(records)
	switch {
	case err != nil:
		return fault("remove a restore", err)
	case unfinished == 0:
		return annona.Conflict("registry_exists", "the registry of the folder is in use; it is not removed")
	case unfinished == keysLoaded:
		if err := removeFiles(keys); err != nil {
			return err
		}
	}
	return removeFiles(records)
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// removeFiles removes a file with what belongs to it.
func removeFiles(path string) error {
	for _, name := range []string{path, path + "-wal", path + "-shm", path + loadingSuffix} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fileFault(err)
		}
	}
	return nil
}

// readUnfinished says whether the registry was loaded and never released, and where its keys come
// from.
func readUnfinished(path string) (int64, error) {
	c, err := openReading(path)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.counter(unfinishedCounter)
}

// loadFile makes one file. It has its name only when all of it has reached the disk.
func loadFile(ctx context.Context, path string, schema sqlitemigration.Schema, fill annona.Fill, unfinished int64) (err error) {
	loading := path + loadingSuffix
	if err := prepareFile(loading, true); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFiles(path))
		}
	}()
	if err := fillFile(ctx, loading, schema, fill, unfinished); err != nil {
		return err
	}
	return publish(loading, path)
}

func fillFile(ctx context.Context, path string, schema sqlitemigration.Schema, fill annona.Fill, unfinished int64) error {
	c, err := open(path, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetInterrupt(ctx.Done())
	// Nobody sees the file before it is whole, so that it needs no journal. Indexes are sorted in
	// files, which show less than the registry does: in memory they would grow with it.
	for _, pragma := range []string{"page_size = 8192", "journal_mode = off", "synchronous = off", "locking_mode = exclusive", "cache_size = -32768", "temp_store = file"} {
		if err := c.exec("PRAGMA " + pragma); err != nil {
			return fault("make the file of a restore", err)
		}
	}
	if err := sqlitemigration.Migrate(ctx, c.Conn, schema); err != nil {
		return fault("make the schema of a restore", err)
	}
	l := &loader{conn: c}
	err = c.transaction(ctx, func() error {
		if err := l.empty(); err != nil {
			return err
		}
		if err := fill(l); err != nil {
			return err
		}
		for _, sql := range l.indexes {
			if err := c.exec(sql); err != nil {
				return err
			}
		}
		if unfinished == 0 {
			return nil
		}
		return c.exec("INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", unfinishedCounter, unfinished)
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return fault("load a backup", err)
}

// publish gives a file that was loaded its name, when all of it has reached the disk.
func publish(path, final string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fileFault(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return annona.Internal("write the file of a restore", err)
	}
	if err := os.Rename(path, final); err != nil {
		return fileFault(err)
	}
	folder, err := os.Open(filepath.Dir(final))
	if err != nil {
		return fileFault(err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// loader is the sink of Load.
type loader struct {
	conn    *conn
	indexes []string // to be made again when everything is in
	insert  *sqlite.Stmt
	table   annona.Table
}

// empty drops the indexes, which are made faster at the end, and what the schema brings along.
func (l *loader) empty() error {
	var drop []string
	err := l.conn.each("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL", func(s *sqlite.Stmt) error {
		drop, l.indexes = append(drop, "DROP INDEX "+quoted(s.ColumnText(0))), append(l.indexes, s.ColumnText(1))
		return nil
	})
	if err != nil {
		return err
	}
	all, err := describeTables(l.conn)
	if err != nil {
		return err
	}
	for _, t := range all {
		drop = append(drop, "DELETE FROM "+quoted(t.Name))
	}
	for _, sql := range drop {
		if err := l.conn.exec(sql); err != nil {
			return err
		}
	}
	return nil
}

// indexName is that of a column of the index of filters, which the dictionary has added.
var indexName = regexp.MustCompile(`^f_[a-z0-9_]{1,60}$`)

// Table begins a table of the schema. Columns of the index of filters are added.
func (l *loader) Table(t annona.Table) error {
	have, err := describe(l.conn, t.Name)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		return errForm()
	}
	for _, column := range t.Columns {
		if slices.Contains(have, column) {
			continue
		}
		if !indexName.MatchString(column.Name) || slices.ContainsFunc(have, func(c annona.TableColumn) bool { return c.Name == column.Name }) {
			return errForm()
		}
		if err := l.conn.exec("ALTER TABLE " + quoted(t.Name) + " ADD COLUMN " + quoted(column.Name) + " " + engineTypes[column.Type]); err != nil {
			return err
		}
		have = append(have, column)
	}
	l.table = t
	l.insert, err = l.conn.prepare("INSERT INTO " + quoted(t.Name) + " (" + columnList(t) + ") VALUES (?" + strings.Repeat(", ?", len(t.Columns)-1) + ")")
	return err
}

func errForm() error {
	return annona.Conflict("backup_damaged", "the backup has a table or a column that its schema does not have; use another backup")
}

var engineTypes = map[annona.CellType]string{annona.CellInteger: "INTEGER", annona.CellText: "TEXT", annona.CellBytes: "BLOB"}

// Row takes a row.
func (l *loader) Row(row annona.TableRow) error {
	for i, cell := range row {
		switch {
		case cell == nil:
			l.insert.BindNull(i + 1)
		case l.table.Columns[i].Type == annona.CellInteger:
			l.insert.BindInt64(i+1, int64(binary.BigEndian.Uint64(cell)))
		case l.table.Columns[i].Type == annona.CellText:
			l.insert.BindText(i+1, string(cell))
		default:
			l.insert.BindBytes(i+1, cell)
		}
	}
	_, err := l.insert.Step()
	return errors.Join(err, l.insert.Reset())
}
