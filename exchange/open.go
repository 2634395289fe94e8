package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// readAttempts is how often a page is read of which somebody is erased in that moment.
const readAttempts = 3

// readOpen reads a page and opens its sealed part. Whoever was erased between the two has no key
// anymore: the page is read again, then without them.
func (x *Exchange) readOpen(ctx context.Context, page *annona.Page, read func() error) error {
	return x.readOpenAll(ctx, []*annona.Page{page}, read)
}

// readOpenAll does so with pages that are read together.
func (x *Exchange) readOpenAll(ctx context.Context, pages []*annona.Page, read func() error) error {
	for attempt := 1; ; attempt++ {
		if err := read(); err != nil {
			return err
		}
		err := x.Vault.Open(ctx, pages...)
		if annona.CodeOf(err) != "key_gone" {
			return err
		}
		if attempt == readAttempts {
			return annona.Unavailable("keys_missing",
				"records on file have no key: the key store is older than the records, or a part of it was lost. Put its newest copy back").Because(err)
		}
		for _, page := range pages {
			page.Reset()
		}
	}
}
