package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
	"github.com/annona-exchange/annona/schema"
)

func (s *Server) registerUpdateLog(noun, path, name string) {
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: path + "/{id}/updates", OperationID: "updatesOf" + name,
		Summary: "Who has changed what of one " + noun,
		Description: "The newest first: when, by whom, under which purpose, and each field before and after, as far as your agreement shows it. A change of which you would see nothing is not there. " +
			"Another partner, and a source, stand under a name that your agreement alone knows them by; of your own agreement also the client, a pseudonym of the person, the reason and the request. " +
			"Your own requests that have not taken effect are there too, as queued, conflict or rejected, with who has ended them; of a case that your partner has, what others have asked and clashed, too.\n\n" +
			"complete is false when the registry does not keep all changes, or the record has changed more than a thousand times: earlier ones are not told. Your agreement has to say that you may ask (update_log).",
		Responses: answers("A page.", graphTypes()),
	}), s.updateLog(path[len("/v1/"):]))
}

type updateLogInput struct {
	ID      string `path:"id" minLength:"26" maxLength:"26" doc:"The record's id, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"100" doc:"How many stand on a page, at most."`
	After   string `query:"after" doc:"The cursor of the page before, from its next."`
	Accepts
}

// updateEntry is one change on the wire.
type updateEntry struct {
	Type          string        `json:"@type,omitempty"`   // of linked data
	Dataset       string        `json:"dataset,omitempty"` // where the log is about several
	Record        string        `json:"record,omitempty"`  // likewise its id; in linked data always its address
	At            string        `json:"at"`
	Action        string        `json:"action"`
	Verdict       string        `json:"verdict"`
	By            updateAuthor  `json:"by"`
	Purpose       string        `json:"purpose,omitempty"`
	Reason        string        `json:"reason,omitempty"`
	Request       string        `json:"request,omitempty"`
	ChangeRequest string        `json:"change_request,omitempty"`
	DecidedAt     string        `json:"decided_at,omitempty"` // of what has ended without effect
	DecidedBy     *updateAuthor `json:"decided_by,omitempty"`
	Changes       []fieldChange `json:"changes"`
}

type updateAuthor struct {
	Type   string `json:"@type,omitempty"` // of linked data
	Kind   string `json:"kind"`
	Mine   bool   `json:"mine"`
	System string `json:"system,omitempty"`
	Client string `json:"client,omitempty"`
	User   string `json:"user,omitempty"`
}

func authorOnWire(by exchange.UpdateAuthor) updateAuthor {
	return updateAuthor{Kind: by.Kind, Mine: by.Mine, System: by.System, Client: idText(by.Client), User: by.User}
}

type fieldChange struct {
	Type   string          `json:"@type,omitempty"` // of linked data
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"` // not there: it had no value
	After  json.RawMessage `json:"after,omitempty"`
}

func (s *Server) updateLog(dataset string) func(context.Context, *updateLogInput) (*reply, error) {
	return func(ctx context.Context, in *updateLogInput) (*reply, error) {
		v := visitOf(ctx)
		o, err := in.format(encode.FormatsOfGraphs()...)
		if err != nil {
			return nil, err
		}
		shown, err := s.updates(ctx, dataset, in)
		if err != nil {
			return nil, err
		}
		v.recognized(shown.Request, exchange.Question{Dataset: dataset, Purpose: in.Purpose})
		page := map[string]any{"complete": shown.Complete, "next": shown.Next}
		if o.Format.Linked() {
			page["record"] = v.base + recordsPath + dataset + "/" + in.ID
		}
		return s.sendUpdates(shown, shown.Page.Shape().Dataset.Name, page, o)
	}
}

type updatesInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Dataset string `query:"dataset" required:"true" enum:"individuals,households,enrollments,benefits,cases" doc:"Whose updates."`
	Record  string `query:"record" minLength:"26" maxLength:"26" doc:"Of this record only: its id, as your agreement sees it."`
	Verdict string `query:"verdict" enum:"applied,merged,queued,conflict,rejected" doc:"With this verdict only."`
	Since   string `query:"since" doc:"From this instant on." example:"2026-01-31T12:00:00Z"`
	Until   string `query:"until" doc:"Before this instant." example:"2026-02-28T12:00:00Z"`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"100" doc:"How many stand on a page, at most."`
	After   string `query:"after" doc:"The position behind the updates that you have, from next. It continues only the same question of the same client."`
}

func (s *Server) registerUpdates() {
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: updatesPath, OperationID: "updates",
		Summary: "Who has changed what of those whom you may see",
		Description: "The oldest first, behind a position: each as the update log of its record has it, with the record's id. Keep next, and ask with it in after for what has come since. " +
			"more says that there is more already; a page may then also be short, or empty. complete is false when the registry does not keep what was changed before the first of them.",
		Responses: answers("A page.", []string{"application/json"}),
	}), s.updatesBehind)
}

const updatesPath = "/v1/updates"

func (s *Server) updatesBehind(ctx context.Context, in *updatesInput) (*reply, error) {
	v := visitOf(ctx)
	shown, more, err := s.Gate.UpdatesBehind(ctx, v.caller, exchange.UpdatesAsked{
		Purpose: in.Purpose, Dataset: in.Dataset, Record: in.Record, Verdict: in.Verdict, Since: in.Since, Until: in.Until, After: in.After, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	v.recognized(shown.Request, exchange.Question{Dataset: in.Dataset, Purpose: in.Purpose})
	return s.sendUpdates(shown, in.Dataset, map[string]any{"complete": shown.Complete, "next": shown.Next, "more": more}, encode.Options{Format: encode.JSON})
}

// sendUpdates writes a page of an update log, with what else it says.
func (s *Server) sendUpdates(shown *exchange.UpdatesShown, dataset string, page map[string]any, o encode.Options) (*reply, error) {
	o.Schema = schemaID(dataset, shown.Schema)
	entries := make([]updateEntry, len(shown.Entries))
	for n := range shown.Entries {
		var err error
		if entries[n], err = s.updateEntry(&shown.Entries[n], o); err != nil {
			shown.Sent(0, err)
			return nil, err
		}
	}
	page["updates"] = entries
	write := func(b *body) error { return json.NewEncoder(b).Encode(page) }
	if o.Format.Linked() {
		var err error
		if o.Context, err = schema.UpdateContext(); err != nil {
			shown.Sent(0, err)
			return nil, err
		}
		write = func(b *body) error { return s.writeLinkedUpdates(b, page, entries, o) }
	}
	return s.send(&shown.Answer, o, answerHeader(dataset, o), write), nil
}

// writeLinkedUpdates writes a page as linked data. Each update names the record by its address.
func (s *Server) writeLinkedUpdates(w io.Writer, page map[string]any, entries []updateEntry, o encode.Options) error {
	of, _ := page["record"].(string)
	for n := range entries {
		e := &entries[n]
		if e.Record == "" {
			e.Record = of
			continue
		}
		e.Record = of[:strings.LastIndex(of, recordsPath)] + recordsPath + e.Dataset + "/" + e.Record
	}
	var members []encode.Member
	for _, name := range []string{"record", "complete", "next", "updates"} {
		text, err := json.Marshal(page[name])
		if err != nil {
			return annona.Internal("write an update log", err)
		}
		if page[name] != "" {
			members = append(members, encode.Member{Name: name, Text: text})
		}
	}
	return s.records.WriteJoined(w, "update_log", members, o)
}

func (s *Server) updates(ctx context.Context, dataset string, in *updateLogInput) (*exchange.UpdatesShown, error) {
	caller := visitOf(ctx).caller
	switch dataset {
	case "cases", "enrollments", "benefits":
		return s.Gate.MatterUpdates(ctx, caller, in.Purpose, dataset, in.ID, in.After, in.Limit)
	case "beneficiaries":
		return s.Gate.BeneficiaryUpdates(ctx, caller, in.Purpose, in.ID, in.After, in.Limit)
	}
	return s.Gate.Updates(ctx, caller, in.Purpose, dataset, in.ID, in.After, in.Limit)
}

func (s *Server) updateEntry(e *exchange.UpdateEntry, o encode.Options) (updateEntry, error) {
	on := updateEntry{
		Type: typeOf("update", o),
		At:   annona.Instant(e.At), Action: e.Action, Verdict: e.Verdict, Purpose: e.Purpose, Reason: e.Reason,
		By:      authorOnWire(e.By),
		Record:  e.ID,
		Request: idText(e.Request), ChangeRequest: idText(e.ChangeRequest),
	}
	on.By.Type = typeOf("update_author", o)
	if !e.DecidedAt.IsZero() {
		by := authorOnWire(e.DecidedBy)
		by.Type = on.By.Type
		on.DecidedAt, on.DecidedBy = annona.Instant(e.DecidedAt), &by
	}
	if e.ID != "" {
		on.Dataset = e.Dataset
	}
	change := typeOf("field_change", o)
	o.Format = encode.JSON // the values themselves; what they are of is said around them
	before, err := s.members(e.Before, o)
	if err != nil {
		return on, err
	}
	after, err := s.members(e.After, o)
	for _, f := range e.After.Shape().Columns {
		on.Changes = append(on.Changes, fieldChange{Type: change, Field: f.Code, Before: before[f.Code], After: after[f.Code]})
	}
	return on, err
}

// idText is an id as text; empty: there is none.
func idText(id annona.UID) string {
	if id == (annona.UID{}) {
		return ""
	}
	return id.String()
}

// members are the members of one record as JSON has them.
func (s *Server) members(d *privacy.Disclosed, o encode.Options) (members map[string]json.RawMessage, err error) {
	var text bytes.Buffer
	if err = s.records.Write(&text, d, o); err == nil {
		err = json.Unmarshal(text.Bytes(), &members)
	}
	return members, err
}
