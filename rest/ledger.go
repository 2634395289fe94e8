package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

func (s *Server) registerLedger() {
	huma.Register(s.api, accountable(huma.Operation{
		Method: http.MethodGet, Path: "/v1/ledger/checkpoint", OperationID: "ledgerCheckpoint",
		Summary: "The latest signed checkpoint of the ledger",
		Description: "A signed note: origin, number of entries and root of the ledger's tree, then a signature. Keep it: whoever holds an earlier checkpoint can prove " +
			"later that nothing before it was changed. It holds nothing about anybody. The public key comes from the registry by another way.",
		Responses: documents("The note.", "text/plain"),
	}), s.checkpoint)
	huma.Register(s.api, accountable(huma.Operation{
		Method: http.MethodGet, Path: "/v1/ledger/proof", OperationID: "ledgerProof",
		Summary: "Prove that the ledger continues, or that it holds a request",
		Description: "With from and to: the consistency proof (RFC 6962) that the tree of size to continues the one of size from. With request: the leaves of a request of your agreement, " +
			"each with its inclusion proof in the tree of the checkpoint. Hashes are in base64.",
	}, http.StatusNotFound), s.proof)
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: "/v1/subjects/{id}/disclosures", OperationID: "disclosures",
		Summary: "Who received the data of an individual",
		Description: "Each request that released data of the individual, the newest first: recipient, purpose, agreement, fields, when, and how it ended. Released is never less than what was received. " +
			"Your agreement has to say that you may ask, and you have to see the individual under the purpose.",
	}), s.disclosures)
}

// accountable completes an operation about the ledger itself: any valid key may use it.
func accountable(o huma.Operation, errors ...int) huma.Operation {
	o.Tags = []string{"ledger"}
	o.Security = credentials()
	return refusable(o, append(errors, http.StatusBadRequest, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable)...)
}

// checkpoint answers with the latest checkpoint.
func (s *Server) checkpoint(ctx context.Context, _ *struct{}) (*reply, error) {
	c, err := s.Gate.Checkpoint(ctx, visitOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return &reply{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(c.Note)) // who has gone asks again
	}}, nil
}

type proofInput struct {
	From    string `query:"from" doc:"Number of entries of the earlier checkpoint." example:"1000"`
	To      string `query:"to" doc:"Number of entries of the later one, not above that of the latest checkpoint." example:"2000"`
	Request string `query:"request" doc:"Id of a request of your agreement: Annona-Request or Annona-Release of its answer." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
	After   string `query:"after" doc:"With request: index of the entry behind which to go on." example:"1200"`
}

type provedEntry struct {
	Index int64    `json:"index" doc:"Position in the tree, from 0."`
	Leaf  []byte   `json:"leaf" doc:"The leaf, in base64."`
	Proof [][]byte `json:"proof" doc:"The inclusion proof, in base64."`
}

type proofOutput struct {
	Body struct {
		Consistency [][]byte      `json:"consistency,omitempty" doc:"The consistency proof, in base64."`
		Checkpoint  string        `json:"checkpoint,omitempty" doc:"The checkpoint whose tree holds the entries."`
		Entries     []provedEntry `json:"entries,omitempty" doc:"Entries of the request, in order."`
		More        bool          `json:"more,omitempty" doc:"There are more entries: ask again with after."`
	}
}

var errProofAsked = annona.Invalid("proof_unspecific", "ask either with from and to, for consistency, or with request, for inclusion")

// proof answers with a proof of consistency or of inclusion.
func (s *Server) proof(ctx context.Context, in *proofInput) (*proofOutput, error) {
	consistency, inclusion := in.From != "" && in.To != "", in.Request != ""
	switch {
	case consistency && !inclusion && in.After == "":
		return s.consistency(ctx, in)
	case inclusion && in.From == "" && in.To == "":
		return s.inclusion(ctx, in)
	}
	return nil, errProofAsked
}

func (s *Server) consistency(ctx context.Context, in *proofInput) (*proofOutput, error) {
	from, err := number("from", in.From)
	if err != nil {
		return nil, err
	}
	to, err := number("to", in.To)
	if err != nil {
		return nil, err
	}
	out := &proofOutput{}
	out.Body.Consistency, err = s.Gate.Consistency(ctx, visitOf(ctx).caller, from, to)
	return out, err
}

func (s *Server) inclusion(ctx context.Context, in *proofInput) (*proofOutput, error) {
	request, err := annona.ParseUID(in.Request)
	if err != nil {
		return nil, annona.Invalid("request_malformed", "the id of a request has 32 hexadecimal digits").On("request")
	}
	after := int64(-1)
	if in.After != "" {
		if after, err = number("after", in.After); err != nil {
			return nil, err
		}
	}
	p, err := s.Gate.Inclusion(ctx, visitOf(ctx).caller, request, after)
	if err != nil {
		return nil, err
	}
	out := &proofOutput{}
	out.Body.Checkpoint, out.Body.More = p.Checkpoint.Note, p.More
	for _, e := range p.Entries {
		out.Body.Entries = append(out.Body.Entries, provedEntry{e.Index, e.Leaf, e.Hashes})
	}
	return out, nil
}

func number(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, annona.Invalid("parameter_malformed", "the value of this parameter is a whole number").On(name)
	}
	return n, nil
}

type disclosuresInput struct {
	ID      string `path:"id" minLength:"26" maxLength:"26" doc:"Id of the individual, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string `query:"purpose" required:"true" doc:"What you ask for: the code of a purpose in your agreement." example:"subject-access"`
}

type disclosure struct {
	Request          string   `json:"request" doc:"Id of the request in the ledger."`
	Recipient        string   `json:"recipient,omitempty" doc:"Who received the data. Absent: the registry itself."`
	Agreement        string   `json:"agreement,omitempty"`
	AgreementVersion int      `json:"agreement_version,omitempty"`
	Purpose          string   `json:"purpose,omitempty"`
	LegalBasis       string   `json:"legal_basis,omitempty"`
	Verb             string   `json:"verb" doc:"get, lookup, search, export or disclosures."`
	Dataset          string   `json:"dataset"`
	First            string   `json:"first" doc:"When the first page with the individual was released."`
	Last             string   `json:"last" doc:"When the last one was."`
	Pages            int      `json:"pages" doc:"How many pages were."`
	Fields           []string `json:"fields" doc:"Which fields of the individual were."`
	Outcome          string   `json:"outcome,omitempty" doc:"How the request ended: complete, aborted or unknown. Absent: it still runs."`
}

type disclosuresBody struct {
	Disclosures []disclosure `json:"disclosures"`
	More        bool         `json:"more,omitempty" doc:"There are older ones."`
}

// disclosures answers who received the data of an individual.
func (s *Server) disclosures(ctx context.Context, in *disclosuresInput) (*reply, error) {
	v := visitOf(ctx)
	d, err := s.Gate.Disclosures(ctx, v.caller, in.Purpose, in.ID)
	if err != nil {
		return nil, err
	}
	v.recognized(d.Request, exchange.Question{Dataset: "individuals", Purpose: in.Purpose})
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		v.format = encode.JSON
		b := s.newBody(w.(*response), r, http.Header{"Content-Type": {"application/json"}})
		defer b.release()
		err := error(errUnwritten)
		defer func() { d.Sent(int64(len(d.All)), err) }()
		if err = json.NewEncoder(b).Encode(disclosuresBody{disclosuresOf(d.All), d.More}); err == nil {
			err = b.complete()
		}
		s.end(b, r, err)
	}}, nil
}

func disclosuresOf(all []exchange.Disclosure) []disclosure {
	out := make([]disclosure, len(all))
	for i, d := range all {
		out[i] = disclosure{
			Request: d.Request, Recipient: d.Recipient, Agreement: d.Agreement, AgreementVersion: d.AgreementVersion,
			Purpose: d.Purpose, LegalBasis: string(d.Basis), Verb: string(d.Verb), Dataset: d.Dataset,
			First: d.First.UTC().Format(time.RFC3339), Last: d.Last.UTC().Format(time.RFC3339),
			Pages: d.Pages, Fields: d.Fields, Outcome: string(d.Outcome),
		}
	}
	return out
}
