package postgres

import (
	"slices"
	"strings"
	"sync"

	"github.com/annona-exchange/annona"
)

// column is a column of the index of filters.
type column struct{ table, name, kind string }

// addColumns gives every filterable field of the dictionary its column. It runs under the lock
// of the schema, so that two nodes do not add the same one.
func addColumns(c *conn, d *annona.Dictionary) error {
	missing, err := missingColumns(c, d)
	if err != nil {
		return err
	}
	for _, m := range missing {
		if err := c.exec("ALTER TABLE " + m.table + " ADD COLUMN " + m.name + " " + m.kind); err != nil {
			return err
		}
	}
	return nil
}

func missingColumns(c *conn, d *annona.Dictionary) (missing []column, err error) {
	for _, t := range tables() {
		dataset, ok := d.Dataset(t.dataset)
		if !ok {
			continue
		}
		have, err := columnsOf(c, t.dataset)
		if err != nil {
			return nil, err
		}
		for _, f := range dataset.Fields {
			if name := indexColumn(f); isIndexed(f) && !slices.Contains(have, name) {
				missing = append(missing, column{t.dataset, name, indexType(f)})
			}
		}
	}
	return missing, nil
}

// columnsOf returns the names of a table's columns.
func columnsOf(c *conn, table string) (names []string, err error) {
	err = c.each(`SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass('annona.' || $1::text) AND attnum > 0 AND NOT attisdropped
		ORDER BY attnum`, func(r row) error {
		names = append(names, r.text(0))
		return nil
	}, table)
	return names, err
}

// isIndexed reports whether the field has a column of its own beside the image.
func isIndexed(f *annona.Field) bool {
	return f.Filter == annona.FilterRange && !f.Derived && f.Type != annona.TypeGroup || isFlags(f)
}

// isFlags reports whether the field is the group of quality flags. Filters ask for the codes
// in it, so that these have a column.
func isFlags(f *annona.Field) bool { return f.Type == annona.TypeGroup && f.Code == "quality_flags" }

// isList reports whether the field's column holds several values.
func isList(f *annona.Field) bool { return f.Many || isFlags(f) }

// indexColumn is the name of a field's column. Codes are snake_case and at most 60 characters
// long: the dictionary has checked them, and the server keeps 63.
func indexColumn(f *annona.Field) string { return "f_" + f.Code }

func indexType(f *annona.Field) string {
	if f.Type.IsNumeric() && !isList(f) {
		return "bigint"
	}
	return `text COLLATE "C"`
}

// table is how the records of one root dataset are written.
type table struct {
	dataset     string
	noun        string
	indexed     []string       // codes of the fields that have columns, in order
	at          map[string]int // position of each of them
	columns     []string       // of a new record: those of its own, the image's, the line's, the index
	find        string
	same        string // of records, which are where they were found the last time
	other       string // finds by keys that are not the records' first ones
	lock        string
	lockDeleted string
	update      string
}

// sequences give out the numbers of records.
var sequences = map[string]string{"households": "households_number", "individuals": "individuals_number"}

// tables returns the root datasets that have a table.
func tables() []table {
	return []table{{dataset: "households", noun: "household"}, {dataset: "individuals", noun: "individual"}}
}

// recordColumns are set once, when a record is made.
var recordColumns = []string{"number", "uid", "source", "source_key", "received_at"}

// imageColumns are set by every write of a record.
var imageColumns = []string{"updated_at", "clear", "clear_groups", "sealed", "sealed_groups", "version", "digest", "as_of", "identifiers"}

// lineColumns are the household line of an individual, set by every write as well.
var lineColumns = []string{"household_number", "household_uid", "role", "role_source_code", "relationship_to_head", "area_code"}

// preparedTables are the tables whose columns have been read. A store keeps them: columns are added
// only, by whoever declares attributes, and a transaction that misses one looks again.
type preparedTables struct {
	mu    sync.Mutex
	known map[string]*table
}

func (p *preparedTables) get(dataset string) *table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[dataset]
}

func (p *preparedTables) put(tb *table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[string]*table{}
	}
	p.known[tb.dataset] = tb
}

func (p *preparedTables) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}

// table returns how a dataset is written, the same within a transaction.
func (t *tx) table(dataset string) (*table, error) {
	if known, ok := t.tables[dataset]; ok {
		return known, nil
	}
	tb := t.prepared.get(dataset)
	t.early = t.early || tb != nil
	if tb == nil {
		named, err := tableOf(dataset)
		if err != nil {
			return nil, err
		}
		if tb, err = t.prepareTable(named); err != nil {
			return nil, err
		}
		t.prepared.put(tb)
	}
	t.tables[dataset] = tb
	return tb, nil
}

// tableOf returns the table of a root dataset.
func tableOf(dataset string) (table, error) {
	for _, known := range tables() {
		if known.dataset == dataset {
			return known, nil
		}
	}
	return table{}, errDataset(dataset)
}

func (t *tx) prepareTable(tb table) (*table, error) {
	all, err := columnsOf(t.conn, tb.dataset)
	if err != nil {
		return nil, err
	}
	tb.at = map[string]int{}
	var compared []string
	set := slices.Clone(imageColumns)
	if tb.dataset == "individuals" {
		set = append(set, lineColumns...)
	}
	for _, name := range all {
		if code, ok := strings.CutPrefix(name, "f_"); ok {
			tb.at[code] = len(tb.indexed)
			tb.indexed = append(tb.indexed, code)
			set, compared = append(set, name), append(compared, name+"::text")
		}
	}
	tb.columns = append(slices.Clone(recordColumns), set...)
	tb.find = `SELECT k.position, r.digest, r.number, r.version, CASE WHEN (SELECT EXISTS (SELECT FROM tombstones)) THEN coalesce((SELECT true FROM tombstones s
			WHERE s.source = k.source COLLATE "C" AND s.source_key = k.key COLLATE "C" AND s.dataset = '` + tb.dataset + `' AND s.expires_at > $3 LIMIT 1), false) ELSE false END,
			(SELECT EXISTS (SELECT FROM other_keys) OR EXISTS (SELECT FROM deleted_records))
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position)
		LEFT JOIN ` + tb.dataset + ` r ON r.source = k.source COLLATE "C" AND r.source_key = k.key COLLATE "C"`
	tb.same = `SELECT k.position, r.version FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY k (number, source, key, digest, position)
		JOIN ` + tb.dataset + ` r ON r.number = k.number AND r.source = k.source COLLATE "C" AND r.source_key = k.key COLLATE "C" AND r.digest = k.digest`
	tb.other = `SELECT k.position, o.number, o.digest, o.as_of, r.version FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position)
		JOIN other_keys o ON o.source = k.source COLLATE "C" AND o.source_key = k.key COLLATE "C" AND o.dataset = '` + tb.dataset + `'
		LEFT JOIN ` + tb.dataset + ` r ON r.number = o.number`
	const known = "number, version, uid, digest, clear, clear_groups, sealed, sealed_groups, source, source_key, as_of, received_at, "
	home := "NULL::bigint"
	if tb.dataset == "individuals" {
		home = "household_number"
	}
	tb.lock = "SELECT " + known + "updated_at, " + home + ", identifiers, " + strings.Join(compared, ", ") + " FROM " + tb.dataset + " WHERE number = ANY ($1) ORDER BY number FOR NO KEY UPDATE"
	tb.lockDeleted = "SELECT " + known + "before FROM deleted_records WHERE dataset = '" + tb.dataset + "' AND number = ANY ($1) ORDER BY number FOR UPDATE"
	var assigned []string
	for i, name := range set {
		assigned = append(assigned, name+" = $"+itoa(i+2))
	}
	tb.update = "UPDATE " + tb.dataset + " SET " + strings.Join(assigned, ", ") + " WHERE number = $1"
	return &tb, nil
}

// recordValues appends those of recordColumns. A record that comes back was received when it came first.
func recordValues(dst []any, w *written, now string) []any {
	if w.deleted {
		now = w.receivedAt
	}
	return append(dst, int64(w.number), w.uid[:], w.key.Source, w.key.Key, now)
}

// setValues are those that every write sets, in the order of the table's columns.
func (tb *table) setValues(dst []any, w *written, now string) ([]any, error) {
	r, first := w.record, w.first()
	clear, clearGroups, err := r.Dataset.SplitGroups(r.Clear)
	if err != nil {
		return nil, annona.Internal("write a record", err)
	}
	sealed, sealedGroups, err := annona.CutSealed(r.Sealed)
	if err != nil {
		return nil, annona.Internal("write a record", err)
	}
	identifiers, err := annona.PackIdentifiers(nil, r.Identifiers)
	if err != nil {
		return nil, err
	}
	dst = append(dst, now, value(clear), value(clearGroups), value(sealed), value(sealedGroups), int64(r.Version), first.Digest[:], nanoseconds(first.AsOf), value(identifiers))
	if tb.dataset == "individuals" {
		dst = w.line.values(dst)
	}
	dst = append(dst, make([]any, len(tb.indexed))...)
	index := dst[len(dst)-len(tb.indexed):]
	for _, v := range r.Index {
		if !isIndexed(v.Field) {
			continue
		}
		at, ok := tb.at[v.Field.Code]
		if !ok {
			return nil, annona.Internal("write a record", errNoColumn)
		}
		if index[at], err = indexValue(v); err != nil {
			return nil, err
		}
	}
	return dst, nil
}
