package exchange

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// Where an enrollment and an entitlement may go from where they stand. It is pure. A first report may
// stand anywhere: programs bring what they have.

// enrollmentMoves are the statuses that may follow each one.
var enrollmentMoves = map[string][]string{
	"pending_verification": {"waitlisted", "active", "closed"},
	"waitlisted":           {"pending_verification", "active", "closed"},
	"active":               {"suspended", "closed", "graduated"},
	"suspended":            {"active", "closed", "graduated"},
	"closed":               {"active"}, // reinstated
	"graduated":            {"active"},
}

// entitlementMoves are the same of entitlements.
var entitlementMoves = map[string][]string{
	"pending":             {"approved", "rejected", "cancelled"},
	"approved":            {"suspended", "cancelled", "expired", "partially_fulfilled", "fulfilled"},
	"suspended":           {"approved", "cancelled", "expired"},
	"partially_fulfilled": {"fulfilled", "cancelled", "expired"},
	"rejected":            {"approved"}, // on appeal
	"cancelled":           nil,
	"expired":             nil,
	"fulfilled":           nil,
}

// isExit reports whether an enrollment has ended there.
func isExit(status string) bool { return status == "closed" || status == "graduated" }

// moveEnrollment makes of what a program reports what is on file next: the history grows by each move,
// and what belongs to a status goes with it. was is empty for a first report. Codes: status_move,
// field_required, field_not_set, date_ahead, dates_crossed.
func moveEnrollment(was, next document, today annona.Date) error {
	from, to, said := was.values["status"], next.values["status"], next.values
	moved := from != to
	switch {
	case to == "":
		return required("status")
	case from != "" && moved && !slices.Contains(enrollmentMoves[from], to):
		return annona.Conflict("status_move", "an enrollment does not go from its status to this one").On("status")
	case moved && said["status_date"] == "":
		return required("status_date")
	case said["status_date"] > string(today):
		return annona.Invalid("date_ahead", "a status holds from a day that has come").On("status_date")
	case moved && said["status_date"] < was.values["status_date"]:
		return annona.Invalid("dates_crossed", "a status does not begin before the one that it follows").On("status_date")
	case to == "closed" && said["exit_reason"] == "":
		return required("exit_reason")
	case to == "suspended" && said["status_reason"] == "":
		return required("status_reason")
	case moved && isExit(from) && said["status_reason"] == "":
		return required("status_reason")
	}
	if moved {
		enterStatus(was, next, to)
	}
	switch {
	case to != "closed" && said["exit_reason"] != "":
		return annona.Invalid("field_not_set", "only a closed enrollment has a reason of its end").On("exit_reason")
	case to != "waitlisted" && said["rank"] != "":
		return annona.Invalid("field_not_set", "only an enrollment on the waiting list has a rank").On("rank")
	case said["rank"] != "" && (said["rank"] == "0" || said["rank"][0] == '-'):
		return annona.Invalid("value_malformed", "a rank is a number from 1").On("rank")
	}
	return nil
}

func required(field string) error {
	return annona.Invalid("field_required", "what is reported needs this field").On(field)
}

// enterStatus notes the move, and sets and takes away what comes and goes with it.
func enterStatus(was, next document, to string) {
	said, day := next.values, next.values["status_date"]
	move := map[string]string{"status": to, "effective_date": day}
	set(move, "reason", said["status_reason"])
	next.groups["status_history"] = append(next.groups["status_history"], move)
	if isExit(to) {
		said["exit_date"] = day
	} else {
		delete(said, "exit_date")
	}
	switch {
	case to == "active" && said["enrollment_date"] == "":
		said["enrollment_date"] = day
	case to == "waitlisted" && said["waitlisted_at"] == "":
		said["waitlisted_at"] = day
	}
	for code, status := range map[string]string{"rank": "waitlisted", "exit_reason": "closed"} {
		if to != status && said[code] == was.values[code] {
			delete(said, code)
		}
	}
}

// maxPayments is how many attempts to deliver one benefit are on file.
const maxPayments = 100

// moveBenefit refuses what a benefit cannot become. Codes: those of moveEnrollment, payment_removed.
func moveBenefit(was, next document) error {
	from, to, said := was.values["entitlement_status"], next.values["entitlement_status"], next.values
	switch {
	case to == "":
		return required("entitlement_status")
	case from != "" && from != to && !slices.Contains(entitlementMoves[from], to):
		return annona.Conflict("status_move", "an entitlement does not go from its status to this one").On("entitlement_status")
	case said["benefit_type"] == "":
		return required("benefit_type")
	case (said["amount"] == "") != (said["currency"] == ""):
		return required("currency")
	case said["quantity"] == "" && said["unit"] != "":
		return required("quantity")
	case said["amount"] != "" && said["amount"][0] == '-' || said["quantity"] != "" && said["quantity"][0] == '-':
		return annona.Invalid("value_malformed", "what is given is not less than nothing").On("amount")
	case said["period_end"] != "" && said["period_end"] < said["period_start"]:
		return annona.Invalid("dates_crossed", "a period ends on its first day or later").On("period_end")
	}
	return checkPayments(was.groups["payments"], next.groups["payments"])
}

// checkPayments refuses attempts that are not counted, and a report that leaves one out.
func checkPayments(was, next []map[string]string) error {
	if len(next) > maxPayments {
		return annona.TooLarge("too_many_items", "a benefit has at most %d payments", maxPayments)
	}
	seen := map[string]bool{}
	for _, p := range next {
		switch {
		case p["attempt"] == "" || p["attempt"] == "0" || p["attempt"][0] == '-' || seen[p["attempt"]]:
			return annona.Invalid("value_malformed", "attempts are counted from 1, each once").On("payments.attempt")
		case p["status"] == "":
			return required("payments.status")
		case p["status"] == "paid" && p["paid_at"] == "":
			return required("payments.paid_at")
		case p["status"] == "failed" && p["failure_code"] == "":
			return required("payments.failure_code")
		case p["collected_at"] != "" && p["collected_at"] < p["paid_at"]:
			return annona.Invalid("dates_crossed", "what is collected was paid out before").On("payments.collected_at")
		}
		seen[p["attempt"]] = true
	}
	for _, p := range was {
		if !seen[p["attempt"]] {
			return annona.Conflict("payment_removed", "a payment that is on file stays; report it with its status").On("payments")
		}
	}
	return nil
}
