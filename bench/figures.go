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

// formats are those of exports; textFormats those of which a shell can write a like.
var (
	formats     = []string{"csv", "ndjson", "json", "xml", "jsonld", "xlsx", "parquet"}
	textFormats = formats[:4]
)

// figures lists everything that can be measured, in the order of printing.
func (b *bench) figures() []figure {
	var all []figure
	for _, format := range formats {
		for _, size := range []int{small, large} {
			all = append(all,
				figure{format + "_rows_per_s_" + sizeName(size), "rows/s", 0, b.rowsPerSecond(format, size)},
				figure{format + "_vmhwm_mib_" + sizeName(size), "MiB", 1, b.peak(format, size)})
		}
		all = append(all, figure{format + "_rss_growth_mib", "MiB", 1, b.growth(sqlite, format)})
	}
	all = append(all, figure{"first_byte_ms", "ms", 1, b.firstByte(large)})
	for _, format := range textFormats {
		all = append(all, figure{format + "_sqlite_over_shell", "ratio", 3, b.overShell(format)})
	}
	if b.size > 0 && b.size != small && b.size != large {
		name := sizeName(b.size)
		all = append(all,
			figure{"csv_rows_per_s_" + name, "rows/s", 0, b.rowsPerSecond("csv", b.size)},
			figure{"csv_vmhwm_mib_" + name, "MiB", 1, b.peak("csv", b.size)},
			figure{"csv_first_byte_ms_" + name, "ms", 1, b.firstByte(b.size)})
		all = append(all, b.importFigures(b.size, "_"+name)...)
	}
	all = append(all, b.importFigures(large, "")...)
	all = append(all, b.g2pFigures()...)
	all = append(all, b.caseworkFigures()...)
	return append(all,
		figure{"import_rss_growth_mib", "MiB", 1, b.larger(b.importGrowth)},
		figure{"csv_postgres_over_copy", "ratio", 3, b.overCopy(postgres, "csv")},
		figure{"ndjson_postgres_over_copy", "ratio", 3, b.overCopy(postgres, "ndjson")},
		figure{"xml_postgres_over_copy", "ratio", 3, b.overCopy(postgres, "xml")},
		figure{"csv_sqlite_over_copy", "ratio", 3, b.overCopy(sqlite, "csv")},
		figure{"export_vmhwm_mib", "MiB", 1, b.larger(func(store string) measurement {
			return b.peakOf(country{store, large}, "csv")
		})},
		figure{"export_rss_growth_mib", "MiB", 1, b.larger(func(store string) measurement { return b.growth(store, "csv") })},
		figure{"record_p99_ms", "ms", 2, b.recordP99((*lookup).rounds)},
		figure{"record_p99_steady_ms", "ms", 2, b.recordP99((*lookup).steady)},
		figure{"audited_reads_per_s", "pages/s", 0, b.audited},
		figure{"write_over_pgbench_8", "ratio", 3, b.overPgbench(8)},
		figure{"write_over_pgbench_64", "ratio", 3, b.overPgbench(64)},
		figure{"revoke_p99_s", "s", 2, b.revokeP99},
		figure{"token_per_s", "tokens/s", 0, b.tokens},
		figure{"policy_decision_us", "µs", 1, microseconds("./policy", "BenchmarkDecide")},
		figure{"dpop_check_us", "µs", 1, microseconds("./identity", "BenchmarkDPoP")},
		figure{"api_key_check_us", "µs", 1, microseconds("./identity", "BenchmarkAPIKey")},
	)
}

func sizeName(size int) string {
	if size%1_000_000 == 0 {
		return fmt.Sprintf("%dm", size/1_000_000)
	}
	return fmt.Sprintf("%dk", size/1_000)
}

func (b *bench) rowsPerSecond(format string, size int) measurement {
	return func(ctx context.Context) (float64, error) {
		r, err := b.download(ctx, download{format, country{sqlite, size}})
		return float64(size) / r.total.Seconds(), err
	}
}

func (b *bench) peak(format string, size int) measurement {
	return b.peakOf(country{sqlite, size}, format)
}

// peakOf is the largest resident set of the server's life (VmHWM).
func (b *bench) peakOf(of country, format string) measurement {
	return func(ctx context.Context) (float64, error) {
		r, err := b.download(ctx, download{format, of})
		return r.peakMiB, err
	}
}

// growth is what ten times the rows cost in memory.
func (b *bench) growth(store, format string) measurement {
	return func(ctx context.Context) (float64, error) {
		less, err := b.download(ctx, download{format, country{store, small}})
		if err != nil {
			return 0, err
		}
		more, err := b.download(ctx, download{format, country{store, large}})
		return more.peakMiB - less.peakMiB, err
	}
}

// larger is the larger figure of the two stores.
func (b *bench) larger(of func(store string) measurement) measurement {
	return func(ctx context.Context) (float64, error) {
		one, err := of(sqlite)(ctx)
		if err != nil {
			return 0, err
		}
		other, err := of(postgres)(ctx)
		note("sqlite %.1f, postgres %.1f", one, other)
		return max(one, other), err
	}
}

func (b *bench) firstByte(size int) measurement {
	return func(ctx context.Context) (float64, error) {
		r, err := b.download(ctx, download{"csv", country{sqlite, size}})
		return float64(r.firstByte.Microseconds()) / 1000, err
	}
}

// pairs is how often a comparison is made: the two sides take turns, so that a machine that
// slows down slows both.
const pairs = 5

// overShell compares the wall time of a download with that of the sqlite3 shell writing the
// same columns of the same rows as CSV from a flat table: the median ratio.
func (b *bench) overShell(format string) measurement {
	return func(ctx context.Context) (float64, error) {
		of := country{sqlite, large}
		set, err := b.dataset(ctx, of)
		if err != nil {
			return 0, err
		}
		flat, err := b.flat(ctx, set)
		if err != nil {
			return 0, err
		}
		return b.compare(ctx, of, format, "sqlite3", func() (time.Duration, error) { return dump(ctx, flat) })
	}
}

// compare has our export and another program take turns, after each has run once.
func (b *bench) compare(ctx context.Context, of country, format, name string, other func() (time.Duration, error)) (float64, error) {
	set, err := b.dataset(ctx, of)
	if err != nil {
		return 0, err
	}
	s, err := b.serve(ctx, set)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	ratios := make([]float64, 0, pairs)
	for i := range pairs + 1 {
		ours, err := s.curl(ctx, format)
		if err != nil {
			return 0, err
		}
		theirs, err := other()
		if err != nil {
			return 0, err
		}
		if i == 0 {
			continue // both sides are warm from here on
		}
		note("%s of %s %.2f s, %s %.2f s", format, of, ours.total.Seconds(), name, theirs.Seconds())
		ratios = append(ratios, ours.total.Seconds()/theirs.Seconds())
	}
	note("%s of %s over %s: %.3f to %.3f", format, of, name, slices.Min(ratios), slices.Max(ratios))
	return median(ratios), nil
}

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
