package policy

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
)

// The bounds of habits.
const (
	// HabitDays is on how many days before today a client gets its habits.
	HabitDays = 30
	// settledDays is after how many days of use a client has hours and amounts of its own.
	settledDays = 7
	// steadyRows is how many rows a day are never unusual.
	steadyRows = 1000
	// unusually is how many times its greatest day is unusual for a client.
	unusually = 3
	// staleSignIn is after how long a sign-in says little of who sits there now.
	staleSignIn = time.Hour
)

// WeighRisk says how risky a request is under the habits of its client: those of today and of HabitDays before.
// Each of these counts once:
//
//	network   the client was let do something on an earlier day, and never from this network (/24, /48 of IPv6)
//	hour      it was on 7 earlier days or more, and on none of them in this hour, the one before or the one behind
//	sign_in   it acts for a person who has signed in elsewhere or more than an hour ago, or it has a plain API key
//	volume    it was on 7 earlier days or more, and with this request it would get more than 1,000 rows today and
//	          more than three times as many as on the greatest of them
//
// None of them is low, one medium, more are high. Rows that are not known count as none.
func WeighRisk(r *Request, habits []annona.Habit) annona.Risk {
	h := habitsOf(r, habits)
	risk := annona.Risk{Level: annona.RiskLow}
	for _, factor := range []struct {
		name   string
		counts bool
	}{
		{"network", len(h.days) > 0 && !h.network},
		{"hour", len(h.days) >= settledDays && !h.hour},
		{"sign_in", weakSignIn(r)},
		{"volume", len(h.days) >= settledDays && h.today+r.Rows.Rows > max(steadyRows, unusually*h.most)},
	} {
		if factor.counts {
			risk.Factors = append(risk.Factors, factor.name)
		}
	}
	switch len(risk.Factors) {
	case 0:
	case 1:
		risk.Level = annona.RiskMedium
	default:
		risk.Level = annona.RiskHigh
	}
	return risk
}

// habitual is what the habits of a client say about one request.
type habitual struct {
	days          map[annona.Date]bool // before today, on which it was let do something
	network, hour bool                 // it was there on one of them
	most, today   int64                // rows
}

func habitsOf(r *Request, habits []annona.Habit) habitual {
	h := habitual{days: map[annona.Date]bool{}}
	network, first := NetworkOf(r.Caller.Network), annona.DateOf(r.At.AddDate(0, 0, -HabitDays))
	for _, one := range habits {
		switch {
		case one.Kind == annona.HabitRows && one.Day == r.Today:
			h.today += one.Count
		case one.Day >= r.Today || one.Day < first:
		case one.Kind == annona.HabitRows:
			h.most = max(h.most, one.Count)
		case one.Kind == annona.HabitNetwork:
			h.days[one.Day] = true
			h.network = h.network || one.Value == network
		case one.Kind == annona.HabitHour:
			h.hour = h.hour || near(one.Value, r.At.Hour())
		}
	}
	return h
}

// near reports whether an hour is another one, the one before or the one behind it, around midnight too.
func near(text string, hour int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && (n-hour+25)%24 <= 2
}

func weakSignIn(r *Request) bool {
	if (facts{Request: r}).acting() {
		return r.Caller.Acting.Assurance < annona.AssuranceTwoFactors || r.At.Sub(r.Caller.Acting.At) > staleSignIn
	}
	return r.Caller.Strength <= annona.StrengthAPIKey
}

// NetworkOf is the network of an address by which habits are kept: /24, and /48 of IPv6. An address that there is
// not is a network too.
func NetworkOf(a netip.Addr) string {
	a = a.Unmap()
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil || !p.IsValid() {
		return "none"
	}
	return p.String()
}
