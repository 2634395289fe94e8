package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// logOf serves a log of these changes, one for each position.
func logOf(t *testing.T, changes ...string) *registry {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := 0
		fmt.Sscan(r.URL.Query().Get("after"), &at)
		next := min(at+1, len(changes))
		fmt.Fprintf(w, `{"changes":[%s],"next":"%d","more":%t}`, strings.Join(changes[at:next], ","), next, next < len(changes))
	}))
	t.Cleanup(server.Close)
	return &registry{address: strings.TrimPrefix(server.URL, "http://"), http: newClient()}
}

func put(id, record string) string {
	return fmt.Sprintf(`{"kind":"upsert","id":%q,"record":{"v":%q}}`, id, record)
}

func TestATailFindsGapsAndRepeats(t *testing.T) {
	gone := `{"kind":"left_scope","id":"a"}`
	s := &sight{ids: map[string]string{"a": "A"}, people: map[string]seen{"A": {record: `{"v":"2"}`}}}
	for _, x := range []struct {
		name  string
		first int // changes that were taken in before the snapshot was complete
		log   []string
		right bool
	}{
		{"all", 1, []string{put("a", "1"), put("a", "2")}, true},
		{"came back", 1, []string{put("a", "1"), gone, put("a", "2")}, true},
		{"a gap", 1, []string{put("a", "1")}, false},
		{"somebody who is gone", 1, []string{put("a", "2"), put("b", "2")}, false},
		{"a repeat", 1, []string{put("a", "2"), put("a", "2")}, false},
		{"taken away twice", 1, []string{put("a", "1"), gone, gone, put("a", "2")}, false},
		{"nothing", 0, nil, false},
	} {
		r, follower := logOf(t, x.log...), newTail()
		if x.first > 0 {
			if _, _, err := follower.next(t.Context(), logOf(t, x.log[0]), 1); err != nil {
				t.Fatal(err)
			}
		}
		_, problems, err := follower.compare(t.Context(), r, s)
		if err != nil || x.right != (len(problems) == 0) {
			t.Errorf("%s: %v, %v", x.name, problems, err)
		}
	}
}

// A program without a log is not followed.
func TestATailWithoutALog(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	r := &registry{address: strings.TrimPrefix(server.URL, "http://"), http: newClient()}
	if _, problems, err := newTail().compare(t.Context(), r, &sight{ids: map[string]string{"a": "A"}}); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
