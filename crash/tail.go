package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// tail is a client that follows the log: it holds what it was told, and the position behind it.
// An answer that did not arrive whole counts for nothing; the same position is asked again.
type tail struct {
	position string
	held     map[string]string // records as JSON, by id
	current  bool              // it has had everything once: from now on it is told of changes only
	changes  int               // that it was told
	problems []problem
}

func newTail() *tail { return &tail{held: map[string]string{}} }

// clone returns a tail of its own, for what happened otherwise.
func (t *tail) clone() *tail {
	return &tail{position: t.position, held: maps.Clone(t.held), current: t.current}
}

// logged is one change of the log, as a client is told it.
type logged struct {
	Kind   string          `json:"kind"`
	ID     string          `json:"id"`
	Record json.RawMessage `json:"record"`
}

var errNoLog = errors.New("the program has no log to follow")

// next asks for what follows the position, and takes it in when all of it arrived. It reports
// whether more is there already.
func (t *tail) next(ctx context.Context, r *registry, limit int) (more bool, got *receipt, err error) {
	query := url.Values{"dataset": {"individuals"}, "purpose": {everyPurpose}, "fields": {personFields}, "limit": {fmt.Sprint(limit)}}
	if t.position != "" {
		query.Set("after", t.position)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/v1/changes?"+query.Encode(), nil)
	if err != nil {
		return false, nil, err
	}
	request.Header.Set("X-API-Key", r.keys[everybody])
	response, err := r.http.Do(request)
	if err != nil {
		return false, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		if response.StatusCode == http.StatusNotFound {
			return false, nil, errNoLog
		}
		return false, nil, fmt.Errorf("/v1/changes: %s: %s", response.Status, text)
	}
	got = &receipt{question: question{path: "changes", limit: limit}, request: response.Header.Get("Annona-Request"), bytes: int64(len(text)), whole: err == nil}
	got.take(text)
	if err != nil {
		return false, got, err
	}
	var answer struct {
		Changes []logged
		Next    string
		More    bool
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return false, got, err
	}
	for _, c := range answer.Changes {
		t.take(c)
	}
	t.position, t.current = answer.Next, t.current || !answer.More
	return answer.More, got, nil
}

// take takes in one change.
func (t *tail) take(c logged) {
	was, had := t.held[c.ID]
	var found string
	switch c.Kind {
	case "upsert", "entered_scope":
		if t.current && had && was == string(c.Record) {
			found = "was told again"
		}
		t.held[c.ID] = string(c.Record)
	case "left_scope", "delete":
		if !had {
			found = "was taken away and had never been there"
		}
		delete(t.held, c.ID)
	default:
		found = "has a change of the kind " + c.Kind
	}
	if found != "" {
		t.problems = append(t.problems, problem{checkTail, c.ID + " " + found})
	}
	t.changes++
}

// follow has the tail follow the log while the work goes on.
func (w *work) follow(ctx context.Context, t *tail, r *rand.Rand) {
	w.readers.Go(func() {
		for !w.isOver() {
			_, got, err := t.next(ctx, w.registry, 1+r.IntN(1000))
			if errors.Is(err, errNoLog) {
				return
			}
			if got != nil {
				w.mu.Lock()
				w.receipts = append(w.receipts, got)
				w.mu.Unlock()
			}
			time.Sleep(time.Duration(1+r.IntN(10)) * time.Millisecond)
		}
	})
}

// compare reads the log to its end from the position that the tail has acknowledged, and holds
// what the tail has then to a fresh export.
func (t *tail) compare(ctx context.Context, r *registry, s *sight) (receipts []*receipt, problems []problem, err error) {
	for more := true; more; {
		var got *receipt
		if more, got, err = t.next(ctx, r, 1000); err != nil {
			if errors.Is(err, errNoLog) {
				err = nil
			}
			return receipts, nil, err
		}
		receipts = append(receipts, got)
	}
	problems, t.problems = t.problems, nil
	for id, key := range s.ids {
		if record, held := t.held[id]; !held || record != s.people[key].record {
			problems = append(problems, problem{checkTail, fmt.Sprintf("%s is not what the log says, held: %v", key, held)})
		}
	}
	if extra := len(t.held) - len(s.ids); extra > 0 {
		problems = append(problems, problem{checkTail, fmt.Sprintf("the tail holds %d people too many", extra)})
	}
	return receipts, problems, nil
}

// recordOf is a line of an export as a change shows the same record.
func recordOf(line []byte) string { return string(bytes.TrimSpace(line)) }
