package ingest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// An agreement says which sources its partner loads, how, and how much a full load may delete.
func TestAgreementOfARegistrar(t *testing.T) {
	text, err := os.ReadFile("../examples/agreements/eligibility.yaml")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(imports string) (annona.Agreement, error) {
		return ingest.ParseAgreement(strings.NewReader(string(text) + "\nimports: " + imports + "\n"))
	}
	a, err := parse("{sources: [office, clinic], modes: [upsert, full], delete_guard: 0.5%}")
	if err != nil || len(a.Imports.Sources) != 2 || len(a.Imports.Modes) != 2 || *a.Imports.DeleteGuard != 0.5 {
		t.Errorf("%+v, %v", a.Imports, err)
	}
	if a, err := parse("{sources: [office]}"); err != nil || a.Imports.DeleteGuard != nil {
		t.Errorf("without a guard: %+v, %v", a.Imports, err)
	}
	for _, bad := range []string{
		"{}", "{sources: []}", "{sources: [office, office]}", "{sources: [' office']}", "{sources: [office], modes: [undo]}",
		"{sources: [office], delete_guard: 2%}", "{sources: [office], modes: [full], delete_guard: 101%}", "{sources: [office], modes: [full], delete_guard: much}", "{source: office}",
	} {
		if _, err := parse(bad); annona.KindOf(err) != annona.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
