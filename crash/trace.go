package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// traced are the system calls that change a file or send something. strace writes each of them
// down, in the order in which they happened.
const traced = "write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,ftruncate,truncate,fallocate," +
	"rename,renameat,renameat2,unlink,unlinkat,link,linkat,openat,open,creat,mkdir,mkdirat,mmap,sendto,sendmsg,sendfile,splice,copy_file_range"

// call is one system call of a trace.
type call struct {
	name   string
	args   []string // paths and data decoded
	result int64
	path   string // of the descriptor that it works on or returned
	began  int    // line of the trace; the call had an effect at no time before it
	ended  int    // and had all of it by then; 0: it was cut off
}

// readTrace reads what strace -f -y -xx wrote.
func readTrace(in io.Reader) (calls []*call, err error) {
	lines := bufio.NewReaderSize(in, 1<<20)
	open := map[string]*call{} // by process: what has begun
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return calls, nil
		}
		if err != nil {
			return nil, err
		}
		pid, text, ok := strings.Cut(strings.TrimRight(line, "\n"), " ")
		text = strings.TrimLeft(text, " ")
		if !ok || strings.HasPrefix(text, "+++") || strings.HasPrefix(text, "---") {
			continue
		}
		if rest, resumed := strings.CutPrefix(text, "<... "); resumed {
			c := open[pid]
			_, tail, ok := strings.Cut(rest, " resumed>")
			if c == nil || !ok {
				return nil, fmt.Errorf("line %d of the trace resumes what has not begun", n)
			}
			delete(open, pid)
			if err := c.end(tail, n); err != nil {
				return nil, fmt.Errorf("line %d of the trace: %w", n, err)
			}
			continue
		}
		name, rest, ok := strings.Cut(text, "(")
		if !ok {
			return nil, fmt.Errorf("line %d of the trace is no call", n)
		}
		c := &call{name: name, began: n}
		calls = append(calls, c)
		if head, unfinished := strings.CutSuffix(rest, " <unfinished ...>"); unfinished {
			c.args = []string{head}
			open[pid] = c
			continue
		}
		if err := c.end(rest, n); err != nil {
			return nil, fmt.Errorf("line %d of the trace: %w", n, err)
		}
	}
}

// end takes in the end of a call's line.
func (c *call) end(tail string, line int) error {
	text := strings.Join(c.args, "") + tail
	at, back := lastIndexOfEnd(text)
	if at < 0 {
		return errors.New("a call has no end")
	}
	result := strings.Fields(text[back:])
	c.ended, c.result = line, -1
	if len(result) > 0 {
		number, path, _ := strings.Cut(result[0], "<")
		if n, err := strconv.ParseInt(number, 0, 64); err == nil {
			c.result = n
		}
		if path != "" {
			c.path = decodeText(strings.TrimSuffix(path, ">"))
		}
	}
	c.args = splitArgs(text[:at])
	if len(c.args) > 0 && c.path == "" {
		c.path = pathOf(c.args[0])
	}
	return nil
}

// lastIndexOfEnd returns where the arguments of a call end and where its result begins:
// ")   = 3". A call that never returned has no number there.
func lastIndexOfEnd(text string) (at, back int) {
	equals := strings.LastIndex(text, " = ")
	if equals < 0 {
		return -1, 0
	}
	at = len(strings.TrimRight(text[:equals], " ")) - 1
	if at < 0 || text[at] != ')' {
		return -1, 0
	}
	return at, equals + len(" = ")
}

// splitArgs splits the arguments of a call. In what -xx wrote, no comma stands in a text.
func splitArgs(text string) []string {
	args := strings.Split(text, ", ")
	for i, a := range args {
		if len(a) > 1 && a[0] == '"' {
			args[i] = decodeText(strings.Trim(a, `".`))
		} else {
			args[i] = strings.Clone(a) // it must not hold the whole line
		}
	}
	return args
}

// pathOf returns the path of a descriptor that is written 8<path>.
func pathOf(arg string) string {
	_, path, ok := strings.Cut(arg, "<")
	if !ok {
		return ""
	}
	return decodeText(strings.TrimSuffix(path, ">"))
}

// decodeText decodes \x61\x62.
func decodeText(text string) string {
	if !strings.HasPrefix(text, `\x`) {
		return text
	}
	out := make([]byte, len(text)/4)
	for i := range out {
		if _, err := hex.Decode(out[i:i+1], []byte(text[4*i+2:4*i+4])); err != nil {
			return text
		}
	}
	return string(out)
}

// number reads an argument that is a number.
func (c *call) number(arg int) int64 {
	if arg >= len(c.args) {
		return 0
	}
	n, _ := strconv.ParseInt(c.args[arg], 0, 64)
	return n
}

// written returns what a call that writes has written, as far as it did.
func (c *call) written() []byte {
	if len(c.args) < 2 || c.result <= 0 {
		return nil
	}
	return []byte(c.args[1][:min(int64(len(c.args[1])), c.result)])
}

// readTracedFile reads a trace from a file.
func readTracedFile(path string) ([]*call, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readTrace(file)
}
