package ingest

import (
	"strings"

	"github.com/annona-exchange/annona"
)

// maxKept is how many outcomes of one rule are kept, and maxKeptText how long their texts are:
// codes, ages and dates repeat, amounts and names do not.
const (
	maxKept     = 2048
	maxKeptText = 64
)

// apply appends what a rule makes of the cells.
func (b *builder) apply(r *rule, cells []string) {
	if r.constant != "" {
		b.put(r.field, r.constant)
		b.estimated(r, r.constant)
		return
	}
	if r.calendars != nil {
		r = b.inCalendar(r, cells)
	}
	text := r.text(cells)
	if text == "" && r.birth == nil {
		return
	}
	o := b.outcome(r, text)
	if r.birth != nil {
		b.dateOfBirth(r, *o, cells)
		return
	}
	b.put(r.field, o.value)
	b.put(r.source, o.source)
	b.doubt(r, o)
	if o.value == "" {
		b.put(r.reason, o.reason)
	}
	if r.area && o.value != "" && !b.knows(o.value) {
		b.raise(flagAreaUnknown, r.name)
	}
	b.estimated(r, o.value)
}

// estimated notes that the source calls a date of birth less exact than its day.
func (b *builder) estimated(r *rule, precision string) {
	if r.field.Code == "date_of_birth_precision" && precision != "" && precision != precisionDay {
		b.raise(flagBirthEstimated, "date_of_birth")
	}
}

// inCalendar returns the rule for the calendar that the row names. A word that is no calendar
// is counted, when there is a date that it takes away.
func (b *builder) inCalendar(r *rule, cells []string) *rule {
	one, word := r.calendars.of(cells)
	if one == r.calendars.unknown && word != "" && strings.TrimSpace(r.text(cells)) != "" {
		b.count(r.name+".calendar", word)
	}
	return one
}

// text returns the cell of the rule; of several columns, a list.
func (r *rule) text(cells []string) string {
	if r.parts != nil {
		return r.parts.text(cells, r.absent)
	}
	switch len(r.slots) {
	case 0:
		return ""
	case 1:
		return cells[r.slots[0]]
	}
	texts := make([]string, 0, len(r.slots))
	for _, slot := range r.slots {
		if cells[slot] != "" {
			texts = append(texts, cells[slot])
		}
	}
	return strings.Join(texts, listSeparator)
}

// keptOutcomes are outcomes of one rule.
type keptOutcomes struct {
	last *keptOutcome // asked for: in many columns most rows say the same
	all  map[string]*keptOutcome
	hits int  // texts that were among them
	rare bool // texts seldom are: nothing is kept
}

type keptOutcome struct {
	text string
	outcome
}

// outcome converts a cell, or remembers what became of the same text before. The result is good until
// the next call.
func (b *builder) outcome(r *rule, text string) *outcome {
	k := &b.kept[r.id]
	if k.rare || r.field.Type == annona.TypeText || len(text) > maxKeptText {
		return b.convert(r, text)
	}
	if k.last != nil && k.last.text == text {
		k.hits++
		return &k.last.outcome
	}
	if o, known := k.all[text]; known {
		k.hits, k.last = k.hits+1, o
		return &o.outcome
	}
	switch {
	case k.all == nil:
		k.all = map[string]*keptOutcome{}
	case len(k.all) < maxKept:
	case k.hits < maxKept:
		*k = keptOutcomes{rare: true}
		return b.convert(r, text)
	default: // others repeat by now
		clear(k.all)
		k.hits = 0
	}
	text = strings.Clone(text) // a substring would keep its whole row
	k.last = &keptOutcome{text, r.convert(text)}
	k.all[text] = k.last
	return &k.last.outcome
}

// convert converts a cell whose outcome is not kept.
func (b *builder) convert(r *rule, text string) *outcome {
	b.unkept = r.convert(text)
	return &b.unkept
}

// dateOfBirth puts a date of birth with how exact it is; without a date, the middle of the
// year that a stated age implies.
func (b *builder) dateOfBirth(r *rule, o outcome, cells []string) {
	if o.value == "" && o.reason == "" && r.birth.age >= 0 {
		if age := cells[r.birth.age]; strings.TrimSpace(age) != "" {
			unread := o
			o = b.fromAge(r, age)
			if unread.flag != "" {
				b.raise(unread.flag, r.name)
				o.recorded, o.calendar = unread.recorded, unread.calendar // the age can be told from the result, the date cannot
				o.fault = unread.fault
			}
		}
	}
	b.put(r.field, o.value)
	b.put(r.birth.precision, o.precision)
	b.put(r.birth.recorded, o.recorded)
	b.put(r.birth.calendar, o.calendar)
	b.doubt(r, &o)
	if o.value == "" {
		b.put(r.reason, o.reason)
	}
}

func (b *builder) fromAge(r *rule, age string) outcome {
	if reason, ok := r.absent[strings.TrimSpace(age)]; ok {
		return outcome{reason: reason, recorded: age}
	}
	date, ok := annona.Date(""), false
	if b.survey != "" {
		date, ok = bornAtAge(b.survey, age)
	}
	if !ok {
		return outcome{recorded: age, flag: flagValueMalformed}
	}
	return outcome{value: string(date), precision: precisionAgeStated, recorded: age, flag: flagBirthEstimated}
}

// knows reports whether an area is declared by the mapping or on file.
func (b *builder) knows(area string) bool {
	if b.declared[area] || b.known == nil {
		return b.declared[area]
	}
	is, asked := b.areas[area]
	if !asked {
		var err error
		if is, err = b.known(b.ctx, area); err != nil {
			b.err = err
		}
		b.areas[strings.Clone(area)] = is
	}
	return is
}
