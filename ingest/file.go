package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/klauspost/compress/gzip"
)

// file is a source with the input that it feeds.
type file struct {
	source Source
	in     *input
}

// assign gives each source the one input whose columns it has, and sorts them by input.
func assign(m *Mapping, sources []Source) ([]file, error) {
	if len(sources) == 0 {
		return nil, annona.Invalid("input_missing", "name at least one file to read")
	}
	files := make([]file, len(sources))
	for i, s := range sources {
		in := m.inputs[0]
		if len(m.inputs) > 1 {
			var err error
			if in, err = recognize(m, s); err != nil {
				return nil, err
			}
		}
		files[i] = file{source: s, in: in}
	}
	place := func(f file) int { return slices.Index(m.inputs, f.in) }
	slices.SortStableFunc(files, func(a, b file) int { return place(a) - place(b) })
	return files, nil
}

// recognize finds the input that a file feeds by the columns in its beginning.
func recognize(m *Mapping, s Source) (*input, error) {
	opened, err := openSource(s)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	head, err := opened.Peek(opened.Size())
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, unreadable(s, err)
	}
	var found []*input
	for _, in := range m.inputs {
		if in.matches(head) {
			found = append(found, in)
		}
	}
	slices.SortStableFunc(found, func(a, b *input) int { return len(b.root.columns) - len(a.root.columns) })
	if len(found) > 1 && len(found[0].root.columns) > len(found[1].root.columns) {
		found = found[:1] // a file of members may have all that one of households needs
	}
	if len(found) != 1 {
		return nil, annona.Invalid("input_unrecognized", "the file has the columns of %s; the mapping's inputs are told apart by their columns",
			map[bool]string{true: "no input", false: "several inputs"}[len(found) == 0]).On(s.Name)
	}
	return found[0], nil
}

// matches reports whether a file that begins with head has the columns of the input.
func (in *input) matches(head []byte) bool {
	isJSON := bytes.HasPrefix(bytes.TrimSpace(head), []byte("{"))
	if isJSON != (in.format == FormatNDJSON) {
		return false
	}
	if isJSON {
		return in.matchesJSON(head)
	}
	r := csvReader{window: newWindow(bytes.NewReader(head)), comma: in.comma}
	if !r.next() || r.fault != "" {
		return false
	}
	header := r.header()
	return !slices.ContainsFunc(in.root.columns, func(c string) bool { return !slices.Contains(header, c) })
}

// matchesJSON looks for the key in the first row.
func (in *input) matchesJSON(head []byte) bool {
	r := newNDJSONReader(bytes.NewReader(head))
	if !r.next() || r.fault != "" {
		return false
	}
	has := func(e *entity) bool {
		if e == nil {
			return true
		}
		if e.view != in.root {
			return at(r.row, e.view.each) != nil
		}
		return !slices.ContainsFunc(e.key, func(slot int) bool {
			return at(r.row, strings.Split(in.root.columns[slot], ".")) == nil
		})
	}
	return has(in.household) && has(in.individual)
}

// header returns the texts of the current row.
func (r *csvReader) header() []string {
	header := make([]string, len(r.cells))
	for i := range header {
		header[i] = r.text(i)
	}
	return header
}

// openedSource is a source being read, decompressed and without its byte order mark.
type openedSource struct {
	*bufio.Reader
	closers []io.Closer
}

func (o *openedSource) Close() {
	for _, c := range o.closers {
		c.Close()
	}
}

const peeked = 1 << 20 // how much of a file is looked at to recognize it

func openSource(s Source) (*openedSource, error) {
	raw, err := s.Open()
	if err != nil {
		return nil, annona.Invalid("input_unreadable", "the file cannot be opened; does it exist, and may you read it?").On(s.Name).Because(err)
	}
	o := &openedSource{Reader: bufio.NewReaderSize(raw, peeked), closers: []io.Closer{raw}}
	if magic, _ := o.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzip, err := gzip.NewReader(o.Reader)
		if err != nil {
			o.Close()
			return nil, unreadable(s, err)
		}
		o.Reader = bufio.NewReaderSize(unzip, peeked)
		o.closers = append([]io.Closer{unzip}, o.closers...)
	}
	mark, _ := o.Peek(3)
	switch {
	case bytes.HasPrefix(mark, []byte{0xEF, 0xBB, 0xBF}):
		_, err = o.Discard(3)
	case bytes.HasPrefix(mark, []byte{0xFF, 0xFE}), bytes.HasPrefix(mark, []byte{0xFE, 0xFF}):
		err = annona.Invalid("input_encoding", "the file is UTF-16; save it as UTF-8").On(s.Name)
	}
	if err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// unreadable is a file that breaks off or cannot be decompressed.
func unreadable(s Source, cause error) error {
	return annona.Invalid("input_unreadable", "the file cannot be read to its end: it is damaged or cut off. What was complete before is kept; the same import can run again").
		On(s.Name).Because(cause)
}
