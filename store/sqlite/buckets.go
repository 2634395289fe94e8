package sqlite

import (
	"context"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// buckets count the requests of this process, in its memory, but for what is to last: a file serves one
// process, and a write for each would cost more than what is counted. Of a bucket it is remembered when it is full again.
type buckets struct {
	mu     sync.Mutex
	fullAt map[string]time.Time
}

// Draw draws requests from a bucket.
func (s *Store) Draw(ctx context.Context, d annona.Draw) (got, room int, wait time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, 0, err
	}
	if d.Lasting {
		return s.drawLasting(ctx, d)
	}
	b := &s.buckets
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fullAt == nil {
		b.fullAt = map[string]time.Time{}
	}
	b.fullAt[d.Bucket], got, room, wait = drawn(d, b.fullAt[d.Bucket])
	return got, room, wait, nil
}

// drawLasting draws from a bucket that lies in the file. Draws at the same time share a commit.
func (s *Store) drawLasting(ctx context.Context, d annona.Draw) (got, room int, wait time.Duration, err error) {
	err = s.writer.append(ctx, &appending{write: func(t *tx) (refused, failed error) {
		var full time.Time
		_, err := t.conn.one("SELECT full_at FROM quotas WHERE name = ?", func(stmt *sqlite.Stmt) { full = time.Unix(0, stmt.ColumnInt64(0)) }, d.Bucket)
		if err != nil {
			return nil, err
		}
		full, got, room, wait = drawn(d, full)
		return nil, t.conn.exec("INSERT INTO quotas (name, full_at, drawn) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET full_at = ?2, drawn = ?3", d.Bucket, full.UnixNano(), got)
	}})
	return got, room, wait, err
}

// drawn is a draw from a bucket that would be full from fullAt on.
func drawn(d annona.Draw, fullAt time.Time) (full time.Time, got, room int, wait time.Duration) {
	full = fullAt.Add(-time.Duration(d.Unused) * d.Every)
	if full.Before(d.Now) {
		full = d.Now
	}
	left := d.Now.Add(time.Duration(d.Burst) * d.Every).Sub(full)
	got = max(min(d.Want, int(left/d.Every)), 0)
	left -= time.Duration(got) * d.Every
	if got == 0 {
		wait = d.Every - left
	}
	return full.Add(time.Duration(got) * d.Every), got, max(int(left/d.Every), 0), wait
}
