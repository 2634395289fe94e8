package sqlite

import (
	"context"
	"encoding/json"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Extensions returns what was declared, in order of declaration.
func (s *Store) Extensions(ctx context.Context) (extensions []annona.Extension, err error) {
	err = s.readers.read(ctx, "read the declared attributes", func(c *conn) error {
		return c.each("SELECT body FROM extensions ORDER BY position", func(stmt *sqlite.Stmt) error {
			var x annona.Extension
			if err := json.Unmarshal([]byte(stmt.ColumnText(0)), &x); err != nil {
				return annona.Internal("read the declared attributes", err)
			}
			extensions = append(extensions, x)
			return nil
		})
	})
	return extensions, err
}

// Declare stores an extension and prepares columns for its filterable fields. The fields keep
// the tags that extended gave them, for ever.
func (s *Store) Declare(ctx context.Context, x annona.Extension, extended *annona.Dictionary, entry annona.LedgerRow) error {
	body, err := json.Marshal(withTags(x, extended))
	if err != nil {
		return annona.Internal("declare attributes", err)
	}
	return s.writer.update(ctx, "declare attributes", func(t *tx) error {
		if err := addColumns(t.conn, extended); err != nil {
			return err
		}
		if err := t.conn.exec("INSERT INTO extensions (body) VALUES (?)", string(body)); err != nil {
			return err
		}
		return t.AppendEntry(ctx, entry)
	})
}

// withTags returns the extension with the tags that its fields have in the dictionary.
func withTags(x annona.Extension, d *annona.Dictionary) annona.Extension {
	x.Fields = slices.Clone(x.Fields)
	for i := range x.Fields {
		f := &x.Fields[i]
		f.Base = nil
		if dataset, ok := d.Dataset(f.Dataset); ok {
			if known, ok := dataset.Field(f.Code); ok {
				f.Tag = known.Tag
			}
		}
	}
	return x
}
