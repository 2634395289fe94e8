package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// What life events do to records. Their days are checked, and what they rely on, whenever they take effect: when
// they are reported, and again when somebody approves them.

// unitIdentifiers is the unit of the merge rule in which identifiers are.
const unitIdentifiers = "identifiers"

// contact are the units of which an event contact_or_address speaks.
var contact = []string{"phone_numbers", "emails", addresses, "latitude", "area_code"}

// understand makes of what was sent what is kept of it, but for whom it names.
func (w *living) understand(l *LifeEvent) (err error) {
	w.event = happened{Type: l.Type, Day: l.Day, Evidence: l.Evidence, Role: l.Role, Primary: l.Primary, Area: l.Area}
	said := l.Values
	switch l.Type {
	case annona.LifeDeath:
		said = []Assignment{{"date_of_death", string(l.Day)}, {"vital_status", "deceased"}}
	case annona.LifeBirth:
		at := slices.IndexFunc(said, func(a Assignment) bool { return a.Field == "date_of_birth" })
		if at < 0 {
			said = append(slices.Clone(said), Assignment{"date_of_birth", string(l.Day)})
		} else if said[at].Text != string(l.Day) {
			return annona.Invalid("day_differs", "the day of a birth is the child's date of birth").On("date_of_birth")
		}
	case annona.LifeHead:
		err = w.x.checkFormerRole(l.Role)
	case annona.LifeJoins:
		err = w.x.checkRole(l.Role)
	}
	if err != nil {
		return err
	}
	if len(said) > 0 {
		if w.values, err = w.x.valuesOf(w.dataset().Name, said); err != nil {
			return err
		}
	}
	for _, v := range w.values {
		w.event.Asked = append(w.event.Asked, asked{Field: v.Field.Code, After: v.Text})
		if l.Type == annona.LifeContact && !slices.Contains(contact, unitOf(v.Field)) {
			return annona.Invalid("field_not_contact", "this field says nothing of where somebody lives or is reached; patch the record").On(v.Field.Code)
		}
	}
	if err := checkDaysOf(w.values, w.x.today(w.at)); err != nil {
		return err
	}
	if w.event.Identifier, err = w.x.identifierOf(l.Identifier, memberIdentifier); err == nil {
		w.event.Former, err = w.x.identifierOf(l.Former, memberFormer)
	}
	return err
}

// identifierOf reads an item of the group identifiers. Codes: identifier_malformed and those of values.
func (x *Exchange) identifierOf(said []Assignment, member string) (map[string]string, error) {
	if len(said) == 0 {
		return nil, nil
	}
	d := x.CurrentDictionary()
	of, _ := d.Dataset("identifiers")
	item := map[string]string{}
	for _, a := range said {
		f, known := of.Field(a.Field)
		if !known {
			return nil, annona.Invalid("unknown_field", "an identifier has no such field").On(member)
		}
		text, err := canonical(d, f, a.Text)
		if err != nil {
			return nil, err
		}
		if text != "" {
			item[f.Code] = text
		}
	}
	if item["scheme"] == "" || item["value"] == "" {
		return nil, annona.Invalid("identifier_malformed", "an identifier has a scheme and a value").On(member)
	}
	if member == memberIdentifier && !d.FitsType(item["scheme"], item["value"]) {
		return nil, annona.Invalid("identifier_malformed", "the identifier has not the form of its type").On(member)
	}
	return item, nil
}

// concerns names the fields of the subject of which the event speaks. Whoever reports it, or approves it,
// sees them unaltered.
func (h *happened) concerns() (names []string) {
	switch h.Type {
	case annona.LifeJoins, annona.LifeLeaves:
		return []string{unitMemberships}
	case annona.LifeSplit, annona.LifeHead:
		return []string{memberMembers}
	case annona.LifeIdentifierAdded, annona.LifeIdentifierCorrected:
		names = []string{"identifiers.scheme", "identifiers.value"}
		for _, code := range []string{"issuer", "valid_until", "status", "verified", "scheme_name"} {
			if h.Identifier[code] != "" || h.Former[code] != "" {
				names = append(names, "identifiers."+code)
			}
		}
		return names
	}
	for _, a := range h.Asked {
		names = append(names, a.Field)
	}
	return names
}

// act does to records what has happened. v is the subject; made is the number of who came on file. Codes:
// before_birth, individual_dead, death_before_birth, request_moved, identifier_known, identifier_unknown,
// member_already, two_heads, not_a_member, split_everybody, area_unknown, area_closed, not_found.
func (h *happened) act(ctx context.Context, e *edit, v *revision) (made annona.Number, err error) {
	if err := h.checkDay(ctx, e); err != nil {
		return 0, err
	}
	var begun *revision
	switch h.Type {
	case annona.LifeContact, annona.LifeDeath:
		return 0, h.tell(ctx, e, v)
	case annona.LifeBirth:
		values, err := h.values(v.known.Key.Dataset)
		if err != nil {
			return 0, err
		}
		begun, err = e.bear(ctx, v, values)
		if err != nil {
			return 0, err
		}
	case annona.LifeJoins:
		return 0, e.membership(ctx, h.Person, h.Home, toJoin(h.Role, h.Primary))
	case annona.LifeLeaves:
		return 0, e.membership(ctx, h.Person, h.Home, toLeave)
	case annona.LifeSplit:
		begun, err = e.split(ctx, h.Home, h.Members, h.Head, h.Area)
		if err != nil {
			return 0, err
		}
	case annona.LifeHead:
		return 0, e.changeHead(ctx, h.Home, h.Head, h.Role)
	default:
		return 0, h.identify(e, v)
	}
	return begun.known.Number, nil
}

// checkDay refuses what happened before somebody who took part was born, or after they died.
func (h *happened) checkDay(ctx context.Context, e *edit) error {
	if h.Home != 0 { // before those who live there: the order in which other edits lock them
		if _, _, err := e.household(ctx, h.Home); err != nil {
			return err
		}
	}
	people := slices.Clone(h.Members)
	for _, number := range []annona.Number{h.Person, h.Head} {
		if number != 0 {
			people = append(people, number)
		}
	}
	held, err := e.hold(ctx, "individuals", people...)
	if err != nil {
		return err
	}
	for _, v := range held {
		born := annona.Date(valueOf(valuesIn(v.now.words), "date_of_birth"))
		switch {
		case h.Type == annona.LifeDeath && born > h.Day:
			return errDeathBeforeBirth
		case born > h.Day:
			return annona.Invalid("before_birth", "somebody who takes part in this was born later").On("effective_date")
		case v.isDead() && !h.outlives():
			return errDead
		}
	}
	return nil
}

// values are what the event says of fields.
func (h *happened) values(of *annona.Dataset) ([]annona.Value, error) {
	values := make([]annona.Value, 0, len(h.Asked))
	for _, a := range h.Asked {
		f, ok := of.Field(a.Field)
		if !ok {
			return nil, annona.Internal("read a life event: the dictionary lacks a field", nil)
		}
		values = append(values, annona.Value{Field: f, Text: a.After})
	}
	return values, nil
}

// tell writes what the event says of its subject, unless that is not what it was when it was asked.
func (h *happened) tell(ctx context.Context, e *edit, v *revision) error {
	values, err := h.values(v.known.Key.Dataset)
	if err != nil {
		return err
	}
	for n, value := range values {
		if now := v.textOf(value.Field); now != h.Asked[n].Before && now != value.Text {
			return errMoved.On(value.Field.Code)
		}
	}
	return e.overwrite(ctx, v, values)
}

// identify adds an identifier, or puts it in the place of one that was wrong. Whether somebody else has the same
// one is no matter of this record: both are then disputed.
func (h *happened) identify(e *edit, v *revision) error {
	group, _ := v.known.Key.Dataset.Field(unitIdentifiers)
	of, _ := e.x.CurrentDictionary().Dataset(group.Group)
	next := h.word(group, of, h.Identifier, nil)
	words := slices.Clone(v.now.words)
	place := func(w *word) int { return slices.IndexFunc(words, func(o word) bool { return o.about(w) }) }
	if len(h.Former) > 0 {
		former := h.word(group, of, h.Former, nil)
		at := place(&former)
		if at < 0 {
			return annona.Conflict("identifier_unknown", "the record does not have the identifier that is to be corrected").On(memberFormer)
		}
		next = h.word(group, of, h.Identifier, words[at].items[0])
		words = slices.Delete(words, at, at+1)
	}
	if place(&next) >= 0 {
		return annona.Conflict("identifier_known", "the record has this identifier already").On(memberIdentifier)
	}
	next.origins = []origin{e.origin()}
	v.now.words, v.changed = append(words, next), true
	return nil
}

// word is an identifier as the merge rule has it: with what is said of it, and beside that with what a former
// one had.
func (h *happened) word(group *annona.Field, of *annona.Dataset, said map[string]string, former []annona.Value) word {
	var item []annona.Value
	for _, f := range of.Fields {
		text := said[f.Code]
		if text == "" {
			text = textIn(former, f)
		}
		item = append(item, annona.Value{Field: f, Text: text})
	}
	return word{unit: unitIdentifiers, item: itemKey(item, keyed[group.Group]), group: group, items: [][]annona.Value{tidy(item)}}
}
