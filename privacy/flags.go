package privacy

import (
	"strings"

	"github.com/annona-exchange/annona"
)

// flagRule says which quality flags of a record, and which lines of its provenance, may be shown. That
// a code of the ethnic group has no mapping, or who reported it, tells something of the ethnic group:
// what is about a field leaves only where the field itself does, unaltered.
type flagRule struct {
	owner *annona.Dataset
	about int // column that names the field; -1: none
	grant *annona.Grant
	known map[string]bool // fields asked for so far
}

// flagRuleOf returns nil for groups of anything else.
func flagRuleOf(owner *annona.Dataset, g annona.GroupShape, grant *annona.Grant) *flagRule {
	if g.Field.Group != "quality_flags" && g.Field.Group != "provenance" {
		return nil
	}
	return &flagRule{owner: owner, about: g.Shape.Column("field"), grant: grant, known: map[string]bool{}}
}

// shows reports whether a flag may be shown. One about the whole record may; where the page does
// not say what its flags are about, none may.
func (r *flagRule) shows(page *annona.Page, row int) bool {
	if r.about < 0 {
		return false
	}
	about := page.Cell(r.about, row)
	if len(about) == 0 {
		return true
	}
	shown, known := r.known[string(about)]
	if !known {
		name, _, _ := strings.Cut(string(about), "/") // behind it: which item of a group
		shown = r.grant.Passes(r.owner, name)
		r.known[string(about)] = shown
	}
	return shown
}

// leaveOut takes the flags that may not be shown out of a group, in place.
func (r *flagRule) leaveOut(g *annona.Group) {
	page, kept, row := g.Page, 0, 0
	for n, end := range g.Ends {
		for ; row < int(end); row++ {
			if r.shows(page, row) {
				moveRow(page, row, kept)
				kept++
			}
		}
		g.Ends[n] = uint32(kept)
	}
	page.Count = kept
	for i := range page.Columns {
		c := &page.Columns[i]
		c.Ends = c.Ends[:kept]
		c.Data = c.Data[:endOf(c, kept)]
	}
}

// moveRow moves a row to an earlier place, behind the rows that were kept. What it overwrites
// has been moved or left out before.
func moveRow(page *annona.Page, from, to int) {
	if from == to {
		return
	}
	for i := range page.Columns {
		c := &page.Columns[i]
		start := endOf(c, to)
		c.Ends[to] = uint32(start + copy(c.Data[start:], c.Cell(from)))
	}
}

// endOf returns where the first rows of a column end.
func endOf(c *annona.Column, rows int) int {
	if rows == 0 {
		return 0
	}
	return int(c.Ends[rows-1])
}
