package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is what a run did and found.
type report struct {
	options
	of           string // what is counted
	began, ended time.Time
	blows        int
	hit          map[string]int // blows, by what was hit
	missed       int            // blows that came too late
	imports      int            // acknowledged
	wishes       int
	cut          int // writes that were not acknowledged
	whole        int // answers that arrived whole
	broken       int // and those that were cut
	bytes        int64
	compared     int // records held to what was acknowledged
	changes      int // told to a follower of the log
	released     int // people received, each held to the releases of its request
	problems     []string
}

func newReport(o options, of string) *report {
	return &report{options: o, of: of, began: time.Now(), hit: map[string]int{}}
}

// add counts one blow and the work around it.
func (r *report) add(name string, killed bool, w *work) {
	if killed {
		r.blows++
		r.hit[name]++
	} else {
		r.missed++
	}
	for _, b := range w.told.batches {
		r.count(b.acked, &r.imports)
	}
	for _, wish := range w.told.wishes {
		r.count(wish.acked, &r.wishes)
	}
	r.countReceipts(w.receipts)
}

func (r *report) countReceipts(receipts []*receipt) {
	for _, got := range receipts {
		r.bytes += got.bytes
		if got.whole {
			r.whole++
		} else {
			r.broken++
		}
	}
}

// addCut counts one cut of power and what had been promised by then.
func (r *report) addCut(what told, receipts []*receipt, kept float64) {
	r.blows++
	switch kept {
	case 0:
		r.hit["all that was not synced is lost"]++
	case 1:
		r.hit["nothing is lost"]++
	default:
		r.hit["any part of it is lost"]++
	}
	for _, b := range what.batches {
		r.count(b.acked, &r.imports)
	}
	for _, w := range what.wishes {
		r.count(w.acked, &r.wishes)
	}
	r.countReceipts(receipts)
}

func (r *report) count(acked bool, as *int) {
	if acked {
		*as++
	} else {
		r.cut++
	}
}

// found notes what a kill brought to light, and how to do it again.
func (r *report) found(n int, folder string, problems []problem) {
	for i, p := range problems {
		if i == 20 {
			r.problems = append(r.problems, fmt.Sprintf("… and %d more", len(problems)-i))
			break
		}
		r.problems = append(r.problems, fmt.Sprintf("%d: %s", n, p))
	}
	r.problems = append(r.problems, fmt.Sprintf("again: make crash STORE=%s SEED=%d N=%d CUTS=%d; the registry is in %s", r.store, r.seed, r.kills, r.cuts, folder))
}

func (r *report) failure() error {
	if len(r.problems) == 0 {
		return nil
	}
	return errors.New("something was lost, half there or unrecorded")
}

func (r *report) String() string {
	var out strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&out, "%-46s %v\n", name, value) }
	line("store", r.store)
	line("seed", r.seed)
	line(r.of, r.blows)
	for _, name := range slices.Sorted(maps.Keys(r.hit)) {
		line("  "+name, r.hit[name])
	}
	line("imports acknowledged", r.imports)
	line("wishes of people acknowledged", r.wishes)
	line("writes cut off", r.cut)
	line("records held to what was acknowledged", r.compared)
	line("answers received whole", r.whole)
	line("answers cut", r.broken)
	line("bytes received", r.bytes)
	line("people received, held to releases", r.released)
	line("changes told to a follower of the log", r.changes)
	line("failures", len(r.problems))
	if !r.ended.IsZero() {
		line("seconds", int(r.ended.Sub(r.began).Seconds()))
	}
	for _, p := range r.problems {
		fmt.Fprintln(&out, p)
	}
	return out.String()
}
