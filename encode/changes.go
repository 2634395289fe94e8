package encode

import (
	"io"

	"github.com/annona-exchange/annona/privacy"
)

// Change is one line of a page of changes. From says where it stands: the record that is now, or
// only the id of one that is gone.
type Change struct {
	Kind string
	From *privacy.Disclosed
	Row  int
	Gone bool
	// Into has, from row IntoFrom up to IntoEnd, the ids of what took the place of one that is gone.
	Into              *privacy.Disclosed
	IntoFrom, IntoEnd int
}

// ChangePage is what stands around the changes.
type ChangePage struct {
	Schema string // that the records follow: "individuals/3"
	Next   string // position behind these changes
	More   bool   // further changes are there already
}

// WriteChanges writes a page of changes. As JSON it is one document with the list changes. As
// NDJSON each change is a line, and a last line without kind has next and more: a body without it
// broke off.
func WriteChanges(w io.Writer, changes []Change, p ChangePage, f Format) error {
	out := buffer{w: w}
	c := changeWriter{forms: map[*privacy.Disclosed]*objects{}}
	between := ""
	if f == JSON {
		out.b = append(appendString(append(out.b, `{"schema":`...), p.Schema), `,"changes":[`...)
		between = ","
	}
	for i := range changes {
		if i > 0 {
			out.b = append(out.b, between...)
		}
		if f == JSON || i > 0 {
			out.b = append(out.b, '\n')
		}
		var err error
		if out.b, err = c.append(out.b, &changes[i]); err != nil {
			return err
		}
		if len(out.b) < flushSize {
			continue
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
	out.b = appendBehind(out.b, p, f, len(changes) > 0)
	return out.flush()
}

// appendBehind appends what stands behind the last change.
func appendBehind(dst []byte, p ChangePage, f Format, some bool) []byte {
	switch {
	case f == JSON && some:
		dst = append(dst, "\n],"...)
	case f == JSON:
		dst = append(dst, "],"...)
	case some:
		dst = append(dst, "\n{"...)
	default:
		dst = append(dst, '{')
	}
	dst = appendString(append(dst, `"next":`...), p.Next)
	dst = append(dst, `,"more":`...)
	if p.More {
		return append(dst, "true}\n"...)
	}
	return append(dst, "false}\n"...)
}

// changeWriter writes changes; it compiles each page's form once.
type changeWriter struct {
	forms map[*privacy.Disclosed]*objects
}

func (c *changeWriter) append(dst []byte, change *Change) ([]byte, error) {
	page := change.From.Page()
	key := page.Shape.Column(page.Shape.Dataset.Key)
	if key < 0 {
		return dst, misuse("a change names the id of its record")
	}
	dst = appendString(append(dst, `{"kind":`...), change.Kind)
	dst = appendString(append(dst, `,"id":`...), string(page.Cell(key, change.Row)))
	if change.Gone {
		return append(appendInto(dst, change), '}'), nil
	}
	form, err := c.form(change.From)
	if err != nil {
		return dst, err
	}
	return append(form.row(append(dst, `,"record":`...), change.Row), '}'), nil
}

// appendInto appends what took the place of a record, when there is something.
func appendInto(dst []byte, change *Change) []byte {
	if change.IntoFrom == change.IntoEnd {
		return dst
	}
	page := change.Into.Page()
	key := page.Shape.Column(page.Shape.Dataset.Key)
	dst = append(dst, `,"into":[`...)
	for row := change.IntoFrom; row < change.IntoEnd; row++ {
		if row > change.IntoFrom {
			dst = append(dst, ',')
		}
		dst = appendString(dst, string(page.Cell(key, row)))
	}
	return append(dst, ']')
}

func (c *changeWriter) form(d *privacy.Disclosed) (*objects, error) {
	if form, known := c.forms[d]; known {
		return form, nil
	}
	form := &objects{}
	if err := form.compile(Part{Shape: d.Shape()}, d.Shape()); err != nil {
		return nil, err
	}
	form.start(d.Page())
	c.forms[d] = form
	return form, nil
}
