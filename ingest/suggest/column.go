package suggest

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// column is what is known of a column of a sample.
type column struct {
	name   string
	words  []string
	twice  bool // another column has the name
	rows   int
	filled int
	counts map[string]int // of the values, as long as there are not too many
	texts  []string       // the values of the first rows, to test forms on
	many   bool           // there are too many values to be codes
	known  map[string]float64
	dating *dated
}

const (
	maxCodes = 60  // different values of a column of codes
	maxTexts = 400 // values on which the form of a column is tested
)

func newColumn(v *vocabulary, t *ingest.Table, i int) *column {
	c := &column{name: t.Columns[i], words: v.split(t.Columns[i]), rows: len(t.Rows), counts: map[string]int{}}
	for _, row := range t.Rows {
		text := strings.TrimSpace(cell(row, i))
		if text == "" {
			continue
		}
		c.filled++
		if len(c.texts) < maxTexts {
			c.texts = append(c.texts, text)
		}
		if c.counts[text]++; len(c.counts) > maxCodes {
			c.many = true
			delete(c.counts, text)
		}
	}
	return c
}

func cell(row []string, i int) string {
	if i >= len(row) {
		return ""
	}
	return row[i]
}

// share is how many of the values, from 0 to 1, are as is says.
func (c *column) share(is func(string) bool) float64 {
	if len(c.texts) == 0 {
		return 0
	}
	n := 0
	for _, text := range c.texts {
		if is(text) {
			n++
		}
	}
	return float64(n) / float64(len(c.texts))
}

// codes reports whether the values may be codes: few, and coming again.
func (c *column) codes() bool {
	return !c.many && (len(c.counts) <= 12 || 3*len(c.counts) <= c.filled)
}

// values returns the values in the order of their number.
func (c *column) values() []string {
	values := make([]string, 0, len(c.counts))
	for value := range c.counts {
		values = append(values, value)
	}
	slices.SortFunc(values, func(a, b string) int {
		if c.counts[a] != c.counts[b] {
			return c.counts[b] - c.counts[a]
		}
		return strings.Compare(a, b)
	})
	return values
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(strings.Replace(annona.PlainDigits(text), ",", ".", 1), 64)
	return err == nil
}

func isAge(text string) bool {
	n, err := strconv.Atoi(annona.PlainDigits(text))
	return err == nil && n >= 0 && n <= 130
}

func isWhole(text string, least, most int) bool {
	n, err := strconv.Atoi(annona.PlainDigits(text))
	return err == nil && n >= least && n <= most
}

func isPhone(text string) bool {
	digits := 0
	for _, r := range text {
		switch {
		case unicode.IsDigit(r):
			digits++
		case !strings.ContainsRune("+-() ./;", r) && r != annona.ListSeparator:
			return false
		}
	}
	return digits >= 6
}

func isName(text string) bool { return strings.ContainsFunc(text, unicode.IsLetter) }

func hasDigit(text string) bool { return strings.ContainsFunc(text, unicode.IsDigit) }

// fit says how well the values suit a target, from 0 to 1; -1 when there are none.
func (c *column) fit(v *vocabulary, target string, today annona.Date) float64 {
	if len(c.texts) == 0 {
		return -1
	}
	switch target {
	case "individuals.date_of_birth.age":
		return c.share(isAge)
	case "individuals.date_of_birth.year":
		return c.share(func(s string) bool { return isWhole(s, 1300, 2100) })
	case "individuals.date_of_birth.month":
		return c.share(func(s string) bool { return isWhole(s, 1, 13) || isWhole(s, 98, 99) || isName(s) })
	case "individuals.date_of_birth.day":
		return c.share(func(s string) bool { return isWhole(s, 1, 32) || isWhole(s, 98, 99) })
	case "survey_date":
		return c.share(c.dates(today).fits)
	case "individuals.key", "households.key", "relationships.to", "ignore":
		return 0.9
	case "individuals.phone_numbers":
		return c.share(isPhone)
	case "individuals.emails":
		return c.share(func(s string) bool { return strings.Contains(s, "@") })
	}
	if f := v.field(target); f != nil {
		return c.fitField(v, f, today)
	}
	return 0.8
}

func (c *column) fitField(v *vocabulary, f *annona.Field, today annona.Date) float64 {
	switch f.Type {
	case annona.TypeDate:
		return c.share(c.dates(today).fits)
	case annona.TypeInt, annona.TypeDec:
		return c.share(isNumber)
	case annona.TypeBool:
		if len(c.counts) > 8 || c.many {
			return 0.2
		}
		return max(0.6, c.share(func(s string) bool { _, ok := v.truth(c, s); return ok }))
	case annona.TypeCode:
		return c.fitCode(v, f)
	}
	switch {
	case strings.HasSuffix(f.Code, "name"):
		return c.share(isName)
	case f.Dataset == "identifiers" && f.Code == "value", f.Code == "payment_account":
		return 0.5 + 0.5*c.share(hasDigit)
	}
	return 0.8
}

func (c *column) fitCode(v *vocabulary, f *annona.Field) float64 {
	known := c.inList(v, f.CodeList)
	list, ok := v.dictionary.CodeList(f.CodeList)
	open := !ok || list.Open
	switch {
	case c.codes() && open:
		return max(known, 0.8)
	case c.codes(), open, f.Many:
		return max(known, 0.6)
	}
	return known
}

// inList is the share of values that are words of a code list.
func (c *column) inList(v *vocabulary, list string) float64 {
	if share, ok := c.known[list]; ok {
		return share
	}
	share := c.share(func(s string) bool {
		for item := range items(s) {
			if _, ok := v.code(list, item); ok {
				return true
			}
		}
		return false
	})
	if c.known == nil {
		c.known = map[string]float64{}
	}
	c.known[list] = share
	return share
}

// truth returns what a value of a column of yes and no means. Where only 1 and 2 stand, 1 is
// yes, as questionnaires have it.
func (v *vocabulary) truth(c *column, text string) (string, bool) {
	if code, ok := v.codes["bool"][fold(text)]; ok {
		return code, true
	}
	_, zero := c.counts["0"]
	switch {
	case text == "1":
		return "true", true
	case text == "0", text == "2" && !zero:
		return "false", true
	}
	return "", false
}

// field returns the field of a target; nil for a place that is none.
func (v *vocabulary) field(target string) *annona.Field {
	parts := strings.Split(target, ".")
	switch {
	case len(parts) == 3 && parts[1] == "identifiers":
		parts = []string{"identifiers", "value"}
	case len(parts) == 3 && parts[1] == "functioning":
		parts = []string{"functioning", "severity"}
	case len(parts) == 3 && parts[1] == "assessments":
		parts = []string{"assessments", "score"}
	case len(parts) == 3 && parts[1] == "other_names":
		parts = []string{"other_names", parts[2]}
	case len(parts) != 2:
		return nil
	}
	d, ok := v.dictionary.Dataset(parts[0])
	if !ok {
		return nil
	}
	f, ok := d.Field(parts[1])
	if !ok {
		return nil
	}
	return f
}
