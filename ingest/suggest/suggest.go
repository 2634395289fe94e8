// Package suggest drafts a mapping for files that nobody has described yet. It looks at the
// names of their columns, in English, French, Spanish, Portuguese, Arabic and Swahili, and at a
// sample of their values, and says for each column how sure it is.
//
// What it writes is a mapping that an import accepts, for a person to read and correct. No value
// of a person stands in it: only codes that the dictionary or the vocabulary knows, and words
// that come again in a column of few different ones.
package suggest

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// Draft is a mapping that is suggested.
type Draft struct {
	Mapping string   `json:"mapping"` // YAML
	Columns []Column `json:"columns"`
}

// Column is what a column of a file seems to be.
type Column struct {
	File       string  `json:"file"`
	Each       string  `json:"each,omitempty"` // the list in which it stands
	Column     string  `json:"column"`
	Target     string  `json:"target,omitempty"` // empty: it is not mapped
	Confidence float64 `json:"confidence"`       // 0 to 1
}

// form is a file with what its rows are.
type form struct {
	sample        ingest.Sample
	name          string
	root          *sheet
	people        *sheet // nil: the file has none
	household     bool   // the file has rows or columns of households
	householdKey  []string
	individualKey []string // nil: by the place in the household
	keyUnsure     string
}

// Make drafts a mapping for the samples of the files of one source.
func Make(samples []ingest.Sample, d *annona.Dictionary, today annona.Date) Draft {
	m := &matcher{words: newVocabulary(d), today: today}
	var forms []*form
	for _, sample := range samples {
		if !slices.ContainsFunc(forms, func(f *form) bool { return alikeFiles(f.sample, sample) }) {
			forms = append(forms, m.form(sample))
		}
	}
	nameForms(forms)
	for _, f := range forms {
		m.keys(f, forms)
	}
	for _, f := range forms {
		m.fields(f, forms)
	}
	w := &writer{matcher: m, forms: forms}
	draft := Draft{Mapping: w.mapping()}
	for _, f := range forms {
		draft.Columns = append(draft.Columns, f.root.report(f.sample.Name)...)
	}
	return draft
}

// alikeFiles reports whether two files are of one kind, as those of two months are.
func alikeFiles(a, b ingest.Sample) bool {
	return a.Format == b.Format && a.Delimiter == b.Delimiter && slices.Equal(a.Columns, b.Columns)
}

func (s *sheet) report(file string) []Column {
	var columns []Column
	for _, m := range s.matches {
		target := m.target
		if target == "ignore" {
			target = ""
		}
		columns = append(columns, Column{File: file, Each: s.table.Each, Column: m.column.name, Target: target, Confidence: float64(int(100*m.confidence)) / 100})
	}
	for _, l := range s.lists {
		columns = append(columns, l.report(file)...)
	}
	return columns
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// nameForms gives each input a name of its own, after its file.
func nameForms(forms []*form) {
	for i, f := range forms {
		base := path.Base(strings.ToLower(f.sample.Name))
		base, _, _ = strings.Cut(base, ".")
		f.name = strings.Trim(notInName.ReplaceAllString(base, "-"), "-")
		if f.name == "" {
			f.name = "file"
		}
		for slices.ContainsFunc(forms[:i], func(o *form) bool { return o.name == f.name }) {
			f.name += "-" + string(rune('a'+i%26))
		}
	}
}

func indifferent(*column, string) float64 { return 0 }

// ofPeople are the targets that only a person has.
var ofPeople = []string{"individuals.sex", "individuals.date_of_birth", "individuals.date_of_birth.age", "memberships.role",
	"individuals.given_name", "individuals.family_name", "individuals.marital_status", "individuals.key", "individuals.full_name",
	"individuals.identifiers.national_id_number", "individuals.date_of_birth.year"}

// peoplePoints counts what only people have in a table.
func (m *matcher) peoplePoints(s *sheet) int {
	m.match(s, inFile(true, true), indifferent)
	points := 0
	for _, found := range s.matches {
		if found.confidence >= leastDecided && slices.Contains(ofPeople, found.target) {
			points++
		}
	}
	return points
}

// form decides what the rows of a file are.
func (m *matcher) form(sample ingest.Sample) *form {
	f := &form{sample: sample, root: m.sheet(&sample.Table)}
	best := 0
	for _, l := range f.root.lists {
		if points := m.peoplePoints(l); points >= 2 && points > best {
			f.people, best = l, points
		}
	}
	if f.people != nil {
		f.household = true
		m.match(f.root, inFile(true, false), indifferent)
		return f
	}
	points := m.peoplePoints(f.root)
	if points >= 2 || slices.ContainsFunc(ofPeople[:4], func(target string) bool { _, ok := f.root.find(target); return ok }) {
		f.people = f.root
		return f
	}
	f.household = true
	m.match(f.root, inFile(true, false), indifferent)
	return f
}

// inFile says which targets the columns of a row may be.
func inFile(households, people bool) func(string) bool {
	return func(target string) bool {
		noun, _, _ := strings.Cut(target, ".")
		switch noun {
		case "households":
			return households || target == "households.key"
		case "individuals", "memberships":
			return people
		case "survey_date", "ignore":
			return true
		}
		return false
	}
}

// keys finds the columns that tell households and individuals apart.
func (m *matcher) keys(f *form, all []*form) {
	f.householdKey = m.householdKey(f)
	if f.people == nil {
		if len(f.householdKey) == 0 {
			f.householdKey, f.keyUnsure = f.root.anyKey(), "no column is named like a number of households"
		}
		f.completeKey(all)
		return
	}
	if f.people == f.root {
		joins := slices.ContainsFunc(all, func(o *form) bool { return o != f && o.people == nil })
		f.household = len(f.householdKey) > 0 && !joins
		f.completeKey(all)
	}
	f.individualKey = f.keyOfPeople()
}

func (m *matcher) householdKey(f *form) []string {
	if found, ok := f.root.find("households.key"); ok {
		return []string{found.column.name}
	}
	if f.people == f.root {
		return nil
	}
	likes := inFile(true, true)
	for _, c := range f.root.columns { // a file of households may call its key just id
		if unique, _ := f.root.unique([]string{c.name}); unique && !c.twice && m.scores(c, likes)["individuals.key"] >= leastDecided {
			return []string{c.name}
		}
	}
	return nil
}

// completeKey adds the column without which the number of a household comes again: numbers
// repeat from district to district.
func (f *form) completeKey(all []*form) {
	if len(f.householdKey) != 1 || f.people != nil {
		return
	}
	if unique, _ := f.root.unique(f.householdKey); unique || len(f.root.table.Rows) == 0 {
		return
	}
	inOthers := func(name string) bool {
		return !slices.ContainsFunc(all, func(o *form) bool { return o != f && o.root.column(name) < 0 })
	}
	for _, of := range f.root.matches {
		c := of.column
		pair := []string{c.name, f.householdKey[0]}
		place := of.target == "households.area_code" || of.target == "households.locality" || of.target == ""
		if !place || c.twice || c.name == f.householdKey[0] || !c.codes() || c.filled < c.rows || !inOthers(c.name) {
			continue
		}
		if unique, _ := f.root.unique(pair); unique {
			f.householdKey = pair
			return
		}
	}
	f.keyUnsure = "the number of the household comes again in other rows"
}

// anyKey returns the first column that tells all rows apart, or the first of all.
func (s *sheet) anyKey() []string {
	for _, c := range s.columns {
		if unique, _ := s.unique([]string{c.name}); unique && !c.twice && c.name != "" {
			return []string{c.name}
		}
	}
	for _, c := range s.columns {
		if !c.twice && c.name != "" {
			return []string{c.name}
		}
	}
	return nil
}

// keyOfPeople returns the columns that number people; nil when their place in the household
// does.
func (f *form) keyOfPeople() []string {
	s := f.people
	found, ok := s.find("individuals.key")
	switch {
	case ok && len(s.table.Rows) == 0:
		return []string{found.column.name}
	case ok:
		if unique, _ := s.unique([]string{found.column.name}); unique {
			return []string{found.column.name}
		}
		if s == f.root && len(f.householdKey) > 0 && found.column.filled == found.column.rows {
			both := append(slices.Clone(f.householdKey), found.column.name)
			if unique, _ := s.unique(both); unique {
				return both
			}
		}
	}
	if len(f.householdKey) > 0 {
		return nil
	}
	if !ok {
		f.keyUnsure = "no column is named like a number of persons"
	} else {
		f.keyUnsure = "the number of the person comes again in other rows"
	}
	return s.anyKey()
}

// fields matches the columns again, now that it is known what the rows are.
func (m *matcher) fields(f *form, all []*form) {
	if f.people == f.root && len(f.householdKey) > 0 {
		f.joinKey(all)
	}
	wide := f.people == f.root && f.household
	m.match(f.root, inFile(f.people != f.root || wide, f.people == f.root), func(c *column, target string) float64 {
		return f.prefer(wide, c, target)
	})
	f.settle(f.root)
	for _, l := range f.root.lists {
		if l == f.people {
			m.match(l, inFile(false, true), indifferent)
			f.settle(l)
			m.groups(l)
		} else {
			m.listOf(l, "households")
		}
	}
	if f.people == f.root {
		m.groups(f.root)
	}
}

// joinKey takes the key of the file of households for that of its members, where they have the
// same columns.
func (f *form) joinKey(all []*form) {
	for _, o := range all {
		if o.people != nil || len(o.householdKey) == 0 {
			continue
		}
		if !slices.ContainsFunc(o.householdKey, func(name string) bool { return f.root.column(name) < 0 }) {
			f.householdKey = o.householdKey
			return
		}
	}
}

// prefer decides between a household and its members on one row: what is the same in all rows of
// a household is the household's.
func (f *form) prefer(wide bool, c *column, target string) float64 {
	noun, _, _ := strings.Cut(target, ".")
	if !wide || noun != "households" && noun != "individuals" {
		return 0
	}
	same, told := f.root.constant(c, f.householdKey)
	switch {
	case !told:
		return 0.01 * float64(one(noun == "individuals"))
	case same == (noun == "households"):
		return 0.02
	case noun == "households":
		return -0.1
	}
	return 0
}

// settle marks the columns of keys.
func (f *form) settle(s *sheet) {
	s.drop("households.key")
	s.drop("individuals.key")
	if s == f.root {
		for _, name := range f.householdKey {
			f.keep(s, name, "households.key")
		}
	}
	if s == f.people {
		for _, name := range f.individualKey {
			if !slices.Contains(f.householdKey, name) || s != f.root {
				f.keep(s, name, "individuals.key")
			}
		}
	}
}

// keep marks a column of a key. It may be a field as well: the district that is part of the key
// is also where the household lives.
func (f *form) keep(s *sheet, name, target string) {
	i := s.column(name)
	if i < 0 || s.matches[i].target == "households.area_code" {
		return
	}
	confidence := 0.9
	if f.keyUnsure != "" {
		confidence = 0.3
	}
	s.use(name, target, confidence)
}

// groups matches the lists inside the rows of people.
func (m *matcher) groups(s *sheet) {
	for _, l := range s.lists {
		m.listOf(l, "individuals")
	}
}

// listOf decides what a list holds by its name, and by what its columns would be.
func (m *matcher) listOf(l *sheet, dataset string) {
	words := m.words.split(l.table.Each)
	best := 0.0
	for _, group := range []string{"identifiers", "functioning", "disability_certificates", "relationships", "other_names", "assessments"} {
		d, ok := m.words.dictionary.Dataset(dataset)
		if !ok {
			continue
		}
		if _, has := d.Field(group); !has {
			continue
		}
		name := 0.0
		for i := range m.words.phrases {
			if p := &m.words.phrases[i]; p.target == "list."+group {
				name = max(name, p.resembles(words))
			}
		}
		m.match(l, inGroup(group), indifferent)
		found := 0.0
		for _, c := range l.matches {
			found += c.confidence
		}
		score := name + found/float64(max(len(l.matches), 1))
		if score > best && score >= 0.9 {
			best, l.group = score, group
		}
	}
	if l.group == "" {
		m.match(l, func(string) bool { return false }, indifferent)
		return
	}
	m.match(l, inGroup(l.group), indifferent)
}

func inGroup(group string) func(string) bool {
	return func(target string) bool { return strings.HasPrefix(target, group+".") }
}
