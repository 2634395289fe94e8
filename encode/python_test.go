package encode

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The readers of another language find the same values, every line end and control of writing
// direction included.
func TestPythonReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the readers of Python are not tried")
	}
	d := annona.Standard()
	nested := shapeOf(t, d, "individuals", "individual_id", "full_name", "given_name", "date_of_birth", "in_school", "income_amount",
		"phone_numbers", "emails", "other_names.full_name", "other_names.script", "disability_certificates.grade", "disability_certificates.valid_until")
	plain := shapeOf(t, d, "individuals", "individual_id", "full_name", "sex_source_code", "income_amount", "phone_numbers", "full_address")
	single := shapeOf(t, d, "individuals", "full_name")
	records := func(shape *annona.Shape) []item {
		return rapid.Custom(func(r *rapid.T) []item {
			items := []item{}
			for range 40 {
				items = append(items, nastyItems(r, shape, 12)...)
			}
			return items
		}).Example(7)
	}
	for i, c := range []struct {
		o     Options
		shape *annona.Shape
	}{
		{Options{Format: JSON, Schema: "individuals/3"}, nested},
		{Options{Format: NDJSON}, nested},
		{Options{Format: XML, Schema: "individuals/3"}, nested},
		{Options{Format: CSV}, plain},
		{Options{Format: CSV}, single},
	} {
		want := records(c.shape)
		if len(want) < 50 {
			t.Fatalf("only %d records", len(want))
		}
		document, _ := write(t, d, c.shape, want, 100, c.o)
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(file, document, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, filepath.Join("testdata", "read.py"), string(c.o.Format), file).Output()
		if err != nil {
			t.Fatalf("%s: %v", c.o.Format, err)
		}
		var found []map[string]any
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatal(err)
		}
		if c.o.Format == CSV {
			want = joined(want)
		}
		if diff := cmp.Diff(want, itemsOfJSON(found)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.o.Format, diff)
		}
	}
}

// joined is what a reader of CSV that knows no types finds in lists.
func joined(items []item) []item {
	for _, it := range items {
		for name, value := range it {
			if list, ok := value.([]string); ok {
				it[name] = strings.Join(list, string(annona.ListMark))
			}
		}
	}
	return items
}
