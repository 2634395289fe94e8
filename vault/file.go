package vault

import (
	"io"
	"strings"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
)

var _ annona.FileVault = (*Vault)(nil)

// errExportGone says that the key of an export was destroyed, or never made.
var errExportGone = annona.Gone("export_gone", "the files of this export are gone; start another one")

// exportSecret returns the secret of an export, and makes it when it is new and make says so.
func (v *Vault) exportSecret(export annona.UID, make bool) (classSecret, error) {
	label := classExport.label + "/" + export.String()
	if make {
		return v.secret(label)
	}
	kept, err := v.keys.Get(label, 1)
	if err != nil {
		return classSecret{}, annona.Internal("read the key store", err)
	}
	if kept.Version == 0 {
		return classSecret{}, errExportGone
	}
	return v.root.unwrap(kept)
}

// identity is the export's own key as one of age.
func (c classSecret) identity() (*age.X25519Identity, error) {
	return age.ParseX25519Identity(bech32("AGE-SECRET-KEY-", c.derive("file")))
}

// SealFile returns a writer that seals to w, in the format of age. See annona.FileVault.
func (v *Vault) SealFile(w io.Writer, export annona.UID, recipient string) (io.WriteCloser, error) {
	to, err := v.recipientOf(export, recipient)
	if err != nil {
		return nil, err
	}
	return age.Encrypt(w, to)
}

func (v *Vault) recipientOf(export annona.UID, recipient string) (age.Recipient, error) {
	if recipient == "" {
		secret, err := v.exportSecret(export, true)
		if err != nil {
			return nil, err
		}
		identity, err := secret.identity()
		if err != nil {
			return nil, annona.Internal("make the key of an export", err)
		}
		return identity.Recipient(), nil
	}
	all, err := age.ParseRecipients(strings.NewReader(recipient))
	if err != nil || len(all) != 1 || strings.ContainsAny(recipient, "\r\n# ") {
		return nil, annona.Invalid("recipient_malformed", "a recipient is one public key of age: age1… or, against quantum computers, age1pq1…; age-keygen makes one").On("recipient")
	}
	return all[0], nil
}

// OpenFile opens a file that was sealed under the export's own key.
func (v *Vault) OpenFile(sealed io.ReaderAt, size int64, export annona.UID) (io.ReaderAt, int64, error) {
	secret, err := v.exportSecret(export, false)
	if err != nil {
		return nil, 0, err
	}
	identity, err := secret.identity()
	if err != nil {
		return nil, 0, annona.Internal("read the key of an export", err)
	}
	content, length, err := age.DecryptReaderAt(sealed, size, identity)
	if err != nil {
		return nil, 0, annona.Internal("open a file of an export", err)
	}
	return content, length, nil
}

// SealNote seals what is remembered of an export, bound to its name.
func (v *Vault) SealNote(export annona.UID, name string, text []byte) ([]byte, error) {
	secret, err := v.exportSecret(export, true)
	if err != nil {
		return nil, err
	}
	return seal(nil, newAEAD(secret.derive("note")), text, bind(secret.label, secret.version, name)), nil
}

// OpenNote undoes SealNote.
func (v *Vault) OpenNote(export annona.UID, name string, sealed []byte) ([]byte, error) {
	secret, err := v.exportSecret(export, false)
	if err != nil {
		return nil, err
	}
	text, err := open(newAEAD(secret.derive("note")), sealed, bind(secret.label, secret.version, name))
	if err != nil {
		return nil, annona.Internal("open what is remembered of an export", err)
	}
	return text, nil
}

// DestroyExport destroys the key of an export, durably.
func (v *Vault) DestroyExport(export annona.UID) error {
	return v.keys.Destroy(classExport.label+"/"+export.String(), 1)
}

// Manifests are signed notes, as checkpoints are, under a name and a key of their own.
const manifestPrefix = "annona.manifest.v1/"

func (v *Vault) manifestSigner(secret classSecret) checkpointSigner {
	return checkpointSigner{manifestPrefix + strings.TrimPrefix(v.origin, checkpointPrefix), signingKey(secret)}
}

// SignManifest returns a text as a note that is signed with the latest key.
func (v *Vault) SignManifest(text string) (string, error) {
	secret, err := v.secret(classManifest.label)
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: text}, v.manifestSigner(secret))
	if err != nil {
		return "", annona.Internal("sign a manifest", err)
	}
	return string(signed), nil
}

// ManifestKeys returns the public keys of manifests, the latest last, as note verifier keys.
func (v *Vault) ManifestKeys() ([]string, error) {
	secret, err := v.secret(classManifest.label)
	if err != nil {
		return nil, err
	}
	return []string{v.manifestSigner(secret).verifierKey()}, nil
}

// bech32 writes a key as age does: BIP 173 without its limit of length, in upper case.
func bech32(prefix string, data []byte) string {
	values := toFives(data)
	lower := strings.ToLower(prefix)
	var out strings.Builder
	out.WriteString(lower)
	out.WriteByte('1')
	for _, v := range append(values, bech32Checksum(lower, values)...) {
		out.WriteByte(bech32Alphabet[v])
	}
	return strings.ToUpper(out.String())
}

const bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// toFives cuts bytes into groups of five bits.
func toFives(data []byte) (fives []byte) {
	bits, n := uint32(0), 0
	for _, b := range data {
		bits, n = bits<<8|uint32(b), n+8
		for n >= 5 {
			n -= 5
			fives = append(fives, byte(bits>>n)&31)
		}
	}
	if n > 0 {
		fives = append(fives, byte(bits<<(5-n))&31)
	}
	return fives
}

func bech32Checksum(prefix string, fives []byte) []byte {
	var values []byte
	for _, c := range []byte(prefix) {
		values = append(values, c>>5)
	}
	values = append(values, 0)
	for _, c := range []byte(prefix) {
		values = append(values, c&31)
	}
	values = append(append(values, fives...), 0, 0, 0, 0, 0, 0)
	polymod := uint32(1)
	for _, v := range values {
		top := polymod >> 25
		polymod = polymod&0x1ffffff<<5 ^ uint32(v)
		for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				polymod ^= g
			}
		}
	}
	sum := make([]byte, 6)
	for i := range sum {
		sum[i] = byte((polymod^1)>>(5*(5-i))) & 31
	}
	return sum
}
