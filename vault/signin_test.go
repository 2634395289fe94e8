package vault

import (
	"bytes"
	"testing"

	"github.com/annona-exchange/annona"
)

func TestFactorsOpenForTheirOwnerOnly(t *testing.T) {
	_, _, v := newVault(t, Production)
	user, factor := annona.NewUID(), annona.NewUID()
	sealed := v.SealFactor(user, factor, []byte("secret"))
	if got, ok := v.OpenFactor(user, factor, sealed); !ok || string(got) != "secret" {
		t.Fatalf("got %q, %t", got, ok)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("it is not sealed")
	}
	for name, open := range map[string]func() ([]byte, bool){
		"another user":   func() ([]byte, bool) { return v.OpenFactor(annona.NewUID(), factor, sealed) },
		"another factor": func() ([]byte, bool) { return v.OpenFactor(user, annona.NewUID(), sealed) },
		"cut":            func() ([]byte, bool) { return v.OpenFactor(user, factor, sealed[:len(sealed)-1]) },
		"nothing":        func() ([]byte, bool) { return v.OpenFactor(user, factor, nil) },
		"no key":         func() ([]byte, bool) { return v.OpenFactor(user, factor, append([]byte{9}, sealed[1:]...)) },
		"a sign-in": func() ([]byte, bool) {
			raw, _ := tokenEncoding.DecodeString(v.SealSignIn(string(user[:]), []byte("secret")))
			return v.OpenFactor(user, factor, raw)
		},
	} {
		if got, ok := open(); ok {
			t.Errorf("%s: opens as %q", name, got)
		}
	}
}

func TestASignInOpensInItsContext(t *testing.T) {
	_, _, v := newVault(t, Production)
	text := v.SealSignIn("passkey", []byte("state"))
	if got, ok := v.OpenSignIn("passkey", text); !ok || string(got) != "state" {
		t.Fatalf("got %q, %t", got, ok)
	}
	for name, wrong := range map[string][2]string{
		"context": {"invitation", text}, "cut": {"passkey", text[1:]}, "nothing": {"passkey", ""}, "no text": {"passkey", "!"},
	} {
		if got, ok := v.OpenSignIn(wrong[0], wrong[1]); ok {
			t.Errorf("%s: opens as %q", name, got)
		}
	}
}
