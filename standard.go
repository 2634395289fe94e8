package annona

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
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
