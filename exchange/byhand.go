package exchange

import (
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// What a person begins by hand asks how and when they have signed in (RFC 9470): many people at once, and
// special fields. No policy takes these demands away; its rules can ask for more. Machines that act for
// themselves have no sign-in, what runs goes on, and what somebody has asked for runs by itself later.

var (
	// manyByHand is for what shows many people at once.
	manyByHand = annona.Demand{Assurance: annona.AssuranceTwoFactors, MaxAge: 15 * time.Minute}
	// oneByHand is for the special fields of one person after the other, as case workers read them.
	oneByHand = annona.Demand{Assurance: annona.AssuranceTwoFactors, MaxAge: time.Hour}
)

// showsMany are the verbs that show many people at once.
var showsMany = []annona.Verb{annona.VerbExport, annona.VerbTryExport, annona.VerbFollow, annona.VerbSearch, annona.VerbNameSearch}

// signedInWell refuses a person whose sign-in is too old or too weak for what they begin by hand.
func (x *Exchange) signedInWell(i *inquiry) error {
	byHand := i.caller.Acting != annona.SignedIn{} && i.caller.Within == nil
	if !byHand {
		return nil
	}
	demand, special := i.demand()
	if i.caller.Acting.Meets(demand, x.Clock()) {
		return nil
	}
	return annona.InsufficientSignIn(demand).On(special)
}

// demand is how a person must have signed in for what an inquiry shows, and the first special field that it
// shows; empty: none.
func (i *inquiry) demand() (d annona.Demand, special string) {
	d = i.grant.StepUp
	if i.verb == annona.VerbExport || i.question.whole {
		d = d.And(manyByHand)
	}
	told := i.specialFields()
	if len(told) == 0 {
		return d, ""
	}
	if slices.Contains(showsMany, i.verb) {
		return d.And(manyByHand), told[0]
	}
	return d.And(oneByHand), told[0]
}

// specialFields names what is special of what an inquiry shows. Rows that are chosen by a special field
// tell it, whoever has chosen them.
func (i *inquiry) specialFields() []string {
	shown := i.shape
	if i.question.spec && i.spec == nil {
		shown = &annona.Shape{} // it is not known yet
	}
	names := specialFields(shown, i.filter)
	for _, rows := range i.grant.Conditions {
		names = append(names, specialFields(&annona.Shape{}, rows)...)
	}
	slices.Sort(names)
	return names
}
