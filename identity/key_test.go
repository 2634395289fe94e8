package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"pgregory.net/rapid"
)

func TestEveryMintedKeyParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		demo := rapid.Bool().Draw(t, "demo")
		minted, text := newKey(demo)
		parsed, err := Parse(text)
		if err != nil || parsed != minted || parsed.Demo != demo {
			t.Fatalf("a minted key does not parse: %v", err)
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		c := rapid.Byte().Draw(t, "character")
		if changed := text[:at] + string(rune(c)) + text[at+1:]; changed != text {
			if _, err := Parse(changed); annona.CodeOf(err) != "key_malformed" {
				t.Fatalf("character %d was changed unnoticed", at)
			}
		}
	})
}

// The checksum as another implementation computes it (CRC-32, base 62), so that scanners for
// leaked secrets can rely on it.
func TestChecksumVector(t *testing.T) {
	const body = "annona_live_abcdefghijklmnop_abcdefghijklmnopqrstuvwxyz234567"
	if got := checksum(body); got != "1s3INK" {
		t.Errorf("got %s", got)
	}
	if key, err := Parse(body + "1s3INK"); err != nil || key.ID != "abcdefghijklmnop" || key.Demo {
		t.Errorf("the vector does not parse: %v", err)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	key, text := newKey(false)
	secret := text[29:61]
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		if shown := fmt.Sprintf(format, key, key); strings.Contains(shown, secret) {
			t.Errorf("%s prints the secret", format)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "pointer", &key)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "pointer", &key)
	asJSON, err := json.Marshal(key)
	if err != nil || strings.Contains(log.String()+string(asJSON), secret) {
		t.Error("a log or JSON holds the secret")
	}
}

func FuzzParse(f *testing.F) {
	_, text := newKey(true)
	f.Add(text)
	f.Add("annona_live_")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := Parse(text)
		if err != nil {
			if annona.CodeOf(err) != "key_malformed" || err.Error() != errMalformed.Error() {
				t.Error("a malformed key has another answer")
			}
			return
		}
		if key.body+checksum(key.body) != text {
			t.Error("a key has two spellings")
		}
	})
}
