package exchange

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// A word is what is said of one thing about a record: of a field with what belongs to it, of a group,
// or of one item of a keyed group. It is the smallest part that the merge rule moves.
type word struct {
	unit   string           // the field or group; of a keyed item the group
	item   string           // of a keyed group: what tells the item from others; never shown or kept
	values []annona.Value   // of a field, by tag
	group  *annona.Field    // of a group or an item
	items  [][]annona.Value // of a group; of an item that one
	// origins are all sources that say so. None: the last report of the record's first key does.
	origins []origin
}

// origin is where a word comes from.
type origin struct {
	source     string
	asOf       time.Time
	receivedAt time.Time
}

// together are fields that are one word: half of each from two sources would be a third thing that
// nobody has said. A word is about its first field.
var together = map[string]string{
	"date_of_birth_precision":   "date_of_birth",
	"date_of_birth_as_recorded": "date_of_birth",
	"date_of_birth_calendar":    "date_of_birth",
	"income_currency":           "income_amount",
	"income_period":             "income_amount",
	"poverty_score_type":        "poverty_score",
	"poverty_band":              "poverty_score",
	"score_date":                "poverty_score",
	"longitude":                 "latitude",
	"payment_account_type":      "payment_account",
	"address_line_1":            "full_address",
	"address_line_2":            "full_address",
	"locality":                  "full_address",
	"postal_code":               "full_address",
	"sub_region_code":           "full_address",
	"region_code":               "full_address",
	"country_code":              "full_address",
}

// addresses are words of which any part alone says something.
const addresses = "full_address"

func unitOf(f *annona.Field) string {
	if unit, ok := together[f.Base.Code]; ok {
		return unit
	}
	return f.Base.Code
}

// keyed are the groups whose items are words of their own, with the fields that tell them apart. The
// record shows the items of all sources.
var keyed = map[string][]string{
	"identifiers":   {"scheme", "issuer", "value"},
	"quality_flags": {"code", "field"},
}

// speaks reports whether a word has a value, and not only a reason why there is none.
func (w *word) speaks() bool {
	if len(w.items) > 0 {
		return true
	}
	return slices.ContainsFunc(w.values, func(v annona.Value) bool {
		return v.Field.Aspect == annona.AspectValue && (v.Field.Code == w.unit || w.unit == addresses)
	})
}

// says reports whether two words say the same.
func (w *word) says(o *word) bool {
	return slices.Equal(w.values, o.values) && slices.EqualFunc(w.items, o.items, slices.Equal[[]annona.Value])
}

// about reports whether two words are about the same thing.
func (w *word) about(o *word) bool { return w.unit == o.unit && w.item == o.item }

// wordsOf takes a record apart. Its provenance, when it has some, says where each word comes from.
func wordsOf(r *annona.Record) []word {
	words := make([]word, 0, len(r.Values)+len(r.Groups))
	for _, v := range r.Values {
		if v.Text == "" {
			continue
		}
		unit := unitOf(v.Field)
		at := slices.IndexFunc(words, func(w word) bool { return w.unit == unit })
		if at < 0 {
			at, words = len(words), append(words, word{unit: unit})
		}
		words[at].values = append(words[at].values, v)
	}
	for i := range words {
		slices.SortFunc(words[i].values, byTag)
	}
	for _, g := range r.Groups {
		if !isProvenance(g.Field) {
			words = appendGroup(words, g)
		}
	}
	trace(words, r)
	return words
}

func byTag(a, b annona.Value) int { return cmp.Compare(a.Field.ImageTag(), b.Field.ImageTag()) }

func appendGroup(words []word, g annona.GroupItems) []word {
	tells, isKeyed := keyed[g.Field.Group]
	if !isKeyed {
		items := make([][]annona.Value, len(g.Items))
		for i, item := range g.Items {
			items[i] = tidy(item)
		}
		if len(items) == 0 {
			return words
		}
		return append(words, word{unit: g.Field.Code, group: g.Field, items: items})
	}
	for _, item := range g.Items {
		key := itemKey(item, tells)
		twice := func(w word) bool { return w.unit == g.Field.Code && w.item == key }
		if !slices.ContainsFunc(words, twice) {
			words = append(words, word{unit: g.Field.Code, item: key, group: g.Field, items: [][]annona.Value{tidy(item)}})
		}
	}
	return words
}

// tidy returns an item as an image keeps it: by tag, without absent values.
func tidy(item []annona.Value) []annona.Value {
	kept := make([]annona.Value, 0, len(item))
	for _, v := range item {
		if v.Text != "" {
			kept = append(kept, v)
		}
	}
	slices.SortFunc(kept, byTag)
	return kept
}

func itemKey(item []annona.Value, tells []string) string {
	parts := make([]string, len(tells))
	for i, code := range tells {
		text := valueOf(item, code)
		if code == "value" || code == "issuer" {
			text = annona.IdentifierKey(text)
		}
		parts[i] = text
	}
	return strings.Join(parts, "\x00")
}

// A record's group provenance names the origins of each word that is under an authority rule or does
// not come from the first key's last report alone. A field is named by its code, an item of a keyed group
// by its place: identifiers/2.
const provenance = "provenance"

func isProvenance(f *annona.Field) bool { return f.Group == provenance }

// names returns the name of each word in provenance.
func names(words []word) []string {
	count := map[string]int{}
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = w.unit
		if w.item != "" {
			count[w.unit]++
			all[i] += "/" + strconv.Itoa(count[w.unit])
		}
	}
	return all
}

// trace gives words the origins that the record's provenance tells.
func trace(words []word, r *annona.Record) {
	told := groupOf(r, provenance)
	if len(told) == 0 {
		return
	}
	for i, name := range names(words) {
		for _, item := range told {
			if valueOf(item, "field") == name {
				words[i].origins = append(words[i].origins, origin{
					source: valueOf(item, "source"), asOf: instantOf(item, "as_of"), receivedAt: instantOf(item, "received_at"),
				})
			}
		}
	}
}

func instantOf(item []annona.Value, code string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, valueOf(item, code))
	return at
}

// assemble puts words together to the values and groups of a record.
func assemble(d *annona.Dictionary, dataset *annona.Dataset, words []word) (values []annona.Value, groups []annona.GroupItems) {
	for _, w := range words {
		values = append(values, w.values...)
		if w.group == nil {
			continue
		}
		at := slices.IndexFunc(groups, func(g annona.GroupItems) bool { return g.Field == w.group })
		if at < 0 {
			at, groups = len(groups), append(groups, annona.GroupItems{Field: w.group})
		}
		groups[at].Items = append(groups[at].Items, w.items...)
	}
	if told := tell(d, dataset, words); len(told.Items) > 0 {
		groups = append(groups, told)
	}
	return values, groups
}

// tell makes the group provenance of words.
func tell(d *annona.Dictionary, dataset *annona.Dataset, words []word) annona.GroupItems {
	var told annona.GroupItems
	var fields provenanceFields
	for i, name := range names(words) {
		for _, o := range words[i].origins {
			if told.Field == nil {
				told.Field, fields = provenanceOf(d, dataset)
			}
			told.Items = append(told.Items, fields.item(name, o))
		}
	}
	return told
}

type provenanceFields struct{ field, source, asOf, receivedAt *annona.Field }

func provenanceOf(d *annona.Dictionary, dataset *annona.Dataset) (group *annona.Field, f provenanceFields) {
	group, _ = dataset.Field(provenance)
	rows, _ := d.Dataset(provenance)
	f.field, _ = rows.Field("field")
	f.source, _ = rows.Field("source")
	f.asOf, _ = rows.Field("as_of")
	f.receivedAt, _ = rows.Field("received_at")
	return group, f
}

func (f provenanceFields) item(name string, o origin) []annona.Value {
	item := []annona.Value{{Field: f.field, Text: name}, {Field: f.source, Text: o.source}}
	if !o.asOf.IsZero() {
		item = append(item, annona.Value{Field: f.asOf, Text: annona.Instant(o.asOf)})
	}
	if !o.receivedAt.IsZero() {
		item = append(item, annona.Value{Field: f.receivedAt, Text: annona.Instant(o.receivedAt)})
	}
	return item
}
