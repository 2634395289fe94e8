package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// small opens a registry of three households: a head and a child in the first, who is the parent
// of somebody in the second, and one alone in the third.
func small(t *testing.T, g ground) *place {
	t.Helper()
	p, err := g.open(t.Context())
	check(t, err)
	t.Cleanup(func() { check(t, p.store.Close()) })
	p.agree(t, nil)
	p.put(t, []annona.Record{
		newRecord("households", "h0", "area_code", "XA-1", "poverty_score", "10"),
		newRecord("households", "h1", "area_code", "XA-2", "poverty_score", "40"),
		newRecord("households", "h2", "area_code", "XA-2", "poverty_score", "60"),
	}, []annona.Record{member("p0", "h0", "head"), member("p1", "h0", "child"), relative(member("p2", "h1", "head"), "p0"), member("p3", "h2", "head")})
	return p
}

func member(key, household, role string) annona.Record {
	r := newRecord("individuals", key, "sex", "female", "date_of_birth", "2006-03-02", "marital_status", "single")
	r.Memberships = []annona.Membership{{HouseholdKey: household, Role: role}}
	return r
}

func relative(r annona.Record, of string) annona.Record {
	r.Relationships = []annona.Relationship{{ToKey: of, Type: "child"}}
	return r
}

func changed(r annona.Record, field, text string) annona.Record {
	f, _ := r.Dataset.Field(field)
	for i := range r.Values {
		if r.Values[i].Field == f {
			r.Values[i].Text = text
		}
	}
	return r
}

func (p *place) put(t *testing.T, records ...[]annona.Record) {
	t.Helper()
	l, err := p.StartLoad(p.ctx, operator, "law", nil)
	check(t, err)
	_, err = l.Put(p.ctx, records...)
	check(t, err)
	check(t, p.settle())
}

func (p *place) erase(t *testing.T, s exchange.Subject) {
	t.Helper()
	_, err := p.Erase(p.ctx, operator, s, "not_necessary")
	check(t, err)
}

func (p *place) agree(t *testing.T, change func(*annona.Agreement)) {
	t.Helper()
	everything := annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}}
	a := annona.Agreement{
		Name: "law", Realm: "law", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "Program", Country: "XA"},
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31", Purposes: []annona.PurposeTerms{{Code: lawPurpose, Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{"individuals": everything, "households": everything, "memberships": everything, "relationships": everything},
		APIKey:   &annona.CredentialTerms{Reason: "tests read everything"},
	}
	if change != nil {
		change(&a)
	}
	_, err := p.ApplyAgreement(p.ctx, operator, a)
	check(t, err)
}

// tail is a follower who applies what it is told.
type tail struct {
	*testing.T
	place    *place
	caller   annona.Caller
	question exchange.Question
	token    string
	has      map[string]string
}

func (p *place) tail(t *testing.T, q exchange.Question) *tail {
	t.Helper()
	caller, err := p.admit("law")
	check(t, err)
	q.Purpose, q.NilReasons = lawPurpose, true
	f := &tail{T: t, place: p, caller: caller, question: q, has: map[string]string{}}
	f.read()
	return f
}

// read follows to the end and returns the kinds of the changes, in order.
func (f *tail) read() (kinds []string) {
	f.Helper()
	for more := true; more; {
		changes, err := f.ask(f.token, 2)
		check(f.T, err)
		kinds = append(kinds, f.apply(changes)...)
		f.token, more = changes.Next, changes.More
	}
	slices.Sort(kinds)
	return kinds
}

func (f *tail) ask(token string, limit int) (*exchange.Changes, error) {
	check(f.T, f.place.settle())
	changes, err := f.place.Follow(f.Context(), f.caller, f.question, token, limit, 0, exchange.Form{Format: "json"})
	if err == nil {
		changes.Sent(int64(len(changes.List)), nil)
	}
	return changes, err
}

func (f *tail) apply(changes *exchange.Changes) (kinds []string) {
	for _, c := range changes.List {
		kinds = append(kinds, string(c.Kind))
		if c.Kind.Gone() {
			delete(f.has, string(changes.IDs.Page().Cell(0, c.Row)))
			continue
		}
		id, text := rowText(changes.Records, c.Row)
		f.has[id] = text
	}
	return kinds
}

// fresh is what a search finds.
func (f *tail) fresh() map[string]string {
	f.Helper()
	answer, err := f.place.Search(f.Context(), f.caller, f.question, exchange.MaxLimit, "", exchange.Form{})
	check(f.T, err)
	found := map[string]string{}
	for row := range answer.Page.Count() {
		id, text := rowText(answer.Page, row)
		found[id] = text
	}
	return found
}

// moves are what may move a view, one at a time, and what a follower of each dataset is told.
var moves = []struct {
	name                    string
	do                      func(t *testing.T, p *place)
	individuals, households []string
}{
	{"nothing", func(*testing.T, *place) {}, nil, nil},
	{"a person's record", func(t *testing.T, p *place) {
		p.put(t, nil, []annona.Record{changed(member("p3", "h2", "head"), "marital_status", "married")})
	}, []string{"upsert"}, []string{"upsert"}},
	{"a household's area", func(t *testing.T, p *place) {
		p.put(t, []annona.Record{newRecord("households", "h0", "area_code", "XA-2", "poverty_score", "10")})
	}, []string{"upsert", "upsert"}, []string{"upsert"}},
	{"a new person", func(t *testing.T, p *place) { p.put(t, nil, []annona.Record{member("p4", "h2", "child")}) }, []string{"entered_scope"}, []string{"upsert"}},
	{"a move", func(t *testing.T, p *place) { p.put(t, nil, []annona.Record{member("p1", "h2", "child")}) }, []string{"upsert"}, []string{"upsert", "upsert"}},
	{"the last one moves out", func(t *testing.T, p *place) { p.put(t, nil, []annona.Record{member("p3", "h0", "child")}) }, []string{"upsert"}, []string{"left_scope", "upsert"}},
	{"somebody whom another one names is restricted", func(t *testing.T, p *place) {
		_, err := p.Restrict(p.ctx, operator, exchange.Subject{Source: "law", Key: "p0"}, annona.Restriction{Kind: annona.KindRestriction})
		check(t, err)
	}, []string{"left_scope", "upsert"}, []string{"upsert", "upsert"}},
	{"somebody will be restricted tomorrow", func(t *testing.T, p *place) {
		_, err := p.Restrict(p.ctx, operator, exchange.Subject{Source: "law", Key: "p3"}, annona.Restriction{Kind: annona.KindRestriction, EffectiveDate: annona.DateOf(p.now).AddDays(1)})
		check(t, err)
	}, nil, nil},
	{"and tomorrow has come", func(t *testing.T, p *place) {
		_, err := p.Restrict(p.ctx, operator, exchange.Subject{Source: "law", Key: "p3"}, annona.Restriction{Kind: annona.KindRestriction, EffectiveDate: annona.DateOf(p.now).AddDays(1)})
		check(t, err)
		p.now = p.now.AddDate(0, 0, 1)
	}, []string{"left_scope"}, []string{"left_scope"}},
	{"somebody is erased", func(t *testing.T, p *place) { p.erase(t, exchange.Subject{Source: "law", Key: "p0"}) }, []string{"delete", "upsert"}, []string{"upsert", "upsert"}},
	{"the only one of a household is erased", func(t *testing.T, p *place) { p.erase(t, exchange.Subject{Source: "law", Key: "p3"}) }, []string{"delete"}, []string{"left_scope"}},
	{"a household is erased", func(t *testing.T, p *place) {
		p.erase(t, exchange.Subject{Source: "law", Key: "h2", Household: true})
	}, []string{"upsert"}, []string{"delete"}},
	{"the agreement withholds a column", func(t *testing.T, p *place) {
		p.agree(t, func(a *annona.Agreement) {
			terms := a.Datasets["individuals"]
			terms.Except = []string{"marital_status"}
			a.Datasets["individuals"] = terms
		})
	}, []string{"upsert", "upsert", "upsert", "upsert"}, []string{"upsert", "upsert", "upsert"}},
	{"the agreement is amended, and says the same", func(t *testing.T, p *place) { p.agree(t, nil) }, nil, nil},
	{"nobody grows up today", func(_ *testing.T, p *place) { p.now = p.now.AddDate(0, 0, 1) }, nil, nil},
	{"the agreement narrows to grown-ups", func(t *testing.T, p *place) {
		p.agree(t, func(a *annona.Agreement) {
			terms := a.Datasets["individuals"]
			terms.Condition = "age_on(individual.date_of_birth, as_of) >= 18"
			a.Datasets["individuals"] = terms
		})
	}, []string{"left_scope", "left_scope", "left_scope", "left_scope"}, []string{"left_scope", "left_scope", "left_scope"}},
}

// TestEveryCauseOfAChange lets one thing happen at a time.
func TestEveryCauseOfAChange(t *testing.T) {
	for _, g := range grounds(t) {
		for _, m := range moves {
			t.Run(g.name+"/"+m.name, func(t *testing.T) {
				p := small(t, g)
				for dataset, want := range map[string][]string{"individuals": m.individuals, "households": m.households} {
					defer func(f *tail) {
						if got := f.read(); !slices.Equal(got, want) {
							t.Errorf("a follower of %s was told %v, want %v", dataset, got, want)
						}
						if diff := cmp.Diff(f.fresh(), f.has); diff != "" {
							t.Errorf("%s: what a search finds (-) and what following has made (+) differ:\n%s", dataset, diff)
						}
						if again := f.read(); len(again) > 0 {
							t.Errorf("%s: told again: %v", dataset, again)
						}
					}(p.tail(t, exchange.Question{Dataset: dataset}))
				}
				m.do(t, p)
				check(t, p.settle())
			})
		}
	}
}

// TestABirthday brings people into sight that no event tells of.
func TestABirthday(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			f := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"date_of_birth"}, Filter: "age_on(individual.date_of_birth, as_of) >= 18"})
			if got := f.read(); len(got) > 0 || len(f.has) > 0 {
				t.Fatalf("on the day before, told %v", got)
			}
			p.now = p.now.AddDate(0, 0, 1)
			if got := f.read(); len(got) != 4 || got[0] != "entered_scope" {
				t.Errorf("on the day, told %v", got)
			}
		})
	}
}

// TestAPositionIsAskedAgain loses answers.
func TestAPositionIsAskedAgain(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			f := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"marital_status"}})
			old := f.token
			p.put(t, nil, []annona.Record{changed(member("p1", "h0", "child"), "marital_status", "married")})
			if got := f.read(); len(got) != 1 {
				t.Fatalf("told %v", got)
			}
			for range 2 { // the same question has the same answer
				lost, err := f.ask(old, 9)
				check(t, err)
				if len(lost.List) != 1 || lost.List[0].Kind != exchange.ChangeUpsert {
					t.Errorf("the old position is answered %v", lost.List)
				}
			}
			p.put(t, nil, []annona.Record{member("p1", "h0", "child")}) // as it was
			if again, err := f.ask(old, 9); err != nil || len(again.List) != 0 {
				t.Errorf("who has seen neither is told %v, %v", again.List, err)
			}
			if got := f.read(); len(got) != 1 {
				t.Errorf("who has seen the first is told %v", got)
			}
		})
	}
}

// TestPositionsThatCannotBeContinued are refused, and never answered with silence.
func TestPositionsThatCannotBeContinued(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			f := p.tail(t, exchange.Question{Dataset: "individuals"})
			other := p.tail(t, exchange.Question{Dataset: "individuals"})
			refused := func(what, token, code string) {
				t.Helper()
				if _, err := f.ask(token, 9); annona.CodeOf(err) != code {
					t.Errorf("%s: %v, want %s", what, err, code)
				}
			}
			refused("forged", "AAAA", "cursor_invalid")
			refused("somebody else's", other.token, "cursor_invalid")
			search, err := p.Search(p.ctx, f.caller, f.question, 1, "", exchange.Form{})
			check(t, err)
			refused("a search's", search.Next, "cursor_invalid")
			narrow := *f
			narrow.question.Fields = []string{"sex"}
			if _, err := narrow.ask(f.token, 9); annona.CodeOf(err) != "cursor_invalid" {
				t.Errorf("another question: %v", err)
			}
			if _, err := f.ask(f.token, 9); err != nil {
				t.Errorf("a good one: %v", err)
			}

			p.now = p.now.AddDate(0, 0, 40)
			p.put(t, nil, []annona.Record{changed(member("p1", "h0", "child"), "marital_status", "married")})
			p.put(t, nil, []annona.Record{changed(member("p1", "h0", "child"), "marital_status", "single")})
			if n, err := p.PruneLog(p.ctx, operator, 30*24*time.Hour); err != nil || n == 0 {
				t.Fatalf("%d events were pruned, %v", n, err)
			}
			refused("pruned", f.token, "resync")
			f.token, f.has = "", map[string]string{}
			f.read()
			if diff := cmp.Diff(f.fresh(), f.has); diff != "" {
				t.Error(diff)
			}
			check(t, p.store.RenewLog(p.ctx))
			refused("from before a restore", f.token, "resync")
			f.token, f.has = "", map[string]string{}
			f.read()
			p.agree(t, func(a *annona.Agreement) { a.Realm = "another" })
			refused("under other ids", f.token, "resync")
		})
	}
}

// TestWhatLeavesIsInTheLedger: each record and each id that a follower gets stands in a release.
func TestWhatLeavesIsInTheLedger(t *testing.T) {
	p := small(t, grounds(t)[0])
	f := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"sex"}})
	_, err := p.Restrict(p.ctx, operator, exchange.Subject{Source: "law", Key: "p3"}, annona.Restriction{Kind: annona.KindRestriction})
	check(t, err)
	p.put(t, nil, []annona.Record{member("p9", "h0", "child")})
	f.read()
	p.Settle()
	var releases, outcomes []audit.Entry
	opener := audit.Opener{Vault: p.Vault, Ledger: p.store}
	check(t, p.store.WalkLedger(p.ctx, func(row annona.LedgerRow) error {
		e, err := opener.Open(p.ctx, row)
		if e.Kind == annona.EntryRelease && e.Facts.Verb == annona.VerbFollow {
			releases = append(releases, e)
		}
		if e.Kind == annona.EntryOutcome && e.Facts.Verb == annona.VerbFollow {
			outcomes = append(outcomes, e)
		}
		return err
	}))
	if len(releases) != 3 || len(outcomes) != 3 {
		t.Fatalf("%d releases and %d outcomes for three pages", len(releases), len(outcomes))
	}
	got := fmt.Sprint(releases[2].Subjects)
	if len(releases[2].Subjects) != 2 || !slices.Equal(releases[2].Subjects[1].Fields, []string{"individual_id"}) || len(releases[2].Subjects[1].Numbers) != 1 {
		t.Errorf("the last release has the subjects %s", got)
	}
}

// TestAFollowerWaits until something of its own changes, and not for what is not.
func TestAFollowerWaits(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			f := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"marital_status"}})
			told := make(chan *exchange.Changes, 1)
			go func() {
				changes, err := p.Follow(t.Context(), f.caller, f.question, f.token, 9, 20*time.Second, exchange.Form{})
				if err != nil {
					t.Error(err)
				}
				told <- changes
			}()
			p.put(t, []annona.Record{newRecord("households", "h2", "area_code", "XA-1", "poverty_score", "1")})
			select {
			case changes := <-told:
				t.Fatalf("woken by what it does not see: %v", changes.List)
			case <-time.After(300 * time.Millisecond):
			}
			began := time.Now()
			p.put(t, nil, []annona.Record{changed(member("p1", "h0", "child"), "marital_status", "married")})
			if changes := <-told; len(changes.List) != 1 || time.Since(began) > 5*time.Second {
				t.Errorf("told %v after %v", changes.List, time.Since(began))
			}
		})
	}
}

// TestAWaitingFollowerIsRevoked within five seconds.
func TestAWaitingFollowerIsRevoked(t *testing.T) {
	p := small(t, grounds(t)[0])
	f := p.tail(t, exchange.Question{Dataset: "individuals"})
	ended := make(chan error, 1)
	go func() {
		_, err := p.Follow(context.WithoutCancel(t.Context()), f.caller, f.question, f.token, 9, 30*time.Second, exchange.Form{})
		ended <- err
	}()
	time.Sleep(100 * time.Millisecond)
	check(t, p.RevokeClient(p.ctx, operator, f.caller.Client))
	select {
	case err := <-ended:
		if annona.CodeOf(err) != "key_invalid" {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits still")
	}
}

// stalling is a writer whose changes are ready long before they commit.
type stalling struct{ annona.Writer }

func (s stalling) Update(ctx context.Context, fn func(annona.Tx) error) error {
	return s.Writer.Update(ctx, func(tx annona.Tx) error {
		err := fn(tx)
		time.Sleep(rand.N(12 * time.Millisecond))
		return err
	})
}

// TestLateCommitsAreNotSkipped lets writers stall and commit late while two readers with one key
// follow: nobody is told the same twice, and at the end nobody lacks anything.
func TestLateCommitsAreNotSkipped(t *testing.T) {
	const writers, each = 6, 12
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			one := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"individual_id", "occupation"}})
			two := *one
			two.has = map[string]string{}
			two.token = ""
			p.Writer = stalling{p.Writer}
			var writing, reading sync.WaitGroup
			ended := make(chan struct{})
			for _, f := range []*tail{one, &two} {
				reading.Go(func() { f.readUntil(ended) })
			}
			for w := range writers {
				writing.Go(func() {
					for n := range each {
						own, shared := newRecord("individuals", fmt.Sprint("w", w), "occupation", fmt.Sprint(1000+n)), newRecord("individuals", fmt.Sprint("s", n%3), "occupation", fmt.Sprint(1000+n))
						if n%3 == 0 {
							shared = newRecord("individuals", "all", "occupation", fmt.Sprint(1000+w*each+n))
						}
						l, err := p.StartLoad(p.ctx, operator, "law", nil)
						if err == nil {
							_, err = l.Put(p.ctx, []annona.Record{own, shared})
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			writing.Wait()
			close(ended)
			reading.Wait()
			for _, f := range []*tail{one, &two} {
				f.read()
				if diff := cmp.Diff(f.fresh(), f.has); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// interrupted is a memory of views in which something happens before the views of records are read, once.
type interrupted struct {
	annona.Views
	happens *func()
}

func (i interrupted) happen() {
	if do := *i.happens; do != nil {
		*i.happens = nil
		do()
	}
}

func (i interrupted) ViewsOf(ctx context.Context, follower int64, numbers []annona.Number) ([]annona.View, error) {
	i.happen()
	return i.Views.ViewsOf(ctx, follower, numbers)
}

func (i interrupted) ViewsIn(ctx context.Context, follower int64, after, until annona.Number) ([]annona.View, error) {
	i.happen()
	return i.Views.ViewsIn(ctx, follower, after, until)
}

// TestTwoReadersAtOnce lets one reader of a key be told of a change while another one looks, who has read
// already how far the memory is: both are told, and neither is told again.
func TestTwoReadersAtOnce(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			one := p.tail(t, exchange.Question{Dataset: "individuals", Fields: []string{"individual_id", "marital_status"}})
			two := *one
			two.has = maps.Clone(one.has)
			var happens func()
			p.Views = interrupted{p.Views, &happens}
			p.put(t, []annona.Record{changed(member("p3", "h2", "head"), "marital_status", "married")})
			var early []string
			happens = func() { early = one.read() }
			if late := two.read(); len(early) != 1 || len(late) != 1 {
				t.Fatalf("one was told %v, the other one %v", early, late)
			}
			if again := append(one.read(), two.read()...); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
			if diff := cmp.Diff(one.has, two.has); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// readUntil follows without waiting for what is not in the log yet.
func (f *tail) readUntil(ended <-chan struct{}) {
	for {
		changes, err := f.place.Follow(f.Context(), f.caller, f.question, f.token, 3, 50*time.Millisecond, exchange.Form{})
		if errors.Is(err, annona.ErrViewsMoved) {
			continue // a reader who has lost all races asks again
		}
		if err != nil {
			f.Error(err)
			return
		}
		before := maps.Clone(f.has)
		f.apply(changes)
		for id, text := range f.has {
			if was, had := before[id]; had && was == text && slices.ContainsFunc(changes.List, func(c exchange.Change) bool {
				return !c.Kind.Gone() && recordOf(changes, c) == text
			}) {
				f.Errorf("told again: %s", text)
			}
		}
		f.token = changes.Next
		select {
		case <-ended:
			return
		default:
		}
	}
}

func recordOf(changes *exchange.Changes, c exchange.Change) string {
	_, text := rowText(changes.Records, c.Row)
	return text
}

// Changes are told by the ids of their records, so that a follower is granted them.
func TestWhoFollowsIsGrantedIds(t *testing.T) {
	r := newRegistry(t, 10)
	r.partner(t, except("individual_id"))
	if _, err := r.Follow(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose}, "", 10, 0, exchange.Form{}); codeOf(err) != "field_not_granted" {
		t.Errorf("got %v", err)
	}
}
