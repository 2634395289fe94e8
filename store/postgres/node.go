package postgres

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

// node is a store that is open. It holds an advisory lock of its own number as long as it runs, on a
// session for nothing else: whoever finds a number in the ledger whose lock nobody holds knows that
// the requests of that node will never end by themselves.
type node struct {
	number int64 // random: two nodes never share one
	config *pgxpool.Config
	stop   context.CancelFunc
	done   chan struct{}
}

// The times of a node's session.
const (
	nodeRetry = 100 * time.Millisecond // between attempts at another one
	nodePause = time.Second            // between looks at who runs
)

// joinNodes takes the lock of a new node.
func joinNodes(ctx context.Context, config *pgxpool.Config) (*node, error) {
	n := &node{number: 1 + rand.Int64N(1<<62), config: config, done: make(chan struct{})}
	session, err := n.hold(ctx)
	if err != nil {
		return nil, fault("open the registry", err)
	}
	ctx, n.stop = context.WithCancel(context.Background())
	go n.keep(ctx, session)
	return n, nil
}

// hold takes the lock in a session of its own. While a session that was lost is still known to the
// server, it holds the lock as well as a new one would.
func (n *node) hold(ctx context.Context) (*pgx.Conn, error) {
	session, err := dial(ctx, n.config)
	if err != nil {
		return nil, err
	}
	if _, err := session.Exec(ctx, "SELECT pg_advisory_lock_shared($1)", n.number); err != nil {
		closeSession(session)
		return nil, err
	}
	return session, nil
}

// keep replaces the session when it dies, until the node leaves.
func (n *node) keep(ctx context.Context, session *pgx.Conn) {
	defer close(n.done)
	for {
		_, _ = session.WaitForNotification(ctx) // there is none: it ends with the session, or with us
		closeSession(session)
		for session = nil; session == nil; {
			if !sleep(ctx, nodeRetry) {
				return
			}
			session, _ = n.hold(ctx) // again, until the database answers
		}
	}
}

func closeSession(session *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = session.Close(ctx) // ends the session and with it the lock
}

// leave gives the lock back.
func (n *node) leave() {
	n.stop()
	<-n.done
}

// abandoned selects open requests of nodes whose lock nobody holds.
const abandoned = `SELECT DISTINCT r.request FROM ledger r WHERE r.kind = 'release'
	AND NOT EXISTS (SELECT FROM ledger o WHERE o.request = r.request AND o.kind = 'outcome')
	AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (l.classid::bigint << 32) + l.objid::bigint = r.node)
	ORDER BY r.request`

// AbandonedRequests returns open requests of nodes that do not run any more. It looks until it sees
// the same twice, a second apart: a node that has lost its session takes its lock again meanwhile, and
// the server lets go of one that was killed.
func (s *Store) AbandonedRequests(ctx context.Context) ([]annona.UID, error) {
	open, err := s.OpenRequests(ctx)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	before, err := s.requests(ctx, abandoned)
	for err == nil {
		if !sleep(ctx, nodePause) {
			return nil, ctx.Err()
		}
		var now []annona.UID
		if now, err = s.requests(ctx, abandoned); slices.Equal(now, before) {
			break
		}
		before = now
	}
	return before, err
}
