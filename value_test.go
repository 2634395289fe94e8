package annona_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

func TestParseDate(t *testing.T) {
	for _, good := range []string{"1000-01-01", "2024-02-29", "9999-12-31"} {
		if d, err := annona.ParseDate(good); err != nil || string(d) != good {
			t.Errorf("%s: got %q, %v", good, d, err)
		}
	}
	for _, bad := range []string{"", "0999-01-01", "2023-02-29", "2024-2-29", "29.02.2024", "2024-02-29T00:00:00Z", "10000-01-01", "-024-01-01", "2024-13-01", "２０２４-01-01"} {
		if _, err := annona.ParseDate(bad); annona.CodeOf(err) != "date_malformed" {
			t.Errorf("%q: got %v, want date_malformed", bad, err)
		}
	}
}

func TestAgeOn(t *testing.T) {
	cases := []struct {
		birth, day annona.Date
		want       int
	}{
		{"2000-06-15", "2020-06-14", 19},
		{"2000-06-15", "2020-06-15", 20},
		{"2000-02-29", "2021-02-28", 20},
		{"2000-02-29", "2021-03-01", 21},
		{"2000-02-29", "2024-02-29", 24},
		{"2000-06-15", "2000-06-14", -1},
		{"2000-06-15", "2000-06-15", 0},
	}
	for _, c := range cases {
		if got := annona.AgeOn(c.birth, c.day); got != c.want {
			t.Errorf("born %s, on %s: %d years, want %d", c.birth, c.day, got, c.want)
		}
	}
}

func TestDateArithmetic(t *testing.T) {
	if d := annona.Date("2024-02-28").AddDays(2); d != "2024-03-01" {
		t.Errorf("two days after February 28, 2024 is %s", d)
	}
	zone := time.FixedZone("ahead", 5*3600)
	if d := annona.DateOf(time.Date(2024, 1, 1, 2, 0, 0, 0, zone)); d != "2024-01-01" {
		t.Errorf("the day in its own zone is %s", d)
	}
	if !annona.Date("").Time().IsZero() {
		t.Error("the absent date has a time")
	}
}

// date draws a day of the years 1000 to 9899, leap days among them, so that what
// is counted from it can still be written.
func date(t *rapid.T, label string) annona.Date {
	day := rapid.IntRange(0, 8899*365).Draw(t, label)
	if rapid.IntRange(0, 4).Draw(t, "leap") == 0 {
		return annona.DateOf(time.Date(1004+day%8896/4*4, 2, 29, 0, 0, 0, 0, time.UTC)) // March 1 in a common year
	}
	return annona.DateOf(time.Date(1000, 1, 1+day, 0, 0, 0, 0, time.UTC))
}

// TestYearsBeforeIsTheLastBirthday: whoever is born on that day or before has completed the
// years, whoever is born a day later has not.
func TestYearsBeforeIsTheLastBirthday(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day, years := date(t, "day"), rapid.IntRange(0, 130).Draw(t, "years")
		last := day.YearsBefore(years)
		if last < "1000-01-01" {
			t.Skip("outside the dates that can be written")
		}
		if age := annona.AgeOn(last, day); age < years {
			t.Fatalf("born on %s: %d years on %s, want at least %d", last, age, day, years)
		}
		if age := annona.AgeOn(last.AddDays(1), day); age >= years {
			t.Fatalf("born a day after %s: %d years on %s, want less than %d", last, age, day, years)
		}
	})
}

func TestParseDecimal(t *testing.T) {
	good := []struct {
		text  string
		scale int
		want  int64
	}{
		{"0", 2, 0}, {"-0", 2, 0}, {"-0.00", 2, 0}, {"12", 2, 1200}, {"12.3", 2, 1230}, {"12.30", 2, 1230},
		{"12.300000", 2, 1230}, {"-0.05", 2, -5}, {"007", 0, 7}, {"1.000", 0, 1},
		{"9223372036854775807", 0, 1<<63 - 1}, {"-9223372036854775808", 0, -1 << 63}, {"-92233720368547758.08", 2, -1 << 63},
	}
	for _, c := range good {
		if n, err := annona.ParseDecimal(c.text, c.scale); err != nil || n != c.want {
			t.Errorf("%s with scale %d: got %d, %v; want %d", c.text, c.scale, n, err, c.want)
		}
	}
	bad := []string{"", "-", ".", ".5", "5.", "-.5", "+5", "--5", "1e3", "1,5", "1 000", "1_000", "0x1", "1.2.3", "12.345",
		"NaN", "Inf", "١٢", " 1", "1 ", "92233720368547758.08", "9999999999999999999999"}
	for _, text := range bad {
		if _, err := annona.ParseDecimal(text, 2); annona.CodeOf(err) != "decimal_malformed" {
			t.Errorf("%q: got %v, want decimal_malformed", text, err)
		}
	}
}

func TestDecimalsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, scale := rapid.Int64().Draw(t, "n"), rapid.IntRange(0, 15).Draw(t, "scale")
		text := string(annona.AppendDecimal(nil, n, scale))
		back, err := annona.ParseDecimal(text, scale)
		if err != nil || back != n {
			t.Fatalf("%d with scale %d is %s and comes back as %d, %v", n, scale, text, back, err)
		}
		if strings.Contains(text, ".") && strings.HasSuffix(text, "0") {
			t.Fatalf("%s has trailing zeros", text)
		}
	})
}

func FuzzParseDecimal(f *testing.F) {
	for _, seed := range []string{"0", "-1.5", "1e9", "9223372036854775807", ".", "00.10"} {
		f.Add(seed, 2)
	}
	f.Fuzz(func(t *testing.T, text string, scale int) {
		scale &= 15
		n, err := annona.ParseDecimal(text, scale)
		if err != nil {
			if strings.Contains(err.Error(), text) && len(text) > 12 {
				t.Error("the error repeats the value")
			}
			return
		}
		canonical := string(annona.AppendDecimal(nil, n, scale))
		if again, err := annona.ParseDecimal(canonical, scale); err != nil || again != n {
			t.Errorf("%q is %d, whose canonical text %q is %d, %v", text, n, canonical, again, err)
		}
	})
}

func TestCanonical(t *testing.T) {
	cases := []struct {
		field      annona.Field
		text, want string
		refused    string
	}{
		{annona.Field{Type: annona.TypeText}, "", "", ""},
		{annona.Field{Type: annona.TypeText}, " Ama \"K\"\n=cmd|]]> ", " Ama \"K\"\n=cmd|]]> ", ""},
		{annona.Field{Type: annona.TypeText}, "a\uFFFDb", "a\uFFFDb", ""},
		{annona.Field{Type: annona.TypeText}, "a\xffb", "", "text_malformed"},
		{annona.Field{Type: annona.TypeText}, "a\xed\xa0\x80b", "", "text_malformed"},
		{annona.Field{Type: annona.TypeText}, "a\x00b", "", "text_malformed"},
		{annona.Field{Type: annona.TypeText}, "a\uFFFEb", "", "text_malformed"},
		{annona.Field{Type: annona.TypeText}, "a;b", "a;b", ""},
		{annona.Field{Type: annona.TypeText, Many: true}, "a;b", "", "text_malformed"},
		{annona.Field{Type: annona.TypeText, Many: true}, "a\x1fb", "", "text_malformed"},
		{annona.Field{Type: annona.TypeInt}, "-007", "-7", ""},
		{annona.Field{Type: annona.TypeInt}, "-0", "0", ""},
		{annona.Field{Type: annona.TypeInt}, "7.0", "", "int_malformed"},
		{annona.Field{Type: annona.TypeInt}, "9223372036854775808", "", "int_malformed"},
		{annona.Field{Type: annona.TypeDec, Scale: 2}, "5.4400", "5.44", ""},
		{annona.Field{Type: annona.TypeDec, Scale: 2}, "5.444", "", "decimal_malformed"},
		{annona.Field{Type: annona.TypeBool}, "true", "true", ""},
		{annona.Field{Type: annona.TypeBool}, "yes", "", "bool_malformed"},
		{annona.Field{Type: annona.TypeDate}, "2024-02-29", "2024-02-29", ""},
		{annona.Field{Type: annona.TypeDate}, "2024-02-30", "", "date_malformed"},
		{annona.Field{Type: annona.TypeInstant}, "2024-02-29T23:30:00.1234+05:00", "2024-02-29T18:30:00.123Z", ""},
		{annona.Field{Type: annona.TypeInstant}, "2024-02-29 23:30:00", "", "instant_malformed"},
		{annona.Field{Type: annona.TypeInstant}, "9999-12-31T23:59:59-01:00", "", "instant_malformed"},
		{annona.Field{Type: annona.TypeInstant}, "0000-01-01T00:00:00Z", "", "instant_malformed"},
	}
	for _, c := range cases {
		c.field.Code = "some_field"
		got, err := c.field.Canonical(c.text)
		if c.refused == "" && (err != nil || got != c.want) {
			t.Errorf("%s %q: got %q, %v; want %q", c.field.Type, c.text, got, err, c.want)
		}
		if c.refused != "" && (annona.CodeOf(err) != c.refused || !strings.HasPrefix(err.Error(), "some_field: ")) {
			t.Errorf("%s %q: got %v, want %s", c.field.Type, c.text, err, c.refused)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	types := []annona.Type{annona.TypeText, annona.TypeInt, annona.TypeDec, annona.TypeBool, annona.TypeDate, annona.TypeInstant, annona.TypeCode}
	for i := range types {
		f.Add("2024-02-29T23:30:00Z", uint8(i))
		f.Add("-12.50", uint8(i))
	}
	f.Fuzz(func(t *testing.T, text string, kind uint8) {
		field := annona.Field{Code: "x", Type: types[int(kind)%len(types)], Scale: 4}
		once, err := field.Canonical(text)
		if err != nil {
			return
		}
		if twice, err := field.Canonical(once); err != nil || twice != once {
			t.Errorf("%s %q becomes %q, then %q, %v", field.Type, text, once, twice, err)
		}
	})
}
