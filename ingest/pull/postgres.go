package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

// Postgres connects to a database, as postgres://role@host/name. timeout limits how long the
// source may think about one step of a query. Errors have the codes source_address,
// source_without_tls or source_unavailable.
func Postgres(ctx context.Context, address, password string, timeout time.Duration) (*Snapshot, error) {
	config, err := parseAddress(address, password)
	if err != nil {
		return nil, err
	}
	maps.Copy(config.RuntimeParams, settings(timeout))
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, postgresFault(ctx, err)
	}
	db := &postgresDatabase{conn: c, timeout: timeout}
	var now string
	begin := []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ')"}
	for _, sql := range begin {
		if now, err = db.text(ctx, sql); err != nil {
			_ = db.close() // it was opened for nothing
			return nil, err
		}
	}
	at, err := time.Parse(time.RFC3339Nano, now)
	if err != nil {
		return nil, annona.Internal("read the clock of the source", errors.Join(err, db.close()))
	}
	return &Snapshot{db: db, at: at}, nil
}

// settings are those of the connection. What could change the order of rows between two runs of
// one query is off: a load that reads twice has to read the same.
func settings(timeout time.Duration) map[string]string {
	return map[string]string{
		"application_name":                    "annona-sync",
		"client_encoding":                     "UTF8",
		"timezone":                            "UTC",
		"datestyle":                           "ISO",
		"intervalstyle":                       "iso_8601",
		"extra_float_digits":                  "1",
		"standard_conforming_strings":         "on",
		"default_transaction_read_only":       "on",
		"statement_timeout":                   strconv.FormatInt(timeout.Milliseconds(), 10),
		"lock_timeout":                        "10s",
		"idle_in_transaction_session_timeout": "0", // rows are read as fast as they are loaded
		"cursor_tuple_fraction":               "1",
		"max_parallel_workers_per_gather":     "0",
		"synchronize_seqscans":                "off",
		"jit":                                 "off",
	}
}

// leftOut is what an address need not say. The driver would take each of these from the
// environment or the home folder; because all are set, the address alone decides.
func leftOut() map[string]string {
	return map[string]string{
		"port": "5432", "passfile": "", "connect_timeout": "10", "target_session_attrs": "any", "sslmode": "",
		"sslcert": "", "sslkey": "", "sslcertmode": "allow", "sslrootcert": "", "sslpassword": "", "sslsni": "", "sslnegotiation": "",
		"channel_binding": "", "require_auth": "", "min_protocol_version": "", "max_protocol_version": "",
	}
}

func mayBeNamed() []string {
	return []string{"host", "port", "connect_timeout", "sslmode", "sslcert", "sslkey", "sslrootcert", "channel_binding", "require_auth"}
}

func parseAddress(address, password string) (*pgconn.Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errAddress()
	}
	query := u.Query()
	if _, has := u.User.Password(); has || query.Has("password") || query.Has("sslpassword") {
		return nil, annona.Invalid("source_password_in_address", "a password never stands in the address of a source: name a file or a variable of the environment that holds it").On("address")
	}
	named := leftOut()
	named["user"], named["password"], named["database"] = u.User.Username(), password, strings.TrimPrefix(u.Path, "/")
	if u.Host != "" {
		named["host"] = u.Hostname()
		if u.Port() != "" {
			named["port"] = u.Port()
		}
	}
	for name, values := range query {
		if !slices.Contains(mayBeNamed(), name) || len(values) != 1 {
			return nil, annona.Invalid("source_address", "the address of a source has each parameter once, and only these: %s", strings.Join(mayBeNamed(), ", ")).On("address")
		}
		named[name] = values[0]
	}
	if named["user"] == "" || named["host"] == "" || named["database"] == "" {
		return nil, errAddress()
	}
	if named["sslmode"] == "" {
		named["sslmode"] = map[bool]string{true: "prefer", false: "verify-full"}[isLocal(named["host"])]
	}
	config, err := pgconn.ParseConfig(inKeywords(named))
	if err != nil {
		return nil, errAddress() // the driver's text repeats the address
	}
	if !isLocal(config.Host) && (config.TLSConfig == nil || slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })) {
		return nil, annona.Invalid("source_without_tls", "a database on another machine is read through TLS only: leave sslmode out of its address, or write sslmode=verify-full").On("address")
	}
	config.RuntimeParams = map[string]string{}
	return config, nil
}

func errAddress() error {
	return annona.Invalid("source_address", "the address of a source is postgres://role@host/name; a socket is ?host=/its/folder").On("address")
}

func inKeywords(named map[string]string) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(named)) {
		b.WriteString(name + "='" + escape.Replace(named[name]) + "' ")
	}
	return b.String()
}

func isLocal(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

type postgresDatabase struct {
	conn    *pgconn.PgConn
	timeout time.Duration
	cursors int // opened so far
}

func (d *postgresDatabase) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = d.conn.Close(ctx) // it has only read
	return nil
}

// grace is how much longer than the server's own limit an answer is waited for, before the server
// counts as gone.
const grace = 30 * time.Second

// run runs a statement and gives its rows, as text.
func (d *postgresDatabase) run(ctx context.Context, sql string, take func([][]byte)) error {
	limited, cancel := context.WithTimeout(ctx, d.timeout+grace)
	defer cancel()
	rows := d.conn.ExecParams(limited, sql, nil, nil, nil, nil)
	for rows.NextRow() {
		take(rows.Values())
	}
	_, err := rows.Close()
	return postgresFault(ctx, err)
}

func (d *postgresDatabase) text(ctx context.Context, sql string) (text string, err error) {
	err = d.run(ctx, sql, func(values [][]byte) { text = string(values[0]) })
	return text, err
}

func (d *postgresDatabase) describe(ctx context.Context, sql string) ([]Column, error) {
	limited, cancel := context.WithTimeout(ctx, d.timeout+grace)
	defer cancel()
	described, err := d.conn.Prepare(limited, "", asQuery(sql), nil)
	if err != nil {
		return nil, postgresFault(ctx, err)
	}
	columns := make([]Column, len(described.Fields))
	for i, f := range described.Fields {
		kind, err := d.text(ctx, fmt.Sprintf("SELECT pg_catalog.format_type(%d, NULL)", f.DataTypeOID))
		if err != nil {
			return nil, err
		}
		columns[i] = Column{Name: f.Name, Type: kind}
	}
	return columns, nil
}

func asQuery(sql string) string { return "SELECT * FROM (" + asSubquery(sql) + "\n) AS q" }

// window is how many rows are asked for at once.
const window = 1000

func (d *postgresDatabase) read(ctx context.Context, q Query, since Mark) (cursor, error) {
	d.cursors++
	c := &postgresCursor{db: d, name: "annona_" + strconv.Itoa(d.cursors)}
	mark, where := "NULL", ""
	if q.Mark != "" {
		mark = `q."` + strings.ReplaceAll(q.Mark, `"`, `""`) + `"`
	}
	if q.Mark != "" && !since.None() {
		where = fmt.Sprintf(" WHERE %s >= '%s' OR %[1]s IS NULL", mark, strings.ReplaceAll(since.Value, "'", "''"))
	}
	sql := fmt.Sprintf("DECLARE %s NO SCROLL CURSOR FOR SELECT pg_catalog.row_to_json(q)::text, (%s)::text FROM (%s\n) AS q%s", c.name, mark, asSubquery(q.SQL), where)
	return c, d.run(ctx, sql, func([][]byte) {})
}

// postgresCursor holds at most one window of rows.
type postgresCursor struct {
	db   *postgresDatabase
	name string
	rows *pgconn.ResultReader
	end  context.CancelFunc
	left int // rows that the window may still have
}

func (c *postgresCursor) next(ctx context.Context, line []byte) ([]byte, Mark, error) {
	for {
		if c.rows == nil {
			limited, cancel := context.WithTimeout(ctx, c.db.timeout+grace)
			c.rows, c.end, c.left = c.db.conn.ExecParams(limited, fmt.Sprintf("FETCH FORWARD %d FROM %s", window, c.name), nil, nil, nil, nil), cancel, window
		}
		if c.rows.NextRow() {
			c.left--
			values := c.rows.Values()
			row, err := oneLine(line, values[0])
			return row, Mark{Value: string(values[1])}, err
		}
		if err := postgresFault(ctx, c.finish()); err != nil {
			return nil, Mark{}, err
		}
		if c.left > 0 {
			return nil, Mark{}, io.EOF
		}
	}
}

// finish reads the window to its end.
func (c *postgresCursor) finish() error {
	if c.rows == nil {
		return nil
	}
	_, err := c.rows.Close()
	c.end()
	c.rows = nil
	return err
}

func (c *postgresCursor) close() error {
	if err := c.finish(); err != nil || c.db.conn.IsClosed() {
		return nil // the transaction is over, and the cursor with it
	}
	return c.db.run(context.Background(), "CLOSE "+c.name, func([][]byte) {})
}

// oneLine appends a row to line. The server writes a json column as it was stored, line ends and
// all.
func oneLine(line, row []byte) ([]byte, error) {
	if bytes.IndexByte(row, '\n') < 0 && bytes.IndexByte(row, '\r') < 0 {
		return append(line, row...), nil
	}
	b := bytes.NewBuffer(line)
	if err := json.Compact(b, row); err != nil {
		return nil, annona.Internal("read a row of the source", nil)
	}
	return b.Bytes(), nil
}

// postgresFault says what is wrong without values: the server's text is repeated where it is about
// the query and names tables and columns only.
func postgresFault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var p *pgconn.PgError
	if !errors.As(err, &p) {
		return annona.Unavailable("source_unavailable", "the database of the source cannot be reached, or has gone away while it was read").Because(err)
	}
	switch class := p.Code[:2]; {
	case p.Code == "57014":
		return errTimeout()
	case p.Code == "25006":
		return annona.Invalid("source_query", "a query reads; this one tries to write")
	case p.Code == "42501":
		return annona.Invalid("source_denied", "the role may not read what the query names: %s", p.Message)
	case class == "42":
		return annona.Invalid("source_query", "the source refuses the query: %s (SQLSTATE %s)", p.Message, p.Code)
	case class == "28", p.Code == "3D000":
		return annona.Unavailable("source_denied", "the source does not let this role in (SQLSTATE %s); look at the role, its password and the rules of the server", p.Code)
	case class == "22":
		return annona.Invalid("source_query", "the query fails at a row of the source (SQLSTATE %s); try it in the database's own shell", p.Code)
	}
	return annona.Unavailable("source_unavailable", "the source could not answer (SQLSTATE %s)", p.Code)
}
