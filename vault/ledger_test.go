package vault

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
)

func entryOf(text string) annona.LedgerRow {
	return annona.LedgerRow{ID: annona.NewUID(), Parts: []annona.LedgerPart{
		{Name: "facts", Salt: [32]byte{1}, Content: []byte(text)},
		{Name: "subjects.0", Salt: [32]byte{2}, Content: []byte(text), Noun: "individual", Min: 7, Max: 7},
	}}
}

func TestSealedEntryOpensAsItWas(t *testing.T) {
	_, _, v := newVault(t, Production)
	row := entryOf("what was said")
	sealed := v.SealEntry(row)
	for i, p := range sealed.Parts {
		if p.Salt != [32]byte{} || p.Content != nil || strings.Contains(string(p.Sealed), "said") {
			t.Errorf("part %d lies in clear", i)
		}
	}
	if sealed.Parts[1].Min != 7 || string(row.Parts[0].Content) != "what was said" {
		t.Error("sealing changed what lies beside, or the row that it was given")
	}
	opened, err := v.OpenEntry(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range opened.Parts {
		if p.Salt != row.Parts[i].Salt || string(p.Content) != string(row.Parts[i].Content) || p.Sealed != nil {
			t.Errorf("part %d came back as %+v", i, p)
		}
	}
	if again := v.SealEntry(row); string(again.Parts[0].Sealed) == string(sealed.Parts[0].Sealed) {
		t.Error("the same content is sealed alike twice")
	}
}

func TestAPartOpensNowhereElse(t *testing.T) {
	_, _, v := newVault(t, Production)
	_, _, stranger := newVault(t, Production)
	one, two := v.SealEntry(entryOf("one")), v.SealEntry(entryOf("two"))
	sealed := one.Parts[0].Sealed
	attempts := map[string]annona.LedgerRow{
		"of another entry":        {ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts", Sealed: two.Parts[0].Sealed}}},
		"of another part":         {ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts", Sealed: one.Parts[1].Sealed}}},
		"of another installation": {ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts", Sealed: stranger.SealEntry(entryOf("x")).Parts[0].Sealed}}},
		"of a later version":      {ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts", Sealed: append([]byte{9}, sealed[1:]...)}}},
		"cut off":                 {ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts", Sealed: sealed[:20]}}},
		"empty":                   {ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts"}}},
	}
	for i := range sealed {
		flipped := append([]byte(nil), sealed...)
		flipped[i] ^= 1
		attempts["flipped at "+string(rune('0'+i%10))+strings.Repeat("+", i/10)] = annona.LedgerRow{ID: one.ID, Parts: []annona.LedgerPart{{Name: "facts", Sealed: flipped}}}
	}
	for name, row := range attempts {
		if _, err := v.OpenEntry(row); annona.CodeOf(err) != "part_unopened" {
			t.Errorf("a part %s: %v", name, err)
		}
	}
}

// What another process has sealed with a newer key opens here, and what was sealed before opens there.
func TestLedgerKeyRotates(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	before := v.SealEntry(entryOf("before"))
	other, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.add(classLedger.label, 2); err != nil {
		t.Fatal(err)
	}
	if err := other.Refresh(); err != nil {
		t.Fatal(err)
	}
	after := other.SealEntry(entryOf("after"))
	if after.Parts[0].Sealed[0] != 2 {
		t.Errorf("sealed with version %d", after.Parts[0].Sealed[0])
	}
	for _, each := range []*Vault{v, other} {
		for _, row := range []annona.LedgerRow{before, after} {
			if _, err := each.OpenEntry(row); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCheckpointsAreSignedNotes(t *testing.T) {
	_, _, v := newVault(t, Production)
	_, _, other := newVault(t, Production)
	text := v.LedgerOrigin() + "\n1\nroot\n"
	for _, foreign := range []string{"", "1\n", other.LedgerOrigin() + "\n1\nroot\n", v.LedgerOrigin() + "0\n1\nroot\n"} {
		if _, err := v.SignCheckpoint(foreign); err == nil {
			t.Errorf("a text that is none of this ledger was signed: %q", foreign)
		}
	}
	signed, err := v.SignCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.RotateCheckpointKey(); err != nil {
		t.Fatal(err)
	}
	later, err := v.SignCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := v.CheckpointKeys()
	if err != nil || len(keys) != 2 {
		t.Fatalf("%v, %v", keys, err)
	}
	foreign, err := other.CheckpointKeys()
	if err != nil {
		t.Fatal(err)
	}
	opens := func(signed, key string) bool {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = note.Open([]byte(signed), note.VerifierList(verifier))
		return err == nil
	}
	if !opens(signed, keys[0]) || opens(signed, keys[1]) || !opens(later, keys[1]) || opens(later, keys[0]) || opens(signed, foreign[0]) {
		t.Error("a checkpoint opens with the key that signed it, and with no other")
	}
}
