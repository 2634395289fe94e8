package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// Lookup returns the one record that holds an identifier, by its type and value. Several
// holders within the caller's scope are a conflict: nobody is picked silently. The value is
// compared by its blind index and kept nowhere.
func (x *Exchange) Lookup(ctx context.Context, caller annona.Caller, q Question, scheme, value string, form Form) (*Answer, error) {
	i, err := x.inquire(ctx, caller, annona.VerbLookup, q)
	if err != nil {
		return nil, err
	}
	i.form = form
	indexes, err := x.identifier(i, scheme, value)
	if err != nil {
		return nil, err
	}
	page := annona.NewPage(i.shape)
	err = x.readOpen(ctx, page, func() error {
		return x.lookUp(ctx, i, indexes, page)
	})
	if err != nil {
		return nil, err
	}
	switch page.Count {
	case 0:
		return nil, annona.NotFound("no record with this identifier, or not one that you may see")
	case 1:
		return x.answerOne(ctx, i, page)
	default:
		return nil, annona.Conflict("identifier_ambiguous", "several records that you may see hold this identifier; report it to the registry")
	}
}

// lookUp asks for the identifier under every version of its key. A record is indexed under one.
func (x *Exchange) lookUp(ctx context.Context, i *inquiry, indexes []annona.IdentifierIndex, page *annona.Page) error {
	for _, index := range indexes {
		if err := x.Records.Lookup(ctx, i.scope(i.shape, x.today(x.Clock())), index, page); err != nil {
			return err
		}
	}
	return nil
}

// identifier checks that the caller may look up by identifiers at all: whoever may not see a
// value may not test one either.
func (x *Exchange) identifier(i *inquiry, scheme, value string) ([]annona.IdentifierIndex, error) {
	d := x.CurrentDictionary()
	dataset, _ := d.Dataset(i.question.Dataset)
	for _, name := range []string{"identifiers.scheme", "identifiers.value"} {
		if !i.grant.Passes(dataset, name) {
			return nil, annona.Forbidden("filter_not_granted", "the agreement does not grant identifiers of %s unaltered, so that none can be looked up", dataset.Name).On(name)
		}
	}
	list, _ := d.CodeList("identifier_type")
	if !list.Has(scheme) {
		return nil, annona.Invalid("unknown_code", "type is a code of the list identifier_type").On("type")
	}
	if value == "" || len(value) > 200 {
		return nil, annona.Invalid("identifier_malformed", "value is the identifier, of 1 to 200 bytes").On("value")
	}
	var indexes []annona.IdentifierIndex
	for _, hash := range x.Vault.BlindIndexes(scheme, anyIssuer, annona.IdentifierKey(value)) {
		indexes = append(indexes, annona.IdentifierIndex{Scheme: scheme, Hash: hash})
	}
	return indexes, nil
}
