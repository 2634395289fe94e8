// Package assess is a small program of the kind that takes in exports: it reads one, holds the people and
// households in it against a program's rules, and makes decisions with reasons. It is a reference: small
// enough to be read, and whole enough to start with.
//
// Rules are written in the filter language, as export specifications are. The package knows what an
// export looks like and what a rule may name of it. It does not know who is right: it refuses a rule about
// something that the export does not have as it is, rather than deciding on nothing.
package assess

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Rules are those of a program, as its file says.
type Rules struct {
	Program string `yaml:"program"`
	Title   string `yaml:"title"`
	// About is whom decisions are about: households, or individuals. Of an export of households,
	// individuals are its members.
	About string `yaml:"about"`
	Basis string `yaml:"basis"`
	// When says whom the program is for at all; nobody else gets a decision. Empty: everybody.
	When string `yaml:"when"`
	// Needs are fields without which nothing can be decided, as household.poverty_score: whoever lacks
	// one is under_review.
	Needs []string `yaml:"needs"`
	// Require are the conditions that all have to hold.
	Require []Requirement `yaml:"require"`
	// Status of whoever meets them: eligible, which is the usual one, or conditional.
	Status  string   `yaml:"status"`
	Reasons []string `yaml:"reasons"` // codes for whoever meets them
	// Score is the field that goes back with the decision, as household.poverty_score.
	Score     string `yaml:"score"`
	ValidDays int    `yaml:"valid_days"` // for how long a positive decision holds; 0: not said
}

// Requirement is a condition, and the reason of whoever does not meet it.
type Requirement struct {
	Rule      string `yaml:"rule"`
	Otherwise string `yaml:"otherwise"`
}

// maxRules is the largest file of rules, in bytes.
const maxRules = 1 << 20

// ReadRules reads a file of rules. Errors have the codes file_malformed and rules_malformed.
func ReadRules(from io.Reader) (r Rules, err error) {
	text, err := io.ReadAll(io.LimitReader(from, maxRules+1))
	if err != nil || len(text) > maxRules {
		return r, annona.Invalid("file_malformed", "the rules cannot be read, or are longer than 1 MiB").Because(err)
	}
	if err := yaml.UnmarshalWithOptions(text, &r, yaml.Strict()); err != nil {
		fault, line := (yaml.Error)(nil), 0
		if errors.As(err, &fault) && fault.GetToken() != nil {
			line = fault.GetToken().Position.Line
		}
		return r, annona.Invalid("file_malformed", "the rules are no YAML of the keys that they have; line %d", line).AtPosition(line)
	}
	return r, r.check()
}

var (
	programName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	reasonCode  = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,59}$`)
)

func (r *Rules) check() error {
	fault := func(name, format string, args ...any) error {
		return annona.Invalid("rules_malformed", format, args...).On(name)
	}
	if r.Status == "" {
		r.Status = "eligible"
	}
	switch {
	case !programName.MatchString(r.Program):
		return fault("program", "rules name their program, as the agreement does")
	case r.About != "households" && r.About != "individuals":
		return fault("about", "decisions are about households or individuals")
	case len(r.Require) == 0:
		return fault("require", "rules require something")
	case r.Status != "eligible" && r.Status != "conditional":
		return fault("status", "whoever meets the rules is eligible or conditional")
	case r.ValidDays < 0 || r.ValidDays > 36_500:
		return fault("valid_days", "a decision holds for 1 to 36500 days")
	}
	codes := slices.Clone(r.Reasons)
	for i, q := range r.Require {
		if q.Rule == "" || q.Otherwise == "" {
			return fault("require", "number %d lacks its rule, or otherwise: the reason of whoever does not meet it", i+1)
		}
		codes = append(codes, q.Otherwise)
	}
	for _, code := range codes {
		if !reasonCode.MatchString(code) {
			return fault("reasons", "a reason is a code of lower-case letters, digits, underscores, points and hyphens: what it means stays with the program")
		}
	}
	return nil
}

// compiled are rules that were held against an export.
type compiled struct {
	*Rules
	when    annona.Condition
	require []annona.Condition
	needs   []annona.Condition // has(…) of each
	missing []string           // the reason when one does not hold
	score   *annona.Path
}

// compile reads the rules as conditions on what an export has.
func (r *Rules) compile(shape *Shape) (*compiled, error) {
	about, _ := shape.dictionary.Dataset(r.About)
	c := &compiled{Rules: r}
	read := func(name, text string) (annona.Condition, error) {
		condition, err := filter.Compile(shape.dictionary, about, text)
		if err != nil {
			return nil, in(name, err)
		}
		return condition, in(name, shape.has(r.About, condition))
	}
	var err error
	if r.When != "" {
		if c.when, err = read("when", r.When); err != nil {
			return nil, err
		}
	}
	for i, q := range r.Require {
		condition, err := read(fmt.Sprintf("require[%d]", i+1), q.Rule)
		if err != nil {
			return nil, err
		}
		c.require = append(c.require, condition)
	}
	for _, name := range r.Needs {
		condition, err := read("needs", "has("+name+")")
		if err != nil {
			return nil, err
		}
		_, code, _ := strings.Cut(name, ".")
		c.needs, c.missing = append(c.needs, condition), append(c.missing, "missing_"+code)
	}
	if r.Score != "" {
		condition, err := read("score", "has("+r.Score+")")
		if err != nil {
			return nil, err
		}
		has, ok := condition.(annona.Has)
		if !ok || !has.Path.Field.Type.IsNumeric() || has.Path.Field.Type == annona.TypeBool {
			return nil, annona.Invalid("rules_malformed", "the score is a field that holds a number").On("score")
		}
		c.score = &has.Path
	}
	return c, nil
}

// in says in which part of the rules an error is.
func in(name string, err error) error {
	known := (*annona.Error)(nil)
	if errors.As(err, &known) {
		if known.Name != "" {
			name += ": " + known.Name
		}
		return known.On(name)
	}
	return err
}
