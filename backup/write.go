package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/annona-exchange/annona"
)

// Writer writes one file. It takes tables and rows as an annona.TableSink; a file without Close
// has no end and is refused by every reader.
type Writer struct {
	sealed   io.WriteCloser
	packed   *zstd.Encoder
	header   []byte
	manifest Manifest
	part     Part // the table that was begun last
	sum      hash.Hash
	columns  int
	rows     []byte // gathered for the next frame
}

// NewWriter begins a file that only the recipients can open.
func NewWriter(to io.Writer, recipients []age.Recipient, h Header) (*Writer, error) {
	h.Format = Format
	header, err := json.Marshal(h)
	if err != nil {
		return nil, annona.Internal("begin a backup", err)
	}
	sealed, err := age.Encrypt(to, recipients...)
	if err != nil {
		return nil, writeFault(err)
	}
	packed, err := zstd.NewWriter(sealed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, annona.Internal("begin a backup", err)
	}
	w := &Writer{sealed: sealed, packed: packed, header: header, sum: sha256.New()}
	if _, err := io.WriteString(packed, magic); err != nil {
		return nil, err
	}
	return w, w.frame(frameHeader, header)
}

// writeFault keeps what the place that is written to says of itself.
func writeFault(err error) error {
	var known *annona.Error
	if errors.As(err, &known) {
		return known
	}
	return annona.Internal("seal a backup", err)
}

// Table begins a table.
func (w *Writer) Table(t annona.Table) error {
	if err := w.endPart(); err != nil {
		return err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return annona.Internal("write a backup", err)
	}
	w.part, w.columns = Part{Table: t.Name}, len(t.Columns)
	return w.frame(frameTable, text)
}

// Row takes the next row of the table.
func (w *Writer) Row(row annona.TableRow) error {
	if len(row) != w.columns {
		return annona.Internal("write a row of a backup that has not the columns of its table", nil)
	}
	for _, cell := range row {
		w.rows = appendCell(w.rows, cell)
	}
	w.part.Rows++
	if len(w.rows) < fullFrame {
		return nil
	}
	return w.flush()
}

// appendCell appends a cell: 0 when it is absent, otherwise its length plus one and its bytes.
func appendCell(b, cell []byte) []byte {
	if cell == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(cell))+1)
	return append(b, cell...)
}

func (w *Writer) flush() error {
	if len(w.rows) == 0 {
		return nil
	}
	w.sum.Write(w.rows)
	w.part.Bytes += int64(len(w.rows))
	err := w.frame(frameRows, w.rows)
	w.rows = w.rows[:0]
	return err
}

func (w *Writer) endPart() error {
	if err := w.flush(); err != nil || w.part.Table == "" {
		return err
	}
	w.part.SHA256 = sumText(w.sum.Sum(nil))
	w.sum.Reset()
	w.manifest.Parts = append(w.manifest.Parts, w.part)
	return nil
}

// Close ends the file with its manifest and its proof.
func (w *Writer) Close(prove Prove) (Manifest, error) {
	if err := w.endPart(); err != nil {
		return Manifest{}, err
	}
	text, err := json.Marshal(w.manifest)
	if err != nil {
		return Manifest{}, annona.Internal("end a backup", err)
	}
	if err := w.frame(frameManifest, text); err != nil {
		return Manifest{}, err
	}
	if err := w.frame(frameProof, prove(digest(w.header, text))); err != nil {
		return Manifest{}, err
	}
	if err := w.packed.Close(); err != nil {
		return Manifest{}, err
	}
	return w.manifest, w.sealed.Close()
}

func (w *Writer) frame(kind byte, content []byte) error {
	if len(content) > maxFrame {
		return annona.TooLarge("row_too_long", "a row is longer than a backup can carry")
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(content)))
	if _, err := w.packed.Write(head); err != nil {
		return err
	}
	_, err := w.packed.Write(content)
	return err
}
