package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// deltaSpec puts a specification in the mode delta on file.
func (r *registry) deltaSpec(change func(*annona.ExportSpec)) {
	r.Helper()
	r.spec("changes", func(s *annona.ExportSpec) {
		s.Mode = annona.SpecDelta
		if change != nil {
			change(s)
		}
	})
}

// begin asks for an export of what has changed behind a position.
func (r *registry) begin(since string) (annona.ExportJob, error) {
	job, _, err := r.gate.StartExport(r.Context(), r.caller, exchange.ExportRequest{Spec: "changes", Since: since})
	return job, err
}

// delta runs one.
func (r *registry) delta(since string) (annona.ExportJob, *Manifest) {
	r.Helper()
	job, err := r.begin(since)
	r.must(err)
	job = r.finish(r.worker(), job.ID)
	return job, r.manifest(job)
}

// words counts the kinds of changes in NDJSON.
func (r *registry) words(job annona.ExportJob) map[string]int {
	r.Helper()
	count := map[string]int{}
	for line := range bytes.Lines(bytes.Join(r.documents(job), nil)) {
		var row struct{ Change string }
		r.must(json.Unmarshal(line, &row))
		count[row.Change]++
	}
	return count
}

// TestLesson13DeletionsAreInEveryDelta, and 15: a deletion moves the position. An export of everything, then
// what has changed: who was restricted leaves, who was erased is deleted, who comes back enters.
func TestLesson13DeletionsAreInEveryDelta(t *testing.T) {
	r := newRegistry(t, 120)
	r.deltaSpec(nil)
	whole, m := r.delta("")
	if m.Mode != annona.SpecFull || m.Since != "" || m.Rows != 120 || r.words(whole)["upsert"] != 120 {
		t.Fatalf("%+v, %v", m, r.words(whole))
	}
	r.restrict("I0000003", "I0000110")
	_, err := r.gate.Erase(r.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: "I0000005"}, "not_necessary")
	r.must(err)
	job, d := r.delta("")
	if d.Mode != annona.SpecDelta || d.Since == "" || d.Rows != 3 || d.Position == m.Position || d.Files[0].Name != "changes-delta-00001.ndjson.gz" {
		t.Errorf("%+v", d)
	}
	if words := r.words(job); words["left_scope"] != 2 || words["delete"] != 1 || len(words) != 2 {
		t.Errorf("%v", words)
	}
	_, err = r.gate.Lift(r.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: "I0000003"}, annona.KindRestriction)
	r.must(err)
	job, next := r.delta(exchange.SincePrevious)
	if words := r.words(job); words["entered_scope"] != 1 || next.Rows != 1 {
		t.Errorf("%v", words)
	}
	// The same from the first position: the one who came back never left.
	job, _ = r.delta(m.Position)
	if words := r.words(job); words["left_scope"] != 1 || words["delete"] != 1 || len(words) != 2 {
		t.Errorf("from the first position: %v", words)
	}
	// Nothing has changed: that is said, in a file without rows.
	job, empty := r.delta("")
	if words := r.words(job); len(words) != 0 || empty.Rows != 0 || len(empty.Files) != 1 {
		t.Errorf("%v, %+v", words, empty)
	}
}

// TestADeltaBeginsWhereItMay asks for deltas behind positions that are none.
func TestADeltaBeginsWhereItMay(t *testing.T) {
	r := newRegistry(t, 30)
	r.deltaSpec(nil)
	if _, err := r.begin(exchange.SincePrevious); annona.CodeOf(err) != "previous_missing" {
		t.Errorf("before the first: %v", err)
	}
	waiting, err := r.begin("")
	r.must(err)
	if _, err := r.begin(r.gate.ExportPosition(&waiting)); annona.CodeOf(err) != "position_not_followed" {
		t.Errorf("of an export that is not complete: %v", err)
	}
	m := r.manifest(r.finish(r.worker(), waiting.ID))
	forged := "A" + m.Position[1:]
	if m.Position[0] == 'A' {
		forged = "B" + m.Position[1:]
	}
	for what, since := range map[string]string{"forged": forged, "cut off": m.Position[:len(m.Position)-4], "nonsense": "nonsense"} {
		if _, err := r.begin(since); annona.CodeOf(err) != "since_invalid" {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Of another specification, another agreement and another role.
	r.spec("others", func(s *annona.ExportSpec) { s.Mode = annona.SpecDelta })
	if _, _, err := r.gate.StartExport(r.Context(), r.caller, exchange.ExportRequest{Spec: "others", Since: m.Position}); annona.CodeOf(err) != "since_invalid" {
		t.Errorf("another specification's: %v", err)
	}
	own := r.caller
	r.caller = r.partner("other", nil)
	r.spec("foreign", func(s *annona.ExportSpec) { s.Mode = annona.SpecDelta })
	if _, _, err := r.gate.StartExport(r.Context(), r.caller, exchange.ExportRequest{Spec: "foreign", Since: m.Position}); annona.CodeOf(err) != "since_invalid" {
		t.Errorf("another agreement's: %v", err)
	}
	r.caller = own
	// Of exports that hold everything always.
	r.spec("all", nil)
	if _, _, err := r.gate.StartExport(r.Context(), r.caller, exchange.ExportRequest{Spec: "all", Since: exchange.SincePrevious}); annona.CodeOf(err) != "since_unsuitable" {
		t.Errorf("of the mode full: %v", err)
	}
	// The log does not reach back any more: that is said, and an export that names no position has everything.
	r.restrict("I0000003", "I0000004", "I0000005")
	r.move(48 * time.Hour)
	r.restrict("I0000006")
	_, err = r.gate.PruneLog(r.Context(), operator, 24*time.Hour)
	r.must(err)
	if _, err := r.begin(m.Position); annona.CodeOf(err) != "resync" {
		t.Errorf("expired: %v", err)
	}
	if _, whole := r.delta(""); whole.Mode != annona.SpecFull || whole.Rows != 26 {
		t.Errorf("%+v", whole)
	}
}

// TestDeltasFollowTheirSpecification amends the specification, and then the agreement: rows come that look
// otherwise, and no others.
func TestDeltasFollowTheirSpecification(t *testing.T) {
	r := newRegistry(t, 60)
	r.deltaSpec(nil)
	r.delta("")
	r.deltaSpec(func(s *annona.ExportSpec) { s.PartRows = 7 })
	if _, m := r.delta(""); m.Specification != "changes@2" || m.Rows != 0 || m.Mode != annona.SpecDelta {
		t.Errorf("the same columns: %+v", m)
	}
	r.deltaSpec(func(s *annona.ExportSpec) { s.Filter = "individual.sex == 'female'" })
	job, _ := r.delta("")
	if words := r.words(job); words["left_scope"] < 10 || len(words) != 1 {
		t.Errorf("half of them: %v", words)
	}
	left := r.words(job)["left_scope"]
	r.deltaSpec(func(s *annona.ExportSpec) { s.Fields = s.Fields[:2] })
	job, _ = r.delta("")
	if words := r.words(job); words["entered_scope"] != left || words["upsert"] != 60-left {
		t.Errorf("all of them with a column less: %v", words)
	}
	r.partner(r.caller.Agreement, func(a *annona.Agreement) { a.Areas = []string{"XX"} })
	if job, _ := r.delta(""); r.words(job)["left_scope"] != 60 {
		t.Errorf("no area is theirs: %v", r.words(job))
	}
}

// TestFollowingGoesOnFromAManifest follows what a specification shows behind an export.
func TestFollowingGoesOnFromAManifest(t *testing.T) {
	r := newRegistry(t, 40)
	r.deltaSpec(nil)
	_, m := r.delta("")
	r.restrict("I0000007")
	follow := func(spec, after string) (*exchange.Changes, error) {
		c, _, err := r.gate.FollowSpec(r.Context(), r.caller, spec, 0, after, 100, 0, exchange.Form{Format: "json"})
		return c, err
	}
	c, err := follow("changes", m.Position)
	r.must(err)
	if len(c.List) != 1 || c.List[0].Kind != exchange.ChangeLeft {
		t.Errorf("%+v", c.List)
	}
	// What was followed is a position too, of deltas.
	if _, d := r.delta(c.Next); d.Rows != 0 || d.Mode != annona.SpecDelta {
		t.Errorf("%+v", d)
	}
	r.spec("all", nil)
	if _, err := follow("all", ""); annona.CodeOf(err) != "spec_not_followed" {
		t.Errorf("of the mode full: %v", err)
	}
	if _, err := follow("changes", "nonsense"); annona.CodeOf(err) != "cursor_invalid" {
		t.Errorf("%v", err)
	}
}

// TestDeltasInEveryFormat reads a delta back in the formats that are text, and writes all others.
func TestDeltasInEveryFormat(t *testing.T) {
	r := newRegistry(t, 80)
	for name, form := range map[string][2]string{
		"csv": {"csv", "flat"}, "linked": {"csv", "linked"}, "xml": {"xml", ""}, "json": {"json", ""}, "jsonld": {"jsonld", ""}, "xlsx": {"xlsx", "linked"}, "parquet": {"parquet", "plain"},
	} {
		r.spec("in-"+name, func(s *annona.ExportSpec) {
			s.Mode, s.Dataset, s.Format, s.Layout, s.Compression = annona.SpecDelta, "households", form[0], form[1], "none"
			s.Fields = []annona.SpecField{{Field: "area_code"}, {Field: "household_id", As: "home"}}
			if form[1] != "plain" {
				s.Fields = append(s.Fields, annona.SpecField{Field: "members.individual_id"}, annona.SpecField{Field: "members.sex"})
			}
		})
		r.finish(r.worker(), r.start("in-"+name, "").ID)
	}
	_, err := r.gate.Erase(r.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: "I0000005"}, "not_necessary")
	r.must(err)
	for name, want := range map[string][]string{
		"csv": {"change,area_code,home,member_individual_id,member_sex\r\n", "\nupsert,"}, "xml": {"<change>upsert</change>"}, "json": {`"change":"upsert"`}, "jsonld": {`"change":"upsert"`},
		"linked": nil, "xlsx": nil, "parquet": nil,
	} {
		job := r.finish(r.worker(), r.start("in-"+name, "").ID)
		text := string(bytes.Join(r.documents(job), nil))
		m := r.manifest(job)
		rows := int64(1)
		if name == "parquet" {
			rows = 0 // without members nothing of a household has changed
		}
		if m.Mode != annona.SpecDelta || m.Rows != rows {
			t.Errorf("%s: %+v", name, m)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %q:\n%s", name, part, text)
			}
		}
	}
}

// TestAKilledDeltaIsTheSame kills the worker of a delta: what it holds, and where the next one begins, are
// those of an undisturbed one.
func TestAKilledDeltaIsTheSame(t *testing.T) {
	r := newRegistry(t, 150)
	r.deltaSpec(func(s *annona.ExportSpec) { s.PartRows = 5 })
	_, first := r.delta("")
	var gone []string
	for n := 3; n < 150; n += 6 {
		gone = append(gone, fmt.Sprintf("I%07d", n))
	}
	r.restrict(gone...)
	undisturbed, m := r.delta(first.Position)
	job, err := r.begin(first.Position)
	r.must(err)
	for n := 1; r.job(job.ID).State != annona.ExportComplete; n++ {
		w := r.worker()
		w.Attempts = 100
		if n < 12 {
			w.Queue = &mortal{ExportQueue: r.store, steps: n}
		}
		_, _ = w.Next(r.Context())
		r.move(2 * time.Hour)
	}
	disturbed := r.manifest(r.job(job.ID))
	if disturbed.Rows != m.Rows || disturbed.Rows != int64(len(gone)) {
		t.Errorf("%d rows and %d", disturbed.Rows, m.Rows)
	}
	if !bytes.Equal(bytes.Join(r.documents(r.job(job.ID)), nil), bytes.Join(r.documents(undisturbed), nil)) {
		t.Error("after being killed it holds something else")
	}
	for _, position := range []string{m.Position, disturbed.Position} {
		if _, d := r.delta(position); d.Rows != 0 {
			t.Errorf("%d rows behind it", d.Rows)
		}
	}
}

// TestWhatARightChangesInTheMidstIsTold restricts somebody who is counted in a part that is written, and is
// not in it: the next delta has the household once more, with another count.
func TestWhatARightChangesInTheMidstIsTold(t *testing.T) {
	r := newRegistry(t, 60)
	r.deltaSpec(func(s *annona.ExportSpec) {
		s.Dataset, s.PartRows = "households", 3
		s.Fields = []annona.SpecField{{Field: "household_id"}}
		s.Derived = []annona.SpecRule{{As: "people", Rule: "members.count(m, m.sex == 'female' || m.sex == 'male')"}}
	})
	job, err := r.begin("")
	r.must(err)
	w, done := r.worker(), false
	w.Queue = &interrupting{ExportQueue: r.store, before: func() {
		if r.job(job.ID).Parts == 1 && !done {
			done = true
			r.restrict("I0000002")
		}
	}}
	counts := func(job annona.ExportJob) string { return string(bytes.Join(r.documents(job), nil)) }
	first := counts(r.finish(w, job.ID))
	next, m := r.delta("")
	if !done || m.Rows == 0 || strings.Contains(first, strings.TrimSpace(strings.SplitAfterN(counts(next), "\n", 2)[0])) {
		t.Errorf("%d rows:\n%s", m.Rows, counts(next))
	}
}
