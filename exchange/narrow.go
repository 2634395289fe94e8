package exchange

import (
	"cmp"
	"context"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/privacy"
)

// inquiry is a question that was decided and narrowed: all that the later steps need.
type inquiry struct {
	caller   annona.Caller
	verb     annona.Verb
	question Question
	request  annona.UID // joins the ledger entries of this request
	grant    *annona.Grant
	schema   int // version of the dictionary
	filter   annona.Condition
	chosen   string // what is picked of matters, in one canonical form
	compiled *compiled
	shape    *annona.Shape
	fields   []string // names of the shape's columns
	asOf     annona.Date
	position int64 // of the log, at which is read; 0: of now
	realm    annona.Realm
	form     Form
	spec     *specification // nil: columns have the names of the dictionary
	job      string         // of an export that becomes files: its id and the part, as id/1
}

// Form is how the answer will be written: facts for the ledger, without effect on what leaves.
type Form struct {
	Format string // csv, xml, json, ndjson …
	Layout string
	Spec   string // the export specification, as name@version; empty: none
}

// inquire takes the first two steps, decide and narrow. What they deny is entered in the ledger.
func (x *Exchange) inquire(ctx context.Context, from annona.Standings, caller annona.Caller, verb annona.Verb, q Question) (*inquiry, error) {
	i, err := x.decideAndNarrow(ctx, from, caller, verb, q)
	x.denied(from, caller, verb, q.Dataset, err)
	if err == nil {
		x.use(i)
	}
	return i, err
}

func (x *Exchange) decideAndNarrow(ctx context.Context, from annona.Standings, caller annona.Caller, verb annona.Verb, q Question) (*inquiry, error) {
	grant, err := x.decide(ctx, from, caller, verb, q)
	if err != nil {
		return nil, err
	}
	i, err := x.narrow(grant, caller, verb, q)
	if err != nil {
		return nil, err
	}
	i.question.weighed = cmp.Or(grant.Decision.Weighed, &annona.Weighed{}) // what nobody asked about then is not known later
	if err := x.signedInWell(i); err != nil || q.spec {
		return i, err // the columns of a specification are not known yet
	}
	return i, x.approved(ctx, i, "")
}

// narrow takes the second step under a grant.
func (x *Exchange) narrow(grant *annona.Grant, caller annona.Caller, verb annona.Verb, q Question) (i *inquiry, err error) {
	d := x.CurrentDictionary()
	i = &inquiry{caller: caller, verb: verb, question: q, request: annona.NewUIDAt(x.Clock()), grant: grant, schema: d.Version}
	if i.compiled, err = x.questions.compile(d, grant, caller, q); err != nil {
		return nil, err
	}
	i.shape, i.fields = i.compiled.shape, i.compiled.fields
	if i.filter, err = callersFilter(d, grant, q); err != nil {
		return nil, err
	}
	if i.asOf, err = x.asOf(q.AsOf); err != nil {
		return nil, err
	}
	if i.realm, err = x.Vault.Realm(grant.Agreement.Realm); err != nil {
		return nil, err
	}
	return i, nil
}

func (x *Exchange) asOf(asked annona.Date) (annona.Date, error) {
	if asked == "" {
		return x.today(x.Clock()), nil
	}
	d, err := annona.ParseDate(string(asked))
	if err != nil {
		return "", annona.Invalid("as_of_malformed", "as_of is a day, written 2006-01-02").On("as_of")
	}
	return d, nil
}

// scope is the whole of narrowing: what the agreement lets the caller see, and what the caller
// picks from it, as part of the query. today is read anew for each page.
func (i *inquiry) scope(shape *annona.Shape, today annona.Date) annona.Scope {
	seen := i.grant.Conditions
	return annona.NewScope(shape, seen[i.question.Dataset], seen["individuals"], annona.ScopeTerms{
		Purpose:   i.grant.Purpose.Code,
		Recipient: i.grant.Agreement.Partner.Name,
		Basis:     i.grant.Purpose.Basis,
		AsOf:      i.asOf,
		Today:     today,
	}).WithHouseholds(seen["households"]).Choosing(i.filter)
}

// showBySpec lets the columns be those of a specification. They may be made of fields that the question does
// not name.
func (x *Exchange) showBySpec(ctx context.Context, i *inquiry, spec *annona.ExportSpec) error {
	on, err := x.surroundingsOf(ctx, spec, i.asOf)
	if err != nil {
		return err
	}
	if i.spec, err = compileSpec(x.CurrentDictionary(), i.grant, spec, on); err != nil {
		return err
	}
	i.shape = i.spec.read(i.spec.shown)
	i.fields = fieldNames(i.shape)
	i.compiled = &compiled{shape: i.shape, fields: i.fields}
	if err = x.signedInWell(i); err == nil {
		err = x.approved(ctx, i, spec.Name+"@"+strconv.Itoa(spec.Version))
	}
	if err != nil {
		x.denied(x.Standings, i.caller, i.verb, i.question.Dataset, err)
		return err
	}
	x.use(i)
	return nil
}

// plan compiles the column plan of a shape.
func (i *inquiry) plan(shape *annona.Shape) *privacy.Plan {
	return privacy.Compile(shape, i.grant, i.realm)
}

// filterText is the canonical text of the caller's filter, for cursors and the ledger.
func (i *inquiry) filterText() string {
	if i.filter == nil {
		return ""
	}
	return filter.Format(i.filter)
}

// names lists the columns of a shape of this inquiry: its own, or that of one file of several.
func (i *inquiry) names(shape *annona.Shape) []string {
	switch {
	case shape == i.shape:
		return i.fields
	case i.spec != nil:
		return fieldNames(i.spec.read(shape))
	}
	return fieldNames(shape)
}

// namesIn lists the columns of a shape that are shown as a part, as part.column.
func (i *inquiry) namesIn(part string, shape *annona.Shape) []string {
	if shape != i.shape {
		return namesBehind(part, i.names(shape))
	}
	kept, ok := i.compiled.parts.Load(part)
	if !ok {
		kept, _ = i.compiled.parts.LoadOrStore(part, namesBehind(part, i.fields))
	}
	return kept.([]string)
}

func namesBehind(part string, names []string) []string {
	all := make([]string, len(names))
	for n, name := range names {
		all[n] = part + "." + name
	}
	return all
}

// fieldNames lists the columns of a shape, those of groups as group.column.
func fieldNames(shape *annona.Shape) []string {
	var names []string
	for _, f := range shape.Columns {
		names = append(names, f.Code)
	}
	for _, g := range shape.Groups {
		for _, name := range fieldNames(g.Shape) {
			names = append(names, g.Field.Code+"."+name)
		}
	}
	return names
}
