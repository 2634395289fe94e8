package sqlite

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"

	"github.com/annona-exchange/annona"
)

//go:embed schema.sql
var schemaV1 string

// applicationID marks the file as a registry of Annona: "ANNO" in its header.
const applicationID = 0x414e4e4f

// migrations grow at the end only.
func migrations() sqlitemigration.Schema {
	return sqlitemigration.Schema{AppID: applicationID, Migrations: []string{schemaV1}}
}

// prepareSchema brings the schema up to date and gives the filterable fields of the
// dictionary their columns.
func prepareSchema(c *conn, d *annona.Dictionary) error {
	const doing = "bring the registry's schema up to date"
	if err := migrate(c, migrations(), doing); err != nil {
		return err
	}
	if d == nil {
		return nil
	}
	missing, err := missingColumns(c, d)
	if err != nil || len(missing) == 0 {
		return fault(doing, err)
	}
	return fault(doing, c.transaction(context.Background(), func() error { return addColumns(c, d) }))
}

// migrate brings a file's schema up to date. One that is, is only read: to migrate takes a turn to write,
// and behind an import that would be a long wait.
func migrate(c *conn, schema sqlitemigration.Schema, doing string) error {
	current, err := checkSchema(c, schema)
	if err != nil || current {
		return err
	}
	return fault(doing, sqlitemigration.Migrate(context.Background(), c.Conn, schema))
}

// checkSchema refuses a file of something else, and one that a newer version has written. It reports
// whether the schema is up to date.
func checkSchema(c *conn, schema sqlitemigration.Schema) (current bool, err error) {
	version, err := c.integer("PRAGMA user_version")
	if err != nil {
		return false, fault("open the registry", err)
	}
	owner, err := c.integer("PRAGMA application_id")
	if err != nil {
		return false, fault("open the registry", err)
	}
	tables, err := c.integer("SELECT count(*) FROM sqlite_master")
	if err != nil {
		return false, fault("open the registry", err)
	}
	switch {
	case tables > 0 && owner != int64(schema.AppID):
		return false, annona.Conflict("store_foreign", "the registry's file in the data folder was not written by Annona; choose another folder")
	case version > int64(len(schema.Migrations)):
		return false, annona.Conflict("store_too_new", "the data folder was written by a newer version of Annona; use that version or a newer one")
	}
	return tables > 0 && version == int64(len(schema.Migrations)), nil
}

// column is a column of the index of filters.
type column struct{ table, name, kind string }

// addColumns gives every filterable field of the dictionary its column. It runs inside a
// transaction, so that two processes do not add the same one.
func addColumns(c *conn, d *annona.Dictionary) error {
	missing, err := missingColumns(c, d)
	if err != nil {
		return err
	}
	for _, m := range missing {
		if err := c.exec(fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", m.table, m.name, m.kind)); err != nil {
			return err
		}
	}
	return nil
}

func missingColumns(c *conn, d *annona.Dictionary) ([]column, error) {
	var missing []column
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
func columnsOf(c *conn, table string) ([]string, error) {
	var names []string
	err := c.each("SELECT name FROM pragma_table_info(?)", func(s *sqlite.Stmt) error {
		names = append(names, s.ColumnText(0))
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

// indexColumn is the name of a field's column. Codes are snake_case: the dictionary has
// checked them.
func indexColumn(f *annona.Field) string { return "f_" + f.Code }

func indexType(f *annona.Field) string {
	if f.Type.IsNumeric() && !isList(f) {
		return "INTEGER"
	}
	return "TEXT"
}
