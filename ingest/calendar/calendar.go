// Package calendar knows the calendars in which registries write dates: which dates exist in
// them, on which day each one falls, and what their months are called.
//
// A day is a number: days since 1970-01-01 of the Gregorian calendar. Every calendar turns its
// dates into days and days into its dates, inside a range of years; outside of it, it gives no
// answer and guesses none.
//
//	code           range       source
//	gregorian      1000–9999   ISO 8601
//	ethiopic       1000–3000   12 months of 30 days and Pagumen of 5, or 6 before a year divisible by 4
//	solar_hijri    1206–1498   33-year cycle, which in this range gives the equinox at Tehran
//	hijri          1300–1600   the tables of Umm al-Qura, the civil calendar of Saudi Arabia
//	bikram_sambat  1970–2083   the tables that Nepal publishes year by year
//
// Eras and time zones are not its matter, and it knows nothing of fields and formats.
package calendar

import (
	"sort"
	"strings"
)

// Calendar is one calendar. It does not change and may serve many readers at once.
type Calendar struct {
	code        string
	first, last int // years
	months      int
	newYear     func(year int) int
	length      func(year, month int) int
	names       map[string]int // folded name → month
}

// Find returns the calendar of a code of the code list calendar. It builds its tables: keep it.
func Find(code string) (*Calendar, bool) {
	switch code {
	case "gregorian":
		return gregorian(), true
	case "ethiopic":
		return ethiopic(), true
	case "solar_hijri":
		return solarHijri(), true
	case "hijri":
		return hijri(), true
	case "bikram_sambat":
		return bikramSambat(), true
	}
	return nil, false
}

// Code is the calendar's code.
func (c *Calendar) Code() string { return c.code }

// Years returns the first and the last year that the calendar knows.
func (c *Calendar) Years() (first, last int) { return c.first, c.last }

// Months is the number of months of a year.
func (c *Calendar) Months() int { return c.months }

// MonthDays returns how many days a month has; 0 when there is no such month.
func (c *Calendar) MonthDays(year, month int) int {
	if year < c.first || year > c.last || month < 1 || month > c.months {
		return 0
	}
	return c.length(year, month)
}

// YearDays returns how many days a year has; 0 when the year is out of range.
func (c *Calendar) YearDays(year int) int {
	if year < c.first || year > c.last {
		return 0
	}
	return c.newYear(year+1) - c.newYear(year)
}

// Day returns the day on which a date falls. It reports false when the date does not exist or
// its year is out of range.
func (c *Calendar) Day(year, month, day int) (int, bool) {
	if day < 1 || day > c.MonthDays(year, month) {
		return 0, false
	}
	n := c.newYear(year) + day - 1
	for m := 1; m < month; m++ {
		n += c.length(year, m)
	}
	return n, true
}

// Date returns the date of a day. It reports false when its year is out of range.
func (c *Calendar) Date(day int) (year, month, dayOfMonth int, ok bool) {
	if day < c.newYear(c.first) || day >= c.newYear(c.last+1) {
		return 0, 0, 0, false
	}
	years := c.last - c.first + 1
	year = c.first + sort.Search(years, func(i int) bool { return c.newYear(c.first+i+1) > day })
	rest := day - c.newYear(year)
	for month = 1; rest >= c.length(year, month); month++ {
		rest -= c.length(year, month)
	}
	return year, month, rest + 1, true
}

// MiddleOfMonth returns the day that stands for a month of which the day is not known: its
// 15th, or the middle of a month that is shorter than that.
func (c *Calendar) MiddleOfMonth(year, month int) (int, bool) {
	if days := c.MonthDays(year, month); days < 15 {
		return c.Day(year, month, (days+1)/2)
	}
	return c.Day(year, month, 15)
}

// MiddleOfYear returns the day that stands for a year of which no more is known. In the
// Gregorian calendar this is July 1.
func (c *Calendar) MiddleOfYear(year int) (int, bool) {
	days := c.YearDays(year)
	if days == 0 {
		return 0, false
	}
	return c.newYear(year) + days/2 - 1, true
}

// Month returns the number of a month by its name, in the languages of the countries that use
// the calendar or in Latin letters. Case, accents, points and spaces do not matter.
func (c *Calendar) Month(name string) (int, bool) {
	m, ok := c.names[fold(name)]
	return m, ok
}

// tabled is the rule of new years of a calendar that is known year by year only: days of each
// year from first on.
func tabled(first, newYear int, yearDays []int) func(int) int {
	starts := make([]int, len(yearDays)+1)
	starts[0] = newYear
	for i, days := range yearDays {
		starts[i+1] = starts[i] + days
	}
	return func(year int) int { return starts[year-first] }
}

// named indexes the names of months, each of which stands between bars.
func named(months []string) map[string]int {
	names := map[string]int{}
	for i, spellings := range months {
		for spelling := range strings.SplitSeq(spellings, "|") {
			names[fold(spelling)] = i + 1
		}
	}
	return names
}
