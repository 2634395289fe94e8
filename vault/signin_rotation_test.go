package vault

import (
	"encoding/binary"
	"testing"

	"github.com/annona-exchange/annona"
)

// The keys of signing in rotate while several nodes serve: each opens what another has sealed by a newer key
// or by the one before, and a key is gone with the second rotation.
func TestSignInKeysRotate(t *testing.T) {
	now := newClock()
	folder, keys, node := newVaultAt(t, now)
	other, err := Open(Installation{Folder: folder, Keys: keys, Clock: now.now})
	if err != nil {
		t.Fatal(err)
	}
	user, factor := annona.NewUID(), annona.NewUID()
	opens := func(what string, v *Vault, sealed []byte, text string, want bool) {
		t.Helper()
		message, ok := v.OpenFactor(user, factor, sealed)
		state, known := v.OpenSignIn("device", text)
		if ok != want || known != want || want && (string(message) != "secret" || string(state) != "state") {
			t.Errorf("%s: opens %v and %v, want %v", what, ok, known, want)
		}
	}
	rotate := func() {
		t.Helper()
		for _, class := range []string{"factor", "sign-in"} {
			if _, err := node.RotateClass(class); err != nil {
				t.Fatal(err)
			}
			if err := node.DestroyClass(class); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, device := node.SealFactor(user, factor, []byte("secret")), node.SealSignIn("device", []byte("state"))
	rotate()
	second, later := node.SealFactor(user, factor, []byte("secret")), node.SealSignIn("device", []byte("state"))
	if version, _ := binary.Uvarint(second); version != 2 {
		t.Fatalf("after a rotation it is sealed by version %d", version)
	}
	opens("what lies there from before", node, first, device, true)
	opens("what another node has sealed by the newer key", other, second, later, true)
	stale, known := other.SealFactor(user, factor, []byte("secret")), other.SealSignIn("device", []byte("state"))
	_, err = node.RotateClass("factor")
	wantCode(t, err, "rotation_early")
	now.pass(0.1)
	rotate()
	opens("what a node seals that has taken over one rotation", node, stale, known, true)
	opens("what was sealed two rotations ago", node, first, device, false)

	anew, ok := node.SealFactorAnew(user, factor, second)
	if version, _ := binary.Uvarint(anew); !ok || version != 3 {
		t.Errorf("sealed anew by version %d, %v", version, ok)
	}
	opens("what was sealed anew", node, anew, node.SealSignIn("device", []byte("state")), true)
	if again, ok := node.SealFactorAnew(user, factor, anew); !ok || again != nil {
		t.Errorf("what is sealed by the latest key is sealed again: %d bytes, %v", len(again), ok)
	}
	if _, ok := node.SealFactorAnew(user, annona.NewUID(), anew); ok {
		t.Error("what is sealed for another factor is sealed anew")
	}
}

// Browsers show what they like: the keys on file are looked at once a second, not once for each.
func TestMadeUpVersionsCostNothing(t *testing.T) {
	now := newClock()
	_, keys, v := newVaultAt(t, now)
	looks := keys.reads
	for n := range 1000 {
		v.OpenSignIn("device", tokenEncoding.EncodeToString(append(binary.AppendUvarint(nil, uint64(n+2)), make([]byte, 40)...)))
	}
	once := keys.reads - looks
	if once == 0 || once > 100 {
		t.Errorf("1000 versions that were made up cost %d looks at the keys on file", once)
	}
	now.pass(1)
	v.OpenSignIn("device", tokenEncoding.EncodeToString(append(binary.AppendUvarint(nil, 7), make([]byte, 40)...)))
	if keys.reads-looks != 2*once {
		t.Errorf("a day later they are not looked at again")
	}
}
