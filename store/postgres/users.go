package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

const (
	userColumns    = "id, name, display, partner, roles, status, version, invitation, invited_until, created_at, provider, granted_at, made_by, ended_at, roles_until"
	factorColumns  = "id, person, kind, label, sealed, counter, created_at, used_at"
	sessionColumns = "hash, person, user_version, assurance, device, label, created_at, proved_at, seen_at"
)

func scanUser(r row) annona.User {
	return annona.User{
		ID: r.uid(0), Name: r.text(1), Display: r.text(2), Partner: r.text(3), Roles: splitList(r.text(4)),
		Status: annona.UserStatus(r.text(5)), Version: int(r.integer(6)), Invitation: r.hash(7), InvitedUntil: r.time(8), CreatedAt: r.time(9),
		Provider: r.text(10), GrantedAt: r.time(11), MadeBy: splitList(r.text(12)), EndedAt: r.time(13), RolesUntil: annona.Date(r.text(14)),
	}
}

func scanFactor(r row) annona.Factor {
	return annona.Factor{
		ID: r.uid(0), User: r.uid(1), Kind: annona.FactorKind(r.text(2)), Label: r.text(3), Sealed: r.bytes(4),
		Counter: r.integer(5), CreatedAt: r.time(6), UsedAt: r.time(7),
	}
}

func scanSession(r row) annona.Session {
	return annona.Session{
		Hash: r.hash(0), User: r.uid(1), UserVersion: int(r.integer(2)), Assurance: annona.Assurance(r.integer(3)), Device: r.hash(4),
		Label: r.text(5), CreatedAt: r.time(6), ProvedAt: r.time(7), SeenAt: r.time(8),
	}
}

func (r row) hash(column int) (h annona.TokenHash) {
	copy(h[:], r[column])
	return h
}

// orAbsent is how a hash is written that may be none.
func orAbsent(h annona.TokenHash) []byte {
	if h == (annona.TokenHash{}) {
		return nil
	}
	return h[:]
}

// UserByID returns a user; nil when there is none.
func (s *Store) UserByID(ctx context.Context, id annona.UID) (*annona.User, error) {
	return s.user(ctx, "id = $1", id)
}

// UserByName returns the user with that name; nil when there is none.
func (s *Store) UserByName(ctx context.Context, name string) (*annona.User, error) {
	return s.user(ctx, "name = $1", name)
}

// UserByInvitation returns the user whom an invitation waits for; nil when there is none.
func (s *Store) UserByInvitation(ctx context.Context, hash annona.TokenHash) (*annona.User, error) {
	return s.user(ctx, "invitation = $1", hash[:])
}

func (s *Store) user(ctx context.Context, where string, key any) (found *annona.User, err error) {
	err = s.lookups.ask(ctx, "read a user", func(c *conn) error {
		found, err = c.user(where, key)
		return err
	})
	return found, err
}

func (c *conn) user(where string, key any) (found *annona.User, err error) {
	_, err = c.one("SELECT "+userColumns+" FROM users WHERE "+where, func(r row) {
		u := scanUser(r)
		found = &u
	}, key)
	return found, err
}

// Users returns all users, by name.
func (s *Store) Users(ctx context.Context) (all []annona.User, err error) {
	err = s.lookups.ask(ctx, "read the users", func(c *conn) error {
		all = nil
		return c.each("SELECT "+userColumns+" FROM users ORDER BY name", func(r row) error {
			all = append(all, scanUser(r))
			return nil
		})
	})
	return all, err
}

// Factors returns what a user has registered, the oldest first.
func (s *Store) Factors(ctx context.Context, user annona.UID) (all []annona.Factor, err error) {
	err = s.lookups.ask(ctx, "read what a user has registered", func(c *conn) error {
		all, err = c.factors(user)
		return err
	})
	return all, err
}

func (c *conn) factors(user annona.UID) (all []annona.Factor, err error) {
	err = c.each("SELECT "+factorColumns+" FROM factors WHERE person = $1 ORDER BY created_at, id", func(r row) error {
		all = append(all, scanFactor(r))
		return nil
	}, user)
	return all, err
}

// SessionByHash returns a session; nil when there is none.
func (s *Store) SessionByHash(ctx context.Context, hash annona.TokenHash) (found *annona.Session, err error) {
	err = s.lookups.ask(ctx, "read a session", func(c *conn) error {
		found = nil
		_, err := c.one("SELECT "+sessionColumns+" FROM sessions WHERE hash = $1", func(r row) {
			session := scanSession(r)
			found = &session
		}, hash[:])
		return err
	})
	return found, err
}

// SessionsOf returns where a user is signed in, the newest first.
func (s *Store) SessionsOf(ctx context.Context, user annona.UID) (all []annona.Session, err error) {
	err = s.lookups.ask(ctx, "read the sessions of a user", func(c *conn) error {
		all = nil
		return c.each("SELECT "+sessionColumns+" FROM sessions WHERE person = $1 ORDER BY created_at DESC, hash", func(r row) error {
			all = append(all, scanSession(r))
			return nil
		}, user)
	})
	return all, err
}

// HoldUser locks a user and returns it, with what it has registered.
func (t *tx) HoldUser(ctx context.Context, id annona.UID) (*annona.User, []annona.Factor, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	user, err := t.conn.user("id = $1 FOR UPDATE", id)
	if err != nil {
		return nil, nil, t.fault("read a user", err)
	}
	if user == nil {
		return nil, nil, nil
	}
	factors, err := t.conn.factors(id)
	if err != nil {
		return nil, nil, t.fault("read what a user has registered", err)
	}
	return user, factors, nil
}

// PutUser writes a user by its ID. The name and the identity provider stay.
func (t *tx) PutUser(ctx context.Context, u annona.User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := t.conn.changes("INSERT INTO users ("+userColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
		u.ID, u.Name, u.Display, u.Partner, joinList(u.Roles), string(u.Status), u.Version, orAbsent(u.Invitation), u.InvitedUntil, u.CreatedAt, u.Provider, u.GrantedAt, joinList(u.MadeBy), u.EndedAt, u.RolesUntil)
	if err == nil && n == 0 {
		n, err = t.conn.changes("UPDATE users SET display = $1, partner = $2, roles = $3, status = $4, version = $5, invitation = $6, invited_until = $7, granted_at = $8, made_by = $9, ended_at = $10, roles_until = $11 WHERE id = $12 AND name = $13",
			u.Display, u.Partner, joinList(u.Roles), string(u.Status), u.Version, orAbsent(u.Invitation), u.InvitedUntil, u.GrantedAt, joinList(u.MadeBy), u.EndedAt, u.RolesUntil, u.ID, u.Name)
	}
	switch {
	case err != nil:
		return t.fault("write a user", err)
	case n == 0:
		return annona.ErrUserName
	}
	return nil
}

// PutFactor writes a factor by its ID.
func (t *tx) PutFactor(ctx context.Context, f annona.Factor) error {
	return t.signIns(ctx, "write what a user registers", "INSERT INTO factors ("+factorColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET label = excluded.label, sealed = excluded.sealed, counter = excluded.counter, used_at = excluded.used_at`,
		f.ID, f.User, string(f.Kind), f.Label, f.Sealed, f.Counter, f.CreatedAt, f.UsedAt)
}

// DropFactor removes a factor of a user.
func (t *tx) DropFactor(ctx context.Context, user, factor annona.UID) error {
	return t.signIns(ctx, "remove what a user has registered", "DELETE FROM factors WHERE id = $1 AND person = $2", factor, user)
}

// PutSession begins a session.
func (t *tx) PutSession(ctx context.Context, s annona.Session) error {
	return t.signIns(ctx, "write a session", "INSERT INTO sessions ("+sessionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		s.Hash[:], s.User, s.UserVersion, int(s.Assurance), orAbsent(s.Device), s.Label, s.CreatedAt, s.ProvedAt, s.SeenAt)
}

// TouchSession says when the browser of a session was last seen.
func (t *tx) TouchSession(ctx context.Context, hash annona.TokenHash, seen time.Time) error {
	return t.signIns(ctx, "write a session", "UPDATE sessions SET seen_at = $1 WHERE hash = $2", seen, hash[:])
}

// DropSession ends a session of a user.
func (t *tx) DropSession(ctx context.Context, user annona.UID, hash annona.TokenHash) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	n, err := t.conn.changes("DELETE FROM sessions WHERE hash = $1 AND person = $2", hash[:], user)
	if err != nil {
		return false, t.fault("end a session", err)
	}
	return n > 0, nil
}

// DropSessions ends all sessions of a user.
func (t *tx) DropSessions(ctx context.Context, user annona.UID) error {
	return t.signIns(ctx, "end the sessions of a user", "DELETE FROM sessions WHERE person = $1", user)
}

// HoldAttempts locks a lane and returns what is counted there. A lane in which nothing failed gets a
// row for the time of the transaction, so that there is something to lock.
func (t *tx) HoldAttempts(ctx context.Context, lane annona.TokenHash) (annona.Attempts, error) {
	a := annona.Attempts{Lane: lane}
	if err := t.signIns(ctx, "lock what was tried", "INSERT INTO attempts (lane, failed, at) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING", lane[:], t.now); err != nil {
		return a, err
	}
	_, err := t.conn.one("SELECT failed, at FROM attempts WHERE lane = $1 FOR UPDATE", func(r row) {
		if a.Failed = int(r.integer(0)); a.Failed > 0 {
			a.At = r.time(1)
		}
	}, lane[:])
	if err != nil {
		return a, t.fault("read what was tried", err)
	}
	return a, nil
}

// PutAttempts writes what is counted in a lane.
func (t *tx) PutAttempts(ctx context.Context, a annona.Attempts) error {
	if a.Failed == 0 {
		return t.signIns(ctx, "forget what was tried", "DELETE FROM attempts WHERE lane = $1", a.Lane[:])
	}
	return t.signIns(ctx, "write what was tried", "INSERT INTO attempts (lane, failed, at) VALUES ($1, $2, $3) ON CONFLICT (lane) DO UPDATE SET failed = excluded.failed, at = excluded.at",
		a.Lane[:], a.Failed, a.At)
}

// DropSignIns removes what is over.
func (t *tx) DropSignIns(ctx context.Context, seen, failed time.Time) error {
	if err := t.signIns(ctx, "remove sessions that are over", "DELETE FROM sessions WHERE seen_at < $1", seen); err != nil {
		return err
	}
	return t.signIns(ctx, "forget what was tried", "DELETE FROM attempts WHERE at < $1", failed)
}

func (t *tx) signIns(ctx context.Context, doing, sql string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.conn.exec(sql, args...); err != nil {
		return t.fault(doing, err)
	}
	return nil
}
