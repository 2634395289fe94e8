package rest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// Files reads the files of exports. Package jobs has it.
type Files interface {
	// Open returns a part as it is downloaded. Code regenerate: the file is lost.
	Open(ctx context.Context, job *annona.ExportJob, part *annona.ExportPart, recipient string) (io.ReadSeeker, error)
}

const exportsPath = "/v1/exports"

func (s *Server) registerExports() {
	register(s, http.MethodPost, exportsPath, "startExport", "Start an export that runs by itself",
		"Reads what an export specification says, as of this moment, and makes files of it. Ask for its state at the Location until it is complete; then its manifest names the files.\n\n"+
			"The same Idempotency-Key again, with the same body, is the same export. With position, that of an earlier export by the same version of the specification, the records are read as they were there: the same rows, but for those that you may not see any more.",
		s.startExport, http.StatusConflict, http.StatusGone, http.StatusRequestEntityTooLarge)
	register(s, http.MethodGet, exportsPath, "listExports", "The exports of your agreement", "The newest first, at most a thousand.", s.listExports)
	register(s, http.MethodGet, exportsPath+"/{id}", "getExport", "How an export stands",
		"An unknown id and one of another agreement are the same 404.", s.showExport)
	register(s, http.MethodDelete, exportsPath+"/{id}", "cancelExport", "Cancel an export, or let its files go",
		"Its files and their key are deleted within a minute; nobody gets them from now on. An export that has ended otherwise stays as it is.", s.cancelExport)
	register(s, http.MethodGet, exportsPath+"/{id}/manifest", "exportManifest", "The manifest of an export",
		"A signed note: what the files hold, under which agreement they left, and the hash of each. It stays when the files have expired. 409 export_not_complete until the export is complete.",
		s.exportManifest, http.StatusConflict, http.StatusGone)
	register(s, http.MethodGet, exportsPath+"/{id}/files/{name}", "exportFile", "A file of an export",
		"Takes Range and If-Range, so that a download that broke off goes on where it did. The header Repr-Digest and the manifest have the hash of the whole file. "+
			"Each download is decided anew and stands in the ledger. 410 regenerate: somebody in the file was erased or restricted or has withdrawn since, or the agreement has changed; start the export again.",
		s.exportFile, http.StatusConflict, http.StatusGone, http.StatusRequestedRangeNotSatisfiable)
}

// register registers an operation on exports.
func register[In, Out any](s *Server, method, path, id, summary, description string, handler func(context.Context, *In) (*Out, error), errors ...int) {
	o := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Description: description}
	switch method {
	case http.MethodPost:
		o.DefaultStatus, o.MaxBodyBytes, o.BodyReadTimeout = http.StatusAccepted, maxBody, readTimeout
	case http.MethodDelete:
		o.DefaultStatus = http.StatusNoContent
	}
	if path == exportsPath+"/{id}/files/{name}" {
		o.Responses = documents("The file, or the range of it.", "application/octet-stream")
		o.Responses["206"] = &huma.Response{Description: "The range."}
		o.Responses["304"] = &huma.Response{Description: "You have it."}
	}
	if path == exportsPath+"/{id}/manifest" {
		o.Responses = documents("The manifest.", "text/plain")
	}
	huma.Register(s.api, tagged("exports", people(o, errors...)), handler)
}

// ExportStatus is how an export stands.
type ExportStatus struct {
	ID            string     `json:"id" doc:"Id of the export."`
	Specification string     `json:"specification" example:"monthly-transfer@2" doc:"What it follows."`
	Dataset       string     `json:"dataset" example:"individuals" doc:"What its rows are."`
	Purpose       string     `json:"purpose" doc:"For which purpose it was asked."`
	State         string     `json:"state" doc:"waiting, running, complete, failed, cancelled or expired (it was complete, and its files are gone)."`
	Code          string     `json:"code,omitempty" doc:"Why it failed, or why it waits to be tried again." example:"files_full"`
	Since         string     `json:"since,omitempty" doc:"The position behind which a delta begins. Absent: the export has everything."`
	Position      string     `json:"position" doc:"Where the log stood. Another export by this version can be read there. Once an export with mode: delta is complete, the next one begins there."`
	Rows          int64      `json:"rows" doc:"Rows that are written."`
	RowsTotal     *int64     `json:"rows_total,omitempty" doc:"Rows that there were to write when it began."`
	Bytes         int64      `json:"bytes" doc:"Bytes of files that are written."`
	Rate          float64    `json:"rows_per_second,omitempty" doc:"Rows written in a second, from the beginning on."`
	AskedAt       time.Time  `json:"asked_at" doc:"When it was asked for."`
	StartedAt     *time.Time `json:"started_at,omitempty" doc:"When it began."`
	EstimatedEnd  *time.Time `json:"estimated_end,omitempty" doc:"When it will be complete at this rate."`
	EndedAt       *time.Time `json:"ended_at,omitempty" doc:"When it ended."`
	ExpiresAt     *time.Time `json:"expires_at,omitempty" doc:"When its files are deleted."`
}

type startExportInput struct {
	Key  string `header:"Idempotency-Key" doc:"A key of your own for this export: when no answer reached you, send the same again with the same key."`
	Body struct {
		Specification string `json:"specification" maxLength:"60" example:"monthly-transfer" doc:"Name of an export specification of your agreement."`
		Version       int    `json:"version,omitempty" minimum:"1" doc:"Its version. Without it: the latest."`
		Position      string `json:"position,omitempty" doc:"Position of an earlier export by that version. Without it: now."`
		Since         string `json:"since,omitempty" doc:"For a specification with mode: delta: the position of the manifest behind which the export begins, previous (the latest complete export by this specification) or beginning (everything). Without it: previous, and everything when there is none that the log reaches back to; the manifest says which."`
	}
}

type startExportOutput struct {
	Location string `header:"Location" doc:"Where to ask how it stands."`
	Body     ExportStatus
}

func (s *Server) startExport(ctx context.Context, in *startExportInput) (*startExportOutput, error) {
	job, _, err := s.Gate.StartExport(ctx, visitOf(ctx).caller, exchange.ExportRequest{
		Spec: in.Body.Specification, Version: in.Body.Version, Position: in.Body.Position, Since: in.Body.Since, Key: in.Key,
	})
	if err != nil {
		return nil, err
	}
	return &startExportOutput{Location: exportsPath + "/" + job.ID.String(), Body: s.exportStatus(&job)}, nil
}

type exportsOutput struct {
	Body struct {
		Exports []ExportStatus `json:"exports" nullable:"false"`
	}
}

func (s *Server) listExports(ctx context.Context, _ *struct{}) (*exportsOutput, error) {
	jobs, err := s.Gate.ListExports(ctx, visitOf(ctx).caller)
	out := &exportsOutput{}
	out.Body.Exports = make([]ExportStatus, len(jobs))
	for i := range jobs {
		out.Body.Exports[i] = s.exportStatus(&jobs[i])
	}
	return out, err
}

type exportInputID struct {
	ID string `path:"id" example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8" doc:"Id of the export."`
}

type exportStatusOutput struct{ Body ExportStatus }

func (s *Server) showExport(ctx context.Context, in *exportInputID) (*exportStatusOutput, error) {
	job, err := s.Gate.ExportStatus(ctx, visitOf(ctx).caller, in.ID)
	if err != nil {
		return nil, err
	}
	return &exportStatusOutput{s.exportStatus(&job)}, nil
}

func (s *Server) cancelExport(ctx context.Context, in *exportInputID) (*struct{}, error) {
	return nil, s.Gate.CancelExport(ctx, visitOf(ctx).caller, in.ID)
}

func (s *Server) exportStatus(job *annona.ExportJob) ExportStatus {
	e := ExportStatus{
		ID: job.ID.String(), Specification: job.Spec + "@" + strconv.Itoa(job.Version), Dataset: job.Dataset, Purpose: job.Purpose,
		State: string(job.State), Code: job.Code, Position: s.Gate.ExportPosition(job), Rows: job.Rows, Bytes: job.Bytes, AskedAt: job.AskedAt.UTC(),
		Since: s.Gate.ExportSince(job), StartedAt: timeOrNil(job.StartedAt), EndedAt: timeOrNil(job.EndedAt), ExpiresAt: timeOrNil(job.ExpiresAt),
	}
	if len(job.Plan) > 0 || job.State == annona.ExportComplete {
		e.RowsTotal = &job.Total
	}
	until := job.EndedAt
	if until.IsZero() {
		until = s.Clock()
	}
	if took := until.Sub(job.StartedAt).Seconds(); !job.StartedAt.IsZero() && took > 0 {
		e.Rate = float64(int64(float64(job.Rows)/took*10)) / 10
	}
	if job.State == annona.ExportRunning && e.Rate > 0 && job.Total > job.Rows {
		end := s.Clock().UTC().Add(time.Duration(float64(job.Total-job.Rows) / e.Rate * float64(time.Second))).Truncate(time.Second)
		e.EstimatedEnd = &end
	}
	return e
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) exportManifest(ctx context.Context, in *exportInputID) (*reply, error) {
	manifest, err := s.Gate.ExportManifest(ctx, visitOf(ctx).caller, in.ID)
	if err != nil {
		return nil, err
	}
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		b := s.newBody(w.(*response), r, http.Header{"Content-Type": {"text/plain; charset=utf-8"}})
		defer b.release()
		_, err := b.Write([]byte(manifest))
		if err == nil {
			err = b.complete()
		}
		s.end(b, r, err)
	}}, nil
}

type exportFileInput struct {
	ID    string `path:"id" example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8" doc:"Id of the export."`
	Name  string `path:"name" maxLength:"120" doc:"Name of the file, as the manifest has it."`
	Range string `header:"Range" doc:"Which bytes of it: bytes=1000000-"`
}

// plainRange is a range as the ledger repeats it.
var plainRange = regexp.MustCompile(`^bytes=[0-9]{0,18}-[0-9]{0,18}$`)

func (s *Server) exportFile(ctx context.Context, in *exportFileInput) (*reply, error) {
	if s.Files == nil {
		return nil, annona.Unavailable("files_unavailable", "this registry keeps no files of exports")
	}
	piece := "all"
	if in.Range != "" {
		piece = "several"
		if plainRange.MatchString(in.Range) {
			piece = in.Range
		}
	}
	v := visitOf(ctx)
	fetch, err := s.Gate.OpenExport(ctx, v.caller, in.ID, in.Name, piece)
	if err != nil {
		return nil, err
	}
	v.recognized(fetch.Job.ID, exchange.Question{Dataset: fetch.Job.Dataset, Purpose: fetch.Job.Purpose})
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		s.serveFile(w.(*response), r, fetch)
	}}, nil
}

// serveFile answers with a file, or a range of it. A body that breaks off is shorter than its
// Content-Length: the client sees that.
func (s *Server) serveFile(w *response, r *http.Request, fetch *exchange.Fetch) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.draining, func() { cancel(errShuttingDown) })()
	content, err := s.Files.Open(ctx, &fetch.Job, &fetch.Part, fetch.Recipient)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	sent := fetch.Part.Content
	if fetch.Recipient != "" {
		sent = fetch.Part.Stored
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fetch.Part.Name}))
	h.Set("ETag", `"`+hex.EncodeToString(sent.SHA256)+`"`)
	h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sent.SHA256)+":")
	out := &timedWriter{wire: wire{out: w, control: http.NewResponseController(w), timeout: s.WriteTimeout}}
	from := &noticed{ReadSeeker: content}
	done := askEachSecond(ctx, fetch.Ask, func(err error) {
		cancel(err)
		out.wire.stop()
	})
	http.ServeContent(out, r, "", time.Time{}, from)
	done()
	if err := errors.Join(from.failed, out.failed); err != nil {
		if why := context.Cause(ctx); why != nil && r.Context().Err() == nil {
			err = why
		}
		visitOf(r.Context()).failure = err
		out.wire.stop()
		panic(http.ErrAbortHandler)
	}
}

// askEachSecond asks whether a download may go on, also while a write waits for a slow reader, and cuts it
// when it may not. done ends the asking: nothing is cut behind it.
func askEachSecond(ctx context.Context, may func(context.Context) error, cut func(error)) (done func()) {
	asking, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-asking.Done():
				return
			case <-tick.C:
			}
			if err := may(asking); err != nil && asking.Err() == nil {
				cut(err)
				return
			}
		}
	}()
	return func() {
		end()
		<-ended
	}
}

// timedWriter is a response in which each chunk has a deadline.
type timedWriter struct {
	wire
	failed error
}

func (t *timedWriter) Header() http.Header    { return t.out.Header() }
func (t *timedWriter) WriteHeader(status int) { t.out.WriteHeader(status) }

func (t *timedWriter) Write(p []byte) (int, error) {
	n, err := t.wire.Write(p)
	t.failed = err
	return n, err
}

// noticed is a file that notes why it cannot be read.
type noticed struct {
	io.ReadSeeker
	failed error
}

func (w *noticed) Read(p []byte) (int, error) {
	n, err := w.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed = err
	}
	return n, err
}
