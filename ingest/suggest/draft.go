package suggest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// writer writes the mapping.
type writer struct {
	*matcher
	forms  []*form
	out    strings.Builder
	tables []codeTable
}

// codeTable is a crosswalk under codes.
type codeTable struct {
	name    string
	list    string
	known   []pair
	unknown []pair // words that come again, with how often
}

type pair struct{ from, to string }

// A word that nothing knows is written when it comes so often, in a column of few values, and is
// so short: then it is a code, and not what somebody said of one person.
const (
	leastRepeats = 3
	maxWord      = 40
)

func (w *writer) line(indent int, text string, confidence float64, notes ...string) {
	w.out.WriteString(strings.Repeat("  ", indent) + text)
	notes = slices.DeleteFunc(notes, func(n string) bool { return n == "" })
	if confidence > 0 {
		notes = append([]string{fmt.Sprintf("%.2f", confidence)}, notes...)
	}
	if len(notes) > 0 {
		w.out.WriteString(strings.Repeat(" ", max(1, 70-2*indent-len(text))) + "# " + strings.Join(notes, "; "))
	}
	w.out.WriteByte('\n')
}

func (w *writer) mapping() string {
	w.out.WriteString("# A draft, made from the names of columns and a sample of their values. The number behind a line\n" +
		"# says how sure it is, from 0 to 1. Read every line, then try it: annona import --dry-run.\n" +
		"# docs/spec/mapping.md explains every key.\n")
	w.line(0, "source: "+w.source(), 0, "name the source system; the same name every time")
	if w.needsSurveyDate() {
		w.line(0, "survey_date: "+string(w.today), 0, "CHECK: the day on which ages were stated; no column tells it")
	}
	w.out.WriteString("\ninputs:\n")
	for _, f := range w.forms {
		w.input(f)
	}
	w.crosswalks()
	w.areas()
	return w.out.String()
}

func (w *writer) source() string {
	if len(w.forms) == 1 {
		return w.forms[0].name
	}
	return "new-source"
}

func (w *writer) needsSurveyDate() bool {
	return slices.ContainsFunc(w.forms, func(f *form) bool {
		if f.people == nil {
			return false
		}
		_, age := f.people.find("individuals.date_of_birth.age")
		_, told := f.root.find("survey_date")
		return age && !told
	})
}

func (w *writer) input(f *form) {
	w.line(1, "- name: "+f.name, 0, comment(f.sample.Name))
	w.line(2, "format: "+f.sample.Format, 0)
	if f.sample.Format == ingest.FormatCSV && f.sample.Delimiter != ',' {
		w.line(2, "delimiter: "+quoteAlways(string(f.sample.Delimiter)), 0)
	}
	if f.decimalComma() {
		w.line(2, `decimal_mark: ","`, 0)
	}
	if survey, ok := f.root.find("survey_date"); ok {
		rule, notes := w.dateRule(survey.column, nil)
		w.line(2, "survey_date: "+rule, survey.confidence, notes...)
	}
	if f.household {
		w.line(2, "household:", 0)
		w.line(3, "key: "+columns(f.householdKey), f.keyConfidence(), f.keyNote())
		w.entity(f.root, "households", nil)
	}
	if f.people != nil {
		w.individual(f)
	}
	if f.sample.Format == ingest.FormatNDJSON && len(f.root.columns) > maxListed {
		w.line(2, "# the rows have too many names to list: are some of them values?", 0)
		return
	}
	w.unmapped(f.root)
	for _, l := range f.root.lists {
		w.unmapped(l)
		for _, inner := range l.lists {
			w.unmapped(inner)
		}
	}
}

func (f *form) keyConfidence() float64 {
	if f.keyUnsure != "" {
		return 0.3
	}
	return 0.9
}

func (f *form) keyNote() string {
	if f.keyUnsure != "" {
		return "CHECK: " + f.keyUnsure
	}
	return ""
}

// decimalComma reports whether numbers are written with a comma.
func (f *form) decimalComma() bool {
	comma := regexp.MustCompile(`^-?[0-9]+,[0-9]+$`)
	return slices.ContainsFunc(f.root.matches, func(m match) bool {
		return m.target != "" && m.column.share(comma.MatchString) > 0.3
	})
}

func (w *writer) individual(f *form) {
	w.line(2, "individual:", 0)
	if f.people != f.root {
		w.line(3, "each: "+quote(f.people.table.Each), 0)
	}
	if f.individualKey == nil {
		w.line(3, "ordinal: true", 0.6, "the file numbers no persons: their place in the household does")
	} else {
		w.line(3, "key: "+columns(f.individualKey), f.keyConfidence(), f.keyNote())
	}
	var join []string
	if f.people == f.root && !f.household {
		join = f.householdKey
	}
	w.membership(f.people, join)
	w.entity(f.people, "individuals", w.relationships(f.people))
}

// membership writes how people belong to their household.
func (w *writer) membership(s *sheet, join []string) {
	var rules []match
	for _, m := range s.matches {
		if strings.HasPrefix(m.target, "memberships.") {
			rules = append(rules, m)
		}
	}
	if len(rules) == 0 && len(join) == 0 {
		return
	}
	w.line(3, "membership:", 0)
	if len(join) > 0 {
		w.line(4, "household: "+columns(join), 0.9)
	}
	for _, m := range rules {
		w.rule(4, m)
	}
}

// birth are the targets that make one rule together.
var birth = []string{"individuals.date_of_birth", "individuals.date_of_birth.age", "individuals.date_of_birth.year",
	"individuals.date_of_birth.month", "individuals.date_of_birth.day"}

// entity writes the fields and groups of a household or an individual.
func (w *writer) entity(s *sheet, dataset string, after func()) {
	var lines []func()
	if dataset == "individuals" {
		lines = append(lines, w.birth(s)...)
		lines = append(lines, w.joined(s, "individuals.phone_numbers")...)
		lines = append(lines, w.joined(s, "individuals.emails")...)
	}
	for _, m := range s.matches {
		code, ok := strings.CutPrefix(m.target, dataset+".")
		if !ok || strings.Contains(code, ".") || code == "key" || slices.Contains(birth, m.target) || m.target == "individuals.phone_numbers" || m.target == "individuals.emails" {
			continue
		}
		lines = append(lines, func() { w.rule(4, m) })
	}
	if len(lines) > 0 {
		w.line(3, "fields:", 0)
		for _, line := range lines {
			line()
		}
	}
	w.groups(s, dataset)
	if after != nil {
		after()
	}
}

// joined writes the columns that feed one field of many values.
func (w *writer) joined(s *sheet, target string) []func() {
	var names []string
	least := 1.0
	for _, m := range s.matches {
		if m.target == target {
			names, least = append(names, m.column.name), min(least, m.confidence)
		}
	}
	if len(names) == 0 {
		return nil
	}
	_, code, _ := strings.Cut(target, ".")
	rule := quote(names[0])
	if len(names) > 1 {
		rule = "{column: " + columns(names) + "}"
	}
	return []func(){func() { w.line(4, code+": "+rule, least) }}
}

// birth writes the date of birth from its column, its parts or an age.
func (w *writer) birth(s *sheet) []func() {
	date, hasDate := s.find(birth[0])
	age, hasAge := s.find(birth[1])
	year, hasYear := s.find(birth[2])
	var parts, notes []string
	confidence := 0.0
	switch {
	case hasDate:
		var rule string
		rule, notes = w.dateRule(date.column, s)
		parts, confidence = []string{strings.Trim(rule, "{}")}, date.confidence
		if !strings.HasPrefix(rule, "{") {
			parts[0] = "column: " + rule
		}
	case hasYear:
		parts, confidence = append(parts, "year: "+quote(year.column.name)), year.confidence
		for i, name := range []string{"month", "day"} {
			if m, ok := s.find(birth[3+i]); ok {
				parts = append(parts, name+": "+quote(m.column.name))
			}
		}
	}
	if hasAge {
		parts, confidence = append(parts, "age: "+quote(age.column.name)), max(confidence, age.confidence)
	}
	if len(parts) == 0 {
		return nil
	}
	return []func(){func() { w.line(4, "date_of_birth: {"+strings.Join(parts, ", ")+"}", confidence, notes...) }}
}

// rule writes the rule of one field.
func (w *writer) rule(indent int, m match) {
	f := w.words.field(m.target)
	if f == nil {
		return
	}
	rule, notes := w.ruleOf(m.column, f)
	w.line(indent, f.Code+": "+rule, m.confidence, notes...)
}

func (w *writer) ruleOf(c *column, f *annona.Field) (rule string, notes []string) {
	switch f.Type {
	case annona.TypeDate:
		return w.dateRule(c, nil)
	case annona.TypeCode, annona.TypeBool:
		return w.codeRule(c, f)
	}
	return quote(c.name), nil
}

// dateRule writes a rule for a date. Partial dates are taken where people were born: s is then
// their sheet.
func (w *writer) dateRule(c *column, s *sheet) (rule string, notes []string) {
	d := c.dates(w.today)
	if s == nil {
		d.formats = slices.DeleteFunc(d.formats, func(f string) bool { return slices.Contains(partFormats[:], f) })
	}
	parts := []string{"column: " + quote(c.name)}
	switch {
	case len(d.formats) > 1:
		quoted := make([]string, len(d.formats))
		for i, f := range d.formats {
			quoted[i] = quoteFormat(f)
		}
		parts = append(parts, "format: ["+strings.Join(quoted, ", ")+"]")
	case len(d.formats) == 1 && d.formats[0] != "YYYY-MM-DD":
		parts = append(parts, "format: "+quoteFormat(d.formats[0]))
	}
	if d.calendar != "" {
		parts = append(parts, "calendar: "+d.calendar)
		notes = append(notes, "CHECK the calendar")
	}
	if d.unsure != "" {
		notes = append(notes, "CHECK "+d.unsure)
	}
	if len(parts) == 1 {
		return quote(c.name), notes
	}
	return "{" + strings.Join(parts, ", ") + "}", notes
}

func quoteFormat(f string) string {
	if strings.ContainsAny(f, ", ") {
		return quoteAlways(f)
	}
	return f
}

// codeRule writes a rule for codes, with a table of those that were seen.
func (w *writer) codeRule(c *column, f *annona.Field) (rule string, notes []string) {
	t := codeTable{name: tableName(f.Code), list: f.CodeList}
	var absent []string
	separator := c.separator(f)
	foreign := false
	for _, text := range c.values() {
		for word := range cutAt(text, separator) {
			code, ok := w.meaning(c, f, word)
			reason, none := w.words.code("nil_reason", word)
			switch {
			case ok:
				foreign = foreign || code != word
				t.add(word, code)
			case none && f.NilReason:
				absent = append(absent, quoteAlways(word)+": "+reason)
			case c.counts[text] >= leastRepeats && len(word) <= maxWord && c.codes():
				t.unknown = append(t.unknown, pair{word, fmt.Sprint(c.counts[text])})
			}
		}
	}
	parts := []string{"column: " + quote(c.name)}
	if foreign {
		parts = append(parts, "codes: "+w.table(t))
	} else if len(t.unknown) > 0 {
		t.known = nil
		w.table(t)
		notes = append(notes, "its codes are listed below")
	}
	if len(absent) > 0 {
		parts = append(parts, "absent: {"+strings.Join(slices.Compact(absent), ", ")+"}")
	}
	if separator != "" && separator != ";" {
		parts = append(parts, "separator: "+quoteAlways(separator))
	}
	if len(parts) == 1 {
		return quote(c.name), notes
	}
	return "{" + strings.Join(parts, ", ") + "}", notes
}

func tableName(code string) string { return strings.TrimSuffix(code, "_code") }

// meaning returns the code that a word of the source means in a field.
func (w *writer) meaning(c *column, f *annona.Field, word string) (string, bool) {
	if f.Type == annona.TypeBool {
		return w.words.truth(c, word)
	}
	if form, ok := codeForms[f.CodeList]; ok && len(word) == len(form) && sameForm(word, form) {
		return word, true
	}
	if list, ok := w.words.dictionary.CodeList(f.CodeList); !ok || list.Open {
		code, known := w.words.codes[f.CodeList][fold(word)]
		if text, err := f.Canonical(code); !known || err != nil || text != code {
			return "", false
		}
		return code, true
	}
	return w.words.code(f.CodeList, word)
}

// codeForms are how the codes of lists look that others keep: ISO 639-3, 3166-1, 4217, 15924.
var codeForms = map[string]string{"language": "aaa", "country": "AA", "currency": "AAA", "script": "Aaaa"}

// sameForm reports whether the letters of a code are small and capital as in its form.
func sameForm(code, form string) bool {
	for i := range len(form) {
		if small := form[i] == 'a'; code[i] < 'A' || code[i] > 'z' || small != (code[i] >= 'a') || code[i] > 'Z' && code[i] < 'a' {
			return false
		}
	}
	return true
}

func (t *codeTable) add(from, to string) {
	if !slices.ContainsFunc(t.known, func(p pair) bool { return p.from == from }) {
		t.known = append(t.known, pair{from, to})
	}
}

// table keeps a crosswalk for the end of the mapping and returns its name. One of the same list
// takes the words of the other in, unless a word means something else there.
func (w *writer) table(t codeTable) string {
	for i := range w.tables {
		o := &w.tables[i]
		if o.list != t.list || t.list == "" || len(o.known) == 0 || len(t.known) == 0 || o.contradicts(t) {
			continue
		}
		for _, p := range t.known {
			o.add(p.from, p.to)
		}
		for _, p := range t.unknown {
			if !slices.ContainsFunc(o.unknown, func(u pair) bool { return u.from == p.from }) {
				o.unknown = append(o.unknown, p)
			}
		}
		return o.name
	}
	base := t.name
	for n := 2; slices.ContainsFunc(w.tables, func(o codeTable) bool { return o.name == t.name }); n++ {
		t.name = fmt.Sprintf("%s_%d", base, n)
	}
	w.tables = append(w.tables, t)
	return t.name
}

func (t *codeTable) contradicts(o codeTable) bool {
	return slices.ContainsFunc(o.known, func(p pair) bool {
		return slices.ContainsFunc(t.known, func(q pair) bool { return q.from == p.from && q.to != p.to })
	})
}

// crosswalks writes the tables of codes. A word that nothing knows stands as a comment: the table
// is complete when a person has led it somewhere.
func (w *writer) crosswalks() {
	if len(w.tables) == 0 {
		return
	}
	w.out.WriteByte('\n')
	if slices.ContainsFunc(w.tables, func(t codeTable) bool { return len(t.known) > 0 }) {
		w.line(0, "codes:", 0)
	} else {
		w.line(0, "# codes:", 0)
	}
	for _, t := range w.tables {
		name := t.name + ":"
		if len(t.known) == 0 {
			name = "# " + name
		}
		w.line(1, name, 0, "list "+cmp.Or(t.list, "true and false"))
		for _, p := range t.known {
			w.line(2, quoteAlways(p.from)+": "+p.to, 0)
		}
		for _, p := range t.unknown {
			w.line(2, "# "+quoteAlways(p.from)+": ", 0, p.to+" times; CHECK which code it is")
		}
	}
}

// areas shows how areas are declared, where a column names them.
func (w *writer) areas() {
	for _, f := range w.forms {
		if m, ok := f.root.find("households.area_code"); ok {
			w.out.WriteString("\n# Declare the areas of " + comment(m.column.name) + " here, or apply the country's file of areas; lead to their codes by `codes`.\n" +
				"# areas:\n#   - {code: XX, level: 0, name: the country}\n#   - {code: XX-1, parent: XX, level: 1, name: a region}\n")
			return
		}
	}
}

// separator finds what stands between the values of a list in one cell.
func (c *column) separator(f *annona.Field) string {
	if !f.Many {
		return ""
	}
	for _, separator := range []string{";", "|", "+", ",", " "} {
		if c.share(func(s string) bool { return strings.Contains(s, separator) }) > 0.2 {
			return separator
		}
	}
	return ""
}

func cutAt(text, separator string) iter.Seq[string] {
	return func(yield func(string) bool) {
		cuts := string(rune(annona.ListSeparator))
		if separator != "" {
			text = strings.ReplaceAll(text, separator, cuts)
		}
		for word := range strings.SplitSeq(text, cuts) {
			if word = strings.TrimSpace(word); word != "" && !yield(word) {
				return
			}
		}
	}
}

// items cuts a cell at whatever may stand between values.
func items(text string) iter.Seq[string] {
	return cutAt(strings.NewReplacer("|", ";", "+", ";").Replace(text), ";")
}

// groups writes repeated groups: those of single columns, and those of lists.
func (w *writer) groups(s *sheet, dataset string) {
	lines := map[string][]string{}
	for _, m := range s.matches {
		parts := strings.Split(m.target, ".")
		if len(parts) != 3 || parts[0] != dataset || slices.Contains(birth, m.target) {
			continue
		}
		if item := w.item(s, parts[1], parts[2], m); item != "" {
			lines[parts[1]] = append(lines[parts[1]], item)
		}
	}
	for _, l := range s.lists {
		if item := w.listItem(l); item != "" {
			lines[l.group] = append(lines[l.group], item)
		}
	}
	if len(lines) == 0 {
		return
	}
	w.line(3, "groups:", 0)
	for _, group := range []string{"identifiers", "other_names", "functioning", "disability_certificates", "assessments"} {
		if len(lines[group]) > 0 {
			w.line(4, group+":", 0)
			for _, item := range lines[group] {
				w.out.WriteString(item)
			}
		}
	}
}

// item writes one item of a group, made from a column.
func (w *writer) item(s *sheet, group, part string, m match) string {
	name := quote(m.column.name)
	var text string
	switch group {
	case "identifiers":
		text = "{scheme: {constant: " + part + "}, value: " + name + "}"
	case "functioning":
		rule, _ := w.codeRule(m.column, w.words.field(m.target))
		text = "{domain: {constant: " + part + "}, severity: " + rule + "}"
	case "assessments":
		text = "{instrument: {constant: " + part + "}, score: " + name
		if survey, ok := s.find("survey_date"); ok {
			rule, _ := w.dateRule(survey.column, nil)
			text += ", collected_at: " + rule
		}
		text += "}"
	case "other_names":
		if part != "full_name" {
			return "" // script and language stand with the name
		}
		text = "{full_name: " + name
		for _, beside := range []string{"script", "language"} {
			if m, ok := s.find("individuals.other_names." + beside); ok {
				text += ", " + beside + ": " + quote(m.column.name)
			}
		}
		text += "}"
	}
	return w.itemLine(text, m.confidence)
}

func (w *writer) itemLine(text string, confidence float64) string {
	inner := writer{}
	inner.line(5, "- "+text, confidence)
	return inner.out.String()
}

// listItem writes a group that is a list of objects.
func (w *writer) listItem(l *sheet) string {
	if l.group == "" || l.group == "relationships" {
		return ""
	}
	parts := []string{"each: " + quote(l.table.Each)}
	least := 1.0
	for _, m := range l.matches {
		if f := w.words.field(m.target); f != nil {
			rule, _ := w.ruleOf(m.column, f)
			parts, least = append(parts, f.Code+": "+rule), min(least, m.confidence)
		}
	}
	if len(parts) == 1 {
		return ""
	}
	return w.itemLine("{"+strings.Join(parts, ", ")+"}", least)
}

// relationships returns what writes the ties of people to others.
func (w *writer) relationships(s *sheet) func() {
	for _, l := range s.lists {
		to, hasTo := l.find("relationships.to")
		_, hasType := l.find("relationships.type")
		if l.group != "relationships" || !hasTo || !hasType {
			continue
		}
		return func() {
			w.line(3, "relationships:", 0)
			parts := []string{"each: " + quote(l.table.Each), "to: " + quote(to.column.name)}
			for _, m := range l.matches {
				if f := w.words.field(m.target); f != nil && m.target != "relationships.to" {
					rule, _ := w.ruleOf(m.column, f)
					parts = append(parts, f.Code+": "+rule)
				}
			}
			w.line(4, "- {"+strings.Join(parts, ", ")+"}", to.confidence)
		}
	}
	return nil
}

// maxListed is how many columns without a target are named.
const maxListed = 200

// unmapped names the columns that nothing was found for.
func (w *writer) unmapped(s *sheet) {
	listed := 0
	for _, m := range s.matches {
		if m.target != "" && m.target != "ignore" {
			continue
		}
		if listed++; listed > maxListed {
			continue
		}
		why := "nothing like it in the dictionary; declare an attribute, or leave it out"
		switch {
		case m.column.name == "":
			why = "the column has no name"
		case m.column.twice:
			why = "the header has it more than once: rename the others"
		case m.target == "ignore":
			why = "looks like the source's own business"
		}
		w.line(2, "# "+comment(m.column.name)+": ", 0, why)
	}
	if listed > maxListed {
		w.line(2, fmt.Sprintf("# and %d more columns", listed-maxListed), 0)
	}
}

// plainText is what YAML takes for a text without quotes, and what reads well so.
var plainText = regexp.MustCompile(`^\p{L}[\p{L}\p{M}\p{N}_./-]*$`)

// quote writes a text of YAML, quoted where YAML could take it for something else.
func quote(text string) string {
	switch strings.ToLower(text) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return quoteAlways(text)
	}
	if plainText.MatchString(text) {
		return text
	}
	return quoteAlways(text)
}

func quoteAlways(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a text has a JSON form
	return strings.TrimSuffix(b.String(), "\n")
}

// comment writes a text that cannot end the comment it stands in.
func comment(text string) string { return strings.Trim(quoteAlways(text), `"`) }

func columns(names []string) string {
	if len(names) == 1 {
		return quote(names[0])
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
