package exchange

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// Sampler invents what an export by a specification would hold.
type Sampler interface {
	// Sample returns so many rows about nobody, each a JSON object with the columns of the specification.
	Sample(ctx context.Context, spec annona.ExportSpec, under annona.Agreement, rows int) ([][]byte, error)
}

// SampleRows is how many invented rows a trial shows.
const SampleRows = 5

// Trial is what an export by a specification would be, without an export. Who may not read the rows gets
// counts that tell nobody apart: fewer than ten as <10, others rounded to five.
type Trial struct {
	Specification string              // name@version
	Rows          string              // of an export of everything, at this moment
	Exact         bool                // the caller may read the rows, and Rows and Smallest are exact
	LeftOut       map[string]string   // by reason; never exact
	Fields        map[string][]string // names of the dictionary, by sensitivity
	Over          []string            // columns by which people are told apart
	Class         string              // of the smallest group of rows with the same values there: <5, 5–9 or ≥10; none: there are no rows
	Smallest      int64               // rows in it; 0: not told
	Sample        [][]byte            // invented rows, as JSON objects; none: there is nobody who invents them
}

// The bounds of trials.
const (
	maxQuasi   = 8
	maxGroups  = 1 << 20 // distinct combinations; with more of them the smallest is taken for small
	triesKept  = 20      // trials at once
	trialEvery = 3 * time.Minute
)

// TryExport says what an export by a specification would hold: how many rows, who is left out and why, which
// fields would leave, and how small the smallest group is that has the same values in the columns over. over: names
// of columns of the specification; none: those by which people are mostly found. It is a verb of its own, and
// stands in the ledger.
func (x *Exchange) TryExport(ctx context.Context, caller annona.Caller, name string, version int, over []string) (*Trial, error) {
	spec, err := x.ShowExportSpec(ctx, caller, name, version)
	if err != nil {
		return nil, err
	}
	q := questionOf(&spec)
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbTryExport, q)
	if err != nil {
		return nil, err
	}
	i.form = Form{Format: spec.Format, Layout: spec.Layout, Spec: spec.Name + "@" + strconv.Itoa(spec.Version)}
	if err := x.showBySpec(ctx, i, &spec); err != nil {
		return nil, err
	}
	t := &trial{x: x, i: i, groups: map[string]int64{}}
	if err := t.choose(over); err != nil {
		return nil, err
	}
	if err := x.drawTrial(ctx, caller); err != nil {
		return nil, err
	}
	e := &Export{x: x, i: i}
	if err := e.checkCeiling(ctx); err != nil {
		return nil, err
	}
	if err := t.read(ctx); err != nil {
		return nil, err
	}
	left, err := x.Records.CountLeftOut(ctx, i.scope(&annona.Shape{Dataset: i.shape.Dataset}, x.today(x.Clock())))
	if err != nil {
		return nil, err
	}
	result := &Trial{Specification: i.form.Spec, LeftOut: map[string]string{}, Fields: fieldsBySensitivity(i.shape), Over: t.over}
	for reason, n := range left {
		result.LeftOut[string(reason)] = Blurred(n)
	}
	result.Exact, err = x.mayExport(ctx, caller, q)
	if err != nil {
		return nil, err
	}
	t.tell(result)
	if x.Samples != nil {
		if result.Sample, err = x.Samples.Sample(ctx, spec, *i.grant.Agreement, SampleRows); err != nil {
			return nil, err
		}
	}
	facts := i.facts()
	facts.Fields, facts.Details = i.fields, map[string]string{"over": strings.Join(t.over, " "), "exact": strconv.FormatBool(result.Exact)}
	return result, x.disclose(ctx, x.administration(caller, facts))
}

// mayExport reports whether the caller may read the rows themselves, at this moment.
func (x *Exchange) mayExport(ctx context.Context, caller annona.Caller, q Question) (bool, error) {
	i, err := x.decideAndNarrow(ctx, x.Standings, caller, annona.VerbExport, q)
	if isFailure(err) {
		return false, err
	}
	return err == nil && !i.grant.SecondPerson, nil // a trial asks nobody
}

// drawTrial counts a trial: many of them, with other specifications, would tell people apart.
func (x *Exchange) drawTrial(ctx context.Context, caller annona.Caller) error {
	if x.Buckets == nil {
		return nil
	}
	got, _, wait, err := x.Buckets.Draw(ctx, annona.Draw{Bucket: "trials " + caller.Agreement, Want: 1, Burst: triesKept, Every: trialEvery, Now: x.Clock()})
	if err != nil || got > 0 {
		return err
	}
	return annona.TooMany("trials_too_many", "exports may be tried %d times at once, and then every 3 minutes; try again in %d seconds", triesKept, int(wait.Seconds())+1)
}

// trial reads the rows of an export and counts them.
type trial struct {
	x      *Exchange
	i      *inquiry
	over   []string
	shown  *annona.Shape // the columns over
	rows   int64
	groups map[string]int64 // rows, by their values in these columns
	many   bool             // more groups than are counted
}

// quasi are fields by which people are found who know a little about somebody.
var quasi = []string{"area_code", "date_of_birth", "sex", "marital_status", "member_count", "head_individual_id"}

// choose resolves the names of the columns over.
func (t *trial) choose(over []string) error {
	spec := t.i.spec
	records := spec.records(spec.shown)
	if len(over) > maxQuasi {
		return annona.Invalid("too_many_columns", "name at most %d columns", maxQuasi).On("quasi_identifiers")
	}
	t.shown = &annona.Shape{Dataset: records.Dataset}
	for _, f := range records.Columns {
		asked := slices.Contains(over, f.Code)
		if asked || len(over) == 0 && slices.Contains(quasi, f.Shows().Code) {
			t.over, t.shown.Columns = append(t.over, f.Code), append(t.shown.Columns, f)
		}
	}
	if len(over) > 0 && len(t.over) != len(over) {
		return annona.Invalid("unknown_column", "quasi_identifiers are names of columns of the specification, each once; columns of groups are none").On("quasi_identifiers")
	}
	return nil
}

// read goes through the rows, in the way of an export.
func (t *trial) read(ctx context.Context) error {
	shape := t.i.spec.read(t.shown)
	plan := t.i.plan(shape)
	plan.Show(t.shown, t.i.spec.changes)
	page := annona.NewPage(shape)
	var key []byte
	for after, more := annona.Number(0), true; more; {
		page.Reset()
		err := t.x.readOpen(ctx, page, func() (err error) {
			more, err = t.x.Records.ReadPage(ctx, t.i.scope(shape, t.x.today(t.x.Clock())), after, 0, maxPageRows, page)
			return err
		})
		if err != nil {
			return err
		}
		if page.Count == 0 {
			return nil
		}
		after = page.Numbers[page.Count-1]
		shown := plan.Redact(page).Page()
		for row := range shown.Count {
			key = key[:0]
			for column := range shown.Columns {
				key = annona.AppendItem(key, annona.Image(shown.Cell(column, row)))
			}
			t.count(key)
		}
	}
	return nil
}

func (t *trial) count(key []byte) {
	t.rows++
	if _, known := t.groups[string(key)]; !known && len(t.groups) == maxGroups {
		t.many = true
		return
	}
	t.groups[string(key)]++
}

// tell fills in what was counted.
func (t *trial) tell(r *Trial) {
	r.Rows = Blurred(t.rows)
	if r.Exact {
		r.Rows = strconv.FormatInt(t.rows, 10)
	}
	smallest := t.rows
	for _, n := range t.groups {
		smallest = min(smallest, n)
	}
	switch {
	case t.rows == 0 && r.Exact || len(t.over) == 0:
	case t.many || smallest < 5:
		r.Class = "<5"
	case smallest < 10:
		r.Class = "5–9"
	default:
		r.Class = "≥10"
	}
	if r.Exact && !t.many && len(t.over) > 0 {
		r.Smallest = smallest
	}
}

// fieldsBySensitivity names the fields of a shape by how delicate they are.
func fieldsBySensitivity(shape *annona.Shape) map[string][]string {
	by := map[string][]string{}
	var walk func(s *annona.Shape, prefix string)
	walk = func(s *annona.Shape, prefix string) {
		for _, f := range s.Columns {
			by[string(f.Sensitivity)] = append(by[string(f.Sensitivity)], prefix+f.Code)
		}
		for _, g := range s.Groups {
			walk(g.Shape, prefix+g.Field.Code+".")
		}
	}
	walk(shape, "")
	return by
}

// Blurred is a count of people that somebody may not see: fewer than ten, zero among them, are not told
// apart, and others are rounded to five.
func Blurred(n int64) string {
	if n < 10 {
		return "<10"
	}
	return fmt.Sprint((n + 2) / 5 * 5)
}
