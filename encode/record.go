package encode

import (
	"bytes"
	"io"
	"sync"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// WriteRecord writes one record by itself: a JSON object, an XML element behind the XML
// declaration, an NDJSON line, or CSV with its header. The layout of CSV is Plain unless
// another is asked for. The page holds exactly that record.
func WriteRecord(w io.Writer, d *privacy.Disclosed, o Options) error {
	return (&Records{}).Write(w, d, o)
}

// Records writes single records, and keeps how records of a shape are written for the next one of
// that shape. It is safe for concurrent use.
type Records struct {
	mu    sync.Mutex
	forms map[formKey]*sync.Pool // of compiled forms: each writes one record at a time
}

type formKey struct {
	shape  *annona.Shape
	format Format
}

// keptForms bounds how many shapes and formats are kept.
const keptForms = 100

// Write does what WriteRecord does.
func (r *Records) Write(w io.Writer, d *privacy.Disclosed, o Options) error {
	if d.Count() != 1 {
		return misuse("a record by itself is a page of one row")
	}
	if o.Format == CSV && o.Layout == "" {
		o.Layout = Plain
	}
	parts, err := Parts(d.Shape(), o)
	if err != nil {
		return err
	}
	switch o.Format {
	case XML:
		return r.writeAlone(w, d, parts[0], o.Format, func() recordForm { return &elements{} }, xmlDeclaration)
	case JSON, NDJSON:
		return r.writeAlone(w, d, parts[0], o.Format, func() recordForm { return &objects{} }, "")
	case JSONLD, Turtle, NTriples:
		return r.writeLinked(w, d, parts[0], o)
	default:
		return writeParts(w, d, parts, o)
	}
}

// recordForm writes a record without the document around it.
type recordForm interface {
	compile(part Part, have *annona.Shape) error
	start(p *annona.Page)
	row(dst []byte, row int) []byte
}

func (r *Records) writeAlone(w io.Writer, d *privacy.Disclosed, part Part, format Format, blank func() recordForm, prologue string) error {
	forms := r.of(formKey{d.Shape(), format})
	f, ok := forms.Get().(recordForm)
	if !ok {
		f = blank()
		if err := f.compile(part, d.Shape()); err != nil {
			return err
		}
	}
	defer forms.Put(f)
	f.start(d.Page())
	out := newBuffer(w)
	defer out.free()
	out.b = f.row(append(out.b, prologue...), 0)
	out.b = append(out.b, '\n')
	return out.flush()
}

// writeLinked writes the record with its context as its first member, or as the statements that this makes.
func (r *Records) writeLinked(w io.Writer, d *privacy.Disclosed, part Part, o Options) error {
	var record bytes.Buffer
	if err := r.writeAlone(&record, d, part, JSONLD, func() recordForm { return &objects{typed: true} }, ""); err != nil {
		return err
	}
	return writeLinked(w, record.Bytes(), o)
}

// writeLinked writes an object, which says its type, in a format of linked data.
func writeLinked(w io.Writer, object []byte, o Options) error {
	if len(o.Context) == 0 {
		return misuse("linked data has a context")
	}
	if o.Format != JSONLD {
		return writeGraph(w, o.Context, object, o.Format)
	}
	out := buffer{w: w, b: append([]byte(`{"@context":`), o.Context...)}
	out.b = append(out.b, ',')
	out.b = append(out.b, object[1:]...)
	return out.flush()
}

// of returns where forms of that shape and format are kept.
func (r *Records) of(key formKey) *sync.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	forms := r.forms[key]
	if forms == nil {
		if r.forms == nil || len(r.forms) >= keptForms {
			r.forms = map[formKey]*sync.Pool{}
		}
		forms = &sync.Pool{}
		r.forms[key] = forms
	}
	return forms
}

// writeParts writes the files of one record from one page, which has the columns of them all.
func writeParts(w io.Writer, d *privacy.Disclosed, parts []Part, o Options) error {
	e, err := New(w, parts, o)
	if err != nil {
		return err
	}
	defer e.Close()
	for i := range parts {
		if err := e.Begin(i); err != nil {
			return err
		}
		if err := e.Page(d); err != nil {
			return err
		}
	}
	return e.End()
}
