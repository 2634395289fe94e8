package annona_test

import (
	"bytes"
	"testing"

	"github.com/annona-exchange/annona"
)

func TestFormer(t *testing.T) {
	for _, want := range []annona.Former{
		{Version: 1}, {Version: 7, Clear: []byte("clear"), Sealed: []byte("sealed")}, {Version: 300, Sealed: bytes.Repeat([]byte{0}, 200)},
	} {
		b := want.Append([]byte("in front"))
		got, err := annona.ParseFormer(b[len("in front"):])
		if err != nil || got.Version != want.Version || !bytes.Equal(got.Clear, want.Clear) || !bytes.Equal(got.Sealed, want.Sealed) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
	whole := annona.Former{Version: 2, Clear: []byte("c"), Sealed: []byte("s")}.Append(nil)
	if !bytes.Equal(whole, []byte{2, 1, 'c', 1, 's'}) {
		t.Errorf("the bytes of an event have changed: %v", whole)
	}
	for n := range whole {
		if _, err := annona.ParseFormer(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes are read", n, len(whole))
		}
	}
	for _, b := range [][]byte{append(bytes.Clone(whole), 0), {0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0}, {1, 0xff}} {
		if _, err := annona.ParseFormer(b); err == nil {
			t.Errorf("%v is read", b)
		}
	}
}
