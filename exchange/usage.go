package exchange

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/policy"
)

// What a client is granted and never uses is a risk without a use. So the gate notes when each client has last
// used a verb, for which purpose, on which dataset, and which fields it has asked for, and says what of a grant
// nobody has used for long. It is noted in memory and written once a minute: a request waits for no write. A crash
// loses the last minute of a node.

// DefaultUnused is after how many days without a use something is proposed for removal.
const DefaultUnused = 90

// maxUsing is how many different uses are noted between two writes. A further one is not, and will be when it
// comes again.
const maxUsing = 10_000

// used is what uses are grouped by.
type used struct {
	client           annona.UID
	verb             annona.Verb
	purpose, dataset string
}

// using is when that was last used, and with which fields.
type using struct {
	at     time.Time
	fields map[usedField]time.Time
	last   *string // of the list of fields that came last: mostly the same again
	lastAt time.Time
}

type usedField struct{ dataset, code string }

// uses are what this node has noted since it was written.
type uses struct {
	mu     sync.Mutex
	groups map[used]*using
	habits map[habit]int64
	read   map[annona.UID]readHabits // for Weighed: as the store had them lately
}

// group returns what is noted of a use, at a moment; nil: there is no room.
func (u *uses) group(of used, at time.Time) *using {
	if u.groups == nil {
		u.groups = map[used]*using{}
	}
	g := u.groups[of]
	if g == nil {
		if len(u.groups) >= maxUsing {
			return nil
		}
		g = &using{fields: map[usedField]time.Time{}}
		u.groups[of] = g
	}
	g.at = at
	return g
}

// usedVerb notes that a client was let do something that shows no fields of its own.
func (x *Exchange) usedVerb(caller annona.Caller, verb annona.Verb, purpose, dataset string) {
	if x.Uses == nil || caller.IsOperator() {
		return
	}
	x.uses.mu.Lock()
	defer x.uses.mu.Unlock()
	now := x.Clock()
	x.uses.group(used{caller.Client, verb, purpose, dataset}, now)
	x.uses.sees(x.visitAt(caller, now))
}

// tellsFact are the verbs that tell one fact and show no field of the dataset that they are about.
var tellsFact = []annona.Verb{annona.VerbCheckEnrolled, annona.VerbDisclosures}

// use notes what an inquiry that was granted is about: its fields, and those that choose its rows.
func (x *Exchange) use(i *inquiry) {
	if x.Uses == nil {
		return
	}
	now := x.Clock()
	x.uses.mu.Lock()
	defer x.uses.mu.Unlock()
	x.uses.sees(x.visitAt(i.caller, now))
	g := x.uses.group(used{i.caller.Client, i.verb, i.question.Purpose, i.question.Dataset}, now)
	if g == nil || slices.Contains(tellsFact, i.verb) || i.question.spec && i.spec == nil {
		return
	}
	for p := range filter.Paths(i.filter) {
		g.fields[usedField{p.Field.Dataset, p.Field.Base.Code}] = now
	}
	if len(i.fields) == 0 || g.last == &i.fields[0] && now.Sub(g.lastAt) < time.Second {
		return // the same question within a second
	}
	g.last, g.lastAt = &i.fields[0], now
	for _, path := range i.fields {
		x.usePath(g, i.shape.Dataset, path, now)
	}
}

// usePath notes a field, and the groups in which it lies.
func (x *Exchange) usePath(g *using, dataset *annona.Dataset, path string, now time.Time) {
	for dataset != nil && path != "" {
		head, rest, _ := strings.Cut(path, ".")
		f, ok := dataset.Field(head)
		if !ok {
			return
		}
		g.fields[usedField{dataset.Name, f.Base.Code}] = now
		path = rest
		dataset, _ = x.CurrentDictionary().Dataset(f.Group)
	}
}

// take takes out what is noted, in order.
func (u *uses) take() (all []annona.Use) {
	u.mu.Lock()
	groups := u.groups
	u.groups = nil
	u.mu.Unlock()
	for of, g := range groups {
		use := annona.Use{Client: of.client, Verb: of.verb, Purpose: of.purpose, Dataset: of.dataset, At: g.at}
		all = append(all, use)
		for f, at := range g.fields {
			use.Dataset, use.Field, use.At = f.dataset, f.code, at
			all = append(all, use)
		}
	}
	slices.SortFunc(all, func(a, b annona.Use) int {
		return cmp.Or(bytes.Compare(a.Client[:], b.Client[:]), cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Dataset, b.Dataset), cmp.Compare(a.Field, b.Field))
	})
	return slices.CompactFunc(all, func(a, b annona.Use) bool { a.At = b.At; return a == b })
}

// KeepUses writes what clients have used since it was written. A server asks for it each minute, and Settle does at
// the end. What cannot be written is lost: it is noted again when it is used again.
func (x *Exchange) KeepUses(ctx context.Context) error {
	if x.Uses == nil {
		return nil
	}
	return errors.Join(x.keepUses(ctx), x.keepHabits(ctx))
}

func (x *Exchange) keepUses(ctx context.Context) error {
	all := x.uses.take()
	if len(all) == 0 {
		return nil
	}
	return x.Uses.PutUses(ctx, all)
}

// ClientUsage is what a client is granted, and when it has last used each part of it.
type ClientUsage struct {
	Client    annona.Client
	At        time.Time
	Days      int       // without a use, after which something is proposed for removal
	LastUsed  time.Time // zero: never
	Verbs     []GrantedVerb
	Fields    []GrantedField
	Young     bool        // it is younger than so many days: nothing is proposed
	Revoke    bool        // nothing of it was used: revoke the client
	Narrowed  annona.Role // that the client would need; without a name: nothing is proposed
	Removes   []string    // what Narrowed takes away, in plain words
	InForce   annona.Policy
	Agreement int // its version
}

// GrantedVerb is a verb that a client may use. Whatever the hour, the network and the sign-in.
type GrantedVerb struct {
	Verb     annona.Verb
	Purpose  string
	Dataset  string // empty: the verb has none
	LastUsed time.Time
}

// GrantedField is a field that a client is granted, with whatever verb.
type GrantedField struct {
	Dataset, Field string
	LastUsed       time.Time
	Until          annona.Date // last day on which the agreement grants its dataset; empty: that of the agreement
}

// Usage says what a client is granted and what it has used of that: to the operator, and to people of the registry with a
// role that decides or audits. What was not used for so many days is proposed for removal, as a role that has only
// the rest: whoever wants it puts it into the policy, which waits for a second person as always. days 0: DefaultUnused.
func (x *Exchange) Usage(ctx context.Context, caller annona.Caller, id string, days int) (*ClientUsage, error) {
	if err := x.maySeeApprovals(ctx, caller); err != nil {
		return nil, err
	}
	if days < 0 || days > 10*366 {
		return nil, annona.Invalid("days_out_of_range", "say after how many days, 1 to 3660, something counts as unused").On("days")
	}
	none := annona.NotFound("no client with this id is on file").On("id")
	uid, err := annona.ParseUID(id)
	if err != nil || x.Uses == nil {
		return nil, none
	}
	client, err := x.Standings.ClientByID(ctx, uid)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, none
	}
	u := &ClientUsage{Client: *client, At: x.Clock().UTC(), Days: cmp.Or(days, DefaultUnused)}
	seen, err := x.Uses.UsesOf(ctx, uid)
	if err != nil {
		return nil, err
	}
	return u, x.compareUsage(ctx, u, seen)
}

// compareUsage puts what is granted beside what was used, and proposes what to remove.
func (x *Exchange) compareUsage(ctx context.Context, u *ClientUsage, seen []annona.Use) error {
	agreement, err := x.Standings.Agreement(ctx, u.Client.Agreement)
	if err != nil || agreement == nil {
		return err
	}
	u.Agreement = agreement.Version
	inForce, err := x.policyInForce(ctx)
	if err != nil {
		return err
	}
	u.InForce = *inForce
	terms, err := x.compiledTerms(agreement)
	if err != nil {
		return err
	}
	roles, err := x.compiledRoles(inForce)
	if err != nil {
		return err
	}
	verbs, fields := latest(seen)
	granted := policy.Reach(terms, roles, roleOf(u.Client), x.today(u.At))
	last := map[usedField]time.Time{}
	for _, g := range granted {
		at := verbs[used{u.Client.ID, g.Verb, g.Purpose, g.Dataset}]
		u.Verbs = append(u.Verbs, GrantedVerb{g.Verb, g.Purpose, g.Dataset, at})
		u.LastUsed = later(u.LastUsed, at)
		for dataset, codes := range g.Fields {
			for _, code := range codes {
				last[usedField{dataset, code}] = fields[usedField{dataset, code}]
			}
		}
	}
	for f, at := range last {
		u.Fields = append(u.Fields, GrantedField{f.dataset, f.code, at, agreement.Datasets[f.dataset].ValidUntil})
	}
	slices.SortFunc(u.Fields, func(a, b GrantedField) int {
		return cmp.Or(cmp.Compare(a.Dataset, b.Dataset), cmp.Compare(a.Field, b.Field))
	})
	return x.proposeNarrower(u, roles)
}

// latest says when verbs and fields were last used, whatever the purpose of a field.
func latest(seen []annona.Use) (verbs map[used]time.Time, fields map[usedField]time.Time) {
	verbs, fields = map[used]time.Time{}, map[usedField]time.Time{}
	for _, s := range seen {
		if s.Field == "" {
			verbs[used{s.Client, s.Verb, s.Purpose, s.Dataset}] = s.At
			continue
		}
		f := usedField{s.Dataset, s.Field}
		fields[f] = later(fields[f], s.At)
	}
	return verbs, fields
}

// proposeNarrower says what a client does not need.
func (x *Exchange) proposeNarrower(u *ClientUsage, roles *policy.Roles) error {
	before := u.At.AddDate(0, 0, -u.Days)
	if u.Young = u.Client.CreatedAt.After(before); u.Young || len(u.Verbs) == 0 {
		return nil
	}
	needed := policy.Needed{Unused: map[string][]string{}}
	for _, v := range u.Verbs {
		if v.LastUsed.After(before) {
			needed.Verbs = append(needed.Verbs, v.Verb)
			needed.Purposes = append(needed.Purposes, v.Purpose)
		}
	}
	if u.Revoke = len(needed.Verbs) == 0; u.Revoke {
		return nil
	}
	for _, f := range u.Fields {
		dataset, _ := x.CurrentDictionary().Dataset(f.Dataset)
		if !f.LastUsed.After(before) && !dataset.Matter { // what cases show is noted by verb only
			needed.Unused[f.Dataset] = append(needed.Unused[f.Dataset], f.Field)
		}
	}
	narrowed, removes, err := roles.Narrowest(roleOf(u.Client), roleOf(u.Client)+"-"+strings.ToLower(u.Client.ID.String()[:8]), needed, x.CurrentDictionary())
	if err != nil {
		return err
	}
	if len(removes) > 0 {
		u.Narrowed, u.Removes = narrowed, removes
	}
	return nil
}

// WithProposal is the policy in force with the role that a client would need, to be applied as its next version.
func (u *ClientUsage) WithProposal() annona.Policy {
	p := u.InForce
	p.Roles = append(slices.DeleteFunc(slices.Clone(p.Roles), func(r annona.Role) bool { return r.Name == u.Narrowed.Name }), u.Narrowed)
	p.Networks = maps.Clone(p.Networks)
	return p
}
