package pull

import (
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// Mark is how far a query was read: the greatest value of its mark column. The zero Mark is none.
type Mark struct {
	Value  string `json:"value,omitempty"`
	Number bool   `json:"number,omitempty"` // a number, also where texts and numbers are told apart
}

// None reports whether there is no mark.
func (m Mark) None() bool { return m.Value == "" }

// Time returns the moment that the mark names. One without a time zone is in UTC.
func (m Mark) Time() (time.Time, bool) {
	at, _, ok := parseTime(m)
	return at, ok
}

// NotAfter returns the mark, or that moment when the mark lies behind it: a row that claims to be
// changed in the future must not hide what changes until then.
func (m Mark) NotAfter(moment time.Time) Mark {
	at, layout, ok := parseTime(m)
	if !ok || !at.After(moment) {
		return m
	}
	return Mark{Value: moment.In(at.Location()).Format(layout)}
}

// layouts are how databases write moments.
var layouts = []string{
	"2006-01-02 15:04:05.999999999-07",
	"2006-01-02 15:04:05.999999999-07:00",
	"2006-01-02T15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04:05.999999999",
	"2006-01-02",
}

func parseTime(m Mark) (at time.Time, layout string, ok bool) {
	if m.Number {
		return time.Time{}, "", false
	}
	for _, layout := range layouts {
		if at, err := time.Parse(layout, m.Value); err == nil {
			return at, layout, true
		}
	}
	return time.Time{}, "", false
}

// inText returns the mark as a text before which no moment of its second is sorted: where moments
// are texts, a fraction or a zone behind the second may sort either way.
func (m Mark) inText() string {
	at, layout, ok := parseTime(m)
	if !ok || len(layout) < len("2006-01-02 15:04:05") {
		return m.Value
	}
	return at.Format(layout[:len("2006-01-02 15:04:05")])
}

// later returns the later of two marks. Once they are moments or numbers, what is neither does not
// count: infinity, or a typing error.
func (m Mark) later(other Mark) Mark {
	switch {
	case other.None() || isEndless(other):
		return m
	case m.None():
		return other
	}
	if a, b, ok := numbers(m, other); ok {
		return either(m, other, a.Cmp(b) < 0)
	}
	a, _, okA := parseTime(m)
	b, _, okB := parseTime(other)
	switch {
	case okA && okB:
		return either(m, other, a.Before(b))
	case okA:
		return m
	case okB:
		return other
	case m.Number != other.Number:
		return either(m, other, m.Number) // as SQLite sorts them
	}
	return either(m, other, m.Value < other.Value)
}

func either(m, other Mark, isOther bool) Mark {
	if isOther {
		return other
	}
	return m
}

func isEndless(m Mark) bool { return strings.HasSuffix(m.Value, "infinity") || m.Value == "NaN" }

func numbers(m, other Mark) (a, b *big.Rat, ok bool) {
	if m.Number != other.Number {
		return nil, nil, false
	}
	a, okA := number(m.Value)
	b, okB := number(other.Value)
	return a, b, okA && okB
}

// number reads a plain decimal number; an exponent may be as long as it likes and is no mark.
func number(text string) (*big.Rat, bool) {
	if len(text) > 100 || strings.ContainsAny(text, "eE/_xX") {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// Overlap is how far behind its mark a query is read again, because a row may become visible later
// than its mark says: a span of time, or a number.
type Overlap struct {
	Span   time.Duration
	Number int64
}

// ParseOverlap reads 10m or 500.
func ParseOverlap(text string) (Overlap, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return Overlap{Number: n}, nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span < 0 {
		return Overlap{}, annona.Invalid("overlap_malformed", "an overlap is a span of time such as 10m or 2h, or a number such as 500 when the mark is one")
	}
	return Overlap{Span: span}, nil
}

// before returns the mark less the overlap. A span of time does not fit a mark that is no moment,
// nor a number one that is.
func (o Overlap) before(m Mark) (Mark, *annona.Error) {
	if m.None() || o == (Overlap{}) {
		return m, nil
	}
	if at, layout, ok := parseTime(m); ok && o.Number == 0 {
		return Mark{Value: at.Add(-o.Span).Format(layout)}, nil
	}
	if n, ok := number(m.Value); ok && o.Span == 0 {
		n.Sub(n, new(big.Rat).SetInt64(o.Number))
		digits, _ := n.FloatPrec()
		return Mark{Value: n.FloatString(digits), Number: m.Number}, nil
	}
	return Mark{}, annona.Invalid("overlap_mismatch", "the overlap does not fit the mark: a moment takes a span of time such as 10m, a number takes a number, a text takes 0")
}
