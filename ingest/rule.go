package ingest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// rule says how one field is made from the cells of a view.
type rule struct {
	id        int    // its own within the mapping
	name      string // of the field, for flags: "sex", "functioning.severity"
	field     *annona.Field
	source    *annona.Field // keeps the code as received; nil when there is no such field
	reason    *annona.Field // says why the value is absent; nil when there is no such field
	slots     []int
	constant  string
	codes     map[string]string // nil: the source writes our codes
	list      *annona.CodeList
	absent    map[string]string
	dates     *dateForm    // of a date
	calendars *rowCalendar // nil: all rows use one calendar
	parts     *dateCells   // nil: a date stands in one cell
	separator string
	decimal   byte
	area      bool // the value is checked against the tree of areas
	birth     *birth
}

// birth is what a date of birth needs beyond its own text.
type birth struct {
	age       int           // slot of the stated age, -1 when there is none
	precision *annona.Field // nil when another rule fills it
	recorded  *annona.Field // nil when another rule fills it
	calendar  *annona.Field // nil when another rule fills it, or the mapping names no calendar
}

// rules compiles the rules for fields of d, which are read from v. Fields of memberships and
// relationships are derived when they are shown; a source fills them all the same.
func (c *compiler) rules(d *annona.Dataset, prefix string, v *view, docs fieldsDoc, derived bool) ([]*rule, error) {
	rules := make([]*rule, 0, len(docs))
	for _, doc := range docs {
		f, err := target(d, doc, derived)
		if err != nil {
			return nil, err
		}
		if mapped(rules, f.Code) {
			return nil, malformed(doc.line, "the field is filled twice").On(f.Code)
		}
		r, err := c.rule(d, f, v, doc)
		if err != nil {
			return nil, err
		}
		r.name = prefix + f.Code
		rules = append(rules, r)
	}
	for _, r := range rules {
		if r.birth != nil && mapped(rules, "date_of_birth_precision") {
			r.birth.precision = nil
		}
		if r.birth != nil && mapped(rules, "date_of_birth_as_recorded") {
			r.birth.recorded = nil
		}
		if r.birth != nil && mapped(rules, "date_of_birth_calendar") {
			r.birth.calendar = nil
		}
	}
	return rules, nil
}

func target(d *annona.Dataset, doc fieldDoc, derived bool) (*annona.Field, error) {
	f, ok := d.Field(doc.code)
	switch {
	case !ok:
		return nil, malformed(doc.line, "the dictionary has no such field in %s; correct the name, or declare it with `annona dictionary apply`", d.Name).On(doc.code)
	case f.Type == annona.TypeGroup:
		return nil, malformed(doc.line, "this is a group: it stands under `groups`").On(doc.code)
	case f.Type == annona.TypeID, f.Type == annona.TypeRef, f.Derived && !derived:
		return nil, malformed(doc.line, "Annona fills this field itself").On(doc.code)
	case f.Aspect == annona.AspectSourceCode, f.Aspect == annona.AspectNilReason:
		return nil, malformed(doc.line, "this comes with the rule of %s (`codes`, `absent`)", f.Base.Code).On(doc.code)
	}
	return f, nil
}

func (c *compiler) rule(d *annona.Dataset, f *annona.Field, v *view, doc fieldDoc) (*rule, error) {
	r := c.newRule(f)
	r.area = f.CodeList == "area"
	r.source, _ = d.Field(f.Code + annona.AspectSourceCode.Suffix())
	r.reason, _ = d.Field(f.Code + annona.AspectNilReason.Suffix())
	if f.Type == annona.TypeCode {
		r.list, _ = c.dictionary.CodeList(f.CodeList)
	}
	var err error
	if err = r.origin(v, doc); err != nil {
		return nil, err
	}
	if f.Code == "date_of_birth" {
		r.birth = &birth{age: -1}
		r.birth.precision, _ = d.Field("date_of_birth_precision")
		r.birth.recorded, _ = d.Field("date_of_birth_as_recorded")
		if doc.rule.Calendar.given() {
			r.birth.calendar, _ = d.Field("date_of_birth_calendar")
		}
	}
	if err = c.age(r, v, doc); err != nil {
		return nil, err
	}
	if err = c.crosswalk(r, doc); err != nil {
		return nil, err
	}
	if err = r.absences(c.dictionary, doc); err != nil {
		return nil, err
	}
	if r.dates, err = c.dateForm(f, doc); err != nil {
		return nil, err
	}
	return r, c.rowCalendars(r, v, doc)
}

func (c *compiler) newRule(f *annona.Field) *rule {
	c.mapping.rules++
	return &rule{id: c.mapping.rules - 1, name: f.Code, field: f, decimal: c.decimal}
}

// origin reads where the value comes from: columns, an age or a constant.
func (r *rule) origin(v *view, doc fieldDoc) error {
	fault := func(format string, args ...any) error {
		return malformed(doc.line, format, args...).On(r.field.Code)
	}
	constant, parts := string(doc.rule.Constant), doc.rule.inParts()
	switch {
	case constant != "" && (len(doc.rule.Column) > 0 || doc.rule.Age != "" || parts):
		return fault("a field has a constant or a column, not both")
	case constant == "" && len(doc.rule.Column) == 0 && doc.rule.Age == "" && !parts:
		return fault("a field needs a `column` or a `constant`")
	case parts && (r.field.Type != annona.TypeDate || len(doc.rule.Column) > 0 || len(doc.rule.Format) > 0):
		return fault("`year`, `month` and `day` are the columns of a date that stands in several; such a date has no `column` and no `format`")
	case parts && doc.rule.Year == "":
		return fault("a date in several columns has a `year`")
	case len(doc.rule.Column) > 1 && !r.field.Many:
		return fault("only a field with many values takes several columns")
	case doc.rule.Separator != "" && !r.field.Many:
		return fault("only a field with many values has a separator")
	}
	r.separator = string(doc.rule.Separator)
	if constant != "" {
		text, err := r.field.Canonical(constant)
		if err != nil || r.list != nil && !r.list.Has(text) {
			return fault("the constant does not fit the type or the code list of the field")
		}
		r.constant = text
	}
	if parts {
		r.parts = doc.rule.parts(v)
	}
	var err error
	if r.slots, err = slots(v, doc.rule.Column); err != nil {
		return fault("a column has a name")
	}
	return nil
}

func (c *compiler) age(r *rule, v *view, doc fieldDoc) error {
	switch {
	case doc.rule.Age == "":
		return nil
	case r.birth == nil:
		return malformed(doc.line, "`age` makes a date of birth and nothing else").On(r.field.Code)
	case c.in.survey == nil:
		return malformed(doc.line, "an age needs a `survey_date`, the day on which it was stated").On(r.field.Code)
	}
	r.birth.age = v.slot(string(doc.rule.Age))
	return nil
}

func (c *compiler) crosswalk(r *rule, doc fieldDoc) error {
	table, name := doc.rule.Codes.Words, doc.rule.Codes.Name
	if name != "" {
		shared, ok := c.doc.Codes[name]
		if !ok {
			return malformed(doc.line, "`codes` has no table of this name").On(name)
		}
		table = shared.Words
		if shared.OnFile {
			onFile, err := c.onFile(r, name, doc.line)
			if err != nil {
				return err
			}
			table = onFile
		}
	}
	if table == nil {
		return nil
	}
	if r.field.Type != annona.TypeCode && r.field.Type != annona.TypeBool {
		return malformed(doc.line, "only codes and yes-or-no fields have `codes`").On(r.field.Code)
	}
	r.codes = make(map[string]string, len(table))
	for from, to := range table {
		if !r.accepts(to) {
			return malformed(doc.line, "`codes` leads to %q, which is not a code of the field's list", to).On(r.field.Code)
		}
		r.codes[strings.TrimSpace(from)] = to
	}
	return nil
}

// onFile returns the crosswalk of the mapping's source for a list.
func (c *compiler) onFile(r *rule, list string, line int) (words, error) {
	if r.field.CodeList != list {
		return nil, malformed(line, "a crosswalk on file is for the fields of its code list").On(r.field.Code)
	}
	for _, one := range c.crosswalks {
		if one.Source == string(c.doc.Source) && one.List == list {
			return one.Codes, nil
		}
	}
	e := malformed(line, "no crosswalk of this source for the list is on file; apply it first: annona crosswalk apply").On(list)
	e.Code = "crosswalk_unknown"
	return nil, e
}

// accepts reports whether code is one of the field's own.
func (r *rule) accepts(code string) bool {
	if r.field.Type == annona.TypeBool {
		return code == "true" || code == "false"
	}
	text, err := r.field.Canonical(code)
	return err == nil && text != "" && (r.list == nil || r.list.Has(text))
}

// absences reads the words of the source that say why there is no value.
func (r *rule) absences(d *annona.Dictionary, doc fieldDoc) error {
	reasons, _ := d.CodeList("nil_reason")
	for from, to := range doc.rule.Absent {
		switch {
		case to != "" && r.reason == nil:
			return malformed(doc.line, "the field keeps no reason for being absent; write ~ after the word").On(r.field.Code)
		case to != "" && (reasons == nil || !reasons.Has(to)):
			return malformed(doc.line, "%q is no code of the list nil_reason", to).On(r.field.Code)
		}
		if r.absent == nil {
			r.absent = map[string]string{}
		}
		r.absent[strings.TrimSpace(from)] = to
	}
	return nil
}

// surveyDate compiles the day on which the source observed what it reports: a date, or a
// column of the row.
func (c *compiler) surveyDate(doc ruleDoc) (*rule, error) {
	f := &annona.Field{Code: "survey_date", Type: annona.TypeDate}
	if len(doc.Column) == 1 {
		if _, err := annona.ParseDate(doc.Column[0]); err == nil {
			doc.Constant, doc.Column = text(doc.Column[0]), nil
		}
	}
	r := c.newRule(f)
	if err := r.origin(c.in.root, fieldDoc{code: f.Code, rule: doc}); err != nil {
		return nil, annona.Invalid("mapping_malformed", "write a date as 2026-01-31, or the `column` that holds it").On(f.Code)
	}
	var err error
	if r.dates, err = c.dateForm(f, fieldDoc{code: f.Code, rule: doc}); err != nil {
		return nil, err
	}
	return r, c.rowCalendars(r, c.in.root, fieldDoc{code: f.Code, rule: doc})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
