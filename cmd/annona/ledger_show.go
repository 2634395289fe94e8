package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

type ledgerShow struct {
	dataFlag
	After   int64  `default:"-1" placeholder:"INDEX" help:"Only entries behind this position."`
	Request string `placeholder:"ID" help:"Only entries of this request."`
}

// shownEntry is an entry as show prints it. Who is in it is counted, never told.
type shownEntry struct {
	Index    int64            `json:"index"`
	ID       string           `json:"id"`
	At       string           `json:"at"`
	Kind     annona.EntryKind `json:"kind"`
	Request  string           `json:"request"`
	Facts    *audit.Facts     `json:"facts,omitempty"`
	Client   string           `json:"client,omitempty"`
	Operator string           `json:"operator,omitempty"`
	Person   string           `json:"person,omitempty"`  // for whom the client acted
	People   map[string]int   `json:"people,omitempty"`  // by noun
	Deleted  []string         `json:"deleted,omitempty"` // parts whose content is gone
}

func (l ledgerShow) Run(ctx context.Context, c console) error {
	var only annona.UID
	if l.Request != "" {
		var err error
		if only, err = annona.ParseUID(l.Request); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(c.out)
	lines := json.NewEncoder(out)
	return l.with(ctx, func(f *folder) error {
		opener := audit.Opener{Vault: f.vault, Ledger: f.store}
		err := f.store.WalkLedger(ctx, func(row annona.LedgerRow) error {
			if row.Index <= l.After || l.Request != "" && row.Request != only {
				return nil
			}
			entry, err := opener.Open(ctx, row)
			if err != nil {
				return err
			}
			return lines.Encode(shown(entry))
		})
		return errors.Join(err, out.Flush())
	})
}

func shown(e audit.Entry) shownEntry {
	s := shownEntry{
		Index: e.Index, ID: e.ID.String(), At: annona.Instant(e.At), Kind: e.Kind, Request: e.Request.String(),
		Facts: e.Facts, Deleted: e.Deleted,
	}
	if e.Caller != nil {
		s.Operator = e.Caller.Operator
		if e.Caller.Client != (annona.UID{}) {
			s.Client = e.Caller.Client.String()
		}
		if e.Caller.Acting.Person != (annona.UID{}) {
			s.Person = e.Caller.Acting.Person.String()
		}
	}
	people := map[string]map[annona.Number]bool{}
	for _, set := range e.Subjects {
		if people[set.Noun] == nil {
			people[set.Noun] = map[annona.Number]bool{}
		}
		for _, n := range set.Numbers {
			people[set.Noun][n] = true
		}
	}
	for noun, numbers := range people {
		if s.People == nil {
			s.People = map[string]int{}
		}
		s.People[noun] = len(numbers)
	}
	return s
}

type ledgerCovers struct {
	dataFlag
	Realm string `required:"" placeholder:"NAME" help:"Id realm of the partner's agreement."`
}

// holding is a line that covers reads; coverage is the line that it answers with.
type holding struct {
	Request string   `json:"request"`
	IDs     []string `json:"ids"` // of individuals
}

type coverage struct {
	Request  string   `json:"request"`
	Released int      `json:"released"`
	Held     int      `json:"held"`
	Missing  []string `json:"missing,omitempty"`
}

// Run reads lines of NDJSON, each with a request and ids of individuals, and says for each
// which of them the request did not release. It fails when there are such.
func (l ledgerCovers) Run(ctx context.Context, c console) error {
	held, err := readHoldings(c.in)
	if err != nil {
		return err
	}
	return l.with(ctx, func(f *folder) error {
		covered, err := f.gate.CompareHoldings(ctx, operator(), f.store, l.Realm, held)
		if err != nil {
			return err
		}
		lines, whole := json.NewEncoder(c.out), true
		for i, one := range covered {
			whole = whole && len(one.Missing) == 0
			if err := lines.Encode(coverage{Request: held[i].Request.String(), Released: one.Released, Held: len(held[i].IDs), Missing: one.Missing}); err != nil {
				return err
			}
		}
		if !whole {
			return annona.Conflict("not_released", "some of these individuals are in no release of their request: the file stems from somewhere else, or it was changed")
		}
		return nil
	})
}

func readHoldings(in io.Reader) (held []exchange.Holding, err error) {
	lines := json.NewDecoder(in)
	for {
		var h holding
		switch err := lines.Decode(&h); {
		case errors.Is(err, io.EOF):
			return held, nil
		case err != nil:
			return nil, annona.Invalid("holding_malformed", `each line of standard input is an object such as {"request": "…", "ids": ["…"]}`)
		}
		request, err := annona.ParseUID(h.Request)
		if err != nil {
			return nil, err
		}
		held = append(held, exchange.Holding{Request: request, IDs: h.IDs})
	}
}
