package synthetic

import "github.com/annona-exchange/annona"

// describe writes the household down. first is the number of its first individual.
func (p *plan) describe(first int64) Household {
	w := &draft{plan: p}
	w.text.Grow(768 + 512*len(p.people))
	w.values = make([]annona.Value, 0, 96+72*len(p.people))
	w.items = make([][]annona.Value, 0, 4+12*len(p.people))
	w.groups = make([]annona.GroupItems, 0, 4+6*len(p.people))
	w.asOf = w.day(p.surveyed)

	h := Household{Record: w.household(), Members: make([]annona.Record, len(p.people))}
	for i := range p.people {
		h.Members[i] = w.member(h.Record.Key, i, first)
	}
	for i := range p.people {
		if original := p.people[i].copied; original != 0 {
			h.Duplicates = append(h.Duplicates, Duplicate{Key: h.Members[i].Key, Of: w.individualKey(original)})
		}
	}
	return h
}

func (w *draft) individualKey(number int64) string { return w.digits("I", uint64(number), 7) }

func (w *draft) household() annona.Record {
	w.begin()
	w.whereabouts()
	score, band := w.poverty()
	w.living()
	w.health()
	record := annona.Record{
		Dataset: w.registry.datasets.households,
		Source:  Source,
		Key:     w.digits("H", w.number, 6),
		Values:  w.take(),
	}
	w.householdGroups(score, band)
	record.Groups = w.takeGroups()
	return record
}

// whereabouts writes when the household was registered and where it lives.
func (w *draft) whereabouts() {
	c, at := &w.registry.columns.household, w.community
	w.set(c.status, "active")
	w.set(c.registrationDate, w.day(w.registered))
	w.set(c.asOf, w.asOf)
	w.set(c.householdType, "household")
	w.set(c.formationDate, w.day(w.formed()))
	w.set(c.area, at.area)
	w.set(c.district, at.district)
	w.set(c.region, at.region)
	w.set(c.country, countryCode)
	w.mostly(c.settlement, at.settlement, 0.01)
	w.address()
	if w.chance(0.85) {
		w.set(c.latitude, w.decimal(degrees(at.latitude+0.04*(w.Float64()-0.5)), 5))
		w.set(c.longitude, w.decimal(degrees(at.longitude+0.04*(w.Float64()-0.5)), 5))
	}
}

// degrees scales to five digits, about one meter.
func degrees(x float64) int64 { return int64(x * 1e5) }

func (w *draft) address() {
	c, at := &w.registry.columns.household, w.community
	var line, postalCode string
	switch {
	case at.settlement != "rural":
		line = w.join(" ", w.digits("", uint64(1+w.IntN(240)), 1), pick(w.dice, streets[:]))
		postalCode = w.digits("", uint64(10000+w.IntN(89999)), 5)
	default:
		line = w.join(" ", pick(w.dice, landmarks[:]), w.digits("", uint64(1+w.IntN(60)), 1))
	}
	w.set(c.line1, line)
	if w.chance(0.08) {
		w.set(c.line2, pick(w.dice, details[:]))
	}
	w.set(c.locality, at.name)
	w.set(c.postalCode, postalCode)
	w.set(c.fullAddress, w.join(", ", line, at.name, postalCode))
}

var (
	streets   = [...]string{"Market Street", "Rue de l'Église", "Harbour Road", "Avenida São João", "Mosque Lane", "Station Road", "Kołłątaja", "Old Mill Road", "Teachers' Quarters", "Independence Avenue"}
	landmarks = [...]string{"Compound", "House behind the well,", "Plot", "Near the grain store,", "Upper village,", "By the river, house", "Opposite the clinic, house"}
	details   = [...]string{"Floor 2", "Room 4", "c/o the headmaster", "Block C", "Back yard"}
)

// formed returns the day on which the household came to be: some years after its head grew up.
func (w *draft) formed() day {
	years := max(1, w.age(0)-18)
	return w.surveyed - day(1+w.IntN(365*min(years, 40)))
}

// poverty writes the score of the proxy means test, 0 for the poorest to 100, which follows
// the wealth of the household with some error. It returns the score and its band; none of three in a
// hundred households.
func (w *draft) poverty() (score, band string) {
	c := &w.registry.columns.household
	if w.chance(0.03) {
		return "", ""
	}
	hundredths := int64(10000 * (0.9*w.wealth + 0.05 + 0.06*w.NormFloat64()))
	score, band = w.decimal(min(10000, max(0, hundredths)), 2), bandOf(hundredths)
	w.set(c.score, score)
	w.set(c.scoreType, "pmt")
	w.set(c.band, band)
	w.set(c.scoreDate, w.asOf)
	return score, band
}

func bandOf(hundredths int64) string {
	switch {
	case hundredths < 2000:
		return "extreme_poor"
	case hundredths < 4000:
		return "poor"
	case hundredths < 6000:
		return "vulnerable"
	default:
		return "not_poor"
	}
}

// health writes what the household answered about the health of its members.
func (w *draft) health() {
	c := &w.registry.columns.household
	count := 0
	for i := range w.people {
		if w.people[i].pregnant || w.isNursing(i) {
			count++
		}
	}
	w.mostly(c.pregnantCount, w.digits("", uint64(count), 1), 0.03)
	w.mostly(c.chronicIllness, yesNo(w.chance(0.12)), 0.06)
}

// householdGroups writes the household's identifiers, assessments and quality flags.
func (w *draft) householdGroups(score, band string) {
	c := &w.registry.columns
	w.beginGroup()
	w.identifier("household_id_number", w.householdNumber(), "", "checked")
	w.endGroup(c.household.identifiers)

	stale := w.surveyed + validity
	w.beginGroup()
	if score != "" {
		a := &c.assessment
		w.put(a.instrument, "pmt")
		w.put(a.version, "3")
		w.put(a.collectedAt, w.asOf)
		w.put(a.mode, "self")
		w.put(a.status, "complete")
		w.put(a.validUntil, w.day(stale))
		w.put(a.score, score)
		w.put(a.band, band)
		w.put(a.formula, "pmt-2022.1")
		w.endItem()
	}
	w.endGroup(c.household.assessments)

	w.beginGroup()
	if w.people[0].role == "" {
		w.flag("no_head", "", w.day(w.registered))
	}
	if stale < w.registry.asOf {
		w.flag("survey_stale", "", w.day(stale+1))
	}
	w.endGroup(c.household.qualityFlags)
}

// validity is how many days an assessment may be used.
const validity = 3 * 365

func (w *draft) householdNumber() string { return w.digits("HH-", w.number, 8) }
