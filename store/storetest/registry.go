package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// Today is the day of every test.
const Today annona.Date = "2024-03-01"

const source = "survey"

// tester is who changes records in most tests.
var tester = annona.Author{Operator: "tester"}

// Clock stands at noon of Today.
func Clock() time.Time { return time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC) }

// registry is a store under test with what makes records for it.
type registry struct {
	Store
	t           *testing.T
	ctx         context.Context
	dictionary  *annona.Dictionary
	individuals *annona.Dataset
	households  *annona.Dataset
}

func newRegistry(t *testing.T, s Store) *registry {
	r := &registry{Store: s, t: t, ctx: t.Context(), dictionary: annona.Standard()}
	r.individuals, _ = r.dictionary.Dataset("individuals")
	r.households, _ = r.dictionary.Dataset("households")
	return r
}

// values are the canonical texts of a record's fields, by code.
type values map[string]string

// household makes a household.
func (r *registry) household(key string, v values) annona.StoredRecord {
	return digested(record(r.households, key, v))
}

// person makes an individual who is a member of the households named.
func (r *registry) person(key string, v values, memberships ...annona.Membership) annona.StoredRecord {
	p := record(r.individuals, key, v)
	p.Memberships = memberships
	return digested(p)
}

func member(household, role string) annona.Membership {
	return annona.Membership{HouseholdKey: household, Role: role}
}

// record splits values into images and index, as the gate does.
func record(d *annona.Dataset, key string, v values) annona.StoredRecord {
	r := annona.StoredRecord{RecordKey: annona.RecordKey{Dataset: d, Source: source, Key: key}}
	var sealed annona.Image
	fields := slices.Clone(d.Fields)
	slices.SortFunc(fields, func(a, b *annona.Field) int { return int(a.ImageTag()) - int(b.ImageTag()) })
	for _, f := range fields {
		text := v[f.Code]
		switch {
		case f.Derived || text == "":
		case f.Type == annona.TypeGroup:
			r.Index = append(r.Index, annona.Value{Field: f, Text: text})
		case f.IsSealed():
			sealed = sealed.AppendValue(f.ImageTag(), []byte(text))
		default:
			r.Clear = r.Clear.AppendValue(f.ImageTag(), []byte(text))
			if f.Filter == annona.FilterRange {
				r.Index = append(r.Index, annona.Value{Field: f, Text: text})
			}
		}
	}
	r.Sealed = annona.AppendItem(nil, append(annona.Image("sealed:"), sealed...))
	return r
}

// digested gives the record a digest of all that it says.
func digested(r annona.StoredRecord) annona.StoredRecord {
	r.Digest = [16]byte{}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %v %v %v %q", r.Clear, r.Sealed, r.Identifiers, r.Memberships, r.Relationships, flags(r.Index)))
	copy(r.Digest[:], sum[:])
	return r
}

func flags(index []annona.Value) (texts []string) {
	for _, v := range index {
		texts = append(texts, v.Field.Code+"="+v.Text)
	}
	return texts
}

// load writes records in one transaction.
func (r *registry) load(records ...annona.StoredRecord) annona.Loaded {
	r.t.Helper()
	for i := range records {
		records[i] = digested(records[i])
	}
	var loaded annona.Loaded
	r.update(func(tx annona.Tx) (err error) {
		loaded, err = Load(r.ctx, tx, "tester", records)
		return err
	})
	return loaded
}

func (r *registry) update(fn func(annona.Tx) error) {
	r.t.Helper()
	if err := r.Update(r.ctx, fn); err != nil {
		r.t.Fatalf("update: %v", err)
	}
}

// shape makes a shape of some columns.
func (r *registry) shape(d *annona.Dataset, columns ...string) *annona.Shape {
	r.t.Helper()
	return Shape(d, columns...)
}

// withGroup adds a group to a shape.
func (r *registry) withGroup(s *annona.Shape, group string, columns ...string) *annona.Shape {
	r.t.Helper()
	return WithGroup(s, group, columns...)
}

// terms are those of a scope under public interest, today.
func terms() annona.ScopeTerms {
	return annona.ScopeTerms{Purpose: "eligibility", Recipient: "program", Basis: annona.BasisPublicInterest, AsOf: Today, Today: Today}
}

// all reads every row of a scope, at once and, which must be the same, in small pages.
func (r *registry) all(scope annona.Scope) *annona.Page {
	r.t.Helper()
	page := annona.NewPage(scope.Shape())
	more, err := r.ReadPage(r.ctx, scope, 0, 0, 1000, page)
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	if more {
		r.t.Fatal("a short page says that more may follow")
	}
	r.same("rows in small pages", r.inSmallPages(scope), texts(page))
	return page
}

// inSmallPages reads every row of a scope, few at a time.
func (r *registry) inSmallPages(scope annona.Scope) (rows []string) {
	r.t.Helper()
	const few = 7
	page := annona.NewPage(scope.Shape())
	for after, more := annona.Number(0), true; more; {
		page.Reset()
		var err error
		if more, err = r.ReadPage(r.ctx, scope, after, 0, few, page); err != nil {
			r.t.Fatalf("read a small page: %v", err)
		}
		if page.Count > 0 {
			after = page.Numbers[page.Count-1]
		}
		rows = append(rows, texts(page)...)
	}
	return rows
}

// texts writes all of each row as one text, with the rows nested in it.
func texts(p *annona.Page) []string {
	out := make([]string, p.Count)
	nested := make([][]string, len(p.Groups))
	for i := range p.Groups {
		nested[i] = texts(p.Groups[i].Page)
	}
	for row := range out {
		var text []any
		if len(p.Numbers) > 0 {
			text = append(text, p.Numbers[row])
		}
		for i, f := range p.Shape.Columns {
			if len(p.Columns[i].Ends) > row { // a sealed one is filled by the vault
				text = append(text, f.Code, string(p.Cell(i, row)))
			}
		}
		if len(p.Sealed.Ends) > 0 {
			text = append(text, string(p.Sealed.Cell(row)), p.Versions[row])
		}
		for i := range p.Groups {
			if len(p.Groups[i].Ends) > row {
				from, to := p.Groups[i].Rows(row)
				text = append(text, p.Shape.Groups[i].Field.Code, nested[i][from:to])
			}
		}
		out[row] = fmt.Sprintf("%q", text)
	}
	return out
}

// people reads the names of the individuals who are visible under terms and a condition.
func (r *registry) people(c annona.Condition, t annona.ScopeTerms) []string {
	r.t.Helper()
	return cells(r.all(annona.NewScope(r.shape(r.individuals, "sex", "nationality"), c, c, t)), 1)
}

// cells returns one column as strings.
func cells(p *annona.Page, column int) []string {
	out := []string{}
	for row := range p.Count {
		out = append(out, string(p.Cell(column, row)))
	}
	return out
}

// same fails when two lists differ.
func (r *registry) same(what string, got, want []string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (r *registry) is(d *annona.Dataset, root annona.Root, code, text string) annona.Condition {
	r.t.Helper()
	f, ok := d.Field(code)
	if !ok {
		r.t.Fatalf("no field %s", code)
	}
	return annona.Compare{Path: annona.Path{Root: root, Field: f}, Op: annona.Equal, Value: annona.Constant{Text: text}}
}

// number returns the number of an individual.
func (r *registry) number(key string) annona.Number {
	r.t.Helper()
	n, err := r.SubjectByKey(r.ctx, source, key)
	if err != nil || n == 0 {
		r.t.Fatalf("no individual %s: %v", key, err)
	}
	return n
}
