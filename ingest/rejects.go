package ingest

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// The columns that a rejects file of CSV has in front of the source's own.
var rejectColumns = [...]string{"reject_input", "reject_line", "reject_column", "reject_reason", "reject_key"}

// Rejects receives the rows that could not be loaded, each verbatim with where it stood and
// what was wrong, in a form that can be imported again once mended: CSV with five columns in
// front, or NDJSON of {"reject":{…},"row":{…}}; where a line is no JSON, its reject stands on
// the line before it.
//
// The rows are personal data: open creates files that only their owner may read.
type Rejects struct {
	open  func(input, format string) (io.Writer, error)
	files map[string]io.Writer
	count int
}

// NewRejects calls open once for each input that has a refused row, with the input's name in
// the mapping and its format, csv or ndjson. The caller closes what it opened.
func NewRejects(open func(input, format string) (io.Writer, error)) *Rejects {
	return &Rejects{open: open, files: map[string]io.Writer{}}
}

// Count is the number of rows refused so far.
func (r *Rejects) Count() int { return r.count }

// rejectInfo is where a refused row stood and what was wrong with it.
type rejectInfo struct {
	Input  string `json:"input"`
	Line   int    `json:"line"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
	Key    string `json:"key,omitempty"` // the key that the row would have had, when it is a place in the household
}

func rejectInfoOf(object *jsonValue) rejectInfo {
	line, _ := strconv.Atoi(jsonText(object.member("line")))
	return rejectInfo{Line: line, Key: jsonText(object.member("key"))}
}

// file returns the writer for an input; created says that it is new and lacks its header.
func (r *Rejects) file(in *input) (w io.Writer, created bool, err error) {
	if w, ok := r.files[in.name]; ok {
		return w, false, nil
	}
	if w, err = r.open(in.name, in.format); err != nil {
		return nil, false, annona.Internal("create the file of refused rows", err)
	}
	r.files[in.name] = w
	return w, true, nil
}

// csvRow writes the front of a refused row of CSV; take then copies the row itself.
func (r *Rejects) csvRow(in *input, header string, info rejectInfo, take func(io.Writer) error) error {
	r.count++
	w, created, err := r.file(in)
	if err != nil {
		return err
	}
	front := []string{info.Input, strconv.Itoa(info.Line), info.Column, info.Reason, info.Key}
	if created {
		err = write(w, csvFront(rejectColumns[:], in.comma)+header+"\n")
	}
	if err == nil {
		err = write(w, csvFront(front, in.comma))
	}
	if err == nil {
		err = take(w)
	}
	if err == nil {
		err = write(w, "\n")
	}
	return rejectsFailed(err)
}

// csvFront returns cells with a delimiter behind each.
func csvFront(cells []string, comma byte) string {
	var b strings.Builder
	for _, cell := range cells {
		if strings.ContainsAny(cell, "\"\r\n"+string(rune(comma))) {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		b.WriteString(cell)
		b.WriteByte(comma)
	}
	return b.String()
}

// jsonRow writes a refused line of NDJSON; take copies the line itself. A line that is no
// JSON object cannot stand inside another one and follows its reject.
func (r *Rejects) jsonRow(in *input, info rejectInfo, isJSON bool, take func(io.Writer) error) error {
	r.count++
	w, _, err := r.file(in)
	if err != nil {
		return err
	}
	head, err := json.Marshal(info)
	if err != nil {
		return annona.Internal("describe a refused row", err)
	}
	before, after := `{"reject":`+string(head)+"}\n", "\n"
	if isJSON {
		before, after = `{"reject":`+string(head)+`,"row":`, "}\n"
	}
	if err = write(w, before); err == nil {
		err = take(w)
	}
	if err == nil {
		err = write(w, after)
	}
	return rejectsFailed(err)
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

func rejectsFailed(err error) error {
	if err == nil {
		return nil
	}
	return annona.Internal("write the file of refused rows; is the disk full?", err)
}

// isRejects reports whether a header is that of a rejects file.
func isRejects(header []string) bool {
	return len(header) > len(rejectColumns) && slices.Equal(header[:len(rejectColumns)], rejectColumns[:])
}
