package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

func (r *registry) try(as annona.Caller, over ...string) *exchange.Trial {
	r.Helper()
	t, err := r.gate.TryExport(r.Context(), as, "all", 0, over)
	r.must(err)
	return t
}

// TestADryRunIsTheRealRun compares what a trial says with the export that follows it.
func TestADryRunIsTheRealRun(t *testing.T) {
	r := newRegistry(t, 300)
	r.spec("all", func(s *annona.ExportSpec) {
		s.Fields = []annona.SpecField{{Field: "individual_id", As: "id"}, {Field: "sex"}, {Field: "date_of_birth", As: "age", Treatment: annona.TreatAge, Band: 30}}
	})
	var gone []string
	for n := 3; n < 300; n += 20 {
		gone = append(gone, fmt.Sprintf("I%07d", n))
	}
	r.restrict(gone...)
	tried := r.try(r.caller)
	job := r.finish(r.worker(), r.start("all", "").ID)
	groups, rows := map[[2]string]int64{}, int64(0)
	for line := range bytes.Lines(bytes.Join(r.documents(job), nil)) {
		var row struct {
			Sex string
			Age json.Number
		}
		r.must(json.Unmarshal(line, &row))
		groups[[2]string{row.Sex, row.Age.String()}]++
		rows++
	}
	smallest := rows
	for _, n := range groups {
		smallest = min(smallest, n)
	}
	if m := r.manifest(job); !tried.Exact || tried.Rows != strconv.FormatInt(m.Rows, 10) || m.Rows != int64(300-len(gone)) {
		t.Errorf("%s rows were told, and the export has %d", tried.Rows, m.Rows)
	}
	if tried.Smallest != smallest || len(tried.Over) != 2 {
		t.Errorf("the smallest group over %v has %d rows, told were %d", tried.Over, smallest, tried.Smallest)
	}
	if len(gone) != 15 || tried.LeftOut["restriction"] != "15" || tried.LeftOut["objection"] != "<10" {
		t.Errorf("left out: %v", tried.LeftOut)
	}
	if len(tried.Fields["personal"])+len(tried.Fields["identifier"])+len(tried.Fields["public"]) != 3 {
		t.Errorf("%v", tried.Fields)
	}
	if whole := r.try(r.caller, "id"); whole.Class != "<5" || whole.Smallest != 1 {
		t.Errorf("over the id: %+v", whole)
	}
	for _, over := range [][]string{{"nothing"}, {"sex", "sex"}, {"date_of_birth"}} {
		if _, err := r.gate.TryExport(r.Context(), r.caller, "all", 0, over); annona.CodeOf(err) != "unknown_column" {
			t.Errorf("%v: %v", over, err)
		}
	}
}

// TestADryRunBlurs asks as somebody who may try exports and not take them.
func TestADryRunBlurs(t *testing.T) {
	r := newRegistry(t, 63)
	r.spec("all", nil)
	policy := annona.Policy{Roles: []annona.Role{
		{Name: annona.RolePartner, Rules: []annona.RoleRule{{Name: "agreement"}}},
		{Name: "planner", Rules: []annona.RoleRule{{Name: "tries", Verbs: []annona.Verb{annona.VerbTryExport}}}},
		{Name: "reader", Rules: []annona.RoleRule{{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}}},
	}}
	_, err := r.gate.ApplyPolicy(r.Context(), operator, policy)
	r.must(err)
	r.must(r.gate.SetRole(r.Context(), operator, r.caller.Client, "planner"))
	tried := r.try(r.caller, "sex")
	if tried.Exact || tried.Rows != "65" || tried.Smallest != 0 || tried.Class != "≥10" {
		t.Errorf("%+v", tried)
	}
	var gone []string
	for n := 6; n <= 63; n++ {
		gone = append(gone, fmt.Sprintf("I%07d", n))
	}
	r.restrict(gone...)
	if tried := r.try(r.caller, "sex"); tried.Rows != "<10" || tried.Class != "<5" || tried.LeftOut["restriction"] != "60" {
		t.Errorf("few: %+v", tried)
	}
	r.restrict("I0000001", "I0000002", "I0000003", "I0000004", "I0000005")
	if tried := r.try(r.caller, "sex"); tried.Rows != "<10" || tried.Class != "<5" {
		t.Errorf("nobody is told as few: %+v", tried)
	}
	r.must(r.gate.SetRole(r.Context(), operator, r.caller.Client, "reader"))
	if _, err := r.gate.TryExport(r.Context(), r.caller, "all", 0, nil); annona.CodeOf(err) != "role_not_granted" {
		t.Errorf("without the verb: %v", err)
	}
}

// TestADryRunStandsInTheLedger counts the entries of trials, which name nobody.
func TestADryRunStandsInTheLedger(t *testing.T) {
	r := newRegistry(t, 20)
	r.caller = r.partner("asking", func(a *annona.Agreement) { a.Purposes[0].Basis = annona.BasisConsent })
	r.spec("all", nil)
	_, err := r.gate.GiveConsent(r.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: "I0000003"}, annona.Consent{Purposes: []string{purpose}, Recipients: []string{"asking"}})
	r.must(err)
	if tried := r.try(r.caller); tried.Rows != "1" || tried.LeftOut["no_consent"] != "20" || len(tried.LeftOut) != 2 {
		t.Errorf("%+v", tried)
	}
	entries := 0
	opener := audit.Opener{Vault: r.vault, Ledger: r.store}
	r.must(r.store.WalkLedger(r.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(r.Context(), row)
		if err == nil && e.Facts != nil && e.Facts.Verb == annona.VerbTryExport {
			entries++
			if len(e.Subjects) != 0 || e.Facts.Specification != "all@1" || e.Facts.Rows != 0 {
				t.Errorf("%+v", e.Facts)
			}
		}
		return err
	}))
	if entries != 1 {
		t.Errorf("%d entries", entries)
	}
}
