package synthetic

import (
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// draft writes the records of one household. All its texts lie in one builder, all values in
// one slice: a household costs a handful of allocations however many values it has.
type draft struct {
	*plan
	text   strings.Builder
	values []annona.Value
	items  [][]annona.Value
	groups []annona.GroupItems
	asOf   string // text of the day of the survey
	// where the record and the group that are being written start
	record, group, firstGroup int
}

// since returns the text written after mark. The builder never changes what it has written,
// so the text stays good.
func (w *draft) since(mark int) string { return w.text.String()[mark:] }

// day writes a date.
func (w *draft) day(d day) string {
	var buf [len(annona.DateLayout)]byte
	mark := w.text.Len()
	w.text.Write(d.append(buf[:0]))
	return w.since(mark)
}

// digits writes a number after prefix, padded with zeros to width.
func (w *draft) digits(prefix string, n uint64, width int) string {
	mark := w.text.Len()
	w.text.WriteString(prefix)
	w.pad(n, width)
	return w.since(mark)
}

func (w *draft) pad(n uint64, width int) {
	var buf [20]byte
	digits := strconv.AppendUint(buf[:0], n, 10)
	for i := len(digits); i < width; i++ {
		w.text.WriteByte('0')
	}
	w.text.Write(digits)
}

// decimal writes a scaled number.
func (w *draft) decimal(n int64, scale int) string {
	var buf [24]byte
	mark := w.text.Len()
	w.text.Write(annona.AppendDecimal(buf[:0], n, scale))
	return w.since(mark)
}

// join writes the parts that are not empty, with a separator between them.
func (w *draft) join(separator string, parts ...string) string {
	mark := w.text.Len()
	for _, part := range parts {
		if part == "" {
			continue
		}
		if w.text.Len() > mark {
			w.text.WriteString(separator)
		}
		w.text.WriteString(part)
	}
	return w.since(mark)
}

// set gives the record a value; an empty one is left out. An assessment input gets the day of
// the survey beside it.
func (w *draft) set(c column, text string) {
	if text == "" {
		return
	}
	w.put(c.value, text)
	if c.asOf != nil {
		w.put(c.asOf, w.asOf)
	}
}

func (w *draft) put(f *annona.Field, text string) {
	if text != "" {
		w.values = append(w.values, annona.Value{Field: f, Text: text})
	}
}

// lacks says why the record has no value.
func (w *draft) lacks(c column, reason string) {
	if c.nilReason != nil {
		w.put(c.nilReason, reason)
	}
}

// mostly gives the record a value, or at the given rate says that it is missing.
func (w *draft) mostly(c column, text string, rate float64) {
	if w.chance(rate) {
		w.lacks(c, missing.draw(w.dice))
		return
	}
	w.set(c, text)
}

// missing are the reasons why a question that was due has no answer.
var missing = weights("not_collected 70 refused 12 does_not_know 18")

// begin starts a record.
func (w *draft) begin() { w.record, w.firstGroup = len(w.values), len(w.groups) }

// take ends the values of the record, before its groups are written.
func (w *draft) take() []annona.Value {
	taken := w.values[w.record:len(w.values):len(w.values)]
	w.record = len(w.values)
	return taken
}

// beginGroup starts a repeated group.
func (w *draft) beginGroup() { w.group = len(w.items) }

// endItem ends an item of the group.
func (w *draft) endItem() { w.items = append(w.items, w.take()) }

// endGroup ends the group; one without items is left out.
func (w *draft) endGroup(f *annona.Field) {
	if len(w.items) > w.group {
		w.groups = append(w.groups, annona.GroupItems{Field: f, Items: w.items[w.group:len(w.items):len(w.items)]})
	}
}

// takeGroups ends the record.
func (w *draft) takeGroups() []annona.GroupItems {
	if len(w.groups) == w.firstGroup {
		return nil
	}
	return w.groups[w.firstGroup:len(w.groups):len(w.groups)]
}

// flag raises a quality flag.
func (w *draft) flag(code, field, since string) {
	c := &w.registry.columns.flag
	w.put(c.code, code)
	w.put(c.field, field)
	w.put(c.since, since)
	w.endItem()
}
