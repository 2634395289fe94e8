package exchange

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// attachmentType is a kind of file that is taken in, and how its content is known. It is pure.
type attachmentType struct {
	mediaType  string
	extensions []string
	begins     []string // one of these
	text       bool     // UTF-8 without control characters
	part       string   // of an Office Open XML file, by which its kind is known
}

var attachmentTypes = []attachmentType{
	{mediaType: "application/pdf", extensions: []string{".pdf"}, begins: []string{"%PDF-"}},
	{mediaType: "image/jpeg", extensions: []string{".jpg", ".jpeg"}, begins: []string{"\xff\xd8\xff"}},
	{mediaType: "image/png", extensions: []string{".png"}, begins: []string{"\x89PNG\r\n\x1a\n"}},
	{mediaType: "image/tiff", extensions: []string{".tif", ".tiff"}, begins: []string{"II*\x00", "MM\x00*"}},
	{mediaType: "text/plain", extensions: []string{".txt"}, text: true},
	{mediaType: "text/csv", extensions: []string{".csv"}, text: true},
	{mediaType: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", extensions: []string{".docx"}, begins: []string{"PK\x03\x04"}, part: "word/document.xml"},
	{mediaType: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", extensions: []string{".xlsx"}, begins: []string{"PK\x03\x04"}, part: "xl/workbook.xml"},
}

// AttachmentTypes are the media types of attachments that are taken in.
func AttachmentTypes() []string {
	var all []string
	for _, t := range attachmentTypes {
		all = append(all, t.mediaType)
	}
	return all
}

// maxFileName bounds the name of a file, in bytes.
const maxFileName = 200

// checkFileName refuses a name that leads somewhere else, deceives the eye or says another kind.
func checkFileName(name string, t attachmentType) error {
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune(`/\:*?"<>|`, r) || r == utf8.RuneError
	}
	switch {
	case name == "" || len(name) > maxFileName || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) || strings.HasPrefix(name, "."):
		return annona.Invalid("attachment_name", "the file has a name of at most %d bytes, without path and control characters", maxFileName).On("name")
	case !slices.Contains(t.extensions, strings.ToLower(path.Ext(name))):
		return annona.Invalid("attachment_name", "the name of the file ends in %s, as its media type has it", strings.Join(t.extensions, " or ")).On("name")
	}
	return nil
}

// inspection looks at a content as it goes by.
type inspection struct {
	of    attachmentType
	head  []byte // the first bytes
	tail  []byte // the last ones, in which something may begin
	bad   bool   // it is no text
	part  bool   // the part was met
	index bool   // so was the one that lists the parts
	code  bool   // so was a program
}

// headBytes suffice to know every kind by its beginning.
const headBytes = 16

// lookFor is ready for the content of an attachment; it refuses what is not taken in.
func lookFor(a Attachment) (*inspection, error) {
	at := slices.IndexFunc(attachmentTypes, func(t attachmentType) bool { return t.mediaType == a.MediaType })
	if at < 0 {
		return nil, annona.Invalid("attachment_type", "an attachment is one of these: %s", strings.Join(AttachmentTypes(), ", ")).On("Content-Type")
	}
	if err := checkFileName(a.Name, attachmentTypes[at]); err != nil {
		return nil, err
	}
	return &inspection{of: attachmentTypes[at]}, nil
}

// Write takes the next bytes of the content.
func (l *inspection) Write(p []byte) (int, error) {
	if room := headBytes - len(l.head); room > 0 {
		l.head = append(l.head, p[:min(room, len(p))]...)
	}
	if l.of.text || l.of.part != "" {
		l.tail = append(l.tail, p...)
	}
	switch {
	case l.of.text:
		l.lookAtText()
	case l.of.part != "":
		l.lookAtParts()
	}
	return len(p), nil
}

// lookAtText keeps only the beginning of a character that is still to come.
func (l *inspection) lookAtText() {
	rest := l.tail
	for len(rest) > 0 {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(rest) {
			break
		}
		l.bad = l.bad || r == utf8.RuneError && size == 1 || r < ' ' && !strings.ContainsRune("\t\n\r\f", r) || r == 0x7f
		rest = rest[size:]
	}
	l.tail = append(l.tail[:0], rest...)
}

const (
	listOfParts  = "[Content_Types].xml"
	partOfMacros = "vbaProject.bin"
)

func (l *inspection) lookAtParts() {
	met := func(name string) bool { return bytes.Contains(l.tail, []byte(name)) }
	l.part, l.index, l.code = l.part || met(l.of.part), l.index || met(listOfParts), l.code || met(partOfMacros)
	l.tail = append(l.tail[:0], l.tail[max(0, len(l.tail)-len(listOfParts)):]...)
}

// verdict says at the end whether the content is what it was called.
func (l *inspection) verdict() error {
	begins := func(with string) bool { return bytes.HasPrefix(l.head, []byte(with)) }
	switch {
	case l.code:
		return annona.Invalid("attachment_mismatch", "the file holds a program (macros); send it without").On("Content-Type")
	case len(l.of.begins) > 0 && !slices.ContainsFunc(l.of.begins, begins), l.of.part != "" && !(l.part && l.index), l.of.text && (l.bad || len(l.tail) > 0):
		return annona.Invalid("attachment_mismatch", "the file is not what its media type says").On("Content-Type")
	}
	return nil
}
