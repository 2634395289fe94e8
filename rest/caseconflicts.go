package rest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const caseConflictsPath = casesPath + "/{id}/conflicts"

func (s *Server) registerCaseConflicts() {
	list := tagged("cases", people(huma.Operation{
		Method: http.MethodGet, Path: caseConflictsPath, OperationID: "caseConflicts",
		Summary:     "The conflicts of a case",
		Description: "What edits were to change, and somebody else had changed meanwhile: as the applicant had read it (before), wants it (after), and as it stood then (now), with who has said it, and when. In the order in which they came.",
		Responses:   withCursor(answers("A page.", []string{"application/json"})),
	}, http.StatusGone))
	huma.Register(s.api, list, s.caseConflicts)
	huma.Register(s.api, tagged("cases", people(huma.Operation{
		Method: http.MethodPost, Path: caseConflictsPath + "/{conflict}/resolution", OperationID: "resolveCaseConflict", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary:     "Resolve a conflict of a case",
		Description: "approve: what was asked takes effect, if the case still is what it was then. reject: what is on file stays. The partner that has the case resolves it, or the agreement that has asked, within what it may edit.",
	}, http.StatusConflict, http.StatusUnprocessableEntity)), s.resolveCaseConflict)
}

// conflictID is the id under which a conflict is kept; empty: none is.
func conflictID(v exchange.CaseVerdict) string {
	if v.Conflict == (annona.UID{}) {
		return ""
	}
	return v.Conflict.String()
}

// caseConflict is one on the wire.
type caseConflict struct {
	ID        string        `json:"id"`
	Case      string        `json:"case_id"`
	State     string        `json:"state"`
	At        string        `json:"at"`
	By        updateAuthor  `json:"by"`
	Action    string        `json:"action,omitempty"`
	Parts     []clashedPart `json:"parts"`
	DecidedAt string        `json:"decided_at,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

type clashedPart struct {
	Field  string        `json:"field"`
	Before any           `json:"before,omitempty"`
	After  any           `json:"after,omitempty"`
	Now    any           `json:"now,omitempty"`
	Since  string        `json:"since,omitempty"` // of a part that clashes
	By     *updateAuthor `json:"by,omitempty"`
}

func caseConflictOnWire(c *exchange.CaseConflict) caseConflict {
	on := caseConflict{ID: c.ID.String(), Case: c.CaseID, State: c.State, At: annona.Instant(c.At), By: authorOnWire(c.By), Action: c.Action, Reason: c.Reason}
	if !c.DecidedAt.IsZero() {
		on.DecidedAt = annona.Instant(c.DecidedAt)
	}
	for _, p := range c.Parts {
		part := clashedPart{Field: p.Field, Before: p.Before, After: p.After, Now: p.Now}
		if p.Clashes {
			by := authorOnWire(p.By)
			part.Since, part.By = annona.Instant(p.Since), &by
		}
		on.Parts = append(on.Parts, part)
	}
	return on
}

type caseConflictsInput struct {
	ID      string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	State   string `query:"state" enum:"open,applied,rejected" doc:"Only those of this state."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"100" doc:"How many stand on a page, at most."`
	After   string `query:"after" doc:"The cursor of the page before, from its next."`
}

func (s *Server) caseConflicts(ctx context.Context, in *caseConflictsInput) (*reply, error) {
	return s.conflictsOfCases(ctx, in.Purpose, in.ID, in.State, in.After, in.Limit)
}

// conflictsOfCases answers with the conflicts of one case; of all that the caller sees when id is empty.
func (s *Server) conflictsOfCases(ctx context.Context, purpose, id, state, after string, limit int) (*reply, error) {
	v := visitOf(ctx)
	page, err := s.Gate.CaseConflicts(ctx, v.caller, purpose, id, state, after, limit)
	if err != nil {
		return nil, err
	}
	v.recognized(page.Request, exchange.Question{Dataset: "cases", Purpose: purpose})
	o := encode.Options{Format: encode.JSON, Schema: schemaID("cases", page.Schema)}
	header := answerHeader("cases", o)
	if page.Next != "" {
		header.Set("Annona-Next", page.Next)
	}
	shown := []caseConflict{}
	for n := range page.All {
		shown = append(shown, caseConflictOnWire(&page.All[n]))
	}
	return s.sendRows(int64(len(shown)), page.Sent, o, header, func(b *body) error {
		return json.NewEncoder(b).Encode(map[string]any{"conflicts": shown, "next": page.Next})
	}), nil
}

type resolveCaseConflictInput struct {
	ID       string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Conflict string `path:"conflict" minLength:"32" maxLength:"32" doc:"The conflict's id." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	Purpose  string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Key      string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key. Needed."`
	Body     struct {
		Decision string `json:"decision" enum:"approve,reject" doc:"approve or reject."`
		Reason   string `json:"reason" maxLength:"64" doc:"Why, as a code of your own; never personal data." example:"seen_document"`
	}
}

type caseResolution struct {
	ETag string `header:"ETag"`
	Body struct {
		State   string `json:"state" doc:"applied or rejected."`
		Verdict string `json:"verdict" doc:"What it has done to the case: changed or unchanged."`
	}
}

func (s *Server) resolveCaseConflict(ctx context.Context, in *resolveCaseConflictInput) (*caseResolution, error) {
	asked, _ := json.Marshal([]any{in.ID, in.Conflict, in.Purpose, in.Body}) // of texts: it does not fail
	state, v, err := s.Gate.ResolveCaseConflict(ctx, visitOf(ctx).caller, in.Purpose, exchange.CaseRuling{
		CaseID: in.ID, ID: in.Conflict, Approve: in.Body.Decision == "approve", Reason: in.Body.Reason,
		Keyed: exchange.Keyed{Key: in.Key, Route: "POST " + caseConflictsPath + "/{conflict}/resolution", Asked: asked},
	})
	if err != nil {
		return nil, err
	}
	out := &caseResolution{ETag: v.ETag}
	out.Body.State, out.Body.Verdict = state, v.Verdict
	return out, nil
}
