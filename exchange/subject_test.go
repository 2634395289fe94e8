package exchange_test

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// What could never take effect is refused: a restriction for a purpose that no request can name
// would protect nobody.
func TestARightNamesPurposesThatCanBe(t *testing.T) {
	r := newRegistry(t, 10)
	somebody := exchange.Subject{Source: synthetic.Source, Key: "I0000001"}
	for _, purpose := range []string{"", "Eligibility", "eligibility assessment", "a,b"} {
		if _, err := r.Restrict(t.Context(), operator, somebody, annona.Restriction{Kind: annona.KindObjection, Purposes: []string{purpose}}); annona.CodeOf(err) != "purpose_unknown" {
			t.Errorf("objection for %q: %v", purpose, err)
		}
		if _, err := r.GiveConsent(t.Context(), operator, somebody, annona.Consent{Purposes: []string{purpose}, Recipients: []string{"P"}}); annona.CodeOf(err) != "purpose_unknown" {
			t.Errorf("consent for %q: %v", purpose, err)
		}
	}
}

func TestDeclaringTheSameAgainChangesNothing(t *testing.T) {
	r := newRegistry(t, 0)
	x := annona.Extension{Country: "GH", Fields: []annona.Field{{Dataset: "households", Code: "gh_cattle", Type: annona.TypeInt,
		Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterRange, Label: "Cattle"}}}
	first, err := r.Declare(t.Context(), operator, x)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Declare(t.Context(), operator, x)
	if err != nil || again.Version != first.Version {
		t.Errorf("version %d became %d, %v", first.Version, again.Version, err)
	}
	x.Fields[0].Label = "Cattle owned"
	if changed, err := r.Declare(t.Context(), operator, x); err != nil || changed.Version != first.Version+1 {
		t.Errorf("another label: %v", err)
	}
}
