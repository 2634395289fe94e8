package suggest_test

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/suggest"
	"github.com/goccy/go-yaml"
)

const today = annona.Date("2026-11-22")

func sampleFile(t testing.TB, path string) ingest.Sample {
	t.Helper()
	s, err := ingest.ReadSample(ingest.Source{Name: filepath.Base(path), Open: func() (io.ReadCloser, error) { return os.Open(path) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sampleText(t testing.TB, name, text string) ingest.Sample {
	t.Helper()
	s, err := ingest.ReadSample(ingest.Source{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// draft makes a mapping and holds it to what an import accepts.
func draft(t testing.TB, d *annona.Dictionary, samples ...ingest.Sample) suggest.Draft {
	t.Helper()
	made := suggest.Make(samples, d, today)
	if _, err := ingest.ParseMapping(strings.NewReader(made.Mapping), d); err != nil {
		t.Fatalf("an import refuses the draft: %v\n%s", err, made.Mapping)
	}
	return made
}

func extended(t testing.TB, path string) *annona.Dictionary {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	x, err := ingest.ParseDictionary(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := annona.Standard().Extend(x)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A draft maps at least 80 in 100 of the columns as the mapping that a person wrote for the same
// files. A column is right when it feeds what it feeds there: no more and no less.
func TestDraftsAgainstMappingsByHand(t *testing.T) {
	ghana := extended(t, "../../examples/ghana-glss/dictionary.yaml")
	for _, source := range []struct {
		name, mapping string
		d             *annona.Dictionary
		files         []string
	}{
		{"ghana-sample", "ghana-glss", ghana, []string{"../../examples/ghana-glss/sample.csv"}},
		{"ghana-glss", "ghana-glss", ghana, []string{filepath.Join(os.Getenv("ANNONA_TESTDATA"), "ghana-glss", "individuals.csv")}},
		{"two-files", "two-files", annona.Standard(), []string{"../../examples/two-files/members.csv", "../../examples/two-files/households.csv"}},
		{"nested", "nested", annona.Standard(), []string{"../../examples/nested/households.ndjson"}},
	} {
		t.Run(source.name, func(t *testing.T) {
			if _, err := os.Stat(source.files[0]); err != nil {
				t.Skip("ANNONA_TESTDATA names no folder with ghana-glss/individuals.csv")
			}
			var samples []ingest.Sample
			for _, file := range source.files {
				samples = append(samples, sampleFile(t, file))
			}
			made := draft(t, source.d, samples...)
			byHand, err := os.ReadFile("../../examples/" + source.mapping + "/mapping.yaml")
			if err != nil {
				t.Fatal(err)
			}
			want, got := feeds(t, string(byHand)), feeds(t, made.Mapping)
			right, all := 0, map[string]bool{}
			for _, column := range slices.Sorted(maps.Keys(want)) {
				all[column] = true
				if slices.Equal(want[column], got[column]) {
					right++
				} else {
					t.Logf("%s feeds %v, by hand %v", column, got[column], want[column])
				}
			}
			for column := range got {
				if !all[column] {
					all[column] = true
					t.Logf("%s feeds %v, by hand nothing", column, got[column])
				}
			}
			score := float64(right) / float64(len(all))
			t.Logf("%d of %d columns right: %.0f %%", right, len(all), 100*score)
			if score < 0.8 {
				t.Errorf("%.2f is below 0.80\n%s", score, made.Mapping)
			}
		})
	}
}

// feeds returns what each column of a mapping feeds.
func feeds(t testing.TB, mapping string) map[string][]string {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(mapping), &doc); err != nil {
		t.Fatal(err)
	}
	f := feeder{}
	f.rule("", "survey_date", doc["survey_date"])
	for _, in := range doc["inputs"].([]any) {
		input := in.(map[string]any)
		kind := "members:"
		if input["household"] != nil {
			kind = "households:"
		}
		f.rule(kind, "survey_date", input["survey_date"])
		for _, noun := range []string{"household", "individual"} {
			if e, ok := input[noun].(map[string]any); ok {
				f.entity(kind, noun, e)
			}
		}
	}
	for column := range f {
		slices.Sort(f[column])
		f[column] = slices.Compact(f[column])
	}
	return f
}

type feeder map[string][]string

func (f feeder) add(place, target string, columns any) {
	switch c := columns.(type) {
	case []any:
		for _, one := range c {
			f.add(place, target, one)
		}
	case nil:
	default:
		name := place + fmt.Sprint(c)
		f[name] = append(f[name], target)
	}
}

func (f feeder) rule(place, target string, rule any) {
	table, ok := rule.(map[string]any)
	if !ok {
		if text, isText := rule.(string); isText && !strings.HasPrefix(text, "20") {
			f.add(place, target, text)
		}
		return
	}
	f.add(place, target, table["column"])
	for _, part := range []string{"age", "year", "month", "day"} {
		f.add(place, target+"."+part, table[part])
	}
}

func (f feeder) entity(place, noun string, e map[string]any) {
	if each, ok := e["each"].(string); ok {
		place += each + "."
	}
	f.add(place, noun+".key", e["key"])
	for field, rule := range table(e["fields"]) {
		f.rule(place, noun+"."+field, rule)
	}
	for field, rule := range table(e["membership"]) {
		f.rule(place, "membership."+field, rule)
		if list, ok := rule.([]any); ok {
			f.add(place, "membership."+field, list)
		}
	}
	for group, items := range table(e["groups"]) {
		for _, item := range items.([]any) {
			f.item(place, noun+"."+group, item.(map[string]any))
		}
	}
	if ties, ok := e["relationships"].([]any); ok {
		for _, tie := range ties {
			f.item(place, noun+".relationships", tie.(map[string]any))
		}
	}
}

// item names an item by what is constant in it.
func (f feeder) item(place, target string, item map[string]any) {
	for _, key := range []string{"scheme", "domain", "instrument"} {
		if constant := table(item[key])["constant"]; constant != nil {
			target += "[" + fmt.Sprint(constant) + "]"
		}
	}
	if each, ok := item["each"].(string); ok {
		place += each + "."
	}
	for field, rule := range item {
		if field != "each" && table(rule)["constant"] == nil {
			f.rule(place, target+"."+field, rule)
		}
	}
}

func table(v any) map[string]any {
	t, _ := v.(map[string]any)
	return t
}
