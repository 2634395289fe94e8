package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
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

// CaseEdit says what became of an edit: changed, merged, unchanged or conflict. A conflict is kept on file, until
// somebody resolves it: see OpenConflicts.
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

// KeptConflict is an edit of a case that has clashed, as the registry keeps it. Nothing of it has taken effect.
type KeptConflict struct {
	ID     string         `json:"id"`
	CaseID string         `json:"case_id"`
	At     time.Time      `json:"at"` // when it came
	By     Author         `json:"by"` // who has asked for it
	Action string         `json:"action"`
	Parts  []ConflictPart `json:"parts"`
}

// ConflictPart is one part of a case that the edit was to change.
type ConflictPart struct {
	Field  string    `json:"field"`  // or group/item
	Before any       `json:"before"` // as it was when it was read
	After  any       `json:"after"`  // as the edit wants it
	Now    any       `json:"now"`    // as it stood when the edit came
	Since  time.Time `json:"since"`  // of a part that clashes: when somebody else has said that
	By     *Author   `json:"by"`     // and who
}

// Author is who has said something. System is the name of another partner, which nobody but the reader's
// agreement knows it by.
type Author struct {
	Kind   string `json:"kind"` // partner or registry
	Mine   bool   `json:"mine"`
	Client string `json:"client"`
	System string `json:"system"`
}

// OpenConflicts returns the conflicts of a case that nobody has resolved; of all cases when id is empty.
func (c *Client) OpenConflicts(ctx context.Context, purpose, id string) (all []KeptConflict, err error) {
	path, query := "/v1/conflicts", url.Values{"purpose": {purpose}, "state": {"open"}, "dataset": {"cases"}}
	if id != "" {
		path = "/v1/cases/" + url.PathEscape(id) + "/conflicts"
		query.Del("dataset")
	}
	for {
		var page struct {
			Conflicts []KeptConflict
			Next      string
		}
		if err := c.getJSON(ctx, path, query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Conflicts...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// Resolve ends a conflict: approve lets the edit take effect, reject leaves what is on file. reason is a code of the
// partner's own, never personal data. When the case has changed since, an approval fails with the code request_moved.
// key names the decision, as that of an edit does. It returns the state of the conflict, applied or rejected.
func (c *Client) Resolve(ctx context.Context, purpose string, of KeptConflict, key, decision, reason string) (state string, err error) {
	body, err := json.Marshal(map[string]string{"decision": decision, "reason": reason})
	if err != nil {
		return "", err
	}
	var said struct{ State string }
	err = c.again(ctx, nil, func() error {
		answer, _, err := c.once(ctx, call{
			method: http.MethodPost, path: "/v1/cases/" + url.PathEscape(of.CaseID) + "/conflicts/" + url.PathEscape(of.ID) + "/resolution",
			query: url.Values{"purpose": {purpose}}, body: body, header: http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}},
		})
		if err != nil {
			return err
		}
		return readJSON(answer, &said)
	})
	return said.State, err
}
