package annona_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

func TestStandardHasTheDatasetsInPublishedOrder(t *testing.T) {
	var names []string
	for s := range annona.Standard().Datasets() {
		names = append(names, s.Name)
	}
	want := "households individuals memberships identifiers relationships functioning assessments other_names disability_certificates quality_flags provenance enrollments status_changes benefits payments cases case_plan_items case_visits case_services case_links case_notes case_attachments transitions"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("datasets are %s, want %s", got, want)
	}
}

// TestTagsAreNeverReused compares the dictionary with every field that was ever published.
// A field may go; its tag may not come back under another name or type.
func TestTagsAreNeverReused(t *testing.T) {
	golden, err := os.ReadFile("testdata/tags.golden")
	if err != nil {
		t.Fatal(err)
	}
	published := map[string]string{}
	for line := range strings.Lines(string(golden)) {
		parts := strings.Fields(line)
		key := parts[0] + " " + parts[1]
		if published[key] != "" {
			t.Errorf("testdata/tags.golden gives the tag %s twice", key)
		}
		published[key] = strings.TrimSpace(line)
	}
	for s := range annona.Standard().Datasets() {
		for _, f := range s.Fields {
			key := fmt.Sprintf("%s %d", s.Name, f.Tag)
			line := fmt.Sprintf("%s %s %s", key, f.Code, f.Type)
			switch {
			case published[key] == "":
				t.Errorf("a new field: add the line %q to testdata/tags.golden", line)
			case published[key] != line:
				t.Errorf("the tag of %q is that of %q; give it a fresh one", line, published[key])
			}
		}
	}
}

func TestStandardFields(t *testing.T) {
	d := annona.Standard()
	for s := range d.Datasets() {
		if s.Root && s.Fields[0].Code != s.Key {
			t.Errorf("%s begins with %s, not with its key", s.Name, s.Fields[0].Code)
		}
		for f := range s.Columns() {
			name := s.Name + "." + f.Code
			if f.Dataset != s.Name || f.Label == "" || f.Aspect == annona.AspectValue && f.Definition == "" {
				t.Errorf("%s lacks its dataset, label or definition", name)
			}
			if f.Tag >= 250 {
				t.Errorf("%s: a standard tag stays below 250", name)
			}
			if f.IsSealed() && f.Filter == annona.FilterRange {
				t.Errorf("%s is sealed and filterable", name)
			}
			if !s.Root && f.Filter == annona.FilterRange {
				t.Errorf("%s: no path of a filter reaches it", name)
			}
			if f.Type == annona.TypeCode {
				if _, ok := d.CodeList(f.CodeList); !ok {
					t.Errorf("%s names the unknown code list %s", name, f.CodeList)
				}
			}
			if got, ok := s.Field(f.Code); !ok || got != f {
				t.Errorf("%s is not found by its code", name)
			}
		}
	}
}

// TestGroupsStandLast keeps published order the same whether single values and groups are
// written together or one after the other.
func TestGroupsStandLast(t *testing.T) {
	for s := range annona.Standard().Datasets() {
		groups := false
		for _, f := range s.Fields {
			if groups && f.Type != annona.TypeGroup {
				t.Errorf("%s.%s stands behind a group", s.Name, f.Code)
			}
			groups = groups || f.Type == annona.TypeGroup
		}
	}
}

func TestSpecialFields(t *testing.T) {
	d := annona.Standard()
	special := map[string]string{
		"households":  "pregnant_or_lactating_count chronic_illness_in_household",
		"individuals": "is_disabled pregnancy_status displacement_status ethnic_group religion functioning disability_certificates",
	}
	for name, want := range special {
		s, _ := d.Dataset(name)
		var got []string
		for _, f := range s.Fields {
			if f.Sensitivity == annona.Special {
				got = append(got, f.Code)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("the special fields of %s are %v, want %s", name, got, want)
		}
	}
}

func TestEveryCodeListIsUsed(t *testing.T) {
	d := annona.Standard()
	used := map[string]bool{}
	for s := range d.Datasets() {
		for f := range s.Columns() {
			used[f.CodeList] = true
		}
	}
	for _, name := range d.CodeLists() {
		l, _ := d.CodeList(name)
		if !used[name] {
			t.Errorf("no field uses the code list %s", name)
		}
		if !l.Open && len(l.Codes) == 0 {
			t.Errorf("the code list %s is closed and empty", name)
		}
		for _, c := range l.Codes {
			if c.Label == "" {
				t.Errorf("the code %s of %s has no label", c.Code, name)
			}
		}
	}
}

func TestRelationshipHasAllCodes(t *testing.T) {
	l, _ := annona.Standard().CodeList("relationship")
	if len(l.Codes) != 107 || !l.Has("SELF") || !l.Has("FRMSPS") || l.Has("head") {
		t.Errorf("relationship has %d codes, want the 107 of DCI", len(l.Codes))
	}
}

func TestColumnsPutCompanionsBehindTheirField(t *testing.T) {
	households, _ := annona.Standard().Dataset("households")
	var got []string
	for f := range households.Columns() {
		if strings.HasPrefix(f.Code, "floor_material") || strings.HasPrefix(f.Code, "income_amount") {
			got = append(got, f.Code)
		}
	}
	want := []string{"floor_material", "floor_material_source_code", "floor_material_nil_reason", "floor_material_as_of",
		"income_amount", "income_amount_nil_reason", "income_amount_as_of"}
	if !slices.Equal(got, want) {
		t.Errorf("columns are %v, want %v", got, want)
	}
	for range households.Columns() { // stops when asked to
		break
	}
	f, _ := households.Field("floor_material")
	c, _ := households.Field("floor_material_source_code")
	if c.Base != f || c.ImageTag() == f.ImageTag() || c.Type != annona.TypeText || !c.IsText() || c.Filter != annona.FilterNone {
		t.Errorf("the companion is not made from its field: %+v", c)
	}
}

func TestItem(t *testing.T) {
	d := annona.Standard()
	households, _ := d.Dataset("households")
	individuals, _ := d.Dataset("individuals")
	for field, want := range map[*annona.Field]string{
		must(households.Field("members")):      "member",
		must(individuals.Field("memberships")): "membership",
		must(individuals.Field("functioning")): "functioning",
		must(individuals.Field("other_names")): "other_name",
	} {
		if got := field.Item(); got != want {
			t.Errorf("an item of %s is a %s, want %s", field.Code, got, want)
		}
	}
}

func must(f *annona.Field, ok bool) *annona.Field {
	if !ok {
		panic("no such field")
	}
	return f
}

// attribute is a valid country attribute to vary.
func attribute(vary func(*annona.Field)) annona.Field {
	f := annona.Field{Dataset: "households", Code: "cattle", Type: annona.TypeInt, Sensitivity: annona.Personal,
		AtRest: annona.Clear, Filter: annona.FilterRange, Label: "Cattle", Definition: "Number of cattle owned."}
	if vary != nil {
		vary(&f)
	}
	return f
}

func TestExtend(t *testing.T) {
	cases := []struct {
		name    string
		country string
		vary    func(*annona.Field)
		lists   []annona.CodeList
		refused string
	}{
		{name: "an attribute", country: "GH"},
		{name: "one with companions", country: "GH", vary: func(f *annona.Field) { f.NilReason, f.AssessmentInput = true, true }},
		{name: "one with a list of its own", country: "GH", vary: func(f *annona.Field) { f.Type, f.CodeList = annona.TypeCode, "herd" },
			lists: []annona.CodeList{{Name: "herd", Version: 1, Codes: []annona.Code{{Code: "small"}, {Code: "large"}}}}},
		{name: "an open list filled", country: "GH", lists: []annona.CodeList{{Name: "religion", Version: 2, Codes: []annona.Code{{Code: "a"}}}}},
		{name: "one in a group that a source reports", country: "GH", vary: func(f *annona.Field) { f.Dataset, f.Filter = "functioning", annona.FilterNone }},
		{name: "an explicit tag", country: "GH", vary: func(f *annona.Field) { f.Tag = annona.CountryTag + 7 }},

		{name: "no country", country: "", refused: "extension_country"},
		{name: "a country in small letters", country: "gh", refused: "extension_country"},
		{name: "an unknown dataset", country: "GH", vary: func(f *annona.Field) { f.Dataset = "cows" }, refused: "unknown_dataset"},
		{name: "a standard field", country: "GH", vary: func(f *annona.Field) { f.Code = "member_count" }, refused: "field_standard"},
		{name: "a companion's name", country: "GH", vary: func(f *annona.Field) { f.Code = "floor_material_as_of" }, refused: "field_twice"},
		{name: "a closed standard list", country: "GH", lists: []annona.CodeList{{Name: "sex", Version: 2, Codes: []annona.Code{{Code: "m"}}}}, refused: "code_list_standard"},
		{name: "an unknown list", country: "GH", vary: func(f *annona.Field) { f.Type, f.CodeList = annona.TypeCode, "herd" }, refused: "field_malformed"},
		{name: "a code without list", country: "GH", vary: func(f *annona.Field) { f.Type = annona.TypeCode }, refused: "field_malformed"},
		{name: "a list without code", country: "GH", vary: func(f *annona.Field) { f.CodeList = "sex" }, refused: "field_malformed"},
		{name: "no sensitivity", country: "GH", vary: func(f *annona.Field) { f.Sensitivity = "" }, refused: "field_malformed"},
		{name: "an unknown word at rest", country: "GH", vary: func(f *annona.Field) { f.AtRest = "open"; f.Filter = annona.FilterNone }, refused: "field_malformed"},
		{name: "a code in capitals", country: "GH", vary: func(f *annona.Field) { f.Code = "Cattle" }, refused: "field_malformed"},
		{name: "a scale of 16", country: "GH", vary: func(f *annona.Field) { f.Type, f.Scale = annona.TypeDec, 16 }, refused: "field_malformed"},
		{name: "sealed and filterable", country: "GH", vary: func(f *annona.Field) { f.AtRest = annona.Sealed }, refused: "field_malformed"},
		{name: "look-up on clear", country: "GH", vary: func(f *annona.Field) { f.Filter = annona.FilterLookup }, refused: "field_malformed"},
		{name: "indexed", country: "GH", vary: func(f *annona.Field) { f.AtRest, f.Filter = annona.SealedIndexed, annona.FilterLookup }, refused: "attribute_refused"},
		{name: "derived", country: "GH", vary: func(f *annona.Field) { f.Derived = true }, refused: "attribute_refused"},
		{name: "a group", country: "GH", vary: func(f *annona.Field) { f.Type, f.Group = annona.TypeGroup, "identifiers" }, refused: "attribute_refused"},
		{name: "a reference", country: "GH", vary: func(f *annona.Field) { f.Type = annona.TypeRef }, refused: "attribute_refused"},
		{name: "a tag of the standard", country: "GH", vary: func(f *annona.Field) { f.Tag = 200 }, refused: "attribute_refused"},
		{name: "the name of a key", country: "GH", vary: func(f *annona.Field) { f.Code = "individual_id" }, refused: "attribute_refused"},
		{name: "a filter inside a group", country: "GH", vary: func(f *annona.Field) { f.Dataset = "functioning" }, refused: "attribute_refused"},
		{name: "a row that the exchange makes", country: "GH", vary: func(f *annona.Field) { f.Dataset, f.Filter = "memberships", annona.FilterNone }, refused: "attribute_refused"},
		{name: "clear in a sealed group", country: "GH", vary: func(f *annona.Field) { f.Dataset, f.Filter = "identifiers", annona.FilterNone }, refused: "at_rest_of_group"},
		{name: "sealed in a clear group", country: "GH", vary: func(f *annona.Field) {
			f.Dataset, f.Filter, f.AtRest = "functioning", annona.FilterNone, annona.Sealed
		}, refused: "at_rest_of_group"},
		{name: "a name that flat files use", country: "GH", vary: func(f *annona.Field) { f.Code = "member_sex" }, refused: "field_meets_prefix"},
		{name: "a code that lists cannot carry", country: "GH", lists: []annona.CodeList{{Name: "herd", Version: 1, Codes: []annona.Code{{Code: "a;b"}}}}, refused: "code_malformed"},
		{name: "a code twice", country: "GH", lists: []annona.CodeList{{Name: "herd", Version: 1, Codes: []annona.Code{{Code: "a"}, {Code: "a"}}}}, refused: "code_twice"},
		{name: "a list without version", country: "GH", lists: []annona.CodeList{{Name: "herd"}}, refused: "code_list_malformed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := annona.Extension{Country: c.country, Fields: []annona.Field{attribute(c.vary)}, CodeLists: c.lists}
			d, err := annona.Standard().Extend(x)
			if c.refused != "" {
				if annona.CodeOf(err) != c.refused || annona.KindOf(err) != annona.KindInvalid {
					t.Fatalf("got %v (%s), want %s", err, annona.CodeOf(err), c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Version != annona.Standard().Version+1 {
				t.Errorf("the version is %d, want one more than before", d.Version)
			}
			if annona.Standard().Declares(x) || !d.Declares(x) {
				t.Errorf("before, all was declared: %v; after: %v", annona.Standard().Declares(x), d.Declares(x))
			}
			x.Fields[0].Label = "Another"
			if d.Declares(x) {
				t.Error("another label is declared already")
			}
		})
	}
}

func TestExtendLeavesTheOriginalAlone(t *testing.T) {
	before := annona.Standard()
	extended, err := before.Extend(annona.Extension{Country: "GH", Fields: []annona.Field{attribute(nil)}})
	if err != nil {
		t.Fatal(err)
	}
	old, _ := before.Dataset("households")
	if _, ok := old.Field("cattle"); ok {
		t.Error("the standard dictionary changed")
	}
	households, _ := extended.Dataset("households")
	f := must(households.Field("cattle"))
	if f.Tag != annona.CountryTag || f.Country != "GH" || f.Base != f || households.Fields[len(households.Fields)-1] != f {
		t.Errorf("the attribute is not declared as it should be: %+v", f)
	}
}

func TestDeclareAgain(t *testing.T) {
	declare := func(d *annona.Dictionary, country string, vary func(*annona.Field)) (*annona.Dictionary, error) {
		return d.Extend(annona.Extension{Country: country, Fields: []annona.Field{attribute(vary)}})
	}
	once, err := declare(annona.Standard(), "GH", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := declare(once, "GH", func(f *annona.Field) { f.Label = "Cows and oxen" })
	if err != nil {
		t.Fatalf("the same attribute with a better label is refused: %v", err)
	}
	households, _ := again.Dataset("households")
	if f := must(households.Field("cattle")); f.Tag != annona.CountryTag || f.Label != "Cows and oxen" {
		t.Errorf("the attribute has tag %d and label %q", f.Tag, f.Label)
	}
	next, err := declare(once, "GH", func(f *annona.Field) { f.Code = "goats" })
	if err != nil {
		t.Fatal(err)
	}
	households, _ = next.Dataset("households")
	if f := must(households.Field("goats")); f.Tag != annona.CountryTag+1 {
		t.Errorf("the next attribute has tag %d, want %d", f.Tag, annona.CountryTag+1)
	}
	for name, vary := range map[string]func(*annona.Field){
		"type":        func(f *annona.Field) { f.Type = annona.TypeText },
		"sensitivity": func(f *annona.Field) { f.Sensitivity = annona.Special },
		"at rest":     func(f *annona.Field) { f.AtRest, f.Filter = annona.Sealed, annona.FilterNone },
		"tag":         func(f *annona.Field) { f.Tag = annona.CountryTag + 1 },
	} {
		if _, err := declare(once, "GH", vary); annona.CodeOf(err) != "field_changed" {
			t.Errorf("another %s: got %v, want field_changed", name, err)
		}
	}
	if _, err := declare(once, "KE", nil); annona.CodeOf(err) != "field_changed" {
		t.Errorf("another country's attribute of that code: got %v, want field_changed", err)
	}
}

func TestNewDictionaryRefusesContradictions(t *testing.T) {
	field := func(tag uint32, code string) *annona.Field {
		f := attribute(nil)
		f.Tag, f.Code = tag, code
		return &f
	}
	cases := []struct {
		name     string
		datasets []annona.Dataset
		lists    []annona.CodeList
		want     string
	}{
		{"a dataset twice", []annona.Dataset{{Name: "a"}, {Name: "a"}}, nil, "dataset_twice"},
		{"a list twice", nil, []annona.CodeList{{Name: "a", Version: 1}, {Name: "a", Version: 1}}, "code_list_twice"},
		{"a tag twice", []annona.Dataset{{Name: "a", Fields: []*annona.Field{field(1, "x"), field(1, "y")}}}, nil, "tag_twice"},
		{"a field twice", []annona.Dataset{{Name: "a", Fields: []*annona.Field{field(1, "x"), field(2, "x")}}}, nil, "field_twice"},
		{"no tag", []annona.Dataset{{Name: "a", Fields: []*annona.Field{field(0, "x")}}}, nil, "field_malformed"},
		{"a tag beyond the image", []annona.Dataset{{Name: "a", Fields: []*annona.Field{field(1<<20, "x")}}}, nil, "field_malformed"},
	}
	for _, c := range cases {
		if _, err := annona.NewDictionary(1, c.datasets, c.lists); annona.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// A later version of a list keeps every code and what it means.
func TestCodeListVersions(t *testing.T) {
	list := func(version int, codes ...annona.Code) annona.CodeList {
		return annona.CodeList{Name: "herd", Version: version, Codes: codes}
	}
	extend := func(d *annona.Dictionary, l annona.CodeList) (*annona.Dictionary, error) {
		return d.Extend(annona.Extension{Country: "GH", CodeLists: []annona.CodeList{l}})
	}
	goat, cow := annona.Code{Code: "goat", Label: "Goat"}, annona.Code{Code: "cow", Label: "Cow"}
	old := annona.Code{Code: "ox", Label: "Ox", ReplacedBy: "cow"}
	gone := annona.Code{Code: "elk", Label: "Elk", Deprecated: true}
	first, err := extend(annona.Standard(), list(1, goat, cow, old, gone))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		list    annona.CodeList
		refused string
	}{
		{"the same again", list(1, goat, cow, old, gone), ""},
		{"a new code", list(2, goat, cow, old, gone, annona.Code{Code: "hen"}), ""},
		{"a better label", list(2, annona.Code{Code: "goat", Label: "Goats"}, cow, old, gone), ""},
		{"a code that is retired", list(2, annona.Code{Code: "goat", Label: "Goat", ReplacedBy: "cow"}, cow, old, gone), ""},
		{"a retired code that comes back", list(2, goat, cow, old, annona.Code{Code: "elk", Label: "Elk"}), ""},
		{"a chain", list(2, annona.Code{Code: "goat", Label: "Goat", ReplacedBy: "ox"}, cow, old, gone), ""},
		{"another list under the same version", list(1, goat, cow, old), "code_list_version"},
		{"an earlier version", list(1, goat), "code_list_version"},
		{"a code that is missing", list(2, goat, old, cow), "code_removed"},
		{"a code twice", list(2, goat, cow, old, gone, goat), "code_twice"},
		{"a retired code that means something else", list(2, goat, cow, old, annona.Code{Code: "elk", Label: "Moose"}), "code_reused"},
		{"a retired code that stays so and means something else", list(2, goat, cow, annona.Code{Code: "ox", Label: "Donkey", ReplacedBy: "cow"}, gone), "code_reused"},
		{"a circle of one", list(2, annona.Code{Code: "goat", ReplacedBy: "goat"}, cow, old, gone), "code_circle"},
		{"a circle of two", list(2, goat, annona.Code{Code: "cow", Label: "Cow", ReplacedBy: "ox"}, old, gone), "code_circle"},
		{"replaced by nothing", list(2, annona.Code{Code: "goat", ReplacedBy: "sheep"}, cow, old, gone), "code_replacement_unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := extend(first, c.list); err == nil != (c.refused == "") || err != nil && annona.CodeOf(err) != c.refused {
				t.Errorf("%v, want %q", err, c.refused)
			}
		})
	}
	l, _ := first.CodeList("herd")
	for code, want := range map[string]struct {
		today   string
		retired bool
	}{"goat": {"goat", false}, "ox": {"cow", false}, "elk": {"elk", true}, "hen": {"hen", false}} {
		if today, retired := l.Today(code); today != want.today || retired != want.retired {
			t.Errorf("%s is %s today, retired: %t", code, today, retired)
		}
	}
}
