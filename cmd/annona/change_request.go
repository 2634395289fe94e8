package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type changeRequestCommand struct {
	List    changeRequestList    `cmd:"" help:"List what was asked of records and waits, without the values."`
	Show    changeRequestShow    `cmd:"" help:"Show one, without the values."`
	Approve changeRequestApprove `cmd:"" help:"Let what is asked take effect, as the registry's own word."`
	Reject  changeRequestReject  `cmd:"" help:"Let what is on file stay."`
}

type changeRequestList struct {
	dataFlag
	State     string `default:"pending" help:"Only those of this state; all: every one."`
	Conflicts bool   `help:"Conflicts in the place of change requests; their state is open, applied or rejected."`
	Limit     int    `default:"100" help:"How many, at most."`
}

func (l changeRequestList) Run(ctx context.Context, c console) error {
	which := annona.WhichRequests{Conflicts: l.Conflicts, State: l.State}
	if l.State == "all" || l.Conflicts && l.State == exchange.RequestPending {
		which.State = ""
	}
	return l.with(ctx, func(f *folder) error {
		all, err := f.gate.ChangeRequestList(ctx, operator(), which, 0, l.Limit)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tTYPE\tOF\tSTATE\tAGREEMENT\tASKED")
		for _, r := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Type, r.Dataset, r.State, r.Agreement, annona.Instant(r.At))
		}
		return w.Flush()
	})
}

type changeRequestShow struct {
	dataFlag
	ID string `arg:"" help:"Its id."`
}

func (s changeRequestShow) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		r, fields, err := f.gate.InspectChangeRequest(ctx, operator(), s.ID)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		for _, line := range [][2]string{
			{"type", r.Type}, {"of", r.Dataset}, {"state", r.State}, {"decided by source", r.Source}, {"agreement", r.Agreement}, {"purpose", r.Purpose},
			{"asked", annona.Instant(r.At)}, {"decided", instantOrNever(r)}, {"reason", r.DecidedBy.Reason}, {"fields", fmt.Sprint(fields)},
		} {
			if line[1] != "" {
				fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
			}
		}
		return w.Flush()
	})
}

func instantOrNever(r *annona.ChangeRequest) string {
	if r.DecidedAt.IsZero() {
		return ""
	}
	return annona.Instant(r.DecidedAt)
}

// ruling is how the operator names a change request or a conflict, and says why.
type rulingFlags struct {
	dataFlag
	ID       string `arg:"" help:"Its id."`
	Reason   string `required:"" placeholder:"CODE" help:"Why, as a code of your own; no personal data."`
	Conflict bool   `help:"It is a conflict."`
}

func (r rulingFlags) rule(ctx context.Context, c console, approve bool) error {
	return r.with(ctx, func(f *folder) error {
		state, _, err := f.gate.DecideChangeRequest(ctx, operator(), exchange.Ruling{ID: r.ID, Conflict: r.Conflict, Approve: approve, Reason: r.Reason})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, state)
		return err
	})
}

type changeRequestApprove struct{ rulingFlags }

func (a changeRequestApprove) Run(ctx context.Context, c console) error { return a.rule(ctx, c, true) }

type changeRequestReject struct{ rulingFlags }

func (a changeRequestReject) Run(ctx context.Context, c console) error { return a.rule(ctx, c, false) }
