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

// StartLoad begins a load and records that it did. Only the operator may.
func (x *Exchange) StartLoad(ctx context.Context, caller annona.Caller, source string, areas []annona.Area) (*Load, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	l := &Load{x: x, caller: caller, request: annona.NewUID(), source: source}
	entry := l.entry("started", annona.Loaded{})
	err := x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutAreas(ctx, areas); err != nil {
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
	var stored []annona.StoredRecord
	for _, some := range records {
		for i := range some {
			s, err := l.x.prepare(&some[i])
			if err != nil {
				return annona.Loaded{}, err
			}
			stored = append(stored, s)
		}
	}
	var loaded annona.Loaded
	err := l.x.Writer.Update(ctx, func(tx annona.Tx) (err error) {
		if loaded, err = tx.Upsert(ctx, l.caller.Operator, stored); err != nil {
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
	l.done.Created += loaded.Created
	l.done.Changed += loaded.Changed
	l.done.Unchanged += loaded.Unchanged
	l.done.Unresolved += loaded.Unresolved
	return loaded, nil
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
	}}
	return audit.Change(l.x.Clock(), l.request, facts, l.caller, nil)
}

// prepare splits a record as the dictionary says: the clear image, the sealed one, and the
// values that filters need beside them.
func (x *Exchange) prepare(r *annona.Record) (annona.StoredRecord, error) {
	derive(r)
	s := annona.StoredRecord{
		Dataset: r.Dataset, Source: r.Source, Key: r.Key,
		Memberships: r.Memberships, Relationships: r.Relationships,
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
	var sealed annona.Image
	for n, p := range parts {
		if n > 0 && p.field == parts[n-1].field {
			return s, annona.Invalid("field_twice", "a record gives a field twice").On(p.field.Code)
		}
		if p.field.IsSealed() {
			sealed = sealed.AppendValue(p.field.ImageTag(), p.text)
		} else {
			s.Clear = s.Clear.AppendValue(p.field.ImageTag(), p.text)
		}
	}
	s.Digest = x.Vault.Digest(content(r, s.Clear, sealed))
	var err error
	s.Sealed, s.KeyMaterial, err = x.Vault.Seal(r.Dataset.Name, sealed)
	return s, err
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

// index makes the blind index of each identifier.
func (x *Exchange) index(g annona.GroupItems) []annona.IdentifierIndex {
	var out []annona.IdentifierIndex
	for _, item := range g.Items {
		scheme, key := valueOf(item, "scheme"), annona.IdentifierKey(valueOf(item, "value"))
		if scheme == "" || key == "" {
			continue
		}
		out = append(out, annona.IdentifierIndex{
			Scheme: scheme, Hash: x.Vault.BlindIndex(scheme, key), Shareable: shareable[scheme],
		})
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
