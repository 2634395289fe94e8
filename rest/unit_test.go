package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/queryparam"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/schema"
)

func TestPlainPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/a": true, "/v1/individuals.xsd": true, "/a-b/c_d": true,
		"": false, "/": false, "a": false, "/a/": false, "//a": false, "/a//b": false, "/./a": false, "/../a": false, "/a.": false, "/.a": false,
		"/a%2e": false, "/a;b": false, "/a b": false, "/ä": false, "/a\x00": false, "/a\\b": false, "*": false,
	} {
		if plainPath(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

func TestNegotiateCoding(t *testing.T) {
	for accept, want := range map[string]coding{
		"": unencoded, "gzip": gzipped, "zstd": zstded, "GZIP": gzipped, "gzip, zstd": zstded, "gzip, deflate, br": gzipped, "*": unencoded,
		"zstd;q=0.5, gzip": gzipped, "zstd;q=0, gzip;q=0": unencoded, "gzip;q=x": unencoded, "gzip;q=2": unencoded, "gzip;q=NaN": unencoded,
		"gzip;level=9": unencoded, " gzip ; q=0.1 ": gzipped, ",,,": unencoded, "identity": unencoded,
	} {
		if got := negotiateCoding(accept); got != want {
			t.Errorf("%q: %q", accept, got)
		}
	}
}

func TestKeyInURL(t *testing.T) {
	for text, want := range map[string]bool{
		"/v1/individuals?fields=sex":                                false,
		"/v1/individuals?filter=annona":                             false,
		"/v1/individuals?purpose=annona_study":                      false,
		"/v1/individuals?fields=annona_live_aaaaaaaaaaaaaaaa":       true,
		"/v1/individuals?fields=ANNONA_LIVE_aaaaaaaaaaaaaaaa":       true,
		"/v1/individuals?fields=x%61nnona_live_aaaaaaaaaaaaaaaa":    true,
		"/v1/annona_demo_aaaaaaaaaaaaaaaa":                          true,
		"/v1/%61nnona_demo_aaaaaaaaaaaaaaaa":                        true,
		"/v1/individuals?Token=x":                                   true,
		"/v1/individuals?X-API-Key=x":                               true,
		"/v1/individuals?a=%zz&key=x":                               true,
		"/v1/individuals?a=%zz&b=annona_live_aaaaaaaaaaaaaaaa_aaaa": true,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if keyInURL(u) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

// Only trusted proxies say for whom they speak, and only the last word of each counts.
func TestClientAddress(t *testing.T) {
	s := &Server{Options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}}
	for _, c := range []struct {
		peer, want string
		forwarded  []string
	}{
		{"192.0.2.1:1", "192.0.2.1", nil},
		{"192.0.2.1:1", "192.0.2.1", []string{"198.51.100.7"}},
		{"10.0.0.1:1", "10.0.0.1", nil},
		{"10.0.0.1:1", "198.51.100.7", []string{"198.51.100.7"}},
		{"10.0.0.1:1", "198.51.100.7", []string{"203.0.113.9, 198.51.100.7"}},
		{"10.0.0.1:1", "198.51.100.7", []string{"198.51.100.7, 10.1.1.1"}},
		{"10.0.0.1:1", "198.51.100.7", []string{"203.0.113.9", "198.51.100.7"}},
		{"10.0.0.1:1", "10.2.2.2", []string{"10.2.2.2"}},
		{"[::1]:1", "2001:db8::7", []string{"2001:db8::7"}},
		{"[::ffff:10.0.0.1]:1", "198.51.100.7", []string{"::ffff:198.51.100.7"}},
		{"10.0.0.1:1", "", []string{"198.51.100.7, somebody"}},
		{"10.0.0.1:1", "", []string{"198.51.100.7,"}},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		got, err := s.clientAddr(r)
		if c.want == "" {
			if err == nil {
				t.Errorf("%v: %v", c, got)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("%v: %v %v", c, got, err)
		}
	}
}

func TestChosenColumns(t *testing.T) {
	d := annona.Standard()
	dataset, _ := d.Dataset("households")
	full := schema.FullShape(d, dataset)
	names := func(fields ...string) []string {
		shape, err := chosen(full, fields)
		if err != nil {
			return []string{annona.CodeOf(err)}
		}
		var out []string
		for _, f := range shape.Columns {
			out = append(out, f.Code)
		}
		for _, g := range shape.Groups {
			out = append(out, fmt.Sprintf("%s:%d", g.Field.Code, len(g.Shape.Columns)))
		}
		return out
	}
	for _, c := range [][2][]string{
		{{"poverty_score", "household_id"}, {"household_id", "poverty_score"}},
		{{"members.sex", "members.full_name"}, {"members:2"}},
		{{"nothing"}, {"unknown_field"}},
		{{"members.nothing"}, {"unknown_field"}},
		{{"poverty_score.x"}, {"unknown_field"}},
		{{""}, {"unknown_field"}},
	} {
		if diff := cmp.Diff(c[1], names(c[0]...)); diff != "" {
			t.Errorf("%v: %s", c[0], diff)
		}
	}
	for _, name := range names() {
		if strings.HasSuffix(name, "_nil_reason") {
			t.Errorf("without fields: %s", name)
		}
	}
}

// What is marked private does not show, however it is printed.
func TestPrivate(t *testing.T) {
	const secret = "GHA-0012345"
	p := private(secret)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "value", p, "in", struct{ V private }{p})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "value", p, "in", []private{p})
	encoded, err := json.Marshal(map[string]any{"v": p, "in": struct{ V *private }{&p}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d %v", p, p, p, p, p, p, p, struct{ V private }{p})
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("it shows: %s", out.String())
	}
}

// The log's words about a failure are ours and the system's.
func TestDescribe(t *testing.T) {
	err := annona.Internal("write the record", fmt.Errorf("Wiśniewska: %w", &net.OpError{Op: "write", Err: syscall.ENOSPC}))
	text := describe(err)
	if strings.Contains(text, "Wiśniewska") || !strings.Contains(text, "write the record") || !strings.Contains(text, "no space left") {
		t.Error(text)
	}
}

// Whatever JSON says twice is refused, whatever it says once is read as encoding/json does.
func TestStrictJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-c]{1,2}`), 0, 5).Draw(t, "names")
		var text strings.Builder
		seen, twice := map[string]bool{}, false
		for i, name := range names {
			twice = twice || seen[name]
			seen[name] = true
			if i > 0 {
				text.WriteByte(',')
			}
			fmt.Fprintf(&text, "%q:[%d,{%q:null}]", name, i, name)
		}
		var into any
		err := unmarshalStrictly([]byte("{"+text.String()+"}"), &into)
		if (err != nil) != twice {
			t.Fatalf("{%s}: %v", text.String(), err)
		}
	})
}

// A parameter that was checked is the one that an operation gets: huma reads the query in its
// own way.
func TestCheckedParametersAreTheOnesThatAreRead(t *testing.T) {
	known := &huma.Operation{Parameters: []*huma.Param{{Name: "purpose", In: "query"}, {Name: "limit", In: "query"}}}
	part := rapid.SampledFrom([]string{"purpose", "purpos%65", "limit", "l%69mit", "=", "&", "%3D", "%26", "+", "x", "1", "?", "#", "a"})
	rapid.Check(t, func(t *rapid.T) {
		raw := strings.Join(rapid.SliceOfN(part, 0, 12).Draw(t, "parts"), "")
		values, err := url.ParseQuery(raw)
		if err != nil || checkParameters(known, values) != nil {
			return
		}
		for _, name := range []string{"purpose", "limit"} {
			if got := queryparam.Get(raw, name); got != values.Get(name) {
				t.Fatalf("%s of %q: %q, checked %q", name, raw, got, values.Get(name))
			}
		}
	})
}

func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `[[[[`, `{"a":{"b":[1e999]}}`, "\xff", `1 2`, `{"\u0061":1,"a":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var strict, lax any
		if err := unmarshalStrictly([]byte(text), &strict); err != nil {
			return
		}
		if err := json.Unmarshal([]byte(text), &lax); err != nil || !cmp.Equal(strict, lax) {
			t.Errorf("accepted only here: %q", text)
		}
	})
}

func FuzzQuestions(f *testing.F) {
	for _, seed := range []string{"/v1/individuals?purpose=x", "/v1/lookup", "/%2e%2e", "/v1/schemas/1/individuals.csvw.json?fields=sex&layout=flat", "/docs/x?=&;", "/v1/code-lists/sex/1"} {
		f.Add("GET", seed)
	}
	s, err := New(unanswered())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL = method, u
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == 500 {
			t.Errorf("%s %s: %s", method, target, w.Body)
		}
	})
}

// nobody recognizes no key.
type nobody struct{}

func (nobody) Authenticate(context.Context, string, netip.Addr) (annona.Caller, error) {
	return annona.Caller{}, annona.Unauthenticated("key_invalid", "nobody has a key")
}

// unanswered is a server whose gate is never reached.
func unanswered() Options {
	gate := exchange.New(exchange.Config{Dictionary: annona.Standard(), Clock: time.Now, Zone: time.UTC})
	return Options{Gate: gate, Authenticator: nobody{}, Log: slog.New(slog.DiscardHandler)}
}
