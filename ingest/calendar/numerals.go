package calendar

import (
	"strconv"
	"strings"
)

// The numerals of Ethiopia that a date can hold: units, tens and the hundred.
const (
	ethiopicOne     = '፩'
	ethiopicTen     = '፲'
	ethiopicHundred = '፻'
)

// PlainNumerals writes the numbers of a text that stand in Ethiopic numerals, below ten
// thousand, in ASCII digits: ፲፱፻፺፱ becomes 1999. What is no such number stays as it is.
func PlainNumerals(text string) string {
	if !strings.ContainsFunc(text, isEthiopicNumeral) {
		return text
	}
	var b strings.Builder
	for {
		begin := strings.IndexFunc(text, isEthiopicNumeral)
		if begin < 0 {
			return b.String() + text
		}
		b.WriteString(text[:begin])
		text = text[begin:]
		end := len(text) - len(strings.TrimLeftFunc(text, isEthiopicNumeral))
		if n, ok := ethiopicNumber(text[:end]); ok {
			b.WriteString(strconv.Itoa(n))
		} else {
			b.WriteString(text[:end])
		}
		text = text[end:]
	}
}

func isEthiopicNumeral(r rune) bool { return r >= ethiopicOne && r <= ethiopicHundred }

// ethiopicNumber reads hundreds and what is below. A hundred with nothing before it is one
// hundred.
func ethiopicNumber(numerals string) (int, bool) {
	before, after, hundreds := strings.Cut(numerals, string(ethiopicHundred))
	if !hundreds {
		return belowHundred(numerals)
	}
	many, ok := belowHundred(before)
	rest, okRest := belowHundred(after)
	return max(many, 1)*100 + rest, ok && okRest
}

// belowHundred reads a ten, a unit, both or neither.
func belowHundred(numerals string) (int, bool) {
	n := 0
	for _, r := range numerals {
		switch {
		case r >= ethiopicHundred, n%10 != 0:
			return 0, false
		case r >= ethiopicTen && n == 0:
			n = 10 * (int(r-ethiopicTen) + 1)
		case r < ethiopicTen:
			n += int(r-ethiopicOne) + 1
		default:
			return 0, false
		}
	}
	return n, true
}
