package exchange

import (
	"context"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Load is one run of an import: batches of records from one source, under one request in the
// ledger.
type Load struct {
	x       *Exchange
	caller  annona.Caller
	request annona.UID
	source  string
	done    annona.Loaded
}

// StartLoad begins a load and records that it did. Only the operator may. Of the areas those come
// on file that are not; what is on file of the others stays.
func (x *Exchange) StartLoad(ctx context.Context, caller annona.Caller, source string, areas []annona.Area) (*Load, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	l := &Load{x: x, caller: caller, request: annona.NewUID(), source: source}
	entry := l.entry("started", annona.Loaded{})
	err := x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := x.addAreas(ctx, tx, areas); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, entry)
	})
	return l, err
}

func operatorOnly(caller annona.Caller) error {
	if !caller.IsOperator() {
		return annona.Forbidden("operator_only", "only the operator of the registry may do this")
	}
	return nil
}

// Put writes one batch, households before the individuals who join them, in one transaction
// with its events and its ledger entry.
func (l *Load) Put(ctx context.Context, records ...[]annona.Record) (annona.Loaded, error) {
	batch := newBatch()
	for _, some := range records {
		for i := range some {
			r, err := l.x.prepare(&some[i])
			if err != nil {
				return annona.Loaded{}, err
			}
			batch.add(r)
		}
	}
	var loaded annona.Loaded
	err := l.x.Writer.Update(ctx, func(tx annona.Tx) (err error) {
		if loaded, err = l.write(ctx, tx, batch); err != nil {
			return err
		}
		if loaded.Created+loaded.Changed == 0 {
			return nil
		}
		return tx.AppendEntry(ctx, l.entry("batch", loaded))
	})
	if err != nil {
		return annona.Loaded{}, err
	}
	l.done = sum(l.done, loaded)
	return loaded, nil
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

// write takes the way of a record into the store, in the store's transaction, which may run again:
// it is found, sealed under its number and its next version, and written. Of what the source
// reports as it is on file, nothing is sealed and nothing written.
func (l *Load) write(ctx context.Context, tx annona.Tx, b *batch) (annona.Loaded, error) {
	areas, err := l.x.relyOnAreas(ctx, tx, b)
	if err != nil {
		return annona.Loaded{}, err
	}
	known, err := tx.Find(ctx, b.keys)
	if err != nil {
		return annona.Loaded{}, err
	}
	var left annona.Loaded
	var changed []annona.StoredRecord
	var images []versions
	for i, k := range known {
		switch {
		case k.Erased:
			left.Erased++
		case k.Same:
			left.Unchanged++
		default:
			r := b.records[i].StoredRecord
			r.Number, r.Version = k.Number, k.Version+1
			if err := areas.settle(&r, k.Clear); err != nil {
				return left, err
			}
			changed, images = append(changed, r), append(images, versions{b.records[i].sealed, k})
		}
	}
	if err := l.x.seal(ctx, changed, images); err != nil {
		return left, err
	}
	loaded, err := tx.Upsert(ctx, annona.Author{Operator: l.caller.Operator}, changed)
	return sum(sum(loaded, left), b.repeated), err
}

// versions are the images of a record that is about to change: the one to be sealed, and what is
// on file.
type versions struct {
	next  annona.Image
	known annona.Known
}

// seal seals the new images of records and what the former ones were, all at once.
func (x *Exchange) seal(ctx context.Context, records []annona.StoredRecord, images []versions) error {
	cells := make([]annona.Cell, 0, 2*len(records))
	for i := range records {
		r, was := &records[i], images[i].known
		cell := annona.Cell{Dataset: r.Dataset, Number: r.Number}
		cell.Version, cell.Part, cell.Image = r.Version, annona.PartSealed, images[i].next
		cells = append(cells, cell)
		cell.Version, cell.Part, cell.Image = was.Version, annona.PartBefore, was.Clear
		cells = append(cells, cell)
	}
	if err := x.Vault.Seal(ctx, cells); err != nil {
		return err
	}
	for i := range records {
		r, was := &records[i], images[i].known
		r.Sealed = cells[2*i].Image
		if was.Version > 0 {
			r.Before = annona.Former{Version: was.Version, Clear: cells[2*i+1].Image, Sealed: was.Sealed}.Append(nil)
		}
	}
	return nil
}

// Done returns what the load has done so far.
func (l *Load) Done() annona.Loaded { return l.done }

// Finish records the end of the load and returns what it did.
func (l *Load) Finish(ctx context.Context) (annona.Loaded, error) {
	entry := l.entry("finished", l.done)
	return l.done, l.x.Writer.Update(ctx, func(tx annona.Tx) error { return tx.AppendEntry(ctx, entry) })
}

func (l *Load) entry(step string, n annona.Loaded) annona.LedgerRow {
	facts := audit.Facts{Verb: annona.VerbImport, Details: map[string]string{
		"step": step, "source": l.source,
		"created": strconv.Itoa(n.Created), "changed": strconv.Itoa(n.Changed), "unchanged": strconv.Itoa(n.Unchanged),
		"erased": strconv.Itoa(n.Erased),
	}}
	return audit.Change(l.x.Clock(), l.request, facts, l.caller, nil)
}

// prepared is a record that is ready but for its number, its version and its seal.
type prepared struct {
	annona.StoredRecord
	sealed annona.Image // the image that is to be sealed
}

// batch is what is written in one transaction, each record once.
type batch struct {
	records  []prepared
	keys     []annona.RecordKey // of the records
	at       map[batchKey]int
	repeated annona.Loaded // rows that a later one of the same record has replaced
	runs     int           // of the transaction that writes it
}

type batchKey struct{ dataset, source, key string }

func newBatch() *batch { return &batch{at: map[batchKey]int{}} }

// add adds a record. Of several of one key the last one counts; those before it are counted as
// changed, or as unchanged when they say the same.
func (b *batch) add(r prepared) {
	k := batchKey{r.Dataset.Name, r.Source, r.Key}
	at, twice := b.at[k]
	if !twice {
		b.at[k] = len(b.records)
		b.records, b.keys = append(b.records, r), append(b.keys, r.RecordKey)
		return
	}
	if b.keys[at].Digest == r.Digest {
		b.repeated.Unchanged++
	} else {
		b.repeated.Changed++
	}
	b.records[at], b.keys[at] = r, r.RecordKey
}

// prepare splits a record as the dictionary says: the clear image, the one to be sealed, and the
// values that filters need beside them. The source's keys become record keys: what the source
// calls somebody lies nowhere.
func (x *Exchange) prepare(r *annona.Record) (prepared, error) {
	if r.Source == "" || r.Key == "" {
		return prepared{}, annona.Invalid("record_without_key", "a record names its source and has a key there")
	}
	derive(r)
	s := prepared{StoredRecord: annona.StoredRecord{
		RecordKey:   annona.RecordKey{Dataset: r.Dataset, Source: r.Source, Key: x.Vault.RecordKey(r.Dataset.Name, r.Source, r.Key)},
		Memberships: slices.Clone(r.Memberships), Relationships: slices.Clone(r.Relationships),
	}}
	if err := x.hideKeys(&s); err != nil {
		return s, err
	}
	parts := make([]imagePart, 0, len(r.Values)+len(r.Groups))
	for _, v := range r.Values {
		parts = append(parts, imagePart{v.Field, []byte(v.Text)})
		if v.Field.Filter == annona.FilterRange && v.Text != "" {
			s.Index = append(s.Index, v)
		}
	}
	for _, g := range r.Groups {
		parts = append(parts, imagePart{g.Field, packItems(g)})
		if g.Field.Code == "quality_flags" {
			s.Index = append(s.Index, annona.Value{Field: g.Field, Text: flagCodes(g)})
		}
		if g.Field.Group == "identifiers" {
			s.Identifiers = append(s.Identifiers, x.index(g)...)
		}
	}
	slices.SortStableFunc(parts, func(a, b imagePart) int { return int(a.field.ImageTag()) - int(b.field.ImageTag()) })
	for n, p := range parts {
		if n > 0 && p.field == parts[n-1].field {
			return s, annona.Invalid("field_twice", "a record gives a field twice").On(p.field.Code)
		}
		if p.field.IsSealed() {
			s.sealed = s.sealed.AppendValue(p.field.ImageTag(), p.text)
		} else {
			s.Clear = s.Clear.AppendValue(p.field.ImageTag(), p.text)
		}
	}
	s.Digest = x.Vault.Digest(content(r, s.Clear, s.sealed))
	return s, nil
}

// hideKeys turns the keys of others that a record names into record keys.
func (x *Exchange) hideKeys(s *prepared) error {
	for i := range s.Memberships {
		m := &s.Memberships[i]
		m.HouseholdKey = x.Vault.RecordKey("households", s.Source, m.HouseholdKey)
		s.Joins = append(s.Joins, m.HouseholdKey)
	}
	for i := range s.Relationships {
		r := &s.Relationships[i]
		if r.ToKey == "" {
			return annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
		}
		r.ToKey = x.Vault.RecordKey("individuals", s.Source, r.ToKey)
	}
	return nil
}

type imagePart struct {
	field *annona.Field
	text  []byte
}

func packItems(g annona.GroupItems) []byte {
	var packed []byte
	for _, item := range g.Items {
		values := slices.Clone(item)
		slices.SortFunc(values, func(a, b annona.Value) int { return int(a.Field.ImageTag()) - int(b.Field.ImageTag()) })
		var image annona.Image
		for _, v := range values {
			image = image.AppendValue(v.Field.ImageTag(), []byte(v.Text))
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
	var out []annona.IdentifierIndex
	for _, item := range g.Items {
		scheme, key := valueOf(item, "scheme"), annona.IdentifierKey(valueOf(item, "value"))
		if scheme == "" || key == "" {
			continue
		}
		issuers := []string{""}
		if issuer := annona.IdentifierKey(valueOf(item, "issuer")); issuer != "" {
			issuers = append(issuers, issuer)
		}
		for _, issuer := range issuers {
			out = append(out, annona.IdentifierIndex{Scheme: scheme, Hash: x.Vault.BlindIndex(scheme, issuer, key), Shareable: shareable[scheme]})
		}
	}
	return out
}

// shareable are the identifier types that several people hold rightly: a household's number
// stands on each member's card.
var shareable = map[string]bool{"household_id_number": true, "program_id_number": true}

// content is all that a source reported of a record, in one canonical form.
func content(r *annona.Record, clear, sealed annona.Image) []byte {
	out := annona.AppendItem(nil, clear)
	out = annona.AppendItem(out, sealed)
	for _, m := range r.Memberships {
		out = appendTexts(out, "membership", m.HouseholdKey, m.Role, m.RoleSourceCode, m.RelationshipToHead,
			m.RecipientType, string(m.StartDate), string(m.EndDate), strconv.FormatBool(m.NotPrimary))
	}
	for _, t := range r.Relationships {
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
