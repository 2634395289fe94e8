package exchange

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// The workflow of a case. A case is in one phase; an action takes it to another one. What is not in the
// table is forbidden. It is pure.

// caseMove is one line of the workflow: who is in one of the phases from may take the action.
type caseMove struct {
	action string
	from   []string
	to     string
	needs  []string // fields that the case must have behind it
	items  string   // a group that must have an item
}

const (
	phaseIntake         = "intake"
	phaseAssessment     = "assessment"
	phasePlanning       = "planning"
	phaseImplementation = "implementation"
	phaseReview         = "review"
	phaseClosed         = "closed"
)

var openPhases = []string{phaseIntake, phaseAssessment, phasePlanning, phaseImplementation, phaseReview}

var caseMoves = []caseMove{
	{action: "assess", from: []string{phaseIntake}, to: phaseAssessment},
	{action: "plan", from: []string{phaseAssessment, phaseReview}, to: phasePlanning, needs: []string{"risk_level"}},
	{action: "start", from: []string{phasePlanning}, to: phaseImplementation, items: "plan_items"},
	{action: "review", from: []string{phaseImplementation}, to: phaseReview},
	{action: "resume", from: []string{phaseReview}, to: phaseImplementation},
	{action: "close", from: openPhases, to: phaseClosed, needs: []string{"closure_reason", "outcome"}},
	{action: "reopen", from: []string{phaseClosed}, to: phaseAssessment},
}

// neededInPhase are the fields that a case has as long as it is in a phase or behind it.
var neededInPhase = map[string][]string{
	phasePlanning:       {"risk_level"},
	phaseImplementation: {"risk_level"},
	phaseReview:         {"risk_level"},
	phaseClosed:         {"closure_reason", "outcome", "closed_date"},
}

var neededAlways = []string{"case_type", "case_number", "status", "phase", "priority", "opened_date", "confidentiality"}

// madeByMoves are the fields that actions set, and nothing else.
var madeByMoves = []string{"status", "phase", "closed_date", "case_number"}

// A case may come as far as it is: case systems bring what they have. What of it a first report sets, later
// ones do not move.
var (
	madeHere    = []string{"status", "case_number"}
	broughtOnce = []string{"phase", "closed_date"}
)

// tellingTypes are the types of a case of which already that there is one tells something of a special
// category, or puts somebody in danger.
var tellingTypes = []string{"violence", "health", "staff_complaint"}

// CaseActions are the actions of the workflow, in their usual order.
func CaseActions() []string {
	var all []string
	for _, m := range caseMoves {
		all = append(all, m.action)
	}
	return all
}

// openCase gives a new case what it begins with. Codes: date_ahead, field_not_set.
func openCase(doc document, today annona.Date, number string) error {
	first := map[string]string{
		"status": "open", "phase": phaseIntake, "case_number": number, "priority": "medium", "opened_date": string(today), "confidentiality": confidentialityNormal,
	}
	if slices.Contains(tellingTypes, doc.values["case_type"]) {
		first["confidentiality"] = confidentialityRestricted
	}
	for code, text := range first {
		if doc.values[code] == "" {
			doc.values[code] = text
		}
	}
	closed := doc.values["phase"] == phaseClosed
	if closed {
		doc.values["status"] = "closed"
	}
	switch {
	case closed && doc.values["closed_date"] > string(today):
		return annona.Invalid("date_ahead", "a case is closed on a day that has come").On("closed_date")
	case !closed && doc.values["closed_date"] != "":
		return annona.Invalid("field_not_set", "a closure belongs to a case that is closed").On("closed_date")
	case doc.values["phase"] == phaseImplementation && len(doc.groups["plan_items"]) == 0:
		return annona.Invalid("field_required", "a case in this phase has at least one item of this group").On("plan_items")
	}
	return nil
}

// moveCase takes a case along the workflow. What the action says beside (a closure's reason, outcome and
// summary) stands in the document already.
func moveCase(doc document, action string, today annona.Date) error {
	at := slices.IndexFunc(caseMoves, func(m caseMove) bool { return m.action == action })
	if at < 0 {
		return annona.Invalid("action_unknown", "an action is one of those that the workflow has: assess, plan, start, review, resume, close, reopen").On("action")
	}
	m := caseMoves[at]
	if !slices.Contains(m.from, doc.values["phase"]) {
		return annona.Conflict("case_phase", "the workflow does not allow this action in the phase that the case is in").On("action")
	}
	for _, code := range m.needs {
		if doc.values[code] == "" {
			return annona.Invalid("field_required", "the action needs this field").On(code)
		}
	}
	if m.items != "" && len(doc.groups[m.items]) == 0 {
		return annona.Invalid("field_required", "the action needs at least one item of this group").On(m.items)
	}
	doc.values["phase"], doc.values["status"] = m.to, "open"
	switch m.to {
	case phaseClosed:
		doc.values["status"], doc.values["closed_date"] = "closed", string(today)
	case phaseAssessment:
		for _, code := range []string{"closed_date", "closure_reason", "outcome", "closure_summary"} {
			delete(doc.values, code)
		}
	}
	return nil
}

// checkCase refuses a case that lacks what it must have, or contradicts itself.
func checkCase(doc document) error {
	for _, code := range slices.Concat(neededAlways, neededInPhase[doc.values["phase"]]) {
		if doc.values[code] == "" {
			return annona.Invalid("field_required", "a case in this phase has this field").On(code)
		}
	}
	said := doc.values
	switch {
	case said["intensity"] != "" && !slices.Contains([]string{"1", "2", "3"}, said["intensity"]):
		return annona.Invalid("value_malformed", "intensity is 1, 2 or 3").On("intensity")
	case said["closed_date"] != "" && said["closed_date"] < said["opened_date"]:
		return annona.Invalid("dates_crossed", "a case is not closed before it was opened").On("opened_date")
	case said["phase"] != phaseClosed && (said["closure_reason"] != "" && said["closed_date"] != ""):
		return annona.Invalid("field_not_set", "a closure belongs to a case that is closed").On("closure_reason")
	case slices.Contains(tellingTypes, said["case_type"]) && said["confidentiality"] == confidentialityNormal:
		return annona.Invalid("confidentiality_too_low", "that there is a case of this type tells too much: it is restricted, or of named persons").On("confidentiality")
	case said["confidentiality"] == confidentialityNamed && said["worker"] == "":
		return annona.Invalid("field_required", "a case of named persons names its worker").On("worker")
	case (said["provisional_identifier"] == "") != (said["provisional_scheme"] == ""):
		return annona.Invalid("field_required", "an identifier has a type").On("provisional_scheme")
	}
	return nil
}

// The codes of confidentiality. Restricted: those whom the agreement clears; named persons: the worker
// who is named.
const (
	confidentialityNormal     = "normal"
	confidentialityRestricted = "restricted"
	confidentialityNamed      = "named_persons"
)
