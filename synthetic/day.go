package synthetic

import "github.com/annona-exchange/annona"

// day counts days since 1970-01-01, so that ages and spacings are subtractions.
type day int32

// inYears returns how many days that many years have on average.
func inYears(years float64) day { return day(years * 365.2425) }

func dayOf(d annona.Date) day { return day(d.Time().Unix() / (24 * 60 * 60)) }

// civil returns the calendar date (Howard Hinnant, "chrono-Compatible Low-Level Date
// Algorithms", civil_from_days).
func (d day) civil() (year, month, dayOfMonth int) {
	z := int(d) + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	year, month, dayOfMonth = yoe+era*400, mp+3, doy-(153*mp+2)/5+1
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, dayOfMonth
}

// on returns the day of a calendar date (days_from_civil of the same paper).
func on(year, month, dayOfMonth int) day {
	if month <= 2 {
		year, month = year-1, month+12
	}
	era := year / 400
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + dayOfMonth - 1
	return day(era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468)
}

// ethiopic returns the date in the Ethiopic calendar: twelve months of thirty days and one of
// five, of six in each year before a multiple of four.
func (d day) ethiopic() (year, month, dayOfMonth int) {
	const yearZero = -716732 // first day of the Ethiopic year 0
	since := int(d) - yearZero
	cycle, rest := since/1461, since%1461
	year = min(rest/365, 3)
	dayOfYear := rest - 365*year
	return 4*cycle + year, dayOfYear/30 + 1, dayOfYear%30 + 1
}

// append appends the canonical text of the day.
func (d day) append(dst []byte) []byte {
	y, m, n := d.civil()
	return append(dst,
		byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10), '-',
		byte('0'+m/10), byte('0'+m%10), '-',
		byte('0'+n/10), byte('0'+n%10))
}

// years returns the completed years from d to later; a negative number when later comes first.
func (d day) years(later day) int {
	y, m, n := d.civil()
	ly, lm, ln := later.civil()
	years := ly - y
	if lm < m || lm == m && ln < n {
		years--
	}
	return years
}

// midpoint returns the day that stands for a birth date of which only the month or only the
// year is known: the 15th, July 1.
func (d day) midpoint(precision string) day {
	y, m, _ := d.civil()
	switch precision {
	case "month":
		return on(y, m, 15)
	case "year":
		return on(y, 7, 1)
	default:
		return d
	}
}

// midpointOfAge returns the day that stands for the birth date of somebody whose age in years
// was stated on d: that day minus the age minus six months.
func (d day) midpointOfAge(age int) day {
	y, m, n := d.civil()
	y, m = y-age, m-6
	if m < 1 {
		y, m = y-1, m+12
	}
	return on(y, m, min(n, lengthOfMonth(y, m)))
}

func lengthOfMonth(year, month int) int {
	next, nextMonth := year, month+1
	if nextMonth > 12 {
		next, nextMonth = year+1, 1
	}
	return int(on(next, nextMonth, 1) - on(year, month, 1))
}
