package vault

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"pgregory.net/rapid"
)

// The vector of FIPS 197, appendix C.3, in base32: another implementation of a shared realm
// must come to the same id.
func TestRealmVector(t *testing.T) {
	key, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := annona.ParseUID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	const id = "r2rlpssrm5c372x4jgiewslare"
	r := newRealm(key)
	if got := string(r.AppendID([]byte("x:"), uid[:])); got != "x:"+id {
		t.Errorf("got %s, want x:%s", got, id)
	}
	if got, ok := r.ParseID(id); !ok || got != uid {
		t.Errorf("the id came back as %s, %v", got, ok)
	}
}

func TestRealmRoundTrip(t *testing.T) {
	_, _, v := newVault(t, Production)
	one, other := mustRealm(t, v, "one"), mustRealm(t, v, "other")
	rapid.Check(t, func(t *rapid.T) {
		uid := annona.UID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uid"))
		id := string(one.AppendID(nil, uid[:]))
		if len(id) != annona.WireIDLength || strings.Trim(id, base32Digits) != "" {
			t.Fatalf("%q is no id", id)
		}
		if back, ok := one.ParseID(id); !ok || back != uid {
			t.Fatalf("came back as %s, %v", back, ok)
		}
		if string(other.AppendID(nil, uid[:])) == id {
			t.Fatal("two realms show one id")
		}
		if back, ok := other.ParseID(id); !ok || back == uid {
			t.Fatal("another realm reads the id")
		}
	})
}

func mustRealm(t *testing.T, v *Vault, name string) annona.Realm {
	t.Helper()
	r, err := v.Realm(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseIDIsStrict(t *testing.T) {
	_, _, v := newVault(t, Production)
	r := mustRealm(t, v, "one")
	uid := annona.NewUID()
	id := string(r.AppendID(nil, uid[:]))
	last := strings.IndexByte(base32Digits, id[25])
	for name, text := range map[string]string{
		"empty":            "",
		"too short":        id[:25],
		"too long":         id + "a",
		"upper case":       strings.ToUpper(id),
		"digit 1":          "1" + id[1:],
		"digit 8":          "8" + id[1:],
		"padding":          id[:25] + "=",
		"space":            " " + id[1:],
		"not ASCII":        "é" + id[2:],
		"unused bit set":   id[:25] + string(base32Digits[last|1]),
		"other unused bit": id[:25] + string(base32Digits[last|2]),
		"hexadecimal":      uid.String(),
	} {
		if _, ok := r.ParseID(text); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAppendIDOfNoID(t *testing.T) {
	_, _, v := newVault(t, Production)
	r := mustRealm(t, v, "one")
	for _, n := range []int{0, 1, 15, 17, 32} {
		if got := r.AppendID([]byte("x"), make([]byte, n)); string(got) != "x" {
			t.Errorf("%d bytes became an id", n)
		}
	}
}

func TestRealmNames(t *testing.T) {
	_, _, v := newVault(t, Production)
	for _, name := range []string{"", strings.Repeat("x", realmNameLimit+1)} {
		_, err := v.Realm(name)
		wantCode(t, err, "realm_malformed")
	}
	if mustRealm(t, v, "one") != mustRealm(t, v, "one") {
		t.Error("a realm is made anew each time")
	}
}

func TestAppendIDDoesNotAllocate(t *testing.T) {
	_, _, v := newVault(t, Production)
	r := mustRealm(t, v, "one")
	uid, dst := annona.NewUID(), make([]byte, 0, annona.WireIDLength)
	if n := testing.AllocsPerRun(100, func() { r.AppendID(dst, uid[:]) }); n > 0 {
		t.Errorf("%v allocations for an id", n)
	}
}

func FuzzParseID(f *testing.F) {
	r := newRealm(make([]byte, keySize))
	f.Add("aaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add("r2rlpssrm5c373n6jgiewslaqq")
	f.Fuzz(func(t *testing.T, id string) {
		if uid, ok := r.ParseID(id); ok && string(r.AppendID(nil, uid[:])) != id {
			t.Error("an id has two spellings")
		}
	})
}

func BenchmarkAppendID(b *testing.B) {
	r := newRealm(make([]byte, keySize))
	uid, dst := annona.NewUID(), make([]byte, 0, annona.WireIDLength)
	b.ReportAllocs()
	for b.Loop() {
		r.AppendID(dst, uid[:])
	}
}
