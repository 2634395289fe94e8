package filter_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

var (
	examples = regexp.MustCompile("(?s)```cel (\\w+)\n(.*?)```")
	refusals = regexp.MustCompile("(?m)^\\| `(.+?)` \\| `(\\w+)` \\| (?:`(.+?)`)?")
)

// What docs/spec/filter.md shows works, and what it calls refused is refused.
func TestSpecificationIsTrue(t *testing.T) {
	page, err := os.ReadFile("../docs/spec/filter.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range examples.FindAllStringSubmatch(string(page), -1) {
		for text := range strings.Lines(block[2]) {
			shown++
			if _, err := filter.Compile(annona.Standard(), dataset(t, block[1]), text); err != nil {
				t.Errorf("%srefused: %v", text, err)
			}
		}
	}
	rows := refusals.FindAllStringSubmatch(string(page), -1)
	for _, row := range rows {
		if _, err := filter.Compile(annona.Standard(), dataset(t, "individuals"), row[1]); annona.CodeOf(err) != row[2] {
			t.Errorf("%s\nshould be refused with %s: %v", row[1], row[2], err)
		}
		if row[3] == "" {
			continue
		}
		if _, err := filter.Compile(annona.Standard(), dataset(t, "individuals"), row[3]); err != nil {
			t.Errorf("%s\nis offered instead and refused: %v", row[3], err)
		}
	}
	if shown < 10 || len(rows) < 7 {
		t.Errorf("found %d examples and %d refusals in the page", shown, len(rows))
	}
}
