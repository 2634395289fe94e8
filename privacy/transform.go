package privacy

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

func withhold(dst, _ []byte) []byte { return dst }

// mask keeps the last four characters of values longer than eight, and nothing of shorter ones.
func mask(dst, cell []byte) []byte {
	if len(cell) == 0 {
		return dst
	}
	shown := len(cell)
	if utf8.RuneCount(cell) > 8 {
		for range 4 {
			_, size := utf8.DecodeLastRune(cell[:shown])
			shown -= size
		}
	}
	dst = append(dst, "****"...)
	return append(dst, cell[shown:]...)
}

func toYear(dst, cell []byte) []byte {
	if len(cell) < 4 {
		return dst
	}
	dst = append(dst, cell[:4]...)
	return append(dst, "-01-01"...)
}

func toMonth(dst, cell []byte) []byte {
	if len(cell) < 7 {
		return dst
	}
	dst = append(dst, cell[:7]...)
	return append(dst, "-01"...)
}

// toBand shows the lower end of the band that a number lies in: with width 10, 27.5 becomes 20
// and -3 becomes -10.
func toBand(width int64) transform {
	return func(dst, cell []byte) []byte {
		whole, fraction, _ := bytes.Cut(cell, []byte{'.'})
		n, err := strconv.ParseInt(string(whole), 10, 64)
		if err != nil {
			return dst
		}
		negative := cell[0] == '-'
		if negative && len(fraction) > 0 && n > math.MinInt64 {
			n-- // the floor of a negative fraction
		}
		low := n - n%width
		if n%width < 0 {
			low -= width
		}
		return strconv.AppendInt(dst, low, 10)
	}
}
