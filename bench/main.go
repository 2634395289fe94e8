// Command bench measures the built program from outside, as a user of it would: it imports a
// synthetic country into each store, serves it, downloads it with curl, and compares with what psql
// and the sqlite3 shell take to write the same columns as CSV. It prints one line per figure, "name
// value unit", on standard output and what it is doing on standard error.
//
// It knows the command line, the HTTP interface and how to run benchmarks, and nothing of the
// packages behind them. Data sets are made once and kept until the generator, the mapping or the
// schema changes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// measurement takes one figure.
type measurement func(context.Context) (float64, error)

// figure is one measured number.
type figure struct {
	name     string
	unit     string
	decimals int
	measure  measurement
}

func main() {
	program := flag.String("bin", "bin/annona", "the program to measure")
	folder := flag.String("dir", "build/bench", "where data sets are kept")
	only := flag.String("only", ".", "regular expression that names of figures match")
	size := flag.Int("size", 0, "individuals of one more country, measured as CSV from SQLite")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *program, *folder, *only, *size); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, program, folder, only string, size int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only is not a regular expression: %w", err)
	}
	b, err := newBench(program, folder)
	if err != nil {
		return err
	}
	b.size = size
	lines, failed := b.measure(ctx, wanted)
	for _, line := range lines {
		fmt.Println(line)
	}
	if len(lines) == 0 && failed == nil {
		return fmt.Errorf("no figure is named like %s; there are %v", only, b.names())
	}
	return failed
}

// bench is one run of measurements. Data sets and downloads that serve several figures are
// made once.
type bench struct {
	program   string
	folder    string
	sets      map[country]*dataset
	downloads map[download]result
	imported  map[country]imported
	postgres  *cluster // that runs; nil: none does
	size      int      // of one more country; 0: none
	gateTest  string   // the compiled benchmarks of the gate; empty: not yet
}

func newBench(program, folder string) (*bench, error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	for _, tool := range []string{path, "curl", "sqlite3"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: make build builds bin/annona, make tools finds the rest", tool)
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return &bench{program: path, folder: folder, sets: map[country]*dataset{}, downloads: map[download]result{}, imported: map[country]imported{}}, nil
}

// measure takes the figures whose names match. One that fails does not stop the others.
func (b *bench) measure(ctx context.Context, wanted *regexp.Regexp) (lines []string, failed error) {
	defer b.tidy()
	for _, f := range b.figures() {
		if !wanted.MatchString(f.name) {
			continue
		}
		value, err := f.measure(ctx)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", f.name, err))
			if ctx.Err() != nil {
				return lines, failed
			}
			continue
		}
		line := f.name + " " + strconv.FormatFloat(value, 'f', f.decimals, 64) + " " + f.unit
		note("%s", line)
		lines = append(lines, line)
	}
	return lines, failed
}

func (b *bench) names() (names []string) {
	for _, f := range b.figures() {
		names = append(names, f.name)
	}
	return names
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
