package main

import (
	"context"
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

// TestGhanaLivesOn loads a survey twice, draws regions anew, and loads it a third time after 300 people have
// moved, 50 have died, 20 households have split and 10 have merged. What is counted, what the log says and
// what partners of regions are told is computed here from the rows alone.
func TestGhanaLivesOn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(os.Getenv("ANNONA_TESTDATA"), "ghana-glss", "individuals.csv")
	if _, err := os.Stat(file); os.Getenv("ANNONA_TESTDATA") == "" || err != nil {
		t.Skip("ANNONA_TESTDATA names no folder with ghana-glss/individuals.csv")
	}
	t.Run("sqlite", func(t *testing.T) {
		data := newRegistry(t)
		f, err := openFolder(t.Context(), data)
		check(t, err)
		defer f.Close()
		ghanaLivesOn(t, f, file, func(words ...string) string { return must(t, append(words, "--data", data)...) })
	})
	t.Run("postgres", func(t *testing.T) {
		r := newInDatabase(t, sharedCluster(t))
		f, err := r.flag().open(t.Context())
		check(t, err)
		defer f.Close()
		ghanaLivesOn(t, f, file, func(words ...string) string { return must(t, r.serving(words...)...) })
	})
}

func ghanaLivesOn(t *testing.T, f *folder, file string, run func(...string) string) {
	before := newGhana(ghanaRows(t, file))
	mapping := ghanaMappingByPerson(t)
	load := func(g *ghana) exchange.LoadReport {
		t.Helper()
		run("import", "--mapping", mapping, "--mode", "full", "--json", g.write(t))
		loads, err := f.gate.ListLoads(t.Context(), operator(), "ghana-glss", 1)
		check(t, err)
		return loads[0].Report
	}
	people, homes := len(before.rows), len(before.members)
	ghanaCounted(t, "first", load(before), [5]int{people + homes})
	partners := map[string]*regional{}
	for name, areas := range map[string][]string{"west": {"GH-WP"}, "ahafo": {"GH-BA"}, "north": {"GH-NP"}, "ghana": {"GH"}} {
		partners[name] = newRegional(t, f, name, areas...)
	}
	told := func(when string, want map[string]tally) {
		t.Helper()
		if s, ok := f.store.(interface{ Settle(context.Context) error }); ok {
			check(t, s.Settle(t.Context()))
		}
		for name, p := range partners {
			p.told(when, want[name])
		}
	}
	sees := map[string]func(area string) bool{
		"west":     func(area string) bool { return area == "GH-WP" },
		"ahafo":    func(area string) bool { return area == "GH-BA" || area == "GH-BO" },
		"north":    func(area string) bool { return area == "GH-NP" || area == "GH-NO" || area == "GH-SV" },
		"savannah": func(area string) bool { return area == "GH-SV" },
		"ghana":    func(area string) bool { return area != "" },
	}
	first := map[string]tally{}
	for name := range partners {
		first[name] = difference(nil, before.areas(oldAreas), sees[name])
		first[name] = tally{"upsert": first[name]["entered_scope"]} // whoever begins is told of everybody
	}
	told("at first", first)

	ghanaCounted(t, "second", load(before), [5]int{0, 0, people + homes})
	told("the same file again", nil)

	run("area", "reorganize", areaFile(t, "2019.yaml", `
effective: 2019-02-13
changes:
  - rename: GH-BA
    to: {code: GH-BO, name: Bono}
  - split: GH-NP
    into: [{code: GH-NO, name: Northern}, {code: GH-SV, name: Savannah}]
`))
	var assigned strings.Builder
	assigned.WriteString("household_key,area_code\n")
	for home, members := range before.members {
		if members[0]["region"] == "northern" {
			fmt.Fprintf(&assigned, "%s,%s\n", home, newAreas(members[0]))
		}
	}
	run("area", "assign", "--source", "ghana-glss", areaFile(t, "assigned.csv", assigned.String()))
	partners["savannah"] = newRegional(t, f, "savannah", "GH-SV")
	drawn := map[string]tally{}
	for name := range partners {
		drawn[name] = difference(before.areas(oldAreas), before.areas(newAreas), sees[name])
	}
	drawn["savannah"] = tally{"upsert": drawn["savannah"]["entered_scope"]}
	told("drawn anew", drawn)

	run("agreement", "areas", "approve", "ahafo") // without it, a household that is new in Bono would not be seen
	told("approved", nil)

	after := before.edited()
	want := [5]int{20, after.rewritten, people + homes - after.rewritten - 10, 10}
	ghanaCounted(t, "third", load(after), want)
	last := map[string]tally{}
	for name := range partners {
		last[name] = difference(before.areas(newAreas), after.areas(newAreas), sees[name])
	}
	if last["west"]["entered_scope"] == 0 || last["west"]["left_scope"] == 0 || last["savannah"]["left_scope"] == 0 {
		t.Errorf("the edits do not cross regions: %v", last)
	}
	told("the third file", last)
	events(t, f, map[string]int{"households created": 20, "households deleted": 10, "individuals changed": after.rewritten})

	ghanaCounted(t, "fourth", load(after), [5]int{0, 0, people + homes + 10})
	told("the third file again", nil)
}

// ghanaCounted compares a report with created, changed, unchanged, deleted and stale.
func ghanaCounted(t *testing.T, when string, r exchange.LoadReport, want [5]int) {
	t.Helper()
	if got := [5]int{r.Created, r.Changed, r.Unchanged, r.Deleted, r.Stale + r.Restored + r.Kept}; got != want {
		t.Errorf("the %s load counts %v, want %v", when, got, want)
	}
}

// events compares what the last load did with records.
func events(t *testing.T, f *folder, want map[string]int) {
	t.Helper()
	loads, err := f.gate.ListLoads(t.Context(), operator(), "ghana-glss", 1)
	check(t, err)
	got := map[string]int{}
	for after := int64(0); ; {
		page, err := f.store.LoadEvents(t.Context(), &loads[0].Load, after, 1000)
		check(t, err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Event
			if e.Kind != annona.EventTouched {
				got[e.Dataset+" "+string(e.Kind)]++
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events of the load: %v, want %v", got, want)
	}
}

// ghana is the survey as a table in which each person has a key.
type ghana struct {
	rows      []map[string]string
	order     []string // of households
	members   map[string][]map[string]string
	rewritten int // people whose row differs from the file before
}

func newGhana(rows []map[string]string) *ghana {
	g := &ghana{members: map[string][]map[string]string{}}
	for _, row := range rows {
		home := row["hhid"]
		if row["pid"] == "" {
			row["pid"], row["vital"] = home+"/"+strconv.Itoa(len(g.members[home])+1), "alive"
		}
		if len(g.members[home]) == 0 {
			g.order = append(g.order, home)
		}
		g.members[home] = append(g.members[home], row)
		g.rows = append(g.rows, row)
	}
	return g
}

// edited is the survey later: every edit has households of its own, so that none meets another.
func (g *ghana) edited() *ghana {
	var rows []map[string]string
	for _, row := range g.rows {
		next := map[string]string{}
		for name, text := range row {
			next[name] = text
		}
		rows = append(rows, next)
	}
	later := newGhana(rows)
	var free []string // households of three and more outside of the north: who splits off there has no area to be told
	for _, home := range later.order {
		if len(later.members[home]) >= 3 && later.members[home][0]["region"] != "northern" {
			free = append(free, home)
		}
	}
	var north []string
	for _, home := range later.order {
		if later.members[home][0]["region"] == "northern" && len(later.members[home]) >= 3 {
			north = append(north, home)
		}
	}
	goTo := func(person map[string]string, home string, like map[string]string) {
		person["hhid"] = home
		for _, name := range []string{"hsize", "region", "clust", "weight"} {
			person[name] = like[name]
		}
		later.rewritten++
	}
	take := func() string {
		home := free[0]
		free = free[1:]
		return home
	}
	for i := range 300 {
		from, to := take(), free[len(free)-1-i%40]
		if i%10 == 0 {
			to = north[i/10]
		}
		if i%10 == 5 {
			from, to = north[100+i/10], from
		}
		leaving := later.members[from]
		goTo(leaving[len(leaving)-1], to, later.members[to][0])
	}
	for range 50 {
		dying := later.members[take()]
		dying[len(dying)-1]["vital"] = "dead"
		later.rewritten++
	}
	for i := range 20 {
		home := later.members[take()]
		for _, person := range home[len(home)/2:] {
			goTo(person, fmt.Sprintf("split %d", i), home[0])
		}
	}
	for range 10 {
		from, into := later.members[take()], take()
		for _, person := range from {
			goTo(person, into, later.members[into][0])
		}
	}
	rewritten := later.rewritten
	later = newGhana(rows)
	later.rewritten = rewritten
	return later
}

// write writes the table as a file.
func (g *ghana) write(t *testing.T) string {
	t.Helper()
	columns := []string{"pid", "vital", "hhid", "hsize", "region", "clust", "age", "sex", "relate", "nation", "ethnic", "religion", "highest_degree", "occupation", "income", "weight"}
	path := filepath.Join(t.TempDir(), "people.csv")
	out, err := os.Create(path)
	check(t, err)
	defer out.Close()
	w := csv.NewWriter(out)
	check(t, w.Write(columns))
	for _, row := range g.rows {
		cells := make([]string, len(columns))
		for i, name := range columns {
			cells[i] = row[name]
		}
		check(t, w.Write(cells))
	}
	w.Flush()
	check(t, w.Error())
	return path
}

// areas is where each person lives; the dead live nowhere.
func (g *ghana) areas(of func(row map[string]string) string) map[string]string {
	lives := map[string]string{}
	for _, row := range g.rows {
		if row["vital"] == "alive" {
			lives[row["pid"]] = of(row)
		}
	}
	return lives
}

var ghanaCodes = map[string]string{
	"western": "GH-WP", "central": "GH-CP", "greater accra": "GH-AA", "volta": "GH-TV", "eastern": "GH-EP",
	"ashanti": "GH-AH", "brong ahafo": "GH-BA", "northern": "GH-NP", "upper east": "GH-UE", "upper west": "GH-UW",
}

func oldAreas(row map[string]string) string { return ghanaCodes[row["region"]] }

// newAreas are those of 2019; who of the north is in Savannah, odd numbers of households say.
func newAreas(row map[string]string) string {
	switch n, _ := strconv.Atoi(row["hhid"]); {
	case row["region"] == "brong ahafo":
		return "GH-BO"
	case row["region"] == "northern" && n%2 == 1:
		return "GH-SV"
	case row["region"] == "northern":
		return "GH-NO"
	}
	return oldAreas(row)
}

// difference is what a partner is told who sees people by their area.
func difference(before, after map[string]string, sees func(string) bool) tally {
	told := tally{}
	count := func(kind string) { told[kind]++ }
	for pid, area := range after {
		was := before[pid]
		switch {
		case sees(area) && !sees(was):
			count("entered_scope")
		case sees(area) && area != was:
			count("upsert")
		case sees(was) && !sees(area):
			count("left_scope")
		}
	}
	for pid, was := range before {
		if _, lives := after[pid]; !lives && sees(was) {
			count("left_scope")
		}
	}
	return told
}

// ghanaMappingByPerson is the example's mapping for files in which each person has a key.
func ghanaMappingByPerson(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(ghanaMapping)
	check(t, err)
	const ordinal, sex = "ordinal: true ", "        sex: {column: sex"
	if !strings.Contains(string(text), ordinal) || !strings.Contains(string(text), sex) {
		t.Fatal("the example's mapping is another one")
	}
	byKey := strings.Replace(string(text), ordinal, "key: pid ", 1)
	byKey = strings.Replace(byKey, sex, "        vital_status: {column: vital, codes: {alive: alive, dead: deceased}}\n"+sex, 1)
	return areaFile(t, "mapping.yaml", byKey)
}
