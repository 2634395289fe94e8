package exchange

import (
	"context"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Two records of one individual are merged: the survivor shows what both say, the other one goes out of
// sight and its keys lead to the survivor. Nothing is lost by it, see unite.go: taken back, each
// record is again what its own sources say, with what they have said meanwhile.

// The reasons in the events of a merge.
const (
	reasonMerged   = "merged"
	reasonUnmerged = "unmerged"
)

// Merge merges an individual into another one. The reason is a code. Codes: already_one, merged_already,
// decided_different, erased_already, not_found.
func (x *Exchange) Merge(ctx context.Context, caller annona.Caller, survivor, merged Subject, reason string) (annona.Merge, error) {
	if err := operatorOnly(caller); err != nil {
		return annona.Merge{}, err
	}
	if err := checkCode("reason", reason); err != nil {
		return annona.Merge{}, err
	}
	j := joining{x: x, caller: caller, reason: reason, survivor: &survivor, merged: &merged}
	err := x.Writer.Update(ctx, func(tx annona.Tx) error { return j.join(ctx, tx) })
	return j.made, err
}

// joining is one merge.
type joining struct {
	x                *Exchange
	caller           annona.Caller
	reason           string
	survivor, merged *Subject
	into, from       annona.Number     // where there are no subjects
	candidate        *annona.Candidate // that was decided; nil: none was

	made annona.Merge
}

// numbers finds the two records.
func (j *joining) numbers(ctx context.Context) (into, from annona.Number, err error) {
	if j.survivor == nil {
		return j.into, j.from, nil
	}
	if into, err = j.x.mergeable(ctx, *j.survivor); err != nil {
		return 0, 0, err
	}
	from, err = j.x.mergeable(ctx, *j.merged)
	return into, from, err
}

func (j *joining) join(ctx context.Context, tx annona.Tx) error {
	x := j.x
	dataset := x.individuals()
	into, from, err := j.numbers(ctx)
	if err != nil {
		return err
	}
	if into == from {
		return annona.Conflict("already_one", "both names lead to one record; there is nothing to merge")
	}
	held, err := x.holdTwo(ctx, tx, dataset, into, from)
	if err != nil {
		return err
	}
	survivor, merged := held[0], held[1]
	for n, s := range [...]*Subject{j.survivor, j.merged} {
		if err := x.isItself(held[n], s); err != nil {
			return err
		}
	}
	if err := j.checkDecided(ctx, dataset, survivor, merged); err != nil {
		return err
	}
	j.made = annona.Merge{
		ID: annona.NewUID(), Dataset: dataset.Name, Survivor: into, Merged: from, Version: survivor.known.Version + 1,
		At: x.Clock(), Author: annona.Author{Operator: j.caller.Operator, Reason: j.reason},
	}
	if err := j.write(ctx, tx, survivor, merged); err != nil {
		return err
	}
	if j.made.Rights, err = x.joinRights(ctx, tx, numbersOf(survivor), numbersOf(merged)); err != nil {
		return err
	}
	if err := j.settleCandidates(ctx, tx, dataset, survivor, merged); err != nil {
		return err
	}
	if err := tx.PutMerge(ctx, j.made); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, x.mergeEntry(j.caller, dataset, &j.made, reasonMerged, j.reason))
}

// write takes the merged record out of sight, lets its keys lead to the survivor, and writes what that
// is now.
func (j *joining) write(ctx context.Context, tx annona.Tx, survivor, merged *revision) error {
	x, dataset := j.x, survivor.known.Key.Dataset
	by := annona.Author{Operator: j.caller.Operator, Reason: reasonMerged}
	parts := slices.Concat(wholeParts(survivor), wholeParts(merged))
	merged.into = []annona.Number{survivor.known.Number}
	if err := x.remove(ctx, tx, by, []*revision{merged}, &outcome{}); err != nil {
		return err
	}
	for _, k := range append([]annona.RecordKey{merged.known.Key}, merged.known.OtherKeys...) {
		k.Dataset = dataset
		if err := tx.PutKey(ctx, by, k, survivor.known.Number); err != nil {
			return err
		}
	}
	if err := tx.PutParts(ctx, dataset, merged.known.Number, nil); err != nil {
		return err
	}
	var w writes
	if err := x.compose(&w, survivor, parts); err != nil {
		return err
	}
	_, err := w.put(ctx, x, tx, by)
	return err
}

// compose writes a record as its parts make it.
func (x *Exchange) compose(w *writes, v *revision, parts []*part) error {
	dataset := v.known.Key.Dataset
	v.now = x.unite(dataset, parts, authoritiesOf(x.CurrentDictionary(), dataset.Name))
	v.keys = []annona.RecordKey{v.known.Key}
	next, image, err := x.next(v)
	if err != nil {
		return err
	}
	w.add(next, image)
	if len(parts) == 1 {
		parts = nil
	}
	w.parts = append(w.parts, partsWrite{dataset, next.Number, next.Version, parts})
	return nil
}

// wholeParts returns the parts of a record: itself, when it is of one piece.
func wholeParts(v *revision) []*part {
	if len(v.parts) > 0 {
		return v.parts
	}
	return []*part{wholePart(v)}
}

// numbersOf returns the numbers of a record and of those that were merged into it.
func numbersOf(v *revision) []annona.Number {
	numbers := []annona.Number{v.known.Number}
	for _, p := range v.parts {
		if p.number != v.known.Number {
			numbers = append(numbers, p.number)
		}
	}
	return numbers
}

// Unmerged is a merge that was taken back.
type Unmerged struct {
	annona.Merge
	// Left are codes of what the two records do not have as if they had never been merged.
	Left []string
}

// What Unmerged.Left may have.
const (
	LeftRights   = "rights_recorded_since" // what was recorded of rights since the merge holds for both
	LeftConsents = "consents_withdrawn"    // a consent that the merge withdrew stays withdrawn, because another was withdrawn since
	LeftHome     = "household_gone"        // a household of the merged individual is not on file any more
)

// Unmerge takes a merge back: both records are again what their own sources say. Codes:
// unmerged_already, merged_since, not_found.
func (x *Exchange) Unmerge(ctx context.Context, caller annona.Caller, id annona.UID) (Unmerged, error) {
	if err := operatorOnly(caller); err != nil {
		return Unmerged{}, err
	}
	s := separating{x: x, caller: caller, id: id}
	err := x.Writer.Update(ctx, func(tx annona.Tx) error { return s.separate(ctx, tx) })
	return s.done, err
}

// separating takes one merge back.
type separating struct {
	x      *Exchange
	caller annona.Caller
	id     annona.UID
	done   Unmerged
}

func (s *separating) separate(ctx context.Context, tx annona.Tx) error {
	x, dataset := s.x, s.x.individuals()
	m, err := x.Merges.MergeByID(ctx, s.id)
	switch {
	case err != nil:
		return err
	case m == nil:
		return annona.NotFound("no merge with this id is on file; annona subject merges lists those of an individual")
	case !m.Holds():
		return annona.Conflict("unmerged_already", "this merge has been taken back")
	}
	s.done = Unmerged{Merge: *m}
	held, err := x.holdTwo(ctx, tx, dataset, m.Survivor, m.Merged)
	if err != nil {
		return err
	}
	survivor, merged := held[0], held[1]
	if survivor.known.Deleted || len(survivor.parts) == 0 {
		return annona.Conflict("merged_since", "the record that survived this merge is not in sight: it was merged into another one, or deleted; take that back first")
	}
	inside, err := x.mergedInto(ctx, dataset, m.Merged)
	if err != nil {
		return err
	}
	var stay, away []*part
	for _, p := range survivor.parts {
		if slices.Contains(inside, p.number) {
			away = append(away, p)
		} else {
			stay = append(stay, p)
		}
	}
	if len(stay) == 0 || len(away) == 0 {
		return annona.Internal("take a merge back: the parts of the record are not those of the merge", nil)
	}
	if err := s.write(ctx, tx, survivor, merged, stay, away); err != nil {
		return err
	}
	if err := s.checkHomes(ctx, tx, away); err != nil {
		return err
	}
	s.done.Undone, s.done.UndoneAt = survivor.known.Version+1, x.Clock()
	left, err := x.partRights(ctx, tx, &s.done.Merge, numbersOfParts(stay), numbersOfParts(away))
	if err != nil {
		return err
	}
	s.done.Left = append(s.done.Left, left...)
	slices.Sort(s.done.Left)
	if err := s.reopenCandidates(ctx, tx, dataset); err != nil {
		return err
	}
	if err := tx.PutMerge(ctx, s.done.Merge); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, x.mergeEntry(s.caller, dataset, &s.done.Merge, reasonUnmerged, m.Author.Reason))
}

func numbersOfParts(parts []*part) (numbers []annona.Number) {
	for _, p := range parts {
		numbers = append(numbers, p.number)
	}
	return numbers
}

// write brings the merged record back under its own keys, and writes the survivor without it.
func (s *separating) write(ctx context.Context, tx annona.Tx, survivor, merged *revision, stay, away []*part) error {
	x, dataset := s.x, survivor.known.Key.Dataset
	by := annona.Author{Operator: s.caller.Operator, Reason: reasonUnmerged}
	var others []leading
	for _, p := range away {
		for _, k := range p.keys() {
			key := survivor.keyOnFile(k.source, k.key)
			if key == nil {
				continue // its source took it back
			}
			own := *key
			own.Dataset = dataset
			if err := tx.PutKey(ctx, by, own, 0); err != nil {
				return err
			}
			if own.Source == merged.known.Key.Source && own.Key == merged.known.Key.Key {
				merged.known.Key = own
				continue
			}
			others = append(others, leading{own, merged.known.Number})
		}
	}
	var w writes
	if err := x.compose(&w, merged, away); err != nil {
		return err
	}
	if err := x.compose(&w, survivor, stay); err != nil {
		return err
	}
	w.keys = others
	_, err := w.put(ctx, x, tx, by)
	return err
}

// checkHomes notes when a household is gone in which the merged individual was a member.
func (s *separating) checkHomes(ctx context.Context, tx annona.Tx, parts []*part) error {
	var homes []annona.Number
	for _, p := range parts {
		for _, m := range p.now.memberships {
			homes = append(homes, m.Household)
		}
	}
	slices.Sort(homes)
	households, _ := s.x.CurrentDictionary().Dataset("households")
	known, err := tx.Hold(ctx, households, slices.Compact(homes))
	if slices.ContainsFunc(known, func(k annona.Known) bool { return k.Version == 0 || k.Deleted }) {
		s.done.Left = append(s.done.Left, LeftHome)
	}
	return err
}

// holdTwo locks two records and opens what they are. Both are on file or deleted.
func (x *Exchange) holdTwo(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, a, b annona.Number) ([2]*revision, error) {
	var two [2]*revision
	known, err := tx.Hold(ctx, dataset, []annona.Number{min(a, b), max(a, b)})
	if err != nil {
		return two, err
	}
	if a > b {
		known[0], known[1] = known[1], known[0]
	}
	for i := range known {
		if known[i].Version == 0 {
			return two, notOnFile()
		}
		two[i] = &revision{known: known[i]}
	}
	return two, x.recall(ctx, x.Vault, two[:])
}

// mergeable finds a record that is about to be merged.
func (x *Exchange) mergeable(ctx context.Context, s Subject) (annona.Number, error) {
	if s.Household {
		return 0, annona.Invalid("merge_of_households", "this merges individuals; households have verbs of their own")
	}
	number, err := x.findRecord(ctx, s)
	if err != nil {
		return 0, err
	}
	if number == 0 {
		return 0, x.whyNotOnFile(ctx, s)
	}
	root, err := x.survivorOf(ctx, x.individuals(), number)
	if err == nil && root != number {
		err = errMergedAlready()
	}
	return number, err
}

func errMergedAlready() error {
	return annona.Conflict("merged_already", "this record was merged into another one; name that one, or take the merge back first")
}

// whyNotOnFile tells somebody who was erased from somebody who was never there.
func (x *Exchange) whyNotOnFile(ctx context.Context, s Subject) error {
	if s.ID != "" {
		return notOnFile()
	}
	stones, err := x.Subjects.Tombstones(ctx)
	if err != nil {
		return err
	}
	key := x.Vault.RecordKey("individuals", s.Source, s.Key)
	for _, stone := range stones {
		if stone.Dataset == "individuals" && stone.Source == s.Source && stone.Key == key {
			return annona.Gone("erased_already", "the record with this key was erased")
		}
	}
	return notOnFile()
}

// isItself refuses a record that is deleted, and a key that was another record's, which was merged
// into this one.
func (x *Exchange) isItself(v *revision, s *Subject) error {
	if v.known.Deleted {
		return annona.Conflict("record_deleted", "the record is deleted; it can be merged when its source reports it again")
	}
	if s == nil || s.ID != "" || len(v.parts) == 0 {
		return nil
	}
	if !v.parts[0].has(s.Source, x.Vault.RecordKey("individuals", s.Source, s.Key)) {
		return errMergedAlready()
	}
	return nil
}

func (x *Exchange) individuals() *annona.Dataset {
	dataset, _ := x.CurrentDictionary().Dataset("individuals")
	return dataset
}

// maxCode bounds a code that somebody gives.
const maxCode = 64

// checkCode refuses what is no code: a code cannot carry a name or a number of somebody.
func checkCode(what, code string) error {
	plain := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' }
	first := code != "" && code[0] >= 'a' && code[0] <= 'z'
	if !first || len(code) > maxCode || strings.ContainsFunc(code, func(r rune) bool { return !plain(r) }) {
		return annona.Invalid("code_malformed", "give a code of small letters, digits and _, which begins with a letter and has at most %d characters; no personal data", maxCode).On(what)
	}
	return nil
}

func (x *Exchange) mergeEntry(caller annona.Caller, dataset *annona.Dataset, m *annona.Merge, act, reason string) annona.LedgerRow {
	facts := audit.Facts{Verb: annona.VerbMerge, Dataset: dataset.Name, Reason: reason, Details: map[string]string{"act": act, "merge": m.ID.String()}}
	subjects := []audit.Subjects{{Noun: dataset.Noun, Numbers: []annona.Number{min(m.Survivor, m.Merged), max(m.Survivor, m.Merged)}}}
	return audit.Change(x.Clock(), annona.NewUID(), facts, caller, subjects)
}
