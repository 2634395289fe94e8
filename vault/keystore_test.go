package vault

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/annona-exchange/annona"
)

// keptKeys keeps wrapped keys in memory.
type keptKeys struct {
	mu      sync.Mutex
	secrets map[string]map[int]*annona.Secret
	blocks  map[place]annona.KeyBlock
	failing error
	reads   int          // of secrets
	asked   atomic.Int64 // for blocks
}

type place struct {
	noun  string
	block int64
}

func newKeys() *keptKeys {
	return &keptKeys{secrets: map[string]map[int]*annona.Secret{}, blocks: map[place]annona.KeyBlock{}}
}

func (k *keptKeys) Get(label string, version int) (annona.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	if s := k.secrets[label][version]; s != nil {
		return *s, k.failing
	}
	return annona.Secret{}, k.failing
}

func (k *keptKeys) Latest(label string) (annona.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	latest := slices.Max(append(slices.Collect(maps.Keys(k.secrets[label])), 0))
	if latest == 0 {
		return annona.Secret{}, k.failing
	}
	return *k.secrets[label][latest], k.failing
}

func (k *keptKeys) List() (all []annona.Secret, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, label := range slices.Sorted(maps.Keys(k.secrets)) {
		for _, version := range slices.Sorted(maps.Keys(k.secrets[label])) {
			all = append(all, *k.secrets[label][version])
		}
	}
	return all, k.failing
}

func (k *keptKeys) Put(s annona.Secret) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing != nil {
		return k.failing
	}
	if k.secrets[s.Label] == nil {
		k.secrets[s.Label] = map[int]*annona.Secret{}
	}
	if k.secrets[s.Label][s.Version] != nil {
		return annona.Conflict("secret_exists", "there is one already")
	}
	k.secrets[s.Label][s.Version] = &s
	return nil
}

func (k *keptKeys) Rewrap(secrets []annona.Secret) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	there := 0
	for _, versions := range k.secrets {
		there += len(versions)
	}
	if there != len(secrets) {
		return annona.Conflict("secrets_changed", "there are others")
	}
	for _, s := range secrets {
		k.secrets[s.Label][s.Version] = &s
	}
	return k.failing
}

func (k *keptKeys) Destroy(label string, version int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.blocks {
		if label == annona.GenerationLabel && b.Generation == version {
			return annona.Conflict("generation_in_use", "it wraps keys")
		}
	}
	delete(k.secrets[label], version)
	return k.failing
}

func (k *keptKeys) ReadKeys(_ context.Context, wanted []annona.WantedKeys, take func(annona.KeyBlock) error) error {
	k.asked.Add(1)
	for _, w := range wanted {
		for _, block := range w.Blocks {
			k.mu.Lock()
			b, there := k.blocks[place{w.Noun, block}]
			k.mu.Unlock()
			if !there {
				continue
			}
			if err := take(b); err != nil {
				return err
			}
		}
	}
	return k.failing
}

func (k *keptKeys) ChangeKeys(_ context.Context, noun string, blocks []int64, generation int, change func(annona.KeyBlock) ([]byte, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.secrets[annona.GenerationLabel][generation] == nil {
		return annona.Conflict("generation_gone", "it was destroyed")
	}
	changed := maps.Clone(k.blocks)
	for _, block := range blocks {
		was := k.blocks[place{noun, block}]
		was.Noun, was.Block = noun, block
		wrapped, err := change(was)
		switch {
		case err != nil:
			return err
		case wrapped == nil:
		case len(wrapped) == 0:
			delete(changed, place{noun, block})
		default:
			changed[place{noun, block}] = annona.KeyBlock{Noun: noun, Block: block, Generation: generation, Wrapped: bytes.Clone(wrapped)}
		}
	}
	if k.failing == nil {
		k.blocks = changed
	}
	return k.failing
}

func compareBlocks(a, b annona.KeyBlock) int {
	return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Noun, b.Noun), cmp.Compare(a.Block, b.Block))
}

func (k *keptKeys) StaleKeys(_ context.Context, generation int, after annona.KeyBlock, limit int) (stale []annona.KeyBlock, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.blocks {
		if b.Generation < generation && compareBlocks(b, after) > 0 {
			stale = append(stale, annona.KeyBlock{Noun: b.Noun, Block: b.Block, Generation: b.Generation})
		}
	}
	slices.SortFunc(stale, compareBlocks)
	return stale[:min(limit, len(stale))], k.failing
}

func (k *keptKeys) CountKeys(context.Context) (map[int]int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	counts := map[int]int64{}
	for _, b := range k.blocks {
		counts[b.Generation]++
	}
	return counts, k.failing
}

func (k *keptKeys) Wipe(context.Context) error { return k.failing }
