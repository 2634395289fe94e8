package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// news tells whoever waits that the sequencer has put something into the log. It listens on a
// connection of its own, from the first time that somebody waits.
type news struct {
	config *pgxpool.Config
	begin  sync.Once
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	waiting chan struct{}
}

func newNews(config *pgxpool.Config) *news { return &news{config: config} }

// next returns a channel that the next news closes.
func (n *news) next() <-chan struct{} {
	n.begin.Do(func() {
		var ctx context.Context
		ctx, n.cancel = context.WithCancel(context.Background())
		n.done = make(chan struct{})
		go n.run(ctx)
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = make(chan struct{})
	}
	return n.waiting
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting != nil {
		close(n.waiting)
		n.waiting = nil
	}
}

// run listens until the store is closed. While the connection is away, whoever waits looks by
// himself.
func (n *news) run(ctx context.Context) {
	defer close(n.done)
	for ctx.Err() == nil {
		_ = n.listen(ctx)
		n.tell()
		sleep(ctx, time.Second)
	}
}

func (n *news) listen(ctx context.Context) error {
	c, err := dial(ctx, n.config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	}()
	if _, err := c.Exec(ctx, "LISTEN "+Channel); err != nil {
		return err
	}
	for {
		if _, err := c.WaitForNotification(ctx); err != nil {
			return err
		}
		n.tell()
	}
}

func (n *news) stop() {
	n.begin.Do(func() {}) // nobody starts it any more
	if n.cancel != nil {
		n.cancel()
		<-n.done
	}
}
