package postgres

import (
	"context"
	"encoding/json"

	"github.com/annona-exchange/annona"
)

// Agreements returns the latest version of every agreement, by name.
func (s *Store) Agreements(ctx context.Context) (all []annona.Agreement, err error) {
	err = s.readers.ask(ctx, "read the agreements", func(c *conn) error {
		all = nil
		return c.each("SELECT DISTINCT ON (name) body FROM agreements ORDER BY name, version DESC", func(r row) error {
			var a annona.Agreement
			if err := json.Unmarshal(r[0], &a); err != nil {
				return annona.Internal("read the agreements", err)
			}
			all = append(all, a)
			return nil
		})
	})
	return all, err
}
