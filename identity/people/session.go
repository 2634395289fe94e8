package people

import (
	"context"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// How long somebody stays signed in: without a request, and at all.
const (
	IdleLimit     = 30 * time.Minute
	AbsoluteLimit = 12 * time.Hour
)

// seenEvery is how exactly the time of the last request is kept.
const seenEvery = time.Minute

// FreshFor is how long ago somebody may have proved who they are to change what they sign in by.
const FreshFor = 10 * time.Minute

// Person is somebody in front of a browser: signed in, or invited and about to register.
type Person struct {
	annona.User
	session    *annona.Session
	invitation annona.TokenHash // not zero: they are invited
}

// IsInvited reports whether the person has nothing to sign in by yet.
func (p *Person) IsInvited() bool { return p.session == nil }

// SignedIn says how and when the person has signed in.
func (p *Person) SignedIn() annona.SignedIn {
	if p.session == nil {
		return annona.SignedIn{}
	}
	return annona.SignedIn{Person: p.ID, Assurance: p.session.Assurance, At: p.session.ProvedAt}
}

// MayChange says why the person may not change what they sign in by.
func (p *Person) MayChange(now time.Time) error {
	if p.IsInvited() || p.SignedIn().Meets(annona.Demand{Assurance: annona.AssuranceTwoFactors, MaxAge: FreshFor}, now) {
		return nil
	}
	return errProve
}

func (p *Person) caller(b Browser) annona.Caller {
	s := p.SignedIn()
	return caller(b, p.ID, s.Assurance, s.At)
}

// Recognize returns who is signed in in a browser: nil when nobody is. It reads the session and the user
// as they are at this moment: what another node has ended is over here too.
func (d *Desk) Recognize(ctx context.Context, b Browser) (*Person, error) {
	if len(b.Session) != len(fresh()) {
		return nil, nil
	}
	s, err := d.Users.SessionByHash(ctx, d.hash("session", b.Session))
	if err != nil || s == nil {
		return nil, err
	}
	u, err := d.Users.UserByID(ctx, s.User)
	if err != nil || u == nil {
		return nil, err
	}
	now := d.Clock()
	if !holds(s, u, now) {
		return nil, nil
	}
	if now.Sub(s.SeenAt) >= seenEvery {
		if err := d.Record(ctx, annona.Caller{}, func(tx annona.Tx) (map[string]string, error) {
			return nil, tx.TouchSession(ctx, s.Hash, now)
		}); err != nil {
			return nil, err
		}
	}
	return &Person{User: *u, session: s}, nil
}

// holds reports whether a session is still one.
func holds(s *annona.Session, u *annona.User, now time.Time) bool {
	return u.Status == annona.UserActive && u.Version == s.UserVersion &&
		now.Sub(s.SeenAt) < IdleLimit && now.Sub(s.CreatedAt) < AbsoluteLimit && !now.Before(s.CreatedAt.Add(-time.Minute))
}

// begin begins a session within a transaction, in the place of the one that the browser shows.
func (d *Desk) begin(ctx context.Context, tx annona.Tx, b Browser, u *annona.User, how annona.Assurance, proved time.Time) (Entered, error) {
	now := d.Clock()
	device := d.remember(b, u.ID)
	e := Entered{Session: fresh()}
	s := annona.Session{
		Hash: d.hash("session", e.Session), User: u.ID, UserVersion: u.Version, Assurance: how, Device: d.hash("device", device.ID),
		Label: b.Label, CreatedAt: now, ProvedAt: proved, SeenAt: now,
	}
	if _, err := tx.DropSession(ctx, u.ID, d.hash("session", b.Session)); err != nil {
		return Entered{}, err
	}
	if err := tx.PutSession(ctx, s); err != nil {
		return Entered{}, err
	}
	var err error
	e.Device, err = seal(d, stepDevice, device, now.Add(deviceLife))
	return e, err
}

// Where lists where the person is signed in; the session of this browser is the one whose hash is Here.
func (d *Desk) Where(ctx context.Context, p *Person) (sessions []annona.Session, here annona.TokenHash, err error) {
	if p.session == nil {
		return nil, annona.TokenHash{}, errNobody
	}
	all, err := d.Users.SessionsOf(ctx, p.ID)
	now := d.Clock()
	all = slices.DeleteFunc(all, func(s annona.Session) bool { return !holds(&s, &p.User, now) })
	return all, p.session.Hash, err
}

// SignOut ends the session of this browser. EndSession ends another one, SignOutEverywhere all of them.
func (d *Desk) SignOut(ctx context.Context, b Browser, p *Person) error {
	if p.session == nil {
		return errNobody
	}
	return d.EndSession(ctx, b, p, p.session.Hash)
}

// EndSession ends a session of the person. One that is over already stays so.
func (d *Desk) EndSession(ctx context.Context, b Browser, p *Person, hash annona.TokenHash) error {
	return d.Record(ctx, p.caller(b), func(tx annona.Tx) (map[string]string, error) {
		was, err := tx.DropSession(ctx, p.ID, hash)
		if err != nil || !was {
			return nil, err
		}
		return about(p.ID, "signed_out", ""), nil
	})
}

// SignOutEverywhere ends all sessions of the person, also those that begin at this moment, and all that
// acts for them.
func (d *Desk) SignOutEverywhere(ctx context.Context, b Browser, p *Person) error {
	err := d.Record(ctx, p.caller(b), func(tx annona.Tx) (map[string]string, error) {
		u, _, err := tx.HoldUser(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		u.End(d.Clock())
		if err := tx.PutUser(ctx, *u); err != nil {
			return nil, err
		}
		return about(p.ID, "signed_out_everywhere", ""), tx.DropSessions(ctx, p.ID)
	})
	if err != nil {
		return err
	}
	// No token of theirs counts any more. What is left of them is tidied up, so that nobody refreshes it.
	all, err := d.Delegations.DelegationsOf(ctx, p.ID)
	for _, leave := range all {
		if err := d.Delegations.EndDelegation(ctx, leave.ID, d.Clock()); err != nil {
			return err
		}
	}
	return err
}

// about says in the ledger what somebody has done, and by what.
func about(user annona.UID, act, by string) map[string]string {
	details := map[string]string{"act": act, "user": user.String()}
	if by != "" {
		details["by"] = by
	}
	return details
}

// A browser keeps who has signed in in it. It opens nothing: whoever has it is let wait in a lane of
// their own.
const (
	stepDevice   = "device"
	deviceLife   = 365 * 24 * time.Hour
	deviceKnows  = 5 // users
	longestState = 4 << 10
)

type device struct {
	ID    string
	Users []annona.UID // the latest one first
}

func (v device) knows(u annona.UID) bool { return slices.Contains(v.Users, u) }

func (d *Desk) device(b Browser) (device, bool) {
	if b.Device == "" || len(b.Device) > longestState {
		return device{}, false
	}
	v, err := open[device](d, stepDevice, b.Device)
	return v, err == nil
}

func (d *Desk) remember(b Browser, u annona.UID) device {
	v, ok := d.device(b)
	if !ok {
		v.ID = fresh()
	}
	users := slices.DeleteFunc(v.Users, func(other annona.UID) bool { return other == u })
	v.Users = append([]annona.UID{u}, users[:min(len(users), deviceKnows-1)]...)
	return v
}
