package exchange_test

import (
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// deliveries is how often a request arrives at once.
const deliveries = 100

// A request about a case that arrives a hundred times at once, under one key, has one effect, on each store:
// a note, a move along the workflow, an offer, and its acceptance. Another request under the key is refused.
func TestAHundredDeliveriesOfOneKey(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			l := newLinear(t, g)
			law, err := l.store.Agreement(t.Context(), "law")
			check(t, err)
			other := *law // which the store may keep
			other.Name, other.Partner.Name, other.Cases = "clinic", "Clinic", &annona.CaseTerms{Receives: true}
			clinic := l.admit(other)
			somebody := l.newRecord().(oneRecord).id
			x := l.gate.Load()
			opened, err := x.PutCases(t.Context(), l.caller, lawPurpose, []map[string]any{{"case_type": "social_support", "individual_id": somebody}})
			check(t, err)
			of := opened[0]
			keyed := func(asked string) *exchange.Keyed {
				return &exchange.Keyed{Key: "one", Route: "POST", Asked: []byte(asked)}
			}

			note := func(caller annona.Caller, asked string) (exchange.CaseVerdict, error) {
				return x.AddCaseNote(t.Context(), caller, lawPurpose, of.ID, exchange.CaseNote{Kind: "call", Text: asked, Keyed: keyed("note " + asked)})
			}
			l.deliver(t, "a note", func() (exchange.CaseVerdict, error) { return note(l.caller, "first") })
			notes, err := x.CaseNotes(t.Context(), l.caller, lawPurpose, of.ID, []string{"text"}, "", 10)
			check(t, err)
			if got := lines(notes); len(got) != 1 || got[0] != "first" {
				t.Errorf("notes %q", got)
			}
			_, err = note(l.caller, "another")
			refusal(t, "another note under the key", err, "idempotency_key_reused")

			move := func() (exchange.CaseVerdict, error) {
				k := keyed("assess")
				k.Route = "POST actions"
				return x.EditCase(t.Context(), l.caller, lawPurpose, exchange.CaseEdit{ID: of.ID, IfMatch: of.ETag, Action: "assess", Keyed: k})
			}
			l.deliver(t, "a move", move)

			offer := exchange.Offer{Kind: "transfer", ToPartner: "Clinic", Basis: "public_task", ExpiresOn: tomorrow(), Keyed: keyed("offer")}
			offer.Keyed.Route = "POST transitions"
			offered := l.deliver(t, "an offer", func() (exchange.CaseVerdict, error) {
				return x.OfferTransition(t.Context(), l.caller, lawPurpose, of.ID, offer)
			})
			offer.Keyed = &exchange.Keyed{Key: "one", Route: "POST transitions", Asked: []byte("another")}
			_, err = x.OfferTransition(t.Context(), l.caller, lawPurpose, of.ID, offer)
			refusal(t, "another offer under the key", err, "idempotency_key_reused")

			accept := exchange.TransitionAnswer{Answer: "accept", Keyed: keyed("accept")}
			l.deliver(t, "its acceptance", func() (exchange.CaseVerdict, error) {
				return x.AnswerTransition(t.Context(), clinic, lawPurpose, offered.ID, accept)
			})
			accept.Keyed = keyed("decline")
			_, err = x.AnswerTransition(t.Context(), clinic, lawPurpose, offered.ID, accept)
			refusal(t, "another answer under the key", err, "idempotency_key_reused")
			owned, err := x.Cases(t.Context(), clinic, lawPurpose, exchange.CaseChoice{ID: of.ID}, []string{"owner"}, "", 1)
			check(t, err)
			if got := lines(owned); len(got) != 1 || got[0] != "Clinic" {
				t.Errorf("owner %q", got)
			}
		})
	}
}

// deliver makes a request so often at once, and wants one of them to have done it.
func (l *linear) deliver(t *testing.T, what string, request func() (exchange.CaseVerdict, error)) (done exchange.CaseVerdict) {
	t.Helper()
	verdicts, errs := make([]exchange.CaseVerdict, deliveries), make([]error, deliveries)
	var all sync.WaitGroup
	for n := range deliveries {
		all.Go(func() { verdicts[n], errs[n] = request() })
	}
	all.Wait()
	effects := 0
	for n, v := range verdicts {
		check(t, errs[n])
		if v.Verdict != exchange.VerdictUnchanged {
			effects++
			done = v
		}
	}
	for _, v := range verdicts {
		if v.ID != done.ID || v.ETag != done.ETag {
			t.Errorf("%s: one delivery is told %+v, another %+v", what, done, v)
		}
	}
	if effects != 1 {
		t.Errorf("%s: %d effects", what, effects)
	}
	return done
}
