package encode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/annona-exchange/annona"
)

// parquetFiles writes tables as Parquet files: one, or of a linked answer several in a zip.
type parquetFiles struct {
	w       io.Writer
	archive *archive // of a linked answer
	schema  string
	codec   *zstdCodec

	file    *parquet.GenericWriter[any] // of the table that has begun
	columns []parquetColumn
	batch   int   // rows that wait in the columns
	rows    int64 // of the row group
}

// parquetColumn gathers the values of one column.
type parquetColumn struct {
	name  string
	field *annona.Field
	value func(cell []byte) (parquet.Value, bool)
	list  bool
	null  parquet.Value // of this column
	wait  []parquet.Value
}

// The sizes of a file. A row group is held in memory until it is whole, compressed.
const (
	rowGroupRows  = 1 << 14
	batchRows     = 1 << 9
	parquetPage   = 32 << 10 // bytes
	decimalDigits = 19       // of a decimal: its 64 bits hold no more
	decimalBytes  = 9        // that hold so many digits
)

// The definition levels of values: how many of the optional parts around them are there.
const (
	absent      = 0
	present     = 1
	listElement = 2
)

func newParquetFiles(w io.Writer, o Options, zipped bool) *parquetFiles {
	p := &parquetFiles{w: w, schema: o.Schema, codec: o.codec}
	if zipped {
		p.archive = newArchive(w, o.Modified)
	}
	return p
}

func (p *parquetFiles) begin(name string, header []string, fields []*annona.Field) error {
	if err := p.closeFile(); err != nil {
		return err
	}
	w := p.w
	if p.archive != nil {
		var err error
		if w, err = p.archive.nextStored(name); err != nil {
			return err
		}
	}
	p.columns = p.columns[:0]
	for i, f := range fields {
		p.columns = append(p.columns, newParquetColumn(header[i], f, i))
	}
	p.file = parquet.NewGenericWriter[any](w, parquetSchema(p.columns),
		parquet.Compression(p.codec),
		parquet.PageBufferSize(parquetPage),
		parquet.CreatedBy("annona", "", ""))
	if p.schema != "" {
		p.file.SetKeyValueMetadata("annona.schema", p.schema)
	}
	return nil
}

// parquetSchema describes a row: every column is optional, and stands where the header has it.
func parquetSchema(columns []parquetColumn) *parquet.Schema {
	var fields []reflect.StructField
	for i, c := range columns {
		kind, logical := parquetType(c.field)
		if c.list {
			kind, logical = reflect.TypeFor[[]string](), ",list"
		}
		fields = append(fields, reflect.StructField{
			Name: "C" + strconv.Itoa(i),
			Type: kind,
			Tag:  reflect.StructTag(fmt.Sprintf("parquet:%q", c.name+",optional"+logical)),
		})
	}
	return parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface())
}

// parquetType is how one value of a field lies in a file.
func parquetType(f *annona.Field) (kind reflect.Type, logical string) {
	text := reflect.TypeFor[string]()
	if f == nil || f.IsText() {
		return text, ""
	}
	switch f.Type {
	case annona.TypeInt:
		return reflect.TypeFor[int64](), ""
	case annona.TypeDec:
		return reflect.TypeFor[[decimalBytes]byte](), fmt.Sprintf(",decimal(%d:%d)", f.Scale, decimalDigits)
	case annona.TypeBool:
		return reflect.TypeFor[bool](), ""
	case annona.TypeDate:
		return reflect.TypeFor[int32](), ",date"
	case annona.TypeInstant:
		return reflect.TypeFor[int64](), ",timestamp(millisecond)"
	case annona.TypeCode:
		return text, ",dict"
	default:
		return text, ""
	}
}

func newParquetColumn(name string, f *annona.Field, index int) parquetColumn {
	return parquetColumn{name: name, field: f, value: parquetValueOf(f), list: f != nil && f.Many, null: parquet.NullValue().Level(0, absent, index)}
}

// parquetValueOf returns what reads the canonical text of a field. It reports false for text that
// is not canonical.
func parquetValueOf(f *annona.Field) func(cell []byte) (parquet.Value, bool) {
	if f == nil || f.IsText() || f.Many {
		return textValue
	}
	switch f.Type {
	case annona.TypeInt:
		return intValue
	case annona.TypeDec:
		return func(cell []byte) (parquet.Value, bool) { return decimalValue(cell, f.Scale) }
	case annona.TypeBool:
		return boolValue
	case annona.TypeDate:
		return dateValue
	case annona.TypeInstant:
		return instantValue
	default:
		return textValue
	}
}

func textValue(cell []byte) (parquet.Value, bool) { return parquet.ByteArrayValue(cell), true }

func intValue(cell []byte) (parquet.Value, bool) {
	n, err := strconv.ParseInt(string(cell), 10, 64)
	return parquet.Int64Value(n), err == nil
}

// decimalValue counts in units of the last digit of the scale, big-endian in two's complement.
func decimalValue(cell []byte, scale int) (parquet.Value, bool) {
	whole, fraction, _ := bytes.Cut(cell, []byte{'.'})
	if len(fraction) > scale {
		return parquet.Value{}, false
	}
	digits := make([]byte, 0, 32)
	digits = append(append(digits, whole...), fraction...)
	for range scale - len(fraction) {
		digits = append(digits, '0')
	}
	units, err := strconv.ParseInt(string(digits), 10, 64)
	value := binary.BigEndian.AppendUint64([]byte{byte(units >> 63)}, uint64(units))
	return parquet.FixedLenByteArrayValue(value), err == nil
}

func boolValue(cell []byte) (parquet.Value, bool) {
	yes := string(cell) == "true"
	return parquet.BooleanValue(yes), yes || string(cell) == "false"
}

const secondsOfDay = 24 * 60 * 60

func dateValue(cell []byte) (parquet.Value, bool) {
	t, err := time.Parse(time.DateOnly, string(cell))
	return parquet.Int32Value(int32(t.Unix() / secondsOfDay)), err == nil
}

func instantValue(cell []byte) (parquet.Value, bool) {
	t, err := time.Parse(time.RFC3339, string(cell))
	return parquet.Int64Value(t.UnixMilli()), err == nil
}

func (p *parquetFiles) row(cells [][]byte) error {
	for i := range p.columns {
		if !p.columns[i].add(cells[i], i) {
			return annona.Internal("write a Parquet file: a value of "+p.columns[i].name+" is not of its type", nil)
		}
	}
	p.batch++
	if p.batch < batchRows {
		return nil
	}
	return p.flush()
}

// add puts a cell behind those that wait.
func (c *parquetColumn) add(cell []byte, index int) bool {
	if len(cell) == 0 {
		c.wait = append(c.wait, c.null)
		return true
	}
	if c.list {
		c.addList(cell, index)
		return true
	}
	v, ok := c.value(cell)
	c.wait = append(c.wait, v.Level(0, present, index))
	return ok
}

// addList puts the values of a list behind those that wait. The second and further ones repeat.
func (c *parquetColumn) addList(cell []byte, index int) {
	repeated := 0
	for value := range bytes.SplitSeq(cell, []byte{annona.ListSeparator}) {
		c.wait = append(c.wait, parquet.ByteArrayValue(value).Level(repeated, listElement, index))
		repeated = 1
	}
}

// flush moves what waits into the file, and completes a row group that is large enough.
func (p *parquetFiles) flush() error {
	writers := p.file.ColumnWriters()
	for i := range p.columns {
		c := &p.columns[i]
		if len(c.wait) == 0 {
			continue
		}
		if _, err := writers[i].WriteRowValues(c.wait); err != nil {
			return err
		}
		clear(c.wait) // they point into the page
		c.wait = c.wait[:0]
	}
	p.rows, p.batch = p.rows+int64(p.batch), 0
	if p.rows < rowGroupRows {
		return nil
	}
	p.rows = 0
	return p.file.Flush()
}

func (p *parquetFiles) closeFile() error {
	if p.file == nil {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	p.rows = 0
	return p.file.Close()
}

func (p *parquetFiles) end() error {
	if err := p.closeFile(); err != nil {
		return err
	}
	if p.archive == nil {
		return nil
	}
	return p.archive.close()
}

func (p *parquetFiles) altered() int64 { return 0 }
