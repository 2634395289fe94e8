package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// Whatever the gate appends to the ledger passes one of these three on its way to the store:
// no verb can forget to seal what an entry says. Stores refuse an entry that came another way.

type sealingLedger struct {
	annona.Ledger
	vault annona.EntryVault
}

func (l sealingLedger) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	return l.Ledger.Append(ctx, sealAll(l.vault, rows)...)
}

func (l sealingLedger) AppendLater(ctx context.Context, rows ...annona.LedgerRow) error {
	return l.Ledger.AppendLater(ctx, sealAll(l.vault, rows)...)
}

type sealingWriter struct {
	annona.Writer
	vault annona.EntryVault
}

func (w sealingWriter) Update(ctx context.Context, fn func(annona.Tx) error) error {
	return w.Writer.Update(ctx, func(tx annona.Tx) error { return fn(sealingTx{tx, w.vault}) })
}

func (w sealingWriter) Share(ctx context.Context, e annona.Errand) error {
	do := e.Do
	e.Do = func(tx annona.Tx, cells annona.Cells) error { return do(sealingTx{tx, w.vault}, cells) }
	return w.Writer.Share(ctx, e)
}

type sealingTx struct {
	annona.Tx
	vault annona.EntryVault
}

func (t sealingTx) AppendEntry(ctx context.Context, rows ...annona.LedgerRow) error {
	return t.Tx.AppendEntry(ctx, sealAll(t.vault, rows)...)
}

type sealingReference struct {
	annona.Reference
	vault annona.EntryVault
}

func (r sealingReference) Declare(ctx context.Context, x annona.Extension, extended *annona.Dictionary, entry annona.LedgerRow) error {
	return r.Reference.Declare(ctx, x, extended, r.vault.SealEntry(entry))
}

func sealAll(vault annona.EntryVault, rows []annona.LedgerRow) []annona.LedgerRow {
	sealed := make([]annona.LedgerRow, len(rows))
	for i, row := range rows {
		sealed[i] = vault.SealEntry(row)
	}
	return sealed
}
