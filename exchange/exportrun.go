package exchange

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strconv"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// ExportRun is an export that becomes files, in the hands of a worker. It has the authority of whoever
// has asked for it, and no more than that has at this moment: each page is decided anew.
//
// All parts are read at one position. Which records belong to which part is fixed once, by the plan.
type ExportRun struct {
	x    *Exchange
	job  annona.ExportJob
	spec annona.ExportSpec
	e    *Export
	plan *present // who was in the export when it began; nil before

	since reached // behind which a delta begins; without a position: it has everything
}

// ResumeExport decides an export anew, as its initiator.
func (x *Exchange) ResumeExport(ctx context.Context, job annona.ExportJob) (*ExportRun, error) {
	o := &job.ExportOrder
	caller := annona.Caller{Client: o.Client, Agreement: o.Agreement, Strength: o.Strength, Network: o.Network, Acting: o.Acting, Within: &o.Within, Bound: o.Bound}
	r, err := x.resume(ctx, caller, job, nil)
	if err != nil {
		return nil, err
	}
	if len(job.Plan) > 0 {
		if r.plan, err = x.openPresent(job.ID, "plan", job.Plan); err != nil {
			return nil, err
		}
		r.chooses()
	}
	return r, nil
}

// chooses lets a delta read what its plan names, and nobody else.
func (r *ExportRun) chooses() {
	if r.since.position != nil {
		r.e.delta = r.plan
	}
}

// resume decides an export anew, by what was found out about the request when it began; nil: it begins.
func (x *Exchange) resume(ctx context.Context, caller annona.Caller, job annona.ExportJob, weighed *annona.Weighed) (*ExportRun, error) {
	spec, err := x.ShowExportSpec(ctx, caller, job.Spec, job.Version)
	if err != nil {
		return nil, err
	}
	q := questionOf(&spec)
	if q.weighed = weighed; len(job.Plan) > 0 {
		q.atMost = atMost(job.Total)
	}
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbExport, q)
	if err != nil {
		return nil, err
	}
	i.form = Form{Format: spec.Format, Layout: spec.Layout, Spec: spec.Name + "@" + strconv.Itoa(spec.Version)}
	if spec.AsOf == "" {
		i.asOf = job.At.Day
	}
	if err := x.showBySpec(ctx, i, &spec); err != nil {
		return nil, err
	}
	state, err := x.Log.LogState(ctx)
	if err != nil {
		return nil, err
	}
	switch o := &job.ExportOrder; {
	case i.grant.Agreement.Version != o.AgreementVersion:
		return nil, annona.Conflict("agreement_changed", "the agreement changed since the export was asked for; start it again")
	case i.schema != o.Schema:
		return nil, annona.Conflict("schema_changed", "the dictionary was extended since the export was asked for; start it again")
	case state.Epoch != o.LogEpoch || o.At.Seq < state.Oldest || o.At.Seq > state.Head || i.exportTerms(&spec, state.Areas) != o.Terms:
		return nil, errPast()
	}
	i.position = max(1, job.At.Seq)
	i.job = job.ID.String()
	e := &Export{x: x, i: i, past: x.snapshot(i.shape.Dataset, job.At), at: job.At, areas: state.Areas}
	r := &ExportRun{x: x, job: job, spec: spec, e: e}
	if len(job.Since) > 0 {
		var ok bool
		if r.since, ok = decodeReached(job.Since); !ok {
			return nil, annona.Internal("read where an export begins", nil)
		}
	}
	return r, nil
}

// exportTerms are the terms of the scope, and the areas where the specification shows them on a level.
func (i *inquiry) exportTerms(spec *annona.ExportSpec, areas int64) uint64 {
	if slices.ContainsFunc(spec.Fields, func(f annona.SpecField) bool { return f.Level > 0 }) {
		return i.versionOf("terms of an export", strconv.FormatInt(areas, 10))
	}
	return i.terms(areas)
}

// Spec returns the specification that the export follows.
func (r *ExportRun) Spec() annona.ExportSpec { return r.spec }

// Shape returns the columns of the export as they are shown.
func (r *ExportRun) Shape() *annona.Shape { return r.e.Shape() }

// Withheld names the fields of the dataset that the agreement does not grant.
func (r *ExportRun) Withheld() []string { return r.e.Withheld() }

// Raised is the reason why the agreement raises a cap of the initiator's credential.
func (r *ExportRun) Raised() string { return r.e.Raised() }

// AsOf is the day on which ages and memberships are read.
func (r *ExportRun) AsOf() annona.Date { return r.e.i.asOf }

// Plan fixes who is in the export, unless that is done: all rows at the position that the initiator may
// see now. beat is called between two pages.
func (r *ExportRun) Plan(ctx context.Context, claim annona.ExportClaim, beat func() error) error {
	if r.plan != nil {
		return nil
	}
	plan, err := r.makePlan(ctx, beat)
	if err != nil {
		return err
	}
	sealed, err := r.x.sealPresent(r.job.ID, "plan", plan)
	if err != nil {
		return err
	}
	if err := r.x.ExportQueue.PlanExport(ctx, claim, sealed, plan.roots.count()); err != nil {
		return err
	}
	r.plan, r.job.Total = plan, plan.roots.count()
	r.chooses()
	return nil
}

func (r *ExportRun) makePlan(ctx context.Context, beat func() error) (*present, error) {
	if r.since.position != nil {
		return r.planDelta(ctx, beat)
	}
	shape := outline(r.e.i.shape)
	dataset := shape.Dataset
	last, err := r.x.Records.LastNumber(ctx, dataset)
	if err != nil {
		return nil, err
	}
	plan, page := newPresent(), annona.NewPage(shape)
	width := annona.Number(maxPageRows)
	if len(shape.Groups) > 0 {
		width = maxNestedRows
	}
	for after := annona.Number(0); after < last; after += width {
		page.Reset()
		if err := r.e.past.read(ctx, r.scope(shape), after, min(after+width, last), page); err != nil {
			return nil, err
		}
		plan.addPage(page)
		if err := overCeiling(plan.roots.count(), r.e.i.grant.RowCeiling); err != nil {
			return nil, err
		}
		if err := beat(); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// outline is a shape without columns: who is in it.
func outline(of *annona.Shape) *annona.Shape {
	shape := &annona.Shape{Dataset: of.Dataset}
	for _, g := range of.Groups {
		if g.Shape.Dataset.Root {
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: g.Field, Shape: outline(g.Shape)})
		}
	}
	return shape
}

// Total returns how many rows the plan has.
func (r *ExportRun) Total() int64 { return r.plan.roots.count() }

// Parts returns how many parts the plan has, at least one.
func (r *ExportRun) Parts() int {
	return int(max(1, (r.plan.roots.count()+r.job.PartRows-1)/r.job.PartRows))
}

// bounds returns the rows of a part: after < number ≤ until.
func (r *ExportRun) bounds(part int) (after, until annona.Number) {
	rows := r.plan.roots.count()
	if first := int64(part-1) * r.job.PartRows; first > 0 {
		after = r.plan.roots.at(first - 1)
	}
	if rows > 0 {
		until = r.plan.roots.at(min(int64(part)*r.job.PartRows, rows) - 1)
	}
	return after, until
}

// Write hands the rows of a part, from 1, to a receiver, once for each shape. already is how many rows
// the parts before have. The part that it returns says what was handed over, and of whom.
func (r *ExportRun) Write(ctx context.Context, part int, shapes []*annona.Shape, to Receiver, already int64) (annona.ExportPart, error) {
	done := annona.ExportPart{Number: part}
	done.After, done.Until = r.bounds(part)
	head, err := r.x.Past.SettledLog(ctx) // before the rows: whoever leaves from now on may be in them
	if err != nil {
		return done, err
	}
	done.At = annona.Moment{Seq: head, Day: r.x.today(r.x.Clock())}
	e := *r.e
	i := *r.e.i
	i.request, i.job = annona.NewUID(), r.job.ID.String()+"/"+strconv.Itoa(part)
	e.i, e.from, e.upto, e.already = &i, done.After, max(done.Until, 1), already
	noted := &noting{Receiver: to, present: newPresent()}
	sent, err := e.Run(ctx, shapes, noted, func() {})
	if err != nil {
		return done, err
	}
	done.Rows = sent.Rows
	done.Subjects, err = r.x.sealPresent(r.job.ID, partName(part), noted.present)
	return done, err
}

func partName(part int) string { return "part " + strconv.Itoa(part) }

// noting is a receiver that notes who is in the pages.
type noting struct {
	Receiver
	*present
	part int
}

func (n *noting) Begin(part int) error {
	n.part = part
	return n.Receiver.Begin(part)
}

func (n *noting) Page(d *privacy.Disclosed) error {
	if n.part == 0 {
		n.roots.add(d.Page().Numbers)
	}
	for _, s := range d.Subjects() {
		n.of(s.Noun).add(s.Numbers)
	}
	for _, number := range d.Gone() { // nobody: the row has an id
		n.roots.Remove(uint64(number))
		n.of(d.Shape().Dataset.Noun).Remove(uint64(number))
	}
	return n.Receiver.Page(d)
}

// Left reports whether somebody is in a part who was erased, restricted or has withdrawn since it was
// written.
func (r *ExportRun) Left(ctx context.Context, part annona.ExportPart) (bool, error) {
	in, err := r.x.openPresent(r.job.ID, partName(part.Number), part.Subjects)
	if err != nil {
		return false, err
	}
	head, err := r.x.Past.SettledLog(ctx)
	if err != nil {
		return false, err
	}
	now := annona.Moment{Seq: head, Day: r.x.today(r.x.Clock())}
	if now == part.At {
		return false, nil
	}
	for _, name := range []string{"individuals", "households"} {
		dataset, _ := r.x.CurrentDictionary().Dataset(name)
		concerned, all, err := r.x.Log.Concerned(ctx, dataset, part.At, now)
		if err != nil {
			return false, err
		}
		suspects := in.of(dataset.Noun).among(concerned, all)
		if left, err := r.anyLeft(ctx, dataset, suspects, now.Day); err != nil || left {
			return left, err
		}
	}
	return false, nil
}

// anyLeft reports whether one of those who are in a part may not be in it any more. What they were does
// not matter, nor what the agreement or the specification choose: rows come from then.
func (r *ExportRun) anyLeft(ctx context.Context, dataset *annona.Dataset, suspects []annona.Number, today annona.Date) (bool, error) {
	i := r.e.i
	shape := &annona.Shape{Dataset: dataset}
	scope := annona.NewScope(shape, nil, nil, annona.ScopeTerms{
		Purpose: i.grant.Purpose.Code, Recipient: i.grant.Agreement.Partner.Name, Basis: i.grant.Purpose.Basis, AsOf: i.asOf, Today: today,
	})
	past := r.x.snapshot(dataset, r.job.At)
	page := annona.NewPage(shape)
	for len(suspects) > 0 {
		some := suspects[:min(len(suspects), pastRows)]
		suspects = suspects[len(some):]
		page.Reset()
		if err := past.readPast(ctx, scope, some, page); err != nil {
			return false, err
		}
		if page.Count < len(some) {
			return true, nil
		}
	}
	return false, nil
}

// Missing counts, by noun, who was in the export when it began and is in none of its parts.
func (r *ExportRun) Missing(parts []annona.ExportPart) (individuals, households int64, err error) {
	in := newPresent()
	for _, p := range parts {
		one, err := r.x.openPresent(r.job.ID, partName(p.Number), p.Subjects)
		if err != nil {
			return 0, 0, err
		}
		in.join(one)
	}
	return r.plan.individuals.missing(in.individuals), r.plan.households.missing(in.households), nil
}

// present is who is in an export, or in a part of it.
type present struct {
	roots       *numbers // rows
	individuals *numbers
	households  *numbers
	held        *numbers // of the rows of a delta those that its recipient has from before
}

func newPresent() *present {
	return &present{newNumbers(), newNumbers(), newNumbers(), newNumbers()}
}

func (p *present) sets() []*numbers { return []*numbers{p.roots, p.individuals, p.households, p.held} }

func (p *present) of(noun string) *numbers {
	if noun == "household" {
		return p.households
	}
	return p.individuals
}

// addPage adds the rows of an outline.
func (p *present) addPage(page *annona.Page) {
	p.roots.add(page.Numbers)
	p.addNested(page)
}

func (p *present) addNested(page *annona.Page) {
	p.of(page.Shape.Dataset.Noun).add(page.Numbers)
	for i := range page.Groups {
		p.addNested(page.Groups[i].Page)
	}
}

// addRow adds whom a row shows.
func (p *present) addRow(page *annona.Page, row int) {
	if page.Shape.Dataset.Root {
		p.of(page.Shape.Dataset.Noun).Add(uint64(page.Numbers[row]))
	}
	for i := range page.Groups {
		if !page.Groups[i].Page.Shape.Dataset.Root {
			continue
		}
		from, to := page.Groups[i].Rows(row)
		for inner := from; inner < to; inner++ {
			p.addRow(page.Groups[i].Page, inner)
		}
	}
}

func (p *present) join(o *present) {
	p.roots.Or(o.roots.Bitmap)
	p.individuals.Or(o.individuals.Bitmap)
	p.households.Or(o.households.Bitmap)
}

// sealPresent seals it for one export, bound to a name: each set behind its length.
func (x *Exchange) sealPresent(export annona.UID, name string, p *present) ([]byte, error) {
	var b []byte
	for _, set := range p.sets() {
		set.RunOptimize()
		packed, err := set.ToBytes()
		if err != nil {
			return nil, annona.Internal("note who is in an export", err)
		}
		b = annona.AppendItem(b, packed)
	}
	return x.Files.SealNote(export, name, b)
}

func (x *Exchange) openPresent(export annona.UID, name string, sealed []byte) (*present, error) {
	b, err := x.Files.OpenNote(export, name, sealed)
	if err != nil {
		return nil, err
	}
	p := newPresent()
	for _, set := range p.sets() {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, annona.Internal("read who is in an export", io.ErrUnexpectedEOF)
		}
		if err := set.UnmarshalBinary(b[n : n+int(size)]); err != nil {
			return nil, annona.Internal("read who is in an export", err)
		}
		b = b[n+int(size):]
	}
	return p, nil
}

// numbers is a set of inside numbers.
type numbers struct{ *roaring64.Bitmap }

func newNumbers() *numbers { return &numbers{roaring64.New()} }

func (s *numbers) add(some []annona.Number) {
	for _, n := range some {
		s.Add(uint64(n))
	}
}

func (s *numbers) count() int64 { return int64(s.GetCardinality()) }

// at returns the number that so many others of the set precede.
func (s *numbers) at(rank int64) annona.Number {
	n, err := s.Select(uint64(rank))
	if err != nil {
		panic("exchange: a plan has fewer rows than it counts") // the rank is less than the count
	}
	return annona.Number(n)
}

// among returns which of the set stand in a list, or all of it.
func (s *numbers) among(list []annona.Number, all bool) (found []annona.Number) {
	if !all {
		for _, n := range list {
			if s.Contains(uint64(n)) {
				found = append(found, n)
			}
		}
		return found
	}
	for n := s.Iterator(); n.HasNext(); {
		found = append(found, annona.Number(n.Next()))
	}
	return found
}

// between returns those of the set with after < number ≤ until.
func (s *numbers) between(after, until annona.Number) (found []annona.Number) {
	in := s.Iterator()
	in.AdvanceIfNeeded(uint64(after) + 1)
	for in.HasNext() && in.PeekNext() <= uint64(until) {
		found = append(found, annona.Number(in.Next()))
	}
	return found
}

// missing counts who of the set is not in another one.
func (s *numbers) missing(from *numbers) int64 {
	return s.count() - int64(s.AndCardinality(from.Bitmap))
}
