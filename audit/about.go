package audit

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// Mention is what a release says about one person or household: that it was in the page, and
// which of its fields were.
type Mention struct {
	Request annona.UID
	Entry   Entry // without its subjects
	Fields  []string
}

// About unseals a release and reports whether a person or household is in it. Of the others
// nothing is listed: a set is asked for one number.
func (o *Opener) About(ctx context.Context, row annona.LedgerRow, noun string, number annona.Number) (Mention, bool, error) {
	opened, err := o.open(ctx, &row)
	if err != nil {
		return Mention{}, false, err
	}
	var fields []string
	found := false
	for _, set := range opened.sets {
		if set.noun != noun || !set.numbers.Contains(uint64(number)) {
			continue
		}
		found = true
		some, err := resolve(set.fields, row.Lists)
		if err != nil {
			return Mention{}, false, err
		}
		fields = append(fields, some...)
	}
	if !found {
		return Mention{}, false, nil
	}
	opened.sets = nil
	entry, err := opened.entry(row.Lists)
	if err != nil {
		return Mention{}, false, err
	}
	slices.Sort(fields)
	return Mention{Request: entry.Request, Entry: entry, Fields: slices.Compact(fields)}, true, nil
}
