package ingest

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

func (c *compiler) entity(dataset string, doc entityDoc) (*entity, error) {
	d, ok := c.dictionary.Dataset(dataset)
	if !ok {
		return nil, annona.Invalid("unknown_dataset", "the dictionary has no %s", dataset)
	}
	v, err := c.view(nil, string(doc.Each))
	if err != nil {
		return nil, err
	}
	e := &entity{dataset: d, view: v, ordinal: doc.Ordinal, keyColumn: strings.Join(doc.Key, ", "), flags: flagFieldsOf(c.dictionary, d)}
	if doc.Ordinal == (len(doc.Key) > 0) {
		return nil, annona.Invalid("mapping_malformed", "a record has either `key`, the columns that identify it in the source, or `ordinal: true`, its place in the household").On(c.in.name + "." + d.Noun)
	}
	if e.key, err = slots(v, doc.Key); err != nil {
		return nil, err
	}
	if e.match, err = c.match(d, doc.Match); err != nil {
		return nil, err
	}
	if e.rules, err = c.rules(d, "", v, doc.Fields, false); err != nil {
		return nil, err
	}
	e.asOf = c.asOf(d, e.rules)
	if e.groups, err = c.groups(e, doc.Groups); err != nil {
		return nil, err
	}
	if doc.Membership != nil {
		if e.membership, err = c.membership(v, *doc.Membership); err != nil {
			return nil, err
		}
	}
	for _, r := range doc.Relationships {
		compiled, err := c.relationship(v, r)
		if err != nil {
			return nil, err
		}
		e.relationships = append(e.relationships, compiled)
	}
	return e, nil
}

// match checks the identifier types by which an individual is found.
func (c *compiler) match(d *annona.Dataset, schemes []string) ([]string, error) {
	list, _ := c.dictionary.CodeList("identifier_type")
	for _, scheme := range schemes {
		switch {
		case d.Noun != "individual":
			return nil, annona.Invalid("mapping_malformed", "`match` belongs to the individual").On(c.in.name)
		case list == nil || !list.Has(scheme):
			return nil, annona.Invalid("unknown_code", "`match` names types of identifiers: codes of the list identifier_type").On(scheme)
		}
	}
	return schemes, nil
}

// bareHousehold is a household of which nothing is known but its key.
func (c *compiler) bareHousehold() (*entity, error) {
	d, ok := c.dictionary.Dataset("households")
	if !ok {
		return nil, annona.Invalid("unknown_dataset", "the dictionary has no households")
	}
	return &entity{dataset: d, flags: flagFieldsOf(c.dictionary, d)}, nil
}

func flagFieldsOf(d *annona.Dictionary, of *annona.Dataset) flagFields {
	var f flagFields
	f.group, _ = of.Field("quality_flags")
	if flags, ok := d.Dataset("quality_flags"); ok {
		f.code, _ = flags.Field("code")
		f.field, _ = flags.Field("field")
		f.since, _ = flags.Field("since")
	}
	return f
}

func mapped(rules []*rule, code string) bool {
	return slices.ContainsFunc(rules, func(r *rule) bool { return r.field.Code == code })
}

// view returns the place where columns are read: the row, or the list at the path each.
func (c *compiler) view(outer *view, each string) (*view, error) {
	switch {
	case each == "" && outer == nil:
		return c.in.root, nil
	case each == "":
		return outer, nil
	case c.in.format == FormatCSV:
		return nil, annona.Invalid("mapping_malformed", "`each` walks a list inside a row, which only ndjson has").On(c.in.name)
	}
	return &view{each: strings.Split(each, "."), name: each}, nil
}

func slots(v *view, columns []string) ([]int, error) {
	out := make([]int, len(columns))
	for i, column := range columns {
		if column == "" {
			return nil, annona.Invalid("mapping_malformed", "a column has a name")
		}
		out[i] = v.slot(column)
	}
	return out, nil
}

func (c *compiler) groups(e *entity, docs map[string][]templateDoc) ([]*group, error) {
	var groups []*group
	for _, code := range sortedKeys(docs) {
		f, ok := e.dataset.Field(code)
		if !ok || f.Type != annona.TypeGroup || f.Derived {
			return nil, annona.Invalid("unknown_group", "%s has no such group that a source can fill", e.dataset.Name).On(code)
		}
		if f.Code == e.flags.group.Code {
			return nil, annona.Invalid("mapping_malformed", "quality flags are raised by the import itself").On(code)
		}
		items, _ := c.dictionary.Dataset(f.Group)
		g := &group{field: f}
		for _, doc := range docs[code] {
			t, err := c.template(items, e.view, code, doc)
			if err != nil {
				return nil, err
			}
			g.templates = append(g.templates, t)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func (c *compiler) template(items *annona.Dataset, outer *view, code string, doc templateDoc) (*template, error) {
	v, err := c.view(outer, string(doc.Each))
	if err != nil {
		return nil, err
	}
	rules, err := c.rules(items, code+".", v, doc.Fields, false)
	if err != nil {
		return nil, err
	}
	t := &template{view: nested(v, outer), rules: rules, asOf: c.asOf(items, rules)}
	switch items.Name {
	case "functioning":
		t.must, _ = items.Field("domain")
	case "identifiers":
		t.must, _ = items.Field("value")
		t.scheme, _ = items.Field("scheme")
		t.patterns = c.patterns
		nameSchemes(items, rules)
	}
	return t, nil
}

// nameSchemes keeps what the source calls a scheme in scheme_name, unless a rule fills that.
func nameSchemes(identifiers *annona.Dataset, rules []*rule) {
	name, ok := identifiers.Field("scheme_name")
	if !ok || mapped(rules, name.Code) {
		return
	}
	for _, r := range rules {
		if r.field.Code == "scheme" {
			r.source = name
		}
	}
}

// asOf returns the field that the survey date fills, nil when there is none or a rule fills it.
func (c *compiler) asOf(d *annona.Dataset, rules []*rule) *annona.Field {
	f, ok := d.Field("as_of")
	if !ok || c.in.survey == nil || mapped(rules, f.Code) {
		return nil
	}
	return f
}

// nested returns v when it is a list inside outer, nil when it is outer itself.
func nested(v, outer *view) *view {
	if v == outer {
		return nil
	}
	return v
}

func (c *compiler) membership(v *view, doc membershipDoc) (*membership, error) {
	d, _ := c.dictionary.Dataset("memberships")
	rules, err := c.rules(d, "memberships.", v, doc.Fields, true)
	if err != nil {
		return nil, err
	}
	m := &membership{rules: rules}
	if len(doc.Household) > 0 {
		m.household, err = slots(v, doc.Household)
	}
	return m, err
}

func (c *compiler) relationship(v *view, doc relationshipDoc) (*relationship, error) {
	d, _ := c.dictionary.Dataset("relationships")
	inner, err := c.view(v, string(doc.Each))
	if err != nil {
		return nil, err
	}
	rules, err := c.rules(d, "relationships.", inner, doc.Fields, true)
	if err != nil {
		return nil, err
	}
	if !mapped(rules, "type") {
		return nil, annona.Invalid("mapping_malformed", "a relationship has a `type`").On(c.in.name)
	}
	to, err := slots(inner, doc.To)
	return &relationship{view: nested(inner, v), to: to, rules: rules}, err
}
