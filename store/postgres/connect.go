package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

// use is what a connection is for.
type use int

const (
	reading  use = iota // pages and questions; cannot write
	writing             // transactions, the ledger, the sequencer
	altering            // the schema, as its owner
	copying             // everything, for a backup: reads for long
)

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
	case reading:
		return map[string]string{
			"default_transaction_read_only":   "on",
			"max_parallel_workers_per_gather": "0",                 // pages are read side by side already
			"plan_cache_mode":                 "force_custom_plan", // a plan depends on the range of the page
			"enable_hashjoin":                 "off",               // a page is read along its numbers, whatever the statistics say
			"enable_mergejoin":                "off",
			"enable_seqscan":                  "off",
			"enable_bitmapscan":               "off",
		}
	case writing:
		return map[string]string{"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off", "enable_bitmapscan": "off"} // it looks up by keys only
	case copying:
		return map[string]string{"default_transaction_read_only": "on", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
	case altering:
		return map[string]string{"statement_timeout": "0", "lock_timeout": "60s"}
	}
	return nil
}

// parse turns the URL of a database into the configuration of connections to it.
func parse(address string, u use) (*pgxpool.Config, error) {
	if err := checkURL(address); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errURL()
	}
	c := config.ConnConfig
	if err := checkTransport(&c.Config); err != nil {
		return nil, err
	}
	for _, some := range []map[string]string{settings, settingsOf(u)} {
		for name, value := range some {
			c.RuntimeParams[name] = value
		}
	}
	if c.ConnectTimeout == 0 || c.ConnectTimeout > 30*time.Second {
		c.ConnectTimeout = 10 * time.Second
	}
	// A request that ends takes its query with it and leaves the connection for the next one. A
	// query that is about to end by itself is not worth the new session that stops it.
	c.BuildContextWatcherHandler = func(p *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: p, CancelRequestDelay: 50 * time.Millisecond, DeadlineDelay: 3 * time.Second}
	}
	config.AfterConnect = checkServer
	if u == altering {
		config.AfterConnect = nil
	}
	return config, nil
}

func checkURL(address string) error {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return errURL()
	}
	if _, has := parsed.User.Password(); has || parsed.Query().Has("password") || parsed.Query().Has("sslpassword") {
		return annona.Invalid("store_password_in_url", "a password never stands in the URL of the database: put it into ~/.pgpass, or into a file of that form that ?passfile= names").On("database")
	}
	return nil
}

func errURL() error {
	return annona.Invalid("store_url", "a database is named by a URL such as postgres://annona@localhost:5432/annona").On("database")
}

// checkTransport refuses to send records over a network in the clear.
func checkTransport(c *pgconn.Config) error {
	if isLocal(c.Host) && !slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return !isLocal(f.Host) }) {
		return nil
	}
	if c.TLSConfig == nil || slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil }) {
		return annona.Invalid("store_without_tls", "a database on another machine is reached through TLS only: add sslmode=verify-full to its URL").On("database")
	}
	return nil
}

// isLocal reports whether the host is a socket in a folder or this machine.
func isLocal(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// checkServer looks at the settings of each new connection. A commit must survive a loss of
// power, and no value may reach the server's log: its verbosity must leave details out.
func checkServer(ctx context.Context, c *pgx.Conn) error {
	var fsync, commit, verbosity, length, onError string
	var super bool
	err := c.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('log_error_verbosity'),
		current_setting('log_parameter_max_length'), current_setting('log_parameter_max_length_on_error'),
		coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false)`).Scan(&fsync, &commit, &verbosity, &length, &onError, &super)
	if err != nil {
		return err
	}
	if fsync != "on" || commit == "off" {
		return annona.Unavailable("store_not_durable", "the database may lose commits when the power fails: set fsync and synchronous_commit to on")
	}
	if super && (verbosity != "terse" || length != "0") {
		_, err := c.Exec(ctx, "SELECT set_config('log_error_verbosity', 'terse', false), set_config('log_parameter_max_length', '0', false)")
		return err
	}
	if verbosity != "terse" || length != "0" || onError != "0" {
		return annona.Unavailable("store_logs_values", "the database would write values of records into its log; as a superuser, run ALTER ROLE … SET log_error_verbosity = 'terse' and ALTER ROLE … SET log_parameter_max_length = 0 for the role that Annona uses")
	}
	return nil
}

// dial makes a connection outside of any pool.
func dial(ctx context.Context, config *pgxpool.Config) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, config.ConnConfig.Copy())
	if err != nil {
		return nil, err
	}
	if config.AfterConnect != nil {
		if err := config.AfterConnect(ctx, c); err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
	}
	return c, nil
}
