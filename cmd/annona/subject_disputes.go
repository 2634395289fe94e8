package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/annona-exchange/annona/exchange"
)

type subjectDisputes struct {
	dataFlag
	Realm string `required:"" placeholder:"NAME" help:"Id realm of the agreement whose ids are printed."`
	JSON  bool   `name:"json" help:"Print JSON, one identifier on a line."`
}

// Run prints types and ids, never a number or a name.
func (s subjectDisputes) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		return f.gate.Disputes(ctx, operator(), s.Realm, func(d exchange.Disputed) error {
			if s.JSON {
				return json.NewEncoder(c.out).Encode(d)
			}
			_, err := fmt.Fprintf(c.out, "%s  %s\n", d.Type, strings.Join(d.Holders, "  "))
			return err
		})
	})
}
