package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// Identifier is what a look-up asks for.
type Identifier struct {
	Type   string // code of the list identifier_type
	Value  string
	Issuer string // empty: of whatever issuer
}

// mostIdentifiers is how many identifiers of one record a look-up compares.
const mostIdentifiers = 10

// Ambiguous is who holds the identifiers of a look-up, where that is not one record. Nobody is picked.
type Ambiguous struct {
	Answer                      // Page has the ids alone
	Candidates []PossibleHolder // in the order of the page
}

// PossibleHolder is one record that may be the one that was looked for.
type PossibleHolder struct {
	ID   string
	Held []int // which of the identifiers it holds, from 0
}

// Lookup returns the one record that holds identifiers of one record: any of them, as far as they are on
// file. Several holders within the caller's scope are a conflict, with the code identifier_ambiguous, and who
// they are: nobody is picked silently. The values are compared by their blind index and kept nowhere.
func (x *Exchange) Lookup(ctx context.Context, caller annona.Caller, q Question, ids []Identifier, form Form) (*Answer, *Ambiguous, error) {
	if len(ids) == 0 || len(ids) > mostIdentifiers {
		return nil, nil, annona.Invalid("identifier_malformed", "name 1 to %d identifiers of one record", mostIdentifiers).On("identifiers")
	}
	held := map[annona.Number][]int{}
	i, page, err := x.readSmall(ctx, caller, annona.VerbLookup, q, form, func(i *inquiry, page *annona.Page) error {
		return x.readHolders(ctx, i, ids, page, held)
	})
	if err != nil {
		return nil, nil, err
	}
	switch len(held) {
	case 0:
		return nil, nil, annona.NotFound("no record with this identifier, or not one that you may see")
	case 1:
		if page.Count > 1 {
			page = firstRow(page)
		}
		answer, err := x.answerOne(ctx, i, page)
		return answer, nil, err
	}
	ambiguous, err := x.candidatesFor(ctx, i, page, held)
	if err != nil {
		return nil, nil, err
	}
	return nil, ambiguous, errAmbiguous
}

var errAmbiguous = annona.Conflict("identifier_ambiguous", "several records that you may see hold this identifier, or one each of them; report it to the registry, or ask for one of candidates by its id")

// firstRow is a page with its first row alone: the others show the same record.
func firstRow(page *annona.Page) *annona.Page {
	one := annona.NewPage(page.Shape)
	one.Epoch = page.Epoch
	one.AppendRow(page, 0)
	return one
}

// readHolders appends the holders of each identifier, and notes who holds which.
func (x *Exchange) readHolders(ctx context.Context, i *inquiry, ids []Identifier, page *annona.Page, held map[annona.Number][]int) error {
	all := make([][]annona.IdentifierIndex, len(ids))
	for n, id := range ids {
		var err error
		if all[n], err = x.identifier(i, id); err != nil {
			return err
		}
	}
	scope := i.scope(i.shape, x.today(x.Clock()))
	return x.readOpen(ctx, page, func() error {
		clear(held)
		for n, indexes := range all {
			for _, index := range indexes {
				from := page.Count
				if err := x.Records.Lookup(ctx, scope, index, page); err != nil {
					return err
				}
				for _, number := range page.Numbers[from:] {
					if !slices.Contains(held[number], n) {
						held[number] = append(held[number], n)
					}
				}
			}
		}
		return nil
	})
}

// candidatesFor releases the ids of several holders, and nothing else of them.
func (x *Exchange) candidatesFor(ctx context.Context, i *inquiry, found *annona.Page, held map[annona.Number][]int) (*Ambiguous, error) {
	shape := &annona.Shape{Dataset: i.shape.Dataset}
	if key, ok := shape.Dataset.Field(shape.Dataset.Key); ok && i.grant.Passes(shape.Dataset, key.Code) {
		shape.Columns = []*annona.Field{key}
	}
	numbers := slices.Sorted(slices.Values(found.Numbers))
	seen := annona.NewPage(shape)
	if err := x.Records.ReadNumbers(ctx, i.scope(shape, x.today(x.Clock())), slices.Compact(numbers), seen); err != nil {
		return nil, err
	}
	a := &Ambiguous{Answer: Answer{Request: i.request, Schema: i.schema, Page: i.plan(seen.Shape).Redact(seen)}}
	if err := x.record(ctx, i, a.Page, 1); err != nil {
		return nil, err
	}
	a.ending = i.ending(x)
	for row, number := range seen.Numbers {
		c := PossibleHolder{Held: held[number]}
		if len(seen.Shape.Columns) > 0 {
			c.ID = string(a.Page.Page().Cell(0, row))
		}
		a.Candidates = append(a.Candidates, c)
	}
	return a, nil
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
