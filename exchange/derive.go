package exchange

import (
	"cmp"
	"slices"

	"github.com/annona-exchange/annona"
)

// derive adds to a record what follows from the rest of it by the rules of the data model,
// where the source did not say it itself.
func derive(r *annona.Record) {
	switch r.Dataset.Name {
	case "individuals":
		deriveDisability(r)
	case "households":
		deriveScore(r)
	}
}

// deriveDisability sets is_disabled from the Washington Group short set: from the age of 5,
// at least one domain with a lot of difficulty or worse. Nobody who was not asked gets a value,
// and no certificate gives one.
func deriveDisability(r *annona.Record) {
	field, ok := r.Dataset.Field("is_disabled")
	if !ok || valueOf(r.Values, "is_disabled") != "" || valueOf(r.Values, "is_disabled_nil_reason") != "" {
		return
	}
	items := groupOf(r, "functioning")
	birth := annona.Date(valueOf(r.Values, "date_of_birth"))
	if len(items) == 0 || birth == "" {
		return
	}
	asked, disabled := false, "false"
	for _, item := range items {
		on := annona.Date(valueOf(item, "as_of"))
		if on == "" {
			on = annona.Date(valueOf(r.Values, "as_of"))
		}
		if on == "" || annona.AgeOn(birth, on) < 5 {
			continue
		}
		asked = true
		if severity := valueOf(item, "severity"); severity == "a_lot_of_difficulty" || severity == "cannot_do" {
			disabled = "true"
		}
	}
	if asked {
		r.Values = append(r.Values, annona.Value{Field: field, Text: disabled})
	}
}

// deriveScore shows the latest complete assessment on the household itself.
func deriveScore(r *annona.Record) {
	items := groupOf(r, "assessments")
	if len(items) == 0 || valueOf(r.Values, "poverty_score") != "" {
		return
	}
	complete := slices.DeleteFunc(slices.Clone(items), func(item []annona.Value) bool {
		return valueOf(item, "status") != "complete" || valueOf(item, "score") == ""
	})
	if len(complete) == 0 {
		return
	}
	latest := slices.MaxFunc(complete, func(a, b []annona.Value) int {
		return cmp.Compare(valueOf(a, "collected_at"), valueOf(b, "collected_at"))
	})
	for from, to := range map[string]string{
		"score": "poverty_score", "band": "poverty_band", "formula_version": "poverty_score_type", "collected_at": "score_date",
	} {
		field, ok := r.Dataset.Field(to)
		if text := valueOf(latest, from); ok && text != "" && valueOf(r.Values, to) == "" {
			r.Values = append(r.Values, annona.Value{Field: field, Text: text})
		}
	}
}

func groupOf(r *annona.Record, code string) [][]annona.Value {
	for _, g := range r.Groups {
		if g.Field.Code == code {
			return g.Items
		}
	}
	return nil
}
