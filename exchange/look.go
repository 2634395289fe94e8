package exchange

import (
	"context"
	"encoding/binary"
	"iter"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/privacy"
)

// The bounds of one reading of records that may have changed.
const (
	namedRows   = 500  // records by their numbers
	sweptRows   = 4096 // all records of a range
	sweptNested = 1024
)

// scopeVersion moves when what decides about the scope moves as a whole: then every record is
// compared. Where the scope asks for ages, every day does that.
func (i *inquiry) scopeVersion(areas int64, today annona.Date) uint64 {
	day := ""
	if i.spec != nil && i.spec.ages || i.asks(func(leaf annona.Condition) bool { _, ok := leaf.(annona.Age); return ok }) {
		day = string(today)
	}
	return i.versionOf("scope", strconv.FormatInt(areas, 10), day)
}

// terms moves when what decides about the scope moves, but for the day: what was in sight under other
// terms is not read as it was. The areas decide where somebody asks for them.
func (i *inquiry) terms(areas int64) uint64 {
	tree := ""
	if i.asks(func(leaf annona.Condition) bool { _, ok := leaf.(annona.Within); return ok }) {
		tree = strconv.FormatInt(areas, 10)
	}
	return i.versionOf("terms", tree)
}

func (i *inquiry) versionOf(name string, more ...string) uint64 {
	texts := append([]string{name, strconv.Itoa(i.grant.Agreement.Version), strconv.FormatUint(i.grant.Decision.Effect, 16), strconv.Itoa(i.schema)}, more...)
	if i.spec != nil {
		texts = append(texts, strconv.Itoa(i.spec.version))
	}
	return max(1, binary.BigEndian.Uint64(digestOf(texts...)))
}

// asks reports whether the agreement, the caller or a derived column asks for something.
func (i *inquiry) asks(what func(annona.Condition) bool) bool {
	if i.spec != nil && slices.ContainsFunc(i.spec.rules, func(c annona.Condition) bool { return asksFor(c, what) }) {
		return true
	}
	for _, c := range i.grant.Conditions {
		if asksFor(c, what) {
			return true
		}
	}
	return asksFor(i.filter, what)
}

func asksFor(c annona.Condition, what func(annona.Condition) bool) bool {
	if c == nil {
		return false
	}
	for leaf := range filter.Leaves(c) {
		if what(leaf) {
			return true
		}
	}
	return false
}

// through compares the records of a piece with what the follower was shown of them, until the
// answer is full. The records that an event or a day concerns are read by their numbers; when
// the scope has moved, or too many are concerned, all are.
func (l *look) through(ctx context.Context, p *piece) error {
	if p.scope != l.version {
		return l.sweep(ctx, p)
	}
	c, err := l.concernedSince(ctx, p.moment())
	if err != nil {
		return err
	}
	if c.all {
		return l.sweep(ctx, p)
	}
	younger, err := l.x.Views.ViewedSince(ctx, l.follower.Key, p.generation, p.after, p.until)
	if err != nil {
		return err
	}
	first, _ := slices.BinarySearch(c.numbers, p.after+1)
	numbers := c.numbers[first:]
	if p.until < noEnd {
		end, _ := slices.BinarySearch(numbers, p.until+1)
		numbers = numbers[:end]
	}
	numbers = slices.Concat(numbers, younger)
	slices.Sort(numbers)
	return l.named(ctx, p, slices.Compact(numbers))
}

func (l *look) concernedSince(ctx context.Context, since annona.Moment) (c concerned, err error) {
	c, read := l.known[since]
	if read {
		return c, nil
	}
	c.numbers, c.all, err = l.x.Log.Concerned(ctx, l.i.shape.Dataset, since, annona.Moment{Seq: l.state.Head, Day: l.today})
	l.known[since] = c
	return c, err
}

// named compares records by their numbers.
func (l *look) named(ctx context.Context, p *piece, numbers []annona.Number) error {
	for some := range slices.Chunk(numbers, namedRows) {
		l.page.Reset()
		err := l.x.readOpen(ctx, l.page, func() error {
			return l.x.Records.ReadNumbers(ctx, l.i.scope(l.i.shape, l.today), some, l.page)
		})
		if err != nil {
			return err
		}
		shown, err := l.x.Views.ViewsOf(ctx, l.follower.Key, some)
		if err != nil {
			return err
		}
		if l.compare(p, shown); l.full {
			return nil
		}
		p.upto = some[len(some)-1]
	}
	p.upto = p.until
	return nil
}

// sweep compares all records of the piece.
func (l *look) sweep(ctx context.Context, p *piece) error {
	until := p.until
	if until == noEnd {
		until = 0
	}
	for more := true; more; {
		l.page.Reset()
		err := l.x.readOpen(ctx, l.page, func() (err error) {
			more, err = l.x.Records.ReadPage(ctx, l.i.scope(l.i.shape, l.today), p.upto, until, l.sweepRows(p), l.page)
			return err
		})
		if err != nil {
			return err
		}
		end := p.until
		if more {
			end = l.page.Numbers[l.page.Count-1]
		}
		shown, err := l.x.Views.ViewsIn(ctx, l.follower.Key, p.upto, end)
		if err != nil {
			return err
		}
		if l.compare(p, shown); l.full {
			return nil
		}
		p.upto = end
	}
	return nil
}

// sweepRows is how many records are read at once: of a first snapshot each one is a change, and
// one more says whether there are more.
func (l *look) sweepRows(p *piece) int {
	rows := sweptRows
	if len(l.i.shape.Groups) > 0 {
		rows = sweptNested
	}
	if p.fresh() {
		rows = min(rows, l.limit-len(l.changes)+1)
	}
	return rows
}

// compare redacts the page and holds it against what the follower was shown. When the
// answer is full before a further change, the piece ends before that record.
func (l *look) compare(p *piece, shown []annona.View) {
	d := l.plan.Redact(l.page)
	for number, at := range pairs(l.page.Numbers, shown) {
		tag := annona.ViewTag(0)
		if at.row >= 0 {
			tag = l.tag(d, at.row)
		}
		kind, changed := p.changed(tag, at.views)
		if changed && len(l.changes) == l.limit {
			l.full, p.upto = true, number-1
			return
		}
		if last := len(at.views) - 1; last < 0 && tag != 0 || last >= 0 && at.views[last].Tag != tag {
			l.seen = append(l.seen, annona.View{Number: number, Tag: tag})
		}
		if changed {
			l.change(kind, d, at.row, number)
			l.overtaken = l.overtaken || overtaken(at.views, l.follower)
		}
	}
}

// overtaken reports whether another reader has been shown a record since the follower was read: a position
// of that generation would not know that this one was shown it too.
func overtaken(views []annona.View, by annona.Follower) bool {
	last := len(views) - 1
	return last >= 0 && views[last].Generation > by.Generation
}

func (l *look) change(kind ChangeKind, d *privacy.Disclosed, row int, number annona.Number) {
	if kind.Gone() {
		l.changes = append(l.changes, Change{Kind: kind, Row: len(l.gone)})
		l.gone = append(l.gone, number)
		return
	}
	l.changes = append(l.changes, Change{Kind: kind, Row: l.chosen.Count()})
	l.chosen.Add(d, row)
}

// changed says what a record's view of now is to somebody who was shown what the piece says.
func (p *piece) changed(now annona.ViewTag, views []annona.View) (ChangeKind, bool) {
	was, ever, younger := annona.ViewTag(0), false, false
	for _, v := range views {
		if v.Generation <= p.generation {
			was = v.Tag
		}
		younger = younger || v.Generation > p.generation
		ever = ever || v.Tag != 0
	}
	doubtful := p.rough && younger
	switch {
	case now == was && !doubtful:
		return "", false
	case now == 0:
		return ChangeLeft, was != 0 || ever && doubtful
	case was == 0 && !doubtful && !p.fresh():
		return ChangeEntered, true
	default:
		return ChangeUpsert, true
	}
}

// meeting is one record: where it stands on the page (-1: it does not) and what is remembered.
type meeting struct {
	row   int
	views []annona.View
}

// pairs goes through the rows of a page and the views of records side by side.
func pairs(rows []annona.Number, views []annona.View) iter.Seq2[annona.Number, meeting] {
	return func(yield func(annona.Number, meeting) bool) {
		for row := 0; row < len(rows) || len(views) > 0; {
			m := meeting{row: -1}
			number := annona.Number(0)
			switch {
			case row == len(rows):
				number = views[0].Number
			case len(views) == 0 || rows[row] <= views[0].Number:
				number, m.row = rows[row], row
				row++
			default:
				number = views[0].Number
			}
			end := 0
			for end < len(views) && views[end].Number == number {
				end++
			}
			m.views, views = views[:end], views[end:]
			if !yield(number, m) {
				return
			}
		}
	}
}

// tag is the keyed hash of what the follower is shown of a record, under the id of its memory, so
// that the tags of two followers say nothing about each other. An absent value is like a column
// that is not there.
func (l *look) tag(d *privacy.Disclosed, row int) annona.ViewTag {
	l.view = appendRecordView(append(l.view[:0], l.id...), l.shown, d.Page(), row)
	return l.x.viewTag(l.view)
}

func (x *Exchange) viewTag(view []byte) annona.ViewTag {
	tag := x.Vault.Tag(view)
	return annona.ViewTag(max(1, binary.BigEndian.Uint64(tag[:])))
}

// What stands behind a name in a view: the names of fields have none of these bytes.
const (
	viewCell  = 0x00
	viewGroup = 0x01
	viewEnd   = 0x02
)

// appendRecordView appends what a shape shows of a row of a page, which has all of the shape's columns
// and groups in the same order and maybe others.
func appendRecordView(view []byte, shape *annona.Shape, p *annona.Page, row int) []byte {
	at := 0
	for _, f := range shape.Columns {
		for p.Shape.Columns[at] != f {
			at++
		}
		if cell := p.Cell(at, row); len(cell) > 0 {
			view = annona.AppendItem(append(append(view, f.Code...), viewCell), annona.Image(cell))
		}
	}
	at = 0
	for _, g := range shape.Groups {
		for p.Shape.Groups[at].Field != g.Field {
			at++
		}
		from, to := p.Groups[at].Rows(row)
		if from == to {
			continue
		}
		view = append(append(view, g.Field.Code...), viewGroup)
		for inner := from; inner < to; inner++ {
			view = appendRecordView(view, g.Shape, p.Groups[at].Page, inner)
		}
		view = append(view, viewEnd)
	}
	return append(view, viewEnd)
}

// covers reports whether pages of one shape have all that another one shows, in the same order.
func covers(have, shape *annona.Shape) bool {
	at := 0
	for _, f := range shape.Columns {
		for at < len(have.Columns) && have.Columns[at] != f {
			at++
		}
		if at == len(have.Columns) {
			return false
		}
	}
	at = 0
	for _, g := range shape.Groups {
		for at < len(have.Groups) && have.Groups[at].Field != g.Field {
			at++
		}
		if at == len(have.Groups) || !covers(have.Groups[at].Shape, g.Shape) {
			return false
		}
	}
	return true
}
