package postgres

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// newRows are rows for a table in the binary form of COPY (see copySignature), made while nothing has been
// sent: the server is not asked how its columns look, and gets all of them at once.
type newRows struct {
	table   string
	columns []string
	data    []byte
	count   int
	sending *sending // that has begun; nil: it has not
}

func rowsFor(table string, columns []string) *newRows {
	return &newRows{table: table, columns: columns}
}

// add adds a row: a value for each column, nil for one that is absent. Numbers are for columns of 64 bits.
func (r *newRows) add(values ...any) {
	if r.count == 0 {
		r.data = append(append(r.data, copySignature...), make([]byte, copyHead-len(copySignature))...)
	}
	r.count++
	r.data = binary.BigEndian.AppendUint16(r.data, uint16(len(values)))
	for _, v := range values {
		r.data = appendCell(r.data, v)
	}
}

// appendCell appends a value behind its length, as the server keeps it.
func appendCell(dst []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return binary.BigEndian.AppendUint32(dst, 1<<32-1)
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(v))
	case bool:
		if v {
			return append(dst, 0, 0, 0, 1, 1)
		}
		return append(dst, 0, 0, 0, 1, 0)
	case string:
		return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
	case []byte:
		return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
	}
	panic(fmt.Sprintf("postgres: no cell for %T", value)) // a mistake of this package
}

var errOutside = errors.New("rows are copied within a transaction")

// copyIn writes rows by COPY, the fastest way in.
func (c *conn) copyIn(r *newRows) error {
	if r.count == 0 {
		return nil
	}
	r.data = append(r.data, 0xff, 0xff)
	copied, err := int64(0), error(nil)
	if r.sending != nil {
		copied, err = r.sending.end(r.data)
	} else {
		copied, err = c.copyFrom(r, bytes.NewReader(r.data))
	}
	if err == nil && copied != int64(r.count) {
		return errors.New("not every row was copied")
	}
	return err
}

func (c *conn) copyFrom(r *newRows, data io.Reader) (copied int64, err error) {
	p, ok := c.db.(*opening)
	if !ok {
		return 0, errOutside
	}
	if err := p.begin(c.ctx); err != nil {
		return 0, err
	}
	sql := "COPY annona." + r.table + " (" + strings.Join(r.columns, ", ") + ") FROM STDIN (FORMAT binary)"
	done, err := p.PgConn().CopyFrom(c.ctx, data, sql)
	return done.RowsAffected(), err
}

// sendFrom is how many bytes of rows are sent together.
const sendFrom = 128 << 10

// stream sends what has been made of many rows, so that the server is busy with them while others are made.
// From then on nobody else may use the connection until copyIn or abandon has returned.
func (c *conn) stream(r *newRows) error {
	if len(r.data) < sendFrom {
		return nil
	}
	if r.sending == nil {
		from, to := io.Pipe()
		r.sending = &sending{to: to, done: make(chan struct{})}
		go func(s *sending) {
			defer close(s.done)
			s.copied, s.err = c.copyFrom(r, from)
			from.CloseWithError(errSending) // whoever makes rows learns it from the next one
		}(r.sending)
	}
	_, err := r.sending.to.Write(r.data)
	r.data = r.data[:0]
	if err != nil {
		_, err = r.sending.end(nil)
	}
	return err
}

// abandon ends a COPY that has begun, because the next row could not be made: the transaction has failed.
func (r *newRows) abandon() {
	if r.sending != nil {
		r.sending.to.CloseWithError(errAbandoned)
		<-r.sending.done
	}
}

var (
	errSending   = errors.New("the database takes no more rows")
	errAbandoned = errors.New("the rows behind these could not be made")
)

// sending is a COPY that runs while rows are made for it.
type sending struct {
	to     *io.PipeWriter
	done   chan struct{} // closed behind what follows
	copied int64
	err    error
}

// end sends the last rows and waits until all of them are copied.
func (s *sending) end(last []byte) (copied int64, err error) {
	_, err = s.to.Write(last)
	s.to.Close()
	<-s.done
	return s.copied, cmp.Or(s.err, err)
}
