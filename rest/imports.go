package rest

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// Imports takes in loads. Package intake has one.
type Imports interface {
	// Import takes in the rows of a load, which are of that format, csv or ndjson, and begins it. An
	// error of rows is returned as it is.
	Import(ctx context.Context, caller annona.Caller, request exchange.LoadRequest, format string, rows io.Reader) (exchange.LoadInfo, error)
}

const importsPath = "/v1/imports"

func (s *Server) registerImports() {
	if s.Imports == nil {
		return
	}
	rows := &huma.Schema{Type: huma.TypeString, Description: "The rows, in UTF-8, as the mapping describes them."}
	huma.Register(s.api, registrars(huma.Operation{
		Method: http.MethodPost, Path: importsPath, OperationID: "import", DefaultStatus: http.StatusAccepted,
		Summary: "Load records of a source",
		Description: "Takes in the rows of a source, reads them with a mapping that the registry has put on file, and answers once all of them have arrived. The load then runs by itself: " +
			"ask for its report at the Location until its state is no longer running. An upload that breaks off has done nothing.\n\n" +
			"While another load of the source runs, 409 load_running. The same Idempotency-Key again, with the same rows and parameters, is the same load, whatever became of it.\n\n" +
			"The body may be compressed: Content-Encoding gzip or zstd.",
		RequestBody: &huma.RequestBody{Required: true, Description: "The rows.", Content: map[string]*huma.MediaType{
			"text/csv": {Schema: rows}, "application/x-ndjson": {Schema: rows},
		}},
	}, http.StatusConflict, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType), s.takeImport)
	huma.Register(s.api, registrars(huma.Operation{
		Method: http.MethodGet, Path: importsPath, OperationID: "imports",
		Summary: "The loads of your sources", Description: "The newest first.",
	}), s.listImports)
	huma.Register(s.api, registrars(huma.Operation{
		Method: http.MethodGet, Path: importsPath + "/{id}", OperationID: "importReport",
		Summary:     "The report of a load",
		Description: "Counts and codes, and where in your file rows stood that were refused; nothing of what stood in them. A load of another registrar's source is the same 404 as none.",
	}), s.showImport)
}

// registrars completes an operation of registrars.
func registrars(o huma.Operation, errors ...int) huma.Operation {
	o = people(o, errors...)
	o.Tags = []string{"imports"}
	return o
}

// ImportReport is a load as its registrar is told of it: of its own rows, and nothing that would tell
// what other sources report.
type ImportReport struct {
	ID         string         `json:"id" doc:"Id of the load."`
	Source     string         `json:"source" doc:"Whose records were loaded." example:"district-office"`
	Mode       string         `json:"mode" doc:"upsert, full, or undo when the registry took another load back."`
	State      string         `json:"state" doc:"running, finished, failed (it broke off; what it had written stays: load the same rows again), refused (nothing of it was written) or undone."`
	Code       string         `json:"code,omitempty" doc:"Why it failed or was refused." example:"delete_guard"`
	Mapping    string         `json:"mapping,omitempty" doc:"The mapping that the rows were read with, and its version." example:"office-people@2"`
	AsOf       time.Time      `json:"as_of" doc:"The moment for which the source reports."`
	StartedAt  time.Time      `json:"started_at" doc:"When it began."`
	FinishedAt *time.Time     `json:"finished_at,omitempty" doc:"When it ended."`
	Seconds    float64        `json:"seconds" doc:"How long it took, or has been taking."`
	Undoes     string         `json:"undoes,omitempty" doc:"Of an undo: id of the load that was taken back."`
	Written    int            `json:"written" doc:"Records that came on file or changed."`
	Unchanged  int            `json:"unchanged" doc:"Records that are as they were, or are not to be on file."`
	Stale      int            `json:"stale" doc:"Records that were left as they are because you have reported something younger."`
	Withdrawn  int            `json:"withdrawn" doc:"Of a full load: records of yours that no row names any more, and that you report no longer."`
	Held       int            `json:"held,omitempty" doc:"Of a full load with refused rows: records that no row names and that were kept, because a refused row may be theirs."`
	Missing    map[string]int `json:"missing,omitempty" doc:"Of a full load: how many of your records no row names, by dataset."`
	Live       map[string]int `json:"live,omitempty" doc:"Of a full load: how many records of yours were on file, by dataset."`
	Repeated   int            `json:"repeated,omitempty" doc:"Rows that were left out because an earlier row of the load has the same key and says something else."`
	Repeats    []ImportRepeat `json:"repeats,omitempty" doc:"Where these rows stood, the first thousand."`
	Rows       int            `json:"rows" doc:"Rows read, refused ones included."`
	Rejected   int            `json:"rejected" doc:"Rows that were refused."`
	Refused    map[string]int `json:"refused,omitempty" doc:"Refused rows by why."`
	Rejects    []ImportReject `json:"rejects,omitempty" doc:"Where refused rows stood, the first thousand."`
	Flags      map[string]int `json:"flags,omitempty" doc:"Quality flags that the rows raised, by code and field." example:"{\"code_unmapped:sex\":3}"`
	Unmapped   map[string]int `json:"unmapped,omitempty" doc:"Values that the mapping has no code for, by field."`
}

// ImportReject says where a refused row stood.
type ImportReject struct {
	Line   int    `json:"line" doc:"Line of the rows, from 1; of CSV, the header is the first."`
	Column string `json:"column,omitempty" doc:"Column of the mapping."`
	Code   string `json:"code" doc:"Why it was refused." example:"key_missing"`
}

// ImportRepeat says where a row stood whose key an earlier one has.
type ImportRepeat struct {
	Line  int `json:"line" doc:"Line that was left out."`
	First int `json:"first" doc:"Line that counts."`
}

type importInput struct {
	Mapping string `query:"mapping" required:"true" example:"office-people" doc:"The mapping that reads the rows: its name, for its latest version, or name@version."`
	Source  string `query:"source" example:"district-office" doc:"The source, to be sure: it must be that of the mapping."`
	Mode    string `query:"mode" enum:"upsert,full" doc:"upsert: what the rows say is written. full: the rows are all that the source has, and whom they do not name is withdrawn. Without it: upsert."`
	AsOf    string `query:"as_of" example:"2026-01-31" doc:"Day or instant for which the source reports; now without it. What you have reported for a later one stays."`
	Guard   string `query:"delete_guard" example:"2%" doc:"Of a full load: how many of the source's records may be withdrawn at most; above it nothing at all is applied. Without it: what the agreement says, and 2% at most."`
	Key     string `header:"Idempotency-Key" doc:"A key of your own for this load: when no answer reached you, send the same again with the same key."`

	Streamed
}

type importOutput struct {
	Location string `header:"Location"`
	Body     ImportReport
}

// takeImport takes in a load.
func (s *Server) takeImport(ctx context.Context, in *importInput) (*importOutput, error) {
	request, err := in.load()
	if err != nil {
		return nil, err
	}
	format, err := rowFormat(in.request.Header)
	if err != nil {
		return nil, err
	}
	rows, err := s.newUpload(in.request, in.answer)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	info, err := s.Imports.Import(ctx, visitOf(ctx).caller, request, format, rows)
	http.NewResponseController(in.answer).SetWriteDeadline(time.Now().Add(s.WriteTimeout)) // the upload has used up its own
	if err != nil {
		return nil, err
	}
	return &importOutput{Location: importsPath + "/" + info.ID.String(), Body: s.report(info)}, nil
}

// load reads what is asked for.
func (in *importInput) load() (exchange.LoadRequest, error) {
	r := exchange.LoadRequest{Mapping: in.Mapping, Source: in.Source, Key: in.Key, Order: exchange.LoadOrder{Mode: in.Mode}}
	if in.Mapping == "" {
		return r, annona.Invalid("mapping_missing", "name the mapping that reads the rows").On("mapping")
	}
	if in.Mode != "" && in.Mode != exchange.ModeUpsert && in.Mode != exchange.ModeFull {
		return r, annona.Invalid("mode_unknown", "a load has the mode upsert or full").On("mode")
	}
	if keys := in.request.Header.Values("Idempotency-Key"); len(keys) > 1 {
		return r, annona.Invalid("header_repeated", "give one key").On("Idempotency-Key")
	}
	if in.AsOf != "" {
		at, err := momentOf(in.AsOf)
		if err != nil {
			return r, err
		}
		r.Order.AsOf = at
	}
	if in.Guard != "" {
		var guard annona.Percent
		if err := guard.UnmarshalText([]byte(in.Guard)); err != nil {
			return r, annona.Invalid("percent_malformed", "a share is written 2%%, from 0%% to 100%%; in a URL as 2%%25").On("delete_guard")
		}
		if in.Mode != exchange.ModeFull {
			return r, annona.Invalid("guard_misplaced", "only a load of the mode full has a delete guard").On("delete_guard")
		}
		r.Guard = &guard
	}
	return r, nil
}

// momentOf reads a day, which means its beginning in UTC, or an instant.
func momentOf(text string) (time.Time, error) {
	if day, err := annona.ParseDate(text); err == nil {
		return day.Time(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, annona.Invalid("as_of_malformed", "a moment is written 2026-01-31 or 2026-01-31T18:00:00Z").On("as_of")
	}
	return at, nil
}

// rowFormat reads of which format the rows are.
func rowFormat(h http.Header) (string, error) {
	unsupported := refused(http.StatusUnsupportedMediaType,
		annona.Invalid("unsupported_media_type", "send the rows as text/csv or application/x-ndjson, in UTF-8").On("Content-Type"))
	mediaType, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || len(h.Values("Content-Type")) != 1 {
		return "", unsupported
	}
	if charset, given := parameters["charset"]; given && !strings.EqualFold(charset, "utf-8") {
		return "", unsupported
	}
	switch mediaType {
	case "text/csv":
		return "csv", nil
	case "application/x-ndjson":
		return "ndjson", nil
	}
	return "", unsupported
}

type importsInput struct {
	Source string `query:"source" example:"district-office" doc:"Loads of this source only."`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"200" doc:"How many."`
}

type importsOutput struct {
	Body struct {
		Imports []ImportReport `json:"imports" doc:"The loads."`
	}
}

// listImports lists the loads of a registrar's sources.
func (s *Server) listImports(ctx context.Context, in *importsInput) (*importsOutput, error) {
	if in.Limit < 1 || in.Limit > 200 {
		return nil, annona.Invalid("limit_out_of_range", "a list has 1 to 200 loads").On("limit")
	}
	loads, err := s.Gate.ListLoads(ctx, visitOf(ctx).caller, in.Source, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &importsOutput{}
	out.Body.Imports = make([]ImportReport, len(loads))
	for i, info := range loads {
		out.Body.Imports[i] = s.report(info)
		out.Body.Imports[i].Rejects, out.Body.Imports[i].Repeats = nil, nil // each report has its own
	}
	return out, nil
}

type importIDInput struct {
	ID string `path:"id" example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8" doc:"Id of the load."`
}

type importReportOutput struct{ Body ImportReport }

var errNoImport = annona.NotFound("no such load, or not one of your sources")

// showImport answers with the report of a load.
func (s *Server) showImport(ctx context.Context, in *importIDInput) (*importReportOutput, error) {
	id, malformed := annona.ParseUID(in.ID)
	info, err := s.Gate.ShowLoad(ctx, visitOf(ctx).caller, id)
	if annona.KindOf(err) == annona.KindNotFound || err == nil && malformed != nil {
		err = errNoImport
	}
	if err != nil {
		return nil, err
	}
	return &importReportOutput{Body: s.report(info)}, nil
}

// report is what a registrar is told of a load. What others report of the same people is not part of
// it: whether a record came on file or changed, or is reported by others too, would tell that.
func (s *Server) report(info exchange.LoadInfo) ImportReport {
	r := info.Report
	told := ImportReport{
		ID: info.ID.String(), Source: info.Source, Mode: info.Mode, State: info.State, Code: r.Code, Mapping: r.Mapping,
		AsOf: info.AsOf.UTC(), StartedAt: info.StartedAt.UTC(), Seconds: info.Seconds(s.Clock()),
		Written: r.Created + r.Changed, Unchanged: r.Unchanged + r.Erased, Stale: r.Stale,
		Withdrawn: r.Deleted + r.TakenBack + r.Kept, Held: r.Held, Missing: r.Missing, Live: r.Live,
	}
	if !info.FinishedAt.IsZero() {
		at := info.FinishedAt.UTC()
		told.FinishedAt = &at
	}
	if info.Undoes != (annona.UID{}) {
		told.Undoes = info.Undoes.String()
	}
	reading := r.Counted()
	told.Rows, told.Rejected, told.Refused, told.Flags, told.Unmapped = reading.Rows, reading.Rejected, reading.Refused, reading.Flags, reading.Unmapped
	told.Repeated = r.Repeated
	for _, again := range r.Repeats {
		told.Repeats = append(told.Repeats, ImportRepeat{Line: again.Line, First: again.First.Line})
	}
	for _, row := range reading.RefusedRows {
		told.Rejects = append(told.Rejects, ImportReject{Line: row.Line, Column: row.Column, Code: row.Reason})
	}
	return told
}
