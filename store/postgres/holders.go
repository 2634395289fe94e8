package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
)

// Holders returns who holds identifiers, and whether they take part: one query for all. See annona.Matters.
func (s *Store) Holders(ctx context.Context, scope annona.Scope, in annona.Participating, identifiers []annona.IdentifierIndex) (found []annona.Holder, epoch int64, err error) {
	if err := s.checkScope(scope); err != nil {
		return nil, 0, err
	}
	if scope.Dataset().Name != "individuals" {
		return nil, 0, annona.Internal("look for holders of identifiers", errHolders)
	}
	for _, id := range identifiers {
		if err := id.Check(); err != nil {
			return nil, 0, err
		}
	}
	err = s.readers.read(ctx, "look for holders of identifiers", func(c *conn) error {
		var low *lowering
		if low, epoch, err = newLowering(c, scope); err != nil {
			return err
		}
		found, err = low.holders(c, scope.Rows(), in, identifiers)
		return err
	})
	return found, epoch, err
}

var errHolders = errors.New("identifiers are looked up of individuals")

func (l *lowering) holders(c *conn, rows annona.Condition, in annona.Participating, identifiers []annona.IdentifierIndex) (found []annona.Holder, err error) {
	at, places, packed := make([]int64, len(identifiers)), make([]int64, len(identifiers)), make([][]byte, len(identifiers))
	for n, id := range identifiers {
		at[n], places[n], packed[n] = int64(n), identifierPlace("individual", id), id.Packed()
	}
	v := individualView("s")
	v.home = l.homeOf(homeAlias)
	l.write("SELECT q.asked, s.number, ")
	l.takesPart(v, in)
	l.write(" FROM unnest(")
	l.bind(at)
	l.write("::bigint[], ")
	l.bind(places)
	l.write("::bigint[], ")
	l.bind(packed)
	l.write(`::bytea[]) q (asked, place, packed)
		JOIN identifier_index x ON x.place = q.place JOIN individuals s ON s.number = x.number AND position(q.packed IN s.identifiers) > 0`)
	l.joinHome(v)
	l.write(" WHERE TRUE")
	l.meetsAlone(rows, individualView("s"))
	l.allowed("s")
	l.write(" ORDER BY 1, 2")
	if l.err != nil {
		return nil, l.err
	}
	err = c.each(l.text(), func(r row) error {
		found = append(found, annona.Holder{At: int(r.integer(0)), Number: r.number(1), Takes: r.truth(2)})
		return nil
	}, l.args...)
	return found, err
}

// takesPart writes whether an individual takes part, or the household in which they are seen.
func (l *lowering) takesPart(v view, in annona.Participating) {
	home := v.household
	if v.home != "" {
		home = v.home + ".number"
	}
	l.enrolled(in, individualsOf(v.individual)+" UNION ALL SELECT 'households', "+home)
}

// takePart writes that records take part themselves; nil: it does not matter.
func (l *lowering) takePart(v view, in *annona.Participating) {
	if in == nil {
		return
	}
	l.write(" AND ")
	if v.individual != "" {
		l.enrolled(*in, individualsOf(v.individual))
		return
	}
	l.enrolled(*in, "SELECT 'households' AS dataset, "+v.household+" AS number")
}

// individualsOf selects an individual, and those who were merged into them.
func individualsOf(alias string) string {
	return "SELECT 'individuals' AS dataset, " + alias + `.number AS number
		UNION ALL SELECT 'individuals', p.number FROM parts p WHERE p.dataset = 'individuals' AND p.record = ` + alias + ".number"
}

// enrolled writes whether one of those has such an enrollment.
func (l *lowering) enrolled(in annona.Participating, those string) {
	l.write("EXISTS (SELECT 1 FROM (", those, `) a JOIN matters m ON m.subject = a.number AND m.subject_dataset = a.dataset AND m.dataset = 'enrollments'
		WHERE coalesce(m.confidentiality, 'normal') = 'normal' AND m.program = ANY (`)
	l.bind(slices.Clone(in.Programs))
	l.write(")")
	if len(in.States) > 0 {
		l.write(" AND m.state = ANY (")
		l.bind(slices.Clone(in.States))
		l.write(")")
	}
	l.write(")")
}
