package ingest

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// What a report on the quality of data finds. Those that the report of the import counts as
// quality flags keep the flag's name.
const (
	findKeyMissing        = "key_missing"          // rows without a key
	findKeyTwice          = "key_twice"            // records whose key stood on an earlier row
	findRowRefused        = "row_refused"          // rows that cannot be read
	findColumnEmpty       = "column_empty"         // a column that never holds anything: 1
	findDateFuture        = "date_future"          // a day that has not come yet
	findDateBefore1900    = "date_before_1900"     //
	findDeathBeforeBirth  = "death_before_birth"   //
	findAgeOutOfRange     = "age_out_of_range"     // above maxPlausibleAge on the day of the survey
	findHouseholdNoHead   = "household_no_head"    // members, and none of them the head
	findHouseholdTwoHeads = "household_two_heads"  //
	findHouseholdEmpty    = "household_no_members" // a household that nobody belongs to
	findMemberAlone       = "member_no_household"  // an individual without household
	findIdentifierTwice   = "id_twice"             // an identifier that another record holds too
	findNotLookedAt       = "beyond_memory"        // records of which repeats were not looked for
)

const (
	// maxPlausibleAge is an age that hardly anybody has reached.
	maxPlausibleAge = 120
	// maxRemembered bounds how many keys, households and identifiers are remembered, each, to
	// find those that come again: about 100 MiB for each of the three.
	maxRemembered = 4 << 20
)

// Finding is a number of rows or records about which something is doubtful. It never names a
// value.
type Finding struct {
	Code  string `json:"code"`
	Where string `json:"where,omitempty"` // a field, or a column of an input
	Count int    `json:"count"`
}

// Quality looks at the batches of a read for what no single row shows or no row is refused for.
// It keeps counts and hashes, no values.
type Quality struct {
	today   annona.Date
	repeats bool // households stand on the rows of their members
	roles   bool // some member has a role
	people  bool // the read has individuals
	seed    maphash.Seed
	found   map[Finding]int // by code and place; Count is 0
	keys    map[uint64]struct{}
	homes   map[uint64]home
	holders map[uint64]uint64 // identifier → record
}

// home is what is known of a household.
type home struct{ members, heads uint8 }

// NewQuality looks at what m makes of its sources; today decides what lies in the future.
func NewQuality(m *Mapping, today annona.Date) *Quality {
	return &Quality{
		today: today, seed: maphash.MakeSeed(), found: map[Finding]int{},
		repeats: slices.ContainsFunc(m.inputs, func(in *input) bool { return in.repeats }),
		keys:    map[uint64]struct{}{}, homes: map[uint64]home{}, holders: map[uint64]uint64{},
	}
}

// Look looks at a batch. It keeps nothing of it.
func (q *Quality) Look(b Batch) {
	for i := range b.Households {
		r := &b.Households[i]
		hash := maphash.String(q.seed, r.Key)
		if _, known := q.homes[hash]; !known {
			q.setHome(hash, home{})
		}
		q.record(r)
	}
	for i := range b.Individuals {
		q.individual(&b.Individuals[i])
	}
}

func (q *Quality) individual(r *annona.Record) {
	q.people = true
	hash := maphash.String(q.seed, r.Key)
	if _, twice := q.keys[hash]; twice {
		q.find(findKeyTwice, "individuals", 1)
	} else if len(q.keys) < maxRemembered {
		q.keys[hash] = struct{}{}
	} else {
		q.find(findNotLookedAt, "individuals", 1)
	}
	if len(r.Memberships) == 0 {
		q.find(findMemberAlone, "", 1)
	}
	for _, m := range r.Memberships {
		q.member(m)
	}
	q.record(r)
}

func (q *Quality) member(m annona.Membership) {
	hash := maphash.String(q.seed, m.HouseholdKey)
	h := q.homes[hash]
	if h.members < 2 {
		h.members++
	}
	if m.Role == "head" && h.heads < 2 {
		h.heads++
	}
	q.roles = q.roles || m.Role != ""
	q.setHome(hash, h)
}

func (q *Quality) setHome(hash uint64, h home) {
	if _, known := q.homes[hash]; known || len(q.homes) < maxRemembered {
		q.homes[hash] = h
		return
	}
	q.find(findNotLookedAt, "households", 1)
}

// record looks at the dates and identifiers of a record.
func (q *Quality) record(r *annona.Record) {
	var birth, death, asOf annona.Date
	for _, v := range r.Values {
		if v.Field.Type != annona.TypeDate {
			continue
		}
		q.date(r.Dataset.Name+"."+v.Field.Code, annona.Date(v.Text))
		switch v.Field.Code {
		case "date_of_birth":
			birth = annona.Date(v.Text)
		case "date_of_death":
			death = annona.Date(v.Text)
		case "as_of":
			asOf = annona.Date(v.Text)
		}
	}
	if birth != "" && death != "" && death < birth {
		q.find(findDeathBeforeBirth, "", 1)
	}
	if birth != "" && death == "" && annona.AgeOn(birth, cmp.Or(asOf, q.today)) > maxPlausibleAge {
		q.find(findAgeOutOfRange, "individuals.date_of_birth", 1)
	}
	for _, g := range r.Groups {
		for _, item := range g.Items {
			q.item(r, g.Field, item)
		}
	}
}

func (q *Quality) date(where string, d annona.Date) {
	switch {
	case d > q.today:
		q.find(findDateFuture, where, 1)
	case d < "1900-01-01":
		q.find(findDateBefore1900, where, 1)
	}
}

func (q *Quality) item(r *annona.Record, group *annona.Field, item []annona.Value) {
	var scheme, value string
	for _, v := range item {
		switch {
		case v.Field.Type == annona.TypeDate && v.Field.Code != "valid_until" && v.Field.Code != "since":
			q.date(r.Dataset.Name+"."+group.Code+"."+v.Field.Code, annona.Date(v.Text))
		case v.Field.Code == "scheme":
			scheme = v.Text
		case v.Field.Code == "value":
			value = v.Text
		}
	}
	if group.Code == "identifiers" && value != "" {
		q.identifier(r, scheme, value)
	}
}

// identifier looks whether another record holds it too.
func (q *Quality) identifier(r *annona.Record, scheme, value string) {
	hash := maphash.String(q.seed, r.Dataset.Name+"\x00"+scheme+"\x00"+annona.IdentifierKey(value))
	record := maphash.String(q.seed, r.Key)
	holder, held := q.holders[hash]
	switch {
	case held && holder != record:
		q.find(findIdentifierTwice, r.Dataset.Name+".identifiers."+cmp.Or(scheme, "other"), 1)
	case !held && len(q.holders) < maxRemembered:
		q.holders[hash] = record
	case !held:
		q.find(findNotLookedAt, r.Dataset.Name+".identifiers", 1)
	}
}

func (q *Quality) find(code, where string, count int) {
	if count > 0 {
		q.found[Finding{Code: code, Where: where}] += count
	}
}

// Findings returns what was found, with what the report of the same read counted, by code.
func (q *Quality) Findings(r Report) []Finding {
	found := maps.Clone(q.found)
	q = &Quality{found: found, homes: q.homes, roles: q.roles, people: q.people, repeats: q.repeats}
	q.households()
	q.counted(r)
	list := make([]Finding, 0, len(found))
	for f, count := range found {
		f.Count = count
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Where, b.Where))
	})
	return list
}

// households counts those without a head and those with several. A source that tells no roles
// is not asked for heads.
func (q *Quality) households() {
	for _, h := range q.homes {
		switch {
		case h.members == 0 && q.people:
			q.find(findHouseholdEmpty, "", 1)
		case h.heads == 0 && h.members > 0 && q.roles:
			q.find(findHouseholdNoHead, "", 1)
		case h.heads > 1:
			q.find(findHouseholdTwoHeads, "", 1)
		}
	}
}

// counted takes over what the report counts.
func (q *Quality) counted(r Report) {
	for reason, count := range r.Refused {
		if reason == reasonKeyMissing {
			q.find(findKeyMissing, "", count)
		} else {
			q.find(findRowRefused, reason, count)
		}
	}
	q.find(findKeyTwice, "households", r.Repeated)
	for flag, count := range r.Flags {
		code, field, _ := strings.Cut(flag, ":")
		q.find(code, field, count)
	}
	for fault, count := range r.Dates {
		code, field, _ := strings.Cut(fault, ":")
		q.find(code, field, count)
	}
	for input, columns := range r.Empty {
		for _, column := range columns {
			q.find(findColumnEmpty, input+"."+column, 1)
		}
	}
}

// emptyColumns are the columns of a file that no row has filled so far.
type emptyColumns []int

func allColumns(n int) emptyColumns {
	columns := make(emptyColumns, n)
	for i := range columns {
		columns[i] = i
	}
	return columns
}

// see takes away the columns that the row fills. A file fills most of them in its first rows.
func (e emptyColumns) see(filled func(column int) bool) emptyColumns {
	return slices.DeleteFunc(e, filled)
}

// stayedEmpty notes the columns of a file that no row has filled. One that another file of the
// same input fills is not empty.
func (b *builder) stayedEmpty(in *input, names []string, empty emptyColumns, rows int) {
	if rows == 0 {
		return
	}
	columns := make([]string, 0, len(empty))
	for _, i := range empty {
		columns = append(columns, names[i])
	}
	if before, other := b.report.Empty[in.name]; other {
		columns = slices.DeleteFunc(columns, func(c string) bool { return !slices.Contains(before, c) })
	}
	b.report.Empty[in.name] = columns
}
