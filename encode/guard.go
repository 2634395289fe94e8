package encode

import "unicode/utf8"

// The spreadsheet profile puts an apostrophe before text that a spreadsheet would not take for
// text. Numbers, dates, yes and no are left alone.

// longNumber is how many digits a spreadsheet shows of a number before it rounds it.
const longNumber = 11

// fullWidth is the first byte of the full-width signs.
const fullWidth = 0xEF

// isFormula reports whether a spreadsheet may run the text as a formula or hand it to another
// program: it begins with = + - @, their full-width forms, a tab or a line end. Spaces and
// quotes before that do not help, some programs drop them.
func isFormula(text []byte) bool {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '"' || text[0] == '\'') {
		text = text[1:]
	}
	if len(text) == 0 {
		return false
	}
	switch text[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n':
		return true
	case fullWidth:
		sign, _ := utf8.DecodeRune(text)
		return sign == '＝' || sign == '＋' || sign == '－' || sign == '＠'
	}
	return false
}

// isNumber reports whether a spreadsheet would read the text as a number and show another
// text: it would drop a leading zero, and round what has more than longNumber digits.
func isNumber(text []byte) bool {
	for _, b := range text {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(text) > longNumber || len(text) > 1 && text[0] == '0'
}
