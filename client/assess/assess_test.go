package assess

import (
	"bytes"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/client"
)

const poor = `program: p
about: individuals
needs: [household.poverty_score]
require:
  - {rule: "household.poverty_score < 20", otherwise: above_line}
  - {rule: "individual.sex == \"female\"", otherwise: not_female}
reasons: [met]
`

func rules(t *testing.T, text string) *Rules {
	t.Helper()
	r, err := ReadRules(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// spec shows scores and, of members, ids and sexes in codes of the recipient's own.
func spec(format, layout string) *annona.ExportSpec {
	return &annona.ExportSpec{
		Name: "s", Dataset: "households", Format: format, Layout: layout,
		Fields: []annona.SpecField{
			{Field: "household_id", As: "HH"}, {Field: "poverty_score", As: "PMT"},
			{Field: "members.individual_id", As: "ID"}, {Field: "members.sex", As: "SEX", Codes: map[string]string{"male": "1", "female": "2"}},
			{Field: "members.date_of_birth", As: "YEAR", Treatment: annona.TreatYear},
		},
	}
}

// said assesses a document and returns what was decided, a line for each.
func said(t *testing.T, s *annona.ExportSpec, rules *Rules, document string) (string, error) {
	t.Helper()
	shape, err := Specified(annona.Standard(), s)
	if err != nil {
		t.Fatal(err)
	}
	a := &Assessment{Shape: shape, Rules: rules, AsOf: "2026-07-01"}
	if err := a.Check(); err != nil {
		return "", err
	}
	var out strings.Builder
	err = a.Read("document", bytes.NewReader([]byte(document)), int64(len(document)), func(d client.Decision) error {
		out.WriteString(d.IndividualID + d.HouseholdID + " " + d.Status + " " + strings.Join(d.Reasons, ",") + "\n")
		return nil
	})
	return out.String(), err
}

const verdicts = "a eligible met\nb ineligible not_female\nc ineligible above_line,not_female\nd under_review missing_poverty_score\n"

// One export says the same in all forms that are read.
func TestTheSameInAllForms(t *testing.T) {
	lines := `{"HH":"1","PMT":"12.5","members":[{"ID":"a","SEX":"2"},{"ID":"b","SEX":"1"}]}
{"HH":"2","PMT":"61","members":[{"ID":"c"}]}
{"HH":"3","members":[{"ID":"d","SEX":"2"}]}
`
	for name, form := range map[string]struct{ format, layout, document string }{
		"ndjson": {"ndjson", "", lines},
		"json":   {"json", "", `{"schema":"s@1","households":[` + strings.ReplaceAll(strings.TrimSpace(lines), "\n", ",") + `]}`},
		"flat":   {"csv", "flat", "\ufeffHH,PMT,member_ID,member_SEX\r\n1,12.5,a,2\r\n1,12.5,b,1\r\n2,61,c,\r\n3,,d,2\r\n"},
	} {
		got, err := said(t, spec(form.format, form.layout), rules(t, poor), form.document)
		if err != nil || got != verdicts {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// What breaks off is not taken for whole.
func TestDocumentsThatBreakOff(t *testing.T) {
	for form, document := range map[string]string{
		"ndjson": `{"HH":"1","PMT":"12.5","mem`,
		"json":   `{"schema":"s@1","households":[{"HH":"1"}`,
		"csv":    "HH,PMT,member_ID\r\n1,12.5,\"a",
	} {
		layout := map[string]string{"csv": "flat"}[form]
		if _, err := said(t, spec(form, layout), rules(t, poor), document); annona.CodeOf(err) != "document_malformed" {
			t.Errorf("%s: %v", form, err)
		}
	}
	if _, err := said(t, spec("csv", "linked"), rules(t, poor), "PK"); annona.CodeOf(err) != "document_malformed" {
		t.Errorf("zip: %v", err)
	}
}

// A rule about what the export does not have, or not as it is, is refused; so is what is no rule.
func TestRulesThatAreRefused(t *testing.T) {
	for code, text := range map[string]string{
		"rule_field_missing": strings.Replace(poor, "household.poverty_score < 20", "individual.in_school", 1),
		"rule_field_altered": strings.Replace(poor, "household.poverty_score < 20", "age_on(individual.date_of_birth, as_of) < 3", 1),
		"rule_unsupported":   strings.Replace(poor, "household.poverty_score < 20", "within(household.area_code, 'x')", 1),
		"unknown_field":      strings.Replace(poor, "household.poverty_score < 20", "household.favorite_color == 'x'", 1),
		"filter_type":        strings.Replace(poor, "household.poverty_score < 20", "household.poverty_score", 1),
	} {
		if _, err := said(t, spec("ndjson", ""), rules(t, text), ""); annona.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, c := range []struct{ code, old, new string }{
		{"rules_malformed", "program: p", "program: P Q"},
		{"rules_malformed", "about: individuals", "about: dogs"},
		{"rules_malformed", "otherwise: above_line", "otherwise: ''"},
		{"rules_malformed", "[met]", "[Has met it]"},
		{"rules_malformed", "reasons:", "status: ineligible\nreasons:"},
		{"file_malformed", "program: p", "programme: p"},
		{"file_malformed", "program: p", "program: [p"},
	} {
		if _, err := ReadRules(strings.NewReader(strings.Replace(poor, c.old, c.new, 1))); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	if _, err := Specified(annona.Standard(), spec("xml", "")); annona.CodeOf(err) != "format_unsupported" {
		t.Errorf("XML: %v", err)
	}
}
