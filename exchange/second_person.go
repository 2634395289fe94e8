package exchange

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// A rule can ask that a second person looks at each request before it is answered: at an export, or at what somebody
// follows. Who asks first opens the request to look at, and is told which one it is. Once it is approved, the same is
// answered for a week, whenever it is asked; whatever else is asked is another request. It is void as soon as the
// policy or the agreement moves.

// maxAwaited is how many requests of one client, or of one person, wait at once.
const maxAwaited = 20

// awaited is what a second person looks at: all that is asked for, and nothing of anybody who is on file.
type awaited struct {
	Client        annona.UID  `json:"client"`
	Verb          annona.Verb `json:"verb"`
	Dataset       string      `json:"dataset"`
	Purpose       string      `json:"purpose"`
	Specification string      `json:"specification,omitempty"` // name@version
	Fields        []string    `json:"fields"`
	Filter        string      `json:"filter,omitempty"`
	AsOf          annona.Date `json:"as_of,omitempty"` // empty: the day on which it is answered
}

func (i *inquiry) awaited(spec string) awaited {
	return awaited{
		Client: i.caller.Client, Verb: i.verb, Dataset: i.question.Dataset, Purpose: i.question.Purpose, Specification: spec,
		Fields: i.fields, Filter: i.filterText(), AsOf: i.question.AsOf,
	}
}

// shows says it in plain words.
func (a *awaited) shows() []string {
	lines := []string{"client " + a.Client.String() + " may " + string(a.Verb) + " " + a.Dataset + " for " + a.Purpose, "fields: " + strings.Join(a.Fields, ", ")}
	for about, text := range map[string]string{"by the specification ": a.Specification, "where ": a.Filter, "as of ": string(a.AsOf)} {
		if text != "" {
			lines = append(lines, about+text)
		}
	}
	slices.Sort(lines[2:])
	return lines
}

// awaitedProposal is such a request. It changes nothing: that it is approved is all that is asked for.
func (x *Exchange) awaitedProposal(ctx context.Context, body awaited) (proposal, error) {
	client, err := x.Standings.ClientByID(ctx, body.Client)
	if err != nil {
		return proposal{}, err
	}
	if client == nil || !client.RevokedAt.IsZero() {
		return proposal{base: -1}, nil // nobody asks any more
	}
	return proposal{kind: annona.ApproveRequest, object: string(body.Verb) + " of " + body.Client.String(), agreement: client.Agreement, body: body, shows: body.shows()}, nil
}

// approved refuses what waits for a second person. Codes (403): second_person_needed, second_person_refused,
// second_person_busy.
func (x *Exchange) approved(ctx context.Context, i *inquiry, spec string) error {
	if !i.grant.SecondPerson {
		return nil
	}
	if x.Approvals == nil {
		return annona.Forbidden("second_person_needed", "your role asks for a second person, and this registry has nobody who approves; ask it for another role")
	}
	p, err := x.awaitedProposal(ctx, i.awaited(spec))
	if err != nil {
		return err
	}
	asked, waiting, err := x.askedFor(ctx, i, p)
	if err != nil {
		return err
	}
	now := x.Clock()
	switch {
	case asked == nil || !now.Before(asked.Until) && asked.State != annona.ApprovalApproved:
	case asked.State == annona.ApprovalApproved && now.Before(asked.DecidedAt.Add(approvalLife)):
		i.grant.Approval = asked.ID
		return nil
	case asked.State == annona.ApprovalWaiting:
		return waitsFor(asked)
	case asked.State == annona.ApprovalRejected:
		return annona.Forbidden("second_person_refused", "a second person has refused this; ask the registry why, or ask for less").On(asked.ID.String())
	}
	if waiting >= maxAwaited {
		return annona.Forbidden("second_person_busy", "%d requests of yours wait for a second person; ask again when these are decided", waiting)
	}
	opened, err := x.request(ctx, i.caller, p)
	if err != nil {
		return err
	}
	return waitsFor(&opened)
}

func waitsFor(a *annona.Approval) error {
	return annona.Forbidden("second_person_needed",
		"your role asks for a second person: the request %s waits for one until %s; ask for the same again when the registry has approved it", a.ID, a.Until.UTC().Format(time.DateTime)).On(a.ID.String())
}

// askedFor returns what became of the same request when it was asked for last, nil when it was not, and how many of
// whoever asks wait.
func (x *Exchange) askedFor(ctx context.Context, i *inquiry, p proposal) (asked *annona.Approval, waiting int, err error) {
	same := annona.Approval{Kind: p.kind, Object: p.object, Agreement: p.agreement, Policy: i.grant.Decision.Policy, AgreementVersion: i.grant.Agreement.Version}
	if same.Body, err = encodeBody(p.body); err != nil {
		return nil, 0, err
	}
	all, err := x.Approvals.Approvals(ctx, annona.ApproveRequest, "", maxApprovals)
	if err != nil {
		return nil, 0, err
	}
	hash, by, now := hashOf(&same), i.caller.Actor(), x.Clock()
	for n := range all {
		a := &all[n]
		if a.By != by {
			continue
		}
		if asked == nil && a.Hash == hash {
			asked = a
		}
		if a.State == annona.ApprovalWaiting && movedAway(a, same.Policy, same.AgreementVersion, now) == "" {
			waiting++
		}
	}
	return asked, waiting, nil
}
