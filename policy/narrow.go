package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// narrowed is what a role leaves of an agreement for one request.
type narrowed struct {
	fields    map[string][]annona.FieldGrant
	derivable map[string][]annona.FieldGrant
	rows      map[string]annona.Condition
	ceiling   int64
	special   bool
	telling   bool     // some condition names a special field
	untold    bool     // and the agreement does not grant it
	rules     []string // that matched
	stepUp    annona.Demand
	second    bool   // each request waits for a second person
	effect    uint64 // hash of all that is left
	terms     *Terms // the agreement as far as it is left
}

// matching are the rules of a role that hold for a request.
func (p *Roles) matching(r *Request) (*role, []int, error) {
	in := p.roles[r.role()]
	if in == nil {
		return nil, nil, annona.Forbidden("role_unknown", "the policy in force has no such role; ask the registry for one that it has")
	}
	if in.Emergency && !r.Emergency {
		return nil, nil, annona.Forbidden("role_not_granted", "this role holds in an emergency only, of somebody who has broken the glass")
	}
	about := facts{r, p.networks}
	var held []int
	for i := range in.rules {
		if in.rules[i].holds(r, about) {
			held = append(held, i)
		}
	}
	return in, held, nil
}

// holds reports whether a rule is about a request. Which datasets it names makes no difference: an answer
// about households holds people too.
func (a *rule) holds(r *Request, about facts) bool { return a.misses(r, about) == "" }

// misses says what of a request a rule is not about; empty: it holds.
func (a *rule) misses(r *Request, about facts) string {
	if misses := a.elsewhere(r); misses != "" {
		return misses
	}
	switch a.judge(about) {
	case no:
		return "when"
	case unsure:
		if a.Deny == r.Supposing {
			return "not known"
		}
	}
	return ""
}

// elsewhere says what of a request a rule is not about, whatever its condition says; empty: nothing.
func (a *rule) elsewhere(r *Request) string {
	switch {
	case len(a.Verbs) > 0 && !slices.Contains(a.Verbs, r.Verb):
		return "verb"
	case len(a.Purposes) > 0 && !slices.Contains(a.Purposes, r.Purpose):
		return "purpose"
	case r.Today < a.ValidFrom || a.ValidUntil != "" && r.Today > a.ValidUntil:
		return "day"
	}
	return ""
}

// narrow cuts an agreement down to the caller's role. Refusals (403): role_unknown, role_denies,
// role_not_granted, condition_special.
func (p *Roles) narrow(t *Terms, r *Request) (*narrowed, error) {
	in, held, err := p.permits(r)
	if err != nil {
		return nil, err
	}
	n := p.narrowed.of(t, in, held, func() *narrowed { return p.cut(t, in, held) })
	if n.untold {
		return nil, annona.Forbidden("condition_special", "your role selects people by a special field that the agreement does not grant, so that whoever is seen would tell it")
	}
	if len(n.fields[r.Dataset]) == 0 {
		return nil, annona.Forbidden("role_not_granted", "no rule of the policy lets your role see any field of this dataset").On(r.Dataset)
	}
	return n, nil
}

// permits returns the rules of the caller's role that hold, when one of them allows what is asked for and
// none denies it whole. Refusals (403): role_unknown, role_denies, role_not_granted.
func (p *Roles) permits(r *Request) (*role, []int, error) {
	in, held, err := p.matching(r)
	if err != nil {
		return nil, nil, err
	}
	allowed := false
	for _, i := range held {
		a := &in.rules[i]
		if of := a.portion(r.Dataset); a.Deny && of != nil && of.whole && of.rows == nil {
			return nil, nil, annona.Forbidden("role_denies", "a rule of the policy denies this to your role").On(a.Name)
		}
		allowed = allowed || !a.Deny && (r.Dataset == "" || a.portion(r.Dataset) != nil)
	}
	if !allowed {
		return nil, nil, annona.Forbidden("role_not_granted", "no rule of the policy lets your role do this")
	}
	return in, held, nil
}

// cut puts together what the rules that hold leave of an agreement.
func (p *Roles) cut(t *Terms, in *role, held []int) *narrowed {
	n := &narrowed{fields: map[string][]annona.FieldGrant{}, derivable: map[string][]annona.FieldGrant{}, rows: map[string]annona.Condition{}, telling: t.telling}
	for _, i := range held {
		n.rules = append(n.rules, in.rules[i].Name)
		n.ceiling = tighter(n.ceiling, in.rules[i].RowCeiling)
		n.stepUp = n.stepUp.And(in.rules[i].demand)
		n.second = n.second || in.rules[i].SecondPerson
	}
	for dataset := range t.fields {
		of := in.join(dataset, held)
		if of == nil {
			continue
		}
		left := of.narrow(slices.Concat(t.fields[dataset], t.derivable[dataset]))
		n.special = n.special || slices.ContainsFunc(left, isSpecial)
		if fields := leaving(left); len(fields) > 0 {
			n.fields[dataset] = fields
		}
		if fields := derivable(left); len(fields) > 0 {
			n.derivable[dataset] = fields
		}
	}
	for _, root := range p.roots {
		if agreed := t.rows[root]; agreed != nil {
			n.rows[root] = agreed
		}
		if of := in.join(root, held); of != nil && of.rows != nil {
			n.tell(t, of.rows)
			n.rows[root] = both(of.rows, n.rows[root])
		}
	}
	n.effect = n.hash()
	n.terms = &Terms{agreement: t.agreement, fields: n.fields, derivable: n.derivable, rows: n.rows, roots: t.roots, telling: n.telling}
	return n
}

// narrowFor cuts what is left down to what a role of the person lets them do: the first of their roles that
// lets them do it at all. Refusal (403): role_not_granted.
func (p *Roles) narrowFor(n *narrowed, r *Request) (*narrowed, error) {
	if r.Person == nil {
		return n, nil
	}
	for _, name := range r.Person {
		as := *r
		as.Role = name
		left, err := p.narrow(n.terms, &as)
		if err != nil {
			continue
		}
		both := *left
		both.rules = slices.Clone(n.rules)
		for _, rule := range left.rules {
			both.rules = append(both.rules, name+"/"+rule)
		}
		both.ceiling, both.stepUp, both.second = tighter(n.ceiling, left.ceiling), n.stepUp.And(left.stepUp), n.second || left.second
		both.effect = n.effect*31 + left.effect
		return &both, nil
	}
	return nil, errPerson
}

var errPerson = annona.Forbidden("role_not_granted", "no role of the person for whom you act lets them do this")

// mayPerson refuses a person none of whose roles lets them do what has no dataset.
func (p *Roles) mayPerson(r *Request) error {
	may := func(name string) bool {
		as := *r
		as.Role = name
		_, _, err := p.permits(&as)
		return err == nil
	}
	if r.Person == nil || slices.ContainsFunc(r.Person, may) {
		return nil
	}
	return errPerson
}

// hash tells what is left of an agreement from whatever else is.
func (n *narrowed) hash() uint64 {
	h := sha256.New()
	for _, granted := range []map[string][]annona.FieldGrant{n.fields, n.derivable} {
		for _, dataset := range slices.Sorted(maps.Keys(granted)) {
			fmt.Fprintf(h, "%s\n", dataset)
			for _, g := range granted[dataset] {
				fmt.Fprintf(h, "%s %s %d\n", g.Field.Code, g.Treatment, g.Band)
			}
		}
	}
	for _, dataset := range slices.Sorted(maps.Keys(n.rows)) {
		fmt.Fprintf(h, "%s where %s\n", dataset, filter.Format(n.rows[dataset]))
	}
	fmt.Fprintf(h, "%d", n.ceiling)
	if n.second {
		fmt.Fprint(h, " with a second person") // what runs without one ends
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// tell notes what a condition of the role tells about whoever is seen.
func (n *narrowed) tell(t *Terms, c annona.Condition) {
	for path := range filter.Paths(c) {
		if path.Field.Sensitivity == annona.Special {
			n.telling = true
			n.untold = n.untold || !slices.ContainsFunc(t.fields[path.Field.Dataset], func(g annona.FieldGrant) bool { return g.Field.Code == path.Field.Code })
		}
	}
}

// joined is what the rules that hold say about one dataset together.
type joined struct {
	whole  bool
	fields []annona.FieldGrant
	denied []annona.FieldGrant
	rows   annona.Condition
}

// join puts together what rules say about a dataset; nil: none of them allows anything of it.
func (in *role) join(dataset string, held []int) *joined {
	var of joined
	var rows annona.Or
	var not annona.And
	allowed, every := false, false
	for _, i := range held {
		a := &in.rules[i]
		said := a.portion(dataset)
		switch {
		case said == nil:
		case !a.Deny:
			allowed, of.whole, of.fields = true, of.whole || said.whole, append(of.fields, said.fields...)
			if every = every || said.rows == nil; !every && !holdsAlready(rows, said.rows) {
				rows = append(rows, said.rows)
			}
		case said.rows != nil:
			not = append(not, annona.Not{Of: said.rows})
		case said.whole:
			return nil
		default:
			of.denied = append(of.denied, said.fields...)
		}
	}
	if !allowed {
		return nil
	}
	if !every {
		of.rows = rows
		if len(rows) == 1 {
			of.rows = rows[0]
		}
	}
	if len(not) > 0 {
		of.rows = both(not, of.rows)
	}
	return &of
}

func holdsAlready(rows annona.Or, c annona.Condition) bool {
	return slices.ContainsFunc(rows, func(o annona.Condition) bool { return filter.Format(o) == filter.Format(c) })
}

// narrow leaves of what an agreement grants what the rules allow too, under the stricter treatment.
func (of *joined) narrow(granted []annona.FieldGrant) []annona.FieldGrant {
	if of.whole && len(of.denied) == 0 {
		return granted
	}
	named := func(list []annona.FieldGrant, f *annona.Field) (annona.FieldGrant, bool) {
		i := slices.IndexFunc(list, func(g annona.FieldGrant) bool { return g.Field.Code == f.Code })
		if i < 0 {
			return annona.FieldGrant{}, false
		}
		return list[i], true
	}
	var left []annona.FieldGrant
	for _, g := range granted {
		if _, denied := named(of.denied, g.Field); denied {
			continue
		}
		if !of.whole {
			allowed, ok := named(of.fields, g.Field)
			if !ok {
				continue
			}
			if g, ok = stricter(g, allowed); !ok {
				continue
			}
		}
		left = append(left, g)
	}
	return left
}

// stricter returns a field under both of two treatments; ok: there is one treatment that is both.
func stricter(a, b annona.FieldGrant) (annona.FieldGrant, bool) {
	switch {
	case b.Treatment == annona.TreatPass:
		return a, true
	case a.Treatment == annona.TreatPass:
		return b, true
	case a.Treatment == b.Treatment && (a.Band == b.Band || a.Band > 0 && b.Band%a.Band == 0):
		return b, true
	case a.Treatment == b.Treatment && b.Band > 0 && a.Band%b.Band == 0:
		return a, true
	case a.Treatment == annona.TreatYear && b.Treatment == annona.TreatMonth:
		return a, true
	case a.Treatment == annona.TreatMonth && b.Treatment == annona.TreatYear:
		return b, true
	}
	return annona.FieldGrant{}, false
}

// narrowings keeps what roles leave of agreements: the same few requests come again and again.
type narrowings struct {
	mu   sync.Mutex
	kept map[narrowing]*narrowed
}

type narrowing struct {
	terms *Terms
	role  *role
	held  string
}

const keptNarrowings = 1000

func (k *narrowings) of(t *Terms, in *role, held []int, cut func() *narrowed) *narrowed {
	var b strings.Builder
	for _, i := range held {
		b.WriteRune(rune(i))
	}
	key := narrowing{t, in, b.String()}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.kept[key]; n != nil {
		return n
	}
	if k.kept == nil || len(k.kept) >= keptNarrowings {
		k.kept = map[narrowing]*narrowed{}
	}
	n := cut()
	k.kept[key] = n
	return n
}
