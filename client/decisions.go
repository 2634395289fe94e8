package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// Decision is what a program has decided about one individual or one household.
type Decision struct {
	Key          string   `json:"key"` // the program's own: each decision has another one
	IndividualID string   `json:"individual_id,omitempty"`
	HouseholdID  string   `json:"household_id,omitempty"`
	Program      string   `json:"program"`
	Status       string   `json:"status"` // eligible, ineligible, pending, under_review or conditional
	DecisionDate string   `json:"decision_date"`
	ValidUntil   string   `json:"valid_until,omitempty"`
	AppealUntil  string   `json:"appeal_until,omitempty"`
	AppealOf     string   `json:"appeal_of,omitempty"`
	Basis        string   `json:"basis,omitempty"`
	Score        string   `json:"score,omitempty"`
	Band         string   `json:"band,omitempty"`
	Reasons      []string `json:"reasons,omitempty"`
	Automated    bool     `json:"automated,omitempty"`
	Software     string   `json:"software,omitempty"`
	Export       string   `json:"export,omitempty"` // that it was computed from
}

// Verdict says what became of a decision.
type Verdict struct {
	Line    int    `json:"line"` // from 1, of all that were sent
	Key     string `json:"key"`
	Verdict string `json:"verdict"` // recorded, unchanged or refused
	ID      string `json:"id"`
	Code    string `json:"code"`
	Field   string `json:"field"`
	Detail  string `json:"detail"`
}

const decisionsPath = "/v1/eligibility-decisions"

// decisionsAtOnce bounds one request; a registry takes ten times as many.
const decisionsAtOnce = 1000

// Decide sends decisions, in several requests when there are many, and returns a verdict for each. A
// request whose answer was lost is sent again as it was: what was recorded is then unchanged.
func (c *Client) Decide(ctx context.Context, purpose string, decisions []Decision) (verdicts []Verdict, err error) {
	for some := range slices.Chunk(decisions, decisionsAtOnce) {
		var body bytes.Buffer
		lines := json.NewEncoder(&body)
		for _, d := range some {
			if err := lines.Encode(d); err != nil {
				return verdicts, err
			}
		}
		var told struct{ Verdicts []Verdict }
		err := c.again(ctx, nil, func() error {
			answer, _, err := c.once(ctx, call{
				method: http.MethodPost, path: decisionsPath, query: url.Values{"purpose": {purpose}},
				header: http.Header{"Content-Type": {"application/x-ndjson"}}, body: body.Bytes(),
			})
			if err != nil {
				return err
			}
			return readJSON(answer, &told)
		})
		if err != nil {
			return verdicts, err
		}
		sent := len(verdicts)
		for _, v := range told.Verdicts {
			v.Line += sent
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}
