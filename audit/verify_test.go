package audit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// keptLedger is a ledger in memory. Its tree is that of the moment when it was last grown, so
// whoever changes rows afterwards leaves it behind.
type keptLedger struct {
	rows  []annona.LedgerRow
	size  int64
	root  [32]byte
	trees int
	// appends, when set, is called before the second reading of the tree.
	appends   func(*keptLedger)
	signed    []annona.Checkpoint
	listsGone bool
}

func (k *keptLedger) WalkLedger(_ context.Context, fn func(annona.LedgerRow) error) error {
	for _, row := range k.rows {
		if err := fn(row); err != nil {
			return err
		}
	}
	return nil
}

func (k *keptLedger) LedgerTree(context.Context) (int64, [32]byte, error) {
	if k.trees++; k.trees == 2 && k.appends != nil {
		k.appends(k)
	}
	if k.size == 0 {
		return 0, [32]byte(rfc6962.DefaultHasher.EmptyRoot()), nil
	}
	return k.size, k.root, nil
}

func (k *keptLedger) OpenRequests(context.Context) ([]annona.UID, error) { return nil, nil }

// A keptLedger is its own vault, and keeps nothing sealed.
func (k *keptLedger) SealEntry(row annona.LedgerRow) annona.LedgerRow          { return row }
func (k *keptLedger) OpenEntry(row annona.LedgerRow) (annona.LedgerRow, error) { return row, nil }

func (k *keptLedger) FieldList(_ context.Context, h [32]byte) ([]byte, error) {
	for _, row := range k.rows {
		for _, list := range row.Lists {
			if list.Hash == h && !k.listsGone {
				return list.Content, nil
			}
		}
	}
	return nil, nil
}

func (k *keptLedger) TreeNodes(context.Context, []annona.TreeNode) ([][]byte, error) {
	return nil, errors.New("nobody asks for nodes here")
}

func (k *keptLedger) LatestCheckpoint(context.Context) (*annona.Checkpoint, error) { return nil, nil }
func (k *keptLedger) PutCheckpoint(context.Context, annona.Checkpoint) (bool, error) {
	return false, nil
}
func (k *keptLedger) CheckpointsAfter(_ context.Context, size int64, _ int) (after []annona.Checkpoint, err error) {
	for _, c := range k.signed {
		if c.Size > size {
			after = append(after, c)
		}
	}
	return after, nil
}

// grow appends rows as a store does.
func (k *keptLedger) grow(rows ...annona.LedgerRow) {
	for _, row := range rows {
		row.Index = int64(len(k.rows))
		k.rows = append(k.rows, row)
	}
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, row := range k.rows {
		if err := tree.Append(row.Hash[:], nil); err != nil {
			panic(err)
		}
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		panic(err)
	}
	k.size, k.root = int64(len(k.rows)), [32]byte(root)
}

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.UTC)
	somebody = annona.Caller{Client: fixedUID(1), Agreement: "eligibility", Strength: annona.StrengthAPIKey}
)

// sevenEntries is a ledger of three requests, one of them still open.
func sevenEntries() *keptLedger {
	people := []Subjects{
		{Noun: "individual", Fields: []string{"sex", "full_name"}, Numbers: numbers(span{1, 99, 1})},
		{Noun: "household", Fields: []string{"area"}, Numbers: numbers(span{7, 50, 3})},
	}
	facts := Facts{Verb: annona.VerbExport, Dataset: "individuals", Page: 1, Rows: 99}
	k := &keptLedger{}
	k.grow(
		Administration(noon, fixedUID(9), Facts{Verb: annona.VerbCreateKey}, somebody),
		Release(noon, fixedUID(10), facts, "", somebody, people),
		Release(noon, fixedUID(10), facts, "individual.sex == \"female\"", somebody, people),
		Release(noon, fixedUID(11), facts, "", somebody, people),
		Outcome(noon, fixedUID(10), Facts{Outcome: Complete, Pages: 2, Rows: 198}, somebody),
		Change(noon, fixedUID(12), Facts{Verb: annona.VerbImport}, somebody, nil),
		Release(noon, fixedUID(13), facts, "", somebody, people),
	)
	for i := range k.rows {
		k.rows[i].Parts = slices.Clone(k.rows[i].Parts)
	}
	return k
}

func mustVerify(t *testing.T, k *keptLedger) Report {
	t.Helper()
	report, err := Verify(context.Background(), Live{k, k, k}, Evidence{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestVerifyCountsAWholeLedger(t *testing.T) {
	report := mustVerify(t, sevenEntries())
	if !report.Whole() || len(report.Findings) > 0 {
		t.Fatalf("a whole ledger deviates: %+v", report.Findings)
	}
	got := [...]int64{report.Entries, report.Releases, report.Outcomes, report.Parts, report.PartsDeleted, int64(report.OpenRequests)}
	if want := [...]int64{7, 4, 1, 23, 0, 2}; got != want {
		t.Errorf("entries, releases, outcomes, parts, deleted, open = %v, want %v", got, want)
	}
}

func TestVerifyOfAnEmptyLedger(t *testing.T) {
	report := mustVerify(t, &keptLedger{})
	if !report.Whole() || report.Entries != 0 || report.Root != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("an empty ledger: %+v", report)
	}
}

// Each case changes one thing that the ledger holds. Code and index say what must be found.
func TestVerifyFindsEveryChange(t *testing.T) {
	flip := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 0x20
		return b
	}
	// recommit makes row i consistent in itself again: only the tree can tell.
	recommit := func(k *keptLedger, i int) { k.rows[i] = commit(k.rows[i]) }
	cases := map[string]struct {
		change func(*keptLedger)
		index  int64
		code   string
	}{
		"leaf: format":         {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 0) }, 2, "leaf_malformed"},
		"leaf: id":             {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 5) }, 2, "id_changed"},
		"leaf: time":           {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 24) }, 2, "time_changed"},
		"leaf: length of kind": {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 28) }, 2, "leaf_malformed"},
		"leaf: kind":           {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 30) }, 2, "kind_changed"},
		"leaf: request":        {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 40) }, 2, "request_changed"},
		"leaf: count of parts": {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 55) }, 2, "leaf_malformed"},
		"leaf: name of part":   {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 61) }, 2, "part_unknown"},
		"leaf: commitment":     {func(k *keptLedger) { k.rows[2].Leaf = flip(k.rows[2].Leaf, 70) }, 2, "part_changed"},
		"leaf: shortened":      {func(k *keptLedger) { k.rows[2].Leaf = k.rows[2].Leaf[:90] }, 2, "leaf_malformed"},
		"leaf: lengthened":     {func(k *keptLedger) { k.rows[2].Leaf = append(slices.Clone(k.rows[2].Leaf), 0) }, 2, "leaf_malformed"},
		"leaf: emptied":        {func(k *keptLedger) { k.rows[2].Leaf = nil }, 2, "leaf_malformed"},
		"hash":                 {func(k *keptLedger) { k.rows[2].Hash[3] ^= 1 }, 2, "hash_changed"},
		"id":                   {func(k *keptLedger) { k.rows[2].ID[3] ^= 1 }, 2, "id_changed"},
		"time":                 {func(k *keptLedger) { k.rows[2].At = k.rows[2].At.Add(time.Microsecond) }, 2, "time_changed"},
		"kind":                 {func(k *keptLedger) { k.rows[2].Kind = annona.EntryChange }, 2, "kind_changed"},
		"request":              {func(k *keptLedger) { k.rows[2].Request[15] ^= 1 }, 2, "request_changed"},
		"content of facts":     {func(k *keptLedger) { k.rows[2].Parts[0].Content = flip(k.rows[2].Parts[0].Content, 3) }, 2, "part_changed"},
		"content of filter":    {func(k *keptLedger) { k.rows[2].Parts[1].Content = flip(k.rows[2].Parts[1].Content, 3) }, 2, "part_changed"},
		"content of caller":    {func(k *keptLedger) { k.rows[2].Parts[2].Content = flip(k.rows[2].Parts[2].Content, 3) }, 2, "part_changed"},
		"content of subjects":  {func(k *keptLedger) { k.rows[2].Parts[3].Content = flip(k.rows[2].Parts[3].Content, 60) }, 2, "part_changed"},
		"salt":                 {func(k *keptLedger) { k.rows[2].Parts[3].Salt[0] ^= 1 }, 2, "part_changed"},
		"salt without content": {func(k *keptLedger) { k.rows[2].Parts[3].Content = nil }, 2, "part_changed"},
		"part added":           {func(k *keptLedger) { k.rows[1].Parts = append(k.rows[1].Parts, annona.LedgerPart{Name: "filter"}) }, 1, "part_unknown"},
		"part doubled":         {func(k *keptLedger) { k.rows[1].Parts = append(k.rows[1].Parts, k.rows[1].Parts[0]) }, 1, "part_twice"},
		"parts exchanged":      {func(k *keptLedger) { p := k.rows[1].Parts; p[2].Content, p[3].Content = p[3].Content, p[2].Content }, 1, "part_changed"},
		"noun of subjects":     {func(k *keptLedger) { k.rows[2].Parts[3].Noun = "household" }, 2, "subjects_misfiled"},
		"least of subjects":    {func(k *keptLedger) { k.rows[2].Parts[3].Min++ }, 2, "subjects_misfiled"},
		"greatest of subjects": {func(k *keptLedger) { k.rows[2].Parts[3].Max-- }, 2, "subjects_misfiled"},
		"reach of subjects":    {func(k *keptLedger) { k.rows[2].Parts[3].Reach++ }, 2, "subjects_misfiled"},
		"lists of fields":      {func(k *keptLedger) { k.listsGone = true }, 1, "fields_missing"},
		"content deleted":      {func(k *keptLedger) { k.rows[3].Parts = nil }, 3, "content_missing"},
		"part deleted":         {func(k *keptLedger) { k.rows[6].Parts = k.rows[6].Parts[:2] }, 6, "content_missing"},
		"position":             {func(k *keptLedger) { k.rows[6].Index = 7 }, 7, "position_wrong"},
		"entry deleted":        {func(k *keptLedger) { k.rows = slices.Delete(k.rows, 3, 4) }, 4, "position_wrong"},
		"first entry deleted":  {func(k *keptLedger) { k.rows = k.rows[1:] }, 1, "position_wrong"},
		"truncated":            {func(k *keptLedger) { k.rows = k.rows[:5] }, OfTree, "entries_missing"},
		"emptied":              {func(k *keptLedger) { k.rows = nil }, OfTree, "entries_missing"},
		"entry inserted":       {func(k *keptLedger) { k.rows = slices.Insert(k.rows, 2, k.rows[1]) }, 1, "position_wrong"},
		"entry appended":       {func(k *keptLedger) { row := k.rows[6]; row.Index = 7; k.rows = append(k.rows, row) }, OfTree, "entries_added"},
		"deleted and closed up": {func(k *keptLedger) {
			k.rows = slices.Delete(k.rows, 3, 4)
			for i := range k.rows {
				k.rows[i].Index = int64(i)
			}
		}, OfTree, "entries_missing"},
		"inserted and moved on": {func(k *keptLedger) {
			k.rows = slices.Insert(k.rows, 2, Release(noon, fixedUID(10), Facts{}, "", somebody, nil))
			for i := range k.rows {
				k.rows[i].Index = int64(i)
			}
		}, OfTree, "root_changed"},
		"reordered": {func(k *keptLedger) {
			k.rows[3], k.rows[4] = k.rows[4], k.rows[3]
			k.rows[3].Index, k.rows[4].Index = 3, 4
		}, OfTree, "root_changed"},
		"facts rewritten throughout": {func(k *keptLedger) {
			k.rows[1].Parts[0].Content = encodeFacts(Facts{Rows: 1}, hash{})
			recommit(k, 1)
		}, OfTree, "root_changed"},
		"last entry rewritten throughout": {func(k *keptLedger) {
			k.rows[6].At = noon.Add(time.Hour)
			recommit(k, 6)
		}, OfTree, "root_changed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := sevenEntries()
			c.change(k)
			report := mustVerify(t, k)
			found := func(f Finding) bool { return f.Index == c.index && f.Code == c.code }
			if report.Whole() || !slices.ContainsFunc(report.Findings, found) {
				t.Errorf("want a finding %s at %d, got %+v", c.code, c.index, report.Findings)
			}
		})
	}
}

func TestVerifyDoesNotStopAndBoundsItsList(t *testing.T) {
	k := &keptLedger{}
	for range 3 * MaxFindings {
		row := Administration(noon, fixedUID(9), Facts{}, somebody)
		row.ID[0] ^= 1
		k.rows = append(k.rows, row)
	}
	k.grow()
	for i := range k.rows {
		k.rows[i].Index = int64(i)
	}
	report := mustVerify(t, k)
	if len(report.Findings) != MaxFindings || report.Deviations != 3*MaxFindings || report.Entries != 3*MaxFindings {
		t.Errorf("%d findings of %d deviations in %d entries", len(report.Findings), report.Deviations, report.Entries)
	}
}

// Deleting content and salts below the bound of a pruning is lawful: leaf, hash and root still
// verify. Above it, it is not.
func TestPrunedContentKeepsItsProof(t *testing.T) {
	k := sevenEntries()
	k.grow(Administration(noon, fixedUID(20), PruneFacts("2026-02-01", 4), somebody))
	before := mustVerify(t, k)
	k.rows[2].Parts = nil
	k.rows[3].Parts = k.rows[3].Parts[:2]
	after := mustVerify(t, k)
	if !after.Whole() || after.Root != before.Root || after.PrunedBelow != 4 {
		t.Fatalf("deleting content broke the proof: %+v", after)
	}
	if after.PartsDeleted != 7 || after.Parts != before.Parts-7 {
		t.Errorf("%d parts and %d deleted, want %d and 7", after.Parts, after.PartsDeleted, before.Parts-7)
	}
	e, err := Open(k.rows[2])
	if err != nil {
		t.Fatal(err)
	}
	if e.Facts != nil || e.Caller != nil || e.Filter != "" || e.Subjects != nil || len(e.Deleted) != 5 {
		t.Errorf("an entry without content opens as %+v", e)
	}
	k.rows[4].Parts = nil
	if report := mustVerify(t, k); report.Whole() || report.Findings[0] != (Finding{4, "content_missing", report.Findings[0].Message}) {
		t.Errorf("content that no pruning tells of is missing: %+v", report)
	}
}

// The same content is committed to differently each time: who knows all possible contents of
// a deleted part still cannot tell which one it was.
func TestCommitmentsCannotBeGuessed(t *testing.T) {
	one := Release(noon, fixedUID(1), Facts{}, "", somebody, []Subjects{{Noun: "individual", Numbers: []annona.Number{7}}})
	two := Release(noon, fixedUID(1), Facts{}, "", somebody, []Subjects{{Noun: "individual", Numbers: []annona.Number{7}}})
	for i := range one.Parts {
		if one.Parts[i].Salt == two.Parts[i].Salt || commitTo(one.Parts[i]) == commitTo(two.Parts[i]) {
			t.Errorf("two entries commit alike to equal content of %s", one.Parts[i].Name)
		}
	}
}

func TestVerifyWhileAServerAppends(t *testing.T) {
	more := Release(noon, fixedUID(14), Facts{}, "", somebody, nil)
	t.Run("after the walk", func(t *testing.T) {
		k := sevenEntries()
		k.appends = func(k *keptLedger) { k.grow(more) }
		if report := mustVerify(t, k); !report.Whole() || report.Entries != 7 {
			t.Errorf("%+v", report)
		}
	})
	t.Run("before the walk", func(t *testing.T) {
		k := sevenEntries()
		size, root := k.size, k.root
		k.grow(more)
		newSize, newRoot := k.size, k.root
		k.size, k.root = size, root
		k.appends = func(k *keptLedger) { k.size, k.root = newSize, newRoot }
		if report := mustVerify(t, k); !report.Whole() || report.Entries != 8 {
			t.Errorf("%+v", report)
		}
	})
	t.Run("before the walk, with a root that is not theirs", func(t *testing.T) {
		k := sevenEntries()
		size, root := k.size, k.root
		k.grow(more)
		newSize := k.size
		k.size, k.root = size, root
		k.appends = func(k *keptLedger) { k.size = newSize }
		if report := mustVerify(t, k); report.Whole() {
			t.Error("the changed root was not found")
		}
	})
}

type brokenLedger struct{ keptLedger }

func (*brokenLedger) WalkLedger(context.Context, func(annona.LedgerRow) error) error {
	return errors.New("the disk is gone")
}

func TestVerifyFailsWhenTheLedgerCannotBeRead(t *testing.T) {
	if _, err := Verify(context.Background(), Live{&brokenLedger{}, &keptLedger{}, &keptLedger{}}, Evidence{}); err == nil {
		t.Error("a ledger that cannot be read was reported as walked")
	}
}
