// Package privacy turns what a store fetched into what may be shown. A Plan is compiled once
// for a grant and a shape: each column passes, is masked, generalized or enciphered. What
// comes out is a Disclosed, the only thing that deliveries and encoders can print and that
// nobody else can make.
//
// It decides nothing about who may see what (package policy does) and knows no store, no
// format and no key: ids are enciphered through an annona.Realm.
package privacy

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// Disclosed is a page of what may be shown. It is good until the page it came from is reset.
type Disclosed struct {
	page     *annona.Page
	subjects []Subjects
	gone     []annona.Number
}

// Subjects are the people or households in a page who have the same field mask.
type Subjects struct {
	Noun    string   // individual or household
	Fields  []string // the fields of them that leave, in published order
	Numbers []annona.Number
}

// Page returns the columns and groups to print. It is to be read only.
func (d *Disclosed) Page() *annona.Page { return d.page }

// Shape returns the columns of the page.
func (d *Disclosed) Shape() *annona.Shape { return d.page.Shape }

// Count returns the number of rows.
func (d *Disclosed) Count() int { return d.page.Count }

// Gone returns those whose row has their id alone, see Telling.
func (d *Disclosed) Gone() []annona.Number { return d.gone }

// Telling returns the rows of a page, and between them, in order of number, one for each record that is
// gone, with its id and nothing else. shape has the page's columns and groups behind one column more,
// which says what word tells of a row. gone has one column, the id; nil: nobody is gone.
func (d *Disclosed) Telling(shape *annona.Shape, gone *Disclosed, word func(annona.Number) string) *Disclosed {
	told := &Disclosed{page: annona.NewPage(shape), subjects: slices.Clone(d.subjects)}
	if gone != nil {
		told.gone = gone.page.Numbers
		for _, s := range gone.subjects {
			told.add(s)
		}
	}
	key, next := shape.Column(shape.Dataset.Key), 0
	for row, number := range d.page.Numbers {
		for ; next < len(told.gone) && told.gone[next] < number; next++ {
			told.appendGone(gone.page, next, key, word)
		}
		told.appendRow(d.page, row, word(number))
	}
	for ; next < len(told.gone); next++ {
		told.appendGone(gone.page, next, key, word)
	}
	return told
}

func (d *Disclosed) appendRow(from *annona.Page, row int, word string) {
	p := d.page
	p.Numbers, p.UIDs = append(p.Numbers, from.Numbers[row]), append(p.UIDs, from.UIDs[row])
	p.Columns[0].Append([]byte(word))
	for i := range from.Columns {
		p.Columns[i+1].Append(from.Cell(i, row))
	}
	for i := range p.Groups {
		first, end := from.Groups[i].Rows(row)
		for inner := first; inner < end; inner++ {
			p.Groups[i].Page.AppendRow(from.Groups[i].Page, inner)
		}
		p.Groups[i].EndRow()
	}
	p.Count++
}

func (d *Disclosed) appendGone(from *annona.Page, row, key int, word func(annona.Number) string) {
	p := d.page
	p.Numbers, p.UIDs = append(p.Numbers, from.Numbers[row]), append(p.UIDs, from.UIDs[row])
	for i := range p.Columns {
		switch i {
		case 0:
			p.Columns[i].Append([]byte(word(from.Numbers[row])))
		case key:
			p.Columns[i].Append(from.Cell(0, row))
		default:
			p.Columns[i].EndCell()
		}
	}
	for i := range p.Groups {
		p.Groups[i].EndRow()
	}
	p.Count++
}

// Subjects returns everybody who is in the page, nested members included, one set for each
// noun and field mask. Numbers may repeat.
func (d *Disclosed) Subjects() []Subjects { return d.subjects }
