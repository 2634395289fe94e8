package rest

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const checksPath = "/v1/checks/enrolled"

func (s *Server) registerChecks() {
	row := &huma.Schema{Type: huma.TypeString, Description: `On each line a check, as a JSON object: identifiers (1 to 10, each with type, value and perhaps issuer), and program or group as your agreement names it.`}
	o := tagged("programs", people(huma.Operation{
		Method: http.MethodPost, Path: checksPath, OperationID: "checkEnrolled",
		Summary: "Does whoever holds these identifiers take part in a program?",
		Description: "One check as application/json, or up to 10,000 as application/x-ndjson, one on a line. The answer is yes, no, or cannot_tell: several people hold the identifiers, of whom some take part and others do not. " +
			"no is said of somebody who does not take part, whom nobody knows and whom you may not see; nothing tells them apart. Somebody takes part whose enrollment, or that of their household, is active or suspended.\n\n" +
			"Your agreement bounds how many people you may ask about each day, whoever they are. Each check is in the ledger. Numbers stand in the body, never in the URL, and are kept nowhere.",
		RequestBody: &huma.RequestBody{Required: true, Description: "The checks.", Content: map[string]*huma.MediaType{
			"application/json": {}, "application/x-ndjson": {Schema: row},
		}},
		Responses: answers("For one check an object with enrolled. For several, on each line an object with line and enrolled, or with line, code, field and detail where the row was refused.",
			[]string{"application/json", "application/x-ndjson"}),
	}, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType))
	huma.Register(s.api, o, s.checkEnrolled)
}

type checksInput struct {
	Purpose string `query:"purpose" required:"true" doc:"The purpose for which your agreement grants checks." example:"duplicate-prevention"`

	Streamed
}

// checkRow is a check on the wire.
type checkRow struct {
	Identifiers []struct {
		Type   string  `json:"type"`
		Value  private `json:"value"`
		Issuer string  `json:"issuer"`
	} `json:"identifiers"`
	Program string `json:"program"`
	Group   string `json:"group"`
}

// checkAnswer is the answer to one check.
type checkAnswer struct {
	Line     int    `json:"line,omitempty"`
	Enrolled string `json:"enrolled,omitempty"`
	Code     string `json:"code,omitempty"`
	Field    string `json:"field,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// checkEnrolled hands checks to the gate.
func (s *Server) checkEnrolled(ctx context.Context, in *checksInput) (*reply, error) {
	mediaType, _, _ := mime.ParseMediaType(in.request.Header.Get("Content-Type"))
	alone := mediaType == "application/json"
	lines, err := in.rows(s, alone)
	if err != nil {
		return nil, err
	}
	rows, at, refusals := readChecks(lines)
	if alone && refusals[0] != nil {
		return nil, refusals[0]
	}
	v := visitOf(ctx)
	checked, err := s.Gate.CheckEnrolled(ctx, v.caller, in.Purpose, rows)
	if err != nil {
		return nil, err
	}
	v.recognized(checked.Request, exchange.Question{Dataset: "individuals", Purpose: in.Purpose})
	answers := make([]checkAnswer, len(lines))
	for n, reason := range refusals {
		answers[n] = checkedLine(n+1, exchange.CheckVerdict{Reason: reason})
	}
	for n, verdict := range checked.Verdicts {
		answers[at[n]] = checkedLine(at[n]+1, verdict)
	}
	o := encode.Options{Format: encode.NDJSON, Schema: "checks/1"}
	if alone {
		if reason := checked.Verdicts[0].Reason; reason != nil {
			checked.Sent(0, reason)
			return nil, reason
		}
		answers[0].Line, o.Format = 0, encode.JSON
	}
	return s.sendRows(int64(len(lines)), checked.Sent, o, answerHeader("individuals", o), func(b *body) error {
		out := json.NewEncoder(b)
		for n := range answers {
			if err := out.Encode(&answers[n]); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

// rows reads the rows of the body; alone: it is one.
func (in *checksInput) rows(s *Server, alone bool) ([][]byte, error) {
	if !alone {
		return in.lines(s)
	}
	text, err := in.whole(s, maxBody)
	return [][]byte{text}, err
}

// readChecks returns the rows that are checks, on which lines they stand, and why others are none.
func readChecks(lines [][]byte) (rows []exchange.EnrolledCheck, at []int, refusals []error) {
	refusals = make([]error, len(lines))
	for n, line := range lines {
		var said checkRow
		if refusals[n] = readObject(line, &said); refusals[n] != nil {
			continue
		}
		row := exchange.EnrolledCheck{Program: said.Program, Group: said.Group}
		for _, id := range said.Identifiers {
			row.Identifiers = append(row.Identifiers, exchange.Identifier{Type: id.Type, Value: string(id.Value), Issuer: id.Issuer})
		}
		rows, at = append(rows, row), append(at, n)
	}
	return rows, at, refusals
}

func checkedLine(line int, v exchange.CheckVerdict) checkAnswer {
	a := checkAnswer{Line: line, Enrolled: v.Enrolled}
	a.Code, a.Field, a.Detail = why(v.Reason)
	return a
}
