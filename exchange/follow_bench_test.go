package exchange_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// benchPeople is the size of the registry that the figures of docs/performance.md are of.
const benchPeople = 100_000

// BenchmarkFollow measures what following costs in a registry of 100,000: a first snapshot beside
// an export of the same columns, and a delta of 1,000 changes.
func BenchmarkFollow(b *testing.B) {
	for _, g := range grounds(b) {
		b.Run(g.name, func(b *testing.B) {
			p := benchPlace(b, g)
			caller, err := p.admit("law")
			check(b, err)
			q := exchange.Question{Dataset: "individuals", Purpose: lawPurpose, NilReasons: true,
				Fields: []string{"individual_id", "household_id", "area_code", "sex", "date_of_birth", "marital_status", "occupation"}}
			b.Run("export", func(b *testing.B) {
				for b.Loop() {
					export, err := p.Export(p.ctx, caller, q, exchange.Form{})
					check(b, err)
					_, err = export.Run(p.ctx, []*annona.Shape{export.Shape()}, &receiver{}, func() {})
					check(b, err)
				}
			})
			b.Run("search", func(b *testing.B) { b.ReportMetric(float64(searchAll(b, p, caller, q)), "pages") })
			token := ""
			b.Run("snapshot", func(b *testing.B) {
				for b.Loop() {
					token = followAll(b, p, caller, q, "", benchPeople)
				}
			})
			b.Run("delta", func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					b.StopTimer()
					p.now = p.now.Add(time.Second)
					changeMany(b, p, n)
					check(b, p.settle())
					b.StartTimer()
					token = followAll(b, p, caller, q, token, 1000)
				}
			})
		})
	}
}

func benchPlace(b *testing.B, g ground) *place {
	p, err := g.open(context.Background())
	check(b, err)
	b.Cleanup(func() { check(b, p.store.Close()) })
	everything := annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}}
	_, err = p.ApplyAgreement(p.ctx, operator, annona.Agreement{
		Name: "law", Realm: "law", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "Program", Country: "XA"},
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31", Purposes: []annona.PurposeTerms{{Code: lawPurpose, Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{"individuals": everything}, APIKey: &annona.CredentialTerms{Reason: "benchmarks read everything"},
	})
	check(b, err)
	country, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: benchPeople, Seed: 7})
	check(b, err)
	load, err := p.StartLoad(p.ctx, operator, synthetic.Source, country.Areas())
	check(b, err)
	var homes, people []annona.Record
	put := func() {
		_, err := load.Put(p.ctx, homes, people)
		check(b, err)
		homes, people = nil, nil
	}
	for h := range country.Households() {
		homes, people = append(homes, h.Record), append(people, h.Members...)
		if len(people) > 5000 {
			put()
		}
	}
	put()
	check(b, p.settle())
	return p
}

// changeMany reports 1,000 people of a survey of our own; from the second time on as changed.
func changeMany(b *testing.B, p *place, n int) {
	var people []annona.Record
	for i := range 1000 {
		people = append(people, newRecord("individuals", string(rune('a'+i%26))+annona.Date("2000-01-01").AddDays(i).Time().Format("060102"),
			"sex", "female", "marital_status", []string{"single", "married"}[n%2]))
	}
	l, err := p.StartLoad(p.ctx, operator, "law", nil)
	check(b, err)
	for some := range slices.Chunk(people, 500) {
		_, err := l.Put(p.ctx, some)
		check(b, err)
	}
}

func followAll(b *testing.B, p *place, caller annona.Caller, q exchange.Question, token string, atLeast int) string {
	rows := 0
	for more := true; more; {
		changes, err := p.Follow(p.ctx, caller, q, token, exchange.MaxLimit, 0, exchange.Form{})
		check(b, err)
		token, more, rows = changes.Next, changes.More, rows+len(changes.List)
	}
	if rows < atLeast {
		b.Fatalf("%d changes, want %d", rows, atLeast)
	}
	return token
}

func searchAll(b *testing.B, p *place, caller annona.Caller, q exchange.Question) (pages int) {
	for b.Loop() {
		pages = 0
		for after, more := "", true; more; more = after != "" {
			answer, err := p.Search(p.ctx, caller, q, exchange.MaxLimit, after, exchange.Form{})
			check(b, err)
			after, pages = answer.Next, pages+1
		}
	}
	return pages
}
