package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The beginnings of files.
const (
	pngBegins = "\x89PNG\r\n\x1a\n"
	docx      = "PK\x03\x04....[Content_Types].xml....word/document.xml...."
	docxType  = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
)

// attach sends a file to a case.
func (r *registry) attach(key, of, mediaType, name, content string, query ...string) answer {
	r.Helper()
	return r.ask(http.MethodPost, casesPath+"/"+of+"/attachments"+forCases+strings.Join(query, ""), key, content, "Content-Type", mediaType, "Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

// attachments lists those of a case, by what is said of each.
func (r *registry) attachments(key, of string) (all []map[string]any) {
	r.Helper()
	a := r.get(casesPath+"/"+of+"/attachments"+forCases, key)
	var page map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != http.StatusOK {
		r.Fatalf("%d %s", a.status, a.body)
	}
	r.check(json.Unmarshal(page["case_attachments"], &all))
	return all
}

// A file comes to a case, is listed, fetched as it was, and taken away for good.
func TestAttachments(t *testing.T) {
	r := newRegistry(t)
	desk := r.caseworkers()
	of := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"other"}`, r.somebody(r.full, "eligibility-assessment")))[0].ID
	letter := "%PDF-1.7 " + strings.Repeat("the letter of a neighbor ", 30_000) // three parts
	added := r.attach(r.full, of, "application/pdf", "letter of the neighbor.pdf", letter)
	var said struct{ Verdict, ID string }
	if r.check(json.Unmarshal([]byte(added.body), &said)); added.status != http.StatusCreated || said.Verdict != "created" {
		t.Fatalf("%d %s", added.status, added.body)
	}
	listed := r.attachments(r.full, of)
	if len(listed) != 1 || listed[0]["attachment_id"] != said.ID || listed[0]["name"] != "letter of the neighbor.pdf" || listed[0]["size"] != float64(len(letter)) || listed[0]["case_id"] != of {
		t.Errorf("%v", listed)
	}
	one := casesPath + "/" + of + "/attachments/" + said.ID
	fetched := r.get(one+forCases, r.full)
	if fetched.status != http.StatusOK || fetched.body != letter || fetched.err != nil {
		t.Errorf("fetched: %d, %d bytes, %v", fetched.status, len(fetched.body), fetched.err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/pdf", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
		"Content-Disposition": `attachment; filename="letter of the neighbor.pdf"`,
	} {
		if got := fetched.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	r.sealedAtRest("the letter of a neighbor")
	hidden := r.attach(r.full, of, "text/plain", "words.txt", "words", "&confidential=true")
	if hidden.status != http.StatusCreated || len(r.attachments(r.full, of)) != 2 || len(r.attachments(desk, of)) != 1 {
		t.Errorf("a confidential one: %d %s", hidden.status, hidden.body)
	}
	if a := r.attach(desk, of, "text/plain", "words.txt", "words", "&confidential=true"); a.status != http.StatusForbidden || codeOf(a) != "confidentiality_not_granted" {
		t.Errorf("by one who is not cleared: %d %s", a.status, a.body)
	}
	r.check(json.Unmarshal([]byte(hidden.body), &said))
	nobodys := r.get(casesPath+"/"+of+"/attachments/"+strings.Repeat("a", 26)+forCases, desk)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if a := r.ask(method, casesPath+"/"+of+"/attachments/"+said.ID+forCases, desk, ""); a.status != http.StatusNotFound || codeOf(a) != codeOf(nobodys) {
			t.Errorf("%s of a confidential one: %d %s", method, a.status, a.body)
		}
	}
	r.amend("full", except("case_attachments", "sha256"))
	if a := r.get(one+forCases, r.full); a.status != http.StatusForbidden {
		t.Errorf("without the grant of contents: %d %s", a.status, a.body)
	}
	if a := r.ask(http.MethodDelete, one+forCases, r.full, ""); a.status != http.StatusNoContent {
		t.Errorf("taken away: %d %s", a.status, a.body)
	}
	if a := r.get(one+forCases, desk); a.status != http.StatusNotFound {
		t.Errorf("behind that: %d", a.status)
	}
	stones, err := r.gate.Erasures(t.Context(), operator)
	if err != nil || len(stones) != 1 || stones[0].Dataset != "case_attachments" || stones[0].ShreddedAt.IsZero() {
		t.Errorf("its key: %+v, %v", stones, err)
	}
	r.keepsToItself([]string{"neighbor"})
}

// A download that has begun is asked about again, also while its reader takes nothing, and breaks off when it may not go on.
func TestWhatEndsADownloadOfAnAttachment(t *testing.T) {
	for code, change := range map[string]func(r *registry, one string){
		"":            func(r *registry, _ string) {},
		"key_invalid": func(r *registry, _ string) { r.check(r.gate.RevokeClient(r.Context(), operator, r.fullClient)) },
		"not_found": func(r *registry, one string) {
			if a := r.ask(http.MethodDelete, one+forCases, r.full, ""); a.status != http.StatusNoContent {
				r.Fatalf("taken away: %d %s", a.status, a.body)
			}
		},
		"content_not_granted": func(r *registry, _ string) {
			r.amend("full", except("case_attachments", "sha256"))
		},
	} {
		t.Run(code, func(t *testing.T) {
			r := newRegistry(t)
			r.caseworkers()
			of := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"other"}`, r.somebody(r.full, "eligibility-assessment")))[0].ID
			letter := "%PDF-1.7 " + strings.Repeat("a long letter ", 600_000)
			var said struct{ ID string }
			r.check(json.Unmarshal([]byte(r.attach(r.full, of, "application/pdf", "letter.pdf", letter).body), &said))
			one := casesPath + "/" + of + "/attachments/" + said.ID
			request, err := http.NewRequest(http.MethodGet, r.url+one+forCases, nil)
			r.check(err)
			request.Header.Set("X-API-Key", r.full)
			slow := &http.Transport{DisableCompression: true, DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
				conn, err := net.Dial(network, address)
				if err == nil {
					err = conn.(*net.TCPConn).SetReadBuffer(64 << 10) // so that the server waits for its reader
				}
				return conn, err
			}}
			defer slow.CloseIdleConnections()
			answer, err := slow.RoundTrip(request)
			r.check(err)
			defer answer.Body.Close()
			change(r, one)
			time.Sleep(2500 * time.Millisecond)
			got, err := io.ReadAll(answer.Body)
			if whole := err == nil && string(got) == letter; whole != (code == "") {
				t.Errorf("%d bytes of %d, %v", len(got), len(letter), err)
			}
		})
	}
}

// sealedAtRest looks for a text in all files of the registry.
func (r *registry) sealedAtRest(text string) {
	r.Helper()
	r.check(filepath.WalkDir(r.folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			r.Errorf("%s shows what was attached", filepath.Base(path))
		}
		return err
	}))
}

// What is not taken in is refused in clear words, and nothing of it is left.
func TestAttachmentsThatAreRefused(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	of := r.put(r.full, `{"case_type":"other","provisional_name":"a walk-in"}`)[0].ID
	for name, c := range map[string]struct {
		mediaType, file, content string
		status                   int
		code                     string
	}{
		"a program as image/png":        {"image/png", "p.png", "\x7fELF\x02\x01\x01", 415, "attachment_mismatch"},
		"a script as image/jpeg":        {"image/jpeg", "p.jpg", "#!/bin/sh\n", 415, "attachment_mismatch"},
		"a program as text":             {"text/plain", "p.txt", "MZ\x90\x00\x03", 415, "attachment_mismatch"},
		"half a character":              {"text/plain", "p.txt", "caf\xc3", 415, "attachment_mismatch"},
		"an archive as a document":      {docxType, "p.docx", "PK\x03\x04 program.exe", 415, "attachment_mismatch"},
		"a document with macros":        {docxType, "p.docx", docx + "word/vbaProject.bin", 415, "attachment_mismatch"},
		"a program":                     {"application/x-msdownload", "p.exe", "MZ", 415, "attachment_type"},
		"a page":                        {"text/html", "p.html", "<script>", 415, "attachment_type"},
		"a picture with a script in it": {"image/svg+xml", "p.svg", "<svg/>", 415, "attachment_type"},
		"no kind":                       {"", "p.pdf", "%PDF-", 415, "attachment_type"},
		"another charset":               {"text/plain; charset=utf-16", "p.txt", "x", 415, "attachment_type"},
		"a name of another kind":        {"application/pdf", "p.pdf.exe", "%PDF-", 400, "attachment_name"},
		"a name with a path":            {"application/pdf", "../p.pdf", "%PDF-", 400, "attachment_name"},
		"a name that turns around":      {"application/pdf", "p\u202efdp.pdf", "%PDF-", 400, "attachment_name"},
		"a long name":                   {"application/pdf", strings.Repeat("p", 200) + ".pdf", "%PDF-", 400, "attachment_name"},
		"no name":                       {"application/pdf", "", "%PDF-", 400, "attachment_name"},
		"50 MB":                         {"application/pdf", "p.pdf", "%PDF-" + strings.Repeat("x", 50<<20), 413, "attachment_too_large"},
		"a case of nobody":              {"application/pdf", "p.pdf", "%PDF-", 404, "not_found"},
	} {
		at := of
		if c.status == 404 {
			at = strings.Repeat("a", 26)
		}
		if a := r.attach(r.full, at, c.mediaType, c.file, c.content); a.status != c.status || codeOf(a) != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, codeOf(a), c.status, c.code)
		}
	}
	empty := r.ask(http.MethodPost, casesPath+"/"+of+"/attachments"+forCases, r.full, "", "Content-Type", "text/plain", "Content-Disposition", `attachment; filename="p.txt"`)
	if empty.status != http.StatusBadRequest || codeOf(empty) != "attachment_empty" {
		t.Errorf("nothing: %d %s", empty.status, codeOf(empty))
	}
	r.gate.AttachmentLimit = 1000
	if a := r.attachInPieces(of, "%PDF-"+strings.Repeat("x", 1000)); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("more than it may have, of unknown length: %d", a.StatusCode)
	}
	r.cutOff(of)
	if left := r.attachments(r.full, of); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if files, err := os.ReadDir(filepath.Join(r.folder, "spool")); err != nil || len(files) > 0 {
		t.Errorf("left in the spool: %v, %v", files, err)
	}
	for name, c := range map[string][3]string{
		"a picture": {"image/png", "p.PNG", pngBegins + "x"}, "a document": {docxType, "Lettre d'été.docx", docx}, "a table": {"text/csv; charset=UTF-8", "t.csv", "a,b\n1,é\n"}, "a scan": {"image/tiff", "s.tif", "II*\x00x"},
	} {
		if a := r.attach(r.full, of, c[0], c[1], c[2]); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// attachInPieces sends a file without saying how long it is.
func (r *registry) attachInPieces(of, content string) *http.Response {
	r.Helper()
	request, err := http.NewRequest(http.MethodPost, r.url+casesPath+"/"+of+"/attachments"+forCases, io.MultiReader(strings.NewReader(content)))
	r.check(err)
	request.Header.Set("X-API-Key", r.full)
	request.Header.Set("Content-Type", "application/pdf")
	request.Header.Set("Content-Disposition", `attachment; filename="p.pdf"`)
	response, err := http.DefaultClient.Do(request)
	r.check(err)
	r.check(response.Body.Close())
	return response
}

// cutOff sends a part of a file, and then goes away. It returns when the server has noticed.
func (r *registry) cutOff(of string) {
	r.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	r.check(err)
	fmt.Fprintf(c, "POST %s/%s/attachments%s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"p.pdf\"\r\nContent-Length: 900\r\n\r\n%%PDF-half of it", casesPath, of, forCases, r.full)
	r.check(c.(*net.TCPConn).CloseWrite())
	r.check(c.SetReadDeadline(time.Now().Add(time.Minute)))
	_, _ = io.ReadAll(c)
	r.check(c.Close())
}
