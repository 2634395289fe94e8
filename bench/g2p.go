package main

import (
	"context"
	"os"
	"time"
)

// g2pPeople is the size of the published case of a comparable system: 258,984 individuals with their
// households and seven child tables took 402 s as zipped CSV and about 1,320 s as XLSX.
const g2pPeople = 258_984

// g2pFigures rebuild that case: all that the agreement grants of every household, with its members and the
// tables of both, by one request, on the embedded store.
func (b *bench) g2pFigures() []figure {
	return []figure{
		{"g2p_zip_csv_s", "s", 2, b.g2pSeconds("csv")},
		{"g2p_xlsx_s", "s", 2, b.g2pSeconds("xlsx")},
		{"g2p_parquet_s", "s", 2, b.g2pSeconds("parquet")},
		{"g2p_peak_mib", "MiB", 1, b.g2pPeak},
	}
}

func (b *bench) g2pSeconds(format string) measurement {
	return func(ctx context.Context) (float64, error) {
		r, err := b.g2p(ctx, format)
		return r.total.Seconds(), err
	}
}

// g2pPeak is the largest resident set of the servers of the three formats.
func (b *bench) g2pPeak(ctx context.Context) (peak float64, err error) {
	for _, format := range []string{"csv", "xlsx", "parquet"} {
		r, err := b.g2p(ctx, format)
		if err != nil {
			return 0, err
		}
		peak = max(peak, r.peakMiB)
	}
	return peak, nil
}

// g2p downloads the case from a server of its own.
func (b *bench) g2p(ctx context.Context, format string) (result, error) {
	what := download{"g2p-" + format, country{sqlite, g2pPeople}}
	if r, ok := b.downloads[what]; ok {
		return r, nil
	}
	set, err := b.dataset(ctx, what.of)
	if err != nil {
		return result{}, err
	}
	s, err := b.serve(ctx, set)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	if err := s.warmUp(ctx); err != nil {
		return result{}, err
	}
	totals := make([]time.Duration, repeats)
	for i := range repeats {
		started := time.Now()
		if _, err := s.fetch(ctx, os.DevNull, "/v1/households/export?format="+format+"&layout=linked&purpose="+purpose); err != nil {
			return result{}, err
		}
		totals[i] = time.Since(started)
		note("%s of %s: %.2f s, load %s", what.format, what.of, totals[i].Seconds(), load1())
	}
	r := result{total: median(totals)}
	if r.peakMiB, err = s.peakMiB(); err != nil {
		return result{}, err
	}
	note("%s of %s: %.0f MiB at most", what.format, what.of, r.peakMiB)
	b.downloads[what] = r
	return r, nil
}

// load1 is the load of the machine in the last minute: a figure of a busy machine says little.
func load1() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil || len(text) < 4 {
		return "unknown"
	}
	return string(text[:4])
}
