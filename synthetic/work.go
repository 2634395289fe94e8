package synthetic

// occupation writes schooling and work.
func (w *draft) occupation(i int) {
	who := &w.people[i]
	age := w.ageOf(who)
	attends := w.schooling(who, age)
	c := &w.registry.columns.individual
	if age < workingAge {
		w.lacks(c.employment, "not_applicable")
		w.lacks(c.statusInEmployment, "not_applicable")
		w.lacks(c.occupation, "not_applicable")
		return
	}
	status := w.employment(who, age, attends)
	w.mostly(c.employment, status, 0.015)
	if status != "employed" {
		w.lacks(c.statusInEmployment, "not_applicable")
		w.lacks(c.occupation, "not_applicable")
		return
	}
	w.mostly(c.statusInEmployment, statusInEmployment.draw(w.dice, w.wealth), 0.03)
	w.mostly(c.occupation, occupations.draw(w.dice, w.wealth), 0.03)
	if w.chance(0.12) {
		w.set(c.incomeAmount, w.decimal(int64(1000+w.wealth*60000*(0.4+w.Float64())), 2))
		w.set(c.incomeCurrency, currency)
		w.set(c.incomePeriod, "month")
	}
}

// workingAge is the age from which the form asks about work.
const workingAge = 15

var (
	statusInEmployment = gradient{
		weights("own_account_worker 50 contributing_family_worker 30 employee 17 cooperative_member 3"),
		weights("employee 68 own_account_worker 20 employer 9 contributing_family_worker 3")}
	occupations = gradient{
		weights("6 58 9 25 5 8 7 6 8 3"),
		weights("2 22 3 16 4 12 1 8 5 22 7 10 8 6 0 2 9 2")}
)

func (w *draft) employment(who *person, age int, attends bool) string {
	works := 0.72
	switch {
	case attends:
		works = 0.08
	case age >= 65:
		works = 0.3
	case age < 20:
		works = 0.4
	}
	if who.female {
		works *= 0.78
	}
	if w.chance(works) {
		return "employed"
	}
	return idle.draw(w.dice)
}

var idle = weights("outside_labor_force 66 unemployed 26 not_employed 7 unknown 1")

// schooling writes the highest level completed and whether the person attends school now.
func (w *draft) schooling(who *person, age int) (attends bool) {
	c := &w.registry.columns.individual
	if age < 3 {
		w.lacks(c.education, "not_applicable")
		w.lacks(c.inSchool, "not_applicable")
		return false
	}
	attends = w.chance(w.attendance(age))
	w.mostly(c.education, w.level(age, attends), 0.02)
	if age < 25 {
		w.mostly(c.inSchool, yesNo(attends), 0.01)
	} else {
		w.mostly(c.inSchool, yesNo(attends), 0.3)
	}
	return attends
}

// attendance is the share of people of that age, in households of that wealth, who attend.
func (w *draft) attendance(age int) float64 {
	switch {
	case age < 6:
		return 0.2 + 0.6*w.wealth
	case age < 13:
		return 0.82 + 0.17*w.wealth
	case age < 16:
		return 0.62 + 0.35*w.wealth
	case age < 19:
		return 0.35 + 0.5*w.wealth
	case age < 25:
		return 0.05 + 0.4*w.wealth
	default:
		return 0.005
	}
}

// level draws the highest level completed by years of schooling: all years so far of those
// who attend, fewer of those who left; the old had fewer schools.
func (w *draft) level(age int, attends bool) string {
	years := min(age-6, 18)
	if !attends {
		years = int(float64(years) * min(1, w.Float64()*(0.5+w.wealth)) * max(0.35, 1-float64(age)/120))
	} else if w.chance(0.3) {
		years -= w.between(1, 2)
	}
	switch {
	case years >= 18:
		return pick(w.dice, []string{"master", "master", "bachelor", "doctoral"})
	case years >= 16:
		return "bachelor"
	case years >= 14:
		return pick(w.dice, []string{"short_cycle_tertiary", "post_secondary_non_tertiary"})
	case years >= 12:
		return "upper_secondary"
	case years >= 9:
		return "lower_secondary"
	case years >= 6:
		return "primary"
	case attends || w.chance(0.3):
		return "early_childhood"
	default:
		return "none"
	}
}
