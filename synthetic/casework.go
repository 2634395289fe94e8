package synthetic

import "iter"

// A Case is one that a case system brings: as far as it has come, with its plan and its visits.
type Case struct {
	Name            string     `json:"source_case_id"`
	Individual      string     `json:"individual_id,omitempty"`
	Household       string     `json:"household_id,omitempty"`
	Type            string     `json:"case_type"`
	Programs        []string   `json:"programs,omitempty"`
	Phase           string     `json:"phase"`
	Priority        string     `json:"priority"`
	Risk            string     `json:"risk_level,omitempty"`
	Origin          string     `json:"origin"`
	Team            string     `json:"team"`
	Worker          string     `json:"worker"`
	Opened          string     `json:"opened_date"`
	Due             string     `json:"due_date,omitempty"`
	NextReview      string     `json:"next_review_date,omitempty"`
	Closed          string     `json:"closed_date,omitempty"`
	ClosureReason   string     `json:"closure_reason,omitempty"`
	Outcome         string     `json:"outcome,omitempty"`
	Summary         string     `json:"closure_summary,omitempty"`
	Confidentiality string     `json:"confidentiality"`
	Plan            []PlanItem `json:"plan_items,omitempty"`
	Visits          []Visit    `json:"visits,omitempty"`

	notes []CaseNote
}

// A PlanItem is something that is to be done.
type PlanItem struct {
	Item     string `json:"item"`
	Service  string `json:"service"`
	Provider string `json:"provider"`
	Status   string `json:"status"`
	Due      string `json:"due_date"`
	Done     string `json:"done_date,omitempty"`
}

// A Visit is one that was made, or is to be made.
type Visit struct {
	Item    string `json:"item"`
	Kind    string `json:"kind"`
	Planned string `json:"planned_date"`
	Visited string `json:"visited_date,omitempty"`
	Result  string `json:"result,omitempty"`
}

// A CaseNote is a note of a case, which stands on file before it.
type CaseNote struct {
	Case         string `json:"source_case_id"`
	Name         string `json:"source_note_id"`
	Kind         string `json:"kind"`
	Text         string `json:"text"`
	Confidential bool   `json:"confidential,omitempty"`
	Author       string `json:"author"`
}

// Cases yields the cases that the country's one case system keeps.
func (r *Registry) Cases() iter.Seq[Case] {
	return func(yield func(Case) bool) {
		p := &participating{dice: newDice(), registry: r}
		for h := range r.Households() {
			p.begin(&h, forCases)
			if p.chance(r.country.Cases) && !yield(p.open()) {
				return
			}
		}
	}
}

// CaseNotes yields the notes of the cases.
func (r *Registry) CaseNotes() iter.Seq[CaseNote] {
	return func(yield func(CaseNote) bool) {
		for c := range r.Cases() {
			for _, note := range c.notes {
				if !yield(note) {
					return
				}
			}
		}
	}
}

var (
	caseTypes  = weights("social_support 40 child_protection 14 disability 12 elderly_care 8 documentation 10 emergency 5 health 5 violence 4 staff_complaint 2")
	phases     = weights("intake 15 assessment 15 planning 10 implementation 35 review 10 closed 15")
	priorities = weights("low 30 medium 45 high 20 critical 5")
	origins    = weights("walk_in 25 referral 25 outreach 30 enrollment 15 grievance 5")
	services   = weights("counselling 4 home_visit 5 cash_support 3 health_care 3 legal_aid 1 education 3 documentation 2")
	closures   = weights("goals_met 60 withdrawn 10 moved_away 15 unreachable 10 other 5")
	outcomes   = weights("improved 55 unchanged 30 worsened 5 unknown 10")
	visitKinds = weights("home 6 office 3 phone 2")
	results    = weights("met 7 not_met 2 postponed 1")
)

// sensitive are the types of which already that there is a case tells something.
var sensitive = map[string]bool{"health": true, "violence": true, "staff_complaint": true}

var remarks = [...]string{
	"The roof leaks; the younger child sleeps in the kitchen. Asked about the school fees.",
	"Nobody was at home. A neighbor says that they are back on Friday.",
	"Explained the next steps. They have understood, and agree.",
	"The papers are still with the district office: \"come back next week\".",
	"Parlé avec la grand-mère; elle garde les deux petits pendant la journée.",
}

// open draws a case of the household, or of somebody in it.
func (p *participating) open() Case {
	opened := p.registry.asOf - day(20+p.IntN(700))
	c := Case{
		Name: "C-" + p.house.Record.Key[1:], Type: caseTypes.draw(p.dice), Phase: phases.draw(p.dice), Priority: priorities.draw(p.dice),
		Origin: origins.draw(p.dice), Team: "team-" + string(rune('a'+p.IntN(4))), Worker: "worker-" + string(rune('a'+p.IntN(20))),
		Opened: written(opened), Confidentiality: "normal",
	}
	if who := p.IntN(2 * len(p.house.Members)); who < len(p.house.Members) || !p.inhabited() {
		who %= len(p.house.Members)
		c.Individual = p.house.Members[who].Key
	} else {
		c.Household = p.house.Record.Key
	}
	if sensitive[c.Type] || p.chance(0.02) {
		c.Confidentiality = "restricted"
	}
	if c.Type == "social_support" {
		c.Programs = []string{cashTransfer}
	}
	p.pursue(&c, opened)
	return c
}

// pursue draws what has become of the case.
func (p *participating) pursue(c *Case, opened day) {
	if c.Phase == "intake" {
		c.Due = written(opened + 14)
		return
	}
	p.note(c)
	if c.Phase == "assessment" {
		c.Due = written(opened + 30)
		return
	}
	c.Risk = priorities.draw(p.dice)
	for n := range 1 + p.IntN(3) {
		due := opened + day(30+20*n)
		item := PlanItem{Item: "P" + string(rune('1'+n)), Service: services.draw(p.dice), Provider: "District social welfare office", Status: "planned", Due: written(due)}
		if c.Phase != "planning" && due < p.registry.asOf && p.chance(0.7) {
			item.Status, item.Done = "done", item.Due
		}
		c.Plan = append(c.Plan, item)
	}
	for n := range p.IntN(3) {
		planned := opened + day(10+25*n)
		visit := Visit{Item: "V" + string(rune('1'+n)), Kind: visitKinds.draw(p.dice), Planned: written(planned)}
		if planned < p.registry.asOf {
			visit.Visited, visit.Result = visit.Planned, results.draw(p.dice)
		}
		c.Visits = append(c.Visits, visit)
	}
	if c.Phase != "closed" {
		c.NextReview = written(p.registry.asOf + day(p.IntN(90)))
		return
	}
	c.Closed = written(min(p.registry.asOf, opened+120))
	c.ClosureReason, c.Outcome = closures.draw(p.dice), outcomes.draw(p.dice)
	c.Summary = "What was planned is done, as far as it could be."
}

func (p *participating) note(c *Case) {
	kind := "observation"
	if p.chance(0.4) {
		kind = "call"
	}
	c.notes = append(c.notes, CaseNote{Case: c.Name, Name: "N-" + c.Name[2:], Kind: kind, Text: pick(p.dice, remarks[:]), Confidential: p.chance(0.1), Author: c.Worker})
}
