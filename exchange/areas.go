package exchange

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/filter"
)

// areas is the tree of areas as it was read.
type areas struct {
	tree    *filter.AreaTree
	version int64
	closed  bool // some are
	placing placing
}

// readAreas reads the areas as they are.
func (x *Exchange) readAreas(ctx context.Context) (*areas, error) {
	list, version, err := x.Reference.Areas(ctx)
	if err != nil {
		return nil, err
	}
	tree, err := filter.NewAreaTree(list)
	if err != nil {
		return nil, err
	}
	a := &areas{tree: tree, version: version, closed: len(tree.Closed()) > 0, placing: newPlacing(x.CurrentDictionary())}
	x.areas.Store(a)
	return a, nil
}

// relyOnAreas returns the areas for a batch that is about to be written, and has the transaction
// depend on them when households are in it. They are read when the transaction runs again.
func (x *Exchange) relyOnAreas(ctx context.Context, tx annona.Tx, b *Batch) (*areas, error) {
	if !slices.ContainsFunc(b.keys, func(k annona.RecordKey) bool { return k.Dataset.Name == "households" }) {
		return nil, nil
	}
	b.runs++
	a := x.areas.Load()
	if a == nil || b.runs > 1 {
		var err error
		if a, err = x.readAreas(ctx); err != nil {
			return nil, err
		}
	}
	return a, tx.ExpectAreas(ctx, a.version)
}

// Areas returns the tree of areas on file. It is nobody's.
func (x *Exchange) Areas(ctx context.Context) (*filter.AreaTree, error) {
	a, err := x.readAreas(ctx)
	if err != nil {
		return nil, err
	}
	return a.tree, nil
}

// ImportedAreas counts what an import of areas did.
type ImportedAreas struct{ Added, Changed, Unchanged int }

// ImportAreas puts areas on file: new ones, and new names and first days of those that are. An area
// that is closed or lies elsewhere than on file is refused with the code area_moved: what becomes
// of those who live there is a reorganization.
func (x *Exchange) ImportAreas(ctx context.Context, caller annona.Caller, list []annona.Area) (done ImportedAreas, err error) {
	if err := operatorOnly(caller); err != nil {
		return done, err
	}
	if len(list) == 0 {
		return done, annona.Invalid("file_empty", "the file holds no area")
	}
	return done, x.Writer.Update(ctx, func(tx annona.Tx) error {
		a, err := x.readAreas(ctx)
		if err != nil {
			return err
		}
		var changed []annona.Area
		if changed, done, err = a.merge(list); err != nil || len(changed) == 0 {
			return err
		}
		if err := tx.ExpectAreas(ctx, a.version); err != nil {
			return err
		}
		if err := tx.PutAreas(ctx, changed); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbImportAreas, Details: map[string]string{
			"added": strconv.Itoa(done.Added), "changed": strconv.Itoa(done.Changed),
		}}))
	})
}

// merge returns the areas of a list that are new or say more than those on file.
func (a *areas) merge(list []annona.Area) (changed []annona.Area, done ImportedAreas, err error) {
	all := map[string]annona.Area{}
	for _, area := range a.tree.Areas() {
		all[area.Code] = area
	}
	seen := map[string]bool{}
	for _, area := range list {
		if seen[area.Code] {
			return nil, done, annona.Invalid("area_twice", "the code stands twice in the list of areas").On(area.Code)
		}
		seen[area.Code] = true
		was, known := all[area.Code]
		switch {
		case !known:
			done.Added++
		case was.Parent != area.Parent || was.Level != area.Level || was.ValidTo != area.ValidTo || !slices.Equal(was.ReplacedBy, area.ReplacedBy):
			return nil, done, annona.Conflict("area_moved",
				"on file the area has another place in the tree, or is open or closed otherwise; say what became of it with annona area reorganize").On(area.Code)
		case maps.Equal(was.Names, area.Names) && was.ValidFrom == area.ValidFrom:
			done.Unchanged++
			continue
		default:
			done.Changed++
		}
		all[area.Code] = area
		changed = append(changed, area)
	}
	tree, err := filter.NewAreaTree(slices.Collect(maps.Values(all)))
	if err != nil {
		return nil, done, err
	}
	return changed, done, checkOpen(tree)
}

// checkOpen refuses an open area inside a closed one: whoever lives there would be nowhere.
func checkOpen(tree *filter.AreaTree) error {
	for _, a := range tree.Areas() {
		if parent, ok := tree.Area(a.Parent); ok && parent.IsClosed() && !a.IsClosed() {
			return annona.Invalid("area_in_closed", "the area lies in %s, which is closed; say where it lies now", parent.Code).On(a.Code)
		}
	}
	return nil
}

// addAreas puts the areas of a mapping on file that are not. What a country has drawn anew since
// the mapping was written is not undone.
func (x *Exchange) addAreas(ctx context.Context, tx annona.Tx, list []annona.Area) error {
	if len(list) == 0 {
		return nil
	}
	a, err := x.readAreas(ctx)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(list), func(area annona.Area) bool {
		_, known := a.tree.Area(area.Code)
		return known
	})
	if len(missing) == 0 {
		return nil
	}
	if _, _, err := a.merge(missing); err != nil {
		return err
	}
	if err := tx.ExpectAreas(ctx, a.version); err != nil {
		return err
	}
	return tx.PutAreas(ctx, missing)
}
