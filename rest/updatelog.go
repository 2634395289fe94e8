package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
)

func (s *Server) registerUpdateLog(noun, path, name string) {
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: path + "/{id}/updates", OperationID: "updatesOf" + name,
		Summary: "Who has changed what of one " + noun,
		Description: "The newest first: when, by whom, under which purpose, and each field before and after, as far as your agreement shows it. A change of which you would see nothing is not there. " +
			"Another partner, and a source, stand under a name that your agreement alone knows them by; of your own agreement also the client, a pseudonym of the person, the reason and the request. " +
			"Your own requests that have not taken effect are there too, as queued, conflict or rejected.\n\n" +
			"complete is false when the registry does not keep all changes, or the record has changed more than a thousand times: earlier ones are not told. Your agreement has to say that you may ask (update_log).",
		Responses: answers("A page.", []string{"application/json"}),
	}), s.updateLog(path[len("/v1/"):]))
}

type updateLogInput struct {
	ID      string `path:"id" minLength:"26" maxLength:"26" doc:"The record's id, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"100" doc:"How many stand on a page, at most."`
	After   string `query:"after" doc:"The cursor of the page before, from its next."`
}

// updateEntry is one change on the wire.
type updateEntry struct {
	At            string        `json:"at"`
	Action        string        `json:"action"`
	Verdict       string        `json:"verdict"`
	By            updateAuthor  `json:"by"`
	Purpose       string        `json:"purpose,omitempty"`
	Reason        string        `json:"reason,omitempty"`
	Request       string        `json:"request,omitempty"`
	ChangeRequest string        `json:"change_request,omitempty"`
	Changes       []fieldChange `json:"changes"`
}

type updateAuthor struct {
	Kind   string `json:"kind"`
	Mine   bool   `json:"mine"`
	System string `json:"system,omitempty"`
	Client string `json:"client,omitempty"`
	User   string `json:"user,omitempty"`
}

type fieldChange struct {
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"` // not there: it had no value
	After  json.RawMessage `json:"after,omitempty"`
}

func (s *Server) updateLog(dataset string) func(context.Context, *updateLogInput) (*reply, error) {
	return func(ctx context.Context, in *updateLogInput) (*reply, error) {
		v := visitOf(ctx)
		shown, err := s.updates(ctx, dataset, in)
		if err != nil {
			return nil, err
		}
		v.recognized(shown.Request, exchange.Question{Dataset: dataset, Purpose: in.Purpose})
		o := encode.Options{Format: encode.JSON, Schema: schemaID(dataset, shown.Schema)}
		entries := make([]updateEntry, len(shown.Entries))
		for n := range shown.Entries {
			if entries[n], err = s.updateEntry(&shown.Entries[n], o); err != nil {
				shown.Sent(0, err)
				return nil, err
			}
		}
		return s.send(&shown.Answer, o, answerHeader(dataset, o), func(b *body) error {
			return json.NewEncoder(b).Encode(map[string]any{"updates": entries, "complete": shown.Complete, "next": shown.Next})
		}), nil
	}
}

func (s *Server) updates(ctx context.Context, dataset string, in *updateLogInput) (*exchange.UpdatesShown, error) {
	caller := visitOf(ctx).caller
	if dataset == "cases" {
		return s.Gate.CaseUpdates(ctx, caller, in.Purpose, in.ID, in.After, in.Limit)
	}
	return s.Gate.Updates(ctx, caller, in.Purpose, dataset, in.ID, in.After, in.Limit)
}

func (s *Server) updateEntry(e *exchange.UpdateEntry, o encode.Options) (updateEntry, error) {
	on := updateEntry{
		At: annona.Instant(e.At), Action: e.Action, Verdict: e.Verdict, Purpose: e.Purpose, Reason: e.Reason,
		By:      updateAuthor{Kind: e.By.Kind, Mine: e.By.Mine, System: e.By.System, Client: idText(e.By.Client), User: e.By.User},
		Request: idText(e.Request), ChangeRequest: idText(e.ChangeRequest),
	}
	before, err := s.members(e.Before, o)
	if err != nil {
		return on, err
	}
	after, err := s.members(e.After, o)
	for _, f := range e.After.Shape().Columns {
		on.Changes = append(on.Changes, fieldChange{Field: f.Code, Before: before[f.Code], After: after[f.Code]})
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
