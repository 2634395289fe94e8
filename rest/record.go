package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

type getInput struct {
	ID string `path:"id" minLength:"26" maxLength:"26" doc:"The record's id, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Asked
	Accepts
	IfNoneMatch    string `header:"If-None-Match" doc:"The ETag of an earlier answer: 304 when you would see the same."`
	AcceptEncoding string `header:"Accept-Encoding" hidden:"true"`
}

// get answers with one record.
func (s *Server) get(dataset string) func(context.Context, *getInput) (*reply, error) {
	return func(ctx context.Context, in *getInput) (*reply, error) {
		o, err := in.format(encode.FormatsOfRecords()...)
		if err != nil {
			return nil, err
		}
		q, form := written(in.question(dataset), o)
		v := visitOf(ctx)
		answer, err := s.Gate.Get(ctx, v.caller, q, in.ID, form)
		if err != nil {
			return nil, err
		}
		v.recognized(answer.Request, q)
		o.Schema = schemaID(dataset, answer.Schema)
		tag := entityTag(answer.ETag, o.Format, negotiateCoding(in.AcceptEncoding))
		if matches(in.IfNoneMatch, tag) {
			answer.Sent(0, nil)
			return notModified(tag), nil
		}
		return s.one(v, answer, o, tag)
	}
}

// one writes a released record.
func (s *Server) one(v *visit, answer *exchange.Answer, o encode.Options, tag string) (*reply, error) {
	shape := answer.Page.Shape()
	_, err := encode.Parts(shape, o)
	if err == nil {
		o, err = v.linked(o, shape)
	}
	if err != nil {
		answer.Sent(0, err)
		return nil, err
	}
	header := answerHeader(shape.Dataset.Name, o)
	if tag != "" {
		header.Set("ETag", tag)
	}
	return s.send(answer, o, header, func(b *body) error { return s.records.Write(b, answer.Page, o) }), nil
}

// entityTag tells the representations of one view apart: formats and codings differ in bytes.
func entityTag(view string, f encode.Format, c coding) string {
	tag := strings.TrimSuffix(view, `"`) + "." + string(f)
	if c != unencoded {
		tag += "." + string(c)
	}
	return tag + `"`
}

// matches reports whether an If-None-Match header has the tag (RFC 9110, section 13.1.2).
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

func notModified(tag string) *reply {
	return &reply{Body: func(c huma.Context) {
		_, w := humago.Unwrap(c)
		w.Header().Set("ETag", tag)
		w.Header().Set("Vary", "Accept, Accept-Encoding")
		w.WriteHeader(http.StatusNotModified)
	}}
}

// maxBody bounds the body of a look-up, in bytes.
const maxBody = 64 << 10

type lookupInput struct {
	Accepts
	Body struct {
		Dataset string      `json:"dataset,omitempty" enum:"individuals,households" default:"individuals" doc:"Where to look."`
		Type    string      `json:"type,omitempty" minLength:"1" maxLength:"100" doc:"Type of the identifier: a code of the list identifier_type, as a record shows it in scheme." example:"national_id_number"`
		Value   private     `json:"value,omitempty" doc:"The identifier as it stands on the document. It is compared by its blind index and kept nowhere." example:"ABC-1234567-8"`
		Issuer  string      `json:"issuer,omitempty" maxLength:"200" doc:"Authority that issued it, as a record shows it in issuer. Without it, whoever issued it." example:"Civil Registry"`
		Others  []LookedFor `json:"identifiers,omitempty" maxItems:"10" nullable:"false" doc:"Several identifiers of one record, in the place of type, value and issuer: the record that holds any of them."`
		Purpose string      `json:"purpose" minLength:"1" doc:"What the data is for: the code of a purpose in your agreement." example:"eligibility-assessment"`
		Fields  []string    `json:"fields,omitempty" maxItems:"500" nullable:"false" doc:"As the parameter fields of a search." example:"[\"individual_id\",\"date_of_birth\"]"`
		AsOf    string      `json:"as_of,omitempty" doc:"As the parameter as_of of a search." example:"2026-01-31"`
	}
}

// LookedFor is one identifier of a look-up.
type LookedFor struct {
	Type   string  `json:"type" minLength:"1" maxLength:"100" doc:"A code of the list identifier_type." example:"national_id_number"`
	Value  private `json:"value" doc:"As it stands on the document." example:"ABC-1234567-8"`
	Issuer string  `json:"issuer,omitempty" maxLength:"200" doc:"Without it, whoever issued it."`
}

// identifiers are those that are looked for.
func (in *lookupInput) identifiers() ([]exchange.Identifier, error) {
	one := exchange.Identifier{Type: in.Body.Type, Value: string(in.Body.Value), Issuer: in.Body.Issuer}
	if len(in.Body.Others) == 0 {
		return []exchange.Identifier{one}, nil
	}
	if one != (exchange.Identifier{}) {
		return nil, annona.Invalid("identifier_twice", "name one identifier by type and value, or several under identifiers").On("identifiers")
	}
	var ids []exchange.Identifier
	for _, id := range in.Body.Others {
		ids = append(ids, exchange.Identifier{Type: id.Type, Value: string(id.Value), Issuer: id.Issuer})
	}
	return ids, nil
}

// lookup answers with the one record that holds an identifier.
func (s *Server) lookup(ctx context.Context, in *lookupInput) (*reply, error) {
	o, err := in.format(encode.FormatsOfRecords()...)
	if err != nil {
		return nil, err
	}
	asked := Asked{Purpose: in.Body.Purpose, Fields: in.Body.Fields, AsOf: in.Body.AsOf}
	q, form := written(asked.question(in.Body.Dataset), o)
	v := visitOf(ctx)
	ids, err := in.identifiers()
	if err != nil {
		return nil, err
	}
	answer, ambiguous, err := s.Gate.Lookup(ctx, v.caller, q, ids, form)
	if ambiguous != nil {
		v.recognized(ambiguous.Request, q)
		return s.ambiguous(v, ambiguous, err), nil
	}
	if err != nil {
		return nil, err
	}
	v.recognized(answer.Request, q)
	o.Schema = schemaID(q.Dataset, answer.Schema)
	return s.one(v, answer, o, "")
}

// ambiguous answers with a problem that names who may be meant.
func (s *Server) ambiguous(v *visit, found *exchange.Ambiguous, why error) *reply {
	v.failure = why
	p := problemOf(why, v.id)
	for _, c := range found.Candidates {
		one := PossibleHolder{ID: c.ID}
		for _, at := range c.Held {
			one.Identifiers = append(one.Identifiers, at+1)
		}
		p.Candidates = append(p.Candidates, one)
	}
	answer := plainReply(p.Status, http.Header{"Content-Type": {p.ContentType("")}, "Cache-Control": {"no-store"}}, p)
	write := answer.Body
	answer.Body = func(c huma.Context) {
		write(c)
		found.Sent(int64(len(p.Candidates)), nil)
	}
	return answer
}
