package annona

import (
	"bytes"
	"encoding/binary"
	"maps"
	"regexp"
	"slices"
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

// Check refuses an identifier without a scheme or without a blind index, with the code identifier_malformed.
func (id IdentifierIndex) Check() error {
	if id.Scheme == "" || len(id.Hash) == 0 {
		return Invalid("identifier_malformed", "an identifier has a scheme and a blind index")
	}
	return nil
}

// Place returns the 64 bits under which a store finds the holders of an identifier: the beginning of its
// blind index, so that places follow each other as blind indexes do. The last bit tells households, whose
// noun that is, and individuals apart, who may hold the same one. Two identifiers may have one place by
// chance.
func (id IdentifierIndex) Place(noun string) uint64 {
	var first [8]byte
	copy(first[:], id.Hash)
	place := binary.BigEndian.Uint64(first[:]) &^ 1
	if noun == "household" {
		place |= 1
	}
	return place
}

// IsAmong reports whether an identifier is among some, shareable or not.
func (id IdentifierIndex) IsAmong(some []IdentifierIndex) bool {
	return slices.ContainsFunc(some, func(o IdentifierIndex) bool { return o.Scheme == id.Scheme && bytes.Equal(o.Hash, id.Hash) })
}

// Packed returns the bytes that a packed list contains where the identifier is in it, shareable or not.
func (id IdentifierIndex) Packed() []byte { return id.pack(nil) }

func (id IdentifierIndex) pack(list []byte) []byte {
	return AppendItem(AppendItem(list, Image(id.Scheme)), id.Hash)
}

// PackIdentifiers appends the identifiers of a record to a list, in one piece as they lie in its row: scheme
// and blind index, each behind its length, and a byte that is 1 where it is shareable. Of one that is named
// twice the last word counts. The error is that of Check.
func PackIdentifiers(list []byte, identifiers []IdentifierIndex) ([]byte, error) {
	for i, id := range identifiers {
		if err := id.Check(); err != nil {
			return list, err
		}
		if id.IsAmong(identifiers[i+1:]) {
			continue
		}
		shareable := byte(0)
		if id.Shareable {
			shareable = 1
		}
		list = append(id.pack(list), shareable)
	}
	return list, nil
}

// UnpackIdentifiers reads what PackIdentifiers has written.
func UnpackIdentifiers(list []byte) (all []IdentifierIndex, err error) {
	for len(list) > 0 {
		scheme, rest, err := cut(list)
		if err != nil {
			return nil, err
		}
		hash, rest, err := cut(rest)
		if err != nil || len(rest) == 0 {
			return nil, errImage
		}
		all = append(all, IdentifierIndex{Scheme: string(scheme), Hash: hash, Shareable: rest[0] == 1})
		list = rest[1:]
	}
	return all, nil
}

// IdentifierType says what numbers of one type look like, and who may hold one. All of it is
// about the form under which an identifier is indexed, see IdentifierKey: ASCII digits, capitals,
// no spaces, dashes, dots and slashes. What does not fit is taken all the same, and flagged.
type IdentifierType struct {
	Code      string // of the code list identifier_type
	Pattern   string // regular expression (RE2) that the whole number matches; empty: any
	Check     string // the algorithm of its check digit, see CheckDigits; empty: none
	Weights   []int  // of the check weighted_mod_11: 1 to 10 for each digit, from the left
	MaxLength int    // in characters, 1 to MaxIdentifierLength; 0: MaxIdentifierLength
	Shareable bool   // several people hold one rightly: a household's number stands on each card
	Country   string // that declared it; empty for the standard
}

// MaxIdentifierLength is how long an identifier may be that is looked up, in bytes.
const MaxIdentifierLength = 200

const maxPattern = 500 // bytes

type identifierType struct {
	IdentifierType
	pattern *regexp.Regexp
}

// IdentifierType returns what is declared of a type; of one that nobody has declared, that any
// number fits it and has one holder.
func (d *Dictionary) IdentifierType(code string) IdentifierType {
	if t, ok := d.identifierTypes[code]; ok {
		return t.IdentifierType
	}
	return IdentifierType{Code: code}
}

// FitsType reports whether an identifier, as it was recorded, has the form of its type: its length,
// its pattern and its check digit.
func (d *Dictionary) FitsType(code, value string) bool {
	key := IdentifierKey(value)
	t, ok := d.identifierTypes[code]
	if !ok {
		return len(key) <= MaxIdentifierLength
	}
	longest := t.MaxLength
	if longest == 0 {
		longest = MaxIdentifierLength
	}
	switch {
	case len(key) > MaxIdentifierLength, utf8.RuneCountInString(key) > longest:
		return false
	case t.pattern != nil && !t.pattern.MatchString(key):
		return false
	}
	return t.Check == "" || checkDigits[t.Check](key, t.Weights)
}

// IdentifierTypes returns the declared types, by code.
func (d *Dictionary) IdentifierTypes() []IdentifierType {
	all := make([]IdentifierType, 0, len(d.identifierTypes))
	for _, t := range d.identifierTypes {
		all = append(all, t.IdentifierType)
	}
	slices.SortFunc(all, func(a, b IdentifierType) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// declareTypes adds types to a dictionary that nobody uses yet. The last declaration of a type
// counts.
func (d *Dictionary) declareTypes(types []IdentifierType) error {
	list, ok := d.lists["identifier_type"]
	for _, t := range types {
		if !ok || !list.Has(t.Code) {
			return Invalid("identifier_type_refused", "an identifier type is a code of the list identifier_type").On(t.Code)
		}
		pattern, err := t.compile()
		if err != nil {
			return err
		}
		d.identifierTypes[t.Code] = identifierType{t, pattern}
	}
	return nil
}

// compile checks a declaration; the error has the code identifier_type_refused.
func (t *IdentifierType) compile() (*regexp.Regexp, error) {
	fault := func(format string, args ...any) error {
		return Invalid("identifier_type_refused", format, args...).On(t.Code)
	}
	badWeight := func(w int) bool { return w < 1 || w > 10 }
	switch {
	case t.MaxLength < 0 || t.MaxLength > MaxIdentifierLength:
		return nil, fault("max_length is a number of characters from 1 to %d", MaxIdentifierLength)
	case t.Check != "" && checkDigits[t.Check] == nil:
		return nil, fault("check is one of these: %s", strings.Join(CheckDigits(), ", "))
	case (t.Check == weightedMod11) != (len(t.Weights) > 0):
		return nil, fault("weights belong to the check %s, which has one for each digit", weightedMod11)
	case len(t.Weights) > MaxIdentifierLength || slices.ContainsFunc(t.Weights, badWeight):
		return nil, fault("a weight is a whole number from 1 to 10")
	case t.Pattern == "":
		return nil, nil
	case len(t.Pattern) > maxPattern:
		return nil, fault("a pattern has at most %d characters", maxPattern)
	}
	pattern, err := regexp.Compile(`^(?:` + t.Pattern + `)$`)
	if err != nil {
		return nil, fault("the pattern is no regular expression")
	}
	return pattern, nil
}

func (t *IdentifierType) same(o IdentifierType) bool {
	return t.Code == o.Code && t.Pattern == o.Pattern && t.Check == o.Check && slices.Equal(t.Weights, o.Weights) &&
		t.MaxLength == o.MaxLength && t.Shareable == o.Shareable && t.Country == o.Country
}

const weightedMod11 = "weighted_mod_11"

// checkDigits says of an identifier's key whether its check digit is right, by algorithm. Letters
// do not count, except where a rule says what they are worth: which letters stand where is told by
// a pattern.
var checkDigits = map[string]func(key string, weights []int) bool{
	"luhn":               func(key string, _ []int) bool { return luhn(digitsOf(key)) },           // ISO/IEC 7812-1, annex B
	"verhoeff":           func(key string, _ []int) bool { return verhoeff(digitsOf(key)) },       // Verhoeff 1969
	"damm":               func(key string, _ []int) bool { return damm(digitsOf(key)) },           // Damm 2004
	"iso_7064_mod_11_10": func(key string, _ []int) bool { return mod11and10(digitsOf(key)) },     // ISO/IEC 7064, hybrid
	"iso_7064_mod_11_2":  func(key string, _ []int) bool { return mod11and2(digitsWithX(key)) },   // ISO/IEC 7064, pure; X is ten
	"iso_7064_mod_97_10": func(key string, _ []int) bool { return mod97and10(key) },               // ISO/IEC 7064, pure; A is 10 to Z 35
	weightedMod11:        func(key string, w []int) bool { return weighted(digitsWithX(key), w) }, // X at the end is ten
}

// CheckDigits returns the names of the algorithms that an identifier type may name, sorted.
func CheckDigits() []string { return slices.Sorted(maps.Keys(checkDigits)) }

func digitsOf(key string) []int {
	digits := make([]int, 0, len(key))
	for _, r := range key {
		if r >= '0' && r <= '9' {
			digits = append(digits, int(r-'0'))
		}
	}
	return digits
}

// digitsWithX returns the digits; an X at the end is a digit, worth ten.
func digitsWithX(key string) []int {
	digits := digitsOf(key)
	if strings.HasSuffix(key, "X") {
		digits = append(digits, 10)
	}
	return digits
}

// enough: a number has at least one digit that its check digit guards.
func enough(digits []int) bool { return len(digits) > 1 }

func luhn(digits []int) bool {
	sum := 0
	for i, d := range digits {
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return enough(digits) && sum%10 == 0
}

// verhoeff multiplies in the dihedral group of the pentagon, each digit permuted by its place from
// the right.
func verhoeff(digits []int) bool {
	permutation := [10]int{1, 5, 7, 6, 2, 8, 3, 0, 9, 4}
	c := 0
	for i, d := range digits {
		for range (len(digits) - 1 - i) % 8 {
			d = permutation[d]
		}
		digits[i] = d
	}
	for _, d := range slices.Backward(digits) {
		c = dihedral(c, d)
	}
	return enough(digits) && c == 0
}

func dihedral(a, b int) int {
	switch {
	case a < 5 && b < 5:
		return (a + b) % 5
	case a < 5:
		return (a+b-5)%5 + 5
	case b < 5:
		return (a-5-b+5)%5 + 5
	}
	return (a - b + 5) % 5
}

// damm goes through a quasigroup without fixed points.
func damm(digits []int) bool {
	table := [10][10]int{
		{0, 3, 1, 7, 5, 9, 8, 6, 4, 2}, {7, 0, 9, 2, 1, 5, 4, 8, 6, 3}, {4, 2, 0, 6, 8, 7, 1, 3, 5, 9}, {1, 7, 5, 0, 9, 8, 3, 4, 2, 6},
		{6, 1, 2, 3, 0, 4, 5, 9, 7, 8}, {3, 6, 7, 4, 2, 0, 9, 5, 8, 1}, {5, 8, 6, 9, 7, 2, 0, 1, 3, 4}, {8, 9, 4, 5, 3, 6, 2, 0, 1, 7},
		{9, 4, 3, 8, 6, 1, 7, 2, 0, 5}, {2, 5, 8, 1, 4, 3, 6, 7, 9, 0},
	}
	c := 0
	for _, d := range digits {
		c = table[c][d]
	}
	return enough(digits) && c == 0
}

func mod11and10(digits []int) bool {
	c := 10
	for i, d := range digits {
		s := (c + d) % 10
		if i == len(digits)-1 {
			return enough(digits) && s == 1
		}
		if s == 0 {
			s = 10
		}
		c = s * 2 % 11
	}
	return false
}

func mod11and2(digits []int) bool {
	c := 0
	for _, d := range digits {
		c = (c*2 + d) % 11
	}
	return enough(digits) && c == 1
}

func mod97and10(key string) bool {
	c, n := 0, 0
	for _, r := range key {
		switch {
		case r >= '0' && r <= '9':
			c = (c*10 + int(r-'0')) % 97
		case r >= 'A' && r <= 'Z':
			c = (c*100 + int(r-'A') + 10) % 97
		default:
			continue
		}
		n++
	}
	return n > 2 && c == 1
}

// weighted: the weighted sum of all digits, the check digit among them, is a multiple of eleven.
func weighted(digits, weights []int) bool {
	if len(digits) != len(weights) {
		return false
	}
	sum := 0
	for i, d := range digits {
		sum += d * weights[i]
	}
	return sum%11 == 0
}
