package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

// The binary form of COPY: a signature, flags and the length of an extension (four bytes each),
// the extension; then rows, each with its number of cells (two bytes) and the cells behind their
// lengths (four bytes, −1 for an absent one); −1 in place of a number of cells ends it.
var copySignature = []byte("PGCOPY\n\xff\r\n\x00")

const copyHead = 19 // signature, flags, length of the extension

var errCopy = errors.New("the server's COPY has another form")

// copyOut takes what COPY TO sends, however it is cut, and gives its rows on.
type copyOut struct {
	types   []string
	to      annona.TableSink
	row     annona.TableRow
	rest    []byte // of what came, not given on yet
	begun   bool
	ended   bool
	failed  error // of the sink
	numbers [][8]byte
}

func (o *copyOut) Write(p []byte) (int, error) {
	b := p
	if len(o.rest) > 0 {
		o.rest = append(o.rest, p...)
		b = o.rest
	}
	if !o.begun {
		if len(b) < copyHead {
			o.rest = append(o.rest[:0], b...)
			return len(p), nil
		}
		if !bytes.HasPrefix(b, copySignature) || binary.BigEndian.Uint32(b[copyHead-4:]) != 0 {
			return 0, errCopy
		}
		b, o.begun, o.numbers = b[copyHead:], true, make([][8]byte, len(o.types))
	}
	for {
		rest, complete, err := o.take(b)
		if err != nil {
			return 0, err
		}
		if !complete {
			o.rest = append(o.rest[:0], rest...)
			return len(p), nil
		}
		b = rest
	}
}

// take gives one row on, when all of it has come.
func (o *copyOut) take(b []byte) (rest []byte, complete bool, err error) {
	all := b
	if len(b) < 2 {
		return all, false, nil
	}
	cells := int16(binary.BigEndian.Uint16(b))
	b = b[2:]
	if cells == -1 {
		o.ended = true
		return nil, false, nil
	}
	if int(cells) != len(o.types) || o.ended {
		return nil, false, errCopy
	}
	for i := range o.row {
		if len(b) < 4 {
			return all, false, nil
		}
		size := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if o.row[i] = nil; size == -1 {
			continue
		}
		if size < 0 {
			return nil, false, errCopy
		}
		if len(b) < int(size) {
			return all, false, nil
		}
		o.row[i] = o.cell(i, b[:size:size])
		b = b[size:]
	}
	o.failed = o.to.Row(o.row)
	return b, true, o.failed
}

// cell turns a cell of the server into one of a backup.
func (o *copyOut) cell(i int, b []byte) []byte {
	if o.types[i] != "boolean" {
		return b
	}
	o.numbers[i] = [8]byte{7: b[0]}
	return o.numbers[i][:]
}

// copyIn gives rows to a COPY FROM that runs beside it.
type copyIn struct {
	types []string
	pipe  *io.PipeWriter
	out   *bufio.Writer
	head  []byte // of a cell, reused
	done  chan error
}

const copyBuffer = 256 << 10

func startCopy(ctx context.Context, session *pgconn.PgConn, types []string, sql string) *copyIn {
	from, to := io.Pipe()
	c := &copyIn{types: types, pipe: to, out: bufio.NewWriterSize(to, copyBuffer), done: make(chan error, 1)}
	go func() {
		_, err := session.CopyFrom(ctx, from, sql)
		_ = from.CloseWithError(errCopyOver) // whoever still writes learns it; never fails
		c.done <- err
	}()
	c.out.Write(copySignature) // an error stays in the buffer until it is flushed
	c.out.Write(make([]byte, copyHead-len(copySignature)))
	return c
}

var errCopyOver = errors.New("the server has ended its COPY")

// row writes a row. An error means that the COPY is over; end tells why.
func (c *copyIn) row(row annona.TableRow) error {
	c.head = binary.BigEndian.AppendUint16(c.head[:0], uint16(len(row)))
	c.out.Write(c.head)
	for i, cell := range row {
		size := int32(-1)
		if cell != nil {
			size = int32(len(cell))
		}
		if cell != nil && c.types[i] == "boolean" {
			cell, size = cell[7:], 1
		}
		c.head = binary.BigEndian.AppendUint32(c.head[:0], uint32(size))
		c.out.Write(c.head)
		if _, err := c.out.Write(cell); err != nil {
			return err
		}
	}
	return nil
}

// end ends the COPY, or breaks it off because of an error, and returns what the server says.
func (c *copyIn) end(because error) error {
	if because == nil {
		c.out.Write([]byte{0xff, 0xff})
		because = c.out.Flush() // nil, or the server has ended the COPY itself
	}
	_ = c.pipe.CloseWithError(because) // nil is the end; never fails
	return <-c.done
}
