package people

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/annona-exchange/annona"
)

// The cost of one hash, as OWASP recommends it for argon2id: 19 MiB, two passes, one thread. hashedAtOnce
// bounds what a crowd can make the server spend.
const (
	hashMemory   = 19 << 10 // KiB
	hashPasses   = 2
	hashedAtOnce = 2
)

// The length of a password, in characters. There are no rules about kinds of characters: length counts.
const (
	minPassword = 12
	maxPassword = 200
)

// passwordHash is what a password is checked by. The cost stands with it, so that it can be raised.
type passwordHash struct {
	Memory uint32
	Passes uint32
	Salt   []byte
	Sum    []byte
}

var (
	errShort    = annona.Invalid("password_short", "a password has at least %d characters: several words are easier to remember than signs", minPassword).On("password")
	errLong     = annona.Invalid("password_long", "a password has at most %d characters", maxPassword).On("password")
	errGuessed  = annona.Invalid("password_guessable", "this password is easy to guess: it repeats itself, is your name, or is known to everybody. Choose another one").On("password")
	errRepeated = annona.Invalid("password_differs", "the two passwords differ: write the same one twice").On("repeat")
)

// checkPassword refuses what is guessed first.
func checkPassword(name, password, repeat string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case n < minPassword:
		return errShort
	case n > maxPassword:
		return errLong
	case isGuessable(name, strings.ToLower(password)):
		return errGuessed
	case password != repeat:
		return errRepeated
	}
	return nil
}

// guessed are beginnings that lists of stolen passwords are full of.
var guessed = [...]string{"password", "passwort", "motdepasse", "contrasena", "qwerty", "azerty", "123456789", "abcdefgh", "iloveyou", "administrator", "annona"}

func isGuessable(name, password string) bool {
	different := map[rune]bool{}
	for _, r := range password {
		different[r] = true
	}
	rest := password
	for _, word := range append(guessed[:], name) {
		rest = strings.ReplaceAll(rest, word, "")
	}
	return len(different) < 5 || len(rest) < minPassword/2
}

// hashPassword hashes a password, when it is its turn.
func (d *Desk) hashPassword(ctx context.Context, password string) (passwordHash, error) {
	h := passwordHash{Memory: hashMemory, Passes: hashPasses, Salt: make([]byte, 16)}
	rand.Read(h.Salt)
	sum, err := d.sum(ctx, h, password)
	h.Sum = sum
	return h, err
}

// isPassword reports whether a password is the one that was hashed. Without a hash it takes as long and
// says no.
func (d *Desk) isPassword(ctx context.Context, kept *passwordHash, password string) (bool, error) {
	h := passwordHash{Memory: hashMemory, Passes: hashPasses, Salt: make([]byte, 16), Sum: make([]byte, 32)}
	if kept != nil {
		h = *kept
	}
	if utf8.RuneCountInString(password) > maxPassword {
		password = "" // nobody has it, and hashing it would take longer
	}
	sum, err := d.sum(ctx, h, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, h.Sum) == 1 && kept != nil, nil
}

func (d *Desk) sum(ctx context.Context, h passwordHash, password string) ([]byte, error) {
	select {
	case d.hashing <- struct{}{}:
		defer func() { <-d.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(norm.NFKC.String(password)), h.Salt, h.Passes, h.Memory, 1, 32), nil
}
