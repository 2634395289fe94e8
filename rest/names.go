package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona/exchange"
)

// nameSearchPath is that of an operation which an installation has only while its operator wants it.
const nameSearchPath = "/v1/name-search"

// screenNames answers as if there were no such path while names are not searched.
func (s *Server) screenNames(r *http.Request) error {
	if r.URL.Path != nameSearchPath {
		return nil
	}
	has, err := s.Gate.HasNameSearch(r.Context())
	if err == nil && !has {
		err = errNoRoute
	}
	return err
}

type nameSearchInput struct {
	Accepts
	Body struct {
		Name    private  `json:"name" doc:"Parts of the individual's names in any order: each whole, or at least its first four letters. Accents and capitals do not matter. It is kept nowhere." example:"Ama Mens"`
		Area    string   `json:"area,omitempty" maxLength:"200" doc:"Code of the area where the individual lives: one of level 2 (the country is 0) or below. Required." example:"GH-AA-01"`
		Purpose string   `json:"purpose" minLength:"1" doc:"What the data is for: the code of a purpose in your agreement." example:"eligibility-assessment"`
		Fields  []string `json:"fields,omitempty" maxItems:"500" nullable:"false" doc:"As the parameter fields of a search." example:"[\"individual_id\",\"full_name\"]"`
	}
}

// nameSearch answers with the individuals of an area who have a name.
func (s *Server) nameSearch(ctx context.Context, in *nameSearchInput) (*reply, error) {
	o, err := in.format()
	if err != nil {
		return nil, err
	}
	asked := Asked{Purpose: in.Body.Purpose, Fields: in.Body.Fields}
	q, form := written(asked.question("individuals"), o)
	v := visitOf(ctx)
	answer, err := s.Gate.NameSearch(ctx, v.caller, q, exchange.NameQuery{Name: string(in.Body.Name), Area: in.Body.Area}, form)
	if err != nil {
		return nil, err
	}
	v.recognized(answer.Request, q)
	o.Schema = schemaID("individuals", answer.Schema)
	return s.page(v, answer, o)
}

func (s *Server) registerNames() {
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodPost, Path: nameSearchPath, OperationID: "searchNames", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary: "Find individuals of an area by their names",
		Description: "Returns at most 20 individuals whom you may see: those whose names are as asked, then those whose names begin so. When there are 20, ask more exactly. The name stands in the body, never in the URL.\n\n" +
			"An installation has this operation only when its operator has switched it on; otherwise every request is 404, as of a path that there is not. Your agreement has to grant it.",
		Responses: answers("The individuals.", pageFormats),
	}), s.nameSearch)
}
