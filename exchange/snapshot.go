package exchange

import (
	"context"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/annona-exchange/annona"
)

// The bounds of reading what was.
const (
	eventsWalked     = 2000 // events that are looked at together
	pastRows         = 250  // records that are read together as they were
	snapshotAttempts = 8    // to read some that change in that moment
)

// Snapshot is a root dataset as it was at a position of the log, for somebody who may see it today:
// rows come from then, permission comes from now. It holds nothing but the position and, in memory,
// the numbers of what has changed behind it: 16 bytes for each record, and as many for each household
// that one of them was in. So a reading that broke off goes on from the same position, behind the
// last number that was read, in this process or in another one.
//
// It is safe for concurrent use.
type Snapshot struct {
	x       *Exchange
	dataset *annona.Dataset
	at      annona.Moment

	mu        sync.Mutex
	head      int64             // up to which events were looked at
	day       annona.Date       // likewise days
	concerned *roaring64.Bitmap // records of the dataset that may look otherwise now
	all       bool              // too many to name
	changed   map[string]*changes
	lived     pairList // households in which those were who have changed
}

// changes are the records of a dataset that have changed, each with the number of the first event that
// changed it; 0: it was not there before.
type changes struct {
	named roaring64.Bitmap
	first pairList
}

// snapshot returns the dataset at a moment that the log still reaches back to.
func (x *Exchange) snapshot(dataset *annona.Dataset, at annona.Moment) *Snapshot {
	return &Snapshot{
		x: x, dataset: dataset, at: at, head: at.Seq, day: at.Day, concerned: roaring64.New(),
		changed: map[string]*changes{"individuals": {}, "households": {}},
	}
}

// read fills page with the rows of the scope with after < number ≤ until, opened, in ascending order of
// number. Those that nothing concerns are read as they are, which is what they were.
func (s *Snapshot) read(ctx context.Context, scope annona.Scope, after, until annona.Number, page *annona.Page) error {
	err := s.x.readOpen(ctx, page, func() error {
		_, err := s.x.Records.ReadPage(ctx, scope, after, until, int(until-after), page)
		return err
	})
	if err != nil {
		return err
	}
	concerned, err := s.concernedIn(ctx, after, until) // after the rows: whatever they show is known now
	if err != nil {
		return err
	}
	return s.putBack(ctx, scope, concerned, page)
}

// readNumbers does so with the rows of the scope that have one of those numbers, which ascend.
func (s *Snapshot) readNumbers(ctx context.Context, scope annona.Scope, numbers []annona.Number, page *annona.Page) error {
	if len(numbers) == 0 {
		return nil
	}
	err := s.x.readOpen(ctx, page, func() error {
		for some := range slices.Chunk(numbers, namedRows) {
			if err := s.x.Records.ReadNumbers(ctx, scope, some, page); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	concerned, err := s.concernedIn(ctx, numbers[0]-1, numbers[len(numbers)-1])
	if err != nil {
		return err
	}
	concerned = slices.DeleteFunc(concerned, func(n annona.Number) bool {
		_, asked := slices.BinarySearch(numbers, n)
		return !asked
	})
	return s.putBack(ctx, scope, concerned, page)
}

// putBack replaces the rows of a page that may look otherwise now by what they were.
func (s *Snapshot) putBack(ctx context.Context, scope annona.Scope, concerned []annona.Number, page *annona.Page) error {
	if len(concerned) == 0 {
		return nil
	}
	was := annona.NewPage(page.Shape)
	whole := annona.NewPage(page.Shape)
	whole.Epoch = page.Epoch
	now := 0
	for first := 0; first < len(concerned); first += pastRows {
		some := concerned[first:min(first+pastRows, len(concerned))]
		if err := s.readPast(ctx, scope, some, was); err != nil {
			return err
		}
		whole.Epoch = min(whole.Epoch, was.Epoch)
		then := 0
		for _, number := range some {
			for ; now < page.Count && page.Numbers[now] < number; now++ {
				whole.AppendRow(page, now)
			}
			if now < page.Count && page.Numbers[now] == number {
				now++
			}
			if then < was.Count && was.Numbers[then] == number {
				whole.AppendRow(was, then)
				then++
			}
		}
	}
	for ; now < page.Count; now++ {
		whole.AppendRow(page, now)
	}
	*page = *whole
	return nil
}

// concernedIn returns the records of a range that may look otherwise now. They ascend.
func (s *Snapshot) concernedIn(ctx context.Context, after, until annona.Number) ([]annona.Number, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	var numbers []annona.Number
	if s.all {
		for n := after + 1; n <= until; n++ {
			numbers = append(numbers, n)
		}
		return numbers, nil
	}
	in := s.concerned.Iterator()
	in.AdvanceIfNeeded(uint64(after) + 1)
	for in.HasNext() && in.PeekNext() <= uint64(until) {
		numbers = append(numbers, annona.Number(in.Next()))
	}
	return numbers, nil
}

// catchUp looks at the events that have come since, and at the days.
func (s *Snapshot) catchUp(ctx context.Context) error {
	head, err := s.x.Past.SettledLog(ctx)
	if err != nil {
		return err
	}
	if head < s.head {
		return errPast()
	}
	for s.head < head {
		events, err := s.x.eventsBehind(ctx, s.head)
		if err != nil {
			return err
		}
		if err := s.take(ctx, events); err != nil {
			return err
		}
	}
	today := s.x.today(s.x.Clock())
	if s.day >= today {
		return nil
	}
	err = s.concerns(ctx, annona.Moment{Day: s.day}, annona.Moment{Day: today})
	s.day = today
	return err
}

// eventsBehind returns the next events. The log has no gaps: where one is missing, it was pruned.
func (x *Exchange) eventsBehind(ctx context.Context, seq int64) ([]annona.Event, error) {
	events, err := x.Past.EventsBehind(ctx, seq, eventsWalked)
	if err == nil && (len(events) == 0 || events[0].Seq != seq+1) {
		err = errPast()
	}
	return events, err
}

// take notes who is concerned by events, who has changed by them, and where those were.
func (s *Snapshot) take(ctx context.Context, events []annona.Event) error {
	last := events[len(events)-1].Seq
	var moved []annona.Event
	for _, e := range events {
		c, isRecord := s.changed[e.Dataset]
		if !isRecord || e.Kind == annona.EventTouched || c.named.Contains(uint64(e.Record)) {
			continue
		}
		seq := e.Seq
		switch {
		case e.Kind == annona.EventCreated || e.Kind == annona.EventRestored:
			seq = 0
		case e.Dataset == "individuals" && len(e.Before) > 0:
			moved = append(moved, e)
		}
		c.named.Add(uint64(e.Record))
		c.first.add(int64(e.Record), seq)
	}
	formers, err := s.x.openFormers(ctx, moved, false)
	if err != nil {
		return err
	}
	for i := range formers {
		for _, m := range formers[i].was.memberships {
			s.lived.add(int64(m.Household), int64(formers[i].event.Record))
		}
	}
	if err := s.concerns(ctx, annona.Moment{Seq: s.head}, annona.Moment{Seq: last}); err != nil {
		return err
	}
	s.head = last
	return nil
}

func (s *Snapshot) concerns(ctx context.Context, since, until annona.Moment) error {
	if s.all {
		return nil
	}
	numbers, all, err := s.x.Log.Concerned(ctx, s.dataset, since, until)
	if err != nil {
		return err
	}
	s.all = all
	for _, n := range numbers {
		s.concerned.Add(uint64(n))
	}
	return nil
}

// readPast fills page with the rows of the scope that have one of those numbers, opened, as they were.
// What they are made of is gathered first; when some of that has changed meanwhile, again.
func (s *Snapshot) readPast(ctx context.Context, scope annona.Scope, numbers []annona.Number, page *annona.Page) error {
	for range snapshotAttempts {
		s.mu.Lock()
		err := s.catchUp(ctx)
		head := s.head
		s.mu.Unlock()
		if err != nil {
			return err
		}
		var g *gathering
		page.Reset()
		err = s.x.readOpen(ctx, page, func() error { // whoever is erased meanwhile is not gathered again
			if g, err = s.gather(ctx, numbers); err != nil {
				return err
			}
			return s.x.Past.ReadPast(ctx, scope, &g.world, numbers, page)
		})
		if err != nil {
			return err
		}
		if moved, err := s.movedSince(ctx, head, g); err != nil || !moved {
			return err
		}
	}
	return annona.Unavailable("snapshot_busy", "what is read as it was changes all the time; try again when less is written")
}

// movedSince reports whether an event behind seq is about something that was gathered.
func (s *Snapshot) movedSince(ctx context.Context, seq int64, g *gathering) (bool, error) {
	head, err := s.x.Past.SettledLog(ctx)
	for err == nil && seq < head {
		var events []annona.Event
		if events, err = s.x.eventsBehind(ctx, seq); err != nil {
			break
		}
		for _, e := range events {
			if g.seen[e.Dataset][e.Record] {
				return true, nil
			}
		}
		seq = events[len(events)-1].Seq
	}
	return false, err
}

// first returns the number of the event that first changed a record; 0 when it was not there before.
func (s *Snapshot) first(dataset string, n annona.Number) (seq int64, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.changed[dataset]
	if !c.named.Contains(uint64(n)) {
		return 0, false
	}
	return c.first.of(int64(n))[0].value, true
}

// inhabitants returns those who have changed and were in a household.
func (s *Snapshot) inhabitants(household annona.Number) (people []annona.Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.lived.of(int64(household)) {
		people = append(people, annona.Number(p.value))
	}
	return people
}

func errPast() error {
	return annona.Gone("resync", "the log does not reach back to this position; start again without it").On("position")
}
