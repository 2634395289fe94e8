package exchange

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

var specName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){0,59}$`)

// PutExportSpec checks a specification under its agreement and puts its next version on file, from the
// next export on. The same again changes nothing, unless the specification was dropped.
func (x *Exchange) PutExportSpec(ctx context.Context, caller annona.Caller, spec annona.ExportSpec) (version int, changed bool, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, false, err
	}
	if _, err := x.CheckExportSpec(ctx, caller, spec); err != nil {
		return 0, false, err
	}
	last, err := x.ExportSpecs.ExportSpec(ctx, spec.Name, 0)
	if err != nil {
		return 0, false, err
	}
	spec.Version = 1
	if last != nil {
		if last.Agreement != spec.Agreement {
			return 0, false, annona.Conflict("spec_of_another", "a specification of this name is on file for another agreement").On("name")
		}
		if sameSpec(last, &spec) && !last.Dropped {
			return last.Version, false, nil
		}
		spec.Version = last.Version + 1
	}
	spec.PutAt, spec.Dropped = time.Time{}, false
	p := x.specProposal(spec)
	p.shows, err = x.overTheLine(ctx, &spec)
	switch {
	case err != nil:
		return 0, false, err
	case len(p.shows) > 0:
		p.shows = append(p.shows, specShows(last, &spec)...)
		return spec.Version, true, x.submit(ctx, caller, p)
	}
	return spec.Version, true, x.Writer.Update(ctx, func(tx annona.Tx) error { return p.put(ctx, tx, caller, consent{}) })
}

// specProposal is a specification that was checked, as its next version.
func (x *Exchange) specProposal(spec annona.ExportSpec) proposal {
	return proposal{kind: annona.ApproveSpec, object: spec.Name, agreement: spec.Agreement, base: spec.Version - 1, body: spec,
		put: func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
			spec.PutAt = x.Clock().UTC()
			if err := tx.PutExportSpec(ctx, spec); err != nil {
				return err
			}
			details := map[string]string{"specification": spec.Name, "version": strconv.Itoa(spec.Version)}
			if how.approval != (annona.UID{}) {
				details = how.note(details)
			}
			return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbPutSpec, Agreement: spec.Agreement, Purpose: spec.Purpose, Dataset: spec.Dataset, Details: details}))
		}}
}

// CheckExportSpec checks a specification as if its client had the strongest credential, and returns the
// columns that an export by it has.
func (x *Exchange) CheckExportSpec(ctx context.Context, caller annona.Caller, spec annona.ExportSpec) (*annona.Shape, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	return x.checkSpec(ctx, spec)
}

func (x *Exchange) checkSpec(ctx context.Context, spec annona.ExportSpec) (*annona.Shape, error) {
	if !specName.MatchString(spec.Name) {
		return nil, annona.Invalid("spec_name", "a specification has a name of lower-case letters, digits and hyphens, at most 60 characters long").On("name")
	}
	grant, err := x.strongestGrant(ctx, &spec)
	if err != nil {
		return nil, err
	}
	compiled, err := compileSpec(x.CurrentDictionary(), grant, &spec, surroundings{})
	if err != nil {
		return nil, err
	}
	if err := x.checkFiles(&spec); err != nil {
		return nil, err
	}
	if err := x.checkSchedule(ctx, &spec); err != nil {
		return nil, err
	}
	if _, err := callersFilter(x.CurrentDictionary(), grant, questionOf(&spec)); err != nil {
		return nil, err
	}
	_, err = x.asOf(spec.AsOf)
	return compiled.shown, err
}

// strongestGrant is what a specification's agreement grants for it to the strongest credential.
func (x *Exchange) strongestGrant(ctx context.Context, spec *annona.ExportSpec) (*annona.Grant, error) {
	agreement, err := x.Standings.Agreement(ctx, spec.Agreement)
	if err != nil {
		return nil, err
	}
	if agreement == nil {
		return nil, annona.NotFound("no agreement of this name is on file; apply it first: annona agreement apply").On("agreement")
	}
	terms, err := x.compiledTerms(agreement)
	if err != nil {
		return nil, err
	}
	strongest := annona.Caller{Strength: annona.StrengthSenderConstrained, Agreement: spec.Agreement}
	shipped := policy.Shipped() // what a role leaves of it is for each export to say
	roles, err := policy.CompilePolicy(&shipped, x.CurrentDictionary())
	if err != nil {
		return nil, err
	}
	return policy.Decide(terms, roles, policy.Request{Caller: strongest, Verb: annona.VerbExport, Dataset: spec.Dataset, Purpose: spec.Purpose, Today: x.today(x.Clock())})
}

// DropExportSpec lets no export follow a specification any more. Its versions stay on file: the ledger
// names them.
func (x *Exchange) DropExportSpec(ctx context.Context, caller annona.Caller, name string) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	spec, err := x.ExportSpecs.ExportSpec(ctx, name, 0)
	switch {
	case err != nil:
		return err
	case spec == nil:
		return errNoSpec
	case spec.Dropped:
		return nil
	}
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.DropExportSpec(ctx, name); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbDropSpec, Agreement: spec.Agreement, Details: map[string]string{"specification": name}}))
	})
}

var errNoSpec = annona.NotFound("no export specification of this name and version is on file, or it is not one of your agreement").On("specification")

// ShowExportSpec returns a version of a specification, 0 the latest: to the operator any, to a client
// those of its agreement that are not dropped.
func (x *Exchange) ShowExportSpec(ctx context.Context, caller annona.Caller, name string, version int) (annona.ExportSpec, error) {
	if err := x.knows(ctx, caller); err != nil {
		return annona.ExportSpec{}, err
	}
	spec, err := x.ExportSpecs.ExportSpec(ctx, name, version)
	if err != nil {
		return annona.ExportSpec{}, err
	}
	if spec == nil || !caller.IsOperator() && (spec.Agreement != caller.Agreement || spec.Dropped) {
		return annona.ExportSpec{}, errNoSpec
	}
	return *spec, nil
}

// ListExportSpecs returns the latest version of each specification, by name: to the operator all of
// them, to a client those of its agreement that are not dropped.
func (x *Exchange) ListExportSpecs(ctx context.Context, caller annona.Caller) ([]annona.ExportSpec, error) {
	if err := x.knows(ctx, caller); err != nil {
		return nil, err
	}
	if caller.IsOperator() {
		return x.ExportSpecs.ExportSpecs(ctx, "")
	}
	all, err := x.ExportSpecs.ExportSpecs(ctx, caller.Agreement)
	return slices.DeleteFunc(all, func(s annona.ExportSpec) bool { return s.Dropped }), err
}

// knows refuses a client whose credential or agreement does not hold at this moment.
func (x *Exchange) knows(ctx context.Context, caller annona.Caller) error {
	if caller.IsOperator() {
		return nil
	}
	_, err := x.standing(ctx, x.Standings, caller)
	return err
}

// ExportBySpec decides and narrows an export as a specification of the caller's agreement says; version
// 0 is the latest one. Its columns are those of the specification.
func (x *Exchange) ExportBySpec(ctx context.Context, caller annona.Caller, name string, version int) (*Export, annona.ExportSpec, error) {
	spec, err := x.ShowExportSpec(ctx, caller, name, version)
	if err != nil {
		return nil, spec, err
	}
	e, err := x.export(ctx, caller, questionOf(&spec), Form{Format: spec.Format, Layout: spec.Layout, Spec: spec.Name + "@" + strconv.Itoa(spec.Version)}, &spec)
	return e, spec, err
}
