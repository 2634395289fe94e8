package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const (
	lines      = wholeFile + "&format=ndjson&fields=individual_id,full_name,sex"
	followFile = allChanges + "&fields=individual_id,full_name,sex"
)

// at is a path with a position in a parameter.
func at(path, name, position string) string {
	return path + "&" + name + "=" + url.QueryEscape(position)
}

// byID reads lines of records.
func (r *registry) byID(body string) map[string]string {
	r.Helper()
	rows := map[string]string{}
	for line := range strings.Lines(body) {
		var row map[string]any
		r.check(json.Unmarshal([]byte(line), &row))
		rows[row["individual_id"].(string)] = line
	}
	return rows
}

// A partner takes an export at a position and goes on with the changes from there.
func TestAnExportAtAPosition(t *testing.T) {
	r := newRegistry(t)
	first := r.get(lines, r.full)
	position := first.header.Get("Annona-Position")
	if position == "" || first.trailer.Get("Annona-Next") != "" {
		t.Fatalf("%d %v %v", first.status, first.header, first.trailer)
	}
	r.load(r.member("h1", "", "i3", "full_name", "Somebody Else", "sex", "male"), r.member("h2", "", "new", "full_name", "Somebody New", "sex", "female"))
	_, err := r.gate.Restrict(r.Context(), operator, exchange.Subject{Source: "test", Key: "i2"}, annona.Restriction{Kind: annona.KindRestriction})
	r.check(err)

	snapshot := r.get(at(lines, "position", position), r.full)
	if snapshot.status != 200 || strings.Contains(snapshot.body, "Somebody") || strings.Contains(snapshot.body, "Nyaboke") || strings.Count(snapshot.body, "\n") != 4 {
		t.Fatalf("%d %s", snapshot.status, snapshot.body)
	}
	rows := r.byID(snapshot.body)
	for id, row := range rows {
		if r.byID(first.body)[id] != row {
			t.Errorf("it was %s, and is %s", r.byID(first.body)[id], row)
		}
	}
	next := snapshot.trailer.Get("Annona-Next")
	body := r.told(at(followFile, "after", next))
	if len(body.Changes) != 2 || body.More {
		t.Fatalf("%+v", body)
	}
	for _, c := range body.Changes {
		name, had := c.Record["full_name"], rows[c.ID] != ""
		if had != (name == "Somebody Else" && c.Kind == "upsert") || !had && (name != "Somebody New" || c.Kind != "entered_scope") {
			t.Errorf("%+v", c)
		}
	}
	if again := r.get(at(lines, "position", body.Next), r.full); again.status != 200 || strings.Count(again.body, "Somebody") != 2 || again.trailer.Get("Annona-Next") == "" {
		t.Errorf("at a position behind changes: %d %s", again.status, again.body)
	}
	if c := r.get(at(wholeFile+"&format=csv&fields=individual_id,full_name,sex", "position", position), r.full); c.status != 200 || strings.Contains(c.body, "Somebody") {
		t.Errorf("as csv: %d %s", c.status, c.body)
	}
	whole := r.get("/v1/households/export?purpose=eligibility-assessment&format=csv", r.full)
	if zip := r.get(at("/v1/households/export?purpose=eligibility-assessment&format=csv", "position", whole.header.Get("Annona-Position")), r.full); zip.status != 200 || zip.trailer.Get("Annona-Next") != "" || zip.trailer.Get("Annona-Rows") != "2" {
		t.Errorf("as an archive: %d %v", zip.status, zip.trailer)
	}
}

// A position is worth nothing in other hands, under another question, made up, or too old.
func TestPositionsInOtherHands(t *testing.T) {
	s := newSwaps(t)
	position := s.get(lines, s.full).header.Get("Annona-Position")
	page := s.get(followFile+"&limit=2", s.full).header.Get("Annona-Next")
	today := time.Now().UTC().Format(annona.DateLayout)
	for name, c := range map[string]struct{ path, position, key, code string }{
		"another client of the same agreement": {lines, position, s.second, "position_invalid"},
		"other fields":                         {wholeFile + "&format=ndjson&fields=individual_id,sex", position, s.full, "position_invalid"},
		"all fields":                           {wholeFile + "&format=ndjson", position, s.full, "position_invalid"},
		"a filter":                             {filtered(lines, "true"), position, s.full, "position_invalid"},
		"households":                           {"/v1/households/export?purpose=eligibility-assessment&format=ndjson", position, s.full, "position_invalid"},
		"two of them":                          {lines, position + position, s.full, "position_invalid"},
		"nothing but zeros":                    {lines, strings.Repeat("A", len(position)), s.full, "position_invalid"},
		"a long one":                           {lines, strings.Repeat("A", 100_000), s.full, "position_invalid"},
		"control characters":                   {lines, "\x00\r\n\"", s.full, "position_invalid"},
		"a cursor of a search":                 {lines, s.cursor(onePage, s.full), s.full, "position_invalid"},
		"in the midst of a first snapshot":     {lines, page, s.full, "position_between"},
		"with a day":                           {lines + "&as_of=" + today, position, s.full, "as_of_unsuitable"},
	} {
		s.refuses(t, name, scenario{path: at(c.path, "position", c.position), status: 400, code: c.code}, c.key)
	}
	s.refuses(t, "a plain export's, to follow", scenario{path: at(followFile, "after", position), status: 400, code: "position_not_followed"}, s.full)
	if a := s.get(lines+"&as_of="+today, s.full); a.status != 200 || a.header.Get("Annona-Position") != "" {
		t.Errorf("with a day, an export has a position: %d", a.status)
	}
	if a := s.get(at(lines, "position", position), s.full); a.status != 200 {
		t.Fatalf("the same question: %d %s", a.status, a.body)
	}

	gone := func(name, position string) {
		s.refuses(t, name, scenario{path: at(lines, "position", position), status: http.StatusGone, code: "resync"}, s.full)
	}
	s.amend("full", func(a *annona.Agreement) { a.RowCeiling = 100_000 })
	gone("from before the agreement was amended", position)
	position = s.get(lines, s.full).header.Get("Annona-Position")
	for range 3 {
		s.load(s.member("h1", "", "i3", "full_name", time.Now().String()))
	}
	if _, err := s.store.PruneLog(s.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	gone("to which the log does not reach back", position)
	position = s.get(lines, s.full).header.Get("Annona-Position")
	if err := s.store.RenewLog(s.Context()); err != nil {
		t.Fatal(err)
	}
	gone("of a former log", position)
}
