package exchange

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// ExportRequest asks for an export that runs by itself and becomes files.
type ExportRequest struct {
	Spec     string // name of a specification of the caller's agreement
	Version  int    // 0: the latest
	Position string // of an earlier export by the same version; empty: now
	// Since is for a specification in the mode delta: the position of a manifest, SincePrevious or SinceBeginning.
	// Empty: since the previous export, and everything when there is none that the log reaches back to.
	Since string
	Key   string // of the client's own: the same again is the same export; empty: none
}

// The bounds of exports that become files.
const (
	DefaultPartRows = 50_000
	maxPartRows     = 1_000_000
	DefaultKeep     = 72 * time.Hour
	maxKeepHours    = 30 * 24
	maxExports      = 1000 // listed
)

// StartExport decides an export by a specification and puts it in the queue: what it will be read at is
// fixed from now on, who may be in it is asked again for every page. repeated: the client has asked for
// it before, with the same key.
func (x *Exchange) StartExport(ctx context.Context, caller annona.Caller, r ExportRequest) (job annona.ExportJob, repeated bool, err error) {
	order := annona.ExportOrder{Asked: digestOf("export", r.Spec, strconv.Itoa(r.Version), r.Position, r.Since)}
	if order.Key, err = x.requestKey(caller, r.Key); err != nil {
		return job, false, err
	}
	if job, repeated, err = x.askedBefore(ctx, caller, order); err != nil || repeated {
		return job, repeated, err
	}
	e, spec, err := x.ExportBySpec(ctx, caller, r.Spec, r.Version)
	if err != nil {
		return job, false, err
	}
	if err := x.order(ctx, e, &spec, r, &order); err != nil {
		return job, false, err
	}
	id := annona.NewUID()
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutExportJob(ctx, id, order); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, exportFacts(annona.VerbStartExport, id, &order)))
	})
	if errors.Is(err, annona.ErrExportKnown) { // somebody was faster
		return x.askedBefore(ctx, caller, order)
	}
	if err != nil {
		return job, false, err
	}
	job, err = x.exportOf(ctx, caller, id)
	return job, false, err
}

// requestKey returns the hash of the key of a request; nil when it has none.
func (x *Exchange) requestKey(caller annona.Caller, key string) ([]byte, error) {
	if key == "" {
		return nil, nil
	}
	if len(key) > longestKey || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, annona.Invalid("key_malformed", "the key of a request is 1 to %d visible characters of ASCII", longestKey).On("Idempotency-Key")
	}
	digest := x.Vault.Digest([]byte("export request\x00" + caller.Client.String() + "\x00" + key))
	return digest[:], nil
}

// askedBefore returns the export that the client has asked for with the same key.
func (x *Exchange) askedBefore(ctx context.Context, caller annona.Caller, order annona.ExportOrder) (job annona.ExportJob, repeated bool, err error) {
	if order.Key == nil {
		return job, false, nil
	}
	if err := x.knows(ctx, caller); err != nil {
		return job, false, err
	}
	earlier, err := x.ExportJobs.ExportJobByKey(ctx, caller.Client, order.Key)
	switch {
	case err != nil || earlier == nil:
		return job, false, err
	case !bytes.Equal(earlier.Asked, order.Asked) || earlier.Agreement != caller.Agreement:
		return job, false, annona.ErrExportKnown
	default:
		return *earlier, true, nil
	}
}

// order fills in what an export that was decided is to do.
func (x *Exchange) order(ctx context.Context, e *Export, spec *annona.ExportSpec, r ExportRequest, o *annona.ExportOrder) error {
	if x.Files == nil {
		return annona.Unavailable("files_unavailable", "this registry keeps no files of exports; stream the export instead")
	}
	state, err := x.Log.LogState(ctx)
	if err != nil {
		return err
	}
	a, caller := e.i.grant.Agreement, e.i.caller
	o.Spec, o.Version, o.Dataset, o.Purpose, o.Schema = spec.Name, spec.Version, spec.Dataset, spec.Purpose, e.i.schema
	o.Agreement, o.AgreementVersion, o.Partner = a.Name, a.Version, a.Partner.Name
	o.Client, o.Strength, o.Network, o.Acting = caller.Client, caller.Strength, caller.Network, caller.Acting
	if caller.Token != (annona.TokenHash{}) {
		token, err := x.Standings.TokenByHash(ctx, caller.Token)
		if err != nil {
			return err
		}
		if token == nil {
			return annona.Unauthenticated("invalid_token", "the access token is not on file any more")
		}
		o.Within, o.Bound = token.Within, boundTo(token)
	}
	o.LogEpoch, o.Terms, o.AskedAt = state.Epoch, e.i.exportTerms(spec, state.Areas), x.Clock().UTC()
	o.At = annona.Moment{Seq: state.Head, Day: x.today(o.AskedAt)}
	if o.PartRows = spec.PartRows; o.PartRows == 0 {
		o.PartRows = DefaultPartRows
	}
	memory := x.specMemory(e.i, spec)
	o.Memory, o.Areas = memory[:], state.Areas
	if r.Position != "" {
		if o.At, err = x.openExportPosition(o, r.Position, state); err != nil {
			return err
		}
	}
	o.Since, err = x.since(ctx, spec, r.Since, o, state)
	return err
}

// ExportPosition is where an export stands in the log. Another one by the same version of its
// specification can be read there as well, by its agreement in the same role. Of one that is complete and in the
// mode delta it is also where the next one begins, and where FollowSpec goes on.
func (x *Exchange) ExportPosition(j *annona.ExportJob) string {
	if len(j.Reached) > 0 {
		return x.sealReached(j.Memory, j.Reached)
	}
	p := &position{epoch: j.LogEpoch, terms: j.Terms, ranges: []seenRange{{until: noEnd, seq: j.At.Seq, day: j.At.Day}}}
	return x.sealReached(j.Memory, reached{j.Version, p}.encode())
}

// ExportSince is the position behind which an export begins; empty: it has everything.
func (x *Exchange) ExportSince(j *annona.ExportJob) string {
	if len(j.Since) == 0 {
		return ""
	}
	return x.sealReached(j.Memory, j.Since)
}

func (x *Exchange) openExportPosition(o *annona.ExportOrder, token string, state annona.LogState) (at annona.Moment, err error) {
	p, ok := x.openReached(o.Memory, token)
	if ok {
		at, ok = p.moment()
	}
	if !ok || p.version != o.Version {
		return at, annona.Invalid("position_invalid", "position is that of an earlier export by the same version of the specification").On("position")
	}
	if p.epoch != state.Epoch || at.Seq > state.Head || at.Seq < state.Oldest || p.terms != o.Terms {
		return at, errPast()
	}
	return at, nil
}

func exportFacts(verb annona.Verb, id annona.UID, o *annona.ExportOrder) audit.Facts {
	return audit.Facts{
		Verb: verb, Dataset: o.Dataset, Purpose: o.Purpose, Agreement: o.Agreement, AgreementVersion: o.AgreementVersion, Partner: o.Partner,
		Specification: o.Spec + "@" + strconv.Itoa(o.Version), Details: map[string]string{"export": id.String()},
	}
}

// ListExports returns the exports of the caller's agreement, the newest first and at most a thousand; to
// the operator those of all.
func (x *Exchange) ListExports(ctx context.Context, caller annona.Caller) ([]annona.ExportJob, error) {
	if err := x.knows(ctx, caller); err != nil {
		return nil, err
	}
	agreement := caller.Agreement
	if caller.IsOperator() {
		agreement = ""
	}
	return x.ExportJobs.ExportJobs(ctx, agreement, maxExports)
}

// ExportStatus returns an export of the caller's agreement; to the operator any.
func (x *Exchange) ExportStatus(ctx context.Context, caller annona.Caller, id string) (annona.ExportJob, error) {
	if err := x.knows(ctx, caller); err != nil {
		return annona.ExportJob{}, err
	}
	uid, err := annona.ParseUID(id)
	if err != nil {
		return annona.ExportJob{}, errNoExport
	}
	return x.exportOf(ctx, caller, uid)
}

var errNoExport = annona.NotFound("no export with this id is on file, or it is not one of your agreement").On("id")

func (x *Exchange) exportOf(ctx context.Context, caller annona.Caller, id annona.UID) (annona.ExportJob, error) {
	job, err := x.ExportJobs.ExportJob(ctx, id)
	switch {
	case err != nil:
		return annona.ExportJob{}, err
	case job == nil || !caller.IsOperator() && job.Agreement != caller.Agreement:
		return annona.ExportJob{}, errNoExport
	default:
		return *job, nil
	}
}

// CancelExport ends an export and lets its files go: of a client that may export the same, and of the
// operator. One that has ended otherwise stays as it is.
func (x *Exchange) CancelExport(ctx context.Context, caller annona.Caller, id string) error {
	job, err := x.ExportStatus(ctx, caller, id)
	if err != nil {
		return err
	}
	if !caller.IsOperator() {
		if err := x.MayFetch(ctx, caller, &job); err != nil {
			return err
		}
	}
	if !slices.Contains([]annona.ExportState{annona.ExportWaiting, annona.ExportRunning, annona.ExportComplete}, job.State) {
		return nil
	}
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.CancelExport(ctx, job.ID); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, exportFacts(annona.VerbCancelExport, job.ID, &job.ExportOrder)))
	})
}

// Fetch is a file of an export on its way to somebody.
type Fetch struct {
	Job       annona.ExportJob
	Part      annona.ExportPart
	Recipient string // public key that the file is sealed to; empty: it leaves as it was written

	x       *Exchange
	caller  annona.Caller
	weighed *annona.Weighed
	epoch   int64 // of the standings under which everybody in it was looked at
}

// OpenExport decides whether the caller may have a file of an export now, and records that it goes. The
// file is refused when somebody is in it who was erased, restricted or has withdrawn since: code
// regenerate. piece says which bytes are asked for.
func (x *Exchange) OpenExport(ctx context.Context, caller annona.Caller, id, name, piece string) (*Fetch, error) {
	job, err := x.ExportStatus(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	f := &Fetch{Job: job, x: x, caller: caller}
	if err := f.mayHave(ctx); err != nil {
		return nil, err
	}
	if f.Part, err = x.fileOf(ctx, &job, name); err != nil {
		return nil, err
	}
	if f.epoch, err = x.Standings.Epoch(ctx); err != nil {
		return nil, err
	}
	if err := f.look(ctx); err != nil {
		return nil, err
	}
	facts := exportFacts(annona.VerbFetchExport, job.ID, &job.ExportOrder)
	facts.Rows = f.Part.Rows
	facts.Details["bytes"], facts.Details["file"] = piece, name
	return f, x.disclose(ctx, x.administration(caller, facts))
}

// Ask says why a download that runs may not go on: who downloads may not have the export any more, it was
// cancelled, or somebody in the file has been erased or restricted or has withdrawn since. Whoever sends the file asks each second.
func (f *Fetch) Ask(ctx context.Context) error {
	if err := f.mayHave(ctx); err != nil {
		return err
	}
	job, err := f.x.exportOf(ctx, f.caller, f.Job.ID)
	if err == nil {
		err = fetchable(&job)
	}
	if err != nil {
		return err
	}
	epoch, err := f.x.Standings.Epoch(ctx) // before everybody is looked at
	if err != nil || epoch == f.epoch {
		return err
	}
	if err := f.look(ctx); err != nil {
		return err
	}
	f.epoch = epoch
	return nil
}

// look looks at everybody who is in the file, under the terms of this moment.
func (f *Fetch) look(ctx context.Context) error {
	run, err := f.x.resume(ctx, f.caller, f.Job, f.weighed)
	if err != nil {
		return outdated(err)
	}
	f.Recipient = run.spec.Recipient
	if err := overCeiling(f.Job.Rows, run.e.i.grant.RowCeiling); err != nil {
		return err
	}
	left, err := run.Left(ctx, f.Part)
	if err == nil && left {
		err = errRegenerate
	}
	return err
}

// MayFetch decides whether somebody may have what an export holds. What it denies is entered in the ledger.
func (x *Exchange) MayFetch(ctx context.Context, caller annona.Caller, job *annona.ExportJob) error {
	return (&Fetch{Job: *job, x: x, caller: caller}).mayHave(ctx)
}

// mayHave decides it for a download. What was found out about the request when it began holds until it ends.
func (f *Fetch) mayHave(ctx context.Context) error {
	q := Question{Dataset: f.Job.Dataset, Purpose: f.Job.Purpose, atMost: atMost(max(f.Job.Total, f.Job.Rows)), weighed: f.weighed}
	grant, err := f.x.decide(ctx, f.x.Standings, f.caller, annona.VerbExport, q)
	f.x.denied(f.x.Standings, f.caller, annona.VerbExport, q.Dataset, err)
	if err == nil {
		f.weighed = cmp.Or(grant.Decision.Weighed, &annona.Weighed{})
	}
	return err
}

// fileOf returns a part of an export by the name of its file.
func (x *Exchange) fileOf(ctx context.Context, job *annona.ExportJob, name string) (annona.ExportPart, error) {
	if err := fetchable(job); err != nil {
		return annona.ExportPart{}, err
	}
	parts, err := x.ExportJobs.ExportParts(ctx, job.ID)
	if err != nil {
		return annona.ExportPart{}, err
	}
	for _, p := range parts {
		if p.Name == name {
			return p, nil
		}
	}
	return annona.ExportPart{}, annona.NotFound("the export has no file of this name; its manifest lists them").On("name")
}

// ExportManifest returns the manifest of an export. It stays when the files are gone.
func (x *Exchange) ExportManifest(ctx context.Context, caller annona.Caller, id string) (string, error) {
	job, err := x.ExportStatus(ctx, caller, id)
	if err != nil {
		return "", err
	}
	if job.Manifest == "" {
		return "", fetchable(&job)
	}
	return job.Manifest, nil
}

// fetchable says why an export has no files at the moment.
func fetchable(job *annona.ExportJob) error {
	switch job.State {
	case annona.ExportComplete:
		return nil
	case annona.ExportWaiting, annona.ExportRunning:
		return annona.Conflict("export_not_complete", "the export is not complete; ask for its state").On("id")
	default:
		return annona.Gone("export_gone", "the files of this export are gone; start another one").On("id")
	}
}

var errRegenerate = annona.Gone("regenerate", "since the file was made, somebody in it has been erased or restricted or has withdrawn, or the agreement has changed; start the export again")

// outdated turns what ends a running export into what it says of one that is complete.
func outdated(err error) error {
	switch annona.CodeOf(err) {
	case "agreement_changed", "resync", "schema_changed":
		return errRegenerate
	default:
		return err
	}
}

// checkFiles checks what a specification says of its files.
func (x *Exchange) checkFiles(spec *annona.ExportSpec) error {
	switch {
	case spec.PartRows < 0 || spec.PartRows > maxPartRows:
		return annona.Invalid("part_rows_out_of_range", "a file has 1 to %d rows", maxPartRows).On("part_rows")
	case spec.KeepHours < 0 || spec.KeepHours > maxKeepHours:
		return annona.Invalid("keep_hours_out_of_range", "files are kept for 1 to %d hours", maxKeepHours).On("keep_hours")
	case !slices.Contains([]string{"", "gzip", "zstd", "none"}, spec.Compression):
		return annona.Invalid("unknown_compression", "compression is gzip, zstd or none").On("compression")
	case spec.Recipient == "" || x.Files == nil:
		return nil
	}
	_, err := x.Files.SealFile(io.Discard, annona.UID{}, spec.Recipient)
	return err
}
