package exchange

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Disclosure is one request that released data of an individual: to whom, when, why, under
// which agreement and which of its fields. It says what was released, which is never less than
// what was received.
type Disclosure struct {
	Request          string       `json:"request"`             // its id in the ledger, hexadecimal
	Recipient        string       `json:"recipient,omitempty"` // partner by name; empty: the registry itself, at its command line
	Agreement        string       `json:"agreement,omitempty"`
	AgreementVersion int          `json:"agreement_version,omitempty"`
	Purpose          string       `json:"purpose,omitempty"`
	Basis            annona.Basis `json:"legal_basis,omitempty"`
	Verb             annona.Verb  `json:"verb"`
	Dataset          string       `json:"dataset"`
	First            time.Time    `json:"first"` // of the pages with the individual
	Last             time.Time    `json:"last"`
	Pages            int          `json:"pages"`             // with the individual
	Fields           []string     `json:"fields"`            // of the individual, ascending
	Outcome          audit.Ending `json:"outcome,omitempty"` // of the request as a whole; empty while it runs
}

// Disclosures are the requests that released data of one individual, the newest first.
type Disclosures struct {
	ending
	Request annona.UID // of this answer, in the ledger
	All     []Disclosure
	More    bool // there are older ones than the MaxDisclosures that are listed
}

// MaxDisclosures bounds the list of one answer.
const MaxDisclosures = 10_000

// Disclosures tells a client who received the data of an individual whom it may see under the
// purpose. Its agreement has to say that it may ask (disclosures: true). An unknown id and
// somebody whom it may not see are the same answer.
func (x *Exchange) Disclosures(ctx context.Context, caller annona.Caller, purpose, id string) (*Disclosures, error) {
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbDisclosures, Question{Dataset: "individuals", Purpose: purpose})
	if err != nil {
		return nil, err
	}
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.UID{} // nobody's: the query is made all the same
	}
	nobody := &annona.Shape{Dataset: i.shape.Dataset}
	page := annona.NewPage(nobody)
	if err := x.Records.ReadOne(ctx, i.scope(nobody, x.today(x.Clock())), uid, page); err != nil {
		return nil, err
	}
	if page.Count == 0 {
		return nil, annona.NotFound("no such record, or not one that you may see")
	}
	facts := i.facts()
	facts.AsOf = ""
	return x.discloseDisclosures(ctx, caller, i.request, facts, page.Numbers[0])
}

// DisclosuresOf tells the operator who received the data of an individual, for the answer to
// its request for access (GDPR Article 15).
func (x *Exchange) DisclosuresOf(ctx context.Context, caller annona.Caller, s Subject) (*Disclosures, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	number, err := x.subject(ctx, s)
	if err != nil {
		return nil, err
	}
	return x.discloseDisclosures(ctx, caller, annona.NewUID(), audit.Facts{Verb: annona.VerbDisclosures, Dataset: "individuals"}, number)
}

// disclosureField is what a release of disclosures names as its field: it is none of the
// dictionary.
const disclosureField = "disclosures"

// discloseDisclosures finds the disclosures and records that they are told.
func (x *Exchange) discloseDisclosures(ctx context.Context, caller annona.Caller, request annona.UID, facts audit.Facts, number annona.Number) (*Disclosures, error) {
	d := &Disclosures{Request: request}
	var err error
	if d.All, err = x.findDisclosures(ctx, caller, number); err != nil {
		return nil, err
	}
	if d.More = len(d.All) > MaxDisclosures; d.More {
		d.All = d.All[:MaxDisclosures]
	}
	if err := x.tellOutcomes(ctx, d.All); err != nil {
		return nil, err
	}
	facts.Rows, facts.Page, facts.Fields = int64(len(d.All)), 1, []string{disclosureField}
	subjects := []audit.Subjects{{Noun: "individual", Fields: facts.Fields, Numbers: []annona.Number{number}}}
	if err := x.disclose(ctx, audit.Release(x.Clock(), request, facts, "", caller, subjects)); err != nil {
		return nil, err
	}
	d.ending = ending{x: x, request: request, facts: facts, caller: caller}
	return d, nil
}

// findDisclosures opens the entries that may be about somebody and joins those that are, by
// request, the newest first: those of records that were merged into theirs are theirs too.
func (x *Exchange) findDisclosures(ctx context.Context, caller annona.Caller, number annona.Number) ([]Disclosure, error) {
	opener := audit.Opener{Vault: x.Vault, Ledger: x.History}
	found := map[annona.UID]*Disclosure{}
	history, err := x.lineageOf(ctx, x.individuals(), number)
	if err != nil {
		return nil, err
	}
	seen := map[annona.UID]bool{} // entries
	for _, s := range history.spans(number) {
		var rows []annona.LedgerRow // read to the end first: to open one asks the ledger for its lists
		err := x.History.EntriesAbout(ctx, "individual", s.number, func(row annona.LedgerRow) error {
			rows = append(rows, row)
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			m, about, err := opener.About(ctx, row, "individual", s.number)
			if err != nil {
				return nil, err
			}
			if !about || m.Entry.Facts == nil || !s.has(m.Entry.At) || seen[row.ID] || !withoutCases(caller, &m) {
				continue
			}
			seen[row.ID] = true
			d := found[m.Request]
			if d == nil {
				d = newDisclosure(m)
				found[m.Request] = d
			}
			d.add(m)
		}
	}
	all := make([]Disclosure, 0, len(found))
	for _, d := range found {
		slices.Sort(d.Fields)
		d.Fields = slices.Compact(d.Fields)
		all = append(all, *d)
	}
	slices.SortFunc(all, func(a, b Disclosure) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Request, b.Request))
	})
	return all, nil
}

// caseDatasets are those of which already that there is a record may be told to few.
var caseDatasets = []string{"cases", "case_notes", "case_attachments", "transitions"}

// withoutCases takes from a mention what tells a client that others have seen a case, which may be one that
// it may not see; it reports whether anything is left. A client is told all of what its own agreement was
// released, and the operator of everything.
func withoutCases(caller annona.Caller, m *audit.Mention) bool {
	facts := m.Entry.Facts
	if caller.Strength == annona.StrengthOperator || facts.Agreement == caller.Agreement {
		return true
	}
	if slices.Contains(caseDatasets, facts.Dataset) {
		return false
	}
	m.Fields = slices.DeleteFunc(m.Fields, func(field string) bool { return strings.HasPrefix(field, "cases.") })
	return true
}

func newDisclosure(m audit.Mention) *Disclosure {
	f := m.Entry.Facts
	return &Disclosure{
		Request: m.Request.String(), Recipient: f.Partner, Agreement: f.Agreement, AgreementVersion: f.AgreementVersion,
		Purpose: f.Purpose, Basis: f.Basis, Verb: f.Verb, Dataset: f.Dataset, First: m.Entry.At, Last: m.Entry.At,
	}
}

func (d *Disclosure) add(m audit.Mention) {
	d.Pages++
	d.Fields = append(d.Fields, m.Fields...)
	if m.Entry.At.Before(d.First) {
		d.First = m.Entry.At
	}
	if m.Entry.At.After(d.Last) {
		d.Last = m.Entry.At
	}
}

// tellOutcomes says how each request ended. An outcome unknown, which a start wrote for a
// request that still ran on another node, gives way to what that node knows.
func (x *Exchange) tellOutcomes(ctx context.Context, all []Disclosure) error {
	at := make(map[annona.UID]int, len(all))
	requests := make([]annona.UID, len(all))
	for i := range all {
		request, err := annona.ParseUID(all[i].Request)
		if err != nil {
			return err
		}
		at[request], requests[i] = i, request
	}
	rows, err := x.History.Outcomes(ctx, requests)
	if err != nil {
		return err
	}
	opener := audit.Opener{Vault: x.Vault, Ledger: x.History}
	for _, row := range rows {
		e, err := opener.Open(ctx, row)
		if err != nil {
			return err
		}
		if e.Facts == nil {
			continue
		}
		if d := &all[at[e.Request]]; d.Outcome == "" || d.Outcome == audit.Unknown {
			d.Outcome = e.Facts.Outcome
		}
	}
	return nil
}
