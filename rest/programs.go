package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
)

func (s *Server) registerPrograms() {
	get := func(path, id, summary, description string) huma.Operation {
		return public(huma.Operation{
			Method: http.MethodGet, Path: path, OperationID: id, Tags: []string{"programs"}, Summary: summary, Description: description,
		}, http.StatusInternalServerError, http.StatusServiceUnavailable)
	}
	huma.Register(s.api, get("/v1/programs", "programs", "The programs", "The version of each program that holds, with its cycles. Nothing about anybody."), s.programs)
	huma.Register(s.api, get("/v1/programs/{code}", "program", "One program", ""), s.program)
}

type programsOutput struct {
	Body struct {
		Programs []annona.Program `json:"programs" nullable:"false" doc:"In order of code."`
	}
}

func (s *Server) programs(ctx context.Context, _ *struct{}) (*programsOutput, error) {
	all, err := s.Gate.ProgramsOnFile(ctx)
	out := &programsOutput{}
	out.Body.Programs = append([]annona.Program{}, all...)
	return out, err
}

type programInput struct {
	Code string `path:"code" maxLength:"60" doc:"Code of the program." example:"cash-transfer"`
}

type programOutput struct{ Body annona.Program }

func (s *Server) program(ctx context.Context, in *programInput) (*programOutput, error) {
	p, err := s.Gate.ProgramOnFile(ctx, in.Code)
	if err != nil {
		return nil, err
	}
	return &programOutput{Body: *p}, nil
}
