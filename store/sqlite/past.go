package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// SettledLog returns the number of the last event. Here every change stands in the log when it is
// committed.
func (s *Store) SettledLog(ctx context.Context) (head int64, err error) {
	err = s.readers.read(ctx, "read the state of the log", func(c *conn) (err error) {
		head, err = c.integer("SELECT coalesce(max(seq), 0) FROM events")
		return err
	})
	return head, err
}

const selectEvents = "SELECT seq, dataset, record, version, kind, before FROM events WHERE "

// EventsBehind returns events behind seq. See annona.Past.
func (s *Store) EventsBehind(ctx context.Context, seq int64, limit int) (events []annona.Event, err error) {
	err = s.readers.read(ctx, "read the log", func(c *conn) (err error) {
		events, err = c.events(selectEvents+"seq > ? ORDER BY seq LIMIT ?", seq, limit)
		return err
	})
	return events, err
}

// EventsAt returns events by their numbers. See annona.Past.
func (s *Store) EventsAt(ctx context.Context, seqs []int64) (events []annona.Event, err error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	numbers := make([]annona.Number, len(seqs))
	for i, seq := range seqs {
		numbers[i] = annona.Number(seq)
	}
	err = s.readers.read(ctx, "read the log", func(c *conn) (err error) {
		events, err = c.events(selectEvents+"seq IN (SELECT value FROM json_each(?)) ORDER BY seq", numberList(numbers))
		return err
	})
	return events, err
}

func (c *conn) events(sql string, args ...any) (events []annona.Event, err error) {
	err = c.each(sql, func(s *sqlite.Stmt) error {
		events = append(events, annona.Event{
			Seq: s.ColumnInt64(0), Dataset: s.ColumnText(1), Record: annona.Number(s.ColumnInt64(2)), Version: int(s.ColumnInt64(3)),
			Kind: annona.EventKind(s.ColumnText(4)), Before: columnBytes(s, 5),
		})
		return nil
	}, args...)
	return events, err
}

// deletedEnd is the other end of a relationship that waits for somebody who is deleted.
const deletedEnd = `coalesce((SELECT d.number FROM deleted_records d WHERE d.source = %.source AND d.source_key = %.to_key AND d.dataset = 'individuals'),
	(SELECT o.number FROM other_keys o WHERE o.source = %.source AND o.source_key = %.to_key AND o.dataset = 'individuals'))`

func endOf(relationship string) string {
	return "coalesce(" + relationship + ".to_number, " + strings.ReplaceAll(deletedEnd, "%", relationship) + ")"
}

// Ties returns what ties individuals and households together now. See annona.Past.
func (s *Store) Ties(ctx context.Context, individuals, households []annona.Number) (ties []annona.Tie, err error) {
	err = s.readers.read(ctx, "read memberships and relationships", func(c *conn) error {
		people, homes := numberList(individuals), numberList(households)
		return c.each(`SELECT individual, household, 0 FROM memberships WHERE individual IN (SELECT value FROM json_each(?1))
			UNION SELECT individual, household, 0 FROM memberships WHERE household IN (SELECT value FROM json_each(?2))
			UNION SELECT r.from_number, 0, `+endOf("r")+` FROM relationships r WHERE r.from_number IN (SELECT value FROM json_each(?1))`, func(s *sqlite.Stmt) error {
			ties = append(ties, annona.Tie{
				Individual: annona.Number(s.ColumnInt64(0)), Household: annona.Number(s.ColumnInt64(1)), To: annona.Number(s.ColumnInt64(2)),
			})
			return nil
		}, people, homes)
	})
	return ties, err
}

// ReadPast appends rows as they were in a world. See annona.Past.
func (s *Store) ReadPast(ctx context.Context, scope annona.Scope, w *annona.World, numbers []annona.Number, page *annona.Page) error {
	if err := s.checkScope(scope); err != nil || len(numbers) == 0 {
		return err
	}
	return s.readers.read(ctx, "read "+scope.Dataset().Name+" as they were", func(c *conn) error {
		low, err := newLowering(c, scope)
		if err != nil {
			return err
		}
		if page.Epoch, err = c.counter("policy_epoch"); err != nil {
			return err
		}
		if low.past, err = newPast(c, w); err != nil {
			return err
		}
		low.beginPast()
		return (&reading{conn: c, scope: scope, low: low}).rows(page, len(numbers), func(l *lowering, alias string) {
			l.write(" AND ", alias, ".number IN (SELECT value FROM json_each(")
			l.bind(numberList(numbers))
			l.write("))")
		})
	})
}

// past puts tables as they were in front of a query: under the names of the tables that lie in the
// store, so that the query is the same as that of now. Each is made of the rows of those who are what
// they were and of the rows that whoever reads has brought, as JSON.
type past struct {
	day    annona.Date
	kept   map[string]string   // numbers, by dataset
	former map[string]string   // rows, by table
	index  map[string][]string // columns of the filters' index, by dataset
}

func newPast(c *conn, w *annona.World) (*past, error) {
	p := &past{
		day:    w.Day,
		kept:   map[string]string{"individuals": numberList(w.Individuals), "households": numberList(w.Households)},
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
			"household": m.Household, "rank": m.rank(), "number": mark.Number, "individual": r.Number, "uid": hex.EncodeToString(mark.UID[:]),
			"role": textOrNull(m.Role), "role_source_code": textOrNull(m.RoleSourceCode), "relationship_to_head": textOrNull(m.RelationshipToHead),
			"recipient_type": textOrNull(m.RecipientType), "is_primary": !m.NotPrimary, "start_date": textOrNull(string(m.StartDate)), "end_date": textOrNull(string(m.EndDate)),
		})
	}
	for i := range r.Relationships {
		t, mark := &r.Relationships[i], r.Marks.Relationships[i]
		to := any(t.To)
		if t.To == 0 {
			to = nil
		}
		rows["relationships"] = append(rows["relationships"], map[string]any{
			"from_number": r.Number, "number": mark.Number, "uid": hex.EncodeToString(mark.UID[:]), "to_number": to, "to_key": t.ToKey, "source": t.Source,
			"type": textOrNull(t.Type), "start_date": textOrNull(string(t.StartDate)), "end_date": textOrNull(string(t.EndDate)), "end_reason": textOrNull(t.EndReason),
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
		"number": r.Number, "source": r.Source, "updated_at": r.Marks.UpdatedAt, "version": r.Version, "home": r.Marks.Home,
		"clear": hex.EncodeToString(clear), "sealed": hex.EncodeToString(sealed),
		"clear_groups": hex.EncodeToString(clearGroups), "sealed_groups": hex.EncodeToString(sealedGroups),
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

func textOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
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
	l.write("(SELECT value FROM json_each(")
	l.bind(l.past.kept[dataset])
	l.write("))")
}

func (l *lowering) pastRecords(name, dataset, home string) {
	l.write(name, " AS MATERIALIZED (SELECT ", pastColumns, home)
	for _, column := range l.past.index[dataset] {
		l.write(", ", column)
	}
	l.write(" FROM main.", dataset, " WHERE number IN ")
	l.keptOf(dataset)
	l.write(" UNION ALL SELECT j.value->>'number', coalesce(r.uid, d.uid), j.value->>'source', j.value->>'updated_at', coalesce(r.received_at, d.received_at), j.value->>'version'")
	for _, image := range []string{"clear", "sealed", "clear_groups", "sealed_groups"} {
		l.write(", nullif(unhex(j.value->>'", image, "'), x'')")
	}
	if home != "" {
		l.write(", j.value->>'home'")
	}
	for _, column := range l.past.index[dataset] {
		l.write(", j.value->>'", column, "'")
	}
	l.write(" FROM json_each(")
	l.bind(l.past.former[dataset])
	l.write(") j LEFT JOIN main.", dataset, " r ON r.number = j.value->>'number' LEFT JOIN deleted_records d ON d.dataset = '", dataset,
		"' AND d.number = j.value->>'number' WHERE coalesce(r.uid, d.uid) IS NOT NULL)")
}

func (l *lowering) pastMemberships() {
	l.write(`memberships AS MATERIALIZED (SELECT household, rank, number, individual, uid, role, role_source_code, relationship_to_head, recipient_type,
		is_primary, start_date, end_date FROM main.memberships WHERE individual IN `)
	l.keptOf("individuals")
	l.write(` UNION ALL SELECT value->>'household', value->>'rank', value->>'number', value->>'individual', unhex(value->>'uid'), value->>'role', value->>'role_source_code',
		value->>'relationship_to_head', value->>'recipient_type', value->>'is_primary', value->>'start_date', value->>'end_date' FROM json_each(`)
	l.bind(l.past.former["memberships"])
	l.write(") ORDER BY 1, 2, 3)")
}

func (l *lowering) pastRelationships() {
	l.write("relationships AS MATERIALIZED (SELECT r.from_number, r.number, r.uid, ", endOf("r"), ` AS to_number, r.type, r.start_date, r.end_date, r.end_reason, r.source
		FROM main.relationships r WHERE r.from_number IN `)
	l.keptOf("individuals")
	l.write(" UNION ALL SELECT r.from_number, r.number, r.uid, ", endOf("r"), `, r.type, r.start_date, r.end_date, r.end_reason, r.source
		FROM (SELECT value->>'from_number' AS from_number, value->>'number' AS number, unhex(value->>'uid') AS uid, value->>'to_number' AS to_number,
		value->>'to_key' AS to_key, value->>'type' AS type, value->>'start_date' AS start_date, value->>'end_date' AS end_date, value->>'end_reason' AS end_reason,
		value->>'source' AS source FROM json_each(`)
	l.bind(l.past.former["relationships"])
	l.write(")) r ORDER BY 1, 2)")
}

// pastIndividuals gives people their household lines: each the one that it had, where that held on
// the day.
func (l *lowering) pastIndividuals() {
	l.write(`lines AS MATERIALIZED (SELECT m.individual, m.household AS household_number, h.uid AS household_uid, m.role, m.role_source_code,
		m.relationship_to_head, h.f_area_code AS area_code, row_number() OVER (PARTITION BY m.individual ORDER BY m.household = p.home DESC, m.number) AS place
		FROM memberships m JOIN households h ON h.number = m.household JOIN people p ON p.number = m.individual WHERE m.is_primary`)
	day := l.day
	l.day = l.past.day
	l.active("m")
	l.day = day
	l.write(`), individuals AS MATERIALIZED (SELECT p.*, l.household_number, l.household_uid, l.role, l.role_source_code, l.relationship_to_head, l.area_code
		FROM people p LEFT JOIN lines l ON l.individual = p.number AND l.place = 1)`)
}
