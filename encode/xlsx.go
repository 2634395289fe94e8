package encode

import (
	"bytes"
	"io"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// workbook writes tables as the sheets of an Office Open XML workbook (ECMA-376, part 1). Text is
// text whatever it looks like: a spreadsheet neither calculates nor shortens it.
type workbook struct {
	archive *archive
	entry   io.Writer // of the sheet
	out     []byte
	sheets  []string // names of those that have begun

	name    string // of the table
	further int    // sheets that it has beside its first one
	columns []sheetColumn
	header  []string
	rows    int // of the sheet, with its header
	changed int64
}

// sheetColumn is a column of a sheet.
type sheetColumn struct {
	letters string // its name: "A", "AB"
	kind    sheetKind
}

// sheetKind says how the cells of a column are written.
type sheetKind uint8

const (
	sheetText sheetKind = iota
	sheetList           // text, its values joined by annona.ListMark
	sheetNumber
	sheetBool
	sheetDate
	sheetInstant
)

// The bounds of a sheet, see "Excel specifications and limits".
const (
	maxSheetRows = 1 << 20 // with the header
	maxCellUnits = 32767   // UTF-16 code units of a text
	exactDigits  = 15      // that a spreadsheet keeps of a number
)

func newWorkbook(w io.Writer, o Options) *workbook {
	return &workbook{archive: newArchive(w, o.Modified)}
}

func (b *workbook) begin(name string, header []string, fields []*annona.Field) error {
	if err := b.closeSheet(); err != nil {
		return err
	}
	b.name, b.further, b.header, b.columns = name, 0, header, b.columns[:0]
	for i, f := range fields {
		b.columns = append(b.columns, sheetColumn{columnLetters(i), sheetKindOf(f)})
	}
	return b.openSheet(name)
}

// sheetKindOf says how a field is written. Ids and identifiers are text, so that leading zeros
// stay.
func sheetKindOf(f *annona.Field) sheetKind {
	switch {
	case f == nil:
		return sheetText
	case f.Many:
		return sheetList
	case f.IsText():
		return sheetText
	}
	switch f.Type {
	case annona.TypeInt, annona.TypeDec:
		return sheetNumber
	case annona.TypeBool:
		return sheetBool
	case annona.TypeDate:
		return sheetDate
	case annona.TypeInstant:
		return sheetInstant
	default:
		return sheetText
	}
}

// columnLetters is the name of a column: A to Z, AA and so on.
func columnLetters(index int) string {
	letters := ""
	for index++; index > 0; index = (index - 1) / 26 {
		letters = string(rune('A'+(index-1)%26)) + letters
	}
	return letters
}

func (b *workbook) row(cells [][]byte) error {
	if b.rows == maxSheetRows {
		if err := b.nextSheet(); err != nil {
			return err
		}
	}
	b.openRow()
	for i, cell := range cells {
		if len(cell) > 0 {
			b.cell(b.columns[i], cell)
		}
	}
	b.out = append(b.out, "</row>"...)
	if len(b.out) < flushSize {
		return nil
	}
	return b.write()
}

// nextSheet goes on with the same table in a further sheet: "individuals 2".
func (b *workbook) nextSheet() error {
	if err := b.closeSheet(); err != nil {
		return err
	}
	b.further++
	return b.openSheet(b.name + " " + strconv.Itoa(1+b.further))
}

func (b *workbook) openRow() {
	b.rows++
	b.out = append(b.out, `<row r="`...)
	b.out = strconv.AppendInt(b.out, int64(b.rows), 10)
	b.out = append(b.out, `">`...)
}

// What cells say of themselves. Styles are places in cellXfs of the styles part.
const (
	plainStyle   = ""
	boolType     = ` t="b"`
	headerStyle  = ` s="1"`
	textStyle    = ` s="2"`
	dateStyle    = ` s="3"`
	instantStyle = ` s="4"`
)

func (b *workbook) cell(c sheetColumn, cell []byte) {
	var number [32]byte
	switch c.kind {
	case sheetNumber:
		if exact(cell) {
			b.value(c, plainStyle, cell)
			return
		}
	case sheetBool:
		if string(cell) == "true" {
			b.value(c, boolType, []byte("1"))
		} else {
			b.value(c, boolType, []byte("0"))
		}
		return
	case sheetDate:
		if days, ok := serialDate(cell); ok {
			b.value(c, dateStyle, strconv.AppendInt(number[:0], days, 10))
			return
		}
	case sheetInstant:
		if serial, ok := appendSerialInstant(number[:0], cell); ok {
			b.value(c, instantStyle, serial)
			return
		}
	}
	b.text(c, textStyle, cell)
}

func (b *workbook) openCell(c sheetColumn, attributes string) {
	b.out = append(b.out, `<c r="`...)
	b.out = append(b.out, c.letters...)
	b.out = strconv.AppendInt(b.out, int64(b.rows), 10)
	b.out = append(b.out, '"')
	b.out = append(b.out, attributes...)
}

func (b *workbook) value(c sheetColumn, style string, number []byte) {
	b.openCell(c, style)
	b.out = append(b.out, "><v>"...)
	b.out = append(b.out, number...)
	b.out = append(b.out, "</v></c>"...)
}

func (b *workbook) text(c sheetColumn, style string, text []byte) {
	b.openCell(c, style)
	b.out = append(b.out, ` t="inlineStr"><is><t xml:space="preserve">`...)
	if len(text) > maxCellUnits {
		text = b.fitting(text)
	}
	between := ""
	if c.kind == sheetList {
		between = string(annona.ListMark)
	}
	b.out = appendSheetText(b.out, text, between)
	b.out = append(b.out, "</t></is></c>"...)
}

// fitting cuts a text that no cell holds, and counts it.
func (b *workbook) fitting(text []byte) []byte {
	units := 0
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		units += max(utf16.RuneLen(r), 1)
		if units > maxCellUnits {
			b.changed++
			return text[:at]
		}
		at += size
	}
	return text
}

// appendSheetText appends the text of a cell. What looks like an escape of the format, _x0041_, is
// written so that readers do not take it for one (ECMA-376, part 1, 22.9.2.19, ST_Xstring).
func appendSheetText(dst, text []byte, between string) []byte {
	for {
		at := bytes.Index(text, []byte("_x"))
		if at < 0 {
			return appendEntities(dst, text, between)
		}
		dst = appendEntities(dst, text[:at], between)
		if looksEscaped(text[at:]) {
			dst = append(dst, "_x005F"...)
		}
		dst = append(dst, "_x"...)
		text = text[at+len("_x"):]
	}
}

// looksEscaped reports whether a text begins with _x, four hexadecimal digits and _.
func looksEscaped(text []byte) bool {
	if len(text) < len("_x0000_") || text[6] != '_' {
		return false
	}
	for _, b := range text[2:6] {
		hex := b >= '0' && b <= '9' || b >= 'A' && b <= 'F' || b >= 'a' && b <= 'f'
		if !hex {
			return false
		}
	}
	return true
}

// exact reports whether a spreadsheet keeps every digit of the number.
func exact(number []byte) bool {
	digits := 0
	for i, b := range number {
		switch {
		case b >= '0' && b <= '9':
			digits++
		case b == '-' && i == 0, b == '.' && digits > 0:
		default:
			return false
		}
	}
	return digits > 0 && digits <= exactDigits
}

// firstSerial is the first day whose number spreadsheets agree on: some count a 29 February 1900,
// which was none.
var firstSerial = time.Date(1900, time.March, 1, 0, 0, 0, 0, time.UTC)

// serialDay is the number of firstSerial.
const serialDay = 61

const hoursOfDay = 24

// serialDate returns the number of a day as spreadsheets count. Earlier days have none.
func serialDate(date []byte) (days int64, ok bool) {
	t, err := time.Parse(time.DateOnly, string(date))
	if err != nil || t.Before(firstSerial) {
		return 0, false
	}
	return serialDay + int64(t.Sub(firstSerial).Hours())/hoursOfDay, true
}

// appendSerialInstant appends the number of an instant, in UTC: days with their fraction, exact to
// the millisecond.
func appendSerialInstant(dst, instant []byte) (serial []byte, ok bool) {
	t, err := time.Parse(time.RFC3339, string(instant))
	if err != nil || t.Before(firstSerial) {
		return nil, false
	}
	since := t.Sub(firstSerial)
	days := since / (hoursOfDay * time.Hour)
	fraction := float64(since%(hoursOfDay*time.Hour)) / float64(hoursOfDay*time.Hour)
	return strconv.AppendFloat(dst, float64(serialDay+days)+fraction, 'f', 10, 64), true
}

func (b *workbook) openSheet(name string) error {
	if len(b.sheets) == 0 {
		if err := b.document("[Content_Types].xml", contentTypes); err != nil {
			return err
		}
	}
	b.sheets, b.rows = append(b.sheets, name), 0
	entry, err := b.archive.next(sheetPath(len(b.sheets)))
	if err != nil {
		return err
	}
	b.entry, b.out = entry, append(b.out[:0], sheetHead...)
	b.openRow()
	for i, title := range b.header {
		b.text(sheetColumn{letters: b.columns[i].letters}, headerStyle, []byte(title))
	}
	b.out = append(b.out, "</row>"...)
	return nil
}

func (b *workbook) closeSheet() error {
	if b.entry == nil {
		return nil
	}
	b.out = append(b.out, sheetTail...)
	err := b.write()
	b.entry = nil
	return err
}

func (b *workbook) write() error {
	_, err := b.entry.Write(b.out)
	b.out = b.out[:0]
	return err
}

func (b *workbook) flush() error {
	if err := b.write(); err != nil {
		return err
	}
	return b.archive.flush()
}

func (b *workbook) end() error {
	if err := b.closeSheet(); err != nil {
		return err
	}
	if err := b.document("_rels/.rels", packageRelations); err != nil {
		return err
	}
	if err := b.document("xl/styles.xml", styles); err != nil {
		return err
	}
	list, relations := b.index()
	if err := b.document("xl/workbook.xml", list); err != nil {
		return err
	}
	if err := b.document("xl/_rels/workbook.xml.rels", relations); err != nil {
		return err
	}
	return b.archive.close()
}

func (b *workbook) altered() int64 { return b.changed }

func (b *workbook) document(path, text string) error {
	entry, err := b.archive.next(path)
	if err != nil {
		return err
	}
	_, err = io.WriteString(entry, xmlDeclaration+text)
	return err
}

// index returns the list of sheets, and where each of them lies.
func (b *workbook) index() (list, relations string) {
	list, relations = workbookHead, relationsHead
	for i, name := range b.sheets {
		n := strconv.Itoa(i + 1)
		list += `<sheet name="` + name + `" sheetId="` + n + `" r:id="rId` + n + `"/>`
		relations += `<Relationship Id="rId` + n + `" Type="` + officeRelation + `worksheet" Target="/` + sheetPath(i+1) + `"/>`
	}
	relations += `<Relationship Id="styles" Type="` + officeRelation + `styles" Target="/xl/styles.xml"/>`
	return list + workbookTail, relations + relationsTail
}

func sheetPath(n int) string { return "xl/worksheets/sheet" + strconv.Itoa(n) + ".xml" }

// The fixed text of a workbook. Every XML part that contentTypes does not name is a sheet, so that
// it can be written before their number is known.
const (
	spreadsheetSpace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
	officeRelation   = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	spreadsheetType  = "application/vnd.openxmlformats-officedocument.spreadsheetml."

	contentTypes = `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Default Extension="xml" ContentType="` + spreadsheetType + `worksheet+xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="` + spreadsheetType + `sheet.main+xml"/>` +
		`<Override PartName="/xl/styles.xml" ContentType="` + spreadsheetType + `styles+xml"/></Types>`

	relationsHead    = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
	relationsTail    = `</Relationships>`
	packageRelations = relationsHead + `<Relationship Id="rId1" Type="` + officeRelation + `officeDocument" Target="/xl/workbook.xml"/>` + relationsTail

	workbookHead = `<workbook xmlns="` + spreadsheetSpace + `" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>`
	workbookTail = `</sheets></workbook>`

	// The header stays in sight.
	sheetHead = xmlDeclaration + `<worksheet xmlns="` + spreadsheetSpace + `"><sheetViews><sheetView workbookViewId="0">` +
		`<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/><sheetData>`
	sheetTail = `</sheetData></worksheet>`

	styles = `<styleSheet xmlns="` + spreadsheetSpace + `"><numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/>` +
		`<numFmt numFmtId="165" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/></numFmts>` +
		`<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
		`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
		`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
		`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
		`<cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>` +
		`<xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>` +
		`<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
		`<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
		`<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>` +
		`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`
)
