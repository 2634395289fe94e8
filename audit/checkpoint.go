package audit

import (
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
)

// checkpointText is what a checkpoint says: origin, size and root, a line each.
func checkpointText(origin string, size int64, root [32]byte) string {
	return origin + "\n" + strconv.FormatInt(size, 10) + "\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
}

// parseCheckpoint reads what checkpointText wrote, and nothing else. Lines may follow it.
func parseCheckpoint(text string) (origin string, c annona.Checkpoint, err error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 {
		return "", c, errCheckpoint
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return "", c, errCheckpoint
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return "", c, errCheckpoint
	}
	c.Size = size
	copy(c.Root[:], root)
	return lines[0], c, nil
}

var errCheckpoint = annona.Invalid("checkpoint_malformed", "this is no checkpoint of a ledger: origin, number of entries and root on a line each, then a signature")

// maxNote bounds a checkpoint that comes from elsewhere, in bytes.
const maxNote = 16 << 10

// OpenCheckpoint checks the signature of a checkpoint under one of the public keys and returns
// what it says. Errors have the codes checkpoint_malformed, checkpoint_unsigned and
// checkpoint_foreign.
func OpenCheckpoint(signed string, keys []string) (annona.Checkpoint, error) {
	verifiers, err := verifiersOf(keys)
	if err != nil {
		return annona.Checkpoint{}, err
	}
	return openCheckpoint(signed, verifiers)
}

func openCheckpoint(signed string, keys note.Verifiers) (annona.Checkpoint, error) {
	if len(signed) > maxNote {
		return annona.Checkpoint{}, errCheckpoint
	}
	opened, err := note.Open([]byte(signed), keys)
	if err != nil {
		return annona.Checkpoint{}, annona.Conflict("checkpoint_unsigned", "the checkpoint is not signed by one of the public keys given: it is forged, or the keys are those of another ledger")
	}
	origin, c, err := parseCheckpoint(opened.Text)
	if err != nil {
		return c, err
	}
	if opened.Sigs[0].Name != origin {
		return c, annona.Conflict("checkpoint_foreign", "the key that signed the checkpoint is that of another ledger")
	}
	c.Note = signed
	return c, nil
}

func verifiersOf(keys []string) (note.Verifiers, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		v, err := note.NewVerifier(strings.TrimSpace(key))
		if err != nil {
			return nil, annona.Invalid("public_key_malformed", "a public key of a ledger looks like annona.ledger.v1/…+…+…; annona ledger key prints it")
		}
		verifiers = append(verifiers, v)
	}
	return note.VerifierList(verifiers...), nil
}
