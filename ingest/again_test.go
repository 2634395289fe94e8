package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// againShapes are mappings whose rows depend on each other in different ways.
var againShapes = map[string]string{
	"rows of members with their household, who are numbered": flat,
	"rows of members with their household, who have keys": `
source: test
inputs:
  - name: people
    format: csv
    household: {key: hh, fields: {locality: village, area_code: area}}
    individual: {key: id, membership: {role: {column: role, codes: {h: head, c: child}}}, fields: {full_name: name, sex: sex}}
`,
	"households with their members": `
source: test
inputs:
  - name: homes
    format: ndjson
    household: {key: hh, fields: {locality: village, area_code: area}}
    individual: {each: members, key: id, membership: {role: {column: role, codes: {h: head, c: child}}}, fields: {full_name: name, sex: sex}}
`,
	"members who name a household that nobody gives": `
source: test
inputs:
  - name: people
    format: csv
    individual: {key: id, membership: {household: hh, role: {column: role, codes: {h: head, c: child}}}, fields: {full_name: name, sex: sex, date_of_birth: born}}
`,
}

// TestRowsThatAreKnownAreReadAlike reads a source on several nights, once with a memory and once without. What
// comes of it is the same, with its places, and so is the report.
func TestRowsThatAreKnownAreReadAlike(t *testing.T) {
	t.Parallel()
	for name, text := range againShapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := parse(t, text)
			rapid.Check(t, func(rt *rapid.T) {
				memory := rowMemory{}
				night := againRows(rt)
				for range 3 {
					file := againFile(m, night)
					got, gotReport := memory.read(rt, m, file)
					want, wantReport := rowMemory(nil).read(rt, m, file)
					if diff := cmp.Diff(want, got); diff != "" {
						rt.Fatalf("records differ (-without a memory, +with one):\n%s\n%s", diff, file)
					}
					if diff := cmp.Diff(wantReport, gotReport); diff != "" {
						rt.Fatalf("the report differs:\n%s\n%s", diff, file)
					}
					night = againChanged(rt, night)
				}
			})
		})
	}
}

// againRow is a person of a household, with what the row says of both.
type againRow struct{ hh, village, area, id, role, name, sex, born string }

func againRows(rt *rapid.T) []againRow {
	return rapid.SliceOfN(rapid.Custom(drawAgainRow), 1, 40).Draw(rt, "rows")
}

func drawAgainRow(rt *rapid.T) againRow {
	of := func(name string, words ...string) string { return rapid.SampledFrom(words).Draw(rt, name) }
	return againRow{
		of("household", "H1", "H2", "H3", ""), of("village", "A", "B", ""), of("area", "AN-01", "AN-77", ""), of("id", "1", "2", "3", "4", "5", ""),
		of("role", "h", "c", "x"), of("name", "Ama", "Kofi", ""), of("sex", "female", "q", ""), of("born", "2001-02-03", "2001", "never", ""),
	}
}

// againChanged is another night: some rows are others, came, went, or stand elsewhere.
func againChanged(rt *rapid.T, rows []againRow) (night []againRow) {
	for _, r := range rows {
		switch rapid.IntRange(0, 7).Draw(rt, "fate") {
		case 0:
			continue
		case 1:
			night = append(night, drawAgainRow(rt))
		case 2:
			r.village = rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, "moved")
		case 3:
			night = append(night, r)
		}
		night = append(night, r)
	}
	if rapid.Bool().Draw(rt, "shuffle") {
		night = rapid.Permutation(night).Draw(rt, "order")
	}
	return night
}

func againFile(m *ingest.Mapping, rows []againRow) string {
	var b strings.Builder
	if m.Formats()[0] == ingest.FormatCSV {
		b.WriteString("hh,village,area,id,role,name,sex,born\n")
		for _, r := range rows {
			fmt.Fprintln(&b, strings.Join([]string{r.hh, r.village, r.area, r.id, r.role, r.name, r.sex, r.born}, ","))
		}
		return b.String()
	}
	for i, r := range rows {
		fmt.Fprintf(&b, `{"hh":%q,"village":%q,"area":%q,"members":[{"id":%q,"role":%q,"name":%q,"sex":%q}`, r.hh, r.village, r.area, r.id, r.role, r.name, r.sex)
		if next := rows[(i+1)%len(rows)]; next.hh == r.hh {
			fmt.Fprintf(&b, `,{"id":%q,"role":%q,"name":%q,"sex":%q}`, next.id, next.role, next.name, next.sex)
		}
		b.WriteString("]}\n")
	}
	return b.String()
}

// rowMemory remembers rows by what they say; nil remembers nothing.
type rowMemory map[[16]byte]*annona.KnownRow

func (m rowMemory) Recall(about, row []byte) (sum [16]byte, known *annona.KnownRow) {
	h := fnv.New128a()
	h.Write(about)
	h.Write([]byte{0})
	h.Write(row)
	h.Sum(sum[:0])
	return sum, m[sum]
}

func (m rowMemory) Hash(text []byte) uint64 {
	h := fnv.New64a()
	h.Write(text)
	return h.Sum64()
}

// read reads a file, and maps what is known after all.
func (m rowMemory) read(rt *rapid.T, mapping *ingest.Mapping, file string) (all []string, report ingest.Report) {
	var memory ingest.Memory
	if m != nil {
		memory = m
	}
	take := func(records []annona.Record) {
		for _, r := range records {
			all = append(all, r.Dataset.Name+" "+spell(r))
		}
	}
	areas := func(_ context.Context, code string) (bool, error) { return code == "AN-01", nil }
	report, err := ingest.ReadAgain(rt.Context(), mapping, []ingest.Source{source("rows", file)}, areas, memory, nil, func(b ingest.Batch) error {
		if m == nil {
			take(b.Households)
			take(b.Individuals)
			return nil
		}
		var people []annona.Record
		for i := range b.Told {
			row := &b.Told[i]
			households, individuals := row.Households, row.Individuals
			if row.Known != nil {
				var err error
				if households, individuals, err = row.Map(); err != nil {
					return err
				}
			} else if row.Sum != ([16]byte{}) {
				known := &annona.KnownRow{Sum: row.Sum, Notes: row.Notes}
				for range households {
					known.Records = append(known.Records, annona.KnownRecord{Household: true})
				}
				known.Records = append(known.Records, make([]annona.KnownRecord, len(individuals))...)
				m[row.Sum] = known
			}
			take(households)
			people = append(people, individuals...)
		}
		take(people)
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	return all, report
}

// spell says all that a record holds.
func spell(r annona.Record) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s at %d:%d", r.Key, r.File, r.Line)
	for _, v := range r.Values {
		fmt.Fprintf(&b, " %s=%s", v.Field.Code, v.Text)
	}
	for _, g := range r.Groups {
		fmt.Fprintf(&b, " %s", g.Field.Code)
		for _, item := range g.Items {
			for _, v := range item {
				fmt.Fprintf(&b, " %s=%s", v.Field.Code, v.Text)
			}
		}
	}
	fmt.Fprintf(&b, " %v %v", r.Memberships, r.Relationships)
	return b.String()
}
