package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/schema"
)

const beneficiariesPath = "/v1/beneficiaries"

func (s *Server) registerBeneficiaries() {
	huma.Register(s.api, tagged("programs", people(huma.Operation{
		Method: http.MethodGet, Path: beneficiariesPath, OperationID: "beneficiaries",
		Summary: "A page of beneficiaries",
		Description: "The individuals, or the households, of whom you see an enrollment of their own, in the order in which they came on file; each as its own address has it, with at most 100 rows of a part. " +
			"A page is full as long as there is more.",
		Responses: withCursor(answers("A page.", []string{"application/json", "application/x-ndjson"})),
	}, http.StatusGone)), s.beneficiaries)
	huma.Register(s.api, tagged("programs", people(huma.Operation{
		Method: http.MethodGet, Path: beneficiariesPath + "/{id}", OperationID: "beneficiary",
		Summary: "An individual or a household, with what is kept about them",
		Description: "The record, as /v1/individuals and /v1/households have it, with its enrollments, benefits with payments, cases and the eligibility decisions that you have sent: " +
			"each part as your agreement grants its dataset. A part that is not granted is absent. What is kept about a household stands with the household; with an individual it stands apart, as household_enrollments and household_benefits. " +
			"The ETag moves when anything moves that you see, and with nothing else.",
		Responses: withNotModified(answers("The beneficiary.", graphTypes())),
	})), s.beneficiary)
	s.registerUpdateLog("beneficiary, with what is kept about them", beneficiariesPath, "Beneficiary")
}

type beneficiaryInput struct {
	ID      string `path:"id" minLength:"26" maxLength:"26" doc:"Id of the individual or the household, as your agreement sees it." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`
	Accepts
	IfNoneMatch    string `header:"If-None-Match" doc:"The ETag of an earlier answer: 304 when you would see the same."`
	AcceptEncoding string `header:"Accept-Encoding" hidden:"true"`
}

// beneficiary answers with a record and what is kept about it.
func (s *Server) beneficiary(ctx context.Context, in *beneficiaryInput) (*reply, error) {
	o, err := in.format(encode.FormatsOfGraphs()...)
	if err != nil {
		return nil, err
	}
	q, form := written(exchange.Question{Dataset: "individuals", Purpose: in.Purpose}, o)
	v := visitOf(ctx)
	found, err := s.Gate.Beneficiary(ctx, v.caller, q, in.ID, form)
	if err != nil {
		return nil, err
	}
	q.Dataset = found.Page.Shape().Dataset.Name
	v.recognized(found.Request, q)
	o.Schema = schemaID(q.Dataset, found.Schema)
	tag := entityTag(found.ETag, o.Format, negotiateCoding(in.AcceptEncoding))
	if matches(in.IfNoneMatch, tag) {
		found.Sent(0, nil)
		return notModified(tag), nil
	}
	members := beneficiaryMembers(found, o)
	if o.Format.Linked() {
		shapes := []*annona.Shape{found.Page.Shape()}
		for _, p := range found.Parts {
			shapes = append(shapes, p.Page.Shape())
		}
		if o.Context, err = schema.BeneficiaryContext(shapes, v.base+recordsPath); err != nil {
			found.Sent(0, err)
			return nil, err
		}
	}
	header := answerHeader(q.Dataset, o)
	header.Set("ETag", tag)
	return s.sendRows(found.Rows, found.Sent, o, header, func(b *body) error { return s.records.WriteJoined(b, "beneficiary", members, o) }), nil
}

type beneficiariesInput struct {
	Purpose string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"eligibility-assessment"`
	Dataset string `query:"dataset" required:"true" enum:"individuals,households" doc:"Whether individuals or households are listed."`
	Program string `query:"program" doc:"Those who are enrolled in this program. Your agreement must grant the program of enrollments unaltered."`
	Status  string `query:"status" doc:"Those who have an enrollment of this status: a code of enrollment_status. Your agreement must grant it unaltered." example:"active"`
	Chosen
	Limit int    `query:"limit" default:"20" minimum:"1" maximum:"100" doc:"Beneficiaries on a page."`
	After string `query:"after" doc:"The cursor of the page before, from its next or its header Annona-Next."`
	Accepts
}

// beneficiaries answers with a page of records with what is kept about them.
func (s *Server) beneficiaries(ctx context.Context, in *beneficiariesInput) (*reply, error) {
	o, err := in.nested()
	if err != nil {
		return nil, err
	}
	q, form := written(exchange.Question{Dataset: in.Dataset, Purpose: in.Purpose, Filter: in.Filter}, o)
	v := visitOf(ctx)
	found, err := s.Gate.Beneficiaries(ctx, v.caller, q, exchange.BeneficiaryChoice{Program: in.Program, Status: in.Status}, in.Limit, in.After, form)
	if err != nil {
		return nil, err
	}
	v.recognized(found.Request, q)
	o.Schema, o.Next = schemaID(in.Dataset, found.Schema), found.Next
	objects := make([][]encode.Member, len(found.Each))
	for n := range found.Each {
		objects[n] = beneficiaryMembers(&found.Each[n], o)[1:] // the list says the schema once
	}
	header := answerHeader(in.Dataset, o)
	if found.Next != "" {
		header.Set("Annona-Next", found.Next)
	}
	return s.sendRows(found.Rows, found.Sent, o, header, func(b *body) error { return s.records.WriteJoinedList(b, "beneficiaries", objects, o) }), nil
}

// beneficiaryMembers are the members of the document, in its order.
func beneficiaryMembers(found *exchange.Beneficiary, o encode.Options) []encode.Member {
	text := func(v any) json.RawMessage {
		b, _ := json.Marshal(v) // of texts and codes: it does not fail
		return b
	}
	noun := strings.TrimSuffix(found.Page.Shape().Dataset.Name, "s")
	members := []encode.Member{{Name: "schema", Text: text(o.Schema)}, {Name: noun, Page: found.Page, One: true}}
	for _, p := range found.Parts {
		members = append(members, encode.Member{Name: p.Name, Page: p.Page})
	}
	if found.Told {
		shown := []decidedDecision{}
		for _, d := range found.About {
			shown = append(shown, decidedDecision{Type: typeOf("eligibility_decision", o), ID: d.ID.String(), RecordedAt: d.RecordedAt, EligibilityDecision: d.EligibilityDecision})
		}
		members = append(members, encode.Member{Name: "eligibility_decisions", Text: text(shown)})
	}
	if len(found.More) > 0 {
		members = append(members, encode.Member{Name: "more", Text: text(found.More)})
	}
	return members
}

// typeOf is the @type of an object in linked data; empty in plain JSON.
func typeOf(noun string, o encode.Options) string {
	if !o.Format.Linked() {
		return ""
	}
	return noun
}

// graphTypes are the media types of an answer that is put together of several datasets.
func graphTypes() (types []string) {
	for _, f := range encode.FormatsOfGraphs() {
		types = append(types, encode.MediaType("", encode.Options{Format: f}))
	}
	return types
}
