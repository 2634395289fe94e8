package rest

import (
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// coding is a content coding of HTTP.
type coding string

const (
	unencoded coding = ""
	gzipped   coding = "gzip"
	zstded    coding = "zstd"
)

// negotiateCoding chooses the coding that an Accept-Encoding header likes best; of equals zstd,
// which costs least. Without the header the body goes as it is.
func negotiateCoding(accept string) coding {
	best, quality := unencoded, 0.0
	for element := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(element, ";")
		c := coding(strings.ToLower(strings.TrimSpace(name)))
		if c != gzipped && c != zstded {
			continue
		}
		q := codingQuality(parameters)
		if q > quality || q == quality && q > 0 && c == zstded {
			best, quality = c, q
		}
	}
	return best
}

// codingQuality reads the weight of a coding; 0 for one that is malformed.
func codingQuality(parameters string) float64 {
	name, value, weighted := strings.Cut(strings.TrimSpace(parameters), "=")
	if !weighted {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || strings.ToLower(strings.TrimSpace(name)) != "q" || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}

// compressor is a writer of one coding. Close completes what it writes; a compressor that is
// not closed leaves a body that every reader knows to be incomplete.
type compressor interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// codings lends out compressors. Each takes some hundred kilobytes, so they are used again.
type codings struct{ gzip, zstd sync.Pool }

// zstdWindow bounds what a compressor remembers, and with it the memory of both ends.
const zstdWindow = 1 << 20

func (c *codings) take(name coding, w io.Writer) compressor {
	pool := c.pool(name)
	taken, _ := pool.Get().(compressor)
	switch {
	case taken != nil:
	case name == zstded:
		// Errors are those of the options, and these are constant.
		taken, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderLevel(zstd.SpeedFastest))
	default:
		taken, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	}
	taken.Reset(w)
	return taken
}

func (c *codings) give(name coding, back compressor) {
	back.Reset(nil)
	c.pool(name).Put(back)
}

func (c *codings) pool(name coding) *sync.Pool {
	if name == zstded {
		return &c.zstd
	}
	return &c.gzip
}
