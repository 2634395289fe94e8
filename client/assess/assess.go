package assess

import (
	"io"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/client"
	"github.com/annona-exchange/annona/filter"
)

// Assessment holds an export against rules: Check first, then Read each document.
type Assessment struct {
	Shape    *Shape
	Rules    *Rules
	AsOf     annona.Date // day on which ages are read, and on which is decided
	Export   string      // that is assessed; empty: it has no id
	Software string      // that decides

	rules *compiled
	seen  map[string]bool
}

// Tally counts decisions by their status.
type Tally map[string]int

// Check holds the rules against the shape of the export. Errors have the codes of filters, and
// rule_field_missing, rule_field_altered, rule_unsupported, rules_malformed.
func (a *Assessment) Check() (err error) {
	if a.Shape.Dataset == "individuals" && a.Rules.About == "households" {
		return annona.Invalid("rules_malformed", "the rules are about households, and the export is of individuals").On("about")
	}
	a.seen = map[string]bool{}
	a.rules, err = a.Rules.compile(a.Shape)
	return err
}

// Read assesses a document of the export and hands each decision to take.
func (a *Assessment) Read(name string, document io.ReaderAt, size int64, take func(client.Decision) error) error {
	return a.Shape.read(name, document, size, func(r *record) error {
		subjects := []*record{r}
		if a.Shape.Dataset != a.Rules.About {
			subjects = r.members
		}
		for _, subject := range subjects {
			d, decided, err := a.decide(name, subject)
			if err != nil {
				return err
			}
			if !decided {
				continue
			}
			if err := take(d); err != nil {
				return err
			}
		}
		return nil
	})
}

// decide decides about one subject. Nobody is decided on twice: whoever is in two households of an export
// is decided on in the first one.
func (a *Assessment) decide(name string, r *record) (d client.Decision, decided bool, err error) {
	id := r.id(a.Rules.About)
	if id == "" {
		return d, false, annona.Invalid("id_missing", "the export has records without the id that a decision is about; have the specification show it").On(name)
	}
	if a.rules.when != nil && !filter.Eval(a.rules.when, r, a.AsOf) || a.seen[id] {
		return d, false, nil
	}
	a.seen[id] = true
	d = client.Decision{
		Key: a.key(id), Program: a.Rules.Program, DecisionDate: string(a.AsOf), Basis: a.Rules.Basis,
		Automated: true, Software: a.Software, Export: a.Export,
	}
	if a.Rules.About == "households" {
		d.HouseholdID = id
	} else {
		d.IndividualID = id
	}
	d.Status, d.Reasons = a.verdict(r)
	if a.rules.score != nil {
		d.Score, _ = r.Value(*a.rules.score)
	}
	if a.Rules.ValidDays > 0 && d.Status == a.Rules.Status {
		d.ValidUntil = string(a.AsOf.AddDays(a.Rules.ValidDays))
	}
	return d, true, nil
}

// verdict is what the rules say, with the reasons.
func (a *Assessment) verdict(r *record) (status string, reasons []string) {
	for i, has := range a.rules.needs {
		if !filter.Eval(has, r, a.AsOf) {
			reasons = append(reasons, a.rules.missing[i])
		}
	}
	if len(reasons) > 0 {
		return "under_review", reasons
	}
	for i, condition := range a.rules.require {
		if !filter.Eval(condition, r, a.AsOf) {
			reasons = append(reasons, a.Rules.Require[i].Otherwise)
		}
	}
	if len(reasons) > 0 {
		return "ineligible", reasons
	}
	return a.Rules.Status, a.Rules.Reasons
}

// key is the program's own key of a decision: the same export assessed again has the same ones, so that
// decisions that were sent already are unchanged.
func (a *Assessment) key(id string) string {
	basis := a.Export
	if basis == "" {
		basis = strings.ReplaceAll(string(a.AsOf), "-", "")
	}
	return a.Rules.Program + "." + basis + "." + id
}
