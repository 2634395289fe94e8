package privacy

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
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

// pseudonym shows a name that stands for a value: what the realm makes of its hash. The key of the realm keeps
// others from trying values; the field is hashed too, so that two fields with one value do not look alike.
func pseudonym(f *annona.Field, realm annona.Realm) transform {
	about := slices.Clip(annona.AppendItem(annona.AppendItem(nil, annona.Image(f.Dataset)), annona.Image(f.Code))) // several rows may be hashed at once
	return func(dst, cell []byte) []byte {
		if len(cell) == 0 {
			return dst
		}
		sum := sha256.Sum256(annona.AppendItem(about, cell))
		return realm.AppendID(dst, sum[:len(annona.UID{})])
	}
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
		n, _, ok := floor(cell)
		if !ok {
			return dst
		}
		return strconv.AppendInt(dst, lowerEnd(n, width), 10)
	}
}

// toMultiple shows the multiple of a width that is nearest to a number, of two the greater one: with
// width 10, 27.5 becomes 30 and -3 becomes 0.
func toMultiple(width int64) transform {
	return func(dst, cell []byte) []byte {
		n, half, ok := floor(cell)
		if !ok {
			return dst
		}
		nearest := lowerEnd(n, width)
		above := n - nearest // and half or more of one, or less
		if above >= width-above || half && above >= width-above-1 {
			nearest += width
		}
		return strconv.AppendInt(dst, nearest, 10)
	}
}

// toAge shows the completed years since a date, of their band the lower end. What lies behind asOf is
// not shown.
func toAge(asOf annona.Date, width int64) transform {
	return func(dst, cell []byte) []byte {
		born, err := annona.ParseDate(string(cell))
		if err != nil || born > asOf {
			return dst
		}
		return strconv.AppendInt(dst, lowerEnd(int64(annona.AgeOn(born, asOf)), width), 10)
	}
}

// floor returns the greatest whole number that is not above a decimal, and whether half of one or more
// lies between them.
func floor(cell []byte) (n int64, half, ok bool) {
	whole, fraction, _ := bytes.Cut(cell, []byte{'.'})
	n, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil {
		return 0, false, false
	}
	fraction = bytes.TrimRight(fraction, "0")
	half = len(fraction) > 0 && fraction[0] >= '5'
	if cell[0] == '-' && len(fraction) > 0 && n > math.MinInt64 {
		return n - 1, string(fraction) <= "5", true
	}
	return n, half, true
}

// lowerEnd is the greatest multiple of a width that is not above n.
func lowerEnd(n, width int64) int64 {
	low := n - n%width
	if n%width < 0 {
		low -= width
	}
	return low
}
