package rest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// secret is one thing that a caller may not see, and what once told it.
type secret struct {
	name    string
	terms   func(*annona.Agreement)
	prepare func(*world) // both worlds
	differ  func(*world) // makes the other world
	filters []string     // of individuals, or of households where they name members or the head
	fields  string
	asOf    string
}

// knownSecrets are small pairs of worlds: what the law finds by chance, said by name.
var knownSecrets = []secret{
	{
		name:    "a household whose one member is hidden is like one of nobody",
		differ:  func(w *world) { w.put("x", "h2", "head").restricted = annona.KindRestriction },
		filters: []string{"household.area_code == 'XA-1-1'"},
	},
	{
		name:    "a hidden head",
		differ:  func(w *world) { w.put("x", "h0", "head").restricted = annona.KindRestriction },
		filters: []string{"has(head.sex)", "members.count(m, true) == 2", "household.member_count == 2", "members.exists(m, m.role == 'head')"},
	},
	{
		name:    "somebody hidden by the agreement is not counted",
		terms:   onPeople("individual.sex == 'female'"),
		differ:  func(w *world) { w.put("x", "h0", "").values["sex"] = "male" },
		filters: []string{"household.member_count == 2", "household.member_count >= 3", "household.member_count == 2 && individual.sex == 'female'"},
	},
	{
		name: "a relationship to somebody hidden",
		differ: func(w *world) {
			w.put("x", "h0", "").restricted = annona.KindRestriction
			p := w.person("p0")
			p.relationships = append([]annona.Relationship{{ToKey: "x", Type: "parent"}}, p.relationships...)
		},
		filters: []string{"individual.sex == 'female'"},
	},
	{
		name: "an identifier that somebody hidden holds too",
		differ: func(w *world) {
			x := w.put("x", "h1", "")
			x.restricted, x.identifiers = annona.KindRestriction, []card{{"national_id_number", "A-1", ""}}
		},
	},
	{
		name:   "a look-up by identifiers that individuals do not show",
		terms:  except("individuals", "identifiers"),
		differ: func(w *world) { w.person("p0").identifiers = nil },
	},
	{
		name:    "a membership in a household that is out of reach",
		terms:   onHouseholds("household.poverty_score < 10"),
		differ:  func(w *world) { w.join("p1", "h1").NotPrimary = true },
		fields:  "members.individual_id,members.role",
		filters: []string{"has(individual.area_code)"},
	},
	{
		name:  "the household of somebody, out of reach",
		terms: onHouseholds("household.poverty_score < 10"),
		differ: func(w *world) {
			h := w.home("h1")
			h.values["poverty_score"], h.values["area_code"] = "60", "XA-1"
			w.person("p2").memberships[0].Role = "child"
		},
		filters: []string{"household.poverty_score < 55", "has(household.poverty_score)", "household.area_code == 'XA-2'", "individual.area_code == 'XA-2'", "individual.role == 'head'", "household.member_count >= 1"},
	},
	{
		name:    "the area of a member whose own household is out of reach",
		terms:   onHouseholds("household.poverty_score < 10"),
		differ:  func(w *world) { w.home("h1").values["area_code"] = "XA-1" },
		filters: []string{"members.exists(m, m.area_code == 'XA-2')", "members.all(m, has(m.area_code))", "head.area_code == 'XA-1'"},
	},
	{
		name:  "who is the head",
		terms: both(except("individuals", "role", "role_source_code", "relationship_to_head"), except("memberships", "role", "role_source_code", "relationship_to_head"), except("households", "head_individual_id")),
		differ: func(w *world) {
			w.person("p0").memberships[0].Role, w.person("p1").memberships[0].Role = "child", "head"
		},
		filters: []string{"head.sex == 'female'", "head.date_of_birth < '2000-01-01'", "members.exists(m, m.role == 'head' && m.sex == 'male')"},
	},
	{
		name: "who lives where",
		terms: both(except("individuals", "household_id", "role", "role_source_code", "relationship_to_head", "area_code", "memberships", "relationships"),
			except("households", "head_individual_id", "members", "member_count")),
		differ: func(w *world) {
			w.person("p1").memberships, w.person("p3").memberships = w.person("p3").memberships, w.person("p1").memberships
		},
		filters: []string{"household.poverty_score < 10", "household.area_code == 'XA-2'", "household.member_count == 2", "members.count(m, true) == 2", "head.sex == 'female'"},
	},
	{
		name:    "what a flag is about",
		terms:   both(except("individuals", "marital_status"), except("quality_flags", "since")),
		differ:  func(w *world) { w.person("p0").flags = []flag{{"code_unmapped", "marital_status"}} },
		filters: []string{"'code_unmapped' in individual.quality_flags"},
	},
	{
		name:    "flags whose code is withheld",
		terms:   except("quality_flags", "code"),
		differ:  func(w *world) { w.home("h0").flags[0].code = "two_heads" },
		filters: []string{"'no_head' in household.quality_flags"},
	},
	{
		name:    "flags that are not shown for want of what they are about",
		terms:   except("quality_flags", "field"),
		differ:  func(w *world) { w.home("h0").flags = nil },
		filters: []string{"'no_head' in household.quality_flags", "members.exists(m, m.sex == 'male') && 'no_head' in household.quality_flags"},
	},
	{
		name:   "a withheld date of birth, by asking about another day",
		terms:  both(onPeople("age_on(individual.date_of_birth, as_of) >= 18"), except("individuals", "date_of_birth", "date_of_birth_nil_reason")),
		differ: func(w *world) { w.person("p1").values["date_of_birth"] = "2010-01-01" }, // 14 rather than 18 tomorrow
		asOf:   "2024-03-02",
	},
	{
		name: "the household of somebody who moved out of it",
		prepare: func(w *world) {
			w.person("p2").restricted = annona.KindRestriction
			w.person("p3").memberships[0].EndDate = "2024-01-01"
			w.person("p3").memberships = append(w.person("p3").memberships, annona.Membership{HouseholdKey: "h0", StartDate: "2024-01-01"})
		},
		differ: func(w *world) { w.home("h1").values["poverty_score"] = "51" },
		asOf:   "2023-01-01",
	},
	{
		name: "where somebody lived, in a household of which nobody is left who may be seen",
		prepare: func(w *world) {
			w.person("p2").restricted = annona.KindRestriction
			w.person("p3").memberships[0].EndDate = "2024-01-01"
		},
		differ: func(w *world) { w.person("p3").memberships = nil },
		asOf:   "2023-01-01",
	},
	{
		name:  "the area of a head whose own household is out of reach",
		terms: onHouseholds("household.poverty_score < 10"),
		prepare: func(w *world) {
			w.person("p0").memberships[0].Role = "spouse"
			w.person("p2").memberships[1].Role = "head"
		},
		differ:  func(w *world) { w.home("h1").values["area_code"] = "XA-1" },
		filters: []string{"head.area_code == 'XA-1'", "has(head.area_code)"},
	},
	{
		name: "what a treatment hides",
		terms: both(treated("individuals", "full_name", annona.TreatMask), treated("individuals", "date_of_birth", annona.TreatYear),
			treated("households", "poverty_score", annona.TreatBand)),
		differ: func(w *world) {
			w.person("p0").values["full_name"], w.person("p0").values["date_of_birth"] = "Wanjiku", "1985-12-31"
			w.home("h0").values["poverty_score"] = "9.5"
		},
		filters: []string{"household.poverty_score < 7", "individual.date_of_birth < '1985-06-01'"},
	},
	{
		name:   "a withheld value changes no tag, no id and no instant",
		terms:  except("individuals", "full_name"),
		differ: func(w *world) { w.person("p0").values["full_name"] = "Somebody Else" },
	},
	{
		name:    "somebody hidden who has the name that is searched",
		prepare: func(w *world) { w.home("h0").values["area_code"] = "XA-1-1" },
		differ: func(w *world) {
			x := w.put("x", "h0", "")
			x.restricted, x.values["full_name"] = annona.KindRestriction, "One Three"
		},
	},
	{
		name:    "a withheld name that is searched",
		terms:   except("individuals", "family_name", "other_names"),
		prepare: func(w *world) { w.home("h0").values["area_code"] = "XA-1-1" },
		differ:  func(w *world) { w.person("p1").values["family_name"] = "One" },
	},
	{
		name:    "the name of somebody whose household is out of reach",
		terms:   onHouseholds("household.poverty_score < 10"),
		prepare: func(w *world) { w.person("p2").values["full_name"] = "One" },
		differ:  func(w *world) { w.home("h1").values["area_code"] = "XA-1-1" },
	},
	{
		name:  "rows beyond the ceiling that are not the caller's",
		terms: func(a *annona.Agreement) { a.RowCeiling = 4 },
		differ: func(w *world) {
			w.put("x", "h0", "").restricted = annona.KindRestriction
			w.put("x2", "h1", "").restricted = annona.KindObjection
		},
	},
}

func TestKnownSecrets(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	for _, s := range knownSecrets {
		t.Run(s.name, func(t *testing.T) {
			a, b := smallWorld(), smallWorld()
			if s.prepare != nil {
				s.prepare(a)
				s.prepare(b)
			}
			s.differ(b)
			terms := s.agree(t)
			if !slices.Equal(known(sightOf(a, terms).seen()), known(sightOf(b, terms).seen())) {
				t.Fatalf("the worlds differ in who is seen: %v and %v", sightOf(a, terms).seen(), sightOf(b, terms).seen())
			}
			(&keep{T: t, shelf: k.shelf, vault: k.vault, tally: k.tally}).compare(t, terms, a, b, s.calls(), []string{s.name})
		})
	}
}

func known(keys []string) []string { return slices.Sorted(slices.Values(keys)) }

// calls goes through every door about people: whole datasets, page by page, with each filter,
// each record, and a look-up.
func (s secret) calls() (calls []call) {
	base := url.Values{"purpose": {lawPurpose}}
	if s.asOf != "" {
		base.Set("as_of", s.asOf)
	}
	get := func(path, record string, pairs ...string) {
		q := maps.Clone(base)
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		if path == changesPath {
			q.Del("as_of")
		}
		calls = append(calls, call{method: http.MethodGet, path: path, record: record, realm: "law", query: q})
	}
	records := map[string][]string{"households": {"h0", "h1", "h2"}, "individuals": {"p0", "p1", "p2", "p3", "x"}}
	for _, name := range []string{"households", "individuals"} {
		get("/v1/"+name, "", "limit", "2")
		get("/v1/"+name+"/export", "", "format", "json")
		get(changesPath, "", "dataset", name, "limit", "2")
		get("/v1/"+name+"/export", "", "format", "csv", "layout", "linked")
		for _, record := range records[name] {
			get("/v1/"+name+"/{id}", record)
		}
		calls = append(calls, call{method: http.MethodPost, path: "/v1/lookup",
			body: `{"dataset":"` + name + `","purpose":"` + lawPurpose + `","type":"national_id_number","value":"A-1"}`})
	}
	for _, name := range []string{"One", "Thre", "Two"} {
		calls = append(calls, call{method: http.MethodPost, path: nameSearchPath, body: `{"purpose":"` + lawPurpose + `","name":"` + name + `","area":"XA-1-1"}`})
	}
	if s.fields != "" {
		get("/v1/households", "", "fields", s.fields)
	}
	for _, f := range s.filters {
		for _, name := range []string{"households", "individuals"} {
			if name == "individuals" && (strings.Contains(f, "head.") || strings.Contains(f, "members.")) || name == "households" && strings.Contains(f, "individual.") {
				continue
			}
			get("/v1/"+name, "", "filter", f)
			get(changesPath, "", "dataset", name, "filter", f)
		}
	}
	return calls
}
