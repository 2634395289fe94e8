package ingest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAheadReadsTheSame: lines that are read ahead are those that are read one by one, whatever is taken of
// them, with long ones, too long ones and broken ones among them.
func TestAheadReadsTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var file bytes.Buffer
	for n := range 400 {
		switch n % 20 {
		case 3:
			fmt.Fprintf(&file, `{"n":%d,"long":"%s"}`+"\n", n, strings.Repeat("x", shortLine+random.IntN(shortLine)))
		case 7:
			fmt.Fprintf(&file, "no object %d\n", n)
		case 8:
			fmt.Fprintf(&file, "\xff\n\n  \n")
		case 9:
			fmt.Fprintf(&file, `{"reject":{"line":%d},"row":{"n":1}}`+"\n", n)
		default:
			fmt.Fprintf(&file, `{"n":%d,"list":[%s1]}`+"\n", n, strings.Repeat("1,", random.IntN(3000)))
		}
		if n == 210 {
			file.WriteString(strings.Repeat("y", maxRow+maxRow/2) + "\n")
		}
	}
	type lines interface {
		next() bool
		take(io.Writer) error
	}
	see := func(l lines, state *lineState, line func() int) (seen []string) {
		for n := 0; l.next(); n++ {
			text := fmt.Sprint(line(), " ", state.fault, " ", state.mended, " ", state.reject.Line, " ", jsonText(state.row.member("n")), " ", state.row.member("list") != nil)
			if state.fault != "" || n%3 == 0 {
				var taken bytes.Buffer
				if err := l.take(&taken); err != nil {
					t.Fatal(err)
				}
				text += fmt.Sprint(" ", taken.Len(), " ", taken.String()[:min(50, taken.Len())])
			}
			seen = append(seen, text)
		}
		return seen
	}
	plain := newNDJSONReader(bytes.NewReader(file.Bytes()))
	want := see(plain, &plain.lineState, func() int { return plain.line })
	ahead := readAhead(bytes.NewReader(file.Bytes()), nil)
	defer ahead.close()
	got := see(ahead, &ahead.lineState, func() int { return ahead.line })
	if len(want) != 401 || !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("line %d: %.200s, want %.200s", i, got[i], want[i])
			}
		}
	}
}

// TestAheadEnds: nothing is read any more when close has returned, wherever the reader was.
func TestAheadEnds(t *testing.T) {
	short, long := `{"n":1}`+"\n", `{"n":"`+strings.Repeat("x", shortLine)+`"}`+"\n"
	for _, text := range []string{short, long} {
		for lines := range 4 {
			var reads atomic.Int64
			a := readAhead(counting{strings.NewReader(strings.Repeat(text, 1000)), &reads}, nil)
			for range lines {
				if !a.next() {
					t.Fatal("a line is missing")
				}
			}
			a.close()
			if had := reads.Load(); len(a.rows) > 0 || reads.Load() != had {
				t.Error("it is read on")
			}
		}
	}
}

type counting struct {
	io.Reader
	reads *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Reader.Read(p[:min(len(p), 10_000)])
}
