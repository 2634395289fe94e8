package storetest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func userOf(name string) annona.User {
	return annona.User{ID: annona.NewUID(), Name: name, Status: annona.UserActive, Version: 1, CreatedAt: Clock()}
}

func (r *registry) putUser(u annona.User) {
	r.t.Helper()
	r.update(func(tx annona.Tx) error { return tx.PutUser(r.ctx, u) })
}

func (r *registry) checkUser(want *annona.User) func(*annona.User, error) {
	return func(got *annona.User, err error) {
		r.t.Helper()
		switch {
		case err != nil:
			r.t.Fatal(err)
		case want == nil && got == nil:
		case want == nil || got == nil:
			r.t.Errorf("got %+v, want %+v", got, want)
		case got.ID != want.ID || got.Name != want.Name || got.Display != want.Display || got.Partner != want.Partner || !slices.Equal(got.Roles, want.Roles) ||
			got.Status != want.Status || got.Version != want.Version || got.Invitation != want.Invitation || !got.InvitedUntil.Equal(want.InvitedUntil) ||
			!got.CreatedAt.Equal(want.CreatedAt) || !got.GrantedAt.Equal(want.GrantedAt) || !slices.Equal(got.MadeBy, want.MadeBy) || !got.EndedAt.Equal(want.EndedAt) || got.RolesUntil != want.RolesUntil:
			r.t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func testUsers(t *testing.T, r *registry) {
	whole := annona.User{
		ID: annona.NewUID(), Name: "ama", Display: "Ama", Partner: "health", Roles: []string{"auditor", "case-worker"}, Status: annona.UserInvited, Version: 3,
		Invitation: annona.TokenHash{7}, InvitedUntil: Clock().Add(15 * time.Minute), CreatedAt: Clock(), Provider: "ministry",
		GrantedAt: Clock().Add(time.Minute), MadeBy: []string{"operator:kofi", "person:7"}, EndedAt: Clock().Add(2 * time.Minute), RolesUntil: "2030-12-31",
	}
	plain := userOf("kofi")
	r.putUser(plain)
	r.putUser(whole)
	r.checkUser(&whole)(r.UserByID(r.ctx, whole.ID))
	r.checkUser(&whole)(r.UserByName(r.ctx, "ama"))
	r.checkUser(&whole)(r.UserByInvitation(r.ctx, annona.TokenHash{7}))
	r.checkUser(&plain)(r.UserByID(r.ctx, plain.ID))
	r.checkUser(nil)(r.UserByID(r.ctx, annona.NewUID()))
	r.checkUser(nil)(r.UserByName(r.ctx, "Ama"))
	r.checkUser(nil)(r.UserByInvitation(r.ctx, annona.TokenHash{}))
	if all, err := r.Users(r.ctx); err != nil || len(all) != 2 || all[0].ID != whole.ID || all[1].ID != plain.ID {
		t.Errorf("got %+v, %v", all, err)
	}

	changed := whole
	changed.Display, changed.Partner, changed.Roles, changed.Status, changed.Version, changed.RolesUntil = "", "", nil, annona.UserDisabled, 4, "2031-01-01"
	changed.Invitation, changed.InvitedUntil, changed.GrantedAt, changed.MadeBy, changed.EndedAt = annona.TokenHash{}, time.Time{}, Clock().Add(time.Hour), nil, Clock().Add(3*time.Hour)
	r.putUser(changed)
	r.checkUser(&changed)(r.UserByID(r.ctx, whole.ID))
	r.checkUser(nil)(r.UserByInvitation(r.ctx, annona.TokenHash{7}))

	namesake := userOf("ama")
	if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutUser(r.ctx, namesake) }); !errors.Is(err, annona.ErrUserName) {
		t.Errorf("a second user of the name: %v", err)
	}
	renamed := plain
	renamed.Name = "kwame"
	if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutUser(r.ctx, renamed) }); !errors.Is(err, annona.ErrUserName) {
		t.Errorf("a user with another name: %v", err)
	}
	failing := errors.New("no")
	other := userOf("yaa")
	err := r.Update(r.ctx, func(tx annona.Tx) error { return errors.Join(tx.PutUser(r.ctx, other), failing) })
	if !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
	r.checkUser(nil)(r.UserByID(r.ctx, other.ID))
}

func testFactors(t *testing.T, r *registry) {
	user, other := userOf("ama"), userOf("kofi")
	r.putUser(user)
	r.putUser(other)
	passkey := annona.Factor{ID: annona.NewUID(), User: user.ID, Kind: annona.FactorPasskey, Label: "key ring", Sealed: []byte{1}, Counter: 1 << 40, CreatedAt: Clock()}
	codes := annona.Factor{ID: annona.NewUID(), User: user.ID, Kind: annona.FactorTOTP, Sealed: []byte{2}, CreatedAt: Clock().Add(1), UsedAt: Clock().Add(2)}
	r.update(func(tx annona.Tx) error { return errors.Join(tx.PutFactor(r.ctx, codes), tx.PutFactor(r.ctx, passkey)) })
	same := func(a, b annona.Factor) bool {
		return a.ID == b.ID && a.User == b.User && a.Kind == b.Kind && a.Label == b.Label && bytes.Equal(a.Sealed, b.Sealed) && a.Counter == b.Counter &&
			a.CreatedAt.Equal(b.CreatedAt) && a.UsedAt.Equal(b.UsedAt)
	}
	check := func(want ...annona.Factor) {
		t.Helper()
		if got, err := r.Factors(r.ctx, user.ID); err != nil || !slices.EqualFunc(got, want, same) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	check(passkey, codes)
	codes.Counter, codes.UsedAt = 9, Clock().Add(time.Hour)
	r.update(func(tx annona.Tx) error { return tx.PutFactor(r.ctx, codes) })
	check(passkey, codes)
	r.update(func(tx annona.Tx) error { return tx.DropFactor(r.ctx, other.ID, passkey.ID) })
	check(passkey, codes)
	r.update(func(tx annona.Tx) error { return tx.DropFactor(r.ctx, user.ID, passkey.ID) })
	check(codes)

	// Of many who use up one step at once, one succeeds.
	var many sync.WaitGroup
	used := make(chan bool, 20)
	for range cap(used) {
		many.Go(func() {
			first := false
			err := r.Update(r.ctx, func(tx annona.Tx) error {
				_, factors, err := tx.HoldUser(r.ctx, user.ID)
				if err != nil || len(factors) != 1 {
					return errors.Join(err, errors.New("the factor is gone"))
				}
				if first = factors[0].Counter == 9; first {
					factors[0].Counter = 10
					return tx.PutFactor(r.ctx, factors[0])
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			used <- first
		})
	}
	many.Wait()
	close(used)
	succeeded := 0
	for first := range used {
		if first {
			succeeded++
		}
	}
	if succeeded != 1 {
		t.Errorf("one step was used %d times", succeeded)
	}
	r.update(func(tx annona.Tx) error {
		none, _, err := tx.HoldUser(r.ctx, annona.NewUID())
		if none != nil {
			t.Error("a user whom there is not")
		}
		return err
	})
}

func testSessions(t *testing.T, r *registry) {
	user := userOf("ama")
	r.putUser(user)
	first := annona.Session{Hash: annona.TokenHash{1}, User: user.ID, UserVersion: 2, Assurance: annona.AssuranceTwoFactors, Device: annona.TokenHash{9}, Label: "Firefox",
		CreatedAt: Clock(), ProvedAt: Clock().Add(1), SeenAt: Clock().Add(2)}
	second := annona.Session{Hash: annona.TokenHash{2}, User: user.ID, UserVersion: 2, Assurance: annona.AssurancePasskey, CreatedAt: Clock().Add(time.Hour), ProvedAt: Clock().Add(time.Hour), SeenAt: Clock().Add(time.Hour)}
	others := annona.Session{Hash: annona.TokenHash{3}, User: annona.NewUID(), UserVersion: 1, CreatedAt: Clock(), ProvedAt: Clock(), SeenAt: Clock()}
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.PutSession(r.ctx, first), tx.PutSession(r.ctx, second), tx.PutSession(r.ctx, others))
	})
	session := func(hash byte) *annona.Session {
		t.Helper()
		s, err := r.SessionByHash(r.ctx, annona.TokenHash{hash})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := session(1); got == nil || *got != first {
		t.Errorf("got %+v, want %+v", got, first)
	}
	if got := session(2); got == nil || *got != second {
		t.Errorf("got %+v, want %+v", got, second)
	}
	if all, err := r.SessionsOf(r.ctx, user.ID); err != nil || !slices.Equal(all, []annona.Session{second, first}) {
		t.Errorf("got %+v, %v", all, err)
	}
	seen := Clock().Add(3 * time.Hour)
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.TouchSession(r.ctx, annona.TokenHash{1}, seen), tx.TouchSession(r.ctx, annona.TokenHash{8}, seen))
	})
	if got := session(1); !got.SeenAt.Equal(seen) {
		t.Errorf("seen at %s", got.SeenAt)
	}
	if session(8) != nil {
		t.Error("looking at a session that has ended begins it anew")
	}
	drop := func(user annona.UID, hash byte) (was bool) {
		r.update(func(tx annona.Tx) (err error) {
			was, err = tx.DropSession(r.ctx, user, annona.TokenHash{hash})
			return err
		})
		return was
	}
	if drop(user.ID, 3) || !drop(user.ID, 2) || drop(user.ID, 2) {
		t.Error("DropSession does not say what it has ended")
	}
	if session(3) == nil || session(2) != nil {
		t.Error("DropSession has ended another one")
	}
	r.update(func(tx annona.Tx) error { return tx.DropSessions(r.ctx, user.ID) })
	if session(1) != nil || session(3) == nil {
		t.Error("DropSessions does not end those of one user")
	}
	r.update(func(tx annona.Tx) error { return tx.DropSignIns(r.ctx, Clock(), Clock()) })
	if session(3) == nil {
		t.Error("a session that was seen is gone")
	}
	r.update(func(tx annona.Tx) error { return tx.DropSignIns(r.ctx, Clock().Add(1), Clock()) })
	if session(3) != nil {
		t.Error("a session that nobody has seen stays")
	}
}

func testAttempts(t *testing.T, r *registry) {
	lane := annona.TokenHash{1}
	attempts := func() (a annona.Attempts) {
		t.Helper()
		r.update(func(tx annona.Tx) (err error) {
			a, err = tx.HoldAttempts(r.ctx, lane)
			return err
		})
		return a
	}
	if got := attempts(); got != (annona.Attempts{Lane: lane}) {
		t.Errorf("got %+v", got)
	}
	var many sync.WaitGroup
	for range 20 {
		many.Go(func() {
			err := r.Update(r.ctx, func(tx annona.Tx) error {
				a, err := tx.HoldAttempts(r.ctx, lane)
				if err != nil {
					return err
				}
				a.Failed, a.At = a.Failed+1, Clock()
				return tx.PutAttempts(r.ctx, a)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	many.Wait()
	if got := attempts(); got.Failed != 20 || !got.At.Equal(Clock()) {
		t.Errorf("got %+v", got)
	}
	r.update(func(tx annona.Tx) error { return tx.DropSignIns(r.ctx, Clock(), Clock()) })
	if attempts().Failed != 20 {
		t.Error("what failed of late is forgotten")
	}
	r.update(func(tx annona.Tx) error { return tx.DropSignIns(r.ctx, Clock(), Clock().Add(1)) })
	if attempts().Failed != 0 {
		t.Error("what failed long ago is remembered")
	}
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.PutAttempts(r.ctx, annona.Attempts{Lane: lane, Failed: 3, At: Clock()}), tx.PutAttempts(r.ctx, annona.Attempts{Lane: lane}))
	})
	if attempts().Failed != 0 {
		t.Error("a lane is not forgotten")
	}
}
