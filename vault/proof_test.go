package vault

import (
	"bytes"
	"testing"
	"time"
)

func TestProofs(t *testing.T) {
	_, _, v := newVault(t, Production)
	proof := v.Proof(ProofBackup, []byte("content"))
	if len(proof) != 32 || !bytes.Equal(proof, v.Proof(ProofBackup, []byte("content"))) {
		t.Error("a proof has 256 bits and is always the same")
	}
	_, _, other := newVault(t, Production)
	for name, changed := range map[string][]byte{
		"another use": v.Proof("drill", []byte("content")), "another content": v.Proof(ProofBackup, []byte("Content")),
		"another installation": other.Proof(ProofBackup, []byte("content")),
	} {
		if bytes.Equal(proof, changed) {
			t.Errorf("%s has the same proof", name)
		}
	}
}

func TestTombstonesAreSealed(t *testing.T) {
	_, _, v := newVault(t, Production)
	_, _, other := newVault(t, Production)
	sealed := v.SealTombstone([]byte("somebody"))
	if bytes.Contains(sealed, []byte("somebody")) || bytes.Equal(sealed, v.SealTombstone([]byte("somebody"))) {
		t.Error("it is not sealed, or always the same")
	}
	if text, ours := v.OpenTombstone(sealed); !ours || string(text) != "somebody" {
		t.Errorf("%q", text)
	}
	if _, ours := other.OpenTombstone(sealed); ours {
		t.Error("another installation opens it")
	}
	for n := range sealed {
		changed := bytes.Clone(sealed)
		changed[n] ^= 1
		if _, ours := v.OpenTombstone(changed); ours {
			t.Fatalf("it opens although byte %d was changed", n)
		}
	}
	if _, ours := v.OpenTombstone(nil); ours {
		t.Error("nothing opens")
	}
}

func TestMilestones(t *testing.T) {
	_, _, v := newVault(t, Production)
	if at, err := v.Remembered(MilestoneKeyCopy); err != nil || !at.IsZero() {
		t.Errorf("before anything: %v, %v", at, err)
	}
	first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for n := range 3 {
		if err := v.Remember(MilestoneKeyCopy, first.AddDate(0, n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if at, err := v.Remembered(MilestoneKeyCopy); err != nil || !at.Equal(first.AddDate(0, 2, 0)) {
		t.Errorf("%v, %v", at, err)
	}
	if at, err := v.Remembered(MilestoneBackup); err != nil || !at.IsZero() {
		t.Errorf("another milestone: %v, %v", at, err)
	}
	all, err := v.keys.List()
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, s := range all {
		if s.Label == string(MilestoneKeyCopy) {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("%d drills are kept, want the last", kept)
	}
}
