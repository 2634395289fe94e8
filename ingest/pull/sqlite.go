package pull

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// SQLite opens a database file for reading. timeout limits how long the source may think about one
// row. Errors have the code source_unavailable.
func SQLite(ctx context.Context, path string, timeout time.Duration) (*Snapshot, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, annona.Unavailable("source_unavailable", "the database file of the source is not there, or is no file").Because(err)
	}
	c, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if err != nil {
		return nil, sqliteFault(err)
	}
	db := newSQLite(ctx, c, timeout)
	c.SetBusyTimeout(10 * time.Second)
	for _, sql := range []string{"PRAGMA query_only = 1", "BEGIN", "SELECT count(*) FROM sqlite_schema"} { // the last one takes the snapshot
		if err := db.run(ctx, sql); err != nil {
			_ = db.close() // it was opened for nothing
			return nil, err
		}
	}
	return &Snapshot{db: db, at: time.Now().UTC()}, nil
}

type sqliteDatabase struct {
	conn    *sqlite.Conn
	timeout time.Duration
	patient *time.Timer // runs while a statement does
	late    atomic.Bool // it has run out
	end     func()      // what runs is interrupted, and all that comes
	forget  func() bool // the end of the context
}

// newSQLite lets the end of the context, and a statement that takes too long, end what runs. After
// that nothing more is answered.
func newSQLite(ctx context.Context, c *sqlite.Conn, timeout time.Duration) *sqliteDatabase {
	d := &sqliteDatabase{conn: c, timeout: timeout}
	done := make(chan struct{})
	d.end = sync.OnceFunc(func() { close(done) })
	d.patient = time.AfterFunc(timeout, func() {
		d.late.Store(true)
		d.end()
	})
	d.patient.Stop()
	d.forget = context.AfterFunc(ctx, d.end)
	c.SetInterrupt(done)
	return d
}

func (d *sqliteDatabase) close() error {
	d.patient.Stop()
	d.forget()
	return d.conn.Close()
}

func (d *sqliteDatabase) run(ctx context.Context, sql string) error {
	stmt, err := d.prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	_, err = d.step(ctx, stmt)
	return err
}

// prepare compiles a statement. What stands behind it is no part of it, and must be nothing.
func (d *sqliteDatabase) prepare(sql string) (*sqlite.Stmt, error) {
	stmt, trailing, err := d.conn.PrepareTransient(sql)
	if err != nil {
		return nil, sqliteFault(err)
	}
	if trailing > 0 && asSubquery(sql[len(sql)-trailing:]) != "" {
		_ = stmt.Finalize() // it was never run
		return nil, annona.Invalid("source_query", "a query is one SELECT; something stands behind it")
	}
	return stmt, nil
}

// step runs a statement up to its next row, for no longer than the timeout.
func (d *sqliteDatabase) step(ctx context.Context, stmt *sqlite.Stmt) (bool, error) {
	d.patient.Reset(d.timeout)
	more, err := stmt.Step()
	d.patient.Stop()
	switch {
	case err == nil:
		return more, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case d.late.Load():
		return false, errTimeout()
	}
	return false, sqliteFault(err)
}

func errTimeout() error {
	return annona.Unavailable("source_timeout", "the source did not answer the query within the timeout of its configuration; make the query cheaper (an index on its mark), or the timeout longer")
}

// sqliteFault says what is wrong without values: the text of a fault of the query names tables
// and columns.
func sqliteFault(err error) error {
	switch code := sqlite.ErrCode(err).ToPrimary(); code {
	case sqlite.ResultError:
		return annona.Invalid("source_query", "the source refuses the query: %s", queryFault(err)).Because(err)
	case sqlite.ResultReadOnly, sqlite.ResultAuth:
		return annona.Invalid("source_query", "a query reads; this one tries to write").Because(err)
	case sqlite.ResultNotADB, sqlite.ResultCorrupt:
		return annona.Invalid("source_damaged", "the file of the source is no SQLite database, or is damaged (%s)", code).Because(err)
	default:
		return annona.Unavailable("source_unavailable", "the database of the source cannot be read (%s)", code).Because(err)
	}
}

// queryFault returns the library's text where it names things of the schema only.
func queryFault(err error) string {
	text := err.Error()
	for _, known := range []string{"no such table", "no such column", "no such function", "ambiguous column name", "syntax error", "incomplete input"} {
		if i := strings.Index(text, known); i >= 0 && len(text) < 500 {
			return text[i:]
		}
	}
	return "it does not run; try it in the database's own shell"
}

func (d *sqliteDatabase) describe(_ context.Context, sql string) ([]Column, error) {
	inside, err := d.prepare("SELECT * FROM (" + asSubquery(sql) + "\n) AS q") // it must be a query
	if err != nil {
		return nil, err
	}
	if err := inside.Finalize(); err != nil {
		return nil, sqliteFault(err)
	}
	stmt, err := d.prepare(sql) // its own names: inside, the second of a name has another one
	if err != nil {
		return nil, err
	}
	columns := make([]Column, stmt.ColumnCount())
	for i := range columns {
		columns[i].Name = stmt.ColumnName(i) // empty for all but the last of one name
	}
	if err := stmt.Finalize(); err != nil {
		return nil, sqliteFault(err)
	}
	return columns, nil
}

// asSubquery takes off what may stand behind a statement but not inside another one.
func asSubquery(sql string) string { return strings.TrimRight(sql, "; \t\r\n") }

func (d *sqliteDatabase) read(ctx context.Context, q Query, since Mark) (cursor, error) {
	sql := "SELECT * FROM (" + asSubquery(q.SQL) + "\n) AS q"
	if !since.None() {
		column := `q."` + strings.ReplaceAll(q.Mark, `"`, `""`) + `"`
		sql += " WHERE " + column + " >= ?1 OR " + column + " IS NULL"
	}
	stmt, err := d.prepare(sql)
	if err != nil {
		return nil, err
	}
	if !since.None() {
		bindMark(stmt, since)
	}
	c := &sqliteCursor{db: d, stmt: stmt, mark: -1, forget: context.AfterFunc(ctx, d.end)}
	for i := range stmt.ColumnCount() {
		name, err := json.Marshal(stmt.ColumnName(i))
		if err != nil {
			return nil, annona.Internal("write the name of a column", errors.Join(err, stmt.Finalize()))
		}
		c.names = append(c.names, string(name)+":")
		if q.Mark != "" && stmt.ColumnName(i) == q.Mark {
			c.mark = i
		}
	}
	return c, nil
}

// bindMark binds a number as a number: SQLite sorts every number before every text.
func bindMark(stmt *sqlite.Stmt, m Mark) {
	if !m.Number {
		stmt.BindText(1, m.inText())
		return
	}
	if n, err := strconv.ParseInt(m.Value, 10, 64); err == nil {
		stmt.BindInt64(1, n)
		return
	}
	f, _ := strconv.ParseFloat(m.Value, 64) // a mark that is a number was one in the database
	stmt.BindFloat(1, f)
}

type sqliteCursor struct {
	db    *sqliteDatabase
	stmt  *sqlite.Stmt
	names []string // as JSON, with a colon
	mark  int      // position of the mark column, -1 without one

	forget func() bool // the end of the context
}

func (c *sqliteCursor) close() error {
	c.forget()
	return c.stmt.Finalize()
}

func (c *sqliteCursor) next(ctx context.Context, line []byte) ([]byte, Mark, error) {
	more, err := c.db.step(ctx, c.stmt)
	if err != nil {
		return nil, Mark{}, err
	}
	if !more {
		return nil, Mark{}, io.EOF
	}
	line = append(line, '{')
	for i, name := range c.names {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendCell(append(line, name...), c.stmt, i)
	}
	return append(line, '}'), markOf(c.stmt, c.mark), nil
}

func markOf(stmt *sqlite.Stmt, column int) Mark {
	if column < 0 || stmt.ColumnIsNull(column) {
		return Mark{}
	}
	kind := stmt.ColumnType(column)
	return Mark{Value: stmt.ColumnText(column), Number: kind == sqlite.TypeInteger || kind == sqlite.TypeFloat}
}

// appendCell writes a value as JSON: bytes as \x and hexadecimal digits, as PostgreSQL does.
func appendCell(line []byte, stmt *sqlite.Stmt, column int) []byte {
	switch stmt.ColumnType(column) {
	case sqlite.TypeNull:
		return append(line, "null"...)
	case sqlite.TypeInteger:
		return strconv.AppendInt(line, stmt.ColumnInt64(column), 10)
	case sqlite.TypeFloat:
		return appendFloat(line, stmt.ColumnFloat(column))
	case sqlite.TypeBlob:
		b := make([]byte, stmt.ColumnLen(column))
		stmt.ColumnBytes(column, b)
		return append(hex.AppendEncode(append(line, `"\\x`...), b), '"')
	}
	return appendText(line, stmt.ColumnText(column))
}

// appendFloat writes a number without an exponent, which no reader of ours takes.
func appendFloat(line []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(line, "null"...)
	}
	return strconv.AppendFloat(line, f, 'f', -1, 64)
}

// appendText writes a text as JSON. One that is no UTF-8 stays as it is: the reader refuses the row
// and says why, where the encoder would put marks in its place.
func appendText(line []byte, text string) []byte {
	if utf8.ValidString(text) {
		quoted, err := json.Marshal(text)
		if err == nil {
			return append(line, quoted...)
		}
	}
	line = append(line, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			line = append(line, '\\', c)
		case c < ' ':
			line = append(line, `\u00`...)
			line = hex.AppendEncode(line, []byte{c})
		default:
			line = append(line, c)
		}
	}
	return append(line, '"')
}
