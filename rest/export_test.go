package rest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decoded undoes the content coding of an answer.
func decoded(a answer) (string, error) {
	var from io.Reader = strings.NewReader(a.body)
	switch a.header.Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(from)
		if err != nil {
			return "", err
		}
		from = z
	case "zstd":
		z, err := zstd.NewReader(from)
		if err != nil {
			return "", err
		}
		defer z.Close()
		from = z
	}
	text, err := io.ReadAll(from)
	return string(text), err
}

func TestExports(t *testing.T) {
	r := newRegistry(t)
	for _, s := range []struct {
		path, mediaType, name, rows string
		contain, lack               []string
	}{
		{wholeFile + "&format=csv", "text/csv; charset=utf-8; header=present", "individuals-", "5", []string{"individual_id,", "Wiśniewska", "=cmd|"}, []string{"GHA-"}},
		{wholeFile + "&format=csv&profile=spreadsheet", "text/csv; charset=utf-8; header=present", "individuals-", "5", []string{"\ufeff", "Wiśniewska"}, []string{",=cmd|"}},
		{wholeFile + "&format=json", "application/json", "individuals-", "5", []string{`"individuals":[`, `"schema":"individuals/1"`, "GHA-0012345"}, nil},
		{wholeFile + "&format=ndjson", "application/x-ndjson", "individuals-", "5", []string{"GHA-0012345"}, []string{`"individuals"`}},
		{wholeFile + "&format=xml", "application/xml", "individuals-", "5", []string{"<individuals ", "]]&gt;"}, nil},
		{"/v1/households/export?purpose=eligibility-assessment&format=csv", "application/zip", "households-", "2", []string{"PK"}, nil},
		{"/v1/households/export?purpose=eligibility-assessment&format=csv&layout=flat&fields=household_id,members.full_name", "text/csv; charset=utf-8; header=present", "households-", "2", []string{"member_full_name", "Nyaboke"}, nil},
		{filtered(wholeFile+"&format=ndjson", "household.poverty_score < 30"), "application/x-ndjson", "individuals-", "3", []string{"Wiśniewska"}, []string{"Mensah"}},
		{filtered(wholeFile+"&format=ndjson", "household.poverty_score < 1"), "application/x-ndjson", "individuals-", "0", nil, []string{"individual"}},
		{wholeFile + "&fields=sex&format=json", "application/json", "individuals-", "5", []string{"female"}, []string{"Wiśniewska"}},
	} {
		for _, c := range []string{"", "gzip", "zstd"} {
			a := r.get(s.path, r.full, "Accept-Encoding", c)
			text, err := decoded(a)
			if a.status != 200 || a.err != nil || err != nil {
				t.Fatalf("%s %s: %d %v %v %s", s.path, c, a.status, a.err, err, a.body)
			}
			coding := c
			if s.mediaType == "application/zip" {
				coding = "" // it is compressed already
			}
			if a.header.Get("Content-Type") != s.mediaType || a.header.Get("Content-Encoding") != coding {
				t.Errorf("%s %s: %s %s", s.path, c, a.header.Get("Content-Type"), a.header.Get("Content-Encoding"))
			}
			if a.trailer.Get("Annona-Rows") != s.rows || a.trailer.Get("Annona-Release") != a.header.Get("Annona-Request") {
				t.Errorf("%s %s: trailers %v", s.path, c, a.trailer)
			}
			if d := a.header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment; filename="+s.name) {
				t.Errorf("%s: %s", s.path, d)
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding", "Annona-Raised-Cap": "the%20test%20exports%20everything"} {
				if a.header.Get(name) != want {
					t.Errorf("%s: %s is %q", s.path, name, a.header.Get(name))
				}
			}
			for _, fragment := range s.contain {
				if !strings.Contains(text, fragment) {
					t.Errorf("%s %s lacks %q: %.300s", s.path, c, fragment, text)
				}
			}
			for _, fragment := range s.lack {
				if strings.Contains(text, fragment) {
					t.Errorf("%s %s has %q", s.path, c, fragment)
				}
			}
		}
	}
	r.keepsToItself(planted)
}

func TestLinkedFilesAreReadable(t *testing.T) {
	r := newRegistry(t)
	a := r.get("/v1/households/export?purpose=eligibility-assessment&format=csv", r.full)
	archive, err := zip.NewReader(strings.NewReader(a.body), int64(len(a.body)))
	r.check(err)
	rows := map[string]int{}
	for _, f := range archive.File {
		content, err := f.Open()
		r.check(err)
		records, err := csv.NewReader(content).ReadAll()
		r.check(err)
		rows[f.Name] = len(records) - 1
	}
	if rows["households.csv"] != 2 || rows["individuals.csv"] != 5 || rows["identifiers.csv"] != 1 {
		t.Errorf("rows of the files: %v", rows)
	}
}

// HEAD says what a download would be and discloses nobody.
func TestHeadOfAnExport(t *testing.T) {
	r := newRegistry(t)
	r.beforeRelease(func(context.Context, int) error { return errors.New("HEAD released a page") })
	a := r.ask(http.MethodHead, wholeFile+"&format=csv", r.full, "")
	if a.status != 200 || a.body != "" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") {
		t.Errorf("%d %v %q", a.status, a.header, a.body)
	}
	if a := r.ask(http.MethodHead, wholeFile+"&format=nothing", r.full, ""); a.status != 400 {
		t.Errorf("a HEAD that is refused: %d", a.status)
	}
}

// Whatever fails before the first byte is a problem, not a body that breaks off.
func TestFailureBeforeTheFirstByte(t *testing.T) {
	r := newRegistry(t)
	r.beforeRelease(func(context.Context, int) error { return errors.New("Wiśniewska does not fit on the disk") })
	for _, format := range []string{"csv", "json", "xml", "ndjson"} {
		a := r.get(wholeFile+"&format="+format, r.full, "Accept-Encoding", "gzip")
		if p := a.problem(t); a.status != 503 || p.Code != "ledger_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", format, a.status, a.body)
		}
		for _, staged := range []string{"Content-Encoding", "Content-Disposition", "Annona-Schema", "Trailer"} {
			if a.header.Get(staged) != "" {
				t.Errorf("%s: a problem with the header %s", format, staged)
			}
		}
	}
	if a := r.get(onePage, r.full); a.status != 503 {
		t.Errorf("a page: %d %s", a.status, a.body)
	}
	r.keepsToItself(planted)
}

// After the first byte there is no clean end: not plain, not compressed, in no format.
func TestFailureAfterTheFirstByte(t *testing.T) {
	stops := map[string]func(r *registry) error{ // by the code in the log
		"ledger_unavailable": func(*registry) error { return errors.New("no space left") },
		"key_invalid": func(r *registry) error {
			return r.gate.RevokeClient(context.Background(), operator, r.fullClient)
		},
		"shutting_down": func(r *registry) error { r.stop(); return nil },
	}
	for code, stop := range stops {
		for _, coding := range []string{"", "gzip", "zstd"} {
			t.Run(code+" "+coding, func(t *testing.T) {
				t.Parallel()
				r := newRegistry(t)
				breaksOff(r, coding, stop)
				r.aborted(code)
			})
		}
	}
}

func breaksOff(r *registry, coding string, stop func(*registry) error) {
	r.many(3000)
	r.beforeRelease(func(ctx context.Context, release int) error {
		if release != 2 {
			return nil
		}
		if err := stop(r); err != nil {
			return err
		}
		<-ctx.Done() // the gate asks each second whether it may go on
		return ctx.Err()
	})
	a := r.get(wholeFile+"&format=json", r.full, "Accept-Encoding", coding)
	if a.status != 200 || !errors.Is(a.err, io.ErrUnexpectedEOF) {
		r.Errorf("the client saw %d, %v", a.status, a.err)
	}
	text, err := decoded(a)
	if coding != "" && err == nil {
		r.Error("a reader of the coding takes the body for complete")
	}
	if !strings.Contains(text, "Wiśniewska") || strings.HasSuffix(strings.TrimSpace(text), "]}") || len(a.trailer.Values("Annona-Rows")) > 0 {
		r.Error("not the first page alone")
	}
}

// aborted fails unless the log says that the request was cut, and why.
func (r *registry) aborted(code string) {
	r.Helper()
	for range 100 {
		if strings.Contains(r.logged(), `"code":"`+code+`","aborted":true`) && strings.Contains(r.metricsText(), `class="aborted"`) {
			return
		}
		time.Sleep(50 * time.Millisecond) // the line is written after the client has noticed
	}
	r.Errorf("the log does not say that the request was cut: %s", r.logged())
}

// A client that stops reading is cut.
func TestClientThatStopsReading(t *testing.T) {
	r := newRegistry(t, func(o *Options) { o.WriteTimeout = 200 * time.Millisecond })
	r.many(3000)
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	r.check(err)
	defer c.Close()
	r.check(c.(*net.TCPConn).SetReadBuffer(4 << 10))
	_, err = io.WriteString(c, "GET "+wholeFile+"&format=json HTTP/1.1\r\nHost: x\r\nX-API-Key: "+r.full+"\r\n\r\n")
	r.check(err)
	r.aborted("client_gone")
	rest, _ := io.ReadAll(c)
	if bytes.HasSuffix(rest, []byte("0\r\n\r\n")) || bytes.Contains(rest, []byte("Annona-Rows:")) {
		t.Error("the body ends cleanly")
	}
}

// A client that goes away ends its export; the ledger knows why.
func TestClientThatGoesAway(t *testing.T) {
	r := newRegistry(t)
	r.many(3000)
	ctx, leave := context.WithCancel(t.Context())
	r.beforeRelease(func(ctx context.Context, release int) error {
		if release == 2 {
			leave()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+wholeFile+"&format=csv", nil)
	r.check(err)
	request.Header.Set("X-API-Key", r.full)
	response, err := http.DefaultClient.Do(request)
	r.check(err)
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	r.aborted("client_gone")
	if strings.Contains(r.logged(), `"level":"ERROR"`) {
		t.Errorf("somebody else's going is our error: %s", r.logged())
	}
}

// HTTP/1.0 ends every body by closing the connection: it could not tell.
func TestOldHTTPIsRefused(t *testing.T) {
	r := newRegistry(t)
	for path, want := range map[string]string{wholeFile + "&format=csv": "505", onePage: "505", "/healthz": "200"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		r.check(err)
		_, err = io.WriteString(c, "GET "+path+" HTTP/1.0\r\nX-API-Key: "+r.full+"\r\n\r\n")
		r.check(err)
		text, err := io.ReadAll(c)
		r.check(err)
		c.Close()
		if status := strings.Fields(string(text))[1]; status != want {
			t.Errorf("%s: %s", path, status)
		}
	}
}

// A credential gets its rows or a clear refusal, never a part of them.
func TestRowCeiling(t *testing.T) {
	r := newRegistry(t)
	path := "/v1/individuals/export?purpose=statistics&format=csv"
	if a := r.get(path, r.narrow); a.status != 403 || a.problem(t).Code != "row_ceiling" {
		t.Errorf("five rows of four: %d %s", a.status, a.body)
	}
	a := r.get(filtered(path, "individual.sex == 'female'"), r.narrow)
	if a.status != 200 || a.trailer.Get("Annona-Rows") != "3" || a.header.Get("Annona-Raised-Cap") != "" {
		t.Errorf("three rows of four: %d %v %s", a.status, a.trailer, a.body)
	}
	if withheld := a.header.Get("Annona-Withheld"); !strings.Contains(withheld, "full_name") || strings.Contains(withheld, "sex,") {
		t.Errorf("withheld: %s", withheld)
	}
}
