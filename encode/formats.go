package encode

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// Format is a wire format.
type Format string

// The formats, in the order in which they are preferred when a client takes several. XLSX and
// Parquet are formats of files: a page of a search is none.
const (
	JSON    Format = "json"
	XML     Format = "xml"
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	XLSX    Format = "xlsx"
	Parquet Format = "parquet"
	JSONLD  Format = "jsonld"
	// Turtle and NTriples are formats of single answers alone.
	Turtle   Format = "turtle"
	NTriples Format = "ntriples"
)

// FormatsOfPages and FormatsOfFiles are what a page of a search, and a file of an export, can be.
func FormatsOfPages() []Format { return []Format{JSON, XML, CSV, NDJSON, JSONLD} }
func FormatsOfFiles() []Format { return append(FormatsOfPages(), XLSX, Parquet) }

// FormatsOfRecords are what one record by itself can be, FormatsOfGraphs what an answer that is put
// together of several can be.
func FormatsOfRecords() []Format { return append(FormatsOfPages(), Turtle, NTriples) }
func FormatsOfGraphs() []Format  { return []Format{JSON, JSONLD, Turtle, NTriples} }

// Linked reports whether the format is one of linked data, which needs a context.
func (f Format) Linked() bool { return f == JSONLD || f == Turtle || f == NTriples }

// tabular reports whether the format consists of tables, which do not nest.
func (f Format) tabular() bool { return f == CSV || f == XLSX || f == Parquet }

// Profile is a dialect of CSV.
type Profile string

// The profiles. Machine is lossless. Spreadsheet is for programs that take text for formulas
// and numbers: it marks such text and begins with a byte order mark.
const (
	Machine     Profile = "machine"
	Spreadsheet Profile = "spreadsheet"
)

// Layout says what becomes of repeated groups.
type Layout string

// The layouts. Nested is that of JSON, XML, NDJSON and JSON-LD, the others are those of CSV, XLSX and
// Parquet.
const (
	Nested Layout = "nested"
	Linked Layout = "linked" // tables that are joined by their keys: a zip of files, the sheets of a workbook
	Flat   Layout = "flat"   // the household's columns on each member's row
	Plain  Layout = "plain"  // the single-valued columns of the records themselves
)

// mediaTypes of each format; the first is the one that is written.
var mediaTypes = map[Format][]string{
	JSON:    {"application/json"},
	XML:     {"application/xml", "text/xml"},
	CSV:     {"text/csv"},
	NDJSON:  {"application/x-ndjson"},
	XLSX:    {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
	Parquet: {"application/vnd.apache.parquet"},
	JSONLD:  {"application/ld+json"},

	Turtle:   {"text/turtle"},
	NTriples: {"application/n-triples"},
}

// zipType is the media type of linked files.
const zipType = "application/zip"

// ParseFormat reads the name of a format.
func ParseFormat(name string) (Format, error) {
	return oneOf("format", name, FormatsOfFiles()...)
}

// ParseProfile reads the name of a profile. The empty name is the default.
func ParseProfile(name string) (Profile, error) {
	return oneOf("profile", name, "", Machine, Spreadsheet)
}

// ParseLayout reads the name of a layout. The empty name is the default.
func ParseLayout(name string) (Layout, error) {
	return oneOf("layout", name, "", Nested, Linked, Flat, Plain)
}

func oneOf[T ~string](parameter, name string, known ...T) (T, error) {
	if slices.Contains(known, T(name)) {
		return T(name), nil
	}
	var words []string
	for _, k := range known {
		if k != "" {
			words = append(words, string(k))
		}
	}
	return "", annona.Invalid("unknown_"+parameter, "a %s is one of: %s", parameter, strings.Join(words, ", ")).On(parameter)
}

// Negotiate chooses the format that an Accept header (RFC 9110, section 12.5.1) likes best, among
// those given or, without any, those of pages. An absent header takes the first. A header that takes
// none of them is refused with the code not_acceptable.
func Negotiate(accept string, among ...Format) (Format, error) {
	if len(among) == 0 {
		among = FormatsOfPages()
	}
	if strings.TrimSpace(accept) == "" {
		return among[0], nil
	}
	ranges := parseAccept(accept)
	var best Format
	quality := 0.0
	for _, f := range among {
		for _, mediaType := range mediaTypes[f] {
			if q := qualityOf(mediaType, ranges); q > quality {
				best, quality = f, q
			}
		}
	}
	if best == "" {
		return "", annona.Invalid("not_acceptable", "answers are %s", inWords(among)).On("Accept")
	}
	return best, nil
}

// inWords lists the media types of formats: "a, b or c".
func inWords(formats []Format) string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = mediaTypes[f][0]
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

type mediaRange struct {
	mediaType string
	quality   float64
}

// parseAccept leaves out what is no media range: a client may list what nobody knows.
func parseAccept(accept string) []mediaRange {
	var ranges []mediaRange
	for element := range strings.SplitSeq(accept, ",") {
		mediaType, parameters, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, given := parameters["q"]; given {
			quality, err = strconv.ParseFloat(q, 64)
			if err != nil || !(quality >= 0 && quality <= 1) {
				continue
			}
		}
		ranges = append(ranges, mediaRange{mediaType, quality})
	}
	return ranges
}

// qualityOf is the quality of the most specific range that takes the media type; 0: none does.
func qualityOf(mediaType string, ranges []mediaRange) float64 {
	kind, _, _ := strings.Cut(mediaType, "/")
	for _, pattern := range []string{mediaType, kind + "/*", "*/*"} {
		i := slices.IndexFunc(ranges, func(r mediaRange) bool { return r.mediaType == pattern })
		if i >= 0 {
			return ranges[i].quality
		}
	}
	return 0
}

// households is the dataset whose CSV is linked files unless another layout is asked for.
const households = "households"

// resolve fills the defaults in and refuses what does not go together.
func (o Options) resolve(dataset string) (Options, error) {
	if _, err := ParseFormat(string(o.Format)); err != nil && !o.Format.Linked() {
		return o, err
	}
	if _, err := ParseProfile(string(o.Profile)); err != nil {
		return o, err
	}
	if _, err := ParseLayout(string(o.Layout)); err != nil {
		return o, err
	}
	asked := o
	o.Layout = o.layout(dataset)
	if o.Profile == "" {
		o.Profile = Machine
	}
	switch {
	case !o.Format.tabular() && o.Layout != Nested:
		return o, annona.Invalid("layout_unsuitable", "%s is always nested; the layouts linked, flat and plain are those of csv, xlsx and parquet", o.Format).On("layout")
	case o.Format != CSV && asked.Profile == Spreadsheet:
		return o, annona.Invalid("profile_unsuitable", "the spreadsheet profile is one of csv").On("profile")
	case o.Format.tabular() && o.Layout == Nested:
		return o, annona.Invalid("layout_unsuitable", "%s cannot nest; its layouts are linked, flat and plain", o.Format).On("layout")
	case o.Layout == Flat && dataset != households:
		return o, annona.Invalid("layout_unsuitable", "only households have a flat layout, one row for each member").On("layout")
	}
	return o, nil
}

func (o Options) layout(dataset string) Layout {
	switch {
	case o.Layout != "":
		return o.Layout
	case !o.Format.tabular():
		return Nested
	case dataset == households:
		return Linked
	default:
		return Plain
	}
}

// LayoutOf returns the layout of an answer about a dataset, also when none was asked for.
func LayoutOf(dataset string, o Options) Layout { return o.layout(dataset) }

// zipped reports whether the answer is a zip of files. The tables of a workbook are sheets.
func (o Options) zipped(dataset string) bool {
	return o.layout(dataset) == Linked && o.Format != XLSX
}

// MediaType returns the Content-Type of an answer about a dataset.
func MediaType(dataset string, o Options) string {
	switch {
	case o.zipped(dataset):
		return zipType
	case o.Format == CSV:
		return "text/csv; charset=utf-8; header=present"
	default:
		return mediaTypes[o.Format][0]
	}
}

// Compressed reports whether answers of that media type are compressed by themselves.
func Compressed(mediaType string) bool {
	return mediaType == zipType || mediaType == mediaTypes[XLSX][0] || mediaType == mediaTypes[Parquet][0]
}

// FileName returns the name under which an answer about a dataset is kept: "individuals.csv".
func FileName(dataset string, o Options) string {
	if o.zipped(dataset) {
		return dataset + ".zip"
	}
	return dataset + "." + string(o.Format)
}

// tableName returns the name of one table of an answer: of its file, or of its sheet.
func (o Options) tableName(name string) string {
	if o.Format == XLSX {
		return name
	}
	return name + "." + string(o.Format)
}
