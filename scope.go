package annona

// Scope is the narrow way in: the rows and fields that one request may reach. Ports for
// personal data take a Scope and have no look-up without one. Only the gate makes scopes;
// a test holds the source to that.
//
// Rows, people and households say what may be seen: they are read on terms.Today, of values as
// they are. Chosen is what the caller picks from that: it is read on terms.AsOf and finds only
// what the scope shows.
type Scope struct {
	dataset    *Dataset
	shape      *Shape
	rows       Condition
	people     Condition
	households Condition
	chosen     Condition
	taking     *Participating
	terms      ScopeTerms
}

// ScopeTerms is what a scope says about the people in it, beside the conditions.
type ScopeTerms struct {
	Purpose   string
	Recipient string // partner name
	Basis     Basis  // consent is required exactly when it is BasisConsent
	AsOf      Date   // ages and memberships are shown and chosen on this day
	Today     Date   // who may be seen is decided on this day
}

// LeftOut is a reason why somebody is not shown.
type LeftOut string

// The reasons. An objection stops nothing where the basis is consent.
const (
	LeftByRestriction  LeftOut = "restriction"
	LeftByObjection    LeftOut = "objection"
	LeftWithoutConsent LeftOut = "no_consent"
)

// NewScope makes a scope over one root dataset. shape says what to fetch. rows must hold for
// each record, people for each individual who is shown or counted inside a household; nil
// conditions hold always. The rows of a scope over individuals include people.
func NewScope(shape *Shape, rows, people Condition, terms ScopeTerms) Scope {
	return Scope{dataset: shape.Dataset, shape: shape, rows: rows, people: people, terms: terms}
}

// WithHouseholds returns the scope in which people are seen in a household only where the
// condition holds of it: elsewhere neither the membership is seen nor what comes through it.
// nil: everywhere.
func (s Scope) WithHouseholds(c Condition) Scope {
	s.households = c
	return s
}

// Choosing returns the scope with what the caller picks from it; nil: all.
func (s Scope) Choosing(c Condition) Scope {
	s.chosen = c
	return s
}

// TakingPart returns the scope of those in it who take part themselves: what the household does in which
// somebody is seen does not count.
func (s Scope) TakingPart(in Participating) Scope {
	s.taking = &in
	return s
}

// Dataset returns the root dataset.
func (s Scope) Dataset() *Dataset { return s.dataset }

// Shape returns what is to be fetched.
func (s Scope) Shape() *Shape { return s.shape }

// Rows returns the condition of the records; nil: all.
func (s Scope) Rows() Condition { return s.rows }

// People returns the condition of individuals inside households; nil: all.
func (s Scope) People() Condition { return s.people }

// Households returns the condition of households in which people are seen; nil: all.
func (s Scope) Households() Condition { return s.households }

// Chosen returns what the caller picks from what the scope shows; nil: all.
func (s Scope) Chosen() Condition { return s.chosen }

// Taking returns how those take part whom the scope picks; nil: it picks others as well.
func (s Scope) Taking() *Participating { return s.taking }

// Terms returns purpose, recipient, basis and days.
func (s Scope) Terms() ScopeTerms { return s.terms }

// Valid reports whether the scope was made by NewScope; ports refuse the zero Scope.
func (s Scope) Valid() bool { return s.shape != nil }
