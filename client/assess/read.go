package assess

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/annona-exchange/annona"
)

// read calls take with each record of a document. name stands in errors.
func (s *Shape) read(name string, document io.ReaderAt, size int64, take func(*record) error) error {
	from := io.NewSectionReader(document, 0, size)
	var err error
	switch {
	case s.Format == "ndjson":
		err = s.readLines(from, take)
	case s.Format == "json":
		err = s.readJSON(from, take)
	case s.Layout == "linked":
		err = s.readLinked(document, size, take)
	default:
		err = s.readTable(from, take)
	}
	if known := (*annona.Error)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	return annona.Invalid("document_malformed", "the file is not what its format says, or breaks off").On(name).Because(err)
}

func (s *Shape) readLines(from io.Reader, take func(*record) error) error {
	lines := json.NewDecoder(from)
	lines.UseNumber()
	for {
		var object map[string]any
		if err := lines.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := take(s.object(object, false)); err != nil {
			return err
		}
	}
}

// readJSON reads a document with a list of records, or one record by itself.
func (s *Shape) readJSON(from io.ReadSeeker, take func(*record) error) error {
	tokens := json.NewDecoder(from)
	tokens.UseNumber()
	for {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) { // there is no list: it is a record
			if _, err := from.Seek(0, io.SeekStart); err != nil {
				return err
			}
			return s.readLines(from, take)
		}
		if err != nil {
			return err
		}
		if token != s.Dataset {
			continue
		}
		if token, err := tokens.Token(); err != nil || token != json.Delim('[') {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		for tokens.More() {
			var object map[string]any
			if err := tokens.Decode(&object); err != nil {
				return err
			}
			if err := take(s.object(object, false)); err != nil {
				return err
			}
		}
		return closes(tokens)
	}
}

// closes demands the ends of the list and of the document: what breaks off behind a record is not whole.
func closes(tokens *json.Decoder) error {
	for _, end := range []json.Delim{']', '}'} {
		if token, err := tokens.Token(); err != nil || token != end {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// object reads an object as a record.
func (s *Shape) object(object map[string]any, member bool) *record {
	r := newRecord()
	for name, value := range object {
		if list, ok := value.([]any); ok && name == "members" && !member {
			for _, item := range list {
				if m, ok := item.(map[string]any); ok {
					inner := s.object(m, true)
					inner.home = r
					r.members = append(r.members, inner)
				}
			}
			continue
		}
		if c, ok := s.find(name, member); ok {
			r.set(c, text(value))
		}
	}
	return r
}

// text is the canonical text of a value.
func text(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case bool:
		if value {
			return "true"
		}
		return "false"
	case []any:
		var parts []string
		for _, item := range value {
			if part, ok := item.(string); ok {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, string(rune(annona.ListSeparator)))
	}
	return ""
}

// table reads a table of CSV.
type table struct {
	rows    *csv.Reader
	header  []string
	guarded bool
}

func newTable(from io.Reader, guarded bool) (*table, error) {
	t := &table{rows: csv.NewReader(from), guarded: guarded}
	t.rows.ReuseRecord = true
	header, err := t.rows.Read()
	if err != nil {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	t.header = append(t.header, header...)
	t.header[0] = strings.TrimPrefix(t.header[0], "\ufeff")
	return t, nil
}

func (t *table) next() ([]string, error) {
	row, err := t.rows.Read()
	if t.guarded {
		for i := range row {
			row[i] = strings.TrimPrefix(row[i], "'")
		}
	}
	return row, err
}

// memberPrefix stands before the columns of members in flat tables.
const memberPrefix = "member_"

// readTable reads one table: of records, or of households with a row for each member.
func (s *Shape) readTable(from io.Reader, take func(*record) error) error {
	t, err := newTable(from, s.Guarded)
	if err != nil {
		return err
	}
	flat := s.Layout == "flat"
	var current *record
	for {
		row, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		r, member := newRecord(), newRecord()
		for i, name := range t.header {
			if inner, ok := strings.CutPrefix(name, memberPrefix); ok && flat {
				if c, ok := s.find(inner, true); ok {
					member.set(c, row[i])
				}
			} else if c, ok := s.find(name, false); ok {
				r.set(c, row[i])
			}
		}
		if current == nil || !flat || current.id(s.Dataset) == "" || current.id(s.Dataset) != r.id(s.Dataset) {
			if current != nil {
				if err := take(current); err != nil {
					return err
				}
			}
			current = r
		}
		if len(member.values) > 0 {
			member.home = current
			current.members = append(current.members, member)
		}
	}
	if current != nil {
		return take(current)
	}
	return nil
}

// readLinked reads the tables of a zip, joined by their keys.
func (s *Shape) readLinked(document io.ReaderAt, size int64, take func(*record) error) error {
	files, err := zip.NewReader(document, size)
	if err != nil {
		return err
	}
	own, of := s.Dataset, "individuals"
	home, who := s.called("household_id", false), s.called("individual_id", true)
	members := map[string][]*record{}
	if s.Dataset == "households" {
		err := s.rowsOf(files, of+".csv", true, func(keys map[string]string, r *record) error {
			if r.values["individual_id"] == "" {
				r.values["individual_id"] = keys[who]
			}
			members[keys[home]] = append(members[keys[home]], r)
			return nil
		})
		if err != nil {
			return err
		}
		if err := s.joinRoles(files, home, who, members); err != nil {
			return err
		}
	}
	return s.rowsOf(files, own+".csv", false, func(_ map[string]string, r *record) error {
		r.members = members[r.id(s.Dataset)]
		for _, m := range r.members {
			m.home = r
		}
		return take(r)
	})
}

// joinRoles adds what the memberships say of each member.
func (s *Shape) joinRoles(files *zip.Reader, home, who string, members map[string][]*record) error {
	return s.rowsOf(files, "memberships.csv", true, func(keys map[string]string, r *record) error {
		for _, m := range members[keys[home]] {
			if m.values["individual_id"] == keys[who] {
				for code, value := range r.values {
					m.values[code] = value
				}
			}
		}
		return nil
	})
}

// called is the name of a key in the export.
func (s *Shape) called(field string, member bool) string {
	columns := s.own
	if member {
		columns = s.of
	}
	for name, c := range columns {
		if c.field == field {
			return name
		}
	}
	return field
}

// rowsOf calls take with each row of a file of a zip, as it is called there and as a record. A file that
// is not there has no rows.
func (s *Shape) rowsOf(files *zip.Reader, name string, member bool, take func(keys map[string]string, r *record) error) error {
	file, err := files.Open(name)
	if err != nil {
		return nil
	}
	defer file.Close()
	t, err := newTable(file, s.Guarded)
	if err != nil {
		return err
	}
	for {
		row, err := t.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, keys := newRecord(), map[string]string{}
		for i, column := range t.header {
			keys[column] = row[i]
			if c, ok := s.find(column, member); ok {
				r.set(c, row[i])
			}
		}
		if err := take(keys, r); err != nil {
			return err
		}
	}
}

// FormatOf is the format of a document without a manifest, by its name and its first bytes.
func FormatOf(name string, begins []byte) (format, layout string) {
	switch {
	case strings.HasSuffix(name, ".csv"):
		if bytes.Contains(bytes.SplitN(begins, []byte("\n"), 2)[0], []byte(memberPrefix)) {
			return "csv", "flat"
		}
		return "csv", "plain"
	case strings.HasSuffix(name, ".zip"):
		return "csv", "linked"
	case strings.HasSuffix(name, ".ndjson"):
		return "ndjson", ""
	case strings.HasSuffix(name, ".json"):
		return "json", ""
	}
	return "", ""
}
