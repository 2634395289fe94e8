package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

func (s *Server) registerAccessDecisions() {
	huma.Register(s.api, alsoForPeople(accountable(huma.Operation{
		Method: http.MethodGet, Path: "/v1/decisions/{id}", OperationID: "accessDecision",
		Summary: "Why a request of yours was granted",
		Description: "The agreement and the version of the policy under which it was decided, your role, the rules that held, the obligations that came with it, and the hash of all that it was decided from. " +
			"The id is that of the request: the header Annona-Release or Annona-Request of its answer. Another client's request is not found. " +
			"People of the registry with the role data-protection-officer or auditor, who have signed in here, may ask about every request.",
	}, http.StatusForbidden, http.StatusNotFound)), s.accessDecision)
}

type accessDecisionInput struct {
	ID string `path:"id" doc:"Id of the request." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
}

type accessDecisionOutput struct{ Body *exchange.DecisionRecord }

func (s *Server) accessDecision(ctx context.Context, in *accessDecisionInput) (*accessDecisionOutput, error) {
	id, err := annona.ParseUID(in.ID)
	if err != nil {
		id = annona.UID{} // nobody's
	}
	d, err := s.Gate.Decision(ctx, visitOf(ctx).caller, id)
	if err != nil {
		return nil, err
	}
	return &accessDecisionOutput{d}, nil
}
