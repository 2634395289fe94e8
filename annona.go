// Package annona is the vocabulary of Annona: the open exchange between social
// registries, programs and case workers.
//
// A registry knows households, the individuals in them and the memberships that
// join the two. A partner (a program, a case system) may see part of that under
// an agreement, for a purpose that has a lawful basis. A client of the partner
// asks; the gate (package exchange) decides, narrows the question to a Scope,
// lets a store fetch a Page, has package privacy turn it into what may be shown,
// records the release in the ledger, and only then lets it go.
//
// This package holds the nouns of that story, the dictionary that describes
// every field once, the condition tree of the filter language, the errors, and
// the small ports that stores and the vault implement. It imports nothing but
// the standard library. It does not know SQL, HTTP, keys or any file format.
//
// # Canonical text
//
// Between the store and the encoders a value is its canonical text, the form
// that the machine profile of CSV writes:
//
//	text      UTF-8, as recorded
//	int       decimal digits, an optional leading minus
//	dec       decimal digits with at most Field.Scale after the point, no trailing zeros, never an exponent
//	bool      true or false
//	date      2006-01-02 (RFC 3339 full-date)
//	instant   2006-01-02T15:04:05.000Z (RFC 3339, UTC, milliseconds)
//	code      the canonical code
//	id        16 raw bytes inside, 26 base32 characters once disclosed
//
// The empty text is the absent value: no field has the empty text as a value.
// A field with many values joins them by ListSeparator.
package annona

import "time"

// ListSeparator stands between the values of a field with many values (Field.Many)
// in its canonical text. It is the ASCII unit separator and cannot occur in a value.
const ListSeparator = 0x1f

// ListMark stands between the values of such a field in one cell of a CSV file (the separator of
// CSV on the Web). It cannot occur in a value of a list either.
const ListMark = ';'

// Clock tells the time. Tests bring their own.
type Clock func() time.Time
