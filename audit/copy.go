package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/annona-exchange/annona"
)

// A copy is the ledger in a file of its own, for somebody who verifies it without anything else
// of the registry: lines of JSON. The first says what it is; then come the leaves in order,
// each checkpoint behind the last leaf that it covers, and the copy ends with one. A copy with
// content has the open parts beside each leaf, and each list of fields before the first entry
// that names it.

// copyFormat is the version of the form of a copy.
const copyFormat = 1

// copyLine is a line of a copy: its head, an entry, a checkpoint or a list of fields.
type copyLine struct {
	Copy    int        `json:"annona_ledger_copy,omitempty"` // head: the format
	Content bool       `json:"content,omitempty"`            // head: parts stand beside the leaves
	Leaf    []byte     `json:"leaf,omitempty"`
	Parts   []copyPart `json:"parts,omitempty"`
	Note    string     `json:"checkpoint,omitempty"`
	Fields  []byte     `json:"fields,omitempty"`
}

type copyPart struct {
	Name    string `json:"name"`
	Salt    []byte `json:"salt"`
	Content []byte `json:"content"`
}

// WriteCopy writes the entries that the checkpoint covers, with what they say when content is
// true. It returns how many entries it wrote.
func WriteCopy(ctx context.Context, w io.Writer, l Live, upTo annona.Checkpoint, content bool) (int64, error) {
	buffered := bufio.NewWriterSize(w, 1<<16)
	c := &copier{
		Opener: Opener{Vault: l.Vault, Ledger: l.Ledger}, out: json.NewEncoder(buffered),
		content: content, written: map[hash]bool{}, upTo: upTo.Size,
	}
	c.out.SetEscapeHTML(false)
	if err := c.out.Encode(copyLine{Copy: copyFormat, Content: content}); err != nil {
		return 0, err
	}
	signed := &checkpointStream{ctx: ctx, of: l.Checkpoints}
	err := errCopied
	if upTo.Size > 0 {
		err = l.Ledger.WalkLedger(ctx, func(row annona.LedgerRow) error { return c.entry(ctx, row, signed) })
	}
	if err != nil && !errors.Is(err, errCopied) {
		return c.entries, err
	}
	if c.entries < upTo.Size {
		return c.entries, annona.Conflict("ledger_deviates", "the ledger has fewer entries than its checkpoint says; run annona verify")
	}
	return c.entries, buffered.Flush()
}

// errCopied ends the walk behind the last entry that is copied.
var errCopied = errors.New("the copy is complete")

type copier struct {
	Opener
	out     *json.Encoder
	content bool
	written map[hash]bool // lists of fields
	entries int64
	upTo    int64
}

func (c *copier) entry(ctx context.Context, row annona.LedgerRow, signed *checkpointStream) error {
	if c.entries >= c.upTo {
		return errCopied
	}
	line := copyLine{Leaf: row.Leaf}
	if c.content {
		if err := c.addContent(ctx, &row, &line); err != nil {
			return err
		}
	}
	if err := c.out.Encode(line); err != nil {
		return err
	}
	c.entries++
	return signed.upTo(c.entries, func(s annona.Checkpoint) error { return c.out.Encode(copyLine{Note: s.Note}) })
}

// addContent opens what an entry says, and writes the lists of fields that are new.
func (c *copier) addContent(ctx context.Context, row *annona.LedgerRow, line *copyLine) error {
	if _, err := c.open(ctx, row); err != nil {
		return err
	}
	for _, list := range row.Lists {
		if c.written[list.Hash] {
			continue
		}
		if err := c.out.Encode(copyLine{Fields: list.Content}); err != nil {
			return err
		}
		c.written[list.Hash] = true
	}
	for _, p := range row.Parts {
		line.Parts = append(line.Parts, copyPart{p.Name, p.Salt[:], p.Content})
	}
	return nil
}

// maxLine bounds a line of a copy, in bytes: the largest entry has some megabytes.
const maxLine = 64 << 20

// VerifyCopy reads a copy and checks what Verify checks of a store, as far as the copy holds
// it. The public keys have to come from elsewhere, not from whoever made the copy.
func VerifyCopy(r io.Reader, e Evidence) (Report, error) {
	if len(e.Keys) == 0 {
		return Report{}, annona.Invalid("public_key_missing", "a copy is verified with the public key of the ledger, which comes from elsewhere")
	}
	v, err := newVerifier(e)
	if err != nil {
		return Report{}, err
	}
	c := copyReader{verifier: v, lists: map[hash]bool{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	for n := 1; lines.Scan(); n++ {
		if err := c.line(n, lines.Bytes()); err != nil {
			return Report{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return Report{}, errCopy.Because(err)
	}
	if !c.begun {
		return Report{}, errCopy
	}
	if v.report.Signed < v.report.Entries {
		v.find(OfTree, "entries_unsigned", fmt.Sprintf("the copy has %d entries, its last checkpoint covers %d", v.report.Entries, v.report.Signed))
	}
	if c.content {
		v.checkMissing()
	} else {
		v.report.PartsDeleted = 0 // not deleted, not asked for
	}
	return v.finish(), nil
}

var errCopy = annona.Invalid("copy_malformed", "the file is no copy of a ledger, or it was damaged; annona ledger export makes one")

type copyReader struct {
	*verifier
	begun   bool
	content bool
	lists   map[hash]bool
}

func (c *copyReader) line(n int, text []byte) error {
	var line copyLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&line); err != nil || d.More() {
		return errCopy.AtPosition(n)
	}
	switch {
	case !c.begun:
		c.begun, c.content = line.Copy == copyFormat, line.Content
		if !c.begun {
			return errCopy.AtPosition(n)
		}
	case line.Leaf != nil:
		return c.leaf(n, line)
	case line.Fields != nil:
		c.lists[sha256.Sum256(line.Fields)] = true
	case line.Note != "":
		return c.note(n, line.Note)
	default:
		return errCopy.AtPosition(n)
	}
	return nil
}

// leaf takes one entry. What a store keeps beside the leaf follows from it here.
func (c *copyReader) leaf(n int, line copyLine) error {
	row := annona.LedgerRow{Index: c.next, Leaf: line.Leaf, Hash: hashLeaf(line.Leaf)}
	if l, err := decodeLeaf(line.Leaf); err == nil {
		row.ID, row.At, row.Kind, row.Request = l.id, l.time(), l.kind, l.request
	}
	for _, p := range line.Parts {
		part := annona.LedgerPart{Name: p.Name, Content: p.Content}
		if len(p.Salt) != len(part.Salt) {
			return errCopy.AtPosition(n)
		}
		copy(part.Salt[:], p.Salt)
		if s, err := decodeSubjects(p.Content); err == nil && strings.HasPrefix(p.Name, partSubjects) {
			part.Noun, part.Min, part.Max = s.noun, s.min(), s.max()
			part.Reach = reach(part.Min, part.Max)
		}
		if h, ok := listOf(part); ok && h != (hash{}) && !c.lists[h] {
			c.find(row.Index, "fields_missing", errFields.Message)
		}
		row.Parts = append(row.Parts, part)
	}
	c.entry(row)
	return nil
}

// note takes a checkpoint, which stands behind the last leaf that it covers.
func (c *copyReader) note(n int, signed string) error {
	_, stated, err := parseCheckpoint(signed)
	if err != nil {
		return errCopy.AtPosition(n)
	}
	stated.Note = signed
	if stated.Size != c.report.Entries {
		c.find(OfTree, "checkpoint_contradicted", fmt.Sprintf("a checkpoint of %d entries stands behind %d", stated.Size, c.report.Entries))
	}
	c.checkpoint(stated)
	return nil
}
