package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// An import of which nothing is left does not say that all was on file already; one that cannot
// begin says nothing but why.
func TestImportsThatBringNothing(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	file := filepath.Join(t.TempDir(), "survey.csv")
	writeFile(t, file, []byte(surveyHeader+"too,few,cells\n"))
	if out := must(t, "import", "--data", data, "--mapping", ghanaMapping, file); !strings.Contains(out, "Every row was refused.") || strings.Contains(out, "Nothing changed") {
		t.Errorf("every row was refused: %s", out)
	}
	if r := refused(t, "file_unreadable", "import", "--data", data, "--mapping", ghanaMapping, file+".gone"); r.out != "" {
		t.Errorf("no file: %s", r)
	}
}
