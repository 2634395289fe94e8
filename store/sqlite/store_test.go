package sqlite

import (
	"context"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return openTest(t, t.TempDir()) })
}

// tested is a store with a look into its log.
type tested struct{ *Store }

func openTest(t testing.TB, dir string) tested {
	t.Helper()
	s, err := Open(dir, Options{Create: true, Readers: 2, Dictionary: annona.Standard(), Clock: storetest.Clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return tested{s}
}

func (s tested) Events(ctx context.Context) (events []annona.Event, err error) {
	err = s.readers.read(ctx, "read the log", func(c *conn) error {
		return c.each("SELECT seq, at, actor, dataset, record, version, kind, reason, before, client, load FROM events ORDER BY seq", func(stmt *sqlite.Stmt) error {
			events = append(events, annona.Event{
				Seq: stmt.ColumnInt64(0), At: columnTime(stmt, 1), Actor: stmt.ColumnText(2), Dataset: stmt.ColumnText(3),
				Record: annona.Number(stmt.ColumnInt64(4)), Version: stmt.ColumnInt(5), Kind: annona.EventKind(stmt.ColumnText(6)),
				Reason: stmt.ColumnText(7), Before: columnBytes(stmt, 8), Client: columnUID(stmt, 9), Load: stmt.ColumnInt64(10),
			})
			return nil
		})
	})
	return events, err
}
