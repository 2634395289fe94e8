package synthetic

import "math/bits"

// identifier writes one item of a group of identifiers.
func (w *draft) identifier(scheme, value, validUntil, verified string) {
	c := &w.registry.columns.identifier
	w.put(c.scheme, scheme)
	w.put(c.issuer, issuers[scheme])
	w.put(c.value, value)
	w.put(c.validUntil, validUntil)
	w.put(c.status, "active")
	w.put(c.verified, verified)
	w.endItem()
}

var issuers = map[string]string{
	"national_id_number":        "National Identity Office",
	"birth_registration_number": "Civil Registry",
	"voter_id_number":           "Electoral Commission",
	"passport_number":           "Immigration Service",
	"drivers_license_number":    "Road Authority",
	"household_id_number":       "Social Registry",
}

var verified = weights("self_declared 35 checked 45 verified 20")

// papers writes the identifiers of a person and reports whether one has a wrong check digit.
func (w *draft) papers(i int) (malformed bool) {
	who := &w.people[i]
	age := w.ageOf(who)
	if age >= 16 && w.chance(0.88) || who.copied != 0 && age >= 16 {
		malformed = w.chance(badCheckDigit)
		w.identifier("national_id_number", w.nationalID(who.identity, malformed), w.expiry(0.6), verified.draw(w.dice))
	}
	if age < 18 && w.chance(0.7) {
		year, _, _ := who.born.civil()
		w.identifier("birth_registration_number", w.join("", w.digits("B", uint64(year), 4), w.digits("-", w.scatter(who.identity)%1e7, 7)), "", "checked")
	}
	if age < 18 {
		return malformed
	}
	if w.chance(0.3) {
		w.identifier("voter_id_number", w.digits("V", w.Uint64N(1e9), 9), "", "self_declared")
	}
	if w.chance(0.1 * w.wealth) {
		w.identifier("passport_number", w.digits("XA", w.Uint64N(1e7), 7), w.expiry(1), "checked")
	}
	if w.chance(0.15 * w.wealth) {
		w.identifier("drivers_license_number", w.digits("D-", w.Uint64N(1e8), 8), w.expiry(1), "self_declared")
	}
	if i == 0 && w.chance(0.3) {
		w.identifier("household_id_number", w.householdNumber(), "", "checked")
	}
	return malformed
}

// expiry writes the last day of validity of a paper that has one; some have run out.
func (w *draft) expiry(rate float64) string {
	if !w.chance(rate) {
		return ""
	}
	return w.day(w.surveyed + day(w.between(-300, 3300)))
}

// Identity numbers have eleven digits and a check digit.
const identityNumbers = 100_000_000_000

// scatter maps the identity of a person to a number below identityNumbers. It is a bijection,
// the multiplier having no factor of ten, so that no two people share a number by accident.
func (p *plan) scatter(identity uint64) uint64 {
	high, low := bits.Mul64(identity%identityNumbers, 61_803_398_873)
	_, rest := bits.Div64(high, low, identityNumbers)
	return (rest + mix(p.registry.country.Seed)%identityNumbers) % identityNumbers
}

// nationalID writes an identity number of 12 digits, the last a check digit by Luhn
// (ISO/IEC 7812-1), or a wrong one.
func (w *draft) nationalID(identity uint64, malformed bool) string {
	n := w.scatter(identity)
	check := luhn(n)
	if malformed {
		check = (check + 1) % 10
	}
	return w.digits("", n*10+check, 12)
}

// luhn returns the check digit to put behind n.
func luhn(n uint64) uint64 {
	sum := uint64(0)
	for double := true; n > 0; n, double = n/10, !double {
		digit := n % 10
		if double {
			digit = digit*2/10 + digit*2%10
		}
		sum += digit
	}
	return (10 - sum%10) % 10
}
