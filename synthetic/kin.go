package synthetic

// stranger draws somebody of that age who is not related to anybody yet.
func (p *plan) stranger(female bool, age int) person {
	t := p.tradition
	return person{
		tradition: t, female: female, born: p.birth(age), marital: "never_married",
		mother: nobody, father: nobody, partner: nobody,
		name: p.lineage(t, female),
	}
}

func (p *plan) lineage(t *tradition, female bool) lineage {
	l := lineage{given: p.givenName(t, female), father: &t.male[p.IntN(len(t.male))], grandfather: &t.male[p.IntN(len(t.male))]}
	if len(t.family) > 0 {
		l.family = &t.family[p.IntN(len(t.family))]
	}
	if t.chain == givenFamily && p.chance(0.15) {
		l.second = p.givenName(t, female)
	}
	return l
}

func (p *plan) givenName(t *tradition, female bool) *name {
	names := t.given(female)
	return &names[p.IntN(len(names))]
}

// birth draws a day of birth of somebody who has completed about that many years.
func (p *plan) birth(age int) day {
	return p.surveyed - inYears(float64(age)) - day(p.IntN(365))
}

func (p *plan) age(i int) int { return p.people[i].born.years(p.surveyed) }

// join adds a person and returns the position.
func (p *plan) join(who person, role, relation string) int {
	who.role, who.relation = role, relation
	p.people = append(p.people, who)
	return len(p.people) - 1
}

// couple draws a head of that age and the spouse. Most heads are men.
func (p *plan) couple(age int) (mother, father int) {
	husband := p.stranger(false, age)
	wife := p.stranger(true, max(17, age-p.between(-2, 9)))
	p.wed(&husband, &wife)
	return p.enter(husband, wife)
}

func (p *plan) wed(husband, wife *person) {
	status := "married"
	if p.chance(0.2) {
		status = "consensual_union"
	}
	husband.marital, wife.marital = status, status
	if t := wife.tradition; !t.keeps && t.family != nil && status == "married" && p.chance(0.85) {
		wife.name.birthFamily, wife.name.family = wife.name.family, husband.name.family
	}
}

// enter puts a couple at the head of the household.
func (p *plan) enter(husband, wife person) (mother, father int) {
	if p.chance(0.1) {
		mother = p.join(wife, "head", "SELF")
		father = p.join(husband, "spouse", spouseRelation(husband))
	} else {
		father = p.join(husband, "head", "SELF")
		mother = p.join(wife, "spouse", spouseRelation(wife))
	}
	p.people[mother].partner, p.people[father].partner = father, mother
	return mother, father
}

func spouseRelation(of person) string {
	switch {
	case of.marital == "consensual_union":
		return "DOMPART"
	case of.female:
		return "WIFE"
	default:
		return "HUSB"
	}
}

func (p *plan) childrenOf(mother, father int) { p.bear(mother, father, "child", most) }

// bear draws the children of a mother who live with her, oldest first, at most limit.
func (p *plan) bear(mother, father int, role string, limit int) {
	m := p.people[mother]
	line := p.lineOf(mother, father)
	limit = min(limit, 1+p.IntN(7-int(3*p.wealth)))
	at := m.born + inYears(float64(16+p.IntN(10)+p.IntN(4)))
	if p.chance(0.04) {
		at -= 300
	}
	last := min(p.surveyed, m.born+inYears(45))
	for ; at < last && limit > 0 && len(p.people) < most; at += day(420 + p.IntN(1300)) {
		if father != nobody && at-p.people[father].born < inYears(16) {
			continue
		}
		if !p.staysHome(at.years(p.surveyed)) {
			continue
		}
		child := p.child(m.tradition, line, at)
		child.mother, child.father = mother, father
		p.join(child, role, descent(role, child.female, p.chance(0.015)))
		limit--
		if p.chance(0.015) && limit > 0 {
			twin := p.child(m.tradition, line, at)
			twin.mother, twin.father = mother, father
			p.join(twin, role, descent(role, twin.female, false))
			limit--
		}
	}
}

// staysHome is false for children who live elsewhere: most who are grown up.
func (p *plan) staysHome(age int) bool {
	switch {
	case age < 18:
		return p.chance(0.94)
	case age < 25:
		return p.chance(0.45)
	default:
		return p.chance(0.1)
	}
}

// lineOf returns the names that the children of these parents bear. An absent father is
// drawn, the same for all of them.
func (p *plan) lineOf(mother, father int) lineage {
	if father != nobody {
		f := p.people[father].name
		return lineage{father: f.given, grandfather: f.father, family: f.family}
	}
	m := &p.people[mother]
	line := p.lineage(m.tradition, false)
	line.second = nil
	if p.chance(0.7) && m.name.family != nil {
		line.family = m.name.family
	}
	return line
}

func (p *plan) child(t *tradition, line lineage, born day) person {
	female := p.chance(0.488)
	line.given = p.givenName(t, female)
	if t.chain == givenFamily && p.chance(0.15) {
		line.second = p.givenName(t, female)
	}
	return person{
		tradition: t, name: line, female: female, born: born, marital: "never_married",
		mother: nobody, father: nobody, partner: nobody,
	}
}

// descent returns the fine code of a child or grandchild of the head.
func descent(role string, female, adopted bool) string {
	switch {
	case role == "grandchild" && female:
		return "GRNDDAU"
	case role == "grandchild":
		return "GRNDSON"
	case adopted && female:
		return "DAUADOPT"
	case adopted:
		return "SONADOPT"
	case female:
		return "DAU"
	default:
		return "SON"
	}
}
