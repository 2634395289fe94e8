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

// Load is a load that a client asks for: a Request with the verb of imports, and no dataset.
type Load struct {
	Request
	Source string
	Mode   string          // upsert or full
	Guard  *annona.Percent // of a full load; nil: as the agreement says, and not above the usual one
}

// DecideLoad lets a client load a source under the terms of its agreement and in its role, or refuses it,
// and returns the delete guard that holds. The credential itself was checked before.
//
// Refusals (403): those of Sources, source_not_granted, mode_not_granted, delete_guard_not_granted.
func DecideLoad(t *Terms, p *Roles, l Load) (annona.Percent, error) {
	sources, err := Sources(t, p, l.Request)
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
// is told of. Refusals (403): agreement_not_active, credential_too_weak, imports_not_granted,
// imports_not_authorized, role_unknown, role_denies, role_not_granted.
func Sources(t *Terms, p *Roles, r Request) ([]string, error) {
	if err := inForce(t.agreement, r.Today); err != nil {
		return nil, err
	}
	if err := strongEnough(t.agreement, r.Caller); err != nil {
		return nil, err
	}
	if t.agreement.Imports == nil {
		return nil, annona.Forbidden("imports_not_granted", "the agreement does not let you import")
	}
	if r.Within.Purpose != "" || len(r.Within.Datasets) > 0 {
		return nil, annona.Forbidden("imports_not_authorized", "the access token was asked for reading; ask for one without authorization_details")
	}
	if _, _, err := p.permits(&r); err != nil {
		return nil, err
	}
	if err := p.mayPerson(&r); err != nil {
		return nil, err
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
