package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

// reporting is how a dataset is reported over the gate.
type reporting func(ctx context.Context, caller annona.Caller, purpose string, rows []map[string]any, whole bool) ([]exchange.ReportVerdict, error)

func (s *Server) registerParticipation() {
	s.registerReports("enrollments", "Enrollments", s.Gate.ReportEnrollments,
		"source_enrollment_id (your own name for it, at most 200 bytes), program, individual_id or household_id, status and status_date are needed. A closed one needs exit_reason, a suspended one status_reason. "+
			"The exchange keeps the history of statuses, and the dates of enrollment and exit.")
	s.registerReports("benefits", "Benefits", s.Gate.ReportBenefits,
		"source_benefit_id (your own name for it), source_enrollment_id (of an enrollment that you have reported), benefit_type and entitlement_status are needed; amount goes with currency. "+
			"payments is the list of all attempts to deliver it, each with attempt (from 1) and status.")
	s.registerReporting("payments", "Payments", s.Gate.ReportPayments,
		"source_benefit_id (of a benefit that you have reported), attempt (from 1) or reference (the payer's own), and status are needed. One that is not known yet is the next attempt; what you leave out of one that is on file stays. "+
			"paid needs paid_at, failed needs failure_code. Several payments of one benefit may come at once.")
	huma.Register(s.api, tagged("programs", people(huma.Operation{
		Method: http.MethodGet, Path: paymentsPath, OperationID: "searchPayments",
		Summary:     "A page of payments",
		Description: "A row for each payment of the benefits that GET /v1/benefits shows, with the ids, program, cycle and currency of its benefit. A page is full as long as there is more, but that it ends behind 5,000 benefits.",
		Responses:   withCursor(answers("A page.", []string{"application/json", "application/x-ndjson"})),
	}, http.StatusGone)), s.payments)
}

const paymentsPath = "/v1/payments"

// registerReporting registers the route by which rows of a dataset come.
func (s *Server) registerReporting(dataset, name string, report reporting, members string) {
	row := &huma.Schema{Type: huma.TypeString, Description: "On each line one of the " + dataset + ", as a JSON object: fields of the schema, of which null takes one away. " + members}
	huma.Register(s.api, tagged("programs", people(huma.Operation{
		Method: http.MethodPost, Path: "/v1/" + dataset, OperationID: "report" + name,
		Summary: "Report " + dataset,
		Description: "Up to 10,000 as NDJSON, one on a line. Each has a verdict of its own: recorded, unchanged (it says what is on file) or refused, with the reason. What is reported again under the same name moves it on. " +
			"Refused rows stop no other, unless whole=true: then all are written or none.\n\nSend the same again when no answer reached you: what was recorded is then unchanged.",
		RequestBody: &huma.RequestBody{Required: true, Description: "The " + dataset + ".", Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: row}}},
	}, http.StatusConflict, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)), s.takeReports(report))
}

func (s *Server) registerReports(dataset, name string, report reporting, members string) {
	path := "/v1/" + dataset
	s.registerReporting(dataset, name, report, members)
	huma.Register(s.api, tagged("programs", people(huma.Operation{
		Method: http.MethodGet, Path: path, OperationID: "search" + name,
		Summary:     "A page of " + dataset,
		Description: "Those of the programs that your agreement shows, about individuals and households whom you may see, in the order in which they came on file. A page is full as long as there is more.",
		Responses:   withCursor(answers("A page.", []string{"application/json", "application/x-ndjson"})),
	}, http.StatusGone)), s.participations(dataset))
	huma.Register(s.api, tagged("programs", people(huma.Operation{
		Method: http.MethodGet, Path: path + "/{id}", OperationID: "get" + name,
		Summary:   "One of the " + dataset,
		Responses: answers("The record.", append([]string{"application/x-ndjson"}, graphTypes()...)),
	})), s.participation(dataset))
	s.registerUpdateLog("of the "+dataset, path, name)
}

type rowsInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`
	Whole   bool   `query:"whole" doc:"true: all rows are written, or none."`

	Streamed
}

// RowVerdict says what became of one row.
type RowVerdict struct {
	Line    int    `json:"line" doc:"Line of the body, from 1."`
	Verdict string `json:"verdict" doc:"recorded, unchanged or refused."`
	ID      string `json:"id,omitempty" doc:"Its id under your agreement."`
	Code    string `json:"code,omitempty" doc:"Why it was refused." example:"status_move"`
	Field   string `json:"field,omitempty" doc:"What of it was refused." example:"status"`
	Detail  string `json:"detail,omitempty" doc:"What to do."`
}

type reportOutput struct {
	Body struct {
		Recorded  int          `json:"recorded" doc:"How many came on file or changed."`
		Unchanged int          `json:"unchanged" doc:"How many said what is on file."`
		Refused   int          `json:"refused" doc:"How many were refused."`
		Verdicts  []RowVerdict `json:"verdicts" nullable:"false" doc:"For each row, in the order of the body."`
	}
}

// takeReports hands rows to the gate. A line that is no row is refused as the gate refuses one.
func (s *Server) takeReports(report reporting) func(context.Context, *rowsInput) (*reportOutput, error) {
	return func(ctx context.Context, in *rowsInput) (*reportOutput, error) {
		lines, err := in.lines(s)
		if err != nil {
			return nil, err
		}
		rows := make([]map[string]any, len(lines))
		for n, line := range lines {
			rows[n] = readRow(line)
		}
		verdicts, err := report(ctx, visitOf(ctx).caller, in.Purpose, rows, in.Whole)
		if err != nil {
			return nil, err
		}
		out := &reportOutput{}
		out.Body.Verdicts = make([]RowVerdict, len(verdicts))
		for n, v := range verdicts {
			out.Body.Verdicts[n] = rowVerdict(n+1, v)
			switch v.Verdict {
			case exchange.VerdictRecorded:
				out.Body.Recorded++
			case exchange.VerdictUnchanged:
				out.Body.Unchanged++
			default:
				out.Body.Refused++
			}
		}
		return out, nil
	}
}

// readRow reads one row; nil when the line is not one JSON object with each member once.
func readRow(line []byte) (row map[string]any) {
	if err := readObject(line, &row); err != nil {
		return nil
	}
	return row
}

func rowVerdict(line int, v exchange.ReportVerdict) RowVerdict {
	said := RowVerdict{Line: line, Verdict: v.Verdict, ID: v.ID}
	said.Code, said.Field, said.Detail = why(v.Reason)
	return said
}

// ParticipationPage is what lists of what programs report are asked by.
type ParticipationPage struct {
	Purpose    string   `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`
	Fields     []string `query:"fields" nullable:"false" doc:"The columns you want. Without it: everything that your agreement grants."`
	Program    string   `query:"program" doc:"Of this program only. Your agreement must grant the field unaltered."`
	Individual string   `query:"individual_id" doc:"About this individual only."`
	Household  string   `query:"household_id" doc:"About this household only."`
	Since      string   `query:"since" doc:"Changed then or later: an instant. Of payments: those of benefits that have changed." example:"2026-01-31T12:00:00Z"`
	Limit      int      `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Rows on a page."`
	After      string   `query:"after" doc:"The cursor of the page before."`
	Accepts
}

func (in *ParticipationPage) chosen() exchange.Participation {
	return exchange.Participation{Program: in.Program, Individual: in.Individual, Household: in.Household, Since: in.Since}
}

type participationsInput struct {
	ParticipationPage
	Status string `query:"status" doc:"Standing there only: status of enrollments, entitlement_status of benefits. Your agreement must grant the field unaltered."`
}

// participations answers with a page of enrollments or benefits.
func (s *Server) participations(dataset string) func(context.Context, *participationsInput) (*reply, error) {
	return func(ctx context.Context, in *participationsInput) (*reply, error) {
		o, err := in.nested()
		if err != nil {
			return nil, err
		}
		q := exchange.Question{Dataset: dataset, Purpose: in.Purpose, Fields: in.Fields}
		p := in.chosen()
		p.Status = in.Status
		v := visitOf(ctx)
		answer, err := s.Gate.Participations(ctx, v.caller, q, "", p, in.Limit, in.After)
		if err != nil {
			return nil, err
		}
		v.recognized(answer.Request, q)
		o.Schema, o.Next = schemaID(dataset, answer.Schema), answer.Next
		return s.page(v, answer, o)
	}
}

type paymentsInput struct {
	ParticipationPage
	Benefit string `query:"benefit_id" doc:"Of this benefit only."`
}

// payments answers with a page of payments.
func (s *Server) payments(ctx context.Context, in *paymentsInput) (*reply, error) {
	o, err := in.nested()
	if err != nil {
		return nil, err
	}
	c := exchange.PaymentChoice{Benefit: in.Benefit, Participation: in.chosen()}
	v := visitOf(ctx)
	answer, err := s.Gate.Payments(ctx, v.caller, in.Purpose, in.Fields, c, in.Limit, in.After)
	if err != nil {
		return nil, err
	}
	v.recognized(answer.Request, exchange.Question{Dataset: "payments", Purpose: in.Purpose})
	o.Schema, o.Next = schemaID("payments", answer.Schema), answer.Next
	return s.page(v, answer, o)
}

type participationInput struct {
	ID      string   `path:"id" minLength:"26" maxLength:"26" doc:"Its id, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string   `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`
	Fields  []string `query:"fields" nullable:"false" doc:"The columns you want. Without it: everything that your agreement grants."`
	Accepts
}

// participation answers with one enrollment or benefit.
func (s *Server) participation(dataset string) func(context.Context, *participationInput) (*reply, error) {
	return func(ctx context.Context, in *participationInput) (*reply, error) {
		o, err := in.format(append(encode.FormatsOfGraphs(), encode.NDJSON)...)
		if err != nil {
			return nil, err
		}
		q := exchange.Question{Dataset: dataset, Purpose: in.Purpose, Fields: in.Fields}
		v := visitOf(ctx)
		answer, err := s.Gate.Participations(ctx, v.caller, q, in.ID, exchange.Participation{}, 1, "")
		if err != nil {
			return nil, err
		}
		v.recognized(answer.Request, q)
		o.Schema = schemaID(dataset, answer.Schema)
		return s.one(v, answer, o, entityTag(answer.ETag, o.Format, unencoded))
	}
}

// nested negotiates a format of those that nest: matters have no table.
func (a Accepts) nested() (encode.Options, error) { return a.format(encode.JSON, encode.NDJSON) }
