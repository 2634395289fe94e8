package rest

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const (
	casesPath       = "/v1/cases"
	transitionsPath = "/v1/transitions"
)

// maxCaseBody bounds the body of one edit, of a note and of a transition, in bytes.
const maxCaseBody = 1 << 20

func (s *Server) registerCases() {
	json, merge, rows := "application/json", "application/merge-patch+json", "application/x-ndjson"
	said := func(mediaType, description string) *huma.RequestBody { // without a schema: the gate checks it by the dictionary
		return &huma.RequestBody{Required: true, Description: description, Content: map[string]*huma.MediaType{mediaType: {}}}
	}
	operation := func(method, path, id, summary, description string, body *huma.RequestBody, errors ...int) huma.Operation {
		return tagged("cases", people(huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Description: description, RequestBody: body}, errors...))
	}
	writing := []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	editing := append([]int{http.StatusPreconditionRequired}, writing...)
	list := operation(http.MethodGet, casesPath, "cases", "Your caseload", "The cases that your partner has, and those that others share with it, in the order in which they came on file.", nil, http.StatusGone)
	list.Responses = withCursor(answers("A page.", []string{json}))
	one := operation(http.MethodGet, casesPath+"/{id}", "case", "Read a case", "What others share with you shows what they share. The ETag names the version, for If-Match.", nil)
	one.Responses = answers("The case.", graphTypes())
	notes := operation(http.MethodGet, casesPath+"/{id}/notes", "caseNotes", "The notes of a case", "The oldest first. Text leaves only when your agreement names it.", nil, http.StatusGone)
	notes.Responses = withCursor(answers("A page.", []string{json}))
	transitions := operation(http.MethodGet, transitionsPath, "transitions", "Referrals and transfers", "Those that your partner has begun, and those that it is to answer.", nil, http.StatusGone)
	transitions.Responses = withCursor(answers("A page.", []string{json}))
	huma.Register(s.api, list, s.listCases)
	huma.Register(s.api, one, s.readCase)
	huma.Register(s.api, notes, s.readNotes)
	huma.Register(s.api, transitions, s.listTransitions)
	s.registerUpdateLog("case", casesPath, "Case")
	s.registerAttachments()
	s.registerCaseConflicts()
	s.registerBulk()
	huma.Register(s.api, operation(http.MethodPost, casesPath, "putCases", "Open cases, or bring them up to date",
		"Up to 10,000 cases as NDJSON, one on a line: fields of a case as the schema cases has them, individual_id or household_id (neither: somebody who is not on file), and source_case_id. "+
			"A case that has come with the same source_case_id is brought up to date. Each line has a verdict of its own: created, changed, unchanged or refused. Refused lines stop no other.",
		said(rows, "The cases."), writing...), s.putCases)
	huma.Register(s.api, operation(http.MethodPatch, casesPath+"/{id}", "editCase", "Change a case",
		"A JSON merge patch (RFC 7396) of the version that you have read. Items of a group are also patched one by one, by an object of their names. What others have changed meanwhile is merged; "+
			"where both have changed the same, nothing is written, 409 shows both values, and they are kept as a conflict.",
		said(merge, "The patch."), editing...), s.editCase)
	huma.Register(s.api, operation(http.MethodPost, casesPath+"/{id}/actions", "moveCase", "Take a case along the workflow",
		"action is assess, plan, start, review, resume, close or reopen. Other members are fields, as in a patch: closure_reason, outcome and closure_summary of a closure.",
		said(json, "The action."), editing...), s.editCase)
	huma.Register(s.api, operation(http.MethodPost, casesPath+"/{id}/notes", "addCaseNote", "Add a note",
		"kind and text; also supersedes (the note_number of an earlier note), confidential, author, source_note_id (your own name for it: the same again adds nothing, and is answered with 200). A note is never edited.", said(json, "The note."), writing...), s.addNote)
	huma.Register(s.api, operation(http.MethodPost, casesPath+"/{id}/transitions", "offerTransition", "Refer a case, hand it over, or ask for it",
		"kind is referral, transfer or transfer_request. Also to_partner, to_worker, service, reason, fields_shared, edit, basis (consent, override, legal_obligation, vital_interests, public_task), override_reason, expires_on.",
		said(json, "The offer."), writing...), s.offerTransition)
	huma.Register(s.api, operation(http.MethodPost, transitionsPath+"/{id}/answers", "answerTransition", "Answer a referral or a transfer",
		"answer is accept, decline, cancel or complete; reason says why it is declined. A transfer that is accepted has handed the case over when the answer is here.", said(json, "The answer."), writing...), s.answerTransition)
}

// CaseBody is what operations on cases have in common that read their body themselves.
type CaseBody struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`

	Streamed
}

// read reads the body, which is one JSON object.
func (in *CaseBody) read(s *Server, into any) ([]byte, error) {
	body, err := in.whole(s, maxCaseBody)
	if err != nil {
		return nil, err
	}
	return body, readObject(body, into)
}

type putCasesInput struct{ CaseBody }

// CaseLine says what became of one case.
type CaseLine struct {
	Line    int    `json:"line" doc:"Line of the body, from 1."`
	Verdict string `json:"verdict" doc:"created, changed, unchanged or refused."`
	ID      string `json:"id,omitempty" doc:"Id of the case."`
	ETag    string `json:"etag,omitempty" doc:"Of the version on file, for If-Match."`
	Code    string `json:"code,omitempty" doc:"Why it was refused." example:"not_found"`
	Field   string `json:"field,omitempty" doc:"What of it was refused." example:"case_type"`
	Detail  string `json:"detail,omitempty" doc:"What to do."`
}

type putCasesOutput struct {
	Body struct {
		Verdicts []CaseLine `json:"verdicts" nullable:"false" doc:"For each case, in the order of the body."`
	}
}

func (s *Server) putCases(ctx context.Context, in *putCasesInput) (*putCasesOutput, error) {
	lines, err := in.lines(s)
	if err != nil {
		return nil, err
	}
	out := &putCasesOutput{}
	out.Body.Verdicts = make([]CaseLine, len(lines))
	var rows []map[string]any
	var at []int
	for n, line := range lines {
		var row map[string]any
		if err := readObject(line, &row); err != nil {
			out.Body.Verdicts[n] = caseLine(n, exchange.CaseVerdict{Verdict: exchange.VerdictRefused, Reason: err})
			continue
		}
		rows, at = append(rows, row), append(at, n)
	}
	verdicts, err := s.Gate.PutCases(ctx, visitOf(ctx).caller, in.Purpose, rows)
	if err != nil {
		return nil, err
	}
	for i, v := range verdicts {
		out.Body.Verdicts[at[i]] = caseLine(at[i], v)
	}
	return out, nil
}

func caseLine(n int, v exchange.CaseVerdict) CaseLine {
	line := CaseLine{Line: n + 1, Verdict: v.Verdict}
	if v.Reason == nil {
		line.ID, line.ETag = v.ID, v.ETag
	}
	line.Code, line.Field, line.Detail = why(v.Reason)
	return line
}

type editCaseInput struct {
	ID      string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	IfMatch string `header:"If-Match" doc:"The ETag of the version that you have read. Needed."`
	Key     string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key. Needed."`
	CaseBody
}

type caseOutput struct {
	Status int
	ETag   string `header:"ETag"`
	Body   struct {
		Verdict   string           `json:"verdict" doc:"created, changed, merged, unchanged or conflict."`
		ID        string           `json:"id"`
		Code      string           `json:"code,omitempty" doc:"Of a conflict."`
		Conflict  string           `json:"conflict,omitempty" doc:"Under which id what clashes is kept, until somebody resolves it."`
		Conflicts []exchange.Clash `json:"conflicts,omitempty" doc:"What both have changed: as you have read it, theirs and yours."`
	}
}

// versionTag is the tag of a version without the format in which it was read.
func versionTag(tag string) string {
	if version, _, formatted := strings.Cut(tag, "."); formatted {
		return version + `"`
	}
	return tag
}

func caseAnswer(v exchange.CaseVerdict, status int) *caseOutput {
	out := &caseOutput{Status: status, ETag: v.ETag}
	out.Body.Verdict, out.Body.ID = v.Verdict, v.ID
	if v.Verdict == exchange.VerdictConflict {
		out.Status, out.Body.Code, out.Body.Conflicts = http.StatusConflict, "case_conflict", v.Clashes
		out.Body.Conflict = conflictID(v)
	}
	return out
}

// editCase changes a case; of an action, the body names it.
func (s *Server) editCase(ctx context.Context, in *editCaseInput) (*caseOutput, error) {
	if err := cmp.Or(checkOnce(in.request.Header), checkTag(in.IfMatch)); err != nil {
		return nil, err
	}
	patch := map[string]any{}
	body, err := in.read(s, &patch)
	if err != nil {
		return nil, err
	}
	route := in.request.Method + " " + casesPath + "/{id}"
	edit := exchange.CaseEdit{ID: in.ID, IfMatch: versionTag(in.IfMatch), Patch: patch}
	if in.request.Method == http.MethodPost {
		if err := takeAction(&edit); err != nil {
			return nil, err
		}
		route += "/actions"
	}
	edit.Keyed = &exchange.Keyed{Key: in.Key, Route: route, Asked: append([]byte(in.ID+"\x00"+in.IfMatch+"\x00"+in.Purpose+"\x00"), body...)}
	v, err := s.Gate.EditCase(ctx, visitOf(ctx).caller, in.Purpose, edit)
	if err != nil {
		return nil, err
	}
	return caseAnswer(v, http.StatusOK), nil
}

// takeAction takes the action out of a patch.
func takeAction(edit *exchange.CaseEdit) error {
	edit.Action, _ = edit.Patch["action"].(string)
	delete(edit.Patch, "action")
	if edit.Action == "" {
		return annona.Invalid("action_unknown", "say which action of the workflow is taken").On("action")
	}
	return nil
}

type caseActInput struct {
	ID  string `path:"id" minLength:"26" maxLength:"26" doc:"The id of what it is about." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Key string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key. Without one, the same again is another request."`
	CaseBody
}

// keyed is what the request is known by; nil: it has no key.
func (in *caseActInput) keyed(route string, body []byte) *exchange.Keyed {
	if in.Key == "" {
		return nil
	}
	return &exchange.Keyed{Key: in.Key, Route: "POST " + route, Asked: append([]byte(in.ID+"\x00"+in.Purpose+"\x00"), body...)}
}

func (s *Server) addNote(ctx context.Context, in *caseActInput) (*caseOutput, error) {
	var note exchange.CaseNote
	body, err := in.read(s, &note)
	if err != nil {
		return nil, err
	}
	note.Keyed = in.keyed(casesPath+"/{id}/notes", body)
	v, err := s.Gate.AddCaseNote(ctx, visitOf(ctx).caller, in.Purpose, in.ID, note)
	if err != nil {
		return nil, err
	}
	if v.Verdict == exchange.VerdictUnchanged {
		return caseAnswer(v, http.StatusOK), nil
	}
	return caseAnswer(v, http.StatusCreated), nil
}

func (s *Server) offerTransition(ctx context.Context, in *caseActInput) (*caseOutput, error) {
	var offer exchange.Offer
	body, err := in.read(s, &offer)
	if err != nil {
		return nil, err
	}
	offer.Keyed = in.keyed(casesPath+"/{id}/transitions", body)
	v, err := s.Gate.OfferTransition(ctx, visitOf(ctx).caller, in.Purpose, in.ID, offer)
	if err != nil {
		return nil, err
	}
	if v.Verdict == exchange.VerdictUnchanged {
		return caseAnswer(v, http.StatusOK), nil
	}
	return caseAnswer(v, http.StatusCreated), nil
}

func (s *Server) answerTransition(ctx context.Context, in *caseActInput) (*caseOutput, error) {
	var said struct {
		Answer string `json:"answer"`
		Reason string `json:"reason"`
	}
	body, err := in.read(s, &said)
	if err != nil {
		return nil, err
	}
	answer := exchange.TransitionAnswer{Answer: said.Answer, Why: said.Reason, Keyed: in.keyed(transitionsPath+"/{id}/answers", body)}
	v, err := s.Gate.AnswerTransition(ctx, visitOf(ctx).caller, in.Purpose, in.ID, answer)
	if err != nil {
		return nil, err
	}
	return caseAnswer(v, http.StatusOK), nil
}

// CasePage is what every list of matters asks for.
type CasePage struct {
	Purpose string   `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Fields  []string `query:"fields" nullable:"false" doc:"The columns you want, separated by commas. Without it: everything that your agreement grants." example:"case_id,status"`
	Limit   int      `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Rows on a page, at most."`
	After   string   `query:"after" doc:"The cursor of the page before, from its header Annona-Next."`
}

type listCasesInput struct {
	CasePage
	Status       string `query:"status" enum:"open,closed" doc:"Those that are open, or closed."`
	Worker       string `query:"worker" doc:"Those of a worker, by the reference that you have given."`
	DueUntil     string `query:"due_until" doc:"Those that are due or to be reviewed until that day." example:"2026-01-31"`
	Program      string `query:"program" doc:"Those that name this program, alone or among others." example:"child-grant"`
	IndividualID string `query:"individual_id" doc:"Those about an individual."`
	HouseholdID  string `query:"household_id" doc:"Those about a household."`
}

func (s *Server) listCases(ctx context.Context, in *listCasesInput) (*reply, error) {
	choice := exchange.CaseChoice{Status: in.Status, Worker: in.Worker, DueUntil: annona.Date(in.DueUntil), Program: in.Program, IndividualID: in.IndividualID, HouseholdID: in.HouseholdID}
	if in.DueUntil != "" {
		if _, err := annona.ParseDate(in.DueUntil); err != nil {
			return nil, err
		}
	}
	v := visitOf(ctx)
	answer, err := s.Gate.Cases(ctx, v.caller, in.Purpose, choice, in.Fields, in.After, in.Limit)
	return s.matters(v, "cases", in.Purpose, answer, err)
}

// matters writes a page of matters.
func (s *Server) matters(v *visit, dataset, purpose string, answer *exchange.Answer, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	v.recognized(answer.Request, exchange.Question{Dataset: dataset, Purpose: purpose})
	return s.page(v, answer, encode.Options{Format: encode.JSON, Schema: schemaID(dataset, answer.Schema), Next: answer.Next})
}

type readCaseInput struct {
	Accepts
	ID      string   `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string   `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Fields  []string `query:"fields" nullable:"false" doc:"The columns you want, separated by commas. Without it: everything that your agreement grants." example:"case_id,status"`
}

// readCase answers with a case. Its tag names the version: the same for every format but for its end.
func (s *Server) readCase(ctx context.Context, in *readCaseInput) (*reply, error) {
	o, err := in.format(encode.FormatsOfGraphs()...)
	if err != nil {
		return nil, err
	}
	v := visitOf(ctx)
	answer, err := s.Gate.Cases(ctx, v.caller, in.Purpose, exchange.CaseChoice{ID: in.ID}, in.Fields, "", 1)
	if err != nil {
		return nil, err
	}
	v.recognized(answer.Request, exchange.Question{Dataset: "cases", Purpose: in.Purpose})
	o.Schema = schemaID("cases", answer.Schema)
	tag := answer.ETag
	if o.Format != encode.JSON {
		tag = entityTag(tag, o.Format, unencoded)
	}
	return s.one(v, answer, o, tag)
}

type readNotesInput struct {
	ID string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	CasePage
}

func (s *Server) readNotes(ctx context.Context, in *readNotesInput) (*reply, error) {
	v := visitOf(ctx)
	answer, err := s.Gate.CaseNotes(ctx, v.caller, in.Purpose, in.ID, in.Fields, in.After, in.Limit)
	return s.matters(v, "case_notes", in.Purpose, answer, err)
}

type listTransitionsInput struct {
	CasePage
	Case   string `query:"case_id" doc:"Those of one case."`
	Status string `query:"status" enum:"pending,accepted,declined,completed,cancelled,expired" doc:"Where they stand today."`
}

func (s *Server) listTransitions(ctx context.Context, in *listTransitionsInput) (*reply, error) {
	v := visitOf(ctx)
	answer, err := s.Gate.Transitions(ctx, v.caller, in.Purpose, in.Case, in.Status, in.Fields, in.After, in.Limit)
	return s.matters(v, "transitions", in.Purpose, answer, err)
}
