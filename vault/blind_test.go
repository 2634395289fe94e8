package vault

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// C-08: the same number of two issuers has two indexes, and nothing runs into one another.
func TestBlindIndexesDiffer(t *testing.T) {
	_, _, v := newVault(t, Production)
	seen := map[string][3]string{}
	for _, id := range [][3]string{
		{"national_id", "", "4711"}, {"national_id", "NIA", "4711"}, {"national_id", "NIB", "4711"}, {"passport", "NIA", "4711"},
		{"national_idN", "IA", "4711"}, {"national_id", "NIA4", "711"}, {"national_id", "NIA", "4712"},
	} {
		index := string(v.BlindIndex(id[0], id[1], id[2]))
		if other, twice := seen[index]; twice || len(index) != 32 {
			t.Errorf("%v and %v have one index", id, other)
		}
		seen[index] = id
	}
}

// C-08: while rows are rewritten, what is on file is found under both versions.
func TestBlindIndexesDuringRotation(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	before := v.BlindIndex("national_id", "", "4711")
	if version, err := v.RotateClass("index"); version != 2 || err != nil {
		t.Fatalf("version %d, %v", version, err)
	}
	now := v.BlindIndex("national_id", "", "4711")
	for name, node := range map[string]*Vault{"the same node": v, "another one": reopen(t, dir, keys)} {
		both := node.BlindIndexes("national_id", "", "4711")
		if len(both) != 2 || !bytes.Equal(both[0], now) || !bytes.Equal(both[1], before) || bytes.Equal(now, before) {
			t.Errorf("%s: %x, want %x and %x", name, both, now, before)
		}
	}
	if err := v.DestroyClass("index"); err != nil {
		t.Fatal(err)
	}
	if one := v.BlindIndexes("national_id", "", "4711"); len(one) != 1 || !bytes.Equal(one[0], now) {
		t.Errorf("after the former version was destroyed: %x", one)
	}
}

// As another implementation computes them: HKDF-SHA-256, then HMAC-SHA-256.
func TestBlindIndexVectors(t *testing.T) {
	secret := classSecret{label: "index", version: 1, secret: make([]byte, keySize)}
	for i := range secret.secret {
		secret.secret[i] = byte(i)
	}
	index := newIndexKey(secret)
	for issuer, want := range map[string]string{
		"":    "460e56752ad9a724775428c1dbfb5d14e1aa5d8422b45e85857804f91b30f8c7",
		"NIA": "1d514cd1aeaa98321058d9f6995b9b5a87840bb8ad93afbddec96c11c1e5109e",
	} {
		for range 2 { // the second time under a key that was kept
			if got := hex.EncodeToString(index.of("national_id", issuer, "GHA0000000004")); got != want {
				t.Errorf("%q: %s, want %s", issuer, got, want)
			}
		}
	}
}

func TestRecordKey(t *testing.T) {
	_, _, v := newVault(t, Production)
	key := v.RecordKey("individuals", "mis", "4711")
	if len(key) != 22 || key != v.RecordKey("individuals", "mis", "4711") {
		t.Errorf("not 22 stable characters: %q", key)
	}
	seen := map[string]bool{}
	for _, k := range [][3]string{{"individuals", "mis", "4711"}, {"households", "mis", "4711"}, {"individuals", "mi", "s4711"}, {"individuals", "mis4", "711"}, {"individuals", "mis", "4712"}} {
		if k := v.RecordKey(k[0], k[1], k[2]); seen[k] {
			t.Errorf("two records have one key")
		} else {
			seen[k] = true
		}
	}
}

// C-17: a token of a name says something within its area only, and 24 bits of it.
func TestNameToken(t *testing.T) {
	_, _, v := newVault(t, Production)
	mensah := v.NameTokens("GH-AH", "mensah")[0]
	if mensah >= 1<<24 || mensah != v.NameTokens("GH-AH", "mensah")[0] {
		t.Errorf("not 24 stable bits: %x", mensah)
	}
	if mensah == v.NameTokens("GH-AA", "mensah")[0] || mensah == v.NameTokens("GH-AHm", "ensah")[0] || mensah == v.NameTokens("GH-AH", "mens")[0] {
		t.Error("tokens of several areas are one")
	}
}
