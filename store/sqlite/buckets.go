package sqlite

import (
	"context"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// buckets count the requests of this process, in its memory: a file serves one process, and a write for
// each would cost more than what is counted. Of a bucket it is remembered when it is full again.
type buckets struct {
	mu     sync.Mutex
	fullAt map[string]time.Time
}

// Draw draws requests from a bucket.
func (s *Store) Draw(ctx context.Context, d annona.Draw) (got, room int, wait time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, 0, err
	}
	b := &s.buckets
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fullAt == nil {
		b.fullAt = map[string]time.Time{}
	}
	full := b.fullAt[d.Bucket].Add(-time.Duration(d.Unused) * d.Every)
	if full.Before(d.Now) {
		full = d.Now
	}
	left := d.Now.Add(time.Duration(d.Burst) * d.Every).Sub(full)
	got = max(min(d.Want, int(left/d.Every)), 0)
	b.fullAt[d.Bucket] = full.Add(time.Duration(got) * d.Every)
	left -= time.Duration(got) * d.Every
	if got == 0 {
		wait = d.Every - left
	}
	return got, max(int(left/d.Every), 0), wait, nil
}
