package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// Question is what a follower wants to know.
type Question struct {
	Dataset string // individuals or households
	Purpose string
	Fields  []string // none: all that are granted
	Filter  string
	Limit   int // changes in one answer; 0: 1000
	Wait    int // seconds to wait for a change when there is none, at most 60
}

// Change is one change of what the partner sees. Apply the changes of an answer in order.
type Change struct {
	Kind   string          `json:"kind"` // upsert, entered_scope, left_scope or delete
	ID     string          `json:"id"`
	Into   []string        `json:"into"`   // of a delete: who took its place
	Record json.RawMessage `json:"record"` // of an upsert and an entered_scope
}

// Changes are an answer.
type Changes struct {
	Schema  string   `json:"schema"`
	Changes []Change `json:"changes"`
	Next    string   `json:"next"` // position behind them: keep it with what they changed
	More    bool     `json:"more"` // there are further ones already
}

// Changes asks what has changed behind a position. An empty one begins with a first snapshot, in pages.
// Code resync: the log does not reach back that far; begin again, and drop what the snapshot does not name.
func (c *Client) Changes(ctx context.Context, q Question, after string) (found Changes, err error) {
	limit := q.Limit
	if limit == 0 {
		limit = 1000
	}
	query := url.Values{"dataset": {q.Dataset}, "purpose": {q.Purpose}, "limit": {strconv.Itoa(limit)}}
	for name, value := range map[string]string{"fields": strings.Join(q.Fields, ","), "filter": q.Filter, "after": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.Wait > 0 {
		query.Set("wait", strconv.Itoa(q.Wait))
	}
	return found, c.getJSON(ctx, "/v1/changes", query, &found)
}
