package assess

import (
	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// record is one record of an export, under the names and codes of the dictionary.
type record struct {
	values  map[string]string
	members []*record
	home    *record // of a member: its household
}

// set keeps a value under the field's code, in the dictionary's own codes.
func (r *record) set(c *column, text string) {
	if text == "" {
		return
	}
	if ours, ok := c.codes[text]; ok {
		text = ours
	}
	r.values[c.field] = text
}

func newRecord() *record { return &record{values: map[string]string{}} }

// id is the id of a record of a dataset.
func (r *record) id(dataset string) string {
	if dataset == "households" {
		return r.values["household_id"]
	}
	return r.values["individual_id"]
}

// Value answers what a rule asks, as a filter asks a record: see filter.Row.
func (r *record) Value(p annona.Path) (string, bool) {
	of := r
	switch p.Root {
	case annona.RootHousehold:
		of = r.home
	case annona.RootHead:
		of = r.head()
	}
	if of == nil {
		return "", false
	}
	text, ok := of.values[p.Field.Code]
	return text, ok
}

func (r *record) head() *record {
	for _, m := range r.members {
		if m.values["role"] == "head" {
			return m
		}
	}
	return nil
}

// Members are those of a household that the export shows.
func (r *record) Members(yield func(filter.Row) bool) {
	for _, m := range r.members {
		if !yield(m) {
			return
		}
	}
}

// Within is never asked: a rule that asks it was refused.
func (r *record) Within(annona.Path, string) bool { return false }
