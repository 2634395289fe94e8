package synthetic

// loneMother draws a mother without a husband and her children. Of some widows the late
// husband is still on file.
func (p *plan) loneMother() {
	age := 18 + p.IntN(25) + p.IntN(25)
	husband := p.stranger(false, age+p.between(0, 10))
	wife := p.stranger(true, age)
	p.wed(&husband, &wife)
	wife.marital = p.alone(age)
	mother := p.join(wife, "head", "SELF")
	father := nobody
	if wife.marital == "widowed" && p.chance(0.3) {
		husband.died = p.surveyed - day(30+p.IntN(3*365))
		husband.left = husband.died
		husband.partner = mother
		father = p.join(husband, "spouse", "HUSB")
		p.people[mother].partner = father
	}
	p.childrenOf(mother, father)
	p.dropLateBirths(father)
}

// alone draws why somebody of that age lives without a partner.
func (p *plan) alone(age int) string {
	switch {
	case age >= 45:
		return widowed.draw(p.dice)
	case age >= 21:
		return separated.draw(p.dice)
	default:
		return "never_married"
	}
}

var (
	widowed   = weights("widowed 62 divorced 17 legally_separated 11 never_married 8 annulled 1 unmarried 1")
	separated = weights("never_married 38 divorced 25 widowed 15 legally_separated 17 unmarried 4 annulled 1")
)

// dropLateBirths removes the father of children born more than nine months after his death.
func (p *plan) dropLateBirths(father int) {
	if father == nobody {
		return
	}
	for i := range p.people {
		if c := &p.people[i]; c.father == father && c.born > p.people[father].died+270 {
			c.father = nobody
		}
	}
}

func (p *plan) loneFather() {
	age := 28 + p.IntN(35)
	father := p.stranger(false, age)
	father.marital = p.alone(max(age, 21))
	at := p.join(father, "head", "SELF")
	line := p.lineOf(nobody, at)
	born := father.born + inYears(float64(19+p.IntN(8)))
	for range 1 + p.IntN(3) {
		if born < p.surveyed && born.years(p.surveyed) < 22 {
			child := p.child(father.tradition, line, born)
			child.father = at
			p.join(child, "child", descent("child", child.female, false))
		}
		born += day(420 + p.IntN(1300))
	}
}

func (p *plan) single(age int) {
	who := p.stranger(p.chance(0.55), age)
	who.marital = p.alone(age)
	p.join(who, "head", "SELF")
}

// extended draws a couple with children and further relatives.
func (p *plan) extended() {
	mother, father := p.couple(24 + p.IntN(18) + p.IntN(22))
	p.childrenOf(mother, father)
	head := 0
	if p.chance(0.5) {
		p.parentOf(head, true)
	}
	if p.chance(0.2) {
		p.parentOf(head, false)
	}
	if p.chance(0.4) {
		p.siblingOf(head)
	}
	p.grandchildren()
	if p.chance(0.3) {
		p.youngRelative()
	}
}

// parentOf adds a parent of the head, who is named after the father.
func (p *plan) parentOf(head int, female bool) {
	h := p.people[head]
	born := h.born - inYears(float64(17+p.IntN(20)))
	if p.surveyed-born > inYears(98) {
		return
	}
	parent := p.stranger(female, 0)
	parent.born, parent.marital = born, p.alone(max(45, born.years(p.surveyed)))
	parent.tradition = h.tradition
	parent.name = p.lineage(h.tradition, female)
	if !female {
		parent.name.given, parent.name.father, parent.name.family = h.name.father, h.name.grandfather, h.name.family
	}
	at := p.join(parent, "parent", relationOf(female, "MTH", "FTH"))
	if female {
		p.people[head].mother = at
		return
	}
	p.people[head].father = at
	if other := p.people[head].mother; other != nobody {
		p.people[at].marital, p.people[other].marital = "married", "married"
		p.people[at].partner, p.people[other].partner = other, at
	}
}

func relationOf(female bool, hers, his string) string {
	if female {
		return hers
	}
	return his
}

func (p *plan) siblingOf(head int) {
	h := p.people[head]
	sibling := p.child(h.tradition, lineage{father: h.name.father, grandfather: h.name.grandfather, family: h.name.family}, 0)
	sibling.born = p.birth(12 + p.IntN(30))
	for _, parent := range [2]int{h.mother, h.father} {
		if parent == nobody {
			continue
		}
		gap := sibling.born - p.people[parent].born
		if gap < inYears(16) || gap > inYears(60) || p.people[parent].female && gap > inYears(45) {
			return
		}
	}
	sibling.mother, sibling.father = h.mother, h.father
	p.join(sibling, "sibling", relationOf(sibling.female, "SIS", "BRO"))
}

// grandchildren gives a grown daughter of the head children of her own.
func (p *plan) grandchildren() {
	for i := range p.people {
		if c := p.people[i]; c.role == "child" && c.female && p.age(i) >= 18 && p.chance(0.5) {
			p.people[i].marital = p.alone(max(21, p.age(i)))
			p.bear(i, nobody, "grandchild", 3)
			return
		}
	}
}

func (p *plan) youngRelative() {
	who := p.stranger(p.chance(0.5), 4+p.IntN(20))
	relation := "COUSN"
	if p.chance(0.7) {
		relation = relationOf(who.female, "NEICE", "NEPHEW") // spelled as the list spells it
	}
	p.join(who, "other_relative", relation)
}

// grandparents draws a household in which the middle generation lives elsewhere.
func (p *plan) grandparents() {
	age := 50 + p.IntN(25)
	var mother, father int
	if p.chance(0.5) {
		mother, father = p.couple(age)
	} else {
		p.single(age)
		mother, father = 0, nobody
	}
	elder := p.people[max(mother, 0)]
	line := p.lineOf(mother, father)
	line.grandfather, line.father = line.father, p.givenName(elder.tradition, false)
	first := len(p.people)
	for range 1 + p.IntN(4) {
		child := p.child(elder.tradition, line, p.birth(p.IntN(15)))
		p.join(child, "grandchild", descent("grandchild", child.female, false))
	}
	p.people[0].ward, p.people[0].wards = first, len(p.people)-first
}

// siblings draws orphans who live by themselves.
func (p *plan) siblings() {
	eldest := p.child(p.tradition, p.lineage(p.tradition, false), p.birth(13+p.IntN(5)))
	p.join(eldest, "head", "SELF")
	line := lineage{father: eldest.name.father, grandfather: eldest.name.grandfather, family: eldest.name.family}
	for born, n := eldest.born+500, p.between(1, 3); n > 0 && born < p.surveyed; n-- {
		child := p.child(p.tradition, line, born)
		p.join(child, "sibling", relationOf(child.female, "SIS", "BRO"))
		born += day(500 + p.IntN(900))
	}
	p.people[0].ward, p.people[0].wards = 1, len(p.people)-1
}
