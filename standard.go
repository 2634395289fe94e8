package annona

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// standardVersion is the schema version of the standard dictionary. It moves with every
// change to the tables in dictionary/.
const standardVersion = 1

//go:embed dictionary/*.csv
var standardTables embed.FS

// standardDatasets are the datasets in published order; the fields of each stand in
// dictionary/{name}.csv.
var standardDatasets = [...]Dataset{
	{Name: "households", Noun: "household", Root: true, Key: "household_id"},
	{Name: "individuals", Noun: "individual", Root: true, Key: "individual_id"},
	{Name: "memberships", Noun: "membership"},
	{Name: "identifiers", Noun: "identifier"},
	{Name: "relationships", Noun: "relationship"},
	{Name: "functioning", Noun: "functioning"},
	{Name: "assessments", Noun: "assessment"},
	{Name: "other_names", Noun: "other_name"},
	{Name: "disability_certificates", Noun: "disability_certificate"},
	{Name: "quality_flags", Noun: "quality_flag"},
	{Name: "provenance", Noun: "provenance"},
	{Name: "enrollments", Noun: "enrollment", Matter: true, Key: "enrollment_id"},
	{Name: "status_changes", Noun: "status_change"},
	{Name: "benefits", Noun: "benefit", Matter: true, Key: "benefit_id", Parent: "enrollments"},
	{Name: "payments", Noun: "payment"},
	{Name: "cases", Noun: "case", Matter: true, Key: "case_id"},
	{Name: "case_plan_items", Noun: "case_plan_item"},
	{Name: "case_visits", Noun: "case_visit"},
	{Name: "case_services", Noun: "case_service"},
	{Name: "case_links", Noun: "case_link"},
	{Name: "case_notes", Noun: "case_note", Matter: true, Key: "note_id", Parent: "cases"},
	{Name: "case_attachments", Noun: "case_attachment", Matter: true, Key: "attachment_id", Parent: "cases"},
	{Name: "transitions", Noun: "transition", Matter: true, Key: "transition_id", Parent: "cases"},
}

// Standard returns the dictionary that every installation starts from. A country adds to it
// by Extend.
func Standard() *Dictionary { return standard() }

var standard = sync.OnceValue(func() *Dictionary {
	d, err := readDictionary(standardTables)
	if err != nil {
		panic("the standard dictionary contradicts itself: " + err.Error()) // a test reads the same tables
	}
	return d
})

// readDictionary reads the standard datasets and code lists from the tables in tables.
func readDictionary(tables fs.FS) (*Dictionary, error) {
	lists, err := readCodeLists(tables)
	if err != nil {
		return nil, err
	}
	datasets := slices.Clone(standardDatasets[:])
	for i := range datasets {
		if datasets[i].Fields, err = readFields(tables, datasets[i].Name); err != nil {
			return nil, err
		}
	}
	types, err := readIdentifierTypes(tables)
	if err != nil {
		return nil, err
	}
	d, err := NewDictionary(standardVersion, datasets, lists)
	if err != nil {
		return nil, err
	}
	return d, d.declareTypes(types)
}

// readIdentifierTypes reads what holds of identifiers of every country.
func readIdentifierTypes(tables fs.FS) ([]IdentifierType, error) {
	rows, err := readTable(tables, "identifier_types", "code", "pattern", "check", "max_length", "shareable")
	if err != nil {
		return nil, err
	}
	types := make([]IdentifierType, len(rows))
	for i, row := range rows {
		types[i] = IdentifierType{
			Code: row.text("code"), Pattern: row.text("pattern"), Check: row.text("check"),
			MaxLength: row.number("max_length"), Shareable: row.yes("shareable"),
		}
		if row.err != nil {
			return nil, row.err
		}
	}
	return types, nil
}

func readFields(tables fs.FS, dataset string) ([]*Field, error) {
	rows, err := readTable(tables, dataset, "tag", "code", "type", "many", "group", "code_list", "scale", "unit",
		"sensitivity", "at_rest", "filter", "derived", "crosswalked", "nil_reason", "assessment_input",
		"dci", "iri", "label", "definition")
	if err != nil {
		return nil, err
	}
	fields := make([]*Field, len(rows))
	for i, row := range rows {
		fields[i] = &Field{
			Dataset:         dataset,
			Tag:             uint32(row.number("tag")),
			Code:            row.text("code"),
			Type:            Type(row.text("type")),
			Many:            row.yes("many"),
			Group:           row.text("group"),
			CodeList:        row.text("code_list"),
			Scale:           row.number("scale"),
			Unit:            row.text("unit"),
			Sensitivity:     Sensitivity(row.text("sensitivity")),
			AtRest:          AtRest(row.text("at_rest")),
			Filter:          FilterUse(row.text("filter")),
			Derived:         row.yes("derived"),
			Crosswalked:     row.yes("crosswalked"),
			NilReason:       row.yes("nil_reason"),
			AssessmentInput: row.yes("assessment_input"),
			DCI:             row.text("dci"),
			IRI:             row.text("iri"),
			Label:           row.text("label"),
			Definition:      row.text("definition"),
		}
		if row.err != nil {
			return nil, row.err
		}
	}
	return fields, nil
}

// readCodeLists reads all lists from one table: a row for each code, the rows of a list
// together. An open list without codes of its own has one row with an empty code.
func readCodeLists(tables fs.FS) ([]CodeList, error) {
	rows, err := readTable(tables, "code_lists", "list", "version", "open", "code", "label", "dci")
	if err != nil {
		return nil, err
	}
	var lists []CodeList
	for _, row := range rows {
		l := CodeList{Name: row.text("list"), Version: row.number("version"), Open: row.yes("open")}
		if row.err != nil {
			return nil, row.err
		}
		if len(lists) == 0 || lists[len(lists)-1].Name != l.Name {
			lists = append(lists, l)
		}
		if row.text("code") == "" && l.Open {
			continue
		}
		last := &lists[len(lists)-1]
		if last.Version != l.Version || last.Open != l.Open {
			return nil, row.fault("the rows of one list agree on its version and on open")
		}
		last.Codes = append(last.Codes, Code{Code: row.text("code"), Label: row.text("label"), DCI: row.text("dci")})
	}
	return lists, nil
}

// tableRow is a row of one of the tables. The first cell that does not parse is kept in err.
type tableRow struct {
	table   string
	line    int
	columns []string
	cells   []string
	err     error
}

// readTable reads the table of that name, whose header must be columns.
func readTable(tables fs.FS, name string, columns ...string) ([]*tableRow, error) {
	file, err := tables.Open("dictionary/" + name + ".csv")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(records) == 0 || !slices.Equal(records[0], columns) {
		return nil, fmt.Errorf("%s: its columns are %s", name, strings.Join(columns, ", "))
	}
	rows := make([]*tableRow, len(records)-1)
	for i, cells := range records[1:] {
		rows[i] = &tableRow{table: name, line: i + 2, columns: columns, cells: cells}
	}
	return rows, nil
}

func (r *tableRow) text(column string) string { return r.cells[slices.Index(r.columns, column)] }

// number reads a whole number; an empty cell is 0.
func (r *tableRow) number(column string) int {
	text := r.text(column)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		r.err = r.fault("%s is a whole number", column)
	}
	return int(n)
}

// yes reads a yes or no: true, or an empty cell.
func (r *tableRow) yes(column string) bool {
	text := r.text(column)
	if text != "" && text != "true" {
		r.err = r.fault("%s is true or empty", column)
	}
	return text == "true"
}

func (r *tableRow) fault(format string, args ...any) error {
	return fmt.Errorf("%s, row %d: %s", r.table, r.line, fmt.Sprintf(format, args...))
}

var countryCode = regexp.MustCompile(`^[A-Z]{2}$`)

// checkAttribute says whether a country may declare f in s. Only what a source reports and
// an image keeps can be declared: nobody would compute a derived attribute.
func checkAttribute(datasets []Dataset, s *Dataset, f *Field) error {
	fault := func(format string, args ...any) error {
		return Invalid("attribute_refused", format, args...).On(f.Code)
	}
	plain := []Type{TypeText, TypeInt, TypeDec, TypeBool, TypeDate, TypeInstant, TypeCode}
	switch {
	case !slices.Contains(plain, f.Type):
		return fault("a declared attribute is text, int, dec, bool, date, instant or code")
	case f.Derived:
		return fault("a declared attribute comes from a source; the exchange derives none for a country")
	case f.Tag != 0 && f.Tag < CountryTag:
		return fault("tags below %d belong to the standard; leave the tag out to get the next free one", CountryTag)
	case f.AtRest == SealedIndexed:
		return fault("only the value of an identifier is indexed for look-up; seal the attribute instead")
	case isRootKey(datasets, f.Code):
		return fault("the name is that of an id column in linked files; choose another")
	case s.Root:
		return nil
	case f.Filter != FilterNone:
		return fault("only attributes of households and individuals can be filtered")
	case !reported(datasets, s):
		return fault("the dataset %s takes no attributes: the exchange makes its rows", s.Name)
	}
	return nil
}

func isRootKey(datasets []Dataset, code string) bool {
	return slices.ContainsFunc(datasets, func(s Dataset) bool { return s.Root && s.Key == code })
}

// reported says whether some record's image holds rows of s.
func reported(datasets []Dataset, s *Dataset) bool {
	for _, owner := range datasets {
		for _, f := range owner.Fields {
			if f.Group == s.Name && !f.Derived {
				return true
			}
		}
	}
	return false
}

// checkGroups holds the datasets to what their groups demand. All of an item lies where its
// group lies, so a field cannot be sealed alone. In a flat file the columns of a nested record
// carry the item's name as prefix and must not meet a column of the outer record.
func (d *Dictionary) checkGroups() error {
	for s := range d.Datasets() {
		for _, g := range s.Fields {
			if g.Type != TypeGroup {
				continue
			}
			for c := range d.datasets[g.Group].Columns() {
				if !g.Derived && c.IsSealed() != g.IsSealed() {
					return Invalid("at_rest_of_group", "the group %s of %s lies %s at rest, and so must each of its fields",
						g.Code, s.Name, g.AtRest).On(c.Dataset + "." + c.Code)
				}
				if meets, ok := s.byName[g.Item()+"_"+c.Code]; ok && d.datasets[g.Group].Root {
					return Invalid("field_meets_prefix", "in a flat file of %s it would meet the column of the same name from %s",
						s.Name, g.Group).On(meets.Dataset + "." + meets.Code)
				}
			}
		}
	}
	return nil
}

// IsCode says whether every format can carry the code, alone and in a list.
func IsCode(code string) bool {
	return code != "" && printable(code) && strings.TrimSpace(code) == code &&
		!strings.ContainsRune(code, ListMark) && !strings.ContainsFunc(code, unicode.IsControl)
}

// Declares reports whether all of the extension is in the dictionary already, as it stands there.
func (d *Dictionary) Declares(x Extension) bool {
	for _, f := range x.Fields {
		s, ok := d.Dataset(f.Dataset)
		if !ok {
			return false
		}
		have, ok := s.Field(f.Code)
		if !ok {
			return false
		}
		f.Country, f.Base, f.Aspect, f.Authority = x.Country, have.Base, AspectValue, have.Authority
		if f.Tag == 0 {
			f.Tag = have.Tag
		}
		if f != *have {
			return false
		}
	}
	for _, a := range x.Authorities {
		f, ok := d.field(a)
		if !ok || f.Authority != a.Source {
			return false
		}
	}
	for _, t := range x.identifierTypes() {
		if !t.same(d.IdentifierType(t.Code)) {
			return false
		}
	}
	for _, l := range x.CodeLists {
		have, ok := d.CodeList(l.Name)
		if !ok || have.Version != l.Version || have.Open != l.Open || have.Country != x.Country || !slices.Equal(have.Codes, l.Codes) {
			return false
		}
	}
	return true
}

func (d *Dictionary) field(a Authority) (*Field, bool) {
	s, ok := d.Dataset(a.Dataset)
	if !ok {
		return nil, false
	}
	return s.Field(a.Field)
}

// apply puts the rule in force in the datasets.
func (a Authority) apply(datasets []Dataset) error {
	i := slices.IndexFunc(datasets, func(s Dataset) bool { return s.Name == a.Dataset && s.Root })
	if i < 0 {
		return Invalid("authority_refused", "an authority decides a field of households or individuals").On(a.Field)
	}
	for j, f := range datasets[i].Fields {
		if f.Code != a.Field {
			continue
		}
		if f.Derived {
			return Invalid("authority_refused", "no source decides this field: the exchange derives it").On(a.Field)
		}
		decided := *f
		decided.Authority = a.Source
		datasets[i].Fields[j] = &decided
		return nil
	}
	return Invalid("unknown_field", "the authority decides a field that %s do not have", a.Dataset).On(a.Field)
}
