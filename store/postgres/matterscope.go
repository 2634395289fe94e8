package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// matterReading is the reading of one page of matters, by one statement.
//
// In its query m is the matter, and i or h whom it is about: an individual is the one into whom it was
// merged, as long as that holds.
type matterReading struct {
	*lowering
	*annona.MatterQuestion
	plan *rowPlan
}

// ReadMatters appends matters of scopes to pages, all in one round trip. Each page is read by one statement,
// with the policy epoch beside it: one statement is one moment. See annona.Matters.
func (s *Store) ReadMatters(ctx context.Context, questions ...*annona.MatterQuestion) error {
	read, anew := s.lookups.ask, true
	for _, q := range questions {
		if err := checkMatterScope(q.Scope); err != nil {
			return err
		}
		if q.Page.Count > 0 { // what is on it cannot be read again
			read, anew = s.lookups.read, false
		}
	}
	return read(ctx, "read pages of matters", func(c *conn) error {
		asked := make([]question, len(questions))
		for i, q := range questions {
			if anew {
				q.Page.Reset() // of what a connection that died has left
			}
			r := newMatterReading(q)
			if asked[i] = r.question(); r.err != nil {
				return r.err
			}
		}
		return c.askAll(asked...)
	})
}

func newMatterReading(q *annona.MatterQuestion) *matterReading {
	said := q.Scope.Terms().Said
	q.More = q.Limit <= 0
	return &matterReading{lowering: &lowering{terms: said, day: said.Today, restricted: true}, MatterQuestion: q}
}

// question lowers what is asked for; the epoch comes alone where there is nothing.
func (r *matterReading) question() question {
	from := r.Page.Count
	r.write("SELECT e.value, f.* FROM counters e LEFT JOIN LATERAL (")
	r.query()
	r.write(") f ON TRUE WHERE e.name = 'policy_epoch'")
	return question{r.text(), r.args, func(values row) error {
		r.Page.Epoch = values.integer(0)
		if values.absent(1) {
			return nil
		}
		err := r.read(values[1:])
		r.More = r.Page.Count-from == r.Limit
		return err
	}}
}

func checkMatterScope(scope annona.MatterScope) error {
	switch {
	case !scope.Valid():
		return annona.Internal("read matters", errors.New("no scope was given"))
	case matterSequences[scope.Shape().Dataset.Name] == "":
		return errMatter(scope.Shape().Dataset.Name)
	}
	return nil
}

func (r *matterReading) query() {
	shape := r.Scope.Shape()
	r.plan = newRecordPlan(shape, "m", matterColumns(shape.Dataset))
	subject := []string{"coalesce(i.number, h.number)", "CASE WHEN i.number IS NOT NULL THEN 'individuals' WHEN h.number IS NOT NULL THEN 'households' END"}
	r.write("SELECT ", r.plan.list(), ", ", subject[0], ", ", subject[1])
	r.shares()
	r.write(` FROM matters m
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
	r.write(") ORDER BY m.number LIMIT ")
	r.bind(max(0, r.Limit))
}

// shares selects what of a matter is shared with the owner of the scope, as an array; the last column.
func (r *matterReading) shares() {
	if r.Scope.Terms().Owner == "" {
		r.write(", NULL")
		return
	}
	r.write(", ARRAY (SELECT ROW (s.transition, s.until, s.consent, s.fields, s.edit) FROM matter_shares s WHERE s.dataset = ")
	r.bind(r.Scope.Shape().Dataset.Name)
	r.write(" AND s.number = m.number")
	r.sharedToday("m", r.Scope.Terms().Owner)
	r.write(" ORDER BY s.transition)")
}

// matterColumns are the expressions of derived fields of a matter.
func matterColumns(dataset *annona.Dataset) map[string]string {
	columns := map[string]string{
		"individual_id": "i.uid", "household_id": "h.uid", "source_system": "m.source", "owner": "m.owner", "version": "m.version::text",
		"last_updated": "m.updated_at", "registered_at": "m.registered_at",
	}
	if parent := dataset.Parent; parent != "" {
		columns[strings.TrimSuffix(parent, "s")+"_id"] = "(SELECT p.uid FROM matters p WHERE p.dataset = '" + parent + "' AND p.number = m.parent)"
	}
	columns[dataset.Key] = "m.uid"
	return columns
}

// read appends a row; its last three columns say whom the matter is about and what of it is shared.
func (r *matterReading) read(values row) error {
	page, at := r.Page, len(values)-3
	page.Subjects = append(page.Subjects, annona.SubjectRef{Number: values.number(at), Dataset: values.text(at + 1)})
	if err := r.plan.read(values[:at], page); err != nil || values.absent(at+2) {
		return err
	}
	return eachRecord(values[at+2], func(s row) error {
		page.Shares = append(page.Shares, annona.Share{
			Dataset: page.Shape.Dataset.Name, Number: page.Numbers[page.Count-1], Partner: r.Scope.Terms().Owner,
			By: s.uid(0), Until: s.date(1), Consent: purposeOf(s.text(2)), Fields: splitList(s.text(3)), Edit: s.truth(4),
		})
		return nil
	})
}

// choose writes what the caller picks.
func (r *matterReading) choose(c annona.MatterChoice) {
	r.anyOf("m.uid", len(c.UIDs), uids(c.UIDs))
	r.anyOf("m.number", len(c.Numbers), integers(c.Numbers))
	r.anyOf("m.parent", len(c.Parents), integers(c.Parents))
	r.anyOf("m.program", len(c.Programs), c.Programs)
	r.anyOf("m.state", len(c.States), c.States)
	for _, of := range []struct{ column, value string }{{"m.owner = ", c.Owner}, {"m.worker = ", c.Worker}, {"m.due >= ", string(c.DueFrom)}, {"m.due <= ", string(c.DueUntil)}} {
		if of.value != "" {
			r.write(" AND ", of.column)
			r.bind(of.value)
		}
	}
	if c.Concerns != "" {
		r.write(" AND strpos(")
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

func (r *matterReading) anyOf(column string, count int, values any) {
	if count > 0 {
		r.write(" AND ", column, " = ANY (")
		r.bind(values)
		r.write(")")
	}
}

// about writes that a matter is about somebody, or about one who was merged into them. Their numbers are found
// first, by the index of subjects: a plan for everybody would go through all matters in their order.
func (r *matterReading) about(subjects []annona.SubjectRef) {
	var people, households []annona.Number
	for _, s := range subjects {
		if s.Dataset == "households" {
			households = append(households, s.Number)
		} else {
			people = append(people, s.Number)
		}
	}
	numbers := func(of string) {
		r.write("SELECT a.number FROM matters a WHERE a.subject IS NOT NULL AND a.subject_dataset = '", of, "' AND a.dataset = ")
		r.bind(r.Scope.Shape().Dataset.Name)
		r.write(" AND a.subject = ANY (")
	}
	r.write(" AND m.number = ANY (ARRAY (")
	numbers("households")
	r.bind(integers(households))
	r.write("::bigint[]) UNION ALL ")
	numbers("individuals")
	r.write("ARRAY (SELECT unnest(")
	r.bind(integers(people))
	r.write("::bigint[]) UNION SELECT number FROM parts WHERE dataset = 'individuals' AND record = ANY (")
	r.bind(integers(people))
	r.write("))))) ")
}

// bySubject writes that a matter is of a program of the scope, and that whom it is about may be seen.
func (r *matterReading) bySubject() {
	programs := r.Scope.Terms().Programs
	if len(programs) == 0 {
		r.write("FALSE")
		return
	}
	r.write("(m.program = ANY (")
	r.bind(slices.Clone(programs))
	r.write(") AND coalesce(m.confidentiality, 'normal') = 'normal' AND (")
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
	of := lower(scope)
	r.terms, r.day, r.people, r.homes = of.terms, of.day, of.people, of.homes
	r.write("(")
	part()
	r.write(")")
	r.terms, r.day, r.people, r.homes = was.terms, was.day, was.people, was.homes
}

// byOwner writes that a matter is the partner's own, or is shared with it, and that whom it is about has
// said nothing against it. A matter that belongs to another one is walled as that one is.
func (r *matterReading) byOwner() {
	if r.Scope.Terms().Owner == "" {
		r.write("FALSE")
		return
	}
	r.write("((")
	r.held("m", r.Scope.Shape().Dataset.Name)
	if parent := r.Scope.Shape().Dataset.Parent; parent != "" {
		r.write(" OR m.owner IS NULL AND EXISTS (SELECT 1 FROM matters o WHERE o.dataset = '", parent, "' AND o.number = m.parent AND (")
		r.held("o", parent)
		r.write(") AND ")
		r.cleared("o")
		r.write(")")
	}
	r.write(") AND ")
	r.cleared("m")
	if parent := r.Scope.Shape().Dataset.Parent; parent != "" {
		r.write(" AND (m.parent IS NULL OR ")
		r.named("m")
		r.write(" OR EXISTS (SELECT 1 FROM matters o WHERE o.dataset = '", parent, "' AND o.number = m.parent AND ")
		r.cleared("o")
		r.write("))")
	}
	r.write(" AND (m.subject IS NULL AND ")
	r.ownedBy("m")
	if parent := r.Scope.Shape().Dataset.Parent; parent != "" {
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
	r.write(" AND (s.fields IS NULL OR strpos(s.fields, ")
	r.bind(joinList([]string{field}))
	r.write(") > 0)))")
}

// cleared writes that the caller may see a matter of that confidentiality.
func (r *matterReading) cleared(alias string) {
	codes := append([]string{"normal"}, r.Scope.Terms().Cleared...)
	r.write("(coalesce(", alias, ".confidentiality, 'normal') = ANY (")
	r.bind(codes)
	r.write(")")
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

// MatterEvents returns events of matters. See annona.Matters.
func (s *Store) MatterEvents(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number, after int64, limit int) (events []annona.Event, err error) {
	err = s.readers.ask(ctx, "read what became of matters", func(c *conn) error {
		events = nil
		return c.each(`SELECT event, id, at, actor, client, purpose, record, version, kind, reason, load, before FROM events
			WHERE dataset = $1 AND dataset NOT IN ('individuals', 'households') AND record = ANY ($2) AND event > $3 ORDER BY event LIMIT $4`, func(r row) error {
			events = append(events, annona.Event{
				Seq: r.integer(0), ID: r.uid(1), At: r.time(2), Actor: r.text(3), Client: r.uid(4), Purpose: r.text(5), Dataset: dataset.Name,
				Record: r.number(6), Version: int(r.integer(7)), Kind: annona.EventKind(r.text(8)), Reason: r.text(9), Load: r.integer(10), Before: r.bytes(11),
			})
			return nil
		}, dataset.Name, integers(numbers), after, limit)
	})
	return events, err
}

// MatterShares returns what a partner is let see. See annona.Matters.
func (s *Store) MatterShares(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number, partner string, day annona.Date) (shares []annona.Share, err error) {
	l := &lowering{terms: annona.ScopeTerms{Today: day}}
	l.write("SELECT s.number, s.transition, s.until, s.consent, s.fields, s.edit FROM matter_shares s JOIN matters o ON o.dataset = s.dataset AND o.number = s.number WHERE s.dataset = ")
	l.bind(dataset.Name)
	l.write(" AND s.number = ANY (")
	l.bind(integers(numbers))
	l.write(")")
	l.sharedToday("o", partner)
	l.write(" ORDER BY s.number, s.transition")
	sql := l.text()
	err = s.readers.ask(ctx, "read what is shared of matters", func(c *conn) error {
		shares = nil
		return c.each(sql, func(r row) error {
			shares = append(shares, annona.Share{
				Dataset: dataset.Name, Number: r.number(0), Partner: partner, By: r.uid(1), Until: r.date(2), Consent: purposeOf(r.text(3)),
				Fields: splitList(r.text(4)), Edit: r.truth(5),
			})
			return nil
		}, l.args...)
	})
	return shares, err
}

func uids(of []annona.UID) [][]byte {
	all := make([][]byte, len(of))
	for i := range of {
		all[i] = of[i][:]
	}
	return all
}
