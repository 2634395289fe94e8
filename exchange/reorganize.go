package exchange

import (
	"maps"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// drawing is a tree of areas while a reorganization draws it anew.
type drawing struct {
	areas   map[string]annona.Area
	order   []string
	changed map[string]bool
	closed  []string
	day     annona.Date // on which it takes effect
}

// draw returns what a reorganization makes of a tree. It refuses one that names an area that is not
// on file or is closed already, gives a new area a code that is taken, leaves the areas inside a
// split one without a place, or makes something that is no tree.
func draw(tree *filter.AreaTree, r annona.Reorganization) (*drawing, *filter.AreaTree, error) {
	d := &drawing{areas: map[string]annona.Area{}, changed: map[string]bool{}, day: r.Effective}
	for _, a := range tree.Areas() {
		d.areas[a.Code] = a
		d.order = append(d.order, a.Code)
	}
	for _, c := range r.Changes {
		if err := d.change(c); err != nil {
			return nil, nil, at(err, c)
		}
	}
	for _, c := range r.Changes { // an area inside may have moved before or after
		if err := d.checkEmpty(c); err != nil {
			return nil, nil, at(err, c)
		}
	}
	drawn, err := filter.NewAreaTree(d.list(func(string) bool { return true }))
	if err == nil {
		err = checkOpen(drawn)
	}
	return d, drawn, err
}

// at adds the line of a change to what is wrong with it.
func at(err *annona.Error, c annona.AreaChange) error {
	if c.Line > 0 {
		return err.AtPosition(c.Line)
	}
	return err
}

// list returns the areas that were asked for, those that were on file first.
func (d *drawing) list(which func(code string) bool) []annona.Area {
	var list []annona.Area
	for _, code := range d.order {
		if which(code) {
			list = append(list, d.areas[code])
		}
	}
	return list
}

// news returns the areas that are new or not as they were.
func (d *drawing) news() []annona.Area {
	return d.list(func(code string) bool { return d.changed[code] })
}

func (d *drawing) put(a annona.Area) {
	if _, known := d.areas[a.Code]; !known {
		d.order = append(d.order, a.Code)
	}
	d.areas[a.Code] = a
	d.changed[a.Code] = true
}

func (d *drawing) change(c annona.AreaChange) *annona.Error {
	if err := d.checkForm(c); err != nil {
		return err
	}
	for _, code := range c.From {
		if _, err := d.open(code); err != nil {
			return err
		}
	}
	if c.Kind == annona.AreaMove {
		return d.move(c)
	}
	into, err := d.successors(c)
	if err != nil {
		return err
	}
	for _, code := range c.From {
		d.close(code, into)
	}
	return d.adopt(c, into)
}

func (d *drawing) checkForm(c annona.AreaChange) *annona.Error {
	fault := func(message string) *annona.Error {
		e := annona.Invalid("reorganization_malformed", "%s", message)
		if len(c.From) > 0 {
			e = e.On(c.From[0])
		}
		return e
	}
	into := len(c.Into)
	switch {
	case len(c.From) == 0:
		return fault("a change names the area that it is about")
	case len(c.From) > 1 && c.Kind != annona.AreaMerge:
		return fault("only a merge is about several areas")
	case c.Kind == annona.AreaRename && into != 1, c.Kind == annona.AreaMerge && into != 1:
		return fault("a rename or a merge leads to one area")
	case c.Kind == annona.AreaSplit && into < 2:
		return fault("a split leads to at least two areas; to give an area another code is a rename")
	case c.Kind == annona.AreaMove && c.Parent == "":
		return fault("a move says to which area")
	case c.Kind == annona.AreaClose && into > 0:
		return fault("an area that is given up leads nowhere; otherwise it is a rename, a split or a merge")
	case len(c.Children) > 0 && c.Kind != annona.AreaSplit:
		return fault("children belong to a split; otherwise they follow by themselves")
	}
	seen := map[string]bool{}
	for _, code := range c.From {
		if seen[code] {
			return fault("the change names an area twice")
		}
		seen[code] = true
	}
	targets := map[string]bool{}
	for _, a := range c.Into {
		if seen[a.Code] || targets[a.Code] {
			return annona.Invalid("reorganization_malformed", "an area is not its own successor, and stands once among the successors").On(a.Code)
		}
		targets[a.Code] = true
	}
	for child, to := range c.Children {
		if !targets[to] {
			return annona.Invalid("reorganization_malformed", "an area inside goes over to one of the successors of the split").On(child)
		}
	}
	return nil
}

// open returns an area on file that is open.
func (d *drawing) open(code string) (annona.Area, *annona.Error) {
	a, known := d.areas[code]
	if !known {
		return a, annona.Invalid("area_unknown", "no area with this code is on file").On(code)
	}
	if a.IsClosed() {
		return a, annona.Conflict("area_closed", "the area is closed since %s", a.ValidTo).On(code)
	}
	return a, nil
}

func (d *drawing) move(c annona.AreaChange) *annona.Error {
	if _, err := d.open(c.Parent); err != nil {
		return err
	}
	a := d.areas[c.From[0]]
	a.Parent = c.Parent
	d.put(a)
	return nil
}

// successors returns the codes that areas become, and puts new ones into the tree. A new one is
// like the first area that it comes from, unless it says otherwise.
func (d *drawing) successors(c annona.AreaChange) (codes []string, _ *annona.Error) {
	model := d.areas[c.From[0]]
	for _, a := range c.Into {
		codes = append(codes, a.Code)
		_, known := d.areas[a.Code]
		says := a.Parent != "" || a.Level != 0 || len(a.Names) > 0
		switch {
		case known && c.Kind == annona.AreaRename, known && says:
			return nil, annona.Conflict("area_code_taken", "an area with this code is on file; a new area has a new code, one on file is named by its code alone").On(a.Code)
		case known:
			if _, err := d.open(a.Code); err != nil {
				return nil, err
			}
			continue
		}
		if a.Parent == "" {
			a.Parent = model.Parent
		}
		if a.Level == 0 {
			a.Level = model.Level
		}
		if len(a.Names) == 0 && c.Kind == annona.AreaRename {
			a.Names = maps.Clone(model.Names)
		}
		a.ValidFrom = d.day
		d.put(a)
	}
	return codes, nil
}

func (d *drawing) close(code string, into []string) {
	a := d.areas[code]
	a.ValidTo, a.ReplacedBy = d.day.AddDays(-1), into
	if a.ValidFrom > a.ValidTo {
		a.ValidFrom = a.ValidTo
	}
	d.put(a)
	d.closed = append(d.closed, code)
}

// adopt gives the areas inside the closed ones to their successors: of one to that, of a split as
// it says.
func (d *drawing) adopt(c annona.AreaChange, into []string) *annona.Error {
	for child, to := range c.Children {
		a, err := d.open(child)
		if err != nil {
			return err
		}
		if a.Parent != c.From[0] {
			return annona.Invalid("reorganization_malformed", "the area does not lie in the one that is split").On(child)
		}
		a.Parent = to
		d.put(a)
	}
	if len(into) != 1 {
		return nil
	}
	for _, code := range d.order {
		if a := d.areas[code]; slices.Contains(c.From, a.Parent) && !a.IsClosed() && code != into[0] {
			a.Parent = into[0]
			d.put(a)
		}
	}
	return nil
}

// checkEmpty refuses a change that closes an area in which others go on.
func (d *drawing) checkEmpty(c annona.AreaChange) *annona.Error {
	if c.Kind == annona.AreaMove {
		return nil
	}
	for _, code := range d.order {
		if a := d.areas[code]; !a.IsClosed() && slices.Contains(c.From, a.Parent) {
			return annona.Invalid("area_in_closed", "it lies in %s, which is closed; say to which area it goes over", a.Parent).On(code)
		}
	}
	return nil
}
