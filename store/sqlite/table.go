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
	noun    string
	columns map[string]int // parameter of each column of the filters' index
	find    string
	insert  string
	update  string
}

// tables returns the root datasets that have a table.
func tables() []table {
	return []table{{dataset: "households", noun: "household"}, {dataset: "individuals", noun: "individual"}}
}

// imageColumns are the columns that every write of a record sets, in the order of recordArgs.
var imageColumns = [...]string{"updated_at", "clear", "sealed", "key_material", "version", "digest"}

// recordColumns are those that a new record has beside them.
var recordColumns = [...]string{"number", "uid", "source", "source_key", "received_at"}

// table returns how a dataset is written; the columns are read once in a transaction.
func (t *tx) table(dataset *annona.Dataset) (*table, error) {
	if known, ok := t.tables[dataset.Name]; ok {
		return known, nil
	}
	for _, known := range tables() {
		if known.dataset == dataset.Name {
			return t.prepareTable(known)
		}
	}
	return nil, annona.Invalid("unknown_dataset", "only households and individuals are loaded as records").On(dataset.Name)
}

func (t *tx) prepareTable(tb table) (*table, error) {
	all, err := columnsOf(t.conn, tb.dataset)
	if err != nil {
		return nil, err
	}
	set := append([]string{}, imageColumns[:]...)
	tb.columns = map[string]int{}
	for _, name := range all {
		if strings.HasPrefix(name, "f_") {
			set = append(set, name)
			tb.columns[name] = len(set)
		}
	}
	added := append(append([]string{}, set...), recordColumns[:]...)
	tb.find = "SELECT number, uid, digest, version FROM " + tb.dataset + " WHERE source = ? AND source_key = ?"
	tb.insert = fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", tb.dataset, strings.Join(added, ", "), strings.Repeat(", ?", len(added)-1))
	tb.update = fmt.Sprintf("UPDATE %s SET %s = ? WHERE number = ?", tb.dataset, strings.Join(set, " = ?, "))
	t.tables[tb.dataset] = &tb
	return &tb, nil
}

// bindRecord binds what both statements have in common and returns the next parameter.
func (tb *table) bindRecord(stmt *sqlite.Stmt, r *annona.StoredRecord, version int64, now string) (int, error) {
	if err := stmt.ClearBindings(); err != nil {
		return 0, err
	}
	for i, a := range []any{now, r.Clear, r.Sealed, r.KeyMaterial, version, r.Digest[:]} {
		bind(stmt, i+1, a)
	}
	for _, v := range r.Index {
		if !isIndexed(v.Field) {
			continue
		}
		at, ok := tb.columns[indexColumn(v.Field)]
		if !ok {
			return 0, annona.Internal("write a record", errNoColumn)
		}
		value, err := indexValue(v)
		if err != nil {
			return 0, err
		}
		bind(stmt, at, value)
	}
	return len(imageColumns) + len(tb.columns) + 1, nil
}
