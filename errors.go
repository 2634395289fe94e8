package annona

import (
	"errors"
	"fmt"
)

// Kind says what sort of refusal or failure an Error is. A wire maps it to its own
// status; nothing below the wire knows statuses.
type Kind int

// The kinds of errors.
const (
	KindInternal        Kind = iota // our fault, or the machine's
	KindInvalid                     // the question is malformed or names something unknown
	KindUnauthenticated             // who is asking could not be established
	KindForbidden                   // known, but not granted
	KindNotFound                    // not on file, or not the caller's: the two are one answer
	KindConflict                    // the state does not allow it (also: an ambiguous look-up)
	KindGone                        // a position or cursor that cannot be continued
	KindTooLarge                    // more than a limit allows
	KindUnavailable                 // try again later
	KindTooMany                     // asked too often
	KindStale                       // the caller has read an earlier version
	KindReused                      // the key of an earlier request came with another one
)

// Error is what every refusal and every foreseen failure looks like. Its text is written
// for the person who reads it: what happened, to what, what to do. It never holds personal
// data, neither a value of a record nor one that a caller sent.
type Error struct {
	Kind    Kind
	Code    string // stable, snake_case, for machines: "unknown_field"
	Message string // one or two sentences
	Name    string // the parameter, field or column concerned, when there is one; from our own vocabulary only
	At      int    // position in the filter or file, from 1; 0 when there is none
	Demand  Demand // how the person must sign in, of the code insufficient_user_authentication
	cause   error  // for errors.Is; never shown
}

func (e *Error) Error() string {
	if e.Name != "" {
		return e.Name + ": " + e.Message
	}
	return e.Message
}

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of e that remembers its cause for errors.Is. The cause is not shown.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// On returns a copy of e that names the parameter, field or column concerned.
func (e *Error) On(name string) *Error {
	c := *e
	c.Name = name
	return &c
}

// AtPosition returns a copy of e that names a position, counted from 1.
func (e *Error) AtPosition(at int) *Error {
	c := *e
	c.At = at
	return &c
}

func newError(kind Kind, code, format string, args []any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid is a malformed question, or one that names something unknown.
func Invalid(code, format string, args ...any) *Error {
	return newError(KindInvalid, code, format, args)
}

// Unauthenticated says that who is asking could not be established.
func Unauthenticated(code, format string, args ...any) *Error {
	return newError(KindUnauthenticated, code, format, args)
}

// InsufficientSignIn says that somebody has to prove again, or better, who they are (RFC 9470).
func InsufficientSignIn(d Demand) *Error {
	e := newError(KindUnauthenticated, "insufficient_user_authentication",
		"whoever does this by hand proves first who they are, as acr_values and max_age of the answer say; ask them to sign in again", nil)
	e.Demand = d
	return e
}

// Forbidden is a known thing that is not granted.
func Forbidden(code, format string, args ...any) *Error {
	return newError(KindForbidden, code, format, args)
}

// NotFound is the one answer for "not on file" and "not yours".
func NotFound(format string, args ...any) *Error {
	return newError(KindNotFound, "not_found", format, args)
}

// Conflict says that the state does not allow what was asked.
func Conflict(code, format string, args ...any) *Error {
	return newError(KindConflict, code, format, args)
}

// Gone says that a position or cursor cannot be continued.
func Gone(code, format string, args ...any) *Error { return newError(KindGone, code, format, args) }

// TooLarge says that a limit is exceeded.
func TooLarge(code, format string, args ...any) *Error {
	return newError(KindTooLarge, code, format, args)
}

// Unavailable says: try again later.
func Unavailable(code, format string, args ...any) *Error {
	return newError(KindUnavailable, code, format, args)
}

// TooMany says that somebody asks too often.
func TooMany(code, format string, args ...any) *Error {
	return newError(KindTooMany, code, format, args)
}

// Stale says that what the caller has read is not what is on file any more.
func Stale(code, format string, args ...any) *Error { return newError(KindStale, code, format, args) }

// Reused says that the key of an earlier request came with another one.
func Reused(code, format string, args ...any) *Error { return newError(KindReused, code, format, args) }

// Internal wraps a failure that is ours or the machine's. doing says what was being done
// ("read a page of individuals"); the cause stays out of every answer.
func Internal(doing string, cause error) *Error {
	return (&Error{Kind: KindInternal, Code: "internal", Message: "could not " + doing}).Because(cause)
}

// KindOf returns the kind of err: that of the Error it wraps, otherwise KindInternal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}

// CodeOf returns the stable code of err, "internal" when it has none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return "internal"
}
