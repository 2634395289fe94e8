package filter_test

import (
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// BenchmarkCompile times an ordinary filter and what costs most before it is refused: text as
// long as is read at all, made of many short parts and many lines.
func BenchmarkCompile(b *testing.B) {
	full := func(part string) string { return strings.Repeat(part, filter.MaxLength/len(part)) }
	for name, text := range map[string]string{
		"ordinary":   `household.poverty_score < 35 && members.exists(m, age_on(m.date_of_birth, as_of) >= 60)`,
		"terms":      full("true||") + "1",
		"lines":      "household.member_count in [" + full("1,\n")[:filter.MaxLength-30] + "]",
		"selectors":  "a" + full(".a")[2:],
		"parens":     full("("),
		"bangs":      full("!"),
		"calls":      full("a("),
		"members":    full("a.a("),
		"ternaries":  full("a?a:"),
		"dots":       full("import."),
		"strings":    full(`"`),
		"100 kB":     full("true||") + full("true||") + full("true||") + full("true||") + full("true||") + full("true||"),
		"values 500": "household.member_count in [" + strings.TrimSuffix(strings.Repeat("1,", 500), ",") + "]",
	} {
		b.Run(name, func(b *testing.B) {
			of := dataset(b, "households")
			for b.Loop() {
				_, _ = filter.Compile(annona.Standard(), of, text)
			}
		})
	}
}

func BenchmarkEval(b *testing.B) {
	c, err := filter.Compile(annona.Standard(), dataset(b, "households"),
		`household.poverty_score < 35 && members.exists(m, age_on(m.date_of_birth, as_of) >= 60)`)
	if err != nil {
		b.Fatal(err)
	}
	row := household()
	for b.Loop() {
		filter.Eval(c, row, "2024-03-01")
	}
}
