package filtertest

import (
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Record is a row in memory: a filter.Row whose values can be set.
type Record struct {
	Cells   map[Cell]string
	Visible []*Record // the members of a household
}

// Cell names one value of a Record.
type Cell struct {
	Root  annona.Root
	Field string
}

// Value returns the value of a path.
func (r *Record) Value(p annona.Path) (string, bool) {
	text, ok := r.Cells[Cell{p.Root, p.Field.Code}]
	return text, ok
}

// Members yields the members.
func (r *Record) Members(yield func(filter.Row) bool) {
	for _, member := range r.Visible {
		if !yield(member) {
			return
		}
	}
}

// Within reports whether an area of Areas lies inside another.
func (r *Record) Within(p annona.Path, area string) bool {
	code, _ := r.Value(p)
	return code == area || strings.HasPrefix(code, area+"-")
}

// Row generates records of a root dataset. Each field that a condition can name is absent now
// and then; a household has up to three members.
func Row(d *annona.Dictionary, dataset *annona.Dataset) *rapid.Generator[*Record] {
	paths, members := outside(d, dataset), pathsOf(d, annona.RootMember, individuals)
	return rapid.Custom(func(t *rapid.T) *Record {
		r := record(t, d, paths)
		if dataset.Name != households {
			return r
		}
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			r.Visible = append(r.Visible, record(t, d, members))
		}
		return r
	})
}

func record(t *rapid.T, d *annona.Dictionary, paths []annona.Path) *Record {
	r := &Record{Cells: make(map[Cell]string, len(paths))}
	for _, p := range paths {
		if text := value(t, d, p.Field); text != "" {
			r.Cells[Cell{p.Root, p.Field.Code}] = text
		}
	}
	return r
}

// value draws the text of a field; empty when it is absent.
func value(t *rapid.T, d *annona.Dictionary, f *annona.Field) string {
	pool := append([]string{""}, Values(d, f)...)
	first := rapid.SampledFrom(pool).Draw(t, f.Code)
	if !f.Many && !isFlags(f) || first == "" {
		return first
	}
	second := rapid.SampledFrom(pool[1:]).Draw(t, f.Code)
	both := slices.Compact([]string{first, second})
	return strings.Join(both, string(rune(annona.ListSeparator)))
}
