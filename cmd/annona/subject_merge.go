package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type subjectMerge struct {
	dataFlag
	Survivor string `arg:"" help:"The record that stays: SOURCE:KEY, or id:REALM:ID as the partners of that realm know it."`
	Merged   string `arg:"" help:"The record that goes into it, named in the same way."`
	Reason   string `required:"" placeholder:"CODE" help:"Why they are one individual, as a code; no personal data."`
	JSON     bool   `name:"json" help:"Print JSON, on one line."`
}

// named reads the name of an individual on a command line.
func named(text string) (exchange.Subject, error) {
	first, rest, ok := strings.Cut(text, ":")
	if first == "id" {
		realm, id, both := strings.Cut(rest, ":")
		if both && realm != "" && id != "" {
			return exchange.Subject{Realm: realm, ID: id}, nil
		}
	} else if ok && first != "" && rest != "" {
		return exchange.Subject{Source: first, Key: rest}, nil
	}
	return exchange.Subject{}, annona.Invalid("subject_unnamed", "name an individual as SOURCE:KEY, or as id:REALM:ID")
}

// shownMerge is a merge as JSON shows it.
type shownMerge struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	UndoneAt time.Time `json:"undone_at,omitzero"`
	Left     []string  `json:"left,omitempty"`
}

func showMerge(m annona.Merge) shownMerge {
	s := shownMerge{ID: m.ID.String(), At: m.At.UTC(), By: m.Author.Operator, Reason: m.Author.Reason}
	if !m.Holds() {
		s.UndoneAt = m.UndoneAt.UTC()
	}
	return s
}

func (s subjectMerge) Run(ctx context.Context, c console) error {
	survivor, err := named(s.Survivor)
	if err != nil {
		return err
	}
	merged, err := named(s.Merged)
	if err != nil {
		return err
	}
	return s.with(ctx, func(f *folder) error {
		m, err := f.gate.Merge(ctx, operator(), survivor, merged, s.Reason)
		if err != nil {
			return err
		}
		return printMerge(c, m, s.JSON)
	})
}

func printMerge(c console, m annona.Merge, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(c.out).Encode(showMerge(m))
	}
	_, err := fmt.Fprintf(c.out, "Merged. To take it back: annona subject unmerge %s\n", m.ID)
	return err
}

type subjectUnmerge struct {
	dataFlag
	ID   string `arg:"" help:"Id of the merge, as merge and merges print it."`
	JSON bool   `name:"json" help:"Print JSON, on one line."`
}

// whatLeft says what the codes of exchange.Unmerged.Left mean.
var whatLeft = map[string]string{
	exchange.LeftRights:   "Restrictions or consents were recorded since the merge. They hold for both records; lift or withdraw what is only about one.",
	exchange.LeftConsents: "A consent that the merge withdrew stays withdrawn, because another one was withdrawn since. Ask the individual.",
	exchange.LeftHome:     "A household in which one of them was a member is not on file any more.",
}

func (s subjectUnmerge) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(s.ID)
	if err != nil {
		return err
	}
	return s.with(ctx, func(f *folder) error {
		done, err := f.gate.Unmerge(ctx, operator(), id)
		if err != nil {
			return err
		}
		if s.JSON {
			shown := showMerge(done.Merge)
			shown.Left = done.Left
			return json.NewEncoder(c.out).Encode(shown)
		}
		fmt.Fprintln(c.out, "Taken back: both records are on file, each as its own sources report it.")
		for _, code := range done.Left {
			fmt.Fprintln(c.out, whatLeft[code])
		}
		return nil
	})
}

type subjectMerges struct {
	dataFlag
	who
	JSON bool `name:"json" help:"Print JSON, one merge on each line."`
}

func (s subjectMerges) Run(ctx context.Context, c console) error {
	subject, err := s.subject()
	if err != nil {
		return err
	}
	return s.with(ctx, func(f *folder) error {
		merges, err := f.gate.MergesOf(ctx, operator(), subject)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		for _, m := range merges {
			shown := showMerge(m)
			if s.JSON {
				if err := json.NewEncoder(c.out).Encode(shown); err != nil {
					return err
				}
				continue
			}
			state := "holds"
			if !m.Holds() {
				state = "taken back " + annona.Instant(m.UndoneAt)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", shown.ID, annona.Instant(m.At), shown.By, shown.Reason, state)
		}
		return w.Flush()
	})
}
