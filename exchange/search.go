package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
	"unicode"

	"github.com/annona-exchange/annona"
)

// The bounds of a page of a search, in rows.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// cursorLife is how long a cursor can be continued.
const cursorLife = 24 * time.Hour

// checkLimit refuses a page of no rows, or of more than a page has. Codes: limit_out_of_range.
func checkLimit(limit, most int) error {
	if limit < 1 || limit > most {
		return annona.Invalid("limit_out_of_range", "limit is 1 to %d", most).On("limit")
	}
	return nil
}

// checkStatus refuses a status by which rows of a dataset are picked and that its list does not have; empty picks
// each. Codes: unknown_code.
func (x *Exchange) checkStatus(dataset, status string) error {
	d := x.CurrentDictionary()
	of, known := d.Dataset(dataset)
	if status == "" || !known {
		return nil
	}
	f := statusField(of)
	if f == nil {
		return nil
	}
	if list, _ := d.CodeList(f.CodeList); !list.Has(status) {
		return annona.Invalid("unknown_code", "the code is not in the list %s", f.CodeList).On("status")
	}
	return nil
}

// statusField is the field that says where a row of a dataset stands; nil: they stand nowhere.
func statusField(of *annona.Dataset) *annona.Field {
	for _, name := range []string{"status", "entitlement_status"} {
		if f, ok := of.Field(name); ok {
			return f
		}
	}
	return nil
}

// checkProgramAsked refuses what is no code of a program, also while the list of them is open for a country to fill.
func (x *Exchange) checkProgramAsked(code string) error {
	list, _ := x.CurrentDictionary().CodeList("program")
	if code == "" || list.Has(code) && !strings.ContainsFunc(code, unicode.IsControl) {
		return nil
	}
	return annona.Invalid("unknown_code", "the code is not in the list program").On("program")
}

// Search returns a page of the records in the caller's scope, in the order in which they came
// on file. after is the cursor of the page before, empty for the first.
func (x *Exchange) Search(ctx context.Context, caller annona.Caller, q Question, limit int, after string, form Form) (*Answer, error) {
	if err := checkLimit(limit, MaxLimit); err != nil {
		return nil, err
	}
	more := false
	q.atMost = atMost(limit)
	i, page, err := x.readSmall(ctx, caller, annona.VerbSearch, q, form, func(i *inquiry, page *annona.Page) error {
		from, err := x.openCursor(i, after)
		if err != nil {
			return err
		}
		rows := int64(limit)
		if ceiling := i.grant.RowCeiling; ceiling > 0 {
			rows = min(rows, ceiling)
		}
		return x.readOpen(ctx, page, func() (err error) {
			more, err = x.Records.ReadPage(ctx, i.scope(i.shape, x.today(x.Clock())), from, 0, int(rows), page)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return x.answerPage(ctx, i, page, more)
}

func (x *Exchange) answerPage(ctx context.Context, i *inquiry, page *annona.Page, more bool) (*Answer, error) {
	answer := &Answer{Request: i.request, Schema: i.schema}
	if more && page.Count > 0 {
		answer.Next = x.sealCursor(i, page.Numbers[page.Count-1])
	}
	var err error
	if answer.Page, err = x.release(ctx, i, page); err != nil {
		return nil, err
	}
	if page.Count > 0 {
		answer.ending = i.ending(x)
	}
	return answer, nil
}

// cursorContext binds a cursor to everything that decides which rows come next: it cannot be
// continued by another client or with another question.
func (i *inquiry) cursorContext() []byte {
	h := sha256.New()
	for _, part := range []string{
		i.caller.Client.String(), i.grant.Agreement.Name, i.question.Dataset, i.grant.Purpose.Code,
		strings.Join(i.fields, ","), i.filterText(), string(i.question.AsOf), i.chosen,
	} {
		h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

func (x *Exchange) sealCursor(i *inquiry, last annona.Number) string {
	return x.sealPlace(i, uint64(last))
}

// sealPlace is a cursor that names a place by numbers, and when it was made.
func (x *Exchange) sealPlace(i *inquiry, at ...uint64) string {
	var position []byte
	for _, n := range append(at, uint64(x.Clock().Unix())) {
		position = binary.BigEndian.AppendUint64(position, n)
	}
	return x.Vault.SealPosition(i.cursorContext(), position)
}

var (
	errCursor    = annona.Invalid("cursor_invalid", "after is a cursor of this client for the same dataset, purpose, fields, filter and as_of; start again without it").On("after")
	errCursorAge = annona.Gone("cursor_expired", "the cursor is older than a day; start again without it").On("after")
)

func (x *Exchange) openCursor(i *inquiry, token string) (annona.Number, error) {
	if token == "" {
		return 0, nil
	}
	at, err := x.openPlace(i, token, 1)
	if err != nil {
		return 0, err
	}
	return annona.Number(at[0]), nil
}

// openPlace opens a cursor that names a place by so many numbers.
func (x *Exchange) openPlace(i *inquiry, token string, count int) (at []uint64, err error) {
	position, ok := x.Vault.OpenPosition(i.cursorContext(), token)
	if !ok || len(position) != 8*(count+1) {
		return nil, errCursor
	}
	for ; len(position) > 0; position = position[8:] {
		at = append(at, binary.BigEndian.Uint64(position))
	}
	if x.Clock().Sub(time.Unix(int64(at[count]), 0)) > cursorLife {
		return nil, errCursorAge
	}
	return at[:count], nil
}
