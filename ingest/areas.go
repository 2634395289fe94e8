package ingest

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/goccy/go-yaml/ast"
)

// maxAreas is the largest file of areas or assignments that is read, in bytes.
const maxAreas = 256 << 20

// ReadAreas reads a list of areas (docs/spec/areas.md): CSV with a header or, when it begins with a
// brace, NDJSON. It checks the form; that they make a tree is checked when they come on file.
func ReadAreas(r io.Reader) ([]annona.Area, error) {
	in := bufio.NewReader(io.LimitReader(r, maxAreas))
	head, _ := in.Peek(4)
	if bytes.HasPrefix(bytes.TrimPrefix(head, []byte("\ufeff")), []byte("{")) {
		return readAreaLines(in)
	}
	return readAreaTable(in)
}

func readAreaLines(in *bufio.Reader) (areas []annona.Area, err error) {
	if head, _ := in.Peek(3); string(head) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxRow)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var a annona.Area
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			return nil, areaFault(n, "a line is a JSON object with code, parent, level, names, valid_from, valid_to and replaced_by")
		}
		if areas = append(areas, a); checkDates(a) != nil {
			return nil, areaFault(n, "valid_from and valid_to are dates, written 2006-01-02")
		}
	}
	if lines.Err() != nil {
		return nil, annona.Invalid("file_unreadable", "the file of areas cannot be read to its end")
	}
	return areas, nil
}

func areaFault(line int, format string, args ...any) error {
	e := annona.Invalid("area_malformed", format, args...).AtPosition(line)
	e.Message = "line " + strconv.Itoa(line) + ": " + e.Message
	return e
}

// table is a small CSV file that is read as a whole.
type table struct {
	columns []string
	rows    [][]string
	lines   []int // of the rows
}

func readTable(in io.Reader, what string) (t table, err error) {
	rows := csv.NewReader(in)
	rows.ReuseRecord = false
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line := 0
			var fault *csv.ParseError
			if errors.As(err, &fault) {
				line = fault.Line
			}
			return t, annona.Invalid("file_malformed", "the %s is not CSV with as many cells in each row as in its header (line %d)", what, line).AtPosition(line)
		}
		line, _ := rows.FieldPos(0)
		if t.columns == nil {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			t.columns = row
			continue
		}
		t.rows, t.lines = append(t.rows, row), append(t.lines, line)
	}
	if t.columns == nil {
		return t, annona.Invalid("file_empty", "the %s is empty", what)
	}
	return t, nil
}

func readAreaTable(in io.Reader) ([]annona.Area, error) {
	t, err := readTable(in, "file of areas")
	if err != nil {
		return nil, err
	}
	known := []string{"code", "parent", "level", "name", "valid_from", "valid_to", "replaced_by"}
	for i, column := range t.columns {
		language, isName := strings.CutPrefix(column, "name_")
		if !slices.Contains(known, column) && (!isName || language == "") || slices.Contains(t.columns[:i], column) {
			return nil, areaFault(1, "the columns are code, parent, level, name, name_ with a language, valid_from, valid_to and replaced_by, each once").(*annona.Error).On(column)
		}
	}
	if !slices.Contains(t.columns, "code") || !slices.Contains(t.columns, "level") {
		return nil, areaFault(1, "the columns code and level are needed")
	}
	var areas []annona.Area
	for n, row := range t.rows {
		a, err := areaOf(t.columns, row)
		if err != nil {
			return nil, areaFault(t.lines[n], "%s", err.Error())
		}
		areas = append(areas, a)
	}
	return areas, nil
}

func areaOf(columns, row []string) (a annona.Area, err error) {
	for i, column := range columns {
		text := strings.TrimSpace(row[i])
		if text == "" {
			continue
		}
		switch column {
		case "code":
			a.Code = text
		case "parent":
			a.Parent = text
		case "level":
			if a.Level, err = strconv.Atoi(text); err != nil {
				return a, errors.New("the level is a whole number")
			}
		case "valid_from":
			a.ValidFrom = annona.Date(text)
		case "valid_to":
			a.ValidTo = annona.Date(text)
		case "replaced_by":
			a.ReplacedBy = strings.Split(text, string(rune(annona.ListMark)))
		default:
			if a.Names == nil {
				a.Names = map[string]string{}
			}
			language := strings.TrimPrefix(strings.TrimPrefix(column, "name"), "_")
			if language == "" {
				language = "en"
			}
			a.Names[language] = text
		}
	}
	return a, checkDates(a)
}

func checkDates(a annona.Area) error {
	for _, d := range []annona.Date{a.ValidFrom, a.ValidTo} {
		if _, err := annona.ParseDate(string(d)); d != "" && err != nil {
			return errors.New("valid_from and valid_to are dates, written 2006-01-02")
		}
	}
	return nil
}

// ReadAssignments reads which household is in which successor of its area: CSV with the columns
// household_key and area_code.
func ReadAssignments(r io.Reader) (list []annona.AreaAssignment, err error) {
	t, err := readTable(io.LimitReader(r, maxAreas), "file of assignments")
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.columns, []string{"household_key", "area_code"}) {
		return nil, annona.Invalid("assignment_malformed", "the columns are household_key and area_code").AtPosition(1)
	}
	for n, row := range t.rows {
		list = append(list, annona.AreaAssignment{Key: strings.TrimSpace(row[0]), Area: strings.TrimSpace(row[1]), Line: t.lines[n]})
	}
	return list, nil
}

// ParseReorganization reads a reorganization of areas (docs/spec/areas.md). It checks the form; that
// it fits the areas on file is checked when it is recorded.
func ParseReorganization(r io.Reader) (annona.Reorganization, error) {
	var doc struct {
		Effective text        `yaml:"effective"`
		Reference text        `yaml:"reference"`
		Changes   []changeDoc `yaml:"changes"`
	}
	if err := decodeYAML(r, "reorganization", &doc); err != nil {
		return annona.Reorganization{}, err
	}
	out := annona.Reorganization{Effective: annona.Date(doc.Effective), Reference: string(doc.Reference)}
	for _, d := range doc.Changes {
		c, err := d.change()
		if err != nil {
			return out, err
		}
		out.Changes = append(out.Changes, c)
	}
	return out, nil
}

type changeDoc struct {
	line     int
	Rename   text      `yaml:"rename"`
	Split    text      `yaml:"split"`
	Merge    texts     `yaml:"merge"`
	Move     text      `yaml:"move"`
	Close    text      `yaml:"close"`
	To       targetDoc `yaml:"to"`
	Into     targets   `yaml:"into"`
	Children words     `yaml:"children"`
}

func (c *changeDoc) UnmarshalYAML(node ast.Node) error {
	type plain changeDoc
	if err := decodeNode(node, (*plain)(c)); err != nil {
		return yamlFault("reorganization", err)
	}
	c.line = lineOf(node)
	if entries, ok := pairs(node); ok && len(entries) > 0 {
		c.line = lineOf(entries[0].Key)
	}
	return nil
}

// targetDoc is an area that others become: the code of one on file, or a new one.
type targetDoc struct{ areaDoc }

func (t *targetDoc) UnmarshalYAML(node ast.Node) error {
	if code, ok := scalarText(node); ok {
		t.Code = text(code)
		return nil
	}
	return decodeNode(node, &t.areaDoc)
}

// targets is one area or a list of them.
type targets []targetDoc

func (t *targets) UnmarshalYAML(node ast.Node) error {
	nodes := []ast.Node{node}
	if list, ok := node.(*ast.SequenceNode); ok {
		nodes = list.Values
	}
	for _, n := range nodes {
		var one targetDoc
		if err := one.UnmarshalYAML(n); err != nil {
			return err
		}
		*t = append(*t, one)
	}
	return nil
}

func (c *changeDoc) change() (annona.AreaChange, error) {
	out := annona.AreaChange{Line: c.line, Children: c.Children}
	kinds := map[annona.AreaChangeKind][]string{
		annona.AreaRename: single(c.Rename), annona.AreaSplit: single(c.Split), annona.AreaMerge: c.Merge,
		annona.AreaMove: single(c.Move), annona.AreaClose: single(c.Close),
	}
	said := 0
	for kind, from := range kinds {
		if len(from) > 0 {
			out.Kind, out.From = kind, from
			said++
		}
	}
	fault := func(message string) error {
		e := annona.Invalid("reorganization_malformed", "line %d: %s", c.line, message).AtPosition(c.line)
		return e
	}
	if said != 1 {
		return out, fault("a change is one of rename, split, merge, move and close")
	}
	into := c.Into
	switch out.Kind {
	case annona.AreaMove:
		if len(into) > 0 || c.To.Code == "" {
			return out, fault("a move says by `to` the code of the area around it")
		}
		out.Parent = string(c.To.Code)
		return out, nil
	case annona.AreaRename:
		if len(into) > 0 || c.To.Code == "" {
			return out, fault("a rename says by `to` the new area, with its code")
		}
		into = targets{c.To}
	default:
		if c.To.Code != "" {
			return out, fault("a split or a merge says what becomes of it by `into`")
		}
	}
	for _, t := range into {
		a := annona.Area{Code: string(t.Code), Parent: string(t.Parent), Level: t.Level}
		if len(t.Names) > 0 || t.Name != "" {
			a.Names = map[string]string{}
			for language, name := range t.Names {
				a.Names[language] = name
			}
			if t.Name != "" {
				a.Names["en"] = string(t.Name)
			}
		}
		out.Into = append(out.Into, a)
	}
	return out, nil
}

func single(code text) []string {
	if code == "" {
		return nil
	}
	return []string{string(code)}
}
