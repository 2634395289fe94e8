package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// house and somebody name the records of small.
func house(key string) exchange.Subject { return exchange.Subject{Source: "law", Key: key} }

func somebody(key string) exchange.Subject { return exchange.Subject{Source: "law", Key: key} }

var because = exchange.Why{Reason: "test"}

// lives tells of everybody on file where they live, by numbers: the household, the role, + where it is not
// the primary one. The marker ! stands where the registry has decided.
func (p *place) lives(t *testing.T) (all []string) {
	t.Helper()
	d, _ := annona.Standard().Dataset("individuals")
	last, err := p.store.LastNumber(p.ctx, d)
	check(t, err)
	enough := errors.New("enough")
	err = p.store.Update(p.ctx, func(tx annona.Tx) error {
		all = nil
		for n := annona.Number(1); n <= last; n++ {
			known, err := tx.Hold(p.ctx, d, []annona.Number{n})
			if err != nil {
				return err
			}
			if known[0].Version == 0 || known[0].Deleted {
				continue
			}
			line := fmt.Sprintf("p%d", n-1)
			for _, m := range known[0].Memberships {
				if m.EndDate != "" && m.EndDate <= annona.DateOf(p.now) {
					continue
				}
				line += fmt.Sprintf(" h%d%s%s", m.Household-1, strings.Repeat(":", min(1, len(m.Role))), m.Role)
				if m.NotPrimary {
					line += "+"
				}
				if m.Decided {
					line += "!"
				}
			}
			all = append(all, line)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return all
}

func (p *place) wantLives(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.lives(t)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// report loads records and returns the report of the load.
func (p *place) report(t *testing.T, records ...annona.Record) exchange.LoadReport {
	t.Helper()
	return p.loaded(t, records...).Report
}

// loaded loads records a day later, and returns the load.
func (p *place) loaded(t *testing.T, records ...annona.Record) exchange.LoadInfo {
	t.Helper()
	p.now = p.now.AddDate(0, 0, 1)
	l, err := p.StartLoad(p.ctx, operator, "law", nil)
	check(t, err)
	houses, people := apart(records)
	_, err = l.Put(p.ctx, houses, people)
	check(t, err)
	_, err = l.Finish(p.ctx)
	check(t, err)
	check(t, p.settle())
	info, err := p.ShowLoad(p.ctx, operator, l.ID())
	check(t, err)
	return info
}

// headless returns the numbers of the households that are flagged to have no head.
func (p *place) headless(t *testing.T) (all []string) {
	t.Helper()
	caller, err := p.admit("law")
	check(t, err)
	q := exchange.Question{Dataset: "households", Purpose: lawPurpose, Fields: []string{"household_id"}, Filter: `"no_head" in household.quality_flags`}
	answer, err := p.Search(p.ctx, caller, q, 100, "", exchange.Form{})
	check(t, err)
	if answer.Page != nil {
		for _, n := range answer.Page.Page().Numbers {
			all = append(all, fmt.Sprintf("h%d", n-1))
		}
	}
	return all
}

type verb func(context.Context, *place) (exchange.Edited, error)

func split(home string, members ...string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		s := exchange.Split{Household: house(home), Why: because}
		for _, m := range members {
			s.Members = append(s.Members, somebody(m))
		}
		return p.SplitHousehold(ctx, operator, s)
	}
}

func merged(from, into string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.MergeHouseholds(ctx, operator, exchange.HouseholdMerge{From: house(from), Into: house(into), Why: because})
	}
}

func head(of, who, former string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.ChangeHead(ctx, operator, exchange.HeadChange{Household: house(of), Head: somebody(who), FormerRole: former, Why: because})
	}
}

func join(who, where, role string, primary bool) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.JoinHousehold(ctx, operator, exchange.Join{Individual: somebody(who), Household: house(where), Role: role, Primary: primary, Why: because})
	}
}

func leave(who, where string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.LeaveHousehold(ctx, operator, exchange.Leave{Individual: somebody(who), Household: house(where), Why: because})
	}
}

func primary(who, where string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.ChangePrimary(ctx, operator, exchange.PrimaryChange{Individual: somebody(who), Household: house(where), Why: because})
	}
}

func move(which, area string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.MoveHousehold(ctx, operator, exchange.Move{Household: house(which), Area: area, Why: because})
	}
}

func birth(mother string) verb {
	return func(ctx context.Context, p *place) (exchange.Edited, error) {
		return p.RecordBirth(ctx, operator, exchange.Birth{Mother: somebody(mother), Values: []exchange.Assignment{{Field: "sex", Text: "female"}}, Why: because})
	}
}

// hamlet is small, a day later, with the areas that it lies in.
func hamlet(t *testing.T, g ground) *place {
	t.Helper()
	p := small(t, g)
	p.agree(t, func(a *annona.Agreement) { a.Datasets["quality_flags"] = a.Datasets["households"] })
	_, err := p.ImportAreas(p.ctx, operator, []annona.Area{{Code: "XA"}, {Code: "XA-1", Parent: "XA", Level: 1}, {Code: "XA-2", Parent: "XA", Level: 1}})
	check(t, err)
	p.now = p.now.AddDate(0, 0, 1)
	return p
}

// TestHouseholdVerbs does one thing after the other to the three households and looks where everybody lives,
// which households have no head, and that an undo of the last one brings back what was.
func TestHouseholdVerbs(t *testing.T) {
	before := []string{"p0 h0:head", "p1 h0:child", "p2 h1:head", "p3 h2:head"}
	for _, g := range grounds(t) {
		for _, c := range []struct {
			name     string
			do       []verb
			want     []string
			headless []string
		}{
			{"a child splits off", []verb{split("h0", "p1")}, []string{"p0 h0:head", "p1 h3:child", "p2 h1:head", "p3 h2:head"}, []string{"h3"}},
			{"a head splits off", []verb{split("h0", "p0")}, []string{"p0 h3:head", "p1 h0:child", "p2 h1:head", "p3 h2:head"}, []string{"h0"}},
			{"who is left becomes the head", []verb{split("h0", "p0"), head("h0", "p1", "")}, []string{"p0 h3:head", "p1 h0:head!", "p2 h1:head", "p3 h2:head"}, nil},
			{"two households merge", []verb{merged("h2", "h1")}, []string{"p0 h0:head", "p1 h0:child", "p2 h1:head", "p3 h1"}, nil},
			{"merged into one that splits again", []verb{merged("h0", "h1"), split("h1", "p1")}, []string{"p0 h1", "p1 h3:child", "p2 h1:head", "p3 h2:head"}, []string{"h3"}},
			{"another head", []verb{head("h0", "p1", "parent")}, []string{"p0 h0:parent!", "p1 h0:head!", "p2 h1:head", "p3 h2:head"}, nil},
			{"a second household", []verb{join("p1", "h1", "child", false)}, []string{"p0 h0:head", "p1 h0:child h1:child+", "p2 h1:head", "p3 h2:head"}, nil},
			{"a second household comes first", []verb{join("p1", "h1", "child", true)}, []string{"p0 h0:head", "p1 h0:child+! h1:child", "p2 h1:head", "p3 h2:head"}, nil},
			{"the first one ends", []verb{join("p1", "h1", "child", false), leave("p1", "h0")}, []string{"p0 h0:head", "p1 h1:child", "p2 h1:head", "p3 h2:head"}, nil},
			{"the second becomes the first", []verb{join("p1", "h1", "", false), primary("p1", "h1")}, []string{"p0 h0:head", "p1 h0:child+! h1", "p2 h1:head", "p3 h2:head"}, nil},
			{"without a household", []verb{leave("p3", "h2")}, []string{"p0 h0:head", "p1 h0:child", "p2 h1:head", "p3"}, nil},
			{"a head leaves", []verb{leave("p0", "h0")}, []string{"p0", "p1 h0:child", "p2 h1:head", "p3 h2:head"}, []string{"h0"}},
			{"a birth", []verb{birth("p0")}, []string{"p0 h0:head", "p1 h0:child", "p2 h1:head", "p3 h2:head", "p4 h0:child"}, nil},
			{"a birth to a child", []verb{birth("p1")}, []string{"p0 h0:head", "p1 h0:child", "p2 h1:head", "p3 h2:head", "p4 h0:grandchild"}, nil},
			{"a birth without a household", []verb{leave("p3", "h2"), birth("p3")}, []string{"p0 h0:head", "p1 h0:child", "p2 h1:head", "p3", "p4"}, nil},
			{"a move", []verb{move("h0", "XA-2")}, before, nil},
		} {
			t.Run(g.name+"/"+c.name, func(t *testing.T) {
				p := hamlet(t, g)
				people := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"individual_id", "household_id", "area_code", "role", "sex"}})
				houses := p.tail(t, exchange.Question{Dataset: "households", Fields: []string{"household_id", "area_code", "member_count", "members", "quality_flags"}})
				var hadPeople, hadHouses map[string]string
				var hadLives []string
				var last exchange.Edited
				for _, do := range c.do {
					check(t, p.settle())
					people.read()
					houses.read()
					hadPeople, hadHouses, hadLives = maps.Clone(people.has), maps.Clone(houses.has), p.lives(t)
					e, err := do(p.ctx, p)
					check(t, err)
					last = e
				}
				check(t, p.settle())
				p.wantLives(t, "afterwards", c.want...)
				if got := p.headless(t); !slices.Equal(got, c.headless) {
					t.Errorf("households without a head: %v, want %v", got, c.headless)
				}
				if kinds := append(people.read(), houses.read()...); len(kinds) == 0 {
					t.Error("nobody was told")
				}
				info, err := p.UndoLoad(p.ctx, operator, last.Load)
				check(t, err)
				if info.Report.ChangedSince > 0 {
					t.Errorf("not undone: %+v", info.Report)
				}
				check(t, p.settle())
				p.wantLives(t, "undone", hadLives...)
				people.read()
				houses.read()
				if diff := cmp.Diff(hadPeople, people.has); diff != "" {
					t.Errorf("people, undone (-before +after):\n%s", diff)
				}
				if diff := cmp.Diff(hadHouses, houses.has); diff != "" {
					t.Errorf("households, undone (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// TestHouseholdVerbsRefuse names what is refused, and that nothing of it is written.
func TestHouseholdVerbsRefuse(t *testing.T) {
	for _, g := range grounds(t) {
		p := hamlet(t, g)
		check(t, p.settle())
		state, err := p.store.LogState(p.ctx)
		check(t, err)
		for _, c := range []struct {
			name, code string
			do         verb
		}{
			{"nobody leaves", "split_nobody", split("h0")},
			{"nobody stays", "split_everybody", split("h0", "p0", "p1")},
			{"one of another household", "not_a_member", split("h0", "p2")},
			{"one twice, and all", "split_everybody", split("h2", "p3", "p3")},
			{"an unknown household", "not_found", split("h9", "p1")},
			{"an unknown member", "not_found", split("h0", "p9")},
			{"merged with itself", "merge_itself", merged("h0", "h0")},
			{"a head from elsewhere", "not_a_member", head("h0", "p2", "")},
			{"a former head who stays head", "two_heads", head("h0", "p1", "head")},
			{"an unknown role", "code_unknown", head("h0", "p1", "chief")},
			{"two heads", "two_heads", join("p1", "h1", "head", false)},
			{"a member already", "member_already", join("p1", "h0", "child", false)},
			{"no member", "not_a_member", leave("p1", "h1")},
			{"no household of theirs", "not_a_member", primary("p1", "h1")},
			{"an unknown area", "area_unknown", move("h0", "XA-9")},
			{"no area", "area_unknown", move("h0", "")},
			{"no reason", "reason_malformed", func(ctx context.Context, p *place) (exchange.Edited, error) {
				return p.LeaveHousehold(ctx, operator, exchange.Leave{Individual: somebody("p1"), Household: house("h0")})
			}},
			{"a day to come", "day_to_come", func(ctx context.Context, p *place) (exchange.Edited, error) {
				return p.LeaveHousehold(ctx, operator, exchange.Leave{Individual: somebody("p1"), Household: house("h0"), Why: exchange.Why{Reason: "test", Day: "2999-01-01"}})
			}},
			{"a client", "operator_only", func(ctx context.Context, p *place) (exchange.Edited, error) {
				return p.RecordBirth(ctx, annona.Caller{Client: annona.NewUID(), Strength: annona.StrengthAPIKey}, exchange.Birth{Mother: somebody("p0"), Why: because})
			}},
		} {
			if _, err := c.do(p.ctx, p); annona.CodeOf(err) != c.code {
				t.Errorf("%s, %s: %v, want %s", g.name, c.name, err, c.code)
			}
		}
		check(t, p.settle())
		if now, err := p.store.LogState(p.ctx); err != nil || now.Head != state.Head {
			t.Errorf("%s: refused, and the log went from %d to %d, %v", g.name, state.Head, now.Head, err)
		}
		if loads, err := p.ListLoads(p.ctx, operator, annona.OwnSource, 10); err != nil || len(loads) != 0 {
			t.Errorf("%s: refused, and on file are %d loads, %v", g.name, len(loads), err)
		}
	}
}

// TestMergedIndividualsAreNotEdited: nobody could say whose word an edit of somebody changes whom several
// records tell of. Neither is a household that they are members of, but where only its own word changes.
func TestMergedIndividualsAreNotEdited(t *testing.T) {
	set := func(household bool, key string, a ...exchange.Assignment) verb {
		return func(ctx context.Context, p *place) (exchange.Edited, error) {
			return p.Set(ctx, operator, exchange.Setting{Record: exchange.Subject{Source: "law", Key: key, Household: household}, Values: a, Why: because})
		}
	}
	male, poor := exchange.Assignment{Field: "sex", Text: "male"}, exchange.Assignment{Field: "poverty_score", Text: "12"}
	for _, g := range grounds(t) {
		p := hamlet(t, g)
		m := p.merge(t, "p0", "p1") // p0 is head of h0, p1 a child there
		check(t, p.settle())
		state, err := p.store.LogState(p.ctx)
		check(t, err)
		verbs := []struct {
			name string
			do   verb
		}{
			{"set", set(false, "p0", male)},
			{"set by the key of the other record", set(false, "p1", male)},
			{"split", split("h0", "p0")},
			{"their household merged into another one", merged("h0", "h1")},
			{"another household merged into theirs", merged("h1", "h0")},
			{"head", head("h0", "p1", "")},
			{"join", join("p0", "h1", "", false)},
			{"somebody else joins theirs", join("p2", "h0", "", false)},
			{"leave", leave("p0", "h0")},
			{"primary", primary("p0", "h0")},
			{"birth", birth("p0")},
		}
		for _, v := range verbs {
			if _, err := v.do(p.ctx, p); annona.CodeOf(err) != "individual_merged" {
				t.Errorf("%s, %s: %v", g.name, v.name, err)
			}
		}
		check(t, p.settle())
		if now, err := p.store.LogState(p.ctx); err != nil || now.Head != state.Head {
			t.Errorf("%s: refused, and the log went from %d to %d, %v", g.name, state.Head, now.Head, err)
		}
		for _, do := range []verb{move("h0", "XA-2"), set(true, "h0", poor)} {
			_, err := do(p.ctx, p)
			check(t, err)
		}
		p.unmerge(t, m.ID)
		for _, v := range verbs[:2] {
			if _, err := v.do(p.ctx, p); err != nil {
				t.Errorf("%s, %s: not merged any more: %v", g.name, v.name, err)
			}
		}
	}
}

// TestSourcesAfterEdits lets the source speak after the registry has decided: what it repeats changes nothing,
// what it says against the decision is flagged, and when it says the same it is heard again.
func TestSourcesAfterEdits(t *testing.T) {
	flagged := func(n int) map[string]int { return map[string]int{"individuals.memberships": n} }
	news := func(key, home, role string) annona.Record {
		return changed(member(key, home, role), "marital_status", "married") // an unchanged row would not be looked at
	}
	for _, g := range grounds(t) {
		run := func(name string, do verb, f func(t *testing.T, p *place)) {
			t.Run(g.name+"/"+name, func(t *testing.T) {
				p := hamlet(t, g)
				_, err := do(p.ctx, p)
				check(t, err)
				f(t, p)
			})
		}
		says := func(t *testing.T, p *place, outside map[string]int, records ...annona.Record) {
			t.Helper()
			if r := p.report(t, records...); !maps.Equal(r.OutsideAuthority, outside) {
				t.Errorf("against a decision: %v, want %v", r.OutsideAuthority, outside)
			}
		}
		run("a split", split("h0", "p1"), func(t *testing.T, p *place) {
			if r := p.report(t, member("p1", "h0", "child")); r.Unchanged != 1 {
				t.Errorf("repeated: %+v", r)
			}
			says(t, p, flagged(1), news("p1", "h0", "child"))
			p.wantLives(t, "the source knows nothing of it", "p0 h0:head", "p1 h3:child", "p2 h1:head", "p3 h2:head")
			says(t, p, flagged(1), member("p1", "h1", "child")) // it has moved, says the source
			p.wantLives(t, "the source says something else", "p0 h0:head", "p1 h3:child h1:child+", "p2 h1:head", "p3 h2:head")
			says(t, p, flagged(1), news("p1", "h0", "child"))
			p.wantLives(t, "and comes back to it", "p0 h0:head", "p1 h3:child h0:child+", "p2 h1:head", "p3 h2:head")
		})
		run("somebody moves to a household that the source knows", func(ctx context.Context, p *place) (exchange.Edited, error) {
			if _, err := leave("p1", "h0")(ctx, p); err != nil {
				return exchange.Edited{}, err
			}
			return join("p1", "h1", "child", false)(ctx, p)
		}, func(t *testing.T, p *place) {
			says(t, p, flagged(1), news("p1", "h0", "child"))
			says(t, p, nil, member("p1", "h1", "child"))
			p.wantLives(t, "the source has caught up", "p0 h0:head", "p1 h1:child", "p2 h1:head", "p3 h2:head")
			says(t, p, nil, news("p1", "h2", "child"))
			p.wantLives(t, "its word counts again", "p0 h0:head", "p1 h2:child", "p2 h1:head", "p3 h2:head")
		})
		run("another head", head("h0", "p1", "parent"), func(t *testing.T, p *place) {
			says(t, p, flagged(2), news("p0", "h0", "head"), news("p1", "h0", "child"))
			p.wantLives(t, "the source knows nothing of it", "p0 h0:parent!", "p1 h0:head!", "p2 h1:head", "p3 h2:head")
			says(t, p, nil, member("p0", "h0", "parent"), member("p1", "h0", "head"))
			p.wantLives(t, "the source has caught up", "p0 h0:parent", "p1 h0:head", "p2 h1:head", "p3 h2:head")
		})
		run("a merge", merged("h2", "h1"), func(t *testing.T, p *place) {
			same := newRecord("households", "h2", "area_code", "XA-2", "poverty_score", "60")
			if r := p.report(t, same, member("p3", "h2", "head")); r.Unchanged != 2 || r.Restored+r.Changed != 0 {
				t.Errorf("repeated: %+v", r)
			}
			if r := p.report(t, changed(same, "poverty_score", "1")); r.Unchanged != 1 || r.Restored+r.Changed != 0 {
				t.Errorf("of a household that is no more: %+v", r)
			}
			says(t, p, flagged(1), news("p3", "h2", "head"), member("p4", "h2", "child"))
			p.wantLives(t, "who lives there lives in the other one", "p0 h0:head", "p1 h0:child", "p2 h1:head", "p3 h1!", "p4 h1:child")
		})
		run("somebody without a household", leave("p3", "h2"), func(t *testing.T, p *place) {
			says(t, p, flagged(1), news("p3", "h2", "head"))
			p.wantLives(t, "the source still reports it", "p0 h0:head", "p1 h0:child", "p2 h1:head", "p3")
			alone := member("p3", "h2", "head")
			alone.Memberships = nil
			says(t, p, nil, alone)
			says(t, p, nil, news("p3", "h2", "head"))
			p.wantLives(t, "it came back after the source had heard of it", "p0 h0:head", "p1 h0:child", "p2 h1:head", "p3 h2:head")
		})
		run("a move", move("h0", "XA-2"), func(t *testing.T, p *place) {
			says(t, p, map[string]int{"households.area_code": 1}, newRecord("households", "h0", "area_code", "XA-1", "poverty_score", "11"))
			q := exchange.Question{Dataset: "households", Purpose: lawPurpose, Fields: []string{"area_code", "poverty_score"}}
			caller, err := p.admit("law")
			check(t, err)
			answer, err := p.Search(p.ctx, caller, q, 1, "", exchange.Form{})
			check(t, err)
			if page := answer.Page.Page(); string(page.Cell(0, 0))+string(page.Cell(1, 0)) != "XA-211" {
				t.Errorf("the area is %s, the score %s", page.Cell(0, 0), page.Cell(1, 0))
			}
		})
	}
}

// TestHeadsThatLoadsTellOf lets the source say that people have died, and who is head after them: a household is
// without a head as long as nobody has been named, and an undo brings back what was.
func TestHeadsThatLoadsTellOf(t *testing.T) {
	dead := func(key, home, role string) annona.Record {
		r := newRecord("individuals", key, "sex", "female", "date_of_birth", "1950-03-02", "date_of_death", "2024-02-20")
		r.Memberships = []annona.Membership{{HouseholdKey: home, Role: role}}
		return r
	}
	deceased := func(key, home, role string) annona.Record {
		r := newRecord("individuals", key, "sex", "female", "date_of_birth", "1950-03-02", "vital_status", "deceased")
		r.Memberships = []annona.Membership{{HouseholdKey: home, Role: role}}
		return r
	}
	home := func(score string) annona.Record {
		return newRecord("households", "h0", "area_code", "XA-1", "poverty_score", score)
	}
	for _, g := range grounds(t) {
		for _, c := range []struct {
			name     string
			loads    [][]annona.Record
			headless []string
			changed  int // by the last load
		}{
			{"a head dies", [][]annona.Record{{dead("p0", "h0", "head")}}, []string{"h0"}, 2},
			{"a head whose day of death nobody knows", [][]annona.Record{{deceased("p0", "h0", "head")}}, []string{"h0"}, 2},
			{"told again", [][]annona.Record{{dead("p0", "h0", "head")}, {dead("p0", "h0", "head")}}, []string{"h0"}, 0},
			{"with its household", [][]annona.Record{{home("11"), dead("p0", "h0", "head")}}, []string{"h0"}, 3},
			{"somebody else dies", [][]annona.Record{{dead("p1", "h0", "child")}}, nil, 1},
			{"nobody is left", [][]annona.Record{{dead("p3", "h2", "head")}}, nil, 1},
			{"another head, at once", [][]annona.Record{{dead("p0", "h0", "head"), member("p1", "h0", "head")}}, nil, 2},
			{"another head, later", [][]annona.Record{{dead("p0", "h0", "head")}, {member("p1", "h0", "head")}}, nil, 2},
			{"a head who comes on file, with the household", [][]annona.Record{{dead("p0", "h0", "head")}, {home("12"), member("p8", "h0", "head")}}, nil, 2},
			{"a head who comes on file alone", [][]annona.Record{{dead("p0", "h0", "head")}, {member("p8", "h0", "head")}}, nil, 1},
		} {
			t.Run(g.name+"/"+c.name, func(t *testing.T) {
				p := hamlet(t, g)
				before := p.lives(t)
				var last exchange.LoadInfo
				for _, records := range c.loads {
					last = p.loaded(t, records...)
				}
				if got := p.headless(t); !slices.Equal(got, c.headless) || last.Report.Changed != c.changed {
					t.Errorf("households without a head: %v, want %v; %d changed, want %d", got, c.headless, last.Report.Changed, c.changed)
				}
				if len(c.loads) > 1 {
					return
				}
				undone, err := p.UndoLoad(p.ctx, operator, last.ID)
				check(t, errors.Join(err, p.settle()))
				if got := p.headless(t); len(got) > 0 || undone.Report.ChangedSince > 0 {
					t.Errorf("undone, households without a head: %v, %+v", got, undone.Report)
				}
				p.wantLives(t, "undone", before...)
			})
		}
	}
}

// TestWaitingForTheSource ends change requests that wait for their source in each of the three ways: its load says
// what was asked, somebody says that it will not, or its time is over.
func TestWaitingForTheSource(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := hamlet(t, g)
			p.agree(t, func(a *annona.Agreement) {
				a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"marital_status"}}}
			})
			declared, err := annona.Standard().Extend(annona.Extension{Country: "XA", Authorities: []annona.Authority{{Dataset: "individuals", Field: "marital_status", Source: "law"}}})
			check(t, err)
			p.UseDictionary(declared)
			caller, err := p.admit("law")
			check(t, err)
			q := exchange.Question{Dataset: "individuals", Purpose: lawPurpose, Fields: []string{"individual_id", "marital_status"}}
			page, err := p.Search(p.ctx, caller, q, 3, "", exchange.Form{})
			check(t, err)
			page.Sent(3, nil)
			asked := make([]string, 3)
			for n := range asked {
				id := string(page.Page.Page().Cell(0, n))
				read, err := p.Get(p.ctx, caller, q, id, exchange.Form{Format: "json"})
				check(t, err)
				read.Sent(1, nil)
				done, err := p.Update(p.ctx, caller, exchange.Update{
					Question: q, ID: id, Read: read.ETag, Values: []exchange.Assignment{{Field: "marital_status", Text: "widowed"}}, Key: fmt.Sprint("key-", n),
				}, exchange.Form{Format: "json"})
				check(t, err)
				if asked[n] = done.Record.String(); done.Verdict != exchange.VerdictQueued {
					t.Fatalf("the verdict is %s", done.Verdict)
				}
			}
			want := func(when string, states ...string) {
				t.Helper()
				check(t, p.SettleChangeRequests(p.ctx))
				for n, state := range states {
					shown, err := p.ShowChangeRequest(p.ctx, caller, lawPurpose, asked[n], false)
					check(t, err)
					shown.Sent(1, nil)
					if shown.State != state || (state == exchange.RequestAtSource) != shown.DecidedAt.IsZero() {
						t.Errorf("%s, request %d is %s since %v, want %s", when, n, shown.State, shown.DecidedAt, state)
					}
				}
			}
			want("at first", "pending_at_source", "pending_at_source", "pending_at_source")
			p.report(t, changed(member("p0", "h0", "head"), "marital_status", "divorced"))
			want("behind a load that says something else", "pending_at_source", "pending_at_source", "pending_at_source")
			p.report(t, changed(member("p0", "h0", "head"), "marital_status", "widowed"))
			want("behind a load that says it", "confirmed", "pending_at_source", "pending_at_source")
			_, _, err = p.DecideChangeRequest(p.ctx, operator, exchange.Ruling{ID: asked[1], Approve: true, Reason: "seen"})
			if annona.CodeOf(err) == "" {
				t.Error("somebody here has approved what a source decides")
			}
			state, _, err := p.DecideChangeRequest(p.ctx, operator, exchange.Ruling{ID: asked[1], Reason: "source_refuses"})
			if check(t, err); state != "declined" {
				t.Errorf("declined: %s", state)
			}
			p.now = p.now.AddDate(0, 0, 86)
			want("on the last days", "confirmed", "declined", "pending_at_source")
			p.now = p.now.AddDate(0, 0, 3)
			want("when the time is over", "confirmed", "declined", "timed_out")
			p.report(t, changed(member("p2", "h1", "head"), "marital_status", "widowed"))
			want("behind a load that comes too late", "confirmed", "declined", "timed_out")
		})
	}
}

// TestSet says what fields are, and what is refused.
func TestSet(t *testing.T) {
	for _, g := range grounds(t) {
		p := hamlet(t, g)
		set := func(household bool, key string, pairs ...string) error {
			s := exchange.Setting{Record: exchange.Subject{Source: "law", Key: key, Household: household}, Why: because}
			for i := 0; i < len(pairs); i += 2 {
				s.Values = append(s.Values, exchange.Assignment{Field: pairs[i], Text: pairs[i+1]})
			}
			_, err := p.Set(p.ctx, operator, s)
			return err
		}
		for _, c := range []struct {
			code  string
			house bool
			key   string
			pairs []string
		}{
			{"unknown_field", false, "p0", []string{"colour", "red"}},
			{"code_unknown", false, "p0", []string{"sex", "blue"}},
			{"date_malformed", false, "p0", []string{"date_of_birth", "2006-02-30"}},
			{"field_not_set", false, "p0", []string{"household_id", "h1"}},
			{"field_not_set", false, "p0", []string{"identifiers", "1"}},
			{"field_twice", false, "p0", []string{"sex", "male", "sex", "female"}},
			{"nothing_said", false, "p0", nil},
			{"text_malformed", false, "p0", []string{"full_name", "A\x00"}},
			{"area_unknown", true, "h0", []string{"area_code", "XA-9"}},
			{"not_found", false, "p9", []string{"sex", "male"}},
		} {
			if err := set(c.house, c.key, c.pairs...); annona.CodeOf(err) != c.code {
				t.Errorf("%s, %v: %v, want %s", g.name, c.pairs, err, c.code)
			}
		}
		check(t, set(false, "p0", "marital_status", "widowed"))
		r := p.report(t, changed(member("p0", "h0", "head"), "date_of_birth", "2006-03-03"))
		if want := map[string]int{"individuals.marital_status": 1}; !maps.Equal(r.OutsideAuthority, want) {
			t.Errorf("%s: against it: %v", g.name, r.OutsideAuthority)
		}
		status := func() string {
			t.Helper()
			caller, err := p.admit("law")
			check(t, err)
			answer, err := p.Search(p.ctx, caller, exchange.Question{Dataset: "individuals", Purpose: lawPurpose, Fields: []string{"marital_status"}}, 1, "", exchange.Form{})
			check(t, err)
			return string(answer.Page.Page().Cell(0, 0))
		}
		if got := status(); got != "widowed" {
			t.Errorf("%s: a load has taken the word of a person: %s", g.name, got)
		}
		check(t, set(false, "p0", "marital_status", ""))
		if p.report(t, member("p0", "h0", "head")); status() != "single" {
			t.Errorf("%s: taken back, and it is %s", g.name, status())
		}
	}
}
