package exchange

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// The update log of everybody whom a reader may see, in the order of the one log of changes, is read from a
// position on. What is told of a change is what the update log of its record tells.

// UpdatesAsked says which updates are read. What is empty picks all.
type UpdatesAsked struct {
	Purpose      string
	Dataset      string // one of those that have an update log; never empty
	Record       string // wire id
	Verdict      string // one of the Verdict constants
	Since, Until string // instants: from then on, and before then
	After        string // a position
	Limit        int
}

// The bounds of one answer.
const (
	walkedForUpdates = 5000 // events that are looked at
	walkedAtOnce     = 200
)

// updateFeed is one reading of the log for updates.
type updateFeed struct {
	*updateTelling
	asked        UpdatesAsked
	since, until time.Time
	only         annona.Number // of Record; 0: of each
	position     feedPosition
	seen         map[annona.Number]feedRecord
}

// feedRecord is a record of which something is told.
type feedRecord struct {
	uid   annona.UID
	about annona.SubjectRef // of a matter
}

// feedPosition is how far the log of changes was read, and the list of what the reader has asked for.
type feedPosition struct{ seq, request int64 }

// fedEntry is an entry with the position behind it.
type fedEntry struct {
	UpdateEntry
	seq, request int64 // one of them is 0
}

// UpdatesBehind returns updates behind a position, the oldest first, and the next position; more: there is more
// already. Codes: those of Updates, unknown_dataset, unknown_code, instant_malformed.
func (x *Exchange) UpdatesBehind(ctx context.Context, caller annona.Caller, asked UpdatesAsked) (shown *UpdatesShown, more bool, err error) {
	if err := checkLimit(asked.Limit, MaxUpdates); err != nil {
		return nil, false, err
	}
	f := &updateFeed{asked: asked, seen: map[annona.Number]feedRecord{}}
	switch asked.Dataset {
	case "individuals", "households":
		f.updateTelling, err = x.tellingOf(ctx, caller, asked.Purpose, asked.Dataset)
	case "enrollments", "benefits", "cases":
		f.updateTelling, err = x.tellingOfMatters(ctx, caller, asked.Purpose, asked.Dataset)
	default:
		err = annona.Invalid("unknown_dataset", "individuals, households, enrollments, benefits and cases have updates").On("dataset")
	}
	if err == nil {
		err = f.begin(ctx)
	}
	if err != nil {
		return nil, false, err
	}
	state, err := x.Log.LogState(ctx)
	if err != nil {
		return nil, false, err
	}
	limit := asked.Limit
	if ceiling := f.i.grant.RowCeiling; ceiling > 0 {
		limit = int(min(int64(limit), ceiling))
	}
	complete := f.position.seq >= state.Oldest || state.Oldest == 0
	events, reached, err := f.walk(ctx, limit)
	if err != nil {
		return nil, false, err
	}
	requests, last, cut, err := f.asks(ctx, limit)
	if err != nil {
		return nil, false, err
	}
	told := f.pick(events, requests, reached, last, limit)
	shown = &UpdatesShown{Answer: Answer{Request: f.i.request, Schema: f.i.schema}, Complete: complete}
	for _, e := range told {
		shown.Entries = append(shown.Entries, e.UpdateEntry)
	}
	more = len(told) < len(events)+len(requests) || f.position.seq < state.Head || cut
	shown.Next = x.Vault.SealPosition(f.bound(), f.position.encode())
	return shown, more, f.updateTelling.release(ctx, f.page(told), f.about(told), shown)
}

// begin reads what was asked.
func (f *updateFeed) begin(ctx context.Context) (err error) {
	verdicts := []string{"", VerdictApplied, VerdictMerged, VerdictQueued, VerdictConflict, VerdictRejected}
	if !slices.Contains(verdicts, f.asked.Verdict) {
		return annona.Invalid("unknown_code", "no update has this verdict").On("verdict")
	}
	for _, part := range []struct {
		name, text string
		into       *time.Time
	}{{"since", f.asked.Since, &f.since}, {"until", f.asked.Until, &f.until}} {
		if part.text == "" {
			continue
		}
		if *part.into, err = time.Parse(time.RFC3339, part.text); err != nil {
			return annona.Invalid("instant_malformed", "an instant is written 2026-01-31T12:00:00.000Z").On(part.name)
		}
	}
	if f.asked.After != "" {
		b, ok := f.x.Vault.OpenPosition(f.bound(), f.asked.After)
		if !ok || len(b) != 16 {
			return annona.Invalid("cursor_invalid", "after is a position of this client for the same question; start again without it").On("after")
		}
		f.position = feedPosition{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}
	}
	if f.asked.Record == "" {
		return nil
	}
	if !f.ofMatters() {
		f.only, err = f.x.numberOf(ctx, f.i, f.asked.Record)
		return err
	}
	uid, _ := f.i.realm.ParseID(f.asked.Record)
	page := annona.NewPage(&annona.Shape{Dataset: f.shape.Dataset})
	if _, err = f.readMatters(ctx, annona.MatterChoice{UIDs: []annona.UID{uid}}, 1, page); err != nil {
		return err
	}
	if page.Count == 0 {
		return annona.NotFound("no such record, or not one that you may see")
	}
	f.only = page.Numbers[0]
	return nil
}

func (f *updateFeed) ofMatters() bool { return f.shape.Dataset.Matter }

// bound binds a position to who asks, and to what.
func (f *updateFeed) bound() []byte {
	a := f.asked
	return digestOf("updates behind", string(f.i.cursorContext()), a.Dataset, a.Record, a.Verdict, a.Since, a.Until)
}

func (p feedPosition) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(p.seq)), uint64(p.request))
}

// walk tells of the events behind the position, of at most limit entries. It returns how far it has looked.
func (f *updateFeed) walk(ctx context.Context, limit int) (told []fedEntry, reached int64, err error) {
	reached = f.position.seq
	for range walkedForUpdates / walkedAtOnce {
		events, err := f.x.Past.EventsBehind(ctx, reached, walkedAtOnce)
		if err != nil || len(events) == 0 {
			return told, reached, err
		}
		entries, err := f.entriesOf(ctx, events)
		if err != nil {
			return nil, 0, err
		}
		for _, event := range events {
			reached = event.Seq
			e, there := entries[updateOf{event.Record, int64(event.Version)}]
			if event.Dataset != f.asked.Dataset || len(event.Before) == 0 || !there || !f.wants(&e) {
				continue
			}
			if told = append(told, fedEntry{UpdateEntry: e, seq: event.Seq}); len(told) == limit {
				return told, reached, nil
			}
		}
	}
	return told, reached, nil
}

// updateOf names a change of a record by the version that it made.
type updateOf struct {
	record  annona.Number
	version int64
}

// entriesOf tells of the records that events are about, each once.
func (f *updateFeed) entriesOf(ctx context.Context, events []annona.Event) (map[updateOf]UpdateEntry, error) {
	var numbers []annona.Number
	for _, e := range events {
		if e.Dataset == f.asked.Dataset && len(e.Before) > 0 && (f.only == 0 || e.Record == f.only) {
			numbers = append(numbers, e.Record)
		}
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	f.entries = nil
	if f.ofMatters() && len(numbers) > 0 {
		page, err := f.matters(ctx, annona.MatterChoice{Numbers: numbers}, len(numbers)+1)
		if err != nil {
			return nil, err
		}
		f.note(page)
		numbers = nil
	}
	for _, number := range numbers {
		seen, formers, err := f.read(ctx, number)
		if annona.KindOf(err) == annona.KindNotFound {
			continue // out of sight
		}
		if err != nil {
			return nil, err
		}
		if err := f.events(ctx, valuesOn(seen), formers); err != nil {
			return nil, err
		}
		f.note(seen)
	}
	told := make(map[updateOf]UpdateEntry, len(f.entries))
	for _, e := range f.entries {
		e.ID = f.idOf(e.number)
		told[updateOf{e.number, e.position.key}] = e
	}
	return told, nil
}

// note remembers who was seen.
func (f *updateFeed) note(page *annona.Page) {
	for row, number := range page.Numbers {
		r := feedRecord{uid: page.UIDs[row]}
		if len(page.Subjects) > row {
			r.about = page.Subjects[row]
		}
		f.seen[number] = r
	}
}

// idOf is the id of a record that was seen, where the agreement shows it.
func (f *updateFeed) idOf(number annona.Number) string {
	if dataset := f.shape.Dataset; !f.i.grant.Passes(dataset, dataset.Key) {
		return ""
	}
	uid := f.seen[number].uid
	return string(f.i.realm.AppendID(nil, uid[:]))
}

func (f *updateFeed) wants(e *UpdateEntry) bool {
	return (f.asked.Verdict == "" || e.Verdict == f.asked.Verdict) && !e.At.Before(f.since) && (f.until.IsZero() || e.At.Before(f.until))
}

// asks tells of what the reader's agreement has asked for behind the position and what has not taken effect. cut:
// there may be more.
func (f *updateFeed) asks(ctx context.Context, limit int) (told []fedEntry, last int64, cut bool, err error) {
	last = f.position.request
	if f.ofMatters() {
		return f.conflicts(ctx, limit)
	}
	var all []annona.ChangeRequest
	for _, conflicts := range []bool{false, true} {
		which := annona.WhichRequests{Conflicts: conflicts, Agreement: f.i.caller.Agreement}
		if f.only != 0 {
			which.Dataset, which.Subject = f.asked.Dataset, f.only
		}
		some, err := f.x.ChangeRequests.ChangeRequests(ctx, which, f.position.request, limit)
		if err != nil {
			return nil, 0, false, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b annona.ChangeRequest) int { return int(a.Key - b.Key) })
	all = all[:min(len(all), limit)]
	var numbers []annona.Number
	for n := range all {
		if all[n].Dataset == f.asked.Dataset {
			numbers = append(numbers, all[n].Subject)
		}
	}
	seen, err := f.x.subjectsOfRequests(ctx, f.i, numbers)
	if err != nil {
		return nil, 0, false, err
	}
	f.note(seen)
	for n := range all {
		c := &all[n]
		last = c.Key
		if c.Dataset != f.asked.Dataset || !slices.Contains(seen.Numbers, c.Subject) {
			continue
		}
		f.entries = nil
		if err := f.request(ctx, c); annona.CodeOf(err) == "key_gone" {
			continue // erased in this moment
		} else if err != nil {
			return nil, 0, false, err
		}
		for _, e := range f.entries {
			if e.ID = f.idOf(e.number); f.wants(&e) {
				told = append(told, fedEntry{UpdateEntry: e, request: c.Key})
			}
		}
	}
	return told, last, len(all) == limit, nil
}

// conflicts tells of at most limit conflicts of cases behind the position. Those that are not there for the reader
// move nothing of the page.
func (f *updateFeed) conflicts(ctx context.Context, limit int) (told []fedEntry, last int64, cut bool, err error) {
	last = f.position.request
	for f.asked.Dataset == "cases" {
		some, err := f.x.ChangeRequests.ChangeRequests(ctx, annona.WhichRequests{Conflicts: true, Dataset: "cases", Subject: f.only}, last, walkedAtOnce)
		if err != nil || len(some) == 0 {
			return told, last, false, err
		}
		var numbers []annona.Number
		for n := range some {
			numbers = append(numbers, some[n].Subject)
		}
		slices.Sort(numbers)
		numbers = slices.Compact(numbers)
		seen := annona.NewPage(&annona.Shape{Dataset: f.shape.Dataset})
		if _, err := f.readMatters(ctx, annona.MatterChoice{Numbers: numbers}, len(numbers), seen); err != nil {
			return nil, 0, false, err
		}
		f.note(seen)
		own, err := f.ownCases(ctx, seen)
		if err != nil {
			return nil, 0, false, err
		}
		for n := range some {
			c := &some[n]
			if last = c.Key; !slices.Contains(own, c.Subject) {
				continue
			}
			f.entries = nil
			if err := f.conflict(ctx, c); err != nil {
				return nil, 0, false, err
			}
			for _, e := range f.entries {
				if e.ID = f.idOf(e.number); f.wants(&e) {
					told = append(told, fedEntry{UpdateEntry: e, request: c.Key})
				}
			}
			if len(told) == limit {
				return told, last, true, nil
			}
		}
	}
	return told, last, false, nil
}

// pick brings changes and requests into the order of time, at most limit of them, and moves the position
// behind those: to where was looked when nothing is left out.
func (f *updateFeed) pick(events, requests []fedEntry, reached, last int64, limit int) (told []fedEntry) {
	for len(told) < limit && len(events)+len(requests) > 0 {
		from := &events
		if len(events) == 0 || len(requests) > 0 && requests[0].At.Before(events[0].At) {
			from = &requests
		}
		e := (*from)[0]
		*from = (*from)[1:]
		f.position = feedPosition{max(f.position.seq, e.seq), max(f.position.request, e.request)}
		told = append(told, e)
	}
	if len(events) == 0 {
		f.position.seq = reached
	}
	if len(requests) == 0 {
		f.position.request = last
	}
	return told
}

// page is the records of which something is told, by their keys alone.
func (f *updateFeed) page(told []fedEntry) *annona.Page {
	page := annona.NewPage(&annona.Shape{Dataset: f.shape.Dataset})
	for _, e := range told {
		page.Numbers = append(page.Numbers, e.number)
	}
	slices.Sort(page.Numbers)
	page.Numbers = slices.Compact(page.Numbers)
	for _, number := range page.Numbers {
		r := f.seen[number]
		page.UIDs = append(page.UIDs, r.uid)
		if f.ofMatters() {
			page.Subjects = append(page.Subjects, r.about)
		}
	}
	page.Count = len(page.Numbers)
	return page
}

// about are the people of whom something is told.
func (f *updateFeed) about(told []fedEntry) []audit.Subjects {
	page := f.page(told)
	if f.ofMatters() {
		return f.x.mattersAbout(page)
	}
	return []audit.Subjects{{Noun: f.shape.Dataset.Noun, Numbers: page.Numbers}}
}
