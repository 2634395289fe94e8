package schema_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/schema"
)

const anID = "abcdefghijklmnopqrstuvwx27"

// A document as it would be written in XML and in JSON. SCHEMA stands for the schema's id.
type document struct {
	name, dataset string
	xml, json     string
	bad           bool
}

var documents = []document{
	{name: "no records", dataset: "individuals",
		xml:  `<individuals schema="SCHEMA"/>`,
		json: `{"schema":"SCHEMA","individuals":[]}`},
	{name: "a page of a search", dataset: "individuals",
		xml:  `<individuals schema="SCHEMA" next="abc"><individual/></individuals>`,
		json: `{"schema":"SCHEMA","next":"abc","individuals":[{}]}`},
	{name: "an individual with every kind of value", dataset: "individuals",
		xml: `<individuals schema="SCHEMA"><individual><individual_id>ID</individual_id><household_id>ID</household_id>
			<role>head</role><role_source_code>HOH</role_source_code><area_code>GH-AA 1</area_code><full_name> Ama &lt;K&gt; </full_name><sex>female</sex><sex_source_code>2</sex_source_code>
			<date_of_birth>1984-02-29</date_of_birth><occupation_nil_reason>refused</occupation_nil_reason>
			<income_amount>-576.72</income_amount><income_amount_as_of>2024-01-01</income_amount_as_of>
			<phone_numbers><value>+233200000000</value><value>+233200000001</value></phone_numbers><latitude>5.5600001</latitude>
			<is_disabled>false</is_disabled><last_updated>2024-02-29T12:00:00.000Z</last_updated>
			<identifiers><identifier><scheme>national_id_number</scheme><value>0012</value></identifier><identifier/></identifiers>
			<memberships><membership><is_primary>true</is_primary></membership></memberships>
			<functioning><functioning><domain>seeing</domain><severity>cannot_do</severity></functioning></functioning></individual></individuals>`,
		json: `{"schema":"SCHEMA","individuals":[{"individual_id":"ID","household_id":"ID",
			"role":"head","role_source_code":"HOH","area_code":"GH-AA 1","full_name":" Ama <K> ","sex":"female","sex_source_code":"2",
			"date_of_birth":"1984-02-29","occupation_nil_reason":"refused",
			"income_amount":"-576.72","income_amount_as_of":"2024-01-01",
			"phone_numbers":["+233200000000","+233200000001"],"latitude":"5.5600001",
			"is_disabled":false,"last_updated":"2024-02-29T12:00:00.000Z",
			"identifiers":[{"scheme":"national_id_number","value":"0012"},{}],
			"memberships":[{"is_primary":true}],
			"functioning":[{"domain":"seeing","severity":"cannot_do"}]}]}`},
	{name: "a household with members", dataset: "households",
		xml: `<households schema="SCHEMA"><household><household_id>ID</household_id><member_count>2</member_count>
			<household_assets><value>radio</value></household_assets><household_assets_source_code><value>R 1</value></household_assets_source_code>
			<members><member><full_name>Kofi</full_name><relationships><relationship><type>parent</type></relationship></relationships></member><member/></members></household></households>`,
		json: `{"schema":"SCHEMA","households":[{"household_id":"ID","member_count":2,
			"household_assets":["radio"],"household_assets_source_code":["R 1"],
			"members":[{"full_name":"Kofi","relationships":[{"type":"parent"}]},{}]}]}`},

	{name: "another schema", dataset: "individuals", bad: true,
		xml:  `<individuals schema="individuals/0"/>`,
		json: `{"schema":"individuals/0","individuals":[]}`},
	{name: "no schema", dataset: "individuals", bad: true,
		xml:  `<individuals/>`,
		json: `{"individuals":[]}`},
	{name: "another member at the top", dataset: "individuals", bad: true,
		xml:  `<individuals schema="SCHEMA" total="3"/>`,
		json: `{"schema":"SCHEMA","total":3,"individuals":[]}`},
	{name: "an unknown field", dataset: "individuals", bad: true,
		xml:  `<individuals schema="SCHEMA"><individual><shoe_size>42</shoe_size></individual></individuals>`,
		json: `{"schema":"SCHEMA","individuals":[{"shoe_size":"42"}]}`},
	{name: "memberships of a member", dataset: "households", bad: true,
		xml:  `<households schema="SCHEMA"><household><members><member><memberships><membership/></memberships></member></members></household></households>`,
		json: `{"schema":"SCHEMA","households":[{"members":[{"memberships":[{}]}]}]}`},
	badValue("a code that is not in the list", "sex", "Female", `"Female"`),
	badValue("an empty text", "full_name", "", `""`),
	badValue("an id in capitals", "individual_id", strings.ToUpper(anID), `"`+strings.ToUpper(anID)+`"`),
	badValue("a short id", "individual_id", "abc", `"abc"`),
	badValue("a day that does not exist", "date_of_birth", "2023-02-30", `"2023-02-30"`),
	badValue("a date with a zone", "date_of_birth", "2023-02-28Z", `"2023-02-28Z"`),
	badValue("an instant without zone", "last_updated", "2024-02-29T12:00:00.000", `"2024-02-29T12:00:00.000"`),
	badValue("a decimal beyond its scale", "income_amount", "1.234", `"1.234"`),
	badValue("a decimal with trailing zeros", "income_amount", "1.20", `"1.20"`),
	badValue("a decimal with exponent", "income_amount", "1e3", `"1e3"`),
	badValue("a decimal as a number", "income_amount", "x", `1.2`),
	badValue("a truth value as a digit", "is_disabled", "1", `1`),
	badValue("a truth value as text", "is_disabled", "yes", `"true"`),
	badValue("an empty list", "phone_numbers", "", `[]`),
	badValue("a value outside of its list", "phone_numbers", "+233", `"+233"`),
	badValue("an empty group", "identifiers", "", `[]`),
}

func badValue(name, field, xml, json string) document {
	return document{name: name, dataset: "individuals", bad: true,
		xml:  `<individuals schema="SCHEMA"><individual><` + field + `>` + xml + `</` + field + `></individual></individuals>`,
		json: `{"schema":"SCHEMA","individuals":[{"` + field + `":` + json + `}]}`}
}

func (d document) fill(text string) string {
	text = strings.ReplaceAll(text, "ID<", anID+"<")
	text = strings.ReplaceAll(text, `"ID"`, `"`+anID+`"`)
	return strings.ReplaceAll(text, "SCHEMA", schema.ID(d.dataset, annona.Standard().Version))
}

func TestXSDAcceptsDocuments(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not installed (Debian: libxml2-utils)")
	}
	folder := t.TempDir()
	for _, name := range []string{"households", "individuals"} {
		writeXSD(t, filepath.Join(folder, name+".xsd"), name)
	}
	check := func(t *testing.T, dataset, text string, bad bool) {
		command := exec.Command(xmllint, "--noout", "--nonet", "--schema", filepath.Join(folder, dataset+".xsd"), "-")
		command.Stdin = strings.NewReader(text)
		output, err := command.CombinedOutput()
		if valid := err == nil; valid == bad {
			t.Errorf("valid: %v\n%s", valid, output)
		}
	}
	for _, d := range documents {
		t.Run(d.name, func(t *testing.T) { check(t, d.dataset, d.fill(d.xml), d.bad) })
	}
	t.Run("a record by itself", func(t *testing.T) {
		check(t, "individuals", "<individual><sex>male</sex></individual>", false)
	})
	t.Run("fields out of order", func(t *testing.T) {
		check(t, "individuals", "<individual><sex>male</sex><full_name>Kofi</full_name></individual>", true)
	})
	t.Run("a field twice", func(t *testing.T) {
		check(t, "individuals", "<individual><sex>male</sex><sex>male</sex></individual>", true)
	})
}

func writeXSD(t *testing.T, path, name string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d := annona.Standard()
	if err := schema.XSD(file, d, dataset(t, d, name)); err != nil {
		t.Fatal(err)
	}
}

func compile(t *testing.T, name, pointer string) *jsonschema.Schema {
	t.Helper()
	d := annona.Standard()
	var b bytes.Buffer
	if err := schema.JSONSchema(&b, d, dataset(t, d, name)); err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:schema.json" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJSONSchemaAcceptsDocuments(t *testing.T) {
	schemas := map[string]*jsonschema.Schema{"households": compile(t, "households", ""), "individuals": compile(t, "individuals", "")}
	for _, d := range documents {
		t.Run(d.name, func(t *testing.T) {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(d.fill(d.json)))
			if err != nil {
				t.Fatal(err)
			}
			if err := schemas[d.dataset].Validate(value); (err == nil) == d.bad {
				t.Errorf("valid: %v\n%v", err == nil, err)
			}
		})
	}
}

func TestNDJSONLinesValidate(t *testing.T) {
	line := compile(t, "households", "#/$defs/household")
	for text, valid := range map[string]bool{
		`{"household_id":"` + anID + `","members":[{"sex":"male"}]}`: true,
		`{"schema":"households/1","households":[]}`:                  false,
		`{"member_count":"2"}`:                                       false,
		`{"member_count":2.5}`:                                       false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := line.Validate(value); (err == nil) != valid {
			t.Errorf("%s: valid: %v", text, err == nil)
		}
	}
}
