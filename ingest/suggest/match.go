package suggest

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// The least resemblance for which a column is mapped, and for which it counts when the kind of
// a table is decided.
const (
	leastMapped  = 0.5
	leastDecided = 0.6
)

// match is a column with the target that it seems to be.
type match struct {
	column     *column
	target     string // empty: none
	confidence float64
}

// sheet is a table with its columns matched.
type sheet struct {
	table   *ingest.Table
	columns []*column
	matches []match
	lists   []*sheet
	group   string // of a list: what its items are
}

// matcher matches the columns of one input.
type matcher struct {
	words *vocabulary
	today annona.Date
}

// candidate is a target that a column may be.
type candidate struct {
	column int
	target string
	score  float64
}

// sheet profiles a table; its lists with it.
func (m *matcher) sheet(t *ingest.Table) *sheet {
	s := &sheet{table: t}
	for i := range t.Columns {
		s.columns = append(s.columns, newColumn(m.words, t, i))
	}
	for i, c := range s.columns {
		c.twice = slices.ContainsFunc(s.columns[:i], func(o *column) bool { return o.name == c.name })
		if c.twice {
			s.columns[slices.Index(t.Columns, c.name)].twice = true
		}
	}
	for _, l := range t.Lists {
		s.lists = append(s.lists, m.sheet(l))
	}
	return s
}

// match gives each column the target that it resembles most, each target once. allowed says
// which ones there are; prefer breaks ties.
func (m *matcher) match(s *sheet, allowed func(target string) bool, prefer func(c *column, target string) float64) {
	s.matches = make([]match, len(s.columns))
	var all []candidate
	for i, c := range s.columns {
		s.matches[i] = match{column: c}
		if c.twice || c.name == "" {
			continue
		}
		for target, score := range m.scores(c, allowed) {
			if score += prefer(c, target); score >= leastMapped {
				all = append(all, candidate{column: i, target: target, score: score})
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		switch {
		case a.score != b.score:
			return one(a.score < b.score) - one(a.score > b.score)
		case a.column != b.column:
			return a.column - b.column
		}
		return strings.Compare(a.target, b.target)
	})
	taken := map[string]bool{}
	for _, c := range all {
		if s.matches[c.column].target != "" || taken[c.target] {
			continue
		}
		s.matches[c.column] = match{column: s.columns[c.column], target: c.target, confidence: min(c.score, 0.99)}
		if !repeated(c.target) {
			taken[c.target] = true
		}
	}
}

// repeated reports whether several columns may feed a target.
func repeated(target string) bool {
	switch target {
	case "individuals.phone_numbers", "individuals.emails", "households.income_source", "households.household_assets", "ignore":
		return true
	}
	return false
}

// scores says how much a column is like each target.
func (m *matcher) scores(c *column, allowed func(string) bool) map[string]float64 {
	likes := map[string]float64{}
	for _, i := range m.words.near(c.words) {
		p := &m.words.phrases[i]
		if like := p.resembles(c.words); like > likes[p.target] && allowed(p.target) {
			likes[p.target] = like
		}
	}
	for target, like := range likes {
		fit := c.fit(m.words, target, m.today)
		switch {
		case fit < 0:
			likes[target] = 0.85 * like
		case fit < 0.5:
			likes[target] = 0.4 * like
		default:
			likes[target] = 0.75*like + 0.25*fit*like
		}
	}
	m.byValues(c, allowed, likes)
	return likes
}

// byValues adds what the values alone tell: words of one code list, addresses of mail.
func (m *matcher) byValues(c *column, allowed func(string) bool, likes map[string]float64) {
	const alone = 0.55 // less than a header that says the same
	add := func(target string) {
		if allowed(target) {
			likes[target] = max(likes[target], alone)
		}
	}
	if c.share(func(s string) bool { return strings.Contains(s, "@") && strings.Contains(s, ".") }) > 0.9 {
		add("individuals.emails")
	}
	if !c.codes() || len(c.counts) < 2 {
		return
	}
	for target, list := range map[string]string{
		"individuals.sex": "sex", "individuals.marital_status": "marital_status", "memberships.role": "group_role",
		"households.settlement_type": "settlement_type",
	} {
		known := c.share(func(s string) bool {
			_, ok := m.words.code(list, s)
			return ok && len([]rune(s)) > 2 // one letter or digit may mean anything
		})
		if known > 0.9 {
			add(target)
		}
	}
}

// find returns the match of a target.
func (s *sheet) find(target string) (match, bool) {
	for _, m := range s.matches {
		if m.target == target {
			return m, true
		}
	}
	return match{}, false
}

func (s *sheet) column(name string) int {
	return slices.IndexFunc(s.columns, func(c *column) bool { return c.name == name })
}

// drop takes the target from a column.
func (s *sheet) drop(target string) {
	for i := range s.matches {
		if s.matches[i].target == target {
			s.matches[i].target = ""
		}
	}
}

// use says what a column is for beside a rule: a key.
func (s *sheet) use(name, target string, confidence float64) {
	for i := range s.matches {
		if s.matches[i].column.name == name {
			s.matches[i].target, s.matches[i].confidence = target, confidence
		}
	}
}

// keyOf returns the cells of columns in a row, joined; empty when one is missing.
func keyOf(row []string, at []int) string {
	var b strings.Builder
	for _, i := range at {
		text := strings.TrimSpace(cell(row, i))
		if text == "" {
			return ""
		}
		b.WriteString(text)
		b.WriteByte(0)
	}
	return b.String()
}

// unique reports whether the columns tell all rows apart, and how many different keys there
// are.
func (s *sheet) unique(names []string) (all bool, keys int) {
	at := s.places(names)
	seen := map[string]bool{}
	all = len(s.table.Rows) > 0
	for _, row := range s.table.Rows {
		key := keyOf(row, at)
		all = all && key != "" && !seen[key]
		seen[key] = true
	}
	return all, len(seen)
}

func (s *sheet) places(names []string) []int {
	at := make([]int, len(names))
	for i, name := range names {
		at[i] = s.column(name)
	}
	return at
}

// constant reports whether a column has one value in all rows of a key, and whether any key has
// several rows to tell.
func (s *sheet) constant(c *column, key []string) (same, told bool) {
	at, of := s.places(key), s.column(c.name)
	seen := map[string]string{}
	for _, row := range s.table.Rows {
		k, text := keyOf(row, at), strings.TrimSpace(cell(row, of))
		before, again := seen[k]
		told = told || again
		if again && before != text {
			return false, true
		}
		seen[k] = text
	}
	return true, told
}
