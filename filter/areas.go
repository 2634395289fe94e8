package filter

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// AreaTree is the areas on file. It may have several roots. It does not change once made.
type AreaTree struct {
	areas map[string]*annona.Area
	order []string
	links map[string][]annona.AreaLink // by origin
}

// NewAreaTree makes a tree and refuses one that is none, with the code area_malformed,
// area_twice, area_unknown (a parent or successor that is not there) or area_cycle.
func NewAreaTree(areas []annona.Area) (*AreaTree, error) {
	t := &AreaTree{areas: make(map[string]*annona.Area, len(areas)), links: map[string][]annona.AreaLink{}}
	for _, a := range areas {
		if err := a.Check(); err != nil {
			return nil, err
		}
		if t.areas[a.Code] != nil {
			return nil, annona.Invalid("area_twice", "the code stands twice in the list of areas").On(a.Code)
		}
		t.areas[a.Code] = &a
		t.order = append(t.order, a.Code)
		for _, l := range a.Links() {
			t.links[l.Origin] = append(t.links[l.Origin], l)
		}
	}
	for _, code := range t.order {
		if err := t.checkPlace(t.areas[code]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// checkPlace follows an area to its root.
func (t *AreaTree) checkPlace(a *annona.Area) error {
	for _, code := range append([]string{a.Parent}, a.ReplacedBy...) {
		if code != "" && t.areas[code] == nil {
			return annona.Invalid("area_unknown", "the area lies in, or was replaced by, one that is not on file: %s", code).On(a.Code)
		}
	}
	steps := 0
	for at := a; at.Around() != ""; at = t.areas[at.Around()] {
		if steps++; steps > len(t.order) {
			return annona.Invalid("area_cycle", "the area lies inside itself, by way of %s", at.Code).On(a.Code)
		}
		if t.areas[at.Around()] == nil {
			break // the other area is refused by itself
		}
	}
	if parent := t.areas[a.Parent]; parent != nil && parent.Level >= a.Level {
		return annona.Invalid("area_malformed", "an area has a greater level than the one it lies in: %s", a.Parent).On(a.Code)
	}
	return nil
}

// Areas returns the areas in the order in which they were given.
func (t *AreaTree) Areas() []annona.Area {
	areas := make([]annona.Area, len(t.order))
	for i, code := range t.order {
		areas[i] = *t.areas[code]
	}
	return areas
}

// Area returns the area of that code.
func (t *AreaTree) Area(code string) (annona.Area, bool) {
	a, ok := t.areas[code]
	if !ok {
		return annona.Area{}, false
	}
	return *a, true
}

// Inside reports whether the area of a code is area or lies inside it. A code that is not on file
// lies inside itself only.
func (t *AreaTree) Inside(code, area string) bool {
	for range len(t.order) + 1 {
		if code == area {
			return true
		}
		a := t.areas[code]
		if a == nil || a.Around() == "" {
			return false
		}
		code = a.Around()
	}
	return false
}

// AtLevel returns the area of a level, or above it where a country leaves that level out, in which a
// code lies; a code that is above the level itself stays. Empty: it lies in none, or is not on file.
func (t *AreaTree) AtLevel(code string, level int) string {
	for range len(t.order) + 1 {
		a := t.areas[code]
		if a == nil {
			break
		}
		if a.Level <= level && !a.IsClosed() {
			return code
		}
		code = a.Around()
	}
	return ""
}

// zoneLevel is the level of the areas within which names are searched.
const zoneLevel = 2

// Zone returns the area of level 2, the country being 0, in which a code lies; where a country has no
// areas of that level, the one of the next level. Empty: it lies in none.
func (t *AreaTree) Zone(code string) (zone string) {
	for range len(t.order) + 1 {
		a := t.areas[code]
		if a == nil {
			break
		}
		if a.Level >= zoneLevel {
			zone = code
		}
		code = a.Around()
	}
	return zone
}

// Zones returns the zones of an area and of all that links lead to from there, sorted.
func (t *AreaTree) Zones(area string) []string {
	var zones []string
	for _, code := range t.reach(area) {
		if zone := t.Zone(code); zone != "" {
			zones = append(zones, zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// Territory reports whether code is area, lies inside it, has come from it, or lies inside what
// has: where somebody can be who stood in area and has not moved.
func (t *AreaTree) Territory(code, area string) bool {
	return slices.Contains(t.reach(area), code)
}

// reach lists an area and all that links lead to.
func (t *AreaTree) reach(area string) []string {
	reached, seen := []string{area}, map[string]bool{area: true}
	for i := 0; i < len(reached); i++ {
		for _, l := range t.links[reached[i]] {
			if !seen[l.Code] {
				seen[l.Code] = true
				reached = append(reached, l.Code)
			}
		}
	}
	return reached
}

// Today returns what an area has become: itself while it is open, otherwise the open areas at the
// end of its successors, sorted; none when it was given up. A code that is not on file stays.
func (t *AreaTree) Today(code string) []string {
	var ends []string
	seen := map[string]bool{}
	for next := []string{code}; len(next) > 0; {
		at := next[0]
		next = next[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		if a := t.areas[at]; a != nil && a.IsClosed() {
			next = append(next, a.ReplacedBy...)
			continue
		}
		ends = append(ends, at)
	}
	slices.SortFunc(ends, strings.Compare)
	return ends
}

// Closed returns the closed areas, in order.
func (t *AreaTree) Closed() []annona.Area {
	var closed []annona.Area
	for _, code := range t.order {
		if a := t.areas[code]; a.IsClosed() {
			closed = append(closed, *a)
		}
	}
	return closed
}
