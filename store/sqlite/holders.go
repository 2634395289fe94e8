package sqlite

import (
	"bytes"
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
		maybe, err := c.mayHold(scope.Dataset().Noun, identifiers)
		if err != nil {
			return err
		}
		found, err = low.holders(scope.Rows(), maybe, in, identifiers)
		return err
	})
	return found, epoch, err
}

var errHolders = errors.New("identifiers are looked up of individuals")

// mayHold returns pairs of a position and a number of who may hold that identifier, as JSON. By chance,
// they may hold another one.
func (c *conn) mayHold(noun string, identifiers []annona.IdentifierIndex) (string, error) {
	at, hashes := map[uint64][]int{}, make([]uint64, len(identifiers))
	for n, id := range identifiers {
		if err := checkIdentifier(id); err != nil {
			return "", err
		}
		hashes[n] = identifierHash(noun, id)
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
	text, err := json.Marshal(pairs)
	return string(text), err
}

func (l *lowering) holders(rows annona.Condition, maybe string, in annona.Participating, identifiers []annona.IdentifierIndex) (found []annona.Holder, err error) {
	v := individualView("s")
	v.home = l.homeOf(homeAlias)
	l.write("SELECT q.value ->> 0, s.number, x.hash, x.scheme, ")
	l.takesPart(v, in)
	l.write(" FROM json_each(")
	l.bind(maybe)
	l.write(`) q CROSS JOIN identifier_index x ON x.number = q.value ->> 1 AND x.noun = 'individual' CROSS JOIN individuals s ON s.number = x.number`)
	l.joinHome(v)
	l.write(" WHERE TRUE")
	l.meetsAlone(rows, individualView("s"))
	l.allowed("s")
	if l.err != nil {
		return nil, l.err
	}
	err = l.conn.each(l.sql.String(), func(r *sqlite.Stmt) error {
		h := annona.Holder{At: r.ColumnInt(0), Number: annona.Number(r.ColumnInt64(1)), Takes: r.ColumnInt(4) != 0}
		if id := identifiers[h.At]; id.Scheme == r.ColumnText(3) && bytes.Equal(id.Hash, columnBytes(r, 2)) {
			found = append(found, h)
		}
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
