package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const specsPath = "/v1/export-specs"

func (s *Server) registerSpecs() {
	huma.Register(s.api, tagged("export-specs", people(huma.Operation{
		Method: http.MethodGet, Path: specsPath, OperationID: "listExportSpecs",
		Summary: "The export specifications of your agreement", Description: "The latest version of each, by name.",
	})), s.exportSpecs)
	huma.Register(s.api, tagged("export-specs", people(huma.Operation{
		Method: http.MethodGet, Path: specsPath + "/{name}", OperationID: "getExportSpec",
		Summary: "An export specification", Description: "What an export by it holds. A version never changes. An unknown name and one of another agreement are the same 404.",
	})), s.exportSpec)
	huma.Register(s.api, tagged("export-specs", people(huma.Operation{
		Method: http.MethodPost, Path: specsPath + "/{name}/dry-run", OperationID: "tryExport", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary: "Try an export without one",
		Description: "How many rows an export by the specification would have at this moment, how many people are left out and why, which fields would leave, and how small the smallest group of rows is that look alike in some columns; with five invented rows in its shape. " +
			"Counts are exact for whoever may export the rows; otherwise fewer than ten are <10 and others are rounded to five. Counts of people who are left out are always so. Each trial stands in the ledger, and there are not many of them in an hour.",
	}, http.StatusRequestEntityTooLarge)), s.tryExport)
	huma.Register(s.api, tagged("export-specs", people(huma.Operation{
		Method: http.MethodGet, Path: specsPath + "/{name}/export", OperationID: "exportBySpec",
		Summary:     "A file as a specification says",
		Description: "Streams what the specification chooses, under its names and codes. Annona-Schema names it with its version: monthly-transfer@2. Everything else is as in the exports of households and individuals.",
		Responses:   withExportHeaders(answers("The file.", exportFormats)),
	})), s.exportBySpec)
}

func tagged(tag string, o huma.Operation) huma.Operation {
	o.Tags = []string{tag}
	return o
}

type specInput struct {
	Name    string `path:"name" maxLength:"60" example:"monthly-transfer" doc:"Name of the specification."`
	Version int    `query:"version" minimum:"1" doc:"Its version. Without it: the latest."`
}

type specOutput struct{ Body annona.ExportSpec }

type specsOutput struct {
	Body struct {
		ExportSpecs []annona.ExportSpec `json:"export_specs" nullable:"false"`
	}
}

func (s *Server) exportSpecs(ctx context.Context, _ *struct{}) (*specsOutput, error) {
	all, err := s.Gate.ListExportSpecs(ctx, visitOf(ctx).caller)
	out := &specsOutput{}
	out.Body.ExportSpecs = append([]annona.ExportSpec{}, all...)
	return out, err
}

func (s *Server) exportSpec(ctx context.Context, in *specInput) (*specOutput, error) {
	spec, err := s.Gate.ShowExportSpec(ctx, visitOf(ctx).caller, in.Name, in.Version)
	return &specOutput{spec}, err
}

type tryInput struct {
	Name string `path:"name" maxLength:"60" example:"monthly-transfer" doc:"Name of the specification."`
	Body struct {
		Version int      `json:"version,omitempty" minimum:"1" doc:"Its version. Without it: the latest."`
		Over    []string `json:"quasi_identifiers,omitempty" nullable:"false" example:"[\"area\",\"sex\"]" doc:"Columns of the specification by which people could be told apart. Without it: those of area, date of birth, sex and marital status."`
	}
}

// TrialResult is what an export would hold.
type TrialResult struct {
	Specification string              `json:"specification" example:"monthly-transfer@2" doc:"What was tried."`
	Rows          string              `json:"rows" example:"1205" doc:"Rows of an export of everything: exact, or <10, or rounded to five."`
	Exact         bool                `json:"exact" doc:"You may export the rows, and rows and smallest_group are exact."`
	LeftOut       map[string]string   `json:"left_out" doc:"People who are left out, by reason: restriction, objection, no_consent. Never exact."`
	Fields        map[string][]string `json:"fields" doc:"The fields that would leave, by sensitivity."`
	Over          []string            `json:"quasi_identifiers" nullable:"false" doc:"The columns that the smallest group is about."`
	Class         string              `json:"smallest_group_class,omitempty" example:"5–9" doc:"Rows in the smallest group that looks alike in these columns: <5, 5–9 or ≥10."`
	Smallest      int64               `json:"smallest_group,omitempty" doc:"The same as a number, when it is exact."`
	Sample        []json.RawMessage   `json:"sample" nullable:"false" doc:"Invented rows, as an export would have them. They are about nobody."`
}

type tryOutput struct{ Body TrialResult }

func (s *Server) tryExport(ctx context.Context, in *tryInput) (*tryOutput, error) {
	t, err := s.Gate.TryExport(ctx, visitOf(ctx).caller, in.Name, in.Body.Version, in.Body.Over)
	if err != nil {
		return nil, err
	}
	out := &tryOutput{TrialResult{
		Specification: t.Specification, Rows: t.Rows, Exact: t.Exact, LeftOut: t.LeftOut, Fields: t.Fields, Over: append([]string{}, t.Over...), Class: t.Class, Smallest: t.Smallest,
		Sample: []json.RawMessage{},
	}}
	for _, row := range t.Sample {
		out.Body.Sample = append(out.Body.Sample, row)
	}
	return out, nil
}

func (s *Server) exportBySpec(ctx context.Context, in *specInput) (*reply, error) {
	v := visitOf(ctx)
	export, spec, err := s.Gate.ExportBySpec(ctx, v.caller, in.Name, in.Version)
	if err != nil {
		return nil, err
	}
	v.recognized(export.Request(), exchange.Question{Dataset: spec.Dataset, Purpose: spec.Purpose})
	o := encode.Options{Schema: spec.Name + "@" + strconv.Itoa(spec.Version), Format: encode.Format(spec.Format), Layout: encode.Layout(spec.Layout), Profile: encode.Profile(spec.Profile)}
	return s.download(v, export, spec.Dataset, spec.Name, o)
}
