package vault

import (
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPositionRoundTrip(t *testing.T) {
	_, _, v := newVault(t, Production)
	rapid.Check(t, func(t *rapid.T) {
		context, position := rapid.SliceOf(rapid.Byte()).Draw(t, "context"), rapid.SliceOf(rapid.Byte()).Draw(t, "position")
		token := v.SealPosition(context, position)
		if got, ok := v.OpenPosition(context, token); !ok || string(got) != string(position) {
			t.Fatal("a position was lost")
		}
		if _, ok := v.OpenPosition(append(context, 0), token); ok {
			t.Fatal("a token opened in another context")
		}
	})
}

func TestForgedPositionsAreRefused(t *testing.T) {
	_, _, v := newVault(t, Production)
	_, _, foreign := newVault(t, Production)
	context := []byte("client 1, individuals")
	token := v.SealPosition(context, []byte("4711"))
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func([]byte) []byte) string {
		return base64.RawURLEncoding.EncodeToString(change(append([]byte{}, raw...)))
	}
	for name, forged := range map[string]string{
		"empty":              "",
		"not base64":         "%%%",
		"nothing inside":     base64.RawURLEncoding.EncodeToString([]byte{1}),
		"version 0":          with(func(b []byte) []byte { b[0] = 0; return b }),
		"version to come":    with(func(b []byte) []byte { b[0] = 2; return b }),
		"nonce changed":      with(func(b []byte) []byte { b[1] ^= 1; return b }),
		"position changed":   with(func(b []byte) []byte { b[14] ^= 1; return b }),
		"tag changed":        with(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"shortened":          with(func(b []byte) []byte { return b[:len(b)-1] }),
		"lengthened":         with(func(b []byte) []byte { return append(b, 0) }),
		"line end inside":    token[:4] + "\n" + token[4:],
		"line end behind":    token + "\r\n",
		"padded":             token + "=",
		"standard alphabet":  strings.Repeat("+/", 40),
		"of another country": foreign.SealPosition(context, []byte("4711")),
		"of another client":  v.SealPosition([]byte("client 2, individuals"), []byte("4711")),
		"of another dataset": v.SealPosition([]byte("client 1, households"), []byte("4711")),
		"the position alone": base64.RawURLEncoding.EncodeToString([]byte("\x014711")),
	} {
		if _, ok := v.OpenPosition(context, forged); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A cursor from before a rotation is read after it, until its key is destroyed.
func TestPositionsSurviveRotation(t *testing.T) {
	dir, keys, old := newVault(t, Production)
	token := old.SealPosition(nil, []byte("4711"))
	if _, err := old.add(classPosition.label, 2); err != nil {
		t.Fatal(err)
	}
	rotated, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if position, ok := rotated.OpenPosition(nil, token); !ok || string(position) != "4711" {
		t.Error("a cursor from before the rotation cannot be read")
	}
	if position, ok := rotated.OpenPosition(nil, rotated.SealPosition(nil, []byte("4712"))); !ok || string(position) != "4712" {
		t.Error("a cursor from after the rotation cannot be read")
	}
	delete(keys.secrets[classPosition.label], 1)
	destroyed, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := destroyed.OpenPosition(nil, token); ok {
		t.Error("a cursor outlived its key")
	}
}

func FuzzOpenPosition(f *testing.F) {
	_, _, v := newVaultForFuzz(f)
	f.Add(v.SealPosition([]byte("context"), []byte("position")))
	f.Fuzz(func(t *testing.T, token string) {
		if _, ok := v.OpenPosition([]byte("another context"), token); ok {
			t.Error("a forged token opened")
		}
	})
}
