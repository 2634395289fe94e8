package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/filter/filtertest"
)

// call is one request, the same in every world. A path names a record by its key, and each
// world puts in the record's id.
type call struct {
	method  string
	path    string
	record  string // key of the record whose id stands for {id}
	realm   string // of that id
	query   url.Values
	body    string
	headers map[string]string
}

func (c call) String() string {
	return fmt.Sprint(c.method, " ", c.path, " of ", c.record, " in ", c.realm, " ? ", c.query, " ", c.body, " ", c.headers)
}

// doors draws a call through each route that there is. A route that is missing here fails the
// test.
func doors(t lawTerms) map[string]func(*rapid.T) call {
	d := drawer{t}
	table := map[string]func(*rapid.T) call{"POST /v1/lookup": d.lookup, "POST " + nameSearchPath: d.nameSearch, "GET " + changesPath: d.changes}
	for _, name := range []string{"households", "individuals"} {
		table["GET /v1/"+name] = func(rt *rapid.T) call { return d.search(rt, name) }
		table["GET /v1/"+name+"/{id}"] = func(rt *rapid.T) call { return d.get(rt, name) }
		table["GET /v1/"+name+"/{id}/updates"] = func(rt *rapid.T) call { // which its agreement may not read
			c := d.get(rt, name)
			c.path, c.query = "/v1/"+name+"/{id}/updates", url.Values{"purpose": {lawPurpose}}
			return c
		}
		table["GET /v1/"+name+"/export"] = func(rt *rapid.T) call { return d.export(rt, name) }
	}
	for _, path := range []string{
		"/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/docs", "/docs/{file}", "/v1/programs", "/v1/programs/{code}", "/v1/code-lists", "/v1/code-lists/{list}",
		"/v1/code-lists/{list}/{version}", "/v1/schemas/{file}", "/v1/schemas/{version}/{file}",
	} {
		table["GET "+path] = func(*rapid.T) call { return call{method: http.MethodGet, path: publicPath.Replace(path)} }
	}
	for _, name := range []string{"enrollments", "benefits", "payments"} {
		asked := url.Values{"purpose": {lawPurpose}}
		table["GET /v1/"+name] = func(*rapid.T) call { return call{method: http.MethodGet, path: "/v1/" + name, query: asked} }
		table["POST /v1/"+name] = func(*rapid.T) call {
			row := `{"source_enrollment_id":"1","source_benefit_id":"1","program":"cash","individual_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","status":"active","status_date":"2020-01-01"}`
			return call{method: http.MethodPost, path: "/v1/" + name, query: asked, body: row, headers: map[string]string{"Content-Type": "application/x-ndjson"}}
		}
		if name == "payments" { // which have no ids
			continue
		}
		table["GET /v1/"+name+"/{id}"] = func(rt *rapid.T) call {
			c := d.get(rt, "individuals")
			c.path, c.query = "/v1/"+name+"/{id}", asked
			return c
		}
		table["GET /v1/"+name+"/{id}/updates"] = func(rt *rapid.T) call { // which its agreement may not read
			c := d.get(rt, "individuals")
			c.path, c.query = "/v1/"+name+"/{id}/updates", asked
			return c
		}
	}
	table["GET "+beneficiariesPath] = func(rt *rapid.T) call {
		c := d.search(rt, even([]string{"individuals", "households"}).Draw(rt, "dataset"))
		c.query.Set("dataset", strings.TrimPrefix(c.path, "/v1/"))
		c.query.Del("as_of")
		c.query.Del("fields")
		c.path, c.headers["Accept"] = beneficiariesPath, even([]string{"application/json", "application/x-ndjson"}).Draw(rt, "accept of a list")
		return c
	}
	table["GET "+beneficiariesPath+"/{id}"] = func(rt *rapid.T) call {
		c := d.get(rt, even([]string{"individuals", "households"}).Draw(rt, "dataset"))
		c.path, c.query = beneficiariesPath+"/{id}", url.Values{"purpose": {lawPurpose}}
		return c
	}
	table["GET "+beneficiariesPath+"/{id}/updates"] = func(rt *rapid.T) call {
		c := d.get(rt, even([]string{"individuals", "households"}).Draw(rt, "dataset"))
		c.path, c.query = beneficiariesPath+"/{id}/updates", url.Values{"purpose": {lawPurpose}}
		return c
	}
	// No caller of the law asks who takes part.
	table["POST "+checksPath] = func(*rapid.T) call {
		return call{method: http.MethodPost, path: checksPath, query: url.Values{"purpose": {lawPurpose}}, body: `{"identifiers":[{"type":"passport_number","value":"X1"}],"program":"cash"}`,
			headers: map[string]string{"Content-Type": "application/json"}}
	}
	// These tell the history of the ledger, which every call of the law itself makes longer: the
	// law asks as one who may not, or before there is a checkpoint.
	table["GET /v1/ledger/checkpoint"] = func(*rapid.T) call { return call{method: http.MethodGet, path: "/v1/ledger/checkpoint"} }
	table["GET /v1/ledger/proof"] = func(*rapid.T) call {
		return call{method: http.MethodGet, path: "/v1/ledger/proof", query: url.Values{"request": {annona.NewUID().String()}}}
	}
	table["GET /v1/subjects/{id}/disclosures"] = func(rt *rapid.T) call {
		c := d.get(rt, "individuals")
		c.path, c.query = "/v1/subjects/{id}/disclosures", url.Values{"purpose": {lawPurpose}}
		return c
	}
	table["GET /v1/decisions/{id}"] = func(*rapid.T) call {
		return call{method: http.MethodGet, path: "/v1/decisions/" + annona.NewUID().String()}
	}
	table["GET "+specsPath] = func(*rapid.T) call { return call{method: http.MethodGet, path: specsPath} }
	table["GET "+specsPath+"/{name}"] = func(rt *rapid.T) call { return call{method: http.MethodGet, path: specsPath + "/" + specOf(rt)} }
	table["GET "+specsPath+"/{name}/export"] = func(rt *rapid.T) call {
		return call{method: http.MethodGet, path: specsPath + "/" + specOf(rt) + "/export"}
	}
	table["POST "+specsPath+"/{name}/dry-run"] = func(rt *rapid.T) call {
		text, _ := json.Marshal(map[string]any{"quasi_identifiers": even([][]string{nil, {"sex"}, {"nothing"}}).Draw(rt, "over")})
		return call{method: http.MethodPost, path: specsPath + "/" + specOf(rt) + "/dry-run", body: string(text)}
	}
	// Whether an export may be started is decided before anybody asks whether the registry keeps files: here it
	// does not, so that no export ever waits.
	table["POST "+exportsPath] = func(rt *rapid.T) call {
		text, _ := json.Marshal(map[string]any{"specification": specOf(rt)})
		return call{method: http.MethodPost, path: exportsPath, body: string(text)}
	}
	table["GET "+exportsPath] = func(*rapid.T) call { return call{method: http.MethodGet, path: exportsPath} }
	for _, door := range []string{"GET ", "DELETE "} {
		table[door+exportsPath+"/{id}"] = func(*rapid.T) call {
			return call{method: strings.TrimSpace(door), path: exportsPath + "/" + strings.Repeat("a", 32)}
		}
	}
	for _, below := range []string{"/manifest", "/files/{name}"} {
		table["GET "+exportsPath+"/{id}"+below] = func(*rapid.T) call {
			return call{method: http.MethodGet, path: exportsPath + "/" + strings.Repeat("a", 32) + strings.Replace(below, "{name}", "part", 1)}
		}
	}
	// No caller of the law changes records.
	for _, name := range []string{"households", "individuals"} {
		table["PATCH /v1/"+name+"/{id}"] = func(rt *rapid.T) call {
			c := d.get(rt, name)
			c.method, c.body, c.headers = http.MethodPatch, `{"settlement_type":"rural"}`, map[string]string{"If-Match": `"x"`, "Idempotency-Key": "x", "Content-Type": mergePatch}
			return c
		}
	}
	for path, decide := range map[string]string{changeRequestsPath: "decision", conflictsPath: "resolution"} {
		query, one := url.Values{"purpose": {lawPurpose}}, path+"/"+strings.Repeat("a", 32)
		table["GET "+path] = func(*rapid.T) call {
			return call{method: http.MethodGet, path: path, query: url.Values{"purpose": {lawPurpose}, "dataset": {"individuals"}}}
		}
		table["GET "+path+"/{id}"] = func(*rapid.T) call { return call{method: http.MethodGet, path: one, query: query} }
		table["POST "+path+"/{id}/"+decide] = func(*rapid.T) call {
			return call{method: http.MethodPost, path: one + "/" + decide, query: query, body: `{"decision":"approve","reason":"seen"}`, headers: map[string]string{"Idempotency-Key": "x", "Content-Type": "application/json"}}
		}
	}
	table["DELETE "+changeRequestsPath+"/{id}"] = func(*rapid.T) call {
		return call{method: http.MethodDelete, path: changeRequestsPath + "/" + strings.Repeat("a", 32), query: url.Values{"purpose": {lawPurpose}}, headers: map[string]string{"Idempotency-Key": "x"}}
	}
	table["GET "+updatesPath] = func(*rapid.T) call {
		return call{method: http.MethodGet, path: updatesPath, query: url.Values{"purpose": {lawPurpose}, "dataset": {"individuals"}}}
	}
	table["POST "+lifeEventsPath] = func(*rapid.T) call {
		return call{method: http.MethodPost, path: lifeEventsPath, query: url.Values{"purpose": {lawPurpose}}, headers: map[string]string{"Idempotency-Key": "x", "Content-Type": "application/json"},
			body: `{"type":"death","individual_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","effective_date":"2020-01-01","evidence":"form 1","reason":"reported"}`}
	}
	// No caller of the law decides for a program.
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		table[method+" "+decisionsPath] = func(*rapid.T) call {
			return call{method: method, path: decisionsPath, query: url.Values{"purpose": {lawPurpose}, "dataset": {"individuals"}}, body: map[string]string{http.MethodPost: "{}"}[method], headers: map[string]string{"Content-Type": "application/x-ndjson"}}
		}
	}
	// No caller of the law is a person of the registry.
	for pattern, body := range map[string]string{
		"GET " + breakGlassPath: "", "POST " + breakGlassPath: `{"purpose":"` + lawPurpose + `","reason":"flood"}`, "DELETE " + breakGlassPath + "/{id}": "", "POST " + breakGlassPath + "/{id}/review": `{"verdict":"justified","note":"seen"}`,
		"GET " + usagePath: "", "GET " + approvalsPath: "", "GET " + approvalsPath + "/{id}": "", "POST " + approvalsPath + "/{id}/approve": `{"hash":""}`, "POST " + approvalsPath + "/{id}/reject": "{}",
	} {
		method, path, _ := strings.Cut(pattern, " ")
		table[pattern] = func(*rapid.T) call {
			return call{method: method, path: strings.Replace(path, "{id}", strings.Repeat("a", 32), 1), body: body, headers: map[string]string{"Content-Type": "application/json"}}
		}
	}
	// No caller of the law keeps cases.
	for _, door := range []string{
		"POST " + casesPath, "GET " + casesPath, "GET " + casesPath + "/{id}", "PATCH " + casesPath + "/{id}", "POST " + casesPath + "/{id}/actions", "GET " + casesPath + "/{id}/notes", "GET " + casesPath + "/{id}/updates",
		"POST " + casesPath + "/{id}/notes", "POST " + casesPath + "/{id}/transitions", "GET " + transitionsPath, "POST " + transitionsPath + "/{id}/answers",
		"POST " + attachmentsPath, "GET " + attachmentsPath, "GET " + attachmentPath, "DELETE " + attachmentPath, "POST " + bulkPath,
		"GET " + caseConflictsPath, "POST " + caseConflictsPath + "/{conflict}/resolution",
	} {
		method, path, _ := strings.Cut(door, " ")
		headers := map[string]string{"Content-Type": "application/json", "If-Match": `"x"`, "Idempotency-Key": "k"}
		if door == "POST "+casesPath || door == "POST "+bulkPath {
			headers["Content-Type"] = "application/x-ndjson"
		}
		table[door] = func(rt *rapid.T) call {
			c := call{method: method, path: strings.NewReplacer("{attachment}", strings.Repeat("a", 26), "{conflict}", strings.Repeat("a", 32)).Replace(path), query: url.Values{"purpose": {lawPurpose}}, headers: headers}
			if strings.Contains(path, "{id}") {
				of := d.get(rt, "individuals")
				c.record, c.realm = of.record, of.realm
			}
			if method != http.MethodGet {
				c.body = `{"action":"close"}`
			}
			return c
		}
	}
	// No caller of the law is a registrar.
	table["POST "+importsPath] = func(*rapid.T) call {
		return call{method: http.MethodPost, path: importsPath, query: url.Values{"mapping": {"people"}}, body: "id\n1\n", headers: map[string]string{"Content-Type": "text/csv"}}
	}
	table["GET "+importsPath] = func(*rapid.T) call { return call{method: http.MethodGet, path: importsPath} }
	table["GET "+importsPath+"/{id}"] = func(rt *rapid.T) call {
		c := d.get(rt, "individuals")
		c.path, c.query = importsPath+"/{id}", nil
		return c
	}
	return table
}

var publicPath = strings.NewReplacer("/docs/{file}", "/docs/start.js", "{file}", "individuals.csvw.json", "{list}", "area", "{version}", "1")

// specOf draws the name of a specification that the law has put on file, or of none.
func specOf(rt *rapid.T) string {
	return even([]string{"law-individuals", "law-households", "law-individuals", "law-households", "nothing"}).Draw(rt, "specification")
}

// drawer draws calls that a caller under these terms could try.
type drawer struct{ t lawTerms }

// asked draws what every question has.
func (d drawer) asked(rt *rapid.T, dataset string) url.Values {
	q := url.Values{"purpose": {lawPurpose}}
	if evenInt(0, 40).Draw(rt, "wrong purpose") == 0 {
		q.Set("purpose", "another")
	}
	if evenInt(0, 2).Draw(rt, "as_of") == 0 {
		q.Set("as_of", even([]string{"2019-03-01", string(lawTomorrow), "1990-01-01", "2090-01-01"}).Draw(rt, "day"))
	}
	if fields := d.fields(rt, dataset); len(fields) > 0 {
		q.Set("fields", strings.Join(fields, ","))
	}
	return q
}

// fields draws columns, nearly always granted ones.
func (d drawer) fields(rt *rapid.T, dataset string) (names []string) {
	if evenInt(0, 2).Draw(rt, "everything") > 0 {
		return nil
	}
	s, _ := annona.Standard().Dataset(dataset)
	for _, name := range rapid.SliceOfN(even(fieldCodes(s)), 0, 6).Draw(rt, "fields") {
		if d.t.grants(dataset, name) || evenInt(0, 30).Draw(rt, "not granted") == 0 {
			names = append(names, name)
		}
	}
	for _, group := range []string{"members.individual_id", "members.role", "members.relationships", "memberships.household_id", "relationships.to_individual_id"} {
		head, _, _ := strings.Cut(group, ".")
		if d.t.grants(dataset, head) && evenInt(0, 3).Draw(rt, group) == 0 {
			names = append(names, group)
		}
	}
	return names
}

// filter draws a filter, the more often one that is granted.
func (d drawer) filter(rt *rapid.T, dataset string) string {
	s, _ := annona.Standard().Dataset(dataset)
	var text string
	for range 10 {
		if texts := d.t.focus.filters[dataset]; texts != nil && evenInt(0, 2).Draw(rt, "telling") > 0 {
			text = even(texts).Draw(rt, "filter")
		} else {
			text = filter.Format(filtertest.Condition(annona.Standard(), s).Draw(rt, "filter"))
		}
		if c, err := filter.Compile(annona.Standard(), s, text); err == nil && d.passes(c) {
			break
		}
	}
	return text
}

func (d drawer) passes(c annona.Condition) bool {
	for p := range filter.Paths(c) {
		if g, ok := d.t.grant.Field(p.Field); !ok || g.Treatment != annona.TreatPass {
			return false
		}
	}
	return true
}

func (d drawer) search(rt *rapid.T, dataset string) call {
	q := d.asked(rt, dataset)
	if rapid.Bool().Draw(rt, "filtered") {
		q.Set("filter", d.filter(rt, dataset))
	}
	if rapid.Bool().Draw(rt, "limited") {
		q.Set("limit", fmt.Sprint(evenInt(1, 3).Draw(rt, "limit")))
	}
	return call{method: http.MethodGet, path: "/v1/" + dataset, query: q, headers: d.accept(rt)}
}

// changes draws a question of a follower: that of a search, of today.
func (d drawer) changes(rt *rapid.T) call {
	dataset := even([]string{"individuals", "households"}).Draw(rt, "dataset")
	c := d.search(rt, dataset)
	c.path = changesPath
	c.query.Del("as_of")
	c.query.Set("dataset", dataset)
	c.headers["Accept"] = even([]string{"", "application/json", "application/x-ndjson"}).Draw(rt, "accept")
	return c
}

func (d drawer) accept(rt *rapid.T) map[string]string {
	return map[string]string{
		"Accept":          even([]string{"", "application/json", "application/xml", "text/csv", "application/x-ndjson"}).Draw(rt, "accept"),
		"Accept-Encoding": even([]string{"", "", "", "gzip", "zstd"}).Draw(rt, "coding"),
	}
}

func (d drawer) get(rt *rapid.T, dataset string) call {
	c := call{
		method: http.MethodGet, path: "/v1/" + dataset + "/{id}", record: d.record(rt, dataset), query: d.asked(rt, dataset), headers: d.accept(rt),
		realm: even([]string{"law", "law", "law", "law", "law", "law", "law", "law", "another", "no id"}).Draw(rt, "realm"),
	}
	if evenInt(0, 9).Draw(rt, "conditional") == 0 {
		c.headers["If-None-Match"] = even([]string{"*", `"x"`}).Draw(rt, "if none match")
	}
	return c
}

// record draws the key of a record: on file, hidden, on file in one world only, or nobody's.
func (d drawer) record(rt *rapid.T, dataset string) string {
	kinds := map[string][]string{"households": {"h", "h", "h", "h", "y", "p"}, "individuals": {"p", "p", "p", "p", "x", "h"}}
	return fmt.Sprint(even(kinds[dataset]).Draw(rt, "kind"), evenInt(0, 4).Draw(rt, "of"))
}

func (d drawer) export(rt *rapid.T, dataset string) call {
	q := d.asked(rt, dataset)
	format := even([]string{"csv", "csv", "csv", "xml", "json", "ndjson", "jsonld", "xlsx", "parquet"}).Draw(rt, "format")
	q.Set("format", format)
	if format == "csv" || format == "xlsx" || format == "parquet" {
		if layout := even([]string{"", "linked", "flat", "plain"}).Draw(rt, "layout"); layout != "" {
			q.Set("layout", layout)
		}
	}
	if format == "csv" {
		q.Set("profile", even([]string{"machine", "spreadsheet"}).Draw(rt, "profile"))
	}
	if evenInt(0, 2).Draw(rt, "filtered") == 0 {
		q.Set("filter", d.filter(rt, dataset))
	}
	headers := d.accept(rt)
	delete(headers, "Accept")
	method := http.MethodGet
	if evenInt(0, 9).Draw(rt, "head") == 0 {
		method = http.MethodHead
	}
	return call{method: method, path: "/v1/" + dataset + "/export", query: q, headers: headers}
}

// nameSearch draws a search by names that somebody in the world may have.
func (d drawer) nameSearch(rt *rapid.T) call {
	q := d.asked(rt, "individuals")
	body := map[string]any{
		"purpose": q.Get("purpose"), "name": even([]string{"lines", "Two Lines", "more", "line", "or", "a b"}).Draw(rt, "name"),
		"area": even([]string{"XA-1-1", "XA-1-1", "XA-1-1", "XA-1", "nowhere"}).Draw(rt, "area"),
	}
	if fields := q.Get("fields"); fields != "" {
		body["fields"] = strings.Split(fields, ",")
	}
	text, _ := json.Marshal(body)
	return call{method: http.MethodPost, path: nameSearchPath, body: string(text), headers: d.accept(rt)}
}

func (d drawer) lookup(rt *rapid.T) call {
	dataset := even([]string{"individuals", "individuals", "households"}).Draw(rt, "dataset")
	q := d.asked(rt, dataset)
	body := map[string]any{
		"dataset": dataset, "purpose": q.Get("purpose"),
		"type": even(lawSchemes).Draw(rt, "scheme"), "value": even(append(lawDocuments, "a 3", "B-1")).Draw(rt, "document"),
	}
	if fields := q.Get("fields"); fields != "" {
		body["fields"] = strings.Split(fields, ",")
	}
	if day := q.Get("as_of"); day != "" {
		body["as_of"] = day
	}
	text, _ := json.Marshal(body)
	return call{method: http.MethodPost, path: "/v1/lookup", body: string(text), headers: d.accept(rt)}
}
