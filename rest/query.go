package rest

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
)

// checkQuery holds the query against what the operation documents: each parameter known, given
// once and not empty. What is refused here could otherwise be ignored, and an ignored filter
// means everything. A missing purpose is for the gate to refuse.
func (s *Server) checkQuery(c huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(c)
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.refuse(w, r, annona.Invalid("query_malformed", "the query is not percent-encoded as URLs are; encode each value, & and + too"))
		return
	}
	if err := checkParameters(c.Operation(), values); err != nil {
		s.refuse(w, r, err)
		return
	}
	next(c)
}

func checkParameters(o *huma.Operation, values url.Values) error {
	known := map[string]*huma.Param{}
	for _, p := range o.Parameters {
		if p.In == "query" {
			known[p.Name] = p
		}
	}
	for name, given := range values {
		switch {
		case known[name] == nil:
			return unknownParameter(known)
		case len(given) > 1:
			return annona.Invalid("parameter_repeated", "give this parameter once").On(name)
		case given[0] == "":
			return annona.Invalid("parameter_empty", "give this parameter a value or leave it out").On(name)
		}
	}
	return nil
}

func unknownParameter(known map[string]*huma.Param) error {
	if len(known) == 0 {
		return annona.Invalid("unknown_parameter", "this operation has no parameters in the query")
	}
	names := slices.Sorted(maps.Keys(known))
	return annona.Invalid("unknown_parameter", "the parameters of this operation are %s", strings.Join(names, ", "))
}
