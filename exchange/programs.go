package exchange

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Programs are reference data: what enrollments, benefits and eligibility decisions name. Nothing about
// anybody stands in them.

var (
	programCode   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	cycleStatuses = []string{"planned", "open", "closed", "cancelled"}
	assistedUnits = []string{"individual", "household", "family"}
)

// The bounds of a program.
const (
	maxProgramCode = 60     // bytes
	maxProgram     = 64_000 // bytes of all that it says
	maxCycles      = 500
)

// ApplyProgram puts the next version of a program on file, and says which one holds. The same again
// changes nothing. Codes: program_malformed, unknown_code.
func (x *Exchange) ApplyProgram(ctx context.Context, caller annona.Caller, p annona.Program) (version int, changed bool, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, false, err
	}
	if err := checkProgram(x.CurrentDictionary(), &p); err != nil {
		return 0, false, err
	}
	last, err := x.Programs.Program(ctx, p.Code)
	if err != nil {
		return 0, false, err
	}
	if last != nil {
		same, err := saysTheSame(*last, p)
		if err != nil || same {
			return last.Version, false, err
		}
		if err := keepsCycles(last, &p); err != nil {
			return 0, false, err
		}
		p.Version = last.Version
	}
	p.Version, p.PutAt = p.Version+1, x.Clock().UTC()
	return p.Version, true, x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutProgram(ctx, p); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbApplyProgram, Details: map[string]string{
			"program": p.Code, "version": strconv.Itoa(p.Version),
		}}))
	})
}

func saysTheSame(a, b annona.Program) (bool, error) {
	a.Version, a.PutAt = b.Version, b.PutAt
	one, err := json.Marshal(a)
	if err != nil {
		return false, annona.Internal("compare programs", err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		return false, annona.Internal("compare programs", err)
	}
	return slices.Equal(one, other), nil
}

// keepsCycles refuses a program without a cycle that it had: enrollments name it.
func keepsCycles(last, next *annona.Program) error {
	for _, c := range last.Cycles {
		if _, kept := next.Cycle(c.Code); !kept {
			return annona.Conflict("cycle_removed", "enrollments may name this cycle; leave it there, closed or cancelled").On(c.Code)
		}
	}
	return nil
}

// checkProgram refuses a program that contradicts itself or the dictionary.
func checkProgram(d *annona.Dictionary, p *annona.Program) error {
	bad := func(field, message string) error {
		return annona.Invalid("program_malformed", "%s", message).On(field)
	}
	switch {
	case !programCode.MatchString(p.Code) || len(p.Code) > maxProgramCode:
		return bad("code", "a program has a code of lower-case letters, digits and hyphens, of at most 60 characters")
	case len(p.Names) == 0:
		return bad("names", "a program has a name, by language: {en: Cash transfer}")
	case !slices.Contains(assistedUnits, p.AssistanceUnit):
		return bad("assistance_unit", "whom a program assists is individual, household or family")
	case !isDayOrNone(p.StartDate) || !isDayOrNone(p.EndDate) || p.EndDate != "" && p.EndDate < p.StartDate:
		return bad("end_date", "start_date and end_date are days written 2006-01-02, in that order")
	case p.Ceiling < 0:
		return bad("beneficiary_ceiling", "a ceiling is a number from 0; 0 states none")
	case len(p.Cycles) > maxCycles:
		return bad("cycles", "a program has at most 500 cycles")
	}
	if text, err := json.Marshal(p); err != nil || len(text) > maxProgram {
		return annona.TooLarge("program_too_large", "a program has at most %d bytes", maxProgram)
	}
	types, _ := d.CodeList("benefit_type")
	for _, t := range p.BenefitTypes {
		if !types.Has(t) {
			return annona.Invalid("unknown_code", "benefit_types are codes of the list benefit_type").On("benefit_types")
		}
	}
	if err := checkCycles(p); err != nil {
		return err
	}
	return checkCodeMap(d, p)
}

func checkCycles(p *annona.Program) error {
	seen := map[string]bool{}
	for _, c := range p.Cycles {
		switch {
		case !annona.IsCode(c.Code) || len(c.Code) > maxProgramCode || seen[c.Code]:
			return annona.Invalid("program_malformed", "each cycle has a code of its own, of at most 60 characters").On("cycles")
		case !isDay(c.Start) || !isDay(c.End) || c.End < c.Start:
			return annona.Invalid("program_malformed", "a cycle has period_start and period_end, days written 2006-01-02, in that order").On(c.Code)
		case !slices.Contains(cycleStatuses, c.Status):
			return annona.Invalid("program_malformed", "the status of a cycle is planned, open, closed or cancelled").On(c.Code)
		}
		for _, ceiling := range c.Ceilings {
			if ceiling < 0 {
				return annona.Invalid("program_malformed", "a ceiling is a number from 0").On(c.Code)
			}
		}
		seen[c.Code] = true
	}
	return nil
}

// checkCodeMap refuses own codes of what is no list, and for codes that no list has.
func checkCodeMap(d *annona.Dictionary, p *annona.Program) error {
	for list, codes := range p.Codes {
		of, known := d.CodeList(list)
		if !known {
			return annona.Invalid("unknown_code", "code_map names code lists of the dictionary").On(list)
		}
		for own, canonical := range codes {
			if !annona.IsCode(own) || !of.Has(canonical) {
				return annona.Invalid("unknown_code", "code_map leads from codes of the program to codes of the list").On(list)
			}
		}
	}
	return nil
}

func isDay(day annona.Date) bool { _, err := annona.ParseDate(string(day)); return err == nil }

func isDayOrNone(day annona.Date) bool { return day == "" || isDay(day) }

// ProgramsOnFile returns the version of each program that holds, in order of code. Whoever asks may know.
func (x *Exchange) ProgramsOnFile(ctx context.Context) ([]annona.Program, error) {
	return x.Programs.Programs(ctx)
}

// ProgramOnFile returns the version of a program that holds.
func (x *Exchange) ProgramOnFile(ctx context.Context, code string) (*annona.Program, error) {
	p, err := x.Programs.Program(ctx, code)
	if err == nil && p == nil {
		err = annona.NotFound("no program of this code is on file").On("program")
	}
	return p, err
}
