package exchange

import (
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// The bounds of derived columns. A field that is granted for them alone is compared with so many
// values in one specification: more of them would tell what it is.
const (
	maxRules      = 50
	maxThresholds = 4
)

// columns resolves the derived columns of a specification, in their order.
func (c specCompiler) columns(dataset *annona.Dataset, rules []annona.SpecRule) ([]*annona.Field, error) {
	if len(rules) > maxRules {
		return nil, annona.Invalid("spec_fields", "a specification derives at most %d columns", maxRules).On("derived")
	}
	var fields []*annona.Field
	compared := thresholds{}
	for _, r := range rules {
		if !recipientName.MatchString(r.As) {
			return nil, nameMalformed("derived")
		}
		rule, err := filter.CompileRule(c.dictionary, dataset, r.Rule)
		if err != nil {
			return nil, err
		}
		if is := typeOf(rule); r.Type != "" && r.Type != is {
			return nil, annona.Invalid("rule_type", "this rule is of the type %s: members.count(m, …) without a comparison is a count, all else a yes_no", is).On(r.As)
		}
		if err := c.checkRule(dataset, rule, compared); err != nil {
			return nil, err
		}
		fields = append(fields, derivedField(dataset, r.As, rule))
		c.rules = append(c.rules, rule.Of)
	}
	return fields, nil
}

func typeOf(rule *annona.Derivation) string {
	if rule.Count {
		return annona.RuleCount
	}
	return annona.RuleYesNo
}

// derivedField makes the column of a rule, as it is read and as it is shown. The ledger gets what is
// read: its name says from what it was derived.
func derivedField(dataset *annona.Dataset, as string, rule *annona.Derivation) *annona.Field {
	read := &annona.Field{
		Dataset: dataset.Name, Type: annona.TypeBool, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterNone,
		Derived: true, Label: as, Definition: filter.FormatRule(rule), Rule: rule,
	}
	read.Base = read
	if rule.Count {
		read.Type = annona.TypeInt
	}
	from := []string{}
	if rule.Count || filter.UsesMembers(rule.Of) {
		from = append(from, "members")
	}
	for path := range filter.Paths(rule.Of) {
		if path.Field.Sensitivity == annona.Special {
			read.Sensitivity = annona.Special
		}
		from = append(from, pathName(path))
	}
	slices.Sort(from)
	read.Code = as + "(" + strings.Join(slices.Compact(from), " ") + ")"
	shown := *read
	shown.Code, shown.Origin = as, read
	return &shown
}

func pathName(p annona.Path) string {
	switch p.Root {
	case annona.RootHousehold:
		return "household." + p.Field.Code
	case annona.RootHead:
		return "head." + p.Field.Code
	case annona.RootMember:
		return "members." + p.Field.Code
	}
	return p.Field.Code
}

// checkRule refuses a rule that names what the grant does not give for that, or that would tell the
// value of a field that is granted for derived columns only.
func (c specCompiler) checkRule(dataset *annona.Dataset, rule *annona.Derivation, compared thresholds) error {
	if rule.Count || filter.UsesMembers(rule.Of) {
		if err := c.reaches(annona.RootMember); err != nil {
			return err
		}
	}
	for leaf := range filter.Leaves(rule.Of) {
		if f, withheld := flagsWithheld(c.dictionary, c.grant, leaf); withheld {
			return ruleNotGranted(f.Code)
		}
	}
	for path := range filter.Paths(rule.Of) {
		if err := c.reaches(path.Root); err != nil {
			return err
		}
		if isFlags(path.Field) {
			if err := checkPath(c.dictionary, c.grant, dataset, path); err != nil {
				return err
			}
		} else if !c.grant.Derives(path.Field) {
			return ruleNotGranted(path.Field.Code)
		}
	}
	for leaf := range filter.Leaves(rule.Of) {
		if err := compared.add(c.grant, leaf); err != nil {
			return err
		}
	}
	return nil
}

// reaches refuses a rule that goes from a record to another one where the grant does not show which,
// and does not grant that for derived columns either.
func (c specCompiler) reaches(root annona.Root) error {
	households, _ := c.dictionary.Dataset("households")
	individuals, _ := c.dictionary.Dataset("individuals")
	needs := func(d *annona.Dataset, name string) error {
		if f, ok := d.Field(name); !ok || !c.grant.Derives(f) {
			return ruleNotGranted(name)
		}
		return nil
	}
	switch root {
	case annona.RootHousehold:
		return needs(individuals, "household_id")
	case annona.RootMember:
		return needs(households, "members")
	case annona.RootHead:
		if err := needs(households, "members"); err != nil {
			return err
		}
		return needs(individuals, "role")
	}
	return nil
}

func ruleNotGranted(name string) error {
	return annona.Forbidden("rule_not_granted",
		"a rule may name only fields that the agreement grants unaltered, or with the treatment derive; of members also members, of the head also members and role, of an individual's household also household_id").On(name)
}

// thresholds are the values with which the rules of a specification compare each field that is granted
// for derived columns only.
type thresholds map[*annona.Field][]string

// add refuses a comparison that would tell the field's value, alone or with those before it.
func (t thresholds) add(grant *annona.Grant, leaf annona.Condition) error {
	path, values, exact := comparison(leaf)
	f := path.Field
	if f == nil || f.Type == annona.TypeBool || !grant.DerivesOnly(f) {
		return nil
	}
	if exact && f.Type != annona.TypeCode {
		return annona.Invalid("rule_reveals", "equality would tell the value of a field that is granted for derived columns only; compare it with < or >=").On(f.Code)
	}
	for _, v := range values {
		if !slices.Contains(t[f], v) {
			t[f] = append(t[f], v)
		}
	}
	if len(t[f]) > maxThresholds {
		return annona.Invalid("rule_reveals", "the rules compare a field that is granted for derived columns only with more than %d values, which would tell what it is", maxThresholds).On(f.Code)
	}
	return nil
}

// comparison returns which field a leaf of a condition compares with which values; exact: it asks
// whether the field has one of them.
func comparison(leaf annona.Condition) (path annona.Path, values []string, exact bool) {
	isExact := func(op annona.Op) bool { return op == annona.Equal || op == annona.NotEqual }
	switch c := leaf.(type) {
	case annona.Compare:
		return c.Path, []string{c.Value.Text}, isExact(c.Op)
	case annona.Age:
		return c.Path, []string{"age " + strconv.Itoa(c.Years)}, isExact(c.Op)
	case annona.In:
		for _, v := range c.Values {
			values = append(values, v.Text)
		}
		return c.Path, values, true
	case annona.Within:
		return c.Path, []string{c.Area}, false
	}
	return annona.Path{}, nil, false
}
