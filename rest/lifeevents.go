package rest

import (
	"context"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const lifeEventsPath = "/v1/life-events"

func (s *Server) registerLifeEvents() {
	text := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Description: description}
	}
	fields := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: description}
	}
	types := make([]any, 0, len(lifeEventTypes))
	for _, name := range lifeEventTypes {
		types = append(types, name)
	}
	event := &huma.Schema{Type: huma.TypeObject, Required: []string{"type", "effective_date", "evidence", "reason"}, Properties: map[string]*huma.Schema{
		"type":           {Type: huma.TypeString, Enum: types, Description: "What has happened."},
		"effective_date": text("The day on which it happened: 2006-01-02. No day to come."),
		"evidence":       text("By what it is known: the number of a form or a document. Kept sealed."),
		"reason":         text("Why, as a code of your own; never personal data."),
		"individual_id":  text("Who has died, joins or leaves; of a birth the mother. Of contact_or_address and of identifiers: whom it is about, in the place of household_id."),
		"household_id":   text("The household that somebody joins or leaves, that splits, or that gets another head."),
		"members":        {Type: huma.TypeArray, Items: text("Id of an individual."), Description: "household_split: who leaves together."},
		"head":           text("head_change: the new head. household_split: the head of the new household; without it who was the head, or nobody."),
		"role":           text("member_joins: a code of group_role. head_change: what the former head becomes."),
		"primary":        {Type: huma.TypeBoolean, Description: "member_joins: it becomes their first household."},
		"area_code":      text("household_split: where the new household lives. Without it: where the old one does."),
		"values":         fields("contact_or_address: fields with their new values, null: none any more. birth: what is known of the child."),
		"identifier":     fields("identifier_added, identifier_corrected: scheme and value, and what else the group identifiers has."),
		"former":         fields("identifier_corrected: scheme and value of the one that was wrong, and its issuer if it has one."),
	}}
	id := text("Its id.")
	huma.Register(s.api, tagged("change-requests", people(huma.Operation{
		Method: http.MethodPost, Path: lifeEventsPath, OperationID: "reportLifeEvent", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout, SkipValidateBody: true,
		Summary: "Say what has happened in people's lives",
		Description: "A birth, a death, somebody who joins or leaves a household, one that splits or gets another head, another address, an identifier. Each is one event: all that belongs to it is written together, or nothing.\n\n" +
			"200: it has taken effect. 202: somebody else approves it first, or another source decides what is in it; it is a change request, which change_request names. " +
			"created names the child, or the new household, where you may see it. Your agreement names the types that you may report (life_events).",
		RequestBody: &huma.RequestBody{Required: true, Description: "The event.", Content: map[string]*huma.MediaType{"application/json": {Schema: event}}},
		Responses: map[string]*huma.Response{"200": {Description: "It has taken effect.", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Properties: map[string]*huma.Schema{"verdict": text("applied; duplicate: an earlier delivery has done it."), "change_request": id, "created": fields("individual_id or household_id of who came on file.")},
		}}}}, "202": {Description: "It waits.", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Properties: map[string]*huma.Schema{"verdict": text("queued, or duplicate."), "change_request": id},
		}}}}},
	}, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)), s.reportLifeEvent)
}

var lifeEventTypes = []string{
	annona.LifeContact, annona.LifeBirth, annona.LifeDeath, annona.LifeJoins, annona.LifeLeaves, annona.LifeSplit, annona.LifeHead, annona.LifeIdentifierAdded, annona.LifeIdentifierCorrected,
}

type lifeEventInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Key     string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key."`
	RawBody []byte

	request *http.Request
}

// Resolve keeps the request, for its headers.
func (in *lifeEventInput) Resolve(c huma.Context) []error {
	in.request, _ = humago.Unwrap(c)
	return nil
}

// lifeEvent is a life event on the wire.
type lifeEvent struct {
	Type       string                     `json:"type"`
	Day        string                     `json:"effective_date,omitempty"`
	Evidence   string                     `json:"evidence,omitempty"`
	Reason     string                     `json:"reason,omitempty"`
	Individual string                     `json:"individual_id,omitempty"`
	Household  string                     `json:"household_id,omitempty"`
	Members    []string                   `json:"members,omitempty"`
	Head       string                     `json:"head,omitempty"`
	Role       string                     `json:"role,omitempty"`
	Primary    bool                       `json:"primary,omitempty"`
	Area       string                     `json:"area_code,omitempty"`
	Values     map[string]json.RawMessage `json:"values,omitempty"`
	Identifier map[string]json.RawMessage `json:"identifier,omitempty"`
	Former     map[string]json.RawMessage `json:"former,omitempty"`
}

func (s *Server) reportLifeEvent(ctx context.Context, in *lifeEventInput) (*reply, error) {
	for _, name := range []string{"Idempotency-Key", "Content-Type"} {
		if len(in.request.Header.Values(name)) > 1 {
			return nil, annona.Invalid("header_repeated", "give this header once").On(name)
		}
	}
	if mediaType, _, err := mime.ParseMediaType(in.request.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, refused(http.StatusUnsupportedMediaType, annona.Invalid("unsupported_media_type", "send the event as application/json, in UTF-8").On("Content-Type"))
	}
	event, err := in.event()
	if err != nil {
		return nil, err
	}
	done, err := s.Gate.ReportLifeEvent(ctx, visitOf(ctx).caller, event)
	if err != nil {
		return nil, err
	}
	said := http.Header{"Annona-Verdict": {done.Verdict}, "Location": {changeRequestsPath + "/" + done.Record.String()}}
	if done.Replayed {
		said.Set("Idempotency-Replayed", "true")
	}
	body := map[string]any{"verdict": done.Verdict, "change_request": done.Record.String()}
	if done.CreatedID != "" {
		body["created"] = map[string]string{done.CreatedDataset[:len(done.CreatedDataset)-1] + "_id": done.CreatedID}
	}
	return plainReply(done.Status, said, body), nil
}

// event reads the body.
func (in *lifeEventInput) event() (e exchange.LifeEvent, err error) {
	body, err := readLifeEvent(in.RawBody)
	if err != nil {
		return e, err
	}
	e = exchange.LifeEvent{
		Purpose: in.Purpose, Key: in.Key, Type: body.Type, Day: annona.Date(body.Day), Evidence: body.Evidence, Reason: body.Reason, Individual: body.Individual, Household: body.Household,
		Members: body.Members, Head: body.Head, Role: body.Role, Primary: body.Primary, Area: body.Area,
	}
	for _, part := range []struct {
		of   map[string]json.RawMessage
		into *[]exchange.Assignment
	}{{body.Values, &e.Values}, {body.Identifier, &e.Identifier}, {body.Former, &e.Former}} {
		if *part.into, err = assignments(part.of); err != nil {
			return e, err
		}
	}
	return e, nil
}

// lifeEventMembers are those that a life event on the wire can have.
var lifeEventMembers = []string{
	"type", "effective_date", "evidence", "reason", "individual_id", "household_id", "members", "head", "role", "primary", "area_code", "values", "identifier", "former",
}

func readLifeEvent(text []byte) (body lifeEvent, err error) {
	var members map[string]json.RawMessage
	if err = unmarshalStrictly(text, &members); err == nil {
		err = json.Unmarshal(text, &body)
	}
	for name := range members {
		if !slices.Contains(lifeEventMembers, name) { // nor in other letters
			err = errJSON
		}
	}
	if err != nil || members == nil {
		return body, annona.Invalid("body_malformed", "the body is one life event as a JSON object in UTF-8: each member once, of its type, and none that it does not have")
	}
	return body, nil
}

// assignments are the members of an object, in order of their names.
func assignments(members map[string]json.RawMessage) ([]exchange.Assignment, error) {
	values := make([]exchange.Assignment, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		text, err := patchedText(members[name])
		if err != nil {
			return nil, err
		}
		values = append(values, exchange.Assignment{Field: name, Text: text})
	}
	return values, nil
}

// lifeOnWire is a life event that waits, or has waited, as its reader sees it.
func lifeOnWire(e *exchange.LifeShown) *lifeEvent {
	if e == nil {
		return nil
	}
	texts := func(of map[string]string) map[string]json.RawMessage {
		members := map[string]json.RawMessage{}
		for name, text := range of {
			members[name], _ = json.Marshal(text) // of a text: cannot fail
		}
		return members
	}
	return &lifeEvent{
		Type: e.Type, Day: string(e.Day), Evidence: e.Evidence, Individual: e.Individual, Household: e.Household, Members: e.Members, Head: e.Head,
		Role: e.Role, Primary: e.Primary, Area: e.Area, Identifier: texts(e.Identifier), Former: texts(e.Former),
	}
}
