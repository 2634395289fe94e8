package encode

import (
	"archive/zip"
	"bufio"
	"io"
	"time"

	"github.com/klauspost/compress/flate"
)

// deflateLevel is the compression of the files in a zip. Level 1 keeps up with the rows.
const deflateLevel = 1

// archive writes files into a zip, one behind the other. Until it is closed it has no
// directory and opens nowhere.
type archive struct {
	zip      *zip.Writer
	modified time.Time
}

func newArchive(w io.Writer, modified time.Time) *archive {
	z := zip.NewWriter(bufio.NewWriterSize(w, flushSize))
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, deflateLevel)
	})
	return &archive{zip: z, modified: modified}
}

// next starts the next file.
func (a *archive) next(name string) (io.Writer, error) { return a.create(name, zip.Deflate) }

// nextStored starts the next file, one that is compressed already.
func (a *archive) nextStored(name string) (io.Writer, error) { return a.create(name, zip.Store) }

func (a *archive) create(name string, method uint16) (io.Writer, error) {
	return a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: a.modified.UTC()})
}

// flush hands over what is compressed.
func (a *archive) flush() error { return a.zip.Flush() }

// close completes the last file and writes the directory.
func (a *archive) close() error { return a.zip.Close() }
