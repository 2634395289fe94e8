package privacy_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// hexRealm shows ids in hexadecimal, so that a test can read them.
type hexRealm struct{}

func (hexRealm) AppendID(dst, uid []byte) []byte   { return hex.AppendEncode(dst, uid) }
func (hexRealm) ParseID(string) (annona.UID, bool) { return annona.UID{}, false }

func field(t *testing.T, dataset, code string) *annona.Field {
	t.Helper()
	d, _ := annona.Standard().Dataset(dataset)
	f, ok := d.Field(code)
	if !ok {
		t.Fatalf("%s has no field %s", dataset, code)
	}
	return f
}

// A code that the recipient has none for does not leave.
func TestCodesOfARecipient(t *testing.T) {
	separator := string(rune(annona.ListSeparator))
	for in, out := range map[string]string{"female": "2", "male": "1", "other": "", "": "", "male" + separator + "other" + separator + "female": "1" + separator + "2"} {
		f := field(t, "individuals", "sex")
		d, _ := annona.Standard().Dataset("individuals")
		page := annona.NewPage(&annona.Shape{Dataset: d, Columns: []*annona.Field{f}})
		page.Columns[0].Append([]byte(in))
		page.Count = 1
		shown := *f
		shown.Code, shown.Origin = "SEX", f
		grant := &annona.Grant{Fields: map[string][]annona.FieldGrant{"individuals": {{Field: f, Treatment: annona.TreatPass}}}}
		plan := privacy.Compile(page.Shape, grant, hexRealm{})
		plan.Show(&annona.Shape{Dataset: d, Columns: []*annona.Field{&shown}}, map[*annona.Field]privacy.Change{&shown: {Codes: map[string]string{"male": "1", "female": "2"}}})
		if got := plan.Redact(page).Page(); string(got.Cell(0, 0)) != out || got.Shape.Columns[0].Code != "SEX" {
			t.Errorf("%q leaves as %q", in, got.Cell(0, 0))
		}
	}
}

func TestTreatments(t *testing.T) {
	for _, c := range []struct {
		code      string
		treatment annona.Treatment
		band      int64
		in, out   string
	}{
		{"full_name", annona.TreatPass, 0, "Ama Mensah", "Ama Mensah"},
		{"full_name", annona.TreatMask, 0, "Ama Mensah", "****nsah"},
		{"full_name", annona.TreatMask, 0, "Ama", "****"},
		{"full_name", annona.TreatMask, 0, "አማ መንሳህ አበበ", "****" + " አበበ"},
		{"full_name", annona.TreatMask, 0, "", ""},
		{"date_of_birth", annona.TreatYear, 0, "1990-05-17", "1990-01-01"},
		{"date_of_birth", annona.TreatMonth, 0, "1990-05-17", "1990-05-01"},
		{"date_of_birth", annona.TreatYear, 0, "", ""},
		{"income_amount", annona.TreatBand, 100, "576.72", "500"},
		{"income_amount", annona.TreatBand, 100, "99.99", "0"},
		{"income_amount", annona.TreatBand, 10, "-0.5", "-10"},
		{"income_amount", annona.TreatBand, 10, "-10", "-10"},
		{"income_amount", annona.TreatBand, 10, "", ""},
		{"full_name", "blur", 0, "Ama Mensah", ""},
	} {
		f := field(t, "individuals", c.code)
		grant := &annona.Grant{Fields: map[string][]annona.FieldGrant{"individuals": {{Field: f, Treatment: c.treatment, Band: c.band}}}}
		d, _ := annona.Standard().Dataset("individuals")
		page := annona.NewPage(&annona.Shape{Dataset: d, Columns: []*annona.Field{f}})
		page.Columns[0].Append([]byte(c.in))
		page.Count = 1
		got := privacy.Compile(page.Shape, grant, hexRealm{}).Redact(page)
		if string(got.Page().Cell(0, 0)) != c.out {
			t.Errorf("%s of %s: got %q, want %q", c.treatment, c.code, got.Page().Cell(0, 0), c.out)
		}
	}
}

// household returns a page of one household with two members, one of whom has an identifier.
func household(t *testing.T) (*annona.Page, *annona.Grant) {
	t.Helper()
	d := annona.Standard()
	households, _ := d.Dataset("households")
	individuals, _ := d.Dataset("individuals")
	identifiers, _ := d.Dataset("identifiers")
	id, name, value := field(t, "households", "household_id"), field(t, "individuals", "full_name"), field(t, "identifiers", "value")
	members, held := field(t, "households", "members"), field(t, "individuals", "identifiers")
	shape := &annona.Shape{Dataset: households, Columns: []*annona.Field{id}, Groups: []annona.GroupShape{{
		Field: members, Shape: &annona.Shape{Dataset: individuals, Columns: []*annona.Field{name}, Groups: []annona.GroupShape{{
			Field: held, Shape: &annona.Shape{Dataset: identifiers, Columns: []*annona.Field{value}},
		}}},
	}}}
	page := annona.NewPage(shape)
	page.Count, page.Numbers = 1, []annona.Number{7}
	page.Columns[0].Append([]byte{0xab, 0xcd})
	people := page.Groups[0].Page
	for n, text := range []string{"Kofi", "Esi"} {
		people.Columns[0].Append([]byte(text))
		people.Numbers = append(people.Numbers, annona.Number(10+n))
		people.Count++
		if n == 0 {
			people.Groups[0].Page.Columns[0].Append([]byte("00123"))
			people.Groups[0].Page.Count++
		}
		people.Groups[0].EndRow()
	}
	page.Groups[0].EndRow()
	pass := func(f *annona.Field) []annona.FieldGrant {
		return []annona.FieldGrant{{Field: f, Treatment: annona.TreatPass}}
	}
	return page, &annona.Grant{Fields: map[string][]annona.FieldGrant{
		"households": pass(id), "individuals": pass(name), "identifiers": pass(value),
	}}
}

func TestEverybodyInThePageIsASubject(t *testing.T) {
	page, grant := household(t)
	got := privacy.Compile(page.Shape, grant, hexRealm{}).Redact(page)
	if id := string(got.Page().Cell(0, 0)); id != "abcd" {
		t.Errorf("the id is %q", id)
	}
	want := []privacy.Subjects{
		{Noun: "household", Fields: []string{"household_id"}, Numbers: []annona.Number{7}},
		{Noun: "individual", Fields: []string{"full_name", "identifiers.value"}, Numbers: []annona.Number{10, 11}},
	}
	if len(got.Subjects()) != len(want) {
		t.Fatalf("got %+v", got.Subjects())
	}
	for i, s := range got.Subjects() {
		if s.Noun != want[i].Noun || !slices.Equal(s.Fields, want[i].Fields) || !slices.Equal(s.Numbers, want[i].Numbers) {
			t.Errorf("got %+v, want %+v", s, want[i])
		}
	}
}

// Whoever stands at the other end of a relationship is shown too, also when the person has no row.
func TestTheOtherEndOfARelationshipIsASubject(t *testing.T) {
	individuals, _ := annona.Standard().Dataset("individuals")
	relationships, _ := annona.Standard().Dataset("relationships")
	name, to := field(t, "individuals", "full_name"), field(t, "relationships", "to_individual_id")
	shape := &annona.Shape{Dataset: individuals, Columns: []*annona.Field{name}, Groups: []annona.GroupShape{{
		Field: field(t, "individuals", "relationships"), Shape: &annona.Shape{Dataset: relationships, Columns: []*annona.Field{to}},
	}}}
	page := annona.NewPage(shape)
	page.Count, page.Numbers = 1, []annona.Number{7}
	page.Columns[0].Append([]byte("Ama"))
	ties := page.Groups[0].Page
	ties.Count, ties.Numbers = 1, []annona.Number{9}
	ties.Columns[0].Append([]byte{0xab})
	page.Groups[0].EndRow()
	grant := &annona.Grant{Fields: map[string][]annona.FieldGrant{
		"individuals": {{Field: name, Treatment: annona.TreatPass}}, "relationships": {{Field: to, Treatment: annona.TreatPass}},
	}}
	got := privacy.Compile(shape, grant, hexRealm{}).Redact(page).Subjects()
	if len(got) != 2 || got[0].Numbers[0] != 7 || !slices.Equal(got[0].Fields, []string{"full_name", "relationships.to_individual_id"}) ||
		got[1].Noun != "individual" || got[1].Numbers[0] != 9 || !slices.Equal(got[1].Fields, []string{"relationships.to_individual_id"}) {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNotGrantedDoesNotLeave(t *testing.T) {
	page, grant := household(t)
	delete(grant.Fields, "individuals")
	delete(grant.Fields, "households")
	got := privacy.Compile(page.Shape, grant, hexRealm{}).Redact(page).Page()
	if len(got.Cell(0, 0)) > 0 || len(got.Groups[0].Page.Cell(0, 0)) > 0 {
		t.Error("a column that the grant does not have left the plan")
	}
}

// A cell that repeats the one above it is shown as that one is, also where nothing is on file.
func TestACellThatRepeatsTheOneAboveIt(t *testing.T) {
	birth, home := field(t, "individuals", "date_of_birth"), field(t, "individuals", "household_id")
	individuals, _ := annona.Standard().Dataset("individuals")
	shape := &annona.Shape{Dataset: individuals, Columns: []*annona.Field{home, birth}}
	grant := &annona.Grant{Fields: map[string][]annona.FieldGrant{"individuals": {
		{Field: home, Treatment: annona.TreatPass}, {Field: birth, Treatment: annona.TreatYear},
	}}}
	page := annona.NewPage(shape)
	homes := []string{"", "", "1111111111111111", "1111111111111111", "", "1111111111111111", "1111111111112222"}
	births := []string{"1990-05-01", "1990-05-01", "1990-06-01", "", "", "1991-01-01", "1991-01-01"}
	for row := range homes {
		page.Columns[0].Append([]byte(homes[row]))
		page.Columns[1].Append([]byte(births[row]))
		page.Numbers = append(page.Numbers, annona.Number(row+1))
		page.Count++
	}
	shown := privacy.Compile(shape, grant, hexRealm{}).Redact(page).Page()
	for row := range homes {
		id, year := hex.EncodeToString([]byte(homes[row])), ""
		if births[row] != "" {
			year = births[row][:4] + "-01-01"
		}
		if got := []string{string(shown.Cell(0, row)), string(shown.Cell(1, row))}; !slices.Equal(got, []string{id, year}) {
			t.Errorf("row %d shows %q, want %q and %q", row, got, id, year)
		}
	}
}

func TestAPlanServesPageAfterPage(t *testing.T) {
	page, grant := household(t)
	plan := privacy.Compile(page.Shape, grant, hexRealm{})
	first := plan.Redact(page)
	again, _ := household(t)
	plan.Redact(again)
	if id := string(first.Page().Cell(0, 0)); id != "abcd" {
		t.Errorf("the first page changed to %q when the second was redacted", id)
	}
}

// A pseudonym is the same for the same value of a field, and tells neither the value nor that another field has it.
// What is absent stays absent. A specification can ask for it, too.
func TestPseudonyms(t *testing.T) {
	as := func(code, value string) string {
		return shown(t, code, value, annona.FieldGrant{Treatment: annona.TreatPseudonym}, privacy.Change{Treatment: annona.TreatPass})
	}
	ama := as("full_name", "Ama")
	for _, c := range []struct {
		name string
		same bool
	}{
		{as("full_name", "Ama"), true}, {as("full_name", "Esi"), false}, {as("full_name", "Ama "), false}, {as("given_name", "Ama"), false},
		{shown(t, "full_name", "Ama", annona.FieldGrant{Treatment: annona.TreatPass}, privacy.Change{Treatment: annona.TreatPseudonym}), true},
	} {
		if (c.name == ama) != c.same || len(c.name) != 32 || strings.Contains(c.name, hex.EncodeToString([]byte("Ama"))) {
			t.Errorf("got %q beside %q, the same: %t", c.name, ama, c.same)
		}
	}
	if none := as("full_name", ""); none != "" {
		t.Errorf("what is absent is %q", none)
	}
}
