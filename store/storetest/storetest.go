// Package storetest is the suite that every store must pass: what the ports of package annona
// promise, as a caller of them sees it. A store runs it with Run.
//
// It knows the ports and the standard dictionary, and compares a store's answers with those
// of package filter over the same records in memory. It knows no SQL. Sealed bytes are made
// up: no store can tell.
package storetest

import (
	"context"
	"testing"

	"github.com/annona-exchange/annona"
)

// Store is everything that a store implements, and a look into its log for the tests.
type Store interface {
	annona.Records
	annona.Writer
	annona.Ledger
	annona.LedgerReader
	annona.LedgerIndex
	annona.LedgerPruner
	annona.Checkpoints
	annona.Standings
	annona.Roster
	annona.Tokens
	annona.Delegations
	annona.Buckets
	annona.Subjects
	annona.Reference
	annona.Log
	annona.Past
	annona.Views
	annona.Syncs
	annona.Loads
	annona.Mappings
	annona.ExportSpecs
	annona.ExportJobs
	annona.ExportQueue
	annona.Decisions
	annona.Matters
	annona.Programs
	annona.ChangeRequests
	annona.Indexes
	annona.Merges
	annona.Users
	annona.Approvals
	annona.BreakGlasses
	annona.Uses
	annona.Outside
	// Events returns the whole log, in order. It waits until every change that is committed
	// has its place there.
	Events(ctx context.Context) ([]annona.Event, error)
}

// Run runs the suite. open returns an empty store with the standard dictionary, whose clock
// stands on the day Today; it is closed when the test ends.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *registry)
	}{
		{"pages come in order of number", testPages},
		{"no scope, no record", testZeroScope},
		{"a page has columns, images and groups", testContent},
		{"groups of an image are read where somebody asks for them", testImageGroups},
		{"a household shows its visible members", testMembers},
		{"restriction and objection", testRestrictions},
		{"consent where it is the basis", testConsents},
		{"a look-up tells one from several", testLookup},
		{"relationships wait for the other end", testRelationships},
		{"what has not changed is left alone", testVersions},
		{"a record is found before it is written", testFind},
		{"nothing is written that was not found", testNotFound},
		{"an individual is erased", testEraseIndividual},
		{"a household is erased", testEraseHousehold},
		{"a tombstone keeps a record away until it expires", testTombstones},
		{"refusals of erasures stand until they are lifted", testErasureRefusals},
		{"somebody is deleted and comes back", testDelete},
		{"a household is deleted when nobody belongs to it", testDeleteHousehold},
		{"what ties somebody to others", testTies},
		{"who belongs to a household", testMembersOf},
		{"what the registry has decided of memberships", testDecided},
		{"other keys lead to a record", testOtherKeys},
		{"keys of those who are deleted", testKeysOfDeleted},
		{"records are matched by identifiers", testMatch},
		{"identifiers that several hold", testDisputes},
		{"many identifiers that several hold", testManyDisputes},
		{"identifiers that begin alike", testAlike},
		{"whose names are to be indexed", testDueNames},
		{"people are found by tokens of names", testNames},
		{"indexes are switched", testIndexes},
		{"identifiers are indexed anew", testReindex},
		{"loads and what they did", testLoads},
		{"what loads have confirmed", testConfirmed},
		{"the records of a source", testNumbersOfSource},
		{"what rows became", testRowBlocks},
		{"records are looked for where they were", testFoundBefore},
		{"records that are believed to come first", testFirst},
		{"somebody who is deleted is erased", testEraseDeleted},
		{"a failed transaction deletes nothing", testLifeRollback},
		{"two sources and a deletion at once", testLifeConcurrent},
		{"a change touches those it concerns", testTouched},
		{"a move from one household to another", testMove},
		{"a membership keeps its id", testMembershipIDs},
		{"an unknown household is refused", testUnknownHousehold},
		{"a failed transaction leaves nothing", testRollback},
		{"a canceled request ends", testCancel},
		{"the log under concurrent writers", testLogConcurrent},
		{"standings and the policy epoch", testStandings},
		{"declared attributes", testDeclare},
		{"areas", testAreas},
		{"the ledger's tree", testLedger},
		{"the ledger under concurrent appends", testLedgerConcurrent},
		{"entries that nobody waits for", testLater},
		{"entries about somebody", testLedgerIndex},
		{"entries of a request", testLedgerRequests},
		{"lists of fields", testFieldLists},
		{"checkpoints", testCheckpoints},
		{"pruning the ledger", testLedgerPrune},
		{"SQL and package filter agree", testLaw},
		{"SQL and package filter agree about reorganized areas", testAreasLaw},
		{"a household is moved to another area", testMoveHouseholds},
		{"areas that are relied on", testExpectAreas},
		{"a household that was deleted stood in an area", testFormerOfDeleted},
		{"reorganizations", testReorganizations},
		{"crosswalks and codes without a meaning", testCrosswalks},
		{"mappings in versions", testMappings},
		{"export specifications in versions", testExportSpecs},
		{"the policy in versions", testPolicies},
		{"what waits for a second person", testApprovals},
		{"what waits is decided once", testApprovalsHeld},
		{"emergencies", testBreakGlass},
		{"what clients use", testUses},
		{"what clients do day by day", testHabits},
		{"export jobs and their parts", testExports},
		{"files of exports expire", testExportExpiry},
		{"who is left out is counted", testLeftOut},
		{"the previous export with a memory", testPreviousExports},
		{"an export has one worker", testExportLeases},
		{"exports take turns", testExportTurns},
		{"workers take exports at once", testExportsConcurrent},
		{"eligibility decisions", testDecisions},
		{"programs in versions", testPrograms},
		{"what programs keep about people", testMatters},
		{"matters of several scopes are read together", testMattersTogether},
		{"matters are seen by whom they may be", testMattersWalled},
		{"matters of parents", testMattersOfParents},
		{"shares end", testSharesEnd},
		{"kin is held together", testKinIsHeldTogether},
		{"matters are seen as a reading of their rules says", testMattersLaw},
		{"matters change", testMattersChange},
		{"matters are erased", testMattersErased},
		{"attachments", testAttachments},
		{"matters of merged people", testMattersMerged},
		{"who holds identifiers and takes part", testHolders},
		{"requests under their keys", testRequests},
		{"a request is delivered a hundred times at once", testRequestsAtOnce},
		{"errands at once", testErrands},
		{"errands find what their scope shows", testErrandsFindWhatTheirScopeShows},
		{"errands hold the keys of what they have found", testErrandsHoldKeys},
		{"an errand under a key whose time is over", testErrandOfAnExpiredKey},
		{"change requests", testChangeRequests},
		{"what one record was", testFormersOf},
		{"whom a change concerns", testConcerned},
		{"who comes and goes by date", testCrossings},
		{"waiting for the log", testAwait},
		{"what records were", testFormers},
		{"records are read as they were", testPast},
		{"relationships as they were", testPastRelationships},
		{"records by their numbers", testReadNumbers},
		{"what followers were shown", testViews},
		{"the log is pruned", testPrune},
		{"views are kept as long as the log", testPruneViews},
		{"a restored log is another one", testRenew},
		{"areas move", testAreasMove},
		{"what records consist of", testParts},
		{"merges", testMerges},
		{"match candidates", testCandidates},
		{"a source is synchronized by one process at a time", testSyncs},
		{"access tokens", testTokens},
		{"what may be shown once", testClaims},
		{"those who sign in", testUsers},
		{"what users have registered", testFactors},
		{"where people are signed in", testSessions},
		{"what was tried in vain", testAttempts},
		{"delegations", testDelegations},
		{"identity providers of others", testIdentityProviders},
		{"tokens of others end", testOutsideTokens},
		{"tokens of others end while they come", testOutsideRace},
		{"buckets of requests", testBuckets},
		{"buckets are shared", testBucketsShared},
		{"delegations are moved once", testDelegationsMoveOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newRegistry(t, open(t))) })
	}
}
