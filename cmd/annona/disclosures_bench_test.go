package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// benchRegistries are registries of both kinds with a few people, for benchmarks of the ledger.
func benchRegistries(b *testing.B, run func(b *testing.B, f *folder)) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			where := []string{"--data", filepath.Join(b.TempDir(), "registry")}
			if kind == "postgres" {
				where = append(where, "--database", emptyDatabase(b))
			}
			must(b, slices.Concat([]string{"init"}, where)...)
			must(b, slices.Concat([]string{"agreement", "apply"}, where, []string{agreementFile("eligibility")})...)
			made := command("generate", "--individuals", "2000", "--seed", "7")
			file := filepath.Join(b.TempDir(), "country.ndjson")
			writeFile(b, file, []byte(made.out))
			must(b, slices.Concat([]string{"import"}, where, []string{"--mapping", syntheticMapping, file})...)
			f, err := flagsOf(where).open(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { f.Close() })
			run(b, f)
		})
	}
}

func emptyDatabase(b *testing.B) string {
	c, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Remove)
	session, err := pgx.Connect(context.Background(), c.URL("postgres", "postgres"))
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close(context.Background())
	if _, err := session.Exec(context.Background(), "CREATE DATABASE registry"); err != nil {
		b.Fatal(err)
	}
	return c.URL("postgres", "registry")
}

// BenchmarkDisclosures asks who received one person's data after 20 exports of a million
// people, page by page as an export records them, and 100,000 records read one by one.
func BenchmarkDisclosures(b *testing.B) {
	const people, exports, pageRows, records = 1_000_000, 20, 8192, 100_000
	benchRegistries(b, func(b *testing.B, f *folder) {
		ctx := context.Background()
		caller := annona.Caller{Client: annona.NewUID(), Agreement: "eligibility", Strength: annona.StrengthAPIKey}
		facts := audit.Facts{Verb: annona.VerbExport, Dataset: "individuals", Partner: "Program", Agreement: "eligibility", Fields: []string{"full_name", "sex"}}
		release := func(request annona.UID, first, last annona.Number) annona.LedgerRow {
			numbers := make([]annona.Number, 0, last-first+1)
			for n := first; n <= last; n++ {
				numbers = append(numbers, n)
			}
			return audit.Release(time.Now(), request, facts, "", caller, []audit.Subjects{{Noun: "individual", Fields: facts.Fields, Numbers: numbers}})
		}
		var rows []annona.LedgerRow
		flush := func(least int) {
			if len(rows) < least {
				return
			}
			if err := f.gate.Ledger.Append(ctx, rows...); err != nil {
				b.Fatal(err)
			}
			rows = rows[:0]
		}
		for range exports {
			request := annona.NewUID()
			for first := annona.Number(1); first <= people; first += pageRows {
				rows = append(rows, release(request, first, min(first+pageRows-1, people)))
			}
			rows = append(rows, audit.Outcome(time.Now(), request, audit.Facts{Outcome: audit.Complete}, caller))
			flush(1)
		}
		for i := range records {
			n := annona.Number(1 + i*7%people)
			rows = append(rows, release(annona.NewUID(), n, n))
			flush(1000)
		}
		flush(1)
		subject := exchange.Subject{Source: "synthetic", Key: "I0000001"}
		var slowest time.Duration
		for b.Loop() {
			began := time.Now()
			told, err := f.gate.DisclosuresOf(ctx, operator(), subject)
			if err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(began))
			told.Sent(int64(len(told.All)), nil)
			if n := slices.IndexFunc(told.All, func(d exchange.Disclosure) bool { return d.Verb == annona.VerbExport }); len(told.All)-n < exports {
				b.Fatalf("%d disclosures are told", len(told.All)-n)
			}
		}
		b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
	})
}

// BenchmarkVerify walks a ledger of 100,000 releases, opens what they say and checks all of it.
func BenchmarkVerify(b *testing.B) {
	const entries, batch = 100_000, 1000
	benchRegistries(b, func(b *testing.B, f *folder) {
		ctx := context.Background()
		caller := annona.Caller{Client: annona.NewUID(), Agreement: "eligibility", Strength: annona.StrengthAPIKey}
		facts := audit.Facts{Verb: annona.VerbGet, Dataset: "individuals", Partner: "Program", Fields: []string{"full_name", "sex"}}
		for range entries / batch {
			rows := make([]annona.LedgerRow, batch)
			for i := range rows {
				people := []audit.Subjects{{Noun: "individual", Fields: facts.Fields, Numbers: []annona.Number{annona.Number(i + 1)}}}
				rows[i] = audit.Release(time.Now(), annona.NewUID(), facts, "", caller, people)
			}
			if err := f.gate.Ledger.Append(ctx, rows...); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			report, err := audit.Verify(ctx, f.ledger(), audit.Evidence{})
			if err != nil || !report.Whole() {
				b.Fatal(report.Findings, err)
			}
		}
		b.ReportMetric(entries*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}
