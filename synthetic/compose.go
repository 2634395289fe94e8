package synthetic

import "math"

// person is a member of a household before anything but birth and kinship is known.
type person struct {
	tradition *tradition
	name      lineage
	female    bool
	born      day // as recorded: when it is imprecise, the middle of the span
	precision string
	died      day // 0: not that anybody knows
	left      day // 0: still a member
	marital   string
	role      string
	relation  string // fine code of the relationship to the head
	mother    int    // position in the household, or nobody
	father    int
	partner   int
	ward      int    // position of the one this person is guardian of; the wards follow each other
	wards     int    // how many of them there are
	identity  uint64 // drives the identity number; two records of one person may share it
	copied    int64  // number of the original when this is a second registration of the same person, else 0
	severity  [6]uint8
	asked     bool // whether the questions about functioning were put
	pregnant  bool
}

// nobody stands where a mother, a father or a partner is not in the household.
const nobody = -1

// lineage are the parts of a name. The second father is the grandfather.
type lineage struct{ given, second, father, grandfather, family, birthFamily *name }

// most is the largest household.
const most = 24

// plan is a household before it is written down: where it lives and who is in it.
type plan struct {
	dice
	registry   *Registry
	number     uint64
	community  *community
	tradition  *tradition
	surveyed   day
	registered day
	wealth     float64 // 0 the poorest, 1 the richest
	people     []person
	// what all members have in common
	displacement, religion string
}

// kinds of households and their shares. The mean size that follows is about four.
var kinds = weights("nuclear 440 couple 55 lone_mother 150 lone_father 18 extended 190 single 78 elderly 42 grandparents 24 siblings 3")

// compose draws the household of that number.
func (p *plan) compose(number uint64) {
	r := p.registry
	p.seed(r.country.Seed, number)
	p.number, p.people = number, p.people[:0]
	p.community = &r.atlas.communities[pick(p.dice, r.atlas.homes)]
	p.tradition = &r.traditions[p.community.tradition]
	if p.chance(0.2) {
		p.tradition = &r.traditions[p.IntN(len(r.traditions))]
	}
	p.surveyed = r.asOf - day(p.IntN(4*365))
	p.registered = p.surveyed
	if p.chance(0.25) {
		p.registered -= day(p.IntN(5 * 365))
	}
	p.wealth = min(1, max(0, p.community.wealth+0.16*p.NormFloat64()))
	p.settle(kinds.draw(p.dice))
	p.finish()
}

// settle brings the people of a household together.
func (p *plan) settle(kind string) {
	switch kind {
	case "nuclear":
		p.childrenOf(p.couple(20 + p.IntN(20) + p.IntN(22)))
	case "couple":
		p.couple(19 + p.IntN(14))
	case "lone_mother":
		p.loneMother()
	case "lone_father":
		p.loneFather()
	case "extended":
		p.extended()
	case "single":
		p.single(19 + p.IntN(40) + p.IntN(30))
	case "elderly":
		p.couple(63 + p.IntN(24))
	case "grandparents":
		p.grandparents()
	case "siblings":
		p.siblings()
	}
	if p.chance(0.02) {
		p.join(p.stranger(p.chance(0.6), 15+p.IntN(35)), "non_relative", "")
	}
}

// finish draws what does not depend on kinship: how well the dates of birth are known, who
// has died since, and the answers about functioning.
func (p *plan) finish() {
	if p.chance(noHead) {
		p.people[0].role, p.people[0].relation = "", ""
	}
	asked := p.surveyed > p.registry.asOf-3*365 // the questions came onto the form a year after the first surveys
	for i := range p.people {
		who := &p.people[i]
		who.identity = p.number*(most+1) + uint64(i)
		p.blur(who)
		p.dieSince(who)
		p.answer(who, asked && p.chance(0.95))
		p.expect(who)
	}
	p.religion, p.displacement = religions.draw(p.dice), "resident"
	if p.community.displaced && p.chance(0.3) || p.chance(0.003) {
		p.displacement = displacement.draw(p.dice)
	}
}

// expect decides who is pregnant.
func (p *plan) expect(who *person) {
	rate := 0.01
	if who.partner != nobody {
		rate = 0.09
	}
	age := p.ageOf(who)
	who.pregnant = who.female && who.died == 0 && age >= 15 && age < 45 && p.chance(rate)
}

// isNursing reports whether a woman has a child below one year of age.
func (p *plan) isNursing(i int) bool {
	for j := range p.people {
		if p.people[j].mother == i && p.age(j) < 1 {
			return true
		}
	}
	return false
}

// blur decides how well the date of birth is known, and puts the middle of the span in its
// place. The old know it least.
func (p *plan) blur(who *person) {
	age := who.born.years(p.surveyed)
	vague := math.Max(0.01, float64(age-12)*0.008)
	who.precision = "day"
	switch {
	case age < 2 || !p.chance(vague):
		return
	case p.chance(0.15):
		who.precision = "month"
	case p.chance(0.65):
		who.precision = "year"
	default:
		who.precision = "age_stated"
		who.born = p.surveyed.midpointOfAge(age)
		return
	}
	who.born = who.born.midpoint(who.precision)
}

// dieSince lets a member die between the survey and today.
func (p *plan) dieSince(who *person) {
	span := int(p.registry.asOf - p.surveyed)
	age := who.born.years(p.surveyed)
	if who.died != 0 || span < 2 || !p.chance(0.0006+math.Pow(float64(age)/100, 4)*0.08) {
		return
	}
	who.died = p.surveyed + 1 + day(p.IntN(span-1))
}

// answer draws the six answers of the Washington Group short set, for those who are old
// enough to be asked.
func (p *plan) answer(who *person, asked bool) {
	age := who.born.years(p.surveyed)
	who.asked = asked && age >= askedFrom
	if !who.asked {
		return
	}
	frailty := 0.02 + math.Pow(float64(age)/100, 2)*0.35
	for i := range who.severity {
		u := p.Float64()
		switch {
		case u < frailty*0.03:
			who.severity[i] = 3
		case u < frailty*0.17:
			who.severity[i] = 2
		case u < frailty*1.6:
			who.severity[i] = 1
		default:
			who.severity[i] = 0
		}
	}
}

// isDisabled is the rule of the Washington Group: a lot of difficulty in at least one domain.
func (p *person) isDisabled() bool {
	for _, s := range p.severity {
		if s >= 2 {
			return true
		}
	}
	return false
}
