package postgres

import (
	"context"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// TestStore runs the suite of all stores in the role that serves. Only attributes are declared
// and the ledger is pruned by the owner.
func TestStore(t *testing.T) {
	c := testCluster(t)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		database := c.newRegistry(t)
		return served{c.open(t, "app", database), func() tested { return c.open(t, "postgres", database) }}
	})
}

type served struct {
	tested
	owner func() tested
}

func (s served) PruneLedger(ctx context.Context, below int64) (int64, error) {
	return s.owner().PruneLedger(ctx, below)
}

func (s served) Declare(ctx context.Context, x annona.Extension, extended *annona.Dictionary, entry annona.LedgerRow) error {
	return s.owner().Declare(ctx, x, extended, entry)
}
