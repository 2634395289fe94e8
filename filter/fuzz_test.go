package filter_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// planted stands for somebody's data in a filter. The fuzzer starts from texts that hold it; no
// error may repeat it.
const planted = "qzx4711"

// FuzzCompile holds Compile to three promises: it never panics, it repeats nothing, and what it
// accepts is written back as text that means the same.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`household.poverty_score < 35 && members.exists(m, age_on(m.date_of_birth, as_of) >= 60)`,
		`individual.sex in ["female", "qzx4711"] || !has(individual.occupation)`,
		`individual.qzx4711 == "female"`, `qzx4711.sex == "female"`, `qzx4711(individual.sex)`,
		`individual.date_of_birth > "qzx4711"`, `"qzx4711" in household.household_assets`,
		`household.income_amount < money("500", "GHS", "qzx4711")`, `within(household.area_code, 'qzx4711')`,
		`members.count(qzx4711, true) > 1`, `members.qzx4711(m, true)`, `"qzx4711`, `'''qzx4711`, `qzx4711 qzx4711`,
		`household.member_count == -0x7 ? true : false`, `[1, 2.5, {"qzx4711": b"\x00"}]`, "`qzx4711`", `r"\qzx4711"`,
		`!-1.5e3`, `((true) || (false))`, `individual.area_code == "\u00e9\n\t\"\\"`,
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, ofHouseholds bool) {
		of := dataset(t, "individuals")
		if ofHouseholds {
			of = dataset(t, "households")
		}
		c, err := filter.Compile(annona.Standard(), of, text)
		if err != nil {
			refused(t, text, err)
			return
		}
		again, err := filter.Compile(annona.Standard(), of, filter.Format(c))
		if annona.CodeOf(err) == "filter_too_large" && len(filter.Format(c)) > filter.MaxLength {
			return // parentheses and spaces of the canonical text made it longer
		}
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q\nwritten as %q\nread back as %v, error %v", text, filter.Format(c), again, err)
		}
	})
}

func refused(t *testing.T, text string, err error) {
	var e *annona.Error
	switch {
	case !errors.As(err, &e) || e.Kind == annona.KindInternal:
		t.Fatalf("%q failed with %v", text, err)
	case strings.Contains(e.Error()+e.Code, planted):
		t.Fatalf("the refusal repeats what was written: %v", e)
	case e.At < 0 || e.At > utf8.RuneCountInString(text)+1:
		t.Fatalf("%q is refused at %d", text, e.At)
	}
}
