package people

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/annona-exchange/annona"
)

// counter keeps the users of a desk in memory: 10,000 attempts need no disk.
type counter struct {
	port
	annona.Tx

	mu       sync.Mutex
	user     annona.User
	factors  map[annona.UID]annona.Factor
	lanes    map[annona.TokenHash]annona.Attempts
	sessions map[annona.TokenHash]annona.Session
	refused  int // codes that were looked at
}

type port = annona.Users // which has a method of its name

func (c *counter) UserByName(_ context.Context, name string) (*annona.User, error) {
	if name != c.user.Name {
		return nil, nil
	}
	u := c.user
	return &u, nil
}

func (c *counter) Factors(_ context.Context, user annona.UID) (all []annona.Factor, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.factorsOf(user), nil
}

func (c *counter) factorsOf(user annona.UID) (all []annona.Factor) {
	for _, f := range c.factors {
		if f.User == user {
			all = append(all, f)
		}
	}
	return all
}

func (c *counter) HoldUser(_ context.Context, id annona.UID) (*annona.User, []annona.Factor, error) {
	u := c.user
	return &u, c.factorsOf(id), nil
}

func (c *counter) PutFactor(_ context.Context, f annona.Factor) error {
	c.factors[f.ID] = f
	return nil
}

func (c *counter) DropFactor(_ context.Context, _, factor annona.UID) error {
	delete(c.factors, factor)
	return nil
}

func (c *counter) HoldAttempts(_ context.Context, lane annona.TokenHash) (annona.Attempts, error) {
	a := c.lanes[lane]
	a.Lane = lane
	return a, nil
}

func (c *counter) PutAttempts(_ context.Context, a annona.Attempts) error {
	c.lanes[a.Lane] = a
	return nil
}

func (c *counter) DropSession(context.Context, annona.UID, annona.TokenHash) (bool, error) {
	return false, nil
}

func (c *counter) PutSession(_ context.Context, s annona.Session) error {
	c.sessions[s.Hash] = s
	return nil
}

func (c *counter) Record(_ context.Context, _ annona.Caller, do func(annona.Tx) (map[string]string, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	details, err := do(c)
	if details["act"] == "code_refused" {
		c.refused++
	}
	return err
}

// besieged is a desk in front of which somebody guesses: one user, with a password that costs next to nothing to try.
type besieged struct {
	*hall
	*counter
	secret   []byte
	recovery []string
	known    *Browser // in which the user has signed in before
}

func newBesieged(t *testing.T) *besieged {
	t.Helper()
	h := newHall(t)
	c := &counter{user: annona.User{ID: annona.NewUID(), Name: "ama", Status: annona.UserActive, Version: 1}}
	c.factors, c.lanes, c.sessions = map[annona.UID]annona.Factor{}, map[annona.TokenHash]annona.Attempts{}, map[annona.TokenHash]annona.Session{}
	h.Desk.Users, h.Desk.Record = c, c.Record
	g := &besieged{hall: h, counter: c, secret: newAppSecret(), known: browser("192.0.2.1")}
	cheap := passwordHash{Memory: 8, Passes: 1, Salt: make([]byte, 16)}
	cheap.Sum = argon2.IDKey([]byte(goodPassword), cheap.Salt, cheap.Passes, cheap.Memory, 1, 32)
	told, kept, err := h.newRecoveryCodes(c.user.ID)
	if err != nil {
		t.Fatal(err)
	}
	for kind, by := range map[annona.FactorKind]any{annona.FactorPassword: cheap, annona.FactorTOTP: appSecret{g.secret}} {
		f, err := h.newFactor(c.user.ID, kind, "", by)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, f)
	}
	for _, f := range kept {
		c.factors[f.ID] = f
	}
	g.recovery = told
	g.opens("for the first time", g.known)
	h.later(time.Hour)
	return g
}

// try is one attempt: whether it opened, and the code of the refusal.
func (g *besieged) try(b *Browser, password, code string) (opened bool, refusal string) {
	e, err := g.EnterByPassword(g.hall.Context(), *b, "ama", password, code)
	if err != nil {
		return false, annona.CodeOf(err)
	}
	b.keeps(e)
	return true, ""
}

// opens wants the user let in.
func (g *besieged) opens(what string, b *Browser) {
	g.Helper()
	g.later(time.Minute) // a code opens once
	if opened, refusal := g.try(b, goodPassword, g.code(g.secret, 0)); !opened {
		g.Errorf("%s: whoever the account is of is refused: %s", what, refusal)
	}
}

// placeOf is one of many places.
func placeOf(n int) *Browser {
	return &Browser{From: netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0xc6000000+uint32(n)))), Label: "Firefox"}
}

// T-25: 10,000 wrong codes of each kind, over a day, of which next to none is looked at; whoever the account
// is of gets in all the same.
func TestTenThousandWrongCodes(t *testing.T) {
	const guesses = 10_000
	step := 24 * time.Hour / guesses
	wrong := map[string]func(n int) string{
		"one-time codes": func(n int) string { return fmt.Sprintf("%06d", n) },
		"recovery codes": func(n int) string { return fmt.Sprintf("aaaa bbbb cccc %04d", n%7777) },
		"no codes":       func(int) string { return "" },
	}
	for name, code := range wrong {
		t.Run(name+" behind the right password", func(t *testing.T) {
			g := newBesieged(t)
			for n := range guesses {
				// From ten thousand places: only the lane of the codes is in the way.
				if opened, _ := g.try(placeOf(n), goodPassword, code(n)); opened && name != "one-time codes" {
					t.Fatalf("guess %d opens", n)
				}
				g.later(step)
			}
			if g.refused > 40 {
				t.Errorf("%d of %d codes were looked at", g.refused, guesses)
			}
			if opened, refusal := g.try(placeOf(guesses), goodPassword, g.code(g.secret, 0)); opened || refusal != "sign_in_refused" {
				t.Errorf("while codes are guessed, an unknown browser is let in, or told that the password is right: %v %q", opened, refusal)
			}
			g.opens("in a browser that is known", g.known)
			g.later(24*time.Hour + time.Second)
			g.opens("a day later, in a browser that is not known", browser("203.0.113.9"))
		})
	}
	t.Run("passwords from one place", func(t *testing.T) {
		g := newBesieged(t)
		looked := 0
		for n := range guesses {
			if _, refusal := g.try(placeOf(1), fmt.Sprint("wrong wrong ", n), "000000"); refusal != "too_many_attempts" {
				looked++
			}
			g.later(step)
		}
		if looked > 5+10+96 { // those that are free, those while the wait grows, and one for each quarter of an hour
			t.Errorf("%d of %d passwords were looked at", looked, guesses)
		}
		beside := placeOf(1)
		beside.Device = g.known.Device
		g.opens("in a browser that is known, at the same place", beside)
		g.opens("in an unknown browser at another place", browser("203.0.113.9"))
	})
	t.Run("names from one place", func(t *testing.T) {
		g := newBesieged(t)
		looked := 0
		for n := range 200 {
			_, err := g.EnterByPassword(t.Context(), *placeOf(1), fmt.Sprint("name", n), "wrong wrong wrong", "000000")
			if annona.CodeOf(err) != "too_many_attempts" {
				looked++
			}
		}
		if looked > 50 {
			t.Errorf("%d of 200 names were looked at", looked)
		}
		g.opens("in an unknown browser at another place", browser("203.0.113.9"))
	})
	t.Run("at once", func(t *testing.T) {
		g := newBesieged(t)
		var many sync.WaitGroup
		var mu sync.Mutex
		looked := 0
		for n := range 200 {
			many.Go(func() {
				_, refusal := g.try(placeOf(1), "wrong wrong wrong", fmt.Sprintf("%06d", n))
				mu.Lock()
				defer mu.Unlock()
				if refusal != "too_many_attempts" {
					looked++
				}
			})
		}
		many.Wait()
		if looked != 5 {
			t.Errorf("of 200 guesses at once %d were looked at", looked)
		}
	})
	t.Run("with what a browser keeps", func(t *testing.T) {
		g := newBesieged(t)
		other, err := seal(g.Desk, stepDevice, device{ID: fresh(), Users: []annona.UID{annona.NewUID()}}, g.clock().Add(deviceLife))
		if err != nil {
			t.Fatal(err)
		}
		for name, kept := range map[string]string{"nothing": "", "something made up": "AAAA", "what somebody else's browser keeps": other, "what was changed": g.known.Device + "A"} {
			thief := placeOf(7)
			thief.Device = kept
			for range 60 {
				g.try(thief, goodPassword, "000000")
			}
			if _, refusal := g.try(thief, goodPassword, "000000"); refusal != "too_many_attempts" {
				t.Errorf("%s lets somebody guess on: %s", name, refusal)
			}
			g.opens("while somebody guesses with "+name, g.known)
		}
		// Many browsers that somebody else has signed in in are as unknown as any.
		before := g.refused
		for n := range 200 {
			thief := placeOf(100 + n)
			if thief.Device, err = seal(g.Desk, stepDevice, device{ID: fresh(), Users: []annona.UID{annona.NewUID()}}, g.clock().Add(deviceLife)); err != nil {
				t.Fatal(err)
			}
			g.try(thief, goodPassword, "000000")
		}
		if g.refused-before > 40 {
			t.Errorf("browsers of others may try %d codes", g.refused-before)
		}
		g.later(25 * time.Hour)
		// Who has stolen what the browser keeps slows down that browser alone.
		stolen := placeOf(8)
		stolen.Device = g.known.Device
		for range 60 {
			g.try(stolen, "wrong wrong wrong", "000000")
		}
		if _, refusal := g.try(stolen, "wrong wrong wrong", "000000"); refusal != "too_many_attempts" {
			t.Errorf("a stolen cookie lets somebody guess on: %s", refusal)
		}
		g.later(2 * time.Minute)
		g.opens("at another place", browser("203.0.113.9"))
	})
}
