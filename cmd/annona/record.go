package main

import (
	"context"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type recordCommand struct {
	Set recordSet `cmd:"" help:"Say what fields of a record are; it holds against what sources say otherwise."`
}

type recordSet struct {
	dataFlag
	why
	Record    record   `arg:"" help:"The record, as SOURCE/KEY; an individual also as id:REALM/ID."`
	Values    []string `arg:"" sep:"none" placeholder:"FIELD=VALUE" help:"Fields and their values, as codes and canonical text. FIELD= takes back what was set before."`
	Household bool     `help:"The key is that of a household."`
}

func (r recordSet) Run(ctx context.Context, c console) error {
	subject, err := r.Record.subject(r.Household)
	if err != nil {
		return err
	}
	values, err := assignments(r.Values)
	if err != nil {
		return err
	}
	return r.edit(ctx, c, func(gate *exchange.Exchange) (exchange.Edited, error) {
		return gate.Set(ctx, operator(), exchange.Setting{Record: subject, Values: values, Why: r.terms()})
	})
}

// assignments reads FIELD=VALUE. The value is never part of an error.
func assignments(texts []string) (list []exchange.Assignment, err error) {
	for _, text := range texts {
		field, value, cut := strings.Cut(text, "=")
		if !cut || field == "" {
			return nil, annona.Invalid("assignment_malformed", "write a field and its value as FIELD=VALUE")
		}
		list = append(list, exchange.Assignment{Field: field, Text: value})
	}
	return list, nil
}
