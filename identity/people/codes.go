package people

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/annona-exchange/annona"
)

// One-time codes as every app knows them: six digits, SHA-1, 30 seconds. One step before and after the
// present one is taken, each once.
const (
	codeDigits = otp.DigitsSix
	codeStep   = 30
)

// appSecret is what one-time codes are made of.
type appSecret struct{ Secret []byte }

func newAppSecret() []byte {
	b := make([]byte, 20)
	rand.Read(b)
	return b
}

var secretLetters = base32.StdEncoding.WithPadding(base32.NoPadding)

// stepOf returns the time step whose code this is, among those that are taken at that moment; 0: none.
func stepOf(secret []byte, code string, now time.Time) (step int64) {
	present := now.Unix() / codeStep
	for _, s := range []int64{present - 1, present, present + 1} {
		right, err := hotp.GenerateCodeCustom(secretLetters.EncodeToString(secret), uint64(s), hotp.ValidateOpts{Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
		if err == nil && subtle.ConstantTimeCompare([]byte(right), []byte(code)) == 1 {
			step = s
		}
	}
	return step
}

// App is what somebody enters into an app for one-time codes.
type App struct {
	Secret  string // in groups of four letters, to be typed
	URL     string // otpauth://, as apps open it
	Picture []byte // of the URL, PNG
}

func newApp(name, host string, secret []byte) (App, error) {
	text := secretLetters.EncodeToString(secret)
	key, err := otp.NewKeyFromURL("otpauth://totp/Annona%20" + host + ":" + name + "?secret=" + text + "&issuer=Annona%20" + host)
	if err != nil {
		return App{}, annona.Internal("make the picture for an app", err)
	}
	picture, err := key.Image(240, 240)
	if err != nil {
		return App{}, annona.Internal("make the picture for an app", err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return App{}, annona.Internal("make the picture for an app", err)
	}
	return App{Secret: grouped(strings.ToLower(text)), URL: key.URL(), Picture: out.Bytes()}, nil
}

// grouped writes a text in groups of four.
func grouped(text string) string {
	var groups []string
	for len(text) > 4 {
		groups, text = append(groups, text[:4]), text[4:]
	}
	return strings.Join(append(groups, text), " ")
}

// plain undoes what people do to codes that they copy.
func plain(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

// recoveryCodes is how many recovery codes somebody gets; each has 16 letters and digits, 80 bits.
const recoveryCodes = 10

type recoveryHash struct{ Hash annona.TokenHash }

// newRecoveryCodes makes recovery codes for a user: what is told once, and the factors that are kept.
func (d *Desk) newRecoveryCodes(user annona.UID) (told []string, kept []annona.Factor, err error) {
	for range recoveryCodes {
		b := make([]byte, 10)
		rand.Read(b)
		code := inviteLetters.EncodeToString(b)
		f, err := d.newFactor(user, annona.FactorRecovery, "", recoveryHash{d.hash("recovery", code)})
		if err != nil {
			return nil, nil, err
		}
		told, kept = append(told, grouped(code)), append(kept, f)
	}
	return told, kept, nil
}

// isRecoveryCode reports whether a code is the one of a factor.
func (d *Desk) isRecoveryCode(f annona.Factor, code string) (bool, error) {
	var kept recoveryHash
	if err := d.openFactor(f, &kept); err != nil {
		return false, err
	}
	shown := d.hash("recovery", code)
	return subtle.ConstantTimeCompare(shown[:], kept.Hash[:]) == 1, nil
}
