package synthetic

import (
	"encoding/json"
	"io"
	"iter"
	"slices"

	"github.com/annona-exchange/annona"
)

// The programs of the country. Their files lie in examples/programs.
const (
	cashTransfer   = "cash-transfer"   // households below the line
	childBenefit   = "child-benefit"   // children below six, each for themselves
	girlsEducation = "girls-education" // girls from twelve to seventeen
)

// cycle is the round of each program in which payments are made.
const cycle = "2026-1"

// An Enrollment is one report of a program about somebody. Keys name people and households as Source
// does; members have the names that a report of enrollments has.
type Enrollment struct {
	Name         string `json:"source_enrollment_id"`
	Program      string `json:"program"`
	Cycle        string `json:"cycle"`
	Individual   string `json:"individual_id,omitempty"`
	Household    string `json:"household_id,omitempty"`
	Status       string `json:"status"`
	StatusDate   string `json:"status_date"`
	StatusReason string `json:"status_reason,omitempty"`
	Rank         int    `json:"rank,omitempty"`
	Priority     string `json:"priority_group,omitempty"`
	ExitReason   string `json:"exit_reason,omitempty"`
}

// A Benefit is what an enrollment gives for two months, with the attempts to pay it.
type Benefit struct {
	Name        string    `json:"source_benefit_id"`
	Enrollment  string    `json:"source_enrollment_id"`
	Cycle       string    `json:"cycle"`
	Type        string    `json:"benefit_type"`
	Amount      string    `json:"amount"`
	Currency    string    `json:"currency"`
	PeriodStart string    `json:"period_start"`
	PeriodEnd   string    `json:"period_end"`
	Status      string    `json:"entitlement_status"`
	Channel     string    `json:"delivery_channel"`
	Payments    []Payment `json:"payments,omitempty"`
}

// A Payment is one attempt.
type Payment struct {
	Reference   string `json:"reference"`
	Attempt     int    `json:"attempt"`
	Amount      string `json:"amount"`
	Status      string `json:"status"`
	PaidAt      string `json:"paid_at,omitempty"`
	CollectedAt string `json:"collected_at,omitempty"`
	FailureCode string `json:"failure_code,omitempty"`
}

// part is one enrollment with all that became of it.
type part struct {
	reports  []Enrollment // in their order; each moves it on
	benefits []Benefit
}

// parts draws who of the country takes part in what. The dice of a household are its own, and others
// than those that it was drawn with: a country is the same with programs and without.
func (r *Registry) parts() iter.Seq[part] {
	return func(yield func(part) bool) {
		p := &participating{dice: newDice(), registry: r}
		for h := range r.Households() {
			p.begin(&h, forPrograms)
			for _, one := range p.household() {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// Streams of dice, beside that of the households themselves.
const (
	forPrograms = 1 + iota
	forCases
)

// participating draws for one household after the other.
type participating struct {
	dice
	registry *Registry
	house    *Household
	number   uint64
}

// begin takes up a household, whose key ends in its number.
func (p *participating) begin(h *Household, stream uint64) {
	p.house, p.number = h, 0
	for _, digit := range h.Record.Key[1:] {
		p.number = 10*p.number + uint64(digit-'0')
	}
	p.seed(mix(p.registry.country.Seed+stream), p.number)
}

// chances are those of a household to be in a program, by poverty band.
var chances = map[string]float64{"extreme_poor": 0.75, "poor": 0.4, "vulnerable": 0.03}

func (p *participating) household() (all []part) {
	band := textOf(&p.house.Record, "poverty_band")
	if p.chance(chances[band]) && p.inhabited() {
		e := Enrollment{Name: "CT-" + p.house.Record.Key[1:], Program: cashTransfer, Household: p.house.Record.Key}
		all = append(all, p.take(e, "240", "cash", ""))
	}
	for i := range p.house.Members {
		who := &p.house.Members[i]
		age, died := p.ageOf(who), textOf(who, "date_of_death")
		switch {
		case age < 6 && p.chance(0.8*chances[band]):
			e := Enrollment{Name: "CB-" + who.Key[1:], Program: childBenefit, Individual: who.Key}
			all = append(all, p.take(e, "60", "cash", died))
		case age >= 12 && age < 18 && textOf(who, "sex") == "female" && p.chance(0.7*chances[band]):
			e := Enrollment{Name: "GE-" + who.Key[1:], Program: girlsEducation, Individual: who.Key}
			all = append(all, p.take(e, "90.5", "fee_waiver", died))
		}
	}
	return all
}

// inhabited reports whether somebody lives in the household: one of nobody is seen by nobody.
func (p *participating) inhabited() bool {
	for i := range p.house.Members {
		who := &p.house.Members[i]
		left := slices.ContainsFunc(who.Memberships, func(m annona.Membership) bool { return m.EndDate != "" })
		if !left && textOf(who, "date_of_death") == "" {
			return true
		}
	}
	return false
}

// ageOf is the age in completed years; 200 where nobody knows when somebody was born.
func (p *participating) ageOf(who *annona.Record) int {
	born := textOf(who, "date_of_birth")
	if born == "" {
		return 200
	}
	return dayOf(annona.Date(born)).years(p.registry.asOf)
}

func textOf(r *annona.Record, code string) string {
	for i := range r.Values {
		if r.Values[i].Field.Code == code {
			return r.Values[i].Text
		}
	}
	return ""
}

var (
	courses   = weights("active 62 waitlisted 14 suspended 5 closed 11 graduated 5 pending_verification 3")
	exits     = weights("voluntary_withdrawal 15 non_compliance 20 ineligibility 40 relocation 15 administrative 10")
	reasons   = weights("payment_account_missing 4 conditions_missed 4 under_review 2")
	groups    = weights("children_under_two 4 disability 2 general 6")
	delivered = weights("mobile_money 6 bank_transfer 2 cash 3")
	failures  = weights("account_closed 3 name_mismatch 2 network 5")
)

// take draws the course of an enrollment, up to the death of whom it is about, if that is known.
func (p *participating) take(e Enrollment, amount, benefit, died string) part {
	e.Cycle = cycle
	course := courses.draw(p.dice)
	if died != "" {
		course = "died"
	}
	began := p.registry.asOf - day(200+p.IntN(900))
	settled := began + day(60+p.IntN(100))
	first, later := e, e
	first.StatusDate, later.StatusDate = written(began), written(settled)
	first.Status, later.Status = "active", course
	reports := []Enrollment{first}
	switch course {
	case "waitlisted":
		reports[0].Status, reports[0].Rank, reports[0].Priority = course, 1+p.IntN(5000), groups.draw(p.dice)
	case "pending_verification":
		reports[0].Status = course
	case "suspended":
		later.StatusReason = reasons.draw(p.dice)
		reports = append(reports, later)
	case "closed":
		later.ExitReason = exits.draw(p.dice)
		reports = append(reports, later)
	case "graduated":
		reports = append(reports, later)
	case "died":
		later.Status, later.ExitReason = "closed", "death"
		later.StatusDate = max(first.StatusDate, died)
		reports = append(reports, later)
	default:
		if p.chance(0.4) { // from the waiting list
			reports[0].Status, reports[0].Rank = "waitlisted", 1+p.IntN(5000)
			reports = append(reports, later)
		}
	}
	taken := part{reports: reports}
	if last := reports[len(reports)-1]; last.Status != "waitlisted" && last.Status != "pending_verification" {
		taken.benefits = p.benefits(e, settled, amount, benefit)
	}
	return taken
}

// benefits draws one to three benefits of two months each, from a day on.
func (p *participating) benefits(e Enrollment, from day, amount, benefit string) (all []Benefit) {
	channel := delivered.draw(p.dice)
	if benefit != "cash" {
		channel = "other"
	}
	for n := range 1 + p.IntN(3) {
		start := from + day(61*n)
		if start+61 >= p.registry.asOf {
			break
		}
		name := e.Name + "-" + string(rune('1'+n))
		b := Benefit{Name: name, Enrollment: e.Name, Cycle: cycle, Type: benefit, Amount: amount, Currency: currency,
			PeriodStart: written(start), PeriodEnd: written(start + 60), Channel: channel}
		b.Status, b.Payments = p.payments(name, amount, start)
		all = append(all, b)
	}
	return all
}

// payments draws the attempts to deliver one benefit: most succeed at once.
func (p *participating) payments(name, amount string, on day) (status string, all []Payment) {
	if p.chance(0.04) {
		return "approved", nil
	}
	if p.chance(0.08) {
		all = append(all, Payment{Reference: name + "-A1", Attempt: 1, Amount: amount, Status: "failed", FailureCode: failures.draw(p.dice)})
		if p.chance(0.2) {
			return "approved", all
		}
	}
	paid := Payment{Attempt: len(all) + 1, Amount: amount, Status: "paid", PaidAt: written(on+3) + "T09:00:00.000Z"}
	paid.Reference = name + "-A" + string(rune('0'+paid.Attempt))
	if p.chance(0.9) {
		paid.CollectedAt = written(on+3+day(p.IntN(9))) + "T15:30:00.000Z"
	}
	return "fulfilled", append(all, paid)
}

func written(d day) string { return string(d.append(nil)) }

// Enrollments yields what the programs report of enrollments: where each one began, and behind all of
// these how those went on that have moved since. It goes through the country twice.
func (r *Registry) Enrollments() iter.Seq[Enrollment] {
	return func(yield func(Enrollment) bool) {
		for one := range r.parts() {
			if !yield(one.reports[0]) {
				return
			}
		}
		for one := range r.parts() {
			for _, later := range one.reports[1:] {
				if !yield(later) {
					return
				}
			}
		}
	}
}

// Benefits yields what the programs report of benefits. It needs the enrollments on file.
func (r *Registry) Benefits() iter.Seq[Benefit] {
	return func(yield func(Benefit) bool) {
		for one := range r.parts() {
			for _, b := range one.benefits {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// WriteReports writes rows as NDJSON, as the exchange takes them; only that keys of Source stand where
// a partner has ids.
func WriteReports[T any](w io.Writer, rows iter.Seq[T]) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for row := range rows {
		if err := lines.Encode(row); err != nil {
			return err
		}
	}
	return nil
}
