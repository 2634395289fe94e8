package synthetic

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// dice draws everything that is left to chance. They are seeded anew for each household, so
// that a household does not depend on those before it.
type dice struct {
	*rand.Rand
	pcg *rand.PCG
}

func newDice() dice {
	pcg := rand.NewPCG(0, 0)
	return dice{Rand: rand.New(pcg), pcg: pcg}
}

// seed starts the dice for the household of that number. Both words are mixed, since PCG
// states that lie close together start out alike.
func (d dice) seed(seed, number uint64) { d.pcg.Seed(mix(seed), mix(number+seed)) }

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that leaves no
// pattern of its input.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chance is true with probability p.
func (d dice) chance(p float64) bool { return d.Float64() < p }

// between draws a whole number from low to high, both included.
func (d dice) between(low, high int) int {
	if high <= low {
		return low
	}
	return low + d.IntN(high-low+1)
}

// pick draws one element, all alike.
func pick[T any](d dice, from []T) T { return from[d.IntN(len(from))] }

// odds is a list of codes with their weights.
type odds struct {
	codes []string
	upTo  []int // sum of the weights up to and including each code
}

// weights reads odds from "code weight code weight …".
func weights(text string) odds {
	var o odds
	words := strings.Fields(text)
	total := 0
	for i := 0; i+1 < len(words); i += 2 {
		weight, err := strconv.Atoi(words[i+1])
		if err != nil {
			panic("synthetic: the weight of " + words[i] + " is not a number")
		}
		total += weight
		o.codes = append(o.codes, words[i])
		o.upTo = append(o.upTo, total)
	}
	return o
}

// draw draws a code by weight.
func (o odds) draw(d dice) string {
	n := d.IntN(o.upTo[len(o.upTo)-1])
	for i, end := range o.upTo {
		if n < end {
			return o.codes[i]
		}
	}
	return ""
}

// gradient is a pair of odds: those of the poorest and those of the richest. The wealth of a
// household, from 0 to 1, is the chance that it draws as the rich do.
type gradient struct{ poor, rich odds }

func (g gradient) draw(d dice, wealth float64) string {
	if d.chance(wealth) {
		return g.rich.draw(d)
	}
	return g.poor.draw(d)
}
