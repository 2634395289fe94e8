package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const bulkPath = "/v1/bulk"

func (s *Server) registerBulk() {
	row := &huma.Schema{Type: huma.TypeString, Description: "On each line an operation, as a JSON object: op, and body, which is what the operation has as its body when it comes alone. " +
		"case (with source_case_id), enrollment and benefit are opened or brought up to date. patch and action have id and if_match of the case beside; note has id. update, of an individual or a household, has dataset, id, if_match and may have a reason. These four have a key of their own, too: " +
		"without it, it is the key of the request and the line."}
	huma.Register(s.api, tagged("cases", people(huma.Operation{
		Method: http.MethodPost, Path: bulkPath, OperationID: "bulk",
		Summary: "Many changes of cases, enrollments, benefits and records",
		Description: "Up to 10,000 operations as NDJSON, one on a line, done in their order. Each line has a verdict of its own. With whole=true all are done, or none of them.\n\n" +
			"When no answer reached you, send the same again, under the same keys: what was done is then unchanged.",
		RequestBody: &huma.RequestBody{Required: true, Description: "The operations.", Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: row}}},
	}, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)), s.bulk)
}

type bulkInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Whole   bool   `query:"whole" doc:"true: all operations are done, or none."`
	Key     string `header:"Idempotency-Key" doc:"A key of your own for this request: operations that have no key get theirs from it."`

	Streamed
}

// bulkRow is an operation on the wire.
type bulkRow struct {
	Op      string         `json:"op"`
	Dataset string         `json:"dataset"` // of an update
	Reason  string         `json:"reason"`  // of an update
	ID      string         `json:"id"`
	IfMatch string         `json:"if_match"`
	Key     string         `json:"key"`
	Body    map[string]any `json:"body"`
}

type bulkOutput struct {
	Body struct {
		Done      int        `json:"done" doc:"How many operations have changed something, or wait for somebody who decides them."`
		Unchanged int        `json:"unchanged" doc:"How many said what is on file, or were done before."`
		Refused   int        `json:"refused" doc:"How many were refused, or are in conflict with what others have changed."`
		Verdicts  []BulkLine `json:"verdicts" nullable:"false" doc:"For each operation, in the order of the body."`
	}
}

// BulkLine says what became of one operation.
type BulkLine struct {
	CaseLine
	Conflict  string           `json:"conflict,omitempty" doc:"Under which id what clashes is kept, until somebody resolves it."`
	Conflicts []exchange.Clash `json:"conflicts,omitempty" doc:"What both have changed: as you have read it, theirs and yours."`
}

func (s *Server) bulk(ctx context.Context, in *bulkInput) (*bulkOutput, error) {
	lines, err := in.lines(s)
	if err != nil {
		return nil, err
	}
	rows := make([]exchange.Operation, len(lines))
	for n, line := range lines {
		rows[n] = in.operation(n+1, line)
	}
	verdicts, err := s.Gate.Bulk(ctx, visitOf(ctx).caller, in.Purpose, rows, in.Whole)
	if err != nil {
		return nil, err
	}
	out := &bulkOutput{}
	out.Body.Verdicts = make([]BulkLine, len(verdicts))
	for n, v := range verdicts {
		out.Body.Verdicts[n] = BulkLine{CaseLine: caseLine(n, v), Conflict: conflictID(v), Conflicts: v.Clashes}
		switch {
		case v.Reason != nil || v.Verdict == exchange.VerdictConflict:
			out.Body.Refused++
		case v.Verdict == exchange.VerdictUnchanged:
			out.Body.Unchanged++
		default:
			out.Body.Done++
		}
	}
	return out, nil
}

// operation reads one line.
func (in *bulkInput) operation(line int, text []byte) (o exchange.Operation) {
	var row bulkRow
	if o.Reason = readObject(text, &row); o.Reason != nil {
		return o
	}
	o.Do, o.Body = row.Op, row.Body
	if row.Key == "" && in.Key != "" {
		row.Key = in.Key + "/" + strconv.Itoa(line)
	}
	key := &exchange.Keyed{Key: row.Key, Route: "POST " + bulkPath, Asked: append([]byte(in.Purpose+"\x00"), text...)}
	switch row.Op {
	case exchange.DoAction, exchange.DoPatch:
		o.Edit = exchange.CaseEdit{ID: row.ID, IfMatch: row.IfMatch, Patch: row.Body, Keyed: key}
		if row.Op == exchange.DoAction {
			o.Reason = takeAction(&o.Edit)
		}
	case exchange.DoUpdate:
		o.Reason = in.update(&o, &row)
	case exchange.DoNote:
		body, _ := json.Marshal(row.Body) // which was read from JSON
		o.Reason = readObject(body, &o.Note)
		o.NoteOf, o.Note.Keyed = row.ID, key
	case exchange.DoCase:
		if _, named := row.Body["source_case_id"]; !named {
			o.Reason = annona.Invalid("field_required", "in a bulk a case has a source_case_id, by which it is known when it comes again").On("source_case_id")
		}
	}
	return o
}

// update reads an update of an individual or a household, as when it comes alone.
func (in *bulkInput) update(o *exchange.Operation, row *bulkRow) error {
	if err := checkTag(row.IfMatch); err != nil {
		return err
	}
	body, _ := json.Marshal(row.Body) // which was read from JSON
	values, err := readPatch(body)
	if err != nil {
		return err
	}
	q, _ := written(Asked{Purpose: in.Purpose}.question(row.Dataset), encode.Options{Format: encode.JSON})
	o.Update = exchange.Update{Question: q, ID: row.ID, Read: row.IfMatch, Values: values, Reason: row.Reason, Key: row.Key}
	return nil
}
