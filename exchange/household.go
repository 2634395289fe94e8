package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// What becomes of households: they split and merge, somebody joins or leaves, another one becomes the head,
// they move, a child is born. Each is an edit.

// The role and the flags that the rules of households speak of.
const (
	roleHead   = "head"
	flagNoHead = "no_head"
)

// mergedAway stands in the place of the digest of a key that leads to the household into which its own was
// merged. What is reported under it is about a household that is no more; who is reported to live there
// lives in the other one.
var mergedAway = [16]byte{'m', 'e', 'r', 'g', 'e', 'd', ' ', 'a', 'w', 'a', 'y'}

// Split lets members of a household form a new one, which has the area and the address of the old one unless
// an area is named.
type Split struct {
	Household Subject
	Members   []Subject
	Head      Subject // of the new household; unnamed: who was head of the old one, or nobody
	Area      string
	Why
}

// SplitHousehold splits a household. Codes: split_nobody, split_everybody, not_a_member.
func (x *Exchange) SplitHousehold(ctx context.Context, caller annona.Caller, s Split) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	if len(s.Members) == 0 {
		return Edited{}, annona.Invalid("split_nobody", "name those who leave the household together")
	}
	homes, err := x.numbers(ctx, "households", s.Household)
	if err != nil {
		return Edited{}, err
	}
	leaving, err := x.numbers(ctx, "individuals", s.Members...)
	if err != nil {
		return Edited{}, err
	}
	head, err := x.numberOrNone(ctx, s.Head)
	if err != nil {
		return Edited{}, err
	}
	return x.edit(ctx, caller, "split", s.Why, func(e *edit) error {
		_, err := e.split(ctx, homes[0], leaving, head, s.Area)
		return err
	})
}

// split lets members of a household form a new one, which it returns. head may be 0.
func (e *edit) split(ctx context.Context, home annona.Number, leaving []annona.Number, head annona.Number, area string) (*revision, error) {
	old, members, err := e.household(ctx, home)
	if err != nil {
		return nil, err
	}
	parting, err := e.parting(members, home, leaving, head)
	if err != nil {
		return nil, err
	}
	begun, err := e.found(ctx, old, area)
	if err != nil {
		return nil, err
	}
	for _, v := range parting {
		at := v.belongs(home, e.why.Day)
		role, second := v.now.memberships[at].Role, v.now.memberships[at].NotPrimary
		switch {
		case v.known.Number == head:
			role = roleHead
		case head != 0 && role == roleHead:
			role = ""
		}
		v.leave(home, e.why.Day)
		v.join(begun.known.Number, role, second, e.why.Day)
	}
	e.settleHead(old, members)
	e.settleHead(begun, parting)
	return begun, nil
}

func (x *Exchange) numberOrNone(ctx context.Context, s Subject) (annona.Number, error) {
	if s == (Subject{}) {
		return 0, nil
	}
	numbers, err := x.numbers(ctx, "individuals", s)
	if err != nil {
		return 0, err
	}
	return numbers[0], nil
}

// household holds a household with those who belong to it on the day of the edit.
func (e *edit) household(ctx context.Context, number annona.Number) (home *revision, members []*revision, err error) {
	held, err := e.hold(ctx, "households", number)
	if err != nil {
		return nil, nil, err
	}
	numbers, err := e.tx.MembersOf(ctx, e.why.Day, number)
	if err != nil {
		return nil, nil, err
	}
	members, err = e.hold(ctx, "individuals", numbers...)
	return held[0], members, err
}

// parting returns those of the members who leave.
func (e *edit) parting(members []*revision, home annona.Number, leaving []annona.Number, head annona.Number) (parting []*revision, err error) {
	for _, v := range members {
		if slices.Contains(leaving, v.known.Number) {
			parting = append(parting, v)
		}
	}
	wanted := slices.Compact(slices.Sorted(slices.Values(leaving)))
	switch {
	case len(parting) != len(wanted):
		return nil, notMember()
	case len(parting) == len(members):
		return nil, annona.Conflict("split_everybody", "nobody would stay in the household; to let all of them move, move the household")
	case head != 0 && !slices.Contains(wanted, head):
		return nil, notMember()
	}
	return parting, nil
}

func notMember() error {
	return annona.Conflict("not_a_member", "somebody who was named does not belong to the household on that day")
}

// found puts a new household on file that stands where the old one does, or in another area.
func (e *edit) found(ctx context.Context, old *revision, area string) (*revision, error) {
	dataset := e.datasetOf("households")
	r := annona.Record{Dataset: dataset, Source: annona.OwnSource, Key: annona.NewUID().String()}
	set := func(code, text string) {
		if f, ok := dataset.Field(code); ok {
			r.Values = append(r.Values, annona.Value{Field: f, Text: text})
		}
	}
	set("registration_date", string(e.why.Day))
	set("formation_date", string(e.why.Day))
	if area != "" {
		if err := e.checkArea(ctx, area); err != nil {
			return nil, err
		}
		set("area_code", area)
		return e.begin(ctx, &r)
	}
	for _, w := range old.now.words {
		if slices.Contains([]string{"area_code", addresses, "latitude", "settlement_type"}, w.unit) {
			r.Values = append(r.Values, w.values...)
		}
	}
	return e.begin(ctx, &r)
}

// HouseholdMerge lets all members of a household join another one.
type HouseholdMerge struct {
	From, Into Subject
	Why
}

// MergeHouseholds merges a household into another one. It is deleted and says what took its place; its keys
// lead there. Codes: merge_itself.
func (x *Exchange) MergeHouseholds(ctx context.Context, caller annona.Caller, m HouseholdMerge) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	homes, err := x.numbers(ctx, "households", m.From, m.Into)
	if err != nil {
		return Edited{}, err
	}
	if homes[0] == homes[1] {
		return Edited{}, annona.Invalid("merge_itself", "both keys lead to one household")
	}
	return x.edit(ctx, caller, "merge", m.Why, func(e *edit) error {
		if _, err := e.hold(ctx, "households", homes...); err != nil { // both at once, in order: no deadlock
			return err
		}
		from, moving, err := e.household(ctx, homes[0])
		if err != nil {
			return err
		}
		into, staying, err := e.household(ctx, homes[1])
		if err != nil {
			return err
		}
		hasHead := slices.ContainsFunc(staying, func(v *revision) bool { return v.isHead(homes[1], e.why.Day) })
		for _, v := range moving {
			role, second := "", false
			if at := v.belongs(homes[0], e.why.Day); at >= 0 {
				role, second = v.now.memberships[at].Role, v.now.memberships[at].NotPrimary
			}
			if role == roleHead && hasHead {
				role = ""
			}
			v.leave(homes[0], e.why.Day)
			if v.belongs(homes[1], e.why.Day) < 0 {
				v.join(homes[1], role, second, e.why.Day)
			}
			e.settlePrimary(v)
		}
		e.replace(from, into)
		e.settleHead(into, append(staying, moving...))
		return nil
	})
}

// replace deletes a household, lets its keys lead to the one that takes its place, and keeps what an undo
// needs: the first key then leads nowhere else, the other keys lead back.
func (e *edit) replace(from, into *revision) {
	number := into.known.Number
	from.into = []annona.Number{number}
	e.gone = append(e.gone, from)
	for _, k := range append([]annona.RecordKey{from.known.Key}, from.known.OtherKeys...) {
		led := keptOf(&k)
		if from.isFirst(&k) {
			led.unknown = true
			into.former.others = append(into.former.others, led)
		} else {
			from.former.others = append(from.former.others, led)
		}
		e.keys = append(e.keys, leading{annona.RecordKey{Dataset: from.known.Key.Dataset, Source: k.Source, Key: k.Key, Digest: mergedAway, AsOf: k.AsOf}, number})
	}
	into.changed = true
}

// HeadChange makes another member the head of a household.
type HeadChange struct {
	Household, Head Subject
	FormerRole      string // of the former head: a code of group_role; empty: unknown
	Why
}

// ChangeHead changes the head of a household. How the others are related to the head is not known any more.
// Codes: not_a_member, code_unknown.
func (x *Exchange) ChangeHead(ctx context.Context, caller annona.Caller, c HeadChange) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	if err := x.checkFormerRole(c.FormerRole); err != nil {
		return Edited{}, err
	}
	homes, err := x.numbers(ctx, "households", c.Household)
	if err != nil {
		return Edited{}, err
	}
	heads, err := x.numbers(ctx, "individuals", c.Head)
	if err != nil {
		return Edited{}, err
	}
	return x.edit(ctx, caller, "head", c.Why, func(e *edit) error { return e.changeHead(ctx, homes[0], heads[0], c.FormerRole) })
}

// changeHead makes another member the head of a household.
func (e *edit) changeHead(ctx context.Context, number, head annona.Number, formerRole string) error {
	home, members, err := e.household(ctx, number)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(v *revision) bool { return v.known.Number == head && v.belongs(number, e.why.Day) >= 0 }) {
		return notMember()
	}
	for _, v := range members {
		v.relate(number, v.known.Number == head, formerRole, e.why.Day)
	}
	e.settleHead(home, members)
	return nil
}

// relate gives a member of a household its role under another head.
func (v *revision) relate(home annona.Number, isHead bool, formerRole string, day annona.Date) {
	at := v.belongs(home, day)
	if at < 0 {
		return
	}
	was := v.now.memberships[at]
	m := was
	m.RelationshipToHead = ""
	switch {
	case isHead:
		m.Role, m.RoleSourceCode = roleHead, ""
	case m.Role == roleHead:
		m.Role, m.RoleSourceCode = formerRole, ""
	}
	if m == was {
		return
	}
	v.decide(at, m)
}

// checkFormerRole refuses what a former head cannot become.
func (x *Exchange) checkFormerRole(role string) error {
	if role == roleHead {
		return annona.Invalid("two_heads", "a household has one head; the former one takes another role").On("role")
	}
	return x.checkRole(role)
}

func (x *Exchange) checkRole(role string) error {
	list, _ := x.CurrentDictionary().CodeList("group_role")
	if role != "" && !list.Has(role) {
		return annona.Invalid("code_unknown", "the code is not in the list group_role").On("role")
	}
	return nil
}

// Join lets an individual belong to a household: to another one as well, or to a first one.
type Join struct {
	Individual, Household Subject
	Role                  string // a code of group_role; empty: unknown
	// Primary makes it the individual's first household; the one that was is another one from then on.
	// Somebody without a household joins the first one in any case.
	Primary bool
	Why
}

// JoinHousehold lets an individual join a household. Codes: member_already, two_heads, code_unknown,
// individual_dead.
func (x *Exchange) JoinHousehold(ctx context.Context, caller annona.Caller, j Join) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	if err := x.checkRole(j.Role); err != nil {
		return Edited{}, err
	}
	return x.editMembership(ctx, caller, "join", j.Individual, j.Household, j.Why, toJoin(j.Role, j.Primary))
}

// deciding decides about the membership of somebody in a household, of whose members it is told.
type deciding func(e *edit, v, home *revision, members []*revision) error

// toJoin lets somebody belong to a household.
func toJoin(role string, first bool) deciding {
	return func(e *edit, v, home *revision, members []*revision) error {
		number := home.known.Number
		if v.stays(number, e.why.Day) {
			return annona.Conflict("member_already", "the individual belongs to the household on that day or later")
		}
		if v.isDead() {
			return errDead
		}
		if role == roleHead && slices.ContainsFunc(members, func(o *revision) bool { return o.isHead(number, e.why.Day) }) {
			return annona.Conflict("two_heads", "the household has a head; change the head instead")
		}
		if primary := v.primary(e.why.Day); primary >= 0 && first {
			v.rank(primary, false)
		}
		v.join(number, role, v.primary(e.why.Day) >= 0, e.why.Day)
		return nil
	}
}

var errDead = annona.Conflict("individual_dead", "the individual has died")

func (v *revision) isDead() bool {
	d := deathIn(v.now.words)
	return d.date != "" || d.status == "deceased"
}

// Leave ends that an individual belongs to a household.
type Leave struct {
	Individual, Household Subject
	Why
}

// LeaveHousehold ends a membership. When it was the primary one, the oldest of the others takes its place.
// Codes: not_a_member.
func (x *Exchange) LeaveHousehold(ctx context.Context, caller annona.Caller, l Leave) (Edited, error) {
	return x.editMembership(ctx, caller, "leave", l.Individual, l.Household, l.Why, toLeave)
}

// toLeave ends that somebody belongs to a household.
func toLeave(e *edit, v, home *revision, _ []*revision) error {
	if v.belongs(home.known.Number, e.why.Day) < 0 {
		return notMember()
	}
	v.leave(home.known.Number, e.why.Day)
	return nil
}

// PrimaryChange makes one of an individual's households the first one.
type PrimaryChange struct {
	Individual, Household Subject
	Why
}

// ChangePrimary changes which household of an individual is its first one. Codes: not_a_member.
func (x *Exchange) ChangePrimary(ctx context.Context, caller annona.Caller, c PrimaryChange) (Edited, error) {
	return x.editMembership(ctx, caller, "primary", c.Individual, c.Household, c.Why, func(e *edit, v, home *revision, _ []*revision) error {
		at := v.belongs(home.known.Number, e.why.Day)
		if at < 0 {
			return notMember()
		}
		for i := range v.now.memberships {
			if i != at && v.holds(i, e.why.Day) {
				v.rank(i, false)
			}
		}
		v.rank(at, true)
		return nil
	})
}

// editMembership edits the membership of one individual in one household.
func (x *Exchange) editMembership(ctx context.Context, caller annona.Caller, act string, individual, household Subject, why Why, decide deciding) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	homes, err := x.numbers(ctx, "households", household)
	if err != nil {
		return Edited{}, err
	}
	people, err := x.numbers(ctx, "individuals", individual)
	if err != nil {
		return Edited{}, err
	}
	return x.edit(ctx, caller, act, why, func(e *edit) error { return e.membership(ctx, people[0], homes[0], decide) })
}

// membership decides about the membership of somebody in a household, and settles who is head there and which
// household is their first one.
func (e *edit) membership(ctx context.Context, person, household annona.Number, decide deciding) error {
	home, members, err := e.household(ctx, household)
	if err != nil {
		return err
	}
	held, err := e.hold(ctx, "individuals", person)
	if err != nil {
		return err
	}
	if err := decide(e, held[0], home, members); err != nil {
		return err
	}
	e.settlePrimary(held[0])
	if !slices.Contains(members, held[0]) {
		members = append(members, held[0])
	}
	e.settleHead(home, members)
	return nil
}

// Move says that a household lives in another area, with what else a person says of the new place.
type Move struct {
	Household Subject
	Area      string
	Values    []Assignment
	Why
}

// MoveHousehold moves a household to another area. Codes: area_unknown, area_closed, outside_authority.
func (x *Exchange) MoveHousehold(ctx context.Context, caller annona.Caller, m Move) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	if m.Area == "" {
		return Edited{}, annona.Invalid("area_unknown", "name the area to which the household moves").On("area")
	}
	values, err := x.valuesOf("households", append([]Assignment{{"area_code", m.Area}}, m.Values...))
	if err != nil {
		return Edited{}, err
	}
	homes, err := x.numbers(ctx, "households", m.Household)
	if err != nil {
		return Edited{}, err
	}
	return x.edit(ctx, caller, "move", m.Why, func(e *edit) error {
		held, err := e.hold(ctx, "households", homes...)
		if err != nil {
			return err
		}
		return e.say(ctx, held[0], values)
	})
}

// Birth puts a child on file, in the household of its mother when she has one. The day is that of the birth.
type Birth struct {
	Mother Subject
	Values []Assignment // of the child; its date of birth is the day unless it is among them
	Why
}

// RecordBirth records a birth. The key of the child is Edited.Key, under the source annona.
func (x *Exchange) RecordBirth(ctx context.Context, caller annona.Caller, b Birth) (Edited, error) {
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	var values []annona.Value
	var err error
	if len(b.Values) > 0 {
		if values, err = x.valuesOf("individuals", b.Values); err != nil {
			return Edited{}, err
		}
	}
	mothers, err := x.numbers(ctx, "individuals", b.Mother)
	if err != nil {
		return Edited{}, err
	}
	return x.edit(ctx, caller, "birth", b.Why, func(e *edit) error {
		held, err := e.hold(ctx, "individuals", mothers...)
		if err != nil {
			return err
		}
		_, err = e.bear(ctx, held[0], values)
		return err
	})
}

// bear puts a child on file, which it returns, and names its mother as a parent.
func (e *edit) bear(ctx context.Context, mother *revision, values []annona.Value) (*revision, error) {
	dataset := e.datasetOf("individuals")
	child := annona.Record{Dataset: dataset, Source: annona.OwnSource, Key: annona.NewUID().String()}
	for _, v := range values {
		if v.Text != "" {
			child.Values = append(child.Values, v)
		}
	}
	for _, code := range []string{"date_of_birth", "registration_date"} {
		if f, ok := dataset.Field(code); ok && valueOf(child.Values, code) == "" {
			child.Values = append(child.Values, annona.Value{Field: f, Text: string(e.why.Day)})
		}
	}
	if at := mother.primary(e.why.Day); at >= 0 {
		home := mother.now.memberships[at]
		if _, err := e.hold(ctx, "households", home.Household); err != nil {
			return nil, err
		}
		child.Memberships = []annona.Membership{{Household: home.Household, Source: annona.OwnSource, Role: roleOfChild[home.Role], StartDate: e.why.Day}}
	}
	begun, err := e.begin(ctx, &child)
	if err != nil {
		return nil, err
	}
	mother.now.relationships = append(slices.Clone(mother.now.relationships), annona.Relationship{
		To: begun.known.Number, ToKey: begun.known.Key.Key, Source: annona.OwnSource, Type: "parent", StartDate: e.why.Day,
	})
	mother.changed = true
	return begun, nil
}

// roleOfChild is what a newborn is in the household by the role of its mother, where that is known.
var roleOfChild = map[string]string{roleHead: "child", "spouse": "child", "child": "grandchild"}

// belongs returns the membership of a household that holds on a day or will; -1: there is none.
func (v *revision) belongs(home annona.Number, day annona.Date) int {
	return slices.IndexFunc(v.now.memberships, func(m annona.Membership) bool {
		return m.Household == home && (m.EndDate == "" || m.EndDate > day)
	})
}

// stays reports whether somebody is in a household at any time from a day on.
func (v *revision) stays(home annona.Number, day annona.Date) bool { return v.belongs(home, day) >= 0 }

// holds reports whether a membership holds on a day.
func (v *revision) holds(at int, day annona.Date) bool {
	m := v.now.memberships[at]
	return m.StartDate <= day && (m.EndDate == "" || m.EndDate > day)
}

// primary returns the primary membership that holds on a day; -1: there is none.
func (v *revision) primary(day annona.Date) int {
	for i, m := range v.now.memberships {
		if !m.NotPrimary && v.holds(i, day) {
			return i
		}
	}
	return -1
}

func (v *revision) isHead(home annona.Number, day annona.Date) bool {
	at := v.belongs(home, day)
	return at >= 0 && v.now.memberships[at].Role == roleHead
}

// decide puts the registry's own word in the place of a membership.
func (v *revision) decide(at int, m annona.Membership) {
	m.Decided = m.Decided || m.Source != annona.OwnSource
	v.now.memberships = slices.Clone(v.now.memberships)
	v.now.memberships[at] = m
	v.changed = true
}

// rank makes a membership primary or not.
func (v *revision) rank(at int, primary bool) {
	if m := v.now.memberships[at]; m.NotPrimary == primary {
		m.NotPrimary = !primary
		v.decide(at, m)
	}
}

// leave ends the memberships of a household on a day. One that its source may report again is kept, also
// when it lasted no day.
func (v *revision) leave(home annona.Number, day annona.Date) {
	for at := v.belongs(home, day); at >= 0; at = v.belongs(home, day) {
		m := v.now.memberships[at]
		m.EndDate = day
		if m.StartDate > day {
			m.StartDate = day
		}
		v.decide(at, m)
	}
	v.now.memberships = slices.DeleteFunc(v.now.memberships, func(m annona.Membership) bool { return !lasts(m) })
}

func (v *revision) join(home annona.Number, role string, notPrimary bool, day annona.Date) {
	v.now.memberships = append(slices.Clone(v.now.memberships), annona.Membership{
		Household: home, Source: annona.OwnSource, Role: role, StartDate: day, NotPrimary: notPrimary,
	})
	v.changed = true
}

// settlePrimary makes the oldest of somebody's memberships primary when none is.
func (e *edit) settlePrimary(v *revision) {
	v.now.memberships = slices.Clone(v.now.memberships)
	if at := promote(v.now.memberships, e.why.Day); at >= 0 {
		v.decide(at, v.now.memberships[at])
	}
}

// settleHomes settles who is head of the households that somebody belonged to and does not any more: they
// have died.
func (e *edit) settleHomes(ctx context.Context, v *revision, had []annona.Membership) error {
	var left []annona.Number
	for _, m := range had {
		if (m.EndDate == "" || m.EndDate > e.why.Day) && v.belongs(m.Household, e.why.Day) < 0 {
			left = append(left, m.Household)
		}
	}
	homes, err := e.present(ctx, "households", left)
	if err != nil {
		return err
	}
	return e.settleHeads(ctx, homes)
}
