package main

import (
	"fmt"
	"maps"
	"slices"
)

// truth is what must be in the registry: what was acknowledged, or was seen at the last check.
type truth struct {
	country *country
	marks   []int                     // of each household; 0: not on file
	wishes  map[act]map[string]answer // by key of the person
	before  map[string]answer         // who had been erased at the last check
	lines   map[string]string         // as exported, without the mark, by key of the record
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

// act is what a person wants.
type act string

const (
	restricting act = "restriction"
	agreeing    act = "consent"
	erasing     act = "erasure"
)

// wish is one command about a person, or, without value, one that takes it back.
type wish struct {
	person string
	act    act
	value  bool
	acked  bool
}

func newTruth(c *country) *truth {
	return &truth{
		country: c, marks: make([]int, len(c.households)),
		wishes: map[act]map[string]answer{restricting: {}, agreeing: {}, erasing: {}}, lines: map[string]string{},
	}
}

// clone returns a truth of its own, for what happened otherwise.
func (t *truth) clone() *truth {
	return &truth{
		country: t.country, marks: slices.Clone(t.marks),
		wishes: cloneAll(t.wishes), lines: maps.Clone(t.lines),
	}
}

func cloneAll(of map[act]map[string]answer) map[act]map[string]answer {
	out := map[act]map[string]answer{}
	for a, book := range of {
		out[a] = maps.Clone(book)
	}
	return out
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
	t.before = maps.Clone(t.wishes[erasing])
	for _, w := range wishes {
		book, want := t.wishes[w.act], no
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

// mayBeHidden reports whether a person who is on file may be in no export.
func (t *truth) mayBeHidden(person string) bool {
	return t.wishes[restricting][person] != no || t.wishes[erasing][person] != no
}

// settled is what a comparison found, beside problems.
type settled struct {
	least, most int // records that were written since the last time
	compared    int // records that were acknowledged and looked at
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
	problems = append(problems, t.settleWishes(s)...)
	for _, b := range what.batches {
		there, p := t.settleBatch(b)
		least, most := t.records(there)
		done.least, done.most = done.least+least, done.most+most
		problems = append(problems, p...)
	}
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
		case !there && mark != 0 && !t.mayBeHidden(key):
			problems = append(problems, problem{checkLost, fmt.Sprintf("%s is not there, the household %s is", key, it.key)})
		}
	}
	t.marks[h] = mark
	return problems
}

// settleBatch returns which households of a batch are there.
func (t *truth) settleBatch(b *batch) (there []int, problems []problem) {
	if b.acked {
		return b.households, nil
	}
	last := -1
	for i, h := range b.households {
		if t.marks[h] == b.mark {
			there, last = append(there, h), i
		}
	}
	if last+1 != len(there) { // an import writes whole households, in the order of its file
		problems = append(problems, problem{checkHalf, fmt.Sprintf("%d of %d households of mark %d are there", len(there), len(b.households), b.mark)})
	}
	return there, problems
}

// records is how many records these households and their members are: who had been erased is
// none, who was erased meanwhile may have been one.
func (t *truth) records(households []int) (least, most int) {
	for _, h := range households {
		least, most = least+1, most+1
		for _, key := range t.country.households[h].members {
			switch {
			case t.before[key] == yes:
			case t.wishes[erasing][key] == no:
				least, most = least+1, most+1
			default:
				most++
			}
		}
	}
	return least, most
}

// settleWishes compares who may be seen with who wants to.
func (t *truth) settleWishes(s *sight) (problems []problem) {
	for _, hiding := range []act{erasing, restricting} {
		for key, wanted := range t.wishes[hiding] {
			if t.marks[t.country.people[key].household] == 0 {
				continue
			}
			_, seen := s.people[key]
			if wanted == yes && seen {
				problems = append(problems, problem{checkLost, "the " + string(hiding) + " of " + key + " was acknowledged, and the person is seen"})
			}
			t.wishes[hiding][key] = opposite(seen)
		}
	}
	for key := range s.consenting {
		if t.wishes[agreeing][key] == no {
			problems = append(problems, problem{checkLost, key + " is seen without consent"})
		}
	}
	for key, wanted := range t.wishes[agreeing] {
		if t.mayBeHidden(key) {
			continue // cannot be seen either way
		}
		seen := s.consenting[key]
		if wanted == yes && !seen {
			problems = append(problems, problem{checkLost, "the consent of " + key + " was acknowledged, and the person is not seen"})
		}
		t.wishes[agreeing][key] = opposite(!seen)
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
