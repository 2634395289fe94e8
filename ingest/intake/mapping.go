package intake

import (
	"context"
	"strings"

	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

// ParseMapping reads a mapping and checks it against the dictionary and the crosswalks in force.
func ParseMapping(ctx context.Context, gate *exchange.Exchange, body string) (*ingest.Mapping, error) {
	crosswalks, err := gate.Reference.Crosswalks(ctx)
	if err != nil {
		return nil, err
	}
	return ingest.ParseMapping(strings.NewReader(body), gate.CurrentDictionary(), crosswalks...)
}
