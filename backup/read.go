package backup

import (
	"bufio"
	"crypto/hmac"
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

// Reader reads one file.
type Reader struct {
	Header Header

	packed *zstd.Decoder
	header []byte // as it stood in the file
	frames []byte // reused
	digest []byte // what the proof covers; nil before the end was read
	proof  []byte
}

// NewReader opens a file and reads its header. Errors have the codes backup_foreign (not a file of
// ours), backup_identity (sealed to somebody else), backup_damaged or backup_too_new.
func NewReader(from io.Reader, identities []age.Identity) (*Reader, error) {
	opened, err := age.Decrypt(bufio.NewReaderSize(from, 64<<10), identities...)
	if err != nil {
		return nil, openFault(err)
	}
	packed, err := zstd.NewReader(opened, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, annona.Internal("read a backup", err)
	}
	r := &Reader{packed: packed}
	if err := r.begin(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close gives back what the reader holds. The file stays open.
func (r *Reader) Close() { r.packed.Close() }

func openFault(err error) error {
	var nobody *age.NoIdentityMatchError
	if errors.As(err, &nobody) {
		return annona.Conflict("backup_identity", "the file is sealed to another recipient: use the identity whose recipient stood on the command line of the backup")
	}
	return annona.Conflict("backup_foreign", "the file is no backup of Annona, or its beginning is damaged or missing")
}

func (r *Reader) begin() error {
	line := make([]byte, len(magic))
	if _, err := io.ReadFull(r.packed, line); err != nil {
		return errDamaged.Because(err)
	}
	if string(line) != magic {
		return annona.Conflict("backup_foreign", "the file is sealed to you, but it is no backup of Annona")
	}
	kind, content, err := r.next()
	if err != nil {
		return err
	}
	if kind != frameHeader || json.Unmarshal(content, &r.Header) != nil {
		return errDamaged
	}
	if r.Header.Format > Format {
		return errTooNew
	}
	r.header = append([]byte(nil), content...)
	return nil
}

// next reads a frame. Its content is good until the next one.
func (r *Reader) next() (kind byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r.packed, head[:]); err != nil {
		return 0, nil, errDamaged.Because(err)
	}
	size := int(binary.BigEndian.Uint32(head[1:]))
	if size > maxFrame || head[0] != frameRows && size > maxText {
		return 0, nil, errDamaged
	}
	if cap(r.frames) < size {
		r.frames = make([]byte, size)
	}
	content = r.frames[:size]
	if _, err := io.ReadFull(r.packed, content); err != nil {
		return 0, nil, errDamaged.Because(err)
	}
	return head[0], content, nil
}

// Read gives all tables and rows to a sink and returns the manifest, after it has compared every
// hash. An error of the sink comes back as it is; a file that is not whole is backup_damaged. What
// the sink got counts only when Read has returned without an error, and Verify after it.
func (r *Reader) Read(to annona.TableSink) (Manifest, error) {
	p := parts{to: to, sum: sha256.New()}
	for {
		kind, content, err := r.next()
		if err != nil {
			return Manifest{}, err
		}
		switch kind {
		case frameTable:
			err = p.begin(content)
		case frameRows:
			err = p.rows(content)
		case frameManifest:
			return r.end(&p, append([]byte(nil), content...))
		default:
			err = errDamaged
		}
		if err != nil {
			return Manifest{}, err
		}
	}
}

// end checks the manifest and that nothing follows the proof.
func (r *Reader) end(p *parts, text []byte) (m Manifest, err error) {
	p.endPart()
	if json.Unmarshal(text, &m) != nil || !m.Equal(p.manifest) {
		return Manifest{}, errDamaged
	}
	kind, proof, err := r.next()
	if err != nil {
		return Manifest{}, err
	}
	if kind != frameProof {
		return Manifest{}, errDamaged
	}
	r.digest, r.proof = digest(r.header, text), append([]byte(nil), proof...)
	if n, err := io.Copy(io.Discard, r.packed); err != nil || n > 0 {
		return Manifest{}, errDamaged.Because(err)
	}
	return m, nil
}

// Verify compares the proof of a file that was read to its end. A file that another installation
// wrote, or somebody who knows no more than the recipient, is backup_of_another.
func (r *Reader) Verify(prove Prove) error {
	if r.digest == nil || !hmac.Equal(r.proof, prove(r.digest)) {
		return annona.Conflict("backup_of_another", "the file is whole, but the registry of this root key did not write it: it is of another installation, or somebody made it up; nothing of it was applied")
	}
	return nil
}

// Proof returns what tells this file from every other, in hexadecimal.
func (r *Reader) Proof() string { return sumText(r.proof) }

// parts takes the tables of a file apart.
type parts struct {
	to       annona.TableSink
	manifest Manifest
	part     Part
	sum      hash.Hash
	row      annona.TableRow
	types    []annona.TableColumn
}

func (p *parts) begin(text []byte) error {
	var t annona.Table
	if json.Unmarshal(text, &t) != nil || t.Name == "" || len(t.Columns) == 0 {
		return errDamaged
	}
	p.endPart()
	p.part, p.types, p.row = Part{Table: t.Name}, t.Columns, make(annona.TableRow, len(t.Columns))
	return p.to.Table(t)
}

func (p *parts) endPart() {
	if p.part.Table == "" {
		return
	}
	p.part.SHA256 = sumText(p.sum.Sum(nil))
	p.sum.Reset()
	p.manifest.Parts = append(p.manifest.Parts, p.part)
}

// rows gives the rows of a frame to the sink.
func (p *parts) rows(b []byte) error {
	if p.part.Table == "" || len(b) == 0 {
		return errDamaged
	}
	p.sum.Write(b)
	p.part.Bytes += int64(len(b))
	for len(b) > 0 {
		for i := range p.row {
			var ok bool
			if p.row[i], b, ok = takeCell(b); !ok || !fits(p.row[i], p.types[i].Type) {
				return errDamaged
			}
		}
		p.part.Rows++
		if err := p.to.Row(p.row); err != nil {
			return err
		}
	}
	return nil
}

func takeCell(b []byte) (cell, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n)+1 {
		return nil, nil, false
	}
	if b = b[n:]; size == 0 {
		return nil, b, true
	}
	return b[: size-1 : size-1], b[size-1:], true
}

func fits(cell []byte, t annona.CellType) bool {
	return cell == nil || t != annona.CellInteger || len(cell) == 8
}

// Nowhere takes tables and rows and keeps nothing: for checking a file before it is used.
type Nowhere struct{}

// Table takes a table.
func (Nowhere) Table(annona.Table) error { return nil }

// Row takes a row.
func (Nowhere) Row(annona.TableRow) error { return nil }
