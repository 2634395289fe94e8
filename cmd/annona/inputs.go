package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// sourcesOf opens nothing yet; it looks whether the files are there, each once, and how long
// they are together.
func sourcesOf(paths []string, c console) (sources []ingest.Source, size int64, err error) {
	bySize := map[int64][]string{}
	for _, path := range paths {
		if path == "-" {
			sources = append(sources, ingest.Source{Name: "standard input", Open: once(c.in)})
			continue
		}
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			return nil, 0, annona.Invalid("file_unreadable", "the input is no file that can be read").On(filepath.Base(path))
		}
		if info.Mode().IsRegular() {
			if err := mustDiffer(path, bySize[info.Size()]); err != nil {
				return nil, 0, err
			}
			bySize[info.Size()] = append(bySize[info.Size()], path)
		}
		size += info.Size()
		sources = append(sources, ingest.Source{
			Name: filepath.Base(path), Size: info.Size(),
			Open: func() (io.ReadCloser, error) { return os.Open(path) },
		})
	}
	return sources, size, nil
}

// mustDiffer refuses a file that stands in another one already: people who are told apart by
// their place in a household would come on file twice.
func mustDiffer(path string, others []string) error {
	for _, other := range others {
		same, err := sameContent(path, other)
		if err != nil {
			return annona.Invalid("file_unreadable", "the input cannot be read: %s", reason(err)).On(filepath.Base(path))
		}
		if same {
			return annona.Invalid("input_twice", "the inputs hold the same file twice; name it once").On(filepath.Base(path))
		}
	}
	return nil
}

// sameContent compares two files of one size.
func sameContent(a, b string) (bool, error) {
	left, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer left.Close()
	right, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer right.Close()
	p, q := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, err := left.Read(p)
		if _, failed := io.ReadFull(right, q[:n]); failed != nil || !bytes.Equal(p[:n], q[:n]) {
			return false, failed
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// once hands standard input out; it cannot be read twice.
func once(in io.Reader) func() (io.ReadCloser, error) {
	opened := false
	return func() (io.ReadCloser, error) {
		if opened {
			return nil, annona.Invalid("input_read_twice", "standard input can be read once only; give the mapping's inputs as files")
		}
		opened = true
		return io.NopCloser(in), nil
	}
}

// counted moves the bar by what is read.
func counted(open func() (io.ReadCloser, error), bar *progress) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		file, err := open()
		if err != nil {
			return nil, err
		}
		return &countingReader{ReadCloser: file, bar: bar}, nil
	}
}

type countingReader struct {
	io.ReadCloser
	bar *progress
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.bar.add(int64(n))
	return n, err
}
