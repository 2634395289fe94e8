package calendar_test

import (
	"bufio"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona/ingest/calendar"
	"pgregory.net/rapid"
)

var codes = []string{"gregorian", "ethiopic", "solar_hijri", "hijri", "bikram_sambat"}

func find(t rapid.TB, code string) *calendar.Calendar {
	c, ok := calendar.Find(code)
	if !ok {
		t.Fatalf("no calendar %q", code)
	}
	return c
}

// iso writes a day number as a date.
func iso(day int) string { return time.Unix(int64(day)*86400, 0).UTC().Format("2006-01-02") }

// Every year of the published tables begins on the day and has the months that they give.
func TestPublishedYears(t *testing.T) {
	for _, table := range []struct {
		code  string
		years int
	}{{"ethiopic", 501}, {"solar_hijri", 293}, {"hijri", 301}, {"bikram_sambat", 84}} {
		t.Run(table.code, func(t *testing.T) {
			c := find(t, table.code)
			file, err := os.Open("testdata/" + table.code + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			years := 0
			for lines := bufio.NewScanner(file); lines.Scan(); {
				if cells := strings.Fields(lines.Text()); cells[0] != "#" {
					checkYear(t, c, cells)
					years++
				}
			}
			if years != table.years {
				t.Errorf("the table has %d years, want %d", years, table.years)
			}
		})
	}
}

func checkYear(t *testing.T, c *calendar.Calendar, cells []string) {
	t.Helper()
	year, _ := strconv.Atoi(cells[0])
	if day, ok := c.Day(year, 1, 1); !ok || iso(day) != cells[1] {
		t.Errorf("%d begins on %s, want %s", year, iso(day), cells[1])
	}
	if len(cells)-2 != c.Months() {
		t.Fatalf("%d has %d months", year, len(cells)-2)
	}
	for i, want := range cells[2:] {
		if got := c.MonthDays(year, i+1); strconv.Itoa(got) != want {
			t.Errorf("month %d of %d has %d days, want %s", i+1, year, got, want)
		}
	}
}

// Days that history and officials have named in both calendars.
func TestKnownDays(t *testing.T) {
	for _, day := range []struct {
		code             string
		year, month, day int
		want             string
		what             string
	}{
		{"gregorian", 1970, 1, 1, "1970-01-01", "the first day"},
		{"gregorian", 2000, 2, 29, "2000-02-29", "a leap day of a fourth century"},
		{"ethiopic", 2000, 1, 1, "2007-09-12", "the Ethiopian millennium"},
		{"ethiopic", 1888, 6, 23, "1896-03-01", "the battle of Adwa"},
		{"ethiopic", 1967, 1, 2, "1974-09-12", "the emperor is deposed"},
		{"ethiopic", 1983, 9, 20, "1991-05-28", "Ginbot 20"},
		{"ethiopic", 2015, 13, 6, "2023-09-11", "a sixth day of Pagumen"},
		{"solar_hijri", 1357, 11, 22, "1979-02-11", "22 Bahman"},
		{"solar_hijri", 1285, 5, 14, "1906-08-06", "the constitution of Iran"},
		{"solar_hijri", 1357, 2, 7, "1978-04-27", "the 7th of Sawr"},
		{"solar_hijri", 1403, 12, 30, "2025-03-20", "the last day of a leap year"},
		{"hijri", 1446, 9, 1, "2025-03-01", "Ramadan as Saudi Arabia announced it"},
		{"hijri", 1445, 12, 10, "2024-06-16", "the feast of sacrifice"},
		{"hijri", 1445, 1, 1, "2023-07-19", "a new year"},
		{"hijri", 1437, 1, 1, "2015-10-14", "a new year"},
		{"hijri", 1356, 1, 1, "1937-03-14", "the first year of the tables of Utrecht"},
		{"bikram_sambat", 1970, 1, 1, "1913-04-13", "the first day of the table"},
		{"bikram_sambat", 2007, 11, 7, "1951-02-18", "Democracy Day"},
		{"bikram_sambat", 2063, 1, 11, "2006-04-24", "the house of representatives is restored"},
		{"bikram_sambat", 2065, 2, 15, "2008-05-28", "the republic is declared"},
		{"bikram_sambat", 2072, 6, 3, "2015-09-20", "the constitution"},
		{"bikram_sambat", 2072, 1, 12, "2015-04-25", "the earthquake"},
		{"bikram_sambat", 2083, 6, 1, "2026-09-17", "the first of Ashwin"},
	} {
		if got, ok := find(t, day.code).Day(day.year, day.month, day.day); !ok || iso(got) != day.want {
			t.Errorf("%s %d-%d-%d is %s, want %s: %s", day.code, day.year, day.month, day.day, iso(got), day.want, day.what)
		}
	}
}

// The year of Iran and Afghanistan begins on the day whose noon at Tehran the equinox of March
// precedes, and on the next one when it comes later. The equinox is computed by the series of
// Jean Meeus, Astronomical Algorithms, chapter 27.
func TestSolarHijriFollowsTheEquinox(t *testing.T) {
	c := find(t, "solar_hijri")
	first, last := c.Years()
	for year := first; year <= last; year++ {
		local := marchEquinox(year+621) + 3.5/24 // days since 1970 at Tehran, 52.5° east
		want := int(math.Floor(local + 0.5))     // in the afternoon the next day
		if got, _ := c.Day(year, 1, 1); got != want {
			t.Errorf("%d begins on %s, the equinox says %s (%.4f)", year, iso(got), iso(want), local)
		}
	}
}

// marchEquinox returns the equinox of a Gregorian year from 1000 to 3000 in days since
// 1970-01-01 UTC, to within a few minutes.
func marchEquinox(year int) float64 {
	y := (float64(year) - 2000) / 1000
	mean := 2451623.80984 + 365242.37404*y + 0.05169*y*y - 0.00411*y*y*y - 0.00057*y*y*y*y
	century := (mean - 2451545) / 36525
	w := (35999.373*century - 2.47) * math.Pi / 180
	lambda := 1 + 0.0334*math.Cos(w) + 0.0007*math.Cos(2*w)
	sum := 0.0
	for _, term := range [][3]float64{
		{485, 324.96, 1934.136}, {203, 337.23, 32964.467}, {199, 342.08, 20.186}, {182, 27.85, 445267.112},
		{156, 73.14, 45036.886}, {136, 171.52, 22518.443}, {77, 222.54, 65928.934}, {74, 296.72, 3034.906},
		{70, 243.58, 9037.513}, {58, 119.81, 33718.147}, {52, 297.17, 150.678}, {50, 21.02, 2281.226},
		{45, 247.54, 29929.562}, {44, 325.15, 31555.956}, {29, 60.93, 4443.417}, {18, 155.12, 67555.328},
		{17, 288.79, 4562.452}, {16, 198.04, 62894.029}, {14, 199.76, 31436.921}, {12, 95.39, 14577.848},
		{12, 287.11, 31931.756}, {12, 320.81, 34777.259}, {9, 227.73, 1222.114}, {8, 15.45, 16859.074},
	} {
		sum += term[0] * math.Cos((term[1]+term[2]*century)*math.Pi/180)
	}
	dynamical := mean + 0.00001*sum/lambda
	seconds := 62.92 + 32.217*(float64(year)-2000)/100 // of dynamical before universal time, roughly
	if year < 1980 {
		seconds = 30
	}
	return dynamical - seconds/86400 - 2440587.5
}

// A date becomes a day and the same date again, and a day becomes a date and the same day
// again; days follow each other without a gap.
func TestDaysAndDatesRoundTrip(t *testing.T) {
	for _, code := range codes {
		c := find(t, code)
		first, last := c.Years()
		begin, _ := c.Day(first, 1, 1)
		end, _ := c.Day(last, c.Months(), c.MonthDays(last, c.Months()))
		t.Run(code, rapid.MakeCheck(func(t *rapid.T) {
			day := rapid.IntRange(begin, end).Draw(t, "day")
			y, m, d, ok := c.Date(day)
			if back, exists := c.Day(y, m, d); !ok || !exists || back != day {
				t.Fatalf("day %d is %d-%d-%d, which is day %d", day, y, m, d, back)
			}
			if d == c.MonthDays(y, m) && day < end {
				if _, _, next, _ := c.Date(day + 1); next != 1 {
					t.Fatalf("%d-%d-%d is followed by a day %d", y, m, d, next)
				}
			}
			year := rapid.IntRange(first, last).Draw(t, "year")
			month := rapid.IntRange(1, c.Months()).Draw(t, "month")
			date := rapid.IntRange(1, c.MonthDays(year, month)).Draw(t, "date")
			n, ok := c.Day(year, month, date)
			if y, m, d, _ := c.Date(n); !ok || y != year || m != month || d != date {
				t.Fatalf("%d-%d-%d comes back as %d-%d-%d", year, month, date, y, m, d)
			}
			if middle, ok := c.MiddleOfYear(year); !ok || !within(c, middle, year, 6, 8) {
				t.Fatalf("the middle of %d is day %d", year, middle)
			}
			if middle, ok := c.MiddleOfMonth(year, month); !ok || !within(c, middle, year, month, month) {
				t.Fatalf("the middle of month %d of %d is day %d", month, year, middle)
			}
		}))
		if _, _, _, ok := c.Date(begin - 1); ok {
			t.Errorf("%s knows a day before its first year", code)
		}
		if _, _, _, ok := c.Date(end + 1); ok {
			t.Errorf("%s knows a day after its last year", code)
		}
	}
}

func within(c *calendar.Calendar, day, year, from, to int) bool {
	y, m, _, _ := c.Date(day)
	return y == year && m >= from && m <= to
}

// The Gregorian calendar is that of package time.
func TestGregorianIsThatOfTheStandardLibrary(t *testing.T) {
	c := find(t, "gregorian")
	rapid.Check(t, func(t *rapid.T) {
		day := rapid.IntRange(-354285, 2932896).Draw(t, "day")
		y, m, d, ok := c.Date(day)
		want := time.Unix(int64(day)*86400, 0).UTC()
		if !ok || y != want.Year() || time.Month(m) != want.Month() || d != want.Day() {
			t.Fatalf("day %d is %d-%d-%d, want %s", day, y, m, d, want.Format("2006-01-02"))
		}
		if middle, _ := c.MiddleOfMonth(y, 2); iso(middle) != want.Format("2006")+"-02-15" {
			t.Errorf("the middle of February of %d is %s", y, iso(middle))
		}
		if middle, _ := c.MiddleOfYear(y); iso(middle) != want.Format("2006")+"-07-01" {
			t.Fatalf("the middle of %d is %s", y, iso(middle))
		}
	})
}

// Dates that do not exist have no day, whatever numbers they are made of.
func TestDatesThatDoNotExist(t *testing.T) {
	for _, date := range []struct {
		code             string
		year, month, day int
	}{
		{"ethiopic", 2016, 13, 6}, {"ethiopic", 2015, 13, 7}, {"ethiopic", 2015, 13, 30}, {"ethiopic", 2015, 14, 1}, {"ethiopic", 2015, 1, 31},
		{"solar_hijri", 1402, 12, 30}, {"solar_hijri", 1402, 7, 31}, {"solar_hijri", 1205, 1, 1}, {"solar_hijri", 1499, 1, 1},
		{"hijri", 1446, 1, 31}, {"hijri", 1446, 13, 1}, {"hijri", 1299, 12, 1}, {"hijri", 1601, 1, 1},
		{"bikram_sambat", 2081, 9, 30}, {"bikram_sambat", 1969, 12, 1}, {"bikram_sambat", 2084, 1, 1},
		{"gregorian", 1900, 2, 29}, {"gregorian", 2026, 4, 31}, {"gregorian", 999, 12, 31}, {"gregorian", 10000, 1, 1},
		{"gregorian", 2026, 0, 1}, {"gregorian", 2026, 1, 0}, {"gregorian", 2026, -1, -1}, {"hijri", math.MaxInt, math.MinInt, 1},
	} {
		if day, ok := find(t, date.code).Day(date.year, date.month, date.day); ok {
			t.Errorf("%s %d-%d-%d is %s", date.code, date.year, date.month, date.day, iso(day))
		}
	}
	if _, ok := calendar.Find("lunar"); ok {
		t.Error("there is a calendar nobody declared")
	}
}

func TestNamesOfMonths(t *testing.T) {
	for _, name := range []struct {
		code, name string
		want       int
	}{
		{"ethiopic", "መስከረም", 1}, {"ethiopic", "ህዳር", 3}, {"ethiopic", "ኅዳር", 3}, {"ethiopic", "ታህሳስ", 4}, {"ethiopic", "ሀምሌ", 11},
		{"ethiopic", "ነሐሴ", 12}, {"ethiopic", "ነሀሴ", 12}, {"ethiopic", "Pagumē", 13}, {"ethiopic", "ጳጉሜን", 13}, {"ethiopic", "tahsas", 4},
		{"solar_hijri", "آبان", 8}, {"solar_hijri", "ابان", 8}, {"solar_hijri", "ثور", 2}, {"solar_hijri", "غبرگولی", 3}, {"solar_hijri", "Qaws", 9},
		{"hijri", "رَمَضَان", 9}, {"hijri", "ذو الحجة", 12}, {"hijri", "ذوالحجه", 12}, {"hijri", "Rabīʿ al-Awwal", 3}, {"hijri", "Rabi' II", 4}, {"hijri", "جمادى الأولى", 5},
		{"bikram_sambat", "वैशाख", 1}, {"bikram_sambat", "Baishakh", 1}, {"bikram_sambat", "मंसिर", 8}, {"bikram_sambat", "चैत्र", 12}, {"bikram_sambat", "asoj", 6},
		{"gregorian", "AOÛT", 8}, {"gregorian", "março", 3}, {"gregorian", "ene.", 1}, {"gregorian", "Januari", 1}, {"gregorian", "كانون الثاني", 1}, {"gregorian", "أيلول", 9},
		{"gregorian", "", 0}, {"gregorian", "مهر", 0}, {"ethiopic", "January", 0}, {"hijri", "Rabi", 0},
	} {
		if got, ok := find(t, name.code).Month(name.name); got != name.want || ok != (name.want > 0) {
			t.Errorf("%s %q is month %d, want %d", name.code, name.name, got, name.want)
		}
	}
}

func TestEthiopicNumerals(t *testing.T) {
	for text, want := range map[string]string{
		"፲፱፻፺፱": "1999", "፳፻፲፭": "2015", "፩": "1", "፲": "10", "፴": "30", "፻": "100", "፻፩": "101", "፲፱፻": "1900",
		"፭ ጳጉሜን ፳፻፲፭": "5 ጳጉሜን 2015", "1999": "1999", "": "", "መስከረም": "መስከረም",
		"፩፲": "፩፲", "፻፻": "፻፻", "፩፩": "፩፩", "x፩y": "x1y",
	} {
		if got := calendar.PlainNumerals(text); got != want {
			t.Errorf("%q reads %q, want %q", text, got, want)
		}
	}
}
