package identity

import "testing"

// The benchmarks are of recognizing alone: what is on file is in memory.

func BenchmarkAPIKey(b *testing.B) {
	d := newDesk(b, false)
	for b.Loop() {
		if _, err := d.show(d.text, "192.0.2.7"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDPoP recognizes an access token with a proof of its own each time. Making the proofs is not
// counted.
func BenchmarkDPoP(b *testing.B) {
	o := newOffice(b)
	token := o.issued(o.ask(o.signerKey)).Text
	for b.Loop() {
		b.StopTimer()
		shown := o.show(o.signerKey, token)
		b.StartTimer()
		if err := o.recognize(shown); err != nil {
			b.Fatal(err)
		}
	}
}
