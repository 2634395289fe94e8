package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func keyedHash(b []byte) []byte {
	h := hmac.New(sha256.New, []byte("pepper"))
	h.Write(b)
	return h.Sum(nil)
}

// keptStandings keeps clients in memory and counts how often it is asked.
type keptStandings struct {
	annona.Standings
	clients map[string]*annona.Client
	asked   int
	failing error
}

func (k *keptStandings) ClientByKeyID(_ context.Context, id string) (*annona.Client, error) {
	k.asked++
	return k.clients[id], k.failing
}

// desk is an installation with one key.
type desk struct {
	standings *keptStandings
	client    *annona.Client
	keys      *Keys
	text      string
	hashed    int
	now       time.Time
}

func newDesk(t testing.TB, demo bool, networks ...netip.Prefix) *desk {
	t.Helper()
	d := &desk{now: noon}
	hash := func(b []byte) []byte { d.hashed++; return keyedHash(b) }
	text, client, err := Mint(hash, demo, noon, noon.AddDate(0, 3, 0), "eligibility", "nightly load", networks)
	if err != nil {
		t.Fatal(err)
	}
	d.text, d.client = text, &client
	d.standings = &keptStandings{clients: map[string]*annona.Client{client.KeyID: &client}}
	d.keys = NewKeys(d.standings, hash, func() time.Time { return d.now }, demo)
	d.hashed = 0
	return d
}

func (d *desk) show(text string, from string) (annona.Caller, error) {
	addr := netip.Addr{}
	if from != "" {
		addr = netip.MustParseAddr(from)
	}
	return d.keys.Authenticate(context.Background(), text, addr)
}

func TestKeyIsRecognized(t *testing.T) {
	for _, demo := range []bool{false, true} {
		d := newDesk(t, demo)
		caller, err := d.show(d.text, "192.0.2.7")
		if err != nil {
			t.Fatal(err)
		}
		want := annona.Caller{Client: d.client.ID, Agreement: "eligibility", Strength: annona.StrengthAPIKey, Network: netip.MustParseAddr("192.0.2.7")}
		if caller != want {
			t.Errorf("got %+v, want %+v", caller, want)
		}
		if d.standings.asked != 1 {
			t.Errorf("the store was asked %d times", d.standings.asked)
		}
	}
}

// Each case changes one thing; nothing of the key may show in the refusal.
func TestRefusals(t *testing.T) {
	other, _, err := Mint(keyedHash, false, noon, noon.Add(time.Hour), "eligibility", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	// forged gives a key with the id of one and the secret of another, with a checksum that fits.
	forged := func(id, secret string) string {
		body := id[:28] + secret[28:61]
		return body + checksum(body)
	}
	asDemo := func(text string) string {
		body := strings.Replace(text[:61], "_live_", "_demo_", 1)
		return body + checksum(body)
	}
	cases := map[string]struct {
		change func(d *desk)
		text   func(text string) string
		from   string
		code   string
		kind   annona.Kind
	}{
		"nothing":          {text: func(string) string { return "" }, code: "key_malformed"},
		"cut off":          {text: func(s string) string { return s[:len(s)-1] }, code: "key_malformed"},
		"space in front":   {text: func(s string) string { return " " + s }, code: "key_malformed"},
		"line end behind":  {text: func(s string) string { return s + "\n" }, code: "key_malformed"},
		"mistyped":         {text: func(s string) string { return s[:40] + flip(s[40]) + s[41:] }, code: "key_malformed"},
		"checksum":         {text: func(s string) string { return s[:65] + flip(s[65]) }, code: "key_malformed"},
		"of a demo":        {text: asDemo, code: "key_environment"},
		"not on file":      {text: func(string) string { return other }, code: "key_invalid"},
		"another's secret": {text: func(s string) string { return forged(s, other) }, code: "key_invalid"},
		"revoked":          {change: func(d *desk) { d.client.RevokedAt = noon }, code: "key_invalid"},
		"revoked tomorrow": {change: func(d *desk) { d.client.RevokedAt = noon.AddDate(0, 0, 1) }, code: "key_invalid"},
		"hash lost":        {change: func(d *desk) { d.client.Hash = nil }, code: "key_invalid"},
		"hash of another":  {change: func(d *desk) { d.client.Hash = keyedHash([]byte("x")) }, code: "key_invalid"},
		"filed as a demo":  {change: func(d *desk) { d.client.Demo = true }, code: "key_environment"},
		"expired":          {change: func(d *desk) { d.now = d.client.ExpiresAt }, code: "key_expired"},
		"without expiry":   {change: func(d *desk) { d.client.ExpiresAt = time.Time{} }, code: "key_expired"},
		"expired, secret of another": {
			change: func(d *desk) { d.now = d.client.ExpiresAt },
			text:   func(s string) string { return forged(s, other) }, code: "key_invalid",
		},
		"expired and revoked": {
			change: func(d *desk) { d.now, d.client.RevokedAt = d.client.ExpiresAt, noon }, code: "key_invalid",
		},
		"from another network":    {from: "198.51.100.1", code: "network_not_allowed", kind: annona.KindForbidden},
		"from an IPv6 network":    {from: "2001:db9::1", code: "network_not_allowed", kind: annona.KindForbidden},
		"from an unknown network": {from: "", code: "network_not_allowed", kind: annona.KindForbidden},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, false, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"))
			text := d.text
			if c.text != nil {
				text = c.text(text)
			}
			if c.change != nil {
				c.change(d)
			}
			from := c.from
			if c.code != "network_not_allowed" {
				from = "192.0.2.9"
			}
			kind := annona.KindUnauthenticated
			if c.kind != 0 {
				kind = c.kind
			}
			caller, err := d.show(text, from)
			if annona.CodeOf(err) != c.code || annona.KindOf(err) != kind {
				t.Errorf("got %v, want code %s", err, c.code)
			}
			if caller != (annona.Caller{}) {
				t.Error("a refused caller was returned")
			}
			silent(t, err, text, d.text)
		})
	}
}

// flip returns another character that a key may have there.
func flip(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}

// silent fails when any piece of a key stands in an error, however it is printed.
func silent(t *testing.T, err error, keys ...string) {
	t.Helper()
	shown := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, key := range keys {
		for i := len("annona_live_"); i+6 <= len(key); i++ {
			if strings.Contains(shown, key[i:i+6]) {
				t.Fatal("the error holds a piece of the key")
			}
		}
	}
}

// The refusal of a key that is not on file cannot be told from that of a wrong one: same
// error, same number of questions and hashes.
func TestUnknownKeyCostsTheSame(t *testing.T) {
	other, _, err := Mint(keyedHash, false, noon, noon.Add(time.Hour), "eligibility", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	unknown, wrong := newDesk(t, false), newDesk(t, false)
	wrong.client.Hash = keyedHash([]byte("x"))
	_, errUnknown := unknown.show(other, "192.0.2.9")
	_, errWrong := wrong.show(wrong.text, "192.0.2.9")
	if errUnknown != errWrong {
		t.Errorf("%v differs from %v", errUnknown, errWrong)
	}
	if unknown.hashed != 1 || wrong.hashed != 1 || unknown.standings.asked != 1 || wrong.standings.asked != 1 {
		t.Errorf("%d and %d hashes, %d and %d questions", unknown.hashed, wrong.hashed, unknown.standings.asked, wrong.standings.asked)
	}
}

// A key whose kept hash is all zero, as the dummy's is, opens nothing.
func TestUnknownKeyIsNeverTheDummy(t *testing.T) {
	zero := func([]byte) []byte { return make([]byte, 32) }
	text, _, err := Mint(zero, false, noon, noon.Add(time.Hour), "eligibility", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := NewKeys(&keptStandings{}, zero, func() time.Time { return noon }, false)
	if _, err := keys.Authenticate(context.Background(), text, netip.Addr{}); annona.CodeOf(err) != "key_invalid" {
		t.Errorf("got %v", err)
	}
}

func TestMappedAddressIsItsIPv4Address(t *testing.T) {
	d := newDesk(t, false, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10"))
	for _, from := range []string{"::ffff:192.0.2.9", "fe80::1%eth0"} {
		if _, err := d.show(d.text, from); err != nil {
			t.Errorf("%s: %v", from, err)
		}
	}
}

func TestDemonstrationTakesDemoKeysOnly(t *testing.T) {
	d, live := newDesk(t, true), newDesk(t, false)
	if _, err := d.show(live.text, "192.0.2.9"); annona.CodeOf(err) != "key_environment" {
		t.Errorf("got %v", err)
	}
}

func TestAuthenticateFailsWhenTheStoreDoes(t *testing.T) {
	d := newDesk(t, false)
	d.standings.failing = errors.New("the disk is gone")
	if _, err := d.show(d.text, "192.0.2.9"); !errors.Is(err, d.standings.failing) {
		t.Errorf("got %v", err)
	}
}

func TestCheckAsksAgain(t *testing.T) {
	d := newDesk(t, false)
	anywhere := netip.MustParseAddr("192.0.2.9")
	if err := d.keys.Check(d.client, noon, anywhere); err != nil {
		t.Error(err)
	}
	if err := d.keys.Check(d.client, d.client.ExpiresAt.Add(-1), anywhere); err != nil {
		t.Error(err)
	}
	if err := d.keys.Check(d.client, d.client.ExpiresAt, anywhere); annona.CodeOf(err) != "key_expired" {
		t.Errorf("got %v", err)
	}
	if err := d.keys.Check(nil, noon, anywhere); annona.CodeOf(err) != "key_invalid" {
		t.Errorf("got %v", err)
	}
}
