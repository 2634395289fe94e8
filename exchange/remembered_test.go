package exchange_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// brittleStandings counts what it is asked, and does not answer when told not to.
type brittleStandings struct {
	annona.Standings
	broken atomic.Bool
	asked  atomic.Int64
}

func (s *brittleStandings) Epoch(ctx context.Context) (int64, error) {
	s.asked.Add(1)
	if s.broken.Load() {
		return 0, annona.Unavailable("store_unreachable", "the store does not answer")
	}
	return s.Standings.Epoch(ctx)
}

func (s *brittleStandings) ClientByID(ctx context.Context, id annona.UID) (*annona.Client, error) {
	s.asked.Add(1)
	return s.Standings.ClientByID(ctx, id)
}

// node returns another gate over the same store: what a second server of the registry is. It has
// answered once, so that it remembers who asks.
func (r *registry) node(t *testing.T) (*exchange.Exchange, *brittleStandings) {
	t.Helper()
	standings := &brittleStandings{Standings: r.store}
	c := r.Config
	c.Standings, c.Remembered = standings, nil
	n := exchange.New(c)
	if _, err := n.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{}); err != nil {
		t.Fatal(err)
	}
	return n, standings
}

// A node that remembers who a caller is refuses it with the first request behind its revocation
// elsewhere, in every kind of small request.
func TestRevocationElsewhereIsSeenAtOnce(t *testing.T) {
	for name, ask := range map[string]func(n *exchange.Exchange, r *registry) error{
		"search": func(n *exchange.Exchange, r *registry) error {
			_, err := n.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{})
			return err
		},
		"get": func(n *exchange.Exchange, r *registry) error {
			_, err := n.Get(t.Context(), r.caller, everybody, "aaaaaaaaaaaaaaaaaaaaaaaaaa", exchange.Form{})
			return err
		},
		"lookup": func(n *exchange.Exchange, r *registry) error {
			_, _, err := n.Lookup(t.Context(), r.caller, everybody, []exchange.Identifier{{Type: "passport_number", Value: "none"}}, exchange.Form{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, 20)
			r.partner(t, grantIdentifiers)
			n, _ := r.node(t)
			if err := r.RevokeClient(t.Context(), operator, r.caller.Client); err != nil {
				t.Fatal(err)
			}
			if err := ask(n, r); annona.KindOf(err) != annona.KindUnauthenticated {
				t.Fatalf("a revoked key: %v", err)
			}
		})
	}
}

// Another version of the agreement holds with the next request, whichever way it was changed.
func TestAgreementChangedElsewhereHoldsAtOnce(t *testing.T) {
	r := newRegistry(t, 20)
	n, _ := r.node(t)
	was := r.caller
	r.partner(t, func(a *annona.Agreement) {
		a.Datasets["individuals"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public}}
	})
	if _, err := n.Search(t.Context(), was, everybody, 5, "", exchange.Form{}); annona.CodeOf(err) != "field_not_granted" {
		t.Fatalf("a field that is not granted any more: %v", err)
	}
	r.partner(t, nil)
	if _, err := n.Search(t.Context(), was, everybody, 5, "", exchange.Form{}); err != nil {
		t.Fatalf("a field that is granted again: %v", err)
	}
}

// What is remembered spares the store questions, for a second; behind that, a store that does not
// say the epoch leaves nothing to decide from.
func TestStandingsAreRememberedForASecond(t *testing.T) {
	r := newRegistry(t, 20)
	n, standings := r.node(t)
	search := func() error {
		_, err := n.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{})
		return err
	}
	before := standings.asked.Load()
	if err := search(); err != nil || standings.asked.Load() != before {
		t.Fatalf("%v, and the standings were asked %d times", err, standings.asked.Load()-before)
	}
	standings.broken.Store(true)
	time.Sleep(1100 * time.Millisecond)
	if err := search(); annona.CodeOf(err) != "store_unreachable" {
		t.Fatalf("the epoch is not known: %v", err)
	}
}

// overtakenRecords has somebody restricted between the decision and the reading.
type overtakenRecords struct {
	annona.Records
	before func() error
}

func (o *overtakenRecords) ReadPage(ctx context.Context, scope annona.Scope, after, until annona.Number, limit int, page *annona.Page) (bool, error) {
	if before := o.before; before != nil {
		o.before = nil
		if err := before(); err != nil {
			return false, err
		}
	}
	return o.Records.ReadPage(ctx, scope, after, until, limit, page)
}

// A key that is revoked between the decision and the reading gets nothing.
func TestRevocationBetweenDecisionAndReading(t *testing.T) {
	r := newRegistry(t, 20)
	n, _ := r.node(t)
	overtaken := &overtakenRecords{Records: r.store}
	n.Records = overtaken
	overtaken.before = func() error { return r.RevokeClient(t.Context(), operator, r.caller.Client) }
	answer, err := n.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{})
	if answer != nil || annona.KindOf(err) != annona.KindUnauthenticated || errors.Is(err, context.Canceled) {
		t.Fatalf("revoked in between: %v", err)
	}
}

// A list of fields that reads like another one is not taken for it.
func TestFieldsAreNotTakenForOthers(t *testing.T) {
	r := newRegistry(t, 20)
	n, _ := r.node(t)
	q := everybody
	q.Fields = []string{q.Fields[0] + "," + q.Fields[1]}
	if _, err := n.Search(t.Context(), r.caller, q, 5, "", exchange.Form{}); annona.CodeOf(err) != "unknown_field" {
		t.Fatalf("two names in one: %v", err)
	}
}
