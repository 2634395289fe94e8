package ingest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/goccy/go-yaml/ast"
)

// Mapping says how the files of one source become records. It does not change once parsed
// and may serve several reads at once.
type Mapping struct {
	source string
	areas  []annona.Area
	inputs []*input
	bare   *entity           // makes a household that only its members name
	rules  int               // number of rules, each with its own number
	print  [sha256.Size]byte // of its text, and of the crosswalks of its source
}

// Source is the name of the source system that the records come from.
func (m *Mapping) Source() string { return m.source }

// Areas returns the areas that the mapping declares, parents first.
func (m *Mapping) Areas() []annona.Area { return slices.Clone(m.areas) }

// Covers names what the source's files can tell of, by dataset: fields, groups, memberships and
// relationships. Nothing else of a record is the source's business.
func (m *Mapping) Covers() map[string][]string {
	covers := map[string][]string{}
	for _, in := range m.inputs {
		if in.household != nil {
			covers["households"] = append(covers["households"], in.household.covers()...)
		}
		if in.individual == nil {
			continue
		}
		covers["individuals"] = append(covers["individuals"], in.individual.covers()...)
		if in.householdKey() != nil {
			covers["households"] = append(covers["households"], m.bare.flags.group.Code)
			covers["individuals"] = append(covers["individuals"], "memberships")
		}
	}
	return covers
}

func (e *entity) covers() []string {
	var names []string
	for _, r := range e.rules {
		names = append(names, r.field.Base.Code)
	}
	for _, g := range e.groups {
		names = append(names, g.field.Code)
	}
	if e.asOf != nil {
		names = append(names, e.asOf.Code)
	}
	if len(e.relationships) > 0 {
		names = append(names, "relationships")
	}
	return names
}

// Match names the identifier types by which an individual with an unknown key may be one that is on
// file under the key of another source.
func (m *Mapping) Match() []string {
	var schemes []string
	for _, in := range m.inputs {
		if in.individual != nil {
			schemes = append(schemes, in.individual.match...)
		}
	}
	return schemes
}

// Formats returns the formats of the mapping's inputs, in their order: csv or ndjson.
func (m *Mapping) Formats() []string {
	formats := make([]string, len(m.inputs))
	for i, in := range m.inputs {
		formats[i] = in.format
	}
	return formats
}

// ParseMapping reads a mapping (docs/spec/mapping.md) and checks it against the dictionary. An
// unknown key, field, code or code list is refused with its line.
//
// crosswalks are those on file: a mapping may use those of its source.
func ParseMapping(r io.Reader, d *annona.Dictionary, crosswalks ...annona.Crosswalk) (*Mapping, error) {
	var doc mappingDoc
	text := sha256.New()
	if err := decodeYAML(io.TeeReader(r, text), "mapping", &doc); err != nil {
		return nil, err
	}
	m, err := compile(&doc, d, crosswalks)
	if err != nil {
		return nil, err
	}
	for _, c := range crosswalks {
		if c.Source == m.source {
			fmt.Fprintf(text, "%q %d %q", c.List, c.Version, c.Codes) // a map is printed in order of its keys
		}
	}
	text.Sum(m.print[:0])
	return m, nil
}

// The mapping as it is written. Names of keys are those of docs/spec/mapping.md.
type (
	mappingDoc struct {
		Source      text                `yaml:"source"`
		SurveyDate  *ruleDoc            `yaml:"survey_date"`
		Inputs      []inputDoc          `yaml:"inputs"`
		Codes       map[string]tableDoc `yaml:"codes"`
		Identifiers map[string]typeDoc  `yaml:"identifier_types"`
		Areas       []areaDoc           `yaml:"areas"`
	}

	inputDoc struct {
		Name        text       `yaml:"name"`
		Format      text       `yaml:"format"`
		Encoding    text       `yaml:"encoding"`
		Delimiter   text       `yaml:"delimiter"`
		DecimalMark text       `yaml:"decimal_mark"`
		SurveyDate  *ruleDoc   `yaml:"survey_date"`
		Household   *entityDoc `yaml:"household"`
		Individual  *entityDoc `yaml:"individual"`
	}

	entityDoc struct {
		Each          text                     `yaml:"each"`
		Key           texts                    `yaml:"key"`
		Ordinal       bool                     `yaml:"ordinal"`
		Match         texts                    `yaml:"match"`
		Fields        fieldsDoc                `yaml:"fields"`
		Groups        map[string][]templateDoc `yaml:"groups"`
		Membership    *membershipDoc           `yaml:"membership"`
		Relationships []relationshipDoc        `yaml:"relationships"`
	}

	membershipDoc struct {
		Household texts
		Fields    fieldsDoc
	}

	relationshipDoc struct {
		Each   text
		To     texts
		Fields fieldsDoc
	}

	// templateDoc makes the items of a group: the fields of one item, once for each element
	// of a list when Each names one.
	templateDoc struct {
		Each   text
		Fields fieldsDoc
	}

	typeDoc struct {
		Pattern text `yaml:"pattern"`
	}

	areaDoc struct {
		Code   text  `yaml:"code"`
		Parent text  `yaml:"parent"`
		Level  int   `yaml:"level"`
		Name   text  `yaml:"name"`
		Names  words `yaml:"names"`
	}

	// fieldsDoc are rules by field, in the order in which they are written.
	fieldsDoc []fieldDoc

	fieldDoc struct {
		code string
		line int
		rule ruleDoc
	}

	// ruleDoc says where the value of one field comes from. A plain text names a column.
	ruleDoc struct {
		Column    texts       `yaml:"column"`
		Constant  text        `yaml:"constant"`
		Age       text        `yaml:"age"`
		Codes     codesDoc    `yaml:"codes"`
		Absent    words       `yaml:"absent"`
		Format    texts       `yaml:"format"`
		Calendar  calendarDoc `yaml:"calendar"`
		Year      text        `yaml:"year"`
		Month     text        `yaml:"month"`
		Day       text        `yaml:"day"`
		Separator text        `yaml:"separator"`
	}

	// calendarDoc is a calendar, or the column that says which one the date of a row is in.
	calendarDoc struct {
		code   string
		column string
		codes  words
	}

	// tableDoc is a table that rules share, or the word crosswalk: the one on file for the list of
	// its name.
	tableDoc struct {
		OnFile bool
		Words  words
	}

	// codesDoc is a crosswalk: the name of one under codes, or one written in place.
	codesDoc struct {
		Name  string
		Words words
	}
)

func (d *tableDoc) UnmarshalYAML(node ast.Node) error {
	if word, ok := scalarText(node); ok {
		if d.OnFile = word == "crosswalk"; !d.OnFile {
			return malformed(lineOf(node), "a table of codes, or the word crosswalk for the one on file, is expected")
		}
		return nil
	}
	return d.Words.UnmarshalYAML(node)
}

func (c *codesDoc) UnmarshalYAML(node ast.Node) error {
	if name, ok := scalarText(node); ok {
		c.Name = name
		return nil
	}
	return c.Words.UnmarshalYAML(node)
}

func (c *calendarDoc) UnmarshalYAML(node ast.Node) error {
	if code, ok := scalarText(node); ok {
		c.code = code
		return nil
	}
	var rule struct {
		Column text  `yaml:"column"`
		Codes  words `yaml:"codes"`
	}
	if err := decodeNode(node, &rule); err != nil {
		return err
	}
	if rule.Column == "" {
		return malformed(lineOf(node), "`calendar` is the name of one, or the `column` that says which, with `codes` where the source has words of its own")
	}
	c.column, c.codes = string(rule.Column), rule.Codes
	return nil
}

// given reports whether the mapping says in which calendar dates are written.
func (c calendarDoc) given() bool { return c.code != "" || c.column != "" }

func (r *ruleDoc) UnmarshalYAML(node ast.Node) error {
	if column, ok := scalarText(node); ok {
		r.Column = texts{column}
		return nil
	}
	type plain ruleDoc
	return decodeNode(node, (*plain)(r))
}

func (f *fieldsDoc) UnmarshalYAML(node ast.Node) error {
	_, err := f.take(node)
	return err
}

// take reads the rules of node and returns the values of the reserved keys.
func (f *fieldsDoc) take(node ast.Node, reserved ...string) (map[string]ast.Node, error) {
	entries, ok := pairs(node)
	if !ok {
		return nil, malformed(lineOf(node), "fields with the columns they come from are expected")
	}
	kept := map[string]ast.Node{}
	for _, entry := range entries {
		code, ok := scalarText(entry.Key)
		if !ok {
			return nil, malformed(lineOf(entry.Key), "the name of a field is expected")
		}
		if slices.Contains(reserved, code) {
			kept[code] = entry.Value
			continue
		}
		rule := fieldDoc{code: code, line: lineOf(entry.Key)}
		if err := rule.rule.UnmarshalYAML(entry.Value); err != nil {
			return nil, err
		}
		*f = append(*f, rule)
	}
	return kept, nil
}

func (m *membershipDoc) UnmarshalYAML(node ast.Node) error {
	kept, err := m.Fields.take(node, "household")
	if err != nil || kept["household"] == nil {
		return err
	}
	return m.Household.UnmarshalYAML(kept["household"])
}

func (r *relationshipDoc) UnmarshalYAML(node ast.Node) error {
	kept, err := r.Fields.take(node, "each", "to")
	if err != nil {
		return err
	}
	if kept["each"] != nil {
		if err := r.Each.UnmarshalYAML(kept["each"]); err != nil {
			return err
		}
	}
	if kept["to"] == nil {
		return malformed(lineOf(node), "a relationship says by `to` which column holds the key of the other individual")
	}
	return r.To.UnmarshalYAML(kept["to"])
}

func (t *templateDoc) UnmarshalYAML(node ast.Node) error {
	kept, err := t.Fields.take(node, "each")
	if err != nil || kept["each"] == nil {
		return err
	}
	return t.Each.UnmarshalYAML(kept["each"])
}
