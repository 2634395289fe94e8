package annona

import (
	"bufio"
	"os"
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
