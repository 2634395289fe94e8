package synthetic_test

import (
	"io"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

// An operation is one individual.
func BenchmarkHouseholds(b *testing.B) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: b.N, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for range r.Households() {
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "individuals/s")
}

func BenchmarkWriteNDJSON(b *testing.B) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: b.N, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	if err := r.WriteNDJSON(io.Discard); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "individuals/s")
}
