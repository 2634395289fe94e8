package annona

import (
	"bufio"
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// The vectors are for others too: who looks identifiers up elsewhere can hold an own
// implementation to them.
func TestIdentifierKeyVectors(t *testing.T) {
	file, err := os.Open("testdata/identifier_keys.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	count := 0
	for lines.Scan() {
		if lines.Text() == "" || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		value, key, _ := strings.Cut(lines.Text(), "\t")
		if got := IdentifierKey(value); got != key {
			t.Errorf("IdentifierKey(%q) = %q, want %q", value, got, key)
		}
		count++
	}
	if count < 15 {
		t.Errorf("only %d vectors were read", count)
	}
}

func TestIdentifierKeyIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value")
		key := IdentifierKey(value)
		if again := IdentifierKey(key); again != key {
			t.Errorf("the key of a key differs: %q, %q", key, again)
		}
		if PlainDigits(key) != key {
			t.Errorf("a digit of another script is left in %q", key)
		}
	})
}

func TestDigitsOfEveryScript(t *testing.T) {
	for _, run := range unicode.Nd.R16 {
		checkDigitRun(t, rune(run.Lo), rune(run.Hi), int(run.Stride))
	}
	for _, run := range unicode.Nd.R32 {
		checkDigitRun(t, rune(run.Lo), rune(run.Hi), int(run.Stride))
	}
}

func checkDigitRun(t *testing.T, lo, hi rune, stride int) {
	if stride != 1 || (hi-lo+1)%10 != 0 {
		t.Errorf("the digits from %U to %U are no runs of ten", lo, hi)
	}
	var text strings.Builder
	for r := lo; r <= hi; r++ {
		text.WriteRune(r)
	}
	want := strings.Repeat("0123456789", int(hi-lo+1)/10)
	if got := PlainDigits(text.String()); got != want {
		t.Errorf("PlainDigits from %U: %s, want %s", lo, got, want)
	}
}

// The numbers are the published examples of each algorithm.
func TestCheckDigitsOfPublishedExamples(t *testing.T) {
	isbn := []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for _, c := range []struct {
		check, right, wrong string
		weights             []int
	}{
		{"luhn", "7992-7398-713", "79927398710", nil},
		{"luhn", "۷۹۹۲۷۳۹۸۷۱۳", "۷۹۹۲۷۳۹۸۷۱۴", nil},
		{"verhoeff", "2363", "2364", nil},
		{"verhoeff", "123451", "123415", nil},
		{"damm", "5724", "5742", nil},
		{"iso_7064_mod_11_10", "07945", "07954", nil},
		{"iso_7064_mod_11_2", "0000-0002-1825-0097", "0000-0002-1825-0079", nil},
		{"iso_7064_mod_11_2", "0000-0002-1694-233X", "0000-0002-1694-2330", nil},
		{"iso_7064_mod_97_10", "79444", "79445", nil},
		{"iso_7064_mod_97_10", "WEST12345698765432GB82", "WEST12345698765432GB83", nil},
		{weightedMod11, "0-306-40615-2", "0-306-40615-3", isbn},
		{weightedMod11, "0-8044-2957-X", "0-8044-2957-1", isbn},
	} {
		d := declaring(t, IdentifierType{Code: "national_id_number", Check: c.check, Weights: c.weights})
		if !d.FitsType("national_id_number", c.right) {
			t.Errorf("%s: a right number does not fit", c.check)
		}
		for _, wrong := range []string{c.wrong, "", "0", "X", "Á", strings.Repeat("1", MaxIdentifierLength+1)} {
			if d.FitsType("national_id_number", wrong) {
				t.Errorf("%s: %.20q fits", c.check, wrong)
			}
		}
	}
}

// A check digit is there to find one digit that was misread; the better ones find two that changed
// places as well.
func TestCheckDigitsFindMistakes(t *testing.T) {
	swaps := map[string]bool{"verhoeff": true, "damm": true, "iso_7064_mod_11_2": true, "iso_7064_mod_97_10": true}
	weights := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(CheckDigits()).Draw(t, "check")
		digits := []byte(rapid.StringMatching(`[0-9]{8}`).Draw(t, "digits") + "00")
		right := false
		for n := 0; n < 100 && !right; n++ { // a last digit of ten has no right number of digits alone
			digits[8], digits[9] = byte('0'+n/10), byte('0'+n%10)
			right = checkDigits[name](string(digits), weights)
		}
		if !right {
			t.Fatalf("%s: no end makes it right", name)
		}
		at := rapid.IntRange(0, 9).Draw(t, "at")
		changed := append([]byte(nil), digits...)
		changed[at] = byte('0' + (int(changed[at]-'0')+rapid.IntRange(1, 9).Draw(t, "by"))%10)
		if checkDigits[name](string(changed), weights) {
			t.Errorf("%s: one digit was changed, and it fits", name)
		}
		if at > 0 && swaps[name] && digits[at] != digits[at-1] {
			digits[at], digits[at-1] = digits[at-1], digits[at]
			if checkDigits[name](string(digits), weights) {
				t.Errorf("%s: two digits changed places, and it fits", name)
			}
		}
	})
}

func declaring(t *testing.T, types ...IdentifierType) *Dictionary {
	t.Helper()
	d, err := Standard().Extend(Extension{Country: "XA", IdentifierTypes: types})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestIdentifierTypesAreDeclared(t *testing.T) {
	national := IdentifierType{Code: "national_id_number", Pattern: "[0-9]{4}|[A-Z]{2}[0-9]{6}", MaxLength: 6}
	d := declaring(t, national)
	for value, fits := range map[string]bool{"12 34": true, "١٢٣٤": true, "12345": false, "ab-1234": false, "AB123456": false} {
		if d.FitsType("national_id_number", value) != fits {
			t.Errorf("%q: fits is not %v", value, fits)
		}
	}
	if !d.IdentifierType("household_id_number").Shareable || d.IdentifierType("national_id_number").Shareable || d.IdentifierType("tax_id_number").Shareable {
		t.Error("who may share a number is not as the standard says")
	}
	if x := (Extension{Country: "XA", IdentifierTypes: []IdentifierType{national}}); !d.Declares(x) {
		t.Error("the dictionary does not know what it declares")
	}
	national.Shareable = true
	x := Extension{Country: "XA", IdentifierTypes: []IdentifierType{national}}
	if d.Declares(x) {
		t.Error("another declaration is taken for the same")
	}
	again, err := d.Extend(x)
	if err != nil || !again.IdentifierType("national_id_number").Shareable || d.IdentifierType("national_id_number").Shareable {
		t.Error("the last declaration does not count, or the dictionary before has changed")
	}
	if later, err := again.Extend(Extension{Country: "XB"}); err != nil || later.IdentifierType("national_id_number").Country != "XA" {
		t.Error("a later extension forgets or adopts a type")
	}
}

func TestIdentifierTypesThatAreRefused(t *testing.T) {
	for name, bad := range map[string]IdentifierType{
		"no such code":    {Code: "library_card"},
		"no such check":   {Code: "other", Check: "crc"},
		"no weights":      {Code: "other", Check: weightedMod11},
		"weights alone":   {Code: "other", Weights: []int{1}},
		"weight of 0":     {Code: "other", Check: weightedMod11, Weights: []int{0}},
		"weight of 11":    {Code: "other", Check: weightedMod11, Weights: []int{11}},
		"too long":        {Code: "other", MaxLength: MaxIdentifierLength + 1},
		"negative length": {Code: "other", MaxLength: -1},
		"no pattern":      {Code: "other", Pattern: "("},
		"huge pattern":    {Code: "other", Pattern: strings.Repeat("a", maxPattern+1)},
	} {
		_, err := Standard().Extend(Extension{Country: "XA", IdentifierTypes: []IdentifierType{bad}})
		if CodeOf(err) != "identifier_type_refused" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestIdentifiersArePacked packs and unpacks the identifiers of a record, and finds each of them in the list.
func TestIdentifiersArePacked(t *testing.T) {
	one := IdentifierIndex{Scheme: "national_id", Hash: bytes.Repeat([]byte{1}, 32)}
	card := IdentifierIndex{Scheme: "household_id", Hash: []byte{2, 11, 'n'}, Shareable: true}
	again := card
	again.Shareable = false
	list, err := PackIdentifiers(nil, []IdentifierIndex{card, one, again})
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnpackIdentifiers(list)
	if want := []IdentifierIndex{one, again}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v: want %v", got, err, want)
	}
	for _, id := range []IdentifierIndex{one, card} {
		if !bytes.Contains(list, id.Packed()) {
			t.Errorf("%s is not found in the list", id.Scheme)
		}
	}
	other := IdentifierIndex{Scheme: "id", Hash: one.Hash}
	if bytes.Contains(list, other.Packed()) {
		t.Error("an identifier of another scheme is found")
	}
	for cut := 1; cut < len(list)/2; cut++ {
		if got, err := UnpackIdentifiers(list[:cut]); err == nil {
			t.Errorf("the first %d bytes are taken for %v", cut, got)
		}
	}
	for _, wrong := range []IdentifierIndex{{Scheme: "national_id"}, {Hash: one.Hash}} {
		if _, err := PackIdentifiers(nil, []IdentifierIndex{wrong}); CodeOf(err) != "identifier_malformed" {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// TestPlacesFollowBlindIndexes holds places to the order of what they are the beginnings of, households and
// individuals apart.
func TestPlacesFollowBlindIndexes(t *testing.T) {
	low := IdentifierIndex{Hash: []byte{0x7f, 0xff, 0, 0, 0, 0, 0, 1}}
	high := IdentifierIndex{Hash: []byte{0x80}}
	if low.Place("individual") >= high.Place("individual") || low.Place("household") >= high.Place("individual") {
		t.Error("the places of two blind indexes are not in their order")
	}
	if low.Place("household") == low.Place("individual") || high.Place("household") == high.Place("individual") {
		t.Error("a household and an individual share a place")
	}
}
