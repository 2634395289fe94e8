package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const (
	changeRequestsPath = "/v1/change-requests"
	conflictsPath      = "/v1/conflicts"
	mergePatch         = "application/merge-patch+json" // RFC 7396
)

func (s *Server) registerUpdate(noun, name string) {
	dataset := noun + "s"
	fields := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "Names of fields with their new values; null: it has none any more. A field with several values is a list. What is not named stays."}
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodPatch, Path: "/v1/" + dataset + "/{id}", OperationID: "update" + name, MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout, SkipValidateBody: true,
		Summary: "Say what you know of one " + noun,
		Description: "A JSON Merge Patch (RFC 7396) of a record that you have read as JSON. If-Match is the ETag of that answer, and purpose, fields and as_of are those of that request. The header Annona-Verdict says what came of it:\n\n" +
			"- applied: 200, and the record as you see it now. merged: the same, beside what others have changed since you read it.\n" +
			"- queued: 202. Another source or the registry decides the field: it became a change request, and the record stays as it is until that is decided.\n" +
			"- conflict: 412 conflict. Somebody else has changed a field of yours since you read it. Both values are kept as a conflict, to be resolved.\n" +
			"- duplicate: an earlier delivery with the same Idempotency-Key has done it; the header Idempotency-Replayed is true.\n\n" +
			"The whole patch has one verdict. 412 version_unknown: what you have read is more than seven days or a hundred changes old.",
		RequestBody: &huma.RequestBody{Required: true, Description: "The patch.", Content: map[string]*huma.MediaType{mergePatch: {Schema: fields}, "application/json": {Schema: fields}}},
		Responses:   withQueued(answers("The record as it is now.", []string{"application/json"})),
	}, http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusUnprocessableEntity, http.StatusRequestTimeout,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType), s.update(dataset))
}

// withQueued adds the answers of a request that waits.
func withQueued(responses map[string]*huma.Response) map[string]*huma.Response {
	responses["202"] = &huma.Response{Description: "It became a change request, which Location names.", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
		Type: huma.TypeObject, Properties: map[string]*huma.Schema{"verdict": {Type: huma.TypeString}, "change_request": {Type: huma.TypeString}},
	}}}}
	responses["204"] = &huma.Response{Description: "It is applied, and the record is out of your sight by that."}
	return responses
}

type updateInput struct {
	ID string `path:"id" minLength:"26" maxLength:"26" doc:"The record's id, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Asked
	Reason  string `query:"reason" example:"home_visit" doc:"Why, as a code of your own; never personal data."`
	IfMatch string `header:"If-Match" doc:"The ETag of the answer in which you have read the record."`
	Key     string `header:"Idempotency-Key" doc:"A key of your own for this request: when no answer reached you, send the same again with the same key."`
	RawBody []byte

	request *http.Request
}

// Resolve keeps the request, for its headers.
func (in *updateInput) Resolve(c huma.Context) []error {
	in.request, _ = humago.Unwrap(c)
	return nil
}

func (s *Server) update(dataset string) func(context.Context, *updateInput) (*reply, error) {
	return func(ctx context.Context, in *updateInput) (*reply, error) {
		if err := in.check(); err != nil {
			return nil, err
		}
		values, err := readPatch(in.RawBody)
		if err != nil {
			return nil, err
		}
		o := encode.Options{Format: encode.JSON}
		q, form := written(in.question(dataset), o)
		v := visitOf(ctx)
		done, err := s.Gate.Update(ctx, v.caller, exchange.Update{Question: q, ID: in.ID, Read: in.IfMatch, Values: values, Reason: in.Reason, Key: in.Key}, form)
		if err != nil {
			return nil, err
		}
		return s.updated(v, q, o, negotiateCoding(in.request.Header.Get("Accept-Encoding")), done)
	}
}

// updated answers with what came of an update.
func (s *Server) updated(v *visit, q exchange.Question, o encode.Options, c coding, done *exchange.Updated) (*reply, error) {
	said := http.Header{"Annona-Verdict": {done.Verdict}}
	if done.Replayed {
		said.Set("Idempotency-Replayed", "true")
	}
	switch {
	case done.Noun == "conflicts":
		said.Set("Location", conflictsPath+"/"+done.Record.String())
		return s.clashed(v, said, done.Record), nil
	case done.Noun == "change_requests":
		said.Set("Location", changeRequestsPath+"/"+done.Record.String())
		return plainReply(http.StatusAccepted, said, map[string]string{"verdict": done.Verdict, "change_request": done.Record.String()}), nil
	case done.Answer == nil:
		return plainReply(http.StatusNoContent, said, nil), nil
	}
	v.recognized(done.Answer.Request, q)
	o.Schema = schemaID(q.Dataset, done.Answer.Schema)
	answer, err := s.one(v, done.Answer, o, entityTag(done.Answer.ETag, o.Format, c))
	if err != nil {
		return nil, err
	}
	write := answer.Body
	answer.Body = func(c huma.Context) {
		_, w := humago.Unwrap(c)
		maps.Copy(w.Header(), said)
		write(c)
	}
	return answer, nil
}

var errClash = annona.Stale("conflict", "somebody else has changed the same field since you read it; both values are kept as the conflict that Location names: resolve it there, or read the record and decide anew")

// clashed answers with a problem that names the conflict.
func (s *Server) clashed(v *visit, said http.Header, conflict annona.UID) *reply {
	v.failure = errClash
	p := problemOf(errClash, v.id)
	p.Conflict = conflict.String()
	said.Set("Content-Type", p.ContentType(""))
	return plainReply(p.Status, said, p)
}

// plainReply is a reply that discloses nothing of anybody.
func plainReply(status int, header http.Header, content any) *reply {
	return &reply{Body: func(c huma.Context) {
		_, w := humago.Unwrap(c)
		maps.Copy(w.Header(), header)
		if content == nil {
			w.WriteHeader(status)
			return
		}
		text, _ := json.Marshal(content) // of strings and numbers: cannot fail
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		w.Write(append(text, '\n'))
	}}
}

// check refuses what is said twice, in another form, or of no version.
func (in *updateInput) check() error {
	h := in.request.Header
	if err := checkOnce(h); err != nil {
		return err
	}
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != mergePatch && mediaType != "application/json" {
		return refused(http.StatusUnsupportedMediaType, annona.Invalid("unsupported_media_type", "send the patch as %s, in UTF-8", mergePatch).On("Content-Type"))
	}
	return checkTag(in.IfMatch)
}

// checkOnce refuses an update of which a header says two things.
func checkOnce(h http.Header) error {
	for _, name := range []string{"If-Match", "Idempotency-Key", "Content-Type"} {
		if len(h.Values(name)) > 1 {
			return annona.Invalid("header_repeated", "give this header once").On(name)
		}
	}
	return nil
}

// checkTag refuses what is not the one tag of a version.
func checkTag(tag string) error {
	switch {
	case tag == "":
		return refused(http.StatusPreconditionRequired, annona.Invalid("if_match_missing", "say which version you have read: the ETag of that answer, in the header If-Match").On("If-Match"))
	case tag == "*" || strings.HasPrefix(tag, "W/"):
		return annona.Invalid("if_match_weak", "give the one ETag that you were given, as it was written: neither * nor a weak one").On("If-Match")
	case len(tag) < 3 || len(tag) > 200 || strings.Count(tag, `"`) != 2 || tag[0] != '"' || tag[len(tag)-1] != '"':
		return annona.Invalid("if_match_malformed", "If-Match is one ETag, within quotes").On("If-Match")
	}
	return nil
}

// readPatch reads the members of a patch, in order of their names. The values become the text that the
// dictionary checks.
func readPatch(text []byte) ([]exchange.Assignment, error) {
	var members map[string]json.RawMessage
	if err := unmarshalStrictly(text, &members); err != nil || members == nil {
		return nil, annona.Invalid("body_malformed", "the body is one JSON object in UTF-8 that has each member once")
	}
	return assignments(members)
}

var errPatchValue = annona.Invalid("value_malformed", "a value of the patch is text, a number, true, false, a list of them, or null; it is not empty")

func patchedText(raw json.RawMessage) (string, error) {
	from := json.NewDecoder(bytes.NewReader(raw))
	from.UseNumber()
	var value any
	if err := from.Decode(&value); err != nil {
		return "", errPatchValue
	}
	list, several := value.([]any)
	if !several {
		if value == nil {
			return "", nil
		}
		return patchedScalar(value)
	}
	texts := make([]string, len(list))
	for i, one := range list {
		text, err := patchedScalar(one)
		if err != nil || strings.IndexByte(text, annona.ListMark) >= 0 {
			return "", errPatchValue
		}
		texts[i] = text
	}
	return strings.Join(texts, string(rune(annona.ListMark))), nil
}

func patchedScalar(value any) (text string, err error) {
	switch value := value.(type) {
	case string:
		text = value
	case json.Number:
		text = value.String()
	case bool:
		text = map[bool]string{true: "true", false: "false"}[value]
	}
	if strings.TrimSpace(text) == "" {
		return "", errPatchValue
	}
	return text, nil
}
