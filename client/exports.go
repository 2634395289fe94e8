package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Export is how an export stands.
type Export struct {
	ID            string    `json:"id"`
	Specification string    `json:"specification"` // name@version
	Dataset       string    `json:"dataset"`
	Purpose       string    `json:"purpose"`
	State         string    `json:"state"` // see the constants
	Code          string    `json:"code"`  // why it failed, or why it waits
	Since         string    `json:"since"` // position behind which a delta begins; empty: it has everything
	Position      string    `json:"position"`
	Rows          int64     `json:"rows"`
	RowsTotal     int64     `json:"rows_total"`
	Bytes         int64     `json:"bytes"`
	AskedAt       time.Time `json:"asked_at"`
	ExpiresAt     time.Time `json:"expires_at"`
}

// The states of an export.
const (
	Waiting   = "waiting"
	Running   = "running"
	Complete  = "complete"
	Failed    = "failed"
	Cancelled = "cancelled"
	Expired   = "expired" // it was complete, and its files are gone
)

const exportsPath = "/v1/exports"

func specification(name string, version int) string { return name + "@" + strconv.Itoa(version) }

// Start asks for an export.
type Start struct {
	Specification string `json:"specification"`
	Version       int    `json:"version,omitempty"`  // 0: the latest
	Position      string `json:"position,omitempty"` // of an earlier export by that version; empty: now
	// Since is where a delta begins: the position of an earlier manifest, or beginning for everything. Of a
	// specification of deltas only.
	Since string `json:"since,omitempty"`
	// Key makes a repetition of the same request the same export. Empty: each is another one.
	Key string `json:"-"`
}

// StartExport starts an export. With a key it is repeated as long as no answer comes.
func (c *Client) StartExport(ctx context.Context, s Start) (e Export, err error) {
	body, err := json.Marshal(s)
	if err != nil {
		return e, err
	}
	what := call{method: http.MethodPost, path: exportsPath, body: body, header: http.Header{"Content-Type": {"application/json"}}}
	if s.Key == "" {
		answer, _, err := c.once(ctx, what)
		if err != nil {
			return e, err
		}
		return e, readJSON(answer, &e)
	}
	what.header.Set("Idempotency-Key", s.Key)
	err = c.again(ctx, nil, func() error {
		answer, _, err := c.once(ctx, what)
		if err != nil {
			return err
		}
		return readJSON(answer, &e)
	})
	return e, err
}

// Exports lists the exports of the agreement, the newest first.
func (c *Client) Exports(ctx context.Context) ([]Export, error) {
	var list struct{ Exports []Export }
	err := c.getJSON(ctx, exportsPath, nil, &list)
	return list.Exports, err
}

// Export asks how an export stands.
func (c *Client) Export(ctx context.Context, id string) (e Export, err error) {
	return e, c.getJSON(ctx, exportsPath+"/"+url.PathEscape(id), nil, &e)
}

// Cancel cancels an export, or lets its files go.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.again(ctx, nil, func() error {
		_, _, err := c.once(ctx, call{method: http.MethodDelete, path: exportsPath + "/" + url.PathEscape(id)})
		return err
	})
}

// Specification returns an export specification, name or name@version, as JSON.
func (c *Client) Specification(ctx context.Context, spec string) ([]byte, error) {
	name, version, numbered := strings.Cut(spec, "@")
	query := url.Values{}
	if numbered {
		query.Set("version", version)
	}
	answer, _, err := c.get(ctx, "/v1/export-specs/"+url.PathEscape(name), query)
	return answer, err
}

// Manifest returns the signed manifest of a complete export; OpenManifest reads it.
func (c *Client) Manifest(ctx context.Context, id string) (string, error) {
	answer, _, err := c.get(ctx, exportsPath+"/"+url.PathEscape(id)+"/manifest", nil)
	return string(answer), err
}

// File writes a file of an export, from that byte on, and returns how many bytes came. tag is the
// SHA-256 of the whole file in hexadecimal: when the file is another one by now, or the registry knows
// no ranges, nothing is written and the code is file_changed. Code cut_off: it broke off, go on behind
// what came. A 410 says that somebody in it may not be received any more: start the export again.
func (c *Client) File(ctx context.Context, id, name string, from int64, tag string, into io.Writer) (int64, error) {
	what := call{method: http.MethodGet, path: exportsPath + "/" + url.PathEscape(id) + "/files/" + url.PathEscape(name), header: http.Header{}}
	if from > 0 {
		what.header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
		what.header.Set("If-Range", `"`+tag+`"`)
	}
	response, err := c.do(ctx, what)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if got := strings.Trim(response.Header.Get("ETag"), `"`); tag != "" && got != tag || (response.StatusCode == http.StatusPartialContent) != (from > 0) {
		return 0, &Error{Code: "file_changed", Detail: "the file is another one than the manifest says; fetch the manifest again", Name: name}
	}
	n, err := io.Copy(into, response.Body)
	if failed := (*writeError)(nil); errors.As(err, &failed) {
		return n, err
	}
	if err != nil {
		return n, cutOff(ctx, err)
	}
	return n, nil
}

// writeError is a failure of this side, as a disk that is full.
type writeError struct{ error }

func (w *writeError) Unwrap() error { return w.error }
