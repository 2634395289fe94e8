package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/annona-exchange/annona"
)

// TombstoneSealer seals tombstones, so that their file says nothing to whoever has no keys.
type TombstoneSealer interface {
	SealTombstone(text []byte) []byte
	// OpenTombstone reports false for what another registry has sealed, or was changed.
	OpenTombstone(sealed []byte) (text []byte, ours bool)
}

// Tombstones is the file that keeps those who were erased away after a restore: every backup is
// older than the last erasure. It only grows, a sealed line for each tombstone. It may hold a
// tombstone twice, and one of an erasure that did not come to its end.
type Tombstones struct {
	Path   string
	Sealer TombstoneSealer
}

// A line is longer than any tombstone needs.
const maxLine = 64 << 10

// cutMark stands behind a line that was never written to its end: the power failed, and nothing was
// erased.
const cutMark = "cut"

var lineEncoding = base64.RawURLEncoding

// Keep appends a tombstone. When it returns, the tombstone is on the disk.
func (t Tombstones) Keep(_ context.Context, stone annona.Tombstone) error {
	line, err := t.line(stone)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(t.Path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return errKeep(err)
	}
	defer file.Close()
	if !endsLine(file) {
		line = append([]byte("\n"+cutMark+"\n"), line...)
	}
	if _, err := file.Write(line); err != nil {
		return errKeep(err)
	}
	if err := file.Sync(); err != nil {
		return errKeep(err)
	}
	return nil
}

func errKeep(cause error) error {
	return annona.Unavailable("tombstones_unwritable", "the file of tombstones cannot be written, and without it a restore could bring back who is erased; nothing was erased. Check its folder and the free space").Because(cause)
}

func (t Tombstones) line(stone annona.Tombstone) ([]byte, error) {
	text, err := json.Marshal(stone)
	if err != nil {
		return nil, annona.Internal("write a tombstone", err)
	}
	return append(lineEncoding.AppendEncode(nil, t.Sealer.SealTombstone(text)), '\n'), nil
}

func endsLine(file *os.File) bool {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return true
	}
	var last [1]byte
	_, err = file.ReadAt(last[:], end-1)
	return err != nil || last[0] == '\n'
}

// Read returns the tombstones of the file, each once, in the order in which they came. A last line
// that was never written to its end is left out; any other that cannot be opened is refused with
// code tombstones_damaged. A file that is not there has code tombstones_missing.
func (t Tombstones) Read() ([]annona.Tombstone, error) {
	file, err := os.Open(t.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, annona.Conflict("tombstones_missing", "the file of tombstones is not there; without it a restore could bring back who was erased")
	}
	if err != nil {
		return nil, annona.Unavailable("file_unreadable", "the file of tombstones cannot be read").Because(err)
	}
	defer file.Close()
	r := tombstoneReader{sealer: t.Sealer, at: map[annona.UID]int{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if err := r.take(bytes.TrimSpace(lines.Bytes()), n); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, annona.Unavailable("file_unreadable", "the file of tombstones cannot be read").Because(err)
	}
	if r.broken > 0 && endsLine(file) {
		return nil, errTombstones.AtPosition(r.broken)
	}
	return r.all, nil
}

// tombstoneReader reads the file line by line.
type tombstoneReader struct {
	sealer TombstoneSealer
	all    []annona.Tombstone
	at     map[annona.UID]int
	broken int // the line before, when it does not open
}

func (r *tombstoneReader) take(line []byte, n int) error {
	if len(line) == 0 || string(line) == cutMark {
		r.broken = 0
		return nil
	}
	if r.broken > 0 {
		return errTombstones.AtPosition(r.broken)
	}
	stone, whole := r.open(line)
	i, known := r.at[stone.ID]
	switch {
	case !whole:
		r.broken = n
	case known:
		r.all[i] = stone
	default:
		r.at[stone.ID] = len(r.all)
		r.all = append(r.all, stone)
	}
	return nil
}

func (r *tombstoneReader) open(line []byte) (stone annona.Tombstone, whole bool) {
	sealed, err := lineEncoding.DecodeString(string(line))
	if err != nil {
		return stone, false
	}
	text, ours := r.sealer.OpenTombstone(sealed)
	return stone, ours && json.Unmarshal(text, &stone) == nil
}

var errTombstones = annona.Conflict("tombstones_damaged", "a line of the file of tombstones was changed, was cut, or is of another registry; use another copy of the file")
