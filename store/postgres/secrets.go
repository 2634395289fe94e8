package postgres

import (
	"context"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

// secretsTimeout bounds one question for a secret.
const secretsTimeout = 30 * time.Second

// Secrets keeps the wrapped keys of the vault, in a schema apart from the records that they
// protect. It implements annona.KeyStore: it never sees a key unwrapped. It is safe for concurrent
// use.
type Secrets struct{ pool *pool }

var _ annona.KeyStore = (*Secrets)(nil)

// OpenSecrets connects to the keys of the registry in that database. Its errors are those of Open.
func OpenSecrets(ctx context.Context, url string) (*Secrets, error) {
	p, err := newPool(ctx, url, writing, 4*runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	if err := p.ask(ctx, "open the keys", checkKeysSchema); err != nil {
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

func (s *Secrets) change(doing string, fn func(*conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), secretsTimeout)
	defer cancel()
	return s.pool.write(ctx, doing, fn)
}

// write runs fn in one transaction that is durable when write returns.
func (p *pool) write(ctx context.Context, doing string, fn func(*conn) error) error {
	var t pgx.Tx
	begin := func(c *pgxpool.Conn) (err error) {
		t, err = c.Begin(ctx)
		return err
	}
	err := p.lend(ctx, begin, func(*pgxpool.Conn) error {
		defer rollBack(t)
		if err := fn(&conn{ctx: ctx, db: t}); err != nil {
			return err
		}
		return commit(t)
	})
	return ended(ctx, doing, err)
}

const secretColumns = "SELECT label, version, at, wrapped FROM annona_keys.secrets "

func secretOf(r row) annona.Secret {
	return annona.Secret{Label: r.text(0), Version: int(r.integer(1)), At: r.time(2), Wrapped: r.bytes(3)}
}

// Get returns a wrapped secret; the zero Secret when there is none.
func (s *Secrets) Get(label string, version int) (found annona.Secret, err error) {
	err = s.ask("read a secret", func(c *conn) error {
		_, err := c.one(secretColumns+"WHERE label = $1 AND version = $2", func(r row) { found = secretOf(r) }, label, version)
		return err
	})
	return found, err
}

// Latest returns the wrapped secret with the highest version of a label; the zero Secret when
// there is none.
func (s *Secrets) Latest(label string) (found annona.Secret, err error) {
	err = s.ask("read a secret", func(c *conn) error {
		_, err := c.one(secretColumns+"WHERE label = $1 ORDER BY version DESC LIMIT 1", func(r row) { found = secretOf(r) }, label)
		return err
	})
	return found, err
}

// List returns all secrets, by label and version.
func (s *Secrets) List() (all []annona.Secret, err error) {
	err = s.ask("list the secrets", func(c *conn) error {
		all = nil
		return c.each(secretColumns+"ORDER BY label, version", func(r row) error {
			all = append(all, secretOf(r))
			return nil
		})
	})
	return all, err
}

// Put stores a wrapped secret. It never overwrites one: a second secret of the same label and
// version is refused with the code secret_exists.
func (s *Secrets) Put(secret annona.Secret) error {
	if secret.Label == "" || secret.Version < 1 || secret.At.IsZero() || len(secret.Wrapped) == 0 {
		return annona.Invalid("secret_malformed", "a secret has a label, a version from 1, a time and content")
	}
	return s.change("store a secret", func(c *conn) error {
		done, err := c.db.Exec(c.ctx, "INSERT INTO annona_keys.secrets (label, version, at, wrapped) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			secret.Label, int64(secret.Version), secret.At.UnixNano(), secret.Wrapped)
		if err == nil && done.RowsAffected() == 0 {
			return annona.Conflict("secret_exists", "there is a secret of this label and version already; secrets are never overwritten")
		}
		return err
	})
}

// Rewrap replaces the wrapped bytes of all secrets, which must be those on file. Nobody makes or
// destroys one meanwhile.
func (s *Secrets) Rewrap(secrets []annona.Secret) error {
	return s.change("wrap the secrets anew", func(c *conn) error {
		if err := c.exec("LOCK TABLE annona_keys.secrets IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		there, err := c.integer("SELECT count(*) FROM annona_keys.secrets")
		if err != nil {
			return err
		}
		if there != int64(len(secrets)) {
			return errSecretsChanged()
		}
		for _, secret := range secrets {
			done, err := c.db.Exec(c.ctx, "UPDATE annona_keys.secrets SET wrapped = $1 WHERE label = $2 AND version = $3",
				secret.Wrapped, secret.Label, int64(secret.Version))
			if err != nil {
				return err
			}
			if done.RowsAffected() == 0 {
				return errSecretsChanged()
			}
		}
		return nil
	})
}

func errSecretsChanged() error {
	return annona.Conflict("secrets_changed", "a secret was made or destroyed meanwhile; stop the servers of this registry and try again")
}

// Destroy deletes one version of a secret. A generation that still wraps subject keys is refused
// with the code generation_in_use: whoever is changing subject keys under it holds it.
func (s *Secrets) Destroy(label string, version int) error {
	return s.change("destroy a secret", func(c *conn) error {
		if err := c.exec("SELECT FROM annona_keys.secrets WHERE label = $1 AND version = $2 FOR UPDATE", label, version); err != nil {
			return err
		}
		if label == annona.GenerationLabel {
			used, err := c.one("SELECT FROM annona_keys.subject_keys WHERE generation = $1 LIMIT 1", func(row) {}, version)
			if err != nil {
				return err
			}
			if used {
				return annona.Conflict("generation_in_use", "this generation still wraps keys of subjects; let the rotation wrap them anew first")
			}
		}
		return c.exec("DELETE FROM annona_keys.secrets WHERE label = $1 AND version = $2", label, version)
	})
}
