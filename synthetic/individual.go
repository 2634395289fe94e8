package synthetic

import "github.com/annona-exchange/annona"

// member writes the record of one person. first is the number of the household's first.
func (w *draft) member(household string, i int, first int64) annona.Record {
	who := &w.people[i]
	w.begin()
	spelled := w.spell(who)
	w.naming(who, spelled)
	w.vitals(who)
	w.occupation(i)
	w.contact(i, first)
	w.sensitive(i)
	record := annona.Record{
		Dataset:       w.registry.datasets.individuals,
		Source:        Source,
		Key:           w.individualKey(first + int64(i)),
		Values:        w.take(),
		Memberships:   []annona.Membership{w.membership(household, i)},
		Relationships: w.relationships(i, first),
	}
	w.individualGroups(i, spelled)
	record.Groups = w.takeGroups()
	return record
}

// vitals writes sex, birth and death.
func (w *draft) vitals(who *person) {
	c := &w.registry.columns.individual
	w.set(c.registrationDate, w.day(max(w.registered, who.born)))
	w.set(c.asOf, w.asOf)
	w.mostly(c.sex, relationOf(who.female, "female", "male"), 0.002)
	w.set(c.born, w.day(who.born))
	w.set(c.precision, who.precision)
	w.recordedBirth(who)
	switch {
	case who.died != 0:
		w.set(c.vitalStatus, "deceased")
		w.set(c.died, w.day(who.died))
	case w.chance(0.004):
		w.set(c.vitalStatus, "unknown")
	default:
		w.set(c.vitalStatus, "alive")
	}
	w.set(c.countryOfBirth, countryCode)
	w.mostly(c.nationality, countryCode, 0.02)
	if w.ageOf(who) < marriageable {
		w.lacks(c.marital, "not_applicable")
	} else {
		w.mostly(c.marital, who.marital, 0.01)
	}
}

// marriageable is the age from which the form asks for the marital status.
const marriageable = 12

func (p *plan) ageOf(who *person) int { return who.born.years(p.surveyed) }

// recordedBirth writes, for some, what stood on the form: always where only an age was stated,
// and for a tradition that has a calendar of its own, in that calendar.
func (w *draft) recordedBirth(who *person) {
	c := &w.registry.columns.individual
	switch {
	case who.precision == "age_stated":
		w.set(c.bornAsRecorded, w.digits("", uint64(w.ageOf(who)), 1))
		return
	case !w.chance(0.3):
		return
	case who.tradition.script == "Ethi":
		w.set(c.calendar, "ethiopic")
		w.set(c.bornAsRecorded, w.partial(who.precision, who.born.ethiopic))
	default:
		w.set(c.calendar, "gregorian")
		w.set(c.bornAsRecorded, w.partial(who.precision, who.born.civil))
	}
}

// partial writes a date as forms have it: day/month/year, as far as it is known.
func (w *draft) partial(precision string, date func() (year, month, day int)) string {
	year, month, dayOfMonth := date()
	mark := w.text.Len()
	if precision == "day" {
		w.pad(uint64(dayOfMonth), 1)
		w.text.WriteByte('/')
	}
	if precision != "year" {
		w.pad(uint64(month), 1)
		w.text.WriteByte('/')
	}
	w.pad(uint64(year), 4)
	return w.since(mark)
}

// contact writes language, phone, mail and the account that benefits go to.
func (w *draft) contact(i int, first int64) {
	c, who := &w.registry.columns.individual, &w.people[i]
	w.set(c.language, who.tradition.language)
	age := w.ageOf(who)
	if age < 15 {
		w.lacks(c.phones, "not_applicable")
		w.lacks(c.emails, "not_applicable")
		return
	}
	if !w.chance(0.3 + 0.6*w.wealth) {
		w.lacks(c.phones, "not_collected")
		w.lacks(c.emails, "not_collected")
		return
	}
	phone := w.phone()
	if w.chance(0.08) {
		w.set(c.phones, w.join(string(rune(annona.ListSeparator)), phone, w.phone()))
	} else {
		w.set(c.phones, phone)
	}
	if w.chance(0.25 * w.wealth) {
		w.set(c.emails, w.join("", w.digits("person-", uint64(first)+uint64(i), 7), "@example.org"))
	}
	if i == 0 && w.chance(0.5) {
		w.set(c.account, phone)
		w.set(c.accountType, "mobile_money")
	}
}

// phone writes a number under +999, a country code that the ITU has given to nobody.
func (w *draft) phone() string { return w.digits("+9997", w.Uint64N(1e8), 8) }

// sensitive writes the special categories. None of the groups exists.
func (w *draft) sensitive(i int) {
	c, who := &w.registry.columns.individual, &w.people[i]
	age := w.ageOf(who)
	switch {
	case who.asked:
		w.set(c.disabled, yesNo(who.isDisabled()))
	case age < askedFrom:
		w.lacks(c.disabled, "not_applicable")
	default:
		w.lacks(c.disabled, "not_collected")
	}
	switch {
	case who.pregnant:
		w.set(c.pregnancy, "pregnant")
	case w.isNursing(i):
		w.set(c.pregnancy, "postpartum")
	case !who.female || age < 15 || age >= 50:
		w.lacks(c.pregnancy, "not_applicable")
	default:
		w.mostly(c.pregnancy, "not_pregnant", 0.15)
	}
	w.mostly(c.displacement, w.displacement, 0.05)
	w.mostly(c.ethnicGroup, ethnicGroups[w.community.tradition], 0.1)
	w.mostly(c.religion, w.religion, 0.15)
}

var (
	ethnicGroups = [...]string{"almaren", "belu", "darvani", "kesh", "nimbari", "oltani", "shuo_lin", "tamori"}
	religions    = weights("hearth_keepers 46 river_way 30 sky_assembly 15 old_stones 5 none 4")
	displacement = weights("idp 60 idp_returnee 15 refugee 17 returnee_from_abroad 5 asylum_seeker 2 stateless 1")
)

// membership joins the person to the household.
func (w *draft) membership(household string, i int) annona.Membership {
	who := &w.people[i]
	m := annona.Membership{
		HouseholdKey:       household,
		Role:               who.role,
		RelationshipToHead: who.relation,
		StartDate:          annona.Date(w.day(max(w.registered, who.born))),
	}
	if who.left != 0 {
		m.StartDate = annona.Date(w.day(min(w.registered, who.left-1)))
		m.EndDate = annona.Date(w.day(who.left))
	}
	switch i {
	case 0:
		m.RecipientType = "primary"
	case 1:
		m.RecipientType = "secondary"
	}
	return m
}

// relationships writes what the person is to others in the household. Relationships end with
// a death.
func (w *draft) relationships(i int, first int64) []annona.Relationship {
	var all []annona.Relationship
	who := &w.people[i]
	add := func(to int, kind string, since day) {
		if to >= len(w.people) {
			return // cut off with the last household
		}
		r := annona.Relationship{ToKey: w.individualKey(first + int64(to)), Type: kind, StartDate: annona.Date(w.day(since))}
		if ended := firstDeath(who, &w.people[to]); ended != 0 && kind != "parent" {
			r.EndDate, r.EndReason = annona.Date(w.day(ended)), "death"
		}
		all = append(all, r)
	}
	if who.partner != nobody && who.partner < len(w.people) {
		other := &w.people[who.partner]
		add(who.partner, "spouse", min(w.surveyed, max(who.born, other.born)+inYears(18)))
	}
	for j := range w.people {
		if child := &w.people[j]; child.mother == i || child.father == i {
			add(j, "parent", child.born)
		}
	}
	for j := who.ward; j < who.ward+who.wards; j++ {
		add(j, "guardian", max(w.registered, w.people[min(j, len(w.people)-1)].born))
	}
	return all
}

// firstDeath returns the day on which the first of two died, 0 while both live.
func firstDeath(a, b *person) day {
	if a.died == 0 || b.died == 0 {
		return max(a.died, b.died)
	}
	return min(a.died, b.died)
}

// individualGroups writes the repeated groups of a person.
func (w *draft) individualGroups(i int, spelled spelling) {
	c, who := &w.registry.columns, &w.people[i]
	w.beginGroup()
	malformed := w.papers(i)
	w.endGroup(c.individual.identifiers)
	w.beginGroup()
	w.transliteration(who, spelled)
	w.endGroup(c.individual.otherNames)
	w.beginGroup()
	w.answers(who)
	w.endGroup(c.individual.functioning)
	w.beginGroup()
	w.certificate(who)
	w.endGroup(c.individual.certificates)
	w.beginGroup()
	if who.precision != "day" {
		w.flag("date_of_birth_estimated", "date_of_birth", w.asOf)
	}
	if malformed {
		w.flag("id_format_invalid", "identifiers", w.asOf)
	}
	w.endGroup(c.individual.qualityFlags)
}

// answers writes the answers about functioning.
func (w *draft) answers(who *person) {
	if !who.asked {
		return
	}
	c := &w.registry.columns.function
	for i, severity := range who.severity {
		w.put(c.domain, domains[i])
		w.put(c.severity, severities[severity])
		w.put(c.asOf, w.asOf)
		w.endItem()
	}
}

var (
	domains    = [6]string{"seeing", "hearing", "walking", "cognition", "self_care", "communication"}
	severities = [4]string{"no_difficulty", "some_difficulty", "a_lot_of_difficulty", "cannot_do"}
)

// certificate writes the legal recognition of a disability, which some have without having
// been asked and most who could have do not.
func (w *draft) certificate(who *person) {
	rate := 0.002
	if who.isDisabled() {
		rate = 0.18
	}
	if !w.chance(rate) {
		return
	}
	c := &w.registry.columns.paper
	w.put(c.grade, grades.draw(w.dice))
	w.put(c.issuer, "National Disability Board")
	if w.chance(0.7) {
		w.put(c.validUntil, w.day(w.surveyed+day(w.between(-400, 1800))))
	}
	w.endItem()
}

var grades = weights("mild 30 moderate 45 severe 25")
