package ingest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/calendar"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// birthMapping has one rule for the date of birth, in a file of columns separated by bars.
func birthMapping(t testing.TB, rule string) *ingest.Mapping {
	t.Helper()
	return parse(t, `
source: test
survey_date: 2026-06-30
inputs:
  - name: people
    format: csv
    delimiter: "|"
    individual:
      key: id
      fields:
        date_of_birth: `+rule+"\n")
}

// born reads one date of birth and returns what is on the record about it.
func born(t testing.TB, m *ingest.Mapping, header, row string) (map[string]string, ingest.Report) {
	t.Helper()
	got, report, _ := run(t, m, "id|"+header+"\n1|"+row+"\n")
	if len(got.individuals) != 1 {
		t.Fatalf("%d individuals", len(got.individuals))
	}
	v := values(got.individuals[0].Values)
	delete(v, "as_of")
	for flag := range report.Flags {
		v["flag"] += strings.TrimSuffix(flag, ":date_of_birth")
	}
	for fault := range report.Dates {
		v["why"] += strings.TrimSuffix(fault, ":date_of_birth")
	}
	out := map[string]string{}
	for field, text := range v {
		out[strings.TrimPrefix(field, "date_of_birth_")] = text
	}
	return out, report
}

func TestDatesOfBirth(t *testing.T) {
	type want = map[string]string
	exact := func(date, recorded, calendar string) want {
		return want{"date_of_birth": date, "precision": "day", "as_recorded": recorded, "calendar": calendar}
	}
	refused := func(recorded, calendar, why string) want {
		return want{"as_recorded": recorded, "calendar": calendar, "flag": "value_malformed", "why": why}
	}
	const ethiopic = "{column: d, calendar: ethiopic, format: [DD/MM/YYYY, D MMM YYYY, MMM YYYY, YYYY]}"
	const nepali = "{column: d, calendar: bikram_sambat, format: [YYYY-MM-DD, YYYY MMM D, YYYY]}"
	const solar = "{column: d, calendar: solar_hijri, format: [YYYY/M/D, D MMM YYYY, YYYY]}"
	const hijri = "{column: d, calendar: hijri, format: [D/M/YYYY, D MMM YYYY]}"
	for _, test := range []struct {
		rule, text string
		want       want
	}{
		{"{column: d, format: DD/MM/YYYY}", "29/02/2024", want{"date_of_birth": "2024-02-29", "precision": "day", "as_recorded": "29/02/2024"}},
		{"d", "2024-02-29", want{"date_of_birth": "2024-02-29", "precision": "day"}},
		{"d", "٢٠٢٤-٠٢-٢٩", want{"date_of_birth": "2024-02-29", "precision": "day", "as_recorded": "٢٠٢٤-٠٢-٢٩"}},
		{"d", "2023-02-29", want{"as_recorded": "2023-02-29", "flag": "value_malformed", "why": "date_not_in_calendar"}},
		{"d", "0999-01-01", want{"as_recorded": "0999-01-01", "flag": "value_malformed", "why": "date_calendar_range"}},
		{"{column: d, calendar: gregorian, format: D MMM YYYY}", "3 août 1984", exact("1984-08-03", "3 août 1984", "gregorian")},
		{"{column: d, format: 'D. MMM, YYYY'}", "3. March, 1984", want{"date_of_birth": "1984-03-03", "precision": "day", "as_recorded": "3. March, 1984"}},
		{"{column: d, format: D MMM YYYY}", "١٢ كانون الثاني ١٩٩٠", want{"date_of_birth": "1990-01-12", "precision": "day", "as_recorded": "١٢ كانون الثاني ١٩٩٠"}},
		{"{column: d, format: MMM-YYYY}", "Jan-1990", want{"date_of_birth": "1990-01-15", "precision": "month", "as_recorded": "Jan-1990", "flag": "date_of_birth_estimated"}},
		{"{column: d, format: D MMM YYYY}", "3 Brumaire 1984", want{"as_recorded": "3 Brumaire 1984", "flag": "value_malformed", "why": "date_format"}},

		{ethiopic, "01/01/2000", exact("2007-09-12", "01/01/2000", "ethiopic")},
		{ethiopic, "6 ጳጉሜን 2015", exact("2023-09-11", "6 ጳጉሜን 2015", "ethiopic")},
		{ethiopic, "፭ ጳጉሜን ፳፻፲፭", exact("2023-09-10", "፭ ጳጉሜን ፳፻፲፭", "ethiopic")},
		{ethiopic, "12 Ginbot 1983", exact("1991-05-20", "12 Ginbot 1983", "ethiopic")},
		{ethiopic, "30/13/2015", refused("30/13/2015", "ethiopic", "date_not_in_calendar")},
		{ethiopic, "30 Pagumen 2015", refused("30 Pagumen 2015", "ethiopic", "date_not_in_calendar")},
		{ethiopic, "6 Pagumen 2016", refused("6 Pagumen 2016", "ethiopic", "date_not_in_calendar")},
		{ethiopic, "ጳጉሜን 2016", want{"date_of_birth": "2024-09-08", "precision": "month", "as_recorded": "ጳጉሜን 2016", "calendar": "ethiopic", "flag": "date_of_birth_estimated"}},
		{ethiopic, "1983", want{"date_of_birth": "1991-03-12", "precision": "year", "as_recorded": "1983", "calendar": "ethiopic", "flag": "date_of_birth_estimated"}},
		{ethiopic, "9999", refused("9999", "ethiopic", "date_calendar_range")},

		{nepali, "2050-01-01", exact("1993-04-13", "2050-01-01", "bikram_sambat")},
		{nepali, "२०५० वैशाख १", exact("1993-04-13", "२०५० वैशाख १", "bikram_sambat")},
		{nepali, "2050-01-32", refused("2050-01-32", "bikram_sambat", "date_not_in_calendar")},
		{nepali, "1969-01-01", refused("1969-01-01", "bikram_sambat", "date_calendar_range")},
		{nepali, "2098-01-01", refused("2098-01-01", "bikram_sambat", "date_calendar_range")},

		{solar, "۱۳۶۲/۷/۱", exact("1983-09-23", "۱۳۶۲/۷/۱", "solar_hijri")},
		{solar, "۱۰ قوس ۱۳۶۰", exact("1981-12-01", "۱۰ قوس ۱۳۶۰", "solar_hijri")},
		{solar, "30 Esfand 1399", exact("2021-03-20", "30 Esfand 1399", "solar_hijri")},
		{solar, "30 Esfand 1400", refused("30 Esfand 1400", "solar_hijri", "date_not_in_calendar")},

		{hijri, "10/12/1445", exact("2024-06-16", "10/12/1445", "hijri")},
		{hijri, "\u200f١ رَمَضان ١٤٤٦", exact("2025-03-01", "\u200f١ رَمَضان ١٤٤٦", "hijri")},
		{hijri, "1/1/1299", refused("1/1/1299", "hijri", "date_calendar_range")},

		{"{column: d, calendar: ethiopic, format: DD/MM/YYYY, absent: {'99/99/9999': ~}}", "99/99/9999", want{}},
	} {
		got, _ := born(t, birthMapping(t, test.rule), "d", test.text)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", test.text, test.rule, diff)
		}
	}
}

// A stated age steps in where the date is refused, and what was written stays.
func TestAgeInPlaceOfARefusedDate(t *testing.T) {
	m := birthMapping(t, "{column: d, calendar: ethiopic, format: DD/MM/YYYY, age: a}")
	got, _ := born(t, m, "d|a", "30/13/2015|፵")
	want := map[string]string{
		"date_of_birth": "1985-12-30", "precision": "age_stated", "as_recorded": "30/13/2015", "calendar": "ethiopic",
		"flag": got["flag"], "why": "date_not_in_calendar",
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(got["flag"], "value_malformed") || !strings.Contains(got["flag"], "estimated") {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A row may say in which calendar its date is written, in words of the source.
func TestCalendarOfTheRow(t *testing.T) {
	own := birthMapping(t, "{column: d, calendar: {column: c, codes: {EC: ethiopic, GC: gregorian, '': gregorian}}}")
	ours := birthMapping(t, "{column: d, calendar: {column: c}}")
	for _, test := range []struct {
		m               *ingest.Mapping
		row, want, says string
	}{
		{own, "2000-01-01|EC", "2007-09-12", "ethiopic"},
		{own, "2000-01-01|GC", "2000-01-01", ""},
		{own, "2000-01-01|", "2000-01-01", ""},
		{own, "2000-01-01| EC ", "2007-09-12", "ethiopic"},
		{own, "2000-01-01|ethiopic", "", ""},
		{ours, "2000-01-01|ethiopic", "2007-09-12", "ethiopic"},
		{ours, "2000-01-01|", "", ""},
	} {
		got, report := born(t, test.m, "d|c", test.row)
		if got["date_of_birth"] != test.want || got["calendar"] != test.says {
			t.Errorf("%s: %v", test.row, got)
		}
		if test.want == "" && (got["why"] != "date_calendar_unknown" || got["as_recorded"] != "2000-01-01") {
			t.Errorf("%s: %v", test.row, got)
		}
		if strings.HasSuffix(test.row, "|ethiopic") && test.m == own && report.Unmapped["date_of_birth.calendar"] == nil {
			t.Errorf("the word is not in the report: %+v", report)
		}
	}
}

func TestDateInSeveralColumns(t *testing.T) {
	m := birthMapping(t, "{year: y, month: m, day: d, absent: {98: ~, 99: ~}}")
	for row, want := range map[string]map[string]string{
		"1984|8|23":      {"date_of_birth": "1984-08-23", "precision": "day"},
		"1984|August|23": {"date_of_birth": "1984-08-23", "precision": "day"},
		"1984|8|99":      {"date_of_birth": "1984-08-15", "precision": "month", "as_recorded": "1984-8", "flag": "date_of_birth_estimated"},
		"1984|98|23":     {"date_of_birth": "1984-07-01", "precision": "year", "as_recorded": "1984", "flag": "date_of_birth_estimated"},
		"1984||":         {"date_of_birth": "1984-07-01", "precision": "year", "as_recorded": "1984", "flag": "date_of_birth_estimated"},
		"||":             {},
		"|8|23":          {"as_recorded": "-8-23", "flag": "value_malformed", "why": "date_format"},
		"1984|2|30":      {"as_recorded": "1984-2-30", "flag": "value_malformed", "why": "date_not_in_calendar"},
	} {
		got, _ := born(t, m, "y|m|d", row)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row, diff)
		}
	}
}

// Any date, not only that of a birth, may be written in another calendar: the day of the survey
// too.
func TestOtherDatesInACalendar(t *testing.T) {
	m := parse(t, `
source: test
inputs:
  - name: people
    format: csv
    survey_date: {column: seen, calendar: ethiopic, format: DD/MM/YYYY}
    individual:
      key: id
      fields:
        registration_date: {column: reg, calendar: {column: cal}}
        date_of_birth_precision: {constant: year}
`)
	got, report, _ := run(t, m, "id,seen,reg,cal\n1,01/01/2000,2000-01-01,ethiopic\n2,30/13/2000,2000-13-30,ethiopic\n")
	first, second := values(got.individuals[0].Values), values(got.individuals[1].Values)
	if first["as_of"] != "2007-09-12" || first["registration_date"] != "2007-09-12" || second["as_of"] != "" || second["registration_date"] != "" {
		t.Errorf("%v %v", first, second)
	}
	if report.Dates["date_not_in_calendar:registration_date"] != 1 || report.Flags["date_of_birth_estimated:date_of_birth"] != 2 {
		t.Errorf("%+v", report)
	}
}

// Whatever day it is and however it is written, the record has that day and keeps the writing.
func TestWrittenDatesComeBack(t *testing.T) {
	months := map[string][]string{
		"gregorian":     {"janvier", "Feb", "março", "April", "mayo", "يونيو", "Julai", "août", "Sept", "Oktoba", "ኖቬምበር", "دسامبر"},
		"ethiopic":      {"Meskerem", "ጥቅምት", "ህዳር", "ታኅሣሥ", "Tir", "Yekatit", "መጋቢት", "Miazia", "ግንቦት", "Sene", "ሐምሌ", "Nehase", "ጳጉሜ"},
		"solar_hijri":   {"حمل", "Sawr", "خرداد", "Saratan", "اسد", "Shahrivar", "مهر", "لړم", "آذر", "Jadi", "بهمن", "حوت"},
		"hijri":         {"محرم", "Safar", "ربيع الأول", "Rabi al-Thani", "Jumada I", "جمادى الآخرة", "Rajab", "شعبان", "Ramadan", "Shawwal", "ذو القعدة", "Dhul Hijjah"},
		"bikram_sambat": {"Baisakh", "जेठ", "Ashadh", "साउन", "Bhadra", "असोज", "Kartik", "मंसिर", "Poush", "माघ", "Falgun", "चैत"},
	}
	zeros := []rune{'0', '٠', '۰', '०'}
	for code, names := range months {
		c, _ := calendar.Find(code)
		m := birthMapping(t, "{column: d, calendar: "+code+", format: [YYYY-MM-DD, D/M/YYYY, D MMM YYYY, 'MMM D, YYYY']}")
		first, last := c.Years()
		t.Run(code, rapid.MakeCheck(func(t *rapid.T) {
			y := rapid.IntRange(first, last).Draw(t, "year")
			mo := rapid.IntRange(1, c.Months()).Draw(t, "month")
			d := rapid.IntRange(1, c.MonthDays(y, mo)).Draw(t, "day")
			text := rapid.SampledFrom([]string{
				fmt.Sprintf("%04d-%02d-%02d", y, mo, d), fmt.Sprintf("%d/%d/%04d", d, mo, y),
				fmt.Sprintf("%d %s %04d", d, names[mo-1], y), fmt.Sprintf("%s %02d, %04d", names[mo-1], d, y),
			}).Draw(t, "text")
			zero := rapid.SampledFrom(zeros).Draw(t, "script")
			text = strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' {
					return zero + r - '0'
				}
				return r
			}, text)
			day, _ := c.Day(y, mo, d)
			want := time.Unix(int64(day)*86400, 0).UTC().Format("2006-01-02")
			record := readOne(t, m, text)
			if record["date_of_birth"] != want || record["date_of_birth_precision"] != "day" {
				t.Fatalf("%s is %v, want %s", text, record, want)
			}
			if text != want && (record["date_of_birth_as_recorded"] != text || record["date_of_birth_calendar"] != code) {
				t.Fatalf("%s is kept as %v", text, record)
			}
		}))
	}
}

func readOne(t rapid.TB, m *ingest.Mapping, cell string) map[string]string {
	var all batches
	if _, err := ingest.Read(context.Background(), m, []ingest.Source{source("one", "id|d\n1|"+cell+"\n")}, nil, nil, all.add); err != nil {
		t.Fatal(err)
	}
	if len(all.individuals) != 1 {
		return nil
	}
	return values(all.individuals[0].Values)
}

// FuzzDate feeds arbitrary texts to every calendar: what is taken is a date that exists, and
// what was written is kept or says the same.
func FuzzDate(f *testing.F) {
	var mappings []*ingest.Mapping
	for _, code := range []string{"gregorian", "ethiopic", "solar_hijri", "hijri", "bikram_sambat"} {
		mappings = append(mappings, birthMapping(f, "{column: d, calendar: "+code+", format: [YYYY-MM-DD, D/M/YYYY, D MMM YYYY, 'MMM, YYYY', MMMYYYY, YYYY]}"))
	}
	for _, text := range []string{"2015-13-06", "30 Pagumen 2015", "፭ ጳጉሜን ፳፻፲፭", "٣/٢/١٤٤٥", "۱۰ قوس ۱۳۶۰", "0000-00-00", "१ वैशाख २०५०", "MMM, 99999", "\u200f1/1/1400", "፻፻-፩-፩"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range mappings {
			record := readOne(t, m, `"`+strings.ReplaceAll(text, `"`, `""`)+`"`)
			date := record["date_of_birth"]
			if _, err := annona.ParseDate(date); date != "" && err != nil {
				t.Errorf("%q is read as %q", text, date)
			}
			if record != nil && strings.TrimSpace(text) != "" && record["date_of_birth_as_recorded"] == "" && date != text {
				t.Errorf("%q is lost: %v", text, record)
			}
			if date == "" && record["date_of_birth_precision"] != "" {
				t.Errorf("%q has a precision and no date", text)
			}
		}
	})
}
