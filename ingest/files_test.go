package ingest_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

func TestDictionaryFaults(t *testing.T) {
	const base = `country: GH
attributes:
  - {dataset: households, code: gh_x, type: int, sensitivity: personal, at_rest: clear, label: X}
`
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown key":    {"label: X", "label: X, labl: Y", "labl"},
		"no sensitivity": {"sensitivity: personal, ", "", "sensitivity"},
		"no at_rest":     {"at_rest: clear, ", "", "at_rest"},
		"type":           {"type: int", "type: group", "the type of an attribute"},
		"nothing":        {base, "country: GH\n", "declares no"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ingest.ParseDictionary(strings.NewReader(strings.Replace(base, test.old, test.new, 1)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	x, err := ingest.ParseDictionary(strings.NewReader(`country: GH
identifier_types:
  - {code: national_id_number, pattern: "[0-9]{9}X?", check: weighted_mod_11, weights: [2, 1], max_length: 10, shareable: true}
`))
	if err != nil || len(x.IdentifierTypes) != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	want := annona.IdentifierType{Code: "national_id_number", Pattern: "[0-9]{9}X?", Check: "weighted_mod_11", Weights: []int{2, 1}, MaxLength: 10, Shareable: true}
	if !reflect.DeepEqual(x.IdentifierTypes[0], want) {
		t.Errorf("%+v", x.IdentifierTypes[0])
	}
	x, err = ingest.ParseDictionary(strings.NewReader(base))
	if err != nil {
		t.Fatal(err)
	}
	if f := x.Fields[0]; f.Filter != annona.FilterNone || f.Type != annona.TypeInt || x.Country != "GH" {
		t.Errorf("%+v", x)
	}
}

// A file may name each treatment that agreements have.
func TestTreatmentsOfAFile(t *testing.T) {
	for _, treatment := range []string{"pass", "mask", "pseudonym", "year", "month", "derive"} {
		file := strings.Replace(agreementFile, "treatments: {}", "treatments: {sex: "+treatment+"}", 1)
		if _, err := ingest.ParseAgreement(strings.NewReader(file)); err != nil {
			t.Errorf("%s: %v", treatment, err)
		}
	}
}

const agreementFile = `name: a
partner: {name: P, organization_type: ngo, country: GH}
recipient_role: processor
purposes: [{code: p, legal_basis: consent}]
datasets:
  individuals: {fields: [sex], treatments: {}}
id_realm: a
floor: api_key
api_key: {row_ceiling: 0, special_fields: false, reason: the file is small}
valid_from: 2026-01-01
valid_until: 2026-12-31
status: active
`

func TestAgreementFaults(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown key":            {"floor: api_key", "floor: api_key\nflor: x", "line 9"},
		"a table for a list":     {"[{code: p, legal_basis: consent}]", "{code: p}", "not of the kind that this key takes"},
		"a list for a word":      {"status: active", "status: [active]", "line 12 of the agreement: what stands here is not of the kind"},
		"name":                   {"name: a\n", "name: A b\n", "name"},
		"country":                {"country: GH", "country: Ghana", "partner"},
		"realm":                  {"id_realm: a", "id_realm: ''", "id_realm"},
		"role":                   {"processor", "friend", "recipient_role"},
		"no purpose":             {"[{code: p, legal_basis: consent}]", "[]", "at least one purpose"},
		"basis":                  {"consent", "goodwill", "legal_basis"},
		"purpose twice":          {"legal_basis: consent}", "legal_basis: consent}, {code: p, legal_basis: consent}", "a code of its own"},
		"special as a class":     {"fields: [sex]", "sensitivities: [special]", "by name"},
		"treatment":              {"treatments: {}", "treatments: {sex: blur}", "individuals.sex"},
		"band without width":     {"treatments: {}", "treatments: {income_amount: band}", "width"},
		"width without band":     {"treatments: {}", "bands: {income_amount: 5}", "only a field with the treatment band"},
		"floor":                  {"floor: api_key", "floor: none", "floor"},
		"raised without reason":  {"reason: the file is small", "reason: ''", "needs its reason"},
		"negative ceiling":       {"row_ceiling: 0", "row_ceiling: -1", "row_ceiling"},
		"date":                   {"2026-01-01", "1 January 2026", "valid_from"},
		"ends before it begins":  {"2026-12-31", "2025-12-31", "before it begins"},
		"status":                 {"status: active", "status: draft", "status"},
		"a version is not given": {"name: a\n", "name: a\nversion: 3\n", "version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ingest.ParseAgreement(strings.NewReader(strings.Replace(agreementFile, test.old, test.new, 1)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	if _, err := ingest.ParseAgreement(strings.NewReader(agreementFile)); err != nil {
		t.Error(err)
	}
}

func FuzzParseAgreement(f *testing.F) {
	f.Add("name: a\npartner: {name: P, country: GH}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ingest.ParseAgreement(strings.NewReader(text)); err != nil && annona.KindOf(err) != annona.KindInvalid {
			t.Fatalf("a malformed agreement is our fault: %v", err)
		}
		if _, err := ingest.ParseDictionary(strings.NewReader(text)); err != nil && annona.KindOf(err) != annona.KindInvalid {
			t.Fatalf("a malformed dictionary is our fault: %v", err)
		}
	})
}
