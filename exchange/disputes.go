package exchange

import (
	"context"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Disputed is one identifier that several individuals hold, though it has one holder. The number itself
// is not shown: whoever settles the dispute asks the holders, or the source.
type Disputed struct {
	Type    string   `json:"type"`
	Holders []string `json:"holders"` // their ids in the realm that was asked for
}

const disputesAtOnce = 500

// Disputes calls visit for each disputed identifier, with the ids that an agreement's realm gives the
// holders. It is read from the index, so that it tells what is: a dispute that has ended is not there.
// It is for the operator alone. A partner learns of a dispute by a look-up, and only when it may see
// several of the holders.
func (x *Exchange) Disputes(ctx context.Context, caller annona.Caller, realm string, visit func(Disputed) error) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	ids, err := x.Vault.Realm(realm)
	if err != nil {
		return err
	}
	dataset, _ := x.CurrentDictionary().Dataset("individuals")
	request := annona.NewUID()
	for after := []byte(nil); ; {
		page, err := x.Subjects.Disputes(ctx, dataset, after, disputesAtOnce)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := x.Ledger.Append(ctx, x.disputesEntry(caller, request, dataset, page)); err != nil {
			return err
		}
		for _, d := range page {
			shown := Disputed{Type: d.Scheme}
			for _, uid := range d.UIDs {
				shown.Holders = append(shown.Holders, string(ids.AppendID(nil, uid[:])))
			}
			if err := visit(shown); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Hash
	}
}

// disputesEntry tells who was shown as a holder.
func (x *Exchange) disputesEntry(caller annona.Caller, request annona.UID, dataset *annona.Dataset, page []annona.Dispute) annona.LedgerRow {
	var numbers []annona.Number
	for _, d := range page {
		numbers = append(numbers, d.Holders...)
	}
	slices.Sort(numbers)
	facts := audit.Facts{Verb: annona.VerbSubjectRights, Dataset: dataset.Name, Details: map[string]string{
		"act": "disputes_listed", "identifiers": strconv.Itoa(len(page)),
	}}
	return audit.Change(x.Clock(), request, facts, caller, []audit.Subjects{{Noun: dataset.Noun, Numbers: slices.Compact(numbers)}})
}
