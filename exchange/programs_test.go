package exchange_test

import (
	"testing"

	"github.com/annona-exchange/annona"
)

// cashTransfer is a program that is in order; each test changes one thing.
func cashTransfer() annona.Program {
	return annona.Program{
		Code: "cash-transfer", Names: map[string]string{"en": "Cash transfer"}, AssistanceUnit: "household", BenefitTypes: []string{"cash"},
		Codes:  map[string]map[string]string{"exit_reason": {"D": "death"}},
		Cycles: []annona.ProgramCycle{{Code: "2026-1", Start: "2026-01-01", End: "2026-12-31", Status: "open", Ceilings: map[string]int64{"GH01": 100}}},
	}
}

func TestPrograms(t *testing.T) {
	r := newRegistry(t, 1)
	apply := func(p annona.Program) (int, bool, error) { return r.ApplyProgram(t.Context(), operator, p) }
	if version, changed, err := apply(cashTransfer()); version != 1 || !changed || err != nil {
		t.Fatalf("first: %d, %v, %v", version, changed, err)
	}
	if version, changed, err := apply(cashTransfer()); version != 1 || changed || err != nil {
		t.Errorf("the same again: %d, %v, %v", version, changed, err)
	}
	renamed := cashTransfer()
	renamed.Names = map[string]string{"en": "LEAP"}
	if version, changed, err := apply(renamed); version != 2 || !changed || err != nil {
		t.Errorf("changed: %d, %v, %v", version, changed, err)
	}
	if p, err := r.ProgramOnFile(t.Context(), "cash-transfer"); err != nil || p.Version != 2 || p.Names["en"] != "LEAP" || p.Canonical("exit_reason", "D") != "death" || p.Canonical("exit_reason", "X") != "X" {
		t.Errorf("on file: %+v, %v", p, err)
	}
	if _, err := r.ProgramOnFile(t.Context(), "none"); annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("none: %v", err)
	}
	if _, _, err := r.ApplyProgram(t.Context(), r.caller, cashTransfer()); annona.KindOf(err) != annona.KindForbidden {
		t.Errorf("by a partner: %v", err)
	}
	for name, c := range map[string]struct {
		code   string
		change func(*annona.Program)
	}{
		"code":            {"program_malformed", func(p *annona.Program) { p.Code = "Cash Transfer" }},
		"no name":         {"program_malformed", func(p *annona.Program) { p.Names = nil }},
		"unit":            {"program_malformed", func(p *annona.Program) { p.AssistanceUnit = "village" }},
		"days":            {"program_malformed", func(p *annona.Program) { p.StartDate, p.EndDate = "2026-02-01", "2026-01-01" }},
		"no day":          {"program_malformed", func(p *annona.Program) { p.StartDate = "2026-02-30" }},
		"ceiling":         {"program_malformed", func(p *annona.Program) { p.Ceiling = -1 }},
		"benefit":         {"unknown_code", func(p *annona.Program) { p.BenefitTypes = []string{"gold"} }},
		"cycle twice":     {"program_malformed", func(p *annona.Program) { p.Cycles = append(p.Cycles, p.Cycles[0]) }},
		"cycle backwards": {"program_malformed", func(p *annona.Program) { p.Cycles[0].End = "2025-01-01" }},
		"cycle status":    {"program_malformed", func(p *annona.Program) { p.Cycles[0].Status = "over" }},
		"area ceiling":    {"program_malformed", func(p *annona.Program) { p.Cycles[0].Ceilings["GH01"] = -5 }},
		"cycle removed":   {"cycle_removed", func(p *annona.Program) { p.Cycles = nil }},
		"no list":         {"unknown_code", func(p *annona.Program) { p.Codes = map[string]map[string]string{"none": {}} }},
		"no code":         {"unknown_code", func(p *annona.Program) { p.Codes["exit_reason"]["E"] = "eaten" }},
	} {
		p := cashTransfer()
		c.change(&p)
		if _, _, err := apply(p); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}
