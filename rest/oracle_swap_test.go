package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/vault"
)

// swaps is a registry with two more callers: a second client of the agreement "full", and one
// of an agreement with two purposes.
type swaps struct {
	*registry
	second, twofold string
}

func newSwaps(t *testing.T) *swaps {
	r := newRegistry(t)
	full, err := r.store.Agreement(t.Context(), "full")
	r.check(err)
	twofold := *full
	twofold.Name, twofold.Realm = "twofold", "twofold"
	twofold.Purposes = []annona.PurposeTerms{
		{Code: "one", Basis: annona.BasisPublicInterest}, {Code: "two", Basis: annona.BasisPublicInterest}, {Code: "asked", Basis: annona.BasisConsent},
	}
	_, err = r.gate.ApplyAgreement(t.Context(), operator, twofold)
	r.check(err)
	return &swaps{registry: r, second: r.mint("full"), twofold: r.mint("twofold")}
}

func (r *registry) mint(agreement string) string {
	key, client, err := identity.Mint(r.gate.Vault.(*vault.Vault).KeyHash, false, time.Now(), time.Now().AddDate(0, 0, 30), agreement, "another", nil)
	r.check(err)
	r.check(r.gate.CreateClient(r.Context(), operator, client))
	return key
}

// amend puts a changed version of an agreement in force.
func (r *registry) amend(name string, change func(*annona.Agreement)) {
	a, err := r.store.Agreement(r.Context(), name)
	r.check(err)
	change(a)
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *a)
	r.check(err)
}

// cursor asks for the first page of two and returns its cursor.
func (s *swaps) cursor(path, key string) string {
	s.Helper()
	a := s.get(path+"&limit=2", key)
	if a.status != 200 || a.header.Get("Annona-Next") == "" {
		s.Fatalf("no cursor: %d %s", a.status, a.body)
	}
	return a.header.Get("Annona-Next")
}

// A cursor is worth nothing in other hands, under another question, or made up.
func TestCursorsInOtherHands(t *testing.T) {
	s := newSwaps(t)
	const one, two = "/v1/individuals?purpose=one&fields=individual_id", "/v1/individuals?purpose=two&fields=individual_id"
	full := s.cursor(onePage, s.full)
	twofold := s.cursor(one, s.twofold)
	for name, c := range map[string]struct{ path, cursor, key string }{
		"another client of the same agreement":    {onePage, full, s.second},
		"another agreement":                       {two, full, s.twofold},
		"another purpose of the same agreement":   {two, twofold, s.twofold},
		"another basis":                           {"/v1/individuals?purpose=asked&fields=individual_id", twofold, s.twofold},
		"the purpose of another":                  {one, full, s.twofold},
		"fields where there were none":            {onePage + "&fields=individual_id", full, s.full},
		"a filter that says the same":             {filtered(onePage, "true"), full, s.full},
		"households":                              {households, full, s.full},
		"a day that is today":                     {onePage + "&as_of=" + time.Now().UTC().Format(annona.DateLayout), full, s.full},
		"an id of ours":                           {onePage, s.somebody(s.full, "eligibility-assessment"), s.full},
		"a number":                                {onePage, "1", s.full},
		"two of them":                             {onePage, full + full, s.full},
		"one with a space behind":                 {onePage, full + " ", s.full},
		"one in capitals":                         {onePage, strings.ToUpper(full), s.full},
		"nothing but zeros":                       {onePage, strings.Repeat("A", len(full)), s.full},
		"a long one":                              {onePage, strings.Repeat("A", 100_000), s.full},
		"control characters and a quotation mark": {onePage, "\x00\r\n\"", s.full},
	} {
		s.refuses(t, name, scenario{path: c.path + "&after=" + url.QueryEscape(c.cursor), status: 400, code: "cursor_invalid"}, c.key)
	}
	for name, path := range map[string]string{"another limit": onePage + "&limit=1", "the same": onePage + "&limit=2"} {
		if a := s.get(path+"&after="+url.QueryEscape(full), s.full); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := s.get(one+"&after="+url.QueryEscape(twofold), s.twofold, "Accept", "text/csv"); a.status != 200 {
		t.Errorf("another format: %d %s", a.status, a.body)
	}
	s.refuses(t, "as an id", scenario{path: "/v1/individuals/" + full + "?purpose=eligibility-assessment", status: 404, code: "not_found"}, s.full)
}

// A cursor carries no right: whoever continues is decided about anew.
func TestCursorsAfterAChange(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*swaps)
		status int
		code   string
	}{
		"the key is revoked":             {func(s *swaps) { s.check(s.gate.RevokeClient(t.Context(), operator, s.fullClient)) }, 401, "key_invalid"},
		"the agreement is suspended":     {func(s *swaps) { s.amend("full", func(a *annona.Agreement) { a.Status = "suspended" }) }, 403, "agreement_not_active"},
		"the agreement has ended":        {func(s *swaps) { s.amend("full", func(a *annona.Agreement) { a.ValidUntil = "2020-12-31" }) }, 403, "agreement_not_active"},
		"the purpose is gone":            {func(s *swaps) { s.amend("full", func(a *annona.Agreement) { a.Purposes[0].Code = "monitoring" }) }, 403, "purpose_not_granted"},
		"a field is granted no more":     {func(s *swaps) { s.amend("full", except("individuals", "full_name")) }, 400, "cursor_invalid"},
		"the dataset is granted no more": {func(s *swaps) { s.amend("full", func(a *annona.Agreement) { delete(a.Datasets, "individuals") }) }, 403, "dataset_not_granted"},
		"an oauth client is asked for":   {func(s *swaps) { s.amend("full", func(a *annona.Agreement) { a.Floor = "oauth" }) }, 403, "credential_too_weak"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSwaps(t)
			next := onePage + "&limit=2&after=" + url.QueryEscape(s.cursor(onePage, s.full))
			c.change(s)
			s.refuses(t, name, scenario{path: next, status: c.status, code: c.code}, s.full)
			s.keepsToItself(planted)
		})
	}
}

// A page after a narrower grant holds only what that grant shows.
func TestCursorsUnderANarrowerScope(t *testing.T) {
	s := newSwaps(t)
	next := onePage + "&limit=2&after=" + url.QueryEscape(s.cursor(onePage, s.full))
	if a := s.get(next, s.full); !strings.Contains(a.body, "Mensah") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.amend("full", where("individuals", "individual.sex == 'female'"))
	if a := s.get(next, s.full); a.status != 200 || strings.Contains(a.body, "Mensah") || !strings.Contains(a.body, "1999-12-31") {
		t.Errorf("after the agreement was narrowed: %d %s", a.status, a.body)
	}
}

// What a caller asserts about itself changes no answer.
func TestAssertionsChangeNothing(t *testing.T) {
	s := newSwaps(t)
	paths := []string{onePage, households, wholeFile + "&format=ndjson", "/v1/individuals/" + s.somebody(s.full, "eligibility-assessment") + "?purpose=eligibility-assessment"}
	for _, path := range paths {
		for key, status := range map[string]int{s.full: 200, s.narrow: 403, s.other: 403} {
			want := s.get(path, key)
			if want.status != status {
				t.Fatalf("%s: %d %s", path, want.status, want.body)
			}
			for _, header := range []string{"On-Behalf-Of", "X-On-Behalf-Of", "X-User", "X-Forwarded-User", "X-Agreement", "X-Purpose", "X-Role", "X-Original-URL", "Authorization", "Cookie", "X-Forwarded-For"} {
				for _, value := range []string{"full", "operator"} {
					got := s.get(path, key, header, value)
					if got.status != want.status || ledgerID.ReplaceAllString(got.body, "") != ledgerID.ReplaceAllString(want.body, "") {
						t.Fatalf("%s with %s: %d %s, without %d", path, header, got.status, got.body, want.status)
					}
				}
			}
		}
	}
}

// Swapping what belongs together is refused in the words of the thing that is missing, or finds
// nothing; it never finds more.
func TestSwaps(t *testing.T) {
	s := newSwaps(t)
	ours, theirs := s.somebody(s.full, "eligibility-assessment"), s.somebody(s.twofold, "one")
	look := func(purpose string) string {
		return `{"type":"national_id_number","value":"GHA-0012345","purpose":"` + purpose + `"}`
	}
	for _, c := range []scenario{
		{name: "a purpose of another agreement", path: "/v1/individuals?purpose=one", key: s.full, status: 403, code: "purpose_not_granted"},
		{name: "ours for them", path: "/v1/individuals?purpose=eligibility-assessment", key: s.twofold, status: 403, code: "purpose_not_granted"},
		{name: "a purpose that nobody has", path: "/v1/individuals?purpose=nobody-s", key: s.full, status: 403, code: "purpose_not_granted"},
		{name: "two purposes", path: "/v1/individuals?purpose=one,two", key: s.twofold, status: 400, code: "purpose_unknown"},
		{name: "a look-up for another purpose", method: http.MethodPost, path: "/v1/lookup", body: look("one"), key: s.full, status: 403, code: "purpose_not_granted"},
		{name: "an export for another purpose", path: "/v1/individuals/export?format=csv&purpose=one", key: s.full, status: 403, code: "purpose_not_granted"},
		{name: "their id", path: "/v1/individuals/" + theirs + "?purpose=eligibility-assessment", key: s.full, status: 404, code: "not_found"},
		{name: "our id for them", path: "/v1/individuals/" + ours + "?purpose=one", key: s.twofold, status: 404, code: "not_found"},
		{name: "an individual among households", path: "/v1/households/" + ours + "?purpose=eligibility-assessment", key: s.full, status: 404, code: "not_found"},
		{name: "an id in capitals", path: "/v1/individuals/" + strings.ToUpper(ours) + "?purpose=eligibility-assessment", key: s.full, status: 404, code: "not_found"},
		{name: "somebody who was not asked", path: "/v1/individuals/" + theirs + "?purpose=asked", key: s.twofold, status: 404, code: "not_found"},
		{name: "a look-up of somebody who was not asked", method: http.MethodPost, path: "/v1/lookup", body: look("asked"), key: s.twofold, status: 404, code: "not_found"},
		{name: "an agreement in the query", path: onePage + "&agreement=twofold", key: s.full, status: 400, code: "unknown_parameter"},
		{name: "a realm in the query", path: onePage + "&realm=twofold", key: s.full, status: 400, code: "unknown_parameter"},
		{name: "an agreement in the body", method: http.MethodPost, path: "/v1/lookup", body: strings.Replace(look("one"), "{", `{"agreement":"twofold",`, 1), key: s.full, status: 400, code: "unknown_member"},
		{name: "a dataset that one does not have", path: "/v1/households?purpose=statistics", key: s.narrow, status: 403, code: "dataset_not_granted"},
	} {
		s.refuses(t, c.name, c, c.key)
	}
	s.amend("full", func(a *annona.Agreement) { a.Areas = []string{"GH01"} })
	for _, area := range []string{"GH02", "GH99"} {
		a := s.get(filtered(onePage+"&fields=individual_id", "within(individual.area_code, '"+area+"')"), s.full)
		if a.status != 200 || strings.Contains(a.body, "individual_id") {
			t.Errorf("people of an area outside the agreement: %d %s", a.status, a.body)
		}
	}
	s.keepsToItself(planted)
}
