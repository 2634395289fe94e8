package postgres

import (
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// listSeparator stands before, between and behind the values of a list in a column, so that
// one value is found with its separators around it.
const listSeparator = string(rune(annona.ListSeparator))

// indexValue turns canonical text into what the field's column holds: a scaled integer, a
// text, or a list of texts.
func indexValue(v annona.Value) (any, error) {
	switch f := v.Field; {
	case v.Text == "":
		return nil, nil
	case isList(f):
		return listSeparator + v.Text + listSeparator, nil
	case f.Type == annona.TypeInt:
		n, err := strconv.ParseInt(v.Text, 10, 64)
		if err != nil {
			return nil, annona.Invalid("int_malformed", "a whole number has digits and an optional minus").On(f.Code)
		}
		return n, nil
	case f.Type == annona.TypeDec:
		return annona.ParseDecimal(v.Text, f.Scale)
	case f.Type == annona.TypeBool:
		if v.Text == "true" {
			return int64(1), nil
		}
		return int64(0), nil
	}
	return v.Text, nil
}

// joinList writes a list as its column holds it; the empty list is absent.
func joinList(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return listSeparator + strings.Join(values, listSeparator) + listSeparator
}

func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.Trim(text, listSeparator), listSeparator)
}

// columnText is how the engine writes the value of a column as text.
func columnText(value any) string {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return v
	}
	return ""
}
