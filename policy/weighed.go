package policy

import (
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Two facts about a request are not at hand when it is decided: how many rows it would release, and its risk. A
// gate finds them out where a rule asks about them, and cannot always. While one is not known, nobody gains by it:
// a rule that allows does not hold unless it would whatever the fact is, and a rule that denies holds unless it
// would not whatever the fact is.

const (
	factRows = "rows"
	factRisk = "risk"
)

// Asked says what the rules of a role ask about a request that has to be found out.
type Asked struct {
	// RowsUpTo is from how many rows on another one makes no difference; 0: no rule asks.
	RowsUpTo int64
	Risk     bool
}

func (a Asked) and(o Asked) Asked {
	return Asked{max(a.RowsUpTo, o.RowsUpTo), a.Risk || o.Risk}
}

// Asks says what has to be found out about a request before it is decided.
func (p *Roles) Asks(r *Request) Asked {
	asked := p.roles[r.role()].asksOf(r)
	for _, name := range r.Person {
		asked = asked.and(p.roles[name].asksOf(r))
	}
	return asked
}

func (r *role) asksOf(request *Request) (asked Asked) {
	if r == nil || r.asks == (Asked{}) {
		return asked
	}
	for i := range r.rules {
		if r.rules[i].elsewhere(request) == "" {
			asked = asked.and(r.rules[i].asks)
		}
	}
	return asked
}

// askedBy says what a condition asks about, and refuses one that compares a risk with what is none.
func askedBy(when annona.Condition) (asked Asked, err error) {
	for leaf := range filter.Leaves(when) {
		switch c := leaf.(type) {
		case annona.Compare:
			asked, err = asked.and(askedOf(c.Path, c.Value)), errors.Join(err, checkRisk(c.Path, c.Op, c.Value))
		case annona.In:
			asked, err = asked.and(askedOf(c.Path, c.Values...)), errors.Join(err, checkRisk(c.Path, annona.Equal, c.Values...))
		case annona.Has:
			asked = asked.and(askedOf(c.Path))
		}
	}
	return asked, err
}

func askedOf(p annona.Path, values ...annona.Constant) (asked Asked) {
	switch p.Field.Code {
	case factRisk:
		asked.Risk = true
	case factRows:
		asked.RowsUpTo = 1
		for _, v := range values {
			asked.RowsUpTo = max(asked.RowsUpTo, v.Int+1)
		}
	}
	return asked
}

var errRisk = errors.New("a risk is low, medium or high, and is compared by ==, != and in")

func checkRisk(p annona.Path, op annona.Op, values ...annona.Constant) error {
	levels := []string{annona.RiskLow, annona.RiskMedium, annona.RiskHigh}
	none := func(v annona.Constant) bool { return !slices.Contains(levels, v.Text) }
	if p.Field.Code == factRisk && (op != annona.Equal && op != annona.NotEqual || slices.ContainsFunc(values, none)) {
		return errRisk
	}
	return nil
}

// verdict is what a condition comes to while not everything is known. The opposite of one is its negation.
type verdict int

const (
	no     verdict = -1
	unsure verdict = 0
	yes    verdict = 1
)

// judge says whether a rule's condition on the request is met.
func (a *rule) judge(about facts) verdict {
	if a.asks == (Asked{}) {
		return known(a.when, about)
	}
	return judge(a.when, about)
}

func known(c annona.Condition, about facts) verdict {
	if filter.Eval(c, about, about.Today) {
		return yes
	}
	return no
}

func judge(c annona.Condition, about facts) verdict {
	switch c := c.(type) {
	case annona.And:
		all := yes
		for _, part := range c {
			all = min(all, judge(part, about))
		}
		return all
	case annona.Or:
		one := no
		for _, part := range c {
			one = max(one, judge(part, about))
		}
		return one
	case annona.Not:
		return -judge(c.Of, about)
	case annona.Compare:
		if about.lacks(c.Path) {
			return unsure
		}
	case annona.In:
		if about.lacks(c.Path) {
			return unsure
		}
	}
	return known(c, about)
}

// lacks reports whether a fact had to be found out and is not known. That alone has(…) can ask.
func (f facts) lacks(p annona.Path) bool {
	_, present := f.Value(p)
	return !present && (p.Field.Code == factRows || p.Field.Code == factRisk)
}

// unknown names the facts that a rule asks about and that are not known.
func (a *rule) unknown(r *Request) (names []string) {
	if a.asks.Risk && r.Risk.Level == "" {
		names = append(names, factRisk)
	}
	if a.asks.RowsUpTo > 0 && !r.Rows.Known {
		names = append(names, factRows)
	}
	return names
}
