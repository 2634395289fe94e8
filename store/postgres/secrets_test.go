package postgres

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

func TestKeys(t *testing.T) {
	c := testCluster(t)
	storetest.Keys(t, func(t *testing.T) annona.KeyStore {
		s, err := OpenSecrets(t.Context(), c.URL("app", c.newRegistry(t)))
		if err != nil {
			t.Fatal(causes(err))
		}
		t.Cleanup(func() { s.Close() })
		return s
	})
}

func TestADatabaseWithoutKeys(t *testing.T) {
	c := testCluster(t)
	c.newRegistry(t) // makes the role
	if _, err := OpenSecrets(t.Context(), c.URL("app", "postgres")); annona.CodeOf(err) != "store_missing" {
		t.Fatalf("a database without keys: %v", err)
	}
}
