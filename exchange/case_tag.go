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

// The entity tag of a case names a version, and shows no number. Whoever is shown when a case last changed gets the tag
// of the version that stands. To everybody else the tag is that of the version since which they are shown the same: it
// moves when something moves that they see, and with nothing else.

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
	if err != nil {
		return 0, err
	}
	return s.sameSince(ctx, m, stands)
}

// sameSince is the same of a matter that is seen in this way.
func (s *sight) sameSince(ctx context.Context, m *annona.Matter, stands document) (int, error) {
	if s.each {
		return m.Version, nil
	}
	d := s.d
	var run []byte
	since, next := m.Version, 0
	for was, err := range d.formers(ctx, m) {
		if err != nil {
			return 0, err
		}
		if was.Version >= m.Version { // others have written since the matter was read
			break
		}
		doc, err := d.x.formerDocument(ctx, m, was.Former)
		if err != nil {
			return 0, err
		}
		if seen := s.of(doc); next == 0 || !slices.Equal(seen, run) {
			since, run = was.Version, seen
		}
		next = was.Version + 1
	}
	if next == 0 || slices.Equal(s.of(stands), run) {
		return since, nil
	}
	return next, nil
}

// sight is what of a matter a caller is shown.
type sight struct {
	d      *caseDesk
	each   bool     // when it last changed, and with that each change
	shared []string // the fields that are shared with the caller; nil: all of them
}

// movesWithAll is the field that moves with each change of a case, also of what its reader does not see.
const movesWithAll = "last_updated"

func (d *caseDesk) sightOf(ctx context.Context, m *annona.Matter) (sight, error) {
	if m.Owner == d.i.partner() {
		return d.sightUnder(nil), nil
	}
	shares, err := d.x.Matters.MatterShares(ctx, m.Dataset, []annona.Number{m.Number}, d.i.partner(), d.today)
	if err == nil && len(shares) == 0 {
		err = errCase
	}
	return d.sightUnder(shares), err
}

// sightUnder is what is shown of a matter under what is shared of it; none: it is the caller's own.
func (d *caseDesk) sightUnder(shares []annona.Share) sight {
	s := sight{d: d, each: d.passes(movesWithAll)}
	whole := slices.ContainsFunc(shares, func(of annona.Share) bool { return len(of.Fields) == 0 })
	if len(shares) == 0 || whole {
		return s
	}
	for _, of := range shares {
		s.shared = append(s.shared, of.Fields...)
	}
	s.each = s.each && slices.Contains(s.shared, movesWithAll)
	return s
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
		if isProvisional(code) { // it is linked to somebody on file when it has none
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

// tagged reads the one case that a choice picks, with what its tag is made of, in one question: both are of one
// moment. Only where a share shows less than the agreement is it asked once more, for all that the agreement grants.
func (d *caseDesk) tagged(ctx context.Context, choice annona.MatterChoice) (page *annona.Page, tag string, err error) {
	for whole := !d.passes(movesWithAll); ; whole = true {
		shape, err := d.taggedShape(whole)
		if err != nil {
			return nil, "", err
		}
		page = annona.NewPage(shape)
		if _, err := d.x.readOwnWhole(ctx, d.i, d.worker, page, choice, 0, 1); err != nil || page.Count == 0 {
			return page, "", err
		}
		if seen := d.sightUnder(page.Shares); whole || seen.each {
			tag, err = d.tagOn(ctx, &seen, page)
			return page, tag, err
		}
	}
}

// taggedShape is the shape of what is asked for, with the version of the case; whole: and with all else that its tag
// may depend on.
func (d *caseDesk) taggedShape(whole bool) (*annona.Shape, error) {
	shape := joinShapes(d.i.shape, &annona.Shape{Columns: []*annona.Field{annona.MatterVersion()}})
	if !whole {
		return shape, nil
	}
	q := Question{Dataset: "cases", Purpose: d.i.question.Purpose, matters: true}
	granted, err := d.x.questions.compile(d.x.CurrentDictionary(), d.i.grant, d.caller, q)
	if err != nil {
		return nil, err
	}
	provisional := &annona.Shape{}
	for _, f := range d.i.shape.Dataset.Fields {
		if isProvisional(f.Code) {
			provisional.Columns = append(provisional.Columns, f)
		}
	}
	return joinShapes(joinShapes(shape, granted.shape), provisional), nil
}

// isProvisional reports whether a field says who somebody is that is not on file.
func isProvisional(code string) bool { return strings.HasPrefix(code, "provisional_") }

// tagOn is the entity tag of the one case of a page that has the tagged shape.
func (d *caseDesk) tagOn(ctx context.Context, seen *sight, page *annona.Page) (string, error) {
	version, err := strconv.Atoi(string(page.Cell(page.Shape.Column(annona.MatterVersion().Code), 0)))
	if err != nil {
		return "", annona.Internal("read the version of a matter", err)
	}
	m := annona.Matter{Dataset: page.Shape.Dataset, Number: page.Numbers[0], UID: page.UIDs[0], Version: version}
	since, err := seen.sameSince(ctx, &m, documentOn(page))
	return d.tag(&m, since), err
}

// documentOn is what the one matter of a page says.
func documentOn(page *annona.Page) document {
	doc := newDocument(page.Shape.Dataset)
	doc.values = textsAt(page, 0)
	for g := range page.Groups {
		rows := &page.Groups[g]
		for row, end := rows.Rows(0); row < end; row++ {
			code := page.Shape.Groups[g].Field.Code
			doc.groups[code] = append(doc.groups[code], textsAt(rows.Page, row))
		}
	}
	return doc
}

// joinShapes is a shape with the columns and groups of two.
func joinShapes(a, b *annona.Shape) *annona.Shape {
	all := &annona.Shape{Dataset: a.Dataset, Columns: slices.Clone(a.Columns), Groups: slices.Clone(a.Groups)}
	for _, f := range b.Columns {
		if all.Column(f.Code) < 0 {
			all.Columns = append(all.Columns, f)
		}
	}
	for _, g := range b.Groups {
		if at := all.Group(g.Field.Code); at >= 0 {
			all.Groups[at].Shape = joinShapes(all.Groups[at].Shape, g.Shape)
			continue
		}
		all.Groups = append(all.Groups, g)
	}
	return all
}

// narrowTo leaves of a page the columns and groups of a shape.
func narrowTo(page *annona.Page, shape *annona.Shape) {
	columns, groups := make([]annona.Column, len(shape.Columns)), make([]annona.Group, len(shape.Groups))
	for n, f := range shape.Columns {
		columns[n] = page.Columns[page.Shape.Column(f.Code)]
	}
	for n, g := range shape.Groups {
		groups[n] = page.Groups[page.Shape.Group(g.Field.Code)]
		narrowTo(groups[n].Page, g.Shape)
	}
	page.Shape, page.Columns, page.Groups = shape, columns, groups
}

// textsAt are the values of a row, by the names of their fields.
func textsAt(page *annona.Page, row int) map[string]string {
	texts := map[string]string{}
	for _, v := range valuesAt(page, row) {
		texts[v.Field.Code] = v.Text
	}
	return texts
}
