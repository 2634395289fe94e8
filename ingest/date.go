package ingest

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest/calendar"
)

// The precisions of a date of birth (code list date_precision).
const (
	precisionDay       = "day"
	precisionMonth     = "month"
	precisionYear      = "year"
	precisionAgeStated = "age_stated"
)

// Reasons why a date is not taken, for the report.
const (
	dateFormat          = "date_format"           // it is not written as the mapping says
	dateNotInCalendar   = "date_not_in_calendar"  // there is no such day: 30 Pagumen, February 30
	dateCalendarRange   = "date_calendar_range"   // its year is outside what the calendar's tables know
	dateCalendarUnknown = "date_calendar_unknown" // the row names no calendar of the mapping
)

const gregorian = "gregorian"

// dateForm is how the dates of a rule are written.
type dateForm struct {
	layouts  []dateLayout
	calendar *calendar.Calendar // nil: the row's word for its calendar is unknown
	stated   bool               // the mapping says which calendar it is
	joined   bool               // the date is made of several cells
}

// dateLayout is a way to write a date.
type dateLayout struct {
	parts     []datePart
	precision string
}

// datePart is a number, a name, or what stands between them.
type datePart struct {
	kind    byte   // Y, M, D: a number; N: the name of a month; 0: literal
	width   int    // digits of a number; 0: one or two
	literal string // a space stands for any number of them
}

// dateWords are the parts of a format as it is written, longest first.
var dateWords = [...]struct {
	written string
	part    datePart
}{
	{"YYYY", datePart{kind: 'Y', width: 4}},
	{"MMM", datePart{kind: 'N'}},
	{"MM", datePart{kind: 'M', width: 2}},
	{"DD", datePart{kind: 'D', width: 2}},
	{"M", datePart{kind: 'M'}},
	{"D", datePart{kind: 'D'}},
}

// dateLayouts compiles the formats of a rule; without any, a date is written as ISO 8601 has it.
func dateLayouts(f *annona.Field, doc fieldDoc) ([]dateLayout, error) {
	formats := doc.rule.Format
	switch {
	case doc.rule.inParts() && f.Code == "date_of_birth":
		formats = texts{"YYYY-M-D", "YYYY-MMM-D", "YYYY-M", "YYYY-MMM", "YYYY"}
	case doc.rule.inParts():
		formats = texts{"YYYY-M-D", "YYYY-MMM-D"}
	case len(formats) == 0:
		formats = texts{"YYYY-MM-DD"}
	}
	layouts := make([]dateLayout, len(formats))
	for i, format := range formats {
		l, ok := parseLayout(format)
		switch {
		case !ok:
			return nil, malformed(doc.line, "a `format` has YYYY, MM, DD (or M, D, and MMM for the name of a month) and punctuation, as in DD/MM/YYYY").On(f.Code)
		case l.precision != precisionDay && f.Code != "date_of_birth":
			return nil, malformed(doc.line, "only a date of birth may lack its day or month").On(f.Code)
		}
		layouts[i] = l
	}
	return layouts, nil
}

func parseLayout(format string) (dateLayout, bool) {
	var l dateLayout
	count := map[byte]int{}
next:
	for rest := plainDate(format); rest != ""; {
		for _, word := range dateWords {
			if strings.HasPrefix(rest, word.written) {
				l.parts = append(l.parts, word.part)
				count[word.part.kind]++
				rest = rest[len(word.written):]
				continue next
			}
		}
		r, size := utf8.DecodeRuneInString(rest)
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_') {
			return dateLayout{}, false
		}
		l.parts = append(l.parts, datePart{literal: rest[:size]})
		rest = rest[size:]
	}
	switch y, m, d := count['Y'], count['M']+count['N'], count['D']; {
	case y == 1 && m == 1 && d == 1:
		l.precision = precisionDay
	case y == 1 && m == 1 && d == 0:
		l.precision = precisionMonth
	case y == 1 && m == 0 && d == 0:
		l.precision = precisionYear
	}
	return l, l.precision != ""
}

// dateForm compiles how the dates of a rule are written.
func (c *compiler) dateForm(f *annona.Field, doc fieldDoc) (*dateForm, error) {
	if f.Type != annona.TypeDate {
		switch {
		case len(doc.rule.Format) > 0:
			return nil, malformed(doc.line, "only a date has a `format`").On(f.Code)
		case doc.rule.Calendar.given():
			return nil, malformed(doc.line, "only a date has a `calendar`").On(f.Code)
		}
		return nil, nil
	}
	form := &dateForm{calendar: c.calendar(gregorian), stated: doc.rule.Calendar.given(), joined: doc.rule.inParts()}
	if doc.rule.Calendar.code != "" {
		form.calendar = c.calendar(doc.rule.Calendar.code)
	}
	if form.calendar == nil {
		return nil, malformed(doc.line, "`calendar` is gregorian, ethiopic, bikram_sambat, solar_hijri or hijri, or the `column` that says which").On(f.Code)
	}
	var err error
	form.layouts, err = dateLayouts(f, doc)
	return form, err
}

// calendar returns the calendar of a code, one of each for the whole mapping; nil when there is
// none.
func (c *compiler) calendar(code string) *calendar.Calendar {
	if known, ok := c.calendars[code]; ok {
		return known
	}
	found, ok := calendar.Find(code)
	if !ok {
		return nil
	}
	if c.calendars == nil {
		c.calendars = map[string]*calendar.Calendar{}
	}
	c.calendars[code] = found
	return found
}

// rowCalendar is a column that says in which calendar the date of its row is written: there is
// one rule for each.
type rowCalendar struct {
	slot    int
	byWord  map[string]*rule // by the word of the source
	unknown *rule            // takes no date
}

// rowCalendars makes a rule for each calendar that a row may name.
func (c *compiler) rowCalendars(r *rule, v *view, doc fieldDoc) error {
	said := doc.rule.Calendar
	if said.column == "" {
		return nil
	}
	in := func(known *calendar.Calendar) *rule {
		one, form := *r, *r.dates
		form.calendar, one.dates = known, &form
		one.id = c.mapping.rules
		c.mapping.rules++
		return &one
	}
	r.calendars = &rowCalendar{slot: v.slot(said.column), byWord: map[string]*rule{}, unknown: in(nil)}
	words := said.codes
	if words == nil {
		words = map[string]string{}
		for _, code := range calendarCodes {
			words[code] = code
		}
	}
	for word, code := range words {
		known := c.calendar(code)
		if known == nil {
			return malformed(doc.line, "`codes` leads to %q, which is not a calendar", code).On(doc.code)
		}
		r.calendars.byWord[strings.TrimSpace(word)] = in(known)
	}
	return nil
}

var calendarCodes = [...]string{gregorian, "ethiopic", "bikram_sambat", "solar_hijri", "hijri"}

// of returns the rule for the calendar that the row names.
func (k *rowCalendar) of(cells []string) (r *rule, word string) {
	word = strings.TrimSpace(cells[k.slot])
	if r, ok := k.byWord[word]; ok {
		return r, word
	}
	return k.unknown, word
}

// dateCells are the cells that the parts of a date stand in; -1 where there is none.
type dateCells struct{ year, month, day int }

// inParts reports whether the date stands in several columns.
func (r *ruleDoc) inParts() bool { return r.Year != "" || r.Month != "" || r.Day != "" }

func (r *ruleDoc) parts(v *view) *dateCells {
	slot := func(column text) int {
		if column == "" {
			return -1
		}
		return v.slot(string(column))
	}
	return &dateCells{slot(r.Year), slot(r.Month), slot(r.Day)}
}

// text joins the parts that are there, from the year down. Without a year there is no date that
// could be read, but what was written is kept.
func (d *dateCells) text(cells []string, absent map[string]string) string {
	part := func(slot int) string {
		if slot < 0 {
			return ""
		}
		text := strings.TrimSpace(cells[slot])
		if _, none := absent[text]; none {
			return ""
		}
		return text
	}
	year, month, day := part(d.year), part(d.month), part(d.day)
	if month == "" {
		day = "" // the day of no month says nothing
	}
	if year == "" && month == "" {
		return ""
	}
	return strings.TrimRight(year+"-"+month+"-"+day, "-")
}

// dateRead is a date that was read, or why it was not.
type dateRead struct {
	date      annona.Date
	precision string
	fault     string // empty: it was read
}

// read reads a date in the first of the layouts that fits. A date without day or month becomes
// the middle of its month or year.
func (f *dateForm) read(text string) dateRead {
	if f.calendar == nil {
		return dateRead{fault: dateCalendarUnknown}
	}
	text = plainDate(text)
	failed := dateRead{fault: dateFormat}
	for i := range f.layouts {
		l := &f.layouts[i]
		year, month, day, ok := l.read(text, f.calendar)
		if !ok {
			continue
		}
		number, fault := l.dayOf(f.calendar, year, month, day)
		if fault == "" {
			return dateRead{date: dateOfDay(number, text), precision: l.precision}
		}
		failed.fault = fault
	}
	return failed
}

// says reports whether what became of a date says all that was written.
func (f *dateForm) says(text string, o outcome) bool {
	whole := o.precision == precisionDay && f.joined && f.calendar.Code() == gregorian
	return text == o.value || whole
}

// read takes the numbers out of a text.
func (l *dateLayout) read(text string, c *calendar.Calendar) (year, month, day int, ok bool) {
	for i, part := range l.parts {
		var n int
		switch part.kind {
		case 0:
			text, ok = cutLiteral(text, part.literal)
		case 'N':
			n, text, ok = l.cutName(text, i, c)
		default:
			n, text, ok = cutNumber(text, part.width)
		}
		if !ok {
			return 0, 0, 0, false
		}
		switch part.kind {
		case 'Y':
			year = n
		case 'M', 'N':
			month = n
		case 'D':
			day = n
		}
	}
	return year, month, day, text == ""
}

func cutLiteral(text, literal string) (string, bool) {
	if literal == " " {
		rest := strings.TrimLeft(text, " ")
		return rest, len(rest) < len(text)
	}
	return strings.CutPrefix(text, literal)
}

// cutNumber cuts a number of so many digits; of one or two, when the width is 0.
func cutNumber(text string, width int) (n int, rest string, ok bool) {
	digits := 0
	for digits < len(text) && digits < max(width, 2) && text[digits] >= '0' && text[digits] <= '9' {
		n = 10*n + int(text[digits]-'0')
		digits++
	}
	return n, text[digits:], digits > 0 && (width == 0 || digits == width)
}

// cutName cuts the name of a month. It goes up to the next number, without what the layout has
// behind it.
func (l *dateLayout) cutName(text string, at int, c *calendar.Calendar) (month int, rest string, ok bool) {
	name := text
	if digit := strings.IndexAny(text, "0123456789"); digit >= 0 {
		name = text[:digit]
	}
	behind := at + 1
	for behind < len(l.parts) && l.parts[behind].kind == 0 {
		behind++
	}
	for i := behind - 1; i > at; i-- {
		if l.parts[i].literal == " " {
			name = strings.TrimRight(name, " ")
		} else {
			name = strings.TrimSuffix(name, l.parts[i].literal)
		}
	}
	month, ok = c.Month(name)
	return month, text[len(name):], ok
}

// dayOf finds the day of a date, or says why there is none.
func (l *dateLayout) dayOf(c *calendar.Calendar, year, month, day int) (number int, fault string) {
	if c.YearDays(year) == 0 {
		return 0, dateCalendarRange
	}
	ok := false
	switch l.precision {
	case precisionDay:
		number, ok = c.Day(year, month, day)
	case precisionMonth:
		number, ok = c.MiddleOfMonth(year, month)
	default:
		number, ok = c.MiddleOfYear(year)
	}
	if !ok {
		return 0, dateNotInCalendar
	}
	return number, ""
}

// dateOfDay writes a day since 1970-01-01; the calendars know no year that it could not write.
// It is the text itself when that is how the day is written.
func dateOfDay(day int, text string) annona.Date {
	var buf [len(annona.DateLayout)]byte
	written := time.Unix(int64(day)*24*60*60, 0).UTC().AppendFormat(buf[:0], annona.DateLayout)
	if string(written) == text {
		return annona.Date(text)
	}
	return annona.Date(written)
}

// plainDate writes the digits, spaces and separators of any script as ASCII has them, and drops
// marks that only steer the direction of writing. A text in ASCII is returned as it is.
func plainDate(text string) string {
	text = strings.TrimSpace(text)
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.TrimSpace(strings.Map(plainMark, calendar.PlainNumerals(annona.PlainDigits(text))))
		}
	}
	return text
}

func plainMark(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		return r
	case unicode.Is(unicode.Cf, r):
		return -1
	case unicode.IsSpace(r), r == '፡': // the word space of Ethiopic
		return ' '
	case unicode.Is(unicode.Pd, r), r == '\u2212':
		return '-'
	}
	switch r {
	case '\u060D', '\u2044', '\u2215', '\uFF0F': // the date separator of Arabic; slashes
		return '/'
	case '\u060C', '\u066B', '\uFF0C':
		return ','
	case '\u06D4', '\uFF0E':
		return '.'
	}
	return r
}

// maxAge is the highest age in years that is taken for one.
const maxAge = 130

// bornAtAge returns the middle of the year in which somebody was born who stated an age on day
// d: d minus the age minus six months.
func bornAtAge(d annona.Date, text string) (annona.Date, bool) {
	age, err := strconv.Atoi(plainDate(text))
	if err != nil || age < 0 || age > maxAge {
		return "", false
	}
	t := d.Time()
	month := time.Date(t.Year()-age, t.Month()-6, 1, 0, 0, 0, 0, time.UTC)
	last := month.AddDate(0, 1, -1).Day()
	if month.Year() < 1000 {
		return "", false
	}
	return annona.DateOf(month.AddDate(0, 0, min(t.Day(), last)-1)), true
}

// DateTester returns a function that reports whether a text is a date in the calendar, written
// as the format says. It reports false when there is no such calendar or format.
func DateTester(calendarCode, format string) (func(text string) bool, bool) {
	layout, ok := parseLayout(format)
	c, known := calendar.Find(calendarCode)
	form := dateForm{layouts: []dateLayout{layout}, calendar: c}
	return func(text string) bool { return form.read(text).fault == "" }, ok && known
}
