package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"

	"github.com/annona-exchange/annona"
)

// SecretsFileName is the name of the file of wrapped keys in its folder.
const SecretsFileName = "keys.sqlite"

const secretsSchema = `
CREATE TABLE secrets (
	label   TEXT NOT NULL,
	version INTEGER NOT NULL,
	at      INTEGER NOT NULL, -- nanoseconds since 1970
	wrapped BLOB NOT NULL,
	PRIMARY KEY (label, version)
) STRICT;

-- The wrapped keys of consecutive subjects of one noun, sealed together by one generation.
CREATE TABLE subject_keys (
	noun       TEXT NOT NULL,
	block      INTEGER NOT NULL,
	generation INTEGER NOT NULL,
	wrapped    BLOB NOT NULL,
	PRIMARY KEY (noun, block)
) STRICT;
CREATE INDEX subject_keys_generation ON subject_keys (generation, noun, block);`

// secretsID marks the file of keys: "ANNK" in its header.
const secretsID = 0x414e4e4b

// secretsMigrations grow at the end only.
func secretsMigrations() sqlitemigration.Schema {
	return sqlitemigration.Schema{AppID: secretsID, Migrations: []string{secretsSchema}}
}

// Secrets keeps the wrapped keys of the vault, apart from the records that they protect. It
// implements annona.KeyStore: it never sees a key unwrapped. It is safe for concurrent use.
type Secrets struct {
	readers *pool

	mu   sync.Mutex // around conn
	conn *conn      // the one that writes
}

var _ annona.KeyStore = (*Secrets)(nil)

// OpenSecrets opens the file of keys in the folder dir; with create, it makes one.
func OpenSecrets(dir string, create bool) (*Secrets, error) {
	path := filepath.Join(dir, SecretsFileName)
	if err := prepareFile(path, create); err != nil {
		if annona.CodeOf(err) == "store_missing" {
			return nil, errNoSecrets()
		}
		return nil, err
	}
	c, err := openWriting(path, keysCache)
	if err != nil {
		return nil, err
	}
	if err := migrate(c, secretsMigrations(), "open the file of keys"); err != nil {
		c.Close()
		return nil, err
	}
	c.SetBusyTimeout(0) // taking turns is done in begin
	return &Secrets{conn: c, readers: newPool(path, runtime.GOMAXPROCS(0)+1)}, nil
}

func errNoSecrets() error {
	return annona.Conflict("secrets_missing", "the data folder has no %s, so that nothing in it can be opened; put the file back from its copy", SecretsFileName)
}

// Close closes the file.
func (s *Secrets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.readers.close(), s.conn.Close())
}

// ask runs fn in a read transaction.
func (s *Secrets) ask(doing string, fn func(*conn) error) error {
	return s.readers.read(context.Background(), doing, fn)
}

// change runs fn in a transaction that is durable when change returns.
func (s *Secrets) change(ctx context.Context, doing string, fn func(*conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fault(doing, s.conn.transaction(ctx, func() error { return fn(s.conn) }))
}

const secretColumns = "SELECT label, version, at, wrapped FROM secrets "

func secretOf(stmt *sqlite.Stmt) annona.Secret {
	return annona.Secret{Label: stmt.ColumnText(0), Version: stmt.ColumnInt(1), At: columnTime(stmt, 2), Wrapped: columnBytes(stmt, 3)}
}

// Get returns a wrapped secret; the zero Secret when there is none.
func (s *Secrets) Get(label string, version int) (found annona.Secret, err error) {
	err = s.ask("read a secret", func(c *conn) error {
		_, err := c.one(secretColumns+"WHERE label = ? AND version = ?", func(stmt *sqlite.Stmt) { found = secretOf(stmt) }, label, version)
		return err
	})
	return found, err
}

// Latest returns the wrapped secret with the highest version of a label; the zero Secret when
// there is none.
func (s *Secrets) Latest(label string) (found annona.Secret, err error) {
	err = s.ask("read a secret", func(c *conn) error {
		_, err := c.one(secretColumns+"WHERE label = ? ORDER BY version DESC LIMIT 1", func(stmt *sqlite.Stmt) { found = secretOf(stmt) }, label)
		return err
	})
	return found, err
}

// List returns all secrets, by label and version.
func (s *Secrets) List() (all []annona.Secret, err error) {
	err = s.ask("list the secrets", func(c *conn) error {
		return c.each(secretColumns+"ORDER BY label, version", func(stmt *sqlite.Stmt) error {
			all = append(all, secretOf(stmt))
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
	return s.change(context.Background(), "store a secret", func(c *conn) error {
		there, err := c.integer("SELECT count(*) FROM secrets WHERE label = ? AND version = ?", secret.Label, secret.Version)
		if err != nil {
			return err
		}
		if there > 0 {
			return annona.Conflict("secret_exists", "there is a secret of this label and version already; secrets are never overwritten")
		}
		return c.exec("INSERT INTO secrets (label, version, at, wrapped) VALUES (?, ?, ?, ?)", secret.Label, secret.Version, secret.At, secret.Wrapped)
	})
}

// Rewrap replaces the wrapped bytes of all secrets, which must be those on file.
func (s *Secrets) Rewrap(secrets []annona.Secret) error {
	return s.change(context.Background(), "wrap the secrets anew", func(c *conn) error {
		there, err := c.integer("SELECT count(*) FROM secrets")
		if err != nil {
			return err
		}
		if there != int64(len(secrets)) {
			return errSecretsChanged()
		}
		for _, secret := range secrets {
			if err := c.exec("UPDATE secrets SET wrapped = ? WHERE label = ? AND version = ?", secret.Wrapped, secret.Label, secret.Version); err != nil {
				return err
			}
			if c.Changes() == 0 {
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
// with the code generation_in_use.
func (s *Secrets) Destroy(label string, version int) error {
	return s.change(context.Background(), "destroy a secret", func(c *conn) error {
		if label == annona.GenerationLabel {
			used, err := c.integer("SELECT EXISTS (SELECT 1 FROM subject_keys WHERE generation = ?)", version)
			if err != nil {
				return err
			}
			if used > 0 {
				return errGenerationInUse()
			}
		}
		return c.exec("DELETE FROM secrets WHERE label = ? AND version = ?", label, version)
	})
}

func errGenerationInUse() error {
	return annona.Conflict("generation_in_use", "this generation still wraps keys of subjects; let the rotation wrap them anew first")
}
