package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

func areaFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGhanaReorganized draws Ghana anew as it was done in 2019: Brong Ahafo is renamed, the
// Northern Region is split. Followers bound to regions are told exactly what the file says.
func TestGhanaReorganized(t *testing.T) {
	t.Parallel()
	file := filepath.Join(os.Getenv("ANNONA_TESTDATA"), "ghana-glss", "individuals.csv")
	if _, err := os.Stat(file); os.Getenv("ANNONA_TESTDATA") == "" || err != nil {
		t.Skip("ANNONA_TESTDATA names no folder with ghana-glss/individuals.csv")
	}
	people, homes := map[string]int{}, map[string]bool{} // people by region; households of the north
	south := 0                                           // people of the north in households with an odd number
	table := ghanaRows(t, file)
	for _, row := range table {
		people[row["region"]]++
		if row["region"] == "northern" {
			homes[row["hhid"]] = true
			if n, _ := strconv.Atoi(row["hhid"]); n%2 == 1 {
				south++
			}
		}
	}
	renamed, split := people["brong ahafo"], people["northern"]
	if renamed == 0 || split == 0 || south == 0 || south == split {
		t.Fatalf("the file is another one: %v", people)
	}

	data := newRegistry(t)
	importInto(t, data, ghanaMapping, file)
	f, err := openFolder(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bound := func(name string, areas ...string) *regional { return newRegional(t, f, name, areas...) }
	ahafo, north, ghana := bound("ahafo", "GH-BA"), bound("north", "GH-NP"), bound("ghana", "GH")
	ahafo.told("at first", tally{"upsert": renamed})
	north.told("at first", tally{"upsert": split})
	ghana.told("at first", tally{"upsert": len(table)})

	drawn := areaFile(t, "2019.yaml", `
effective: 2019-02-13
reference: C.I. 112 to 117
changes:
  - rename: GH-BA
    to: {code: GH-BO, name: Bono}
  - split: GH-NP
    into:
      - {code: GH-NO, names: {en: Northern, fr: Nord}}
      - {code: GH-SV, name: Savannah}
`)
	out := must(t, "area", "reorganize", "--data", data, drawn)
	moved, flagged := 0, len(homes)
	for range homesIn(table, "brong ahafo") {
		moved++
	}
	if want := fmt.Sprintf("successor of their area %d, flagged because there are several or none %d\n", moved, flagged); !strings.Contains(out, want) {
		t.Errorf("want %q, got %s", want, out)
	}
	for _, want := range []string{"agreement ahafo names GH-BA", "to let it reach GH-BO: annona agreement areas approve ahafo", "let it reach GH-NO GH-SV: annona agreement areas approve north"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q, got %s", want, out)
		}
	}
	if again := must(t, "area", "reorganize", "--data", data, drawn); !strings.Contains(again, "Nothing changed") {
		t.Errorf("the same file again: %s", again)
	}
	savannah := bound("savannah", "GH-SV")
	savannah.told("before anybody is known to be there", tally{})
	ahafo.told("renamed", tally{"upsert": renamed})
	north.told("split", tally{})
	ghana.told("reorganized", tally{"upsert": renamed})

	var assigned strings.Builder
	assigned.WriteString("household_key,area_code\n")
	for home := range homes {
		if n, _ := strconv.Atoi(home); n%2 == 1 {
			assigned.WriteString(home + ",GH-SV\n")
		}
	}
	must(t, "area", "assign", "--data", data, "--source", "ghana-glss", areaFile(t, "assigned.csv", assigned.String()))
	savannah.told("assigned", tally{"entered_scope": south})
	north.told("assigned", tally{"upsert": south})
	ahafo.told("assigned", tally{})

	if again := importInto(t, data, ghanaMapping, file); again.Created+again.Changed != 0 { // it still names the old regions
		t.Errorf("the source repeats itself: %+v", again)
	}
	ghana.told("assigned, and the source repeats itself", tally{"upsert": south})
	must(t, "agreement", "areas", "approve", "--data", data, "north")
	north.told("approved", tally{})
	if out := must(t, "agreement", "areas", "list", "--data", data); strings.Contains(out, "north") || !strings.Contains(out, "ahafo") {
		t.Errorf("who waits: %s", out)
	}
	if out := must(t, "area", "show", "--data", data, "GH-NP"); !strings.Contains(out, "GH-NO GH-SV") {
		t.Errorf("area show: %s", out)
	}
	if out := must(t, "verify", "--data", data); !strings.Contains(out, "The ledger is whole.") {
		t.Errorf("verify: %s", out)
	}
}

func homesIn(table []map[string]string, region string) map[string]bool {
	homes := map[string]bool{}
	for _, row := range table {
		if row["region"] == region {
			homes[row["hhid"]] = true
		}
	}
	return homes
}

func ghanaRows(t *testing.T, file string) (rows []map[string]string) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	table, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, cells := range table[1:] {
		row := map[string]string{}
		for i, name := range table[0] {
			row[name] = cells[i]
		}
		rows = append(rows, row)
	}
	return rows
}

type tally map[string]int

// regional follows the people of some areas.
type regional struct {
	t      *testing.T
	f      *folder
	caller annona.Caller
	token  string
}

func newRegional(t *testing.T, f *folder, name string, areas ...string) *regional {
	t.Helper()
	_, err := f.gate.ApplyAgreement(t.Context(), operator(), annona.Agreement{
		Name: name, Realm: name, Floor: "api_key", Status: "active", Partner: annona.Partner{Name: name, Country: "GH"}, Areas: areas,
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31", Purposes: []annona.PurposeTerms{{Code: "follow", Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"individual_id", "area_code"}}},
		APIKey:   &annona.CredentialTerms{Reason: "a region is larger than the usual cap"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, client, err := f.createKey(t.Context(), name, "", "", 30, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &regional{t: t, f: f, caller: annona.Caller{Client: client.ID, Agreement: name, Strength: annona.StrengthAPIKey}}
}

func (r *regional) told(when string, want tally) {
	r.t.Helper()
	got := tally{}
	for more := true; more; {
		q := exchange.Question{Dataset: "individuals", Purpose: "follow", Fields: []string{"individual_id", "area_code"}}
		changes, err := r.f.gate.Follow(r.t.Context(), r.caller, q, r.token, 1000, 0, exchange.Form{Format: "json"})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, c := range changes.List {
			got[string(c.Kind)]++
		}
		changes.Sent(int64(len(changes.List)), nil)
		r.token, more = changes.Next, changes.More
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s, %s: told %v, want %v", r.caller.Agreement, when, got, want)
	}
}

// TestAreaCommands walks through the commands, and what they refuse.
func TestAreaCommands(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	list := areaFile(t, "areas.csv", "code,parent,level,name,name_fr,valid_from\nXA,,0,Country,Pays,1960-01-01\nXA-1,XA,1,North,Nord,\nXA-2,XA,1,South,Sud,\n")
	if out := must(t, "area", "import", "--data", data, list); out != "areas added 3, changed 0, unchanged 0\n" {
		t.Errorf("import: %s", out)
	}
	if out := must(t, "area", "import", "--data", data, list); out != "areas added 0, changed 0, unchanged 3\n" {
		t.Errorf("import again: %s", out)
	}
	lines := must(t, "area", "list", "--data", data, "--json")
	if out := must(t, "area", "import", "--data", data, areaFile(t, "areas.ndjson", lines)); !strings.Contains(out, "unchanged 3") {
		t.Errorf("what area list --json prints is not what area import reads: %s", out)
	}
	refused(t, "area_cycle", "area", "import", "--data", data, areaFile(t, "circle.csv", "code,parent,level\nXB,XC,1\nXC,XB,2\n"))
	refused(t, "area_unknown", "area", "import", "--data", data, areaFile(t, "parent.csv", "code,parent,level\nXB,XQ,1\n"))
	refused(t, "area_malformed", "area", "import", "--data", data, areaFile(t, "column.csv", "code,parent,level,color\nXB,XA,1,red\n"))
	refused(t, "area_malformed", "area", "import", "--data", data, areaFile(t, "level.csv", "code,parent,level\nXB,XA,one\n"))
	refused(t, "file_malformed", "area", "import", "--data", data, areaFile(t, "cells.csv", "code,parent,level\nXB,XA\n"))
	refused(t, "file_empty", "area", "import", "--data", data, areaFile(t, "empty.csv", ""))
	refused(t, "not_found", "area", "show", "--data", data, "XQ")

	drawing := func(text string) string { return areaFile(t, "drawing.yaml", text) }
	refused(t, "reorganization_malformed", "area", "reorganize", "--data", data, drawing("effective: 2020-01-01\nchanges:\n  - {split: XA-1}\n"))
	r := refused(t, "area_unknown", "area", "reorganize", "--data", data, drawing("effective: 2020-01-01\nchanges:\n  - {rename: XA-1, to: {code: XA-3}}\n  - {close: XQ}\n"))
	if !strings.Contains(r.err, "at: 4") {
		t.Errorf("the line is missing: %s", r)
	}
	refused(t, "reorganization_malformed", "area", "reorganize", "--data", data, drawing("effective: soon\nchanges:\n  - {close: XA-1}\n"))
	refused(t, "file_malformed", "area", "reorganize", "--data", data, drawing("effective: 2020-01-01\nchanges:\n  - {vanish: XA-1}\n"))
	later := drawing("effective: 2999-01-01\nchanges:\n  - {rename: XA-1, to: {code: XA-3}}\n")
	if out := must(t, "area", "reorganize", "--data", data, later); !strings.Contains(out, "takes effect on 2999-01-01") {
		t.Errorf("a day to come: %s", out)
	}
	if out := must(t, "area", "due", "--data", data); !strings.Contains(out, "reorganizations applied 0") {
		t.Errorf("due: %s", out)
	}
	refused(t, "assignment_malformed", "area", "assign", "--data", data, "--source", "s", areaFile(t, "assign.csv", "key,area\n1,XA-1\n"))
	refused(t, "area_unknown", "area", "assign", "--data", data, "--source", "s", areaFile(t, "assign.csv", "household_key,area_code\n1,XQ\n"))
	if out := must(t, "area", "assign", "--data", data, "--source", "s", areaFile(t, "assign.csv", "household_key,area_code\n1,XA-1\n")); !strings.Contains(out, "not on file 1") {
		t.Errorf("assign: %s", out)
	}
	refused(t, "not_found", "agreement", "areas", "approve", "--data", data, "nobody")
}
