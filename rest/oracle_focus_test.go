package rest

// focus is where a pair of worlds looks closely: an agreement that withholds all that tells of
// one thing, changes of that thing, and filters that would tell of it. Drawn apart, the three
// would seldom meet.
type focus struct {
	withheld   map[string][]string // by dataset; what else is granted is mostly everything
	conditions map[string][]string // of the agreement, by dataset
	changes    []string
	filters    map[string][]string // by dataset
}

// foci are drawn evenly; the empty one leaves everything to chance.
var foci = []focus{
	{}, {}, {},
	{ // who is the head
		withheld: map[string][]string{
			"individuals": {"role", "role_source_code", "relationship_to_head"},
			"memberships": {"role", "role_source_code", "relationship_to_head"},
			"households":  {"head_individual_id"},
		},
		changes: []string{"a withheld part of a role"},
		filters: map[string][]string{"households": {"head.sex == 'female'", "has(head.date_of_birth)", "!has(head.sex)", "members.exists(m, m.role == 'head')"}},
	},
	{ // who lives with whom
		withheld: map[string][]string{
			"individuals": {"household_id", "role", "role_source_code", "relationship_to_head", "area_code", "memberships"},
			"households":  {"head_individual_id", "member_count", "members"},
		},
		changes: []string{"withheld memberships"},
		filters: map[string][]string{
			"individuals": {"household.poverty_score < 9.6", "has(household.area_code)", "within(household.area_code, 'XA-1')", "has(household.registration_date)", "household.member_count == 1"},
			"households":  {"household.member_count == 1", "members.count(m, true) == 1", "has(head.sex)", "members.exists(m, m.sex == 'female')"},
		},
	},
	{ // numbers on cards
		withheld: map[string][]string{"individuals": {"identifiers"}},
		changes:  []string{"withheld identifiers or flags"},
	},
	{ // doubts
		withheld: map[string][]string{"quality_flags": {"code"}, "individuals": {"date_of_birth", "marital_status"}},
		changes:  []string{"withheld identifiers or flags", "a flag about what is withheld"},
		filters:  flagFilters,
	},
	{
		withheld: map[string][]string{"quality_flags": {"field"}, "households": {"poverty_score"}},
		changes:  []string{"withheld identifiers or flags", "a flag about what is withheld"},
		filters:  flagFilters,
	},
	{ // households that are out of reach
		conditions: map[string][]string{"households": {"household.poverty_score < 9.6", "has(household.registration_date)", "members.exists(m, m.sex == 'female')"}},
		changes:    []string{"a hidden household, edited", "a hidden household, added", "a hidden household, removed"},
		filters: map[string][]string{
			"individuals": {"has(individual.area_code)", "!has(household.poverty_score)", "within(individual.area_code, 'XA-2')", "individual.role == 'head'", "household.member_count >= 1"},
			"households":  {"has(head.area_code)", "members.exists(m, within(m.area_code, 'XA-2'))", "members.exists(m, !has(m.area_code))", "members.all(m, has(m.area_code))"},
		},
	},
	{ // people who are out of reach
		conditions: map[string][]string{"individuals": {"individual.sex == 'female'", "household.poverty_score < 9.6", "age_on(individual.date_of_birth, as_of) >= 18", "has(individual.role)"}},
		changes:    hiddenPeople,
		filters:    peopleFilters,
	},
	{ // people who said no
		changes: append([]string{"what was said to others", "the order of the hidden"}, hiddenPeople...),
		filters: peopleFilters,
	},
}

var hiddenPeople = []string{"a hidden person, edited", "a hidden person, added", "a hidden person, removed"}

var peopleFilters = map[string][]string{
	"individuals": {"household.member_count == 1", "household.member_count >= 2", "household.member_count < 3 && individual.sex == 'female'"},
	"households": {
		"household.member_count == 1", "household.member_count >= 2", "has(head.sex)", "!has(head.date_of_birth)", "head.sex == 'female'",
		"members.count(m, true) == 1", "members.exists(m, m.role == 'head')", "members.all(m, m.sex == 'female')",
	},
}

var flagFilters = map[string][]string{
	"individuals": {"'no_head' in household.quality_flags", "'id_disputed' in individual.quality_flags", "'code_unmapped' in individual.quality_flags", "'date_of_birth_estimated' in individual.quality_flags"},
	"households":  {"'no_head' in household.quality_flags", "'survey_stale' in household.quality_flags", "members.exists(m, 'no_head' in m.quality_flags)", "'value_malformed' in household.quality_flags"},
}
