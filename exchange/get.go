package exchange

import (
	"context"
	"encoding/base64"
	"sync"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// Get returns the record with that wire id. An unknown id, one of another realm and one that
// the caller may not see are the same answer from the same query.
func (x *Exchange) Get(ctx context.Context, caller annona.Caller, q Question, id string, form Form) (*Answer, error) {
	i, page, err := x.readSmall(ctx, caller, annona.VerbGet, q, form, func(i *inquiry, page *annona.Page) error {
		uid, ok := i.realm.ParseID(id)
		if !ok {
			uid = annona.UID{} // nobody's: the query is made all the same
		}
		return x.readOpen(ctx, page, func() error {
			return x.Records.ReadOne(ctx, i.scope(i.shape, x.today(x.Clock())), uid, page)
		})
	})
	if err != nil {
		return nil, err
	}
	if page.Count == 0 {
		return nil, annona.NotFound("no such record, or not one that you may see")
	}
	answer, err := x.answerOne(ctx, i, page)
	if err == nil {
		answer.ETag = x.etag(i, answer.Page)
	}
	return answer, err
}

// answerOne releases a page of one record.
func (x *Exchange) answerOne(ctx context.Context, i *inquiry, page *annona.Page) (*Answer, error) {
	disclosed, err := x.release(ctx, i, page)
	if err != nil {
		return nil, err
	}
	return &Answer{ending: i.ending(x), Page: disclosed, Request: i.request, Schema: i.schema}, nil
}

// views is memory in which what a caller sees is gathered, for a hash over it.
var views = sync.Pool{New: func() any { return new([]byte) }}

// etag is two keyed hashes over what this caller sees, and over how it was asked for: the first one of
// what lies with the record itself, by which the version is found again that somebody has read, the other
// one of what comes from elsewhere.
func (x *Exchange) etag(i *inquiry, d *privacy.Disclosed) string {
	page, paper := d.Page(), views.Get().(*[]byte)
	view := append(append((*paper)[:0], i.caller.Agreement...), 0)
	for c, f := range page.Shape.Columns {
		if !liesWith(f) {
			view = annona.AppendItem(append(view, f.Code...), annona.Image(page.Cell(c, 0)))
		}
	}
	*paper = appendGroups(view, page)
	around := x.Vault.Tag(*paper)
	views.Put(paper)
	return `"` + x.ownTag(i, page) + base64.RawURLEncoding.EncodeToString(around[:tagBytes]) + `"`
}

// tagBytes is how long each of the two hashes is, and ownTagText how long the first one is as text.
const (
	tagBytes   = 12
	ownTagText = 16
)

// ownTag is a keyed hash over what a page of one record shows that lies with the record itself.
func (x *Exchange) ownTag(i *inquiry, page *annona.Page) string {
	paper := views.Get().(*[]byte)
	view := append(append(append((*paper)[:0], "own\x00"...), i.caller.Agreement...), 0)
	for c, f := range page.Shape.Columns {
		if liesWith(f) {
			view = annona.AppendItem(append(view, f.Code...), annona.Image(page.Cell(c, 0)))
		}
	}
	tag := x.Vault.Tag(view)
	*paper = view
	views.Put(paper)
	return base64.RawURLEncoding.EncodeToString(tag[:tagBytes])
}

// liesWith reports whether a column shows what lies in the image of its record.
func liesWith(f *annona.Field) bool { return !f.Derived }

// sizeOfView is about how many bytes a view of a page takes.
func sizeOfView(p *annona.Page) int {
	size := 64
	for i, f := range p.Shape.Columns {
		size += len(p.Columns[i].Data) + p.Count*(len(f.Code)+4)
	}
	for i, g := range p.Shape.Groups {
		size += len(g.Field.Code) + 2*p.Count + sizeOfView(p.Groups[i].Page)
	}
	return size
}

func appendView(view []byte, p *annona.Page) []byte {
	for i, f := range p.Shape.Columns {
		for row := range p.Count {
			view = annona.AppendItem(append(view, f.Code...), annona.Image(p.Cell(i, row)))
		}
	}
	return appendGroups(view, p)
}

func appendGroups(view []byte, p *annona.Page) []byte {
	for i, g := range p.Shape.Groups {
		view = append(append(view, g.Field.Code...), 0)
		for row := range p.Count {
			from, to := p.Groups[i].Rows(row)
			view = append(view, byte(to-from), byte((to-from)>>8))
		}
		view = appendView(view, p.Groups[i].Page)
	}
	return view
}
