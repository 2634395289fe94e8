package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// province opens a registry with two regions, of which one has two districts, and four households.
func province(t *testing.T, g ground) *place {
	t.Helper()
	p, err := g.open(t.Context())
	check(t, err)
	t.Cleanup(func() { check(t, p.store.Close()) })
	_, err = p.ImportAreas(p.ctx, operator, []annona.Area{
		{Code: "XA"}, {Code: "XA-1", Parent: "XA", Level: 1}, {Code: "XA-2", Parent: "XA", Level: 1},
		{Code: "XA-1-1", Parent: "XA-1", Level: 2}, {Code: "XA-1-2", Parent: "XA-1", Level: 2},
	})
	check(t, err)
	p.live(t, "h0", "XA-1-1", "p0", "p1")
	p.live(t, "h1", "XA-1-2", "p2")
	p.live(t, "h2", "XA-1", "p3")
	p.live(t, "h3", "XA-2", "p4")
	return p
}

// live has the source report a household there, with its members.
func (p *place) live(t *testing.T, household, area string, people ...string) {
	t.Helper()
	var members []annona.Record
	for _, one := range people {
		members = append(members, member(one, household, "child"))
	}
	p.put(t, []annona.Record{newRecord("households", household, "area_code", area, "poverty_score", "10")}, members)
}

func (p *place) redraw(t *testing.T, changes ...annona.AreaChange) exchange.Reorganized {
	t.Helper()
	done, err := p.Reorganize(p.ctx, operator, annona.Reorganization{Effective: annona.DateOf(p.now), Reference: fmt.Sprint(changes), Changes: changes})
	check(t, err)
	return done
}

// bound follows the individuals of an agreement on some areas.
func (p *place) bound(t *testing.T, name string, areas ...string) *tail {
	t.Helper()
	p.agree(t, func(a *annona.Agreement) { a.Name, a.Realm, a.Areas = name, name, areas })
	caller, err := p.admit(name)
	check(t, err)
	f := &tail{T: t, place: p, caller: caller, has: map[string]string{},
		question: exchange.Question{Dataset: "individuals", Purpose: lawPurpose, Fields: []string{"individual_id", "area_code"}}}
	f.read()
	return f
}

func (f *tail) told(when string, kinds ...string) {
	f.Helper()
	got := f.read()
	if !slices.Equal(got, kinds) {
		f.Errorf("%s: told %q, want %q", when, got, kinds)
	}
	if fresh := f.fresh(); len(fresh) != len(f.has) {
		f.Errorf("%s: has %d, a search finds %d", when, len(f.has), len(fresh))
	}
}

// TestReorganizationFollowed tells three followers what a country that is drawn anew means for
// them: one bound to the area that is renamed and then split, one bound to another, one to none.
func TestReorganizationFollowed(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := province(t, g)
			old, other, all := p.bound(t, "old", "XA-1"), p.bound(t, "other", "XA-2"), p.bound(t, "all")
			tell := func(when string, toOld, toOther, toAll []string) {
				t.Helper()
				old.told(when+", old", toOld...)
				other.told(when+", other", toOther...)
				all.told(when+", all", toAll...)
			}
			entered, left, upsert := "entered_scope", "left_scope", "upsert"

			done := p.redraw(t, annona.AreaChange{Kind: annona.AreaRename, From: []string{"XA-1"}, Into: []annona.Area{{Code: "XB"}}})
			if done.Moved.Moved != 1 || done.Moved.Flagged != 0 {
				t.Errorf("renamed: %+v", done)
			}
			tell("renamed", []string{upsert}, nil, []string{upsert})
			p.live(t, "h4", "XB", "p5")
			p.live(t, "h5", "XA-1", "p6") // the source still writes the old code
			tell("newcomers", nil, nil, []string{entered, entered})
			p.live(t, "h2", "XA-1", "p3")
			p.put(t, []annona.Record{newRecord("households", "h2", "area_code", "XA-1", "poverty_score", "77")})
			tell("the source repeats itself", nil, nil, nil)
			waiting, err := p.WaitingAgreements(p.ctx, operator)
			check(t, err)
			if len(waiting) != 1 || waiting[0].Agreement != "old" || fmt.Sprint(waiting[0].Closed, waiting[0].Successors) != "[XA-1] [XB]" {
				t.Errorf("waiting: %+v", waiting)
			}
			version, added, err := p.ApproveAreas(p.ctx, operator, "old")
			if check(t, err); version != 2 || fmt.Sprint(added) != "[XB]" {
				t.Errorf("approved: version %d, %q", version, added)
			}
			tell("approved", []string{entered, entered}, nil, nil)
			if _, _, err := p.ApproveAreas(p.ctx, operator, "old"); annona.CodeOf(err) != "nothing_waits" {
				t.Errorf("approved twice: %v", err)
			}

			done = p.redraw(t, annona.AreaChange{Kind: annona.AreaSplit, From: []string{"XB"}, Into: []annona.Area{{Code: "XC-1"}, {Code: "XC-2"}},
				Children: map[string]string{"XA-1-1": "XC-1", "XA-1-2": "XC-2"}})
			if done.Moved.Moved != 0 || done.Moved.Flagged != 3 {
				t.Errorf("split: %+v", done)
			}
			tell("split", nil, nil, nil)
			assigned, err := p.AssignAreas(p.ctx, operator, "law", []annona.AreaAssignment{{Key: "h2", Area: "XC-1"}, {Key: "h3", Area: "XC-1"}, {Key: "nobody", Area: "XC-1"}})
			if check(t, err); assigned != (exchange.Assigned{Moved: 1, Unfit: 1, Unknown: 1}) {
				t.Errorf("assigned: %+v", assigned)
			}
			tell("assigned", []string{upsert}, nil, []string{upsert})
			p.put(t, []annona.Record{newRecord("households", "h2", "area_code", "XB", "poverty_score", "78")})
			tell("the source still writes the code that was split", nil, nil, nil)
			p.live(t, "h6", "XC-1", "p7")
			tell("a newcomer in a successor", nil, nil, []string{entered})

			p.live(t, "h0", "XA-2")
			tell("a move away", []string{left, left}, []string{entered, entered}, []string{upsert, upsert})
			p.live(t, "h0", "XC-2")
			tell("and back, to what the area has become", []string{entered, entered}, []string{left, left}, []string{upsert, upsert})

			done = p.redraw(t, annona.AreaChange{Kind: annona.AreaMerge, From: []string{"XC-1", "XC-2"}, Into: []annona.Area{{Code: "XA-2"}}})
			if done.Moved != (exchange.Moved{Moved: 5}) { // h0, h2, h6, and h4 and h5, whose split area has one successor now
				t.Errorf("merged: %+v", done)
			}
			tell("merged into a region that goes on",
				[]string{upsert, upsert, upsert, upsert, upsert},
				[]string{entered, entered, entered, entered, entered, entered, entered},
				[]string{upsert, upsert, upsert, upsert, upsert, upsert})
		})
	}
}

// TestReorganizationRefused refuses what cannot be drawn, and leaves everything as it was.
func TestReorganizationRefused(t *testing.T) {
	g := grounds(t)[0]
	p := province(t, g)
	p.redraw(t, annona.AreaChange{Kind: annona.AreaRename, From: []string{"XA-1-1"}, Into: []annona.Area{{Code: "XA-1-9"}}})
	before, err := p.Areas(p.ctx)
	check(t, err)
	into := func(codes ...string) (areas []annona.Area) {
		for _, code := range codes {
			areas = append(areas, annona.Area{Code: code})
		}
		return areas
	}
	for _, c := range []struct {
		name, code string
		change     annona.AreaChange
	}{
		{"an unknown area", "area_unknown", annona.AreaChange{Kind: annona.AreaRename, From: []string{"XQ"}, Into: into("XB")}},
		{"a closed area", "area_closed", annona.AreaChange{Kind: annona.AreaRename, From: []string{"XA-1-1"}, Into: into("XB")}},
		{"into a closed area", "area_closed", annona.AreaChange{Kind: annona.AreaMerge, From: []string{"XA-1-2"}, Into: into("XA-1-1")}},
		{"a code that is taken", "area_code_taken", annona.AreaChange{Kind: annona.AreaRename, From: []string{"XA-1"}, Into: into("XA-2")}},
		{"a split into nothing", "reorganization_malformed", annona.AreaChange{Kind: annona.AreaSplit, From: []string{"XA-1"}}},
		{"a split into one", "reorganization_malformed", annona.AreaChange{Kind: annona.AreaSplit, From: []string{"XA-1"}, Into: into("XB")}},
		{"a split that leaves its districts nowhere", "area_in_closed", annona.AreaChange{Kind: annona.AreaSplit, From: []string{"XA-1"}, Into: into("XB", "XC")}},
		{"an area given up with others in it", "area_in_closed", annona.AreaChange{Kind: annona.AreaClose, From: []string{"XA-1"}}},
		{"a move into itself", "area_cycle", annona.AreaChange{Kind: annona.AreaMove, From: []string{"XA-1"}, Parent: "XA-1-2"}},
		{"a move to nowhere", "area_unknown", annona.AreaChange{Kind: annona.AreaMove, From: []string{"XA-1"}, Parent: "XQ"}},
		{"its own successor", "reorganization_malformed", annona.AreaChange{Kind: annona.AreaMerge, From: []string{"XA-1", "XA-2"}, Into: into("XA-1")}},
		{"a region into its own district", "area_in_closed", annona.AreaChange{Kind: annona.AreaMerge, From: []string{"XA-1"}, Into: into("XA-1-2")}},
		{"no kind of area", "reorganization_malformed", annona.AreaChange{Kind: annona.AreaRename, Into: into("XB")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change.Line = 7
			_, err := p.Reorganize(p.ctx, operator, annona.Reorganization{Effective: annona.DateOf(p.now), Changes: []annona.AreaChange{c.change}})
			if annona.CodeOf(err) != c.code {
				t.Errorf("got %v, want the code %s", err, c.code)
			}
		})
	}
	after, err := p.Areas(p.ctx)
	check(t, err)
	if fmt.Sprint(after.Areas()) != fmt.Sprint(before.Areas()) {
		t.Error("the areas are not what they were")
	}
	if recorded, err := p.store.Reorganizations(p.ctx); err != nil || len(recorded) != 1 {
		t.Errorf("what was refused is recorded: %d, %v", len(recorded), err)
	}
}

// TestAreaImportRefused refuses a list of areas that is no tree, or another one than on file.
func TestAreaImportRefused(t *testing.T) {
	p := province(t, grounds(t)[0])
	for _, c := range []struct {
		name, code string
		areas      []annona.Area
	}{
		{"nothing", "file_empty", nil},
		{"a code twice", "area_twice", []annona.Area{{Code: "XQ"}, {Code: "XQ"}}},
		{"an unknown parent", "area_unknown", []annona.Area{{Code: "XQ-1", Parent: "XQ", Level: 1}}},
		{"an area above its parent", "area_malformed", []annona.Area{{Code: "XQ", Parent: "XA-1", Level: 1}}},
		{"a circle of closed areas", "area_cycle", []annona.Area{
			{Code: "XQ", Level: 1, ValidTo: "2020-01-01", ReplacedBy: []string{"XR"}}, {Code: "XR", Level: 1, ValidTo: "2020-01-01", ReplacedBy: []string{"XQ"}}}},
		{"another parent", "area_moved", []annona.Area{{Code: "XA-1-1", Parent: "XA-2", Level: 2}}},
		{"an open area closed", "area_moved", []annona.Area{{Code: "XA-2", Parent: "XA", Level: 1, ValidTo: "2020-01-01"}}},
		{"no code", "area_malformed", []annona.Area{{Code: ""}}},
		{"a code that is too long", "area_malformed", []annona.Area{{Code: strings.Repeat("X", 41)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := p.ImportAreas(p.ctx, operator, c.areas); annona.CodeOf(err) != c.code {
				t.Errorf("got %v, want the code %s", err, c.code)
			}
		})
	}
	done, err := p.ImportAreas(p.ctx, operator, []annona.Area{{Code: "XA", Names: map[string]string{"en": "A country"}}, {Code: "XA-2", Parent: "XA", Level: 1}, {Code: "XZ"}})
	if check(t, err); done != (exchange.ImportedAreas{Added: 1, Changed: 1, Unchanged: 1}) {
		t.Errorf("imported: %+v", done)
	}
}

// breaking is a writer that fails at some transaction.
type breaking struct {
	annona.Writer
	left int
}

var errBroken = errors.New("broken off")

func (b *breaking) Update(ctx context.Context, fn func(annona.Tx) error) error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return b.Writer.Update(ctx, fn)
}

// TestReorganizationGoesOn breaks a reorganization off after each of its transactions and asks for
// it again: each household is moved once, and a file that comes twice changes nothing.
func TestReorganizationGoesOn(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := province(t, g)
			var homes []annona.Record
			for i := range 250 {
				homes = append(homes, newRecord("households", fmt.Sprint("many", i), "area_code", "XA-2"))
			}
			p.put(t, homes)
			before, err := p.store.LogState(p.ctx)
			check(t, err)
			r := annona.Reorganization{Effective: "2020-01-01", Changes: []annona.AreaChange{{Kind: annona.AreaRename, From: []string{"XA-2"}, Into: []annona.Area{{Code: "XB"}}}}}
			writer := p.Writer
			breaks := 0
			for ; ; breaks++ {
				p.Writer = &breaking{writer, 1}
				if _, err = p.Reorganize(p.ctx, operator, r); err == nil {
					break
				}
				if !errors.Is(err, errBroken) {
					t.Fatal(err)
				}
			}
			p.Writer = writer
			check(t, p.settle())
			after, err := p.store.LogState(p.ctx)
			check(t, err)
			if moved := after.Head - before.Head; moved != 251+1 || breaks != 4 { // and the touched event of the one who lives in h3
				t.Errorf("%d events after %d breaks", moved, breaks)
			}
			done, err := p.Reorganize(p.ctx, operator, r)
			if check(t, err); !done.Again || done.Moved != (exchange.Moved{}) {
				t.Errorf("again: %+v", done)
			}
		})
	}
}

// TestReorganizationDue waits for the day of a reorganization.
func TestReorganizationDue(t *testing.T) {
	p := province(t, grounds(t)[0])
	tomorrow := annona.DateOf(p.now).AddDays(1)
	rename := func(from, to string) annona.Reorganization {
		return annona.Reorganization{Effective: tomorrow, Changes: []annona.AreaChange{{Kind: annona.AreaRename, From: []string{from}, Into: []annona.Area{{Code: to}}}}}
	}
	first := rename("XA-2", "XB")
	second := rename("XB", "XC") // fits the areas as the first one leaves them
	second.Effective = tomorrow.AddDays(1)
	for _, r := range []annona.Reorganization{first, second} {
		done, err := p.Reorganize(p.ctx, operator, r)
		if check(t, err); !done.Pending {
			t.Fatalf("it did not wait for its day: %+v", done)
		}
	}
	for day, want := range []string{"XA-2", "XB", "XC"} {
		if _, _, err := p.ApplyDue(p.ctx, annona.Caller{}); codeOf(err) != "operator_only" {
			t.Errorf("day %d: by nobody: %v", day, err)
		}
		applied, moved, err := p.ApplyDue(p.ctx, operator)
		if check(t, err); applied != min(day, 1) || moved.Moved != min(day, 1) {
			t.Errorf("day %d: applied %d, moved %+v", day, applied, moved)
		}
		tree, err := p.Areas(p.ctx)
		check(t, err)
		if today := tree.Today("XA-2"); len(today) != 1 || today[0] != want {
			t.Errorf("day %d: XA-2 is %q, want %s", day, today, want)
		}
		p.now = p.now.AddDate(0, 0, 1)
	}
}

// TestReorganizationAndLoads loads households in an area while it is renamed: none is left behind.
func TestReorganizationAndLoads(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := province(t, g)
			var loading sync.WaitGroup
			begun := make(chan struct{}, 100)
			for worker := range 3 {
				loading.Go(func() {
					l, err := p.StartLoad(p.ctx, operator, "law", nil)
					for i := 0; i < 30 && err == nil; i++ {
						_, err = l.Put(p.ctx, []annona.Record{newRecord("households", fmt.Sprintf("load %d of %d", i, worker), "area_code", "XA-2")})
						begun <- struct{}{}
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			for range 20 {
				<-begun
			}
			done := p.redraw(t, annona.AreaChange{Kind: annona.AreaRename, From: []string{"XA-2"}, Into: []annona.Area{{Code: "XB"}}})
			loading.Wait()
			moved, err := p.MoveHouseholds(p.ctx, operator)
			if check(t, err); moved != (exchange.Moved{}) {
				t.Errorf("%d households were moved at first and %d were left behind", done.Moved.Moved, moved.Moved)
			}
		})
	}
}
