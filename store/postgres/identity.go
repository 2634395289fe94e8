package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

// identity tells a database from any other: a standby has that of its primary.
type identity struct{ cluster, database int64 }

func readIdentity(c *conn) (i identity, err error) {
	_, err = c.one("SELECT (SELECT system_identifier FROM pg_control_system()), (SELECT oid::bigint FROM pg_database WHERE datname = current_database())", func(r row) {
		i = identity{r.integer(0), r.integer(1)}
	})
	return i, err
}

func (p *pool) identity(ctx context.Context) (i identity, err error) {
	err = p.ask(ctx, "open the registry", func(c *conn) (err error) {
		i, err = readIdentity(c)
		return err
	})
	return i, err
}

// BelongTo refuses secrets of another database than the registry's, with the code keys_foreign:
// what is sealed under them there would be lost here.
func (s *Secrets) BelongTo(ctx context.Context, registry *Store) error {
	mine, err := s.pool.identity(ctx)
	if err != nil {
		return err
	}
	theirs, err := registry.readers.identity(ctx)
	if err == nil && mine != theirs {
		return annona.Conflict("keys_foreign", "the keys lie in another database than the registry; --keys-database names the same database as --database, for the role of the keys").On("keys-database")
	}
	return err
}
