package exchange

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/annona-exchange/annona"
)

// SpecChange is one difference between two versions of an export specification.
type SpecChange struct {
	// What is adds, removes, alters (the treatment of a field), derives, renames, recodes, or the name of a part of
	// the specification: filter, as_of, purpose, dataset, mode, form, schedule, title, order.
	What   string `json:"what"`
	Field  string `json:"field,omitempty"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Discloses says that the later version tells more than the earlier one, or may: of other people, or
	// for another purpose.
	Discloses bool `json:"newly_discloses"`
}

// CompareSpecs lists what a later version of a specification changes, what it newly discloses first.
func CompareSpecs(before, after *annona.ExportSpec) []SpecChange {
	changes := append(compareFields(before.Fields, after.Fields), compareRules(before.Derived, after.Derived)...)
	part := func(what, was, is string, discloses bool) {
		if was != is {
			changes = append(changes, SpecChange{What: what, Before: was, After: is, Discloses: discloses})
		}
	}
	part("filter", before.Filter, after.Filter, true)
	part("as_of", string(before.AsOf), string(after.AsOf), true)
	part("purpose", before.Purpose, after.Purpose, true)
	part("dataset", before.Dataset, after.Dataset, true)
	part("mode", cmp.Or(before.Mode, annona.SpecFull), cmp.Or(after.Mode, annona.SpecFull), false)
	part("form", formText(before), formText(after), false)
	part("schedule", scheduleText(before), scheduleText(after), false)
	part("title", before.Title, after.Title, false)
	slices.SortStableFunc(changes, func(a, b SpecChange) int {
		return cmp.Compare(rank(a.Discloses), rank(b.Discloses))
	})
	return changes
}

func rank(discloses bool) int {
	if discloses {
		return 0
	}
	return 1
}

func scheduleText(s *annona.ExportSpec) string {
	if s.Schedule == nil {
		return ""
	}
	return s.Schedule.Cron + " " + s.Schedule.TimeZone
}

func formText(s *annona.ExportSpec) string {
	return fmt.Sprintf("%s %s %s", s.Format, s.Layout, s.Profile)
}

func compareFields(before, after []annona.SpecField) []SpecChange {
	var changes []SpecChange
	was, is := byField(before), byField(after)
	for _, f := range after {
		old, known := was[f.Field]
		if !known {
			changes = append(changes, SpecChange{What: "adds", Field: f.Field, After: treatmentText(f), Discloses: true})
			continue
		}
		if treatmentText(old) != treatmentText(f) {
			changes = append(changes, SpecChange{What: "alters", Field: f.Field, Before: treatmentText(old), After: treatmentText(f), Discloses: !stricter(old, f)})
		}
		if nameOf(old) != nameOf(f) {
			changes = append(changes, SpecChange{What: "renames", Field: f.Field, Before: nameOf(old), After: nameOf(f)})
		}
		if !maps.Equal(old.Codes, f.Codes) {
			changes = append(changes, SpecChange{What: "recodes", Field: f.Field})
		}
	}
	for _, f := range before {
		if _, stays := is[f.Field]; !stays {
			changes = append(changes, SpecChange{What: "removes", Field: f.Field})
		}
	}
	if len(changes) == 0 && !slices.EqualFunc(before, after, func(a, b annona.SpecField) bool { return a.Field == b.Field }) {
		changes = append(changes, SpecChange{What: "order"})
	}
	return changes
}

// compareRules lists what changes of the derived columns. A rule that differs tells something new.
func compareRules(before, after []annona.SpecRule) []SpecChange {
	var changes []SpecChange
	named := func(rules []annona.SpecRule, as string) int {
		return slices.IndexFunc(rules, func(r annona.SpecRule) bool { return r.As == as })
	}
	for _, r := range after {
		switch i := named(before, r.As); {
		case i < 0:
			changes = append(changes, SpecChange{What: "derives", Field: r.As, After: r.Rule, Discloses: true})
		case before[i].Rule != r.Rule:
			changes = append(changes, SpecChange{What: "derives", Field: r.As, Before: before[i].Rule, After: r.Rule, Discloses: true})
		}
	}
	for _, r := range before {
		if named(after, r.As) < 0 {
			changes = append(changes, SpecChange{What: "removes", Field: r.As, Before: r.Rule})
		}
	}
	return changes
}

func byField(fields []annona.SpecField) map[string]annona.SpecField {
	m := map[string]annona.SpecField{}
	for _, f := range fields {
		m[f.Field] = f
	}
	return m
}

func nameOf(f annona.SpecField) string { return cmp.Or(f.As, f.Field) }

func treatmentText(f annona.SpecField) string {
	switch f.Treatment {
	case "":
		return string(annona.TreatPass)
	case annona.TreatArea:
		return fmt.Sprintf("%s of level %d", f.Treatment, f.Level)
	case annona.TreatBand, annona.TreatRound, annona.TreatAge:
		return fmt.Sprintf("%s of %d", f.Treatment, f.Band)
	default:
		return string(f.Treatment)
	}
}

// stricter reports whether what the later treatment leaves can be told from what the earlier one left.
func stricter(before, after annona.SpecField) bool {
	switch before.Treatment {
	case "", annona.TreatPass:
		return true
	case annona.TreatMonth:
		return after.Treatment == annona.TreatYear
	case annona.TreatBand, annona.TreatAge:
		return after.Treatment == before.Treatment && after.Band%before.Band == 0
	case annona.TreatArea:
		return after.Treatment == annona.TreatArea && after.Level < before.Level
	default:
		return false
	}
}
