package encode

import "bytes"

// The spreadsheet profile puts an apostrophe before text that a spreadsheet would not take for
// text. Numbers, dates, yes and no are left alone.

// longNumber is how many digits a spreadsheet shows of a number before it rounds it.
const longNumber = 11

// isFormula reports whether a spreadsheet may run the text as a formula or hand it to another
// program: it begins with = + - @, their full-width forms, a tab or a line end. Spaces and
// quotes before that do not help, some programs drop them.
func isFormula(text []byte) bool {
	text = bytes.TrimLeft(text, " \"'")
	if len(text) == 0 {
		return false
	}
	switch text[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n':
		return true
	}
	for _, sign := range []string{"＝", "＋", "－", "＠"} {
		if bytes.HasPrefix(text, []byte(sign)) {
			return true
		}
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
