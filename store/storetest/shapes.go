package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// Household makes a household of the standard dictionary for tests of one store alone.
func Household(key string, v map[string]string) annona.StoredRecord {
	d, _ := annona.Standard().Dataset("households")
	return digested(record(d, key, v))
}

// Person makes an individual of the standard dictionary for tests of one store alone.
func Person(key string, v map[string]string, memberships ...annona.Membership) annona.StoredRecord {
	d, _ := annona.Standard().Dataset("individuals")
	p := record(d, key, v)
	p.Memberships = memberships
	return digested(p)
}

// Entry makes a ledger entry whose hash is that of its leaf.
func Entry(kind annona.EntryKind, request annona.UID) annona.LedgerRow { return entry(kind, request) }

// Shape makes a shape of the columns named; a name that the dataset lacks is a mistake of the
// test.
func Shape(d *annona.Dataset, columns ...string) *annona.Shape {
	s := &annona.Shape{Dataset: d}
	for _, code := range columns {
		f, ok := d.Field(code)
		if !ok {
			panic("storetest: the dataset has no field " + code)
		}
		s.Columns = append(s.Columns, f)
	}
	return s
}

// WithGroup adds a group of the standard dictionary to a shape.
func WithGroup(s *annona.Shape, group string, columns ...string) *annona.Shape {
	f, ok := s.Dataset.Field(group)
	if !ok {
		panic("storetest: the dataset has no group " + group)
	}
	inner, _ := annona.Standard().Dataset(f.Group)
	s.Groups = append(s.Groups, annona.GroupShape{Field: f, Shape: Shape(inner, columns...)})
	return s
}

// CheckTree walks the ledger of s and fails unless its tree is the one of its rows.
func CheckTree(t *testing.T, s Store, want int) {
	t.Helper()
	newRegistry(t, s).checkTree(want)
}

// Deriving adds columns to a shape that are derived by rules.
func Deriving(s *annona.Shape, rules ...*annona.Derivation) *annona.Shape {
	derived := &annona.Shape{Dataset: s.Dataset, Columns: slices.Clone(s.Columns), Groups: s.Groups}
	for i, rule := range rules {
		f := &annona.Field{Dataset: s.Dataset.Name, Code: fmt.Sprintf("rule %d", i), Type: annona.TypeBool, AtRest: annona.Clear, Derived: true, Rule: rule}
		f.Base = f
		derived.Columns = append(derived.Columns, f)
	}
	return derived
}
