package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type matchCommand struct {
	Find   matchFind   `cmd:"" help:"Propose the pairs that hold one identifier which has one holder."`
	Import matchImport `cmd:"" help:"Propose the pairs that an outside system has found."`
	List   matchList   `cmd:"" help:"List match candidates."`
	Show   matchShow   `cmd:"" help:"Show one match candidate."`
	Decide matchDecide `cmd:"" help:"Decide about a match candidate: same merges, different is never proposed again."`
}

type matchFind struct {
	dataFlag
	JSON bool `name:"json" help:"Print JSON, on one line."`
}

func (m matchFind) Run(ctx context.Context, c console) error {
	return m.with(ctx, func(f *folder) error {
		done, err := f.gate.ProposeClashes(ctx, operator())
		if err != nil {
			return err
		}
		return matchReport{Proposed: done}.print(c, m.JSON)
	})
}

type matchImport struct {
	dataFlag
	File   string `arg:"" type:"existingfile" help:"Pairs: FILE.csv or FILE.ndjson; see docs/operations.md."`
	Engine string `placeholder:"CODE" help:"The system that found them, where the file does not say."`
	Realm  string `placeholder:"NAME" help:"Id realm of the ids in the columns a and b."`
	JSON   bool   `name:"json" help:"Print JSON, on one line."`
}

// matchReport says what became of pairs: counts, codes and row numbers.
type matchReport struct {
	exchange.Proposed
	Rejected map[string]int `json:"rejected,omitempty"` // by code
	Rows     []matchReject  `json:"rows,omitempty"`     // the first ones
}

type matchReject struct {
	Row  int    `json:"row"` // the first one behind the header is 1
	Code string `json:"code"`
}

// shownRejects bounds the rows that a report names.
const shownRejects = 20

func (r *matchReport) reject(row int, err error) {
	code := annona.CodeOf(err)
	if r.Rejected == nil {
		r.Rejected = map[string]int{}
	}
	r.Rejected[code]++
	r.Rows = append(r.Rows, matchReject{row, code})
	slices.SortFunc(r.Rows, func(a, b matchReject) int { return a.Row - b.Row })
	r.Rows = r.Rows[:min(len(r.Rows), shownRejects)]
}

func (r matchReport) print(c console, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	fmt.Fprintf(c.out, "New candidates: %d. Known already: %d. Decided already: %d.\n", r.New, r.Known, r.Decided)
	for _, code := range slices.Sorted(maps.Keys(r.Rejected)) {
		fmt.Fprintf(c.out, "Rejected (%s): %d\n", code, r.Rejected[code])
	}
	for _, row := range r.Rows {
		fmt.Fprintf(c.out, "  row %d: %s\n", row.Row, row.Code)
	}
	return nil
}

// pairsAtOnce is how many pairs of a file are proposed together.
const pairsAtOnce = 500

func (m matchImport) Run(ctx context.Context, c console) error {
	in, err := os.Open(m.File)
	if err != nil {
		return annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err)).On(m.File)
	}
	defer in.Close()
	pairs, err := newPairs(m.File, in)
	if err != nil {
		return err
	}
	return m.with(ctx, func(f *folder) error {
		var report matchReport
		err := m.propose(ctx, f, pairs, &report)
		if printed := report.print(c, m.JSON); err == nil {
			err = printed
		}
		return err
	})
}

func (m matchImport) propose(ctx context.Context, f *folder, pairs *pairs, report *matchReport) error {
	var some []exchange.Match
	var rows []int
	flush := func() error {
		n, err := f.gate.Propose(ctx, operator(), some, func(at int, err error) { report.reject(rows[at], err) })
		report.New, report.Known, report.Decided = report.New+n.New, report.Known+n.Known, report.Decided+n.Decided
		some, rows = some[:0], rows[:0]
		return err
	}
	for row := 1; ; row++ {
		p, more, err := pairs.next()
		if !more {
			if err != nil {
				return err
			}
			return flush()
		}
		var match exchange.Match
		if err == nil {
			match, err = p.match(m.Engine, m.Realm)
		}
		if err != nil {
			report.reject(row, err)
			continue
		}
		some, rows = append(some, match), append(rows, row)
		if len(some) == pairsAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

type matchList struct {
	dataFlag
	Realm string `required:"" placeholder:"NAME" help:"Id realm of the agreement whose ids are printed."`
	State string `default:"open" placeholder:"STATE" help:"open, same, different, unsure, or all."`
	JSON  bool   `name:"json" help:"Print JSON, one candidate on each line."`
}

// shownCandidate is a match candidate as JSON shows it.
type shownCandidate struct {
	ID        string    `json:"id"`
	A         string    `json:"a"`
	B         string    `json:"b"`
	Origin    string    `json:"origin"`
	Engine    string    `json:"engine,omitempty"`
	Score     float64   `json:"score"`
	Evidence  string    `json:"reason,omitempty"`
	State     string    `json:"state"`
	At        time.Time `json:"at"`
	By        string    `json:"decided_by,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Decision  string    `json:"decision_reason,omitempty"`
	Merge     string    `json:"merge,omitempty"`
}

func showCandidate(c exchange.Candidate) shownCandidate {
	s := shownCandidate{
		ID: c.ID.String(), A: c.IDs[0], B: c.IDs[1], Origin: c.Origin, Engine: c.Engine, Score: c.Score, Evidence: c.Evidence,
		State: c.State, At: c.At.UTC(), By: c.Decided.Operator, Decision: c.Decided.Reason,
	}
	if !c.DecidedAt.IsZero() {
		s.DecidedAt = c.DecidedAt.UTC()
	}
	if c.Merge != (annona.UID{}) {
		s.Merge = c.Merge.String()
	}
	return s
}

func (m matchList) Run(ctx context.Context, c console) error {
	state := strings.TrimPrefix(m.State, "all")
	return m.with(ctx, func(f *folder) error {
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		err := f.gate.Candidates(ctx, operator(), state, m.Realm, func(found exchange.Candidate) error {
			shown := showCandidate(found)
			if m.JSON {
				return json.NewEncoder(c.out).Encode(shown)
			}
			_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%s\n", shown.ID, shown.State, shown.A, shown.B, shown.Origin, shown.Engine, shown.Score, shown.Evidence)
			return err
		})
		if err != nil {
			return err
		}
		return w.Flush()
	})
}

type matchShow struct {
	dataFlag
	ID    string `arg:"" help:"Id of the candidate, as list prints it."`
	Realm string `required:"" placeholder:"NAME" help:"Id realm of the agreement whose ids are printed."`
}

func (m matchShow) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(m.ID)
	if err != nil {
		return err
	}
	return m.with(ctx, func(f *folder) error {
		found, err := f.gate.ShowCandidate(ctx, operator(), id, m.Realm)
		if err != nil {
			return err
		}
		e := json.NewEncoder(c.out)
		e.SetIndent("", "  ")
		return e.Encode(showCandidate(found))
	})
}

type matchDecide struct {
	dataFlag
	ID        string `arg:"" help:"Id of the candidate, as list prints it."`
	Same      bool   `xor:"decision" required:"" help:"They are one individual: merge them."`
	Different bool   `xor:"decision" required:"" help:"They are two: never propose them again."`
	Unsure    bool   `xor:"decision" required:"" help:"It cannot be told; leave them as they are."`
	Keep      string `enum:"a,b" default:"a" help:"With --same: which record stays, a or b."`
	Reason    string `required:"" placeholder:"CODE" help:"Why, as a code; no personal data."`
	JSON      bool   `name:"json" help:"Of --same, print the merge as JSON."`
}

func (m matchDecide) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(m.ID)
	if err != nil {
		return err
	}
	state, keep := exchange.MatchUnsure, 0
	switch {
	case m.Same:
		state = exchange.MatchSame
	case m.Different:
		state = exchange.MatchDifferent
	}
	if m.Keep == "b" {
		keep = 1
	}
	return m.with(ctx, func(f *folder) error {
		made, err := f.gate.DecideMatch(ctx, operator(), id, state, m.Reason, keep)
		if err != nil {
			return err
		}
		if m.Same {
			return printMerge(c, made, m.JSON)
		}
		_, err = fmt.Fprintf(c.out, "Decided: %s.\n", state)
		return err
	})
}
