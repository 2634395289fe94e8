package identity

import (
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// The limits of a key.
const (
	MaxLife  = 366 * 24 * time.Hour
	MaxLabel = 100 // characters
)

// Mint makes an API key bound to an agreement. The key's text is returned once and kept
// nowhere; the client holds its keyed hash. A key expires, at most MaxLife after now. With
// networks it can be used from there only.
//
// Errors: expiry_required, expiry_past, expiry_too_far, agreement_required, label_malformed,
// network_malformed.
func Mint(hash func([]byte) []byte, demo bool, now, expires time.Time, agreement, label string, networks []netip.Prefix) (text string, client annona.Client, err error) {
	if err := checkExpiry(now, expires); err != nil {
		return "", annona.Client{}, err
	}
	if agreement == "" {
		return "", annona.Client{}, annona.Invalid("agreement_required", "a key is bound to an agreement; name it")
	}
	if !isLabel(label) {
		return "", annona.Client{}, annona.Invalid("label_malformed", "a label has at most %d printable characters", MaxLabel)
	}
	allowed, err := plainNetworks(networks)
	if err != nil {
		return "", annona.Client{}, err
	}
	key, text := newKey(demo)
	return text, annona.Client{
		ID:        annona.NewUID(),
		KeyID:     key.ID,
		Hash:      hash([]byte(key.body)),
		Agreement: agreement,
		Label:     label,
		Demo:      demo,
		Networks:  allowed,
		CreatedAt: now.UTC(),
		ExpiresAt: expires.UTC(),
	}, nil
}

func checkExpiry(now, expires time.Time) error {
	switch {
	case expires.IsZero():
		return annona.Invalid("expiry_required", "a key has an expiry; give one at most %d days from now", int(MaxLife.Hours()/24))
	case !expires.After(now):
		return annona.Invalid("expiry_past", "a key expires in the future; give it 1 to %d days", int(MaxLife.Hours()/24))
	case expires.After(now.Add(MaxLife)):
		return annona.Invalid("expiry_too_far", "a key lives at most %d days; make the next one before it expires", int(MaxLife.Hours()/24))
	}
	return nil
}

func isLabel(label string) bool {
	for _, r := range label {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return utf8.RuneCountInString(label) <= MaxLabel
}

// plainNetworks brings networks into the form that plainAddr gives addresses.
func plainNetworks(networks []netip.Prefix) ([]netip.Prefix, error) {
	var plain []netip.Prefix
	for _, n := range networks {
		if !n.IsValid() || n.Addr().Is4In6() && n.Bits() < 96 {
			return nil, annona.Invalid("network_malformed", "a network is written as address and length: 192.0.2.0/24 or 2001:db8::/32")
		}
		if n.Addr().Is4In6() {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		plain = append(plain, n.Masked())
	}
	return plain, nil
}

// plainAddr writes an IPv4 address that came over an IPv6 socket as IPv4, without a zone.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
