package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// Keys holds a key store to its port. open returns an empty one each time.
func Keys(t *testing.T, open func(t *testing.T) annona.KeyStore) {
	for _, c := range []struct {
		name string
		test func(*testing.T, annona.KeyStore)
	}{
		{"secrets are kept by label and version", testSecrets},
		{"a malformed secret is refused", testMalformedSecrets},
		{"secrets are wrapped anew, all or none", testRewrap},
		{"a destroyed secret is gone", testDestroy},
		{"blocks of keys are kept, rewritten and deleted", testBlocks},
		{"a change that fails leaves nothing", testBlocksOnError},
		{"blocks are read along a range and one by one", testBlockRanges},
		{"the blocks of earlier generations", testStaleBlocks},
		{"changes of one block follow each other", testConcurrentBlocks},
		{"a generation with keys stays", testGenerationInUse},
		{"a generation stays while it is being used", testGenerationHeld},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

var keyTime = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)

func secret(label string, version int, wrapped string) annona.Secret {
	return annona.Secret{Label: label, Version: version, At: keyTime, Wrapped: []byte(wrapped)}
}

func mustPut(t *testing.T, k annona.KeyStore, secrets ...annona.Secret) {
	t.Helper()
	for _, s := range secrets {
		if err := k.Put(s); err != nil {
			t.Fatal(err)
		}
	}
}

func sameSecret(a, b annona.Secret) bool {
	return a.Label == b.Label && a.Version == b.Version && a.At.Equal(b.At) && bytes.Equal(a.Wrapped, b.Wrapped)
}

func testSecrets(t *testing.T, k annona.KeyStore) {
	if s, err := k.Latest("realm"); s.Version != 0 || err != nil {
		t.Fatalf("latest of none: %v, %v", s, err)
	}
	mustPut(t, k, secret("realm", 2, "two"), secret("realm", 1, "one"), secret("index", 1, "other"))
	if err := k.Put(secret("realm", 1, "again")); annona.CodeOf(err) != "secret_exists" {
		t.Errorf("a second secret of one version: %v", err)
	}
	if s, err := k.Latest("realm"); !sameSecret(s, secret("realm", 2, "two")) || err != nil {
		t.Errorf("latest: %v, %v", s, err)
	}
	if s, err := k.Get("realm", 1); !sameSecret(s, secret("realm", 1, "one")) || err != nil {
		t.Errorf("get: %v, %v", s, err)
	}
	if s, err := k.Get("realm", 3); s.Version != 0 || err != nil {
		t.Errorf("get of none: %v, %v", s, err)
	}
	all, err := k.List()
	want := []annona.Secret{secret("index", 1, "other"), secret("realm", 1, "one"), secret("realm", 2, "two")}
	if err != nil || !slices.EqualFunc(all, want, sameSecret) {
		t.Errorf("list: %v, %v", all, err)
	}
}

func testMalformedSecrets(t *testing.T, k annona.KeyStore) {
	for _, s := range []annona.Secret{secret("", 1, "x"), secret("a", 0, "x"), secret("a", 1, ""), {Label: "a", Version: 1, Wrapped: []byte("x")}} {
		if err := k.Put(s); annona.KindOf(err) != annona.KindInvalid {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func testRewrap(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret("a", 1, "one"), secret("b", 1, "two"))
	for name, some := range map[string][]annona.Secret{
		"one is not there": {secret("a", 1, "ONE"), secret("gone", 1, "x")}, "one is left out": {secret("a", 1, "ONE")},
		"one too many": {secret("a", 1, "ONE"), secret("b", 1, "x"), secret("gone", 1, "x")},
	} {
		if err := k.Rewrap(some); annona.CodeOf(err) != "secrets_changed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, _ := k.Get("a", 1); string(s.Wrapped) != "one" {
		t.Error("half of a refused change was kept")
	}
	if err := k.Rewrap([]annona.Secret{secret("a", 1, "ONE"), secret("b", 1, "TWO")}); err != nil {
		t.Fatal(err)
	}
	one, _ := k.Get("a", 1)
	two, _ := k.Get("b", 1)
	if string(one.Wrapped)+string(two.Wrapped) != "ONETWO" || !one.At.Equal(keyTime) {
		t.Errorf("wrapped anew: %v %v", one, two)
	}
}

func testDestroy(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret("a", 1, "one"), secret("a", 2, "two"))
	for range 2 { // of one that is gone, nothing is left to do
		if err := k.Destroy("a", 1); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := k.Get("a", 1); s.Version != 0 || err != nil {
		t.Errorf("it is still there: %v %v", s, err)
	}
	if s, _ := k.Get("a", 2); s.Version != 2 {
		t.Error("another version is gone with it")
	}
}

// write gives blocks of a noun a content.
func write(t *testing.T, k annona.KeyStore, noun string, generation int, content string, blocks ...int64) {
	t.Helper()
	err := k.ChangeKeys(t.Context(), noun, blocks, generation, func(annona.KeyBlock) ([]byte, error) { return []byte(content), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// blocks reads blocks as noun/block/generation=content.
func blocks(t *testing.T, k annona.KeyStore, noun string, numbers ...int64) (texts []string) {
	t.Helper()
	err := k.ReadKeys(t.Context(), []annona.WantedKeys{{Noun: noun, Blocks: numbers}}, func(b annona.KeyBlock) error {
		if slices.Contains(numbers, b.Block) {
			texts = append(texts, fmt.Sprintf("%s/%d/%d=%s", b.Noun, b.Block, b.Generation, b.Wrapped))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func wantBlocks(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func testBlocks(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret(annona.GenerationLabel, 1, "g"), secret(annona.GenerationLabel, 2, "g"))
	wantBlocks(t, blocks(t, k, "individual"))
	wantBlocks(t, blocks(t, k, "individual", 1))
	write(t, k, "individual", 1, "first", 0, 1, 7)
	write(t, k, "household", 1, "house", 1)
	wantBlocks(t, blocks(t, k, "individual", 0, 1, 2, 7), "individual/0/1=first", "individual/1/1=first", "individual/7/1=first")
	var seen []string
	err := k.ChangeKeys(t.Context(), "individual", []int64{0, 1, 2, 7}, 2, func(b annona.KeyBlock) ([]byte, error) {
		seen = append(seen, fmt.Sprintf("%d/%d=%s", b.Block, b.Generation, b.Wrapped))
		return map[int64][]byte{1: {}, 2: []byte("new"), 7: []byte("next")}[b.Block], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantBlocks(t, seen, "0/1=first", "1/1=first", "2/0=", "7/1=first")
	wantBlocks(t, blocks(t, k, "individual", 0, 1, 2, 7), "individual/0/1=first", "individual/2/2=new", "individual/7/2=next")
	wantBlocks(t, blocks(t, k, "household", 1), "household/1/1=house")
	var together []string
	wanted := []annona.WantedKeys{{Noun: "household", Blocks: []int64{1, 2}}, {Noun: "case"}, {Noun: "individual", Blocks: []int64{2, 7}}}
	err = k.ReadKeys(t.Context(), wanted, func(b annona.KeyBlock) error {
		together = append(together, fmt.Sprintf("%s/%d=%s", b.Noun, b.Block, b.Wrapped))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wantBlocks(t, together, "household/1=house", "individual/2=new", "individual/7=next")
	if err := k.Wipe(t.Context()); err != nil {
		t.Error(err)
	}
}

func testBlocksOnError(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret(annona.GenerationLabel, 1, "g"))
	stop := annona.Conflict("stopped", "stopped")
	err := k.ChangeKeys(t.Context(), "individual", []int64{1, 2}, 1, func(b annona.KeyBlock) ([]byte, error) {
		if b.Block == 2 {
			return nil, stop
		}
		return []byte("x"), nil
	})
	if annona.CodeOf(err) != "stopped" {
		t.Errorf("the error of change: %v", err)
	}
	wantBlocks(t, blocks(t, k, "individual", 1, 2))
	write(t, k, "individual", 1, "x", 1)
	if err := k.ReadKeys(t.Context(), []annona.WantedKeys{{Noun: "individual", Blocks: []int64{1}}}, func(annona.KeyBlock) error { return stop }); annona.CodeOf(err) != "stopped" {
		t.Errorf("the error of take: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.ReadKeys(ended, []annona.WantedKeys{{Noun: "individual", Blocks: []int64{1}}}, func(annona.KeyBlock) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that has ended: %v", err)
	}
	err = k.ChangeKeys(t.Context(), "individual", []int64{1}, 9, func(annona.KeyBlock) ([]byte, error) { return []byte("y"), nil })
	if annona.CodeOf(err) != "generation_gone" {
		t.Errorf("a generation that is not there: %v", err)
	}
}

func testBlockRanges(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret(annona.GenerationLabel, 1, "g"))
	var even []int64
	for b := int64(0); b < 400; b += 2 {
		even = append(even, b)
	}
	write(t, k, "individual", 1, "x", even...)
	for name, ask := range map[string][]int64{
		"dense": {10, 11, 12, 13, 14}, "sparse": {2, 3, 100, 200, 399}, "one": {6}, "beyond": {398, 400, 4000}, "absent": {1, 301}, "far apart": {0, 1 << 40},
	} {
		var want []string
		for _, b := range ask {
			if b%2 == 0 && b < 400 {
				want = append(want, fmt.Sprintf("individual/%d/1=x", b))
			}
		}
		if got := blocks(t, k, "individual", ask...); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func testStaleBlocks(t *testing.T, k annona.KeyStore) {
	for g := range 3 {
		mustPut(t, k, secret(annona.GenerationLabel, g+1, "g"))
	}
	write(t, k, "individual", 1, "x", 5, 6)
	write(t, k, "household", 1, "x", 9)
	write(t, k, "individual", 2, "x", 1)
	write(t, k, "individual", 3, "x", 2)
	var all []string
	for after := (annona.KeyBlock{}); ; {
		some, err := k.StaleKeys(t.Context(), 3, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		for _, b := range some {
			all = append(all, fmt.Sprintf("%d/%s/%d", b.Generation, b.Noun, b.Block))
		}
		after = some[len(some)-1]
	}
	wantBlocks(t, all, "1/household/9", "1/individual/5", "1/individual/6", "2/individual/1")
	counts, err := k.CountKeys(t.Context())
	if err != nil || fmt.Sprint(counts) != "map[1:3 2:1 3:1]" {
		t.Errorf("counts %v, %v", counts, err)
	}
}

// Every writer appends a letter to the same new blocks: none is lost.
func testConcurrentBlocks(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret(annona.GenerationLabel, 1, "g"))
	const writers = 8
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			err := k.ChangeKeys(t.Context(), "individual", []int64{1, 2, 3}, 1, func(b annona.KeyBlock) ([]byte, error) {
				return append(bytes.Clone(b.Wrapped), 'x'), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantBlocks(t, blocks(t, k, "individual", 1, 2, 3), "individual/1/1=xxxxxxxx", "individual/2/1=xxxxxxxx", "individual/3/1=xxxxxxxx")
}

func testGenerationInUse(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret(annona.GenerationLabel, 1, "g"), secret(annona.GenerationLabel, 2, "g"))
	write(t, k, "household", 1, "x", 3)
	if err := k.Destroy(annona.GenerationLabel, 1); annona.CodeOf(err) != "generation_in_use" {
		t.Errorf("a generation with live keys: %v", err)
	}
	write(t, k, "household", 2, "y", 3)
	if err := k.Destroy(annona.GenerationLabel, 1); err != nil {
		t.Error(err)
	}
}

// While keys are being wrapped by a generation, whoever wants to destroy it waits, and is refused.
func testGenerationHeld(t *testing.T, k annona.KeyStore) {
	mustPut(t, k, secret(annona.GenerationLabel, 1, "g"))
	destroyed := make(chan error, 1)
	err := k.ChangeKeys(t.Context(), "individual", []int64{1}, 1, func(annona.KeyBlock) ([]byte, error) {
		go func() { destroyed <- k.Destroy(annona.GenerationLabel, 1) }()
		select {
		case err := <-destroyed:
			t.Errorf("destroyed while it was in use: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		return []byte("x"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-destroyed; annona.CodeOf(err) != "generation_in_use" {
		t.Errorf("after it: %v", err)
	}
}
