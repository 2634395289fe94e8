package rest

import (
	"context"
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
