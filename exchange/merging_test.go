package exchange_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

func inLaw(key string) exchange.Subject { return exchange.Subject{Source: "law", Key: key} }

func (p *place) merge(t *testing.T, survivor, merged string) annona.Merge {
	t.Helper()
	m, err := p.Merge(p.ctx, operator, inLaw(survivor), inLaw(merged), "same_card")
	check(t, err)
	return m
}

func (p *place) unmerge(t *testing.T, id annona.UID) exchange.Unmerged {
	t.Helper()
	done, err := p.Unmerge(p.ctx, operator, id)
	check(t, err)
	return done
}

// TestAMergeIsFollowed: a follower is told what took the place of a record only when it may see that.
func TestAMergeIsFollowed(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			p.put(t, []annona.Record{changed(member("p3", "h2", "head"), "sex", "male")})
			everybody := p.tail(t, exchange.Question{Dataset: "individuals"})
			single := p.tail(t, exchange.Question{Dataset: "individuals", Filter: "individual.sex == 'female'"})

			p.now = p.now.Add(time.Minute)
			m := p.merge(t, "p3", "p1")
			into := func(f *tail) (ids []string) {
				t.Helper()
				check(t, p.settle())
				changes, err := f.ask(f.token, 10)
				check(t, err)
				for _, c := range changes.List {
					for row := c.IntoFrom; row < c.IntoEnd; row++ {
						ids = append(ids, string(changes.Into.Page().Cell(0, row)))
					}
				}
				return ids
			}
			if ids := into(everybody); len(ids) != 1 || everybody.has[ids[0]] == "" {
				t.Errorf("who sees both was told of %d records that took the place of one: %q", len(ids), ids)
			}
			if ids := into(single); ids != nil {
				t.Errorf("who sees the merged one alone was told %q", ids)
			}
			everybody.told("merged", "delete", "upsert")
			single.told("merged, and the other one out of sight", "delete")

			p.now = p.now.Add(time.Minute)
			p.unmerge(t, m.ID)
			everybody.told("taken back", "entered_scope", "upsert")
			single.told("taken back", "entered_scope")
		})
	}
}

// TestAHiddenSurvivorTellsNothing compares what a follower is told of somebody who was merged into somebody out
// of sight with what it is told of somebody who was deleted.
func TestAHiddenSurvivorTellsNothing(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			told := func(happens func(p *place)) []string {
				p := small(t, g)
				f := p.tail(t, exchange.Question{Dataset: "individuals", Filter: "individual.area_code == 'XA-1'", Fields: []string{"individual_id", "sex", "area_code"}})
				p.now = p.now.Add(time.Minute)
				happens(p)
				kinds := f.read()
				return append(kinds, fmt.Sprint(len(f.has)))
			}
			merged := told(func(p *place) { p.merge(t, "p3", "p1") })
			erased := told(func(p *place) { p.erase(t, inLaw("p1")) })
			if !slices.Equal(merged, erased) || len(merged) != 2 {
				t.Errorf("of a merge %q is told, of an erasure %q", merged, erased)
			}
		})
	}
}

// TestRightsFollowAMerge: what was said of either holds for both, and comes apart again.
func TestRightsFollowAMerge(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			ok := func(_ annona.UID, err error) { t.Helper(); check(t, err) }
			ok(p.Restrict(p.ctx, operator, inLaw("p1"), annona.Restriction{Kind: annona.KindRestriction}))
			f := p.tail(t, exchange.Question{Dataset: "individuals"})
			sees := func(when string, want int) {
				t.Helper()
				if n := len(f.fresh()); n != want {
					t.Errorf("%s: %d are seen, want %d", when, n, want)
				}
			}
			sees("one is restricted", 3)
			p.now = p.now.Add(time.Minute)
			m := p.merge(t, "p3", "p1")
			sees("the restricted one was merged into another", 2)
			p.now = p.now.Add(time.Minute)
			if left := p.unmerge(t, m.ID).Left; left != nil {
				t.Errorf("left: %q", left)
			}
			sees("taken back", 3)

			m = p.merge(t, "p3", "p1")
			p.now = p.now.Add(time.Minute)
			n, err := p.Lift(p.ctx, operator, inLaw("p1"), annona.KindRestriction)
			check(t, err)
			if n != 1 {
				t.Errorf("lifted %d", n)
			}
			sees("lifted for the merged record", 3)
			ok(p.Restrict(p.ctx, operator, inLaw("p3"), annona.Restriction{Kind: annona.KindObjection}))
			sees("restricted since the merge", 2)
			if left := p.unmerge(t, m.ID).Left; !slices.Equal(left, []string{exchange.LeftRights}) {
				t.Errorf("left: %q", left)
			}
			sees("what was recorded since the merge holds for both", 2)
		})
	}
}

// TestAWithdrawalFollowsAMerge: a withdrawal withdraws what was given before on the other record.
func TestAWithdrawalFollowsAMerge(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			p.agree(t, func(a *annona.Agreement) { a.Purposes[0].Basis = annona.BasisConsent })
			f := p.tail(t, exchange.Question{Dataset: "individuals"})
			consent := annona.Consent{Purposes: []string{lawPurpose}, Recipients: []string{"Program"}}
			give := func(key string) {
				t.Helper()
				_, err := p.GiveConsent(p.ctx, operator, inLaw(key), consent)
				check(t, err)
				p.now = p.now.Add(time.Minute)
			}
			sees := func(when string, want int) {
				t.Helper()
				if n := len(f.fresh()); n != want {
					t.Errorf("%s: %d are seen, want %d", when, n, want)
				}
			}
			give("p3")
			give("p1")
			give("p0")
			_, err := p.WithdrawConsent(p.ctx, operator, inLaw("p1"), "")
			check(t, err)
			p.now = p.now.Add(time.Minute)
			sees("two have given consent", 2)
			m := p.merge(t, "p3", "p1")
			sees("merged with one who withdrew it", 1)
			p.unmerge(t, m.ID)
			sees("taken back", 2)
			m = p.merge(t, "p2", "p0")
			sees("merged into one who has said nothing", 2)
			p.unmerge(t, m.ID)
			sees("taken back", 2)
			again := p.merge(t, "p2", "p0")
			sees("merged again", 2)
			p.unmerge(t, again.ID)
		})
	}
}

// TestAMergeIsRefused when there is nothing to merge, or not these two.
func TestAMergeIsRefused(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			refused := func(code string, survivor, merged exchange.Subject) {
				t.Helper()
				if _, err := p.Merge(p.ctx, operator, survivor, merged, "same_card"); annona.CodeOf(err) != code {
					t.Errorf("refused with %v, want %s", err, code)
				}
			}
			refused("already_one", inLaw("p0"), inLaw("p0"))
			refused("not_found", inLaw("p0"), inLaw("nobody"))
			refused("merge_of_households", exchange.Subject{Source: "law", Key: "h0", Household: true}, inLaw("p0"))
			if _, err := p.Merge(p.ctx, operator, inLaw("p0"), inLaw("p1"), "Ama Mensah"); annona.CodeOf(err) != "code_malformed" {
				t.Errorf("a reason that is no code: %v", err)
			}
			if _, err := p.Merge(p.ctx, annona.Caller{}, inLaw("p0"), inLaw("p1"), "same_card"); annona.CodeOf(err) != "operator_only" {
				t.Errorf("not the operator: %v", err)
			}
			first := p.merge(t, "p0", "p1")
			refused("already_one", inLaw("p0"), inLaw("p1"))
			refused("merged_already", inLaw("p3"), inLaw("p1"))
			refused("merged_already", inLaw("p1"), inLaw("p3"))
			second := p.merge(t, "p3", "p0")
			if _, err := p.Unmerge(p.ctx, operator, first.ID); annona.CodeOf(err) != "merged_since" {
				t.Errorf("a merge below another one: %v", err)
			}
			p.unmerge(t, second.ID)
			p.unmerge(t, first.ID)
			if _, err := p.Unmerge(p.ctx, operator, first.ID); annona.CodeOf(err) != "unmerged_already" {
				t.Errorf("taken back twice: %v", err)
			}
			if _, err := p.Unmerge(p.ctx, operator, annona.NewUID()); annona.CodeOf(err) != "not_found" {
				t.Errorf("no merge: %v", err)
			}
			p.erase(t, inLaw("p3"))
			refused("erased_already", inLaw("p0"), inLaw("p3"))
		})
	}
}

// TestTheErasureOfASurvivorIsThatOfAll: the key of each is destroyed, and none comes back.
func TestTheErasureOfASurvivorIsThatOfAll(t *testing.T) {
	r := newRegistry(t, 0)
	keys := r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"), person(t, "c", "Esi", "weaver"))
	survey := func(key string) exchange.Subject { return exchange.Subject{Source: "survey", Key: key} }
	for _, pair := range [][2]string{{"a", "b"}, {"c", "a"}} {
		if _, err := r.Merge(t.Context(), operator, survey(pair[0]), survey(pair[1]), "same_card"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Erase(t.Context(), operator, survey("b"), "not_necessary"); err != nil { // by the key of one of them
		t.Fatal(err)
	}
	slices.Sort(keys.shredded)
	if got := slices.Compact(keys.shredded); !slices.Equal(got, []annona.Number{1, 2, 3}) {
		t.Errorf("keys of %v were destroyed", got)
	}
	r.wantSeen(t, map[string]string{})
	loaded := r.load(t, person(t, "a", "Ama", "miller"), person(t, "b", "Kofi", "miller"), person(t, "c", "Esi", "miller"))
	if loaded.Erased != 3 {
		t.Errorf("loaded again: %+v", loaded)
	}
	if merges, err := r.store.MergesOf(t.Context(), datasetOf(t, "individuals"), []annona.Number{1, 2, 3}); err != nil || merges != nil {
		t.Errorf("what is left of the merges: %v, %v", merges, err)
	}
}

// TestDisclosuresFollowAMerge: those of the merged record are told of the survivor, and those of the survivor from
// the time of the merge of the merged one, when that is on file again.
func TestDisclosuresFollowAMerge(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"))
	survey := func(key string) exchange.Subject { return exchange.Subject{Source: "survey", Key: key} }
	told := func(key string) (n int) {
		t.Helper()
		d, err := r.DisclosuresOf(t.Context(), operator, survey(key))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range d.All {
			if one.Verb == annona.VerbSearch {
				n++
			}
		}
		return n
	}
	look := func() {
		t.Helper()
		q := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"occupation"}}
		if _, err := r.Search(t.Context(), r.caller, q, 100, "", exchange.Form{}); err != nil {
			t.Fatal(err)
		}
	}
	look() // of both
	m, err := r.Merge(t.Context(), operator, survey("a"), survey("b"), "same_card")
	if err != nil {
		t.Fatal(err)
	}
	look() // of the survivor alone, with the data of both
	if a, b := told("a"), told("b"); a != 2 || b != 2 {
		t.Errorf("while they are one, %d and %d disclosures are told", a, b)
	}
	if _, err := r.Unmerge(t.Context(), operator, m.ID); err != nil {
		t.Fatal(err)
	}
	look()
	if a, b := told("a"), told("b"); a != 3 || b != 3 {
		t.Errorf("afterwards %d and %d disclosures are told", a, b)
	}
	r.verify(t)
}

// TestMatchCandidates proposes pairs, decides about them, and loads again.
func TestMatchCandidates(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			card := func(key, number string) annona.Record {
				r := member(key, "h0", "child")
				r.Groups = []annona.GroupItems{nationalID(number)}
				return r
			}
			clashes := []annona.Record{card("p1", "ID1"), card("p4", "ID1"), card("p5", "ID1")}
			p.put(t, clashes)
			find := func(when string, want exchange.Proposed) {
				t.Helper()
				if done, err := p.ProposeClashes(p.ctx, operator); err != nil || done != want {
					t.Errorf("%s: %+v, %v", when, done, err)
				}
			}
			open := func(state string) (all []exchange.Candidate) {
				t.Helper()
				check(t, p.Candidates(p.ctx, operator, state, "law", func(c exchange.Candidate) error { all = append(all, c); return nil }))
				return all
			}
			decide := func(c exchange.Candidate, state, code string) annona.Merge {
				t.Helper()
				m, err := p.DecideMatch(p.ctx, operator, c.ID, state, "looked_at", 0)
				if err != nil != (code != "") || err != nil && annona.CodeOf(err) != code {
					t.Errorf("decided %s: %v", state, err)
				}
				return m
			}
			find("three hold one card", exchange.Proposed{New: 3})
			find("once more", exchange.Proposed{Known: 3})
			pairs := open(exchange.MatchOpen)
			if len(pairs) != 3 || pairs[0].IDs[0] == "" || pairs[0].IDs[0] == pairs[0].IDs[1] {
				t.Fatalf("listed: %+v", pairs)
			}
			decide(pairs[0], exchange.MatchDifferent, "")
			decide(pairs[1], exchange.MatchUnsure, "")
			p.put(t, []annona.Record{changed(clashes[0], "marital_status", "married")})
			find("after another load", exchange.Proposed{Known: 2, Decided: 1})

			m := decide(pairs[2], exchange.MatchSame, "")
			decide(pairs[2], exchange.MatchSame, "decided_already")
			find("two are one, of whom one is known to be different from the third", exchange.Proposed{Decided: 1})
			if _, err := p.Merge(p.ctx, operator, inLaw("p1"), inLaw("p4"), "same_card"); annona.CodeOf(err) != "decided_different" {
				t.Errorf("merged although different: %v", err)
			}
			p.unmerge(t, m.ID)
			if again := open(exchange.MatchOpen); len(again) != 1 || again[0].ID != pairs[2].ID {
				t.Errorf("open again: %+v", again)
			}

			engine := func(score float64, a, b string) exchange.Match {
				return exchange.Match{A: inLaw(a), B: inLaw(b), Score: score, Engine: "linker", Evidence: "same_name"}
			}
			rejected := map[int]string{}
			done, err := p.Propose(p.ctx, operator, []exchange.Match{
				engine(0.5, "p0", "p3"), engine(0.7, "p3", "p0"), engine(2, "p0", "p2"), engine(1, "p0", "nobody"), engine(1, "p0", "p0"), {A: inLaw("p0"), B: inLaw("p2"), Engine: "No code"},
			}, func(at int, err error) { rejected[at] = annona.CodeOf(err) })
			check(t, err)
			if done != (exchange.Proposed{New: 1, Known: 1, Decided: 1}) || fmt.Sprint(rejected) != "map[2:score_out_of_range 3:not_found 5:code_malformed]" {
				t.Errorf("proposed: %+v, rejected: %v", done, rejected)
			}
			p.erase(t, inLaw("p0"))
			for _, c := range open("") {
				if c.A == 1 || c.B == 1 {
					t.Errorf("a candidate of somebody who was erased: %+v", c)
				}
			}
		})
	}
}
