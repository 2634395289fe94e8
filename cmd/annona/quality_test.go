package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// A dry run says what is doubtful about the data; an import does when it is asked to. Neither
// names a value.
func TestImportReportsQuality(t *testing.T) {
	t.Parallel()
	data, file := newRegistry(t), filepath.Join(t.TempDir(), "survey.csv")
	writeFile(t, file, []byte(surveyHeader+
		"1,4,volta,7001,52,female,head,ghanaian birth,ewe,methodist,bece,none,412.5,4.2\n"+
		"1,4,volta,7001,129,male,head,atlantean,ewe,methodist,bece,none,412.5,4.2\n"))
	args := []string{"import", "--data", data, "--mapping", ghanaMapping}
	dry := must(t, append(args, "--dry-run", file)...)
	for _, want := range []string{"quality of the data", "age_out_of_range", "household_two_heads", "code_unmapped"} {
		if !strings.Contains(dry, want) {
			t.Errorf("the dry run does not say %s: %s", want, dry)
		}
	}
	if strings.Contains(dry, "atlantean") || strings.Contains(dry, "129") {
		t.Errorf("the dry run names a value: %s", dry)
	}
	var report imported
	if err := json.Unmarshal([]byte(must(t, append(args, "--report", "--json", file)...)), &report); err != nil || len(report.Quality) == 0 || report.Created == 0 {
		t.Errorf("%v: %+v", err, report)
	}
	if plain := must(t, append(args, file)...); strings.Contains(plain, "quality of the data") {
		t.Errorf("nobody asked: %s", plain)
	}
}
