package sqlite

import (
	"context"
	"path/filepath"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"

	"github.com/annona-exchange/annona"
)

// SecretsFileName is the name of the file of wrapped secrets in its folder.
const SecretsFileName = "keys.sqlite"

const secretsSchema = `CREATE TABLE secrets (
	label   TEXT NOT NULL,
	version INTEGER NOT NULL,
	wrapped BLOB NOT NULL,
	PRIMARY KEY (label, version)
) STRICT;`

// secretsID marks the file of secrets: "ANNK" in its header.
const secretsID = 0x414e4e4b

// Secrets keeps the wrapped secrets of the vault, apart from the records that they protect.
// It never sees one unwrapped. It is safe for concurrent use.
type Secrets struct {
	mu   sync.Mutex
	conn *conn
}

// OpenSecrets opens the file of secrets in the folder dir; with create, it makes one.
func OpenSecrets(dir string, create bool) (*Secrets, error) {
	path := filepath.Join(dir, SecretsFileName)
	if err := prepareFile(path, create); err != nil {
		if annona.CodeOf(err) == "store_missing" {
			return nil, annona.Conflict("secrets_missing", "the data folder has no %s, so that nothing in it can be opened; put the file back from its copy", SecretsFileName)
		}
		return nil, err
	}
	c, err := openWriting(path)
	if err != nil {
		return nil, err
	}
	schema := sqlitemigration.Schema{AppID: secretsID, Migrations: []string{secretsSchema}}
	if err := checkSchema(c, schema); err != nil {
		c.Close()
		return nil, err
	}
	if err := sqlitemigration.Migrate(context.Background(), c.Conn, schema); err != nil {
		c.Close()
		return nil, fault("open the file of secrets", err)
	}
	return &Secrets{conn: c}, nil
}

// Close closes the file.
func (s *Secrets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.Close()
}

// Get returns a wrapped secret; nil when there is none.
func (s *Secrets) Get(label string, version int) (wrapped []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.conn.one("SELECT wrapped FROM secrets WHERE label = ? AND version = ?", func(stmt *sqlite.Stmt) {
		wrapped = columnBytes(stmt, 0)
	}, label, version)
	return wrapped, fault("read a secret", err)
}

// Put stores a wrapped secret. It never overwrites one: a second secret of the same label and
// version is refused with the code secret_exists.
func (s *Secrets) Put(label string, version int, wrapped []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if label == "" || version < 1 || len(wrapped) == 0 {
		return annona.Invalid("secret_malformed", "a secret has a label, a version from 1 and content")
	}
	return fault("store a secret", s.conn.transaction(context.Background(), func() error {
		n, err := s.conn.integer("SELECT count(*) FROM secrets WHERE label = ? AND version = ?", label, version)
		if err != nil {
			return err
		}
		if n > 0 {
			return annona.Conflict("secret_exists", "there is a secret of this label and version already; secrets are never overwritten")
		}
		return s.conn.exec("INSERT INTO secrets (label, version, wrapped) VALUES (?, ?, ?)", label, version, wrapped)
	}))
}

// Latest returns the wrapped secret with the highest version of a label; version 0 when there
// is none.
func (s *Secrets) Latest(label string) (version int, wrapped []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.conn.one("SELECT version, wrapped FROM secrets WHERE label = ? ORDER BY version DESC LIMIT 1", func(stmt *sqlite.Stmt) {
		version, wrapped = stmt.ColumnInt(0), columnBytes(stmt, 1)
	}, label)
	return version, wrapped, fault("read a secret", err)
}
