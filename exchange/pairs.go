package exchange

import (
	"cmp"
	"slices"
)

// pair is a key with one of its values.
type pair struct{ key, value int64 }

// pairList are values by their keys, 16 bytes each: a long list in order, and a short one of those that
// have come since.
type pairList struct {
	sorted, recent []pair
	inOrder        bool // recent is
}

// recentPairs is how many are kept apart at least.
const recentPairs = 4096

func (p *pairList) add(key, value int64) {
	p.recent = append(p.recent, pair{key, value})
	p.inOrder = false
}

// of returns the pairs of a key.
func (p *pairList) of(key int64) []pair {
	if !p.inOrder {
		slices.SortFunc(p.recent, comparePairs)
		p.inOrder = true
		if len(p.recent) > max(recentPairs, len(p.sorted)/4) {
			p.sorted = slices.Compact(merged(p.sorted, p.recent))
			p.recent = nil
		}
	}
	return slices.Concat(pairsOf(p.sorted, key), pairsOf(p.recent, key))
}

func comparePairs(a, b pair) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value))
}

func pairsOf(all []pair, key int64) []pair {
	at, _ := slices.BinarySearchFunc(all, key, func(p pair, key int64) int { return cmp.Compare(p.key, key) })
	end := at
	for end < len(all) && all[end].key == key {
		end++
	}
	return all[at:end]
}

// merged makes one list in order of two.
func merged(a, b []pair) []pair {
	all := make([]pair, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if comparePairs(a[0], b[0]) <= 0 {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}
