package main

import (
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// Emergencies are listed, ended and reviewed at the command line: reviewed by a person who proves who they are, and once.
func TestBreakGlassAtTheCommandLine(t *testing.T) {
	t.Parallel()
	data, codes := twoApprovers(t)
	opened := time.Now().UTC().Truncate(time.Second)
	g := annona.BreakGlass{ID: annona.NewUID(), Person: annona.NewUID(), Client: annona.NewUID(), Agreement: "eligibility", Purpose: eligibility, Reason: "flood", OpenedAt: opened, Until: opened.Add(time.Hour)}
	check(t, dataFlag{Data: data}.with(t.Context(), func(f *folder) error {
		return f.store.Update(t.Context(), func(tx annona.Tx) error {
			users, err := f.store.Users(t.Context())
			check(t, err)
			for _, u := range users { // administrators do not review
				u.Roles = []string{"data-protection-officer"}
				check(t, tx.PutUser(t.Context(), u))
			}
			return tx.PutBreakGlass(t.Context(), g)
		})
	}))
	list := func(parts ...string) {
		t.Helper()
		out := must(t, "break-glass", "list", "--data", data)
		for _, part := range append(parts, g.ID.String(), "flood") {
			if !strings.Contains(out, part) {
				t.Errorf("the list lacks %s:\n%s", part, out)
			}
		}
	}
	list("waits", g.Until.Format(time.DateTime))
	for _, id := range []string{annona.NewUID().String(), "nonsense"} {
		refused(t, "not_found", "break-glass", "end", "--data", data, id)
	}
	must(t, "break-glass", "end", "--data", data, g.ID.String())
	if out := must(t, "break-glass", "list", "--data", data); strings.Contains(out, g.Until.Format(time.DateTime)) || !strings.Contains(out, "waits") {
		t.Errorf("one that was ended:\n%s", out)
	}

	review := func(verdict, note, as, code string) ran {
		return annonaReading(strings.NewReader(goodPassword+"\n"+code+"\n"), "break-glass", "review", "--data", data, "--as", as, g.ID.String(), verdict, note)
	}
	for code, r := range map[string]ran{
		"sign_in_refused":  review("justified", "family_was_found", "ama", "000000"),
		"verdict_unknown":  review("splendid", "family_was_found", "ama", codes["ama"][0]),
		"reason_malformed": review("justified", "I know them!", "kofi", codes["kofi"][0]),
	} {
		if r.code != exitFailure || !strings.Contains(r.err, "code: "+code+"\n") {
			t.Errorf("want %s, got %s", code, r)
		}
	}
	list("waits")
	if r := review("unjustified", "nobody_was_in_danger", "ama", codes["ama"][1]); r.code != 0 {
		t.Fatalf("the review: %s", r)
	}
	list("unjustified (nobody_was_in_danger) by ")
	if r := review("justified", "second_thoughts", "kofi", codes["kofi"][1]); !strings.Contains(r.err, "code: break_glass_reviewed\n") {
		t.Errorf("reviewed twice: %s", r)
	}
	shown := must(t, "ledger", "show", "--data", data)
	for _, act := range []string{`"act":"ended"`, `"act":"unjustified"`} {
		if strings.Count(shown, act) != 1 {
			t.Errorf("the ledger has %s %d times", act, strings.Count(shown, act))
		}
	}
	must(t, "verify", "--data", data)
}
