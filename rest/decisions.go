package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const decisionsPath = "/v1/eligibility-decisions"

func (s *Server) registerDecisions() {
	row := &huma.Schema{Type: huma.TypeString, Description: "On each line a decision, as a JSON object. Needed are key (your own, another one for each decision), individual_id or household_id, program, " +
		"status (eligible, ineligible, pending, under_review, conditional) and decision_date. Further members: valid_until, appeal_until, appeal_of (key of the decision that this one answers), " +
		"basis (pmt, means, income, categorical, community, manual), score (a decimal number as text), band, reasons (a list of codes), automated (true: no person has decided), software, " +
		"export (the id of the export that it was computed from, or its Annona-Release)."}
	huma.Register(s.api, tagged("eligibility-decisions", people(huma.Operation{
		Method: http.MethodPost, Path: decisionsPath, OperationID: "decideEligibility",
		Summary: "Send back what a program has decided",
		Description: "Up to 10,000 decisions as NDJSON, one on a line. Each has a verdict of its own: recorded, unchanged (the same decision under the same key is on file) or refused, with the reason. " +
			"Refused rows stop no other. An id that you were never given and a record that you may not see now are the same refusal, not_found.\n\n" +
			"Send the same again when no answer reached you: what was recorded is then unchanged. A later decision about somebody has a key of its own and supersedes the earlier one.",
		RequestBody: &huma.RequestBody{Required: true, Description: "The decisions.", Content: map[string]*huma.MediaType{
			"application/x-ndjson": {Schema: row},
		}},
	}, http.StatusConflict, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)), s.decideEligibility)
	huma.Register(s.api, tagged("eligibility-decisions", people(huma.Operation{
		Method: http.MethodGet, Path: decisionsPath, OperationID: "eligibilityDecisions",
		Summary:     "The decisions that you have sent",
		Description: "In the order in which they came on file: the last one about somebody holds. Those about a record that you may not see now are left out, so that a page may be shorter than its limit; the last page has no next.",
		Responses:   withCursor(answers("A page.", []string{"application/json"})),
	}, http.StatusGone)), s.eligibilityDecisions)
}

type decisionsInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`

	Streamed
}

// DecisionVerdict says what became of one decision.
type DecisionVerdict struct {
	Line    int    `json:"line" doc:"Line of the body, from 1."`
	Key     string `json:"key,omitempty" doc:"The decision's key."`
	Verdict string `json:"verdict" doc:"recorded, unchanged or refused."`
	ID      string `json:"id,omitempty" doc:"Id of the decision on file."`
	Code    string `json:"code,omitempty" doc:"Why it was refused." example:"not_found"`
	Field   string `json:"field,omitempty" doc:"What of it was refused." example:"status"`
	Detail  string `json:"detail,omitempty" doc:"What to do."`
}

type verdictsOutput struct {
	Body struct {
		Recorded  int               `json:"recorded" doc:"How many came on file."`
		Unchanged int               `json:"unchanged" doc:"How many were on file already."`
		Refused   int               `json:"refused" doc:"How many were refused."`
		Verdicts  []DecisionVerdict `json:"verdicts" nullable:"false" doc:"For each decision, in the order of the body."`
	}
}

func (s *Server) decideEligibility(ctx context.Context, in *decisionsInput) (*verdictsOutput, error) {
	lines, err := in.lines(s)
	if err != nil {
		return nil, err
	}
	out := &verdictsOutput{}
	out.Body.Verdicts = make([]DecisionVerdict, len(lines))
	var rows []exchange.EligibilityDecision
	var at []int // line of each row
	for n, line := range lines {
		out.Body.Verdicts[n] = DecisionVerdict{Line: n + 1}
		row, err := readDecision(line)
		if err != nil {
			out.Body.Verdicts[n].say(exchange.Verdict{Verdict: exchange.VerdictRefused, Reason: err})
			continue
		}
		out.Body.Verdicts[n].Key = row.Key
		rows, at = append(rows, row), append(at, n)
	}
	verdicts, err := s.Gate.DecideEligibility(ctx, visitOf(ctx).caller, in.Purpose, rows)
	if err != nil {
		return nil, err
	}
	for i, v := range verdicts {
		out.Body.Verdicts[at[i]].say(v)
	}
	for _, v := range out.Body.Verdicts {
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

func (v *DecisionVerdict) say(verdict exchange.Verdict) {
	v.Verdict = verdict.Verdict
	if verdict.Reason == nil {
		v.ID = verdict.ID.String()
	}
	v.Code, v.Field, v.Detail = why(verdict.Reason)
}

func readDecision(line []byte) (d exchange.EligibilityDecision, err error) {
	if err := readObject(line, &d); err != nil {
		return d, annona.Invalid("row_malformed", "the line is not one JSON object with members of a decision, each once and of its type")
	}
	return d, nil
}

type decidedInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`
	Dataset string `query:"dataset" required:"true" enum:"individuals,households" doc:"Whether they are about individuals or households."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Decisions on a page, at most."`
	After   string `query:"after" doc:"The cursor of the page before, from its next."`
}

// decidedDecision is a decision on file, on the wire.
type decidedDecision struct {
	Type       string `json:"@type,omitempty"` // of linked data
	ID         string `json:"id"`
	RecordedAt string `json:"recorded_at"`
	exchange.EligibilityDecision
}

func (s *Server) eligibilityDecisions(ctx context.Context, in *decidedInput) (*reply, error) {
	v := visitOf(ctx)
	page, err := s.Gate.EligibilityDecisions(ctx, v.caller, in.Purpose, in.Dataset, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	v.recognized(page.Request, exchange.Question{Dataset: in.Dataset, Purpose: in.Purpose})
	shown := []decidedDecision{}
	for _, d := range page.Decisions {
		shown = append(shown, decidedDecision{ID: d.ID.String(), RecordedAt: d.RecordedAt, EligibilityDecision: d.EligibilityDecision})
	}
	return s.sendList(&page.Answer, in.Dataset, "decisions", shown), nil
}
