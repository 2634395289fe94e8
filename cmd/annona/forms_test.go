package main

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
)

// table is a CSV file.
type table struct {
	header []string
	rows   [][]string
}

func readTable(r io.Reader) (t table, err error) {
	reader := csv.NewReader(r)
	if t.header, err = reader.Read(); err != nil {
		return t, err
	}
	t.rows, err = reader.ReadAll()
	return t, err
}

func (t table) column(name string) int { return slices.Index(t.header, name) }

func (t table) item(row []string) item {
	r := newItem()
	for i, cell := range row {
		if cell != "" {
			r.values[t.header[i]] = cell
		}
	}
	return r
}

// plainCSV reads one CSV file of records.
func plainCSV(t testing.TB, body []byte) (table, iter.Seq[item]) {
	t.Helper()
	file, err := readTable(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return file, func(yield func(item) bool) {
		for _, row := range file.rows {
			if !yield(file.item(row)) {
				return
			}
		}
	}
}

// unzipped reads the tables of linked files, by file name.
func unzipped(t testing.TB, body []byte) map[string]table {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]table{}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if tables[f.Name], err = readTable(r); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return tables
}

// linked joins linked files by their keys to nested records.
func linked(t testing.TB, dataset string, tables map[string]table) iter.Seq[item] {
	t.Helper()
	joined := map[string]map[string][]item{} // by group, then by the keys of what it lies in
	for file, of := range tables {
		group := strings.TrimSuffix(file, ".csv")
		if group == dataset || dataset == "households" && group == "memberships" {
			continue
		}
		joined[group] = map[string][]item{}
		for _, row := range of.rows {
			r := of.item(row)
			keys := r.values["household_id"] + "/" + r.values["individual_id"]
			switch {
			case group == "individuals":
				keys = r.values["household_id"] + "/"
			case dataset == "individuals":
				keys = "/" + r.values["individual_id"]
			}
			if group != "individuals" && group != "memberships" {
				delete(r.values, "household_id")
				delete(r.values, "individual_id")
			}
			joined[group][keys] = append(joined[group][keys], r)
		}
	}
	attach := func(r item, keys string) {
		for group, items := range joined {
			if group != "individuals" && len(items[keys]) > 0 {
				r.groups[group] = items[keys]
			}
		}
	}
	root := tables[dataset+".csv"]
	return func(yield func(item) bool) {
		for _, row := range root.rows {
			r := root.item(row)
			if dataset == "individuals" {
				attach(r, "/"+r.values["individual_id"])
			} else {
				household := r.values["household_id"]
				for _, m := range joined["individuals"][household+"/"] {
					attach(m, household+"/"+m.values["individual_id"])
					r.groups["members"] = append(r.groups["members"], m)
				}
				attach(r, household+"/")
			}
			if !yield(r) {
				return
			}
		}
	}
}

// asCSV returns the item as CSV carries it: without reasons for absence; plain files have no
// groups either.
func (r item) asCSV(plain bool) item {
	out := item{maps.Clone(r.values), map[string][]item{}}
	maps.DeleteFunc(out.values, func(name, _ string) bool { return strings.HasSuffix(name, "_nil_reason") })
	if plain {
		return out
	}
	for name, items := range r.groups {
		for _, i := range items {
			out.groups[name] = append(out.groups[name], i.asCSV(false))
		}
	}
	return out
}

func equal(a, b item) bool {
	return maps.Equal(a.values, b.values) && maps.EqualFunc(a.groups, b.groups, func(a, b []item) bool { return slices.EqualFunc(a, b, equal) })
}

// each calls yield for each column of the item with its value, and for each group.
func (r item) each(yield func(name, value string)) {
	for name, value := range r.values {
		yield(name, value)
	}
	for name, items := range r.groups {
		yield(name, "")
		for _, i := range items {
			i.each(yield)
		}
	}
}

// inAllForms reads the four forms of one answer side by side, holds them to the same records and
// values, and calls visit for each. CSV carries less, see asCSV.
func inAllForms(t testing.TB, dataset string, bodies map[string][]byte, visit func(n int, r item)) (count int) {
	t.Helper()
	plain := dataset == "individuals"
	others := map[string]iter.Seq[item]{
		"xml":    records(t, "xml", dataset, bodies[dataset+".xml"]),
		"ndjson": records(t, "ndjson", dataset, bodies[dataset+".ndjson"]),
	}
	if plain {
		_, others["csv"] = plainCSV(t, bodies[dataset+".csv"])
	} else {
		others["csv"] = linked(t, dataset, unzipped(t, bodies[dataset+".csv"]))
	}
	next := map[string]func() (item, bool){}
	for format, form := range others {
		pull, stop := iter.Pull(form)
		defer stop()
		next[format] = pull
	}
	for r := range records(t, "json", dataset, bodies[dataset+".json"]) {
		count++
		for format, pull := range next {
			want, other := r, item{}
			if format == "csv" {
				want = r.asCSV(plain)
			}
			var ok bool
			if other, ok = pull(); !ok || !equal(want, other) {
				t.Errorf("%s: record %d in json and %s differs in %v", dataset, count, format, differing(want, other))
				return count
			}
		}
		visit(count-1, r)
	}
	for format, pull := range next {
		if _, more := pull(); more {
			t.Errorf("%s as %s has more than %d records", dataset, format, count)
		}
	}
	return count
}

// sideBySide holds the records of linked files to those of a nested form.
func sideBySide(t testing.TB, what string, nested, files iter.Seq[item]) {
	t.Helper()
	next, stop := iter.Pull(files)
	defer stop()
	count := 0
	for r := range nested {
		count++
		if other, ok := next(); !ok || !equal(r.asCSV(false), other) {
			t.Errorf("%s: record %d differs in %v", what, count, differing(r.asCSV(false), other))
			return
		}
	}
	if _, more := next(); more {
		t.Errorf("%s: the files have more than %d records", what, count)
	}
}

// differing names what differs, without the values.
func differing(a, b item) (names []string) {
	for name := range maps.Keys(a.values) {
		if a.values[name] != b.values[name] {
			names = append(names, name)
		}
	}
	for name := range b.values {
		if _, ok := a.values[name]; !ok {
			names = append(names, "+"+name)
		}
	}
	for _, groups := range []map[string][]item{a.groups, b.groups} {
		for name := range groups {
			if !slices.EqualFunc(a.groups[name], b.groups[name], equal) {
				names = append(names, "group "+name)
			}
		}
	}
	return names
}
