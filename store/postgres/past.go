package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/annona-exchange/annona"
)

// SettledLog returns the number of the last event, when what is queued now stands in the log.
func (s *Store) SettledLog(ctx context.Context) (head int64, err error) {
	if err := s.settle(ctx, queues{events: true}); err != nil {
		return 0, err
	}
	err = s.readers.ask(ctx, "read the state of the log", func(c *conn) (err error) {
		head, err = c.integer("SELECT coalesce(max(seq), 0) FROM log")
		return err
	})
	return head, err
}

const selectEvents = "SELECT l.seq, e.dataset, e.record, e.version, e.kind, e.before FROM log l JOIN events e ON e.event = l.event WHERE "

// EventsBehind returns events behind seq. See annona.Past.
func (s *Store) EventsBehind(ctx context.Context, seq int64, limit int) (events []annona.Event, err error) {
	err = s.readers.ask(ctx, "read the log", func(c *conn) (err error) {
		events, err = c.events(selectEvents+"l.seq > $1 ORDER BY l.seq LIMIT $2", seq, limit)
		return err
	})
	return events, err
}

// EventsAt returns events by their numbers. See annona.Past.
func (s *Store) EventsAt(ctx context.Context, seqs []int64) (events []annona.Event, err error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	err = s.readers.ask(ctx, "read the log", func(c *conn) (err error) {
		events, err = c.events(selectEvents+"l.seq = ANY ($1) ORDER BY l.seq", seqs)
		return err
	})
	return events, err
}

func (c *conn) events(sql string, args ...any) (events []annona.Event, err error) {
	err = c.each(sql, func(r row) error {
		events = append(events, annona.Event{
			Seq: r.integer(0), Dataset: r.text(1), Record: r.number(2), Version: int(r.integer(3)), Kind: annona.EventKind(r.text(4)), Before: r.bytes(5),
		})
		return nil
	}, args...)
	return events, err
}

// deletedEnd is the other end of a relationship that waits for somebody who is deleted.
const deletedEnd = `coalesce((SELECT d.number FROM deleted_records d WHERE d.source = %.source AND d.source_key = %.to_key AND d.dataset = 'individuals' LIMIT 1),
	(SELECT o.number FROM other_keys o WHERE o.source = %.source AND o.source_key = %.to_key AND o.dataset = 'individuals'))`

func endOf(relationship string) string {
	return "coalesce(" + relationship + ".to_number, " + strings.ReplaceAll(deletedEnd, "%", relationship) + ")"
}

// Ties returns what ties individuals and households together now. See annona.Past.
func (s *Store) Ties(ctx context.Context, individuals, households []annona.Number) (ties []annona.Tie, err error) {
	err = s.readers.ask(ctx, "read memberships and relationships", func(c *conn) error {
		return c.each(`SELECT individual, household, 0::bigint FROM memberships WHERE individual = ANY ($1)
			UNION SELECT individual, household, 0 FROM memberships WHERE household = ANY ($2)
			UNION SELECT r.from_number, 0, coalesce(`+endOf("r")+`, 0) FROM relationships r WHERE r.from_number = ANY ($1)`, func(r row) error {
			ties = append(ties, annona.Tie{Individual: r.number(0), Household: r.number(1), To: r.number(2)})
			return nil
		}, integers(individuals), integers(households))
	})
	return ties, err
}

// ReadPast appends rows as they were in a world. See annona.Past.
func (s *Store) ReadPast(ctx context.Context, scope annona.Scope, w *annona.World, numbers []annona.Number, page *annona.Page) error {
	if err := s.checkScope(scope); err != nil || len(numbers) == 0 {
		return err
	}
	return s.readers.read(ctx, "read "+scope.Dataset().Name+" as they were", func(c *conn) error {
		low, epoch, err := newLowering(c, scope)
		if err != nil {
			return err
		}
		page.Epoch = epoch
		if low.past, err = newPast(c, w); err != nil {
			return err
		}
		low.beginPast()
		return (&pageReading{conn: c, scope: scope, low: low}).rows(page, len(numbers), func(l *lowering, alias string) {
			l.write(" AND ", alias, ".number = ANY (")
			l.bind(integers(numbers))
			l.write(")")
		})
	})
}

// past puts tables as they were in front of a query: under the names of the tables that lie in the
// store, so that the query is the same as that of now. Each is made of the rows of those who are what
// they were and of the rows that whoever reads has brought, as JSON.
type past struct {
	day    annona.Date
	kept   map[string][]int64  // numbers, by dataset
	former map[string]string   // rows, by table
	index  map[string][]string // columns of the filters' index, by dataset
}

func newPast(c *conn, w *annona.World) (*past, error) {
	p := &past{
		day:    w.Day,
		kept:   map[string][]int64{"individuals": integers(w.Individuals), "households": integers(w.Households)},
		former: map[string]string{}, index: map[string][]string{},
	}
	for _, tb := range tables() {
		all, err := columnsOf(c, tb.dataset)
		if err != nil {
			return nil, err
		}
		for _, name := range all {
			if strings.HasPrefix(name, "f_") {
				p.index[tb.dataset] = append(p.index[tb.dataset], name)
			}
		}
	}
	rows := map[string][]map[string]any{"individuals": {}, "households": {}, "memberships": {}, "relationships": {}}
	for i := range w.Former {
		if err := addFormer(rows, &w.Former[i]); err != nil {
			return nil, err
		}
	}
	for table, all := range rows {
		text, err := json.Marshal(all)
		if err != nil {
			return nil, annona.Internal("write what records were", err)
		}
		p.former[table] = string(text)
	}
	return p, nil
}

// addFormer adds the rows of a record as it was.
func addFormer(rows map[string][]map[string]any, r *annona.FormerRecord) error {
	record, err := formerRow(r)
	if err != nil {
		return err
	}
	rows[r.Dataset.Name] = append(rows[r.Dataset.Name], record)
	for i := range r.Memberships {
		m, mark := &membership{Membership: r.Memberships[i]}, r.Marks.Memberships[i]
		rows["memberships"] = append(rows["memberships"], map[string]any{
			"household": m.Household, "rank": m.rank(), "number": mark.Number, "individual": r.Number, "uid": mark.UID.String(),
			"role": orNull(m.Role), "role_source_code": orNull(m.RoleSourceCode), "relationship_to_head": orNull(m.RelationshipToHead),
			"recipient_type": orNull(m.RecipientType), "is_primary": !m.NotPrimary, "start_date": orNull(string(m.StartDate)), "end_date": orNull(string(m.EndDate)),
		})
	}
	for i := range r.Relationships {
		t, mark := &r.Relationships[i], r.Marks.Relationships[i]
		to := any(t.To)
		if t.To == 0 {
			to = nil
		}
		rows["relationships"] = append(rows["relationships"], map[string]any{
			"from_number": r.Number, "number": mark.Number, "uid": mark.UID.String(), "to_number": to, "to_key": t.ToKey, "source": t.Source,
			"type": orNull(t.Type), "start_date": orNull(string(t.StartDate)), "end_date": orNull(string(t.EndDate)), "end_reason": orNull(t.EndReason),
		})
	}
	return nil
}

// formerRow is the row of the record itself; images are written as hexadecimal digits.
func formerRow(r *annona.FormerRecord) (map[string]any, error) {
	clear, clearGroups, err := r.Dataset.SplitGroups(r.Clear)
	if err != nil {
		return nil, annona.Internal("write what a record was", err)
	}
	sealed, sealedGroups, err := annona.CutSealed(r.Sealed)
	if err != nil {
		return nil, annona.Internal("write what a record was", err)
	}
	row := map[string]any{
		"number": r.Number, "source": r.Source, "updated_at": r.Marks.UpdatedAt, "version": r.Version, "household_number": r.Marks.Home,
		"clear": hexOrNull(clear), "sealed": hexOrNull(sealed), "clear_groups": hexOrNull(clearGroups), "sealed_groups": hexOrNull(sealedGroups),
	}
	for _, v := range r.Index {
		if !isIndexed(v.Field) {
			continue
		}
		value, err := indexValue(v)
		if err != nil {
			return nil, err
		}
		row[indexColumn(v.Field)] = value
	}
	return row, nil
}

// hexOrNull writes bytes as the server reads them.
func hexOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return `\x` + hex.EncodeToString(b)
}

// beginPast writes the tables.
func (l *lowering) beginPast() {
	if l.past == nil {
		return
	}
	l.write("WITH ")
	l.pastRecords("households", "households", "")
	l.write(", ")
	l.pastMemberships()
	l.write(", ")
	l.pastRelationships()
	l.write(", ")
	l.pastRecords("people", "individuals", ", household_number AS home")
	l.write(", ")
	l.pastIndividuals()
	l.write(" ")
}

// pastColumns are those of records that are read; the index follows.
const pastColumns = "number, uid, source, updated_at, received_at, version, clear, sealed, clear_groups, sealed_groups"

func (l *lowering) keptOf(dataset string) {
	l.write(" = ANY (")
	l.bind(l.past.kept[dataset])
	l.write("::bigint[])")
}

// formerOf writes the rows of a table that whoever reads has brought: row is the type whose columns
// they fill.
func (l *lowering) formerOf(row, table string) {
	l.write("jsonb_populate_recordset(NULL::annona.", row, ", ")
	l.bind(l.past.former[table])
	l.write("::text::jsonb)")
}

func (l *lowering) pastRecords(name, dataset, home string) {
	index := ""
	for _, column := range l.past.index[dataset] {
		index += ", %." + column
	}
	l.write(name, " AS MATERIALIZED (SELECT ", pastColumns, home, strings.ReplaceAll(index, "%.", ""), " FROM annona.", dataset, " WHERE number")
	l.keptOf(dataset)
	l.write(" UNION ALL SELECT j.number, coalesce(r.uid, d.uid), j.source, j.updated_at, coalesce(r.received_at, d.received_at), j.version, j.clear, j.sealed, j.clear_groups, j.sealed_groups")
	if home != "" {
		l.write(", j.household_number")
	}
	l.write(strings.ReplaceAll(index, "%", "j"), " FROM ")
	l.formerOf(dataset, dataset)
	l.write(" j LEFT JOIN annona.", dataset, " r ON r.number = j.number LEFT JOIN deleted_records d ON d.dataset = '", dataset,
		"' AND d.number = j.number WHERE coalesce(r.uid, d.uid) IS NOT NULL)")
}

func (l *lowering) pastMemberships() {
	const columns = "household, rank, number, individual, uid, role, role_source_code, relationship_to_head, recipient_type, is_primary, start_date, end_date"
	l.write("memberships AS MATERIALIZED (SELECT ", columns, " FROM annona.memberships WHERE individual")
	l.keptOf("individuals")
	l.write(" UNION ALL SELECT ", columns, " FROM ")
	l.formerOf("memberships", "memberships")
	l.write(" f)")
}

func (l *lowering) pastRelationships() {
	columns := "r.from_number, r.number, r.uid, " + endOf("r") + " AS to_number, r.type, r.start_date, r.end_date, r.end_reason, r.source"
	l.write("relationships AS MATERIALIZED (SELECT ", columns, " FROM annona.relationships r WHERE r.from_number")
	l.keptOf("individuals")
	l.write(" UNION ALL SELECT ", columns, " FROM ")
	l.formerOf("relationships", "relationships")
	l.write(" r)")
}

// pastIndividuals gives people their household lines: each the one that it had, where that held on
// the day.
func (l *lowering) pastIndividuals() {
	l.write(`lines AS MATERIALIZED (SELECT m.individual, m.household AS household_number, h.uid AS household_uid, m.role, m.role_source_code,
		m.relationship_to_head, h.f_area_code AS area_code, row_number() OVER (PARTITION BY m.individual ORDER BY (m.household = p.home) IS TRUE DESC, m.number) AS place
		FROM memberships m JOIN households h ON h.number = m.household JOIN people p ON p.number = m.individual WHERE m.is_primary`)
	day := l.day
	l.day = l.past.day
	l.active("m")
	l.day = day
	l.write(`), individuals AS MATERIALIZED (SELECT p.*, l.household_number, l.household_uid, l.role, l.role_source_code, l.relationship_to_head, l.area_code
		FROM people p LEFT JOIN lines l ON l.individual = p.number AND l.place = 1)`)
}
