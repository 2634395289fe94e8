package sqlite

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// Whatever was added is found, once, wherever in the tree it has come to lie; what was forgotten
// is not.
func TestFinderFindsEverything(t *testing.T) {
	s, err := Open(t.TempDir(), Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write := func(fn func(*tx) error) {
		t.Helper()
		if err := s.writer.update(context.Background(), "test the finder", fn); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	hashes := []uint64{0, 1, 1 << 63, 1<<64 - 1, 1<<64 - 16} // then random ones, many of one, and some of one stretch
	for n := range 60_000 {
		switch {
		case n%60 == 0:
			hashes = append(hashes, 42)
		case n%7 == 0:
			hashes = append(hashes, 0xabcdef<<40|random.Uint64()>>40)
		default:
			hashes = append(hashes, random.Uint64())
		}
	}
	for from := 0; from < len(hashes); {
		to := min(len(hashes), from+1+random.IntN(2000))
		write(func(x *tx) error {
			for n := from; n < to; n++ {
				x.makeFindable(hashes[n], annona.Number(n+1))
			}
			return numbersAre(t, x, hashes[from], annona.Number(from+1), true)
		})
		from = to
	}
	forgotten := map[int]bool{3: true, 5: true, 17: true, len(hashes) - 1: true}
	write(func(x *tx) error {
		for n := range forgotten {
			x.forgetFindable(hashes[n], annona.Number(n+1))
		}
		for n, hash := range hashes {
			if n%100 == 0 && hash == 42 && n%6000 != 0 {
				continue // a thousand numbers each time
			}
			if err := numbersAre(t, x, hash, annona.Number(n+1), !forgotten[n]); err != nil {
				return err
			}
		}
		return nil
	})
	write(func(x *tx) error { return allAreFound(t, x, hashes, forgotten) })
	write(func(x *tx) error { // who comes back in the same transaction has not gone
		x.forgetFindable(hashes[7], 8)
		x.makeFindable(hashes[7], 8)
		x.makeFindable(hashes[3], 4)
		x.forgetFindable(hashes[3], 4)
		return nil
	})
	write(func(x *tx) error { return allAreFound(t, x, hashes, forgotten) })
}

// allAreFound checks that a look for all hashes at once finds what looks for each of them do.
func allAreFound(t *testing.T, x *tx, hashes []uint64, forgotten map[int]bool) error {
	t.Helper()
	sorted := slices.Compact(slices.Sorted(slices.Values(hashes)))
	found := map[annona.Number]int{}
	err := x.conn.lookUpAll(0, sorted, func(hash uint64, n annona.Number) {
		if hashes[n-1] == hash {
			found[n]++
		}
	})
	for i := range hashes {
		if want := map[bool]int{false: 1}[forgotten[i]]; found[annona.Number(i+1)] != want {
			t.Errorf("among all, number %d was found %d times, want %d", i+1, found[annona.Number(i+1)], want)
		}
	}
	return err
}

// numbersAre checks whether a number is found under a hash exactly once, or not at all.
func numbersAre(t *testing.T, x *tx, hash uint64, number annona.Number, want bool) error {
	t.Helper()
	found := 0
	err := x.lookUp(hash, func(n annona.Number) (bool, error) {
		if n == number {
			found++
		}
		return true, nil
	})
	if found != map[bool]int{true: 1}[want] {
		t.Errorf("number %d was found %d times, want it: %t", number, found, want)
	}
	return err
}
