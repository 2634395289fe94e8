package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// newRows are rows for a table in the binary form of COPY (see copySignature), made while nothing has been
// sent: the server is not asked how its columns look, and gets all of them at once.
type newRows struct {
	table   string
	columns []string
	data    []byte
	count   int
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
	p, ok := c.db.(pgx.Tx)
	if !ok {
		return errOutside
	}
	r.data = append(r.data, 0xff, 0xff)
	sql := "COPY annona." + r.table + " (" + strings.Join(r.columns, ", ") + ") FROM STDIN (FORMAT binary)"
	done, err := p.Conn().PgConn().CopyFrom(c.ctx, bytes.NewReader(r.data), sql)
	if err == nil && done.RowsAffected() != int64(r.count) {
		return errors.New("not every row was copied")
	}
	return err
}
