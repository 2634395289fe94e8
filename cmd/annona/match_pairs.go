package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// pairColumns are the columns of a file of pairs. A record is named by its id in a realm (a, b), or by the
// key that a source gave it.
var pairColumns = []string{"a", "b", "a_source", "a_key", "b_source", "b_key", "score", "engine", "reason"}

// pair is one row, by column.
type pair map[string]string

// pairs reads a file of pairs, row by row.
type pairs struct {
	rows   *csv.Reader
	header []string
	lines  *bufio.Scanner
}

// maxPair bounds a line.
const maxPair = 64 << 10

func newPairs(name string, in io.Reader) (*pairs, error) {
	buffered := bufio.NewReader(in)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3)
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		p := &pairs{lines: bufio.NewScanner(buffered)}
		p.lines.Buffer(nil, maxPair)
		return p, nil
	case ".csv":
		p := &pairs{rows: csv.NewReader(buffered)}
		return p, p.readHeader()
	}
	return nil, annona.Invalid("format_unknown", "pairs stand in FILE.csv or FILE.ndjson").On("file")
}

func (p *pairs) readHeader() (err error) {
	if p.header, err = p.rows.Read(); err != nil {
		return annona.Invalid("pairs_malformed", "the file has no header; its columns are some of %s", strings.Join(pairColumns, ", "))
	}
	for i, name := range p.header {
		if !slices.Contains(pairColumns, name) || slices.Contains(p.header[:i], name) {
			return annona.Invalid("pairs_malformed", "a column is unknown or stands there twice; the columns are %s", strings.Join(pairColumns, ", ")).AtPosition(i + 1)
		}
	}
	return nil
}

// next returns the next row. An error with more is that of the row alone.
func (p *pairs) next() (row pair, more bool, err error) {
	if p.rows != nil {
		return p.nextRow()
	}
	return p.nextLine()
}

func (p *pairs) nextRow() (pair, bool, error) {
	fields, err := p.rows.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, false, nil
	case errors.Is(err, csv.ErrFieldCount):
		return nil, true, annona.Invalid("row_malformed", "the row has another number of cells than the header")
	case err != nil:
		return nil, false, annona.Invalid("pairs_malformed", "the file is no CSV behind the rows that were read")
	}
	row := pair{}
	for i, name := range p.header {
		row[name] = fields[i]
	}
	return row, true, nil
}

func (p *pairs) nextLine() (pair, bool, error) {
	if !p.lines.Scan() {
		if p.lines.Err() != nil {
			return nil, false, annona.Invalid("pairs_malformed", "a line cannot be read, or is longer than %d bytes", maxPair)
		}
		return nil, false, nil
	}
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(p.lines.Bytes()))
	d.UseNumber()
	if err := d.Decode(&members); err != nil || d.More() {
		return nil, true, annona.Invalid("row_malformed", "a line is one JSON object")
	}
	row := pair{}
	for name, value := range members {
		text, isText := value.(string)
		number, isNumber := value.(json.Number)
		if !slices.Contains(pairColumns, name) || !isText && !isNumber {
			return nil, true, annona.Invalid("row_malformed", "a line has texts and numbers named %s", strings.Join(pairColumns, ", "))
		}
		row[name] = text + string(number)
	}
	return row, true, nil
}

// match is a row as the gate takes it.
func (p pair) match(engine, realm string) (m exchange.Match, err error) {
	if m.A, err = p.subject("a", realm); err != nil {
		return m, err
	}
	if m.B, err = p.subject("b", realm); err != nil {
		return m, err
	}
	if m.Score, err = strconv.ParseFloat(p["score"], 64); err != nil {
		return m, annona.Invalid("score_out_of_range", "a score is a number from 0 to 1").On("score")
	}
	m.Engine, m.Evidence = p["engine"], p["reason"]
	if m.Engine == "" {
		m.Engine = engine
	}
	return m, nil
}

func (p pair) subject(side, realm string) (exchange.Subject, error) {
	id, source, key := p[side], p[side+"_source"], p[side+"_key"]
	switch {
	case id != "" && realm != "" && source == "" && key == "":
		return exchange.Subject{ID: id, Realm: realm}, nil
	case id == "" && source != "" && key != "":
		return exchange.Subject{Source: source, Key: key}, nil
	}
	return exchange.Subject{}, annona.Invalid("subject_unnamed", "a record is named by its id and --realm, or by its source and key").On(side)
}
