package exchange

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
)

// prepared is a record that is ready but for its number, its version and its seal.
type prepared struct {
	annona.StoredRecord
	sealed annona.Image   // the image that is to be sealed
	said   *annona.Record // what the source said
	// misfits: an identifier is not of the form of its declared type.
	misfits bool
	// isUnmapped: it is of a row that is known, and has no content.
	isUnmapped bool
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
	rows     []batchRow    // which became the records; none: nobody keeps what becomes of rows
	unfit    map[int]bool  // records of known rows that are not on file as these say; nil: none that is known of
	parts    []*Batch      // of which it was joined; none: it is of one piece
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
	all.parts = batches
	for i, b := range batches {
		if i == 0 || b.moves < all.moves {
			all.moves = b.moves
		}
		places := make([]int, len(b.records))
		for n, r := range b.records {
			places[n] = all.add(r)
		}
		all.addRows(b.rows, places)
		for _, again := range b.again {
			all.add(again.row)
		}
		all.repeated = sum(all.repeated, b.repeated)
	}
	return all
}

// addRows adds the rows of another batch, whose records have those places in this one.
func (b *Batch) addRows(rows []batchRow, places []int) {
	for _, row := range rows {
		of := row.places
		row.places = make([]int, len(of))
		for i, at := range of {
			if row.places[i] = -1; at >= 0 {
				row.places[i] = places[at]
			}
		}
		b.rows = append(b.rows, row)
	}
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
// same is counted as unchanged. It returns the place of the record that counts; -1 when that says something else.
func (b *Batch) add(r prepared) int {
	k := batchKey{r.Dataset.Name, r.Source, r.Key}
	at, twice := b.at[k]
	if !twice {
		b.at[k] = len(b.records)
		b.records, b.keys = append(b.records, r), append(b.keys, r.RecordKey)
		return b.at[k]
	}
	switch {
	case b.keys[at].Digest == r.Digest:
		b.repeated.Unchanged++
		return at
	case r.said.Line > 0 && b.records[at].said.Line > 0:
		b.again = append(b.again, repeated{r, at})
		return -1
	}
	b.repeated.Changed++
	b.records[at], b.keys[at] = r, r.RecordKey
	return at
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
