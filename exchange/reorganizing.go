package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/filter"
)

// Reorganized says what became of a reorganization.
type Reorganized struct {
	Again   bool // it was recorded before
	Pending bool // its day has not come
	Closed  []string
	Moved   Moved
}

// Reorganize draws areas anew: it is recorded, and from its effective day on applied in one
// transaction. From that moment filters and agreements see the new tree; then the households in
// closed areas are moved, in batches. Broken off, it goes on where it was when it is asked for
// again. Only the operator may.
func (x *Exchange) Reorganize(ctx context.Context, caller annona.Caller, r annona.Reorganization) (done Reorganized, err error) {
	if err := operatorOnly(caller); err != nil {
		return done, err
	}
	if r, err = identified(r); err != nil {
		return done, err
	}
	recorded, err := x.Reference.Reorganizations(ctx)
	if err != nil {
		return done, err
	}
	same := slices.IndexFunc(recorded, func(o annona.Reorganization) bool { return o.ID == r.ID })
	if same >= 0 {
		r, done.Again = recorded[same], true
	} else if r, err = x.recordReorganization(ctx, caller, r, recorded); err != nil {
		return done, err
	}
	if done.Pending = r.AppliedAt.IsZero() && r.Effective > x.today(x.Clock()); done.Pending {
		return done, nil
	}
	if r.AppliedAt.IsZero() {
		if done.Closed, err = x.apply(ctx, caller, r); err != nil {
			return done, err
		}
	}
	done.Moved, err = x.MoveHouseholds(ctx, caller)
	return done, err
}

// identified gives a reorganization the id of what it says.
func identified(r annona.Reorganization) (annona.Reorganization, error) {
	if _, err := annona.ParseDate(string(r.Effective)); err != nil || len(r.Changes) == 0 {
		return r, annona.Invalid("reorganization_malformed", "a reorganization has an effective day, written 2006-01-02, and at least one change")
	}
	said, err := json.Marshal([]any{r.Effective, r.Reference, r.Changes})
	if err != nil {
		return r, annona.Internal("read a reorganization", err)
	}
	sum := sha256.Sum256(said)
	copy(r.ID[:], sum[:])
	return r, nil
}

// recordReorganization checks a reorganization against the areas as they will be on its day, and keeps it.
func (x *Exchange) recordReorganization(ctx context.Context, caller annona.Caller, r annona.Reorganization, recorded []annona.Reorganization) (annona.Reorganization, error) {
	a, err := x.readAreas(ctx)
	if err != nil {
		return r, err
	}
	tree := a.tree
	for _, earlier := range recorded {
		if !earlier.AppliedAt.IsZero() || earlier.Effective > r.Effective {
			continue
		}
		if _, drawn, err := draw(tree, earlier); err == nil {
			tree = drawn
		}
	}
	if _, _, err := draw(tree, r); err != nil {
		return r, err
	}
	r.RecordedAt = x.Clock().UTC()
	return r, x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutReorganization(ctx, r); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.reorganization(caller, r, "recorded", nil))
	})
}

// apply puts a reorganization in force. What agreements on closed areas reach is remembered in the
// same transaction.
func (x *Exchange) apply(ctx context.Context, caller annona.Caller, r annona.Reorganization) (closed []string, err error) {
	return closed, x.Writer.Update(ctx, func(tx annona.Tx) error {
		a, err := x.readAreas(ctx)
		if err != nil {
			return err
		}
		closed = nil
		if applied, err := x.isApplied(ctx, r); err != nil || applied {
			return err // another node was faster
		}
		drawn, _, err := draw(a.tree, r)
		if err != nil {
			return err
		}
		if err := tx.ExpectAreas(ctx, a.version); err != nil {
			return err
		}
		closed = drawn.closed
		var households int64
		for _, code := range closed {
			n, err := tx.KeepFormer(ctx, code)
			if err != nil {
				return err
			}
			households += n
		}
		if err := tx.PutAreas(ctx, drawn.news()); err != nil {
			return err
		}
		r.AppliedAt = x.Clock().UTC()
		if err := tx.PutReorganization(ctx, r); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.reorganization(caller, r, "applied", map[string]string{
			"closed": strconv.Itoa(len(closed)), "areas": strconv.Itoa(len(drawn.changed)), "households": strconv.FormatInt(households, 10),
		}))
	})
}

func (x *Exchange) isApplied(ctx context.Context, r annona.Reorganization) (bool, error) {
	recorded, err := x.Reference.Reorganizations(ctx)
	return slices.ContainsFunc(recorded, func(o annona.Reorganization) bool { return o.ID == r.ID && !o.AppliedAt.IsZero() }), err
}

// reorganization is the ledger entry of a step.
func (x *Exchange) reorganization(caller annona.Caller, r annona.Reorganization, step string, more map[string]string) annona.LedgerRow {
	details := map[string]string{"step": step, "reorganization": r.ID.String(), "effective": string(r.Effective)}
	if r.Reference != "" {
		details["reference"] = r.Reference
	}
	for name, text := range more {
		details[name] = text
	}
	return x.administration(caller, audit.Facts{Verb: annona.VerbReorganize, Details: details})
}

// ApplyDue applies the reorganizations whose day has come, in the order of their days, and moves
// households that still stand in closed areas. One that does not fit the areas anymore stays
// recorded, and its error is returned; the others are applied all the same.
func (x *Exchange) ApplyDue(ctx context.Context, caller annona.Caller) (applied int, moved Moved, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, moved, err
	}
	recorded, err := x.Reference.Reorganizations(ctx)
	if err != nil {
		return 0, moved, err
	}
	var failed error
	for _, r := range recorded {
		if !r.AppliedAt.IsZero() || r.Effective > x.today(x.Clock()) {
			continue
		}
		if _, err := x.apply(ctx, caller, r); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		applied++
	}
	moved, err = x.MoveHouseholds(ctx, caller)
	return applied, moved, errors.Join(failed, err)
}

// Moved counts households whose area was closed.
type Moved struct {
	Moved   int // to the one successor of their area
	Flagged int // their area has several successors, or none: it is not known where they are
}

// moveBatch is how many households one transaction moves: it holds a writer for some milliseconds.
const moveBatch = 100

// MoveHouseholds moves the households that stand in closed areas to what these have become, and
// flags those of which that is not known. It may be broken off and run again.
func (x *Exchange) MoveHouseholds(ctx context.Context, caller annona.Caller) (all Moved, err error) {
	if err := operatorOnly(caller); err != nil {
		return all, err
	}
	a, err := x.readAreas(ctx)
	if err != nil {
		return all, err
	}
	for _, area := range a.tree.Closed() {
		for more := true; more; {
			var moved int
			if moved, more, err = x.moveSome(ctx, caller, a, area.Code); err != nil {
				return all, err
			}
			if a.fate(area.Code, "").closed != "" {
				all.Flagged += moved
			} else {
				all.Moved += moved
			}
		}
	}
	return all, nil
}

// moveSome moves or flags households that stand in a closed area.
func (x *Exchange) moveSome(ctx context.Context, caller annona.Caller, a *areas, code string) (moved int, more bool, err error) {
	f := a.fate(code, "")
	flag := ""
	if f.closed != "" {
		flag = flagAreaClosed
	}
	return moved, more, x.Writer.Update(ctx, func(tx annona.Tx) error {
		keys, err := tx.HouseholdsIn(ctx, a.placing.households, code, flag, moveBatch)
		if err != nil || len(keys) == 0 {
			moved, more = 0, false
			return err
		}
		more = len(keys) == moveBatch
		moved, err = x.move(ctx, tx, caller, a.placing, keys, func(at int, stands string) (fate, bool) { return f, stands == code })
		if err != nil || moved == 0 {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbReorganize, Details: map[string]string{
			"step": "moved", "from": code, "to": f.area, "households": strconv.Itoa(moved),
		}}))
	})
}

// move writes households anew in the areas that where says, by position and by the area in which
// each stands; those that it leaves alone are not written. It returns how many were.
func (x *Exchange) move(ctx context.Context, tx annona.Tx, caller annona.Caller, p placing, keys []annona.RecordKey, where func(at int, stands string) (fate, bool)) (int, error) {
	known, err := tx.Find(ctx, keys)
	if err != nil {
		return 0, err
	}
	var records []annona.StoredRecord
	var images []versions
	for at, k := range known {
		if k.Version == 0 || k.Erased || k.Deleted {
			continue
		}
		stands, err := p.areaOf(k.Clear)
		if err != nil {
			return 0, annona.Internal("read a household", err)
		}
		f, moves := where(at, stands)
		if !moves {
			continue
		}
		r := annona.StoredRecord{RecordKey: keys[at], Number: k.Number, Version: k.Version + 1}
		if r.Clear, r.Index, err = p.put(k.Clear, f.area, f.closed); err != nil {
			return 0, err
		}
		records, images = append(records, r), append(images, versions{known: k})
	}
	if len(records) == 0 {
		return 0, nil
	}
	if err := x.openSealed(ctx, p.households, images); err != nil {
		return 0, err
	}
	if err := seal(ctx, x.Vault, records, images); err != nil {
		return 0, err
	}
	return len(records), tx.MoveHouseholds(ctx, caller.Operator, records)
}

// openSealed fills the next sealed image of records with what is sealed of them on file.
func (x *Exchange) openSealed(ctx context.Context, dataset *annona.Dataset, images []versions) error {
	cells := make([]annona.Cell, len(images))
	for i := range images {
		k := &images[i].known
		cells[i] = annona.Cell{Dataset: dataset, Number: k.Number, Version: k.Version, Part: annona.PartSealed, Image: slices.Clone(k.Sealed)}
	}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return err
	}
	for i := range images {
		images[i].next = cells[i].Image
	}
	return nil
}

// Assigned counts what assignments did.
type Assigned struct {
	Moved     int
	Unchanged int // they stood there
	Unknown   int // no household with this key is on file
	Unfit     int // their area has not become the one that was named
}

// AssignAreas says of households in areas that were split in which successor each is. Keys are
// those of the source. Every area must be on file and open.
func (x *Exchange) AssignAreas(ctx context.Context, caller annona.Caller, source string, list []annona.AreaAssignment) (all Assigned, err error) {
	if err := operatorOnly(caller); err != nil {
		return all, err
	}
	a, err := x.readAreas(ctx)
	if err != nil {
		return all, err
	}
	if err := checkAssignments(a.tree, list); err != nil {
		return all, err
	}
	for some := range slices.Chunk(list, moveBatch) {
		done, err := x.assignSome(ctx, caller, a, source, some)
		if err != nil {
			return all, err
		}
		all.Moved += done.Moved
		all.Unchanged += done.Unchanged
		all.Unknown += done.Unknown
		all.Unfit += done.Unfit
	}
	return all, nil
}

func checkAssignments(tree *filter.AreaTree, list []annona.AreaAssignment) error {
	seen := map[string]bool{}
	for _, one := range list {
		area, known := tree.Area(one.Area)
		switch {
		case one.Key == "":
			return annona.Invalid("assignment_malformed", "an assignment names a household by the key of its source").AtPosition(one.Line)
		case seen[one.Key]:
			return annona.Invalid("key_twice", "a household stands in the file twice").AtPosition(one.Line)
		case !known:
			return annona.Invalid("area_unknown", "no area with this code is on file").On(one.Area).AtPosition(one.Line)
		case area.IsClosed():
			return annona.Conflict("area_closed", "the area is closed since %s", area.ValidTo).On(one.Area).AtPosition(one.Line)
		}
		seen[one.Key] = true
	}
	return nil
}

func (x *Exchange) assignSome(ctx context.Context, caller annona.Caller, a *areas, source string, list []annona.AreaAssignment) (done Assigned, err error) {
	keys := make([]annona.RecordKey, len(list))
	for i, one := range list {
		keys[i] = annona.RecordKey{Dataset: a.placing.households, Source: source, Key: x.Vault.RecordKey("households", source, one.Key)}
	}
	return done, x.Writer.Update(ctx, func(tx annona.Tx) error {
		done = Assigned{}
		found := 0
		moved, err := x.move(ctx, tx, caller, a.placing, keys, func(at int, stands string) (fate, bool) {
			found++
			from, _ := a.tree.Area(stands)
			switch to := list[at].Area; {
			case stands == to:
				done.Unchanged++
			case !from.IsClosed() || !a.tree.Territory(to, stands):
				done.Unfit++
			default:
				return fate{area: to}, true
			}
			return fate{}, false
		})
		if done.Moved, done.Unknown = moved, len(list)-found; err != nil || moved == 0 {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbReorganize, Details: map[string]string{
			"step": "assigned", "source": source, "households": strconv.Itoa(moved),
		}}))
	})
}
