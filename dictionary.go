package annona

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// Type is the datatype of a field.
type Type string

// The datatypes. Identifiers are always text, so that leading zeros survive.
const (
	TypeText    Type = "text"
	TypeInt     Type = "int"
	TypeDec     Type = "dec" // a scaled 64-bit integer, see Field.Scale; never a float
	TypeBool    Type = "bool"
	TypeDate    Type = "date"
	TypeInstant Type = "instant"
	TypeCode    Type = "code"
	TypeID      Type = "id"    // the record's own id
	TypeRef     Type = "ref"   // another record's id
	TypeGroup   Type = "group" // a repeated group: rows of the dataset Field.Group
)

// Sensitivity says how delicate a field is. It drives the caps of weak credentials and
// the classes that an agreement may name.
type Sensitivity string

// The sensitivities, mildest first. Special is a special category of GDPR Article 9, or
// treated as one.
const (
	Public     Sensitivity = "public"
	Personal   Sensitivity = "personal"
	Identifies Sensitivity = "identifier"
	Special    Sensitivity = "special"
)

// AtRest says how a field lies in the store.
type AtRest string

// How a field lies at rest.
const (
	Clear         AtRest = "clear"
	Sealed        AtRest = "sealed"
	SealedIndexed AtRest = "sealed+index" // sealed, with a blind index for exact look-up
)

// FilterUse says how a filter may use a field.
type FilterUse string

// The uses of a field in a filter. A sealed field has none; a sealed and indexed one is
// reached by look-up only.
const (
	FilterNone   FilterUse = "none"
	FilterRange  FilterUse = "range"
	FilterLookup FilterUse = "lookup"
)

// Aspect tells a field from its companions: what else is kept beside its value.
type Aspect uint8

// The aspects of a field. Each is an output column of its own, named as in Suffix.
const (
	AspectValue      Aspect = iota
	AspectSourceCode        // the code as the source wrote it: {field}_source_code
	AspectNilReason         // why the value is absent: {field}_nil_reason
	AspectAsOf              // observation date of an assessment input: {field}_as_of
	aspects
)

var aspectSuffixes = [aspects]string{"", "_source_code", "_nil_reason", "_as_of"}

// Suffix is what the aspect adds to the field's code.
func (a Aspect) Suffix() string { return aspectSuffixes[a] }

// Field describes one field of one dataset, once, for every door.
type Field struct {
	Tag             uint32 // permanent number within the dataset; never reused. Country attributes start at CountryTag
	Dataset         string // the dataset it belongs to: "individuals"
	Code            string // snake_case name on every wire; stable
	Type            Type
	Many            bool   // several values in one cell, joined by ListSeparator
	Group           string // for TypeGroup: the dataset whose rows it holds
	CodeList        string // for TypeCode: the list
	Scale           int    // for TypeDec: digits after the point, 0 to 15
	Unit            string // UCUM or ISO 4217; empty when it has none
	Sensitivity     Sensitivity
	AtRest          AtRest
	Filter          FilterUse
	Derived         bool // computed by the exchange, not kept in the record's image
	Crosswalked     bool // keeps a source code
	NilReason       bool // may say why it is absent
	AssessmentInput bool // keeps its own as-of date
	DCI             string
	IRI             string
	Label           string // English; translations belong to the catalogs of the pages
	Definition      string
	Authority       string // source that decides the value, see Authority; empty: the youngest report counts
	Country         string // ISO 3166-1 alpha-2 of the country that declared it; empty for the standard
	Aspect          Aspect
	Base            *Field // the field that a companion accompanies; itself for a value
	Origin          *Field // the field that a column of an export specification shows; nil: itself
	// Rule computes a column that an export specification derives; such a field is Derived, and in no
	// dictionary. nil: the field is one of the dictionary.
	Rule *Derivation
}

// Shows returns the field of the dictionary that f is or shows.
func (f *Field) Shows() *Field {
	if f.Origin != nil {
		return f.Origin
	}
	return f
}

// CountryTag is the first tag of declared country attributes.
const CountryTag = 1 << 14

// ImageTag is the number under which this field or companion stands in an Image.
func (f *Field) ImageTag() uint32 { return f.Tag<<2 | uint32(f.Aspect) }

// IsSealed reports whether the field lies sealed at rest.
func (f *Field) IsSealed() bool { return f.AtRest != Clear }

// IsText reports whether the canonical text of f can hold any character.
func (f *Field) IsText() bool { return f.Type == TypeText || f.Aspect == AspectSourceCode }

// Item is the name of one item of the group field: "member" of members.
func (f *Field) Item() string { return strings.TrimSuffix(f.Code, "s") }

// Dataset describes one kind of record.
type Dataset struct {
	Name string // plural: "individuals"; the name of its file and its schema
	Noun string // singular: "individual"; the XML element and the root name in a filter
	Root bool   // can be asked for by itself
	Key  string // for a root or a matter: the code of its id field
	// Matter says that its records are matters: what a program or a case worker keeps about somebody, see
	// annona.Matter. Parent is the dataset of the matters that they belong to; empty: they stand by themselves.
	Matter bool
	Parent string
	Fields []*Field

	byName map[string]*Field
	byTag  map[uint32]*Field
	groups []uint32 // image tags of the fields that are groups
}

// Field returns the field or companion of that name.
func (d *Dataset) Field(name string) (*Field, bool) {
	f, ok := d.byName[name]
	return f, ok
}

// FieldOfTag returns the field or companion with that image tag; nil when there is none.
func (d *Dataset) FieldOfTag(tag uint32) *Field { return d.byTag[tag] }

// Showing returns the dataset as an export specification shows it: the same noun, with these columns
// and groups in this order. Each field names the one that it shows as its Origin, and has a code that
// no other one has.
func (s *Dataset) Showing(fields []*Field) *Dataset {
	shown := &Dataset{Name: s.Name, Noun: s.Noun, Root: s.Root, Fields: fields, byName: map[string]*Field{}}
	for _, f := range fields {
		f.Dataset, f.Aspect, f.Base = s.Name, AspectValue, f
		shown.byName[f.Code] = f
		if f.Origin.Code == s.Key {
			shown.Key = f.Code
		}
	}
	return shown
}

// Columns yields every field of the dataset with its companions behind it, groups included,
// in published order.
func (d *Dataset) Columns() iter.Seq[*Field] {
	return func(yield func(*Field) bool) {
		for _, f := range d.Fields {
			for a := AspectValue; a < aspects; a++ {
				if c, ok := d.byName[f.Code+a.Suffix()]; ok && c.Base == f && !yield(c) {
					return
				}
			}
		}
	}
}

// Code is one entry of a code list.
type Code struct {
	Code  string
	Label string
	DCI   string // what the DCI wire writes for it; empty when it has no code there
	// A code that is deprecated means what it did, and is to be written no more. ReplacedBy is the code of the same
	// list that is written instead; a code that has one is deprecated. Such a code stays in its list: it is
	// on file, and never means anything else.
	Deprecated bool   `json:",omitempty"`
	ReplacedBy string `json:",omitempty"`
}

// IsRetired reports whether the code is to be written no more.
func (c *Code) IsRetired() bool { return c.Deprecated || c.ReplacedBy != "" }

// CodeList is a versioned list of canonical codes.
type CodeList struct {
	Name    string
	Version int  // from 1
	Open    bool // any code is accepted: lists kept by somebody else (ISO 3166, national areas)
	Country string
	Codes   []Code
}

// Has reports whether code is in the list; an open list has every code.
func (l *CodeList) Has(code string) bool {
	return l.Open || slices.ContainsFunc(l.Codes, func(c Code) bool { return c.Code == code })
}

// code returns the code of that name; nil when it is not in the list.
func (l *CodeList) code(code string) *Code {
	i := slices.IndexFunc(l.Codes, func(c Code) bool { return c.Code == code })
	if i < 0 {
		return nil
	}
	return &l.Codes[i]
}

// Today returns the code that is written for a code today: itself, or what has replaced it in the end.
// retired says that it is to be written no more, and that nothing has replaced it.
func (l *CodeList) Today(code string) (today string, retired bool) {
	for range len(l.Codes) + 1 {
		c := l.code(code)
		switch {
		case c == nil:
			return code, false
		case c.ReplacedBy == "":
			return code, c.Deprecated
		}
		code = c.ReplacedBy
	}
	return code, true
}

// Dictionary is the one description of every field: schemas, headers, filter names, grants
// and the glossary come from it. It does not change once built; Extend makes another.
type Dictionary struct {
	Version  int // the schema version; moves with every change
	datasets map[string]*Dataset
	order    []string
	lists    map[string]*CodeList

	identifierTypes map[string]identifierType // by code
}

// Dataset returns the dataset of that name.
func (d *Dictionary) Dataset(name string) (*Dataset, bool) {
	s, ok := d.datasets[name]
	return s, ok
}

// Datasets yields the datasets in published order.
func (d *Dictionary) Datasets() iter.Seq[*Dataset] {
	return func(yield func(*Dataset) bool) {
		for _, name := range d.order {
			if !yield(d.datasets[name]) {
				return
			}
		}
	}
}

// CodeList returns the code list of that name.
func (d *Dictionary) CodeList(name string) (*CodeList, bool) {
	l, ok := d.lists[name]
	return l, ok
}

// CodeLists returns the names of all code lists, sorted.
func (d *Dictionary) CodeLists() []string {
	names := make([]string, 0, len(d.lists))
	for name := range d.lists {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// HasAuthority reports whether some field of a dataset is under an authority rule.
func (d *Dictionary) HasAuthority(dataset string) bool {
	s, ok := d.datasets[dataset]
	return ok && slices.ContainsFunc(s.Fields, func(f *Field) bool { return f.Authority != "" })
}

// Extension is what a country declares beyond the standard.
type Extension struct {
	Country   string // ISO 3166-1 alpha-2
	Fields    []Field
	CodeLists []CodeList
	// Authorities say which source decides a field. It may be one of the standard.
	Authorities []Authority
	// IdentifierTypes say what numbers look like. A type that is declared already, also one of the
	// standard, is declared anew.
	IdentifierTypes []IdentifierType `json:",omitempty"`
}

// Authority is a rule about a field of a root dataset: one source decides its value. Another source
// fills it only while that one has not spoken.
type Authority struct {
	Dataset, Field string
	Source         string // empty: nobody decides any more
}

var fieldName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// Extend returns a dictionary that also has the declared attributes and code lists. A field
// without a tag gets the next free one; one that exists must be declared the same again,
// except for its label and definition.
func (d *Dictionary) Extend(x Extension) (*Dictionary, error) {
	if !countryCode.MatchString(x.Country) {
		return nil, Invalid("extension_country", "an extension names its country by two capital letters (ISO 3166-1)")
	}
	lists := make([]CodeList, 0, len(d.lists)+len(x.CodeLists))
	for _, name := range d.CodeLists() {
		lists = append(lists, *d.lists[name])
	}
	for _, l := range x.CodeLists {
		l.Country = x.Country
		i := slices.IndexFunc(lists, func(o CodeList) bool { return o.Name == l.Name })
		switch {
		case i < 0:
			lists = append(lists, l)
		case lists[i].Country == "" && !lists[i].Open:
			return nil, Invalid("code_list_standard", "the code list is part of the standard and cannot be redefined").On(l.Name)
		default:
			if err := l.follows(&lists[i]); err != nil {
				return nil, err
			}
			lists[i] = l
		}
	}
	datasets := make([]Dataset, 0, len(d.order))
	for s := range d.Datasets() {
		datasets = append(datasets, Dataset{Name: s.Name, Noun: s.Noun, Root: s.Root, Key: s.Key, Matter: s.Matter, Parent: s.Parent, Fields: slices.Clone(s.Fields)})
	}
	for _, f := range x.Fields {
		f.Country = x.Country
		if err := declare(datasets, f); err != nil {
			return nil, err
		}
	}
	for _, a := range x.Authorities {
		if err := a.apply(datasets); err != nil {
			return nil, err
		}
	}
	extended, err := NewDictionary(d.Version+1, datasets, lists)
	if err != nil {
		return nil, err
	}
	return extended, extended.declareTypes(append(d.IdentifierTypes(), x.identifierTypes()...))
}

func (x *Extension) identifierTypes() []IdentifierType {
	types := slices.Clone(x.IdentifierTypes)
	for i := range types {
		types[i].Country = x.Country
	}
	return types
}

func declare(datasets []Dataset, f Field) error {
	i := slices.IndexFunc(datasets, func(s Dataset) bool { return s.Name == f.Dataset })
	if i < 0 {
		return Invalid("unknown_dataset", "the attribute applies to no known dataset").On(f.Code)
	}
	s := &datasets[i]
	f.Base, f.Aspect = nil, AspectValue
	if err := checkAttribute(datasets, s, &f); err != nil {
		return err
	}
	for j, have := range s.Fields {
		if have.Code != f.Code {
			continue
		}
		if have.Country == "" {
			return Invalid("field_standard", "the field is part of the standard; choose another code").On(f.Code)
		}
		same := *have
		same.Label, same.Definition, same.Base = f.Label, f.Definition, nil
		f.Authority = have.Authority
		if f.Tag == 0 {
			f.Tag = have.Tag
		}
		if same != f {
			return Invalid("field_changed", "the attribute is declared already, differently; a code is never reused").On(f.Code)
		}
		s.Fields[j] = &f
		return nil
	}
	if f.Tag == 0 {
		f.Tag = CountryTag
		for _, have := range s.Fields {
			f.Tag = max(f.Tag, have.Tag+1)
		}
	}
	s.Fields = append(s.Fields, &f)
	return nil
}

// NewDictionary builds a dictionary and refuses one that contradicts itself.
func NewDictionary(version int, datasets []Dataset, lists []CodeList) (*Dictionary, error) {
	d := &Dictionary{Version: version, datasets: map[string]*Dataset{}, lists: map[string]*CodeList{}, identifierTypes: map[string]identifierType{}}
	for _, l := range lists {
		if _, twice := d.lists[l.Name]; twice {
			return nil, Invalid("code_list_twice", "the code list is declared twice").On(l.Name)
		}
		if err := l.check(); err != nil {
			return nil, err
		}
		d.lists[l.Name] = &l
	}
	for _, s := range datasets {
		if _, twice := d.datasets[s.Name]; twice {
			return nil, Invalid("dataset_twice", "the dataset is declared twice").On(s.Name)
		}
		d.datasets[s.Name] = &s
		d.order = append(d.order, s.Name)
	}
	for _, name := range d.order {
		if err := d.datasets[name].build(d); err != nil {
			return nil, err
		}
	}
	if err := d.checkGroups(); err != nil {
		return nil, err
	}
	return d, nil
}

func (l *CodeList) check() error {
	if !fieldName.MatchString(l.Name) || l.Version < 1 {
		return Invalid("code_list_malformed", "a code list has a snake_case name and a version from 1").On(l.Name)
	}
	seen := map[string]bool{}
	for _, c := range l.Codes {
		if !IsCode(c.Code) {
			return Invalid("code_malformed", "a code is not empty and has no control character, no semicolon and no space at its ends").On(l.Name)
		}
		if seen[c.Code] {
			return Invalid("code_twice", "the code list holds one code twice").On(l.Name)
		}
		seen[c.Code] = true
	}
	return l.checkReplacements()
}

// checkReplacements refuses a code that is replaced by one that is not there, or in a circle by itself.
func (l *CodeList) checkReplacements() error {
	for _, c := range l.Codes {
		steps := 0
		for at := &c; at.ReplacedBy != ""; at = l.code(at.ReplacedBy) {
			if l.code(at.ReplacedBy) == nil {
				return Invalid("code_replacement_unknown", "a code of the list %s is replaced by one that is not in it", l.Name).On(at.Code)
			}
			if steps++; steps > len(l.Codes) {
				return Invalid("code_circle", "codes of the list %s replace each other in a circle", l.Name).On(c.Code)
			}
		}
	}
	return nil
}

// follows refuses a list that cannot take the place of a former one: what was written under that one
// stands on file, and has to mean the same.
func (l *CodeList) follows(former *CodeList) error {
	same := l.Open == former.Open && slices.Equal(l.Codes, former.Codes)
	switch {
	case same && l.Version >= former.Version, former.Country == "": // a country fills an open list of the standard
		return nil
	case l.Version <= former.Version:
		return Invalid("code_list_version", "the code list has changed; give it a version after %d", former.Version).On(l.Name)
	case l.Open:
		return nil
	}
	for _, was := range former.Codes {
		is := l.code(was.Code)
		switch {
		case is == nil:
			return Invalid("code_removed", "records hold this code of the list %s; leave it there with deprecated: true or replaced_by: CODE", l.Name).On(was.Code)
		case was.IsRetired() && is.Label != was.Label:
			return Invalid("code_reused", "this code of the list %s is retired, and means what it did for ever; take another code for another meaning", l.Name).On(was.Code)
		}
	}
	return nil
}

func (s *Dataset) build(d *Dictionary) error {
	s.byName = make(map[string]*Field, 2*len(s.Fields))
	s.byTag = make(map[uint32]*Field, 2*len(s.Fields))
	s.groups = nil
	tags := map[uint32]bool{}
	fields := make([]*Field, len(s.Fields))
	for i, declared := range s.Fields {
		f := *declared
		f.Dataset, f.Aspect = s.Name, AspectValue
		if err := f.check(d); err != nil {
			return err
		}
		if tags[f.Tag] {
			return Invalid("tag_twice", "two fields of the dataset %s have the tag %d", s.Name, f.Tag).On(f.Code)
		}
		tags[f.Tag] = true
		f.Base = &f
		fields[i] = &f
	}
	s.Fields = fields
	for _, f := range fields {
		for _, c := range append([]*Field{f}, f.companions()...) {
			if _, twice := s.byName[c.Code]; twice {
				return Invalid("field_twice", "the dataset %s has the field twice", s.Name).On(c.Code)
			}
			s.byName[c.Code], s.byTag[c.ImageTag()] = c, c
		}
		if f.Type == TypeGroup {
			s.groups = append(s.groups, f.ImageTag())
		}
	}
	return nil
}

func (f *Field) check(d *Dictionary) error {
	fault := func(format string, args ...any) error {
		return Invalid("field_malformed", format, args...).On(f.Dataset + "." + f.Code)
	}
	switch {
	case !fieldName.MatchString(f.Code) || len(f.Code) > 60:
		return fault("a code is snake_case and at most 60 characters long")
	case f.Tag == 0 || f.Tag >= 1<<20:
		return fault("a field has a permanent tag from 1 to %d", 1<<20-1)
	case f.Type == TypeCode && f.CodeList == "":
		return fault("a code field names its code list")
	case f.Type == TypeDec && (f.Scale < 0 || f.Scale > 15):
		return fault("a decimal has 0 to 15 digits after the point")
	case f.IsSealed() && f.Filter == FilterRange:
		return fault("a sealed field cannot be filtered")
	case f.Filter == FilterLookup && f.AtRest != SealedIndexed:
		return fault("only a sealed and indexed field is looked up")
	case f.Filter == FilterRange && slices.Contains([]Type{TypeGroup, TypeID, TypeRef}, f.Type):
		return fault("a group or an id cannot be filtered")
	case f.CodeList != "" && f.Type != TypeCode, f.Group != "" && f.Type != TypeGroup:
		return fault("only a code field names a code list, only a group its dataset")
	case (f.Crosswalked || f.NilReason || f.AssessmentInput) && (f.Derived || f.Type == TypeGroup):
		return fault("a derived field or a group has no companions")
	}
	if f.CodeList != "" {
		if _, ok := d.lists[f.CodeList]; !ok {
			return fault("the code list %s is not declared", f.CodeList)
		}
	}
	if f.Type == TypeGroup {
		if _, ok := d.datasets[f.Group]; !ok {
			return fault("the dataset %s of its group is not declared", f.Group)
		}
	}
	known := map[bool]bool{
		slices.Contains([]Type{TypeText, TypeInt, TypeDec, TypeBool, TypeDate, TypeInstant, TypeCode, TypeID, TypeRef, TypeGroup}, f.Type): true,
		slices.Contains([]Sensitivity{Public, Personal, Identifies, Special}, f.Sensitivity):                                               true,
		slices.Contains([]AtRest{Clear, Sealed, SealedIndexed}, f.AtRest):                                                                  true,
		slices.Contains([]FilterUse{FilterNone, FilterRange, FilterLookup}, f.Filter):                                                      true,
	}
	if known[false] {
		return fault("type, sensitivity, at_rest and filter each take one of the known words")
	}
	return nil
}

// companions returns the further columns that f brings along.
func (f *Field) companions() []*Field {
	var out []*Field
	add := func(wanted bool, a Aspect, t Type, list, what string) {
		if !wanted {
			return
		}
		c := *f
		c.Code, c.Aspect, c.Type, c.CodeList = f.Code+a.Suffix(), a, t, list
		c.Many = f.Many && a == AspectSourceCode
		c.Scale, c.Unit, c.Filter, c.DCI, c.IRI = 0, "", FilterNone, "", ""
		c.Crosswalked, c.NilReason, c.AssessmentInput = false, false, false
		c.Label = fmt.Sprintf("%s, %s", f.Label, what)
		c.Definition = ""
		c.Base = f
		out = append(out, &c)
	}
	add(f.Crosswalked, AspectSourceCode, TypeText, "", "as the source wrote it")
	add(f.NilReason, AspectNilReason, TypeCode, "nil_reason", "why it is absent")
	add(f.AssessmentInput, AspectAsOf, TypeDate, "", "observation date")
	return out
}
