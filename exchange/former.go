package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// former is what an event keeps of the record that it changed, opened.
type former struct {
	event   annona.Event
	kept    annona.Former // its sealed image is sealed still
	was     was
	sealed  annona.Image // opened, where it was asked for
	dataset *annona.Dataset
}

// openFormers opens what events keep; sealed: their sealed images too. Those of whom nothing is kept,
// because they were erased, are left out.
func (x *Exchange) openFormers(ctx context.Context, events []annona.Event, sealed bool) ([]former, error) {
	all := make([]former, 0, len(events))
	for _, e := range events {
		if len(e.Before) == 0 {
			continue
		}
		kept, err := annona.ParseFormer(e.Before)
		if err != nil {
			return nil, err
		}
		dataset, _ := x.CurrentDictionary().Dataset(e.Dataset)
		all = append(all, former{event: e, kept: kept, dataset: dataset})
	}
	err := x.openKept(ctx, all, sealed)
	if annona.CodeOf(err) != "key_gone" {
		return all, err
	}
	there := all[:0] // somebody was erased in this moment: one by one, without them
	for _, f := range all {
		one := []former{f}
		switch err := x.openKept(ctx, one, sealed); {
		case annona.CodeOf(err) == "key_gone":
		case err != nil:
			return nil, err
		default:
			there = append(there, one[0])
		}
	}
	return there, nil
}

func (x *Exchange) openKept(ctx context.Context, all []former, sealed bool) error {
	cells := make([]annona.Cell, 0, 2*len(all))
	for i := range all {
		f := &all[i]
		cell := annona.Cell{Dataset: f.dataset, Number: f.event.Record, Version: f.kept.Version}
		cell.Part, cell.Image = annona.PartBefore, slices.Clone(f.kept.Clear)
		cells = append(cells, cell)
		cell.Part, cell.Image = annona.PartSealed, nil
		if sealed {
			cell.Image = slices.Clone(f.kept.Sealed)
		}
		cells = append(cells, cell)
	}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return err
	}
	for i := range all {
		var err error
		if all[i].was, err = parseWas(cells[2*i].Image); err != nil {
			return err
		}
		all[i].sealed = cells[2*i+1].Image
	}
	return nil
}

// formerRecord is the former as a store reads it among the records of now.
func (x *Exchange) formerRecord(f *former) (annona.FormerRecord, error) {
	r := annona.FormerRecord{Marks: f.was.marks, StoredRecord: annona.StoredRecord{
		RecordKey: annona.RecordKey{Dataset: f.dataset, Source: f.was.first.source},
		Number:    f.event.Record, Version: f.kept.Version, Clear: f.was.clear, Sealed: f.kept.Sealed,
		Memberships: f.was.memberships, Relationships: f.was.relationships,
	}}
	if len(r.Marks.Memberships) != len(r.Memberships) || len(r.Marks.Relationships) != len(r.Relationships) {
		return r, errWas()
	}
	content, err := recordOf(x.CurrentDictionary(), f.dataset, f.was.clear, f.sealed)
	if err != nil {
		return r, err
	}
	parts := prepared{StoredRecord: annona.StoredRecord{RecordKey: r.RecordKey}}
	err = x.divide(&parts, content.Values, content.Groups)
	r.Index = parts.Index
	return r, err
}

// The rounds in which what a reading needs is gathered: of people the households that they are in, of
// households their members, and so on, as far as a condition can reach. Relationships show their other
// ends, and no further ones.
const (
	gatherRounds  = 5
	relatedRounds = 2
)

// gathering is how everything was that some records are made of.
type gathering struct {
	s     *Snapshot
	world annona.World
	seen  map[string]map[annona.Number]bool // by dataset; also those who were not there
}

// gather gathers what a reading of records needs.
func (s *Snapshot) gather(ctx context.Context, numbers []annona.Number) (*gathering, error) {
	g := &gathering{s: s, world: annona.World{Day: s.at.Day}, seen: map[string]map[annona.Number]bool{"individuals": {}, "households": {}}}
	next := map[string][]annona.Number{}
	for _, n := range numbers {
		g.add(next, s.dataset.Name, n)
	}
	for round := 0; len(next["individuals"])+len(next["households"]) > 0; round++ {
		people, err := g.split(ctx, "individuals", next["individuals"], &g.world.Individuals)
		if err != nil {
			return nil, err
		}
		if _, err := g.split(ctx, "households", next["households"], &g.world.Households); err != nil {
			return nil, err
		}
		if round == gatherRounds {
			break
		}
		if next, err = g.around(ctx, people, next["households"], round < relatedRounds); err != nil {
			return nil, err
		}
	}
	slices.Sort(g.world.Individuals)
	slices.Sort(g.world.Households)
	return g, nil
}

func (g *gathering) add(to map[string][]annona.Number, dataset string, n annona.Number) {
	if n > 0 && !g.seen[dataset][n] {
		g.seen[dataset][n] = true
		to[dataset] = append(to[dataset], n)
	}
}

// split finds out which records are now what they were, and adds the others as they were. It returns
// the first.
func (g *gathering) split(ctx context.Context, dataset string, numbers []annona.Number, kept *[]annona.Number) (same []annona.Number, err error) {
	var seqs []int64
	for _, n := range numbers {
		switch seq, changed := g.s.first(dataset, n); {
		case !changed:
			same = append(same, n)
		case seq > 0:
			seqs = append(seqs, seq)
		}
	}
	*kept = append(*kept, same...)
	if len(seqs) == 0 {
		return same, nil
	}
	slices.Sort(seqs)
	x := g.s.x
	events, err := x.Past.EventsAt(ctx, seqs)
	if err != nil {
		return nil, err
	}
	if len(events) != len(seqs) {
		return nil, errPast() // pruned meanwhile
	}
	formers, err := x.openFormers(ctx, events, true)
	if err != nil {
		return nil, err
	}
	if err := x.resolveEnds(ctx, formers); err != nil {
		return nil, err
	}
	for i := range formers {
		r, err := x.formerRecord(&formers[i])
		if err != nil {
			return nil, err
		}
		g.world.Former = append(g.world.Former, r)
	}
	return same, nil
}

// resolveEnds finds those to whom relationships led that were waiting when they were kept: somebody may
// have been deleted before that, and have come back.
func (x *Exchange) resolveEnds(ctx context.Context, formers []former) error {
	individuals, _ := x.CurrentDictionary().Dataset("individuals")
	var waiting []*annona.Relationship
	var keys []annona.RecordKey
	for i := range formers {
		for j := range formers[i].was.relationships {
			if r := &formers[i].was.relationships[j]; r.To == 0 {
				waiting, keys = append(waiting, r), append(keys, annona.RecordKey{Dataset: individuals, Source: r.Source, Key: r.ToKey})
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	numbers, err := x.Loads.Numbers(ctx, keys)
	for i, n := range numbers {
		waiting[i].To = n
	}
	return err
}

// around returns who lived with people who are what they were and with those that have just been added,
// and where; related: also those to whom they had relationships.
func (g *gathering) around(ctx context.Context, people, homes []annona.Number, related bool) (map[string][]annona.Number, error) {
	next := map[string][]annona.Number{}
	ties, err := g.s.x.Past.Ties(ctx, people, homes)
	if err != nil {
		return nil, err
	}
	for _, t := range ties {
		g.add(next, "individuals", t.Individual)
		g.add(next, "households", t.Household)
		if related {
			g.add(next, "individuals", t.To)
		}
	}
	for i := range g.world.Former {
		r := &g.world.Former[i]
		for _, m := range r.Memberships {
			g.add(next, "households", m.Household)
		}
		if !related {
			continue
		}
		for _, t := range r.Relationships {
			g.add(next, "individuals", t.To)
		}
	}
	for _, h := range homes {
		for _, n := range g.s.inhabitants(h) {
			g.add(next, "individuals", n)
		}
	}
	return next, nil
}
