package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// matterReading is the reading of one page of matters, in one read transaction.
//
// In its query m is the matter, and i or h whom it is about: an individual is the one into whom it was
// merged, as long as that holds.
type matterReading struct {
	*lowering
	*annona.MatterQuestion
}

// ReadMatters appends matters of scopes to pages, all in one read transaction. See annona.Matters.
func (s *Store) ReadMatters(ctx context.Context, questions ...*annona.MatterQuestion) error {
	if err := checkMatterQuestions(questions...); err != nil {
		return err
	}
	return s.readers.read(ctx, "read pages of matters", func(c *conn) error { return c.readMatters(questions...) })
}

func checkMatterQuestions(questions ...*annona.MatterQuestion) error {
	for _, q := range questions {
		if !q.Scope.Valid() {
			return errScope()
		}
		if err := checkMatters(q.Scope.Shape().Dataset); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) readMatters(questions ...*annona.MatterQuestion) error {
	epoch, err := c.counter("policy_epoch")
	for _, q := range questions {
		if err != nil {
			return err
		}
		q.Page.Epoch = epoch
		said := q.Scope.Terms().Said
		r := &matterReading{lowering: &lowering{conn: c, terms: said, day: said.Today, restricted: true}, MatterQuestion: q}
		err = r.read()
	}
	return err
}

// read appends the rows, and what of them is shared with the owner of the scope.
func (r *matterReading) read() error {
	from, shape := r.Page.Count, r.Scope.Shape()
	plan := r.query()
	if r.err != nil {
		return r.err
	}
	at := len(plan.selected)
	err := r.conn.each(r.sql.String(), func(stmt *sqlite.Stmt) error {
		r.Page.Subjects = append(r.Page.Subjects, annona.SubjectRef{Number: annona.Number(stmt.ColumnInt64(at)), Dataset: stmt.ColumnText(at + 1)})
		return plan.read(stmt, 0, r.Page)
	}, r.args...)
	if err != nil {
		return err
	}
	r.More = r.Page.Count-from == max(0, r.Limit)
	owner := r.Scope.Terms().Owner
	if owner == "" || r.Page.Count == from {
		return nil
	}
	shares, err := r.conn.matterShares(shape.Dataset, r.Page.Numbers[from:], owner, r.terms.Today)
	r.Page.Shares = append(r.Page.Shares, shares...)
	return err
}

func (r *matterReading) query() *rowPlan {
	shape := r.Scope.Shape()
	plan := newRecordPlan(shape, "m", matterColumns(shape.Dataset))
	r.write("SELECT ", plan.list(), `, coalesce(i.number, h.number), CASE WHEN i.number IS NOT NULL THEN 'individuals' WHEN h.number IS NOT NULL THEN 'households' END FROM matters m
		LEFT JOIN individuals i ON m.subject_dataset = 'individuals' AND i.number = coalesce((SELECT p.record FROM parts p WHERE p.number = m.subject AND p.dataset = 'individuals'), m.subject)
		LEFT JOIN households h ON m.subject_dataset = 'households' AND h.number = m.subject
		WHERE m.dataset = `)
	r.bind(shape.Dataset.Name)
	r.write(" AND m.number > ")
	r.bind(r.After)
	r.choose(r.Choice)
	r.write(" AND (")
	r.bySubject()
	r.write(" OR ")
	r.byOwner()
	r.write(") ORDER BY m.number LIMIT 0 + ")
	r.bind(max(0, r.Limit))
	return plan
}

// matterColumns are the expressions of derived fields of a matter.
func matterColumns(dataset *annona.Dataset) map[string]string {
	columns := map[string]string{
		"individual_id": "i.uid", "household_id": "h.uid", "source_system": "m.source", "owner": "m.owner", "version": "m.version",
		"last_updated": "m.updated_at", "registered_at": "m.registered_at",
	}
	if parent := dataset.Parent; parent != "" {
		columns[strings.TrimSuffix(parent, "s")+"_id"] = "(SELECT p.uid FROM matters p WHERE p.dataset = '" + parent + "' AND p.number = m.parent)"
	}
	columns[dataset.Key] = "m.uid"
	return columns
}

// choose writes what the caller picks.
func (r *matterReading) choose(c annona.MatterChoice) {
	r.anyOf("m.uid", len(c.UIDs), uidList(c.UIDs))
	r.anyOf("m.number", len(c.Numbers), numberList(c.Numbers))
	r.anyOf("m.parent", len(c.Parents), numberList(c.Parents))
	r.anyOf("m.program", len(c.Programs), textList(c.Programs))
	r.anyOf("m.state", len(c.States), textList(c.States))
	for _, of := range []struct{ column, value string }{{"m.owner = ", c.Owner}, {"m.worker = ", c.Worker}, {"m.due >= ", string(c.DueFrom)}, {"m.due <= ", string(c.DueUntil)}} {
		if of.value != "" {
			r.write(" AND ", of.column)
			r.bind(of.value)
		}
	}
	if c.Concerns != "" {
		r.write(" AND instr(")
		r.bind(listSeparator)
		r.write(" || m.program || ")
		r.bind(listSeparator)
		r.write(", ")
		r.bind(joinList([]string{c.Concerns}))
		r.write(") > 0")
	}
	for _, field := range c.Asked {
		r.shows(field)
	}
	if !c.Since.IsZero() {
		r.write(" AND m.updated_at >= ")
		r.bind(annona.Instant(c.Since))
	}
	if len(c.Subjects) > 0 {
		r.about(c.Subjects)
	}
}

// anyOf writes that a column has one of the values of a JSON list.
func (r *matterReading) anyOf(column string, count int, list string) {
	switch {
	case count == 0:
		return
	case column == "m.uid":
		r.write(" AND m.uid IN (SELECT unhex(value) FROM json_each(")
	default:
		r.write(" AND ", column, " IN (SELECT value FROM json_each(")
	}
	r.bind(list)
	r.write("))")
}

// about writes that a matter is about somebody, or about one who was merged into them. Their numbers are found
// first, by the index of subjects: otherwise all matters are gone through in their order.
func (r *matterReading) about(subjects []annona.SubjectRef) {
	numbers := map[string][]annona.Number{}
	for _, s := range subjects {
		numbers[s.Dataset] = append(numbers[s.Dataset], s.Number)
	}
	found := func(who, subject, of string) {
		r.write("SELECT a.number FROM ", who, " CROSS JOIN matters a INDEXED BY matters_subject ON a.subject = ", subject, " AND a.subject_dataset = '", of, "' AND a.dataset = ")
		r.bind(r.Scope.Shape().Dataset.Name)
	}
	listed := func(of string) {
		r.write("json_each(")
		r.bind(numberList(numbers[of]))
		r.write(") s")
	}
	r.write(" AND m.number IN (WITH people (number) AS (SELECT s.value FROM ")
	listed("individuals")
	r.write(" UNION SELECT p.number FROM ")
	listed("individuals")
	r.write(" CROSS JOIN parts p ON p.dataset = 'individuals' AND p.record = s.value), homes (number) AS (SELECT s.value FROM ")
	listed("households")
	r.write(") ")
	found("people", "people.number", "individuals")
	r.write(" UNION ALL ")
	found("homes", "homes.number", "households")
	r.write(")")
}

// bySubject writes that a matter is of a program of the scope, and that whom it is about may be seen.
func (r *matterReading) bySubject() {
	programs := r.Scope.Terms().Programs
	if len(programs) == 0 {
		r.write("FALSE")
		return
	}
	r.write("(m.program IN (SELECT value FROM json_each(")
	r.bind(textList(programs))
	r.write(")) AND coalesce(m.confidentiality, 'normal') = 'normal' AND (")
	r.within(r.Scope.People(), func() {
		v := individualView("i")
		r.write("i.number IS NOT NULL")
		r.meetsAlone(r.Scope.People().Rows(), v)
		r.allowed(v.individual)
	})
	r.write(" OR ")
	r.within(r.Scope.Households(), func() {
		v := householdView("h")
		r.write("h.number IS NOT NULL")
		r.meets(r.Scope.Households().Rows(), v)
		r.householdVisible(v)
	})
	r.write("))")
}

// within writes a part that is decided by a scope over records; nobody is seen by the zero one.
func (r *matterReading) within(scope annona.Scope, part func()) {
	if !scope.Valid() {
		r.write("FALSE")
		return
	}
	was := *r.lowering
	of, err := newLowering(r.conn, scope)
	if err != nil {
		r.fail(err)
	}
	r.terms, r.day, r.people, r.homes, r.restricted = of.terms, of.day, of.people, of.homes, of.restricted
	r.write("(")
	part()
	r.write(")")
	r.terms, r.day, r.people, r.homes, r.restricted = was.terms, was.day, was.people, was.homes, was.restricted
}

// byOwner writes that a matter is the partner's own, or is shared with it, and that whom it is about has
// said nothing against it. A matter that belongs to another one is walled as that one is.
func (r *matterReading) byOwner() {
	if r.Scope.Terms().Owner == "" {
		r.write("FALSE")
		return
	}
	parent := r.Scope.Shape().Dataset.Parent
	r.write("((")
	r.held("m", r.Scope.Shape().Dataset.Name)
	if parent != "" {
		r.write(" OR m.owner IS NULL AND EXISTS (SELECT 1 FROM matters o WHERE o.dataset = '", parent, "' AND o.number = m.parent AND (")
		r.held("o", parent)
		r.write(") AND ")
		r.cleared("o")
		r.write(")")
	}
	r.write(") AND ")
	r.cleared("m")
	if parent != "" {
		r.write(" AND (m.parent IS NULL OR ")
		r.named("m")
		r.write(" OR EXISTS (SELECT 1 FROM matters o WHERE o.dataset = '", parent, "' AND o.number = m.parent AND ")
		r.cleared("o")
		r.write("))")
	}
	r.write(" AND (m.subject IS NULL AND ")
	r.ownedBy("m")
	if parent != "" {
		r.write(" OR m.subject IS NULL AND EXISTS (SELECT 1 FROM matters o WHERE o.dataset = '", parent, "' AND o.number = m.parent AND ")
		r.ownedBy("o")
		r.write(")")
	}
	people := r.people
	r.people = nil
	r.write(" OR (i.number IS NOT NULL")
	r.allowed("i")
	r.write(") OR (h.number IS NOT NULL")
	r.householdVisible(householdView("h"))
	r.write(")))")
	r.people = people
}

func (r *matterReading) ownedBy(alias string) {
	r.write(alias, ".owner = ")
	r.bind(r.Scope.Terms().Owner)
}

// held writes that the partner has a matter, or that it is shared with it today.
func (r *matterReading) held(alias, dataset string) {
	r.ownedBy(alias)
	r.write(" OR EXISTS (SELECT 1 FROM matter_shares s WHERE s.dataset = '", dataset, "' AND s.number = ", alias, ".number")
	r.sharedToday(alias, r.Scope.Terms().Owner)
	r.write(")")
}

// sharedToday writes that a share s of a matter is a partner's and has not ended: its day has not passed, and the
// consent that it needs holds.
func (l *lowering) sharedToday(matter, partner string) {
	l.write(" AND s.partner = ")
	l.bind(partner)
	l.write(" AND (s.until IS NULL OR s.until >= ")
	l.bind(l.terms.Today)
	c := l.alias("c")
	l.write(") AND (s.consent IS NULL OR EXISTS (SELECT 1 FROM consents ", c, " WHERE ", c, ".subject = ", subjectOf(matter))
	l.givenFor(c, func() { l.write("s.consent") }, partner)
	l.write("))")
}

// subjectOf is the individual whom a matter is about, or into whom that one was merged; null: it is about nobody or a household.
func subjectOf(matter string) string {
	if matter == "m" {
		return "i.number"
	}
	return "CASE WHEN " + matter + ".subject_dataset = 'individuals' THEN coalesce((SELECT p.record FROM parts p WHERE p.number = " + matter +
		".subject AND p.dataset = 'individuals'), " + matter + ".subject) END"
}

// shows writes that the partner has the matter, or that a field of it is shared with it today.
func (r *matterReading) shows(field string) {
	r.write(" AND (")
	r.ownedBy("m")
	r.write(" OR EXISTS (SELECT 1 FROM matter_shares s WHERE s.dataset = '", r.Scope.Shape().Dataset.Name, "' AND s.number = m.number")
	r.sharedToday("m", r.Scope.Terms().Owner)
	r.write(" AND (s.fields IS NULL OR instr(s.fields, ")
	r.bind(joinList([]string{field}))
	r.write(") > 0)))")
}

// cleared writes that the caller may see a matter of that confidentiality.
func (r *matterReading) cleared(alias string) {
	r.write("(coalesce(", alias, ".confidentiality, 'normal') IN (SELECT value FROM json_each(")
	r.bind(textList(append([]string{"normal"}, r.Scope.Terms().Cleared...)))
	r.write("))")
	r.write(" OR ")
	r.named(alias)
	r.write(")")
}

// named writes that a matter of named persons names who asks.
func (r *matterReading) named(alias string) {
	worker := r.Scope.Terms().Worker
	if worker == "" {
		r.write("FALSE")
		return
	}
	r.write(alias, ".confidentiality = 'named_persons' AND ", alias, ".worker = ")
	r.bind(worker)
}

// textList and uidList are JSON lists for a query.
func textList(texts []string) string {
	list, _ := json.Marshal(texts) // of strings: it does not fail
	return string(list)
}

func uidList(uids []annona.UID) string {
	texts := make([]string, len(uids))
	for i := range uids {
		texts[i] = hex.EncodeToString(uids[i][:])
	}
	return textList(texts)
}
