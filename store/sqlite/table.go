package sqlite

import (
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// table is how the records of one root dataset are written.
type table struct {
	dataset string
	of      *annona.Dataset
	noun    string
	columns map[string]int // parameter of each column of the filters' index, by code of its field
	indexed []string       // the same codes, in order
	index   string
	find    string
	same    string // of a record, which is where it was found the last time
	other   string // finds by a key that is not the record's first one
	images  string
	deleted string // images of deleted records
	insert  string
	update  string
	params  int // of what both statements have in common
}

// tables returns the root datasets that have a table.
func tables() []table {
	return []table{{dataset: "households", noun: "household"}, {dataset: "individuals", noun: "individual"}}
}

// imageColumns are the columns that every write of a record sets, in the order of recordArgs.
var imageColumns = [...]string{"updated_at", "clear", "clear_groups", "sealed", "sealed_groups", "version", "digest", "as_of", "identifiers"}

// lineColumns are the household line of an individual, set by every write as well.
var lineColumns = [...]string{"household_number", "household_uid", "role", "role_source_code", "relationship_to_head", "area_code"}

// recordColumns are those that a new record has beside them.
var recordColumns = [...]string{"number", "uid", "source", "source_key", "received_at"}

// table returns how a dataset is written; the columns are read once in a transaction.
func (t *tx) table(dataset *annona.Dataset) (*table, error) {
	if known, ok := t.tables[dataset.Name]; ok {
		return known, nil
	}
	known, err := tableOf(dataset.Name)
	if err != nil {
		return nil, err
	}
	known.of = dataset
	return t.prepareTable(known)
}

// tableOf returns the table of a root dataset.
func tableOf(dataset string) (table, error) {
	for _, known := range tables() {
		if known.dataset == dataset {
			return known, nil
		}
	}
	return table{}, annona.Invalid("unknown_dataset", "only households and individuals are records of their own").On(dataset)
}

func (t *tx) prepareTable(tb table) (*table, error) {
	all, err := columnsOf(t.conn, tb.dataset)
	if err != nil {
		return nil, err
	}
	set := append([]string{}, imageColumns[:]...)
	if tb.dataset == "individuals" {
		set = append(set, lineColumns[:]...)
	}
	tb.columns = map[string]int{}
	for _, name := range all {
		if code, ok := strings.CutPrefix(name, "f_"); ok {
			set = append(set, name)
			tb.columns[code] = len(set)
			tb.indexed = append(tb.indexed, code)
		}
	}
	tb.params = len(set)
	added := append(append([]string{}, set...), recordColumns[:]...)
	tb.index = "SELECT f_" + strings.Join(tb.indexed, ", f_") + " FROM " + tb.dataset + " WHERE number = ?"
	tb.find = "SELECT number, digest, version FROM " + tb.dataset + " WHERE number = ? AND source = ? AND source_key = ?"
	tb.same = "SELECT version FROM " + tb.dataset + " WHERE number = ? AND source = ? AND source_key = ? AND digest = ?"
	tb.other = "SELECT o.number, o.digest, o.as_of, r.version FROM other_keys o LEFT JOIN " + tb.dataset +
		" r ON r.number = o.number WHERE o.source = ? AND o.source_key = ? AND o.dataset = '" + tb.dataset + "'"
	const known = "SELECT clear, clear_groups, sealed, sealed_groups, source, source_key, digest, as_of, version, uid, received_at, "
	home := "NULL"
	if tb.dataset == "individuals" {
		home = "household_number"
	}
	tb.images = known + "NULL, updated_at, " + home + ", identifiers FROM " + tb.dataset + " WHERE number = ?"
	tb.deleted = known + "before, NULL, NULL, NULL FROM deleted_records WHERE number = ? AND dataset = '" + tb.dataset + "'"
	tb.insert = fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", tb.dataset, strings.Join(added, ", "), strings.Repeat(", ?", len(added)-1))
	tb.update = fmt.Sprintf("UPDATE %s SET %s = ? WHERE number = ?", tb.dataset, strings.Join(set, " = ?, "))
	t.tables[tb.dataset] = &tb
	return &tb, nil
}

// bindRecord binds what both statements have in common; their own parameters follow. The digest is
// that of the record's first key.
func (tb *table) bindRecord(stmt *sqlite.Stmt, r *annona.StoredRecord, first *annona.RecordKey, l line, now string) error {
	if err := stmt.ClearBindings(); err != nil {
		return err
	}
	clear, clearGroups, err := r.Dataset.SplitGroups(r.Clear)
	if err != nil {
		return annona.Internal("write a record", err)
	}
	sealed, sealedGroups, err := annona.CutSealed(r.Sealed)
	if err != nil {
		return annona.Internal("write a record", err)
	}
	bindText(stmt, 1, now)
	bindBytes(stmt, 2, clear)
	bindBytes(stmt, 3, clearGroups)
	bindBytes(stmt, 4, sealed)
	bindBytes(stmt, 5, sealedGroups)
	stmt.BindInt64(6, int64(r.Version))
	stmt.BindBytes(7, first.Digest[:])
	bindTime(stmt, 8, first.AsOf)
	var memory [512]byte
	identifiers, err := annona.PackIdentifiers(memory[:0], r.Identifiers)
	if err != nil {
		return err
	}
	bindBytes(stmt, 9, identifiers)
	if tb.dataset == "individuals" {
		l.bind(stmt, len(imageColumns)+1)
	}
	return tb.bindIndex(stmt, r.Index)
}

// bindIndex binds the columns of the filters' index.
func (tb *table) bindIndex(stmt *sqlite.Stmt, index []annona.Value) error {
	for _, v := range index {
		if !isIndexed(v.Field) {
			continue
		}
		at, ok := tb.columns[v.Field.Code]
		if !ok {
			return annona.Internal("write a record", errNoColumn)
		}
		value, err := indexValue(v)
		if err != nil {
			return err
		}
		bind(stmt, at, value)
	}
	return nil
}
