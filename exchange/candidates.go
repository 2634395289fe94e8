package exchange

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// A match candidate is two records that may be of one individual. Finding them is the work of others: an
// identifier that two hold, or an outside system. The gate keeps them, and what people decide.

// The states of match candidates.
const (
	MatchOpen      = "open"
	MatchSame      = "same"      // they were merged
	MatchDifferent = "different" // never proposed again
	MatchUnsure    = "unsure"    // looked at and left open
)

// Where match candidates come from.
const (
	FromClash  = "identifier_clash"
	FromEngine = "outside_system"
)

// Match is a pair that somebody proposes.
type Match struct {
	A, B     Subject
	Score    float64 // 0 to 1
	Engine   string  // code of the outside system
	Evidence string  // code of the rule that found the pair
}

// Proposed counts what became of proposed pairs.
type Proposed struct {
	New     int `json:"new"`
	Known   int `json:"known"`   // open already; of one with a greater score the score is kept
	Decided int `json:"decided"` // it was decided that they are different, or they are one already
}

const matchesAtOnce = 500

// Propose puts pairs on file that an outside system has found. It refuses all of them when one is
// malformed; a pair that names nobody on file is refused through reject, with its place among matches.
func (x *Exchange) Propose(ctx context.Context, caller annona.Caller, matches []Match, reject func(at int, err error)) (Proposed, error) {
	var done Proposed
	if err := operatorOnly(caller); err != nil {
		return done, err
	}
	for from := 0; from < len(matches); from += matchesAtOnce {
		some := matches[from:min(len(matches), from+matchesAtOnce)]
		var pairs []annona.Candidate
		for i, m := range some {
			c, err := x.candidateOf(ctx, m)
			switch annona.KindOf(err) {
			case annona.KindNotFound, annona.KindInvalid, annona.KindGone:
				reject(from+i, err)
				continue
			}
			if err != nil {
				return done, err
			}
			pairs = append(pairs, c)
		}
		n, err := x.propose(ctx, caller, pairs)
		done.New, done.Known, done.Decided = done.New+n.New, done.Known+n.Known, done.Decided+n.Decided
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (x *Exchange) candidateOf(ctx context.Context, m Match) (c annona.Candidate, err error) {
	if err := checkCode("engine", m.Engine); err != nil {
		return c, err
	}
	if m.Evidence != "" {
		if err := checkCode("reason", m.Evidence); err != nil {
			return c, err
		}
	}
	if !(m.Score >= 0 && m.Score <= 1) { // nor NaN
		return c, annona.Invalid("score_out_of_range", "a score is a number from 0 to 1").On("score")
	}
	a, err := x.subject(ctx, m.A)
	if err != nil {
		return c, err
	}
	b, err := x.subject(ctx, m.B)
	if err != nil {
		return c, err
	}
	return annona.Candidate{A: min(a, b), B: max(a, b), Origin: FromEngine, Engine: m.Engine, Score: m.Score, Evidence: m.Evidence}, nil
}

// maxClash is how many holders of one identifier are proposed as pairs. A number that more people hold is
// a mistake of a source, which the list of disputes shows.
const maxClash = 6

// ProposeClashes puts on file the pairs that hold one identifier which has one holder.
func (x *Exchange) ProposeClashes(ctx context.Context, caller annona.Caller) (Proposed, error) {
	var done Proposed
	if err := operatorOnly(caller); err != nil {
		return done, err
	}
	for after := []byte(nil); ; {
		page, err := x.Subjects.Disputes(ctx, x.individuals(), after, disputesAtOnce)
		if err != nil || len(page) == 0 {
			return done, err
		}
		var pairs []annona.Candidate
		for _, d := range page {
			if len(d.Holders) > maxClash {
				continue
			}
			for i, a := range d.Holders {
				for _, b := range d.Holders[i+1:] {
					pairs = append(pairs, annona.Candidate{A: a, B: b, Origin: FromClash, Score: 1, Evidence: d.Scheme})
				}
			}
		}
		n, err := x.propose(ctx, caller, pairs)
		done.New, done.Known, done.Decided = done.New+n.New, done.Known+n.Known, done.Decided+n.Decided
		if err != nil {
			return done, err
		}
		after = page[len(page)-1].Hash
	}
}

// propose writes pairs that are not on file, in one transaction with its ledger entry.
func (x *Exchange) propose(ctx context.Context, caller annona.Caller, pairs []annona.Candidate) (done Proposed, err error) {
	if len(pairs) == 0 {
		return done, nil
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		done = Proposed{}
		written := map[[2]annona.Number]bool{}
		var numbers []annona.Number
		for _, c := range pairs {
			pair := [2]annona.Number{c.A, c.B}
			if written[pair] {
				done.Known++
				continue
			}
			written[pair] = true
			isNew, err := x.proposeOne(ctx, tx, c, &done)
			if err != nil {
				return err
			}
			if isNew {
				numbers = append(numbers, c.A, c.B)
			}
		}
		if done.New == 0 {
			return nil
		}
		slices.Sort(numbers)
		return tx.AppendEntry(ctx, x.candidateEntry(caller, "candidates_proposed", "", map[string]string{"candidates": strconv.Itoa(done.New)}, slices.Compact(numbers)))
	})
	return done, err
}

func (x *Exchange) proposeOne(ctx context.Context, tx annona.Tx, c annona.Candidate, done *Proposed) (isNew bool, err error) {
	if c.A == c.B {
		done.Decided++
		return false, nil
	}
	a, known, err := x.between(ctx, c.A, c.B)
	if err != nil {
		return false, err
	}
	if slices.Contains(a, c.B) || slices.ContainsFunc(known, func(k annona.Candidate) bool { return k.State == MatchDifferent }) {
		done.Decided++
		return false, nil
	}
	if len(known) > 0 {
		done.Known++
		old := known[0]
		if old.Origin != c.Origin || old.Engine != c.Engine || c.Score <= old.Score {
			return false, nil
		}
		old.Score, old.Evidence = c.Score, c.Evidence
		return false, tx.PutCandidate(ctx, old)
	}
	c.ID, c.Dataset, c.State, c.At = annona.NewUID(), x.individuals().Name, MatchOpen, x.Clock()
	done.New++
	return true, tx.PutCandidate(ctx, c)
}

// between returns the first of two records with all that were merged into it, and the candidates
// between the two.
func (x *Exchange) between(ctx context.Context, first, second annona.Number) (a []annona.Number, known []annona.Candidate, err error) {
	if a, err = x.mergedInto(ctx, x.individuals(), first); err != nil {
		return nil, nil, err
	}
	b, err := x.mergedInto(ctx, x.individuals(), second)
	if err != nil {
		return nil, nil, err
	}
	known, err = x.candidatesBetween(ctx, x.individuals(), a, b)
	return a, known, err
}

func (x *Exchange) candidatesBetween(ctx context.Context, dataset *annona.Dataset, a, b []annona.Number) ([]annona.Candidate, error) {
	all, err := x.Merges.CandidatesOf(ctx, dataset, a)
	crosses := func(c annona.Candidate) bool {
		return slices.Contains(a, c.A) && slices.Contains(b, c.B) || slices.Contains(a, c.B) && slices.Contains(b, c.A)
	}
	return slices.DeleteFunc(all, func(c annona.Candidate) bool { return !crosses(c) }), err
}

// Candidate is a match candidate as the operator sees it.
type Candidate struct {
	annona.Candidate
	IDs [2]string // of the two records, in the realm that was asked for; empty of one that is not on file
}

// Candidates calls visit for each match candidate of a state (empty: of all), in the order in which they
// came, with the ids that an agreement's realm gives the records.
func (x *Exchange) Candidates(ctx context.Context, caller annona.Caller, state, realm string, visit func(Candidate) error) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	if state != "" && !slices.Contains([]string{MatchOpen, MatchSame, MatchDifferent, MatchUnsure}, state) {
		return annona.Invalid("unknown_state", "the states are open, same, different and unsure").On("state")
	}
	ids, err := x.Vault.Realm(realm)
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		page, err := x.Merges.Candidates(ctx, state, after, matchesAtOnce)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].Key
		shown, err := x.showCandidates(ctx, caller, ids, page)
		if err != nil {
			return err
		}
		for _, c := range shown {
			if err := visit(c); err != nil {
				return err
			}
		}
	}
}

// ShowCandidate returns one match candidate.
func (x *Exchange) ShowCandidate(ctx context.Context, caller annona.Caller, id annona.UID, realm string) (Candidate, error) {
	if err := operatorOnly(caller); err != nil {
		return Candidate{}, err
	}
	ids, err := x.Vault.Realm(realm)
	if err != nil {
		return Candidate{}, err
	}
	c, err := x.candidate(ctx, id)
	if err != nil {
		return Candidate{}, err
	}
	shown, err := x.showCandidates(ctx, caller, ids, []annona.Candidate{*c})
	if err != nil {
		return Candidate{}, err
	}
	return shown[0], nil
}

func (x *Exchange) candidate(ctx context.Context, id annona.UID) (*annona.Candidate, error) {
	c, err := x.Merges.CandidateByID(ctx, id)
	if err == nil && c == nil {
		err = annona.NotFound("no match candidate with this id is on file; annona match list names them")
	}
	return c, err
}

// showCandidates gives candidates the ids of their records, which the ledger tells.
func (x *Exchange) showCandidates(ctx context.Context, caller annona.Caller, ids annona.Realm, page []annona.Candidate) ([]Candidate, error) {
	var numbers []annona.Number
	for _, c := range page {
		numbers = append(numbers, c.A, c.B)
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	left, err := x.Views.Departed(ctx, x.individuals(), numbers)
	if err != nil {
		return nil, err
	}
	err = x.Ledger.Append(ctx, x.candidateEntry(caller, "candidates_listed", "", map[string]string{"candidates": strconv.Itoa(len(page))}, numbers))
	if err != nil {
		return nil, err
	}
	shown := make([]Candidate, len(page))
	for i, c := range page {
		shown[i].Candidate = c
		for side, n := range [...]annona.Number{c.A, c.B} {
			if d, there := left[n]; there {
				shown[i].IDs[side] = string(ids.AppendID(nil, d.UID[:]))
			}
		}
	}
	return shown, nil
}

// DecideMatch decides about a match candidate. Same merges B into A, or A into B when keep says so (1). Codes:
// decided_already and those of Merge.
func (x *Exchange) DecideMatch(ctx context.Context, caller annona.Caller, id annona.UID, state, reason string, keep int) (annona.Merge, error) {
	if err := operatorOnly(caller); err != nil {
		return annona.Merge{}, err
	}
	if err := checkCode("reason", reason); err != nil {
		return annona.Merge{}, err
	}
	c, err := x.candidate(ctx, id)
	if err != nil {
		return annona.Merge{}, err
	}
	if c.State == MatchSame {
		return annona.Merge{}, annona.Conflict("decided_already", "these two were merged; take the merge back first")
	}
	c.State, c.Decided, c.DecidedAt = state, annona.Author{Operator: caller.Operator, Client: caller.Client, Reason: reason}, x.Clock()
	switch state {
	case MatchDifferent, MatchUnsure:
		return annona.Merge{}, x.Writer.Update(ctx, func(tx annona.Tx) error {
			if err := tx.PutCandidate(ctx, *c); err != nil {
				return err
			}
			details := map[string]string{"candidate": c.ID.String()}
			return tx.AppendEntry(ctx, x.candidateEntry(caller, "candidate_"+state, reason, details, []annona.Number{c.A, c.B}))
		})
	case MatchSame:
		return x.mergeCandidate(ctx, caller, c, reason, keep)
	}
	return annona.Merge{}, annona.Invalid("unknown_state", "decide same, different or unsure").On("state")
}

// mergeCandidate merges the records in which the two of a candidate are seen now.
func (x *Exchange) mergeCandidate(ctx context.Context, caller annona.Caller, c *annona.Candidate, reason string, keep int) (annona.Merge, error) {
	two := [2]annona.Number{c.A, c.B}
	for i := range two {
		var err error
		if two[i], err = x.survivorOf(ctx, x.individuals(), two[i]); err != nil {
			return annona.Merge{}, err
		}
	}
	j := joining{x: x, caller: caller, reason: reason, into: two[keep], from: two[1-keep], candidate: c}
	err := x.Writer.Update(ctx, func(tx annona.Tx) error { return j.join(ctx, tx) })
	return j.made, err
}

// checkDecided refuses to merge two of which it was decided that they are different, unless it is decided
// otherwise now.
func (j *joining) checkDecided(ctx context.Context, dataset *annona.Dataset, survivor, merged *revision) error {
	known, err := j.x.candidatesBetween(ctx, dataset, numbersOf(survivor), numbersOf(merged))
	if err != nil {
		return err
	}
	for _, c := range known {
		if c.State == MatchDifferent && (j.candidate == nil || c.ID != j.candidate.ID) {
			return annona.Conflict("decided_different", "it was decided that these two are different; decide the match candidate anew first").On(c.ID.String())
		}
	}
	return nil
}

// settleCandidates ends the candidates between two records that are one now.
func (j *joining) settleCandidates(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, survivor, merged *revision) error {
	known, err := j.x.candidatesBetween(ctx, dataset, numbersOf(survivor), numbersOf(merged))
	if err != nil {
		return err
	}
	for _, c := range known {
		c.State, c.Merge, c.DecidedAt = MatchSame, j.made.ID, j.made.At
		c.Decided = annona.Author{Operator: j.caller.Operator, Client: j.caller.Client, Reason: j.reason}
		if err := tx.PutCandidate(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// reopenCandidates opens what the merge had settled.
func (s *separating) reopenCandidates(ctx context.Context, tx annona.Tx, dataset *annona.Dataset) error {
	inside, err := s.x.mergedInto(ctx, dataset, s.done.Survivor) // both sides: what is committed is still one
	if err != nil {
		return err
	}
	all, err := s.x.Merges.CandidatesOf(ctx, dataset, inside)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Merge != s.done.ID {
			continue
		}
		c.State, c.Merge, c.Decided, c.DecidedAt = MatchOpen, annona.UID{}, annona.Author{}, time.Time{}
		if err := tx.PutCandidate(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (x *Exchange) candidateEntry(caller annona.Caller, act, reason string, details map[string]string, numbers []annona.Number) annona.LedgerRow {
	details["act"] = act
	facts := audit.Facts{Verb: annona.VerbMerge, Dataset: x.individuals().Name, Reason: reason, Details: details}
	return audit.Change(x.Clock(), annona.NewUID(), facts, caller, []audit.Subjects{{Noun: "individual", Numbers: numbers}})
}
