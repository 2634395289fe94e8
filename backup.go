package annona

import "context"

// CellType is the type of a column in a backup. There are three, so that a backup does not depend
// on the file format of an engine.
type CellType string

// The types of cells: eight bytes big-endian in two's complement; UTF-8; bytes as they are.
const (
	CellInteger CellType = "integer"
	CellText    CellType = "text"
	CellBytes   CellType = "bytes"
)

// Table describes a table of a store as a backup carries it.
type Table struct {
	Name    string        `json:"name"`
	Columns []TableColumn `json:"columns"`
}

// TableColumn is a column of a Table.
type TableColumn struct {
	Name string   `json:"name"`
	Type CellType `json:"type"`
}

// TableRow has one cell for each column of its table; nil is absent.
type TableRow [][]byte

// TableSink takes tables, each followed by its rows.
type TableSink interface {
	// Table begins a table.
	Table(t Table) error
	// Row takes the next row of the table that was begun last. It is good until Row returns.
	Row(row TableRow) error
}

// Fill gives tables with their rows to a sink.
type Fill func(to TableSink) error

// Contents is what a store is made from when it is restored.
type Contents struct {
	Schema  int  // version of the tables in Records
	Records Fill // as Dump gave them
	// Keys gives the key store, of version KeySchema. Nil: the keys that are there are kept.
	Keys      Fill
	KeySchema int
}

// StoreState says where a store stands.
type StoreState struct {
	Kind       string `json:"store"`          // sqlite or postgresql
	Schema     int    `json:"schema_version"` // of its tables
	Position   int64  `json:"log_position"`   // the last number of the log
	Epoch      string `json:"log_epoch"`      // of the log; positions of another epoch mean nothing
	LedgerSize int64  `json:"ledger_size"`    // leaves of the ledger's tree
	LedgerRoot []byte `json:"ledger_root"`    // of that tree
}

// Dumper hands out a whole store for a backup.
type Dumper interface {
	// Dump calls begin with the state of the store and then gives every table with every row to
	// what begin returned, all of one moment, while others go on writing. An error of either
	// comes back as it is.
	Dump(ctx context.Context, begin func(StoreState) (TableSink, error)) error
}

// Reviver makes a store that was loaded from a backup fit to serve.
type Reviver interface {
	// Renew begins a new epoch of the log, so that no position of before is taken for one of
	// after, moves the counters of numbers so that none up to last is given out again, and
	// appends entries, in one transaction.
	Renew(ctx context.Context, last map[string]Number, entries ...LedgerRow) error
	// Release lets the store serve: until then Open refuses it with code restore_unfinished.
	Release(ctx context.Context) error
}
