package exchange

import (
	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// callersFilter compiles the caller's filter and refuses one that would tell what the grant
// hides: it may name only fields that the grant passes unaltered, of records that the caller
// could tell apart without it.
func callersFilter(d *annona.Dictionary, grant *annona.Grant, q Question) (annona.Condition, error) {
	if q.Filter == "" {
		return nil, nil
	}
	dataset, _ := d.Dataset(q.Dataset)
	condition, err := filter.Compile(d, dataset, q.Filter)
	if err != nil {
		return nil, err
	}
	if filter.UsesMembers(condition) && !showsMembers(d, grant) {
		return nil, filterNotGranted("members")
	}
	for leaf := range filter.Leaves(condition) {
		if f, ok := flagsWithheld(d, grant, leaf); ok {
			return nil, filterNotGranted(f.Code)
		}
	}
	for path := range filter.Paths(condition) {
		if err := checkPath(d, grant, dataset, path); err != nil {
			return nil, err
		}
	}
	return condition, nil
}

// wayTo names what leads from a record to one that a path starts from. A filter goes that way
// only where the caller sees it: otherwise it would tell who lives where, or who is the head.
var wayTo = map[annona.Root]string{
	annona.RootHousehold: "household_id",
	annona.RootHead:      "members.role",
	annona.RootMember:    "members",
}

func checkPath(d *annona.Dictionary, grant *annona.Grant, dataset *annona.Dataset, path annona.Path) error {
	if way, ok := wayTo[path.Root]; ok && !grant.Passes(dataset, way) {
		return filterNotGranted(way)
	}
	of, _ := d.Dataset(path.Field.Dataset)
	names := []string{path.Field.Code}
	if isFlags(path.Field) {
		names = []string{path.Field.Code + ".code", path.Field.Code + "." + flagAbout}
	}
	for _, name := range names {
		if !grant.Passes(of, name) {
			return filterNotGranted(name)
		}
	}
	return nil
}

// showsMembers reports whether households show their members under the grant, so that a caller
// can count them.
func showsMembers(d *annona.Dictionary, grant *annona.Grant) bool {
	households, _ := d.Dataset("households")
	individuals, _ := d.Dataset("individuals")
	shown := selector{dictionary: d, grant: grant}.everything(individuals, true)
	return grant.Passes(households, "members") && len(shown.Columns)+len(shown.Groups) > 0
}

func filterNotGranted(name string) error {
	return annona.Forbidden("filter_not_granted",
		"a filter may name only fields that the agreement grants unaltered, of a household or its head only where the agreement shows which and who that is").On(name)
}

// checkPicked refuses to pick rows of the inquiry's dataset by what the caller does not see of them: that a row is there
// would tell it.
func (i *inquiry) checkPicked(fields []string) error {
	of := i.shape.Dataset
	for _, field := range fields {
		if !i.grant.Passes(of, field) {
			return annona.Forbidden("filter_not_granted", "you pick %s by a field that the agreement does not grant unaltered", of.Name).On(field)
		}
	}
	return nil
}
