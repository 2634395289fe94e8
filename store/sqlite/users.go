package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const (
	userColumns    = "id, name, display, partner, roles, status, version, invitation, invited_until, created_at, provider, granted_at, made_by, ended_at, roles_until"
	factorColumns  = "id, person, kind, label, sealed, counter, created_at, used_at"
	sessionColumns = "hash, person, user_version, assurance, device, label, created_at, proved_at, seen_at"
)

func scanUser(s *sqlite.Stmt) annona.User {
	return annona.User{
		ID: columnUID(s, 0), Name: s.ColumnText(1), Display: s.ColumnText(2), Partner: s.ColumnText(3), Roles: splitList(s.ColumnText(4)),
		Status: annona.UserStatus(s.ColumnText(5)), Version: s.ColumnInt(6), Invitation: columnHash(s, 7), InvitedUntil: columnTime(s, 8),
		CreatedAt: columnTime(s, 9), Provider: s.ColumnText(10), GrantedAt: columnTime(s, 11), MadeBy: splitList(s.ColumnText(12)), EndedAt: columnTime(s, 13), RolesUntil: columnDate(s, 14),
	}
}

func scanFactor(s *sqlite.Stmt) annona.Factor {
	return annona.Factor{
		ID: columnUID(s, 0), User: columnUID(s, 1), Kind: annona.FactorKind(s.ColumnText(2)), Label: s.ColumnText(3), Sealed: columnBytes(s, 4),
		Counter: s.ColumnInt64(5), CreatedAt: columnTime(s, 6), UsedAt: columnTime(s, 7),
	}
}

func scanSession(s *sqlite.Stmt) annona.Session {
	return annona.Session{
		Hash: columnHash(s, 0), User: columnUID(s, 1), UserVersion: s.ColumnInt(2), Assurance: annona.Assurance(s.ColumnInt(3)), Device: columnHash(s, 4),
		Label: s.ColumnText(5), CreatedAt: columnTime(s, 6), ProvedAt: columnTime(s, 7), SeenAt: columnTime(s, 8),
	}
}

func columnHash(s *sqlite.Stmt, column int) (h annona.TokenHash) {
	s.ColumnBytes(column, h[:])
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
	return s.user(ctx, "id = ?", id)
}

// UserByName returns the user with that name; nil when there is none.
func (s *Store) UserByName(ctx context.Context, name string) (*annona.User, error) {
	return s.user(ctx, "name = ?", name)
}

// UserByInvitation returns the user whom an invitation waits for; nil when there is none.
func (s *Store) UserByInvitation(ctx context.Context, hash annona.TokenHash) (*annona.User, error) {
	return s.user(ctx, "invitation = ?", hash[:])
}

func (s *Store) user(ctx context.Context, where string, key any) (found *annona.User, err error) {
	err = s.readers.read(ctx, "read a user", func(c *conn) error {
		found, err = c.user(where, key)
		return err
	})
	return found, err
}

func (c *conn) user(where string, key any) (found *annona.User, err error) {
	_, err = c.one("SELECT "+userColumns+" FROM users WHERE "+where, func(s *sqlite.Stmt) {
		u := scanUser(s)
		found = &u
	}, key)
	return found, err
}

// Users returns all users, by name.
func (s *Store) Users(ctx context.Context) (all []annona.User, err error) {
	err = s.readers.read(ctx, "read the users", func(c *conn) error {
		return c.each("SELECT "+userColumns+" FROM users ORDER BY name", func(s *sqlite.Stmt) error {
			all = append(all, scanUser(s))
			return nil
		})
	})
	return all, err
}

// Factors returns what a user has registered, the oldest first.
func (s *Store) Factors(ctx context.Context, user annona.UID) (all []annona.Factor, err error) {
	err = s.readers.read(ctx, "read what a user has registered", func(c *conn) error {
		all, err = c.factors(user)
		return err
	})
	return all, err
}

func (c *conn) factors(user annona.UID) (all []annona.Factor, err error) {
	err = c.each("SELECT "+factorColumns+" FROM factors WHERE person = ? ORDER BY created_at, id", func(s *sqlite.Stmt) error {
		all = append(all, scanFactor(s))
		return nil
	}, user)
	return all, err
}

// SessionByHash returns a session; nil when there is none.
func (s *Store) SessionByHash(ctx context.Context, hash annona.TokenHash) (found *annona.Session, err error) {
	err = s.readers.read(ctx, "read a session", func(c *conn) error {
		_, err := c.one("SELECT "+sessionColumns+" FROM sessions WHERE hash = ?", func(s *sqlite.Stmt) {
			session := scanSession(s)
			found = &session
		}, hash[:])
		return err
	})
	return found, err
}

// SessionsOf returns where a user is signed in, the newest first.
func (s *Store) SessionsOf(ctx context.Context, user annona.UID) (all []annona.Session, err error) {
	err = s.readers.read(ctx, "read the sessions of a user", func(c *conn) error {
		return c.each("SELECT "+sessionColumns+" FROM sessions WHERE person = ? ORDER BY created_at DESC, hash", func(s *sqlite.Stmt) error {
			all = append(all, scanSession(s))
			return nil
		}, user)
	})
	return all, err
}

// HoldUser returns a user with what it has registered. The writer is alone.
func (t *tx) HoldUser(ctx context.Context, id annona.UID) (*annona.User, []annona.Factor, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	user, err := t.conn.user("id = ?", id)
	if err != nil || user == nil {
		return nil, nil, fault("read a user", err)
	}
	factors, err := t.conn.factors(id)
	return user, factors, fault("read what a user has registered", err)
}

// PutUser writes a user by its ID. The name and the identity provider stay.
func (t *tx) PutUser(ctx context.Context, u annona.User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec("INSERT INTO users ("+userColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		u.ID, u.Name, u.Display, u.Partner, joinList(u.Roles), string(u.Status), u.Version, orAbsent(u.Invitation), u.InvitedUntil, u.CreatedAt, u.Provider, u.GrantedAt, joinList(u.MadeBy), u.EndedAt, u.RolesUntil)
	if err != nil || t.conn.Changes() > 0 {
		return fault("write a user", err)
	}
	err = t.conn.exec("UPDATE users SET display = ?, partner = ?, roles = ?, status = ?, version = ?, invitation = ?, invited_until = ?, granted_at = ?, made_by = ?, ended_at = ?, roles_until = ? WHERE id = ? AND name = ?",
		u.Display, u.Partner, joinList(u.Roles), string(u.Status), u.Version, orAbsent(u.Invitation), u.InvitedUntil, u.GrantedAt, joinList(u.MadeBy), u.EndedAt, u.RolesUntil, u.ID, u.Name)
	if err == nil && t.conn.Changes() == 0 {
		return annona.ErrUserName
	}
	return fault("write a user", err)
}

// PutFactor writes a factor by its ID.
func (t *tx) PutFactor(ctx context.Context, f annona.Factor) error {
	return t.signIns(ctx, "write what a user registers", "INSERT OR REPLACE INTO factors ("+factorColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		f.ID, f.User, string(f.Kind), f.Label, f.Sealed, f.Counter, f.CreatedAt, f.UsedAt)
}

// DropFactor removes a factor of a user.
func (t *tx) DropFactor(ctx context.Context, user, factor annona.UID) error {
	return t.signIns(ctx, "remove what a user has registered", "DELETE FROM factors WHERE id = ? AND person = ?", factor, user)
}

// PutSession begins a session.
func (t *tx) PutSession(ctx context.Context, s annona.Session) error {
	return t.signIns(ctx, "write a session", "INSERT INTO sessions ("+sessionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		s.Hash[:], s.User, s.UserVersion, int(s.Assurance), orAbsent(s.Device), s.Label, s.CreatedAt, s.ProvedAt, s.SeenAt)
}

// TouchSession says when the browser of a session was last seen.
func (t *tx) TouchSession(ctx context.Context, hash annona.TokenHash, seen time.Time) error {
	return t.signIns(ctx, "write a session", "UPDATE sessions SET seen_at = ? WHERE hash = ?", seen, hash[:])
}

// DropSession ends a session of a user.
func (t *tx) DropSession(ctx context.Context, user annona.UID, hash annona.TokenHash) (bool, error) {
	err := t.signIns(ctx, "end a session", "DELETE FROM sessions WHERE hash = ? AND person = ?", hash[:], user)
	return err == nil && t.conn.Changes() > 0, err
}

// DropSessions ends all sessions of a user.
func (t *tx) DropSessions(ctx context.Context, user annona.UID) error {
	return t.signIns(ctx, "end the sessions of a user", "DELETE FROM sessions WHERE person = ?", user)
}

// HoldAttempts returns what is counted in a lane. The writer is alone.
func (t *tx) HoldAttempts(ctx context.Context, lane annona.TokenHash) (annona.Attempts, error) {
	a := annona.Attempts{Lane: lane}
	if err := ctx.Err(); err != nil {
		return a, err
	}
	_, err := t.conn.one("SELECT failed, at FROM attempts WHERE lane = ?", func(s *sqlite.Stmt) {
		a.Failed, a.At = s.ColumnInt(0), columnTime(s, 1)
	}, lane[:])
	return a, fault("read what was tried", err)
}

// PutAttempts writes what is counted in a lane.
func (t *tx) PutAttempts(ctx context.Context, a annona.Attempts) error {
	if a.Failed == 0 {
		return t.signIns(ctx, "forget what was tried", "DELETE FROM attempts WHERE lane = ?", a.Lane[:])
	}
	return t.signIns(ctx, "write what was tried", "INSERT OR REPLACE INTO attempts (lane, failed, at) VALUES (?, ?, ?)", a.Lane[:], a.Failed, a.At)
}

// DropSignIns removes what is over.
func (t *tx) DropSignIns(ctx context.Context, seen, failed time.Time) error {
	if err := t.signIns(ctx, "remove sessions that are over", "DELETE FROM sessions WHERE seen_at < ?", seen); err != nil {
		return err
	}
	return t.signIns(ctx, "forget what was tried", "DELETE FROM attempts WHERE at < ?", failed)
}

func (t *tx) signIns(ctx context.Context, doing, sql string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fault(doing, t.conn.exec(sql, args...))
}
