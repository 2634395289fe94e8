package exchange

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

var theDay = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func on(days int) time.Time { return theDay.AddDate(0, 0, days) }

// says makes the words of an individual by field.
func says(t testing.TB, fields map[string]string) []word {
	t.Helper()
	d, _ := annona.Standard().Dataset("individuals")
	r := annona.Record{Dataset: d}
	for code, text := range fields {
		f, ok := d.Field(code)
		if !ok {
			t.Fatal("no field " + code)
		}
		r.Values = append(r.Values, annona.Value{Field: f, Text: text})
	}
	return wordsOf(&r)
}

func reportOf(source string, at time.Time, words []word) said {
	return said{
		origin: origin{source: source, asOf: at}, first: source == "survey", words: words,
		covers: func(string) bool { return true },
		flag: func(unit string) word {
			x := &Exchange{}
			x.dictionary.Store(annona.Standard())
			d, _ := annona.Standard().Dataset("individuals")
			return x.flag(d, flagOutside, unit, at)
		},
	}
}

// shown is each field with its text and who said it.
func shown(s standing) map[string]string {
	out := map[string]string{}
	for i := range s.words {
		w, sources := s.traced(i), ""
		for _, o := range w.origins {
			sources += " " + o.source
		}
		if w.group != nil {
			out[w.unit+" "+valueOf(w.items[0], "code")+" "+valueOf(w.items[0], "field")] = sources[1:]
		}
		for _, v := range w.values {
			out[v.Field.Code] = v.Text + sources
		}
	}
	return out
}

// TestTheMergeRule reads each rule of decision 0050 by an example.
func TestTheMergeRule(t *testing.T) {
	nobody := func(string) string { return "" }
	civil := func(unit string) string { return map[string]string{"date_of_birth": "civil"}[unit] }
	type fields = map[string]string
	for _, c := range []struct {
		name    string
		on      fields // what the survey said on day 0
		by      string
		day     int
		says    fields
		decides authorities
		want    fields
		outside []string
	}{
		{"the own word changes", fields{"occupation": "baker"}, "survey", 1, fields{"occupation": "smith"}, nobody, fields{"occupation": "smith survey"}, nil},
		{"the own word goes", fields{"occupation": "baker", "sex": "male"}, "survey", 1, fields{"sex": "male"}, nobody, fields{"sex": "male survey"}, nil},
		{"the younger word counts", fields{"occupation": "baker"}, "program", 1, fields{"occupation": "smith"}, nobody, fields{"occupation": "smith program"}, nil},
		{"the later of two of one moment counts", fields{"occupation": "baker"}, "program", 0, fields{"occupation": "smith"}, nobody, fields{"occupation": "smith program"}, nil},
		{"the older word does not", fields{"occupation": "baker"}, "program", -1, fields{"occupation": "smith"}, nobody, fields{"occupation": "baker survey"}, nil},
		{"an older word fills", fields{"sex": "male"}, "program", -1, fields{"occupation": "smith"}, nobody, fields{"sex": "male survey", "occupation": "smith program"}, nil},
		{"two say the same", fields{"occupation": "baker"}, "program", 1, fields{"occupation": "baker"}, nobody, fields{"occupation": "baker survey program"}, nil},
		{"silence of another source says nothing", fields{"occupation": "baker"}, "program", 1, fields{}, nobody, fields{"occupation": "baker survey"}, nil},
		{"a reason for absence displaces nobody's word", fields{"sex": "male"}, "program", 1, fields{"sex_nil_reason": "refused"}, nobody, fields{"sex": "male survey"}, nil},
		{"a word displaces a reason for absence", fields{"sex_nil_reason": "refused"}, "program", -1, fields{"sex": "male"}, nobody, fields{"sex": "male program"}, nil},
		{"a date of birth is one word with its precision", fields{"date_of_birth": "1990-07-01", "date_of_birth_precision": "year"}, "program", 1,
			fields{"date_of_birth": "1990-02-03"}, nobody, fields{"date_of_birth": "1990-02-03 program"}, nil},
		{"who decides is followed", fields{"date_of_birth": "1990-07-01"}, "civil", -5, fields{"date_of_birth": "1991-01-01"}, civil, fields{"date_of_birth": "1991-01-01 civil"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, _ := merge(standing{source: "survey"}, reportOf("survey", on(0), says(t, c.on)), c.decides)
			next, outside := merge(first, reportOf(c.by, on(c.day), says(t, c.says)), c.decides)
			if diff := cmp.Diff(c.want, shown(next)); diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(outside, c.outside) {
				t.Errorf("outside of an authority: %v", outside)
			}
		})
	}
}

// TestAnAuthorityIsNotOverruled: another source's differing word raises a flag until it is taken back.
func TestAnAuthorityIsNotOverruled(t *testing.T) {
	civil := func(unit string) string { return map[string]string{"date_of_birth": "civil"}[unit] }
	now := standing{source: "survey"}
	step := func(by string, day int, born string, outside int, want map[string]string) {
		t.Helper()
		words := says(t, map[string]string{})
		if born != "" {
			words = says(t, map[string]string{"date_of_birth": born})
		}
		var lost []string
		now, lost = merge(now, reportOf(by, on(day), words), civil)
		if diff := cmp.Diff(want, shown(now)); diff != "" || len(lost) != outside {
			t.Errorf("%s on day %d: %d outside\n%s", by, day, len(lost), diff)
		}
	}
	flag := "quality_flags outside_authority date_of_birth"
	step("survey", 0, "1990-01-01", 0, map[string]string{"date_of_birth": "1990-01-01 survey"})
	step("program", 1, "1991-01-01", 0, map[string]string{"date_of_birth": "1991-01-01 program"}) // nobody who decides has spoken
	step("civil", -9, "1992-02-02", 0, map[string]string{"date_of_birth": "1992-02-02 civil"})
	step("program", 2, "1991-01-01", 1, map[string]string{"date_of_birth": "1992-02-02 civil", flag: "program"})
	step("survey", 3, "1992-02-02", 0, map[string]string{"date_of_birth": "1992-02-02 civil survey", flag: "program"})
	step("program", 4, "1992-02-02", 0, map[string]string{"date_of_birth": "1992-02-02 civil survey program"})
	step("civil", 5, "", 0, map[string]string{"date_of_birth": "1992-02-02 survey program"})
	step("survey", 6, "", 0, map[string]string{"date_of_birth": "1992-02-02 program"})
	step("program", 7, "", 0, map[string]string{})
	step("program", 8, "1991-01-01", 0, map[string]string{"date_of_birth": "1991-01-01 program"})
}

// TestWhatAFileDoesNotCoverStays and has its origin noted.
func TestWhatAFileDoesNotCoverStays(t *testing.T) {
	nobody := func(string) string { return "" }
	now, _ := merge(standing{source: "survey"}, reportOf("survey", on(0), says(t, map[string]string{"occupation": "baker", "sex": "male"})), nobody)
	narrow := reportOf("survey", on(1), says(t, map[string]string{"sex": "female"}))
	narrow.covers = func(unit string) bool { return unit == "sex" }
	now, _ = merge(now, narrow, nobody)
	if diff := cmp.Diff(map[string]string{"occupation": "baker survey", "sex": "female survey"}, shown(now)); diff != "" {
		t.Error(diff)
	}
	d := annona.Standard()
	dataset, _ := d.Dataset("individuals")
	told := tell(d, dataset, now.words)
	if len(told.Items) != 1 || valueOf(told.Items[0], "field") != "occupation" || valueOf(told.Items[0], "as_of") != annona.Instant(on(0)) {
		t.Errorf("provenance is %v", told.Items)
	}
}

// TestMembershipsEndAndStart follows somebody who moves, comes back and is counted twice.
func TestMembershipsEndAndStart(t *testing.T) {
	live := func(had []annona.Membership, source string, day int, in ...annona.Membership) []annona.Membership {
		r := reportOf(source, on(day), nil)
		r.memberships = in
		next, _ := mergeMemberships(had, r)
		return next
	}
	at := func(n annona.Number) annona.Membership { return annona.Membership{Household: n} }
	had := []annona.Membership{{Household: 1, Source: "survey"}}
	had = live(had, "survey", 1, at(2))
	want := []annona.Membership{{Household: 1, Source: "survey", EndDate: "2026-03-02"}, {Household: 2, Source: "survey", StartDate: "2026-03-02"}}
	if diff := cmp.Diff(want, had); diff != "" {
		t.Fatal(diff)
	}
	if again := live(had, "survey", 2, at(2)); !slices.Equal(again, want) {
		t.Errorf("the same again: %v", again)
	}
	back := live(had, "survey", 3, at(1))
	if diff := cmp.Diff([]annona.Membership{
		{Household: 1, Source: "survey", EndDate: "2026-03-02"},
		{Household: 2, Source: "survey", StartDate: "2026-03-02", EndDate: "2026-03-04"},
		{Household: 1, Source: "survey", StartDate: "2026-03-04"},
	}, back); diff != "" {
		t.Error(diff)
	}
	if sameDay := live(had, "survey", 1, at(3)); len(sameDay) != 2 || sameDay[1] != (annona.Membership{Household: 3, Source: "survey", StartDate: "2026-03-02"}) {
		t.Errorf("a membership of no day stays: %v", sameDay)
	}
	if both := live(had, "program", 4, at(2), at(5)); len(both) != 3 || both[2].Household != 5 || both[1].EndDate != "" {
		t.Errorf("two sources: %v", both)
	}
	dated := live(had, "survey", 5, annona.Membership{Household: 2, StartDate: "2026-01-01", Role: "head"})
	if len(dated) != 2 || dated[1] != (annona.Membership{Household: 2, Source: "survey", StartDate: "2026-01-01", Role: "head"}) {
		t.Errorf("a corrected start: %v", dated)
	}
}

func TestDeathEndsMemberships(t *testing.T) {
	lives := []annona.Membership{{Household: 1, Source: "a"}, {Household: 2, Source: "a", EndDate: "2020-01-01"}}
	got := deathIn(says(t, map[string]string{"vital_status": "deceased", "date_of_death": "2026-02-01"})).end(lives, "2026-03-01")
	if got[0].EndDate != "2026-02-01" || got[1].EndDate != "2020-01-01" {
		t.Error(got)
	}
	if got := deathIn(says(t, map[string]string{"vital_status": "deceased"})).end(lives, "2026-03-01"); got[0].EndDate != "2026-03-01" {
		t.Error(got)
	}
	if got := deathIn(says(t, map[string]string{"vital_status": "alive"})).end(lives, "2026-03-01"); got[0].EndDate != "" {
		t.Error(got)
	}
}

// TestRecordsComeBackFromTheirImages: taken apart into words, put together, written as images and
// read again, a record is what it was.
func TestRecordsComeBackFromTheirImages(t *testing.T) {
	d := annona.Standard()
	dataset, _ := d.Dataset("individuals")
	rapid.Check(t, func(t *rapid.T) {
		r := annona.Record{Dataset: dataset}
		for f := range dataset.Columns() {
			switch {
			case f.Derived || isProvenance(f):
			case f.Type == annona.TypeGroup:
				r.Groups = append(r.Groups, drawItems(t, d, f))
			case rapid.IntRange(0, 3).Draw(t, f.Code) == 0:
				r.Values = append(r.Values, annona.Value{Field: f, Text: rapid.StringN(1, 5, -1).Draw(t, "text")})
			}
		}
		words := wordsOf(&r)
		for i := range words {
			if rapid.Bool().Draw(t, "origin") {
				words[i].origins = []origin{{source: "civil", asOf: on(i), receivedAt: on(i + 1)}, {source: "survey", asOf: on(i)}}
			}
		}
		x := &Exchange{Config: Config{Vault: noVault{}}}
		x.dictionary.Store(d)
		s, err := x.split(prepared{StoredRecord: annona.StoredRecord{RecordKey: annona.RecordKey{Dataset: dataset}}}, words)
		if err != nil {
			t.Fatal(err)
		}
		back, err := recordOf(d, dataset, s.Clear, s.sealed)
		if err != nil {
			t.Fatal(err)
		}
		again := wordsOf(&back)
		if len(again) != len(words) {
			t.Fatalf("%d words became %d", len(words), len(again))
		}
		for _, w := range words {
			if !slices.ContainsFunc(again, func(o word) bool {
				return o.about(&w) && o.says(&w) && slices.EqualFunc(o.origins, w.origins, origin.same)
			}) {
				t.Fatalf("%s is lost or another one", w.unit)
			}
		}
	})
}

func drawItems(t *rapid.T, d *annona.Dictionary, f *annona.Field) annona.GroupItems {
	g := annona.GroupItems{Field: f}
	rows, _ := d.Dataset(f.Group)
	for range rapid.IntRange(0, 3).Draw(t, f.Code) {
		var item []annona.Value
		for c := range rows.Columns() {
			if !c.Derived && c.Type != annona.TypeGroup && rapid.Bool().Draw(t, c.Code) {
				item = append(item, annona.Value{Field: c, Text: rapid.StringN(1, 3, -1).Draw(t, "text")})
			}
		}
		if len(item) > 0 {
			g.Items = append(g.Items, item)
		}
	}
	return g
}

// noVault indexes nothing.
type noVault struct{ Vault }

func (noVault) BlindIndex(string, string, string) []byte { return []byte{1} }

func TestWhatARecordWasComesBack(t *testing.T) {
	text := rapid.StringN(0, 4, -1)
	key := rapid.Custom(func(t *rapid.T) keptKey {
		k := keptKey{source: text.Draw(t, "source"), key: text.Draw(t, "key"), unknown: rapid.Bool().Draw(t, "unknown")}
		copy(k.digest[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest"))
		if rapid.Bool().Draw(t, "dated") {
			k.asOf = on(rapid.IntRange(-900, 900).Draw(t, "day"))
		}
		return k
	})
	rapid.Check(t, func(t *rapid.T) {
		w := was{clear: rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "clear"), first: key.Draw(t, "first")}
		w.others = append(w.others, rapid.SliceOfN(key, 1, 3).Draw(t, "others")...)
		if rapid.Bool().Draw(t, "gone") {
			w.gone = on(3)
		}
		w.memberships = []annona.Membership{{Household: 7, Source: text.Draw(t, "s"), Role: text.Draw(t, "r"), StartDate: "2026-01-01", NotPrimary: rapid.Bool().Draw(t, "n")}}
		w.relationships = []annona.Relationship{{To: 9, Source: "a", ToKey: text.Draw(t, "to"), Type: "parent", EndReason: text.Draw(t, "why")}}
		b := w.append(nil)
		back, err := parseWas(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, back, cmp.AllowUnexported(was{}, keptKey{})); diff != "" {
			t.Fatal(diff)
		}
		if _, err := parseWas(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("half of it is read")
		}
	})
}

// Where the primary membership has ended, the oldest of the others takes its place, whether that was on
// file before or is in the first report; one that held for no day was never primary.
func TestAnEndedPrimaryHandsOver(t *testing.T) {
	const day = annona.Date("2024-03-01")
	ended := annona.Membership{Household: 1, StartDate: "2020-01-01", EndDate: "2023-01-01"}
	never := annona.Membership{Household: 1, StartDate: day, EndDate: day}
	second := annona.Membership{Household: 2, StartDate: "2021-01-01", NotPrimary: true}
	for _, c := range []struct {
		name     string
		all, had []annona.Membership
		primary  bool
	}{
		{name: "ended in the first report", all: []annona.Membership{ended, second}, primary: true},
		{name: "ended before", all: []annona.Membership{second}, had: []annona.Membership{ended, second}, primary: true},
		{name: "never held in the first report", all: lasting([]annona.Membership{never, second})},
		{name: "never held before", all: []annona.Membership{second}, had: []annona.Membership{never}},
		{name: "none was primary", all: []annona.Membership{second}, had: []annona.Membership{second}},
	} {
		next := onePrimary(slices.Clone(c.all), c.had, day)
		if last := next[len(next)-1]; last.NotPrimary == c.primary {
			t.Errorf("%s: primary is %t", c.name, !last.NotPrimary)
		}
	}
}
