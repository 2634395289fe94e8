package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

// reply is an operation's answer: it writes itself once the gate has answered.
type reply struct {
	Body func(huma.Context)
}

type searchInput struct {
	Asked
	Chosen
	Accepts
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Records on a page."`
	After string `query:"after" doc:"The cursor of the page before, from its next or its header Annona-Next. It continues only the same question of the same client, for a day."`
}

// search answers with a page of a dataset.
func (s *Server) search(dataset string) func(context.Context, *searchInput) (*reply, error) {
	return func(ctx context.Context, in *searchInput) (*reply, error) {
		o, err := in.format()
		if err != nil {
			return nil, err
		}
		q, form := written(in.question(dataset), o)
		q.Filter = in.Filter
		v := visitOf(ctx)
		answer, err := s.Gate.Search(ctx, v.caller, q, in.Limit, in.After, form)
		if err != nil {
			return nil, err
		}
		v.recognized(answer.Request, q)
		o.Schema, o.Next = schemaID(dataset, answer.Schema), answer.Next
		return s.page(v, answer, o)
	}
}

// page writes a released page as one document.
func (s *Server) page(v *visit, answer *exchange.Answer, o encode.Options) (*reply, error) {
	shape := answer.Page.Shape()
	parts, err := encode.Parts(shape, o)
	if err == nil {
		o, err = v.linked(o, shape)
	}
	if err != nil {
		answer.Sent(0, err)
		return nil, err
	}
	header := answerHeader(shape.Dataset.Name, o)
	if answer.Next != "" {
		header.Set("Annona-Next", answer.Next)
	}
	return s.send(answer, o, header, func(b *body) error {
		encoder, err := encode.New(b, parts, o)
		if err != nil {
			return err
		}
		defer encoder.Close()
		if err := encoder.Begin(0); err != nil {
			return err
		}
		if err := encoder.Page(answer.Page); err != nil {
			return err
		}
		return encoder.End()
	}), nil
}

// sendList writes a page of what lies beside records, under its name, with the cursor of the next one.
func (s *Server) sendList(answer *exchange.Answer, dataset, name string, shown any) *reply {
	o := encode.Options{Format: encode.JSON}
	header := answerHeader(dataset, o)
	if answer.Next != "" {
		header.Set("Annona-Next", answer.Next)
	}
	return s.send(answer, o, header, func(b *body) error {
		return json.NewEncoder(b).Encode(map[string]any{name: shown, "next": answer.Next})
	})
}

// send writes the body of a page or a record.
func (s *Server) send(answer *exchange.Answer, o encode.Options, header http.Header, write func(*body) error) *reply {
	return s.sendRows(int64(answer.Page.Count()), answer.Sent, o, header, write)
}

// sendRows writes the body of an answer, and says with sent how that ended.
func (s *Server) sendRows(rows int64, sent func(int64, error), o encode.Options, header http.Header, write func(*body) error) *reply {
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		v := visitOf(r.Context())
		v.format, v.rows = o.Format, rows
		b := s.newBody(w.(*response), r, header)
		defer b.release()
		err := error(errUnwritten)
		defer func() { sent(rows, err) }() // also when writing panics
		if err = write(b); err == nil {
			err = b.complete()
		}
		s.end(b, r, err)
	}}
}

var errUnwritten = annona.Internal("write the answer", nil)

// end decides what becomes of a body that could not be written whole: before its first byte a
// problem, after it a connection that breaks off.
func (s *Server) end(b *body, r *http.Request, err error) {
	switch {
	case err == nil:
	case b.began:
		visitOf(r.Context()).failure = err
		b.abort()
	default:
		s.refuse(b.out, r, err)
	}
}

// answerHeader are the headers of an answer about people.
func answerHeader(dataset string, o encode.Options) http.Header {
	h := http.Header{}
	h.Set("Content-Type", encode.MediaType(dataset, o))
	h.Set("Annona-Schema", o.Schema)
	return h
}

// schemaID names the schema that an answer follows: "individuals/3".
func schemaID(dataset string, version int) string { return dataset + "/" + strconv.Itoa(version) }
