package ingest

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// builder makes the records of a batch. Values and items of all records of a batch lie in two
// slabs, so that a record costs few allocations.
type builder struct {
	ctx      context.Context
	source   string
	bare     *entity
	declared map[string]bool // areas of the mapping
	known    KnownAreas
	areas    map[string]bool // what known has answered
	kept     []keptOutcomes  // by rule
	unkept   outcome         // the last one that is not kept
	cells    []string        // of the views of one row
	report   Report
	flagged  map[flag]int
	faults   map[flag]int // why dates were not taken
	unmapped map[string]map[string]int
	batch    Batch
	values   []annona.Value
	items    [][]annona.Value
	flags    []flag // of the record being built
	survey   annona.Date
	file     int // that is being read, from 1
	line     int // of the row that is being read
	one      [1]member
	err      error // of known

	told   []toldRow                             // of the batch
	noted  rowNotes                              // of the row that is being read
	unsure bool                                  // what becomes of that row is not decided by its text alone
	again  struct{ households, individuals int } // of the batch, of rows that are known
}

// flag is a doubt about a field.
type flag struct{ code, field string }

// frame is a place in a row from which a view is read.
type frame struct {
	cells []string
	node  *jsonValue // of NDJSON
}

func newBuilder(ctx context.Context, m *Mapping, known KnownAreas) *builder {
	b := &builder{
		ctx: ctx, source: m.source, bare: m.bare, declared: map[string]bool{}, known: known, areas: map[string]bool{},
		kept: make([]keptOutcomes, m.rules), flagged: map[flag]int{}, faults: map[flag]int{}, unmapped: map[string]map[string]int{},
	}
	for _, a := range m.areas {
		b.declared[a.Code] = true
	}
	b.report.Unused, b.report.Empty, b.report.Refused = map[string][]string{}, map[string][]string{}, map[string]int{}
	return b
}

// take hands the batch over and begins another of about the same size.
func (b *builder) take() Batch {
	full := b.batch
	b.report.Individuals += len(full.Individuals) + b.again.individuals
	b.report.Households += len(full.Households) + b.again.households
	full.Told = b.rowsTold(&full)
	b.batch, b.told = Batch{}, b.told[:0]
	b.again.households, b.again.individuals = 0, 0
	b.values = make([]annona.Value, 0, len(b.values)+len(b.values)/8)
	b.items = make([][]annona.Value, 0, len(b.items)+len(b.items)/8)
	return full
}

// household emits a household. One that was seen before may stand in this batch already: then
// it stays one record, and the later word holds.
func (b *builder) household(e *entity, f frame, key string, again, onMembersRows bool) {
	record := b.record(e, f, key)
	if onMembersRows {
		record.File, record.Line = 0, 0 // it stands on several, and the later word holds
	}
	if again && onMembersRows {
		for i := range b.batch.Households {
			if b.batch.Households[i].Key == key {
				b.batch.Households[i] = record
				b.doubtRow(i)
				return
			}
		}
	}
	b.batch.Households = append(b.batch.Households, record)
}

// stub emits a household of which only its members tell.
func (b *builder) stub(key string) {
	b.raise(flagHouseholdUnreported, "")
	record := annona.Record{Dataset: b.bare.dataset, Source: b.source, Key: key}
	record.Groups = b.flagGroup(b.bare, nil)
	b.batch.Households = append(b.batch.Households, record)
}

func (b *builder) individual(e *entity, f frame, key, household string) {
	var membership []annona.Membership
	if household != "" {
		membership = []annona.Membership{b.membership(e.membership, f, household)}
	}
	relationships := b.relationships(e, f)
	record := b.record(e, f, key)
	record.Memberships, record.Relationships = membership, relationships
	b.batch.Individuals = append(b.batch.Individuals, record)
}

// record builds a record with the flags raised so far and its own.
func (b *builder) record(e *entity, f frame, key string) annona.Record {
	record := annona.Record{Dataset: e.dataset, Source: b.source, Key: key, File: b.file, Line: b.line}
	start := len(b.values)
	for _, r := range e.rules {
		b.apply(r, f.cells)
	}
	b.put(e.asOf, string(b.survey))
	record.Values = slices.Clip(b.values[start:])
	record.Groups = b.groups(e, f)
	record.Groups = b.flagGroup(e, record.Groups)
	return record
}

func (b *builder) put(f *annona.Field, text string) {
	if f != nil && text != "" {
		b.values = append(b.values, annona.Value{Field: f, Text: text})
	}
}

// raise notes a doubt about the record being built, once.
func (b *builder) raise(code, field string) {
	f := flag{code, field}
	if !slices.Contains(b.flags, f) {
		b.flags = append(b.flags, f)
		b.flagged[f]++
		b.noted.flags = append(b.noted.flags, f)
		b.unsure = b.unsure || code == flagAreaUnknown
	}
}

// flagGroup appends the flags raised for a record to its groups and forgets them.
func (b *builder) flagGroup(e *entity, groups []annona.GroupItems) []annona.GroupItems {
	if len(b.flags) == 0 || e.flags.group == nil {
		b.flags = b.flags[:0]
		return groups
	}
	from := len(b.items)
	for _, f := range b.flags {
		start := len(b.values)
		b.put(e.flags.code, f.code)
		b.put(e.flags.field, f.field)
		b.put(e.flags.since, string(b.survey))
		b.items = append(b.items, slices.Clip(b.values[start:]))
	}
	b.flags = b.flags[:0]
	return append(groups, annona.GroupItems{Field: e.flags.group, Items: slices.Clip(b.items[from:])})
}

func (b *builder) groups(e *entity, f frame) []annona.GroupItems {
	var groups []annona.GroupItems
	for _, g := range e.groups {
		from := len(b.items)
		for _, t := range g.templates {
			b.walk(t.view, f, g.field.Code, func(inner frame) { b.item(t, inner) })
		}
		if len(b.items) > from {
			groups = append(groups, annona.GroupItems{Field: g.field, Items: slices.Clip(b.items[from:])})
		}
	}
	return groups
}

// walk calls visit for f itself or for each element of the list that v names in it.
func (b *builder) walk(v *view, f frame, name string, visit func(frame)) {
	if v == nil {
		visit(f)
		return
	}
	items, ok := elements(f.node, v.each)
	if !ok {
		b.raise(flagValueMalformed, name)
	}
	for _, item := range items {
		visit(frame{cells: b.jsonCells(v, item), node: item})
	}
}

// item builds one item of a group, unless nothing but constants is in it.
func (b *builder) item(t *template, f frame) {
	start, told := len(b.values), false
	for _, r := range t.rules {
		before := len(b.values)
		b.apply(r, f.cells)
		told = told || r.constant == "" && len(b.values) > before
	}
	b.put(t.asOf, string(b.survey))
	item := slices.Clip(b.values[start:])
	if !told || t.must != nil && valueOf(item, t.must) == "" {
		b.values = b.values[:start]
		return
	}
	if t.misfits(item) {
		b.raise(flagIDFormatInvalid, "identifiers.value")
	}
	b.items = append(b.items, item)
}

// misfits reports whether an identifier is against the pattern of its declared type.
func (t *template) misfits(item []annona.Value) bool {
	pattern := t.patterns[valueOf(item, t.scheme)]
	return pattern != nil && !pattern.MatchString(annona.IdentifierKey(valueOf(item, t.must)))
}

func valueOf(item []annona.Value, f *annona.Field) string {
	for _, v := range item {
		if v.Field == f {
			return v.Text
		}
	}
	return ""
}

func (b *builder) membership(m *membership, f frame, household string) annona.Membership {
	out := annona.Membership{HouseholdKey: household}
	if m == nil {
		return out
	}
	start := len(b.values)
	for _, r := range m.rules {
		b.apply(r, f.cells)
	}
	for _, v := range b.values[start:] {
		switch v.Field.Code {
		case "role":
			out.Role = v.Text
		case "role_source_code":
			out.RoleSourceCode = v.Text
		case "relationship_to_head":
			out.RelationshipToHead = v.Text
		case "recipient_type":
			out.RecipientType = v.Text
		case "is_primary":
			out.NotPrimary = v.Text == "false"
		case "start_date":
			out.StartDate = annona.Date(v.Text)
		case "end_date":
			out.EndDate = annona.Date(v.Text)
		}
	}
	b.values = b.values[:start]
	return out
}

func (b *builder) relationships(e *entity, f frame) []annona.Relationship {
	var out []annona.Relationship
	for _, r := range e.relationships {
		b.walk(r.view, f, "relationships", func(inner frame) {
			to, reason := keyOf(r.to, inner.cells)
			if related := b.relationship(r, inner, to); reason == "" && related.Type != "" {
				out = append(out, related)
			}
		})
	}
	return out
}

func (b *builder) relationship(r *relationship, f frame, to string) annona.Relationship {
	out := annona.Relationship{ToKey: to}
	if to == "" {
		return out
	}
	start := len(b.values)
	for _, rule := range r.rules {
		b.apply(rule, f.cells)
	}
	for _, v := range b.values[start:] {
		switch v.Field.Code {
		case "type":
			out.Type = v.Text
		case "start_date":
			out.StartDate = annona.Date(v.Text)
		case "end_date":
			out.EndDate = annona.Date(v.Text)
		case "end_reason":
			out.EndReason = v.Text
		}
	}
	b.values = b.values[:start]
	return out
}
