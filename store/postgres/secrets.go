package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// secretsTimeout bounds one question for a secret.
const secretsTimeout = 30 * time.Second

// Secrets keeps the wrapped secrets of the vault, in a schema apart from the records that they
// protect. It never sees one unwrapped. It is safe for concurrent use.
type Secrets struct{ pool *pool }

// OpenSecrets connects to the secrets of the registry in that database. Its errors are those
// of Open.
func OpenSecrets(ctx context.Context, url string) (*Secrets, error) {
	p, err := newPool(ctx, url, writing, 2)
	if err != nil {
		return nil, err
	}
	if err := p.ask(ctx, "open the secrets", func(c *conn) error { return checkSchema(c, nil) }); err != nil {
		p.close()
		return nil, err
	}
	return &Secrets{pool: p}, nil
}

// Close disconnects.
func (s *Secrets) Close() error {
	s.pool.close()
	return nil
}

func (s *Secrets) ask(doing string, fn func(*conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), secretsTimeout)
	defer cancel()
	return s.pool.ask(ctx, doing, fn)
}

// Get returns a wrapped secret; nil when there is none.
func (s *Secrets) Get(label string, version int) (wrapped []byte, err error) {
	err = s.ask("read a secret", func(c *conn) error {
		_, err := c.one("SELECT wrapped FROM annona_keys.secrets WHERE label = $1 AND version = $2", func(r row) { wrapped = r.bytes(0) }, label, version)
		return err
	})
	return wrapped, err
}

// Put stores a wrapped secret. It never overwrites one: a second secret of the same label and
// version is refused with the code secret_exists.
func (s *Secrets) Put(label string, version int, wrapped []byte) error {
	if label == "" || version < 1 || len(wrapped) == 0 {
		return annona.Invalid("secret_malformed", "a secret has a label, a version from 1 and content")
	}
	return s.ask("store a secret", func(c *conn) error {
		done, err := c.db.Exec(c.ctx, "INSERT INTO annona_keys.secrets (label, version, wrapped) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			label, int64(version), wrapped)
		if err == nil && done.RowsAffected() == 0 {
			return annona.Conflict("secret_exists", "there is a secret of this label and version already; secrets are never overwritten")
		}
		return err
	})
}

// Latest returns the wrapped secret with the highest version of a label; version 0 when there
// is none.
func (s *Secrets) Latest(label string) (version int, wrapped []byte, err error) {
	err = s.ask("read a secret", func(c *conn) error {
		_, err := c.one("SELECT version, wrapped FROM annona_keys.secrets WHERE label = $1 ORDER BY version DESC LIMIT 1", func(r row) {
			version, wrapped = int(r.integer(0)), r.bytes(1)
		}, label)
		return err
	})
	return version, wrapped, err
}
