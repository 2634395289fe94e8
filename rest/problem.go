package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
)

// Problem is the body of every refusal: an RFC 9457 problem. It repeats nothing of what was
// sent.
type Problem struct {
	Type     string `json:"type" doc:"Always about:blank: the code tells problems apart." example:"about:blank"`
	Title    string `json:"title" doc:"What the status means." example:"Bad Request"`
	Status   int    `json:"status" doc:"HTTP status." example:"400"`
	Code     string `json:"code" doc:"Stable name of the problem, for machines." example:"unknown_field"`
	Detail   string `json:"detail" doc:"What happened and what to do." example:"the name at this position of the list is no field of individuals; the schema individuals.schema.json lists them. Names are separated by commas, without spaces"`
	Name     string `json:"name,omitempty" doc:"The parameter, field or column concerned." example:"fields"`
	Position int    `json:"position,omitempty" doc:"Where in the filter, in characters, or in the list of fields; from 1." example:"3"`
	Conflict string `json:"conflict,omitempty" doc:"Id of the conflict that was kept."`
	// Candidates are those who may be meant by a look-up that several records answer.
	Candidates []PossibleHolder `json:"candidates,omitempty" nullable:"false" doc:"Who may be meant by the identifiers of a look-up."`
	RequestID  string           `json:"request_id" doc:"Id of this request; name it when you ask for help." example:"7d0f0a3c5d0b4f6f9a57c1f0e2b4d6a8"`
}

// PossibleHolder is a record that may be the one that was looked for.
type PossibleHolder struct {
	ID          string `json:"id" doc:"Its id, as your agreement sees it."`
	Identifiers []int  `json:"identifiers" nullable:"false" doc:"Which of the identifiers it holds, from 1."`
}

// Error makes a Problem an error for huma.
func (p *Problem) Error() string { return p.Code }

// GetStatus tells huma the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statuses is the one table from kinds of errors to HTTP.
var statuses = map[annona.Kind]int{
	annona.KindInternal:        http.StatusInternalServerError,
	annona.KindInvalid:         http.StatusBadRequest,
	annona.KindUnauthenticated: http.StatusUnauthorized,
	annona.KindForbidden:       http.StatusForbidden,
	annona.KindNotFound:        http.StatusNotFound,
	annona.KindConflict:        http.StatusConflict,
	annona.KindGone:            http.StatusGone,
	annona.KindTooLarge:        http.StatusBadRequest, // of a filter or a list; a body has its own status
	annona.KindUnavailable:     http.StatusServiceUnavailable,
	annona.KindTooMany:         http.StatusTooManyRequests,
	annona.KindStale:           http.StatusPreconditionFailed,
	annona.KindReused:          http.StatusUnprocessableEntity,
}

// refusal is an error that only HTTP knows, with its status.
type refusal struct {
	reason *annona.Error
	status int
	allow  []string // of 405
}

func (r *refusal) Error() string { return r.reason.Error() }
func (r *refusal) Unwrap() error { return r.reason }

func refused(status int, reason *annona.Error) *refusal {
	return &refusal{reason: reason, status: status}
}

func methodNotAllowed(allowed []string) *refusal {
	reason := annona.Invalid("method_not_allowed", "this path has other methods: %s", strings.Join(allowed, ", "))
	return &refusal{reason: reason, status: http.StatusMethodNotAllowed, allow: allowed}
}

// problemOf turns any error into what the client reads.
func problemOf(err error, request annona.UID) *Problem {
	status := statuses[annona.KindOf(err)]
	if r := (*refusal)(nil); errors.As(err, &r) {
		status = r.status
	}
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, RequestID: request.String()}
	known := (*annona.Error)(nil)
	if !errors.As(err, &known) || known.Kind == annona.KindInternal {
		p.Code, p.Detail = "internal", "something failed on our side; nothing was lost. Ask again, and name the request id when you ask for help"
		return p
	}
	p.Code, p.Detail, p.Name, p.Position = known.Code, known.Message, known.Name, known.At
	return p
}

// refuse answers with a problem. Nothing of the answer may have been sent.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	v := visitOf(r.Context())
	v.failure = err
	p := problemOf(err, v.id)
	body, _ := json.Marshal(p) // strings and numbers: cannot fail
	h := w.Header()
	if of := (*refusal)(nil); errors.As(err, &of) && of.allow != nil {
		h.Set("Allow", strings.Join(of.allow, ", "))
	}
	h.Set("Content-Type", p.ContentType(""))
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.WriteTimeout)) // who waited for changes has used up his own
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}

// configureHuma sets what huma keeps for the whole process. Its own error constructors would
// repeat the submitted values and answer bad input with 422, and it would take a member of a
// body for another one in capitals.
var configureHuma = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return problemOf(translate(status, message, errs), annona.UID{})
	}
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		v := visitOf(c.Context())
		v.failure = translate(status, message, errs)
		return problemOf(v.failure, v.id)
	}
})

// translate gives back the error that an operation returned, and says in our words what huma
// found wrong by itself.
func translate(status int, message string, errs []error) error {
	switch status {
	case http.StatusUnsupportedMediaType:
		return refused(status, annona.Invalid("unsupported_media_type", "send the body as JSON, with the header Content-Type: application/json").On("Content-Type"))
	case http.StatusRequestEntityTooLarge:
		return refused(status, annona.TooLarge("body_too_large", "the body is shorter than %d bytes", maxBody))
	case http.StatusRequestTimeout:
		return refused(status, annona.Invalid("body_timeout", "the body did not arrive in time"))
	}
	for _, err := range errs {
		if detail := (*huma.ErrorDetail)(nil); errors.As(err, &detail) {
			return malformed(detail)
		}
	}
	switch {
	case status == http.StatusBadRequest:
		return annona.Invalid("body_missing", "the request has a body of application/json")
	case message == "cannot read request body":
		return annona.Invalid("body_incomplete", "the body broke off")
	case len(errs) == 1:
		return errs[0] // of the operation
	default:
		return annona.Internal("answer the request", nil)
	}
}

// malformed is what huma found wrong with one parameter or member of the body. Its location
// ends in a name of ours, except that of an unexpected member.
func malformed(detail *huma.ErrorDetail) error {
	place, name, _ := strings.Cut(detail.Location, ".")
	switch {
	case strings.HasPrefix(detail.Message, "unexpected property"):
		return annona.Invalid("unknown_member", "the body has a member that this operation does not know")
	case strings.HasPrefix(detail.Message, "expected required property "):
		missing := strings.TrimSuffix(strings.TrimPrefix(detail.Message, "expected required property "), " to be present")
		return annona.Invalid("body_invalid", "the body lacks this member").On(missing)
	case place == "body" && strings.HasPrefix(detail.Message, "expected"):
		return annona.Invalid("body_invalid", "%s", detail.Message).On(name)
	case place == "body":
		return annona.Invalid("body_malformed", "the body is one JSON object in UTF-8 that has each member once")
	default:
		return annona.Invalid("parameter_malformed", "the value of this parameter cannot be read").On(name)
	}
}
