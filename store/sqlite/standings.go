package sqlite

import (
	"context"
	"encoding/json"
	"net/netip"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const selectClients = "SELECT id, key_id, hash, agreement, label, demo, networks, created_at, expires_at, revoked_at, method, keys, subject, redirects, role FROM clients "

// ClientByKeyID finds a client by the public part of its key; nil when there is none.
func (s *Store) ClientByKeyID(ctx context.Context, keyID string) (*annona.Client, error) {
	return s.client(ctx, selectClients+"WHERE key_id = ?", keyID)
}

// ClientByID finds a client; nil when there is none.
func (s *Store) ClientByID(ctx context.Context, id annona.UID) (*annona.Client, error) {
	return s.client(ctx, selectClients+"WHERE id = ?", id)
}

func (s *Store) client(ctx context.Context, sql string, key any) (*annona.Client, error) {
	clients, err := s.clients(ctx, sql, key)
	if err != nil || len(clients) == 0 {
		return nil, err
	}
	return &clients[0], nil
}

// Clients returns all clients, newest first.
func (s *Store) Clients(ctx context.Context) ([]annona.Client, error) {
	return s.clients(ctx, selectClients+"ORDER BY created_at DESC, rowid DESC")
}

func (s *Store) clients(ctx context.Context, sql string, args ...any) (clients []annona.Client, err error) {
	err = s.readers.read(ctx, "read clients", func(c *conn) error {
		return c.each(sql, func(stmt *sqlite.Stmt) error {
			client, err := scanClient(stmt)
			clients = append(clients, client)
			return err
		}, args...)
	})
	return clients, err
}

func scanClient(s *sqlite.Stmt) (annona.Client, error) {
	c := annona.Client{
		ID: columnUID(s, 0), KeyID: s.ColumnText(1), Hash: columnBytes(s, 2), Agreement: s.ColumnText(3), Label: s.ColumnText(4),
		Demo: s.ColumnBool(5), CreatedAt: columnTime(s, 7), ExpiresAt: columnTime(s, 8), RevokedAt: columnTime(s, 9),
		Method: annona.ClientMethod(s.ColumnText(10)), Keys: columnBytes(s, 11), Subject: s.ColumnText(12), Redirects: splitList(s.ColumnText(13)), Role: s.ColumnText(14),
	}
	for _, text := range splitList(s.ColumnText(6)) {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return c, annona.Internal("read a client", err)
		}
		c.Networks = append(c.Networks, network)
	}
	return c, nil
}

// Agreement returns the latest version of an agreement; nil when there is none.
func (s *Store) Agreement(ctx context.Context, name string) (*annona.Agreement, error) {
	known := &annona.Agreement{}
	if kept, ok := s.agreements.Load(name); ok {
		known = kept.(*annona.Agreement)
	}
	version, body := 0, ""
	err := s.readers.read(ctx, "read an agreement", func(c *conn) error {
		_, err := c.one("SELECT version, CASE WHEN version = ? THEN '' ELSE body END FROM agreements WHERE name = ? ORDER BY version DESC LIMIT 1", func(stmt *sqlite.Stmt) {
			version, body = stmt.ColumnInt(0), stmt.ColumnText(1)
		}, known.Version, name)
		return err
	})
	if err != nil || version == 0 {
		return nil, err
	}
	if version == known.Version {
		return known, nil
	}
	a := &annona.Agreement{}
	if err := json.Unmarshal([]byte(body), a); err != nil {
		return nil, annona.Internal("read an agreement", err)
	}
	s.agreements.Store(name, a)
	return a, nil
}
