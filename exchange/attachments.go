package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"strconv"

	"github.com/annona-exchange/annona"
)

// Attachments are files that belong to a case: letters, photographs, assessments. They are walled as notes
// are. The content is sealed part by part under the attachment's own key, which goes with its case. It is
// spooled before anything is written, so that an upload that breaks off has done nothing, and is never in
// memory whole.

// The bounds of attachments.
const (
	DefaultMaxAttachment = 10 << 20  // bytes of one
	attachmentPart       = 256 << 10 // bytes of a part
	maxAttachments       = 100       // of one case, of those that one caller sees
)

// Attachment is what is said of a file that is sent.
type Attachment struct {
	Name      string // of the file
	MediaType string // one of AttachmentTypes
	// Confidential: only those see that there is an attachment whom the agreement clears for what is restricted.
	Confidential bool
}

// AddAttachment adds a file to a case that the caller may see. Codes: attachment_too_large, attachment_type,
// attachment_mismatch, attachment_name, attachment_empty, too_many_attachments.
func (x *Exchange) AddAttachment(ctx context.Context, caller annona.Caller, purpose, id string, a Attachment, content io.Reader) (v CaseVerdict, err error) {
	d, i, err := x.attachmentDesk(ctx, caller, annona.VerbWriteCases, purpose, "attachment_id")
	if err != nil {
		return v, err
	}
	number, _, err := d.find(ctx, id)
	if err != nil {
		return v, err
	}
	if err := d.roomFor(ctx, i, number); err != nil {
		return v, err
	}
	kept, err := x.spoolAttachment(a, content)
	if err != nil {
		return v, err
	}
	defer kept.spool.Close()
	said, err := d.attachmentSaid(ctx, a, kept)
	if err != nil {
		return v, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		of, fields, err := d.hold(ctx, tx, number)
		if err != nil {
			return err
		}
		if err := withinShare([]string{partAttachments}, fields, false); err != nil {
			return err
		}
		fresh, err := tx.NewMatters(ctx, i.shape.Dataset, 1)
		if err != nil {
			return err
		}
		e, err := d.below(fresh[0], &of, a.Confidential)
		if err != nil {
			return err
		}
		if e.next, err = e.was.with(x.CurrentDictionary(), said); err != nil {
			return err
		}
		e.next.values["confidentiality"] = e.Confidentiality
		v = CaseVerdict{Verdict: VerdictCreated, ID: string(i.realm.AppendID(nil, e.UID[:]))}
		if err := x.putMatters(ctx, tx, d.cells, d.author("attach"), []matterEdit{e}); err != nil {
			return err
		}
		if err := x.putContent(ctx, tx, &e.Matter, kept.spool); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, d.entry("add_attachment", "case_attachments", nil, subjectsKnown(of.Subject)...))
	})
	return v, err
}

// attachmentDesk is a request about attachments, decided.
func (x *Exchange) attachmentDesk(ctx context.Context, caller annona.Caller, verb annona.Verb, purpose string, fields ...string) (*caseDesk, *inquiry, error) {
	d, err := x.caseDesk(ctx, caller, verb, purpose)
	if err != nil {
		return nil, nil, err
	}
	i, err := x.inquireMatters(ctx, caller, verb, "case_attachments", purpose, fields)
	if err == nil && (x.Attachments == nil || x.Spool == nil || x.Shredder == nil) {
		err = annona.Unavailable("attachments_unavailable", "this registry keeps no attachments")
	}
	return d, i, err
}

// MaxAttachment is how many bytes an attachment has at most.
func (x *Exchange) MaxAttachment() int64 {
	if x.AttachmentLimit > 0 {
		return x.AttachmentLimit
	}
	return DefaultMaxAttachment
}

// roomFor refuses more attachments of a case than it may have. Those that the caller does not see do not count.
func (d *caseDesk) roomFor(ctx context.Context, i *inquiry, number annona.Number) error {
	page := annona.NewPage(i.shape)
	choice := annona.MatterChoice{Parents: []annona.Number{number}}
	if _, err := d.x.readMatters(ctx, i.ownScope(d.x, i.shape, d.worker), choice, 0, maxAttachments, page); err != nil {
		return err
	}
	if page.Count >= maxAttachments {
		return annona.TooLarge("too_many_attachments", "a case has at most %d attachments; take one away first", maxAttachments)
	}
	return nil
}

// keptAttachment is a file that was received whole.
type keptAttachment struct {
	spool annona.Spool
	size  int64
	hash  string // hexadecimal
}

// spoolAttachment receives a file: what it says it is, and no more than there may be.
func (x *Exchange) spoolAttachment(a Attachment, content io.Reader) (kept keptAttachment, err error) {
	looks, err := lookFor(a)
	if err != nil {
		return kept, err
	}
	if kept.spool, err = x.Spool(); err != nil {
		return kept, err
	}
	defer func() {
		if err != nil {
			kept.spool.Close()
		}
	}()
	most, sum := x.MaxAttachment(), sha256.New()
	kept.size, err = io.Copy(io.MultiWriter(looks, sum, kept.spool), io.LimitReader(content, most+1))
	switch {
	case err != nil:
		return kept, err
	case kept.size > most:
		return kept, annona.TooLarge("attachment_too_large", "an attachment has at most %d bytes", most)
	case kept.size == 0:
		return kept, annona.Invalid("attachment_empty", "the body of the request is the file; it is empty")
	}
	if err := looks.verdict(); err != nil {
		return kept, err
	}
	kept.hash = hex.EncodeToString(sum.Sum(nil))
	return kept, kept.spool.End()
}

func (d *caseDesk) attachmentSaid(ctx context.Context, a Attachment, kept keptAttachment) (map[string]any, error) {
	said := map[string]any{"name": a.Name, "media_type": a.MediaType, "sha256": kept.hash, "size": json.Number(strconv.FormatInt(kept.size, 10)), "added_at": annona.Instant(d.x.Clock())}
	if d.worker == "" {
		return said, nil
	}
	user, err := d.x.Users.UserByID(ctx, d.caller.Acting.Person)
	if err == nil && user != nil {
		said["author"] = user.Name
	}
	return said, err
}

// putContent seals what was spooled and writes it, part by part.
func (x *Exchange) putContent(ctx context.Context, tx annona.Tx, m *annona.Matter, from annona.Spool) error {
	content, err := from.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	for part := 1; ; part++ {
		piece := make([]byte, attachmentPart)
		n, err := io.ReadFull(content, piece)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		cells := []annona.Cell{contentCell(m, part, piece[:n])}
		if err := x.Vault.Seal(ctx, cells); err != nil {
			return err
		}
		if err := tx.PutAttachmentPart(ctx, m.Number, part, cells[0].Image); err != nil {
			return err
		}
	}
}

func contentCell(m *annona.Matter, part int, image []byte) annona.Cell {
	return annona.Cell{Dataset: m.Dataset, Number: m.Number, Version: part, Part: annona.PartContent, Image: image}
}

// CaseAttachments returns a page of the attachments of a case, the oldest first, without their contents.
func (x *Exchange) CaseAttachments(ctx context.Context, caller annona.Caller, purpose, id string, fields []string, after string, limit int) (*Answer, error) {
	if err := checkLimit(limit, MaxLimit); err != nil {
		return nil, err
	}
	d, i, err := x.attachmentDesk(ctx, caller, annona.VerbReadCases, purpose, fields...)
	if err != nil {
		return nil, err
	}
	number, err := d.findShared(ctx, id, partAttachments)
	if err != nil {
		return nil, err
	}
	i.chosen = id
	return d.page(ctx, i, annona.MatterChoice{Parents: []annona.Number{number}}, after, limit)
}

// AttachmentContent is the content of an attachment. Whoever reads it to its end says with Sent how that
// ended.
type AttachmentContent struct {
	ending
	Request   annona.UID
	Schema    int
	Name      string
	MediaType string
	Size      int64 // bytes

	ctx   context.Context
	asked askedAttachment
	of    annona.Matter
	part  int
	rest  []byte // of the part that is being read
	left  int64
	sum   hash.Hash
	want  string
}

var errAttachment = annona.NotFound("no such attachment, or not one that you may see")

// contentFields are what an agreement names to let contents go.
var contentFields = []string{"name", "media_type", "size", "sha256"}

// OpenAttachment opens an attachment of a case that the caller may see. Each time is decided anew, and stands
// in the ledger. The agreement has to name the fields name and sha256, unaltered. Code content_not_granted.
func (x *Exchange) OpenAttachment(ctx context.Context, caller annona.Caller, purpose, id, attachment string) (*AttachmentContent, error) {
	asked := askedAttachment{caller, purpose, id, attachment}
	i, page, err := x.findContent(ctx, asked)
	if err != nil {
		return nil, err
	}
	c := &AttachmentContent{
		Request: i.request, Schema: i.schema, ctx: ctx, sum: sha256.New(), of: annona.Matter{Dataset: i.shape.Dataset, Number: page.Numbers[0]}, asked: asked,
	}
	if err := c.describe(page); err != nil {
		return nil, err
	}
	if _, err := x.release(ctx, i, page); err != nil {
		return nil, err
	}
	c.ending = i.ending(x)
	return c, nil
}

// askedAttachment is who asks for which content.
type askedAttachment struct {
	caller                  annona.Caller
	purpose, id, attachment string
}

// findContent finds an attachment whose content the caller may have at this moment.
func (x *Exchange) findContent(ctx context.Context, a askedAttachment) (*inquiry, *annona.Page, error) {
	d, i, err := x.attachmentDesk(ctx, a.caller, annona.VerbReadCases, a.purpose, contentFields...)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range i.shape.Columns {
		if granted, may := i.grant.Field(f); !may || granted.Treatment != annona.TreatPass {
			return nil, nil, annona.Forbidden("content_not_granted", "the agreement does not let contents of attachments go: it names their fields name, media_type, size and sha256 for that").On(f.Code)
		}
	}
	number, err := d.findShared(ctx, a.id, partAttachments)
	if err != nil {
		return nil, nil, err
	}
	uid, ok := i.realm.ParseID(a.attachment)
	if !ok {
		uid = annona.UID{} // nobody's: the query is made all the same
	}
	page := annona.NewPage(i.shape)
	if _, err := x.readOwn(ctx, i, d.worker, page, annona.MatterChoice{UIDs: []annona.UID{uid}, Parents: []annona.Number{number}}, 0, 1); err != nil {
		return nil, nil, err
	}
	if page.Count == 0 {
		return nil, nil, errAttachment
	}
	return i, page, nil
}

// Ask says why a download that runs may not go on: who downloads may not have the content any more, or does not see
// it, or it was taken away. Whoever sends it asks each second.
func (c *AttachmentContent) Ask(ctx context.Context) error {
	_, _, err := c.x.findContent(ctx, c.asked)
	return err
}

// describe takes what is said of the attachment from its row.
func (c *AttachmentContent) describe(page *annona.Page) (err error) {
	said := map[string]string{}
	for n, f := range page.Shape.Columns {
		said[f.Code] = string(page.Cell(n, 0))
	}
	c.Name, c.MediaType, c.want = said["name"], said["media_type"], said["sha256"]
	if c.Size, err = strconv.ParseInt(said["size"], 10, 64); err != nil {
		return annona.Internal("read the size of an attachment", err)
	}
	c.left = c.Size
	return nil
}

// Read reads the content. It ends with io.EOF when all of it was read, and is what was sent.
func (c *AttachmentContent) Read(p []byte) (int, error) {
	if c.left == 0 {
		if c.want != hex.EncodeToString(c.sum.Sum(nil)) {
			return 0, errContent
		}
		return 0, io.EOF
	}
	if len(c.rest) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.sum.Write(c.rest[:n])
	c.rest, c.left = c.rest[n:], c.left-int64(n)
	return n, nil
}

var errContent = annona.Internal("read an attachment", errors.New("the parts on file are not what was written"))

func (c *AttachmentContent) next() error {
	c.part++
	sealed, err := c.x.Attachments.AttachmentPart(c.ctx, c.of.Number, c.part)
	if err != nil {
		return err
	}
	if len(sealed) == 0 {
		return errAttachment // it was taken away meanwhile
	}
	cells := []annona.Cell{contentCell(&c.of, c.part, sealed)}
	if err := c.x.Vault.OpenCells(c.ctx, cells); err != nil {
		return err
	}
	if c.rest = cells[0].Image; len(c.rest) == 0 || int64(len(c.rest)) > c.left {
		return errContent
	}
	return nil
}

// RemoveAttachment takes an attachment away for good: its rows and the key that opens it.
func (x *Exchange) RemoveAttachment(ctx context.Context, caller annona.Caller, purpose, id, attachment string) error {
	d, i, err := x.attachmentDesk(ctx, caller, annona.VerbWriteCases, purpose, "attachment_id")
	if err != nil {
		return err
	}
	number, err := d.findShared(ctx, id, partAttachments)
	if err != nil {
		return err
	}
	found, _, err := d.findIn(ctx, i, attachment, errAttachment)
	if err != nil {
		return err
	}
	now := x.Clock()
	stone := annona.Tombstone{Reason: "not_necessary", ErasedAt: now, ExpiresAt: now.Add(tombstoneLife)}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		of, err := d.holdAttachment(ctx, tx, i.shape.Dataset, number, found)
		if err != nil {
			return err
		}
		if stone, err = x.buryMatter(ctx, tx, d.author("remove_attachment"), annona.MatterRef{Dataset: i.shape.Dataset.Name, Number: found}, stone); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, d.entry("remove_attachment", "case_attachments", nil, subjectsKnown(of.Subject)...))
	})
	if err != nil {
		return err
	}
	_, err = x.shred(ctx, caller, stone)
	return err
}

// holdAttachment locks a case and an attachment of it that the caller may take away.
func (d *caseDesk) holdAttachment(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, number, found annona.Number) (of matterEdit, err error) {
	of, fields, err := d.hold(ctx, tx, number)
	if err != nil {
		return of, err
	}
	if err := withinShare([]string{partAttachments}, fields, false); err != nil {
		return of, err
	}
	held, err := tx.HoldMatters(ctx, dataset, []annona.Number{found})
	if err != nil {
		return of, err
	}
	if len(held) == 0 || held[0].Parent != number || !d.cleared(&held[0]) {
		return of, errAttachment
	}
	return of, nil
}
