package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type householdCommand struct {
	Split   householdSplit   `cmd:"" help:"Let members of a household form a new one."`
	Merge   householdMerge   `cmd:"" help:"Let all members of a household join another one; the empty one is deleted and points there."`
	Head    householdHead    `cmd:"" help:"Make another member the head."`
	Join    householdJoin    `cmd:"" help:"Let an individual join a household."`
	Leave   householdLeave   `cmd:"" help:"Let an individual leave a household."`
	Primary householdPrimary `cmd:"" help:"Make one of an individual's households the first one."`
	Move    householdMove    `cmd:"" help:"Move a household to another area."`
	Birth   householdBirth   `cmd:"" help:"Put a newborn on file, in the household of the mother."`
}

// record names a record at the command line: SOURCE/KEY, or id:REALM/ID for an individual.
type record string

func (r record) subject(household bool) (exchange.Subject, error) {
	name, byID := strings.CutPrefix(string(r), "id:")
	first, second, cut := strings.Cut(name, "/")
	if !cut || first == "" || second == "" {
		return exchange.Subject{}, annona.Invalid("subject_unnamed", "name a record as SOURCE/KEY, or an individual as id:REALM/ID")
	}
	if byID {
		return exchange.Subject{Realm: first, ID: second, Household: household}, nil
	}
	return exchange.Subject{Source: first, Key: second, Household: household}, nil
}

func (r record) household() (exchange.Subject, error) { return r.subject(true) }

func (r record) individual() (exchange.Subject, error) {
	if r == "" {
		return exchange.Subject{}, nil
	}
	return r.subject(false)
}

// why is what every edit says beside what it does.
type why struct {
	On     string `placeholder:"2006-01-02" help:"First day on which it holds; today when left out."`
	Reason string `required:"" placeholder:"CODE" help:"Why, as a code of your own: marriage, correction; no personal data."`
}

func (w why) terms() exchange.Why { return exchange.Why{Day: annona.Date(w.On), Reason: w.Reason} }

// edit runs one edit of records and prints what it did.
func (d dataFlag) edit(ctx context.Context, c console, do func(*exchange.Exchange) (exchange.Edited, error)) error {
	return d.with(ctx, func(f *folder) error {
		done, err := do(f.gate)
		if err != nil {
			return err
		}
		return tellEdit(c, done)
	})
}

func tellEdit(c console, done exchange.Edited) error {
	fmt.Fprintf(c.out, "Done: created %d, changed %d, deleted %d.\n", done.Created, done.Changed, done.Deleted)
	if done.Key != "" {
		fmt.Fprintf(c.out, "New: %s/%s\n", annona.OwnSource, done.Key)
	}
	if done.Headless > 0 {
		fmt.Fprintln(c.out, "A household has no head now and is flagged no_head: annona household head")
	}
	_, err := fmt.Fprintf(c.out, "To take it back: annona load undo %s\n", done.Load)
	return err
}

type householdSplit struct {
	dataFlag
	why
	Household record   `arg:"" help:"The household, as SOURCE/KEY."`
	Members   []record `arg:"" help:"Those who leave it together."`
	Head      record   `placeholder:"SOURCE/KEY" help:"Head of the new household, one of those who leave."`
	Area      string   `placeholder:"CODE" help:"Area of the new household; that of the old one when left out."`
}

func (h householdSplit) Run(ctx context.Context, c console) error {
	order := exchange.Split{Area: h.Area, Why: h.terms()}
	var err error
	if order.Household, err = h.Household.household(); err != nil {
		return err
	}
	for _, m := range h.Members {
		member, err := m.individual()
		if err != nil {
			return err
		}
		order.Members = append(order.Members, member)
	}
	if order.Head, err = h.Head.individual(); err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.SplitHousehold(ctx, operator(), order)
	})
}

type householdMerge struct {
	dataFlag
	why
	From record `arg:"" help:"The household that ends, as SOURCE/KEY."`
	Into record `arg:"" help:"The household that goes on."`
}

func (h householdMerge) Run(ctx context.Context, c console) error {
	from, err := h.From.household()
	if err != nil {
		return err
	}
	into, err := h.Into.household()
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.MergeHouseholds(ctx, operator(), exchange.HouseholdMerge{From: from, Into: into, Why: h.terms()})
	})
}

type householdHead struct {
	dataFlag
	why
	Household  record `arg:"" help:"The household, as SOURCE/KEY."`
	Head       record `arg:"" help:"Its new head, a member."`
	FormerRole string `placeholder:"CODE" help:"Role of the former head from then on; unknown when left out."`
}

func (h householdHead) Run(ctx context.Context, c console) error {
	home, err := h.Household.household()
	if err != nil {
		return err
	}
	head, err := h.Head.individual()
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.ChangeHead(ctx, operator(), exchange.HeadChange{Household: home, Head: head, FormerRole: h.FormerRole, Why: h.terms()})
	})
}

// belonging is an individual and a household.
type belonging struct {
	Individual record `arg:"" help:"The individual, as SOURCE/KEY or id:REALM/ID."`
	Household  record `arg:"" help:"The household, as SOURCE/KEY."`
}

func (b belonging) subjects() (individual, household exchange.Subject, err error) {
	if individual, err = b.Individual.individual(); err != nil {
		return individual, household, err
	}
	household, err = b.Household.household()
	return individual, household, err
}

type householdJoin struct {
	dataFlag
	why
	belonging
	Role    string `placeholder:"CODE" help:"Role in the household; unknown when left out."`
	Primary bool   `help:"Make it the individual's first household."`
}

func (h householdJoin) Run(ctx context.Context, c console) error {
	individual, home, err := h.subjects()
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.JoinHousehold(ctx, operator(), exchange.Join{Individual: individual, Household: home, Role: h.Role, Primary: h.Primary, Why: h.terms()})
	})
}

type householdLeave struct {
	dataFlag
	why
	belonging
}

func (h householdLeave) Run(ctx context.Context, c console) error {
	individual, home, err := h.subjects()
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.LeaveHousehold(ctx, operator(), exchange.Leave{Individual: individual, Household: home, Why: h.terms()})
	})
}

type householdPrimary struct {
	dataFlag
	why
	belonging
}

func (h householdPrimary) Run(ctx context.Context, c console) error {
	individual, home, err := h.subjects()
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.ChangePrimary(ctx, operator(), exchange.PrimaryChange{Individual: individual, Household: home, Why: h.terms()})
	})
}

type householdMove struct {
	dataFlag
	why
	Household record   `arg:"" help:"The household, as SOURCE/KEY."`
	Area      string   `arg:"" help:"Code of the area where it lives from then on."`
	Values    []string `arg:"" optional:"" sep:"none" placeholder:"FIELD=VALUE" help:"What else is known of the new place, such as full_address=…"`
}

func (h householdMove) Run(ctx context.Context, c console) error {
	home, err := h.Household.household()
	if err != nil {
		return err
	}
	values, err := assignments(h.Values)
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.MoveHousehold(ctx, operator(), exchange.Move{Household: home, Area: h.Area, Values: values, Why: h.terms()})
	})
}

type householdBirth struct {
	dataFlag
	why
	Mother record   `arg:"" help:"The mother, as SOURCE/KEY or id:REALM/ID."`
	Values []string `arg:"" optional:"" sep:"none" placeholder:"FIELD=VALUE" help:"What is known of the child, such as sex=female; --on is its date of birth."`
}

func (h householdBirth) Run(ctx context.Context, c console) error {
	mother, err := h.Mother.individual()
	if err != nil {
		return err
	}
	values, err := assignments(h.Values)
	if err != nil {
		return err
	}
	return h.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.RecordBirth(ctx, operator(), exchange.Birth{Mother: mother, Values: values, Why: h.terms()})
	})
}
