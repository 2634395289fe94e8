package exchange

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/filter"
)

// indexing is how the indexes of hashes stand, as was last read: hashes are made accordingly.
type indexing struct {
	states map[annona.IndexKind]annona.IndexState
	moves  int64
}

// names reports whether names are indexed.
func (i *indexing) names() bool { return i.states[annona.IndexNames].On }

// indexMoves is the count of moves under which hashes are made; none has been read: -1.
func (x *Exchange) indexMoves() int64 {
	if i := x.indexing.Load(); i != nil {
		return i.moves
	}
	return -1
}

// readIndexes reads how the indexes stand. When they have moved, the keys are taken over first: hashes
// are made with the key of that moment, or a later one.
func (x *Exchange) readIndexes(ctx context.Context) (*indexing, error) {
	states, moves, err := x.Indexes.IndexStates(ctx)
	if err != nil {
		return nil, err
	}
	former := x.indexing.Load()
	if x.Rotator != nil && (former == nil || former.moves != moves) {
		if err := x.Rotator.Refresh(); err != nil {
			return nil, err
		}
	}
	i := &indexing{states, moves}
	x.indexing.Store(i)
	return i, nil
}

// RefreshIndexes takes over what another process has done to the indexes and their keys. A server asks
// for it each second.
func (x *Exchange) RefreshIndexes(ctx context.Context) error {
	_, err := x.readIndexes(ctx)
	return err
}

// followingWriter has every transaction follow the indexes: whatever it writes of individuals, their
// names are indexed in the same transaction, while they are.
type followingWriter struct {
	annona.Writer
	x *Exchange
}

func (w followingWriter) Update(ctx context.Context, fn func(annona.Tx) error) error {
	return w.Writer.Update(ctx, w.following(ctx, fn))
}

func (w followingWriter) Share(ctx context.Context, e annona.Errand) error {
	do, held := e.Do, annona.Cells(nil)
	follow := w.following(ctx, func(tx annona.Tx) error { return do(tx, held) })
	e.Do = func(tx annona.Tx, cells annona.Cells) error {
		held = cells
		return follow(tx)
	}
	return w.Writer.Share(ctx, e)
}

func (w followingWriter) following(ctx context.Context, fn func(annona.Tx) error) func(annona.Tx) error {
	if w.x.Indexes == nil {
		return fn
	}
	runs := 0
	return func(tx annona.Tx) error {
		runs++
		i := w.x.indexing.Load()
		if i == nil || runs > 1 {
			w.x.areas.Store(nil) // read again as well
			var err error
			if i, err = w.x.readIndexes(ctx); err != nil {
				return err
			}
		}
		if err := tx.FollowIndexes(ctx, i.moves, i.names()); err != nil {
			return err
		}
		if !i.names() {
			return fn(tx)
		}
		t := &followingTx{Tx: tx, x: w.x}
		if err := fn(t); err != nil {
			return err
		}
		return t.indexNames(ctx)
	}
}

// followingTx is a transaction while names are indexed.
type followingTx struct {
	annona.Tx
	x     *Exchange
	drawn *areas // as they were written in it
}

// PutAreas has those wait who lie in another zone by it.
func (t *followingTx) PutAreas(ctx context.Context, list []annona.Area) error {
	before, err := t.areas(ctx)
	if err != nil {
		return err
	}
	if err := t.Tx.PutAreas(ctx, list); err != nil {
		return err
	}
	drawn, moved, err := before.rezoned(list)
	if err != nil {
		return err
	}
	t.drawn = &areas{tree: drawn}
	if len(moved) == 0 {
		return nil
	}
	return t.Tx.WaitNames(ctx, moved)
}

// areas returns the areas as the transaction sees them.
func (t *followingTx) areas(ctx context.Context) (*areas, error) {
	if t.drawn != nil {
		return t.drawn, nil
	}
	if a := t.x.areas.Load(); a != nil {
		return a, nil
	}
	return t.x.readAreas(ctx)
}

// rezoned returns the areas once some are written, and the codes that lie in another zone by it.
func (a *areas) rezoned(list []annona.Area) (after *filter.AreaTree, moved []string, err error) {
	all := map[string]annona.Area{}
	for _, area := range slices.Concat(a.tree.Areas(), list) {
		all[area.Code] = area
	}
	if after, err = filter.NewAreaTree(slices.Collect(maps.Values(all))); err != nil {
		return nil, nil, err
	}
	for code := range all {
		if a.tree.Zone(code) != after.Zone(code) {
			moved = append(moved, code)
		}
	}
	slices.Sort(moved)
	return after, moved, nil
}

// indexNames indexes the names of those whose record or area the transaction has written.
func (t *followingTx) indexNames(ctx context.Context) error {
	due, err := t.Tx.DueNames(ctx)
	if err != nil || len(due) == 0 {
		return err
	}
	a, err := t.areas(ctx)
	if err == nil && t.drawn == nil {
		err = t.Tx.ExpectAreas(ctx, a.version)
	}
	if err != nil {
		return err
	}
	tokens, err := t.x.tokensOf(ctx, a, due)
	if err != nil {
		return err
	}
	return t.Tx.PutNames(ctx, due, tokens)
}

// tokensOf returns the tokens of individuals where they live.
func (x *Exchange) tokensOf(ctx context.Context, a *areas, due []annona.DueName) ([][]uint32, error) {
	d := x.CurrentDictionary()
	individuals, _ := d.Dataset("individuals")
	cells := make([]annona.Cell, len(due))
	for i, one := range due {
		cells[i] = annona.Cell{Dataset: individuals, Number: one.Number, Version: one.Version, Part: annona.PartSealed, Image: one.Sealed}
	}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return nil, err
	}
	tokens := make([][]uint32, len(due))
	for i, one := range due {
		names, err := namesIn(d, individuals, cells[i].Image)
		if err != nil {
			return nil, err
		}
		tokens[i] = x.nameTokens(a.tree.Zone(one.Area), partsOf(names...))
	}
	return tokens, nil
}

// Reindexed is how far an index is.
type Reindexed struct {
	annona.IndexState
	Rows    int64 // of the index of names
	Waiting int64 // individuals whose names are to be indexed anew
}

// IndexStatus tells how an index stands.
func (x *Exchange) IndexStatus(ctx context.Context, caller annona.Caller, kind annona.IndexKind) (r Reindexed, err error) {
	if err := operatorOnly(caller); err != nil {
		return r, err
	}
	i, err := x.readIndexes(ctx)
	if err != nil {
		return r, err
	}
	r.IndexState = i.states[kind]
	if kind == annona.IndexNames {
		r.Rows, r.Waiting, err = x.Indexes.CountNames(ctx)
	}
	return r, err
}

// SwitchNameSearch switches the search by names on or off for the whole installation. On, it also begins
// to index the names of everybody with a new key; Reindex does it. Off, nothing is found anymore from
// that moment on, and Reindex removes the rows. What is so already stays as it is, and is not recorded.
func (x *Exchange) SwitchNameSearch(ctx context.Context, caller annona.Caller, on bool) (changed bool, err error) {
	if err := operatorOnly(caller); err != nil {
		return false, err
	}
	i, err := x.readIndexes(ctx)
	if err != nil || i.names() == on {
		return false, err
	}
	if on {
		_, err := x.renew(ctx, caller, annona.IndexNames, "on")
		return true, err
	}
	return true, x.putIndex(ctx, caller, annona.IndexNames, "off", func(s *annona.IndexState) { s.On, s.Whole = false, false })
}

// RenewIndex gives an index a new key, and begins to make its rows anew with it; Reindex goes on with
// that. Until it is done, look-ups and searches use all keys.
func (x *Exchange) RenewIndex(ctx context.Context, caller annona.Caller, kind annona.IndexKind) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	i, err := x.readIndexes(ctx)
	if err != nil {
		return err
	}
	if !i.states[kind].On {
		return annona.Conflict("name_search_off", "names cannot be searched, so that there is no index of them; switch it on with annona name-search on")
	}
	_, err = x.renew(ctx, caller, kind, "renew")
	return err
}

func (x *Exchange) renew(ctx context.Context, caller annona.Caller, kind annona.IndexKind, step string) (version int, err error) {
	if version, err = x.Rotator.RotateClass(string(kind)); err != nil {
		return 0, err
	}
	return version, x.putIndex(ctx, caller, kind, step, func(s *annona.IndexState) {
		*s = annona.IndexState{Kind: kind, On: true, Version: version, StartedAt: x.Clock().UTC()}
	})
}

// putIndex changes the state of an index, with its entry in the ledger.
func (x *Exchange) putIndex(ctx context.Context, caller annona.Caller, kind annona.IndexKind, step string, change func(*annona.IndexState)) error {
	err := x.Writer.Update(ctx, func(tx annona.Tx) error {
		state, err := tx.HoldIndex(ctx, kind)
		if err != nil {
			return err
		}
		change(&state)
		if err := tx.PutIndex(ctx, state); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.indexEntry(caller, state, step))
	})
	if err != nil {
		return err
	}
	return x.RefreshIndexes(ctx)
}

func (x *Exchange) indexEntry(caller annona.Caller, s annona.IndexState, step string) annona.LedgerRow {
	return x.administration(caller, audit.Facts{Verb: annona.VerbIndex, Details: map[string]string{
		"index": string(s.Kind), "step": step, "key_version": strconv.Itoa(s.Version),
	}})
}

// The sizes of steps: one holds a writer for some milliseconds.
const (
	indexStep = 200
	dropStep  = 20_000
)

// takeOver is how long a new key is left to the other processes of the installation before anything is
// made anew with it: they look each second, see RefreshIndexes.
const takeOver = 3 * time.Second

// Reindex takes one step of what is to be done to the indexes, in a transaction of its own: some records
// are indexed anew, or rows are removed. It reports whether there is more to do. A server and a command
// may do so at the same time; broken off, it goes on where it was. When nothing is left of the former
// keys of an index, they are destroyed.
func (x *Exchange) Reindex(ctx context.Context, caller annona.Caller) (more bool, err error) {
	if err := operatorOnly(caller); err != nil {
		return false, err
	}
	i, err := x.readIndexes(ctx)
	if err != nil {
		return false, err
	}
	if late, err := x.catchUp(ctx, caller, i); err != nil || late {
		return true, err
	}
	for _, kind := range []annona.IndexKind{annona.IndexIdentifiers, annona.IndexNames} {
		switch s := i.states[kind]; {
		case s.Whole:
		case s.On && x.Clock().Sub(s.StartedAt) < takeOver:
			return true, nil
		default:
			return true, x.reindex(ctx, caller, kind)
		}
	}
	if !i.names() {
		return false, nil
	}
	waited := 0
	err = x.Writer.Update(ctx, func(tx annona.Tx) (err error) {
		waited, err = tx.TakeWaiting(ctx, indexStep)
		return err
	})
	return waited == indexStep, err
}

// catchUp begins to make the rows of an index anew that lag behind its key: after a restore from a backup
// that is older than the key, or a rotation that was broken off.
func (x *Exchange) catchUp(ctx context.Context, caller annona.Caller, i *indexing) (late bool, err error) {
	for kind, s := range i.states {
		version, err := x.Rotator.ClassVersion(string(kind))
		if err != nil {
			return false, err
		}
		if !s.On || version <= max(s.Version, 1) {
			continue
		}
		late = true
		err = x.putIndex(ctx, caller, kind, "renew", func(s *annona.IndexState) {
			if s.Version < version {
				*s = annona.IndexState{Kind: kind, On: true, Version: version, StartedAt: x.Clock().UTC()}
			}
		})
		if err != nil {
			return false, err
		}
	}
	return late, nil
}

func (x *Exchange) reindex(ctx context.Context, caller annona.Caller, kind annona.IndexKind) error {
	done := false
	var state annona.IndexState
	err := x.Writer.Update(ctx, func(tx annona.Tx) (err error) {
		if state, err = tx.HoldIndex(ctx, kind); err != nil || state.Whole {
			return err // another process was faster
		}
		if done, err = x.indexSome(ctx, tx, &state); err != nil {
			return err
		}
		state.Whole = done
		if err := tx.PutIndex(ctx, state); err != nil || !done {
			return err
		}
		return tx.AppendEntry(ctx, x.indexEntry(caller, state, "done"))
	})
	if err != nil || !done {
		return err
	}
	if err := x.RefreshIndexes(ctx); err != nil || !state.On {
		return err
	}
	return x.Rotator.DestroyClass(string(kind))
}

// indexSome takes a step through an index and notes in its state how far it is.
func (x *Exchange) indexSome(ctx context.Context, tx annona.Tx, s *annona.IndexState) (done bool, err error) {
	if !s.On {
		dropped, err := tx.DropNames(ctx, dropStep)
		return dropped < dropStep, err
	}
	datasets := []string{"individuals"}
	if s.Kind == annona.IndexIdentifiers {
		datasets = append(datasets, "households")
	}
	at := max(slices.Index(datasets, s.Dataset), 0)
	dataset, _ := x.CurrentDictionary().Dataset(datasets[at])
	s.Dataset = dataset.Name
	numbers, err := tx.RecordsBehind(ctx, dataset, s.After, indexStep)
	if err != nil {
		return false, err
	}
	if len(numbers) == 0 {
		if at+1 == len(datasets) {
			return true, nil
		}
		s.Dataset, s.After = datasets[at+1], 0
		return false, nil
	}
	s.After = numbers[len(numbers)-1]
	if s.Kind == annona.IndexNames {
		return false, tx.TakeNames(ctx, numbers)
	}
	return false, x.indexIdentifiers(ctx, tx, dataset, numbers)
}

// indexIdentifiers makes the blind indexes of records anew.
func (x *Exchange) indexIdentifiers(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, numbers []annona.Number) error {
	known, err := tx.Hold(ctx, dataset, numbers)
	if err != nil {
		return err
	}
	images := make([]versions, 0, len(known))
	for _, k := range known {
		if k.Version > 0 && !k.Deleted {
			images = append(images, versions{known: k})
		}
	}
	if err := x.openSealed(ctx, dataset, images); err != nil {
		return err
	}
	for _, image := range images {
		r, err := recordOf(x.CurrentDictionary(), dataset, image.known.Clear, image.next)
		if err != nil {
			return err
		}
		if err := tx.PutIdentifiers(ctx, dataset, image.known.Number, x.identifiersOf(&r)); err != nil {
			return err
		}
	}
	return nil
}

// identifiersOf makes the blind indexes of a record.
func (x *Exchange) identifiersOf(r *annona.Record) (all []annona.IdentifierIndex) {
	for _, g := range r.Groups {
		if g.Field.Group == "identifiers" {
			all = append(all, x.index(g)...)
		}
	}
	return all
}
