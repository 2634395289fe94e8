package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// question is a request for people, and how its answer is read.
type question struct {
	path, format, layout, coding string
	limit                        int // of a search; 0: an export
	stall                        int // bytes after which the reader stops taking any, until the kill; 0: never
}

// receipt is what a client got.
type receipt struct {
	question
	request string // id of the request, as the answer's header tells it
	ids     []string
	people  []string
	bytes   int64
	rows    int  // of the root dataset, begun
	whole   bool // the answer ended as a complete one does
	stalled bool
	trailed bool // and its trailers say so: then its outcome was recorded before
}

// roots are what begins a row of the root dataset, by path and format. Linked files have several.
var roots = map[string]string{
	"individuals ndjson": `{"individual_id":`, "individuals json": `{"individual_id":`, "individuals xml": "<individual>", "individuals csv": "\n",
	"households ndjson": `{"household_id":`, "households json": `{"household_id":`, "households xml": "<household>",
}

// ask makes up a question.
func ask(r *rand.Rand) question {
	q := question{path: []string{"individuals", "individuals", "households"}[r.IntN(3)], format: []string{"csv", "ndjson", "json", "xml"}[r.IntN(4)]}
	q.coding = []string{"", "", "gzip"}[r.IntN(3)]
	if q.format == "csv" && q.path == "households" {
		q.layout, q.coding = "linked", ""
	}
	switch r.IntN(8) {
	case 0:
		q.limit, q.layout = 1+r.IntN(500), ""
		if q.format == "csv" {
			q.format = "json"
		}
	case 1, 2, 3, 4:
		q.stall = 1 + r.IntN(1<<r.IntN(23))
	}
	return q
}

var mediaTypes = map[string]string{"csv": "text/csv", "json": "application/json", "xml": "application/xml", "ndjson": "application/x-ndjson"}

func (q question) url(address string) (string, http.Header) {
	query, header := url.Values{"purpose": {everyPurpose}}, http.Header{}
	path := "/v1/" + q.path
	if q.limit > 0 {
		query.Set("limit", strconv.Itoa(q.limit))
		header.Set("Accept", mediaTypes[q.format])
		if q.format == "ndjson" {
			header.Set("Accept", mediaTypes["json"])
		}
	} else {
		path += "/export"
		query.Set("format", q.format)
		if q.layout != "" {
			query.Set("layout", q.layout)
		}
	}
	if q.coding != "" {
		header.Set("Accept-Encoding", q.coding)
	}
	return "http://" + address + path + "?" + query.Encode(), header
}

// receive asks and reads until the answer ends, one way or the other. total counts the bytes of
// all readers as they arrive; stalled readers go on when resume is closed.
func (r *registry) receive(ctx context.Context, q question, total *atomic.Int64, resume <-chan struct{}) *receipt {
	got := &receipt{question: q}
	address, header := q.url(r.address)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return got
	}
	request.Header = header
	request.Header.Set("X-API-Key", r.keys[everybody])
	response, err := r.http.Do(request)
	if err != nil {
		return got
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return got
	}
	got.request = response.Header.Get("Annona-Request")
	raw := &counted{in: response.Body, got: got, total: total, resume: resume}
	text, err := decode(raw, response.Header)
	got.take(text)
	got.trailed = err == nil && response.Trailer.Get("Annona-Release") == got.request
	got.whole = err == nil && (q.limit > 0 || got.trailed)
	return got
}

// counted counts bytes as they arrive, and stalls.
type counted struct {
	in     io.Reader
	got    *receipt
	total  *atomic.Int64
	resume <-chan struct{}
}

func (c *counted) Read(p []byte) (int, error) {
	if c.got.stall > 0 {
		p = p[:min(len(p), 8<<10)]
		if c.got.bytes >= int64(c.got.stall) && !c.got.stalled {
			c.got.stalled = true
			select {
			case <-c.resume:
			case <-time.After(patience):
			}
		}
	}
	n, err := c.in.Read(p)
	c.got.bytes += int64(n)
	c.total.Add(int64(n))
	return n, err
}

// decode reads a body as far as it goes. The error is nil when it ended well.
func decode(in io.Reader, header http.Header) ([]byte, error) {
	var text bytes.Buffer
	if header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = z
	}
	if header.Get("Content-Type") == "application/zip" {
		return text.Bytes(), errors.Join(unzip(bufio.NewReader(in), &text))
	}
	_, err := text.ReadFrom(in)
	return text.Bytes(), err
}

// unzip reads the files of a zip from its beginning, as far as it goes.
func unzip(in *bufio.Reader, to *bytes.Buffer) error {
	for {
		head := make([]byte, 30)
		if _, err := io.ReadFull(in, head[:4]); err != nil {
			return err
		}
		if !bytes.Equal(head[:4], []byte("PK\x03\x04")) {
			_, err := io.Copy(io.Discard, in) // the directory at the end
			return err
		}
		if _, err := io.ReadFull(in, head[4:]); err != nil {
			return err
		}
		names := int(binary.LittleEndian.Uint16(head[26:])) + int(binary.LittleEndian.Uint16(head[28:]))
		if _, err := in.Discard(names); err != nil {
			return err
		}
		if _, err := to.ReadFrom(flate.NewReader(in)); err != nil {
			return err
		}
		if err := skipDescriptor(in); err != nil {
			return err
		}
	}
}

// skipDescriptor skips what stands behind a file whose length was not known before.
func skipDescriptor(in *bufio.Reader) error {
	next, err := in.Peek(4)
	if err != nil || !bytes.Equal(next, []byte("PK\x07\x08")) {
		return err
	}
	for _, size := range []int{16, 24} { // with lengths of 32 or of 64 bits
		if next, err := in.Peek(size + 2); err == nil && next[size] == 'P' && next[size+1] == 'K' {
			_, err = in.Discard(size)
			return err
		}
	}
	return io.ErrUnexpectedEOF
}

// idLength is the length of an id on a wire: characters of base32, in lower case.
const idLength = 26

// take notes the ids in what was received, of whatever they are, and those that say of
// themselves that they are people's. What was cut within an id is none.
func (g *receipt) take(text []byte) {
	ids, people := map[string]bool{}, map[string]bool{}
	start := 0
	for i, c := range text {
		if 'a' <= c && c <= 'z' || '2' <= c && c <= '7' {
			continue
		}
		if i-start == idLength {
			ids[string(text[start:i])] = true
			if before := text[:start]; bytes.HasSuffix(before, []byte(`individual_id":"`)) || bytes.HasSuffix(before, []byte("individual_id>")) {
				people[string(text[start:i])] = true
			}
		}
		start = i + 1
	}
	g.ids, g.people = slices.Sorted(maps.Keys(ids)), slices.Sorted(maps.Keys(people))
	if root := roots[g.path+" "+g.format]; root != "" && g.limit == 0 {
		g.rows = strings.Count(string(text), root)
		if g.format == "csv" {
			g.rows-- // the header
		}
	}
}
