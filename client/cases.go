package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
)

// Case is a case as the registry shows it.
type Case struct {
	ID     string
	ETag   string         // of the version that was read; empty in a caseload
	Fields map[string]any // as the schema of cases has them
}

// Conflict is one part of a case that somebody else has changed as well, and not to the same.
type Conflict struct {
	Field  string `json:"field"` // or group/item
	Read   any    `json:"read"`  // as it was when it was read
	Theirs any    `json:"theirs"`
	Yours  any    `json:"yours"`
}

// CaseEdit says what became of an edit: changed, merged, unchanged or conflict. A conflict is kept
// on file; whoever decides resolves it there, or sends the value that holds, with the new ETag.
type CaseEdit struct {
	Verdict   string     `json:"verdict"`
	Conflict  string     `json:"conflict"` // id under which it is kept, until somebody resolves it
	Conflicts []Conflict `json:"conflicts"`
	ETag      string     `json:"-"` // of the version on file
}

// Caseload returns the open cases of a worker, as the partner names its workers; of everybody when worker is
// empty. Those that others share with the partner are among them.
func (c *Client) Caseload(ctx context.Context, purpose, worker string) (all []Case, err error) {
	query := url.Values{"purpose": {purpose}, "status": {"open"}, "limit": {"1000"}}
	if worker != "" {
		query.Set("worker", worker)
	}
	for {
		var page struct{ Cases []map[string]any }
		answer, header, err := c.get(ctx, "/v1/cases", query)
		if err == nil {
			err = readJSON(answer, &page)
		}
		if err != nil {
			return nil, err
		}
		for _, fields := range page.Cases {
			id, _ := fields["case_id"].(string)
			all = append(all, Case{ID: id, Fields: fields})
		}
		if header.Get("Annona-Next") == "" {
			return all, nil
		}
		query.Set("after", header.Get("Annona-Next"))
	}
}

// Case reads one case, with the ETag by which it is edited.
func (c *Client) Case(ctx context.Context, purpose, id string) (Case, error) {
	found := Case{ID: id}
	answer, header, err := c.get(ctx, "/v1/cases/"+url.PathEscape(id), url.Values{"purpose": {purpose}})
	if err != nil {
		return found, err
	}
	found.ETag = header.Get("ETag")
	return found, readJSON(answer, &found.Fields)
}

// EditCase sends a JSON merge patch of the version that was read. key names the edit: when no answer comes it
// is sent again under the same key, and takes effect once.
func (c *Client) EditCase(ctx context.Context, purpose string, of Case, key string, patch map[string]any) (edit CaseEdit, err error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return edit, err
	}
	err = c.again(ctx, nil, func() error {
		answer, header, err := c.once(ctx, call{
			method: http.MethodPatch, path: "/v1/cases/" + url.PathEscape(of.ID), query: url.Values{"purpose": {purpose}}, body: body,
			header: http.Header{"Content-Type": {"application/merge-patch+json"}, "If-Match": {of.ETag}, "Idempotency-Key": {key}},
		})
		if refusal := (*Error)(nil); errors.As(err, &refusal) && refusal.Code == "case_conflict" {
			answer, header, err = refusal.answer, refusal.header, nil
		}
		if err != nil {
			return err
		}
		edit.ETag = header.Get("ETag")
		return readJSON(answer, &edit)
	})
	return edit, err
}
