package policy

import "github.com/annona-exchange/annona"

// Shipped returns the policy that every installation starts from. Its roles only narrow: what a partner
// gets is in its agreement.
func Shipped() annona.Policy {
	allow := func(name string, ceiling int64, verbs ...annona.Verb) annona.RoleRule {
		return annona.RoleRule{Name: name, Verbs: verbs, RowCeiling: ceiling}
	}
	return annona.Policy{Roles: []annona.Role{
		{Name: annona.RolePartner, Title: "What the agreement grants", Rules: []annona.RoleRule{
			{Name: "agreement"},
		}},
		{Name: "registrar", Title: "Loads the sources of its agreement", Rules: []annona.RoleRule{allow("load", 0, annona.VerbImport)}},
		{Name: "exporter", Title: "Takes exports and follows changes", Rules: []annona.RoleRule{
			allow("exports", 0, annona.VerbExport, annona.VerbTryExport, annona.VerbFollow),
		}},
		{Name: "program-officer", Title: "Finds and reads records of a program", Rules: []annona.RoleRule{
			allow("reads", 1000, annona.VerbGet, annona.VerbLookup, annona.VerbSearch, annona.VerbNameSearch),
			allow("decides", 0, annona.VerbDecideEligibility, annona.VerbReportEnrollments, annona.VerbCheckEnrolled),
		}},
		{Name: "case-worker", Title: "Finds, reads and updates single records", Rules: []annona.RoleRule{
			allow("reads", 50, annona.VerbGet, annona.VerbLookup, annona.VerbNameSearch),
			allow("updates", 50, annona.VerbUpdate, annona.VerbReportLifeEvent, annona.VerbReadUpdates),
			allow("caseload", 50, annona.VerbReadCases, annona.VerbWriteCases),
		}},
		{Name: "case-supervisor", Title: "Reads records and lists of a caseload, updates records and decides change requests", Rules: []annona.RoleRule{
			allow("updates", 500, annona.VerbUpdate, annona.VerbReportLifeEvent, annona.VerbReadUpdates, annona.VerbReview),
			allow("reads", 500, annona.VerbGet, annona.VerbLookup, annona.VerbSearch, annona.VerbNameSearch, annona.VerbFollow),
			allow("caseload", 500, annona.VerbReadCases, annona.VerbWriteCases, annona.VerbTransferCases),
		}},
		{Name: "emergency", Title: "Finds and reads single records in an emergency, for people who have it beside another role", Emergency: true, Rules: []annona.RoleRule{
			allow("reads", 50, annona.VerbGet, annona.VerbLookup, annona.VerbSearch, annona.VerbNameSearch),
		}},
		{Name: "data-protection-officer", Title: "Sees how data is processed, and no personal data"},
		{Name: "auditor", Title: "Sees decisions and the ledger, and no personal data"},
		{Name: "administrator", Title: "Administers the registry, and sees no personal data"},
	}}
}
