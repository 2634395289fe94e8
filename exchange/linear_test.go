package exchange_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/sqlite"
)

var histories = flag.Int("histories", 1, "how many random histories of patches and readings are checked, of a record and of a case, on each store")

// A history is what several clients have done to one field at once: readings, and patches of what each has
// read. It is linearizable when there is an order of all of it, each within its time, in which each answer
// is right. A patch that was cut off has happened, or not, at some time from then on.

// act is one request: a reading, or a patch of a value that was read.
type act struct {
	patch    bool
	base, to string
}

// said is what was answered.
type heard struct {
	value   string // of a reading
	verdict string // of a patch: applied, conflict, or unknown
}

const (
	heardApplied  = "applied"
	heardConflict = "conflict"
	heardUnknown  = "unknown"
)

// register is a field as clients may rely on it: a patch takes effect when the field is what its client has
// read, or what it wants; otherwise it is a conflict.
var register = porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(state, input, output any) []any {
		now, asked, got := state.(string), input.(act), output.(heard)
		fits := now == asked.base || now == asked.to
		switch {
		case !asked.patch && got.value == now:
			return []any{now}
		case !asked.patch:
			return nil
		case got.verdict == heardUnknown && fits:
			return []any{now, asked.to}
		case got.verdict == heardUnknown, got.verdict == heardConflict && !fits:
			return []any{now}
		case got.verdict == heardApplied && fits:
			return []any{asked.to}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// linear is a registry whose store is closed and opened again while clients use it.
type linear struct {
	t      *testing.T
	g      ground
	reopen func() (linearStore, error)
	store  linearStore
	gate   atomic.Pointer[exchange.Exchange]
	caller annona.Caller
	key    atomic.Int64
}

type linearStore interface {
	anyStore
	annona.ChangeRequests
	annona.Matters
}

// reopenable returns how a registry is opened, each time the same one.
func reopenable(t *testing.T, g ground) func() (linearStore, error) {
	if g.name == "sqlite" {
		dir := t.TempDir()
		s, err := sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
		check(t, err)
		check(t, s.Close())
		return func() (linearStore, error) {
			return sqlite.Open(dir, sqlite.Options{Dictionary: annona.Standard(), Readers: 2})
		}
	}
	ctx, name := t.Context(), "linear"+annona.NewUID().String()
	admin, err := pgx.Connect(ctx, server.cluster.URL("postgres", "postgres"))
	check(t, err)
	_, err = admin.Exec(ctx, "CREATE DATABASE "+name)
	check(t, errors.Join(err, admin.Close(ctx)))
	_, err = postgres.Migrate(ctx, server.cluster.URL("postgres", name), postgres.Setup{Dictionary: annona.Standard(), App: "app"})
	check(t, err)
	return func() (linearStore, error) {
		return postgres.Open(context.Background(), postgres.Options{URL: server.cluster.URL("app", name), Dictionary: annona.Standard(), Readers: 3})
	}
}

func newLinear(t *testing.T, g ground) *linear {
	t.Helper()
	l := &linear{t: t, g: g, reopen: reopenable(t, g)}
	check(t, l.open())
	t.Cleanup(func() { check(t, l.store.Close()) })
	whole := func(dataset string) annona.DatasetTerms {
		of, _ := annona.Standard().Dataset(dataset)
		var names []string
		for _, f := range of.Fields {
			names = append(names, f.Code)
		}
		return annona.DatasetTerms{Fields: names}
	}
	a := annona.Agreement{
		Name: "law", Realm: "law", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "Law", Country: "XA"}, ValidFrom: "2020-01-01", ValidUntil: "2099-12-31",
		Purposes: []annona.PurposeTerms{{Code: lawPurpose, Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{"individuals": whole("individuals"), "cases": whole("cases"), "case_notes": whole("case_notes"), "transitions": whole("transitions")},
		APIKey:   &annona.CredentialTerms{Reason: "a test", SpecialFields: true}, Updates: map[string]annona.UpdateTerms{"individuals": {Fields: []string{"preferred_name"}}},
		Cases: &annona.CaseTerms{Source: "desk", Receives: true},
	}
	l.caller = l.admit(a)
	return l
}

// admit puts an agreement in force, and returns a client of it.
func (l *linear) admit(a annona.Agreement) annona.Caller {
	l.t.Helper()
	gate := l.gate.Load()
	_, err := gate.ApplyAgreement(l.t.Context(), operator, a)
	check(l.t, err)
	c := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: a.Name, Hash: []byte{1}, CreatedAt: time.Now(), ExpiresAt: time.Now().AddDate(1, 0, 0)}
	check(l.t, gate.CreateClient(l.t.Context(), operator, c))
	return annona.Caller{Client: c.ID, Agreement: a.Name, Strength: annona.StrengthAPIKey}
}

// open opens the store, and a gate on it that has heard of nothing yet.
func (l *linear) open() error {
	s, err := l.reopen()
	if err != nil {
		return err
	}
	l.store = s
	l.gate.Store(exchange.New(exchange.Config{
		Dictionary: annona.Standard(), Records: s, Writer: s, Ledger: s, Standings: s, Roster: s, Subjects: s, Reference: s, Log: s, Views: s, Past: s, Loads: s, Indexes: s,
		Merges: s, ExportSpecs: s, ExportJobs: s, ExportQueue: s, ChangeRequests: s, Matters: s, Files: l.g.vault, Vault: l.g.vault, Shredder: keeper{}, Outside: &outside{}, Clock: time.Now, Zone: time.UTC,
		Check: func(*annona.Client, time.Time, netip.Addr) error { return nil },
	}))
	return nil
}

// subject is the one thing that a history is about.
type subject interface {
	// read returns the field, and the tag of what was read.
	read(ctx context.Context, x *exchange.Exchange) (value, tag string, err error)
	// patch returns what became of a patch: applied or conflict.
	patch(ctx context.Context, x *exchange.Exchange, tag, to, key string) (verdict string, err error)
}

// oneRecord is an individual, and its preferred name.
type oneRecord struct {
	*linear
	id string
}

func (o oneRecord) question() exchange.Question {
	return exchange.Question{Dataset: "individuals", Purpose: lawPurpose, Fields: []string{"individual_id", "preferred_name"}}
}

func (o oneRecord) read(ctx context.Context, x *exchange.Exchange) (value, tag string, err error) {
	answer, err := x.Get(ctx, o.caller, o.question(), o.id, exchange.Form{Format: "json"})
	if err != nil {
		return "", "", err
	}
	defer answer.Sent(1, nil)
	return string(answer.Page.Page().Cell(1, 0)), answer.ETag, nil
}

func (o oneRecord) patch(ctx context.Context, x *exchange.Exchange, tag, to, key string) (string, error) {
	u := exchange.Update{Question: o.question(), ID: o.id, Read: tag, Values: []exchange.Assignment{{Field: "preferred_name", Text: to}}, Key: key}
	done, err := x.Update(ctx, o.caller, u, exchange.Form{Format: "json"})
	if done != nil && done.Verdict == exchange.VerdictConflict {
		return heardConflict, err
	}
	return heardApplied, err
}

// oneCase is a case, and the team that has it.
type oneCase struct {
	*linear
	id string
}

func (o oneCase) read(ctx context.Context, x *exchange.Exchange) (value, tag string, err error) {
	answer, err := x.Cases(ctx, o.caller, lawPurpose, exchange.CaseChoice{ID: o.id}, []string{"case_id", "team"}, "", 1)
	if err != nil {
		return "", "", err
	}
	defer answer.Sent(1, nil)
	page := answer.Page.Page()
	return string(page.Cell(page.Shape.Column("team"), 0)), answer.ETag, nil
}

func (o oneCase) patch(ctx context.Context, x *exchange.Exchange, tag, to, key string) (string, error) {
	v, err := x.EditCase(ctx, o.caller, lawPurpose, exchange.CaseEdit{
		ID: o.id, IfMatch: tag, Patch: map[string]any{"team": to}, Keyed: &exchange.Keyed{Key: key, Route: "PATCH /v1/cases/{id}", Asked: []byte(tag + to)},
	})
	if v.Verdict == exchange.VerdictConflict {
		return heardConflict, err
	}
	return heardApplied, err
}

func (l *linear) newRecord() subject {
	p := &place{Exchange: l.gate.Load(), ctx: l.t.Context(), store: l.store, now: time.Now()}
	d, _ := annona.Standard().Dataset("individuals")
	load, err := p.StartLoad(p.ctx, operator, "law", nil)
	check(l.t, err)
	_, err = load.Put(p.ctx, []annona.Record{{Dataset: d, Source: "law", Key: annona.NewUID().String()}})
	check(l.t, err)
	_, err = load.Finish(p.ctx)
	check(l.t, err)
	page, err := p.Search(p.ctx, l.caller, exchange.Question{Dataset: "individuals", Purpose: lawPurpose, Fields: []string{"individual_id"}}, 1000, "", exchange.Form{})
	check(l.t, err)
	page.Sent(1, nil)
	return oneRecord{l, string(page.Page.Page().Cell(0, page.Page.Count()-1))}
}

func (l *linear) newCase() subject {
	v, err := l.gate.Load().PutCases(l.t.Context(), l.caller, lawPurpose, []map[string]any{{"case_type": "social_support", "provisional_description": "somebody"}})
	check(l.t, errors.Join(err, v[0].Reason))
	return oneCase{l, v[0].ID}
}

// The bounds of a history. They are few: whether one is linearizable is hard to tell of many.
const (
	historyClients = 4
	historyTurns   = 5 // of each client: a reading and a patch
)

// history lets clients read and patch at once. Some requests are cut off, and half way the store is closed under
// them and opened again.
func (l *linear) history(s subject, seed uint64) (all []porcupine.Operation) {
	began := time.Now()
	var mu sync.Mutex
	enter := func(client int, in act, out heard, from int64) {
		mu.Lock()
		defer mu.Unlock()
		to := time.Since(began).Nanoseconds()
		if out.verdict == heardUnknown {
			to = time.Hour.Nanoseconds() // it may be on its way
		}
		all = append(all, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: from, Return: to})
	}
	var turns atomic.Int64
	reopened := make(chan struct{})
	go func() {
		defer close(reopened)
		for turns.Load() < historyClients*historyTurns/2 {
			time.Sleep(time.Millisecond)
		}
		old := l.store
		check(l.t, errors.Join(old.Close(), l.open()))
	}()
	var clients sync.WaitGroup
	for client := range historyClients {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for range historyTurns {
				l.turn(s, random, func(in act, out heard, from int64) { enter(client, in, out, from) }, func() int64 { return time.Since(began).Nanoseconds() })
				turns.Add(1)
			}
		})
	}
	clients.Wait()
	<-reopened
	from := time.Since(began).Nanoseconds()
	value, _, err := s.read(l.t.Context(), l.gate.Load())
	check(l.t, err)
	enter(historyClients, act{}, heard{value: value}, from)
	return all
}

// turn is a reading, and a patch of what was read.
func (l *linear) turn(s subject, random *rand.Rand, enter func(act, heard, int64), now func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var base, tag string
	var from int64
	for {
		var err error
		from = now()
		if base, tag, err = s.read(ctx, l.gate.Load()); err == nil {
			break
		}
		time.Sleep(time.Millisecond) // the store is closed in this moment
	}
	enter(act{}, heard{value: base}, from)
	to := base
	for to == base {
		to = string(rune('a' + random.IntN(4)))
	}
	if random.IntN(4) == 0 {
		cut := time.AfterFunc(time.Duration(random.IntN(5000))*time.Microsecond, cancel)
		defer cut.Stop()
	}
	from = now()
	verdict, err := s.patch(ctx, l.gate.Load(), tag, to, fmt.Sprint("key-", l.key.Add(1)))
	if err != nil {
		verdict = heardUnknown
	}
	enter(act{patch: true, base: base, to: to}, heard{verdict: verdict}, from)
}

// What several clients do to one record, or one case, at once has an order in which each answer is right, also
// where requests are cut off and the store is closed under them.
func TestPatchesAreLinearizable(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			l := newLinear(t, g)
			for name, of := range map[string]func() subject{"record": l.newRecord, "case": l.newCase} {
				counts := map[string]int{}
				for n := range *histories {
					seed := rand.Uint64()
					all := l.history(of(), seed)
					for _, o := range all {
						counts[o.Output.(heard).verdict]++
					}
					if porcupine.CheckOperationsTimeout(register.ToModel(), all, time.Minute) == porcupine.Illegal {
						t.Errorf("history %d of a %s, seed %d, is not linearizable:", n, name, seed)
						for _, o := range all {
							t.Logf("client %d, %d to %d µs: %s", o.ClientId, o.Call/1000, o.Return/1000, register.DescribeOperation(o.Input, o.Output))
						}
					}
				}
				t.Logf("%s: %v", name, counts)
			}
		})
	}
}
