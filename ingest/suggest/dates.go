package suggest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// dated is how the dates of a column seem to be written.
type dated struct {
	calendar string   // empty: Gregorian
	formats  []string // that of most dates first
	share    float64  // of the values that the first format fits
	unsure   string   // what the values do not tell
	fits     func(string) bool
}

// wholeFormats and partFormats are tried, the likely ones first.
var (
	wholeFormats = [...]string{"YYYY-MM-DD", "DD/MM/YYYY", "MM/DD/YYYY", "DD-MM-YYYY", "DD.MM.YYYY", "YYYY/MM/DD", "D/M/YYYY", "M/D/YYYY",
		"YYYY/M/D", "YYYY-M-D", "D-M-YYYY", "D MMM YYYY", "D-MMM-YYYY", "MMM D, YYYY", "YYYY MMM D"}
	partFormats = [...]string{"MM/YYYY", "YYYY-MM", "MMM YYYY", "MMM-YYYY", "YYYY"}
)

// dates finds the calendar and the formats that fit most values.
func (c *column) dates(today annona.Date) dated {
	if c.dating == nil {
		found := c.findDates(today)
		c.dating = &found
	}
	d := *c.dating
	d.formats = slices.Clone(d.formats)
	return d
}

func (c *column) findDates(today annona.Date) dated {
	d := dated{fits: func(string) bool { return false }}
	d.calendar = c.calendar(today)
	calendar := cmp.Or(d.calendar, "gregorian")
	for _, format := range wholeFormats {
		fits, ok := ingest.DateTester(calendar, format)
		if !ok {
			continue
		}
		switch share := c.share(fits); {
		case share > d.share:
			d.share, d.formats, d.unsure = share, []string{format}, ""
			d.fits = fits
		case share > 0 && share == d.share && strings.HasPrefix(format, "M") && strings.HasPrefix(d.formats[0], "D"):
			d.unsure = "whether the day or the month comes first"
		}
	}
	return c.parts(d, calendar)
}

// parts adds the formats of dates without a day that fit what the first does not.
func (c *column) parts(d dated, calendar string) dated {
	for _, format := range partFormats {
		fits, _ := ingest.DateTester(calendar, format)
		if c.share(fits) > 0.02 && (len(d.formats) > 0 || c.share(fits) > 0.5) {
			d.formats = append(d.formats, format)
			before := d.fits
			d.fits = func(s string) bool { return before(s) || fits(s) }
		}
	}
	return d
}

// calendar guesses the calendar by the header and by years and days that the Gregorian one
// does not have. It is empty when nothing speaks against the Gregorian.
func (c *column) calendar(today annona.Date) string {
	for _, word := range c.words {
		switch word {
		case "ethiopian", "ethiopic", "ec", "ethio":
			return "ethiopic"
		case "bs", "bikram", "nepali", "miti":
			return "bikram_sambat"
		case "shamsi", "jalali", "khorshidi", "solar":
			return "solar_hijri"
		case "hijri", "ah", "هجري", "qamari":
			return "hijri"
		}
	}
	thisYear, _ := strconv.Atoi(string(today)[:4])
	var future, old, late, all, day31 int
	var highest [2]int // of the two numbers beside the year
	for _, text := range c.texts {
		year, numbers := yearOf(text)
		if year == 0 {
			continue
		}
		all++
		future += one(year > thisYear+20) // papers expire sooner
		old += one(year >= 1290 && year < 1500)
		late += one(year > thisYear-621 && year < 1500)
		if len(numbers) == 2 {
			highest[0], highest[1] = max(highest[0], numbers[0]), max(highest[1], numbers[1])
			day31 += one(numbers[0] == 31 || numbers[1] == 31)
		}
	}
	switch {
	case all == 0:
		return ""
	case 2*old > all && (late == 0 || day31 > 0):
		return "solar_hijri"
	case 2*old > all:
		return "hijri"
	case 5*future > all:
		return "bikram_sambat"
	case min(highest[0], highest[1]) == 13 && max(highest[0], highest[1]) <= 30:
		return "ethiopic" // it alone has a thirteenth month
	}
	return ""
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// yearOf returns the number of four digits in a text, and the others.
func yearOf(text string) (year int, others []int) {
	for _, part := range strings.FieldsFunc(annona.PlainDigits(text), func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(part)
		switch {
		case err != nil:
		case len(part) == 4:
			year = n
		case len(part) <= 2:
			others = append(others, n)
		}
	}
	return year, others
}
