package vault

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// What a ledger entry says lies sealed, part by part: version of the key (one byte), then
// AES-256-GCM of salt ‖ content with the nonce in front. Each entry has a key of its own,
// derived from the class secret and its id, so that no key seals more than a few messages.
// Version, entry and name of the part are associated data.

// saltSize is the length of a part's salt, see package audit.
const saltSize = 32

// SealEntry returns the row with every part sealed. Parts that are sealed already stay.
func (v *Vault) SealEntry(row annona.LedgerRow) annona.LedgerRow {
	_, secret := v.contents.newest()
	aead := newAEAD(secret.derive(string(row.ID[:])))
	row.Parts = slices.Clone(row.Parts)
	for i := range row.Parts {
		p := &row.Parts[i]
		if p.Sealed != nil {
			continue
		}
		message := make([]byte, 0, saltSize+len(p.Content))
		message = append(append(message, p.Salt[:]...), p.Content...)
		sealed := seal(nil, aead, message, partData(secret.version, row.ID, p.Name))
		p.Sealed = append([]byte{byte(secret.version)}, sealed...)
		p.Salt, p.Content = [saltSize]byte{}, nil
	}
	return row
}

// OpenEntry returns the row with every part open. It fails with code part_unopened when a part
// was changed, or sealed for another entry or under another name, and names the part.
func (v *Vault) OpenEntry(row annona.LedgerRow) (annona.LedgerRow, error) {
	row.Parts = slices.Clone(row.Parts)
	for i := range row.Parts {
		p := &row.Parts[i]
		if len(p.Sealed) == 0 {
			return row, errPart.On(p.Name)
		}
		version := int(p.Sealed[0])
		secret, err := v.contentSecret(version)
		if err != nil {
			return row, err
		}
		message, err := open(newAEAD(secret.derive(string(row.ID[:]))), p.Sealed[1:], partData(version, row.ID, p.Name))
		if err != nil || len(message) < saltSize {
			return row, errPart.On(p.Name)
		}
		p.Salt, p.Content, p.Sealed = [saltSize]byte(message), message[saltSize:], nil
	}
	return row, nil
}

var errPart = annona.Conflict("part_unopened", "what the entry says does not open: it was changed, or is not of this entry")

// contentSecret returns a version of the secret, also one that another process has made since.
func (v *Vault) contentSecret(version int) (classSecret, error) {
	if secret, known := v.contents.of(version); known {
		return secret, nil
	}
	if latest, _ := v.contents.newest(); version <= latest {
		return classSecret{}, errPart // destroyed
	}
	if err := v.contents.load(v); err != nil {
		return classSecret{}, err
	}
	secret, known := v.contents.of(version)
	if !known {
		return classSecret{}, errPart
	}
	return secret, nil
}

func partData(version int, entry annona.UID, part string) []byte {
	return bind(classLedger.label, version, string(entry[:]), part)
}
