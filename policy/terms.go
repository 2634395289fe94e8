// Package policy answers one question: may this caller do this, with this dataset, for this
// purpose, and how much of it? Its answer is a Grant or a refusal with a reason code.
//
// It is pure: what it needs to know comes in as values, it reads no store and no clock. It
// knows agreements, credentials and the dictionary. It does not know rows, people, wires or
// what becomes of a field that it grants (package privacy does that).
package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Terms is an agreement, checked against the dictionary and compiled once for all decisions
// under it.
type Terms struct {
	agreement *annona.Agreement
	fields    map[string][]annona.FieldGrant
	derivable map[string][]annona.FieldGrant // that derived columns may be computed from, and that do not leave
	rows      map[string]annona.Condition
	roots     map[string]bool // names of the datasets that can be asked for by themselves
	telling   bool            // some condition names a special field: who is seen tells it
	left      *sync.Map       // datasets whose last day is over, in order and with commas → *Terms: what is left
}

// on returns what is left of the terms on a day: nothing of the datasets whose last day is over. Conditions stay,
// they only narrow.
func (t *Terms) on(today annona.Date) *Terms {
	var over []string
	for name, terms := range t.agreement.Datasets {
		if terms.Over(today) {
			over = append(over, name)
		}
	}
	if len(over) == 0 {
		return t
	}
	slices.Sort(over)
	key := strings.Join(over, ",")
	if left, ok := t.left.Load(key); ok {
		return left.(*Terms)
	}
	left := *t
	left.fields, left.derivable = maps.Clone(t.fields), maps.Clone(t.derivable)
	for _, name := range over {
		delete(left.fields, name)
		delete(left.derivable, name)
	}
	kept, _ := t.left.LoadOrStore(key, &left) // one for all: what roles leave of it is kept by it
	return kept.(*Terms)
}

// refuseDataset says why a dataset is not granted on a day.
func (t *Terms) refuseDataset(dataset string, today annona.Date) *annona.Error {
	if t.agreement.Datasets[dataset].Over(today) {
		return annona.Forbidden("dataset_ended", "the agreement granted this dataset until a day that has passed; ask the registry to renew it")
	}
	return annona.Forbidden("dataset_not_granted", "the agreement does not grant this dataset")
}

// Compile checks an agreement against the dictionary and resolves what it grants. It refuses
// what is contradictory, unknown, or raised without a reason.
func Compile(a *annona.Agreement, d *annona.Dictionary) (*Terms, error) {
	if err := checkForm(a); err != nil {
		return nil, err
	}
	t := &Terms{agreement: a, fields: map[string][]annona.FieldGrant{}, derivable: map[string][]annona.FieldGrant{}, rows: map[string]annona.Condition{}, roots: map[string]bool{}, left: &sync.Map{}}
	for name, terms := range a.Datasets {
		dataset, ok := d.Dataset(name)
		if !ok {
			return nil, annona.Invalid("unknown_dataset", "the agreement names an unknown dataset").On(name)
		}
		if checkDays(terms.ValidUntil) != nil {
			return nil, annona.Invalid("agreement_malformed", "valid_until of a dataset is written 2006-01-02").On(name)
		}
		granted, err := resolve(dataset, terms)
		if err != nil {
			return nil, err
		}
		t.fields[name], t.derivable[name], t.roots[name] = leaving(granted), derivable(granted), dataset.Root || dataset.Matter
		if err := t.compileCondition(d, dataset, terms.Condition); err != nil {
			return nil, err
		}
	}
	if err := t.checkTelling(); err != nil {
		return nil, err
	}
	if err := t.checkUpdates(d); err != nil {
		return nil, err
	}
	return t, t.narrowAreas(d)
}

// checkTelling refuses a condition on a special field that the agreement does not grant:
// whoever is seen at all would tell it.
func (t *Terms) checkTelling() error {
	for dataset, condition := range t.rows {
		for path := range filter.Paths(condition) {
			if path.Field.Sensitivity != annona.Special {
				continue
			}
			t.telling = true
			granted := func(g annona.FieldGrant) bool { return g.Field.Code == path.Field.Code }
			if !slices.ContainsFunc(t.fields[path.Field.Dataset], granted) {
				return annona.Invalid("condition_special",
					"the condition on %s names a special field, so that whoever is seen tells it; grant the field by name too", dataset).On(path.Field.Code)
			}
		}
	}
	return nil
}

// checkUpdates refuses updates of what no partner can change: of datasets that it does not see, of fields
// that are derived or have parts.
func (t *Terms) checkUpdates(d *annona.Dictionary) error {
	for name, terms := range t.agreement.Updates {
		dataset, ok := d.Dataset(name)
		if !ok || !dataset.Root || len(t.fields[name]) == 0 {
			return annona.Invalid("update_misplaced", "updates are of households or individuals that the agreement shows").On(name)
		}
		for _, code := range terms.Fields {
			f, ok := dataset.Field(code)
			if !ok {
				return annona.Invalid("unknown_field", "the agreement names a field that %s do not have", name).On(code)
			}
			if f.Derived || f.Type == annona.TypeGroup {
				return annona.Invalid("field_not_set", "the exchange makes this field itself, or it has parts; it is not updated").On(code)
			}
		}
	}
	return nil
}

// leaving and derivable part what is granted: what may leave, and what may only be derived from.
func leaving(granted []annona.FieldGrant) []annona.FieldGrant {
	return slices.DeleteFunc(slices.Clone(granted), isDerivable)
}

func derivable(granted []annona.FieldGrant) []annona.FieldGrant {
	return slices.DeleteFunc(slices.Clone(granted), func(g annona.FieldGrant) bool { return !isDerivable(g) })
}

func isDerivable(g annona.FieldGrant) bool { return g.Treatment == annona.TreatDerive }

func isSpecial(g annona.FieldGrant) bool { return g.Field.Sensitivity == annona.Special }

func (t *Terms) compileCondition(d *annona.Dictionary, dataset *annona.Dataset, text string) error {
	if text == "" {
		return nil
	}
	if !dataset.Root {
		return annona.Invalid("condition_misplaced", "a condition stands with households or individuals").On(dataset.Name)
	}
	condition, err := filter.Compile(d, dataset, text)
	if err != nil {
		return err
	}
	t.rows[dataset.Name] = condition
	return nil
}

// narrowAreas adds the agreement's areas to the condition of both root datasets.
func (t *Terms) narrowAreas(d *annona.Dictionary) error {
	if len(t.agreement.Areas) == 0 {
		return nil
	}
	for dataset := range d.Datasets() {
		if !dataset.Root {
			continue
		}
		area, ok := dataset.Field("area_code")
		if !ok {
			return annona.Invalid("area_missing", "the dataset has no area to narrow by").On(dataset.Name)
		}
		var inside annona.Or
		for _, code := range t.agreement.Areas {
			inside = append(inside, annona.Within{Path: annona.Path{Field: area}, Area: code})
		}
		t.rows[dataset.Name] = both(inside, t.rows[dataset.Name])
	}
	return nil
}

func both(a, b annona.Condition) annona.Condition {
	if b == nil {
		return a
	}
	return annona.And{a, b}
}

// resolve lists the columns that the terms grant, in published order.
func resolve(dataset *annona.Dataset, terms annona.DatasetTerms) ([]annona.FieldGrant, error) {
	if err := checkNames(dataset, terms); err != nil {
		return nil, err
	}
	var granted []annona.FieldGrant
	for f := range dataset.Columns() {
		if !grants(terms, f) {
			continue
		}
		g := annona.FieldGrant{Field: f, Treatment: annona.TreatPass, Band: terms.Bands[f.Code]}
		if treatment, ok := terms.Treatments[f.Code]; ok {
			g.Treatment = treatment
		}
		if err := checkTreatment(g); err != nil {
			return nil, err
		}
		granted = append(granted, g)
	}
	return granted, nil
}

// grants reports whether the terms grant a column. Why a value is absent, and on which day it
// was observed, go with the value; the source's own code is a field by itself.
func grants(terms annona.DatasetTerms, f *annona.Field) bool {
	if slices.Contains(terms.Except, f.Code) || slices.Contains(terms.Except, f.Base.Code) {
		return false
	}
	if altered, ok := terms.Treatments[f.Base.Code]; ok && altered != annona.TreatPass && f.Aspect != annona.AspectValue {
		return false // a companion would tell what the treatment hides
	}
	if slices.Contains(terms.Fields, f.Code) {
		return true
	}
	if f.Code == movesUnseen && f.Derived || f.Group == tellsSources || saysMore(terms, f) {
		return false
	}
	if slices.Contains(terms.Fields, f.Base.Code) && f.Aspect != annona.AspectSourceCode {
		return true
	}
	return f.Sensitivity != annona.Special && slices.Contains(terms.Sensitivities, f.Sensitivity)
}

// saysMore reports whether a field says more of one that the terms alter than they leave of it:
// date_of_birth_as_recorded of a date_of_birth that leaves as its year. No class brings it along.
func saysMore(terms annona.DatasetTerms, f *annona.Field) bool {
	for altered, treatment := range terms.Treatments {
		if treatment != annona.TreatPass && strings.HasPrefix(f.Code, altered+"_") {
			return true
		}
	}
	return false
}

// movesUnseen is the field that moves whenever anything of its record changes, also what the
// agreement withholds. So it goes with no class: whoever grants it does so by name.
const movesUnseen = "last_updated"

// tellsSources is the group that says which sources know of somebody. It goes with no class either.
const tellsSources = "provenance"

func checkNames(dataset *annona.Dataset, terms annona.DatasetTerms) error {
	names := slices.Concat(terms.Fields, terms.Except)
	for name := range terms.Treatments {
		names = append(names, name)
	}
	for name := range terms.Bands {
		names = append(names, name)
	}
	for _, name := range names {
		if _, ok := dataset.Field(name); !ok {
			return annona.Invalid("unknown_field", "the agreement names a field that %s do not have", dataset.Name).On(name)
		}
	}
	for _, s := range terms.Sensitivities {
		switch s {
		case annona.Public, annona.Personal, annona.Identifies:
		case annona.Special:
			return annona.Invalid("special_by_class", "special fields are granted one by one, by name").On(dataset.Name)
		default:
			return annona.Invalid("unknown_sensitivity", "a sensitivity is public, personal or identifier").On(dataset.Name)
		}
	}
	return nil
}

func checkTreatment(g annona.FieldGrant) error {
	f := g.Field
	switch g.Treatment {
	case annona.TreatDerive:
		named := f.Filter == annona.FilterRange && f.Sensitivity != annona.Identifies && !f.IsSealed() || slices.Contains(leadsOn, f.Code)
		if named && g.Band == 0 {
			return nil
		}
		return annona.Invalid("treatment_misplaced", "derive is for what a filter can name").On(f.Dataset + "." + f.Code)
	case annona.TreatRound, annona.TreatAge, annona.TreatArea:
		return annona.Invalid("treatment_misplaced", "an export specification rounds numbers and shows ages and areas of a level, an agreement does not").On(f.Dataset + "." + f.Code)
	}
	return g.Treatment.Fits(f, g.Band)
}

// leadsOn are the fields through which a condition reaches other records. They may be granted for
// that alone.
var leadsOn = []string{"members", "household_id"}

func checkForm(a *annona.Agreement) error {
	fault := func(format string, args ...any) error {
		return annona.Invalid("agreement_malformed", "%s", fmt.Sprintf(format, args...)).On(a.Name)
	}
	switch {
	case !name.MatchString(a.Name):
		return annona.Invalid("agreement_malformed", "an agreement has a name of lower-case letters, digits and hyphens")
	case !name.MatchString(a.Realm):
		return fault("id_realm is a name of lower-case letters, digits and hyphens")
	case a.Partner.Name == "" || len(a.Partner.Country) != 2:
		return fault("a partner has a name and a country (two letters, ISO 3166-1)")
	case len(a.Purposes) == 0 || len(a.Datasets) == 0 && a.Imports == nil:
		return fault("an agreement names at least one purpose, and one dataset or what the partner imports")
	case a.Status != "active" && a.Status != "suspended":
		return fault("status is active or suspended")
	case a.ValidFrom == "" || a.ValidUntil < a.ValidFrom:
		return fault("valid_from and valid_until are dates, in that order")
	case strengths[a.Floor] == annona.StrengthNone:
		return fault("floor is api_key, oauth or sender_constrained")
	case a.RowCeiling < 0 || a.APIKey != nil && a.APIKey.RowCeiling < 0:
		return fault("a row ceiling is not negative; 0 means none")
	case a.APIKey != nil && a.APIKey.Reason == "":
		return fault("a cap of a plain API key is raised with its reason written beside it")
	}
	for _, d := range []annona.Date{a.ValidFrom, a.ValidUntil} {
		if _, err := annona.ParseDate(string(d)); err != nil {
			return fault("valid_from and valid_until are written 2006-01-02")
		}
	}
	for i, program := range a.Decisions {
		if !name.MatchString(program) || slices.Contains(a.Decisions[:i], program) {
			return fault("decisions are codes of programs, of lower-case letters, digits and hyphens, each once")
		}
	}
	for i, p := range a.Programs {
		same := func(o annona.ProgramTerms) bool { return o.Program == p.Program }
		if !name.MatchString(p.Program) || slices.ContainsFunc(a.Programs[:i], same) || !p.See && !p.Report {
			return fault("programs are named by their codes, each once, with what the partner may do: see, report")
		}
	}
	if c := a.Cases; c != nil {
		if c.Source != "" && !name.MatchString(c.Source) {
			return fault("the source of cases is a name of lower-case letters, digits and hyphens")
		}
		if slices.ContainsFunc(c.Confidentiality, func(code string) bool { return code != "restricted" && code != "named_persons" }) {
			return fault("the confidentiality of cases is restricted or named_persons; what is normal needs no mention")
		}
	}
	if err := checkLifeEvents(a.LifeEvents, fault); err != nil {
		return err
	}
	if err := checkChecks(a, fault); err != nil {
		return err
	}
	if err := checkImports(a.Imports, fault); err != nil {
		return err
	}
	return checkPurposes(a, fault)
}

var lifeEvents = []string{
	annona.LifeContact, annona.LifeBirth, annona.LifeDeath, annona.LifeJoins, annona.LifeLeaves, annona.LifeSplit, annona.LifeHead, annona.LifeIdentifierAdded, annona.LifeIdentifierCorrected,
}

func checkLifeEvents(l *annona.LifeEventTerms, fault func(string, ...any) error) error {
	if l == nil {
		return nil
	}
	for n, name := range l.Types {
		if !slices.Contains(lifeEvents, name) || slices.Contains(l.Types[:n], name) {
			return fault("the types of life events are %s, each once", strings.Join(lifeEvents, ", "))
		}
	}
	if len(l.Types) == 0 || slices.ContainsFunc(l.Review, func(name string) bool { return !slices.Contains(l.Types, name) }) {
		return fault("life_events name types, and under review some of those")
	}
	return nil
}

// maxPeoplePerDay bounds how many people may be checked each day: a ceiling that nobody meets is none.
const maxPeoplePerDay = 10_000_000

func checkChecks(a *annona.Agreement, fault func(string, ...any) error) error {
	c := a.Checks
	if c == nil {
		return nil
	}
	named := slices.Clone(c.Programs)
	for group, programs := range c.Groups {
		if !name.MatchString(group) || len(programs) == 0 {
			return fault("a group of checks has a name of lower-case letters, digits and hyphens, and programs")
		}
		named = append(named, programs...)
	}
	_, known := a.Purpose(c.Purpose)
	switch {
	case !known:
		return fault("checks have a purpose of the agreement")
	case len(named) == 0 || slices.ContainsFunc(named, func(code string) bool { return !name.MatchString(code) }):
		return fault("checks name programs by their codes, under programs or groups")
	case c.PeoplePerDay < 0 || c.PeoplePerDay > maxPeoplePerDay:
		return fault("people_per_day is 1 to %d; 0 means %d", maxPeoplePerDay, annona.DefaultPeoplePerDay)
	}
	return nil
}

func checkPurposes(a *annona.Agreement, fault func(string, ...any) error) error {
	seen := map[string]bool{}
	for _, p := range a.Purposes {
		switch {
		case !name.MatchString(p.Code) || seen[p.Code]:
			return fault("each purpose has a code of its own, of lower-case letters, digits and hyphens")
		case !slices.Contains(bases, p.Basis):
			return fault("the legal basis of a purpose is one of the six of GDPR Article 6(1)")
		}
		seen[p.Code] = true
	}
	return nil
}
