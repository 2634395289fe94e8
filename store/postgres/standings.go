package postgres

import (
	"context"
	"encoding/json"
	"net/netip"

	"github.com/annona-exchange/annona"
)

const selectClients = "SELECT id, key_id, hash, agreement, label, demo, networks, created_at, expires_at, revoked_at, method, keys, subject, redirects, role FROM clients "

// ClientByKeyID finds a client by the public part of its key; nil when there is none.
func (s *Store) ClientByKeyID(ctx context.Context, keyID string) (*annona.Client, error) {
	return s.client(ctx, selectClients+"WHERE key_id = $1", keyID)
}

// ClientByID finds a client; nil when there is none.
func (s *Store) ClientByID(ctx context.Context, id annona.UID) (*annona.Client, error) {
	return s.client(ctx, selectClients+"WHERE id = $1", id)
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
	return s.clients(ctx, selectClients+"ORDER BY created_at DESC, position DESC")
}

func (s *Store) clients(ctx context.Context, sql string, args ...any) (clients []annona.Client, err error) {
	err = s.lookups.ask(ctx, "read clients", func(c *conn) error {
		clients = nil
		return c.each(sql, func(r row) error {
			client, err := scanClient(r)
			clients = append(clients, client)
			return err
		}, args...)
	})
	return clients, err
}

func scanClient(r row) (annona.Client, error) {
	c := annona.Client{
		ID: r.uid(0), KeyID: r.text(1), Hash: r.bytes(2), Agreement: r.text(3), Label: r.text(4),
		Demo: r.truth(5), CreatedAt: r.time(7), ExpiresAt: r.time(8), RevokedAt: r.time(9),
		Method: annona.ClientMethod(r.text(10)), Keys: r.bytes(11), Subject: r.text(12), Redirects: splitList(r.text(13)), Role: r.text(14),
	}
	for _, text := range splitList(r.text(6)) {
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
	err := s.lookups.ask(ctx, "read an agreement", func(c *conn) error {
		_, err := c.one("SELECT version, CASE WHEN version = $1 THEN '' ELSE body END FROM agreements WHERE name = $2 ORDER BY version DESC LIMIT 1", func(r row) {
			version, body = int(r.integer(0)), r.text(1)
		}, int64(known.Version), name)
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
