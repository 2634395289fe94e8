package exchange_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// movingPast is a past beside which somebody writes: each reading of it is followed by something.
type movingPast struct {
	annona.Past
	mu     sync.Mutex
	happen func(reading int)
	read   int
}

func (m *movingPast) ReadPast(ctx context.Context, scope annona.Scope, w *annona.World, numbers []annona.Number, page *annona.Page) error {
	err := m.Past.ReadPast(ctx, scope, w, numbers, page)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read++
	m.happen(m.read)
	return err
}

// TestAWriteBesideAnExportAtAPosition: what changes between the gathering of what was and the end of its
// reading is gathered again. When that never ends, the export says so, and nothing has left.
func TestAWriteBesideAnExportAtAPosition(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p := small(t, g)
			caller, err := p.admit("law")
			check(t, err)
			q := exchange.Question{Dataset: "individuals", Purpose: lawPurpose, Fields: []string{"individual_id", "marital_status"}}
			export := func() (map[string]string, string, error) {
				e, err := p.Export(p.ctx, caller, q, exchange.Form{Format: "ndjson"})
				check(t, err)
				to := &rowReceiver{rows: map[string]string{}}
				_, err = e.Run(p.ctx, []*annona.Shape{e.Shape()}, to, func() {})
				return to.rows, e.Position(), err
			}
			before, position, err := export()
			check(t, err)
			q.Position = position
			marry := func(status string) {
				p.put(t, []annona.Record{changed(member("p0", "h0", "head"), "marital_status", status)})
			}
			marry("married")

			past := &movingPast{Past: p.Past, happen: func(reading int) {
				if reading == 1 {
					marry("divorced")
				}
			}}
			p.Past = past
			if rows, _, err := export(); err != nil || !maps.Equal(rows, before) || past.read != 2 {
				t.Errorf("one write, after %d readings: %v, %v", past.read, rows, err)
			}
			past.happen = func(reading int) {
				marry([]string{"divorced", "married"}[reading%2])
			}
			if rows, _, err := export(); annona.CodeOf(err) != "snapshot_busy" || len(rows) > 0 {
				t.Errorf("writes without an end: %v, %v", rows, err)
			}
			past.happen = func(int) {}
			if rows, _, err := export(); err != nil || !maps.Equal(rows, before) {
				t.Errorf("when it is quiet: %v, %v", rows, err)
			}
		})
	}
}
