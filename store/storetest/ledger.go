package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
)

// entry makes a ledger entry as package audit would: a leaf and its hash.
func entry(kind annona.EntryKind, request annona.UID) annona.LedgerRow {
	id := annona.NewUID()
	leaf := append([]byte(kind), id[:]...)
	return annona.LedgerRow{
		ID: id, At: Clock(), Kind: kind, Leaf: leaf, Hash: sha256.Sum256(append([]byte{0}, leaf...)), Request: request,
		Parts: []annona.LedgerPart{{Name: "facts", Salt: [32]byte{1}, Content: []byte("facts")}, {Name: "subjects.0", Noun: "individual", Min: 1, Max: 9}},
	}
}

// rootOf computes the root of a tree from its leaves' hashes, straight from RFC 6962.
func rootOf(hashes [][32]byte) [32]byte {
	switch n := len(hashes); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return hashes[0]
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1)
		left, right := rootOf(hashes[:k]), rootOf(hashes[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	}
}

// checkTree walks the ledger and compares the store's tree with one computed from its rows.
func (r *registry) checkTree(want int) []annona.LedgerRow {
	r.t.Helper()
	var rows []annona.LedgerRow
	var hashes [][32]byte
	err := r.WalkLedger(r.ctx, func(row annona.LedgerRow) error {
		if row.Index != int64(len(rows)) {
			return fmt.Errorf("entry %d has index %d", len(rows), row.Index)
		}
		rows, hashes = append(rows, row), append(hashes, row.Hash)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	size, root, err := r.LedgerTree(r.ctx)
	if err != nil || size != int64(want) || len(rows) != want || root != rootOf(hashes) {
		r.t.Fatalf("tree of %d, walked %d, want %d, %v; the root agrees: %v", size, len(rows), want, err, root == rootOf(hashes))
	}
	return rows
}

func testLedger(t *testing.T, r *registry) {
	r.checkTree(0)
	open, done := annona.NewUID(), annona.NewUID()
	first := entry(annona.EntryRelease, open)
	if err := r.Append(r.ctx, first, entry(annona.EntryRelease, done), entry(annona.EntryOutcome, done)); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		r.checkTree(3 + i)
		if err := r.Append(r.ctx, entry(annona.EntryRelease, open)); err != nil {
			t.Fatal(err)
		}
	}
	got := r.checkTree(23)[0]
	if got.ID != first.ID || !got.At.Equal(first.At) || got.Kind != first.Kind || string(got.Leaf) != string(first.Leaf) || got.Request != open {
		t.Errorf("an entry came back changed: %+v", got)
	}
	if len(got.Parts) != 2 || got.Parts[0].Salt != first.Parts[0].Salt || string(got.Parts[0].Content) != "facts" || got.Parts[1].Max != 9 || got.Parts[1].Noun != "individual" {
		t.Errorf("its parts came back changed: %+v", got.Parts)
	}
	if requests, err := r.OpenRequests(r.ctx); err != nil || !slices.Equal(requests, []annona.UID{open}) {
		t.Errorf("open requests: %v, %v", requests, err)
	}
	forged := entry(annona.EntryRelease, open)
	forged.Hash[0]++
	if err := r.Append(r.ctx, forged); err == nil {
		t.Error("an entry whose hash is not its leaf's was taken")
	}
	stop := errors.New("stop")
	if err := r.WalkLedger(r.ctx, func(annona.LedgerRow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the walk does not stop: %v", err)
	}
	r.checkTree(23)
}

func testLedgerConcurrent(t *testing.T, r *registry) {
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				var err error
				if w == 0 && i%5 == 0 {
					err = r.Update(r.ctx, func(tx annona.Tx) error { return tx.AppendEntry(r.ctx, entry(annona.EntryChange, annona.NewUID())) })
				} else {
					err = r.Append(r.ctx, entry(annona.EntryRelease, annona.NewUID()))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.checkTree(writers * each)
}
