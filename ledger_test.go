package annona_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// TestPartsLieInOnePiece packs parts of an entry and reads them back; a piece that somebody has changed comes as one part
// that nothing opens, never as some of them.
func TestPartsLieInOnePiece(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.Custom(func(t *rapid.T) annona.LedgerPart {
			p := annona.LedgerPart{Name: rapid.StringN(1, 20, -1).Draw(t, "name"), Sealed: rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "sealed")}
			if rapid.Bool().Draw(t, "is a set") {
				p.Noun, p.Reach = rapid.SampledFrom([]string{"individual", "household"}).Draw(t, "noun"), rapid.IntRange(0, 63).Draw(t, "reach")
				p.Min = annona.Number(rapid.Int64Min(1).Draw(t, "min"))
				p.Max = annona.Number(rapid.Int64Min(int64(p.Min)).Draw(t, "max"))
			}
			return p
		})
		parts := rapid.SliceOfN(part, 0, 5).Draw(t, "parts")
		packed := annona.AppendParts([]byte("before"), parts)[len("before"):]
		if got := annona.ParseParts(packed); !slices.EqualFunc(got, parts, equalParts) {
			t.Fatalf("%+v came back as %+v", parts, got)
		}
		if len(packed) == 0 {
			return
		}
		cut := packed[:rapid.IntRange(1, len(packed)).Draw(t, "cut")]
		got := annona.ParseParts(cut)
		whole := len(got) <= len(parts) && slices.EqualFunc(got, parts[:len(got)], equalParts) && bytes.Equal(annona.AppendParts(nil, got), cut)
		if nameless := slices.ContainsFunc(got, func(p annona.LedgerPart) bool { return p.Name == "" }); !whole && !nameless {
			t.Fatalf("%d of %d bytes are read as %+v", len(cut), len(packed), got)
		}
	})
}

// A noun that is no text was put there by somebody.
func TestPartsOfANounThatIsNoText(t *testing.T) {
	for _, noun := range []string{"\xff", "individual\x00"} {
		packed := annona.AppendParts(nil, []annona.LedgerPart{{Name: "facts", Sealed: []byte{1}}, {Name: "subjects.0", Noun: noun, Sealed: []byte{2}}})
		if got := annona.ParseParts(packed); len(got) != 2 || got[1].Name != "" || got[1].Noun != "" || !bytes.Equal(got[1].Sealed, packed) {
			t.Errorf("%q is read as %+v", noun, got)
		}
	}
}

func equalParts(a, b annona.LedgerPart) bool {
	return a.Name == b.Name && bytes.Equal(a.Sealed, b.Sealed) && a.Noun == b.Noun && a.Reach == b.Reach && a.Min == b.Min && a.Max == b.Max
}

// FuzzParseParts: whatever lies in a store is read, and what is read without a doubt is what was written.
func FuzzParseParts(f *testing.F) {
	f.Add(annona.AppendParts(nil, []annona.LedgerPart{{Name: "facts", Sealed: []byte("sealed")}, {Name: "subjects.0", Sealed: []byte{1}, Noun: "individual", Reach: 3, Min: 5, Max: 11}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 'a', 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, packed []byte) {
		parts := annona.ParseParts(packed)
		if len(packed) > 0 && len(parts) == 0 {
			t.Fatal("something was read as nothing")
		}
		if slices.ContainsFunc(parts, func(p annona.LedgerPart) bool { return p.Name == "" }) {
			return
		}
		if again := annona.ParseParts(annona.AppendParts(nil, parts)); !slices.EqualFunc(again, parts, equalParts) {
			t.Fatalf("%+v came back as %+v", parts, again)
		}
	})
}

// TestNodesComeInTheirPlaces grows a tree: each node has the place behind the one before, and the number of places tells
// the size, also when some nodes of the last leaf are missing.
func TestNodesComeInTheirPlaces(t *testing.T) {
	tree := (&compact.RangeFactory{Hash: func(l, r []byte) []byte { return l }}).NewEmptyRange(0)
	next := int64(0)
	for size := int64(1); size <= 3000; size++ {
		before := next
		check := func(id compact.NodeID, _ []byte) {
			if place := (annona.TreeNode{Level: int64(id.Level), Index: int64(id.Index)}).Place(); place != next {
				t.Fatalf("node %d of level %d has place %d, not %d", id.Index, id.Level, place, next)
			}
			next++
		}
		if err := tree.Append([]byte("leaf"), check); err != nil {
			t.Fatal(err)
		}
		for nodes := before + 1; nodes <= next; nodes++ {
			if got := annona.TreeSize(nodes); got != size {
				t.Fatalf("%d nodes are of a tree of %d leaves, not %d", nodes, got, size)
			}
		}
	}
	if got := annona.TreeSize(0); got != 0 {
		t.Errorf("an empty tree has %d leaves", got)
	}
	if place := (annona.TreeNode{Level: 61}).Place(); place != 1<<62-2 {
		t.Errorf("the greatest tree's root has place %d", place)
	}
}
