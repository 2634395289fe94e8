package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// Identifier is what a look-up asks for.
type Identifier struct {
	Type   string // code of the list identifier_type
	Value  string
	Issuer string // empty: of whatever issuer
}

// Lookup returns the one record that holds an identifier. Several holders within the caller's scope
// are a conflict: nobody is picked silently. The value is compared by its blind index and kept
// nowhere.
func (x *Exchange) Lookup(ctx context.Context, caller annona.Caller, q Question, id Identifier, form Form) (*Answer, error) {
	i, page, err := x.readSmall(ctx, caller, annona.VerbLookup, q, form, func(i *inquiry, page *annona.Page) error {
		indexes, err := x.identifier(i, id)
		if err != nil {
			return err
		}
		return x.readOpen(ctx, page, func() error {
			for _, index := range indexes {
				if err := x.Records.Lookup(ctx, i.scope(i.shape, x.today(x.Clock())), index, page); err != nil {
					return err
				}
			}
			return nil
		})
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

// identifier checks that the caller may look up by identifiers at all: whoever may not see a value
// may not test one either. It returns the index under each version of its key; a record is on file
// under one of them.
func (x *Exchange) identifier(i *inquiry, id Identifier) (indexes []annona.IdentifierIndex, err error) {
	d := x.CurrentDictionary()
	dataset, _ := d.Dataset(i.question.Dataset)
	compared := []string{"identifiers.scheme", "identifiers.value"}
	if id.Issuer != "" {
		compared = append(compared, "identifiers.issuer")
	}
	for _, name := range compared {
		if !i.grant.Passes(dataset, name) {
			return nil, annona.Forbidden("filter_not_granted", "the agreement does not grant identifiers of %s unaltered, so that none can be looked up", dataset.Name).On(name)
		}
	}
	return x.indexesOf(id)
}

// indexesOf returns the index of an identifier under each version of its key.
func (x *Exchange) indexesOf(id Identifier) (indexes []annona.IdentifierIndex, err error) {
	list, _ := x.CurrentDictionary().CodeList("identifier_type")
	if !list.Has(id.Type) {
		return nil, annona.Invalid("unknown_code", "type is a code of the list identifier_type").On("type")
	}
	if id.Value == "" || len(id.Value) > 200 {
		return nil, annona.Invalid("identifier_malformed", "value is the identifier, of 1 to 200 bytes").On("value")
	}
	if len(id.Issuer) > 200 {
		return nil, annona.Invalid("identifier_malformed", "issuer is the authority as records show it, of at most 200 bytes").On("issuer")
	}
	for _, hash := range x.Vault.BlindIndexes(id.Type, annona.IdentifierKey(id.Issuer), annona.IdentifierKey(id.Value)) {
		indexes = append(indexes, annona.IdentifierIndex{Scheme: id.Type, Hash: hash})
	}
	return indexes, nil
}
