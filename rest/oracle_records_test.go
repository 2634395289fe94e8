package rest

import "github.com/annona-exchange/annona"

// records returns the world as a source would report it, households first.
func (w *world) records() []annona.Record {
	var out []annona.Record
	for _, h := range w.homes {
		out = append(out, h.record())
	}
	for _, p := range w.people {
		out = append(out, p.record())
	}
	return out
}

func (h *home) record() annona.Record {
	d, _ := annona.Standard().Dataset("households")
	return annona.Record{
		Dataset: d, Source: "law", Key: h.key, Values: valuesOf(d, h.values),
		Groups: groupsOf(d, h.identifiers, h.flags),
	}
}

func (p *person) record() annona.Record {
	d, _ := annona.Standard().Dataset("individuals")
	return annona.Record{
		Dataset: d, Source: "law", Key: p.key, Values: valuesOf(d, p.values),
		Groups: groupsOf(d, p.identifiers, p.flags), Memberships: p.memberships, Relationships: p.relationships,
	}
}

func valuesOf(d *annona.Dataset, values map[string]string) (out []annona.Value) {
	for f := range d.Columns() {
		if text := values[f.Code]; text != "" {
			out = append(out, annona.Value{Field: f, Text: text})
		}
	}
	return out
}

func groupsOf(d *annona.Dataset, documents []card, flags []flag) (out []annona.GroupItems) {
	var items [][]annona.Value
	for _, x := range documents {
		items = append(items, itemOf("identifiers", map[string]string{"scheme": x.scheme, "value": x.value, "issuer": x.issuer}))
	}
	if group, _ := d.Field("identifiers"); items != nil {
		out = append(out, annona.GroupItems{Field: group, Items: items})
	}
	items = nil
	for _, f := range flags {
		items = append(items, itemOf("quality_flags", map[string]string{"code": f.code, "field": f.about, "since": "2024-01-01"}))
	}
	if group, _ := d.Field("quality_flags"); items != nil {
		out = append(out, annona.GroupItems{Field: group, Items: items})
	}
	return out
}

func itemOf(dataset string, values map[string]string) []annona.Value {
	d, _ := annona.Standard().Dataset(dataset)
	return valuesOf(d, values)
}
