// Package people establishes who sits in front of a browser. Somebody accepts an invitation, registers
// a passkey, or a password together with one-time codes, and signs in by them; what comes out is a
// session, and an annona.SignedIn that says who, how and when.
//
//	desk.go          what all of it is wired to, and what a request shows of its browser
//	invitation.go    an invitation is accepted once
//	passkey.go       passkeys (WebAuthn): registered, and shown
//	password.go      passwords (argon2id); alone they open nothing
//	codes.go         one-time codes of an app (RFC 6238), and recovery codes
//	enter.go         signing in by a password and a code
//	throttle.go      how often somebody may be wrong
//	session.go       where somebody is signed in, and the ends of it
//	register.go      what somebody registers and removes
//	applications.go  which outside programs may act for them
//
// The package does not know what somebody may do, where users are stored, the keys by which secrets lie
// sealed, or HTTP. Everything that it changes runs through the gate, which enters it in the ledger.
package people
