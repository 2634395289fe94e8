package rest

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
	"github.com/annona-exchange/annona/schema"
)

type exportInput struct {
	Asked
	Chosen
	Accepts
	Format   string `query:"format" enum:"csv,xml,json,ndjson,jsonld,xlsx,parquet" example:"csv" doc:"The form of the file. Without it, Accept decides when it names one."`
	Layout   string `query:"layout" enum:"nested,linked,flat,plain" doc:"What becomes of repeated groups. json, jsonld, xml and ndjson nest them. csv, xlsx and parquet: linked (tables joined by their keys, in a zip or as the sheets of a workbook; what households take without layout), flat (households: one row for each member) or plain (single-valued columns only; what individuals take)."`
	Profile  string `query:"profile" enum:"machine,spreadsheet" doc:"Dialect of csv: machine is lossless RFC 4180; spreadsheet has a byte order mark and guards formulas and long numbers. Without it: machine."`
	Position string `query:"position" doc:"A position of your own: Annona-Position of an export, or next behind all changes, for the same dataset, purpose, fields and filter. The file then has the records as they were there, and those of them that you may see today. Without it: the records as they are."`
}

// options reads how the export is to be written.
func (in *exportInput) options() (o encode.Options, err error) {
	if o.Format, err = in.exportFormat(); err != nil {
		return o, err
	}
	if o.Layout, err = encode.ParseLayout(in.Layout); err != nil {
		return o, err
	}
	o.Profile, err = encode.ParseProfile(in.Profile)
	return o, err
}

func (in *exportInput) exportFormat() (encode.Format, error) {
	if in.Format != "" {
		return encode.ParseFormat(in.Format)
	}
	named := slices.DeleteFunc(strings.Split(in.Accept, ","), func(r string) bool { return r == "" || strings.Contains(r, "*") })
	if len(named) == 0 {
		return "", annona.Invalid("format_missing", "say which form the file has: format=csv, xml, json, ndjson, jsonld, xlsx or parquet").On("format")
	}
	format, err := encode.Negotiate(strings.Join(named, ","), encode.FormatsOfFiles()...)
	if err != nil {
		return "", notAcceptable(err)
	}
	return format, nil
}

// export answers with a whole dataset, as a file.
func (s *Server) export(dataset string) func(context.Context, *exportInput) (*reply, error) {
	return func(ctx context.Context, in *exportInput) (*reply, error) {
		o, err := in.options()
		if err != nil {
			return nil, err
		}
		q, form := written(in.question(dataset), o)
		q.Filter, q.Position = in.Filter, in.Position
		v := visitOf(ctx)
		export, err := s.Gate.Export(ctx, v.caller, q, form)
		if err != nil {
			return nil, err
		}
		v.recognized(export.Request(), q)
		o.Schema = schemaID(dataset, export.Schema())
		return s.download(v, export, dataset, dataset, o)
	}
}

// download answers with an export that was decided. name is that of the file, without its extension; o.Schema what describes it.
func (s *Server) download(v *visit, export *exchange.Export, dataset, name string, o encode.Options) (*reply, error) {
	v.format, o.Modified, o.Spool = o.Format, s.Clock(), s.Spool
	o, err := v.linked(o, export.Shape())
	if err != nil {
		return nil, err
	}
	parts, err := encode.Parts(export.Shape(), o)
	if err != nil {
		return nil, err
	}
	d := &download{server: s, export: export, parts: parts, options: o, dataset: dataset, name: name}
	return &reply{Body: d.answer}, nil
}

// download is an export on its way to a client.
type download struct {
	server  *Server
	export  *exchange.Export
	parts   []encode.Part
	options encode.Options
	dataset string
	name    string // of the file, without its extension

	visit   *visit
	body    *body
	encoder encode.Encoder
}

func (d *download) answer(c huma.Context) {
	s := d.server
	r, w := humago.Unwrap(c)
	d.visit = visitOf(r.Context())
	d.body = s.newBody(w.(*response), r, d.header())
	defer d.body.release()
	if r.Method == http.MethodHead {
		d.body.begin()
		return
	}
	s.end(d.body, r, d.run(r.Context()))
}

// run writes the export until the client goes away or the server shuts down. On an error before
// the first byte nothing was sent; after it the connection has to break off.
func (d *download) run(ctx context.Context) error {
	client := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(client, func() { cancel(errClientGone) })()
	defer context.AfterFunc(d.server.draining, func() { cancel(errShuttingDown) })()
	defer d.server.metrics.running(d.dataset, string(d.options.Format))()

	var err error
	if d.encoder, err = encode.New(d.body, d.parts, d.options); err != nil {
		return err
	}
	defer d.encoder.Close()
	sent, err := d.export.Run(ctx, shapesOf(d.parts), d, d.body.wire.stop)
	d.visit.rows = sent.Rows
	if err != nil {
		return err
	}
	trailer := d.body.out.Header()
	trailer.Set("Annona-Rows", strconv.FormatInt(sent.Rows, 10))
	trailer.Set("Annona-Release", d.export.Request().String())
	if next := d.export.Next(); next != "" {
		trailer.Set("Annona-Next", next)
	}
	return nil
}

// Begin starts a part. Package exchange calls it when the first page is ready to go.
func (d *download) Begin(part int) error { return d.encoder.Begin(part) }

// Page writes a page and sends it off.
func (d *download) Page(page *privacy.Disclosed) error {
	if err := d.encoder.Page(page); err != nil {
		return err
	}
	return d.body.flush()
}

// End ends the document and the body.
func (d *download) End() error {
	if err := d.encoder.End(); err != nil {
		return err
	}
	return d.body.complete()
}

func (d *download) header() http.Header {
	h := answerHeader(d.dataset, d.options)
	_, extension, _ := strings.Cut(encode.FileName(d.dataset, d.options), ".")
	name := d.name + "-" + string(annona.DateOf(d.server.Clock().UTC())) + "." + extension
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	h.Set("Trailer", "Annona-Rows, Annona-Release")
	if d.export.Past() {
		h.Set("Trailer", "Annona-Rows, Annona-Release, Annona-Next")
	}
	if position := d.export.Position(); position != "" {
		h.Set("Annona-Position", position)
	}
	if dictionary, known := d.server.dictionaryOf(d.export.Schema()); known {
		h.Set("Annona-Code-Lists", schema.CodeLists(dictionary, d.export.Shape()))
	}
	if withheld := d.export.Withheld(); len(withheld) > 0 {
		h.Set("Annona-Withheld", strings.Join(withheld, ", "))
	}
	if reason := d.export.Raised(); reason != "" {
		h.Set("Annona-Raised-Cap", url.PathEscape(reason)) // somebody's words, in any script
	}
	return h
}

func shapesOf(parts []encode.Part) []*annona.Shape {
	shapes := make([]*annona.Shape, len(parts))
	for i, p := range parts {
		shapes[i] = p.Shape
	}
	return shapes
}
