package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// mattersTold is how many enrollments, benefits and cases of somebody the update log of a beneficiary follows, each.
const mattersTold = 100

// BeneficiaryUpdates returns a page of what has changed of an individual or a household, and of what programs and
// case workers keep about them, the newest first: each part as its own update log tells it. A part that is
// not granted is not there. Codes: those of Updates.
func (x *Exchange) BeneficiaryUpdates(ctx context.Context, caller annona.Caller, purpose, id, after string, limit int) (*UpdatesShown, error) {
	if err := checkLimit(limit, MaxUpdates); err != nil {
		return nil, err
	}
	t, number, err := x.tellingOfBeneficiary(ctx, caller, purpose, id)
	if err != nil {
		return nil, err
	}
	if err := t.continueBehind("beneficiary\x00"+id, after); err != nil {
		return nil, err
	}
	seen, err := t.record(ctx, number)
	if err != nil {
		return nil, err
	}
	about := annona.SubjectRef{Dataset: t.shape.Dataset.Name, Number: number}
	names := t.names(id)
	for _, dataset := range []string{"enrollments", "benefits", "cases"} {
		part, err := x.tellingOfMatters(ctx, caller, purpose, dataset)
		if annona.KindOf(err) == annona.KindForbidden {
			continue
		}
		if err != nil {
			return nil, err
		}
		part.behind = t.behind
		page, err := part.matters(ctx, annona.MatterChoice{Subjects: []annona.SubjectRef{about}}, min(mattersTold, part.i.most()))
		if err != nil {
			return nil, err
		}
		if err := part.conflictsOf(ctx, page); err != nil {
			return nil, err
		}
		part.nameMatters(page, names)
		t.entries, t.full = append(t.entries, part.entries...), t.full || part.full
	}
	for n := range t.entries {
		e := &t.entries[n]
		e.ID = names[updatedRecord{e.Dataset, e.number}]
	}
	return t.page(ctx, seen, []audit.Subjects{{Noun: t.shape.Dataset.Noun, Numbers: seen.Numbers}}, "beneficiary\x00"+id, limit)
}

// updatedRecord is a record that an entry of an update log is about.
type updatedRecord struct {
	dataset string
	number  annona.Number
}

// names has the id of the record that was asked for; nothing yet of what belongs to it.
func (t *updateTelling) names(id string) map[updatedRecord]string {
	names := map[updatedRecord]string{}
	for n := range t.entries {
		names[updatedRecord{t.entries[n].Dataset, t.entries[n].number}] = id
	}
	return names
}

// nameMatters notes the ids of matters in the reader's realm.
func (t *updateTelling) nameMatters(page *annona.Page, names map[updatedRecord]string) {
	for row, uid := range page.UIDs {
		names[updatedRecord{t.shape.Dataset.Name, page.Numbers[row]}] = string(t.i.realm.AppendID(nil, uid[:]))
	}
}

// tellingOfBeneficiary finds whose id it is. Both datasets are asked, as far as they are granted.
func (x *Exchange) tellingOfBeneficiary(ctx context.Context, caller annona.Caller, purpose, id string) (*updateTelling, annona.Number, error) {
	var refusal error
	granted := false
	for _, dataset := range []string{"individuals", "households"} {
		t, err := x.tellingOf(ctx, caller, purpose, dataset)
		if annona.KindOf(err) == annona.KindForbidden {
			refusal = err
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		granted = true
		number, err := x.numberOf(ctx, t.i, id)
		if annona.KindOf(err) != annona.KindNotFound {
			return t, number, err
		}
	}
	if !granted {
		return nil, 0, refusal
	}
	return nil, 0, annona.NotFound("no such record, or not one that you may see")
}
