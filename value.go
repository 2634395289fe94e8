package annona

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// DateLayout is the canonical text of a date.
const DateLayout = "2006-01-02"

// Date is a day in canonical text, so that dates compare as text does. The empty Date is
// absent.
type Date string

// ParseDate reads a full-date of RFC 3339 with a year from 1000 to 9999.
func ParseDate(s string) (Date, error) {
	if len(s) != len(DateLayout) || s[0] == '0' {
		return "", Invalid("date_malformed", "a date is written 2006-01-02, with a year from 1000 to 9999")
	}
	if _, err := time.Parse(DateLayout, s); err != nil {
		return "", Invalid("date_malformed", "a date is written 2006-01-02 and exists in the calendar")
	}
	return Date(s), nil
}

// DateOf returns the day of t in t's own time zone.
func DateOf(t time.Time) Date { return Date(t.Format(DateLayout)) }

// Time returns midnight UTC of the day; the zero time for the empty Date.
func (d Date) Time() time.Time {
	t, _ := time.Parse(DateLayout, string(d))
	return t
}

// AddDays returns the day that many days later.
func (d Date) AddDays(days int) Date { return DateOf(d.Time().AddDate(0, 0, days)) }

// YearsBefore returns the latest birth date of somebody who has completed that many years
// on d. Somebody born on February 29 completes a year on March 1 of a common year.
func (d Date) YearsBefore(years int) Date {
	t := d.Time()
	y := t.Year() - years
	if y < 1 {
		return "0001-01-01"
	}
	if y > 9999 {
		return "9999-12-31"
	}
	month, day := t.Month(), t.Day()
	if month == time.February && day == 29 && !leap(y) {
		day = 28
	}
	return DateOf(time.Date(y, month, day, 0, 0, 0, 0, time.UTC))
}

func leap(y int) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

// AgeOn returns the completed years of somebody born on birth at day d; negative before birth.
func AgeOn(birth, d Date) int {
	b, t := birth.Time(), d.Time()
	years := t.Year() - b.Year()
	if t.Month() < b.Month() || t.Month() == b.Month() && t.Day() < b.Day() {
		years--
	}
	return years
}

// ParseDecimal reads a decimal number into an integer scaled by 10^scale. It refuses
// exponents, digits beyond the scale (nothing is rounded away silently) and what does not
// fit 64 bits.
func ParseDecimal(s string, scale int) (int64, error) {
	digits := strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	fraction = strings.TrimRight(fraction, "0")
	if whole == "" || point && len(digits) == len(whole)+1 || len(fraction) > scale {
		return 0, decimalMalformed(scale)
	}
	for _, r := range digits {
		if (r < '0' || r > '9') && r != '.' {
			return 0, decimalMalformed(scale)
		}
	}
	sign := s[:len(s)-len(digits)]
	n, err := strconv.ParseInt(sign+whole+fraction+strings.Repeat("0", scale-len(fraction)), 10, 64)
	if err != nil {
		return 0, decimalMalformed(scale)
	}
	return n, nil
}

func decimalMalformed(scale int) error {
	return Invalid("decimal_malformed", "a number has digits, an optional point and at most %d digits after it", scale)
}

// AppendDecimal appends the canonical text of a scaled integer to dst.
func AppendDecimal(dst []byte, n int64, scale int) []byte {
	if n < 0 {
		dst = append(dst, '-')
	}
	var buf [40]byte
	digits := strconv.AppendUint(buf[:0], magnitude(n), 10)
	if len(digits) <= scale {
		dst = append(dst, '0')
	} else {
		dst = append(dst, digits[:len(digits)-scale]...)
		digits = digits[len(digits)-scale:]
	}
	end := len(digits)
	for end > 0 && digits[end-1] == '0' {
		end--
	}
	if scale == 0 || end == 0 {
		return dst
	}
	dst = append(dst, '.')
	for i := len(digits); i < scale; i++ {
		dst = append(dst, '0')
	}
	return append(dst, digits[:end]...)
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// printable reports whether every format can carry the text: valid UTF-8 made of the characters
// that XML 1.0 allows. Where one format could not, no value may, or two doors would differ.
func printable(text string) bool {
	for i, r := range text {
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			return false
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			return false
		}
	}
	return true
}

// Canonical checks text against the type of f and returns its canonical form. A code is not
// looked up in its list here. The text of a failed check is never part of the error.
func (f *Field) Canonical(text string) (string, error) {
	switch {
	case text == "":
		return "", nil
	case !printable(text):
		return "", Invalid("text_malformed", "a value is UTF-8 without control characters other than tab and line ends").On(f.Code)
	case f.Many && strings.IndexByte(text, ListMark) >= 0:
		return "", Invalid("text_malformed", "a value of a list holds no semicolon").On(f.Code)
	}
	switch f.Type {
	case TypeInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", Invalid("int_malformed", "a whole number has digits and an optional minus").On(f.Code)
		}
		return strconv.FormatInt(n, 10), nil
	case TypeDec:
		n, err := ParseDecimal(text, f.Scale)
		if err != nil {
			return "", err.(*Error).On(f.Code)
		}
		return string(AppendDecimal(nil, n, f.Scale)), nil
	case TypeBool:
		if text != "true" && text != "false" {
			return "", Invalid("bool_malformed", "a yes or no is written true or false").On(f.Code)
		}
	case TypeDate:
		d, err := ParseDate(text)
		if err != nil {
			return "", err.(*Error).On(f.Code)
		}
		return string(d), nil
	case TypeInstant:
		t, err := time.Parse(time.RFC3339Nano, text)
		if year := t.UTC().Year(); err != nil || year < 1000 || year > 9999 {
			return "", Invalid("instant_malformed", "an instant is written as RFC 3339 with its zone").On(f.Code)
		}
		return Instant(t), nil
	}
	return text, nil
}
