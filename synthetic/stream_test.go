package synthetic_test

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

func TestTheSameSeedGivesTheSameCountry(t *testing.T) {
	c := synthetic.Country{Individuals: 3000, Seed: 42}
	if !reflect.DeepEqual(country(t, c), country(t, c)) {
		t.Error("two runs differ")
	}
	other := country(t, synthetic.Country{Individuals: 3000, Seed: 43})
	if reflect.DeepEqual(country(t, c), other) {
		t.Error("two seeds give one country")
	}
}

// A smaller country is the beginning of a larger one, up to its last household.
func TestASmallerCountryIsAPrefix(t *testing.T) {
	large := country(t, synthetic.Country{Individuals: 6000, Seed: 9, Duplicates: 0.05})
	for _, n := range []int{1, 2, 37, 500, 4999} {
		small := country(t, synthetic.Country{Individuals: n, Seed: 9, Duplicates: 0.05})
		last := len(small) - 1
		if !reflect.DeepEqual(small[:last], large[:last]) {
			t.Errorf("%d individuals: the households before the last are not those of the larger country", n)
		}
		if small[last].Record.Key != large[last].Record.Key {
			t.Errorf("%d individuals: the last household has another key", n)
		}
		if got := individuals(small); got != n {
			t.Errorf("%d individuals were asked for, %d came", n, got)
		}
	}
}

func individuals(households []synthetic.Household) (n int) {
	for _, h := range households {
		n += len(h.Members)
	}
	return n
}

func TestNobodyAsksForNobody(t *testing.T) {
	if got := country(t, synthetic.Country{}); len(got) != 0 {
		t.Errorf("an empty country has %d households", len(got))
	}
}

func TestStoppingEarlyIsFine(t *testing.T) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: 1_000_000_000})
	if err != nil {
		t.Fatal(err)
	}
	for range r.Households() {
		break
	}
}

func TestCountriesThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]synthetic.Country{
		"fewer than none":     {Individuals: -1},
		"more than the world": {Individuals: 20_000_000_000},
		"no such day":         {AsOf: "2026-02-30"},
		"before the areas":    {AsOf: "1999-01-01"},
		"mostly duplicates":   {Duplicates: 0.9},
		"no number":           {Duplicates: math.NaN()},
		"two cases for each":  {Cases: 2},
	} {
		if _, err := synthetic.New(annona.Standard(), c); annona.KindOf(err) != annona.KindInvalid {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	empty, err := annona.NewDictionary(1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := synthetic.New(empty, synthetic.Country{}); annona.CodeOf(err) != "unknown_dataset" {
		t.Errorf("a dictionary without households: got %v", err)
	}
}

func TestAreasAreATreeOfFourLevels(t *testing.T) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: 2000, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]int{}
	for _, a := range r.Areas() {
		if _, twice := levels[a.Code]; twice {
			t.Errorf("%s stands twice", a.Code)
		}
		levels[a.Code] = a.Level
		if parent, ok := levels[a.Parent]; a.Level > 0 && (!ok || parent != a.Level-1 || !strings.HasPrefix(a.Code, a.Parent+"-")) {
			t.Errorf("%s does not lie inside an area before it", a.Code)
		}
		if a.Names["en"] == "" {
			t.Errorf("%s has no name", a.Code)
		}
	}
	for h := range r.Households() {
		if level, ok := levels[value(h.Record, "area_code")]; !ok || level != 3 {
			t.Errorf("%s lives in no community", h.Record.Key)
		}
	}
}

// Duplicates are the same person: same birth, another record, a name that is nearly the same.
func TestDuplicatesAreThePeopleTheyRepeat(t *testing.T) {
	people := map[string]annona.Record{}
	sameNumber, found := 0, 0
	for _, h := range country(t, synthetic.Country{Individuals: 20_000, Seed: 5, Duplicates: 0.05}) {
		for _, m := range h.Members {
			people[m.Key] = m
		}
		for _, d := range h.Duplicates {
			found++
			one, other := people[d.Key], people[d.Of]
			if other.Key == "" || d.Key == d.Of || one.Memberships[0].HouseholdKey == other.Memberships[0].HouseholdKey {
				t.Fatalf("%s repeats nobody of an earlier household", d.Key)
			}
			if born(one) != born(other) && value(one, "date_of_birth_precision") != "age_stated" {
				t.Errorf("%s and %s were born on different days", d.Key, d.Of)
			}
			if a, b := nationalID(one), nationalID(other); a != "" && a == b {
				sameNumber++
			}
		}
	}
	within(t, "duplicates in a thousand", float64(found)/20, 35, 55)
	within(t, "duplicates with the same number, in a hundred", 100*float64(sameNumber)/float64(found), 15, 60)
}

func nationalID(m annona.Record) string {
	for _, id := range items(m, "identifiers") {
		if item(id, "scheme") == "national_id_number" {
			return item(id, "value")
		}
	}
	return ""
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %.2f, want %.2f to %.2f", what, got, low, high)
	}
}

// Nobody but a duplicate has the identity number of somebody else.
func TestIdentityNumbersAreTheirHoldersOwn(t *testing.T) {
	holders := map[string]string{}
	for _, h := range country(t, synthetic.Country{Individuals: 30_000, Seed: 11, Duplicates: -1}) {
		for _, m := range h.Members {
			number := nationalID(m)
			if other, taken := holders[number]; number != "" && taken && !flagged(m, "id_format_invalid") {
				t.Errorf("%s and %s have one number", m.Key, other)
			}
			holders[number] = m.Key
		}
	}
}

func TestNDJSONHasALinePerHousehold(t *testing.T) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: 5000, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.WriteNDJSON(&out); err != nil {
		t.Fatal(err)
	}
	households := 0
	for range r.Households() {
		households++
	}
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != households {
		t.Errorf("%d lines for %d households", lines, households)
	}
}

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

var errFull = annona.Unavailable("disk_full", "no room")

func TestNDJSONStopsWhenTheWriterFails(t *testing.T) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WriteNDJSON(&fullDisk{room: 200_000}); annona.CodeOf(err) != "disk_full" {
		t.Errorf("got %v, want the writer's error", err)
	}
}
