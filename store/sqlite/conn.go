package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// maxStatements bounds the prepared statements of one connection. Every filter makes one.
const maxStatements = 200

// conn is a connection with its prepared statements. One goroutine uses it at a time.
type conn struct {
	*sqlite.Conn
	statements map[string]*sqlite.Stmt
	turns      turns  // of the connection that writes records
	entries    []byte // of the block of the finder that was read last: memory that is used again
}

func open(path string, flags sqlite.OpenFlags) (*conn, error) {
	prepareMemory()
	c, err := sqlite.OpenConn(path, flags)
	if err != nil {
		return nil, fault("open the registry", err)
	}
	c.SetBusyTimeout(5 * time.Second)
	return &conn{Conn: c, statements: map[string]*sqlite.Stmt{}}, nil
}

func (c *conn) Close() error {
	for _, s := range c.statements {
		s.Finalize()
	}
	return errors.Join(c.Conn.Close(), c.turns.close())
}

// prepare returns the statement with its arguments bound, ready to step.
func (c *conn) prepare(sql string, args ...any) (*sqlite.Stmt, error) {
	stmt, ok := c.statements[sql]
	if !ok {
		if len(c.statements) >= maxStatements {
			c.forgetStatements()
		}
		var err error
		if stmt, _, err = c.PrepareTransient(sql); err != nil {
			return nil, err
		}
		c.statements[sql] = stmt
	}
	for i, a := range args {
		bind(stmt, i+1, a)
	}
	return stmt, nil
}

// forgetStatements makes room. Statements that are being stepped stay.
func (c *conn) forgetStatements() {
	for sql, stmt := range c.statements {
		if stmt.DataCount() == 0 {
			stmt.Finalize()
			delete(c.statements, sql)
		}
	}
}

// bind binds one argument. The empty text and nil bytes are absent: NULL.
func bind(stmt *sqlite.Stmt, at int, value any) {
	switch v := value.(type) {
	case nil:
		stmt.BindNull(at)
	case int:
		stmt.BindInt64(at, int64(v))
	case int64:
		stmt.BindInt64(at, v)
	case annona.Number:
		stmt.BindInt64(at, int64(v))
	case bool:
		stmt.BindBool(at, v)
	case string:
		bindText(stmt, at, v)
	case annona.Date:
		bindText(stmt, at, string(v))
	case []byte:
		bindBytes(stmt, at, v)
	case annona.Image:
		bindBytes(stmt, at, v)
	case annona.UID:
		stmt.BindBytes(at, v[:])
	case time.Time:
		bindTime(stmt, at, v)
	default:
		panic(fmt.Sprintf("sqlite: no binding for %T", value)) // a mistake of this package
	}
}

func bindText(stmt *sqlite.Stmt, at int, text string) {
	if text == "" {
		stmt.BindNull(at)
		return
	}
	stmt.BindText(at, text)
}

func bindBytes(stmt *sqlite.Stmt, at int, b []byte) {
	if len(b) == 0 {
		stmt.BindNull(at)
		return
	}
	stmt.BindBytes(at, b)
}

// bindTime binds nanoseconds since 1970; the zero time is absent.
func bindTime(stmt *sqlite.Stmt, at int, t time.Time) {
	if t.IsZero() {
		stmt.BindNull(at)
		return
	}
	stmt.BindInt64(at, t.UnixNano())
}

// exec runs a statement that returns nothing of interest.
func (c *conn) exec(sql string, args ...any) error {
	return c.each(sql, func(*sqlite.Stmt) error { return nil }, args...)
}

// each calls row for every row of the answer.
func (c *conn) each(sql string, row func(*sqlite.Stmt) error, args ...any) error {
	stmt, err := c.prepare(sql, args...)
	if err != nil {
		return err
	}
	defer stmt.Reset()
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := row(stmt); err != nil {
			return err
		}
	}
}

// one calls row for the first row of the answer and reports whether there was one.
func (c *conn) one(sql string, row func(*sqlite.Stmt), args ...any) (bool, error) {
	stmt, err := c.prepare(sql, args...)
	if err != nil {
		return false, err
	}
	defer stmt.Reset()
	found, err := stmt.Step()
	if err != nil || !found {
		return false, err
	}
	row(stmt)
	return true, nil
}

// integer returns the number in the first column of the first row; 0 when there is none.
func (c *conn) integer(sql string, args ...any) (n int64, err error) {
	_, err = c.one(sql, func(s *sqlite.Stmt) { n = s.ColumnInt64(0) }, args...)
	return n, err
}

func (c *conn) text(sql string, args ...any) (text string, err error) {
	_, err = c.one(sql, func(s *sqlite.Stmt) { text = s.ColumnText(0) }, args...)
	return text, err
}

func (c *conn) counter(name string) (int64, error) {
	return c.integer("SELECT value FROM counters WHERE name = ?", name)
}

// appendColumn appends the bytes of a column to dst; nothing when it is absent.
func appendColumn(dst []byte, stmt *sqlite.Stmt, column int) []byte {
	r := stmt.ColumnReader(column)
	n, end := r.Len(), len(dst)
	dst = slices.Grow(dst, n)[:end+n]
	r.Read(dst[end:])
	return dst
}

func columnBytes(stmt *sqlite.Stmt, column int) []byte {
	if stmt.ColumnIsNull(column) {
		return nil
	}
	return appendColumn(nil, stmt, column)
}

func columnUID(stmt *sqlite.Stmt, column int) (u annona.UID) {
	stmt.ColumnBytes(column, u[:])
	return u
}

func columnDate(stmt *sqlite.Stmt, column int) annona.Date {
	return annona.Date(stmt.ColumnText(column))
}

func columnTime(stmt *sqlite.Stmt, column int) time.Time {
	if stmt.ColumnIsNull(column) {
		return time.Time{}
	}
	return time.Unix(0, stmt.ColumnInt64(column)).UTC()
}

// uidOrNull is the bytes of an id; nil when it is zero.
func uidOrNull(u annona.UID) []byte {
	if u == (annona.UID{}) {
		return nil
	}
	return u[:]
}
