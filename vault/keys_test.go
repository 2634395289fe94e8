package vault

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

func TestKeyTable(t *testing.T) {
	seen := map[string]bool{}
	for _, class := range keyTable {
		if seen[class.label] || class.label == "" || class.use == "" || class.algorithm == "" || class.lost == "" {
			t.Errorf("the class %q stands twice or is not described", class.label)
		}
		seen[class.label] = true
	}
	_, keys, v := newVault(t, Production)
	if _, err := v.Realm("one"); err != nil {
		t.Fatal(err)
	}
	newRecovery(t, v)
	if _, err := v.SealNote(annona.NewUID(), "note", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.SignManifest("text\n"); err != nil {
		t.Fatal(err)
	}
	if err := v.RecordDrill(v.DrillProof()); err != nil {
		t.Fatal(err)
	}
	for label := range keys.secrets {
		class, _, _ := strings.Cut(label, "/")
		if !seen[class] {
			t.Errorf("the secret %q is of no class of the table", label)
		}
	}
	if len(keys.secrets) != len(keyTable) {
		t.Errorf("%d secrets are in use, the table has %d classes", len(keys.secrets), len(keyTable))
	}
}

func TestEachUseHasAKeyOfItsOwn(t *testing.T) {
	_, _, v := newVault(t, Production)
	message := []byte("message")
	digest, tag := v.Digest(message), v.Tag(message)
	answers := map[string]string{}
	for use, answer := range map[string][]byte{
		"digest": digest[:], "tag": tag[:], "api key": v.KeyHash(message)[:16],
		"index of one scheme": v.BlindIndex("a", "", "message")[:16], "index of another": v.BlindIndex("b", "", "message")[:16],
	} {
		if other, twice := answers[string(answer)]; twice {
			t.Errorf("%s and %s use one key", use, other)
		}
		answers[string(answer)] = use
	}
	if bytes.Equal(v.BlindIndex("a", "", "bc"), v.BlindIndex("ab", "", "c")) {
		t.Error("scheme and identifier run into one another")
	}
	if len(v.BlindIndex("a", "", "bc")) != 32 || len(v.KeyHash(message)) != 32 {
		t.Error("an index and a key hash have 256 bits")
	}
	if !bytes.Equal(v.BlindIndex("a", "", "bc"), v.BlindIndex("a", "", "bc")) {
		t.Error("one identifier has two indexes")
	}
}

func TestBindIsUnambiguous(t *testing.T) {
	lists := [][]byte{bind("a", 1, "bc"), bind("ab", 1, "c"), bind("a", 1, "b", "c"), bind("a", 2, "bc"), bind("a", 1), bind("a", 1, "")}
	for i := range lists {
		for j := range i {
			if bytes.Equal(lists[i], lists[j]) {
				t.Errorf("lists %d and %d join alike", i, j)
			}
		}
	}
}

// HKDF-SHA-256 as another implementation computes it: indexes on file depend on it.
func TestDerivedKeyVector(t *testing.T) {
	secret := make([]byte, keySize)
	for i := range secret {
		secret[i] = byte(i)
	}
	got := hex.EncodeToString(classSecret{label: "index", version: 1, secret: secret}.derive("national_id"))
	if want := "b9c1971dc0ab836640978c62a2dbd677ccbb9d90834c865c1f03c4b045de9cfc"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
