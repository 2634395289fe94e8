package policy

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// The modes in which a registrar may load.
const (
	modeUpsert = "upsert"
	modeFull   = "full"
)

// usualGuard is the delete guard of an agreement that names none.
const usualGuard annona.Percent = 2

// Load is a load that a client asks for.
type Load struct {
	Caller annona.Caller
	Source string
	Mode   string          // upsert or full
	Guard  *annona.Percent // of a full load; nil: as the agreement says, and not above the usual one
	Today  annona.Date
}

// DecideLoad lets a client load a source under the terms of its agreement, or refuses it, and returns
// the delete guard that holds. The credential itself was checked before.
//
// Refusals (403): agreement_not_active, credential_too_weak, imports_not_granted, source_not_granted,
// mode_not_granted, delete_guard_not_granted.
func DecideLoad(t *Terms, l Load) (annona.Percent, error) {
	sources, err := Sources(t, l.Caller, l.Today)
	if err != nil {
		return 0, err
	}
	terms := t.agreement.Imports
	switch {
	case !slices.Contains(sources, l.Source):
		return 0, annona.Forbidden("source_not_granted", "the agreement does not let you load this source").On("source")
	case !slices.Contains(modesOf(terms), l.Mode):
		return 0, annona.Forbidden("mode_not_granted", "the agreement does not let you load in this mode").On("mode")
	}
	most := usualGuard
	if terms.DeleteGuard != nil {
		most = *terms.DeleteGuard
	}
	switch {
	case l.Guard == nil:
		return min(most, usualGuard), nil
	case *l.Guard > most:
		return 0, annona.Forbidden("delete_guard_not_granted", "the agreement lets one load delete no more than %g percent of a source's records", float64(most)).On("delete_guard")
	}
	return *l.Guard, nil
}

// Sources returns the sources whose registrar a client is: those that it may load, and whose loads it
// is told of. Refusals (403): agreement_not_active, credential_too_weak, imports_not_granted.
func Sources(t *Terms, caller annona.Caller, today annona.Date) ([]string, error) {
	if err := inForce(t.agreement, today); err != nil {
		return nil, err
	}
	if err := strongEnough(t.agreement, caller); err != nil {
		return nil, err
	}
	if t.agreement.Imports == nil {
		return nil, annona.Forbidden("imports_not_granted", "the agreement does not let you import")
	}
	return t.agreement.Imports.Sources, nil
}

func modesOf(terms *annona.ImportTerms) []string {
	if len(terms.Modes) == 0 {
		return []string{modeUpsert}
	}
	return terms.Modes
}

func checkImports(terms *annona.ImportTerms, fault func(string, ...any) error) error {
	if terms == nil {
		return nil
	}
	unknown := func(mode string) bool { return mode != modeUpsert && mode != modeFull }
	switch {
	case len(terms.Sources) == 0 || slices.Contains(terms.Sources, ""):
		return fault("imports name the sources that the partner loads")
	case slices.ContainsFunc(terms.Modes, unknown):
		return fault("the modes of imports are upsert and full")
	case terms.DeleteGuard != nil && !(*terms.DeleteGuard >= 0 && *terms.DeleteGuard <= 100):
		return fault("a delete guard is 0%% to 100%%")
	}
	return nil
}
