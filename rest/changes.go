package rest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

type changesInput struct {
	Dataset string   `query:"dataset" enum:"individuals,households" example:"individuals" doc:"Whose changes. Needed without specification."`
	Purpose string   `query:"purpose" example:"eligibility-assessment" doc:"What the data is for: the code of a purpose in your agreement. Needed without specification."`
	Spec    string   `query:"specification" maxLength:"60" example:"monthly-transfer" doc:"Name of an export specification with mode: delta, in the place of dataset, purpose, fields and filter: changes of what it shows, under your names and codes. after is then the position of a manifest, or the one behind its changes."`
	Version int      `query:"version" minimum:"1" doc:"Version of the specification. Without it: the latest."`
	Fields  []string `query:"fields" nullable:"false" example:"individual_id,date_of_birth,sex" doc:"The columns you want, as in a search. The id is always among them. A change of another column is no change for you."`
	Chosen
	Accepts
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Changes in one answer."`
	After string `query:"after" doc:"The position behind the changes that you have, from next or the header Annona-Next. It continues only the same question of the same client. Without it: a first snapshot, in pages, and then what changes."`
	Wait  int    `query:"wait" default:"0" minimum:"0" maximum:"60" doc:"Seconds to wait for a change when there is none. The answer comes with the first one."`
}

// changes answers with the changes of what a client sees since a position.
func (s *Server) changes(ctx context.Context, in *changesInput) (*reply, error) {
	format, err := encode.Negotiate(in.Accept, encode.JSON, encode.NDJSON)
	if err != nil {
		return nil, notAcceptable(err)
	}
	q := exchange.Question{Dataset: in.Dataset, Purpose: in.Purpose, Fields: in.Fields, Filter: in.Filter}
	v := visitOf(ctx)
	waiting, stop := s.untilDrained(ctx)
	defer stop()
	wait, form := time.Duration(in.Wait)*time.Second, exchange.Form{Format: string(format), Layout: string(encode.Nested)}
	if in.Spec != "" {
		return s.changesBySpec(ctx, waiting, in, wait, form)
	}
	if in.Version != 0 {
		return nil, annona.Invalid("version_unsuitable", "version is that of a specification").On("version")
	}
	found, err := s.Gate.Follow(waiting, v.caller, q, in.After, in.Limit, wait, form)
	if err != nil {
		return nil, whyEnded(waiting, ctx, err)
	}
	v.recognized(found.Request, q)
	return s.sendChanges(found, in.Dataset, schemaID(in.Dataset, found.Schema), format), nil
}

// changesBySpec answers with the changes of what a specification shows.
func (s *Server) changesBySpec(ctx, waiting context.Context, in *changesInput, wait time.Duration, form exchange.Form) (*reply, error) {
	if in.Dataset != "" || in.Purpose != "" || len(in.Fields) > 0 || in.Filter != "" {
		return nil, annona.Invalid("specification_alone", "the specification says dataset, purpose, fields and filter").On("specification")
	}
	v := visitOf(ctx)
	found, spec, err := s.Gate.FollowSpec(waiting, v.caller, in.Spec, in.Version, in.After, in.Limit, wait, form)
	if err != nil {
		return nil, whyEnded(waiting, ctx, err)
	}
	v.recognized(found.Request, exchange.Question{Dataset: spec.Dataset, Purpose: spec.Purpose})
	return s.sendChanges(found, spec.Dataset, spec.Name+"@"+strconv.Itoa(spec.Version), encode.Format(form.Format)), nil
}

// untilDrained returns a context that also ends when the server shuts down: nobody waits then.
func (s *Server) untilDrained(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.draining, func() { cancel(errShuttingDown) })
	return ctx, func() { stop(); cancel(nil) }
}

// whyEnded prefers the shutdown to the failure that it brought about.
func whyEnded(waiting, client context.Context, err error) error {
	if waiting.Err() != nil && client.Err() == nil {
		return context.Cause(waiting)
	}
	return err
}

// sendChanges writes the changes once the gate has released them.
func (s *Server) sendChanges(found *exchange.Changes, dataset, schema string, format encode.Format) *reply {
	o := encode.Options{Format: format, Schema: schema}
	header := answerHeader(dataset, o)
	header.Set("Annona-Next", found.Next)
	list := make([]encode.Change, len(found.List))
	for i, c := range found.List {
		list[i] = encode.Change{Kind: string(c.Kind), From: found.Records, Row: c.Row, Gone: c.Kind.Gone()}
		if c.Kind.Gone() {
			list[i].From = found.IDs
			list[i].Into, list[i].IntoFrom, list[i].IntoEnd = found.Into, c.IntoFrom, c.IntoEnd
		}
	}
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		v := visitOf(r.Context())
		rows := int64(len(list))
		v.format, v.rows = format, rows
		b := s.newBody(w.(*response), r, header)
		defer b.release()
		err := error(errUnwritten)
		defer func() { found.Sent(rows, err) }() // also when writing panics
		if err = encode.WriteChanges(b, list, encode.ChangePage{Schema: o.Schema, Next: found.Next, More: found.More}, format); err == nil {
			err = b.complete()
		}
		s.end(b, r, err)
	}}
}

// registerChanges registers the door of followers.
const changesPath = "/v1/changes"

func (s *Server) registerChanges() {
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: changesPath, OperationID: "followChanges",
		Summary: "What has changed for you",
		Description: "Follows a dataset. Without after, the answers are a first snapshot, in pages; with the position of the answer before, they are what has changed since. " +
			"Applying every change in order makes what a search returns. Only what changes *your* view is a change: a column that you did not ask for, or a person whom you may not see, makes none.\n\n" +
			"A change has a kind: upsert (put the record in the place of the one with its id), entered_scope (likewise, it was not in your sight), left_scope (drop the record with this id) or delete (likewise, the registry has erased or deleted it, or merged it: into names the records that took its place, as far as you see them). " +
			"more says that further changes are there already; otherwise ask again when you like, or with wait.\n\n" +
			"A position can be asked again, also when its answer was lost. One that the log does not reach back to any more is 410 resync: start again without after, and drop what the new snapshot does not name.",
		Responses: withPosition(answers("Changes.", changeFormats)),
	}, http.StatusGone), s.changes)
}

var changeFormats = []string{"application/json", "application/x-ndjson"}

func withPosition(responses map[string]*huma.Response) map[string]*huma.Response {
	responses["200"].Headers["Annona-Next"] = &huma.Param{
		Description: "The position behind these changes, for after. Always there.", Schema: &huma.Schema{Type: huma.TypeString},
	}
	change := &huma.Schema{Type: huma.TypeObject, Required: []string{"kind", "id"}, Properties: map[string]*huma.Schema{
		"kind":   {Type: huma.TypeString, Enum: []any{"upsert", "entered_scope", "left_scope", "delete"}},
		"id":     {Type: huma.TypeString, Description: "The record's id, as your agreement sees it."},
		"into":   {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, Description: "Of a delete: the ids of the records that took its place, those that you see. Not there when there are none."},
		"record": {Type: huma.TypeObject, Description: "The record as it is now, in the form of a search's records; not there when it is gone."},
	}}
	responses["200"].Content["application/json"].Schema = &huma.Schema{Type: huma.TypeObject, Required: []string{"schema", "changes", "next", "more"}, Properties: map[string]*huma.Schema{
		"schema":  {Type: huma.TypeString, Description: "The schema that the records follow."},
		"changes": {Type: huma.TypeArray, Items: change},
		"next":    {Type: huma.TypeString, Description: "The position behind these changes, for after."},
		"more":    {Type: huma.TypeBoolean, Description: "Further changes are there already."},
	}}
	return responses
}
