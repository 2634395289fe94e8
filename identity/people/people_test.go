package people

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func TestInvitations(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	text, id := h.invite("ama")
	for name, wrong := range map[string]string{"another one": "annona_invite_" + strings.Repeat("a", 32), "nothing": "", "cut": text[:40], "longer": text + "a", "large": strings.Repeat("x", 1<<16)} {
		_, err := h.AcceptInvitation(t.Context(), *b, wrong)
		h.refuses(name, err, "invitation_refused")
	}
	state, err := h.AcceptInvitation(t.Context(), *b, " "+text+"\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Invited(t.Context(), state+"x")
	h.refuses("a state that was changed", err, "sign_in_over")
	_, err = h.Invited(t.Context(), b.Device)
	h.refuses("no state", err, "sign_in_over")
	p, err := h.Invited(t.Context(), state)
	if err != nil || p.ID != id || !p.IsInvited() {
		t.Fatalf("got %+v, %v", p, err)
	}
	h.register(p, b)
	if now := h.here(b); now == nil || now.SignedIn().Assurance != annona.AssurancePasskey {
		t.Errorf("who has registered a passkey is not signed in by it: %+v", now)
	}
	_, err = h.AcceptInvitation(t.Context(), *b, text)
	h.refuses("an invitation that was used", err, "invitation_refused")
	_, err = h.Invited(t.Context(), state)
	h.refuses("the state of an invitation that was used", err, "sign_in_over")
	options, asked, err := h.AskForPasskey(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.RegisterPasskey(t.Context(), *b, p, asked, newKey(t).create(t, options), "")
	h.refuses("a second passkey for one invitation", err, "sign_in_over")

	early, again := h.invite("esi")
	state, err = h.AcceptInvitation(t.Context(), *b, early)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*annona.User){
		"is disabled":          func(u *annona.User) { u.Status = annona.UserDisabled },
		"has got another one":  func(u *annona.User) { u.Invitation = annona.TokenHash{9} },
		"is not waited for":    func(u *annona.User) { u.Invitation = annona.TokenHash{} },
		"should have come now": func(u *annona.User) { u.InvitedUntil = h.clock() },
	} {
		var was annona.User
		h.change(again, func(u *annona.User) { was = *u; change(u) })
		_, err = h.Invited(t.Context(), state)
		h.refuses("an invitation of somebody who "+name, err, "sign_in_over")
		h.change(again, func(u *annona.User) { *u = was })
	}
	if _, err = h.Invited(t.Context(), state); err != nil {
		t.Fatal(err)
	}

	late, _ := h.invite("kofi")
	state, err = h.AcceptInvitation(t.Context(), *b, late)
	if err != nil {
		t.Fatal(err)
	}
	h.later(15 * time.Minute)
	_, err = h.Invited(t.Context(), state)
	h.refuses("an invitation that was accepted and is over", err, "sign_in_over")
	_, err = h.AcceptInvitation(t.Context(), *b, late)
	h.refuses("an invitation after 15 minutes", err, "invitation_refused")
}

// Invitations are not guessed: a place that tries many waits, and others do not.
func TestInvitationsAreNotGuessed(t *testing.T) {
	h := newHall(t)
	thief, own := browser("198.51.100.7"), browser("192.0.2.1")
	text, _ := h.invite("ama")
	for range 51 {
		_, err := h.AcceptInvitation(t.Context(), *thief, "annona_invite_"+strings.Repeat("a", 32))
		if annona.CodeOf(err) == "too_many_attempts" {
			break
		}
	}
	_, err := h.AcceptInvitation(t.Context(), *thief, text)
	h.refuses("after fifty, even the right one", err, "too_many_attempts")
	if _, err := h.AcceptInvitation(t.Context(), *own, text); err != nil {
		t.Errorf("whom it is for, at another place: %v", err)
	}
}

// Passkeys belong to a name: under an address of numbers there are none, and passwords with codes are.
func TestNoPasskeysUnderNumbers(t *testing.T) {
	h := newHall(t)
	for _, none := range []string{"", "https://", "://"} {
		if _, err := New(Wiring{Origin: none}); err == nil {
			t.Errorf("a desk under %q", none)
		}
	}
	b := browser("192.0.2.1")
	text, _ := h.invite("ama")
	p := h.accept(b, text)
	numbered := h.Wiring
	numbered.Origin = "https://192.0.2.10"
	d, err := New(numbered)
	if err != nil || d.HasPasskeys() || !h.HasPasskeys() {
		t.Fatalf("there are passkeys under numbers, or none under a name: %v", err)
	}
	_, _, err = d.AskToSignIn()
	h.refuses("to show one", err, "passkeys_unavailable")
	_, err = d.EnterByPasskey(t.Context(), *b, "", nil)
	h.refuses("one that is shown", err, "passkeys_unavailable")
	_, _, err = d.AskForPasskey(t.Context(), p)
	h.refuses("to make one", err, "passkeys_unavailable")
	_, err = d.RegisterPasskey(t.Context(), *b, p, "", nil, "")
	h.refuses("one that was made", err, "passkeys_unavailable")
	if _, err := d.ChoosePassword(t.Context(), p, goodPassword, goodPassword); err != nil {
		t.Errorf("a password: %v", err)
	}
}

func TestPasskeys(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	k := h.withPasskey("ama", b)
	b.Session = ""
	if err := h.showPasskey(k, b); err != nil || h.here(b) == nil || h.here(b).Name != "ama" {
		t.Fatalf("who shows a passkey is not signed in: %v", err)
	}
	// T-25: each changes one thing of an answer that holds.
	for name, change := range map[string]func(*key){
		"another origin":          func(k *key) { k.origin = "https://exchange.example.evil.example" },
		"a lower origin":          func(k *key) { k.origin = "http://exchange.example" },
		"another relying party":   func(k *key) { k.rp = "evil.example" },
		"another challenge":       func(k *key) { k.challenge = b64.EncodeToString(make([]byte, 32)) },
		"of a registration":       func(k *key) { k.kind = "webauthn.create" },
		"nobody was verified":     func(k *key) { k.flags = 0x01 },
		"nobody was there":        func(k *key) { k.flags = 0x04 },
		"another key":             func(k *key) { k.private = newKey(t).private },
		"another credential":      func(k *key) { k.id = newKey(t).id },
		"of another user":         func(k *key) { k.handle = make([]byte, 16) },
		"of no user":              func(k *key) { k.handle = nil },
		"of a handle too short":   func(k *key) { k.handle = k.handle[:4] },
		"of nobody, of no length": func(k *key) { k.handle = make([]byte, 64) },
	} {
		changed := *k
		change(&changed)
		h.refuses(name, h.showPasskey(&changed, b), "passkey_refused")
	}

	options, state, err := h.AskToSignIn()
	if err != nil {
		t.Fatal(err)
	}
	answer := k.show(t, options)
	if _, err := h.EnterByPasskey(t.Context(), *b, state, answer); err != nil {
		t.Fatal(err)
	}
	_, err = h.EnterByPasskey(t.Context(), *b, state, answer)
	h.refuses("an answer shown twice", err, "sign_in_over")
	_, err = h.EnterByPasskey(t.Context(), *b, "", answer)
	h.refuses("an answer without a state", err, "sign_in_over")
	for _, garbage := range [][]byte{nil, []byte("{}"), []byte(`{"id":1}`), []byte(strings.Repeat("[", 1<<15))} {
		_, state, _ := h.AskToSignIn()
		_, err := h.EnterByPasskey(t.Context(), *b, state, garbage)
		h.refuses("garbage", err, "passkey_refused")
	}
	options, state, _ = h.AskToSignIn()
	answer = k.show(t, options)
	h.later(2 * time.Minute)
	_, err = h.EnterByPasskey(t.Context(), *b, state, answer)
	h.refuses("an answer that is too late", err, "sign_in_over")
}

// T-25: a passkey is registered by an answer to what was asked, of this server, by somebody who was there and
// was verified; within two minutes, once, for whom it was asked.
func TestPasskeysThatAreNotRegistered(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	text, _ := h.invite("ama")
	p := h.accept(b, text)
	answers := func(change func(*key)) (state string, answer []byte) {
		t.Helper()
		options, state, err := h.AskForPasskey(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		k := newKey(t)
		change(k)
		return state, k.create(t, options)
	}
	for name, change := range map[string]func(*key){
		"another origin":        func(k *key) { k.origin = "https://exchange.example.evil.example" },
		"another relying party": func(k *key) { k.rp = "evil.example" },
		"another challenge":     func(k *key) { k.challenge = b64.EncodeToString(make([]byte, 32)) },
		"of a sign-in":          func(k *key) { k.kind = "webauthn.get" },
		"nobody was verified":   func(k *key) { k.flags = 0x01 },
		"nobody was there":      func(k *key) { k.flags = 0x04 },
	} {
		state, answer := answers(change)
		_, err := h.RegisterPasskey(t.Context(), *b, p, state, answer, "")
		h.refuses(name, err, "passkey_refused")
	}
	state, answer := answers(func(*key) {})
	_, err := h.RegisterPasskey(t.Context(), *b, p, state, []byte("{}"), "")
	h.refuses("garbage", err, "passkey_refused")
	other, _ := h.invite("kofi")
	_, err = h.RegisterPasskey(t.Context(), *b, h.accept(b, other), state, answer, "")
	h.refuses("what somebody else was asked", err, "sign_in_over")
	_, err = h.RegisterPasskey(t.Context(), *b, p, "", answer, "")
	h.refuses("without a state", err, "sign_in_over")
	h.later(2 * time.Minute)
	_, err = h.RegisterPasskey(t.Context(), *b, p, state, answer, "")
	h.refuses("too late", err, "sign_in_over")
	state, answer = answers(func(*key) {})
	if e, err := h.RegisterPasskey(t.Context(), *b, p, state, answer, ""); err != nil {
		t.Fatal(err)
	} else {
		b.keeps(e)
	}
	_, err = h.RegisterPasskey(t.Context(), *b, h.here(b), state, answer, "")
	h.refuses("twice", err, "sign_in_over")
	for range 19 {
		h.register(h.here(b), b)
	}
	_, _, err = h.AskForPasskey(t.Context(), h.here(b))
	h.refuses("a twenty-first", err, "passkeys_full")
}

// What somebody registers proves nothing about them: they stay signed in as they were, and as long ago.
func TestRegisteringIsNoProof(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	h.withPassword("ama", b)
	h.later(5 * time.Minute)
	was := h.here(b).SignedIn()
	h.register(h.here(b), b)
	if now := h.here(b).SignedIn(); now != was || now.Assurance != annona.AssuranceTwoFactors {
		t.Errorf("signed in as %+v, and as %+v before", now, was)
	}
	h.later(5*time.Minute + time.Second)
	_, _, err := h.AskForPasskey(t.Context(), h.here(b))
	h.refuses("another one, by a proof of ten minutes ago", err, "insufficient_user_authentication")
}

// An app is set up by whom it was shown to, within 15 minutes. Recovery codes are renewed by who has a password;
// those before open nothing.
func TestAppsAndRecoveryCodes(t *testing.T) {
	h := newHall(t)
	b, other := browser("192.0.2.1"), browser("192.0.2.2")
	text, _ := h.invite("ama")
	p := h.accept(b, text)
	state, err := h.ChoosePassword(t.Context(), p, goodPassword, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	app, err := h.AppOf(p, state)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := secretLetters.DecodeString(upper(app.Secret))
	if err != nil {
		t.Fatal(err)
	}
	kofi, _ := h.invite("kofi")
	stranger := h.accept(other, kofi)
	_, err = h.AppOf(stranger, state)
	h.refuses("somebody else looks", err, "sign_in_over")
	_, _, err = h.RegisterPassword(t.Context(), *other, stranger, state, h.code(secret, 0))
	h.refuses("somebody else registers", err, "sign_in_over")
	h.change(p.ID, func(u *annona.User) { u.InvitedUntil = u.InvitedUntil.Add(time.Hour) })
	h.later(15 * time.Minute)
	_, _, err = h.RegisterPassword(t.Context(), *b, p, state, h.code(secret, 0))
	h.refuses("after 15 minutes", err, "sign_in_over")

	h.later(time.Hour)
	_, before := h.withPassword("esi", b)
	if len(before) != 10 || len(plain(before[0])) != 16 {
		t.Fatalf("%d recovery codes of %d characters", len(before), len(plain(before[0])))
	}
	e, after, err := h.RenewRecoveryCodes(t.Context(), *b, h.here(b))
	if err != nil {
		t.Fatal(err)
	}
	old := *b
	b.keeps(e)
	if h.here(&old) != nil {
		t.Error("AK-13: the session has the same id after codes were renewed")
	}
	_, err = h.EnterByPassword(t.Context(), *other, "esi", goodPassword, before[0])
	h.refuses("a code of before", err, "sign_in_refused")
	if _, err := h.EnterByPassword(t.Context(), *other, "esi", goodPassword, after[0]); err != nil {
		t.Errorf("one of the new ones: %v", err)
	}
	_, err = h.RemovePassword(t.Context(), *b, h.here(b))
	h.refuses("removing the password, the last thing there is", err, "last_factor")
	h.register(h.here(b), b)
	all, err := h.Factors(t.Context(), h.here(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Kind != annona.FactorTOTP {
			continue
		}
		if e, err = h.RemovePasskey(t.Context(), *b, h.here(b), f.ID); err != nil {
			t.Fatal(err)
		}
		b.keeps(e)
	}
	if left, err := h.Factors(t.Context(), h.here(b)); err != nil || len(left) != len(all) {
		t.Errorf("an app was removed as a passkey: %d of %d are left, %v", len(left), len(all), err)
	}
	e, err = h.RemovePassword(t.Context(), *b, h.here(b))
	if err != nil {
		t.Fatal(err)
	}
	b.keeps(e)
	_, err = h.EnterByPassword(t.Context(), *other, "esi", goodPassword, after[1])
	h.refuses("a password that was removed", err, "sign_in_refused")
	_, _, err = h.RenewRecoveryCodes(t.Context(), *b, h.here(b))
	h.refuses("codes without a password", err, "no_password")
}

// Whatever is secret is another one each time.
func TestSecretsAreFresh(t *testing.T) {
	h := newHall(t)
	drawn := map[string]bool{}
	draws := 0
	draw := func(texts ...string) {
		for _, text := range texts {
			draws++
			drawn[text] = true
		}
	}
	for range 2 {
		told, _, err := h.newRecoveryCodes(annona.NewUID())
		if err != nil {
			t.Fatal(err)
		}
		hashed, err := h.hashPassword(t.Context(), goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		invitation, _ := NewInvitation(h.Vault.TokenHash)
		draw(told...)
		draw(string(newAppSecret()), fresh(), invitation, string(hashed.Salt), h.NewForm())
	}
	if len(drawn) != draws || draws != 30 {
		t.Errorf("of %d secrets %d differ", draws, len(drawn))
	}
}

// What somebody calls a passkey is printed in lists and terminals.
func TestLabelsAreClean(t *testing.T) {
	for label, want := range map[string]string{"": "Passkey", " desk ": "desk", "de\x00s\x1bk\n": "desk", "\u202edesk": "desk", strings.Repeat("é", 61): strings.Repeat("é", 60)} {
		if got := cleanLabel(label, "Passkey"); got != want {
			t.Errorf("%q becomes %q", label, got)
		}
	}
}

// Somebody ends what acts for them, and nothing that acts for others.
func TestApplicationsOfOthers(t *testing.T) {
	h := newHall(t)
	b, other := browser("192.0.2.1"), browser("192.0.2.2")
	h.withPasskey("ama", b)
	h.withPasskey("kofi", other)
	client := annona.Client{ID: annona.NewUID(), KeyID: "aaaaaaaaaaaaaaaa", Hash: []byte{1}, Agreement: "eligibility", Method: annona.MethodPrivateKeyJWT, Label: "Case desk", CreatedAt: h.clock(), ExpiresAt: h.clock().Add(time.Hour)}
	put := func() {
		t.Helper()
		if err := h.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutClient(t.Context(), client) }); err != nil {
			t.Fatal(err)
		}
	}
	put()
	leave := annona.Delegation{
		ID: annona.NewUID(), Client: client.ID, Stage: annona.DelegationTaken, Hash: annona.TokenHash{1}, Code: annona.TokenHash{2},
		Acting: annona.SignedIn{Person: h.here(b).ID, Assurance: annona.AssurancePasskey, At: h.clock()}, BeganAt: h.clock(), Until: h.clock().Add(time.Hour),
	}
	if err := h.store.PutDelegation(t.Context(), leave); err != nil {
		t.Fatal(err)
	}
	act := func(b *Browser) []Application {
		t.Helper()
		all, err := h.Applications(t.Context(), h.here(b))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := act(b); len(got) != 1 || got[0].ID != leave.ID || got[0].Label != "Case desk" || len(act(other)) != 0 {
		t.Errorf("listed %+v, and for another one %+v", got, act(other))
	}
	_, hers, err := h.Where(t.Context(), h.here(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.EndSession(t.Context(), *other, h.here(other), hers); err != nil || h.here(b) == nil {
		t.Errorf("somebody else has ended a session: %v", err)
	}
	h.refuses("what acts for another one", h.EndApplication(t.Context(), *other, h.here(other), leave.ID), "not_found")
	h.refuses("what acts for nobody", h.EndApplication(t.Context(), *b, h.here(b), annona.NewUID()), "not_found")
	if len(act(b)) != 1 {
		t.Error("it was ended all the same")
	}
	h.acts()
	if err := h.EndApplication(t.Context(), *b, h.here(b), leave.ID); err != nil || len(act(b)) != 0 {
		t.Errorf("%d act on, %v", len(act(b)), err)
	}
	if acts := h.acts(); !slices.Contains(acts, "application_ended") {
		t.Errorf("the ledger has %v", acts)
	}
	leave.ID, leave.Hash, leave.Code = annona.NewUID(), annona.TokenHash{3}, annona.TokenHash{4}
	if err := h.store.PutDelegation(t.Context(), leave); err != nil {
		t.Fatal(err)
	}
	client.RevokedAt, client.Label = h.clock(), ""
	put()
	if len(act(b)) != 0 {
		t.Error("a client that was revoked is listed")
	}
}

// A key that somebody has copied is found out by its counter.
func TestCopiedPasskey(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	k := h.withPasskey("ama", b)
	for _, c := range []struct {
		counter uint32
		ok      bool
	}{{5, true}, {6, true}, {6, false}, {5, false}, {0, false}, {7, true}} {
		k.counter = c.counter
		err := h.showPasskey(k, b)
		if c.ok && err != nil {
			t.Errorf("counter %d: %v", c.counter, err)
		}
		if !c.ok {
			h.refuses("a counter that does not move", err, "passkey_refused")
		}
	}
	second := h.register(h.here(b), b)
	second.counter = 3
	if err := h.showPasskey(second, b); err != nil {
		t.Errorf("another key counts for itself: %v", err)
	}
	k.counter = 8
	if err := h.showPasskey(k, b); err != nil {
		t.Errorf("and the first one goes on: %v", err)
	}
	h.refuses("the second one, copied", h.showPasskey(second, b), "passkey_refused")
}

func TestPasswordOnlyWithACode(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	secret, recovery := h.withPassword("ama", b)
	h.acts()
	enter := func(name, password, code string) error {
		e, err := h.EnterByPassword(t.Context(), *b, name, password, code)
		if err == nil {
			b.keeps(e)
		}
		return err
	}
	h.later(time.Minute)
	for name, c := range map[string][3]string{
		"no code":              {"ama", goodPassword, ""},
		"a wrong code":         {"ama", goodPassword, "000000"},
		"a wrong password":     {"ama", goodPassword + "!", h.code(secret, 0)},
		"no password":          {"ama", "", h.code(secret, 0)},
		"nobody":               {"kofi", goodPassword, h.code(secret, 0)},
		"a code of long ago":   {"ama", goodPassword, h.code(secret, -2)},
		"a code of tomorrow":   {"ama", goodPassword, h.code(secret, 2)},
		"a very long password": {"ama", strings.Repeat("x", 1<<20), h.code(secret, 0)},
	} {
		h.refuses(name, enter(c[0], c[1], c[2]), "sign_in_refused")
	}
	h.later(time.Hour)
	if err := enter("  AMA ", goodPassword, h.code(secret, 1)); err != nil {
		t.Fatalf("the password with a code: %v", err)
	}
	if p := h.here(b); p == nil || p.SignedIn().Assurance != annona.AssuranceTwoFactors || !p.SignedIn().At.Equal(h.clock()) {
		t.Errorf("got %+v", p)
	}
	// T-25: a code opens once, and none before it opens afterwards.
	h.refuses("a code that was used", enter("ama", goodPassword, h.code(secret, 1)), "sign_in_refused")
	h.refuses("the code before one that was used", enter("ama", goodPassword, h.code(secret, 0)), "sign_in_refused")
	h.later(time.Minute)
	if err := enter("ama", goodPassword, h.code(secret, 0)[:3]+" "+h.code(secret, 0)[3:]); err != nil {
		t.Errorf("the next code: %v", err)
	}
	if err := enter("ama", goodPassword, strings.ToUpper(recovery[3])); err != nil {
		t.Errorf("a recovery code: %v", err)
	}
	h.refuses("a recovery code that was used", enter("ama", goodPassword, recovery[3]), "sign_in_refused")
	if acts := h.acts(); !slices.Contains(acts, "signed_in") || !slices.Contains(acts, "code_refused") {
		t.Errorf("the ledger has %v", acts)
	}
	stale := h.here(b).User
	told, err := h.store.Factors(t.Context(), stale.ID)
	if err != nil {
		t.Fatal(err)
	}
	h.later(time.Hour)
	h.change(stale.ID, func(u *annona.User) { u.Status = annona.UserDisabled })
	h.refuses("somebody who is disabled", enter("ama", goodPassword, h.code(secret, 0)), "sign_in_refused")
	_, err = h.enterByCode(t.Context(), *b, &stale, h.code(secret, 0), nil, true)
	h.refuses("disabled while the password was looked at", err, "sign_in_refused")
	h.change(stale.ID, func(u *annona.User) { u.Status, u.Version = annona.UserActive, u.Version+1 })
	_, err = h.enterByCode(t.Context(), *b, &stale, h.code(secret, 0), nil, true)
	h.refuses("changed while the password was looked at", err, "sign_in_refused")
	if err := enter("ama", goodPassword, h.code(secret, 0)); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	for _, f := range told {
		for _, known := range []string{goodPassword, string(secret), plain(recovery[0])} {
			if strings.Contains(string(f.Sealed), known) {
				t.Error("a factor lies open")
			}
		}
	}
}

// Of many who use one code at once, one gets in.
func TestACodeOpensOnceForMany(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	secret, _ := h.withPassword("ama", b)
	h.later(time.Hour)
	code := h.code(secret, 0)
	var many sync.WaitGroup
	entered := make(chan bool, 8)
	for range cap(entered) {
		many.Go(func() {
			_, err := h.EnterByPassword(t.Context(), *b, "ama", goodPassword, code)
			entered <- err == nil
		})
	}
	many.Wait()
	close(entered)
	n := 0
	for in := range entered {
		if in {
			n++
		}
	}
	if n != 1 {
		t.Errorf("one code let %d in", n)
	}
}

// Somebody guesses without end, from one place and from many. Whoever the account is of gets in all the
// same: by a browser that is known, and by a passkey.
func TestLockOutLocksNobodyElseOut(t *testing.T) {
	h := newHall(t)
	own, thief := browser("192.0.2.1"), browser("198.51.100.7")
	secret, _ := h.withPassword("ama", own)
	k := h.register(h.here(own), own)
	h.later(time.Minute)
	refused := map[string]int{}
	for range 60 {
		_, err := h.EnterByPassword(t.Context(), *thief, "ama", "wrong wrong wrong", "000000")
		_, of := h.EnterByPassword(t.Context(), *thief, "nobody", "wrong wrong wrong", "000000")
		if annona.CodeOf(err) != annona.CodeOf(of) || errors.Unwrap(err) != nil || err.Error() != of.Error() {
			t.Fatalf("a name that nobody has is told from one that somebody has: %v, %v", err, of)
		}
		refused[annona.CodeOf(err)]++
	}
	if refused["sign_in_refused"] != 5 || refused["too_many_attempts"] != 55 {
		t.Errorf("of 60 guesses in one moment: %v", refused)
	}
	h.later(2 * time.Second)
	if _, err := h.EnterByPassword(t.Context(), *thief, "ama", "wrong wrong wrong", "000000"); annona.CodeOf(err) != "sign_in_refused" {
		t.Errorf("after the wait: %v", err)
	}
	if _, err := h.EnterByPassword(t.Context(), *own, "ama", goodPassword, h.code(secret, 0)); err != nil {
		t.Errorf("whoever the account is of is locked out of a browser that is known: %v", err)
	}
	elsewhere := browser("203.0.113.9")
	h.later(time.Minute)
	if _, err := h.EnterByPassword(t.Context(), *elsewhere, "ama", goodPassword, h.code(secret, 0)); err != nil {
		t.Errorf("whoever the account is of is locked out at another place: %v", err)
	}

	// Who knows the password guesses codes, from many places: the codes close, not the account.
	h.later(time.Hour)
	for i := range 40 {
		place := browser("198.51.100.1")
		place.From = place.From.Next()
		for range i {
			place.From = place.From.Next()
		}
		_, err := h.EnterByPassword(t.Context(), *place, "ama", goodPassword, "000000")
		h.refuses("a guessed code", err, "sign_in_refused")
	}
	if _, err := h.EnterByPassword(t.Context(), *browser("203.0.113.77"), "ama", goodPassword, h.code(secret, 0)); annona.CodeOf(err) != "sign_in_refused" {
		t.Errorf("after 40 wrong codes from browsers that nobody knows, such a one is let in: %v", err)
	}
	if _, err := h.EnterByPassword(t.Context(), *own, "ama", goodPassword, h.code(secret, 0)); err != nil {
		t.Errorf("a browser that is known is locked out by codes guessed elsewhere: %v", err)
	}
	if err := h.showPasskey(k, browser("198.51.100.1")); err != nil {
		t.Errorf("a passkey is locked out: %v", err)
	}
	if !slices.Contains(h.acts(), "slowed") {
		t.Error("the ledger does not say that somebody was slowed down")
	}
}

// Each failure behind the free ones makes a lane wait twice as long, and never longer than the most.
func TestWaitsGrow(t *testing.T) {
	for _, l := range []lane{(&Desk{Wiring: Wiring{Vault: noVault{}}}).codesOf(annona.NewUID()), {free: 5, unit: time.Second, most: 15 * time.Minute}} {
		for failed, before := 0, time.Duration(0); failed < 200; failed++ {
			wait := l.wait(failed)
			if wait < before || wait > l.most || failed < l.free && wait != 0 || failed >= l.free && wait == 0 {
				t.Fatalf("after %d failures one waits %s, after one less %s", failed, wait, before)
			}
			before = wait
		}
	}
}

type noVault struct{ Vault }

func (noVault) TokenHash([]byte) annona.TokenHash { return annona.TokenHash{1} }

func TestSessionsEnd(t *testing.T) {
	h := newHall(t)
	b, other := browser("192.0.2.1"), browser("192.0.2.2")
	k := h.withPasskey("ama", b)
	id := h.here(b).ID
	in := func() (*Browser, *Browser) {
		t.Helper()
		for _, b := range []*Browser{b, other} {
			if err := h.showPasskey(k, b); err != nil {
				t.Fatal(err)
			}
		}
		return b, other
	}
	out := func(what string, browsers ...*Browser) {
		t.Helper()
		for _, b := range browsers {
			if h.here(b) != nil {
				t.Errorf("%s: somebody is signed in", what)
			}
		}
	}
	in()
	// AK-13: another id at each proof; the one before is dead at once.
	fixed := *b
	if err := h.showPasskey(k, b); err != nil {
		t.Fatal(err)
	}
	out("the session before a step-up", &fixed)
	if h.here(b) == nil || h.here(other) == nil {
		t.Error("a step-up ends another session")
	}
	planted := *browser("192.0.2.9")
	planted.Session = fresh()
	before := planted
	if err := h.showPasskey(k, &planted); err != nil || planted.Session == before.Session {
		t.Errorf("a session id that was planted is taken: %v", err)
	}
	out("an id that was planted", &before)

	in()
	h.later(30 * time.Minute)
	out("nobody has asked for half an hour", b, other)
	in()
	for n := range 12 * 3 {
		if h.here(b) == nil {
			t.Fatalf("somebody who asks every 20 minutes is signed out after %d", n*20)
		}
		h.later(20 * time.Minute)
	}
	out("twelve hours", b)

	in()
	if err := h.SignOut(t.Context(), *b, h.here(b)); err != nil {
		t.Fatal(err)
	}
	out("signed out", b)
	if h.here(other) == nil {
		t.Error("signing out ends another session")
	}
	in()
	p := h.here(b)
	sessions, here, err := h.Where(t.Context(), p)
	if err != nil || len(sessions) < 2 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	for _, s := range sessions {
		if s.Hash != here {
			if err := h.EndSession(t.Context(), *b, p, s.Hash); err != nil {
				t.Fatal(err)
			}
		}
	}
	out("ended from elsewhere", other)
	in()
	acting := annona.Delegation{
		ID: annona.NewUID(), Client: annona.NewUID(), Stage: annona.DelegationTaken, Hash: annona.TokenHash{1}, Code: annona.TokenHash{2},
		Acting: annona.SignedIn{Person: id, Assurance: annona.AssurancePasskey, At: h.clock()}, BeganAt: h.clock(), Until: h.clock().Add(time.Hour),
	}
	if err := h.store.PutDelegation(t.Context(), acting); err != nil {
		t.Fatal(err)
	}
	if err := h.SignOutEverywhere(t.Context(), *b, h.here(b)); err != nil {
		t.Fatal(err)
	}
	out("signed out everywhere", b, other)
	if left, err := h.store.DelegationsOf(t.Context(), id); err != nil || len(left) != 0 {
		t.Errorf("signed out everywhere: %d applications act on, %v", len(left), err)
	}
	if u, err := h.store.UserByID(t.Context(), id); err != nil || !u.EndedAt.Equal(h.clock()) {
		t.Errorf("signed out everywhere: %+v, %v", u, err)
	}
	in()
	h.change(id, func(u *annona.User) { u.Version++ })
	out("another version", b, other)
	in()
	h.change(id, func(u *annona.User) { u.Status = annona.UserDisabled })
	out("disabled", b, other)
	h.refuses("somebody who is disabled", h.showPasskey(k, b), "passkey_refused")
}

func TestChangesNeedAFreshProof(t *testing.T) {
	h := newHall(t)
	b := browser("192.0.2.1")
	k := h.withPasskey("ama", b)
	p := h.here(b)
	h.later(10*time.Minute + time.Second)
	_, _, err := h.AskForPasskey(t.Context(), p)
	h.refuses("another passkey", err, "insufficient_user_authentication")
	_, err = h.ChoosePassword(t.Context(), p, goodPassword, goodPassword)
	h.refuses("a password", err, "insufficient_user_authentication")
	keys, err := h.Factors(t.Context(), p)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d factors, %v", len(keys), err)
	}
	_, err = h.RemovePasskey(t.Context(), *b, p, keys[0].ID)
	h.refuses("removing a passkey", err, "insufficient_user_authentication")
	if err := h.showPasskey(k, b); err != nil {
		t.Fatal(err)
	}
	p = h.here(b)
	_, err = h.RemovePasskey(t.Context(), *b, p, keys[0].ID)
	h.refuses("removing the last passkey", err, "last_factor")
	state, err := h.ChoosePassword(t.Context(), p, goodPassword, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = h.RegisterPassword(t.Context(), *b, p, state, "000000")
	h.refuses("an app that is not set up", err, "code_wrong")

	old := *b
	second := h.register(p, b)
	if h.here(&old) != nil || h.here(b) == nil {
		t.Error("the session has the same id after a passkey was registered")
	}
	if _, err := h.RemovePasskey(t.Context(), *b, p, keys[0].ID); annona.CodeOf(err) != "signed_out" {
		t.Errorf("a session that is over removes a passkey: %v", err)
	}
	e, err := h.RemovePasskey(t.Context(), *b, h.here(b), keys[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	b.keeps(e)
	h.refuses("a passkey that was removed", h.showPasskey(k, browser("192.0.2.4")), "passkey_refused")
	p = h.here(b)
	h.change(p.ID, func(u *annona.User) { u.Version++ })
	_, err = h.RemovePasskey(t.Context(), *b, p, keys[0].ID)
	h.refuses("who was changed meanwhile", err, "signed_out")
	if err := h.showPasskey(second, b); err != nil {
		t.Errorf("the other passkey: %v", err)
	}
}

func TestPasswordsThatAreGuessed(t *testing.T) {
	for password, code := range map[string]string{
		"short":                    "password_short",
		"äöüäöüäöüäö":              "password_short",
		"password1234":             "password_guessable",
		"aaaaaaaaaaaaaaaa":         "password_guessable",
		"ama.mensah.1234":          "password_guessable",
		strings.Repeat("ab1-", 51): "password_long",
		goodPassword:               "",
		"тихая река в тумане":      "",
	} {
		if err := checkPassword("ama.mensah", password, password); code == "" && err != nil || code != "" && annona.CodeOf(err) != code {
			t.Errorf("%d characters: got %v, want %s", len(password), err, code)
		}
	}
	if err := checkPassword("ama", goodPassword, goodPassword+"."); annona.CodeOf(err) != "password_differs" {
		t.Errorf("two that differ: %v", err)
	}
}
