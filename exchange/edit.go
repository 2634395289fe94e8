package exchange

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// What a person decides about records is an edit: one request, one transaction. It is on file as a load
// of the registry's own source, with who decided it and why: it is listed, its events lead to it, and it
// is undone like any other load.
//
// The word of an edit holds against sources until they say the same: see choose and goesOn.

// Why says from which day on an edit holds, and why it was made.
type Why struct {
	Day    annona.Date // empty: today; none to come
	Reason string      // a code, never personal data: marriage, correction …
}

// Edited is what an edit did.
type Edited struct {
	Load    annona.UID // by which it is shown and undone
	Created int
	Changed int
	Deleted int
	// Key is the key, under the source annona, of the household or the individual that came on file.
	Key string
	// Headless are the households that are left without a head, and flagged so.
	Headless int
}

type edit struct {
	x      *Exchange
	tx     annona.Tx
	load   annona.Load
	why    Why
	homes  map[annona.Number]*revision
	people map[annona.Number]*revision
	gone   []*revision // households that are deleted, behind all else
	keys   []leading   // written last
	begun  []*revision // came on file
	o      outcome
	done   Edited
	facts  audit.Facts // of the ledger: the verb, and under which agreement
	note   *UpdateNote // of an update by a partner; nil: of an edit at the command line
}

// edit runs what an edit does. decide may run again.
func (x *Exchange) edit(ctx context.Context, caller annona.Caller, act string, why Why, decide func(*edit) error) (Edited, error) {
	var done Edited
	if err := operatorOnly(caller); err != nil {
		return done, err
	}
	now := x.Clock().UTC().Truncate(time.Millisecond)
	if err := why.check(annona.DateOf(now)); err != nil {
		return done, err
	}
	why.Day = cmp.Or(why.Day, annona.DateOf(now))
	request := annona.NewUID()
	err := x.Writer.Update(ctx, func(tx annona.Tx) error {
		e := x.newEdit(tx, caller, annona.OwnSource, why, now)
		if err := tx.PutLoad(ctx, &e.load); err != nil {
			return err
		}
		if err := decide(e); err != nil {
			return err
		}
		if err := e.write(ctx); err != nil {
			return err
		}
		err := e.record(ctx, caller, act, request)
		done = e.done
		return err
	})
	return done, err
}

// newEdit is an edit whose words are those of a source. It is not on file yet.
func (x *Exchange) newEdit(tx annona.Tx, caller annona.Caller, source string, why Why, now time.Time) *edit {
	return &edit{
		x: x, tx: tx, why: why, homes: map[annona.Number]*revision{}, people: map[annona.Number]*revision{}, facts: audit.Facts{Verb: annona.VerbEdit},
		load: annona.Load{
			ID: annona.NewUID(), Source: source, Mode: ModeEdit, AsOf: now, StartedAt: now, State: StateRunning,
			Author: annona.Author{Operator: caller.Operator, Client: caller.Client, Reason: why.Reason},
		},
	}
}

func (w Why) check(today annona.Date) error {
	switch {
	case w.Reason == "" || len(w.Reason) > maxReason || slices.ContainsFunc([]byte(w.Reason), func(c byte) bool {
		return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	}):
		return annona.Invalid("reason_malformed", "say why as a code of small letters, digits and underscores, such as marriage or correction; never personal data").On("reason")
	case w.Day == "":
		return nil
	}
	if _, err := annona.ParseDate(string(w.Day)); err != nil {
		return err
	}
	if w.Day > today {
		return annona.Invalid("day_to_come", "the day has not come; record it when it has").On("day")
	}
	return nil
}

const maxReason = 64 // bytes

// hold locks records, which must be on file, and opens what they are. They stay the same revision
// throughout the edit.
func (e *edit) hold(ctx context.Context, dataset string, numbers ...annona.Number) ([]*revision, error) {
	all, err := e.look(ctx, dataset, numbers...)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(v *revision) bool { return len(v.parts) > 0 }) {
		return nil, errOfParts
	}
	return all, nil
}

// look holds records that the edit does not change by themselves: those who were merged, too.
func (e *edit) look(ctx context.Context, dataset string, numbers ...annona.Number) ([]*revision, error) {
	held, err := e.reach(ctx, dataset, numbers)
	if err != nil {
		return nil, err
	}
	all := make([]*revision, len(numbers))
	for i, n := range numbers {
		if all[i] = held[n]; all[i] == nil {
			return nil, notHere(dataset)
		}
	}
	return all, nil
}

// present holds those of the records that are on file, in order of number and each once.
func (e *edit) present(ctx context.Context, dataset string, numbers []annona.Number) (all []*revision, err error) {
	held, err := e.reach(ctx, dataset, numbers)
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(numbers))) {
		if held[n] != nil {
			all = append(all, held[n])
		}
	}
	return all, nil
}

// reach holds those of the records that are on file and not held yet, and returns all that are held.
func (e *edit) reach(ctx context.Context, dataset string, numbers []annona.Number) (map[annona.Number]*revision, error) {
	of, held := e.datasetOf(dataset), e.homes
	if dataset == "individuals" {
		held = e.people
	}
	fresh := slices.DeleteFunc(slices.Clone(numbers), func(n annona.Number) bool { return held[n] != nil })
	slices.Sort(fresh)
	known, err := e.tx.Hold(ctx, of, slices.Compact(fresh))
	if err != nil {
		return nil, err
	}
	var some []*revision
	for _, k := range known {
		if k.Version == 0 || k.Deleted {
			continue
		}
		v := &revision{known: k}
		v.keys = []annona.RecordKey{k.Key}
		held[k.Number] = v
		some = append(some, v)
	}
	return held, e.x.recall(ctx, e.x.Vault, some)
}

// errOfParts says that an edit cannot tell whose word it would change.
var errOfParts = annona.Conflict("individual_merged",
	"somebody in this was merged from several records, which sources go on reporting; let a source say it, or take the merge back first: annona subject unmerge")

func (e *edit) datasetOf(name string) *annona.Dataset {
	dataset, _ := e.x.CurrentDictionary().Dataset(name)
	return dataset
}

func notHere(dataset string) error {
	if dataset == "households" {
		return annona.NotFound("no household with this key is on file")
	}
	return notOnFile()
}

// numbers finds records by their names. They may change before they are held.
func (x *Exchange) numbers(ctx context.Context, dataset string, names ...Subject) ([]annona.Number, error) {
	of, _ := x.CurrentDictionary().Dataset(dataset)
	found := make([]annona.Number, len(names))
	for i, s := range names {
		if s.ID != "" && dataset == "individuals" {
			number, err := x.subject(ctx, s)
			if err != nil {
				return nil, err
			}
			found[i] = number
			continue
		}
		if s.Source == "" || s.Key == "" {
			return nil, annona.Invalid("subject_unnamed", "name a record by its source and its key there")
		}
		numbers, err := x.Loads.Numbers(ctx, []annona.RecordKey{{Dataset: of, Source: s.Source, Key: x.Vault.RecordKey(dataset, s.Source, s.Key)}})
		if err != nil {
			return nil, err
		}
		if found[i] = numbers[0]; found[i] == 0 {
			return nil, notHere(dataset)
		}
	}
	return found, nil
}

// write writes what the edit has changed: households before those who live in them, and then those
// households go that nobody lives in any more.
func (e *edit) write(ctx context.Context) error {
	for _, held := range []map[annona.Number]*revision{e.homes, e.people} {
		var w writes
		for _, n := range slices.Sorted(maps.Keys(held)) {
			v := held[n]
			if !v.changed {
				continue
			}
			next, image, err := e.x.next(v)
			if err != nil {
				return err
			}
			w.add(next, image)
		}
		if err := e.put(ctx, &w); err != nil {
			return err
		}
	}
	if err := e.x.remove(ctx, e.tx, e.author(), e.gone, &e.o); err != nil {
		return err
	}
	if e.o.tally.Kept > 0 {
		return annona.Conflict("household_has_members", "somebody else belongs to the household; try again")
	}
	return e.put(ctx, &writes{keys: e.keys})
}

func (e *edit) put(ctx context.Context, w *writes) error {
	loaded, err := w.put(ctx, e.x, e.tx, e.author())
	e.o.Loaded = sum(e.o.Loaded, loaded)
	return err
}

func (e *edit) author() annona.Author {
	by := e.load.Author
	by.Load = e.load.Key
	return by
}

// record puts the edit itself on file, and into the ledger.
func (e *edit) record(ctx context.Context, caller annona.Caller, act string, request annona.UID) error {
	e.done.Load, e.done.Created, e.done.Changed, e.done.Deleted = e.load.ID, e.o.Created, e.o.Changed, e.o.Deleted
	report := LoadReport{Created: e.o.Created, Changed: e.o.Changed, Deleted: e.o.Deleted, Act: act, Update: e.note}
	e.load.State, e.load.FinishedAt, e.load.Report = StateFinished, e.x.Clock(), report.encode()
	if err := e.tx.PutLoad(ctx, &e.load); err != nil {
		return err
	}
	facts := e.facts
	facts.Reason, facts.Details = e.why.Reason, map[string]string{
		"act": act, "load": e.load.ID.String(), "day": string(e.why.Day),
		"created": strconv.Itoa(e.o.Created), "changed": strconv.Itoa(e.o.Changed), "deleted": strconv.Itoa(e.o.Deleted),
	}
	return e.tx.AppendEntry(ctx, audit.Change(e.x.Clock(), request, facts, caller, e.concerned()))
}

// concerned are the records that the edit is about.
func (e *edit) concerned() (all []audit.Subjects) {
	for _, of := range []struct {
		noun string
		held map[annona.Number]*revision
	}{{"household", e.homes}, {"individual", e.people}} {
		var numbers []annona.Number
		for _, n := range slices.Sorted(maps.Keys(of.held)) {
			if v := of.held[n]; v.changed || slices.Contains(e.gone, v) || slices.Contains(e.begun, v) {
				numbers = append(numbers, n)
			}
		}
		if len(numbers) > 0 {
			all = append(all, audit.Subjects{Noun: of.noun, Numbers: numbers})
		}
	}
	return all
}

// origin is where the words of an edit come from.
func (e *edit) origin() origin {
	return origin{source: e.load.Source, asOf: e.load.AsOf, receivedAt: e.load.StartedAt}
}

// begin puts a record on file that no source has reported, and holds it.
func (e *edit) begin(ctx context.Context, r *annona.Record) (*revision, error) {
	key := annona.RecordKey{Dataset: r.Dataset, Source: r.Source, Key: e.x.Vault.RecordKey(r.Dataset.Name, r.Source, r.Key), AsOf: e.load.AsOf}
	known, err := e.tx.Find(ctx, []annona.RecordKey{key})
	if err != nil {
		return nil, err
	}
	words := wordsOf(r)
	authority := authoritiesOf(e.x.CurrentDictionary(), r.Dataset.Name)
	for i := range words {
		if authority(words[i].unit) != "" || e.load.Source != r.Source {
			words[i].origins = []origin{e.origin()}
		}
	}
	s, err := e.x.split(prepared{said: r, StoredRecord: annona.StoredRecord{
		RecordKey: key, Number: known[0].Number, Version: 1, Memberships: r.Memberships, Relationships: r.Relationships,
	}}, words)
	if err != nil {
		return nil, err
	}
	var w writes
	w.add(s.StoredRecord, versions{next: s.sealed})
	if err := e.put(ctx, &w); err != nil {
		return nil, err
	}
	e.done.Key = r.Key
	of, err := e.hold(ctx, r.Dataset.Name, known[0].Number)
	if err != nil {
		return nil, err
	}
	e.begun = append(e.begun, of[0])
	return of[0], nil
}
