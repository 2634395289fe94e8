package encode

import (
	"bytes"
	"io"

	"github.com/annona-exchange/annona/privacy"
)

// Member is a member of a JSON object that is put together of several pages.
type Member struct {
	Name string
	Page *privacy.Disclosed // rows, as objects of a list; nil: Text
	One  bool               // the page has one row, which stands without a list
	Text []byte             // JSON that says nothing of a record; nil with Page
}

// WriteJoinedList writes objects as WriteJoined does: in JSON as the list name of one document, which says its
// schema and the cursor of the next page; in NDJSON one on each line.
func (r *Records) WriteJoinedList(w io.Writer, name string, objects [][]Member, o Options) error {
	if o.Format == NDJSON {
		for _, members := range objects {
			if err := r.join(w, members, NDJSON, nil); err != nil {
				return err
			}
		}
		return nil
	}
	f := jsonForm{schema: o.Schema, next: o.Next}
	out := buffer{w: w, b: f.opened(nil, name)}
	for n, members := range objects {
		if n > 0 {
			out.b = append(out.b, ',')
		}
		if err := out.flush(); err != nil {
			return err
		}
		if err := r.join(w, members, JSON, nil); err != nil {
			return err
		}
	}
	out.b = f.close(out.b)
	return out.flush()
}

// WriteJoined writes a JSON object whose members are pages that were disclosed together. In a format of
// linked data it is of that noun, and what stands in members as text says its types itself.
func (r *Records) WriteJoined(w io.Writer, noun string, members []Member, o Options) error {
	if !o.Format.Linked() {
		return r.join(w, members, JSON, nil)
	}
	var object bytes.Buffer
	if err := r.join(&object, members, JSONLD, []byte(`"@type":"`+noun+`"`)); err != nil {
		return err
	}
	return writeLinked(w, object.Bytes(), o)
}

func (r *Records) join(w io.Writer, members []Member, f Format, first []byte) error {
	out := newBuffer(w)
	defer out.free()
	out.b = append(append(out.b, '{'), first...)
	between := betweenRows(f)
	for n, m := range members {
		if n > 0 || len(first) > 0 {
			out.b = append(out.b, between...)
		}
		out.b = append(appendString(out.b, m.Name), ':')
		switch {
		case m.Page == nil:
			out.b = append(out.b, m.Text...)
		case m.One && m.Page.Count() != 1:
			return misuse("a record by itself is a page of one row")
		default:
			if err := r.appendRows(out, m, f); err != nil {
				return err
			}
		}
	}
	out.b = append(out.b, "}\n"...)
	return out.flush()
}

func (r *Records) appendRows(out *buffer, m Member, format Format) error {
	forms := r.of(formKey{m.Page.Shape(), format})
	f, ok := forms.Get().(recordForm)
	if !ok {
		f = &objects{typed: format == JSONLD}
		parts, err := Parts(m.Page.Shape(), Options{Format: JSON})
		if err == nil {
			err = f.compile(parts[0], m.Page.Shape())
		}
		if err != nil {
			return err
		}
	}
	defer forms.Put(f)
	f.start(m.Page.Page())
	if m.One {
		out.b = f.row(out.b, 0)
		return nil
	}
	out.b = append(out.b, '[')
	for row := range m.Page.Count() {
		if row > 0 {
			out.b = append(out.b, betweenRows(format)...)
		}
		out.b = f.row(out.b, row)
	}
	out.b = append(out.b, ']')
	return nil
}

// betweenRows stands between members and between rows: in NDJSON all of an object is one line.
func betweenRows(f Format) string {
	if f == NDJSON {
		return ","
	}
	return ",\n"
}
