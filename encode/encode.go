// Package encode writes what was disclosed as CSV, XML, JSON, JSON-LD, NDJSON, XLSX and
// Parquet, single answers also as Turtle and N-Triples, and the files of a linked export as one zip.
//
// It knows the wire forms (docs/spec/formats.md), and how a nested shape becomes flat files. It
// does not know who may see what, where pages come from or where bytes go. Its pages are
// privacy.Disclosed: what nobody has redacted cannot be written.
//
// An answer is written in parts, one pass over the records each. Most documents have one part. A zip
// and a workbook hold their files one behind the other. So they have one part for each file; or the
// files of a zip are written side by side in one pass, and all but the first wait in spools:
//
//	parts, err := encode.Parts(shape, options)
//	encoder, err := encode.New(w, parts, options)
//	for i, part := range parts {
//		encoder.Begin(i)
//		// fetch part.Shape page by page; for each page:
//		encoder.Page(disclosed)
//	}
//	encoder.End()
//
// Who aborts an answer never calls End. Then a JSON or XML document stays unclosed, a zip (a
// workbook too) has no directory and a Parquet file no footer, so that no reader takes part of an
// answer for the whole.
package encode

import (
	"io"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// Options says how an answer is written.
type Options struct {
	Format   Format
	Profile  Profile   // of CSV; empty: Machine
	Layout   Layout    // empty: Nested, for CSV the default of the dataset
	Schema   string    // the schema that the answer follows: "individuals/3"; in JSON, XML and Parquet only
	Next     string    // cursor of the next page of a search; in JSON and XML documents only
	Context  []byte    // of linked data: the value of @context, as package schema makes it
	Modified time.Time // of the files in a zip
	// Spool makes a place where a file of a zip can wait for those before it; nil: none waits, and the
	// records are read once for each file.
	Spool func() (annona.Spool, error)

	codec *zstdCodec // of Parquet
}

// Encoder writes one answer. It is for one goroutine. After an error it stays in it: every
// further call returns the same one.
type Encoder interface {
	// Begin starts the next part: header line, opening tag, entry of the zip. Parts begin in
	// order. Nothing of the first part reaches the writer before its first page or End.
	Begin(part int) error
	// Page writes rows of the part that has begun, any number of pages. When it returns, they
	// were handed to the writer (of a zip, all but what the compressor still holds). The page
	// has at least the columns of the part's shape; further ones are not written.
	Page(d *privacy.Disclosed) error
	// End completes the document: closing tag, directory of the zip. It is never called when
	// the answer was aborted.
	End() error
	// Altered returns the number of cells that the spreadsheet profile changed so far. A cell
	// of a household that stands on several rows counts once.
	Altered() int64
	// Close gives up what an answer holds beside its writer. It is called at the end of every answer,
	// however it ended.
	Close() error
}

// New returns an encoder of an answer of those parts, as Parts gave them for the same options.
func New(w io.Writer, parts []Part, o Options) (Encoder, error) {
	if len(parts) == 0 {
		return nil, misuse("an answer has at least one part")
	}
	o, err := o.resolve(parts[0].Shape.Dataset.Name)
	if err != nil {
		return nil, err
	}
	if o.Format == Turtle || o.Format == NTriples {
		return nil, misuse("triples are written of one record, or of what is joined")
	}
	if o.Format == JSONLD && len(o.Context) == 0 {
		return nil, misuse("JSON-LD has a context")
	}
	if o.Format == Parquet {
		if o.codec, err = newZstdCodec(); err != nil {
			return nil, annona.Internal("pack a Parquet file", err)
		}
	}
	if parts[0].files != nil {
		return newSpread(w, parts, o), nil
	}
	return newEncoder(w, parts, o, o.Layout == Linked), nil
}

// newEncoder returns an encoder that writes its parts one behind the other, zipped or as they are.
func newEncoder(w io.Writer, parts []Part, o Options, zipped bool) Encoder {
	answer := answer{parts: parts, part: -1}
	switch o.Format {
	case XLSX:
		return &tables{answer: answer, file: newWorkbook(w, o)}
	case Parquet:
		return &tables{answer: answer, file: newParquetFiles(w, o, zipped)}
	}
	e := &encoder{answer: answer, form: newForm(o), out: buffer{w: w}}
	if zipped {
		e.archive = newArchive(w, o.Modified)
	}
	return e
}

// answer is how far an answer has come.
type answer struct {
	parts []Part
	part  int           // that has begun; -1 before the first
	have  *annona.Shape // that the part is compiled for
	err   error
}

// begin moves on to a part.
func (a *answer) begin(part int) error {
	if a.err != nil {
		return a.err
	}
	if part != a.part+1 || part >= len(a.parts) {
		return a.fail(misuse("parts begin in order"))
	}
	a.part, a.have = part, nil
	return nil
}

// expect reports why no page can come now.
func (a *answer) expect() error {
	if a.err == nil && a.part < 0 {
		return a.fail(misuse("a page comes in a part that has begun"))
	}
	return a.err
}

// end reports why the answer cannot end now.
func (a *answer) end() error {
	if a.err == nil && a.part != len(a.parts)-1 {
		return a.fail(misuse("an answer ends when each of its parts has begun"))
	}
	return a.err
}

// Close has nothing to give up: what a plain answer holds is memory.
func (a *answer) Close() error { return nil }

// fail keeps an error, and returns it.
func (a *answer) fail(err error) error {
	a.err = err
	return err
}

// misuse is a fault of whoever drives the encoder.
func misuse(rule string) error {
	return annona.Internal("write the answer: "+rule, nil)
}

// form is one wire form. It appends to a buffer and knows no writer.
type form interface {
	// compile prepares for pages of the shape have; those of part.Shape are written.
	compile(part Part, have *annona.Shape) error
	// open appends what stands before the first row of a part.
	open(dst []byte, part Part) []byte
	// start puts the form before the first row of a page.
	start(p *annona.Page)
	// row appends the next row of the page. Rows come in order.
	row(dst []byte, row int) []byte
	// close appends what stands behind the last row of a part.
	close(dst []byte) []byte
	// altered returns how many cells were changed so far.
	altered() int64
}

func newForm(o Options) form {
	switch o.Format {
	case CSV:
		return &csvForm{spreadsheet: o.Profile == Spreadsheet}
	case XML:
		return &xmlForm{schema: o.Schema, next: o.Next}
	case JSON:
		return &jsonForm{schema: o.Schema, next: o.Next}
	case JSONLD:
		return &jsonldForm{objects: objects{typed: true}, context: o.Context}
	default:
		return &ndjsonForm{}
	}
}

// encoder writes the forms that are text.
type encoder struct {
	answer
	form    form
	out     buffer
	archive *archive // of a linked answer
}

func (e *encoder) Begin(part int) error {
	if err := e.closePart(); err != nil {
		return err
	}
	if err := e.begin(part); err != nil {
		return err
	}
	if e.archive != nil {
		entry, err := e.archive.next(e.parts[part].Name)
		if err != nil {
			return e.fail(err)
		}
		e.out.w = entry
	}
	if err := e.compile(e.parts[part].Shape); err != nil {
		return err
	}
	e.out.b = e.form.open(e.out.b, e.parts[part])
	return nil
}

func (e *encoder) Page(d *privacy.Disclosed) error { return e.page(d.Page()) }

func (e *encoder) page(p *annona.Page) error {
	if err := e.expect(); err != nil {
		return err
	}
	if err := e.compile(p.Shape); err != nil {
		return err
	}
	e.form.start(p)
	for row := range p.Count {
		e.out.b = e.form.row(e.out.b, row)
		if len(e.out.b) < flushSize {
			continue
		}
		if err := e.out.flush(); err != nil {
			return e.fail(err)
		}
	}
	return e.deliver()
}

func (e *encoder) End() error {
	if err := e.end(); err != nil {
		return err
	}
	if err := e.closePart(); err != nil {
		return err
	}
	if e.archive != nil {
		if err := e.archive.close(); err != nil {
			return e.fail(err)
		}
	}
	e.err = errEnded
	return nil
}

var errEnded = misuse("the answer has ended")

func (e *encoder) Altered() int64 { return e.form.altered() }

// compile prepares the form for pages of that shape, once for each shape.
func (e *encoder) compile(have *annona.Shape) error {
	if have == e.have {
		return nil
	}
	e.have = have
	if err := e.form.compile(e.parts[e.part], have); err != nil {
		return e.fail(err)
	}
	return nil
}

func (e *encoder) closePart() error {
	if e.err != nil || e.part < 0 {
		return e.err
	}
	e.out.b = e.form.close(e.out.b)
	if err := e.out.flush(); err != nil {
		return e.fail(err)
	}
	return nil
}

// deliver hands everything over that is ready.
func (e *encoder) deliver() error {
	err := e.out.flush()
	if err == nil && e.archive != nil {
		err = e.archive.flush()
	}
	if err != nil {
		return e.fail(err)
	}
	return nil
}
