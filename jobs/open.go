package jobs

import (
	"context"
	"errors"
	"io"

	"gocloud.dev/blob"

	"github.com/annona-exchange/annona"
)

// Files reads the files of exports that the gate has let go.
type Files struct {
	Bucket *blob.Bucket
	Vault  annona.FileVault
}

// Open returns a part as it is downloaded: sealed to its recipient, or what the file holds. Nothing is
// read before the first Read. A file that is not there any more, or is not the one that was written, is
// code regenerate.
func (f *Files) Open(ctx context.Context, job *annona.ExportJob, part *annona.ExportPart, recipient string) (io.ReadSeeker, error) {
	stored := &object{ctx: ctx, bucket: f.Bucket, key: part.Object, size: part.Stored.Size}
	at, err := f.Bucket.Attributes(ctx, part.Object)
	switch {
	case err != nil && isMissing(err), err == nil && at.Size != part.Stored.Size:
		return nil, annona.Gone("regenerate", "the file of this export is lost; start the export again").Because(err)
	case err != nil:
		return nil, filesFailed(err)
	}
	if recipient != "" {
		return io.NewSectionReader(stored, 0, part.Stored.Size), nil
	}
	content, size, err := f.Vault.OpenFile(stored, part.Stored.Size, job.ID)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(content, 0, size), nil
}

// ahead is how much of an object is read together.
const ahead = 256 << 10

// object reads an object at any place. Most readers go through it from one place on: it asks for a piece
// and keeps it.
type object struct {
	ctx    context.Context
	bucket *blob.Bucket
	key    string
	size   int64

	piece []byte
	from  int64
}

func (o *object) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		if at >= o.size {
			return n, io.EOF
		}
		if at < o.from || at >= o.from+int64(len(o.piece)) {
			if err := o.fetch(at); err != nil {
				return n, err
			}
		}
		m := copy(p[n:], o.piece[at-o.from:])
		n, at = n+m, at+int64(m)
	}
	return n, nil
}

func (o *object) fetch(at int64) error {
	r, err := o.bucket.NewRangeReader(o.ctx, o.key, at, min(ahead, o.size-at), nil)
	if err != nil {
		return filesFailed(err)
	}
	o.piece, err = io.ReadAll(r)
	o.from = at
	if err = errors.Join(err, r.Close()); err != nil {
		return filesFailed(err)
	}
	if len(o.piece) == 0 {
		return filesFailed(io.ErrUnexpectedEOF)
	}
	return nil
}
