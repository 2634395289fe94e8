package ingest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

func TestMappingFaults(t *testing.T) {
	const base = `source: test
survey_date: 2026-06-30
inputs:
  - name: people
    format: csv
    individual:
      key: id
      fields:
        sex: sex
codes:
  sexes: {M: male}
`
	replace := func(old, new string) string {
		if !strings.Contains(base, old) {
			t.Fatalf("the base has no %q", old)
		}
		return strings.Replace(base, old, new, 1)
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":                      {"", "the mapping is empty"},
		"no YAML":                    {"source: [", "line 1"},
		"two documents":              {base + "---\nsource: x\n", "more than one"},
		"unknown key":                {replace("format: csv", "format: csv\n    formt: x"), "line 6 of the mapping: there is no key \"formt\" here"},
		"unknown key of a rule":      {replace("sex: sex", "sex: {colum: sex}"), "line 9 of the mapping: there is no key \"colum\" here"},
		"a table for a list":         {replace("inputs:\n  - name: people\n    format: csv", "inputs:\n    name: people\n    format: csv"), "not of the kind that this key takes"},
		"unknown key at the top":     {base + "cods: {}\n", "line 12"},
		"no source":                  {replace("source: test\n", ""), "source"},
		"source with spaces":         {replace("source: test", "source: Te st"), "source"},
		"no inputs":                  {"source: test\n", "inputs"},
		"file format":                {replace("format: csv", "format: xlsx"), "csv or ndjson"},
		"encoding":                   {replace("format: csv", "format: csv\n    encoding: latin1"), "utf-8"},
		"delimiter":                  {replace("format: csv", "format: csv\n    delimiter: '::'"), "delimiter"},
		"decimal mark":               {replace("format: csv", "format: csv\n    decimal_mark: x"), "decimal_mark"},
		"input without name":         {replace("name: people", "name: ''"), "each input has a name"},
		"input that feeds nothing":   {"source: a\ninputs:\n  - {name: a, format: csv}\n", "feeds a household"},
		"two inputs of one name":     {replace("codes:", "  - {name: people, format: csv, household: {key: hh}}\ncodes:"), "two inputs"},
		"no key":                     {replace("key: id", "ordinal: false"), "either `key`"},
		"key and ordinal":            {replace("key: id", "key: id\n      ordinal: true"), "either `key`"},
		"ordinal without household":  {replace("key: id", "ordinal: true"), "`ordinal` numbers the persons"},
		"each in csv":                {replace("key: id", "key: id\n      each: members"), "only ndjson"},
		"unknown field":              {replace("sex: sex", "sexx: sex"), "line 9: the dictionary has no such field"},
		"field twice":                {replace("sex: sex", "sex: sex\n        sex: sex2"), "line 10"},
		"derived field":              {replace("sex: sex", "role: sex"), "line 9: Annona fills this field itself"},
		"id field":                   {replace("sex: sex", "individual_id: sex"), "Annona fills"},
		"companion":                  {replace("sex: sex", "sex_source_code: sex"), "comes with the rule of sex"},
		"group as a field":           {replace("sex: sex", "identifiers: sex"), "under `groups`"},
		"rule without origin":        {replace("sex: sex", "sex: {codes: sexes}"), "needs a `column`"},
		"constant and column":        {replace("sex: sex", "sex: {column: a, constant: male}"), "not both"},
		"constant of no list":        {replace("sex: sex", "sex: {constant: men}"), "does not fit"},
		"several columns":            {replace("sex: sex", "sex: {column: [a, b]}"), "many values"},
		"separator":                  {replace("sex: sex", "sex: {column: a, separator: '|'}"), "many values"},
		"unknown crosswalk":          {replace("sex: sex", "sex: {column: a, codes: sexs}"), "sexs: line 9: `codes` has no table"},
		"crosswalk to no code":       {replace("M: male", "M: men") + "", ""},
		"used crosswalk to no code":  {strings.Replace(replace("M: male", "M: men"), "sex: sex", "sex: {column: sex, codes: sexes}", 1), "not a code of the field's list"},
		"crosswalk of a text":        {replace("sex: sex", "full_name: {column: a, codes: sexes}"), "only codes"},
		"word twice":                 {replace("M: male", "M: male, M: female"), ""},
		"absent for no reason":       {replace("sex: sex", "sex: {column: a, absent: {x: dunno}}"), "nil_reason"},
		"absent without a companion": {replace("sex: sex", "full_name: {column: a, absent: {x: refused}}"), "keeps no reason"},
		"format of a text":           {replace("sex: sex", "full_name: {column: a, format: YYYY}"), "only a date"},
		"format":                     {replace("sex: sex", "date_of_birth: {column: a, format: yyyy-mm-dd}"), "YYYY, MM, DD"},
		"format without a day":       {replace("sex: sex", "date_of_death: {column: a, format: MM/YYYY}"), "only a date of birth"},
		"age of something else":      {replace("sex: sex", "sex: {age: a}"), "`age` makes a date of birth"},
		"age without survey date":    {strings.Replace(replace("sex: sex", "date_of_birth: {age: a}"), "survey_date: 2026-06-30\n", "", 1), "needs a `survey_date`"},
		"survey date":                {replace("survey_date: 2026-06-30", "survey_date: {constant: soon}"), "survey_date"},
		"unknown group":              {replace("key: id", "key: id\n      groups: {idents: []}"), "no such group"},
		"quality flags":              {replace("key: id", "key: id\n      groups: {quality_flags: [{code: a}]}"), "raised by the import"},
		"membership without home":    {replace("key: id", "key: id\n      membership: {role: r}"), "membership.household"},
		"relationship without to":    {replace("key: id", "key: id\n      relationships: [{type: t}]"), "`to`"},
		"relationship without type":  {replace("key: id", "key: id\n      relationships: [{to: t}]"), "`type`"},
		"identifier type":            {base + "identifier_types: {library_card: {pattern: x}}\n", "identifier_type"},
		"pattern":                    {base + "identifier_types: {passport_number: {pattern: '('}}\n", "regular expression"},
		"area without code":          {base + "areas: [{level: 1}]\n", "an area has a code"},
		"area before its parent":     {base + "areas: [{code: B, parent: A, level: 1}, {code: A, level: 0}]\n", "B: the parent"},
		"area twice":                 {base + "areas: [{code: A, level: 0}, {code: A, level: 0}]\n", "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ingest.ParseMapping(strings.NewReader(test.text), annona.Standard())
			if test.want == "" {
				return // allowed, or refused in the words of the YAML library
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if annona.KindOf(err) != annona.KindInvalid {
				t.Errorf("kind %v of %v", annona.KindOf(err), err)
			}
		})
	}
}

func TestWordStandsTwiceInATable(t *testing.T) {
	text := strings.Replace(flat, "{h: head, c: child}", "{h: head, h: child}", 1)
	if _, err := ingest.ParseMapping(strings.NewReader(text), annona.Standard()); err == nil {
		t.Error("a crosswalk that contradicts itself is accepted")
	}
}

// The examples of the documentation are mappings.
func TestDocumentedMappings(t *testing.T) {
	text, err := os.ReadFile("../docs/spec/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("../examples/ghana-glss/dictionary.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	x, err := ingest.ParseDictionary(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := annona.Standard().Extend(x)
	if err != nil {
		t.Fatal(err)
	}
	mappings := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		var err error
		switch yaml := string(block[1]); {
		case strings.HasPrefix(yaml, "source:"):
			mappings++
			_, err = ingest.ParseMapping(strings.NewReader(yaml), d)
		case strings.HasPrefix(yaml, "country:"):
			_, err = ingest.ParseDictionary(strings.NewReader(yaml))
		default: // the fields of an individual
			indented := "        " + strings.ReplaceAll(strings.TrimSpace(yaml), "\n", "\n        ")
			_, err = ingest.ParseMapping(strings.NewReader("source: a\nsurvey_date: 2026-01-31\ninputs:\n  - name: a\n    format: csv\n"+
				"    individual:\n      key: id\n      fields:\n"+indented+"\n"), d)
		}
		if err != nil {
			t.Errorf("%v:\n%s", err, block[1])
		}
	}
	if mappings == 0 {
		t.Error("the documentation shows no mapping")
	}
}

func FuzzParseMapping(f *testing.F) {
	for _, path := range []string{"ghana-glss", "two-files", "nested"} {
		text, err := os.ReadFile("../examples/" + path + "/mapping.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(flat)
	f.Add(twoFiles)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ingest.ParseMapping(strings.NewReader(text), annona.Standard())
		if (m == nil) == (err == nil) {
			t.Fatal("neither a mapping nor an error")
		}
		if err != nil && annona.KindOf(err) != annona.KindInvalid {
			t.Fatalf("a malformed mapping is our fault: %v", err)
		}
	})
}
