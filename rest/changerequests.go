package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
)

func (s *Server) registerChangeRequests() {
	for _, of := range []struct {
		path, id, decision, noun, name string
		conflict                       bool
	}{
		{changeRequestsPath, "ChangeRequest", "decision", "change request", "changeRequests", false},
		{conflictsPath, "Conflict", "resolution", "conflict", "conflicts", true},
	} {
		register := func(o huma.Operation) huma.Operation {
			return tagged("change-requests", people(o, http.StatusConflict))
		}
		huma.Register(s.api, tagged("change-requests", people(huma.Operation{
			Method: http.MethodGet, Path: of.path, OperationID: of.name,
			Summary:     "What was asked of records: " + of.noun + "s",
			Description: "Those of your agreement, or, where it lets you decide them, those of everybody about records that you may see. In the order in which they came, without the values; those that you may not see are left out, so that a page may be shorter than its limit.",
			Responses:   withCursor(answers("A page.", []string{"application/json"})),
		}, http.StatusGone)), s.changeRequests(of.conflict))
		huma.Register(s.api, register(huma.Operation{
			Method: http.MethodGet, Path: of.path + "/{id}", OperationID: "get" + of.id,
			Summary:     "One " + of.noun,
			Description: "The fields that you may see, as the applicant had read them (before) and wants them (after); of a conflict also what somebody else has said meanwhile (now, since).",
			Responses:   answers("The "+of.noun+".", []string{"application/json"}),
		}), s.changeRequest(of.conflict))
		huma.Register(s.api, register(huma.Operation{
			Method: http.MethodPost, Path: of.path + "/{id}/" + of.decision, OperationID: "decide" + of.id, MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
			Summary:     "Decide a " + of.noun,
			Description: "approve: what is asked takes effect, if the record is still what it was then. reject: what is on file stays. Who has asked for a change does not approve it; a conflict may be resolved by its applicant, within what it may change.",
		}), s.decideChangeRequest(of.conflict))
	}
	huma.Register(s.api, tagged("change-requests", people(huma.Operation{
		Method: http.MethodDelete, Path: changeRequestsPath + "/{id}", OperationID: "withdrawChangeRequest",
		Summary: "Withdraw what you have asked for",
	}, http.StatusConflict)), s.withdrawChangeRequest)
}

type requestsInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Dataset string `query:"dataset" required:"true" enum:"individuals,households,cases" doc:"Whether they are about individuals or households; conflicts also about cases."`
	State   string `query:"state" enum:"pending,pending_at_source,open,applied,rejected,withdrawn,confirmed,declined,timed_out" doc:"Only those of this state."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"100" doc:"How many stand on a page, at most."`
	After   string `query:"after" doc:"The cursor of the page before, from its next."`
}

// changeRequest is one on the wire.
type changeRequest struct {
	ID        string            `json:"id"`
	Type      string            `json:"type"`
	State     string            `json:"state"`
	Source    string            `json:"source,omitempty"` // that decides the field
	Dataset   string            `json:"dataset"`
	Record    string            `json:"record,omitempty"`
	Mine      bool              `json:"mine"`
	Fields    []string          `json:"fields"`
	At        string            `json:"at"`
	Until     string            `json:"until,omitempty"`
	DecidedAt string            `json:"decided_at,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Before    json.RawMessage   `json:"before,omitempty"`
	After     json.RawMessage   `json:"after,omitempty"`
	Now       json.RawMessage   `json:"now,omitempty"`
	Since     map[string]string `json:"since,omitempty"`
	Event     *lifeEvent        `json:"life_event,omitempty"`
}

func requestOnWire(c *exchange.ChangeShown) changeRequest {
	on := changeRequest{
		ID: c.ID.String(), Type: c.Type, State: c.State, Source: c.Source, Dataset: c.Dataset, Record: c.RecordID, Mine: c.Mine, Fields: c.Fields,
		At: annona.Instant(c.At), Reason: c.DecidedBy.Reason, Event: lifeOnWire(c.Event),
	}
	if !c.Until.IsZero() {
		on.Until = annona.Instant(c.Until)
	}
	if !c.DecidedAt.IsZero() {
		on.DecidedAt = annona.Instant(c.DecidedAt)
	}
	for field, at := range c.Since {
		if on.Since == nil {
			on.Since = map[string]string{}
		}
		on.Since[field] = annona.Instant(at)
	}
	return on
}

func (s *Server) changeRequests(conflicts bool) func(context.Context, *requestsInput) (*reply, error) {
	return func(ctx context.Context, in *requestsInput) (*reply, error) {
		if in.Dataset == "cases" && conflicts {
			return s.conflictsOfCases(ctx, in.Purpose, "", in.State, in.After, in.Limit)
		}
		v := visitOf(ctx)
		page, err := s.Gate.ListChangeRequests(ctx, v.caller, in.Purpose, in.Dataset, in.State, in.After, in.Limit, conflicts)
		if err != nil {
			return nil, err
		}
		v.recognized(page.Request, exchange.Question{Dataset: in.Dataset, Purpose: in.Purpose})
		shown := []changeRequest{}
		for i := range page.Requests {
			shown = append(shown, requestOnWire(&page.Requests[i]))
		}
		return s.sendList(&page.Answer, in.Dataset, "requests", shown), nil
	}
}

// OneRequest names a change request or a conflict, and the purpose under which it is looked at.
type OneRequest struct {
	ID      string `path:"id" minLength:"32" maxLength:"32" doc:"Its id." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
}

func (s *Server) changeRequest(conflict bool) func(context.Context, *OneRequest) (*reply, error) {
	return func(ctx context.Context, in *OneRequest) (*reply, error) {
		v := visitOf(ctx)
		shown, err := s.Gate.ShowChangeRequest(ctx, v.caller, in.Purpose, in.ID, conflict)
		if err != nil {
			return nil, err
		}
		v.recognized(shown.Request, exchange.Question{Dataset: shown.Dataset, Purpose: in.Purpose})
		o := encode.Options{Format: encode.JSON, Schema: schemaID(shown.Dataset, shown.Schema)}
		on := requestOnWire(shown)
		for _, part := range []struct {
			of   *privacy.Disclosed
			into *json.RawMessage
		}{{shown.Before, &on.Before}, {shown.After, &on.After}, {shown.Now, &on.Now}} {
			if part.of == nil {
				continue
			}
			var text bytes.Buffer
			if err := s.records.Write(&text, part.of, o); err != nil {
				shown.Sent(0, err)
				return nil, err
			}
			*part.into = text.Bytes()
		}
		return s.send(&shown.Answer, o, answerHeader(shown.Dataset, o), func(b *body) error { return json.NewEncoder(b).Encode(on) }), nil
	}
}

type decideInput struct {
	OneRequest
	Key  string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key."`
	Body struct {
		Decision string `json:"decision" enum:"approve,reject" doc:"approve or reject."`
		Reason   string `json:"reason" maxLength:"64" doc:"Why, as a code of your own; never personal data." example:"seen_document"`
	}
}

func (s *Server) decideChangeRequest(conflict bool) func(context.Context, *decideInput) (*reply, error) {
	return func(ctx context.Context, in *decideInput) (*reply, error) {
		return s.rule(ctx, exchange.Ruling{Purpose: in.Purpose, ID: in.ID, Conflict: conflict, Approve: in.Body.Decision == "approve", Reason: in.Body.Reason, Key: in.Key})
	}
}

type withdrawInput struct {
	OneRequest
	Key string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key."`
}

func (s *Server) withdrawChangeRequest(ctx context.Context, in *withdrawInput) (*reply, error) {
	return s.rule(ctx, exchange.Ruling{Purpose: in.Purpose, ID: in.ID, Withdraw: true, Reason: "withdrawn", Key: in.Key})
}

func (s *Server) rule(ctx context.Context, r exchange.Ruling) (*reply, error) {
	state, done, err := s.Gate.DecideChangeRequest(ctx, visitOf(ctx).caller, r)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if done.Replayed {
		header.Set("Idempotency-Replayed", "true")
	}
	return plainReply(http.StatusOK, header, map[string]string{"state": state}), nil
}
