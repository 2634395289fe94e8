package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

const (
	benchPeople    = 200_000
	benchHousehold = 5 // members of each
)

// benchRecords makes a household and its members, with about twenty fields each.
func benchRecords(number int) []annona.StoredRecord {
	key := fmt.Sprintf("h%07d", number)
	records := []annona.StoredRecord{storetest.Household(key, map[string]string{
		"status": "active", "area_code": fmt.Sprintf("XA-%02d", number%50), "settlement_type": "rural", "poverty_score": fmt.Sprint(number % 100),
		"dwelling_type": "house", "floor_material": "earth", "wall_material": "mud", "roof_material": "metal",
	})}
	for m := range benchHousehold {
		role := "child"
		if m == 0 {
			role = "head"
		}
		p := storetest.Person(fmt.Sprintf("p%07d-%d", number, m), map[string]string{
			"registration_date": "2023-05-17", "as_of": "2023-05-01", "sex": "female", "date_of_birth": fmt.Sprintf("%d-03-17", 1950+number%70),
			"date_of_birth_precision": "day", "vital_status": "alive", "country_of_birth": "GH", "nationality": "GH", "marital_status": "married",
			"education_level": "primary", "in_school": "false", "employment_status": "employed", "status_in_employment": "own_account",
			"occupation": "6", "income_amount": fmt.Sprint(number % 9000), "income_currency": "GHS", "income_period": "month",
			"preferred_language": "aka", "is_disabled": "false",
			"given_name": "Ama", "family_name": "Mensah", "full_name": "Ama Mensah", "phone_numbers": "+233201234567",
		}, annona.Membership{HouseholdKey: key, Role: role, RoleSourceCode: "1", RelationshipToHead: "1"})
		p.Identifiers = []annona.IdentifierIndex{{Scheme: "national_id", Hash: fmt.Appendf(nil, "%032x", (number*benchHousehold+m)*2654435761%(1<<40))}}
		records = append(records, p)
	}
	return records
}

func benchRegistry(b *testing.B) tested {
	c := testCluster(b)
	return c.open(b, "app", c.newRegistry(b))
}

func benchStore(b *testing.B) tested {
	b.Helper()
	s := benchRegistry(b)
	loadBench(b, s)
	return s
}

// loadBench loads the people of the benchmarks in batches of a thousand records.
func loadBench(b *testing.B, s tested) {
	b.Helper()
	var batch []annona.StoredRecord
	var writing time.Duration
	for h := range benchPeople / benchHousehold {
		batch = append(batch, benchRecords(h)...)
		if len(batch) < 1000 && h < benchPeople/benchHousehold-1 {
			continue
		}
		start := time.Now()
		err := s.Update(context.Background(), func(tx annona.Tx) error {
			_, err := storetest.Load(context.Background(), tx, "bench", batch)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		writing += time.Since(start)
		batch = batch[:0]
	}
	b.ReportMetric(benchPeople/writing.Seconds(), "individuals/s")
}

func BenchmarkUpsert(b *testing.B) {
	for b.Loop() {
		s := benchRegistry(b)
		loadBench(b, s)
	}
}

func BenchmarkReadPage(b *testing.B) {
	s := benchStore(b)
	d := annona.Standard()
	individuals, _ := d.Dataset("individuals")
	households, _ := d.Dataset("households")
	clear := []string{"individual_id", "household_id", "role", "area_code", "registration_date", "as_of", "sex", "date_of_birth", "date_of_birth_precision",
		"vital_status", "country_of_birth", "nationality", "marital_status", "education_level", "in_school", "employment_status", "status_in_employment",
		"occupation", "income_amount", "income_currency", "income_period", "preferred_language"}
	terms := annona.ScopeTerms{Purpose: "p", Recipient: "r", Basis: annona.BasisPublicInterest, AsOf: storetest.Today, Today: storetest.Today}
	field := func(ds *annona.Dataset, code string) annona.Path {
		f, _ := ds.Field(code)
		return annona.Path{Field: f}
	}
	adult := annona.Age{Path: field(individuals, "date_of_birth"), Op: annona.GreaterOrEqual, Years: 18}
	area := annona.Within{Path: field(individuals, "area_code"), Area: "XA-07"}
	people := storetest.Shape(individuals, clear...)
	sealed := storetest.Shape(individuals, append(clear, "given_name", "family_name", "full_name")...)
	grouped := storetest.WithGroup(storetest.Shape(individuals, clear...), "memberships", "household_id", "role", "start_date")
	homes := storetest.Shape(households, "household_id", "head_individual_id", "member_count", "area_code", "status", "poverty_score")
	nested := storetest.WithGroup(storetest.Shape(households, "household_id", "head_individual_id", "member_count", "area_code", "status", "poverty_score"), "members", clear...)
	for _, c := range []struct {
		name  string
		scope annona.Scope
	}{
		{"individuals", annona.NewScope(people, nil, nil, terms)},
		{"sealed", annona.NewScope(sealed, nil, nil, terms)},
		{"adults", annona.NewScope(people, adult, adult, terms)},
		{"area", annona.NewScope(people, area, area, terms)},
		{"memberships", annona.NewScope(grouped, nil, nil, terms)},
		{"households", annona.NewScope(homes, nil, nil, terms)},
		{"members", annona.NewScope(nested, nil, nil, terms)},
		{"adult members", annona.NewScope(nested, nil, adult, terms)},
	} {
		b.Run(c.name, func(b *testing.B) { benchRead(b, s, c.scope) })
	}
}

func benchRead(b *testing.B, s tested, scope annona.Scope) {
	page := annona.NewPage(scope.Shape())
	b.ReportAllocs()
	start, rows, members := time.Now(), 0, 0
	for b.Loop() {
		for after, more := annona.Number(0), true; more; {
			page.Reset()
			var err error
			if more, err = s.ReadPage(context.Background(), scope, after, 0, 16384, page); err != nil {
				b.Fatal(err)
			}
			if page.Count > 0 {
				after = page.Numbers[page.Count-1]
			}
			rows += page.Count
			for i := range page.Groups {
				members += page.Groups[i].Page.Count
			}
		}
	}
	b.ReportMetric(float64(rows)/time.Since(start).Seconds(), "rows/s")
	b.ReportMetric(float64(members)/time.Since(start).Seconds(), "nested/s")
}

func BenchmarkReadOne(b *testing.B) {
	s := benchRegistry(b)
	d := annona.Standard()
	individuals, _ := d.Dataset("individuals")
	err := s.Update(context.Background(), func(tx annona.Tx) error {
		_, err := storetest.Load(context.Background(), tx, "bench", benchRecords(1))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	scope := annona.NewScope(storetest.Shape(individuals, "sex", "date_of_birth"), nil, nil, annona.ScopeTerms{AsOf: storetest.Today, Today: storetest.Today})
	page := annona.NewPage(scope.Shape())
	if _, err := s.ReadPage(context.Background(), scope, 0, 0, 1, page); err != nil {
		b.Fatal(err)
	}
	uid := page.UIDs[0]
	b.ReportAllocs()
	for b.Loop() {
		page.Reset()
		if err := s.ReadOne(b.Context(), scope, uid, page); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend appends releases from several requests at once; they share commits.
func BenchmarkAppend(b *testing.B) {
	s := benchRegistry(b)
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := s.Append(context.Background(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
