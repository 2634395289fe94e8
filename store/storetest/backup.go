package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// Revivable is a store that can be dumped and brought back.
type Revivable interface {
	Store
	annona.Dumper
	annona.Reviver
}

// Loader makes a store in a new place from what fill gives. Until release, opening it the usual way
// is refused; the store that is returned was opened in the unusual one.
type Loader func(t *testing.T, schema int, fill annona.Fill) (loaded Revivable, refused func() error)

// RunBackup runs the suite of dumping and loading. open is that of Run.
func RunBackup(t *testing.T, open func(t *testing.T) Revivable, load Loader) {
	t.Run("a dump under writers is one state", func(t *testing.T) { testDumpIsOneState(t, open(t), load) })
	t.Run("what was loaded is dumped alike", func(t *testing.T) { testLoadIsWhole(t, open(t), load) })
	t.Run("renewed, then released", func(t *testing.T) { testRevive(t, open(t), load) })
	t.Run("a failure ends dump and load", func(t *testing.T) { testDumpFails(t, open(t), load) })
}

// kept is a dump in memory.
type kept struct {
	state  annona.StoreState
	tables []annona.Table
	rows   map[string][]annona.TableRow
}

func (k *kept) Table(t annona.Table) error {
	k.tables = append(k.tables, t)
	return nil
}

func (k *kept) Row(row annona.TableRow) error {
	own := make(annona.TableRow, len(row))
	for i, cell := range row {
		own[i] = bytes.Clone(cell)
	}
	name := k.tables[len(k.tables)-1].Name
	k.rows[name] = append(k.rows[name], own)
	return nil
}

// fill gives the dump on.
func (k *kept) fill(to annona.TableSink) error {
	for _, t := range k.tables {
		if err := to.Table(t); err != nil {
			return err
		}
		for _, row := range k.rows[t.Name] {
			if err := to.Row(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func dumpOf(t *testing.T, s annona.Dumper) *kept {
	t.Helper()
	k := &kept{rows: map[string][]annona.TableRow{}}
	err := s.Dump(t.Context(), func(state annona.StoreState) (annona.TableSink, error) {
		k.state = state
		return k, nil
	})
	if err != nil {
		t.Fatalf("dump: %v", err)
	}
	return k
}

// column returns the cells of a column of numbers.
func (k *kept) column(t *testing.T, table, column string) (numbers []int64) {
	t.Helper()
	at := slices.IndexFunc(k.tables, func(x annona.Table) bool { return x.Name == table })
	if at < 0 {
		t.Fatalf("the dump has no table %s", table)
	}
	i := slices.IndexFunc(k.tables[at].Columns, func(c annona.TableColumn) bool { return c.Name == column })
	if i < 0 {
		t.Fatalf("the dump of %s has no column %s", table, column)
	}
	for _, row := range k.rows[table] {
		if row[i] == nil {
			continue
		}
		numbers = append(numbers, int64(binary.BigEndian.Uint64(row[i])))
	}
	return numbers
}

// testDumpIsOneState dumps while others write households with their members, and entries: every
// membership leads to records that are there, and the ledger of the loaded store verifies.
func testDumpIsOneState(t *testing.T, s Revivable, load Loader) {
	r := newRegistry(t, s)
	writing := keepWriting(r)
	dump := &kept{rows: map[string][]annona.TableRow{}}
	err := s.Dump(t.Context(), func(state annona.StoreState) (annona.TableSink, error) {
		dump.state = state
		return slow{dump, writing}, nil
	})
	writing.end()
	if err != nil {
		t.Fatalf("dump: %v", err)
	}
	households, individuals := dump.column(t, "households", "number"), dump.column(t, "individuals", "number")
	if len(individuals) == 0 || len(individuals) >= 2*int(writing.households.Load()) {
		t.Fatalf("%d individuals were dumped while %d households were written: the writers did not write beside it", len(individuals), writing.households.Load())
	}
	for _, h := range dump.column(t, "memberships", "household") {
		if !slices.Contains(households, h) {
			t.Fatal("a membership leads to a household that is not there")
		}
	}
	for _, i := range dump.column(t, "memberships", "individual") {
		if !slices.Contains(individuals, i) {
			t.Fatal("a membership leads to an individual who is not there")
		}
	}
	loaded, _ := load(t, dump.state.Schema, dump.fill)
	again := newRegistry(t, loaded)
	entries := len(dump.rows["ledger"])
	if int64(entries) < dump.state.LedgerSize {
		t.Fatalf("%d entries, and the tree has %d", entries, dump.state.LedgerSize)
	}
	rows := again.checkTree(entries)
	var hashes [][32]byte
	for _, row := range rows[:dump.state.LedgerSize] {
		hashes = append(hashes, row.Hash)
	}
	if root := rootOf(hashes); !bytes.Equal(root[:], dump.state.LedgerRoot) {
		t.Error("the root in the state is not that of the tree")
	}
	events, err := loaded.Events(t.Context())
	if err != nil || int64(len(events)) < dump.state.Position || len(events) != len(dump.rows["events"]) {
		t.Fatalf("%d events, position %d, %v", len(events), dump.state.Position, err)
	}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("place %d of the log is empty", i+1)
		}
	}
}

// writers write until they are ended.
type writers struct {
	stop       context.CancelFunc
	done       sync.WaitGroup
	households atomic.Int64 // of two each
}

// slow takes a table only when others have written more meanwhile, so that tables which are not of
// one moment do not go together.
type slow struct {
	*kept
	writers *writers
}

func (s slow) Table(t annona.Table) error {
	before := s.writers.households.Load()
	for end := time.Now().Add(10 * time.Second); s.writers.households.Load() < before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("nobody can write while a dump is taken")
		}
	}
	return s.kept.Table(t)
}

// keepWriting begins to write, and returns when something is there.
func keepWriting(r *registry) *writers {
	ctx, stop := context.WithCancel(r.ctx)
	w := &writers{stop: stop}
	began := make(chan struct{})
	w.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			key := "h" + strconv.Itoa(n)
			r.load(r.household(key, values{"area_code": "XA-1"}), r.person("a"+key, values{"sex": "female", "full_name": "Ama"}, member(key, "head")),
				r.person("b"+key, values{"sex": "male"}, member(key, "child")))
			if w.households.Add(1) == 20 {
				close(began)
			}
		}
	})
	w.done.Go(func() {
		for ctx.Err() == nil {
			if err := r.Append(r.ctx, entry(annona.EntryRelease, annona.NewUID())); err != nil {
				r.t.Error(err)
			}
		}
	})
	<-began
	return w
}

func (w *writers) end() {
	w.stop()
	w.done.Wait()
}

// filled writes something into every table that the ports reach.
func filled(t *testing.T, s Store) *registry {
	r := newRegistry(t, s)
	p := r.person("p", values{"sex": "female", "full_name": "Ama", "date_of_birth": "1990-05-01"}, member("h", "head"))
	p.Identifiers = []annona.IdentifierIndex{{Scheme: "national_id", Hash: bytes.Repeat([]byte{7}, 32), Shareable: true}}
	p.Relationships = []annona.Relationship{{ToKey: "q", Type: "parent"}}
	r.load(r.household("h", values{"area_code": "XA-1"}), p)
	r.load(r.person("c", values{"sex": "male"}, member("h", "child")))
	r.load(r.person("c", values{"sex": "female"}, member("h", "child")))
	r.update(func(tx annona.Tx) error {
		return errors.Join(
			tx.PutAreas(r.ctx, []annona.Area{{Code: "XA", Names: map[string]string{"en": "A place"}}}),
			tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: r.number("p"), Kind: annona.KindObjection, Purposes: []string{"a", "b"}}),
			tx.PutConsent(r.ctx, annona.Consent{ID: annona.NewUID(), Subject: r.number("p"), Status: "given"}),
			tx.PutTombstone(r.ctx, annona.Tombstone{ID: annona.NewUID(), Dataset: "individuals", Source: source, Key: "gone", Number: 77, Reason: "unlawful", ErasedAt: Clock(), ExpiresAt: Clock()}),
			tx.PutClient(r.ctx, annona.Client{ID: annona.NewUID(), KeyID: "k", Hash: []byte("hash"), Agreement: "a", Demo: true, CreatedAt: Clock()}),
			tx.AppendEntry(r.ctx, entry(annona.EntryChange, annona.NewUID())))
	})
	r.load(r.person("away", values{"sex": "male"}))
	r.delete(r.individuals, r.number("away"), r.number("p"))
	r.putKey(annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "p2", AsOf: Clock()}, r.number("p"))
	r.update(func(tx annona.Tx) error {
		return tx.PutLoad(r.ctx, &annona.Load{ID: annona.NewUID(), Source: source, Mode: "full", State: "finished", StartedAt: Clock(), Report: []byte("{}")})
	})
	r.update(func(tx annona.Tx) error {
		_, err := tx.PutAgreement(r.ctx, annona.Agreement{Name: "a"})
		return err
	})
	return r
}

// testLoadIsWhole loads a dump and dumps what was loaded: nothing is another.
func testLoadIsWhole(t *testing.T, s Revivable, load Loader) {
	r := filled(t, s)
	declared := annona.Extension{Country: "GH", Fields: []annona.Field{
		{Dataset: "households", Code: "herd_size", Type: annona.TypeInt, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterRange},
	}}
	extended, err := r.dictionary.Extend(declared)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Declare(r.ctx, declared, extended, entry(annona.EntryAdministration, annona.NewUID())); err != nil {
		t.Fatal(err)
	}
	attachment := putCase(r)
	before := dumpOf(t, s)
	for _, table := range []string{"matters", "matter_shares", "attachment_parts", "change_requests"} {
		if len(before.rows[table]) == 0 {
			t.Errorf("the dump has nothing of %s", table)
		}
	}
	loaded, _ := load(t, before.state.Schema, before.fill)
	if err := loaded.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	if kept, ok := loaded.(annona.Attachments); ok {
		if part, err := kept.AttachmentPart(r.ctx, attachment, 2); err != nil || string(part) != "the second part" {
			t.Errorf("an attachment that was loaded: %q, %v", part, err)
		}
	}
	after := dumpOf(t, loaded)
	if fmt.Sprint(before.state) != fmt.Sprint(after.state) {
		t.Errorf("the state was %v and is %v", before.state, after.state)
	}
	for _, table := range before.tables {
		was, is := sorted(before.rows[table.Name]), sorted(after.rows[table.Name])
		if table.Name == "counters" {
			is = slices.DeleteFunc(is, func(row string) bool { return bytes.Contains([]byte(row), []byte("restore_unfinished")) })
		}
		if !slices.Equal(was, is) {
			t.Errorf("%s had %d rows and has %d, or one changed:\n%q\n%q", table.Name, len(was), len(is), was, is)
		}
	}
	again := newRegistry(t, loaded)
	again.load(r.person("new", values{"sex": "female"}, member("h", "child")))
	if number := again.number("new"); number <= r.number("p") {
		t.Errorf("after loading, number %d is given out again", number)
	}
	again.load(r.person("p", values{"sex": "female"}, member("h", "head"))) // versions go on
	if got := again.load(r.person("away", values{"sex": "male"})); got.Restored != 1 {
		t.Errorf("after loading, a deleted record does not come back: %+v", got)
	}
	if number := again.find(of(r.person("", nil), clinic, "p2")).Number; number != r.number("p") {
		t.Errorf("after loading, another key leads to %d", number)
	}
	l := annona.Load{ID: annona.NewUID(), Source: source, Mode: "full", State: "running"}
	again.update(func(tx annona.Tx) error { return tx.PutLoad(r.ctx, &l) })
	if loads, err := again.Loads(r.ctx, "", 9); err != nil || len(loads) != 2 || loads[0].ID != l.ID {
		t.Errorf("after loading, loads: %+v, %v", loads, err)
	}
}

// putCase puts a case on file that is shared and in conflict, with an attachment, whose number it returns.
func putCase(r *registry) (attachment annona.Number) {
	cases, _ := r.dictionary.Dataset("cases")
	attachments, _ := r.dictionary.Dataset("case_attachments")
	r.update(func(tx annona.Tx) error {
		of, err := tx.NewMatters(r.ctx, cases, 1)
		if err != nil {
			return err
		}
		of[0].Version, of[0].Owner, of[0].State, of[0].Subject = 1, "clinic", "open", annona.SubjectRef{Dataset: "individuals", Number: r.number("p")}
		of[0].Sealed = annona.AppendItem(nil, annona.Image("sealed"))
		some, err := tx.NewMatters(r.ctx, attachments, 1)
		if err != nil {
			return err
		}
		some[0].Version, some[0].Parent, some[0].Subject, some[0].Sealed, attachment = 1, of[0].Number, of[0].Subject, of[0].Sealed, some[0].Number
		return errors.Join(
			tx.PutMatters(r.ctx, tester, of),
			tx.PutMatters(r.ctx, tester, some),
			tx.PutAttachmentPart(r.ctx, attachment, 1, []byte("the first part")),
			tx.PutAttachmentPart(r.ctx, attachment, 2, []byte("the second part")),
			tx.PutShare(r.ctx, annona.Share{Dataset: "cases", Number: of[0].Number, Partner: "school", By: annona.NewUID(), Fields: []string{"team"}}),
			tx.PutChangeRequest(r.ctx, annona.ChangeRequest{
				ID: annona.NewUID(), Type: "conflict", Dataset: "cases", Subject: of[0].Number, State: "open", Agreement: "a", Client: annona.NewUID(), Version: 1, Sealed: []byte("sealed"), At: Clock(),
			}))
	})
	return attachment
}

func sorted(rows []annona.TableRow) (texts []string) {
	for _, row := range rows {
		texts = append(texts, fmt.Sprintf("%q", row))
	}
	slices.Sort(texts)
	return texts
}

// testRevive walks the steps of a restore.
func testRevive(t *testing.T, s Revivable, load Loader) {
	r := filled(t, s)
	dump := dumpOf(t, s)
	loaded, refused := load(t, dump.state.Schema, dump.fill)
	if err := refused(); annona.CodeOf(err) != "restore_unfinished" {
		t.Errorf("before it is released: %v", err)
	}
	before, err := loaded.Epoch(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = loaded.Renew(r.ctx, map[string]annona.Number{"individuals": 900, "households": 1}, entry(annona.EntryAdministration, annona.NewUID()))
	if err != nil {
		t.Fatal(err)
	}
	again := newRegistry(t, loaded)
	again.checkTree(int(dump.state.LedgerSize) + 1)
	again.load(r.household("new", nil), r.person("new", values{"sex": "female"}, member("new", "head")))
	if number := again.number("new"); number != 901 {
		t.Errorf("the next individual gets number %d, want 901", number)
	}
	if state := dumpOf(t, loaded).state; len(state.Epoch) != 32 || state.Epoch == dump.state.Epoch {
		t.Errorf("the epoch of the log is %q, and was %q", state.Epoch, dump.state.Epoch)
	}
	if moved, err := loaded.Epoch(r.ctx); err != nil || moved <= before {
		t.Errorf("the epoch of policy does not move: %d, %v", moved, err)
	}
	if err := loaded.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := refused(); err != nil {
		t.Errorf("after it is released: %v", err)
	}
}

// testDumpFails: what whoever takes says comes back, and a load that breaks off leaves nothing.
func testDumpFails(t *testing.T, s Revivable, load Loader) {
	r := filled(t, s)
	stop := errors.New("stop")
	for _, at := range []int{0, 1, 5} {
		err := s.Dump(r.ctx, func(annona.StoreState) (annona.TableSink, error) {
			if at == 0 {
				return nil, stop
			}
			return &stopping{at: at, err: stop}, nil
		})
		if !errors.Is(err, stop) {
			t.Errorf("dump: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	err := s.Dump(ctx, func(annona.StoreState) (annona.TableSink, error) {
		cancel()
		return &kept{rows: map[string][]annona.TableRow{}}, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled dump: %v", err)
	}
	r.checkTree(len(dumpOf(t, s).rows["ledger"]))
}

// stopping fails at some row.
type stopping struct {
	at  int
	err error
}

func (s *stopping) Table(annona.Table) error { return nil }

func (s *stopping) Row(annona.TableRow) error {
	if s.at--; s.at == 0 {
		return s.err
	}
	return nil
}
