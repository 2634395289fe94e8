package postgres

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

// database is a connection or a transaction on one.
type database interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// conn is a connection lent for one request. One goroutine uses it at a time.
type conn struct {
	ctx        context.Context
	db         database
	statements int // sent so far
}

// exec runs a statement that returns nothing of interest.
func (c *conn) exec(sql string, args ...any) error {
	_, err := c.changes(sql, args...)
	return err
}

// each calls take for every row of the answer.
func (c *conn) each(sql string, take func(row) error, args ...any) error {
	c.statements++
	rows, err := c.db.Query(c.ctx, sql, values(args)...)
	if err != nil {
		return err
	}
	return takeAll(rows, take)
}

// one calls take for the first row of the answer and reports whether there was one.
func (c *conn) one(sql string, take func(row), args ...any) (found bool, err error) {
	err = c.each(sql, func(r row) error {
		if !found {
			take(r)
		}
		found = true
		return nil
	}, args...)
	return found, err
}

// integer returns the number in the first column of the first row; 0 when there is none.
func (c *conn) integer(sql string, args ...any) (n int64, err error) {
	_, err = c.one(sql, func(r row) { n = r.integer(0) }, args...)
	return n, err
}

func (c *conn) text(sql string, args ...any) (text string, err error) {
	_, err = c.one(sql, func(r row) { text = r.text(0) }, args...)
	return text, err
}

func (c *conn) counter(name string) (int64, error) {
	return c.integer("SELECT value FROM counters WHERE name = $1", name)
}

// values prepares arguments for the driver. The empty text and nil bytes are absent: NULL.
func values(args []any) []any {
	for i, a := range args {
		args[i] = value(a)
	}
	return args
}

func value(v any) any {
	switch v := v.(type) {
	case nil, int64, bool, []int64, []string, []bool, [][]byte, []int32:
		return v
	case int:
		return int64(v)
	case annona.Number:
		return int64(v)
	case string:
		return orNull(v)
	case annona.Date:
		return orNull(string(v))
	case []byte:
		return bytesOrNull(v)
	case annona.Image:
		return bytesOrNull(v)
	case annona.UID:
		return v[:]
	case time.Time:
		return nanoseconds(v)
	}
	panic(fmt.Sprintf("postgres: no binding for %T", v)) // a mistake of this package
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func bytesOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// nanoseconds since 1970; the zero time is absent.
func nanoseconds(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

// row is a row of an answer as the server sent it: text as it is, numbers and truth values in
// network order, an absent value nil. It is good until the next row.
type row [][]byte

func (r row) integer(column int) int64 {
	switch b := r[column]; len(b) {
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

// arrayHead is how long the head of an array of one dimension is: how many dimensions, whether something is absent, the
// type, the length and the first place.
const arrayHead = 5 * 4

// integers returns an array of numbers of which none is absent.
func (r row) integers(column int) []int64 {
	b := r[column]
	if len(b) < arrayHead {
		return nil
	}
	b = b[arrayHead:]
	all := make([]int64, 0, len(b)/12)
	for ; len(b) >= 12; b = b[12:] { // each behind its length
		all = append(all, int64(binary.BigEndian.Uint64(b[4:])))
	}
	return all
}

func (r row) number(column int) annona.Number { return annona.Number(r.integer(column)) }

// piece returns the bytes of a column that may not have been asked for: -1.
func (r row) piece(column int) []byte {
	if column < 0 {
		return nil
	}
	return r[column]
}

func (r row) text(column int) string      { return string(r[column]) }
func (r row) date(column int) annona.Date { return annona.Date(r[column]) }
func (r row) truth(column int) bool       { return len(r[column]) == 1 && r[column][0] == 1 }
func (r row) absent(column int) bool      { return r[column] == nil }

// bytes returns a copy of its own.
func (r row) bytes(column int) []byte {
	if len(r[column]) == 0 {
		return nil
	}
	return append([]byte(nil), r[column]...)
}

func (r row) uid(column int) (u annona.UID) {
	copy(u[:], r[column])
	return u
}

func (r row) time(column int) time.Time {
	if r.absent(column) {
		return time.Time{}
	}
	return time.Unix(0, r.integer(column)).UTC()
}

// send runs statements one behind the other without waiting for each answer.
func (c *conn) send(b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	c.statements += b.Len()
	return c.db.SendBatch(c.ctx, b).Close()
}

// question is a statement whose answer is taken row by row.
type question struct {
	sql  string
	args []any
	take func(row) error
}

// askAll asks questions one behind the other in one round trip. Each sees what the ones before have done.
func (c *conn) askAll(questions ...question) error {
	switch len(questions) {
	case 0:
		return nil
	case 1:
		return c.each(questions[0].sql, questions[0].take, questions[0].args...)
	}
	var b pgx.Batch
	for _, q := range questions {
		b.Queue(q.sql, values(q.args)...)
	}
	c.statements += b.Len()
	answers := c.db.SendBatch(c.ctx, &b)
	for _, q := range questions {
		rows, err := answers.Query()
		if err == nil {
			err = takeAll(rows, q.take)
		}
		if err != nil {
			return cmp.Or(err, answers.Close())
		}
	}
	return answers.Close()
}

func takeAll(rows pgx.Rows, take func(row) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := take(rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}

// instant is nanoseconds for an element of an array.
func instant(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixNano()
	return &n
}
