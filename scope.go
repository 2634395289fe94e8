package annona

// Scope is the narrow way in: the rows and fields that one request may reach. Ports for
// personal data take a Scope and have no look-up without one. Only the gate makes scopes;
// a test holds the source to that.
type Scope struct {
	dataset *Dataset
	shape   *Shape
	rows    Condition
	people  Condition
	terms   ScopeTerms
}

// ScopeTerms is what a scope says about the people in it, beside the conditions.
type ScopeTerms struct {
	Purpose   string
	Recipient string // partner name
	Basis     Basis  // consent is required exactly when it is BasisConsent
	AsOf      Date   // ages, memberships and expiries are read on this day
	Today     Date   // consents and restrictions are read on this day
	Unbounded bool   // the operator's own scope: consent, objection and restriction do not apply
}

// NewScope makes a scope over one root dataset. shape says what to fetch. rows must hold for
// each record, people for each individual who is shown or counted inside a household; nil
// conditions hold always. The rows of a scope over individuals include people.
func NewScope(shape *Shape, rows, people Condition, terms ScopeTerms) Scope {
	return Scope{dataset: shape.Dataset, shape: shape, rows: rows, people: people, terms: terms}
}

// Dataset returns the root dataset.
func (s Scope) Dataset() *Dataset { return s.dataset }

// Shape returns what is to be fetched.
func (s Scope) Shape() *Shape { return s.shape }

// Rows returns the condition of the records; nil: all.
func (s Scope) Rows() Condition { return s.rows }

// People returns the condition of individuals inside households; nil: all.
func (s Scope) People() Condition { return s.people }

// Terms returns purpose, recipient, basis and days.
func (s Scope) Terms() ScopeTerms { return s.terms }

// Valid reports whether the scope was made by NewScope; ports refuse the zero Scope.
func (s Scope) Valid() bool { return s.shape != nil }
