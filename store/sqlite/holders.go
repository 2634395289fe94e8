package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"zombiezen.com/go/sqlite"

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
	err = s.readers.read(ctx, "look for holders of identifiers", func(c *conn) error {
		low, err := newLowering(c, scope)
		if err != nil {
			return err
		}
		if epoch, err = c.counter("policy_epoch"); err != nil {
			return err
		}
		pairs, err := c.holdersOf(scope.Dataset(), identifiers)
		if err != nil {
			return err
		}
		found, err = low.holders(scope.Rows(), pairs, in)
		return err
	})
	return found, epoch, err
}

var errHolders = errors.New("identifiers are looked up of individuals")

// holdersOf returns pairs of a position and a number of who holds the identifier there, as JSON.
func (c *conn) holdersOf(of *annona.Dataset, identifiers []annona.IdentifierIndex) (string, error) {
	at, hashes := map[uint64][]int{}, make([]uint64, len(identifiers))
	for n, id := range identifiers {
		if err := id.Check(); err != nil {
			return "", err
		}
		hashes[n] = id.Place(of.Noun)
		at[hashes[n]] = append(at[hashes[n]], n)
	}
	pairs := [][2]int64{}
	if len(hashes) > 0 {
		slices.Sort(hashes)
		err := c.lookUpAll(0, slices.Compact(hashes), func(hash uint64, number annona.Number) {
			for _, n := range at[hash] {
				pairs = append(pairs, [2]int64{int64(n), int64(number)})
			}
		})
		if err != nil {
			return "", err
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) })
	pairs, err := c.holding(of, pairs, identifiers)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(pairs)
	return string(text), err
}

// holding keeps the pairs whose record does hold the identifier: the finder may lead to another one by
// chance.
func (c *conn) holding(of *annona.Dataset, pairs [][2]int64, identifiers []annona.IdentifierIndex) ([][2]int64, error) {
	kept := pairs[:0]
	for _, p := range pairs {
		holder, err := c.isHolder(of.Name, annona.Number(p[1]), identifiers[p[0]])
		if err != nil {
			return nil, err
		}
		if holder {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

func (l *lowering) holders(rows annona.Condition, pairs string, in annona.Participating) (found []annona.Holder, err error) {
	v := individualView("s")
	v.home = l.homeOf(homeAlias)
	l.write("SELECT q.value ->> 0, s.number, ")
	l.takesPart(v, in)
	l.write(" FROM json_each(")
	l.bind(pairs)
	l.write(`) q CROSS JOIN individuals s ON s.number = q.value ->> 1`)
	l.joinHome(v)
	l.write(" WHERE TRUE")
	l.meetsAlone(rows, individualView("s"))
	l.allowed("s")
	if l.err != nil {
		return nil, l.err
	}
	err = l.conn.each(l.sql.String(), func(r *sqlite.Stmt) error {
		found = append(found, annona.Holder{At: r.ColumnInt(0), Number: annona.Number(r.ColumnInt64(1)), Takes: r.ColumnInt(2) != 0})
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
	l.write("EXISTS (SELECT 1 FROM (", those, `) a CROSS JOIN matters m ON m.subject = a.number AND m.subject_dataset = a.dataset AND m.dataset = 'enrollments'
		WHERE coalesce(m.confidentiality, 'normal') = 'normal' AND +m.program IN (SELECT value FROM json_each(`)
	l.bind(textList(in.Programs))
	l.write("))")
	if len(in.States) > 0 {
		l.write(" AND m.state IN (SELECT value FROM json_each(")
		l.bind(textList(in.States))
		l.write("))")
	}
	l.write(")")
}
