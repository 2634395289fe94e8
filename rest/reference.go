package rest

import (
	"context"
	"embed"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
)

// reference/ is the page of the API reference and the script that starts it. All else of it
// comes embedded in swgui: nothing is fetched from anywhere.
//
//go:embed reference
var reference embed.FS

// referencePolicy allows the reference its own scripts, styles and this server, and no more.
// Its library sets styles inline.
const referencePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const publicly = "public, max-age=3600"

// referencePage shows the reference.
func (s *Server) referencePage(context.Context, *struct{}) (*reply, error) {
	return s.referenceFile(context.Background(), &referenceInput{File: "index.html"})
}

type referenceInput struct {
	File string `path:"file" doc:"A file of the reference page." example:"swagger-ui.css"`
}

// referenceFiles are the files of the reference, with the type of those that are ours.
var referenceFiles = map[string]string{
	"index.html":                      "text/html; charset=utf-8",
	"start.js":                        "text/javascript; charset=utf-8",
	"swagger-ui.css":                  "",
	"swagger-ui-bundle.js":            "",
	"swagger-ui-standalone-preset.js": "",
	"favicon-16x16.png":               "",
	"favicon-32x32.png":               "",
}

func (s *Server) referenceFile(_ context.Context, in *referenceInput) (*reply, error) {
	mediaType, known := referenceFiles[in.File]
	if !known {
		return nil, errNoRoute
	}
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		w.Header().Set("Content-Security-Policy", referencePolicy)
		w.Header().Set("Cache-Control", publicly)
		if mediaType == "" {
			s.swagger.ServeHTTP(w, r)
			return
		}
		page, err := reference.ReadFile("reference/" + in.File)
		if err != nil {
			s.refuse(w, r, annona.Internal("read the reference", err))
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Write(page)
	}}, nil
}

// openAPI answers with the document that describes every operation.
func (s *Server) openAPI(mediaType string, write func(*huma.OpenAPI) ([]byte, error)) func(context.Context, *struct{}) (*reply, error) {
	document := sync.OnceValues(func() ([]byte, error) { return write(s.api.OpenAPI()) })
	return func(context.Context, *struct{}) (*reply, error) {
		text, err := document()
		if err != nil {
			return nil, annona.Internal("write the OpenAPI document", err)
		}
		return s.public(mediaType, text), nil
	}
}

func openAPIJSON(o *huma.OpenAPI) ([]byte, error) { return json.MarshalIndent(o, "", "  ") }
func openAPIYAML(o *huma.OpenAPI) ([]byte, error) { return o.YAML() }

// public answers with a document that is nobody's.
func (s *Server) public(mediaType string, text []byte) *reply {
	return &reply{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		b := s.newBody(w.(*response), r, http.Header{"Content-Type": {mediaType}, "Cache-Control": {publicly}})
		defer b.release()
		_, err := b.Write(text)
		if err == nil {
			err = b.complete()
		}
		s.end(b, r, err)
	}}
}
