package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a long command is: a bar on a terminal, a line now and then
// elsewhere.
type progress struct {
	bar   *progressbar.ProgressBar
	out   io.Writer
	what  string
	total int64 // 0: not known
	count int64
	next  time.Time
}

// between is the time between two plain lines.
const between = 10 * time.Second

func newProgress(c console, total int64, what string) *progress {
	p := &progress{out: c.err, what: what, total: total, next: time.Now().Add(between)}
	if file, ok := c.err.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.bar = progressbar.NewOptions64(max(total, 1),
			progressbar.OptionSetWriter(file), progressbar.OptionSetDescription(what),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish())
	}
	return p
}

func (p *progress) add(n int64) {
	p.count += n
	if p.bar != nil {
		_ = p.bar.Set64(min(p.count, p.bar.GetMax64())) // a bar that fails to draw stops nothing
		return
	}
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(between)
		fmt.Fprintf(p.out, "%s: %d%s\n", p.what, p.count, p.ofTotal())
	}
}

// ofTotal says how much there is in all, where that is known; of standard input it is not.
func (p *progress) ofTotal() string {
	if p.total == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", p.total)
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
