package exchange_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// What decides whether an operation of the gate may be done.
const (
	byOperator = "operator" // only the command line on the machine itself
	byPerson   = "person"   // only people of the registry with a role for it, and the operator
	byStanding = "standing" // every client that is valid: it is told of what is its own agreement's, and nothing of people
	byWire     = "wire"     // nothing: it is part of letting somebody in, who is not known yet
)

// operations is every operation of the gate that has a caller, and what decides it: one of the words above,
// or verbs of the policy, of which the last one is entered when it is denied. An operation that is not here
// fails the test. What has no caller runs by itself, and what it reads it decides again.
var operations = map[string]string{
	"Get": "get", "Lookup": "lookup", "Search": "search", "NameSearch": "name_search", "Export": "export", "ExportBySpec": "export",
	"Beneficiary": "get", "Beneficiaries": "search", "Participations": "search", "CheckEnrolled": "check_enrolled",
	"StartExport": "export", "OpenExport": "export", "MayFetch": "export", "CancelExport": "export", "TryExport": "try_export",
	"Follow": "follow", "FollowSpec": "follow",
	"Disclosures": "disclosures", "Updates": "read_updates", "MatterUpdates": "read_updates", "BeneficiaryUpdates": "read_updates", "UpdatesBehind": "read_updates", "Update": "update", "ReportLifeEvent": "report_life_event",
	"ShowChangeRequest": "review update report_life_event", "ListChangeRequests": "review update report_life_event", "DecideChangeRequest": "review update report_life_event",
	"DecideEligibility": "decide_eligibility", "EligibilityDecisions": "decide_eligibility",
	"ReportEnrollments": "report_enrollments", "ReportBenefits": "report_enrollments", "ReportPayments": "report_enrollments", "Payments": "search",
	"Cases": "read_cases", "CaseNotes": "read_cases", "Transitions": "read_cases",
	"PutCases": "write_cases", "EditCase": "write_cases", "AddCaseNote": "write_cases", "CaseConflicts": "read_cases", "ResolveCaseConflict": "write_cases", "Bulk": "write_cases",
	"AddAttachment": "write_cases", "RemoveAttachment": "write_cases", "CaseAttachments": "read_cases", "OpenAttachment": "read_cases",
	"OfferTransition": "transfer_cases", "AnswerTransition": "transfer_cases",
	"ReceiveLoad": "import", "BeginReceived": "import", "StartLoad": "import", "BeginLoad": "import", "ListLoads": "import", "ShowLoad": "import",

	"ListExports": byStanding, "ExportStatus": byStanding, "ExportManifest": byStanding, "ShowExportSpec": byStanding, "ListExportSpecs": byStanding,
	"Checkpoint": byStanding, "Consistency": byStanding, "Inclusion": byStanding, "Decision": byStanding, "AdmitToken": byStanding, "Explain": byStanding,

	"BreakGlass": "break_glass", "EndBreakGlass": byStanding, "ListBreakGlass": byPerson, "ReviewBreakGlass": byPerson,
	"Usage": byPerson, "ShowApproval": byPerson, "ListApprovals": byPerson, "Approve": byPerson, "Reject": byPerson,

	"SignIn": byWire, "RecordDelegation": byWire, "Take": byWire, "TakeInToken": byWire, "EndOutside": byWire,

	"ApplyAgreement": byOperator, "ApplyCrosswalk": byOperator, "ApplyDue": byOperator, "ApplyPolicy": byOperator, "ApplyProgram": byOperator,
	"ApproveAreas": byOperator, "AssignAreas": byOperator, "Candidates": byOperator, "ChangeHead": byOperator, "ChangePrimary": byOperator,
	"ChangeRequestList": byOperator, "CheckExportSpec": byOperator, "CheckSealed": byOperator, "CloseOpenRequests": byOperator,
	"CompareHoldings": byOperator, "ComparePolicy": byOperator, "CreateClient": byOperator, "DecideMatch": byOperator, "Declare": byOperator,
	"DisableUser": byOperator, "DisclosuresOf": byOperator, "Disputes": byOperator, "DropExportSpec": byOperator, "DropMapping": byOperator,
	"EnableUser": byOperator, "Erase": byOperator, "Erasures": byOperator, "FinishErasures": byOperator, "GiveConsent": byOperator,
	"IDsByKey": byOperator, "IdentityProviders": byOperator, "ImportAreas": byOperator, "IndexStatus": byOperator, "InspectChangeRequest": byOperator,
	"InviteUsers": byOperator, "LimitUserRoles": byOperator, "JoinHousehold": byOperator, "LeaveHousehold": byOperator, "Lift": byOperator, "ListMappings": byOperator,
	"Merge": byOperator, "MergeHouseholds": byOperator, "MergesOf": byOperator, "MoveHousehold": byOperator, "MoveHouseholds": byOperator,
	"NoteUnmapped": byOperator, "Policies": byOperator, "PolicyVersion": byOperator, "Propose": byOperator, "ProposeClashes": byOperator,
	"PruneLedger": byOperator, "PruneLog": byOperator, "PutExportSpec": byOperator, "PutIdentityProvider": byOperator, "PutMapping": byOperator,
	"Rebury": byOperator, "RecordBirth": byOperator, "RecordKeyRotation": byOperator, "RecordLedgerCopy": byOperator, "RefuseErasure": byOperator, "LiftErasureRefusal": byOperator,
	"Reindex": byOperator, "RemoveIdentityProvider": byOperator, "RenewIndex": byOperator, "Reorganize": byOperator, "ResetUser": byOperator,
	"Restrict": byOperator, "RevokeClient": byOperator, "Revive": byOperator, "RotateClass": byOperator, "RotateKeys": byOperator,
	"Set": byOperator, "SetRole": byOperator, "SetUserRoles": byOperator, "ShowCandidate": byOperator, "ShowMapping": byOperator,
	"SplitHousehold": byOperator, "SwitchNameSearch": byOperator, "TakeBackup": byOperator, "UndoLoad": byOperator, "Unmapped": byOperator,
	"Unmerge": byOperator, "WaitingAgreements": byOperator, "WithdrawConsent": byOperator,
}

// nobody is a client that is not on file.
var nobody = annona.NewUID()

// arguments are those of operations that look at them before they decide. The others get the zero values of
// theirs.
func arguments() map[string][]any {
	q := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id"}}
	row := map[string]any{"source_enrollment_id": "1", "program": "cash"}
	return map[string][]any{
		"Get": {q}, "Lookup": {q, []exchange.Identifier{{Type: "national_id_number", Value: "GHA-0012345"}}}, "Search": {q, 1}, "Export": {q}, "Follow": {q, "", 1},
		"NameSearch": {q, exchange.NameQuery{Name: "Mensah", Area: "XA-01-01"}}, "Beneficiary": {exchange.Question{Purpose: purpose}}, "Beneficiaries": {q, exchange.BeneficiaryChoice{}, 1},
		"Participations": {exchange.Question{Dataset: "enrollments", Purpose: purpose}, "", exchange.Participation{}, 1},
		"CheckEnrolled":  {purpose, []exchange.EnrolledCheck{{Identifiers: []exchange.Identifier{{Type: "passport_number", Value: "X1"}}, Program: "cash"}}},
		"ExportBySpec":   {"everybody"}, "StartExport": {exchange.ExportRequest{Spec: "everybody"}}, "TryExport": {"everybody"}, "FollowSpec": {"deltas", 0, "", 1},
		"MayFetch":    {&annona.ExportJob{ExportOrder: annona.ExportOrder{Dataset: "individuals", Purpose: purpose}}},
		"Disclosures": {purpose}, "Updates": {purpose, "individuals", strings.Repeat("a", 26), "", 1}, "MatterUpdates": {purpose, "cases", strings.Repeat("a", 26), "", 1},
		"BeneficiaryUpdates": {purpose, strings.Repeat("a", 26), "", 1}, "UpdatesBehind": {exchange.UpdatesAsked{Purpose: purpose, Dataset: "individuals", Limit: 1}},
		"ReportLifeEvent":   {exchange.LifeEvent{Purpose: purpose, Type: "birth", Household: strings.Repeat("a", 26)}},
		"Update":            {exchange.Update{Question: q, ID: strings.Repeat("a", 26), Read: `"x"`, Values: []exchange.Assignment{{Field: "preferred_name", Text: "x"}}, Key: "k"}},
		"ShowChangeRequest": {purpose}, "ListChangeRequests": {purpose, "individuals", "", "", 1}, "DecideChangeRequest": {exchange.Ruling{Purpose: purpose, Reason: "seen", Key: "k"}},
		"DecideEligibility":    {purpose, []exchange.EligibilityDecision{{Key: "1", IndividualID: "a", Program: "cash", Status: "eligible", DecisionDate: "2020-01-01"}}},
		"EligibilityDecisions": {purpose, "individuals", "", 1}, "ReportEnrollments": {purpose, []map[string]any{row}}, "ReportBenefits": {purpose, []map[string]any{row}}, "ReportPayments": {purpose, []map[string]any{row}},
		"Payments": {purpose, []string(nil), exchange.PaymentChoice{}, 1, ""},
		"Cases":    {purpose, exchange.CaseChoice{}, []string(nil), "", 1}, "CaseNotes": {purpose, "", []string(nil), "", 1}, "Transitions": {purpose, "", "", []string(nil), "", 1},
		"PutCases": {purpose, []map[string]any{{}}}, "EditCase": {purpose}, "AddCaseNote": {purpose}, "CaseConflicts": {purpose, "", "", "", 1}, "ResolveCaseConflict": {purpose}, "Bulk": {purpose, []exchange.Operation{{Do: exchange.DoCase}}},
		"AddAttachment": {purpose}, "RemoveAttachment": {purpose}, "CaseAttachments": {purpose, "", []string(nil), "", 10}, "OpenAttachment": {purpose}, "OfferTransition": {purpose}, "AnswerTransition": {purpose},
		"ReceiveLoad": {exchange.LoadRequest{Mapping: "people"}}, "BeginReceived": {&exchange.Reception{}, []byte(nil), func(*exchange.LoadOrder) {}},
		"StartLoad": {"people"}, "BeginLoad": {exchange.LoadOrder{Source: "people"}}, "Explain": {annona.Caller{Client: nobody}},
		"Inclusion": {annona.NewUID()},
	}
}

// Every operation of the gate is decided, and says so: it refuses a caller who may do nothing of the kind,
// and the denial of a verb stands in the ledger under that verb.
func TestEveryOperationIsDecided(t *testing.T) {
	r := newOperations(t)
	for _, name := range r.names() {
		decides := operations[name]
		switch decides {
		case byOperator:
			r.refuses(t, name, r.caller, "operator_only")
		case byPerson:
			r.refuses(t, name, r.caller, "approver_is_a_machine")
			r.refuses(t, name, annona.Caller{Acting: annona.SignedIn{Person: annona.NewUID(), Assurance: annona.AssurancePasskey, At: time.Now()}}, "approver_not_entitled")
		case byStanding:
			r.refuses(t, name, annona.Caller{Client: nobody, Agreement: "program", Strength: annona.StrengthAPIKey}, "key_invalid")
		case byWire:
		case "":
			t.Errorf("nothing says what decides the operation %s", name)
		default:
			r.denies(t, name, decides)
		}
	}
	for name := range operations {
		if !slices.Contains(r.names(), name) {
			t.Errorf("there is no operation %s", name)
		}
	}
}

// doors is a registry with a client whose agreement grants everything, and whose role nothing.
type doors struct {
	*registry
	arguments map[string][]any
	seen      int // entries of the ledger
}

func newOperations(t *testing.T) *doors {
	h := newBureau(t)
	r := &doors{registry: h.registry, arguments: arguments()}
	r.Clock, r.Rotator = time.Now, r.Vault.(annona.KeyRotator)
	_, _, err := r.ApplyProgram(t.Context(), operator, annona.Program{Code: "cash", Names: map[string]string{"en": "Cash"}, AssistanceUnit: "individual"})
	h.must(err)
	r.partner(t, func(a *annona.Agreement) {
		a.Datasets = map[string]annona.DatasetTerms{}
		for d := range annona.Standard().Datasets() {
			a.Datasets[d.Name] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}, Fields: []string{}}
		}
		a.Disclosures, a.NameSearch, a.Reviews, a.UpdateLog, a.Decisions = true, true, true, true, []string{"cash"}
		a.Checks = &annona.CheckTerms{Purpose: purpose, Programs: []string{"cash"}}
		a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"preferred_name"}}}
		a.Programs, a.Cases = []annona.ProgramTerms{{Program: "cash", See: true, Report: true}}, &annona.CaseTerms{}
		a.LifeEvents = &annona.LifeEventTerms{Types: []string{"birth"}}
		a.Imports = &annona.ImportTerms{Sources: []string{"people"}}
	})
	_, err = r.SwitchNameSearch(t.Context(), operator, true)
	h.must(err)
	for name, mode := range map[string]string{"everybody": "", "deltas": annona.SpecDelta} {
		_, _, err = r.PutExportSpec(t.Context(), operator, annona.ExportSpec{Name: name, Mode: mode, Agreement: "program", Purpose: purpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "individual_id"}}})
		h.must(err)
	}
	job, _, err := r.StartExport(t.Context(), r.caller, exchange.ExportRequest{Spec: "everybody"})
	h.must(err)
	r.arguments["OpenExport"], r.arguments["CancelExport"] = []any{job.ID.String()}, []any{job.ID.String()}
	h.must(r.SetRole(t.Context(), operator, r.caller.Client, "auditor"))
	return r
}

var callerType = reflect.TypeFor[annona.Caller]()

// names lists the operations that have a caller.
func (r *doors) names() (names []string) {
	gate := reflect.TypeFor[*exchange.Exchange]()
	for i := range gate.NumMethod() {
		if m := gate.Method(i); m.Type.NumIn() > 2 && m.Type.In(2) == callerType {
			names = append(names, m.Name)
		}
	}
	return names
}

// try does an operation, and returns what it refuses.
func (r *doors) try(t *testing.T, name string, caller annona.Caller) error {
	t.Helper()
	do := reflect.ValueOf(r.Exchange).MethodByName(name)
	in := []reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(caller)}
	for i := 2; i < do.Type().NumIn(); i++ {
		given := reflect.Zero(do.Type().In(i))
		if list := r.arguments[name]; i-2 < len(list) {
			given = reflect.ValueOf(list[i-2])
		}
		in = append(in, given)
	}
	call := do.Call
	if do.Type().IsVariadic() {
		call = do.CallSlice
	}
	out := call(in)
	err, _ := out[len(out)-1].Interface().(error)
	return err
}

func (r *doors) refuses(t *testing.T, name string, caller annona.Caller, code string) {
	t.Helper()
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("%s was not refused before it went on: %v", name, fault)
		}
	}()
	if err := r.try(t, name, caller); annona.CodeOf(err) != code || err == nil {
		t.Errorf("%s: got %v, want %s", name, err, code)
	}
}

// denies wants an operation to be denied to a role that allows nothing, under the verbs that decide it.
func (r *doors) denies(t *testing.T, name, verbs string) {
	t.Helper()
	r.refuses(t, name, r.caller, "role_not_granted")
	r.EnterRefusals(true)
	r.EnterRefusals(true)
	all, before := r.entries(t), r.seen
	r.seen = len(all)
	var entered []string
	for _, e := range all[before:] {
		if e.Facts != nil && e.Facts.Outcome == audit.Refused && e.Facts.Reason == "role_not_granted" {
			entered = append(entered, string(e.Facts.Verb))
		}
	}
	slices.Sort(entered)
	want := strings.Fields(verbs)
	slices.Sort(want)
	if entered = slices.Compact(entered); !slices.Equal(entered, want) {
		t.Errorf("%s: the ledger has denials of %q, want %q", name, entered, want)
	}
}

// A bulk is decided by each kind of what it does, before any row is looked at.
func TestABulkIsDecidedByWhatItDoes(t *testing.T) {
	r := newOperations(t)
	_, err := r.Bulk(t.Context(), r.caller, purpose, []exchange.Operation{{Do: exchange.DoUpdate, Update: exchange.Update{Question: exchange.Question{Dataset: "individuals"}}}}, false)
	if annona.CodeOf(err) != "role_not_granted" {
		t.Errorf("an update in a bulk: %v", err)
	}
}

// A client that is revoked is told nothing of an export that it has asked for before.
func TestARepeatedRequestOfARevokedClient(t *testing.T) {
	r := newOperations(t)
	check(t, r.SetRole(t.Context(), operator, r.caller.Client, annona.RolePartner))
	asks := func() error {
		_, _, err := r.StartExport(t.Context(), r.caller, exchange.ExportRequest{Spec: "everybody", Key: "once"})
		return err
	}
	check(t, asks())
	check(t, asks())
	check(t, r.RevokeClient(t.Context(), operator, r.caller.Client))
	if err := asks(); codeOf(err) != "key_invalid" {
		t.Errorf("repeated: %v", err)
	}
}

// A registry in which nothing waits for a second person has no list of what waits.
func TestNothingWaitsWhereNobodyApproves(t *testing.T) {
	r := newRegistry(t, 1)
	if _, err := r.ListApprovals(t.Context(), operator, ""); codeOf(err) != "approver_not_entitled" {
		t.Errorf("got %v", err)
	}
}

// Loads over the wire are for clients; the command line has its own way.
func TestTheOperatorIsNoRegistrar(t *testing.T) {
	r := newOperations(t)
	if _, err := r.ReceiveLoad(t.Context(), operator, exchange.LoadRequest{Mapping: "people"}); codeOf(err) != "clients_only" {
		t.Errorf("got %v", err)
	}
}

// Who changes records reads them too: an update is held against what the caller has seen.
func TestWhoUpdatesMayRead(t *testing.T) {
	r := newOperations(t)
	_, err := r.ApplyPolicy(t.Context(), operator, narrower("writes", annona.RoleRule{Name: "all", Verbs: []annona.Verb{annona.VerbUpdate}}))
	check(t, err)
	check(t, r.SetRole(t.Context(), operator, r.caller.Client, "writes"))
	if err := r.try(t, "Update", r.caller); codeOf(err) != "role_not_granted" {
		t.Errorf("got %v", err)
	}
}

// Where nobody signs in, no client acts for a person.
func TestNobodyIsActedForWhereNobodySignsIn(t *testing.T) {
	r := newRegistry(t, 1)
	r.caller.Acting = annona.SignedIn{Person: annona.NewUID(), Assurance: annona.AssurancePasskey, At: time.Now()}
	if _, err := r.Search(t.Context(), r.caller, everybody, 1, "", exchange.Form{}); codeOf(err) != "invalid_token" {
		t.Errorf("got %v", err)
	}
}

// What runs by a schedule runs for a client that is on file, and of the same agreement.
func TestAScheduleOfNobody(t *testing.T) {
	r := newOperations(t)
	for what, spec := range map[string]annona.ExportSpec{
		"a client that is not on file":  {Agreement: "program", Schedule: &annona.Schedule{Client: nobody.String()}},
		"a client of another agreement": {Agreement: "another", Schedule: &annona.Schedule{Client: r.caller.Client.String()}},
	} {
		spec.Name = "everybody"
		if _, err := r.StartScheduled(t.Context(), &spec, time.Now()); codeOf(err) != "schedule_client" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A specification names only what the agreement grants.
func TestASpecificationOfWhatIsNotGranted(t *testing.T) {
	r := newRegistry(t, 1)
	r.partner(t, except("full_name"))
	spec := annona.ExportSpec{Name: "names", Agreement: "program", Purpose: purpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "full_name"}}}
	if _, _, err := r.PutExportSpec(t.Context(), operator, spec); codeOf(err) != "field_not_granted" {
		t.Errorf("got %v", err)
	}
}
