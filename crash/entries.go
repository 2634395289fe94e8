package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
)

// entry is an entry of the ledger, as the program shows it.
type entry struct {
	Index   int64  `json:"index"`
	Kind    string `json:"kind"`
	Request string `json:"request"`
	Facts   struct {
		Verb    string            `json:"verb"`
		Outcome string            `json:"outcome"`
		Page    int               `json:"page"`
		Pages   int               `json:"pages"`
		Rows    int               `json:"rows"`
		Details map[string]string `json:"details"`
	} `json:"facts"`
}

// entries returns the entries behind a position.
func (r *registry) entries(ctx context.Context, after int64) (all []entry, err error) {
	out, err := r.run(ctx, "ledger", "show", "--after="+strconv.FormatInt(after, 10))
	if err != nil {
		return nil, err
	}
	lines := json.NewDecoder(bytes.NewReader(out))
	for {
		var e entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

// verified is the report of annona verify.
type verified struct {
	Entries      int64 `json:"entries"`
	OpenRequests int   `json:"open_requests"`
	Deviations   int64 `json:"deviations"`
}

func (r *registry) verify(ctx context.Context) (v verified, err error) {
	out, err := r.run(ctx, "verify", "--json")
	if err != nil {
		return v, fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return v, json.Unmarshal([]byte(lastLine(out)), &v)
}

// request is what the ledger says of one request.
type request struct {
	pages    []int // rows of each page released
	outcomes []entry
}

func byRequest(entries []entry) map[string]*request {
	all := map[string]*request{}
	for _, e := range entries {
		if e.Kind != "release" && e.Kind != "outcome" {
			continue
		}
		q := all[e.Request]
		if q == nil {
			q = &request{}
			all[e.Request] = q
		}
		if e.Kind == "release" {
			q.pages = append(q.pages, e.Facts.Rows)
		} else {
			q.outcomes = append(q.outcomes, e)
		}
	}
	return all
}

// allEnded reports whether each request among the entries has an outcome.
func allEnded(entries []entry) bool {
	for _, q := range byRequest(entries) {
		if len(q.outcomes) == 0 {
			return false
		}
	}
	return true
}

// inFlight is how many pages may have been released and not received (docs/operations.md,
// Limits).
const inFlight = 4

// compareOutcomes holds what clients got to what the ledger says of their requests.
func compareOutcomes(entries []entry, receipts []*receipt) (problems []problem) {
	requests := byRequest(entries)
	for id, q := range requests {
		if len(q.outcomes) != 1 {
			problems = append(problems, problem{checkOutcome, fmt.Sprintf("request %s has %d outcomes", id, len(q.outcomes))})
		}
	}
	for _, got := range receipts {
		switch q := requests[got.request]; {
		case q == nil && len(got.ids) > 0:
			problems = append(problems, problem{checkCovered, "request " + got.request + " sent people and is not in the ledger"})
		case q != nil && len(q.outcomes) > 0:
			problems = append(problems, got.compare(q)...)
		}
	}
	return problems
}

func (g *receipt) compare(q *request) (problems []problem) {
	end := q.outcomes[0].Facts
	find := func(check, format string, args ...any) {
		problems = append(problems, problem{check, "request " + g.request + " (" + g.path + " " + g.format + "): " + fmt.Sprintf(format, args...)})
	}
	// An export ends behind its outcome. The outcome of a page follows the answer, which nobody waits
	// for: it may be lost, and is then unknown.
	if g.trailed && end.Outcome != "complete" {
		find(checkOutcome, "arrived whole, its outcome is %s", end.Outcome)
	}
	if end.Outcome == "complete" && end.Pages != len(q.pages) {
		find(checkOutcome, "is complete with %d pages, %d were released", end.Pages, len(q.pages))
	}
	if !slices.Contains([]string{"complete", "aborted", "unknown"}, end.Outcome) {
		find(checkOutcome, "has the outcome %q", end.Outcome)
	}
	if pages, begun := g.begun(q.pages); pages-begun > inFlight {
		find(checkExcess, "%d pages were released, of %d nothing arrived", pages, pages-begun)
	}
	return problems
}

// begun returns how many pages were released, and of how many something arrived.
func (g *receipt) begun(pages []int) (released, begun int) {
	if roots[g.path+" "+g.format] == "" || g.limit > 0 {
		return 0, 0
	}
	rows := 0
	for _, n := range pages {
		if rows < g.rows {
			begun++
		}
		rows += n
	}
	return len(pages), begun
}

// compareChanges holds what is seen to have changed to what the ledger says was changed.
func compareChanges(entries []entry, done settled, wishes []*wish) (problems []problem) {
	recorded, acts := 0, 0
	for _, e := range entries {
		switch {
		case e.Facts.Verb == "import" && e.Facts.Details["step"] == "batch":
			for _, name := range []string{"created", "changed"} {
				n, err := strconv.Atoi(e.Facts.Details[name])
				if err != nil {
					return append(problems, problem{checkEntries, "an entry does not say how many records it changed"})
				}
				recorded += n
			}
		case e.Facts.Verb == "subject_rights" && (e.Facts.Details["act"] == "restriction" || e.Facts.Details["act"] == "consent_given"):
			acts++
		}
	}
	if recorded < done.least || recorded > done.most {
		problems = append(problems, problem{checkEntries, fmt.Sprintf("%d to %d records changed, the ledger says %d", done.least, done.most, recorded)})
	}
	least, most := 0, 0
	for _, w := range wishes {
		if !w.value || w.act == erasing {
			continue // to take back what nobody has given changes nothing
		}
		most++
		if w.acked {
			least++
		}
	}
	if acts < least || acts > most {
		problems = append(problems, problem{checkEntries, fmt.Sprintf("%d to %d wishes were recorded, the ledger says %d", least, most, acts)})
	}
	return problems
}

// compareReleases asks the program whether each person that a client received was released to
// its request.
func (r *registry) compareReleases(ctx context.Context, receipts []*receipt, people map[string]string, erased func(key string) bool) (compared int, problems []problem, err error) {
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	for _, got := range receipts {
		held := struct {
			Request string   `json:"request"`
			IDs     []string `json:"ids"`
		}{Request: got.request}
		for _, id := range got.ids {
			if key := people[id]; key != "" && !erased(key) {
				held.IDs = append(held.IDs, id)
			}
		}
		compared += len(held.IDs)
		if err := out.Encode(held); err != nil {
			return 0, nil, err
		}
	}
	if compared == 0 {
		return 0, problems, nil
	}
	cmd := r.command(ctx, "ledger", "covers", "--realm", idRealm)
	cmd.Stdin = &lines
	answer, err := output(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, nil, err
	}
	found, failed := readCoverage(answer)
	if err != nil && len(found) == 0 {
		return 0, nil, err
	}
	return compared, append(problems, found...), failed
}

func readCoverage(answer []byte) (problems []problem, err error) {
	lines := json.NewDecoder(bytes.NewReader(answer))
	for {
		var c struct {
			Request        string
			Released, Held int
			Missing        []string
		}
		switch err := lines.Decode(&c); {
		case errors.Is(err, io.EOF):
			return problems, nil
		case err != nil:
			return problems, err
		}
		if n := len(c.Missing); n > 0 {
			problems = append(problems, problem{checkCovered, fmt.Sprintf("request %s sent %d people whom no release names, as %s", c.Request, n, c.Missing[0])})
		}
	}
}
