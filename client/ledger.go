package client

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// checkpoint is what a signed checkpoint of a ledger says.
type checkpoint struct {
	origin string
	size   uint64
	root   []byte
	note   string // as it was signed
}

// openCheckpoint checks the signature of a checkpoint and reads it.
func openCheckpoint(signed string, keys []string) (c checkpoint, err error) {
	text, name, err := openNote(signed, keys, ledgerKeys)
	if err != nil {
		return c, &Error{Code: "checkpoint_unsigned", Detail: "the checkpoint is not signed by a key of this ledger that you have; get its public keys from the registry, by another way than the data", cause: err}
	}
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) == 4 && lines[0] == name {
		c = checkpoint{origin: name, note: signed}
		if c.size, err = strconv.ParseUint(lines[1], 10, 63); err == nil {
			c.root, err = base64.StdEncoding.Strict().DecodeString(lines[2])
		}
	}
	if err != nil || len(c.root) != rfc6962.DefaultHasher.Size() {
		return c, &Error{Code: "checkpoint_malformed", Detail: "this is no checkpoint of a ledger", cause: err}
	}
	return c, nil
}

// Witness checks that the registry's ledger, as it is now, continues a checkpoint that was seen before
// and every one of others, and returns the latest one to be kept: whoever does so with each export
// notices a ledger that was written anew. seen may be empty, the first time.
//
// Errors: ledger_rolled_back and ledger_forked say that it does not continue: keep both checkpoints, and
// ask the registry. checkpoint_unsigned: it is another ledger.
func (c *Client) Witness(ctx context.Context, seen string, keys []string, others ...string) (latest string, err error) {
	answer, _, err := c.get(ctx, "/v1/ledger/checkpoint", nil)
	if err != nil {
		return "", err
	}
	now, err := openCheckpoint(string(answer), keys)
	if err != nil {
		return "", err
	}
	if seen != "" {
		others = append(others, seen)
	}
	for _, signed := range others {
		earlier, err := openCheckpoint(signed, keys)
		if err != nil {
			return "", err
		}
		if err := c.continues(ctx, earlier, now); err != nil {
			return "", err
		}
	}
	return now.note, nil
}

var errForked = &Error{Code: "ledger_forked", Detail: "the registry's ledger does not continue the one that was seen before: something in it was changed. Keep the checkpoints and ask the registry"}

// continues demands a proof that the tree of a checkpoint continues that of an earlier one.
func (c *Client) continues(ctx context.Context, earlier, now checkpoint) error {
	switch {
	case earlier.origin != now.origin:
		return &Error{Code: "ledger_foreign", Detail: "this is another ledger than the one that was seen before: another registry answers"}
	case earlier.size > now.size:
		return &Error{Code: "ledger_rolled_back", Detail: "the registry's ledger is shorter than the one that was seen before: entries are gone. Keep the checkpoints and ask the registry"}
	}
	var given struct{ Consistency [][]byte }
	if earlier.size > 0 && earlier.size < now.size {
		query := url.Values{"from": {strconv.FormatUint(earlier.size, 10)}, "to": {strconv.FormatUint(now.size, 10)}}
		if err := c.getJSON(ctx, "/v1/ledger/proof", query, &given); err != nil {
			return err
		}
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, earlier.size, now.size, given.Consistency, earlier.root, now.root); err != nil {
		return errForked
	}
	return nil
}
