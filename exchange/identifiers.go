package exchange

import (
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// identifierValue is the field that flags about identifiers are about.
const identifierValue = "identifiers.value"

// checkIdentifiers flags a record with an identifier that is not of the form of its declared type, and
// reports whether it has one. The flag has no day: it is part of what the source reports, so that
// the same report stays the same.
func (x *Exchange) checkIdentifiers(r *annona.Record) bool {
	d := x.CurrentDictionary()
	misfits := func(item []annona.Value) bool {
		scheme, value := valueOf(item, "scheme"), valueOf(item, "value")
		return scheme != "" && value != "" && !d.FitsType(scheme, value)
	}
	if !slices.ContainsFunc(groupOf(r, "identifiers"), misfits) {
		return false
	}
	flagged := func(item []annona.Value) bool {
		return valueOf(item, "code") == flagMisfit && valueOf(item, flagAbout) == identifierValue
	}
	if !slices.ContainsFunc(groupOf(r, "quality_flags"), flagged) {
		x.raise(r, flagMisfit, identifierValue)
	}
	return true
}

// raise adds a flag to what is reported. The source's own groups stay as they are.
func (x *Exchange) raise(r *annona.Record, code, about string) {
	flag := x.flag(r.Dataset, code, about, time.Time{})
	groups := slices.Clone(r.Groups)
	at := slices.IndexFunc(groups, func(g annona.GroupItems) bool { return g.Field.Code == "quality_flags" })
	if at < 0 {
		at, groups = len(groups), append(groups, annona.GroupItems{Field: flag.group})
	}
	groups[at].Items = append(slices.Clone(groups[at].Items), flag.items...)
	r.Groups = groups
}
