package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
)

const breakGlassPath = "/v1/break-glass"

func (s *Server) registerBreakGlass() {
	huma.Register(s.api, tagged("emergencies", people(huma.Operation{
		Method: http.MethodPost, Path: breakGlassPath, OperationID: "breakGlass", DefaultStatus: http.StatusCreated, MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary: "Begin an emergency",
		Description: "Of the person for whom your application acts, who has a role for it and has signed in with two factors in the last ten minutes. For an hour they read in that role, through your application and for this purpose: " +
			"at most fifty people and households, one after the other, never an export. The data protection officer is told at once. There is no second emergency before somebody else has reviewed this one (409 break_glass_unreviewed).",
	}, http.StatusConflict)), s.breakGlass)
	huma.Register(s.api, tagged("emergencies", people(huma.Operation{
		Method: http.MethodDelete, Path: breakGlassPath + "/{id}", OperationID: "endBreakGlass",
		Summary: "End an emergency of the person for whom your application acts",
	})), s.endBreakGlass)
	huma.Register(s.api, tagged("emergencies", ofPeople(huma.Operation{
		Method: http.MethodGet, Path: breakGlassPath, OperationID: "listBreakGlass",
		Summary:     "The emergencies there were",
		Description: "The newest first, at most a thousand. For people of the registry with a role that decides or audits.",
	})), s.listBreakGlass)
	huma.Register(s.api, tagged("emergencies", ofPeople(huma.Operation{
		Method: http.MethodPost, Path: breakGlassPath + "/{id}/review", OperationID: "reviewBreakGlass", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary:     "Say what you think of the emergency of somebody else",
		Description: "It ends by that, and its person can have another one. For the data protection officer and approvers, with a sign-in of the last ten minutes.",
	}, http.StatusNotFound, http.StatusConflict)), s.reviewBreakGlass)
}

// BreakGlassBody is an emergency.
type BreakGlassBody struct {
	ID         string    `json:"id"`
	Person     string    `json:"person" doc:"Opaque id of whose it is."`
	Client     string    `json:"client"`
	Agreement  string    `json:"agreement"`
	Purpose    string    `json:"purpose"`
	Reason     string    `json:"reason"`
	OpenedAt   time.Time `json:"opened_at"`
	Until      time.Time `json:"until"`
	EndedAt    time.Time `json:"ended_at,omitzero" doc:"Before its time."`
	Seen       int       `json:"seen" doc:"Individuals and households that were shown, each once."`
	ReviewedBy string    `json:"reviewed_by,omitempty"`
	ReviewedAt time.Time `json:"reviewed_at,omitzero"`
	Verdict    string    `json:"verdict,omitempty" enum:"justified,unjustified"`
	Note       string    `json:"note,omitempty"`
}

func breakGlassBody(g annona.BreakGlass) BreakGlassBody {
	return BreakGlassBody{
		ID: g.ID.String(), Person: g.Person.String(), Client: g.Client.String(), Agreement: g.Agreement, Purpose: g.Purpose, Reason: g.Reason, OpenedAt: g.OpenedAt,
		Until: g.Until, EndedAt: g.EndedAt, Seen: g.Seen, ReviewedBy: g.ReviewedBy, ReviewedAt: g.ReviewedAt, Verdict: g.Verdict, Note: g.Note,
	}
}

type breakGlassInput struct {
	Body struct {
		Purpose string `json:"purpose" doc:"A purpose of your agreement." example:"eligibility-assessment"`
		Reason  string `json:"reason" doc:"Why, as a code of small letters, digits and underscores: flood, danger_to_life. Never personal data." example:"flood"`
	}
}

type breakGlassOutput struct{ Body BreakGlassBody }

func (s *Server) breakGlass(ctx context.Context, in *breakGlassInput) (*breakGlassOutput, error) {
	g, err := s.Gate.BreakGlass(ctx, visitOf(ctx).caller, in.Body.Purpose, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return &breakGlassOutput{breakGlassBody(g)}, nil
}

type glassInput struct {
	ID string `path:"id" doc:"Id of the emergency." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
}

func (s *Server) endBreakGlass(ctx context.Context, in *glassInput) (*breakGlassOutput, error) {
	g, err := s.Gate.EndBreakGlass(ctx, visitOf(ctx).caller, in.ID)
	if err != nil {
		return nil, err
	}
	return &breakGlassOutput{breakGlassBody(g)}, nil
}

type glassesOutput struct {
	Body struct {
		Emergencies []BreakGlassBody `json:"emergencies"`
	}
}

func (s *Server) listBreakGlass(ctx context.Context, _ *struct{}) (*glassesOutput, error) {
	all, err := s.Gate.ListBreakGlass(ctx, visitOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	out := &glassesOutput{}
	out.Body.Emergencies = []BreakGlassBody{}
	for _, g := range all {
		out.Body.Emergencies = append(out.Body.Emergencies, breakGlassBody(g))
	}
	return out, nil
}

type reviewInput struct {
	ID   string `path:"id" doc:"Id of the emergency." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	Body struct {
		Verdict string `json:"verdict" doc:"justified or unjustified." example:"justified"`
		Note    string `json:"note" doc:"Why, as a code of small letters, digits and underscores." example:"family_was_found"`
	}
}

func (s *Server) reviewBreakGlass(ctx context.Context, in *reviewInput) (*breakGlassOutput, error) {
	g, err := s.Gate.ReviewBreakGlass(ctx, visitOf(ctx).caller, in.ID, in.Body.Verdict, in.Body.Note)
	if err != nil {
		return nil, err
	}
	return &breakGlassOutput{breakGlassBody(g)}, nil
}
