package exchange

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// A program asks whether somebody takes part in another one, without seeing them. "No" is said of somebody
// whom nobody knows, who does not take part, and who may not be seen: the same queries run for each, and the
// same entry is made.

// EnrolledCheck asks about whoever holds these identifiers.
type EnrolledCheck struct {
	Identifiers []Identifier
	Program     string // one of these two, as the agreement names it
	Group       string
}

// CheckVerdict answers one EnrolledCheck.
type CheckVerdict struct {
	Enrolled string // yes, no or cannot_tell; empty: the row was refused
	Reason   error  // of a refusal: it depends on the row alone, on nobody
}

// The answers. CannotTell: several hold the identifiers, of whom some take part and others do not.
const (
	EnrolledYes        = "yes"
	EnrolledNo         = "no"
	EnrolledCannotTell = "cannot_tell"
)

// The bounds of a check.
const (
	MaxChecks      = 10_000 // in one request
	checksAtOnce   = 500    // rows of one query and one entry
	maxIdentifiers = 10     // of one row
)

// enrolledStates are those in which an enrollment takes somebody's place in a program.
func enrolledStates() []string { return []string{"active", "suspended"} }

// Checked are the answers of one request. Whoever writes them says with Sent how that ended.
type Checked struct {
	ending
	Request  annona.UID
	Verdicts []CheckVerdict // one for each row
}

// CheckEnrolled answers checks. People who are asked about are drawn from what the agreement lets the
// partner ask each day, whether anybody knows them or not. Codes: checks_not_granted, row_ceiling,
// checks_too_many, too_many_rows.
func (x *Exchange) CheckEnrolled(ctx context.Context, caller annona.Caller, purpose string, rows []EnrolledCheck) (*Checked, error) {
	if len(rows) > MaxChecks {
		return nil, annona.TooLarge("too_many_rows", "send at most %d checks at once", MaxChecks)
	}
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbCheckEnrolled, Question{Dataset: "individuals", Purpose: purpose})
	if err != nil {
		return nil, err
	}
	if ceiling := i.grant.RowCeiling; ceiling > 0 && int64(len(rows)) > ceiling {
		return nil, annona.Forbidden("row_ceiling", "your credential may ask about %d people at once", ceiling)
	}
	c := &checks{x: x, caller: caller, i: i, verdicts: make([]CheckVerdict, len(rows))}
	if err := c.draw(ctx, c.read(rows)); err != nil {
		return nil, err
	}
	for _, target := range c.targets {
		for chunk := range slices.Chunk(target.rows, checksAtOnce) {
			if err := c.answer(ctx, target, chunk); err != nil {
				return nil, err
			}
		}
	}
	return &Checked{ending: i.ending(x), Request: i.request, Verdicts: c.verdicts}, nil
}

// checks are those of one request.
type checks struct {
	x        *Exchange
	caller   annona.Caller
	i        *inquiry
	targets  []*checkTarget
	verdicts []CheckVerdict
	entries  int
}

// checkTarget is a program or a group, and who is asked about it.
type checkTarget struct {
	name     string // program/code or group/name
	programs []string
	rows     []checkRow
}

// checkRow is a row in order, with its identifiers under each version of their key.
type checkRow struct {
	at      int
	indexes []annona.IdentifierIndex
}

// read sorts rows by what they ask about, and returns how many people these are: identifiers that are named
// together, each set once.
func (c *checks) read(rows []EnrolledCheck) (people int) {
	targets, asked := map[string]*checkTarget{}, map[[16]byte]bool{}
	for at := range rows {
		name, programs, err := c.programs(&rows[at])
		var indexes []annona.IdentifierIndex
		if err == nil {
			indexes, err = c.indexes(rows[at].Identifiers)
		}
		if err != nil {
			c.verdicts[at].Reason = err
			continue
		}
		t := targets[name]
		if t == nil {
			t = &checkTarget{name: name, programs: programs}
			targets[name] = t
			c.targets = append(c.targets, t)
		}
		t.rows = append(t.rows, checkRow{at: at, indexes: indexes})
		asked[c.person(indexes)] = true
	}
	return len(asked)
}

// programs resolves what a row asks about.
func (c *checks) programs(row *EnrolledCheck) (name string, programs []string, err error) {
	terms := c.i.grant.Agreement.Checks
	switch {
	case (row.Program == "") == (row.Group == ""):
		return "", nil, annona.Invalid("check_malformed", "ask about one program or about one group").On("program")
	case row.Group != "":
		if programs = terms.Groups[row.Group]; len(programs) == 0 {
			return "", nil, annona.Forbidden("program_not_granted", "the agreement names no such group").On("group")
		}
		return "group/" + row.Group, programs, nil
	case !slices.Contains(terms.Programs, row.Program):
		return "", nil, annona.Forbidden("program_not_granted", "the agreement does not let you ask about this program").On("program")
	}
	return "program/" + row.Program, []string{row.Program}, nil
}

func (c *checks) indexes(identifiers []Identifier) (indexes []annona.IdentifierIndex, err error) {
	if len(identifiers) == 0 || len(identifiers) > maxIdentifiers {
		return nil, annona.Invalid("identifier_malformed", "name 1 to %d identifiers of whom you ask about", maxIdentifiers).On("identifiers")
	}
	for _, id := range identifiers {
		some, err := c.x.indexesOf(id)
		if err != nil {
			return nil, err
		}
		indexes = append(indexes, some...)
	}
	return indexes, nil
}

// person tells sets of identifiers apart, in whatever order they were named.
func (c *checks) person(indexes []annona.IdentifierIndex) [16]byte {
	var names []string
	for _, id := range indexes {
		names = append(names, id.Scheme+"\x00"+string(id.Hash))
	}
	slices.Sort(names)
	return c.x.Vault.Digest(appendTexts(nil, slices.Compact(names)...))
}

// draw draws people from those whom the agreement lets the partner ask about each day. Nobody is answered
// when they do not suffice for all. What is drawn says nothing about who is known: unknown people count too.
func (c *checks) draw(ctx context.Context, people int) error {
	if people == 0 || c.x.Buckets == nil {
		return nil
	}
	agreement := c.i.grant.Agreement
	perDay := agreement.Checks.PeoplePerDay
	if perDay == 0 {
		perDay = annona.DefaultPeoplePerDay
	}
	d := annona.Draw{Bucket: "checks " + agreement.Partner.Name, Want: people, Burst: perDay, Every: 24 * time.Hour / time.Duration(perDay), Now: c.x.Clock(), Lasting: true}
	got, _, wait, err := c.x.Buckets.Draw(ctx, d)
	if err != nil || got == people {
		return err
	}
	d.Want, d.Unused = 0, got
	if got > 0 {
		if _, _, _, err := c.x.Buckets.Draw(ctx, d); err != nil {
			return err
		}
		wait = time.Duration(people-got) * d.Every
	}
	return annona.TooMany("checks_too_many", "the agreement lets you ask about %d people each day, and %d more are not left; send fewer, or ask again in %d seconds", perDay, people, int(wait.Seconds())+1)
}

// answer answers a chunk: one query and one entry, whoever is found.
func (c *checks) answer(ctx context.Context, target *checkTarget, rows []checkRow) error {
	var indexes []annona.IdentifierIndex
	var of []int // row of each
	for n, row := range rows {
		indexes = append(indexes, row.indexes...)
		for range row.indexes {
			of = append(of, n)
		}
	}
	var found []annona.Holder
	i, _, err := c.x.readSmall(ctx, c.caller, annona.VerbCheckEnrolled, c.i.question, Form{Format: "json"}, func(i *inquiry, page *annona.Page) (err error) {
		in := annona.Participating{Programs: target.programs, States: enrolledStates()}
		found, page.Epoch, err = c.x.Matters.Holders(ctx, i.scope(i.shape, c.x.today(c.x.Clock())), in, indexes)
		return err
	})
	if err != nil {
		return err
	}
	takes := make([][2]bool, len(rows)) // one who does, one who does not
	var numbers []annona.Number
	for _, h := range found {
		row := of[h.At]
		takes[row][0], takes[row][1] = takes[row][0] || h.Takes, takes[row][1] || !h.Takes
		numbers = append(numbers, h.Number)
	}
	i.request = c.i.request
	c.entries++
	if err := c.x.disclose(ctx, c.entry(i, target, len(rows), numbers)); err != nil {
		return err
	}
	for n, row := range rows {
		c.verdicts[row.at].Enrolled = enrolledWord(takes[n])
	}
	return nil
}

// enrolledWord says what is known of the holders of identifiers. When none of them takes part it is no,
// however many they are: more would tell that they are known.
func enrolledWord(takes [2]bool) string {
	switch takes {
	case [2]bool{true, false}:
		return EnrolledYes
	case [2]bool{true, true}:
		return EnrolledCannotTell
	}
	return EnrolledNo
}

// checkedField is what an answer tells of whoever was found.
const checkedField = "enrollments.status"

func (c *checks) entry(i *inquiry, target *checkTarget, asked int, numbers []annona.Number) annona.LedgerRow {
	facts := i.facts()
	facts.Fields, facts.Rows, facts.Page = []string{checkedField}, int64(asked), c.entries
	facts.Details = map[string]string{"checked": target.name, "asked": strconv.Itoa(asked)}
	var subjects []audit.Subjects
	if len(numbers) > 0 {
		slices.Sort(numbers)
		subjects = []audit.Subjects{{Noun: "individual", Fields: []string{checkedField}, Numbers: slices.Compact(numbers)}}
	}
	return audit.Release(c.x.Clock(), i.request, facts, "", c.caller, subjects)
}
