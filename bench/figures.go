package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// The sizes of the country, in individuals.
const (
	small = 100_000
	large = 1_000_000
)

var formats = []string{"csv", "ndjson", "json", "xml"}

// figures lists everything that can be measured, in the order of printing.
func (b *bench) figures() []figure {
	var all []figure
	for _, format := range formats {
		for _, size := range []int{small, large} {
			all = append(all,
				figure{format + "_rows_per_s_" + sizeName(size), "rows/s", 0, b.rowsPerSecond(format, size)},
				figure{format + "_vmhwm_mib_" + sizeName(size), "MiB", 1, b.peak(format, size)})
		}
		all = append(all, figure{format + "_rss_growth_mib", "MiB", 1, b.growth(format)})
	}
	all = append(all, figure{"first_byte_ms", "ms", 1, b.firstByte})
	for _, format := range formats {
		all = append(all, figure{format + "_sqlite_over_shell", "ratio", 3, b.overShell(format)})
	}
	return all
}

func sizeName(size int) string {
	if size%1_000_000 == 0 {
		return fmt.Sprintf("%dm", size/1_000_000)
	}
	return fmt.Sprintf("%dk", size/1_000)
}

func (b *bench) rowsPerSecond(format string, size int) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		r, err := b.download(ctx, download{format, size})
		return float64(size) / r.total.Seconds(), err
	}
}

// peak is the largest resident set of the server's life (VmHWM).
func (b *bench) peak(format string, size int) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		r, err := b.download(ctx, download{format, size})
		return r.peakMiB, err
	}
}

// growth is what ten times the rows cost in memory.
func (b *bench) growth(format string) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		less, err := b.download(ctx, download{format, small})
		if err != nil {
			return 0, err
		}
		more, err := b.download(ctx, download{format, large})
		return more.peakMiB - less.peakMiB, err
	}
}

func (b *bench) firstByte(ctx context.Context) (float64, error) {
	r, err := b.download(ctx, download{"csv", large})
	return float64(r.firstByte.Microseconds()) / 1000, err
}

// pairs is how often a comparison is made: the two sides take turns, so that a machine that
// slows down slows both.
const pairs = 5

// overShell compares the wall time of a download with that of the sqlite3 shell writing the
// same columns of the same rows as CSV from a flat table: the median ratio.
func (b *bench) overShell(format string) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		set, err := b.dataset(ctx, large)
		if err != nil {
			return 0, err
		}
		flat, err := b.flat(ctx, set)
		if err != nil {
			return 0, err
		}
		s, err := b.serve(ctx, set)
		if err != nil {
			return 0, err
		}
		defer s.stop()
		ratios := make([]float64, pairs)
		for i := range ratios {
			ours, err := s.curl(ctx, format)
			if err != nil {
				return 0, err
			}
			shell, err := dump(ctx, flat)
			if err != nil {
				return 0, err
			}
			note("%s %.2f s, sqlite3 %.2f s", format, ours.total.Seconds(), shell.Seconds())
			ratios[i] = ours.total.Seconds() / shell.Seconds()
		}
		return median(ratios), nil
	}
}

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
