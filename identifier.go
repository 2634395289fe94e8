package annona

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IdentifierKeyVersion is the version of IdentifierKey. Indexes made under another version
// must be made anew.
const IdentifierKeyVersion = 1

// IdentifierKey returns the form under which an identifier is indexed and looked up, so that
// the same number is found however it was written: digits of any script become ASCII digits,
// full-width letters become plain ones, letters become capitals, and spaces, dashes, dots,
// slashes and invisible characters are dropped. Leading zeros stay. The value itself is kept
// and shown as it was recorded.
func IdentifierKey(value string) string {
	return strings.Map(identifierRune, value)
}

func identifierRune(r rune) rune {
	if r >= utf8.RuneSelf {
		r = narrow(r)
	}
	switch {
	case r == '.' || r == '/' || r == '\\' || r == '-':
		return -1
	case r < utf8.RuneSelf:
		if r <= ' ' || r == 0x7F {
			return -1
		}
	case r == '\u2212', unicode.IsSpace(r), unicode.In(r, unicode.Pd, unicode.Cf, unicode.Cc):
		return -1
	}
	return unicode.ToUpper(r)
}

// PlainDigits returns s with the digits of every script as ASCII digits, and everything else
// as it was.
func PlainDigits(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(plainDigit, s)
		}
	}
	return s
}

func plainDigit(r rune) rune {
	if r >= utf8.RuneSelf && unicode.IsDigit(r) {
		return '0' + digitValue(r)
	}
	return r
}

// narrow turns a digit of any script and a full-width character into its ASCII twin.
func narrow(r rune) rune {
	switch {
	case unicode.IsDigit(r):
		return '0' + digitValue(r)
	case r >= '\uFF01' && r <= '\uFF5E':
		return r - '\uFF01' + '!'
	}
	return r
}

// digitValue returns the value of a decimal digit. Unicode keeps the ten digits of a script in
// one run that begins with zero, so the distance from the start of the run tells it.
func digitValue(r rune) rune {
	for _, run := range unicode.Nd.R16 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return (r - rune(run.Lo)) % 10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return (r - rune(run.Lo)) % 10
		}
	}
	return 0
}
