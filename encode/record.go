package encode

import (
	"io"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// WriteRecord writes one record by itself: a JSON object, an XML element behind the XML
// declaration, an NDJSON line, or CSV with its header. The layout of CSV is Plain unless
// another is asked for. The page holds exactly that record.
func WriteRecord(w io.Writer, d *privacy.Disclosed, o Options) error {
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
		return writeAlone(w, d, parts[0], &elements{}, xmlDeclaration)
	case JSON, NDJSON:
		return writeAlone(w, d, parts[0], &objects{}, "")
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

func writeAlone(w io.Writer, d *privacy.Disclosed, part Part, f recordForm, prologue string) error {
	if err := f.compile(part, d.Shape()); err != nil {
		return err
	}
	f.start(d.Page())
	out := buffer{w: w, b: f.row([]byte(prologue), 0)}
	out.b = append(out.b, '\n')
	return out.flush()
}

// writeParts writes the files of one record from one page, which has the columns of them all.
func writeParts(w io.Writer, d *privacy.Disclosed, parts []Part, o Options) error {
	e, err := New(w, parts, o)
	if err != nil {
		return err
	}
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
