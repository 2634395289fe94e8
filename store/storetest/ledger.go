package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// entry makes a ledger entry as package audit would: a leaf and its hash.
func entry(kind annona.EntryKind, request annona.UID) annona.LedgerRow {
	id := annona.NewUID()
	leaf := append([]byte(kind), id[:]...)
	return annona.LedgerRow{
		ID: id, At: Clock(), Kind: kind, Leaf: leaf, Hash: sha256.Sum256(append([]byte{0}, leaf...)), Request: request,
		Parts: []annona.LedgerPart{{Name: "facts", Sealed: []byte("facts")}, {Name: "subjects.0", Sealed: []byte{1}, Noun: "individual", Reach: 4, Min: 1, Max: 9}},
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

// testLater appends entries that nobody waits for: by a commit that others begin, by one of their
// own, and not at all.
func testLater(t *testing.T, r *registry) {
	const several = 5
	var waiting sync.WaitGroup
	for range several {
		waiting.Go(func() {
			if err := r.AppendLater(r.ctx, entry(annona.EntryOutcome, annona.NewUID())); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(5 * time.Millisecond)
	if err := r.Append(r.ctx, entry(annona.EntryRelease, annona.NewUID())); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	r.checkTree(several + 1)
	if err := r.AppendLater(r.ctx, entry(annona.EntryOutcome, annona.NewUID())); err != nil {
		t.Fatal(err)
	}
	r.checkTree(several + 2)
	gone, cancel := context.WithCancel(r.ctx)
	cancel()
	if err := r.AppendLater(gone, entry(annona.EntryOutcome, annona.NewUID())); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
	open := entry(annona.EntryOutcome, annona.NewUID())
	open.Parts[0] = annona.LedgerPart{Name: "facts", Content: []byte("facts")}
	if err := r.AppendLater(r.ctx, open); err == nil {
		t.Error("an entry with a clear part was taken")
	}
	r.checkTree(several + 2)
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
	if len(got.Parts) != 2 || got.Parts[0].Noun != "" || string(got.Parts[0].Sealed) != "facts" || got.Parts[1].Max != 9 || got.Parts[1].Reach != 4 || got.Parts[1].Noun != "individual" {
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
	for name, open := range map[string]func(*annona.LedgerPart){
		"a clear salt":    func(p *annona.LedgerPart) { p.Salt[31] = 1 },
		"clear content":   func(p *annona.LedgerPart) { p.Content = []byte{1} },
		"nothing sealed":  func(p *annona.LedgerPart) { p.Sealed = nil },
		"all of it clear": func(p *annona.LedgerPart) { p.Sealed, p.Salt, p.Content = nil, [32]byte{1}, []byte{1} },
	} {
		row := entry(annona.EntryRelease, annona.NewUID())
		open(&row.Parts[1])
		if err := r.Append(r.ctx, row); err == nil {
			t.Errorf("an entry with %s was taken", name)
		}
		if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.AppendEntry(r.ctx, row) }); err == nil {
			t.Errorf("an entry with %s was taken in a transaction", name)
		}
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

// testLedgerIndex finds entries without a walk.
func testLedgerIndex(t *testing.T, r *registry) {
	const last = 1 << 40
	type set struct{ min, max annona.Number }
	var rows []annona.LedgerRow
	for _, s := range []set{{1, 1}, {1, last}, {1, 8192}, {8193, 16384}, {8192, 8193}, {5000, 5000}, {4999, 5001}, {5001, 13000}, {last, last}, {2, 1 << 62}} {
		row := entry(annona.EntryRelease, annona.NewUID())
		row.Parts[1].Min, row.Parts[1].Max, row.Parts[1].Reach = s.min, s.max, bits.Len64(uint64(s.max-s.min))
		other := row.Parts[1]
		other.Name, other.Noun = "subjects.1", "household"
		again := row.Parts[1]
		again.Name, again.Min, again.Max, again.Reach = "subjects.2", 5000, 5000, 0
		if s.min == 4999 { // found twice, told once
			row.Parts = append(row.Parts, again)
		}
		if s.min == 8193 {
			row.Parts[1] = other
		}
		rows = append(rows, row)
	}
	change := entry(annona.EntryChange, annona.NewUID())
	change.Parts[1].Min, change.Parts[1].Max, change.Parts[1].Reach = 1, last, 40
	if err := r.Append(r.ctx, append(rows, change)...); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[annona.Number][]int64{
		0: nil, 1: {0, 1, 2}, 2: {1, 2, 9}, 5000: {1, 2, 5, 6, 9}, 5001: {1, 2, 6, 7, 9}, 8192: {1, 2, 4, 7, 9}, 8193: {1, 4, 7, 9}, 16384: {1, 9},
		last: {1, 8, 9}, last + 1: {9}, 1 << 62: {9}, 1<<62 + 1: nil,
	} {
		var got []int64
		if err := r.EntriesAbout(r.ctx, "individual", number, func(row annona.LedgerRow) error {
			got = append(got, row.Index)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("entries about number %d: %v, want %v", number, got, want)
		}
	}
	stop := errors.New("stop")
	if err := r.EntriesAbout(r.ctx, "household", 9000, func(annona.LedgerRow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the search does not stop: %v", err)
	}
}

// testLedgerRequests finds the entries and outcomes of requests.
func testLedgerRequests(t *testing.T, r *registry) {
	one, two, none := annona.NewUID(), annona.NewUID(), annona.NewUID()
	if err := r.Append(r.ctx, entry(annona.EntryRelease, one), entry(annona.EntryRelease, two), entry(annona.EntryRelease, one),
		entry(annona.EntryOutcome, one), entry(annona.EntryOutcome, two), entry(annona.EntryOutcome, two)); err != nil {
		t.Fatal(err)
	}
	indexes := func(rows []annona.LedgerRow, err error) (all []int64) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			all = append(all, row.Index)
		}
		return all
	}
	for _, c := range []struct {
		got, want []int64
	}{
		{indexes(r.EntriesOf(r.ctx, one, -1, 10)), []int64{0, 2, 3}},
		{indexes(r.EntriesOf(r.ctx, one, -1, 2)), []int64{0, 2}},
		{indexes(r.EntriesOf(r.ctx, one, 0, 2)), []int64{2, 3}},
		{indexes(r.EntriesOf(r.ctx, none, -1, 2)), nil},
		{indexes(r.Outcomes(r.ctx, []annona.UID{one, none, two})), []int64{3, 4, 5}},
		{indexes(r.Outcomes(r.ctx, nil)), nil},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("found %v, want %v", c.got, c.want)
		}
	}
}

// testFieldLists keeps each list of fields once.
func testFieldLists(t *testing.T, r *registry) {
	list := func(content string) annona.FieldList {
		return annona.FieldList{Hash: sha256.Sum256([]byte(content)), Content: []byte(content)}
	}
	naming := func(lists ...string) annona.LedgerRow {
		row := entry(annona.EntryRelease, annona.NewUID())
		for _, l := range lists {
			row.Lists = append(row.Lists, list(l))
		}
		return row
	}
	for range 2 {
		if err := r.Append(r.ctx, naming("a", "b"), naming("a", "b"), naming("b", "c")); err != nil {
			t.Fatal(err)
		}
		if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.AppendEntry(r.ctx, naming("b", "c"), naming("a")) }); err != nil {
			t.Fatal(err)
		}
	}
	for content, want := range map[string]string{"a": "a", "b": "b", "c": "c", "d": ""} {
		if got, err := r.FieldList(r.ctx, sha256.Sum256([]byte(content))); err != nil || string(got) != want {
			t.Errorf("the list %q is %q, %v", content, got, err)
		}
	}
}

// testCheckpoints keeps checkpoints of growing sizes only.
func testCheckpoints(t *testing.T, r *registry) {
	if c, err := r.LatestCheckpoint(r.ctx); err != nil || c != nil {
		t.Fatalf("a new ledger has the checkpoint %v, %v", c, err)
	}
	put := func(size int64) bool {
		kept, err := r.PutCheckpoint(r.ctx, annona.Checkpoint{Size: size, Root: [32]byte{byte(size)}, At: Clock(), Note: fmt.Sprint("note ", size)})
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	if !put(3) || put(3) || put(2) || !put(7) || !put(9) {
		t.Error("checkpoints are kept when, and only when, they are of a greater size")
	}
	latest, err := r.LatestCheckpoint(r.ctx)
	if err != nil || latest.Size != 9 || latest.Root != [32]byte{9} || latest.Note != "note 9" || !latest.At.Equal(Clock()) {
		t.Errorf("the latest checkpoint is %+v, %v", latest, err)
	}
	some, err := r.CheckpointsAfter(r.ctx, 3, 10)
	if err != nil || len(some) != 2 || some[0].Size != 7 || some[1].Size != 9 {
		t.Errorf("behind 3 there are %+v, %v", some, err)
	}
	if some, err = r.CheckpointsAfter(r.ctx, 0, 2); err != nil || len(some) != 2 || some[0].Size != 3 {
		t.Errorf("the first two are %+v, %v", some, err)
	}
	var kept atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if ok, err := r.PutCheckpoint(r.ctx, annona.Checkpoint{Size: 20, At: Clock(), Note: "note"}); err != nil {
				t.Error(err)
			} else if ok {
				kept.Add(1)
			}
		})
	}
	if wg.Wait(); kept.Load() != 1 {
		t.Errorf("%d signers at once were kept", kept.Load())
	}
}

// testLedgerPrune deletes content below a bound and nothing else.
func testLedgerPrune(t *testing.T, r *registry) {
	const entries = 30
	for i := range entries {
		row := entry(annona.EntryRelease, annona.NewUID())
		row.At = Clock().Add(time.Duration(i) * time.Hour)
		if err := r.Append(r.ctx, row); err != nil {
			t.Fatal(err)
		}
	}
	for hours, want := range map[int]int64{-1: 0, 0: 0, 7: 7, 29: 29, 30: entries} {
		if got, err := r.FirstEntryAt(r.ctx, Clock().Add(time.Duration(hours)*time.Hour)); err != nil || got != want {
			t.Errorf("the first entry of hour %d is %d, %v", hours, got, err)
		}
	}
	for _, c := range []struct{ below, want int64 }{{0, 0}, {7, 7}, {7, 0}, {12, 5}} {
		if got, err := r.PruneLedger(r.ctx, c.below); err != nil || got != c.want {
			t.Errorf("pruning below %d changed %d entries, %v", c.below, got, err)
		}
	}
	for i, row := range r.checkTree(entries) {
		if (len(row.Parts) == 0) != (i < 12) {
			t.Errorf("entry %d has %d parts", i, len(row.Parts))
		}
	}
}
