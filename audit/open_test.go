package audit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func drawFacts(t *rapid.T) Facts {
	text := rapid.String()
	return Facts{
		Verb: annona.Verb(text.Draw(t, "verb")), Dataset: text.Draw(t, "dataset"), Purpose: text.Draw(t, "purpose"),
		Agreement: text.Draw(t, "agreement"), AgreementVersion: rapid.Int().Draw(t, "version"), Partner: text.Draw(t, "partner"),
		Basis: annona.Basis(text.Draw(t, "basis")), Fields: rapid.SliceOf(text).Draw(t, "fields"), Withheld: rapid.SliceOf(text).Draw(t, "withheld"),
		Format: text.Draw(t, "format"), Layout: text.Draw(t, "layout"), Specification: text.Draw(t, "specification"), AsOf: annona.Date(text.Draw(t, "as of")),
		SchemaVersion: rapid.Int().Draw(t, "schema"), Raised: text.Draw(t, "raised"), Role: text.Draw(t, "role"), Rules: rapid.SliceOfN(text, 0, 3).Draw(t, "rules"), Inputs: text.Draw(t, "inputs"), PolicyVersion: rapid.Int().Draw(t, "policy"), Page: rapid.Int().Draw(t, "page"),
		Pages: rapid.Int().Draw(t, "pages"), Rows: rapid.Int64().Draw(t, "rows"), Outcome: Ending(text.Draw(t, "outcome")),
		Reason: text.Draw(t, "reason"), Details: rapid.MapOf(text, text).Draw(t, "details"),
	}
}

func drawCaller(t *rapid.T) annona.Caller {
	c := annona.Caller{
		Agreement: rapid.String().Draw(t, "agreement"),
		Strength:  annona.Strength(rapid.IntRange(int(annona.StrengthNone), int(annona.StrengthOperator)).Draw(t, "strength")),
		Operator:  rapid.String().Draw(t, "operator"),
	}
	copy(c.Client[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "client"))
	addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "network"))
	c.Network = addr
	if rapid.Bool().Draw(t, "acts for somebody") {
		c.Acting.Assurance = rapid.SampledFrom([]annona.Assurance{annona.AssuranceOutside, annona.AssuranceTwoFactors, annona.AssurancePasskey}).Draw(t, "assurance")
		c.Acting.At = time.UnixMilli(rapid.Int64Range(0, 1<<40).Draw(t, "signed in")).UTC()
		copy(c.Acting.Person[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "person"))
		c.Acting.Person[0] |= 1
	}
	return c
}

func drawSubjects(t *rapid.T) Subjects {
	near := rapid.Int64Range(1, 300)
	far := rapid.Int64Range(1, 1<<62)
	n := rapid.SliceOf(rapid.OneOf(near, far)).Draw(t, "numbers")
	s := Subjects{
		Noun:   rapid.SampledFrom([]string{"individual", "household"}).Draw(t, "noun"),
		Fields: rapid.SliceOfN(rapid.SampledFrom([]string{"sex", "full_name", "area", "é"}), 0, 3).Draw(t, "fields"),
	}
	for _, i := range n {
		s.Numbers = append(s.Numbers, annona.Number(i))
	}
	return s
}

// expected is the canonical form of what went in, told without the code under test.
func expected(subjects []Subjects) []Subjects {
	var out []Subjects
	at := map[string]int{}
	for _, s := range subjects {
		if len(s.Numbers) == 0 {
			continue
		}
		fields := s.Fields
		key := fmt.Sprintf("%q %q", s.Noun, fields)
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, Subjects{Noun: s.Noun, Fields: fields})
		}
		all := slices.Sorted(slices.Values(append(slices.Clone(out[i].Numbers), s.Numbers...)))
		out[i].Numbers = slices.Compact(all)
	}
	return out
}

func TestOpenReturnsWhatWasReleased(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts, caller, filter := drawFacts(t), drawCaller(t), rapid.String().Draw(t, "filter")
		subjects := rapid.SliceOfN(rapid.Custom(drawSubjects), 0, 4).Draw(t, "subjects")
		at := time.Unix(rapid.Int64Range(-1<<33, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds"))
		request := annona.NewUID()

		row := Release(at, request, facts, filter, caller, subjects)
		got, err := Open(row)
		if err != nil {
			t.Fatal(err)
		}
		want := Entry{ID: row.ID, At: at.UTC().Truncate(time.Microsecond), Kind: annona.EntryRelease, Request: request, Facts: &facts, Filter: filter, Caller: &caller, Subjects: expected(subjects)}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("(-released +opened)\n%s", diff)
		}
	})
}

// The short way to the canonical text of facts and callers ends where the long one does.
func TestFactsAreWrittenCanonically(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts, caller := drawFacts(t), drawCaller(t)
		var list hash
		copy(list[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "list"))
		want := canonicalJSON(storedFacts{Facts: facts, List: list.String()})
		if got := encodeFacts(facts, list); string(got) != string(want) {
			t.Fatalf("facts are written %s, want %s", got, want)
		}
		back, err := decodeCaller(encodeCaller(caller))
		if err != nil || back.Client != caller.Client || back.Operator != caller.Operator || back.Acting != caller.Acting {
			t.Fatalf("%+v came back as %+v, %v", caller, back, err)
		}
	})
}

func TestReach(t *testing.T) {
	for _, c := range []struct {
		min, max annona.Number
		want     int
	}{{1, 1, 0}, {1, 2, 1}, {1, 8192, 13}, {1, 8193, 14}, {1, 1 << 62, 62}} {
		if got := reach(c.min, c.max); got != c.want || c.max-c.min >= 1<<got || got > 0 && c.max-c.min < 1<<(got-1) {
			t.Errorf("the reach of %d to %d is %d, want %d", c.min, c.max, got, c.want)
		}
	}
}

// No two different leaves encode alike: what decodes encodes to the same bytes.
func TestLeafEncodesOneWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() leaf {
			l := leaf{micros: rapid.Int64().Draw(t, "time"), kind: annona.EntryKind(rapid.StringN(0, 3, 9).Draw(t, "kind"))}
			for range rapid.IntRange(0, 3).Draw(t, "parts") {
				l.parts = append(l.parts, commitment{name: rapid.StringN(0, 2, 6).Draw(t, "name")})
			}
			return l
		}
		a, b := draw(), draw()
		same := cmp.Equal(a, b, cmp.AllowUnexported(leaf{}, commitment{}), cmpopts.EquateEmpty())
		if string(a.encode()) == string(b.encode()) != same {
			t.Fatalf("%+v and %+v encode alike", a, b)
		}
		back, err := decodeLeaf(a.encode())
		if err != nil || !cmp.Equal(a, back, cmp.AllowUnexported(leaf{}, commitment{}), cmpopts.EquateEmpty()) {
			t.Fatalf("%+v came back as %+v (%v)", a, back, err)
		}
	})
}

func TestOpenRefusesWhatWasChanged(t *testing.T) {
	row := sevenEntries().rows[2]
	row.Parts[0].Content = canonicalJSON(Facts{Rows: 5})
	if _, err := Open(row); annona.CodeOf(err) != "entry_changed" {
		t.Errorf("changed facts opened: %v", err)
	}
}

func TestOpenRefusesOtherSpellings(t *testing.T) {
	for name, facts := range map[string]string{
		"white space":      `{"rows": 5}`,
		"unsorted":         `{"rows":5,"page":1}`,
		"member twice":     `{"rows":4,"rows":5}`,
		"other case":       `{"Rows":5}`,
		"unknown member":   `{"rows":5,"zeal":1}`,
		"fraction":         `{"rows":5.0}`,
		"needless escape":  `{"verb":"g\u0065t"}`,
		"empty member":     `{"verb":""}`,
		"another type":     `[]`,
		"nothing":          ``,
		"text behind":      `{"rows":5}{}`,
		"number too large": `{"rows":9223372036854775808}`,
	} {
		t.Run(name, func(t *testing.T) {
			row := commit(annona.LedgerRow{Parts: []annona.LedgerPart{{Name: partFacts, Content: []byte(facts)}}})
			if _, err := Open(row); annona.CodeOf(err) != "part_malformed" {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestReleaseOfNobody(t *testing.T) {
	row := Release(noon, fixedUID(1), Facts{Verb: annona.VerbSearch}, "", somebody, []Subjects{{Noun: "individual", Fields: []string{"sex"}}})
	if len(row.Parts) != 2 {
		t.Errorf("a page without rows has %d parts, want facts and caller", len(row.Parts))
	}
}

// A few bytes can stand for billions of numbers. They are walked past, not listed.
func TestOpenListsNoBoundlessSet(t *testing.T) {
	everybody := roaring64.New()
	everybody.AddRange(1, 1<<30)
	bitmap, err := everybody.ToBytes()
	if err != nil {
		t.Fatal(err)
	}
	content := appendText(append(appendText(nil, "individual"), make([]byte, 32)...), string(bitmap))
	row := commit(annona.LedgerRow{Parts: []annona.LedgerPart{{Name: "subjects.0", Content: content, Noun: "individual", Reach: 30, Min: 1, Max: 1<<30 - 1}}})
	if _, findings := checkRow(row); len(findings) > 0 {
		t.Errorf("%+v", findings)
	}
	if _, err := Open(row); annona.CodeOf(err) != "subjects_too_many" {
		t.Errorf("listed: %v", err)
	}
}

func FuzzLeaf(f *testing.F) {
	for _, s := range vectorSources {
		f.Add(s.row(1).Leaf)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLeaf(b); err == nil && string(l.encode()) != string(b) {
			t.Errorf("%x decodes and encodes to %x", b, l.encode())
		}
	})
}

// FuzzOpen feeds any content to the decoder of any part, under a commitment that holds.
func FuzzOpen(f *testing.F) {
	for _, s := range vectorSources {
		for _, p := range s.row(1).Parts {
			f.Add(p.Name, p.Content)
		}
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		row := commit(annona.LedgerRow{Parts: []annona.LedgerPart{{Name: name, Content: content}}})
		if s, err := decodeSubjects(content); err == nil {
			p := &row.Parts[0]
			p.Noun, p.Min, p.Max, p.Reach = s.noun, s.min(), s.max(), reach(s.min(), s.max())
		}
		e, err := Open(row)
		if err != nil {
			return
		}
		if e.Facts != nil && string(encodeFacts(*e.Facts, hash{})) != string(content) {
			t.Error("facts have two spellings")
		}
		if e.Caller != nil && string(encodeCaller(*e.Caller)) != string(content) {
			t.Error("a caller has two spellings")
		}
		for _, s := range e.Subjects {
			if !slices.IsSorted(s.Numbers) {
				t.Error("numbers are not ascending")
			}
		}
	})
}

func BenchmarkRelease(b *testing.B) {
	fields := []string{"full_name", "sex", "date_of_birth", "area", "poverty_score"}
	facts := Facts{Verb: annona.VerbExport, Dataset: "individuals", Purpose: "eligibility-assessment", Fields: fields, Rows: 16384}
	ascending := numbers(span{1_000_000, 1_000_000 + 2*16384 - 1, 2})
	shuffled := slices.Clone(ascending)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, n := range map[string][]annona.Number{"consecutive": numbers(span{1, 16384, 1}), "ascending": ascending, "shuffled": shuffled} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Release(noon, annona.UID{}, facts, "", somebody, []Subjects{{Noun: "individual", Fields: fields, Numbers: n}})
			}
		})
	}
}
