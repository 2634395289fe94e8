package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const usagePath = "/v1/clients/{id}/usage"

func (s *Server) registerUsage() {
	huma.Register(s.api, ofPeople(huma.Operation{
		Method: http.MethodGet, Path: usagePath, OperationID: "clientUsage",
		Summary: "What a client has used of what it is granted",
		Description: "Verbs and fields that its agreement and its role grant, each with when it was last used, to a minute or so; and what to take away because nobody has used it for long. " +
			"For people of the registry with a role that decides or audits. It tells nothing of whom the client has asked about.",
	}, http.StatusNotFound), s.clientUsage)
}

type usageInput struct {
	ID   string `path:"id" doc:"Id of the client or of the API key." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	Days int    `query:"days" minimum:"1" maximum:"3660" default:"90" doc:"Days without a use after which something is proposed for removal."`
}

// UsageBody is what a client is granted beside what it uses.
type UsageBody struct {
	Client    string      `json:"client"`
	Agreement string      `json:"agreement"`
	Role      string      `json:"role,omitempty" doc:"Of the policy. Absent: partner."`
	ExpiresAt time.Time   `json:"expires_at"`
	RevokedAt time.Time   `json:"revoked_at,omitzero"`
	LastUsed  time.Time   `json:"last_used,omitzero" doc:"Absent: never."`
	Days      int         `json:"days"`
	Verbs     []usedVerb  `json:"verbs"`
	Fields    []usedField `json:"fields"`
	Proposal  string      `json:"proposal" enum:"none,too_young,revoke,narrow" doc:"none: it uses all that it is granted. too_young: it is not as old as the days. revoke: it uses nothing. narrow: give it a role that has less."`
	Removes   []string    `json:"removes,omitempty" doc:"What the narrower role takes away, in plain words."`
	Narrower  string      `json:"narrower,omitempty" doc:"Name of that role. annona client usage --policy prints it, to be put into the policy."`
}

type usedVerb struct {
	Verb     annona.Verb `json:"verb"`
	Purpose  string      `json:"purpose,omitempty"`
	Dataset  string      `json:"dataset,omitempty"`
	LastUsed time.Time   `json:"last_used,omitzero"`
}

type usedField struct {
	Dataset  string      `json:"dataset"`
	Field    string      `json:"field"`
	LastUsed time.Time   `json:"last_used,omitzero"`
	Until    annona.Date `json:"valid_until,omitempty" format:"date" doc:"Last day on which the agreement grants the dataset. Absent: that of the agreement."`
}

type usageOutput struct{ Body UsageBody }

func (s *Server) clientUsage(ctx context.Context, in *usageInput) (*usageOutput, error) {
	u, err := s.Gate.Usage(ctx, visitOf(ctx).caller, in.ID, in.Days)
	if err != nil {
		return nil, err
	}
	b := UsageBody{
		Client: u.Client.ID.String(), Agreement: u.Client.Agreement, Role: u.Client.Role, ExpiresAt: u.Client.ExpiresAt, RevokedAt: u.Client.RevokedAt,
		LastUsed: u.LastUsed, Days: u.Days, Verbs: []usedVerb{}, Fields: []usedField{}, Proposal: proposalOf(u), Removes: u.Removes,
	}
	for _, v := range u.Verbs {
		b.Verbs = append(b.Verbs, usedVerb(v))
	}
	for _, f := range u.Fields {
		b.Fields = append(b.Fields, usedField(f))
	}
	if u.Narrowed.Name != "" {
		b.Narrower = u.Narrowed.Name
	}
	return &usageOutput{b}, nil
}

func proposalOf(u *exchange.ClientUsage) string {
	switch {
	case u.Young:
		return "too_young"
	case u.Revoke:
		return "revoke"
	case u.Narrowed.Name != "":
		return "narrow"
	}
	return "none"
}
