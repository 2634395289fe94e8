package exchange

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

// In an emergency somebody may have to see what their roles do not show. They break the glass, with a reason,
// and read in an emergency role of theirs, through one client and for one purpose: for an hour, and fifty people
// and households. The agreement still bounds what there is to see. Whoever looks after data protection
// is told by a notice (package jobs) and sees it in the list, and until somebody else has reviewed it there is no second time.

// The bounds of an emergency.
const (
	glassLife      = time.Hour
	maxGlassSeen   = 50 // individuals and households, each once
	maxGlassListed = 1000
)

// reviewingRoles are those of people who review emergencies of others.
var reviewingRoles = []string{"data-protection-officer", RoleApprover}

var (
	errNoEmergencyRole = annona.Forbidden("role_not_granted", "glass is broken by somebody who has signed in, for whom your application acts, and who has a role for emergencies")
	errGlassSeen       = annona.Forbidden("break_glass_seen", "an emergency shows %d people and households; you have seen as many", maxGlassSeen)
	errNoGlass         = annona.NotFound("no emergency with this id is on file, or it is none of yours").On("id")
	errGlassOwn        = annona.Forbidden("break_glass_own", "somebody else reviews an emergency, never the one whose it was")
	errGlassReviewed   = annona.Conflict("break_glass_reviewed", "this emergency has been reviewed already")
	errVerdict         = annona.Invalid("verdict_unknown", "a review finds an emergency justified or unjustified").On("verdict")
)

// BreakGlass begins an emergency of the person for whom the caller acts. Codes: role_not_granted,
// insufficient_user_authentication, reason_malformed, break_glass_unreviewed, and those of policy.Admit.
func (x *Exchange) BreakGlass(ctx context.Context, caller annona.Caller, purpose, reason string) (g annona.BreakGlass, err error) {
	defer func() { x.denied(x.Standings, caller, annona.VerbBreakGlass, "", err) }()
	person, err := x.mayBreak(ctx, caller, purpose)
	if err != nil {
		return g, err
	}
	if err := (Why{Reason: reason}).check(x.today(x.Clock())); err != nil {
		return g, err
	}
	now := x.Clock().UTC()
	g = annona.BreakGlass{
		ID: annona.NewUID(), Person: caller.Acting.Person, Client: caller.Client, Agreement: caller.Agreement, Purpose: purpose,
		Reason: reason, OpenedAt: now, Until: now.Add(glassLife),
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := unchanged(ctx, tx, person); err != nil { // and nobody else breaks glass as this person meanwhile
			return err
		}
		if err := tx.PutBreakGlass(ctx, g); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.aboutGlass(caller, &g, "opened"))
	})
	return g, err
}

// mayBreak returns the person whose emergency it is. It refuses one who has no role for it, or has not just
// proved who they are.
func (x *Exchange) mayBreak(ctx context.Context, caller annona.Caller, purpose string) (*annona.User, error) {
	if caller.IsOperator() || x.Glasses == nil {
		return nil, errNoEmergencyRole
	}
	standing, err := x.standing(ctx, x.Standings, caller)
	if err != nil {
		return nil, err
	}
	roles, err := x.compiledRoles(standing.Policy)
	if err != nil {
		return nil, err
	}
	if standing.Person == nil || len(roles.Emergency(x.rolesNow(standing.Person))) == 0 {
		return nil, errNoEmergencyRole
	}
	if !caller.Acting.Meets(freshProof, x.Clock()) {
		return nil, annona.InsufficientSignIn(freshProof)
	}
	terms, err := x.compiledTerms(standing.Agreement)
	if err != nil {
		return nil, err
	}
	if purpose == "" {
		return nil, annona.Invalid("purpose_missing", "say what the emergency is for: a purpose of your agreement").On("purpose")
	}
	return standing.Person, policy.Admit(terms, caller, annona.Authorization{Purpose: purpose}, x.today(standing.At))
}

// inEmergency lets a request be decided by the emergency roles of a person, while they have broken the glass for
// it.
func (x *Exchange) inEmergency(ctx context.Context, s annona.Standing, g *grounds) error {
	r := &g.request
	if s.Person == nil || x.Glasses == nil || !policy.InEmergency(r.Verb) {
		return nil
	}
	glass, err := x.Glasses.UnreviewedBreakGlass(ctx, s.Person.ID)
	if err != nil || glass == nil {
		return err
	}
	if !glass.Open(s.At) || glass.Client != r.Caller.Client || glass.Purpose != r.Purpose {
		return nil
	}
	if roles := g.roles.Emergency(s.Person.RolesOn(r.Today)); len(roles) > 0 {
		r.Person, r.Emergency, g.glass = roles, true, glass
	}
	return nil
}

// countSeen counts whom a release of an emergency shows, before it goes: durably, and each one once. When
// there would be too many, nothing goes.
func (x *Exchange) countSeen(ctx context.Context, i *inquiry, about []audit.Subjects) error {
	if i.grant.BreakGlass == (annona.UID{}) {
		return nil
	}
	var seen []annona.SubjectRef
	for _, s := range about {
		for _, n := range s.Numbers {
			seen = append(seen, annona.SubjectRef{Dataset: s.Noun + "s", Number: n})
		}
	}
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		g, err := tx.HoldBreakGlass(ctx, i.grant.BreakGlass)
		if err != nil {
			return err
		}
		if g == nil || !g.Open(x.Clock()) {
			return annona.Forbidden("role_not_granted", "the emergency is over")
		}
		if g.Seen, err = tx.CountBreakGlass(ctx, g.ID, seen); err != nil {
			return err
		}
		if g.Seen > maxGlassSeen {
			return errGlassSeen
		}
		return tx.PutBreakGlass(ctx, *g)
	})
}

// ListBreakGlass returns emergencies, the newest first and at most a thousand: to the operator, and to people
// with a role of those who decide or audit.
func (x *Exchange) ListBreakGlass(ctx context.Context, caller annona.Caller) ([]annona.BreakGlass, error) {
	if err := x.maySeeApprovals(ctx, caller); err != nil {
		return nil, err
	}
	if x.Glasses == nil {
		return nil, nil
	}
	return x.Glasses.BreakGlasses(ctx, maxGlassListed)
}

// EndBreakGlass ends an emergency before its time: by the operator, by a person who sees the list of
// them, and by the client for the person whose it is.
func (x *Exchange) EndBreakGlass(ctx context.Context, caller annona.Caller, id string) (annona.BreakGlass, error) {
	own := caller.Client != (annona.UID{})
	if own {
		if _, err := x.standing(ctx, x.Standings, caller); err != nil {
			return annona.BreakGlass{}, err
		}
	} else if err := x.maySeeApprovals(ctx, caller); err != nil {
		return annona.BreakGlass{}, err
	}
	return x.changeGlass(ctx, caller, id, "ended", func(g *annona.BreakGlass) error {
		if own && (g.Client != caller.Client || g.Person != caller.Acting.Person) {
			return errNoGlass
		}
		if g.Open(x.Clock()) {
			g.EndedAt = x.Clock().UTC()
		}
		return nil
	})
}

// ReviewBreakGlass says what somebody thinks of an emergency of somebody else, and ends it. From then on its
// person can have another one. Codes: those of people who decide, break_glass_own, break_glass_reviewed,
// verdict_unknown, reason_malformed, not_found.
func (x *Exchange) ReviewBreakGlass(ctx context.Context, caller annona.Caller, id, verdict, note string) (annona.BreakGlass, error) {
	who, err := x.decider(ctx, caller)
	if err != nil {
		return annona.BreakGlass{}, err
	}
	if !hasAny(x.rolesNow(who), reviewingRoles) {
		return annona.BreakGlass{}, errNotEntitled
	}
	if !slices.Contains([]string{annona.GlassJustified, annona.GlassUnjustified}, verdict) {
		return annona.BreakGlass{}, errVerdict
	}
	if err := (Why{Reason: note}).check(x.today(x.Clock())); err != nil {
		return annona.BreakGlass{}, err
	}
	return x.changeGlass(ctx, caller, id, verdict, func(g *annona.BreakGlass) error {
		switch {
		case g.Person == who.ID:
			return errGlassOwn
		case !g.ReviewedAt.IsZero():
			return errGlassReviewed
		}
		now := x.Clock().UTC()
		if g.Open(now) {
			g.EndedAt = now
		}
		g.ReviewedBy, g.ReviewedAt, g.Verdict, g.Note = caller.Actor(), now, verdict, note
		return nil
	})
}

func (x *Exchange) changeGlass(ctx context.Context, caller annona.Caller, id, act string, change func(*annona.BreakGlass) error) (g annona.BreakGlass, err error) {
	uid, err := annona.ParseUID(id)
	if err != nil || x.Glasses == nil {
		return g, errNoGlass
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		held, err := tx.HoldBreakGlass(ctx, uid)
		if err != nil {
			return err
		}
		if held == nil {
			return errNoGlass
		}
		if err := change(held); err != nil {
			return err
		}
		g = *held
		if err := tx.PutBreakGlass(ctx, g); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.aboutGlass(caller, &g, act))
	})
	return g, err
}

// aboutGlass is the entry of what happens to an emergency.
func (x *Exchange) aboutGlass(caller annona.Caller, g *annona.BreakGlass, act string) annona.LedgerRow {
	return x.administration(caller, audit.Facts{
		Verb: annona.VerbBreakGlass, Agreement: g.Agreement, Purpose: g.Purpose, Reason: g.Reason,
		Details: map[string]string{"act": act, "break_glass": g.ID.String(), "person": g.Person.String(), "seen": strconv.Itoa(g.Seen)},
	})
}

// withDetail returns details with one more.
func withDetail(details map[string]string, name, value string) map[string]string {
	more := maps.Clone(details)
	if more == nil {
		more = map[string]string{}
	}
	more[name] = value
	return more
}
