package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"

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

	mu   sync.Mutex // of load, done, report, seen, named and confirms: a heart beats beside the writes, of which two may go on
	load annona.Load
	stop func() // of the heart
	last *turn  // of the write that was begun last

	// of a full load:
	named   map[string]*roaring64.Bitmap // numbers of the records that rows have named, by dataset
	first   maphash.Hash                 // of the first pass
	second  maphash.Hash
	decided bool // the guard let it pass
	rows    int  // of the first pass

	rejected int                   // rows that could not be read
	seen     map[string]*sightings // of what has been written, by dataset

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

func (l *Loading) write(ctx context.Context, b *Batch, before *turn) (outcome, error) {
	if shared := l.isShared(b); shared || len(l.match) > 0 { // somebody whom the write before it brings may be matched
		if err := before.await(ctx, 0); err != nil {
			return outcome{}, err
		}
		if shared {
			return l.writeShared(ctx, b)
		}
	}
	return l.writeAlone(ctx, b, before)
}

// writeAlone writes a batch in a transaction of its own. What can be done before the write before it has
// ended is done beside that.
func (l *Loading) writeAlone(ctx context.Context, b *Batch, before *turn) (outcome, error) {
	s := &share{load: l, batch: b, before: before}
	err := group{s}.commit(ctx)
	if errors.Is(err, errTooEarly) {
		if err := before.await(ctx, 0); err != nil {
			return outcome{}, err
		}
		s = &share{load: l, batch: b, before: before}
		err = group{s}.commit(ctx)
	}
	return s.outcome, err
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
	repeats []Repeat
	settled map[string][]annona.Number // records that were found unchanged, by dataset; of an undo, that were changed back
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
	var others []met
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
		case k.Version == 0:
			r, err := l.bring(&b.records[i], k, &s.outcome)
			if err != nil {
				return s, err
			}
			if err := areas.settle(&r.StoredRecord, nil); err != nil {
				return s, err
			}
			s.add(r.StoredRecord, versions{next: r.sealed})
		default:
			others = append(others, met{&b.records[i], k})
		}
		s.meet(b.keys[i].Dataset.Name, k.Number)
	}
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
	if s.Created+s.Changed == 0 {
		return nil
	}
	return l.commit(ctx, tx, "batch", s.outcome)
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
func (x *Exchange) seal(ctx context.Context, records []annona.StoredRecord, images []versions) error {
	cells := make([]annona.Cell, 0, 2*len(records))
	for i := range records {
		r, v := &records[i], &images[i]
		cell := annona.Cell{Dataset: r.Dataset, Number: r.Number}
		cell.Version, cell.Part, cell.Image = r.Version, annona.PartSealed, v.next
		cells = append(cells, cell)
		cell.Version, cell.Part, cell.Image = v.known.Version, annona.PartBefore, v.former()
		cells = append(cells, cell)
	}
	if err := x.Vault.Seal(ctx, cells); err != nil {
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

// prepared is a record that is ready but for its number, its version and its seal.
type prepared struct {
	annona.StoredRecord
	sealed annona.Image   // the image that is to be sealed
	said   *annona.Record // what the source said
	// misfits: an identifier is not of the form of its declared type.
	misfits bool
}

// Batch is records that are ready to be written, each once.
type Batch struct {
	records  []prepared
	keys     []annona.RecordKey // of the records
	at       map[batchKey]int
	repeated annona.Loaded // rows that a later one of the same record has replaced
	again    []repeated    // rows that an earlier one of the same key contradicts
	runs     int           // of the transaction that writes it
	moves    int64         // of the indexes, when its hashes were made
}

// repeated is a row whose key an earlier one of the batch has.
type repeated struct {
	row   prepared
	first int // of the batch's records
}

type batchKey struct{ dataset, source, key string }

func newBatch(records int) *Batch {
	return &Batch{records: make([]prepared, 0, records), keys: make([]annona.RecordKey, 0, records), at: make(map[batchKey]int, records)}
}

// joinBatches makes one of several.
func joinBatches(batches []*Batch) *Batch {
	if len(batches) == 1 {
		return batches[0]
	}
	count := 0
	for _, b := range batches {
		count += len(b.records)
	}
	all := newBatch(count)
	for i, b := range batches {
		if i == 0 || b.moves < all.moves {
			all.moves = b.moves
		}
		for _, r := range b.records {
			all.add(r)
		}
		for _, again := range b.again {
			all.add(again.row)
		}
		all.repeated = sum(all.repeated, b.repeated)
	}
	return all
}

// misfits is how many records have an identifier that is not of the form of its declared type.
func (b *Batch) misfits() (n int) {
	for i := range b.records {
		if b.records[i].misfits {
			n++
		}
	}
	return n
}

// Records returns how many records there are.
func (b *Batch) Records() int { return len(b.records) }

// add adds a record. Of several rows of one key the first one counts, see repeats.go. Of several
// records that have no place the last one does; those before it are counted as changed. What says the
// same is counted as unchanged.
func (b *Batch) add(r prepared) {
	k := batchKey{r.Dataset.Name, r.Source, r.Key}
	at, twice := b.at[k]
	if !twice {
		b.at[k] = len(b.records)
		b.records, b.keys = append(b.records, r), append(b.keys, r.RecordKey)
		return
	}
	switch {
	case b.keys[at].Digest == r.Digest:
		b.repeated.Unchanged++
		return
	case r.said.Line > 0 && b.records[at].said.Line > 0:
		b.again = append(b.again, repeated{r, at})
		return
	}
	b.repeated.Changed++
	b.records[at], b.keys[at] = r, r.RecordKey
}

// prepare splits a record as the dictionary says: the clear image, the one to be sealed, and the
// values that filters need beside them. The source's keys become record keys: what the source
// calls somebody lies nowhere.
func (x *Exchange) prepare(r *annona.Record, keys *recordKeys) (prepared, error) {
	if r.Source == "" || r.Key == "" {
		return prepared{}, annona.Invalid("record_without_key", "a record names its source and has a key there")
	}
	derive(r)
	s := prepared{said: r, misfits: x.checkIdentifiers(r), StoredRecord: annona.StoredRecord{
		RecordKey:   annona.RecordKey{Dataset: r.Dataset, Source: r.Source, Key: keys.of(r.Dataset.Name, r.Source, r.Key)},
		Memberships: slices.Clone(r.Memberships), Relationships: slices.Clone(r.Relationships),
	}}
	if err := keys.hide(&s); err != nil {
		return s, err
	}
	if err := x.divide(&s, r.Values, r.Groups); err != nil {
		return s, err
	}
	keys.content = appendContent(keys.content[:0], &s)
	s.Digest = x.Vault.Digest(keys.content)
	return s, nil
}

// divide divides values and groups into the two images, and picks out what filters and look-ups need.
func (x *Exchange) divide(s *prepared, values []annona.Value, groups []annona.GroupItems) error {
	indexed := 1
	for _, v := range values {
		if v.Field.Filter == annona.FilterRange {
			indexed++
		}
	}
	s.Index = make([]annona.Value, 0, indexed)
	for _, v := range values {
		if v.Field.Filter == annona.FilterRange && v.Text != "" {
			s.Index = append(s.Index, v)
		}
	}
	for _, g := range groups {
		if g.Field.Code == "quality_flags" {
			s.Index = append(s.Index, annona.Value{Field: g.Field, Text: flagCodes(g)})
		}
		if g.Field.Group == "identifiers" {
			s.Identifiers = append(s.Identifiers, x.index(g)...)
		}
	}
	return s.cut(values, groups)
}

// cut makes the two images of values and groups.
func (s *prepared) cut(values []annona.Value, groups []annona.GroupItems) error {
	p := imageParts{values: values, groups: groups, items: make([][]byte, len(groups))}
	for n, g := range groups {
		p.items[n] = packItems(g)
	}
	var places [manyParts]uint64
	order := p.order(places[:0])
	var clear, sealed int
	var last *annona.Field
	for _, place := range order {
		part := p.at(place)
		if part.field == last {
			return annona.Invalid("field_twice", "a record gives a field twice").On(last.Code)
		}
		if last = part.field; last.IsSealed() {
			sealed += part.size()
		} else {
			clear += part.size()
		}
	}
	s.Clear, s.sealed = make(annona.Image, 0, clear), make(annona.Image, 0, sealed)
	for _, place := range order {
		if part := p.at(place); part.field.IsSealed() {
			s.sealed = part.append(s.sealed)
		} else {
			s.Clear = part.append(s.Clear)
		}
	}
	return nil
}

// split puts the words of a record in the place of what its images said.
func (x *Exchange) split(s prepared, words []word) (prepared, error) {
	values, groups := assemble(x.CurrentDictionary(), s.Dataset, words)
	s.Clear, s.sealed, s.Index, s.Identifiers = nil, nil, nil, nil
	return s, x.divide(&s, values, groups)
}

// hideKeys turns the keys of others that a record names into record keys.
func (k *recordKeys) hide(s *prepared) error {
	for i := range s.Memberships {
		m := &s.Memberships[i]
		m.HouseholdKey = k.of("households", s.Source, m.HouseholdKey)
		s.Joins = append(s.Joins, m.HouseholdKey)
	}
	for i := range s.Relationships {
		r := &s.Relationships[i]
		if r.ToKey == "" {
			return annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
		}
		r.ToKey = k.of("individuals", s.Source, r.ToKey)
	}
	return nil
}

// recordKeys are the record keys of a batch: a household is named by all of its members, and they by
// each other.
type recordKeys struct {
	hashes  annona.Hashes
	known   map[batchKey]string
	content []byte // of one record: memory that is used again
}

func (k *recordKeys) of(dataset, source, key string) string {
	name := batchKey{dataset, source, key}
	hash, known := k.known[name]
	if !known {
		hash = k.hashes.RecordKey(dataset, source, key)
		k.known[name] = hash
	}
	return hash
}

// manyParts is more than nearly every record has: their order then takes no memory of the heap.
const manyParts = 96

// imageParts are the values and groups of a record, which an image has in order of their tags.
type imageParts struct {
	values []annona.Value
	groups []annona.GroupItems
	items  [][]byte // of the groups
}

// order returns the places of the parts, in order of their tags; of one tag, as they came. Numbers are
// cheaper to put in order than the parts.
func (p *imageParts) order(places []uint64) []uint64 {
	for n := range p.values {
		places = append(places, uint64(p.values[n].Field.ImageTag())<<32|uint64(n))
	}
	for n := range p.groups {
		places = append(places, uint64(p.groups[n].Field.ImageTag())<<32|uint64(len(p.values)+n))
	}
	slices.Sort(places)
	return places
}

// at returns the part of a place.
func (p *imageParts) at(place uint64) imagePart {
	n := int(uint32(place))
	if n < len(p.values) {
		return imagePart{field: p.values[n].Field, text: p.values[n].Text}
	}
	n -= len(p.values)
	return imagePart{field: p.groups[n].Field, items: p.items[n]}
}

// imagePart is a value of an image: a text, or the items of a group.
type imagePart struct {
	field *annona.Field
	text  string
	items []byte
}

// size is at least what the part takes up in an image.
func (p imagePart) size() int { return len(p.text) + len(p.items) + 2*binary.MaxVarintLen32 }

func (p imagePart) append(m annona.Image) annona.Image {
	if p.field.Type == annona.TypeGroup {
		return m.AppendValue(p.field.ImageTag(), p.items)
	}
	return m.AppendText(p.field.ImageTag(), p.text)
}

func packItems(g annona.GroupItems) []byte {
	size := 0
	for _, item := range g.Items {
		size += binary.MaxVarintLen32
		for _, v := range item {
			size += imagePart{text: v.Text}.size()
		}
	}
	packed, image := make([]byte, 0, size), make(annona.Image, 0, size)
	for _, item := range g.Items {
		if !slices.IsSortedFunc(item, byTag) {
			item = slices.SortedFunc(slices.Values(item), byTag)
		}
		image = image[:0]
		for _, v := range item {
			image = image.AppendText(v.Field.ImageTag(), v.Text)
		}
		packed = annona.AppendItem(packed, image)
	}
	return packed
}

func flagCodes(g annona.GroupItems) string {
	var codes []byte
	for _, item := range g.Items {
		code := valueOf(item, "code")
		if len(codes) > 0 {
			codes = append(codes, annona.ListSeparator)
		}
		codes = append(codes, code...)
	}
	return string(codes)
}

func valueOf(values []annona.Value, code string) string {
	for _, v := range values {
		if v.Field.Code == code {
			return v.Text
		}
	}
	return ""
}

// index makes the blind indexes of each identifier: one for look-ups that name no issuer and, when
// it has an issuer, one for those that name it.
func (x *Exchange) index(g annona.GroupItems) []annona.IdentifierIndex {
	return x.indexBy(g, func(scheme, issuer, key string) [][]byte { return [][]byte{x.Vault.BlindIndex(scheme, issuer, key)} })
}

func (x *Exchange) indexBy(g annona.GroupItems, hashes func(scheme, issuer, key string) [][]byte) []annona.IdentifierIndex {
	var out []annona.IdentifierIndex
	d := x.CurrentDictionary()
	for _, item := range g.Items {
		scheme, key := valueOf(item, "scheme"), annona.IdentifierKey(valueOf(item, "value"))
		if scheme == "" || key == "" {
			continue
		}
		issuers, issued := []string{""}, annona.IdentifierKey(valueOf(item, "issuer"))
		if issued != "" {
			issuers = append(issuers, issued)
		}
		shareable := d.IdentifierType(scheme).Shareable
		for _, issuer := range issuers {
			for _, hash := range hashes(scheme, issuer, key) {
				out = append(out, annona.IdentifierIndex{Scheme: scheme, Hash: hash, Shareable: shareable || issuer != issued})
			}
		}
	}
	return out
}

// appendContent appends all that a source reported of a record, in one canonical form.
func appendContent(out []byte, r *prepared) []byte {
	out = annona.AppendItem(out, r.Clear)
	out = annona.AppendItem(out, r.sealed)
	for _, m := range r.said.Memberships {
		out = appendTexts(out, "membership", m.HouseholdKey, m.Role, m.RoleSourceCode, m.RelationshipToHead,
			m.RecipientType, string(m.StartDate), string(m.EndDate), strconv.FormatBool(m.NotPrimary))
	}
	for _, id := range r.Identifiers {
		if id.Shareable { // when that is declared otherwise, it is indexed anew
			out = appendTexts(out, "shareable", id.Scheme)
		}
	}
	for _, t := range r.said.Relationships {
		out = appendTexts(out, "relationship", t.ToKey, t.Type, string(t.StartDate), string(t.EndDate), t.EndReason)
	}
	return out
}

func appendTexts(out []byte, texts ...string) []byte {
	for _, text := range texts {
		out = annona.AppendItem(out, annona.Image(text))
	}
	return out
}
