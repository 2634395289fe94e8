package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"pgregory.net/rapid"
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

func TestMintedClient(t *testing.T) {
	d := newDesk(t, false, netip.MustParsePrefix("192.0.2.77/24"), netip.MustParsePrefix("::ffff:10.1.2.3/104"))
	if strings.Contains(fmt.Sprintf("%+v", *d.client), d.text[29:61]) {
		t.Error("the client on file holds the secret")
	}
	if got := fmt.Sprint(d.client.Networks); got != "[192.0.2.0/24 10.0.0.0/8]" {
		t.Errorf("networks %s", got)
	}
	again, other, err := Mint(keyedHash, false, noon, noon.Add(MaxLife), "eligibility", "", nil)
	if err != nil || again == d.text || other.ID == d.client.ID || other.KeyID == d.client.KeyID {
		t.Errorf("a second key is like the first: %v", err)
	}
}

func TestMintRefuses(t *testing.T) {
	cases := map[string]struct {
		expires   time.Time
		agreement string
		label     string
		networks  []netip.Prefix
		code      string
	}{
		"no expiry":           {time.Time{}, "a", "", nil, "expiry_required"},
		"expiry now":          {noon, "a", "", nil, "expiry_past"},
		"expiry past":         {noon.Add(-1), "a", "", nil, "expiry_past"},
		"expiry too far":      {noon.Add(MaxLife + 1), "a", "", nil, "expiry_too_far"},
		"no agreement":        {noon.Add(1), "", "", nil, "agreement_required"},
		"label too long":      {noon.Add(1), "a", strings.Repeat("é", MaxLabel+1), nil, "label_malformed"},
		"label with line end": {noon.Add(1), "a", "a\nb", nil, "label_malformed"},
		"label not UTF-8":     {noon.Add(1), "a", "\xff", nil, "label_malformed"},
		"network not set":     {noon.Add(1), "a", "", []netip.Prefix{{}}, "network_malformed"},
		"network half mapped": {noon.Add(1), "a", "", []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/90")}, "network_malformed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text, client, err := Mint(keyedHash, false, noon, c.expires, c.agreement, c.label, c.networks)
			if annona.CodeOf(err) != c.code || annona.KindOf(err) != annona.KindInvalid {
				t.Errorf("got %v, want code %s", err, c.code)
			}
			if text != "" || client.Hash != nil {
				t.Error("a refused key was handed out")
			}
		})
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

func TestEveryMintedKeyParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		demo := rapid.Bool().Draw(t, "demo")
		minted, text := newKey(demo)
		parsed, err := Parse(text)
		if err != nil || parsed != minted || parsed.Demo != demo {
			t.Fatalf("a minted key does not parse: %v", err)
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		c := rapid.Byte().Draw(t, "character")
		if changed := text[:at] + string(rune(c)) + text[at+1:]; changed != text {
			if _, err := Parse(changed); annona.CodeOf(err) != "key_malformed" {
				t.Fatalf("character %d was changed unnoticed", at)
			}
		}
	})
}

// The checksum as another implementation computes it (CRC-32, base 62), so that scanners for
// leaked secrets can rely on it.
func TestChecksumVector(t *testing.T) {
	const body = "annona_live_abcdefghijklmnop_abcdefghijklmnopqrstuvwxyz234567"
	if got := checksum(body); got != "1s3INK" {
		t.Errorf("got %s", got)
	}
	if key, err := Parse(body + "1s3INK"); err != nil || key.ID != "abcdefghijklmnop" || key.Demo {
		t.Errorf("the vector does not parse: %v", err)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	key, text := newKey(false)
	secret := text[29:61]
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		if shown := fmt.Sprintf(format, key, key); strings.Contains(shown, secret) {
			t.Errorf("%s prints the secret", format)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "pointer", &key)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "pointer", &key)
	asJSON, err := json.Marshal(key)
	if err != nil || strings.Contains(log.String()+string(asJSON), secret) {
		t.Error("a log or JSON holds the secret")
	}
}

func FuzzParse(f *testing.F) {
	_, text := newKey(true)
	f.Add(text)
	f.Add("annona_live_")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := Parse(text)
		if err != nil {
			if annona.CodeOf(err) != "key_malformed" || err.Error() != errMalformed.Error() {
				t.Error("a malformed key has another answer")
			}
			return
		}
		if key.body+checksum(key.body) != text {
			t.Error("a key has two spellings")
		}
	})
}

// TestHashesAreComparedInConstantTime holds the source to it: hashes meet in
// ConstantTimeCompare and nowhere else.
func TestHashesAreComparedInConstantTime(t *testing.T) {
	var constant []string
	for name, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, _ := n.X.(*ast.Ident)
				if x == nil {
					break
				}
				switch x.Name + "." + n.Sel.Name {
				case "subtle.ConstantTimeCompare":
					constant = append(constant, name)
				case "bytes.Equal", "bytes.Compare", "slices.Equal", "slices.Compare", "reflect.DeepEqual":
					t.Errorf("%s compares by %s.%s", name, x.Name, n.Sel.Name)
				}
			case *ast.BinaryExpr:
				if n.Op == token.EQL || n.Op == token.NEQ {
					for _, side := range []ast.Expr{n.X, n.Y} {
						if shown := spelled(side); strings.Contains(shown, "hash") || strings.Contains(shown, "Hash") {
							t.Errorf("%s compares %s by %s", name, shown, n.Op)
						}
					}
				}
			}
			return true
		})
	}
	if !slices.Equal(constant, []string{"keys.go"}) {
		t.Errorf("ConstantTimeCompare is called in %v, want keys.go once", constant)
	}
}

func spelled(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		var all []string
		for _, a := range e.Args {
			all = append(all, spelled(a))
		}
		if s := spelled(e.Fun); s != "ConstantTimeCompare" {
			return s + " " + strings.Join(all, " ")
		}
	}
	return ""
}

func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = file
		}
	}
	return files
}
