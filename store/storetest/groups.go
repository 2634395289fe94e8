package storetest

import (
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// withGroups returns a person with a clear group and a sealed one, and the two sealed pieces. A
// value of a country stands behind the groups.
func (r *registry) withGroups(key, severity string) (p annona.StoredRecord, rest, groups []byte) {
	p = r.person(key, values{"sex": "female", "full_name": "Ama"})
	functioning, _ := r.individuals.Field("functioning")
	items, _ := r.dictionary.Dataset("functioning")
	grade, _ := items.Field("severity")
	item := annona.Image(nil).AppendValue(grade.ImageTag(), []byte(severity))
	p.Clear = p.Clear.AppendValue(functioning.ImageTag(), annona.AppendItem(nil, item))
	p.Clear = p.Clear.AppendValue(annona.CountryTag<<2, []byte("of the country"))
	rest, groups = p.Sealed, annona.AppendItem(nil, annona.Image("sealed groups"))
	p.Sealed = slices.Concat(rest, groups)
	return digested(p), rest, groups
}

// testImageGroups: the groups of an image are read where somebody asks for them, and are never
// lost.
func testImageGroups(t *testing.T, r *registry) {
	first, rest, groups := r.withGroups("p", "no_difficulty")
	r.load(first, r.person("q", values{"sex": "male"}))

	flat := r.all(annona.NewScope(r.shape(r.individuals, "sex", "full_name"), nil, nil, terms()))
	if got := []string{string(flat.Cell(0, 0)), string(flat.Sealed.Cell(0))}; got[0] != "female" || got[1] != string(rest) {
		t.Errorf("without groups a page has %q", got)
	}
	shape := r.withGroup(r.shape(r.individuals, "sex", "full_name"), "functioning", "severity")
	r.withGroup(shape, "identifiers", "value")
	deep := r.all(annona.NewScope(shape, nil, nil, terms()))
	if got := string(deep.Sealed.Cell(0)); got != string(rest)+string(groups) {
		t.Errorf("with groups the sealed image is %q", got)
	}
	functioning := deep.Groups[shape.Group("functioning")]
	if _, to := functioning.Rows(1); functioning.Page.Count != 1 || to != 1 || string(functioning.Page.Cell(0, 0)) != "no_difficulty" {
		t.Errorf("the clear group has %d rows, up to %d", functioning.Page.Count, to)
	}

	second, _, _ := r.withGroups("p", "cannot_do")
	var known []annona.Known
	r.update(func(tx annona.Tx) (err error) {
		known, err = tx.Find(r.ctx, []annona.RecordKey{second.RecordKey})
		return err
	})
	if k := known[0]; string(k.Clear) != string(first.Clear) || string(k.Sealed) != string(first.Sealed) {
		t.Errorf("on file are %q and %q, want the images as they were written: %q and %q", k.Clear, k.Sealed, first.Clear, first.Sealed)
	}
	r.load(second)
	deep = r.all(annona.NewScope(shape, nil, nil, terms()))
	if got := string(deep.Groups[shape.Group("functioning")].Page.Cell(0, 0)); got != "cannot_do" {
		t.Errorf("after a change the clear group says %q", got)
	}
	without := r.person("p", values{"sex": "female"})
	r.load(without)
	deep = r.all(annona.NewScope(shape, nil, nil, terms()))
	if n := deep.Groups[shape.Group("functioning")].Page.Count; n != 0 || string(deep.Sealed.Cell(0)) != string(without.Sealed) {
		t.Errorf("groups that are gone stay: %d rows, %q", n, deep.Sealed.Cell(0))
	}
}
