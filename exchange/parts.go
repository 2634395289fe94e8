package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// part is one of the records that were merged into one. was has its images, its keys, its memberships
// and its relationships.
type part struct {
	number  annona.Number
	stored  annona.Part
	plain   []byte // what stored.Own seals
	was     was    // others: all its other keys
	now     standing
	changed bool
}

// keptPart is a part as an event keeps it.
type keptPart struct {
	number annona.Number
	plain  []byte
}

// ownOf is the encoding of a part: what it is, and the image that a record seals, each behind its
// length.
func ownOf(w *was, sealed annona.Image) []byte {
	return annona.AppendItem(annona.AppendItem(nil, w.append(nil)), sealed)
}

func parseOwn(plain []byte) (w was, sealed annona.Image, err error) {
	items, err := cutItems(plain)
	if err != nil || len(items) != 2 {
		return w, nil, errWas()
	}
	w, err = parseWas(items[0])
	return w, items[1], err
}

// openParts opens what records consist of, of those that others were merged into.
func (x *Exchange) openParts(ctx context.Context, by annona.Cells, revisions []*revision) error {
	var cells []annona.Cell
	for _, v := range revisions {
		for _, p := range v.known.Parts {
			cells = append(cells, annona.Cell{Dataset: v.known.Key.Dataset, Number: p.Number, Version: p.Version, Part: annona.PartOwn, Image: slices.Clone(p.Own)})
		}
	}
	if len(cells) == 0 {
		return nil
	}
	if err := by.OpenCells(ctx, cells); err != nil {
		return err
	}
	for _, v := range revisions {
		v.parts, v.former.parts = nil, nil
		for _, stored := range v.known.Parts {
			p := &part{number: stored.Number, stored: stored, plain: cells[0].Image}
			cells = cells[1:]
			if err := x.readPart(v, p); err != nil {
				return err
			}
			v.parts = append(v.parts, p)
			v.former.parts = append(v.former.parts, keptPart{p.number, p.plain})
		}
	}
	return nil
}

// readPart reads what a part says, with the moment at which its first key was last reported.
func (x *Exchange) readPart(v *revision, p *part) error {
	dataset := v.known.Key.Dataset
	w, sealed, err := parseOwn(p.plain)
	if err != nil {
		return err
	}
	r, err := recordOf(x.CurrentDictionary(), dataset, w.clear, sealed)
	if err != nil {
		return err
	}
	if k := v.keyOnFile(w.first.source, w.first.key); k != nil {
		w.first = keptOf(k)
	}
	p.was = w
	p.now = standing{source: w.first.source, asOf: w.first.asOf, words: wordsOf(&r), memberships: w.memberships, relationships: w.relationships}
	return nil
}

// keyOnFile returns a key that leads to the record, with what was last reported under it.
func (v *revision) keyOnFile(source, key string) *annona.RecordKey {
	is := func(k annona.RecordKey) bool { return k.Source == source && k.Key == key }
	if is(v.known.Key) {
		return &v.known.Key
	}
	if at := slices.IndexFunc(v.known.OtherKeys, is); at >= 0 {
		return &v.known.OtherKeys[at]
	}
	return nil
}

// wholePart makes a part of a record that is of one piece.
func wholePart(v *revision) *part {
	own := wasOf(&v.known)
	for i := range v.known.OtherKeys {
		own.others = append(own.others, keptOf(&v.known.OtherKeys[i]))
	}
	return &part{number: v.known.Number, plain: ownOf(&own, v.sealed), was: own, now: v.now, changed: true}
}

// has reports whether a key leads to this part.
func (p *part) has(source, key string) bool {
	is := func(k keptKey) bool { return k.source == source && k.key == key }
	return is(p.was.first) || slices.ContainsFunc(p.was.others, is)
}

// keys returns all keys of a part, its first one first.
func (p *part) keys() []keptKey { return append([]keptKey{p.was.first}, p.was.others...) }

// partOf returns the part that a report is about: that to which its key leads; of a key that is new,
// that which holds the identifier by which the record was found; else the record itself.
func (x *Exchange) partOf(v *revision, r *annona.RecordKey) *part {
	for _, p := range v.parts {
		if p.has(r.Source, r.Key) {
			return p
		}
	}
	for _, p := range v.parts {
		if len(r.Match) > 0 && x.holds(p, r.Match) {
			return p
		}
	}
	return v.parts[0]
}

func (x *Exchange) holds(p *part, ids []annona.IdentifierIndex) bool {
	for _, w := range p.now.words {
		if w.group == nil || w.group.Group != "identifiers" {
			continue
		}
		for _, held := range x.index(annona.GroupItems{Field: w.group, Items: w.items}) {
			same := func(id annona.IdentifierIndex) bool {
				return id.Scheme == held.Scheme && string(id.Hash) == string(held.Hash)
			}
			if slices.ContainsFunc(ids, same) {
				return true
			}
		}
	}
	return false
}

// report merges a report into a record: into its part, where it has some.
func (x *Exchange) report(v *revision, r said, key *annona.RecordKey, authority authorities) (next standing, outside []string) {
	if len(v.parts) == 0 {
		return merge(v.now, r, authority)
	}
	p := x.partOf(v, key)
	r.first = p.was.first.source == key.Source && p.was.first.key == key.Key
	own, outside := merge(p.now, r, authority)
	if !p.now.same(&own) {
		p.changed = true
	}
	if !p.has(key.Source, key.Key) {
		p.was.others, p.changed = append(p.was.others, keptOf(key)), true
	}
	p.now = own
	return x.unite(v.known.Key.Dataset, v.parts, authority), outside
}

// unite puts parts together.
func (x *Exchange) unite(dataset *annona.Dataset, parts []*part, authority authorities) standing {
	if len(parts) == 1 {
		return parts[0].now
	}
	u := unity{authority: authority, flag: x.differFlag(dataset), inside: func(t annona.Relationship) bool {
		return slices.ContainsFunc(parts, func(p *part) bool { return t.To == p.number || p.has(t.Source, t.ToKey) })
	}}
	all := make([]standing, len(parts))
	for i, p := range parts {
		all[i] = p.now
	}
	return u.unite(all)
}

// partsWrite is what a record consists of, about to be written.
type partsWrite struct {
	dataset *annona.Dataset
	record  annona.Number
	version int // of the record
	parts   []*part
}

// anyChanged reports whether a part of the record has changed.
func (v *revision) anyChanged() bool {
	return slices.ContainsFunc(v.parts, func(p *part) bool { return p.changed })
}

// putParts seals and writes what records consist of.
func (x *Exchange) putParts(ctx context.Context, tx annona.Tx, all []partsWrite) error {
	for _, w := range all {
		if err := x.sealParts(ctx, w); err != nil {
			return err
		}
		stored := make([]annona.Part, len(w.parts))
		for i, p := range w.parts {
			stored[i] = p.stored
		}
		if err := tx.PutParts(ctx, w.dataset, w.record, stored); err != nil {
			return err
		}
	}
	return nil
}

func (x *Exchange) sealParts(ctx context.Context, w partsWrite) error {
	var changed []*part
	var cells []annona.Cell
	for _, p := range w.parts {
		if !p.changed {
			continue
		}
		s, err := x.split(prepared{StoredRecord: annona.StoredRecord{RecordKey: annona.RecordKey{Dataset: w.dataset}}}, p.now.words)
		if err != nil {
			return err
		}
		own := p.was
		own.clear, own.memberships, own.relationships = s.Clear, p.now.memberships, p.now.relationships
		changed = append(changed, p)
		cells = append(cells, annona.Cell{Dataset: w.dataset, Number: p.number, Version: w.version, Part: annona.PartOwn, Image: ownOf(&own, s.sealed)})
	}
	if err := x.Vault.Seal(ctx, cells); err != nil {
		return err
	}
	for i, p := range changed {
		p.stored = annona.Part{Number: p.number, Version: w.version, Own: cells[i].Image}
	}
	return nil
}

// formerParts makes a record consist of what it consisted of before.
func (x *Exchange) formerParts(v *revision, kept []keptPart) error {
	if len(kept) == 0 {
		return nil
	}
	v.parts = nil
	for _, k := range kept {
		p := &part{number: k.number, plain: k.plain, changed: true}
		if err := x.readPart(v, p); err != nil {
			return err
		}
		v.parts = append(v.parts, p)
	}
	return nil
}
