package exchange

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// The entity tag of a case names a version, and shows no number. Whoever is shown the version of a case gets the tag
// of that. To everybody else the tag is that of the version since which they are shown the same: it moves when
// something moves that they see, and with nothing else.

// tag is the entity tag of a version of a matter.
func (d *caseDesk) tag(m *annona.Matter, version int) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(version))
	hash := d.x.Vault.Tag(appendTexts(nil, "matter", d.i.grant.Agreement.Name, m.UID.String(), string(b)))
	return `"` + base64.RawURLEncoding.EncodeToString(hash[:]) + `"`
}

// tagNow is the entity tag of a matter as it stands.
func (d *caseDesk) tagNow(ctx context.Context, m *annona.Matter, stands document) (string, error) {
	version, err := d.sameSince(ctx, m, stands)
	return d.tag(m, version), err
}

// versionOf reads the version that an entity tag of this matter names: of what stands now, when the caller is shown
// the same.
func (d *caseDesk) versionOf(ctx context.Context, m *annona.Matter, stands document, tag string) (int, error) {
	switch {
	case tag == "":
		return 0, annona.Invalid("if_match_missing", "say which version you have read: the ETag of the case, in the header If-Match").On("If-Match")
	case len(tag) > 1 && tag[:2] == "W/":
		return 0, annona.Invalid("if_match_weak", "a weak entity tag does not say which version you have read; send the ETag of the case as it came").On("If-Match")
	case tag == d.tag(m, m.Version):
		return m.Version, nil
	}
	since, err := d.sameSince(ctx, m, stands)
	if err != nil {
		return 0, err
	}
	for version := m.Version - 1; version > 0 && version >= min(since, m.Version-oldestRead); version-- {
		switch {
		case d.tag(m, version) != tag:
		case version >= since:
			return m.Version, nil
		default:
			return version, nil
		}
	}
	return 0, annona.Stale("version_unknown", "the entity tag is none of this case, or of a version that is too old; read it again").On("If-Match")
}

// sameSince is the first version of a matter from which on the caller is shown what stands now.
func (d *caseDesk) sameSince(ctx context.Context, m *annona.Matter, stands document) (int, error) {
	s, err := d.sightOf(ctx, m)
	if err != nil || s.each {
		return m.Version, err
	}
	var run []byte
	since, next := m.Version, 0
	for after := int64(0); ; {
		events, err := d.x.Matters.MatterEvents(ctx, m.Dataset, []annona.Number{m.Number}, after, pastEvents)
		if err != nil {
			return 0, err
		}
		for _, e := range events {
			after = e.Seq
			if len(e.Before) == 0 {
				continue
			}
			former, err := annona.ParseFormer(e.Before)
			if err != nil {
				return 0, err
			}
			doc, err := d.x.formerDocument(ctx, m, former)
			if err != nil {
				return 0, err
			}
			if seen := s.of(doc); next == 0 || !slices.Equal(seen, run) {
				since, run = former.Version, seen
			}
			next = former.Version + 1
		}
		if len(events) < pastEvents {
			break
		}
	}
	if next == 0 || slices.Equal(s.of(stands), run) {
		return since, nil
	}
	return next, nil
}

// sight is what of a matter a caller is shown.
type sight struct {
	d      *caseDesk
	each   bool     // its version, and with that each change
	shared []string // the fields that are shared with the caller; nil: all of them
}

func (d *caseDesk) sightOf(ctx context.Context, m *annona.Matter) (s sight, err error) {
	s = sight{d: d, each: d.passes("version")}
	if m.Owner == d.i.partner() {
		return s, nil
	}
	shares, err := d.x.Matters.MatterShares(ctx, m.Dataset, []annona.Number{m.Number}, d.i.partner(), d.today)
	if slices.ContainsFunc(shares, func(of annona.Share) bool { return len(of.Fields) == 0 }) {
		return s, err
	}
	s.shared = []string{}
	for _, of := range shares {
		s.shared = append(s.shared, of.Fields...)
	}
	s.each = s.each && slices.Contains(s.shared, "version")
	return s, err
}

// of is what a document shows, in one canonical form. Values that the agreement shows altered are compared as they are
// shown.
func (s *sight) of(doc document) (seen []byte) {
	d := s.d
	shape := &annona.Shape{Dataset: doc.of}
	for _, f := range doc.of.Fields {
		_, granted := d.i.grant.Field(f)
		switch {
		case !granted || !liesWith(f) || f.Type == annona.TypeID || f.Type == annona.TypeRef || s.shared != nil && !slices.Contains(s.shared, f.Base.Code):
		case f.Type != annona.TypeGroup:
			shape.Columns = append(shape.Columns, f)
		default:
			seen = s.appendItems(annona.AppendItem(seen, annona.Image(f.Code)), f, doc.groups[f.Code])
		}
	}
	shown := d.i.plan(shape).Redact(pageOf(shape, 0, doc.plain())).Page()
	for c, f := range shape.Columns {
		seen = appendTexts(seen, f.Code, string(shown.Cell(c, 0)))
	}
	for code := range doc.values {
		if strings.HasPrefix(code, "provisional_") { // it is linked to somebody on file when it has none
			return appendTexts(seen, "provisional")
		}
	}
	return seen
}

// appendItems appends what is shown of the items of a group.
func (s *sight) appendItems(seen []byte, group *annona.Field, items []map[string]string) []byte {
	rows, _ := s.d.x.CurrentDictionary().Dataset(group.Group)
	for _, item := range items {
		for _, f := range rows.Fields {
			if granted, may := s.d.i.grant.Field(f); may && granted.Treatment == annona.TreatPass && item[f.Code] != "" {
				seen = appendTexts(seen, f.Code, item[f.Code])
			}
		}
		seen = appendTexts(seen, "")
	}
	return seen
}

// tagOf is the entity tag of the one case that a choice picks; empty when there is none.
func (d *caseDesk) tagOf(ctx context.Context, choice annona.MatterChoice) (string, error) {
	cases := d.dataset("cases")
	version, _ := cases.Field("version")
	owner, _ := cases.Field("owner")
	page := annona.NewPage(&annona.Shape{Dataset: cases, Columns: []*annona.Field{version, owner}})
	if _, err := d.x.readMatters(ctx, d.i.ownScope(d.x, page.Shape, d.worker), choice, 0, 1, page); err != nil || page.Count == 0 {
		return "", err
	}
	n, err := strconv.Atoi(string(page.Cell(0, 0)))
	if err != nil {
		return "", annona.Internal("read the version of a matter", err)
	}
	m := annona.Matter{Dataset: cases, Number: page.Numbers[0], UID: page.UIDs[0], Version: n, Owner: string(page.Cell(1, 0))}
	if s, err := d.sightOf(ctx, &m); err != nil || s.each {
		return d.tag(&m, m.Version), err
	}
	stands, err := d.documentOf(ctx, choice)
	if err != nil {
		return "", err
	}
	return d.tagNow(ctx, &m, stands)
}

// documentOf is what the one case that a choice picks says of all that the agreement grants; nothing when there is none.
func (d *caseDesk) documentOf(ctx context.Context, choice annona.MatterChoice) (document, error) {
	doc := newDocument(d.dataset("cases"))
	i, err := d.x.inquireMatters(ctx, d.caller, d.i.verb, "cases", d.i.question.Purpose, nil)
	if err != nil {
		return doc, err
	}
	page := annona.NewPage(i.shape)
	err = d.x.readOpen(ctx, page, func() error {
		_, err := d.x.readMatters(ctx, d.i.ownScope(d.x, page.Shape, d.worker), choice, 0, 1, page)
		return err
	})
	if err != nil || page.Count == 0 {
		return doc, err
	}
	doc.values = textsAt(page, 0)
	for g := range page.Groups {
		rows := &page.Groups[g]
		for row, end := rows.Rows(0); row < end; row++ {
			code := page.Shape.Groups[g].Field.Code
			doc.groups[code] = append(doc.groups[code], textsAt(rows.Page, row))
		}
	}
	return doc, nil
}

// textsAt are the values of a row, by the names of their fields.
func textsAt(page *annona.Page, row int) map[string]string {
	texts := map[string]string{}
	for _, v := range valuesAt(page, row) {
		texts[v.Field.Code] = v.Text
	}
	return texts
}
