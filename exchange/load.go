package exchange

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Loading is a load that runs: batches of records from one source, under one request in the ledger.
// It is not safe for concurrent use, but for MakeReady beside the writes that were begun.
type Loading struct {
	x       *Exchange
	caller  annona.Caller
	order   LoadOrder
	request annona.UID
	covers  map[string]map[string]bool // units by dataset; nil: everything
	match   map[string]bool            // schemes
	decides map[string]authorities     // by dataset
	done    annona.Loaded
	report  LoadReport

	mu   sync.Mutex // of load, done, report, told, seen, named, learned, blocks, kept, confirms, apart and unheard: a heart beats beside the writes, of which two may go on
	load annona.Load
	told time.Time // when the registry was last told that the load runs
	stop func()    // of the heart
	last *turn     // of the write that was begun last

	apart spacing // of its writes

	follows bool // the source has loaded before
	unheard int  // above 0, nothing of the source is believed to be on file but what the load has brought: see comesFirst

	// of a full load:
	named   map[string]*roaring64.Bitmap // numbers of the records that rows have named, by dataset
	first   maphash.Hash                 // of the first pass
	second  maphash.Hash
	decided bool // the guard let it pass
	rows    int  // of the first pass

	rejected int                   // rows that could not be read
	seen     map[string]*sightings // of what has been written, by dataset

	known   *KnownRows        // nil: it keeps nothing of rows
	learned []annona.KnownRow // that are not in a block yet
	blocks  []int64           // that it has written
	kept    int               // rows in these

	confirms confirmed // by this load
	newer    confirmed // by loads of the source for later moments
}

// StartLoad begins a load that writes what rows say, as of now. See BeginLoad.
func (x *Exchange) StartLoad(ctx context.Context, caller annona.Caller, source string, areas []annona.Area) (*Loading, error) {
	return x.BeginLoad(ctx, caller, LoadOrder{Source: source, Areas: areas})
}

func operatorOnly(caller annona.Caller) error {
	if !caller.IsOperator() {
		return annona.Forbidden("operator_only", "only the operator of the registry may do this")
	}
	return nil
}

// Put writes records, households before the individuals who join them, in one transaction
// with its events and its ledger entry.
func (l *Loading) Put(ctx context.Context, records ...[]annona.Record) (annona.Loaded, error) {
	batch, err := l.MakeReady(records...)
	if err != nil {
		return annona.Loaded{}, err
	}
	return l.Write(ctx, batch)
}

// MakeReady does what can be done with records before they are written, in the order of the source.
// One call at a time, but beside Write. Households stand before the individuals who join them.
func (l *Loading) MakeReady(records ...[]annona.Record) (*Batch, error) {
	if l.order.Mode == ModeFull && !l.decided {
		return nil, errUndecided()
	}
	count := 0
	for _, some := range records {
		count += len(some)
	}
	b, keys := newBatch(count), &recordKeys{hashes: l.x.Vault, known: map[batchKey]string{}}
	b.moves = l.x.indexMoves()
	for _, some := range records {
		for i := range some {
			l.note(&l.second, &some[i])
			r, err := l.x.prepare(&some[i], keys)
			if err != nil {
				return nil, err
			}
			l.complete(&r)
			b.add(r)
		}
	}
	return b, nil
}

// Write writes batches, one behind the other, in one transaction with its events and its ledger
// entry: few records in one that others may share.
func (l *Loading) Write(ctx context.Context, batches ...*Batch) (annona.Loaded, error) {
	return l.begin(batches)(ctx)
}

// WriteBehind begins to write batches as Write does, beside the write that was begun before it. It
// returns at once; wait says how it ended. One call at a time.
func (l *Loading) WriteBehind(ctx context.Context, batches ...*Batch) (wait func() error) {
	write, done := l.begin(batches), make(chan error, 1)
	go func() {
		_, err := write(ctx)
		done <- err
	}()
	return func() error { return <-done }
}

// begin gives a write its turn behind the one that was begun last.
func (l *Loading) begin(batches []*Batch) (write func(context.Context) (annona.Loaded, error)) {
	before, mine := l.last, newTurn()
	l.last = mine
	return func(ctx context.Context) (loaded annona.Loaded, err error) {
		defer func() { mine.end(err) }()
		if err := l.x.mayLoad(ctx, l.caller, l.order); err != nil {
			return loaded, err
		}
		batch := joinBatches(batches)
		wrote, err := l.write(ctx, batch, before)
		if err != nil {
			return loaded, err
		}
		l.add(wrote)
		return wrote.Loaded, nil
	}
}

// write writes a batch. Where a row that is known is not on file as it says, it is mapped, and written as
// one that is not.
func (l *Loading) write(ctx context.Context, b *Batch, before *turn) (outcome, error) {
	for {
		o, err := l.writeReady(ctx, b, before)
		if !errors.Is(err, errUnmapped) {
			return o, err
		}
		if b, err = l.mapped(b); err != nil {
			return outcome{}, err
		}
	}
}

func (l *Loading) writeReady(ctx context.Context, b *Batch, before *turn) (outcome, error) {
	if shared := l.isShared(b); shared || len(l.match) > 0 || l.keepsApart() { // somebody whom the write before it brings may be matched
		if err := before.await(ctx, 0); err != nil {
			return outcome{}, err
		}
		if shared {
			return l.writeShared(ctx, b)
		}
		before = nil
	}
	return l.writeAlone(ctx, b, before)
}

// writeAlone writes a batch in a transaction of its own. What can be done before the write before it has
// ended is done beside that.
func (l *Loading) writeAlone(ctx context.Context, b *Batch, before *turn) (outcome, error) {
	s := &share{load: l, batch: b, before: before}
	err := group{s}.commit(ctx)
	l.space(s, err)
	if errors.Is(err, errTooEarly) {
		if err := before.await(ctx, 0); err != nil {
			return outcome{}, err
		}
		s = &share{load: l, batch: b}
		err = group{s}.commit(ctx)
	}
	return s.outcome, err
}

// mostDoubts is how many transactions of a load may run again until the source is not believed any more to report
// everything for the first time: most run again for other reasons.
const mostDoubts = 3

// comesFirst reports whether all keys of a transaction are believed to come for the first time: the source has never
// loaded before, and a key that stands on two rows is seldom.
func (l *Loading) comesFirst(runs int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if runs == 1 {
		return l.unheard > 0
	}
	l.unheard = max(l.unheard-1, 0)
	return false
}

// Alone reports whether nobody else wants to write to the registry, so that nobody waits for a long
// transaction.
func (l *Loading) Alone() bool { return l.x.Writer.Alone() }

// complete adds to a prepared record what the load says of all its records.
func (l *Loading) complete(r *prepared) {
	r.AsOf, r.Match = l.load.AsOf, l.matches(r)
}

// matches returns the identifiers by which a record may be on file under another source's key, under
// every version of their key.
func (l *Loading) matches(r *prepared) (matches []annona.IdentifierIndex) {
	if len(l.match) == 0 || r.Dataset.Name != "individuals" {
		return nil
	}
	for _, g := range r.said.Groups {
		if g.Field.Group != "identifiers" {
			continue
		}
		for _, id := range l.x.indexBy(g, l.x.Vault.BlindIndexes) {
			if l.match[id.Scheme] {
				matches = append(matches, id)
			}
		}
	}
	return matches
}

// rehash makes the hashes of a batch anew that were made before the indexes have moved.
func (l *Loading) rehash(b *Batch) {
	moves := l.x.indexMoves()
	if b.moves == moves {
		return
	}
	for i := range b.records {
		r := &b.records[i]
		r.Identifiers = l.x.identifiersOf(r.said)
		l.complete(r)
		b.keys[i] = r.RecordKey
	}
	b.moves = moves
}

// commit makes the last writes of a transaction: the load as it stands, and the ledger entry.
func (l *Loading) commit(ctx context.Context, tx annona.Tx, step string, wrote outcome) error {
	load := l.snapshot(StateRunning, wrote)
	if l.order.Mode == ModeUndo { // what it has changed back is not confirmed any more, even if it breaks now
		var err error
		if load.Confirmed, err = l.confirms.with(wrote.settled).encode(); err != nil {
			return err
		}
	}
	if err := tx.PutLoad(ctx, &load); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, l.entry(step, wrote.Loaded))
}

// outcome is what a transaction did: it counts once that has been committed.
type outcome struct {
	annona.Loaded
	outside map[string]int // words against an authority, by dataset.field
	tally   Tally
	named   map[string][]annona.Number // of a full load: the records that were met, by dataset
	sighted []sighted                  // records that were met for the first time
	// doubtful: a record is on file as it is reported, though an earlier row has said something else of it. Perhaps
	// it was found before that row was written.
	doubtful bool
	repeats  []Repeat
	settled  map[string][]annona.Number // records that were found unchanged, by dataset; of an undo, that were changed back
	told     bool                       // the registry, that the load runs

	learned  []annona.KnownRow // what became of rows
	met      []int64           // blocks of rows that are as they were, one for each row
	blocks   []int64           // that were written
	keptRows int               // in these
}

func (o *outcome) settle(dataset string, number annona.Number) {
	if o.settled == nil {
		o.settled = map[string][]annona.Number{}
	}
	o.settled[dataset] = append(o.settled[dataset], number)
}

func (o *outcome) meet(dataset string, number annona.Number) {
	if o.named != nil {
		o.named[dataset] = append(o.named[dataset], number)
	}
}

// add counts what a transaction did after its commit.
func (l *Loading) add(o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = sum(l.done, o.Loaded)
	l.report.add(o)
	if o.told {
		l.told = l.x.Clock()
	}
	for _, s := range o.sighted {
		l.seen[s.dataset].remember(s.number, s.row)
	}
	for dataset, numbers := range o.settled {
		l.confirms.add(dataset, numbers)
	}
	for dataset, numbers := range o.named {
		for _, n := range numbers {
			l.named[dataset].Add(uint64(n))
		}
	}
	l.addRows(&o)
}

func sum(a, b annona.Loaded) annona.Loaded {
	a.Created += b.Created
	a.Changed += b.Changed
	a.Unchanged += b.Unchanged
	a.Erased += b.Erased
	a.Unresolved += b.Unresolved
	a.Deleted += b.Deleted
	a.Restored += b.Restored
	a.Stale += b.Stale
	return a
}

// settling is what becomes of a batch: records that come on file, and those on file that it revises.
type settling struct {
	writes
	outcome
	heads
	revisions []*revision
}

// settle decides what becomes of each record of a batch that was found. Of what the source reports as
// it is on file, nothing is sealed and nothing written.
func (l *Loading) settle(b *Batch, known []annona.Known, areas *areas) (settling, error) {
	s := settling{writes: newWrites(known), outcome: outcome{tally: Tally{Misfits: b.misfits()}}}
	for _, again := range b.again {
		first := b.records[again.first].said
		s.repeat(&again.row, Place{File: first.File, Line: first.Line})
	}
	if l.order.Mode == ModeFull {
		s.named = map[string][]annona.Number{}
	}
	households, _ := l.x.CurrentDictionary().Dataset("households")
	var others []met
	b.unfit = map[int]bool{}
	for i, k := range known {
		switch {
		case k.Erased:
			s.Erased++
			continue
		case l.repeats(&b.records[i], &known[i], &s.outcome):
			continue
		case k.Same:
			s.Unchanged++
			s.settle(b.keys[i].Dataset.Name, k.Number)
		case b.records[i].isUnmapped:
			b.unfit[i] = true
			continue
		case k.Version == 0:
			r, err := l.bring(&b.records[i], k, &s.outcome)
			if err != nil {
				return s, err
			}
			if err := areas.settle(&r.StoredRecord, nil); err != nil {
				return s, err
			}
			s.add(r.StoredRecord, versions{next: r.sealed})
			s.broughtBy(b, &r, known, households)
		default:
			others = append(others, met{&b.records[i], k})
		}
		s.meet(b.keys[i].Dataset.Name, k.Number)
	}
	if len(b.unfit) > 0 {
		return s, errUnmapped
	}
	l.learn(b, known, &s.outcome)
	s.revisions = gather(others)
	return s, nil
}

// put writes what was settled and sealed. Where something was, the load and its entry come last.
func (l *Loading) put(ctx context.Context, tx annona.Tx, b *Batch, s *settling) error {
	loaded, err := s.upsert(ctx, l.x, tx, l.author())
	if err != nil {
		return err
	}
	s.Loaded = sum(sum(loaded, s.Loaded), b.repeated)
	if err := l.settleHeads(ctx, tx, s); err != nil {
		return err
	}
	if err := l.keepRows(ctx, tx, &s.outcome); err != nil {
		return err
	}
	switch {
	case s.Created+s.Changed > 0:
		s.told = true
		return l.commit(ctx, tx, "batch", s.outcome)
	case l.isSilentFor(beat / 2):
		s.told = true
		load := l.snapshot(StateRunning, s.outcome)
		return tx.PutLoad(ctx, &load)
	}
	return nil
}

// bring completes a record that comes on file.
func (l *Loading) bring(r *prepared, k annona.Known, o *outcome) (prepared, error) {
	first := *r
	first.Number, first.Version = k.Number, 1
	var died death
	died.read(r.said.Values)
	day := annona.DateOf(l.load.AsOf.UTC())
	first.Memberships = died.end(onePrimary(lasting(first.Memberships), nil, day), day)
	ambiguous := len(k.Matched) > 1
	if !ambiguous && !l.x.CurrentDictionary().HasAuthority(r.Dataset.Name) {
		return first, nil
	}
	words := wordsOf(r.said)
	if ambiguous {
		o.tally.Ambiguous++
		words = append(words, l.x.flag(r.Dataset, flagDuplicate, "", l.load.AsOf))
	}
	authority := l.decides[r.Dataset.Name]
	for i := range words {
		if authority(words[i].unit) != "" {
			words[i].origins = []origin{l.origin()}
		}
	}
	return l.x.split(first, words)
}

// versions are the images of a record that is about to change: the one to be sealed, and what is
// on file.
type versions struct {
	next  annona.Image
	known annona.Known
	was   *was // what is kept of the one on file; nil: just that
}

// former is what is kept of the record on file, to be sealed; nothing of one that was not there, or
// that was deleted: what was kept then stays.
func (v *versions) former() []byte {
	switch {
	case v.known.Version == 0 || v.known.Deleted:
		return nil
	case v.was != nil:
		return v.was.append(nil)
	}
	plain := wasOf(&v.known)
	return plain.append(nil)
}

// seal seals the new images of records and what the former ones were, all at once.
func seal(ctx context.Context, by annona.Cells, records []annona.StoredRecord, images []versions) error {
	cells := make([]annona.Cell, 0, 2*len(records))
	for i := range records {
		r, v := &records[i], &images[i]
		cell := annona.Cell{Dataset: r.Dataset, Number: r.Number}
		cell.Version, cell.Part, cell.Image = r.Version, annona.PartSealed, v.next
		cells = append(cells, cell)
		cell.Version, cell.Part, cell.Image = v.known.Version, annona.PartBefore, v.former()
		cells = append(cells, cell)
	}
	if err := by.Seal(ctx, cells); err != nil {
		return err
	}
	for i := range records {
		r, was := &records[i], &images[i].known
		r.Sealed = cells[2*i].Image
		switch {
		case was.Deleted:
			r.Before = was.Before
		case was.Version > 0:
			r.Before = annona.Former{Version: was.Version, Clear: cells[2*i+1].Image, Sealed: was.Sealed}.Append(nil)
		}
	}
	return nil
}

// Done returns what the load has done so far.
func (l *Loading) Done() annona.Loaded { return l.done }

// Repeats tells how many rows were left out because an earlier one has the same key, and where the
// first of them stood.
func (l *Loading) Repeats() (count int, places []Repeat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report.Repeated, slices.Clone(l.report.Repeats)
}

// Mode returns the mode of the load.
func (l *Loading) Mode() string { return l.order.Mode }

// Info returns the load as it is on file.
func (l *Loading) Info(ctx context.Context) (LoadInfo, error) {
	load, err := l.x.Loads.LoadByID(ctx, l.load.ID)
	if err != nil {
		return LoadInfo{}, err
	}
	return l.x.infoOf(load)
}

// ID returns the id of the load.
func (l *Loading) ID() annona.UID { return l.load.ID }

func (l *Loading) entry(step string, n annona.Loaded) annona.LedgerRow {
	facts := audit.Facts{Verb: annona.VerbImport, Details: map[string]string{
		"step": step, "source": l.order.Source, "mode": l.order.Mode, "load": l.load.ID.String(), "as_of": annona.Instant(l.load.AsOf),
		"created": strconv.Itoa(n.Created), "changed": strconv.Itoa(n.Changed), "unchanged": strconv.Itoa(n.Unchanged),
		"erased": strconv.Itoa(n.Erased), "deleted": strconv.Itoa(n.Deleted), "stale": strconv.Itoa(n.Stale),
	}}
	return audit.Change(l.x.Clock(), l.request, facts, l.caller, nil)
}

func (l *Loading) origin() origin {
	return origin{source: l.order.Source, asOf: l.load.AsOf, receivedAt: l.load.StartedAt}
}
