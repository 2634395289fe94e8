package ingest

import (
	"regexp"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest/calendar"
)

// The formats of an input.
const (
	FormatCSV    = "csv"
	FormatNDJSON = "ndjson"
)

// input is one kind of file of the source, compiled.
type input struct {
	name        string
	format      string
	comma       byte
	root        *view
	survey      *rule // nil when there is no survey date
	household   *entity
	individual  *entity
	repeats     bool // household columns stand on the row of each person
	ofHousehold int  // the first so many columns of root tell about the household
	countsRows  bool // a row is a person who is numbered within the household
}

// view is a place where columns are read: the row itself, or the elements of a list in it.
type view struct {
	each    []string // path of the list from the parent; nil for the row
	name    string   // for messages: "", "members"
	columns []string
	paths   [][]string // of the columns, in NDJSON
}

// slot returns the position of a column in the cells of the view.
func (v *view) slot(column string) int {
	if i := slices.Index(v.columns, column); i >= 0 {
		return i
	}
	v.columns = append(v.columns, column)
	v.paths = append(v.paths, strings.Split(column, "."))
	return len(v.columns) - 1
}

// entity says how a household or an individual is made from a view.
type entity struct {
	dataset       *annona.Dataset
	view          *view
	key           []int
	keyColumn     string // for messages
	ordinal       bool
	match         []string      // identifier types, see Mapping.Match
	asOf          *annona.Field // filled from the survey date; nil when a rule fills it
	flags         flagFields
	rules         []*rule
	groups        []*group
	membership    *membership
	relationships []*relationship
}

type group struct {
	field     *annona.Field
	templates []*template
}

type template struct {
	view  *view // nil: the view of the entity
	rules []*rule
	must  *annona.Field // without it there is no item; nil: any value makes one
	asOf  *annona.Field // filled from the survey date; nil when a rule fills it
	// of identifiers:
	scheme   *annona.Field
	patterns map[string]*regexp.Regexp // by scheme
}

type membership struct {
	household []int // nil: the household of the same row
	rules     []*rule
}

type relationship struct {
	view  *view // nil: the view of the entity
	to    []int
	rules []*rule
}

// flagFields are the group of quality flags and its fields.
type flagFields struct{ group, code, field, since *annona.Field }

// compiler checks a mapping against the dictionary while it compiles it.
type compiler struct {
	dictionary *annona.Dictionary
	doc        *mappingDoc
	crosswalks []annona.Crosswalk // on file
	mapping    *Mapping
	patterns   map[string]*regexp.Regexp // by identifier scheme
	in         *input                    // the input being compiled
	decimal    byte                      // its decimal mark
	calendars  map[string]*calendar.Calendar
}

var sourceName = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)

func compile(doc *mappingDoc, d *annona.Dictionary, crosswalks []annona.Crosswalk) (*Mapping, error) {
	if !sourceName.MatchString(string(doc.Source)) || len(doc.Source) > 60 {
		return nil, annona.Invalid("mapping_malformed", "`source` names the source system in lower-case letters, digits, dots and hyphens").On("source")
	}
	if len(doc.Inputs) == 0 {
		return nil, annona.Invalid("mapping_malformed", "a mapping has at least one input").On("inputs")
	}
	c := &compiler{dictionary: d, doc: doc, crosswalks: crosswalks, mapping: &Mapping{source: string(doc.Source)}}
	var err error
	if c.mapping.areas, err = compileAreas(doc.Areas); err != nil {
		return nil, err
	}
	if c.patterns, err = c.identifierTypes(); err != nil {
		return nil, err
	}
	if c.mapping.bare, err = c.bareHousehold(); err != nil {
		return nil, err
	}
	for _, i := range doc.Inputs {
		in, err := c.input(i)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(c.mapping.inputs, func(o *input) bool { return o.name == in.name }) {
			return nil, annona.Invalid("mapping_malformed", "two inputs have this name").On(in.name)
		}
		c.mapping.inputs = append(c.mapping.inputs, in)
	}
	// Households precede the individuals who join them, across files too.
	slices.SortStableFunc(c.mapping.inputs, func(a, b *input) int { return a.rank() - b.rank() })
	return c.mapping, nil
}

func (in *input) rank() int {
	if in.household != nil {
		return 0
	}
	return 1
}

func (c *compiler) identifierTypes() (map[string]*regexp.Regexp, error) {
	patterns := map[string]*regexp.Regexp{}
	list, _ := c.dictionary.CodeList("identifier_type")
	for scheme, declared := range c.doc.Identifiers {
		if list == nil || !list.Has(scheme) {
			return nil, annona.Invalid("unknown_code", "an identifier type is a code of the list identifier_type").On(scheme)
		}
		pattern, err := regexp.Compile(`^(?:` + string(declared.Pattern) + `)$`)
		if err != nil {
			return nil, annona.Invalid("pattern_malformed", "the pattern is no regular expression (RE2)").On(scheme)
		}
		patterns[scheme] = pattern
	}
	return patterns, nil
}

func (c *compiler) input(doc inputDoc) (*input, error) {
	in := &input{name: string(doc.Name), format: string(doc.Format), comma: ',', root: &view{}}
	c.in, c.decimal = in, '.'
	if err := c.form(doc); err != nil {
		return nil, err
	}
	survey := doc.SurveyDate
	if survey == nil {
		survey = c.doc.SurveyDate
	}
	var err error
	if survey != nil {
		if in.survey, err = c.surveyDate(*survey); err != nil {
			return nil, err
		}
	}
	if doc.Household != nil {
		if in.household, err = c.entity("households", *doc.Household); err != nil {
			return nil, err
		}
	}
	in.ofHousehold = len(in.root.columns)
	if doc.Individual != nil {
		if in.individual, err = c.entity("individuals", *doc.Individual); err != nil {
			return nil, err
		}
	}
	return in, c.checkInput(doc)
}

// form reads what concerns the file itself.
func (c *compiler) form(doc inputDoc) error {
	fault := func(format string, args ...any) error {
		return annona.Invalid("mapping_malformed", format, args...).On(c.in.name)
	}
	if !sourceName.MatchString(strings.ReplaceAll(c.in.name, "_", "-")) {
		return annona.Invalid("mapping_malformed", "each input has a name of lower-case letters, digits and hyphens").On("inputs")
	}
	if c.in.format != FormatCSV && c.in.format != FormatNDJSON {
		return fault("`format` is csv or ndjson")
	}
	if doc.Encoding != "" && !strings.EqualFold(string(doc.Encoding), "utf-8") {
		return fault("`encoding` is utf-8; convert the file first, for example with iconv")
	}
	if doc.Delimiter != "" {
		if c.in.format != FormatCSV || len(doc.Delimiter) != 1 || strings.ContainsAny(string(doc.Delimiter), "\"\r\n") || doc.Delimiter[0] >= 0x80 {
			return fault("`delimiter` is one ASCII character, of a csv input: a comma, a semicolon, a tab (\"\\t\")")
		}
		c.in.comma = doc.Delimiter[0]
	}
	if doc.DecimalMark != "" {
		if doc.DecimalMark != "." && doc.DecimalMark != "," {
			return fault("`decimal_mark` is a point or a comma")
		}
		c.decimal = doc.DecimalMark[0]
	}
	return nil
}

func (c *compiler) checkInput(doc inputDoc) error {
	in := c.in
	fault := func(format string, args ...any) error {
		return annona.Invalid("mapping_malformed", format, args...).On(in.name)
	}
	switch {
	case in.household == nil && in.individual == nil:
		return fault("an input feeds a household, an individual or both")
	case in.household != nil && (doc.Household.Each != "" || in.household.ordinal):
		return fault("a household is the row itself and has a key column")
	case in.household != nil && (doc.Household.Membership != nil || doc.Household.Relationships != nil):
		return fault("membership and relationships belong to the individual")
	case in.individual == nil:
		return nil
	}
	own := in.individual.membership != nil && in.individual.membership.household != nil
	nested := in.individual.view != in.root
	switch {
	case own && in.household != nil:
		return fault("the membership joins the household of the same row; `membership.household` is for a file of members alone")
	case in.household == nil && in.individual.membership != nil && !own:
		return fault("`membership.household` says which column holds the key of the household")
	case in.individual.ordinal && in.household == nil && !own:
		return fault("`ordinal` numbers the persons of a household: say where the key of the household is")
	case in.individual.ordinal && nested && in.household == nil:
		return fault("`ordinal` in a list needs the household in the same row")
	}
	in.repeats = in.household != nil && !nested
	in.countsRows = in.individual.ordinal && !nested
	return nil
}

func compileAreas(docs []areaDoc) ([]annona.Area, error) {
	areas := make([]annona.Area, 0, len(docs))
	levels := map[string]int{}
	for _, doc := range docs {
		fault := func(message string) error {
			return annona.Invalid("area_malformed", "%s", message).On(string(doc.Code))
		}
		if doc.Code == "" || len(doc.Code) > 40 || doc.Level < 0 || doc.Level > 20 {
			return nil, fault("an area has a code of at most 40 characters and a level from 0, the country")
		}
		if _, twice := levels[string(doc.Code)]; twice {
			return nil, fault("the area stands twice in the mapping")
		}
		parent, ok := levels[string(doc.Parent)]
		if doc.Parent != "" && (!ok || parent >= doc.Level) {
			return nil, fault("the parent of an area stands before it and has a smaller level")
		}
		levels[string(doc.Code)] = doc.Level
		names := map[string]string{}
		for language, name := range doc.Names {
			names[language] = name
		}
		if doc.Name != "" {
			names["en"] = string(doc.Name)
		}
		areas = append(areas, annona.Area{Code: string(doc.Code), Parent: string(doc.Parent), Level: doc.Level, Names: names})
	}
	return areas, nil
}
