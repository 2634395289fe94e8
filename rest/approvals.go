package rest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const approvalsPath = "/v1/approvals"

// sessionScheme is the name of the security scheme of people who have signed in on the pages of this server.
const sessionScheme = "session"

var (
	errSignedOut = annona.Unauthenticated("signed_out", "sign in on the page /signin in this browser; keys and tokens do not open this")
	errCrossSite = annona.Forbidden("request_of_other", "another site has sent this request in your name; open the page again and repeat")
)

func (s *Server) registerApprovals() {
	huma.Register(s.api, ofPeople(huma.Operation{
		Method: http.MethodGet, Path: approvalsPath, OperationID: "listApprovals",
		Summary:     "What waits for a second person, and what became of it",
		Description: "The newest first, at most a thousand. For people of the registry with a role that decides or audits.",
	}), s.listApprovals)
	huma.Register(s.api, ofPeople(huma.Operation{
		Method: http.MethodGet, Path: approvalsPath + "/{id}", OperationID: "getApproval",
		Summary:     "One of them: what would change",
		Description: "The hash stands for what you see and for the versions of policy and agreement that it was made for.",
	}, http.StatusNotFound), s.showApproval)
	huma.Register(s.api, ofPeople(huma.Operation{
		Method: http.MethodPost, Path: approvalsPath + "/{id}/approve", OperationID: "approve", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary: "Let it come in force",
		Description: "With the hash of what you have looked at. You need the role for a day, a sign-in of the last ten minutes with two factors, and no part in it: not your own, not of somebody who has given you your role or to whom you have given theirs. " +
			"409 approval_void: the policy, the agreement or the thing itself has moved since, or a week has passed.",
	}, http.StatusNotFound, http.StatusConflict), s.approve)
	huma.Register(s.api, ofPeople(huma.Operation{
		Method: http.MethodPost, Path: approvalsPath + "/{id}/reject", OperationID: "reject", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary: "End it: nothing changes",
	}, http.StatusNotFound, http.StatusConflict), s.reject)
}

// ofPeople completes an operation for people who have signed in here.
func ofPeople(o huma.Operation, errors ...int) huma.Operation {
	o.Tags = []string{"approvals"}
	o.Security = []map[string][]string{{sessionScheme: {}}}
	return refusable(o, append(errors, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError, http.StatusServiceUnavailable)...)
}

// sessionSecurity documents the cookie of people who have signed in.
func sessionSecurity() *huma.SecurityScheme {
	return &huma.SecurityScheme{
		Type: "apiKey", In: "cookie", Name: "__Host-annona-session",
		Description: "The session of a person of the registry who has signed in on /signin. Requests that another site sends in their name are refused.",
	}
}

// forPerson reports whether a request is that of a person who has signed in here: its operation is for nobody else, or
// for them too and the request shows neither a key nor a token, only cookies.
func forPerson(o *huma.Operation, r *http.Request) bool {
	for _, scheme := range o.Security {
		if scheme[sessionScheme] != nil {
			shows := r.Header.Get("X-API-Key") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") == ""
			return len(o.Security) == 1 || !shows
		}
	}
	return false
}

// alsoForPeople lets people who have signed in here ask an operation of clients too.
func alsoForPeople(o huma.Operation) huma.Operation {
	o.Security = append(o.Security, map[string][]string{sessionScheme: {}})
	return o
}

// authenticatePerson lets a request in that a signed-in person sends.
func (s *Server) authenticatePerson(w http.ResponseWriter, r *http.Request, next func()) {
	caller, err := s.personOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	visitOf(r.Context()).caller = caller
	next()
}

// personOf is the person who has signed in in the browser that sends a request.
func (s *Server) personOf(r *http.Request) (annona.Caller, error) {
	if err := s.crossed.Check(r); err != nil {
		return annona.Caller{}, errCrossSite
	}
	from, err := s.clientAddr(r)
	if err != nil {
		return annona.Caller{}, err
	}
	if s.Session == nil {
		return annona.Caller{}, errSignedOut
	}
	who, err := s.Session(r)
	if err != nil {
		return annona.Caller{}, err
	}
	if who == (annona.SignedIn{}) {
		return annona.Caller{}, errSignedOut
	}
	return annona.Caller{Network: from, Acting: who}, nil
}

// ApprovalBody is something that waits for a second person, or did.
type ApprovalBody struct {
	ID               string    `json:"id"`
	Kind             string    `json:"kind" doc:"policy, agreement, export_spec, client, role, user, identity_provider, erasure or request."`
	Object           string    `json:"object" doc:"Name of what changes."`
	State            string    `json:"state" enum:"waiting,approved,rejected,void"`
	Note             string    `json:"note,omitempty" doc:"Code: why it is void."`
	Shows            []string  `json:"shows" doc:"What changes, in plain words."`
	Becomes          any       `json:"becomes,omitempty" doc:"What the object becomes, whole."`
	Reason           string    `json:"reason,omitempty"`
	Hash             string    `json:"hash" doc:"SHA-256 of what changes and of the versions that it was made for; an approval names it."`
	PolicyVersion    int       `json:"policy_version"`
	Agreement        string    `json:"agreement,omitempty"`
	AgreementVersion int       `json:"agreement_version,omitempty"`
	AskedBy          string    `json:"asked_by" doc:"operator:account, person:id or client:id."`
	AskedAt          time.Time `json:"asked_at"`
	Until            time.Time `json:"until"`
	DecidedBy        string    `json:"decided_by,omitempty"`
	DecidedAt        time.Time `json:"decided_at,omitzero"`
}

func approvalBody(a exchange.Approval) ApprovalBody {
	b := ApprovalBody{
		ID: a.ID.String(), Kind: string(a.Kind), Object: a.Object, State: string(a.State), Note: a.Note, Shows: a.Shows, Reason: a.Reason,
		Hash: hex.EncodeToString(a.Hash[:]), PolicyVersion: a.Policy, Agreement: a.Agreement, AgreementVersion: a.AgreementVersion,
		AskedBy: a.By, AskedAt: a.AskedAt.UTC(), Until: a.Until.UTC(), DecidedBy: a.DecidedBy, DecidedAt: a.DecidedAt,
	}
	if b.Shows == nil {
		b.Shows = []string{}
	}
	if a.Becomes != nil {
		b.Becomes = json.RawMessage(a.Becomes)
	}
	return b
}

type approvalsInput struct {
	State string `query:"state" doc:"Only those that are waiting, approved, rejected or void." example:"waiting"`
}

type approvalsOutput struct {
	Body struct {
		Approvals []ApprovalBody `json:"approvals"`
	}
}

func (s *Server) listApprovals(ctx context.Context, in *approvalsInput) (*approvalsOutput, error) {
	all, err := s.Gate.ListApprovals(ctx, visitOf(ctx).caller, annona.ApprovalState(in.State))
	if err != nil {
		return nil, err
	}
	out := &approvalsOutput{}
	out.Body.Approvals = []ApprovalBody{}
	for _, a := range all {
		out.Body.Approvals = append(out.Body.Approvals, approvalBody(a))
	}
	return out, nil
}

type approvalInput struct {
	ID string `path:"id" doc:"Id of the request." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
}

type approvalOutput struct{ Body ApprovalBody }

func (s *Server) showApproval(ctx context.Context, in *approvalInput) (*approvalOutput, error) {
	a, err := s.Gate.ShowApproval(ctx, visitOf(ctx).caller, in.ID)
	if err != nil {
		return nil, err
	}
	return &approvalOutput{approvalBody(a)}, nil
}

type approveInput struct {
	ID   string `path:"id" doc:"Id of the request." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	Body struct {
		Hash string `json:"hash" doc:"Of what you have looked at."`
	}
}

func (s *Server) approve(ctx context.Context, in *approveInput) (*approvalOutput, error) {
	a, err := s.Gate.Approve(ctx, visitOf(ctx).caller, in.ID, in.Body.Hash)
	if err != nil {
		return nil, err
	}
	return &approvalOutput{approvalBody(a)}, nil
}

type rejectInput struct {
	ID   string `path:"id" doc:"Id of the request." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	Body struct{}
}

func (s *Server) reject(ctx context.Context, in *rejectInput) (*approvalOutput, error) {
	a, err := s.Gate.Reject(ctx, visitOf(ctx).caller, in.ID)
	if err != nil {
		return nil, err
	}
	return &approvalOutput{approvalBody(a)}, nil
}
