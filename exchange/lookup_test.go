package exchange_test

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/vault"
)

// holder makes an individual with one identifier.
func holder(t *testing.T, key, scheme, issuer, value string) annona.Record {
	t.Helper()
	r := person(t, key, "Ama "+key, "")
	d, _ := annona.Standard().Dataset("identifiers")
	group, _ := r.Dataset.Field("identifiers")
	var item []annona.Value
	for code, text := range map[string]string{"scheme": scheme, "issuer": issuer, "value": value} {
		f, _ := d.Field(code)
		item = append(item, annona.Value{Field: f, Text: text})
	}
	r.Groups = []annona.GroupItems{{Field: group, Items: [][]annona.Value{item}}}
	return r
}

func (r *registry) put(t *testing.T, records ...annona.Record) {
	t.Helper()
	load, err := r.StartLoad(t.Context(), operator, "survey", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load.Put(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

func grantIdentifiers(a *annona.Agreement) {
	a.Datasets["individuals"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}}
	a.Datasets["identifiers"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Identifies}}
}

// wantHolder looks an identifier up: name is who holds it, or the code of a refusal.
func (r *registry) wantHolder(t *testing.T, id exchange.Identifier, name, code string) {
	t.Helper()
	answer, _, err := r.Lookup(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name"}}, []exchange.Identifier{id}, exchange.Form{Format: "json"})
	switch {
	case err != nil && annona.CodeOf(err) != code:
		t.Errorf("%+v: %v, want %s%s", id, err, name, code)
	case err == nil && string(answer.Page.Page().Cell(0, 0)) != name:
		t.Errorf("%+v: %q, want %s%s", id, answer.Page.Page().Cell(0, 0), name, code)
	}
}

// C-08 at the gate: whoever names the issuer gets its holder; whoever names none gets the one
// holder, or learns that there are several.
func TestLookupByIssuer(t *testing.T) {
	r := newRegistry(t, 1)
	r.partner(t, grantIdentifiers)
	r.put(t, holder(t, "1", "passport_number", "Northland", "G-4711"), holder(t, "2", "passport_number", "Southland", "G 4711"),
		holder(t, "3", "passport_number", "", "G4712"), holder(t, "4", "passport_number", "Northland", "G4713"))
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "g4711", Issuer: "northland"}, "Ama 1", "")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4711", Issuer: "Southland "}, "Ama 2", "")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4711"}, "", "identifier_ambiguous")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4712"}, "Ama 3", "")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4712", Issuer: "Northland"}, "", "not_found")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4713"}, "Ama 4", "")
	r.wantHolder(t, exchange.Identifier{Type: "national_id_number", Value: "G4713"}, "", "not_found")
}

// C-08 at the gate: what is on file from before a rotation of the index is found, and so is what
// came after it; one of each is ambiguous all the same.
func TestLookupDuringARotation(t *testing.T) {
	r := newRegistry(t, 1)
	r.partner(t, grantIdentifiers)
	r.put(t, holder(t, "1", "passport_number", "", "G4711"), holder(t, "2", "passport_number", "", "G4712"))
	if _, err := r.Vault.(*vault.Vault).RotateClass("index"); err != nil {
		t.Fatal(err)
	}
	r.put(t, holder(t, "3", "passport_number", "", "G4713"), holder(t, "4", "passport_number", "", "G4712"))
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4711"}, "Ama 1", "")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4713"}, "Ama 3", "")
	r.wantHolder(t, exchange.Identifier{Type: "passport_number", Value: "G4712"}, "", "identifier_ambiguous")
}
