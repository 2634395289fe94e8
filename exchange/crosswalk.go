package exchange

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// ApplyCrosswalk puts in force what the codes of a source mean, from the next load on. The same
// again changes nothing; anything else has a later version.
func (x *Exchange) ApplyCrosswalk(ctx context.Context, caller annona.Caller, c annona.Crosswalk) (changed bool, err error) {
	if err := operatorOnly(caller); err != nil {
		return false, err
	}
	if err := checkCrosswalk(x.CurrentDictionary(), c); err != nil {
		return false, err
	}
	onFile, err := x.Reference.Crosswalks(ctx)
	if err != nil {
		return false, err
	}
	for _, o := range onFile {
		if o.Source == c.Source && o.List == c.List && o.Version == c.Version && maps.Equal(o.Codes, c.Codes) {
			return false, nil
		}
	}
	c.AppliedAt = x.Clock().UTC()
	return true, x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutCrosswalk(ctx, c); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbApplyCrosswalk, Details: map[string]string{
			"source": c.Source, "list": c.List, "version": strconv.Itoa(c.Version), "codes": strconv.Itoa(len(c.Codes)),
		}}))
	})
}

func checkCrosswalk(d *annona.Dictionary, c annona.Crosswalk) error {
	list, known := d.CodeList(c.List)
	switch {
	case c.Source == "" || c.Version < 1 || len(c.Codes) == 0:
		return annona.Invalid("crosswalk_malformed", "a crosswalk names its source, has a version from 1 and at least one code").On(c.List)
	case !known:
		return annona.Invalid("unknown_code_list", "the dictionary has no such code list").On(c.List)
	}
	for _, from := range slices.Sorted(maps.Keys(c.Codes)) {
		if to := c.Codes[from]; to == "" || !list.Has(to) {
			return annona.Invalid("unknown_code", "the crosswalk leads to a code that is not in the list %s", c.List).On(to)
		}
	}
	return nil
}

// A value without a meaning may be anything, also what somebody wrote into the wrong column. So only
// what looks like a code, and comes again and again, is kept by name.
const (
	leastRepeats = 5  // of a code in one load
	longestCode  = 40 // bytes
	mostWords    = 4
	mostDigits   = 4 // in a row: numbers of people are longer
)

// NoteUnmapped adds what a load has met to the list of codes without a meaning. The empty code
// stands for what the load has counted and not named.
func (x *Exchange) NoteUnmapped(ctx context.Context, caller annona.Caller, met []annona.Unmapped) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	return x.noteUnmapped(ctx, met)
}

// NoteUnmapped adds what the load has met to the list of codes without a meaning.
func (l *Loading) NoteUnmapped(ctx context.Context, met []annona.Unmapped) error {
	return l.x.noteUnmapped(ctx, met)
}

func (x *Exchange) noteUnmapped(ctx context.Context, met []annona.Unmapped) error {
	if len(met) == 0 {
		return nil
	}
	type place struct{ source, field string }
	now := x.Clock().UTC()
	rest := map[place]int64{}
	var named []annona.Unmapped
	for _, u := range met {
		u.FirstAt = now
		if u.Times >= leastRepeats && looksLikeCode(u.Code) {
			named = append(named, u)
			continue
		}
		rest[place{u.Source, u.Field}] += u.Times
	}
	for p, times := range rest {
		if times > 0 {
			named = append(named, annona.Unmapped{Source: p.source, Field: p.field, Times: times, FirstAt: now})
		}
	}
	slices.SortFunc(named, func(a, b annona.Unmapped) int {
		return strings.Compare(a.Source+"\x00"+a.Field+"\x00"+a.Code, b.Source+"\x00"+b.Field+"\x00"+b.Code)
	})
	return x.Writer.Update(ctx, func(tx annona.Tx) error { return tx.CountUnmapped(ctx, named) })
}

func looksLikeCode(code string) bool {
	if code == "" || len(code) > longestCode || len(strings.Fields(code)) > mostWords || strings.ContainsAny(code, "@\n\t") {
		return false
	}
	digits := 0
	for _, r := range annona.PlainDigits(code) {
		if r < '0' || r > '9' {
			digits = 0
			continue
		}
		if digits++; digits > mostDigits {
			return false
		}
	}
	return true
}

// Unmapped lists the codes without a meaning that loads have met, of one source when it is named.
func (x *Exchange) Unmapped(ctx context.Context, caller annona.Caller, source string) ([]annona.Unmapped, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	return x.Reference.Unmapped(ctx, source)
}
