package ingest

import (
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// The precisions of a date of birth (code list date_precision).
const (
	precisionDay       = "day"
	precisionMonth     = "month"
	precisionYear      = "year"
	precisionAgeStated = "age_stated"
)

// dateLayout is a way to write a date.
type dateLayout struct {
	layout    string // of package time
	precision string
}

// datePart is a part of a format, longest first.
var dateParts = [...]struct{ written, layout string }{{"YYYY", "2006"}, {"MM", "01"}, {"DD", "02"}, {"M", "1"}, {"D", "2"}}

// dateLayouts compiles the formats of a rule; without any, a date is written as ISO 8601 has it.
func dateLayouts(f *annona.Field, doc fieldDoc) ([]dateLayout, error) {
	if f.Type != annona.TypeDate {
		if len(doc.rule.Format) > 0 {
			return nil, malformed(doc.line, "only a date has a `format`").On(f.Code)
		}
		return nil, nil
	}
	if len(doc.rule.Format) == 0 {
		return []dateLayout{{annona.DateLayout, precisionDay}}, nil
	}
	layouts := make([]dateLayout, len(doc.rule.Format))
	for i, format := range doc.rule.Format {
		l, ok := parseLayout(format)
		switch {
		case !ok:
			return nil, malformed(doc.line, "a `format` has YYYY, MM, DD (or M, D) and punctuation, as in DD/MM/YYYY").On(f.Code)
		case l.precision != precisionDay && f.Code != "date_of_birth":
			return nil, malformed(doc.line, "only a date of birth may lack its day or month").On(f.Code)
		}
		layouts[i] = l
	}
	return layouts, nil
}

func parseLayout(format string) (dateLayout, bool) {
	var out strings.Builder
	count := map[byte]int{}
next:
	for rest := format; rest != ""; {
		for _, part := range dateParts {
			if strings.HasPrefix(rest, part.written) {
				out.WriteString(part.layout)
				count[part.written[0]]++
				rest = rest[len(part.written):]
				continue next
			}
		}
		if c := rest[0] | 0x20; c >= 'a' && c <= 'z' || rest[0] >= '0' && rest[0] <= '9' || rest[0] == '_' {
			return dateLayout{}, false
		}
		out.WriteByte(rest[0])
		rest = rest[1:]
	}
	l := dateLayout{layout: out.String()}
	switch y, m, d := count['Y'], count['M'], count['D']; {
	case y == 1 && m == 1 && d == 1:
		l.precision = precisionDay
	case y == 1 && m == 1 && d == 0:
		l.precision = precisionMonth
	case y == 1 && m == 0 && d == 0:
		l.precision = precisionYear
	}
	return l, l.precision != ""
}

// parseDate reads a date in the first of the layouts that fits. A date without day or month
// becomes the middle of its month or year.
func parseDate(text string, layouts []dateLayout) (date annona.Date, precision string, ok bool) {
	text = annona.PlainDigits(strings.TrimSpace(text))
	for _, l := range layouts {
		t, err := time.Parse(l.layout, text)
		if err != nil || t.Year() < 1000 {
			continue
		}
		switch l.precision {
		case precisionMonth:
			t = time.Date(t.Year(), t.Month(), 15, 0, 0, 0, 0, time.UTC)
		case precisionYear:
			t = time.Date(t.Year(), time.July, 1, 0, 0, 0, 0, time.UTC)
		}
		return annona.DateOf(t), l.precision, true
	}
	return "", "", false
}

// maxAge is the highest age in years that is taken for one.
const maxAge = 130

// bornAtAge returns the middle of the year in which somebody was born who stated an age on day
// d: d minus the age minus six months.
func bornAtAge(d annona.Date, text string) (annona.Date, bool) {
	age, err := strconv.Atoi(annona.PlainDigits(strings.TrimSpace(text)))
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
