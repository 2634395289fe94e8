package vault

import "testing"

func TestDrills(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	if at, err := v.Drilled(); err != nil || !at.IsZero() {
		t.Errorf("before: %v, %v", at, err)
	}
	for _, wrong := range []string{"", "x", "AAAA", mustDrillProof(t)} {
		wantCode(t, v.RecordDrill(wrong), "drill_proof")
	}
	secret := newRecovery(t, v)
	elsewhere, err := Recover(Installation{Folder: t.TempDir(), Keys: copyOf(keys)}, secret)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.RecordDrill(elsewhere.DrillProof() + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if at, err := reopen(t, dir, keys).Drilled(); err != nil || at.IsZero() || v.clock().Sub(at).Hours() > 1 {
		t.Errorf("after: %v, %v", at, err)
	}
	if len(keys.secrets["drill"]) != 1 {
		t.Error("former drills stay on file")
	}
}

// mustDrillProof returns a proof of another registry.
func mustDrillProof(t *testing.T) string {
	t.Helper()
	_, _, other := newVault(t, Production)
	return other.DrillProof()
}
