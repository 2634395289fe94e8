package exchange_test

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// hooked is a writer before whose transactions something happens.
type hooked struct {
	annona.Writer
	before func()
}

func (w hooked) Update(ctx context.Context, do func(annona.Tx) error) error {
	w.before()
	return w.Writer.Update(ctx, do)
}

// Somebody who is disabled, or changed, between their look and the transaction approves nothing.
func TestAnApproverWhoChangesMeanwhile(t *testing.T) {
	for what, change := range map[string]func(*annona.User){
		"disabled": func(u *annona.User) { u.Status = annona.UserDisabled },
		"changed":  func(u *annona.User) { u.Version++ },
	} {
		h := newBureau(t)
		ama := h.comes("ama", nil)
		h.comes("kofi", nil)
		h.now = h.now.Add(25 * time.Hour)
		a := h.asked("desk")
		writer := h.Writer
		h.Writer = hooked{writer, func() {
			change(&ama)
			h.must(h.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), ama) }))
		}}
		if err := h.approve(h.as(ama), a); annona.CodeOf(err) != "approver_not_entitled" {
			t.Errorf("%s: %v", what, err)
		}
		h.Writer = writer
		if h.waiting().ID != a.ID {
			t.Errorf("%s: it does not wait any more", what)
		}
	}
}

// Roles that are over let nobody approve, read requests or reject. To let them last longer waits for a second person.
func TestRolesEnd(t *testing.T) {
	h := newBureau(t)
	ama := h.comes("ama", nil)
	h.comes("kofi", nil)
	h.comes("esi", nil)
	h.now = h.now.Add(25 * time.Hour)
	a := h.asked("desk")
	day := func(days int) annona.Date { return annona.DateOf(h.now.AddDate(0, 0, days)) }
	h.must(h.LimitUserRoles(t.Context(), operator, "ama", day(0))) // it takes away: it waits for nobody
	if _, err := h.ShowApproval(t.Context(), h.as(ama), a.ID.String()); err != nil {
		t.Errorf("on their last day: %v", err)
	}
	h.now = h.now.Add(24 * time.Hour)
	if err := h.approve(h.as(ama), a); annona.CodeOf(err) != "approver_not_entitled" {
		t.Errorf("approves: %v", err)
	}
	if _, err := h.ShowApproval(t.Context(), h.as(ama), a.ID.String()); annona.CodeOf(err) != "approver_not_entitled" {
		t.Errorf("reads: %v", err)
	}
	if _, err := h.Reject(t.Context(), h.as(ama), a.ID.String()); annona.CodeOf(err) != "approver_not_entitled" {
		t.Errorf("rejects: %v", err)
	}
	for _, until := range []annona.Date{day(1), ""} {
		if err := h.LimitUserRoles(t.Context(), operator, "ama", until); annona.CodeOf(err) != "approval_needed" {
			t.Errorf("until %q: %v", until, err)
		}
	}
	if err := h.LimitUserRoles(t.Context(), operator, "ama", "tomorrow"); annona.CodeOf(err) != "date_malformed" {
		t.Errorf("no day: %v", err)
	}
	kofi, err := h.store.UserByName(t.Context(), "kofi")
	h.must(err)
	h.must(h.approve(h.as(*kofi), h.waiting()))
	if err := h.approve(h.as(ama), a); annona.CodeOf(err) != "approver_too_new" {
		t.Errorf("roles that were given anew: %v", err)
	}
}

// bureau is a registry with people who sign in, and a clock of its own.
type bureau struct {
	*registry
	t   *testing.T
	now time.Time
}

func newBureau(t *testing.T) *bureau {
	t.Helper()
	h := &bureau{registry: newRegistry(t, 10), t: t, now: time.Now().UTC()}
	h.Users, h.Approvals, h.Clock = h.store, h.store, func() time.Time { return h.now }
	return h
}

// comes puts somebody on file who can sign in, as if they had accepted their invitation.
func (h *bureau) comes(name string, change func(*annona.User)) annona.User {
	h.t.Helper()
	u := annona.User{ID: annona.NewUID(), Name: name, Roles: []string{"administrator"}, Status: annona.UserActive, Version: 1, CreatedAt: h.now}
	if change != nil {
		change(&u)
	}
	h.must(h.store.Update(h.t.Context(), func(tx annona.Tx) error { return tx.PutUser(h.t.Context(), u) }))
	return u
}

func (h *bureau) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// as is somebody who has just signed in.
func (h *bureau) as(u annona.User) annona.Caller {
	return annona.Caller{Acting: annona.SignedIn{Person: u.ID, Assurance: annona.AssuranceTwoFactors, At: h.now}}
}

// asked asks for a role of that name and returns the request that waits.
func (h *bureau) asked(name string) annona.Approval {
	h.t.Helper()
	applied, err := h.ApplyPolicy(h.t.Context(), operator, narrower(name, annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}))
	if annona.CodeOf(err) != "approval_needed" {
		h.t.Fatalf("a policy came in force, or was refused: %+v, %v", applied, err)
	}
	return h.waiting()
}

// waiting is the newest request that waits.
func (h *bureau) waiting() annona.Approval {
	h.t.Helper()
	all, err := h.ListApprovals(h.t.Context(), operator, annona.ApprovalWaiting)
	h.must(err)
	if len(all) == 0 {
		h.t.Fatal("nothing waits")
	}
	return all[0].Approval
}

func (h *bureau) approve(caller annona.Caller, a annona.Approval) error {
	_, err := h.Approve(h.t.Context(), caller, a.ID.String(), hex.EncodeToString(a.Hash[:]))
	return err
}

func (h *bureau) refuses(what string, err error, code string) {
	h.t.Helper()
	if annona.CodeOf(err) != code || err == nil {
		h.t.Errorf("%s: got %v (%s), want %s", what, err, annona.CodeOf(err), code)
	}
}

// A change of the policy waits until a second person has looked at it; until two people could look, it is
// applied at once, and the ledger says which of the two it was.
func TestAPolicyWaitsForASecondPerson(t *testing.T) {
	h := newBureau(t)
	first := narrower("first", annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}})
	if applied, err := h.ApplyPolicy(t.Context(), operator, first); err != nil || applied.Version != 1 {
		t.Fatalf("before there is anybody: %+v, %v", applied, err)
	}
	ama, _ := h.comes("ama", nil), h.comes("kofi", nil)
	second := narrower("second", annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}})
	if applied, err := h.ApplyPolicy(t.Context(), operator, second); err != nil || applied.Version != 2 {
		t.Fatalf("while nobody has had the role for a day: %+v, %v", applied, err)
	}
	h.now = h.now.Add(25 * time.Hour)

	a := h.asked("third")
	if p, _ := h.PolicyVersion(t.Context(), operator, -1); p.Version != 2 {
		t.Errorf("version %d is in force while it waits", p.Version)
	}
	if again := h.asked("third"); again.ID != a.ID {
		t.Error("the same again waits twice")
	}
	if !slices.ContainsFunc(a.Shows, func(line string) bool { return strings.Contains(line, "third may newly get") }) {
		t.Errorf("it shows: %q", a.Shows)
	}
	h.refuses("what somebody has not looked at", func() error { _, err := h.Approve(t.Context(), h.as(ama), a.ID.String(), "00"); return err }(), "approval_changed")
	h.must(h.approve(h.as(ama), a))
	if p, _ := h.PolicyVersion(t.Context(), operator, -1); p.Version != 3 || p.Roles[len(p.Roles)-1].Name != "third" {
		t.Errorf("in force: %+v", p)
	}
	h.refuses("a second approval", h.approve(h.as(ama), a), "approval_decided")

	a = h.asked("fourth")
	if _, err := h.Reject(t.Context(), h.as(ama), a.ID.String()); err != nil {
		t.Error(err)
	}
	h.refuses("what was rejected", h.approve(h.as(ama), a), "approval_decided")
	h.now = h.now.Add(time.Minute)
	rolledBack, err := h.PolicyVersion(t.Context(), operator, 1)
	h.must(err)
	_, err = h.ApplyPolicy(t.Context(), operator, *rolledBack)
	h.refuses("an earlier version", err, "approval_needed")

	var how []string
	acts := map[string]int{}
	for _, e := range h.entries(t) {
		switch {
		case e.Facts == nil:
		case e.Facts.Verb == annona.VerbApplyPolicy:
			how = append(how, e.Facts.Details["approval"])
		case e.Facts.Verb == annona.VerbApproval:
			acts[e.Facts.Details["act"]]++
		}
	}
	if len(how) != 3 || how[0] != "none" || how[1] != "none" || len(how[2]) != 32 || acts["requested"] != 3 || acts["approved"] != 1 || acts["rejected"] != 1 {
		t.Errorf("the ledger: %q, %v", how, acts)
	}
}

// Who may not approve: whoever asks, whoever has made them or was made by them, whoever is too new, has no
// role for it, works for a partner, signed in long ago or with one factor, and every machine (T-58, AK-11).
func TestWhoMayNotApprove(t *testing.T) {
	h := newBureau(t)
	ama, kofi := h.comes("ama", nil), h.comes("kofi", nil)
	h.comes("yaa", nil)
	tester := h.comes("tester", nil) // the account at the command line has this name
	made := h.comes("made", func(u *annona.User) { u.MadeBy = []string{"operator:tester", "person:" + kofi.ID.String()} })
	auditor := h.comes("auditor", func(u *annona.User) { u.Roles = []string{"auditor"} })
	partner := h.comes("partner", func(u *annona.User) { u.Partner = "Program" })
	disabled := h.comes("disabled", func(u *annona.User) { u.Status = annona.UserDisabled })
	h.now = h.now.Add(24*time.Hour + time.Minute)
	late := h.comes("late", func(u *annona.User) {
		u.CreatedAt = u.CreatedAt.Add(-48 * time.Hour)
		u.GrantedAt = h.now.Add(-23 * time.Hour)
	})
	a := h.asked("desk")

	old, weak, machine, token := h.as(ama), h.as(ama), h.caller, h.as(ama)
	old.Acting.At = h.now.Add(-11 * time.Minute)
	weak.Acting.Assurance = annona.AssuranceOutside
	token.Client = h.caller.Client
	for _, c := range []struct {
		what string
		by   annona.Caller
		code string
	}{
		{"a key", machine, "approver_is_a_machine"}, {"the command line", operator, "approver_is_a_machine"}, {"a token of a person", token, "approver_is_a_machine"},
		{"an old sign-in", old, "insufficient_user_authentication"}, {"another issuer's word", weak, "insufficient_user_authentication"},
		{"the account that asks", h.as(tester), "approval_own"}, {"whom the account has made", h.as(made), "approval_entangled"},
		{"a role of 23 hours", h.as(late), "approver_too_new"}, {"an auditor", h.as(auditor), "approver_not_entitled"},
		{"somebody of a partner", h.as(partner), "approver_not_entitled"}, {"somebody who is disabled", h.as(disabled), "approver_not_entitled"},
		{"nobody on file", h.as(annona.User{ID: annona.NewUID()}), "approver_not_entitled"},
	} {
		h.refuses(c.what, h.approve(c.by, a), c.code)
	}
	if _, err := h.ShowApproval(t.Context(), h.as(auditor), a.ID.String()); err != nil {
		t.Errorf("an auditor looks: %v", err)
	}
	for what, caller := range map[string]annona.Caller{"a client": h.caller, "somebody of a partner": h.as(partner), "a token": token} {
		if _, err := h.ListApprovals(t.Context(), caller, ""); annona.KindOf(err) != annona.KindForbidden {
			t.Errorf("%s looks: %v", what, err)
		}
	}
	_, err := h.Reject(t.Context(), h.as(auditor), a.ID.String())
	h.refuses("an auditor rejects", err, "approver_not_entitled")
	h.must(h.approve(h.as(ama), a))
}

// Whatever a request was bound to voids it when it moves; so does time.
func TestAnEditVoidsWhatWaits(t *testing.T) {
	agreement := func(h *bureau) annona.Agreement {
		a, err := h.store.Agreement(t.Context(), "program")
		h.must(err)
		return *a
	}
	for name, edit := range map[string]func(h *bureau, ama annona.User){
		"the policy moves": func(h *bureau, ama annona.User) {
			h.now = h.now.Add(time.Minute)
			h.must(h.approve(h.as(ama), h.asked("desk")))
		},
		"the agreement is suspended": func(h *bureau, ama annona.User) {
			a := agreement(h)
			a.Status = "suspended"
			_, err := h.ApplyAgreement(t.Context(), operator, a)
			h.must(err)
		},
		"nobody came in time": func(h *bureau, ama annona.User) { h.now = h.now.Add(8 * 24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newBureau(t)
			ama, _ := h.comes("ama", nil), h.comes("kofi", nil)
			h.now = h.now.Add(25 * time.Hour)
			wider := agreement(h)
			wider.Disclosures = true
			_, err := h.ApplyAgreement(t.Context(), operator, wider)
			h.refuses("a wider agreement", err, "approval_needed")
			a := h.waiting()
			if !slices.Contains(a.Shows, "+ disclosures: true") {
				t.Errorf("it shows %q", a.Shows)
			}
			edit(h, ama)
			if shown, err := h.ShowApproval(t.Context(), h.as(ama), a.ID.String()); err != nil || shown.State != annona.ApprovalVoid {
				t.Errorf("shown: %s, %v", shown.State, err)
			}
			h.refuses("afterwards", h.approve(h.as(ama), a), "approval_void")
			h.refuses("and again", h.approve(h.as(ama), a), "approval_decided")
			if agreement(h).Disclosures {
				t.Error("it is in force all the same")
			}
		})
	}
}

// Of several who approve and edit at once, one succeeds, and nothing is applied twice.
func TestApprovalsRace(t *testing.T) {
	h := newBureau(t)
	people := []annona.User{h.comes("ama", nil), h.comes("kofi", nil), h.comes("yaa", nil), h.comes("esi", nil)}
	h.now = h.now.Add(25 * time.Hour)
	var waiting []annona.Approval
	for _, name := range []string{"one", "two"} {
		waiting = append(waiting, h.asked(name))
		h.now = h.now.Add(time.Second)
	}
	var all sync.WaitGroup
	won := make(chan string, 8)
	for i, u := range people {
		all.Go(func() {
			if err := h.approve(h.as(u), waiting[i%2]); err == nil {
				won <- u.Name
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Errorf("%d have approved policies that were made for the same one", len(won))
	}
	if p, err := h.PolicyVersion(t.Context(), operator, -1); err != nil || p.Version != 1 {
		t.Errorf("in force: %+v, %v", p, err)
	}
}

// Who could approve is made with an approval too, and may not approve for those who made them. When too few
// are left, new ones are made at once, and wait a day like the first.
func TestWhoApprovesIsMadeByTwo(t *testing.T) {
	h := newBureau(t)
	ama, kofi := h.comes("ama", nil), h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	yaa := annona.User{ID: annona.NewUID(), Name: "yaa", Roles: []string{"approver"}, Invitation: annona.TokenHash{7}, InvitedUntil: h.now.Add(15 * time.Minute)}
	h.refuses("another approver", h.InviteUsers(t.Context(), operator, []annona.User{yaa}), "approval_needed")
	h.now = h.now.Add(time.Hour)
	a := h.waiting()
	if shown, err := h.ShowApproval(t.Context(), h.as(ama), a.ID.String()); err != nil || shown.Becomes != nil {
		t.Errorf("an invitation is shown: %s, %v", shown.Becomes, err)
	}
	a = h.refreshed(a, ama)
	h.must(h.approve(h.as(ama), a))
	u, err := h.store.UserByName(t.Context(), "yaa")
	if err != nil || u == nil || !u.GrantedAt.Equal(h.now) || len(u.MadeBy) != 2 || !u.InvitedUntil.Equal(h.now.Add(15*time.Minute)) {
		t.Fatalf("%+v, %v", u, err)
	}
	h.comes("esi", func(u *annona.User) { u.Roles = []string{"auditor"} })
	h.refuses("a role that approves", h.SetUserRoles(t.Context(), operator, "esi", []string{"administrator"}), "approval_needed")
	h.refuses("a new way to sign in", h.ResetUser(t.Context(), operator, "kofi", annona.TokenHash{8}, h.now.Add(time.Minute)), "approval_needed")

	h.must(h.DisableUser(t.Context(), operator, "kofi")) // always at once
	h.refuses("a policy with one approver left", func() error { _, err := h.ApplyPolicy(t.Context(), operator, narrower("x")); return err }(), "approval_needed")
	h.must(h.SetUserRoles(t.Context(), operator, "esi", []string{"administrator"}))
	esi, err := h.store.UserByName(t.Context(), "esi")
	h.must(err)
	h.must(h.store.Update(t.Context(), func(tx annona.Tx) error {
		esi.Status = annona.UserActive
		return tx.PutUser(t.Context(), *esi)
	}))
	h.now = h.now.Add(time.Minute)
	waiting := h.asked("desk")
	h.refuses("with a role of a minute", h.approve(h.as(*esi), waiting), "approver_too_new")
	h.now = h.now.Add(25 * time.Hour)
	h.must(h.approve(h.as(*esi), waiting))
	_ = kofi
}

// Whoever is given a role waits for a second person, and whoever looks after what others do when they get another
// way to sign in. To lose a role, or to come back to one's cases, waits for nobody. With too few left to approve,
// only who approves is made at once: disabling them is no way round.
func TestWhoIsGivenARoleWaits(t *testing.T) {
	h := newBureau(t)
	ama, kofi := h.comes("ama", nil), h.comes("kofi", nil)
	h.comes("esi", func(u *annona.User) { u.Partner, u.Roles = "Program", []string{"clerk"} })
	h.comes("abena", func(u *annona.User) { u.Roles = []string{"data-protection-officer"} })
	h.now = h.now.Add(25 * time.Hour)
	invite := func(name, partner string, roles ...string) error {
		u := annona.User{ID: annona.NewUID(), Name: name, Partner: partner, Roles: roles, Invitation: annona.TokenHash{9}, InvitedUntil: h.now.Add(time.Minute)}
		return h.InviteUsers(t.Context(), operator, []annona.User{u})
	}
	roles := func(name string, roles ...string) error {
		return h.SetUserRoles(t.Context(), operator, name, roles)
	}
	reset := func(name string) error {
		return h.ResetUser(t.Context(), operator, name, annona.TokenHash{8}, h.now.Add(time.Minute))
	}
	h.refuses("a clerk of a partner", invite("yaa", "Program", "clerk"), "approval_needed")
	h.now = h.now.Add(time.Second)
	h.refuses("one more role", roles("esi", "clerk", "reviewer"), "approval_needed")
	if a := h.waiting(); len(a.Shows) != 1 || !strings.Contains(a.Shows[0], "esi of Program, from then on clerk, reviewer") {
		t.Errorf("it shows %q", a.Shows)
	}
	h.refuses("another role", roles("esi", "reviewer"), "approval_needed")
	h.refuses("a way in for who protects data", reset("abena"), "approval_needed")
	if u, err := h.store.UserByName(t.Context(), "esi"); err != nil || !slices.Equal(u.Roles, []string{"clerk"}) {
		t.Errorf("meanwhile: %+v, %v", u, err)
	}
	h.must(reset("esi"))
	h.must(h.DisableUser(t.Context(), operator, "abena"))
	h.refuses("who protects data, enabled again", h.EnableUser(t.Context(), operator, "abena"), "approval_needed")
	h.must(roles("esi")) // nothing left
	h.refuses("the role of before", roles("esi", "clerk"), "approval_needed")
	h.now = h.now.Add(time.Second)
	h.refuses("two roles", roles("esi", "clerk", "reviewer"), "approval_needed")
	h.must(h.approve(h.as(ama), h.waiting()))
	if u, err := h.store.UserByName(t.Context(), "esi"); err != nil || !slices.Equal(u.Roles, []string{"clerk", "reviewer"}) {
		t.Errorf("approved: %+v, %v", u, err)
	}
	h.must(h.DisableUser(t.Context(), operator, kofi.Name))
	h.refuses("a clerk, with one left who approves", invite("yaa", "Program", "clerk"), "approval_needed")
	h.refuses("more than approving, with one left", invite("yaa", "", "approver", "data-protection-officer"), "approval_needed")
	h.refuses("an approver of a partner, who is none", invite("yaa", "Program", "approver"), "approval_needed")
	h.refuses("one more role, with one left", roles("esi", "clerk", "reviewer", "planner"), "approval_needed")
	h.must(invite("yaa", "", "approver"))
}

// AK-12, FA-31: an identity provider is an issuer by https, gives no role over the registry that is not named twice, and
// stays the same issuer; a client of it is registered once.
func TestProvidersThatAreRefused(t *testing.T) {
	h := newBureau(t)
	h.Outsiders = h.store
	sound := func() annona.IdentityProvider {
		return annona.IdentityProvider{
			Name: "ministry", Issuer: "https://login.ministry.example", Audience: "https://exchange.example",
			People: []annona.PeopleRule{{When: &annona.ClaimValue{Claim: "groups", Is: "clerks"}, Partner: "Program", Roles: []string{"clerk"}}},
		}
	}
	for name, c := range map[string]struct {
		change func(*annona.IdentityProvider)
		code   string
	}{
		"an administrator":           {func(p *annona.IdentityProvider) { p.People[0].Roles = []string{"clerk", "administrator"} }, "role_over_the_registry"},
		"an approver":                {func(p *annona.IdentityProvider) { p.People[0].Roles = []string{"approver"} }, "role_over_the_registry"},
		"who protects data":          {func(p *annona.IdentityProvider) { p.People[0].Roles = []string{"data-protection-officer"} }, "role_over_the_registry"},
		"no role":                    {func(p *annona.IdentityProvider) { p.People[0].Roles = nil }, "identity_provider_malformed"},
		"a rule about nothing":       {func(p *annona.IdentityProvider) { p.People[0].When.Is = "" }, "identity_provider_malformed"},
		"a partner nobody knows":     {func(p *annona.IdentityProvider) { p.People[0].Partner = "Nobody" }, "partner_unknown"},
		"a role of capitals":         {func(p *annona.IdentityProvider) { p.People[0].Roles = []string{"Clerk"} }, "role_malformed"},
		"plain http":                 {func(p *annona.IdentityProvider) { p.Issuer = "http://login.ministry.example" }, "identity_provider_malformed"},
		"a query":                    {func(p *annona.IdentityProvider) { p.Issuer += "?x=1" }, "identity_provider_malformed"},
		"a user":                     {func(p *annona.IdentityProvider) { p.Issuer = "https://me@login.ministry.example" }, "identity_provider_malformed"},
		"no audience":                {func(p *annona.IdentityProvider) { p.Audience = "" }, "identity_provider_malformed"},
		"tokens of more than a day":  {func(p *annona.IdentityProvider) { p.LongestToken = 24*60 + 1 }, "identity_provider_malformed"},
		"a network that is none":     {func(p *annona.IdentityProvider) { p.Networks = []string{"10.2"} }, "identity_provider_malformed"},
		"machines by half a claim":   {func(p *annona.IdentityProvider) { p.Machines = &annona.ClaimValue{Claim: "gty"} }, "identity_provider_malformed"},
		"an acr that counts for air": {func(p *annona.IdentityProvider) { p.Assurance = map[string]string{"gold": "gold"} }, "identity_provider_malformed"},
	} {
		p := sound()
		c.change(&p)
		h.refuses(name, h.PutIdentityProvider(t.Context(), operator, p), c.code)
	}
	named := sound()
	named.People[0].Roles, named.Privileged = []string{"auditor"}, []string{"auditor"}
	h.must(h.PutIdentityProvider(t.Context(), operator, named))
	moved := sound()
	moved.Issuer = "https://login.other.example"
	h.refuses("another issuer under its name", h.PutIdentityProvider(t.Context(), operator, moved), "issuer_changed")

	c := annona.Client{ID: annona.NewUID(), KeyID: "aaaaaaaaaaaaaaaa", Hash: []byte{1}, Agreement: "program", Method: annona.MethodOutside, Subject: named.Issuer + " loader", CreatedAt: h.now, ExpiresAt: h.now.Add(time.Hour)}
	stranger := c
	stranger.Subject = "https://login.other.example loader"
	_, err := h.OutsideClient(t.Context(), stranger)
	h.refuses("a client of nobody's", err, "not_found")
	h.must(h.CreateClient(t.Context(), operator, c))
	_, err = h.OutsideClient(t.Context(), c)
	h.refuses("a client that is registered", err, "client_known")
	h.now = h.now.Add(2 * time.Hour)
	if id, err := h.OutsideClient(t.Context(), c); err != nil || id != c.ID {
		t.Errorf("one that has expired: %v, %v", id, err)
	}
}

// AK-12: when the rules of a provider give somebody less than before, a token that is older brings nothing back, and
// what was issued to them earlier is over.
func TestAnOlderTokenBringsNothingBack(t *testing.T) {
	h := newBureau(t)
	h.Outsiders = h.store
	id, drawn := annona.NewUID(), byte(0)
	takeIn := func(issued time.Time, roles ...string) (hash annona.TokenHash, holds bool) {
		t.Helper()
		drawn++
		token := annona.Token{
			Hash: annona.TokenHash{drawn}, Client: h.caller.Client, Acting: annona.SignedIn{Person: id, Assurance: annona.AssuranceOutside}, IssuedAt: issued, ExpiresAt: issued.Add(time.Hour),
		}
		person := annona.User{ID: id, Provider: "ministry", Name: "outside-a", Partner: "Program", Roles: roles, Status: annona.UserActive, Version: 1, CreatedAt: h.now}
		holds, err := h.TakeInToken(t.Context(), h.caller, token, &person)
		h.must(err)
		return token.Hash, holds
	}
	has := func(when string, roles ...string) {
		t.Helper()
		if u, err := h.store.UserByID(t.Context(), id); err != nil || !slices.Equal(u.Roles, roles) {
			t.Errorf("%s: %+v, %v", when, u, err)
		}
	}
	at := h.now.Truncate(time.Second)
	first, holds := takeIn(at, "clerk", "reviewer")
	if has("first", "clerk", "reviewer"); !holds {
		t.Error("a first token does not hold")
	}
	if _, holds = takeIn(at.Add(time.Minute), "clerk"); !holds {
		t.Error("a newer token does not hold")
	}
	has("less", "clerk")
	if _, holds = takeIn(at.Add(30*time.Second), "clerk", "reviewer"); holds {
		t.Error("an older token holds")
	}
	has("after an older one", "clerk")
	if token, err := h.store.TokenByHash(t.Context(), first); err != nil || token == nil || token.RevokedAt.IsZero() {
		t.Errorf("what was issued before: %+v, %v", token, err)
	}
	if _, holds = takeIn(at.Add(2*time.Minute), "clerk", "reviewer"); !holds {
		t.Error("a newer token that gives more does not hold")
	}
	has("more again", "clerk", "reviewer")
}

// AK-13: whoever is changed is signed in nowhere any more, and nothing acts for them. A reset takes all that they
// sign in by; whoever has nothing is not enabled.
func TestAChangeEndsWhatActs(t *testing.T) {
	for name, change := range map[string]func(h *bureau) error{
		"fewer roles": func(h *bureau) error { return h.SetUserRoles(t.Context(), operator, "esi", []string{"clerk"}) },
		"disabled":    func(h *bureau) error { return h.DisableUser(t.Context(), operator, "esi") },
		"reset": func(h *bureau) error {
			return h.ResetUser(t.Context(), operator, "esi", annona.TokenHash{8}, h.now.Add(time.Minute))
		},
	} {
		h := newBureau(t)
		h.Delegations = h.store
		u := h.comes("esi", func(u *annona.User) { u.Partner, u.Roles = "Program", []string{"clerk", "reviewer"} })
		factor := annona.Factor{ID: annona.NewUID(), User: u.ID, Kind: annona.FactorPassword, Sealed: []byte{1}, CreatedAt: h.now}
		h.must(h.store.Update(t.Context(), func(tx annona.Tx) error {
			session := annona.Session{Hash: annona.TokenHash{1}, User: u.ID, UserVersion: u.Version, CreatedAt: h.now, ProvedAt: h.now, SeenAt: h.now}
			return errors.Join(tx.PutSession(t.Context(), session), tx.PutFactor(t.Context(), factor))
		}))
		h.must(h.store.PutDelegation(t.Context(), annona.Delegation{
			ID: annona.NewUID(), Client: h.caller.Client, Stage: annona.DelegationTaken, Hash: annona.TokenHash{2}, Code: annona.TokenHash{3},
			Acting: annona.SignedIn{Person: u.ID, Assurance: annona.AssuranceTwoFactors, At: h.now}, BeganAt: h.now, Until: h.now.Add(time.Hour),
		}))
		h.now = h.now.Add(time.Minute)
		h.must(change(h))
		now, err := h.store.UserByName(t.Context(), "esi")
		h.must(err)
		sessions, err := h.store.SessionsOf(t.Context(), u.ID)
		h.must(err)
		acting, err := h.store.DelegationsOf(t.Context(), u.ID)
		h.must(err)
		if now.Version <= u.Version || !now.EndedAt.Equal(h.now) || len(sessions) > 0 || len(acting) > 0 {
			t.Errorf("%s: version %d, ended %s, %d sessions, %d applications", name, now.Version, now.EndedAt, len(sessions), len(acting))
		}
		factors, err := h.store.Factors(t.Context(), u.ID)
		h.must(err)
		if (len(factors) == 0) != (name == "reset") {
			t.Errorf("%s: %d factors are left", name, len(factors))
		}
		if name == "reset" {
			h.must(h.DisableUser(t.Context(), operator, "esi"))
			h.refuses("whoever has nothing to sign in by, enabled", h.EnableUser(t.Context(), operator, "esi"), "user_without_factors")
		}
	}
}

// invitation is one that nobody else has.
func (h *bureau) invitation() (hash annona.TokenHash) {
	id := annona.NewUID()
	copy(hash[:], id[:])
	return hash
}

// The first administrators are two, whoever an identity provider vouches for.
func TestTheFirstAdministratorsAreTwo(t *testing.T) {
	h := newBureau(t)
	invite := func(name, partner string) annona.User {
		return annona.User{ID: annona.NewUID(), Name: name, Partner: partner, Roles: []string{"administrator"}, Invitation: h.invitation(), InvitedUntil: h.now.Add(time.Minute)}
	}
	h.comes("outside-a", func(u *annona.User) { u.Provider, u.Roles = "ministry", []string{"clerk"} })
	h.refuses("one", h.InviteUsers(t.Context(), operator, []annona.User{invite("ama", "")}), "two_administrators")
	h.refuses("one, and one of a partner", h.InviteUsers(t.Context(), operator, []annona.User{invite("ama", ""), invite("esi", "Program")}), "two_administrators")
	h.must(h.InviteUsers(t.Context(), operator, []annona.User{invite("ama", ""), invite("kofi", "")}))
	for what, err := range map[string]error{
		"roles": h.SetUserRoles(t.Context(), operator, "outside-a", []string{"administrator"}),
		"reset": h.ResetUser(t.Context(), operator, "outside-a", annona.TokenHash{8}, h.now),
	} {
		h.refuses("AK-12 "+what+" of somebody whom a provider vouches for", err, "user_of_provider")
	}
	h.must(h.DisableUser(t.Context(), operator, "outside-a"))
}

// A client that is given a wider role waits for a second person, and so does a new one in a role that allows
// more than that of all clients. A narrower role is given at once.
func TestAWiderRoleWaits(t *testing.T) {
	h := newBureau(t)
	p := policy.Shipped()
	p.Roles = []annona.Role{
		{Name: annona.RolePartner, Rules: []annona.RoleRule{{Name: "reads", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch}}}},
		{Name: "desk", Rules: []annona.RoleRule{{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}}},
		{Name: "planner", Rules: []annona.RoleRule{{Name: "reads", Verbs: []annona.Verb{annona.VerbGet, annona.VerbExport}}}},
	}
	_, err := h.ApplyPolicy(t.Context(), operator, p)
	h.must(err)
	ama, _ := h.comes("ama", nil), h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	role := func() string {
		c, err := h.store.ClientByID(t.Context(), h.caller.Client)
		h.must(err)
		return c.Role
	}
	h.must(h.SetRole(t.Context(), operator, h.caller.Client, "desk"))
	h.refuses("back to more", h.SetRole(t.Context(), operator, h.caller.Client, annona.RolePartner), "approval_needed")
	back := h.waiting()
	if back.Kind != annona.ApproveRole || len(back.Shows) != 1 || !strings.Contains(back.Shows[0], "partner may newly search") || role() != "desk" {
		t.Errorf("%s, it shows %q, and the client is in %s", back.Kind, back.Shows, role())
	}
	h.now = h.now.Add(time.Second)
	h.refuses("another role", h.SetRole(t.Context(), operator, h.caller.Client, "planner"), "approval_needed")
	h.must(h.approve(h.as(ama), h.waiting()))
	if role() != "planner" {
		t.Errorf("approved, and the client is in %s", role())
	}
	h.refuses("a role that it was to have before", h.approve(h.as(ama), back), "approval_void")

	c := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Hash: []byte{1}, Agreement: "program", Method: annona.MethodPrivateKeyJWT, Role: "planner", CreatedAt: h.now, ExpiresAt: h.now.Add(time.Hour)}
	h.now = h.now.Add(time.Second)
	h.refuses("a new client that exports", h.CreateClient(t.Context(), operator, c), "approval_needed")
	waiting := h.waiting()
	c.ID, c.KeyID, c.Role = annona.NewUID(), annona.NewUID().String(), "desk"
	h.must(h.CreateClient(t.Context(), operator, c))
	h.must(h.approve(h.as(ama), waiting))

	h.refuses("more for a client that is revoked meanwhile", h.SetRole(t.Context(), operator, c.ID, "planner"), "approval_needed")
	waiting = h.waiting()
	h.must(h.RevokeClient(t.Context(), operator, c.ID))
	h.refuses("which is revoked", h.approve(h.as(ama), waiting), "client_over")
	if found, err := h.store.ClientByID(t.Context(), c.ID); err != nil || found.RevokedAt.IsZero() {
		t.Errorf("it is back: %+v, %v", found, err)
	}
}

// An identity provider gives roles by its rules: every change of one waits, and to remove it does not. The same
// again changes nothing.
func TestAnIdentityProviderWaits(t *testing.T) {
	h := newBureau(t)
	h.Outsiders = h.store
	ama, _ := h.comes("ama", nil), h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	p := annona.IdentityProvider{
		Name: "ministry", Issuer: "https://login.ministry.example", Audience: "https://exchange.example",
		People: []annona.PeopleRule{{When: &annona.ClaimValue{Claim: "groups", Is: "clerks"}, Partner: "Program", Roles: []string{"clerk"}}},
	}
	counts := func() []annona.IdentityProvider {
		all, err := h.IdentityProviders(t.Context(), operator)
		h.must(err)
		return all
	}
	h.refuses("a new one", h.PutIdentityProvider(t.Context(), operator, p), "approval_needed")
	if len(counts()) > 0 {
		t.Error("it counts while it waits")
	}
	shown, err := h.ShowApproval(t.Context(), h.as(ama), h.waiting().ID.String())
	if err != nil || !strings.Contains(string(shown.Becomes), "clerks") || len(shown.Shows) == 0 {
		t.Errorf("it shows %s, %q, %v", shown.Becomes, shown.Shows, err)
	}
	h.must(h.approve(h.as(ama), h.waiting()))
	h.must(h.PutIdentityProvider(t.Context(), operator, p))
	p.People[0].Roles = []string{"clerk", "reviewer"}
	h.now = h.now.Add(time.Second)
	h.refuses("a wider rule", h.PutIdentityProvider(t.Context(), operator, p), "approval_needed")
	wider := h.waiting()
	if all := counts(); len(all) != 1 || len(all[0].People[0].Roles) != 1 {
		t.Errorf("meanwhile: %+v", all)
	}
	h.must(h.RemoveIdentityProvider(t.Context(), operator, "ministry"))
	h.refuses("a change of one that is gone", h.approve(h.as(ama), wider), "approval_void")
	if len(counts()) > 0 {
		t.Error("it is back")
	}
}

// refreshed checks that somebody sees a request, and returns it.
func (h *bureau) refreshed(a annona.Approval, by annona.User) annona.Approval {
	h.t.Helper()
	shown, err := h.ShowApproval(h.t.Context(), h.as(by), a.ID.String())
	h.must(err)
	return shown.Approval
}

// Agreements, keys above the caps and specifications above the line of their agreement wait; what ends
// something, ordinary clients and ordinary specifications do not.
func TestWhatWaits(t *testing.T) {
	h := newBureau(t)
	h.partner(t, func(a *annona.Agreement) {
		a.Name, a.APIKey = "plain", nil
		a.Line = &annona.ApprovalLine{Rows: 5}
		a.Datasets["individuals"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Personal}, Fields: []string{"pregnancy_status"}}
	})
	ama, _ := h.comes("ama", nil), h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	client := func(agreement string, method annona.ClientMethod) annona.Client {
		return annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Hash: []byte{1}, Agreement: agreement, Method: method, CreatedAt: h.now, ExpiresAt: h.now.Add(time.Hour)}
	}
	raised := client("program", annona.MethodAPIKey)
	h.refuses("a key above the caps", h.CreateClient(t.Context(), operator, raised), "approval_needed")
	h.must(h.CreateClient(t.Context(), operator, client("plain", annona.MethodAPIKey)))
	h.must(h.CreateClient(t.Context(), operator, client("program", annona.MethodPrivateKeyJWT)))
	h.must(h.approve(h.as(ama), h.waiting()))
	if c, err := h.store.ClientByID(t.Context(), raised.ID); err != nil || c == nil {
		t.Errorf("the key is not there: %v", err)
	}

	spec := func(name string, fields ...string) annona.ExportSpec {
		s := annona.ExportSpec{Name: name, Agreement: "plain", Purpose: purpose, Dataset: "individuals", Format: "csv", Filter: `individual.individual_id == "x"`}
		s.Filter = ""
		for _, f := range fields {
			s.Fields = append(s.Fields, annona.SpecField{Field: f})
		}
		return s
	}
	_, _, err := h.PutExportSpec(t.Context(), operator, spec("many", "individual_id"))
	h.refuses("more than five rows", err, "approval_needed")
	if a := h.waiting(); len(a.Shows) == 0 || !strings.Contains(a.Shows[0], "more than 5 rows") {
		t.Errorf("it shows %q", a.Shows)
	}
	few := spec("few", "individual_id", "pregnancy_status")
	few.Filter = `individual.date_of_birth < '1800-01-01'`
	h.now = h.now.Add(time.Second)
	_, _, err = h.PutExportSpec(t.Context(), operator, few)
	h.refuses("special fields", err, "approval_needed")
	a := h.waiting()
	if len(a.Shows) == 0 || !strings.Contains(a.Shows[0], "individuals.pregnancy_status") {
		t.Errorf("it shows %q", a.Shows)
	}
	h.must(h.approve(h.as(ama), a))
	if s, err := h.ShowExportSpec(t.Context(), operator, "few", 1); err != nil || s.PutAt.IsZero() {
		t.Errorf("the specification: %+v, %v", s, err)
	}
	under := spec("under", "individual_id")
	under.Filter = `individual.date_of_birth < '1800-01-01'`
	if _, _, err := h.PutExportSpec(t.Context(), operator, under); err != nil {
		t.Errorf("below the line: %v", err)
	}
}

// What a second person approves is checked as it is then: a policy that would lock everybody out meanwhile is
// refused, and stays waiting.
func TestAnApprovedPolicyLocksNobodyOut(t *testing.T) {
	h := newBureau(t)
	ama, _ := h.comes("ama", nil), h.comes("kofi", nil)
	h.must(func() error {
		_, err := h.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "reads"}))
		return err
	}())
	h.now = h.now.Add(25 * time.Hour)
	_, err := h.ApplyPolicy(t.Context(), operator, policy.Shipped())
	h.refuses("back to what was shipped", err, "approval_needed")
	long := annona.Client{ID: annona.NewUID(), KeyID: "long", Hash: []byte{1}, Agreement: "program", Method: annona.MethodSecret, Role: "desk", CreatedAt: h.now, ExpiresAt: h.now.Add(time.Hour)}
	h.must(h.CreateClient(t.Context(), operator, long))
	h.refuses("when a client has got the role", h.approve(h.as(ama), h.waiting()), "role_in_use")
	if h.waiting().State != annona.ApprovalWaiting {
		t.Error("it does not wait any more")
	}
}
