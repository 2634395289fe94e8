package exchange

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// NameQuery is who a search by names asks for.
type NameQuery struct {
	Name string // parts of names, in any order, each whole or at least its first four letters
	Area string // code of an area of level 2 or below
}

// The bounds of a search by names.
const (
	MaxNameResults = 20
	maxNameBytes   = 200
	nameCandidates = 5000 // that are asked for at once
	nameChunk      = 500  // of them are read at once
)

// errNoNameSearch is what a path says that there is not.
var errNoNameSearch = annona.NotFound("there is no such path; /docs lists the operations")

// HasNameSearch reports whether names can be searched at all. When not, a wire answers as if it had
// no such operation.
func (x *Exchange) HasNameSearch(ctx context.Context) (bool, error) {
	if x.Indexes == nil {
		return false, nil
	}
	i, err := x.readIndexes(ctx)
	return err == nil && i.names(), err
}

// NameSearch returns at most MaxNameResults individuals in the caller's scope who live in an area and
// have these names. Those whose names are as asked come before those whose names begin so. Each search
// has its entry in the ledger, also one that finds nobody; the name stands nowhere.
//
// The index tells candidates: of some of them only the hash is that of a name that was asked for. So
// they are read within the scope and opened, and compared by the names that the grant passes; what was
// not found by those neither leaves nor counts.
func (x *Exchange) NameSearch(ctx context.Context, caller annona.Caller, q Question, n NameQuery, form Form) (*Answer, error) {
	indexes, err := x.readIndexes(ctx)
	if err != nil {
		return nil, err
	}
	if !indexes.names() {
		return nil, errNoNameSearch
	}
	d := x.CurrentDictionary()
	q.Dataset = "individuals"
	individuals, _ := d.Dataset(q.Dataset)
	area, _ := individuals.Field("area_code")
	if n.Area == "" {
		return nil, annona.Invalid("area_missing", "say where the individual lives: the code of an area of level 2 or below").On("area")
	}
	if len(n.Area) > annona.MaxAreaCode || !utf8.ValidString(n.Area) || strings.ContainsFunc(n.Area, unicode.IsControl) {
		return nil, errNoArea
	}
	q.Filter = filter.Format(annona.Within{Path: annona.Path{Field: area}, Area: n.Area})
	q.atMost = atMost(MaxNameResults)
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbNameSearch, q)
	if err != nil {
		return nil, err
	}
	i.form = form
	if err := x.searches.take(caller.Client, x.Clock()); err != nil {
		return nil, err
	}
	s, err := x.newNameSearch(ctx, i, individuals, n)
	if err != nil {
		return nil, err
	}
	if !indexes.states[annona.IndexNames].Whole {
		return nil, annona.Unavailable("name_index_unfinished", "the names are being indexed; try again later")
	}
	numbers, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	page := annona.NewPage(i.shape)
	if len(numbers) > 0 {
		if err := s.read(ctx, i.shape, numbers, page); err != nil {
			return nil, err
		}
	}
	answer := &Answer{Request: i.request, Schema: i.schema, ending: i.ending(x), Page: i.redact(page)}
	return answer, x.record(ctx, i, answer.Page, 1)
}

// nameSearch is a search that was decided.
type nameSearch struct {
	x     *Exchange
	i     *inquiry
	names *annona.Shape // the names that the grant passes
	asked []string      // parts of names
	zones []string
	limit int
}

var errNoArea = annona.Invalid("area_unknown", "no area with this code is on file; take one of level 2 or below").On("area")

func (x *Exchange) newNameSearch(ctx context.Context, i *inquiry, individuals *annona.Dataset, n NameQuery) (*nameSearch, error) {
	s := &nameSearch{x: x, i: i, limit: MaxNameResults}
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		s.limit = int(min(int64(s.limit), ceiling))
	}
	var passed []string
	for _, name := range nameFields {
		if i.grant.Passes(individuals, name) {
			passed = append(passed, name)
		}
	}
	if len(passed) == 0 {
		return nil, annona.Forbidden("filter_not_granted", "the agreement grants no name of individuals unaltered, so that none can be searched").On(nameFields[0])
	}
	var err error
	if s.names, err = shapeOf(x.CurrentDictionary(), i.grant, Question{Dataset: individuals.Name, Fields: passed}); err != nil {
		return nil, err
	}
	if s.asked, err = askedParts(n.Name); err != nil {
		return nil, err
	}
	a, err := x.readAreas(ctx)
	if err != nil {
		return nil, err
	}
	if _, known := a.tree.Area(n.Area); !known {
		return nil, errNoArea
	}
	if a.tree.Zone(n.Area) == "" {
		return nil, annona.Invalid("area_too_large", "names are searched in an area of level 2 or below").On("area")
	}
	s.zones = a.tree.Zones(n.Area)
	return s, nil
}

// askedParts takes the name apart that is asked for.
func askedParts(name string) ([]string, error) {
	if len(name) > maxNameBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return nil, errName
	}
	if len(strings.FieldsFunc(name, unicode.IsSpace)) > maxParts {
		return nil, errName
	}
	parts := partsOf(name)
	if len(parts) == 0 {
		return nil, errName
	}
	return parts, nil
}

var errName = annona.Invalid("name_malformed", "name has 1 to %d parts, of which one at least has %d letters, and at most %d bytes", maxParts, minLetters, maxNameBytes).On("name")

// find returns the numbers of whom the search finds, in ascending order: first those whose names are
// as asked, then, while there is room, those whose names begin so.
func (s *nameSearch) find(ctx context.Context) (found []annona.Number, err error) {
	for _, whole := range []bool{true, false} {
		for _, zone := range s.zones {
			if found, err = s.findIn(ctx, zone, whole, found); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

func (s *nameSearch) findIn(ctx context.Context, zone string, whole bool, found []annona.Number) ([]annona.Number, error) {
	tokens := make([][]uint32, len(s.asked))
	for i, part := range s.asked {
		if !whole {
			part = firstOf(part)
		}
		tokens[i] = s.x.Vault.NameTokens(zone, part)
	}
	for after := annona.Number(0); len(found) < s.limit; {
		candidates, err := s.x.Indexes.FindNames(ctx, tokens, after, nameCandidates)
		if err != nil || len(candidates) == 0 {
			return found, err
		}
		after = candidates[len(candidates)-1]
		for chunk := range slices.Chunk(candidates, nameChunk) {
			if found, err = s.compare(ctx, chunk, whole, found); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// compare adds those of the candidates who have the names.
func (s *nameSearch) compare(ctx context.Context, candidates []annona.Number, whole bool, found []annona.Number) ([]annona.Number, error) {
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(n annona.Number) bool { return slices.Contains(found, n) })
	if len(candidates) == 0 || len(found) == s.limit {
		return found, nil
	}
	page := annona.NewPage(s.names)
	if err := s.read(ctx, s.names, candidates, page); err != nil {
		return nil, err
	}
	for row := range page.Count {
		if len(found) < s.limit && hasName(partsOf(namesOn(page, row)...), s.asked, whole) {
			found = append(found, page.Numbers[row])
		}
	}
	return found, nil
}

// read reads records within the scope of the search.
func (s *nameSearch) read(ctx context.Context, shape *annona.Shape, numbers []annona.Number, page *annona.Page) error {
	return s.x.readOpen(ctx, page, func() error {
		return s.x.Records.ReadNumbers(ctx, s.i.scope(shape, s.x.today(s.x.Clock())), numbers, page)
	})
}

// namesOn returns the names of a row of a page that holds nothing else.
func namesOn(page *annona.Page, row int) (names []string) {
	for column := range page.Columns {
		names = append(names, string(page.Cell(column, row)))
	}
	for i := range page.Groups {
		from, to := page.Groups[i].Rows(row)
		for item := from; item < min(to, from+maxOtherNames); item++ {
			names = append(names, namesOn(page.Groups[i].Page, item)...)
		}
	}
	return names
}

// A client may search names as often as somebody at a counter does.
const (
	searchBurst = 30
	searchPause = 2 * time.Second // until another one may follow
)

// searches count the searches of clients, each node its own.
type searches struct {
	mu   sync.Mutex
	full map[annona.UID]time.Time // when a client may search as often as at first
}

// take counts a search, or refuses it with the code searches_too_many.
func (s *searches) take(client annona.UID, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, at := range s.full {
		if !at.After(now) {
			delete(s.full, other)
		}
	}
	at := now
	if full, busy := s.full[client]; busy {
		at = full
	}
	if at = at.Add(searchPause); at.Sub(now) > searchBurst*searchPause {
		return annona.TooMany("searches_too_many", "names may be searched %d times at once, and then every %d seconds; wait a little", searchBurst, int(searchPause.Seconds()))
	}
	if s.full == nil {
		s.full = map[annona.UID]time.Time{}
	}
	s.full[client] = at
	return nil
}
