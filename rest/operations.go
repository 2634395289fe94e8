package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
)

const overview = `Annona exchanges household and individual data between a social registry and its partners.

Every request about people names a **purpose** of your data sharing agreement and shows an **API key** in the header
X-API-Key, or an **access token** of POST /oauth2/token in the header Authorization. The agreement decides which fields, rows and how many of them you get; what you get is entered in a ledger before it
leaves. Ids are those of your agreement: another partner sees other ids for the same people.

Nothing is ignored: an unknown parameter, field, filter, code or purpose is refused with 400, a known one that your
agreement does not grant with 403. Every refusal is a problem (RFC 9457) with a stable code.`

// newAPI returns the API that the operations are registered with, on huma.
func newAPI(mux *routes, version, baseURL string) huma.API {
	configureHuma()
	document := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "Annona", Version: version, Description: overview},
		Tags: []*huma.Tag{
			{Name: "people", Description: "Households and individuals, under your agreement."},
			{Name: "programs", Description: "Programs, who takes part in them, and what they get."},
			{Name: "imports", Description: "For registrars: records of their sources, on the way in."},
			{Name: "export-specs", Description: "What exports of your agreement hold, under your names and codes."},
			{Name: "exports", Description: "Exports that run by themselves and become files."},
			{Name: "change-requests", Description: "What was asked of records and waits, and what clashed."},
			{Name: "ledger", Description: "What proves that the ledger of disclosures was not changed. It holds nothing about anybody."},
			{Name: "approvals", Description: "For people of the registry who have signed in: what waits for a second person."},
			{Name: "emergencies", Description: "Somebody reads what their roles do not show, and others see that."},
			{Name: "schemas", Description: "What the fields and codes mean. Public."},
			{Name: "operation", Description: "For whoever runs the installation. Public."},
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{keyScheme: {
				Type: "apiKey", In: "header", Name: "X-API-Key",
				Description: "The key that was shown when it was made: annona_live_… (annona_demo_… in a demonstration). Never in a URL.",
			}, tokenScheme: tokenSecurity(), sessionScheme: sessionSecurity()},
		},
	}
	document.OnAddOperation = append(document.OnAddOperation, tellWhatDecides())
	if baseURL != "" {
		document.Servers = []*huma.Server{{URL: baseURL}}
	}
	strictly := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshalStrictly}
	return humago.New(mux, huma.Config{
		OpenAPI:       document,
		Formats:       map[string]huma.Format{"application/json": strictly, "json": strictly}, // "json": of …+json
		DefaultFormat: "application/json",
	})
}

// register registers every operation: the routes, and the OpenAPI document with them.
func (s *Server) register() {
	s.api.UseMiddleware(s.needsHTTP11, s.authenticate, s.checkQuery)
	for _, noun := range []string{"household", "individual"} {
		s.registerDataset(noun)
	}
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodPost, Path: "/v1/lookup", OperationID: "lookup", MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Summary:     "Find one record by an identifier",
		Description: "Returns the record that holds the identifier. The number stands in the body, never in the URL. Nobody who holds it, and somebody whom you may not see, are the same 404; several holders are a 409, with candidates: their ids, and which identifiers each of them holds. Of several identifiers any leads to the record.",
		Responses:   answers("The record.", recordFormats),
	}, http.StatusConflict), s.lookup)
	s.registerSpecs()
	s.registerExports()
	s.registerDecisions()
	s.registerChangeRequests()
	s.registerLifeEvents()
	s.registerUpdates()
	s.registerPrograms()
	s.registerParticipation()
	s.registerBeneficiaries()
	s.registerChecks()
	s.registerCases()
	s.registerNames()
	s.registerChanges()
	s.registerImports()
	s.registerLedger()
	s.registerAccessDecisions()
	s.registerApprovals()
	s.registerBreakGlass()
	s.registerUsage()
	s.registerPublished()
	s.registerReference()
	for _, wire := range []Wire{s.Authorization, s.Pages} {
		if wire == nil {
			continue
		}
		for _, pattern := range wire.Patterns() {
			s.mux.HandleFunc(pattern, s.letIn(wire))
		}
	}
	huma.Register(s.api, public(huma.Operation{
		Method: http.MethodGet, Path: "/healthz", OperationID: "health", Tags: []string{"operation"},
		Summary: "Does the process answer?",
	}), s.alive)
	huma.Register(s.api, public(huma.Operation{
		Method: http.MethodGet, Path: "/readyz", OperationID: "readiness", Tags: []string{"operation"},
		Summary:     "Can the installation disclose?",
		Description: "503 while store, ledger or vault do not answer, and from the moment the server begins to shut down.",
	}, http.StatusServiceUnavailable), s.ready)
}

func (s *Server) registerDataset(noun string) {
	dataset, name := noun+"s", map[string]string{"household": "Household", "individual": "Individual"}[noun]
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: "/v1/" + dataset, OperationID: "search" + name + "s",
		Summary:     "A page of " + dataset,
		Description: "Records in the order in which they came on file. The next page is asked for with the cursor in next (JSON, XML) or the header Annona-Next (every format); the last page has none. CSV holds the single-valued columns.",
		Responses:   withCursor(answers("A page.", pageFormats)),
	}, http.StatusGone), s.search(dataset))
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: "/v1/" + dataset + "/{id}", OperationID: "get" + name,
		Summary:     "One " + noun,
		Description: "An unknown id, another agreement's id and a record that you may not see are the same 404. The ETag moves when what you see moves.",
		Responses:   withNotModified(answers("The record.", recordFormats)),
	}), s.get(dataset))
	s.registerUpdate(noun, name)
	s.registerUpdateLog(noun, "/v1/"+dataset, name)
	huma.Register(s.api, people(huma.Operation{
		Method: http.MethodGet, Path: "/v1/" + dataset + "/export", OperationID: "export" + name + "s",
		Summary: "All " + dataset + " as a file",
		Description: "Streams every record of your agreement that the filter chooses. The columns are fixed before the first row and described by the schema named in Annona-Schema.\n\n" +
			"A body that ends is complete, and its trailers Annona-Rows and Annona-Release say how many records it has and under which id the ledger holds it. A download that fails, is revoked or meets a shutdown breaks off: the connection closes without the end of the body, which every HTTP client reports as an error. Download it again then.\n\n" +
			"The records of a file are read over some time. The header Annona-Position names the moment at which that began: each record is of then or of later. With position, another export has all records as they were there, and its trailer Annona-Next is where changes go on (after): together they miss nothing and repeat nothing. " +
			"The trailer is there when the file has all columns that changes have, as JSON, NDJSON and XML do where you ask for the id. A position to which the log does not reach back any more, and one from before your agreement or the areas that it names were changed, is 410 resync: begin with a plain export.\n\n" +
			"More records than your credential's ceiling are refused with 403 row_ceiling before the first byte.",
		Responses: withExportHeaders(answers("The file.", exportFormats)),
	}, http.StatusGone), s.export(dataset))
}

func (s *Server) registerReference() {
	for path, o := range map[string]struct {
		id, mediaType string
		write         func(*huma.OpenAPI) ([]byte, error)
	}{
		"/openapi.json": {"openAPI", "application/openapi+json", openAPIJSON},
		"/openapi.yaml": {"openAPIAsYAML", "application/openapi+yaml", openAPIYAML},
	} {
		huma.Register(s.api, public(huma.Operation{
			Method: http.MethodGet, Path: path, OperationID: o.id, Tags: []string{"schemas"},
			Summary: "This document", Responses: documents("The OpenAPI document.", o.mediaType),
		}), s.openAPI(o.mediaType, o.write))
	}
	huma.Register(s.api, public(huma.Operation{
		Method: http.MethodGet, Path: "/docs", OperationID: "reference", Tags: []string{"schemas"},
		Summary: "The API reference, to read and try out", Responses: documents("A page that needs nothing from elsewhere.", "text/html"),
	}), s.referencePage)
	huma.Register(s.api, public(huma.Operation{
		Method: http.MethodGet, Path: "/docs/{file}", OperationID: "referenceFile", Tags: []string{"schemas"},
		Summary: "A file of the API reference", Responses: documents("The file.", "*/*"),
	}), s.referenceFile)
}

// people completes an operation about people: it needs a key, and can be refused in all the
// ways that the gate knows.
func people(o huma.Operation, errors ...int) huma.Operation {
	o.Tags = []string{"people"}
	o.Security = credentials()
	return refusable(o, append(errors, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests,
		http.StatusNotAcceptable, http.StatusInternalServerError, http.StatusServiceUnavailable)...)
}

// public completes an operation that needs no key.
func public(o huma.Operation, errors ...int) huma.Operation {
	return refusable(o, append(errors, http.StatusBadRequest, http.StatusNotFound)...)
}

// refusable documents the problems of an operation. Parameters are checked by checkQuery and by
// the gate, in their own words.
func refusable(o huma.Operation, statuses ...int) huma.Operation {
	o.SkipValidateParams = true
	if o.Responses == nil {
		o.Responses = map[string]*huma.Response{}
	}
	slices.Sort(statuses)
	for _, status := range statuses {
		o.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}, Example: exampleOf(status)}},
		}
	}
	return o
}

// examples are refusals as the reference shows them, one for each status.
var examples = []error{
	annona.Stale("version_unknown", "the record is not what you have read, and what you have read is not found again: read it once more").On("If-Match"),
	annona.Reused("idempotency_key_reused", "this key came with another request; give each request a key of its own").On("Idempotency-Key"),
	refused(http.StatusPreconditionRequired, annona.Invalid("if_match_missing", "say which version you have read: the ETag of that answer, in the header If-Match").On("If-Match")),
	annona.Invalid("unknown_field", "the name at this position of the list is no field of individuals; the schema individuals.schema.json lists them. Names are separated by commas, without spaces").On("fields").AtPosition(3),
	errKeyMissing,
	annona.Forbidden("filter_not_granted", "a filter may name only fields that the agreement grants unaltered, of a household or its head only where the agreement shows which and who that is").On("date_of_birth"),
	annona.NotFound("no such record, or not one that you may see"),
	refused(http.StatusNotAcceptable, annona.Invalid("not_acceptable", "answers are application/json, application/xml, text/csv, application/x-ndjson or application/ld+json").On("Accept")),
	annona.Conflict("identifier_ambiguous", "several records that you may see hold this identifier; report it to the registry"),
	errUploadTimeout,
	uploadTooLarge(defaultUpload),
	refused(http.StatusRequestedRangeNotSatisfiable, annona.Invalid("range_unsatisfiable", "the file is shorter than that").On("Range")),
	errCompressed,
	annona.Stale("version_too_old", "what you have read is too long ago to be merged; read it again").On("If-Match"),
	annona.Reused("idempotency_key_reused", "this key came with another request; give each request a key of its own").On("Idempotency-Key"),
	annona.Gone("cursor_expired", "the cursor is older than a day; start again without it").On("after"),
	annona.TooMany("searches_too_many", "names may be searched 30 times at once, and then every 2 seconds; wait a little"),
	annona.Internal("answer the request", nil),
	errShuttingDown,
}

func exampleOf(status int) *Problem {
	request := annona.UID{0x7d, 0x0f, 0x0a, 0x3c, 0x5d, 0x0b, 0x4f, 0x6f, 0x9a, 0x57, 0xc1, 0xf0, 0xe2, 0xb4, 0xd6, 0xa8}
	for _, err := range examples {
		if p := problemOf(err, request); p.Status == status {
			return p
		}
	}
	return nil
}

var (
	pageFormats   = mediaTypes(encode.FormatsOfPages())
	recordFormats = pageFormats
	exportFormats = append(mediaTypes(encode.FormatsOfFiles()), "application/zip")
)

func mediaTypes(formats []encode.Format) []string {
	var types []string
	for _, f := range formats {
		name, _, _ := strings.Cut(encode.MediaType("individuals", encode.Options{Format: f}), ";")
		types = append(types, name)
	}
	return types
}

// answers documents an answer about people.
func answers(description string, mediaTypes []string) map[string]*huma.Response {
	responses := documents(description, mediaTypes...)
	text := &huma.Schema{Type: huma.TypeString}
	responses["200"].Headers = map[string]*huma.Param{
		"Annona-Schema":  {Description: "The schema that the answer follows: individuals/3.", Schema: text},
		"Annona-Request": {Description: "Id of the request in the ledger.", Schema: text},
	}
	return responses
}

func documents(description string, mediaTypes ...string) map[string]*huma.Response {
	content := map[string]*huma.MediaType{}
	for _, m := range mediaTypes {
		content[m] = &huma.MediaType{}
	}
	return map[string]*huma.Response{"200": {Description: description, Content: content}}
}

func withExportHeaders(responses map[string]*huma.Response) map[string]*huma.Response {
	for name, description := range map[string]string{
		"Content-Disposition": "attachment, with a file name made of dataset and date.",
		"Annona-Code-Lists":   "The code lists of the fields and their versions: area=1, sex=2.",
		"Annona-Withheld":     "The fields of the dataset that the agreement does not grant, for any record.",
		"Annona-Raised-Cap":   "Why the agreement raises a cap of this credential, percent-encoded. Absent: it does not.",
		"Annona-Position":     "Where the records stand, for position: those of a plain export there or later, those of an export at a position all there. Not there with as_of.",
		"Annona-Next":         "Trailer of an export at a position: where changes go on, for after.",
		"Annona-Rows":         "Trailer: how many records the file has.",
		"Annona-Release":      "Trailer: the id under which the ledger holds this export.",
	} {
		responses["200"].Headers[name] = &huma.Param{Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return responses
}

func withCursor(responses map[string]*huma.Response) map[string]*huma.Response {
	responses["200"].Headers["Annona-Next"] = &huma.Param{
		Description: "The cursor of the next page, for after. Absent on the last page.", Schema: &huma.Schema{Type: huma.TypeString},
	}
	return responses
}

func withNotModified(responses map[string]*huma.Response) map[string]*huma.Response {
	responses["304"] = &huma.Response{Description: "You would see the same as before."}
	responses["200"].Headers["ETag"] = &huma.Param{Description: "For If-None-Match.", Schema: &huma.Schema{Type: huma.TypeString}}
	return responses
}
