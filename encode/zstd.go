package encode

import (
	"errors"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// zstdCodec packs the pages of Parquet files (RFC 8878). All files of an answer share one, whose
// memory fits a page; that of the library's own takes 8 MiB.
type zstdCodec struct{ encoder *zstd.Encoder }

// zstdWindow holds a page, and what it may be longer than parquetPage by its last value.
const zstdWindow = 2 * parquetPage

func newZstdCodec() (*zstdCodec, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindow), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	return &zstdCodec{encoder}, nil
}

func (c *zstdCodec) String() string { return "ZSTD" }

func (c *zstdCodec) CompressionCodec() format.CompressionCodec { return format.Zstd }

func (c *zstdCodec) Encode(dst, src []byte) ([]byte, error) {
	return c.encoder.EncodeAll(src, dst[:0]), nil
}

// Decode is never asked for: nothing is read here.
func (c *zstdCodec) Decode(_, _ []byte) ([]byte, error) { return nil, errors.ErrUnsupported }
