package exchange_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

func (r *registry) declare(t *testing.T, types ...annona.IdentifierType) {
	t.Helper()
	if _, err := r.Declare(t.Context(), operator, annona.Extension{Country: "XA", IdentifierTypes: types}); err != nil {
		t.Fatal(err)
	}
}

// flagged returns how many individuals have a quality flag.
func (r *registry) flagged(t *testing.T, flag string) int {
	t.Helper()
	r.partner(t, func(a *annona.Agreement) {
		grantIdentifiers(a)
		a.Datasets["quality_flags"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Personal}}
	})
	q := everybody
	q.Filter = "'" + flag + "' in individual.quality_flags"
	to := &receiver{}
	if _, err := r.download(t, q, to); err != nil {
		t.Fatal(err)
	}
	return len(to.ids)
}

// TestAnIdentifierThatDoesNotFitIsFlagged: it is loaded, flagged and counted, as long as it does not fit.
func TestAnIdentifierThatDoesNotFitIsFlagged(t *testing.T) {
	r := newRegistry(t, 0)
	r.declare(t, annona.IdentifierType{Code: "national_id_number", Pattern: "[0-9]{11}", Check: "luhn"})
	send := func(number string, misfits, changed, want int) {
		t.Helper()
		info, err := r.send(t, file{source: "survey", rows: []annona.Record{row(t, "individuals", "p1", "full_name", "Ama", "national_id", number)}})
		if err != nil {
			t.Fatal(err)
		}
		if info.Report.Misfits != misfits || info.Report.Changed+info.Report.Created != changed {
			t.Errorf("%d misfits, %d written; want %d and %d", info.Report.Misfits, info.Report.Changed+info.Report.Created, misfits, changed)
		}
		if got := r.flagged(t, "id_format_invalid"); got != want {
			t.Errorf("%d are flagged, want %d", got, want)
		}
	}
	send("7992-7398-710", 1, 1, 1)
	send("7992-7398-710", 1, 0, 1)
	send("٧٩٩٢ ٧٣٩٨ ٧١٣", 0, 1, 0)
	send("7992-7398-7130", 1, 1, 1)
	r.declare(t, annona.IdentifierType{Code: "national_id_number"})
	send("7992-7398-7130", 0, 1, 0)
	r.wantHolder(t, exchange.Identifier{Type: "national_id_number", Value: "79927398 7130"}, "Ama", "")
}

// TestDisputesAreThoseOfToday: a number with one holder is disputed while two on file have it. A
// shareable one is not, nor one number of two issuers. A dispute ends with what made it.
func TestDisputesAreThoseOfToday(t *testing.T) {
	r := newRegistry(t, 0)
	r.partner(t, grantIdentifiers)
	want := func(types ...string) {
		t.Helper()
		var got []string
		err := r.Disputes(t.Context(), operator, "program", func(d exchange.Disputed) error {
			got = append(got, d.Type+" "+strconv.Itoa(len(d.Holders)))
			return nil
		})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, types) {
			t.Errorf("disputed: %v, %v; want %v", got, err, types)
		}
	}
	full := func(people ...annona.Record) {
		t.Helper()
		if _, err := r.send(t, file{source: "survey", mode: exchange.ModeFull, guard: 100, rows: people}); err != nil {
			t.Fatal(err)
		}
	}
	one := holder(t, "1", "national_id_number", "", "GHA-1")
	full(one, holder(t, "2", "national_id_number", "", "GHA 2"))
	want()
	again := holder(t, "2", "national_id_number", "", "gha 1")
	full(one, again,
		holder(t, "3", "program_id_number", "", "7"), holder(t, "4", "program_id_number", "", "7"),
		holder(t, "5", "passport_number", "Northland", "G-4711"), holder(t, "6", "passport_number", "Southland", "G-4711"),
		holder(t, "7", "passport_number", "Northland", "G 4711"))
	want("national_id_number 2", "passport_number 2")
	r.wantHolder(t, exchange.Identifier{Type: "national_id_number", Value: "GHA1"}, "", "identifier_ambiguous")

	full(one, again, holder(t, "3", "program_id_number", "", "7"), holder(t, "4", "program_id_number", "", "7"))
	want("national_id_number 2")
	r.declare(t, annona.IdentifierType{Code: "program_id_number"})
	full(one, again, holder(t, "3", "program_id_number", "", "7"), holder(t, "4", "program_id_number", "", "7"))
	want("national_id_number 2", "program_id_number 2")
	full(one, holder(t, "2", "national_id_number", "", "GHA 2"), holder(t, "3", "program_id_number", "", "7"))
	want()

	full(one, again)
	want("national_id_number 2")
	if _, err := r.Erase(t.Context(), operator, exchange.Subject{Source: "survey", Key: "2"}, "unlawful"); err != nil {
		t.Fatal(err)
	}
	want()
	if err := r.Disputes(t.Context(), r.caller, "program", nil); annona.CodeOf(err) != "operator_only" {
		t.Errorf("a partner asks: %v", err)
	}
}
