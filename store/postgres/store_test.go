package postgres

import (
	"testing"

	"github.com/annona-exchange/annona/store/storetest"
)

// TestStore runs the suite of all stores, in the owner's role because it declares attributes.
func TestStore(t *testing.T) {
	c := testCluster(t)
	storetest.Run(t, func(t *testing.T) storetest.Store { return c.open(t, "postgres", c.newRegistry(t)) })
}
