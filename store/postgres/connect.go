package postgres

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

// use is what a connection is for.
type use int

const (
	reading   use = iota // pages and questions; cannot write
	looking              // one record, or a small page; cannot write
	writing              // transactions, the ledger, the sequencer
	altering             // the schema, as its owner
	replaying            // pages of a standby
	copying              // everything, for a backup: reads for long
)

// kind is the kind of server that a use needs.
func (u use) kind() string {
	if u == replaying {
		return "standby"
	}
	return "primary"
}

// settings are those of every connection; a use adds its own.
var settings = map[string]string{
	"application_name":                    "annona",
	"search_path":                         "annona",
	"timezone":                            "UTC",
	"jit":                                 "off", // compiling costs more than any of our queries
	"log_parameter_max_length_on_error":   "0",   // values never reach the server's log
	"lock_timeout":                        "10s",
	"statement_timeout":                   "120s",
	"idle_in_transaction_session_timeout": "120s",
	"tcp_keepalives_idle":                 "10", // a node that has vanished gives its locks back within half a minute
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
}

func settingsOf(u use) map[string]string {
	switch u {
	case reading, replaying:
		return map[string]string{
			"default_transaction_read_only":   "on",
			"max_parallel_workers_per_gather": "0",                 // pages are read side by side already
			"plan_cache_mode":                 "force_custom_plan", // a plan depends on the range of the page
			"enable_hashjoin":                 "off",               // a page is read along its numbers, whatever the statistics say
			"enable_mergejoin":                "off",
			"enable_seqscan":                  "off",
			"enable_bitmapscan":               "off",
		}
	case looking:
		return map[string]string{
			"default_transaction_read_only":   "on",
			"max_parallel_workers_per_gather": "0",
			"plan_cache_mode":                 "force_generic_plan", // planning takes three times as long as looking up
			"enable_hashjoin":                 "off",
			"enable_mergejoin":                "off",
			"enable_seqscan":                  "off",
			"enable_bitmapscan":               "off",
		}
	case writing:
		return map[string]string{
			"plan_cache_mode":  "force_generic_plan", // it looks up by keys only: one plan does for ever
			"enable_hashjoin":  "off",
			"enable_mergejoin": "off",
			"enable_seqscan":   "off", "enable_bitmapscan": "off",
		}
	case copying:
		return map[string]string{"default_transaction_read_only": "on", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
	case altering:
		return map[string]string{"statement_timeout": "0", "lock_timeout": "60s"}
	}
	return nil
}

// parse turns the URL of a database into the configuration of connections to it.
func parse(address string, u use) (*pgxpool.Config, error) {
	config, err := parseAddress(address, u.kind())
	if err != nil {
		return nil, err
	}
	c := config.ConnConfig
	for _, some := range []map[string]string{settings, settingsOf(u)} {
		for name, value := range some {
			c.RuntimeParams[name] = value
		}
	}
	if c.ConnectTimeout == 0 || c.ConnectTimeout > longestConnect {
		c.ConnectTimeout = longestConnect
	}
	// A request that ends takes its query with it and leaves the connection for the next one. A
	// query that is about to end by itself is not worth the new session that stops it.
	c.BuildContextWatcherHandler = func(p *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: p, CancelRequestDelay: 50 * time.Millisecond, DeadlineDelay: 3 * time.Second}
	}
	if u == reading {
		c.BuildFrontend = bufferedFrontend
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error { return renewPassword(c, address) }
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return checkServer(ctx, c, u) }
	return config, nil
}

// waiting is the configuration of a session that runs no query but waits: it ends at once.
func waiting(config *pgxpool.Config) *pgxpool.Config {
	own := config.Copy()
	own.ConnConfig.BuildContextWatcherHandler = func(p *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: p.Conn()}
	}
	return own
}

// readSize is how much is read from the server at once, in bytes. It sends eight KiB at a time, and
// while a page is being unpacked several of them arrive.
const readSize = 64 << 10

func bufferedFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(bufio.NewReaderSize(r, readSize), w)
}

// longestConnect is how long a server may take to let a connection in.
const longestConnect = 30 * time.Second

// renewPassword reads the password file again: a new password holds from the next connection.
func renewPassword(c *pgx.ConnConfig, address string) error {
	config, err := parseAddress(address, "any")
	if err == nil {
		c.Password = config.ConnConfig.Password
	}
	return err
}

// server is what a connection says about its server.
type server struct {
	super                      bool
	standby                    bool // it replays the changes of another server
	readOnly                   bool
	fsync, pages, commit       string
	verbosity, length, onError string
}

// checkServer looks at the settings of each new connection. A commit must survive a loss of
// power, and no value may reach the server's log: its verbosity must leave details out.
func checkServer(ctx context.Context, c *pgx.Conn, u use) error {
	var s server
	err := c.QueryRow(ctx, `SELECT coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false),
		pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
		current_setting('log_error_verbosity'), current_setting('log_parameter_max_length'), current_setting('log_parameter_max_length_on_error')`).
		Scan(&s.super, &s.standby, &s.readOnly, &s.fsync, &s.pages, &s.commit, &s.verbosity, &s.length, &s.onError)
	if err != nil {
		return err
	}
	if err := s.checkPlace(u); err != nil {
		return err
	}
	if s.fsync != "on" || s.pages != "on" || s.commit == "off" {
		return annona.Unavailable("store_not_durable", "the database may lose commits when the power fails: set fsync, full_page_writes and synchronous_commit to on")
	}
	if s.super && (s.verbosity != "terse" || s.length != "0") {
		_, err := c.Exec(ctx, "SELECT set_config('log_error_verbosity', 'terse', false), set_config('log_parameter_max_length', '0', false)")
		return err
	}
	if u != altering && (s.verbosity != "terse" || s.length != "0" || s.onError != "0") {
		return annona.Unavailable("store_logs_values", "the database would write values of records into its log; as a superuser, run ALTER ROLE … SET log_error_verbosity = 'terse' and ALTER ROLE … SET log_parameter_max_length = 0 for the role that Annona uses")
	}
	return nil
}

// checkPlace refuses a server that does not do what the connection is for.
func (s server) checkPlace(u use) error {
	switch {
	case u == replaying && !s.standby:
		return annona.Conflict("replica_promoted", "the replica takes changes of its own: it is no standby, or no longer; name a standby of the registry's database")
	case u == replaying:
		return nil
	case s.standby:
		return annona.Unavailable("store_read_only", "the database is a standby and accepts no changes; name the server that it follows, and the standby as --replica")
	case s.readOnly && u != reading && u != looking && u != copying:
		return annona.Unavailable("store_read_only", "the database accepts no changes; look for default_transaction_read_only at the database and at the role")
	}
	return nil
}

// dial makes a connection outside of any pool.
func dial(ctx context.Context, config *pgxpool.Config) (*pgx.Conn, error) {
	own := config.ConnConfig.Copy()
	if err := config.BeforeConnect(ctx, own); err != nil {
		return nil, err
	}
	c, err := pgx.ConnectConfig(ctx, own)
	if err != nil {
		return nil, err
	}
	if err := config.AfterConnect(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}
