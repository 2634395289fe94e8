package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// The benchmarks of the gate without a wire. make bench runs them against a registry that it names
// in these variables of the environment.
const (
	benchData     = "ANNONA_BENCH_DATA"
	benchDatabase = "ANNONA_BENCH_DATABASE" // empty: a file in the folder
	benchClient   = "ANNONA_BENCH_CLIENT"   // id of a key under the agreement eligibility
	benchWriters  = "ANNONA_BENCH_WRITERS"
)

func openBench(b *testing.B) *folder {
	b.Helper()
	if os.Getenv(benchData) == "" {
		b.Skip("make bench says which registry is measured")
	}
	f, err := dataFlag{Data: os.Getenv(benchData), Database: os.Getenv(benchDatabase)}.open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(reserveHeap()) // as a server does
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	return f
}

// closedLoop has workers do b.N operations, each the next as soon as it is through with one.
func closedLoop(b *testing.B, workers int, unit string, operation func(ctx context.Context, worker int) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for worker := range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := operation(b.Context(), worker); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
}

// BenchmarkAuditedReads has 16 readers walk through the registry, each in pages of 20 individuals
// with all that is granted of them, each page behind its durable entry.
func BenchmarkAuditedReads(b *testing.B) {
	const readers, limit = 16, 20
	f := openBench(b)
	client, err := annona.ParseUID(os.Getenv(benchClient))
	if err != nil {
		b.Fatal(err)
	}
	caller := annona.Caller{Client: client, Agreement: "eligibility", Strength: annona.StrengthAPIKey}
	question := exchange.Question{Dataset: "individuals", Purpose: eligibility, NilReasons: true}
	cursors := make([]string, readers)
	closedLoop(b, readers, "pages/s", func(ctx context.Context, reader int) error {
		answer, err := f.gate.Search(ctx, caller, question, limit, cursors[reader], exchange.Form{})
		if err != nil {
			return err
		}
		if answer.Page.Count() != limit {
			return fmt.Errorf("a page of %d", answer.Page.Count())
		}
		cursors[reader] = answer.Next
		answer.Sent(limit, nil)
		return nil
	})
	f.gate.Settle()
}

// BenchmarkWrites has writers change records, one in each transaction with its event and its
// ledger entry. Each has records of its own.
func BenchmarkWrites(b *testing.B) {
	const each = 200
	writers, err := strconv.Atoi(os.Getenv(benchWriters))
	if err != nil {
		b.Skip("make bench says how many write")
	}
	f := openBench(b)
	loads, changes := make([]*exchange.Loading, writers), make([]int, writers)
	for writer := range writers {
		loads[writer], err = f.gate.StartLoad(b.Context(), operator(), fmt.Sprintf("bench-%d", writer), nil)
		if err != nil {
			b.Fatal(err)
		}
		var people []annona.Record
		for n := range each {
			people = append(people, benchPerson(writer, n, b.N))
		}
		if _, err := loads[writer].Put(b.Context(), people); err != nil {
			b.Fatal(err)
		}
	}
	closedLoop(b, writers, "writes/s", func(ctx context.Context, writer int) error {
		changes[writer]++
		person := benchPerson(writer, changes[writer]%each, b.N+changes[writer])
		loaded, err := loads[writer].Put(ctx, []annona.Record{person})
		if err == nil && loaded.Changed != 1 {
			err = fmt.Errorf("written: %+v", loaded)
		}
		return err
	})
}

// benchPerson is an individual of a writer; its occupation says which change it is.
func benchPerson(writer, n, change int) annona.Record {
	individuals, _ := annona.Standard().Dataset("individuals")
	r := annona.Record{Dataset: individuals, Source: fmt.Sprintf("bench-%d", writer), Key: fmt.Sprint(n)}
	for code, text := range map[string]string{
		"registration_date": "2025-05-17", "as_of": "2025-05-01", "full_name": "Ama Mensah", "given_name": "Ama", "family_name": "Mensah",
		"sex": "female", "date_of_birth": "1994-06-30", "date_of_birth_precision": "day", "vital_status": "alive", "marital_status": "married",
		"education_level": "primary", "in_school": "false", "employment_status": "employed", "occupation": "6", "income_amount": fmt.Sprint(change),
		"income_currency": "GHS", "income_period": "month", "preferred_language": "aka", "phone_numbers": "+233201234567",
	} {
		field, ok := individuals.Field(code)
		if !ok {
			panic(code + " is no field")
		}
		r.Values = append(r.Values, annona.Value{Field: field, Text: text})
	}
	return r
}
