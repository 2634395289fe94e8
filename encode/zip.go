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
	return a.zip.CreateHeader(a.header(name, method))
}

func (a *archive) header(name string, method uint16) *zip.FileHeader {
	return &zip.FileHeader{Name: name, Method: method, Modified: a.modified.UTC()}
}

// take adds a file that was packed before.
func (a *archive) take(name string, p *packed) error {
	header := a.header(name, p.method)
	if _, err := zip.NewWriter(io.Discard).CreateHeader(header); err != nil { // which fills in the times
		return err
	}
	header.Flags &^= sizesFollow
	header.CRC32, header.UncompressedSize64, header.CompressedSize64 = p.sum.Sum32(), p.size, p.stored
	entry, err := a.zip.CreateRaw(header)
	if err != nil {
		return err
	}
	content, err := p.spool.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(entry, content)
	return err
}

// sizesFollow is the flag of a file whose sizes stand behind it (APPNOTE, section 4.4.4, bit 3).
const sizesFollow = 1 << 3

// flush hands over what is compressed.
func (a *archive) flush() error { return a.zip.Flush() }

// close completes the last file and writes the directory.
func (a *archive) close() error { return a.zip.Close() }
