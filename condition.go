package annona

// Condition is a node of the filter language's tree: And, Or, Not, Compare, Age, In, Has,
// Within, Exists or Count. Package filter makes it from text and evaluates it; each store
// lowers it to its own SQL. Truth has two values: a comparison with an absent value is
// false, its negation true.
type Condition interface{ condition() }

// Root says whose field a path names.
type Root uint8

// The roots of a path, as seen from the record that the condition is about.
const (
	RootSelf      Root = iota // the record itself: individual.x on individuals, household.x on households
	RootHousehold             // the one primary active household of an individual
	RootHead                  // the head of a household
	RootMember                // the member that the enclosing Exists or Count speaks of
)

// Path names one field. Only fields with FilterRange stand in a path.
type Path struct {
	Root  Root
	Field *Field
}

// Op is a comparison.
type Op uint8

// The comparisons. Text compares by its bytes.
const (
	Equal Op = iota
	NotEqual
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
)

// Constant is a value in a condition: canonical text, and for numbers the scaled integer
// (bool: 0 or 1).
type Constant struct {
	Text string
	Int  int64
}

// IsNumeric reports whether constants of that type compare by Int.
func (t Type) IsNumeric() bool { return t == TypeInt || t == TypeDec || t == TypeBool }

type (
	// And holds when all hold; an empty And is true.
	And []Condition
	// Or holds when one holds; an empty Or is false.
	Or []Condition
	// Not negates.
	Not struct{ Of Condition }
	// Compare compares a field with a constant. A field with many values is compared by
	// In only.
	Compare struct {
		Path  Path
		Op    Op
		Value Constant
	}
	// Age compares the completed years since a date field, on the scope's as-of date.
	Age struct {
		Path  Path
		Op    Op
		Years int
	}
	// In holds when the field has one of the values; of a field with many values, when one
	// of its values is among them.
	In struct {
		Path   Path
		Values []Constant
	}
	// Has holds when the field has a value.
	Has struct{ Path Path }
	// Within holds when the area of the field is Area or lies inside it, and for a household that
	// stood there when Area was closed as long as it stays in what Area has become.
	Within struct {
		Path Path
		Area string
	}
	// Exists holds when a visible active member of the household satisfies Of.
	Exists struct{ Of Condition }
	// Count compares the number of visible active members that satisfy Of.
	Count struct {
		Of Condition
		Op Op
		N  int
	}
)

func (And) condition()     {}
func (Or) condition()      {}
func (Not) condition()     {}
func (Compare) condition() {}
func (Age) condition()     {}
func (In) condition()      {}
func (Has) condition()     {}
func (Within) condition()  {}
func (Exists) condition()  {}
func (Count) condition()   {}

// Derivation is the rule of a column that an export specification derives: whether a condition holds
// of the record or, with Count, how many visible active members of the household satisfy it.
type Derivation struct {
	Of    Condition
	Count bool
}

// Bind turns an Age into comparisons of the date itself, for the given as-of date.
func (a Age) Bind(asOf Date) Condition {
	compare := func(op Op, d Date) Condition {
		return Compare{Path: a.Path, Op: op, Value: Constant{Text: string(d)}}
	}
	years := max(-10_000, min(a.Years, 10_000)) // beyond that, no two dates are that far apart
	completed := asOf.YearsBefore(years)        // born on that day or before: has completed the years
	next := asOf.YearsBefore(years + 1)
	switch a.Op {
	case GreaterOrEqual:
		return compare(LessOrEqual, completed)
	case Less:
		return compare(Greater, completed)
	case Greater:
		return compare(LessOrEqual, next)
	case LessOrEqual:
		return compare(Greater, next)
	case Equal:
		return And{compare(LessOrEqual, completed), compare(Greater, next)}
	default:
		return And{Has{Path: a.Path}, Not{Of: And{compare(LessOrEqual, completed), compare(Greater, next)}}}
	}
}
