package main

import (
	"fmt"
	"maps"
	"slices"
)

// truth is what must be in the registry: what was acknowledged, or was seen at the last check.
type truth struct {
	country    *country
	marks      []int             // of each household; 0: not on file
	restricted map[string]answer // by key of the person
	consented  map[string]answer
	lines      map[string]string // as exported, without the mark, by key of the record
}

// answer is what is known of a person's wish. A command that was cut off leaves it open.
type answer uint8

const (
	no answer = iota
	yes
	either
)

// batch is one run of an import: households under one mark, in the order of its file.
type batch struct {
	mark       int
	households []int
	acked      bool // it reported success
}

// wish is one command about a person: a restriction or a consent, given or taken back.
type wish struct {
	person  string
	consent bool // otherwise a restriction
	value   bool
	acked   bool
}

// oneTransaction is how many rows of an import are written at once: all or none
// (docs/operations.md, Limits).
const oneTransaction = 2000

func newTruth(c *country) *truth {
	return &truth{
		country: c, marks: make([]int, len(c.households)),
		restricted: map[string]answer{}, consented: map[string]answer{}, lines: map[string]string{},
	}
}

// clone returns a truth of its own, for what happened otherwise.
func (t *truth) clone() *truth {
	return &truth{
		country: t.country, marks: slices.Clone(t.marks),
		restricted: maps.Clone(t.restricted), consented: maps.Clone(t.consented), lines: maps.Clone(t.lines),
	}
}

// problem is something that a check found, under the name of the check.
type problem struct{ check, text string }

func (p problem) String() string { return p.check + ": " + p.text }

// The names of the checks.
const (
	checkLost    = "lost"      // an acknowledged write is not there
	checkHalf    = "half"      // a part of a transaction is there
	checkBytes   = "bytes"     // a record is there and is not what it was
	checkLedger  = "ledger"    // the ledger is not whole
	checkEntries = "entries"   // what changed and what the ledger says differ
	checkOutcome = "outcome"   // a request ended otherwise than its outcome says
	checkCovered = "uncovered" // somebody was received whom no release names
	checkExcess  = "excess"    // more was released than may have been under way
	checkStart   = "start"     // the program does not start, or says that it is broken
	checkTail    = "tail"      // the log was skipped or repeated
)

// told is what was asked of a registry since the last check, in the order of asking.
type told struct {
	batches []*batch
	wishes  []*wish
}

// expect takes in what people wanted.
func (t *truth) expect(wishes []*wish) {
	for _, w := range wishes {
		book := t.restricted
		if w.consent {
			book = t.consented
		}
		want := no
		if w.value {
			want = yes
		}
		switch {
		case w.acked:
			book[w.person] = want
		case book[w.person] != want:
			book[w.person] = either
		}
	}
}

// settled is what a comparison found, beside problems.
type settled struct {
	changed  int // records that were written since the last time
	compared int // records that were acknowledged and looked at
}

// settle compares what is seen with what must be there, and takes what is seen for the truth
// from now on.
func (t *truth) settle(what told, s *sight) (done settled, problems []problem) {
	t.expect(what.wishes)
	acked, perhaps := t.candidates(what.batches)
	for h := range t.marks {
		problems = append(problems, t.settleHousehold(h, acked[h], perhaps[h], s)...)
		done.compared += 1 + len(t.country.households[h].members)
	}
	for _, b := range what.batches {
		n, p := t.settleBatch(b)
		done.changed += n
		problems = append(problems, p...)
	}
	problems = append(problems, t.settleWishes(s)...)
	return done, append(problems, t.compareLines(s)...)
}

// candidates returns the last acknowledged mark of each household, and later ones that may have
// been written.
func (t *truth) candidates(batches []*batch) (acked []int, perhaps [][]int) {
	acked, perhaps = slices.Clone(t.marks), make([][]int, len(t.marks))
	for _, b := range batches {
		for _, h := range b.households {
			if b.acked {
				acked[h], perhaps[h] = b.mark, nil
			} else {
				perhaps[h] = append(perhaps[h], b.mark)
			}
		}
	}
	return acked, perhaps
}

func (t *truth) settleHousehold(h, acked int, perhaps []int, s *sight) (problems []problem) {
	it := &t.country.households[h]
	mark := s.households[it.key].mark
	if mark != acked && !slices.Contains(perhaps, mark) {
		problems = append(problems, problem{checkLost, fmt.Sprintf("household %s has mark %d; %d was acknowledged, %v may be there", it.key, mark, acked, perhaps)})
	}
	for _, key := range it.members {
		got, there := s.people[key]
		switch {
		case there && got.mark != mark:
			problems = append(problems, problem{checkHalf, fmt.Sprintf("household %s has mark %d, its member %s has %d", it.key, mark, key, got.mark)})
		case !there && mark != 0 && t.restricted[key] == no:
			problems = append(problems, problem{checkLost, fmt.Sprintf("%s is not there, the household %s is", key, it.key)})
		}
	}
	t.marks[h] = mark
	return problems
}

// settleBatch returns how many records of a batch are there.
func (t *truth) settleBatch(b *batch) (records int, problems []problem) {
	if b.acked {
		return t.country.records(b.households), nil
	}
	var there []int
	last := -1
	for i, h := range b.households {
		if t.marks[h] == b.mark {
			there, last = append(there, h), i
		}
	}
	whole := len(there) == 0 || len(there) == len(b.households)
	if !whole && (last+1 != len(there) || len(there)%oneTransaction != 0) {
		problems = append(problems, problem{checkHalf, fmt.Sprintf("%d of %d households of mark %d are there", len(there), len(b.households), b.mark)})
	}
	return t.country.records(there), problems
}

// settleWishes compares who may be seen with who wants to.
func (t *truth) settleWishes(s *sight) (problems []problem) {
	for key, restricted := range t.restricted {
		if t.marks[t.country.people[key].household] == 0 {
			continue
		}
		_, seen := s.people[key]
		if restricted == yes && seen {
			problems = append(problems, problem{checkLost, "the restriction of " + key + " was acknowledged, and the person is seen"})
		}
		t.restricted[key] = opposite(seen)
	}
	for key := range s.consenting {
		if t.consented[key] == no {
			problems = append(problems, problem{checkLost, key + " is seen without consent"})
		}
	}
	for key, consented := range t.consented {
		if t.restricted[key] != no {
			continue // cannot be seen either way
		}
		seen := s.consenting[key]
		if consented == yes && !seen {
			problems = append(problems, problem{checkLost, "the consent of " + key + " was acknowledged, and the person is not seen"})
		}
		t.consented[key] = opposite(!seen)
	}
	return problems
}

// opposite is the answer of whoever is seen only when the answer is no.
func opposite(seen bool) answer {
	if seen {
		return no
	}
	return yes
}

// compareLines holds each record, byte for byte and without its mark, to what it was before.
func (t *truth) compareLines(s *sight) (problems []problem) {
	for _, all := range []map[string]seen{s.households, s.people} {
		for key, got := range all {
			was, known := t.lines[key]
			switch {
			case !known:
				t.lines[key] = got.line
			case was != got.line:
				problems = append(problems, problem{checkBytes, fmt.Sprintf("%s was\n%s\nand is\n%s", key, was, got.line)})
			}
		}
	}
	for key, got := range s.people {
		p := t.country.people[key]
		if p == nil || got.fullName != p.fullName {
			problems = append(problems, problem{checkBytes, key + " does not have the name that was imported"})
		}
	}
	return problems
}
