// Package privacy turns what a store fetched into what may be shown. A Plan is compiled once
// for a grant and a shape: each column passes, is masked, generalized or enciphered. What
// comes out is a Disclosed, the only thing that deliveries and encoders can print and that
// nobody else can make.
//
// It decides nothing about who may see what (package policy does) and knows no store, no
// format and no key: ids are enciphered through an annona.Realm.
package privacy

import "github.com/annona-exchange/annona"

// Disclosed is a page of what may be shown. It is good until the page it came from is reset.
type Disclosed struct {
	page     *annona.Page
	subjects []Subjects
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

// Subjects returns everybody who is in the page, nested members included, one set for each
// noun and field mask. Numbers may repeat.
func (d *Disclosed) Subjects() []Subjects { return d.subjects }
