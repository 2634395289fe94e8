package rest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/schema"
)

func (s *Server) registerPublished() {
	get := func(path, id, summary, description string, mediaTypes ...string) huma.Operation {
		return public(huma.Operation{
			Method: http.MethodGet, Path: path, OperationID: id, Tags: []string{"schemas"},
			Summary: summary, Description: description, Responses: documents(summary+".", mediaTypes...),
		})
	}
	const files = "individuals.xsd, individuals.schema.json, individuals.csvw.json, individuals.jsonld (the JSON-LD context), individuals.shacl.ttl (SHACL shapes), and the same for households. " +
		"Of enrollments, benefits, cases, case_notes and transitions: schema.json, jsonld and shacl.ttl. terms.ttl describes the terms that no other vocabulary has. A CSVW document describes one export: name its fields and layout."
	kinds := []string{"application/xml", "application/schema+json", "application/csvm+json", "application/ld+json", "text/turtle"}
	huma.Register(s.api, get("/v1/schemas/{file}", "schema", "The schema in force", files, kinds...), s.schemaInForce)
	huma.Register(s.api, get("/v1/schemas/{version}/{file}", "schemaOfVersion", "The schema of a version", files, kinds...), s.schemaOfVersion)
	huma.Register(s.api, get("/v1/code-lists", "codeLists", "The code lists", "Names and versions.", "application/json"), s.codeLists)
	huma.Register(s.api, get("/v1/code-lists/{list}", "codeList", "The latest version of a code list", "", "application/json"), s.latestCodeList)
	huma.Register(s.api, get("/v1/code-lists/{list}/{version}", "codeListOfVersion", "A version of a code list", "", "application/json"), s.codeListOfVersion)
}

// SchemaFile names one schema document, and for CSVW the export that it describes.
type SchemaFile struct {
	File   string   `path:"file" example:"individuals.xsd" doc:"Dataset and kind of schema."`
	Fields []string `query:"fields" nullable:"false" doc:"For csvw: the fields of the export."`
	Layout string   `query:"layout" enum:"linked,flat,plain" doc:"For csvw: the layout of the export."`
}

type schemaInput struct{ SchemaFile }

type schemaVersionInput struct {
	Version string `path:"version" example:"1" doc:"Schema version: the number in Annona-Schema."`
	SchemaFile
}

// errGroupNotPlain is what the gate answers to an export of these fields in this layout.
var errGroupNotPlain = annona.Invalid("group_not_plain", "the answer has no place for a repeated group; ask for layout=linked, or for another format")

var errNoSchema = annona.NotFound("there is no such schema; there are individuals and households as .xsd, .schema.json, .csvw.json, .jsonld and .shacl.ttl, what programs and case workers keep as .schema.json, .jsonld and .shacl.ttl, and terms.ttl, in the versions that this installation has had")

func (s *Server) schemaInForce(ctx context.Context, in *schemaInput) (*reply, error) {
	return s.schemaFile(ctx, s.Dictionary(), in.SchemaFile)
}

func (s *Server) schemaOfVersion(ctx context.Context, in *schemaVersionInput) (*reply, error) {
	version, err := parseVersion(in.Version)
	if err != nil {
		return nil, errNoSchema
	}
	d, known := s.dictionaryOf(version)
	if !known {
		return nil, errNoSchema
	}
	return s.schemaFile(ctx, d, in.SchemaFile)
}

// dictionaryOf returns the dictionary of a schema version.
func (s *Server) dictionaryOf(version int) (*annona.Dictionary, bool) {
	if d := s.Dictionary(); d.Version == version {
		return d, true
	}
	return s.Earlier(version)
}

// parseVersion reads a version the one way it is written.
func parseVersion(text string) (int, error) {
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 || strconv.Itoa(version) != text {
		return 0, errNoSchema
	}
	return version, nil
}

const (
	termsFile  = "terms.ttl"
	turtleType = "text/turtle"
)

// kindsOfMatters are the schemas of what nests and has no table.
var kindsOfMatters = []string{"schema.json", "jsonld", "shacl.ttl"}

func (s *Server) schemaFile(ctx context.Context, d *annona.Dictionary, in SchemaFile) (*reply, error) {
	name, kind, _ := strings.Cut(in.File, ".")
	dataset, known := d.Dataset(name)
	if kind != "csvw.json" && (in.Fields != nil || in.Layout != "") {
		return nil, annona.Invalid("unknown_parameter", "fields and layout are for csvw: the other schemas describe every field")
	}
	if in.File == termsFile {
		return s.document(turtleType, func(w io.Writer) error { return schema.Terms(w, d) })
	}
	if !known || !dataset.Root && !(dataset.Matter && slices.Contains(kindsOfMatters, kind)) {
		return nil, errNoSchema
	}
	switch kind {
	case "xsd":
		return s.document("application/xml", func(w io.Writer) error { return schema.XSD(w, d, dataset) })
	case "schema.json":
		return s.document("application/schema+json", func(w io.Writer) error { return schema.JSONSchema(w, d, dataset) })
	case "jsonld":
		base := visitOf(ctx).base + recordsPath
		return s.document("application/ld+json", func(w io.Writer) error { return schema.JSONLD(w, d, dataset, base) })
	case "shacl.ttl":
		return s.document(turtleType, func(w io.Writer) error { return schema.SHACL(w, d, dataset) })
	case "csvw.json":
		return s.csvw(d, dataset, in)
	default:
		return nil, errNoSchema
	}
}

// csvw describes the CSV files of one export.
func (s *Server) csvw(d *annona.Dictionary, dataset *annona.Dataset, in SchemaFile) (*reply, error) {
	shape, err := chosen(schema.FullShape(d, dataset), in.Fields)
	if err != nil {
		return nil, err
	}
	o := encode.Options{Format: encode.CSV}
	if o.Layout, err = encode.ParseLayout(in.Layout); err != nil {
		return nil, err
	}
	if len(in.Fields) > 0 && len(shape.Groups) > 0 && encode.LayoutOf(dataset.Name, o) == encode.Plain {
		return nil, errGroupNotPlain.On(shape.Groups[0].Field.Code)
	}
	if _, err := encode.Parts(shape, o); err != nil {
		return nil, err // an export would be refused too
	}
	return s.document("application/csvm+json", func(w io.Writer) error {
		return schema.CSVW(w, d, shape, schema.CSVWOptions{Layout: schema.Layout(encode.LayoutOf(dataset.Name, o))})
	})
}

// document answers with what write writes.
func (s *Server) document(mediaType string, write func(io.Writer) error) (*reply, error) {
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return nil, err
	}
	return s.public(mediaType, text.Bytes()), nil
}

type codeListsOutput struct {
	Body struct {
		CodeLists []codeListEntry `json:"code_lists" nullable:"false"`
	}
}

type codeListEntry struct {
	Name    string `json:"name" example:"sex"`
	Version int    `json:"version" example:"1"`
	URL     string `json:"url" example:"/v1/code-lists/sex/1"`
}

func (s *Server) codeLists(context.Context, *struct{}) (*codeListsOutput, error) {
	out := &codeListsOutput{}
	d := s.Dictionary()
	for _, name := range d.CodeLists() {
		l, _ := d.CodeList(name)
		out.Body.CodeLists = append(out.Body.CodeLists, codeListEntry{name, l.Version, "/v1/code-lists/" + name + "/" + strconv.Itoa(l.Version)})
	}
	return out, nil
}

type codeListInput struct {
	List string `path:"list" example:"sex" doc:"Name of the list."`
}

type codeListVersionInput struct {
	List    string `path:"list" example:"sex" doc:"Name of the list."`
	Version string `path:"version" example:"1" doc:"Version of the list."`
}

var errNoCodeList = annona.NotFound("there is no such code list; /v1/code-lists names them")

func (s *Server) latestCodeList(_ context.Context, in *codeListInput) (*reply, error) {
	l, known := s.Dictionary().CodeList(in.List)
	if !known {
		return nil, errNoCodeList
	}
	return s.codeListDocument(l)
}

func (s *Server) codeListOfVersion(_ context.Context, in *codeListVersionInput) (*reply, error) {
	version, err := parseVersion(in.Version)
	if err != nil {
		return nil, errNoCodeList
	}
	l, known := s.listOfVersion(in.List, version)
	if !known {
		return nil, errNoCodeList
	}
	return s.codeListDocument(l)
}

// listOfVersion looks for a version of a list in the dictionary in force, then in earlier ones.
func (s *Server) listOfVersion(name string, version int) (*annona.CodeList, bool) {
	d, known := s.Dictionary(), true
	for known {
		if l, has := d.CodeList(name); has && l.Version == version {
			return l, true
		}
		d, known = s.Earlier(d.Version - 1)
	}
	return nil, false
}

func (s *Server) codeListDocument(l *annona.CodeList) (*reply, error) {
	return s.document("application/json", func(w io.Writer) error { return schema.CodeList(w, l) })
}
