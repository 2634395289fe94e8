package encode

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// nasties seed the fuzzing of the escapers.
var nasties = []string{"", "a", `"`, `\`, "]]>", "<&>", "\r\n", "\u2028\u2029", "\ufffe\uffff", "\xff", "\xe2\x80", "a\x1fb", "\x00", "é=1,2;", " x "}

func FuzzJSONEscaper(f *testing.F) {
	for _, s := range nasties {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		written := appendString(nil, text)
		var read string
		if err := json.Unmarshal(written, &read); err != nil {
			t.Fatalf("%q is no JSON string: %v", written, err)
		}
		if want := replaceInvalid(text, func(rune) bool { return true }); read != want {
			t.Errorf("%q became %q", want, read)
		}
		if bytes.ContainsAny(written, "\u2028\u2029\n\r") {
			t.Errorf("%q ends a line", written)
		}
	})
}

func FuzzXMLEscaper(f *testing.F) {
	for _, s := range nasties {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		document := append(appendAttribute([]byte("<e"), "a", text), '>')
		document = append(appendEntities(document, []byte(text), ""), "</e>"...)
		var read struct {
			A    string `xml:"a,attr"`
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal(document, &read); err != nil {
			t.Fatalf("%q is no XML: %v", document, err)
		}
		want := replaceInvalid(text, func(r rune) bool {
			return (r >= ' ' || r == '\t' || r == '\n' || r == '\r') && r != '\ufffe' && r != '\uffff'
		})
		if read.Text != want || read.A != want {
			t.Errorf("%q became %q and %q", want, read.Text, read.A)
		}
	})
}

func FuzzCSVCell(f *testing.F) {
	for _, s := range nasties {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, spreadsheet bool) {
		form := csvForm{spreadsheet: spreadsheet}
		kind := cellText
		if spreadsheet {
			kind = cellWord
		}
		var row []byte
		if text != "" {
			row = form.appendCareful(row, []byte(text), kind, true)
		}
		cells, err := csv.NewReader(bytes.NewReader(append(append(row, ",x"...), "\r\n"...))).Read()
		if err != nil || len(cells) != 2 || cells[1] != "x" {
			t.Fatalf("%q reads as %q: %v", row, cells, err)
		}
		want := text
		if !utf8.ValidString(want) {
			want = strings.ToValidUTF8(want, "\uFFFD")
		}
		want = strings.ReplaceAll(strings.ReplaceAll(want, "\x1f", ";"), "\r\n", "\n")
		if form.changed > 0 {
			want = "'" + want
		}
		if cells[0] != want {
			t.Errorf("%q became %q", want, cells[0])
		}
	})
}

// Looking at eight bytes at once finds what looking at each one finds.
func FuzzFind(f *testing.F) {
	for _, s := range nasties {
		f.Add([]byte("0123456" + s + "0123456789"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, care := range map[string]*careful{"csv": csvCare, "spreadsheet": sheetCare, "json": jsonCare, "xml": xmlCare} {
			want := slices.IndexFunc(text, func(b byte) bool { return b < ' ' || bytes.IndexByte(care.further, b) >= 0 })
			if want < 0 {
				want = len(text)
			}
			if got := care.find(text); got != want {
				t.Errorf("%s: byte %d instead of %d of %q", name, got, want, text)
			}
		}
	})
}

// replaceInvalid replaces each byte that is not UTF-8 and each character that is not allowed.
func replaceInvalid(text string, allowed func(rune) bool) string {
	var b strings.Builder
	for _, r := range text {
		if !allowed(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}

// A byte that needs care is found wherever it stands, in plain text and in any other.
func TestEveryCarefulByteIsFound(t *testing.T) {
	for _, care := range []*careful{csvCare, sheetCare, jsonCare, xmlCare} {
		for size := range 41 {
			for at := range size {
				for b := range 256 {
					text := bytes.Repeat([]byte{'a'}, size)
					text[at] = byte(b)
					if plain := b >= ' ' && b < utf8.RuneSelf; isPlain(text) != plain {
						t.Fatalf("byte %#x at %d of %d: plain is %v", b, at, size, !plain)
					}
					want := size
					if b < ' ' || slices.Contains(care.further, byte(b)) {
						want = at
					}
					if got := care.find(text); got != want {
						t.Fatalf("byte %#x at %d of %d: found at %d, want %d", b, at, size, got, want)
					}
					if got := care.findPlain(text); isPlain(text) && got != want {
						t.Fatalf("byte %#x at %d of %d, plain: found at %d, want %d", b, at, size, got, want)
					}
				}
			}
		}
	}
}
