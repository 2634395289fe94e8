package annona_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

func TestUIDsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u annona.UID
		copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		if back, err := annona.ParseUID(u.String()); err != nil || back != u {
			t.Fatalf("%s comes back as %s, %v", u, back, err)
		}
	})
}

func TestParseUIDRefuses(t *testing.T) {
	for _, text := range []string{"", "00", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef00"} {
		if _, err := annona.ParseUID(text); annona.CodeOf(err) != "id_malformed" {
			t.Errorf("%q: got %v, want id_malformed", text, err)
		}
	}
}

func TestNewUIDsDiffer(t *testing.T) {
	first, second := annona.NewUID(), annona.NewUID()
	if first == second || first == (annona.UID{}) {
		t.Error("fresh ids repeat")
	}
}

func TestInstant(t *testing.T) {
	at := time.Date(2024, 2, 29, 23, 30, 0, 123_999_999, time.FixedZone("behind", -3600))
	if got := annona.Instant(at); got != "2024-03-01T00:30:00.123Z" {
		t.Errorf("the instant is %s", got)
	}
}
