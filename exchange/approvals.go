package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// What widens who sees what comes in force when a second person has looked at it. The one who wants it
// proposes: what it becomes lies on file as a request, bound to the state of things that it was made for.
// A person with the role approves it, and in that transaction it comes in force; or it moves aside, void,
// because something that it was bound to has changed.
//
// An installation in which two people could not look yet applies at once what its command line wants, and
// the ledger says so.

// RoleApprover is the role of those who only look at what others want to change.
const RoleApprover = "approver"

const (
	approvalLife = 7 * 24 * time.Hour
	approverHeld = 24 * time.Hour // that somebody must have had their role
	maxApprovals = 1000           // listed
)

// freshProof is how somebody who decides must have signed in.
var freshProof = annona.Demand{Assurance: annona.AssuranceTwoFactors, MaxAge: 10 * time.Minute}

var (
	approvingRoles = []string{RoleAdministrator, RoleApprover}
	readingRoles   = []string{RoleAdministrator, RoleApprover, "data-protection-officer", "auditor"}
	askingRoles    = []string{"data-protection-officer", "auditor"} // why requests of others were granted
	// changing are the kinds of what comes in force by an approval.
	changing = []annona.ApprovalKind{
		annona.ApprovePolicy, annona.ApproveAgreement, annona.ApproveSpec, annona.ApproveClient, annona.ApproveRole, annona.ApproveUser, annona.ApproveProvider,
		annona.ApproveErasure,
	}
)

// proposal is a change that a second person may have to look at.
type proposal struct {
	kind      annona.ApprovalKind
	object    string
	agreement string   // to whose version it is bound; empty: to none
	base      int      // version of the object before
	body      any      // what it becomes, as it lies on file until then
	shows     []string // what that changes, in plain words
	rescues   bool     // it makes nothing but people who approve
	// put writes it, with its entry in the ledger, which says how it came in force.
	put func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error
}

// consent is how a change comes in force.
type consent struct {
	approval annona.UID // zero: nobody could be asked
	by       []string   // who asked and who approved
}

// note says it in the details of an entry.
func (c consent) note(details map[string]string) map[string]string {
	if details == nil {
		details = map[string]string{}
	}
	details["approval"] = "none"
	if c.approval != (annona.UID{}) {
		details["approval"] = c.approval.String()
	}
	return details
}

// submit puts a change in force when nobody could look at it yet. Otherwise it waits: code
// approval_needed. The same again waits as the same request.
func (x *Exchange) submit(ctx context.Context, caller annona.Caller, p proposal) error {
	alone, err := x.actsAlone(ctx, caller.Actor(), p.rescues)
	if err != nil {
		return err
	}
	if alone {
		return x.Writer.Update(ctx, func(tx annona.Tx) error {
			if _, _, err := tx.HoldApprovals(ctx, p.agreement); err != nil {
				return err
			}
			return p.put(ctx, tx, caller, consent{})
		})
	}
	a, err := x.request(ctx, caller, p)
	if err != nil {
		return err
	}
	return annona.Conflict("approval_needed", "this waits for a second person until %s: annona approval show %s says what they will see", a.Until.UTC().Format(time.DateTime), a.ID)
}

// request puts a change on file, to wait for a second person.
func (x *Exchange) request(ctx context.Context, caller annona.Caller, p proposal) (a annona.Approval, err error) {
	now := x.Clock().UTC()
	a = annona.Approval{
		ID: annona.NewUID(), Kind: p.kind, Object: p.object, Shows: p.shows, Agreement: p.agreement, Base: p.base,
		By: caller.Actor(), AskedAt: now, Until: now.Add(approvalLife), State: annona.ApprovalWaiting,
	}
	if a.Body, err = encodeBody(p.body); err != nil {
		return a, err
	}
	waiting, err := x.Approvals.Approvals(ctx, p.kind, annona.ApprovalWaiting, maxApprovals)
	if err != nil {
		return a, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		if a.Policy, a.AgreementVersion, err = tx.HoldApprovals(ctx, a.Agreement); err != nil {
			return err
		}
		a.Hash = hashOf(&a)
		same := func(o annona.Approval) bool { return o.Hash == a.Hash && o.By == a.By && now.Before(o.Until) }
		if i := slices.IndexFunc(waiting, same); i >= 0 {
			a = waiting[i]
			return nil
		}
		if err := tx.PutApproval(ctx, a); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.aboutApproval(caller, &a, "requested"))
	})
	return a, err
}

func encodeBody(of any) ([]byte, error) {
	body, err := json.Marshal(of)
	if err != nil {
		return nil, annona.Internal("write what waits for a second person", err)
	}
	return body, nil
}

// hashOf is what an approval is given to: the object, what it becomes, and the versions that it was made for.
func hashOf(a *annona.Approval) [32]byte {
	var b []byte
	for _, text := range []string{string(a.Kind), a.Object, a.Agreement} {
		b = annona.AppendItem(b, []byte(text))
	}
	b = annona.AppendItem(b, a.Body)
	for _, n := range []int{a.Policy, a.AgreementVersion, a.Base} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return sha256.Sum256(b)
}

// aboutApproval is the entry of what happens to a request.
func (x *Exchange) aboutApproval(caller annona.Caller, a *annona.Approval, act string) annona.LedgerRow {
	return x.administration(caller, audit.Facts{
		Verb: annona.VerbApproval, Agreement: a.Agreement, AgreementVersion: a.AgreementVersion, PolicyVersion: a.Policy, Reason: a.Note,
		Details: map[string]string{"act": act, "approval": a.ID.String(), "kind": string(a.Kind), "object": a.Object, "hash": hex.EncodeToString(a.Hash[:])},
	})
}

// actsAlone reports whether nobody can be asked. Once anything has waited for a second person, everything
// does: only who could approve is made without one, while fewer than two people could approve what the same
// one asks for. Otherwise nothing would ever change again.
func (x *Exchange) actsAlone(ctx context.Context, by string, rescues bool) (bool, error) {
	if x.Approvals == nil || x.Users == nil {
		return true, nil
	}
	users, err := x.Users.Users(ctx)
	if err != nil {
		return false, err
	}
	able := 0
	for i := range users {
		if u := &users[i]; x.canApprove(u) && !x.entangled(users, u, by) {
			able++
		}
	}
	if able >= 2 || rescues {
		return able < 2, nil
	}
	for _, kind := range changing {
		begun, err := x.Approvals.Approvals(ctx, kind, "", 1)
		if err != nil || len(begun) > 0 {
			return false, err
		}
	}
	return true, nil
}

// canApprove reports whether somebody is one of those who approve.
func (x *Exchange) canApprove(u *annona.User) bool {
	return u.Status == annona.UserActive && u.Provider == "" && makesApprover(u.Partner, x.rolesNow(u)) && x.Clock().Sub(u.Held()) >= approverHeld
}

// makesApprover reports whether roles let somebody approve. Who works for a partner never does.
func makesApprover(partner string, roles []string) bool {
	return partner == "" && hasAny(roles, approvingRoles)
}

// rolesNow are the roles that somebody has today.
func (x *Exchange) rolesNow(u *annona.User) []string { return u.RolesOn(x.today(x.Clock())) }

func hasAny(roles, of []string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(of, role) })
}

// entangled reports whether somebody and whoever asks are one, or one has made the other.
func (x *Exchange) entangled(users []annona.User, u *annona.User, by string) bool {
	me := personActor(u.ID)
	if by == me || by == "operator:"+u.Name || slices.Contains(u.MadeBy, by) {
		return true
	}
	return slices.ContainsFunc(users, func(o annona.User) bool { return by == personActor(o.ID) && slices.Contains(o.MadeBy, me) })
}

func personActor(id annona.UID) string {
	return annona.Caller{Acting: annona.SignedIn{Person: id}}.Actor()
}

var (
	errNoApproval = annona.NotFound("nothing with this id waits for a second person, or you may not see it").On("id")
	errDecided    = annona.Conflict("approval_decided", "somebody has decided this already, or it is void; look at it again")
	errVoid       = annona.Conflict("approval_void", "the policy, the agreement or what is to be changed has moved since this was asked for, or nobody came in time; ask for it again")
	errHash       = annona.Conflict("approval_changed", "this is not what you have looked at; look at it again, and approve what you see then").On("hash")
)

// Approval is a request as those who decide look at it.
type Approval struct {
	annona.Approval
	// Becomes is what its object becomes; nil where that holds something to sign in by.
	Becomes json.RawMessage
}

// ShowApproval returns what waits for a second person, or has waited: to the operator, and to people with
// a role of those who decide, review or audit.
func (x *Exchange) ShowApproval(ctx context.Context, caller annona.Caller, id string) (Approval, error) {
	if err := x.maySeeApprovals(ctx, caller); err != nil {
		return Approval{}, err
	}
	a, err := x.approvalOf(ctx, id)
	if err != nil {
		return Approval{}, err
	}
	return x.shown(ctx, a)
}

// ListApprovals returns what waits for a second person and what became of it, the newest first and at most
// a thousand; in one state, when it is named.
func (x *Exchange) ListApprovals(ctx context.Context, caller annona.Caller, state annona.ApprovalState) ([]Approval, error) {
	if err := x.maySeeApprovals(ctx, caller); err != nil {
		return nil, err
	}
	if !slices.Contains([]annona.ApprovalState{"", annona.ApprovalWaiting, annona.ApprovalApproved, annona.ApprovalRejected, annona.ApprovalVoid}, state) {
		return nil, annona.Invalid("unknown_state", "a state is waiting, approved, rejected or void").On("state")
	}
	listed := state
	if state == annona.ApprovalVoid {
		listed = "" // what is void may not know it yet
	}
	found, err := x.Approvals.Approvals(ctx, "", listed, maxApprovals)
	if err != nil {
		return nil, err
	}
	all := []Approval{}
	for _, a := range found {
		shown, err := x.shown(ctx, a)
		if err != nil {
			return nil, err
		}
		if state == "" || shown.State == state {
			all = append(all, shown)
		}
	}
	return all, nil
}

func (x *Exchange) shown(ctx context.Context, a annona.Approval) (Approval, error) {
	s := Approval{Approval: a}
	if slices.Contains([]annona.ApprovalKind{annona.ApprovePolicy, annona.ApproveAgreement, annona.ApproveSpec, annona.ApproveProvider, annona.ApproveRequest}, a.Kind) {
		s.Becomes = a.Body
	}
	if a.State != annona.ApprovalWaiting {
		return s, nil
	}
	policy, version, err := x.versions(ctx, a.Agreement)
	if why := movedAway(&a, policy, version, x.Clock()); why != "" {
		s.State, s.Note = annona.ApprovalVoid, why
	}
	return s, err
}

// versions are those in force, outside of a transaction.
func (x *Exchange) versions(ctx context.Context, agreement string) (policy, version int, err error) {
	p, err := x.Standings.Policy(ctx)
	if err != nil {
		return 0, 0, err
	}
	if p != nil {
		policy = p.Version
	}
	if agreement == "" {
		return policy, 0, nil
	}
	a, err := x.Standings.Agreement(ctx, agreement)
	if a != nil {
		version = a.Version
	}
	return policy, version, err
}

// movedAway says why a request is void; empty: it is not.
func movedAway(a *annona.Approval, policy, version int, now time.Time) string {
	switch {
	case a.Policy != policy:
		return "policy_moved"
	case a.AgreementVersion != version:
		return "agreement_moved"
	case !now.Before(a.Until):
		return "expired"
	}
	return ""
}

// Approve lets what waits come in force: by a person with the role, who has proved who they are in these
// minutes and says by its hash what they have looked at. Nobody approves what they have asked for
// themselves, or somebody whom they have made or who has made them.
//
// Codes: not_found, approver_not_entitled, approver_too_new, approver_is_a_machine, approval_own,
// approval_entangled, insufficient_user_authentication, approval_changed, approval_void, approval_decided, and those of the change itself.
func (x *Exchange) Approve(ctx context.Context, caller annona.Caller, id, hash string) (Approval, error) {
	who, err := x.decider(ctx, caller)
	if err != nil {
		return Approval{}, err
	}
	a, err := x.approvalOf(ctx, id)
	if err != nil {
		return Approval{}, err
	}
	if err := x.mayDecide(ctx, who, &a); err != nil {
		return Approval{}, err
	}
	if hash != hex.EncodeToString(a.Hash[:]) || a.Hash != hashOf(&a) {
		return Approval{}, errHash
	}
	if a.State != annona.ApprovalWaiting {
		return Approval{}, errDecided
	}
	p, err := x.proposed(ctx, &a)
	if err != nil {
		return Approval{}, err
	}
	return x.settle(ctx, caller, who, a, annona.ApprovalApproved, p)
}

// Reject ends what waits, and nothing changes: by a person with the role, and by the operator.
func (x *Exchange) Reject(ctx context.Context, caller annona.Caller, id string) (Approval, error) {
	if !caller.IsOperator() {
		u, err := x.decider(ctx, caller)
		if err == nil && !hasAny(x.rolesNow(u), approvingRoles) {
			err = errNotEntitled
		}
		if err != nil {
			return Approval{}, err
		}
	}
	a, err := x.approvalOf(ctx, id)
	if err != nil {
		return Approval{}, err
	}
	return x.settle(ctx, caller, nil, a, annona.ApprovalRejected, proposal{base: a.Base})
}

// settle ends what waits, in one transaction with all that follows from it.
func (x *Exchange) settle(ctx context.Context, caller annona.Caller, who *annona.User, a annona.Approval, as annona.ApprovalState, p proposal) (Approval, error) {
	var refused error
	err := x.Writer.Update(ctx, func(tx annona.Tx) error {
		refused = nil
		policy, version, err := tx.HoldApprovals(ctx, a.Agreement)
		if err != nil {
			return err
		}
		held, err := tx.HoldApproval(ctx, a.ID)
		if err != nil {
			return err
		}
		if held == nil || held.State != annona.ApprovalWaiting || held.Hash != a.Hash {
			return errDecided
		}
		if err := unchanged(ctx, tx, who); err != nil {
			return err
		}
		a = *held
		a.State, a.DecidedBy, a.DecidedAt = as, caller.Actor(), x.Clock().UTC()
		why := movedAway(&a, policy, version, x.Clock())
		if why == "" && as == annona.ApprovalApproved && p.base != a.Base {
			why = "object_moved"
		}
		switch {
		case why != "" && as == annona.ApprovalApproved:
			a.State, a.Note, refused = annona.ApprovalVoid, why, errVoid
		case as == annona.ApprovalApproved && p.put != nil:
			if err := p.put(ctx, tx, caller, consent{approval: a.ID, by: []string{a.By, a.DecidedBy}}); err != nil {
				return err
			}
		}
		if err := tx.PutApproval(ctx, a); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.aboutApproval(caller, &a, string(a.State)))
	})
	if err == nil {
		err = refused
	}
	return Approval{Approval: a}, err
}

// unchanged refuses a person who has become another one while they were looked at.
func unchanged(ctx context.Context, tx annona.Tx, who *annona.User) error {
	if who == nil {
		return nil
	}
	now, _, err := tx.HoldUser(ctx, who.ID)
	if err != nil {
		return err
	}
	if now == nil || now.Version != who.Version || now.Status != who.Status {
		return errNotEntitled
	}
	return nil
}

var (
	errNotEntitled = annona.Forbidden("approver_not_entitled", "only people of the registry with the role for it decide this")
	errTooNew      = annona.Forbidden("approver_too_new", "somebody decides when they have had their role for a day; ask another one, or wait")
	errMachine     = annona.Forbidden("approver_is_a_machine", "a person decides this, signed in here; no key, no token and no command line does it for them")
	errOwn         = annona.Forbidden("approval_own", "nobody decides what they have asked for themselves")
	errEntangled   = annona.Forbidden("approval_entangled", "nobody decides what is asked for by whoever has given them what they may do, or by somebody whom they have given it")
)

// decider is the person who decides, as they are at this moment.
func (x *Exchange) decider(ctx context.Context, caller annona.Caller) (*annona.User, error) {
	if caller.Acting.Person == (annona.UID{}) || caller.Client != (annona.UID{}) || x.Users == nil || x.Approvals == nil {
		return nil, errMachine
	}
	u, err := x.Users.UserByID(ctx, caller.Acting.Person)
	if err != nil {
		return nil, err
	}
	if u == nil || !x.isOverseer(u, readingRoles) {
		return nil, errNotEntitled
	}
	if !caller.Acting.Meets(freshProof, x.Clock()) {
		return nil, annona.InsufficientSignIn(freshProof)
	}
	return u, nil
}

// mayDecide says why somebody may not decide about one request.
func (x *Exchange) mayDecide(ctx context.Context, u *annona.User, a *annona.Approval) error {
	switch {
	case !hasAny(x.rolesNow(u), approvingRoles):
		return errNotEntitled
	case a.By == personActor(u.ID) || a.By == "operator:"+u.Name:
		return errOwn
	case x.Clock().Sub(u.Held()) < approverHeld:
		return errTooNew
	}
	users, err := x.Users.Users(ctx)
	if err == nil && x.entangled(users, u, a.By) {
		err = errEntangled
	}
	return err
}

// maySeeApprovals refuses everybody but the operator and people with a role for it.
func (x *Exchange) maySeeApprovals(ctx context.Context, caller annona.Caller) error {
	if x.Approvals == nil {
		return errNotEntitled
	}
	return x.mayOversee(ctx, caller, readingRoles)
}

// mayOversee refuses everybody but the operator and people of the registry with one of some roles.
func (x *Exchange) mayOversee(ctx context.Context, caller annona.Caller, roles []string) error {
	switch {
	case caller.IsOperator():
		return nil
	case caller.Acting.Person == (annona.UID{}) || caller.Client != (annona.UID{}) || x.Users == nil:
		return errMachine
	}
	u, err := x.Users.UserByID(ctx, caller.Acting.Person)
	if err != nil {
		return err
	}
	if u == nil || !x.isOverseer(u, roles) {
		return errNotEntitled
	}
	return nil
}

// isOverseer reports whether somebody is of the registry and has one of some roles. What another issuer says
// of somebody gives no such role.
func (x *Exchange) isOverseer(u *annona.User, roles []string) bool {
	return u.Status == annona.UserActive && u.Partner == "" && u.Provider == "" && hasAny(x.rolesNow(u), roles)
}

func (x *Exchange) approvalOf(ctx context.Context, id string) (annona.Approval, error) {
	uid, err := annona.ParseUID(strings.TrimSpace(id))
	if err != nil {
		return annona.Approval{}, errNoApproval
	}
	a, err := x.Approvals.ApprovalByID(ctx, uid)
	if err == nil && a == nil {
		err = errNoApproval
	}
	if err != nil {
		return annona.Approval{}, err
	}
	return *a, nil
}
