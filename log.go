package annona

import (
	"context"
	"encoding/binary"
	"math"
	"time"
)

// EventKind says what happened to a record.
type EventKind string

// The kinds of events. Touched: the record itself did not change, but something that decides
// who may see it did (household, membership, consent, restriction).
const (
	EventCreated  EventKind = "created"
	EventChanged  EventKind = "changed"
	EventTouched  EventKind = "touched"
	EventErased   EventKind = "erased"
	EventDeleted  EventKind = "deleted" // out of sight, and may come back
	EventRestored EventKind = "restored"
)

// Event is one change, in the one order of the log. What the record was before is kept as its
// former images; what it is after is the next event's Before, or the row itself.
type Event struct {
	Seq     int64 // gapless, from 1; given by the store
	ID      UID
	At      time.Time
	Actor   string
	Client  UID
	Purpose string
	Dataset string
	Record  Number
	Version int
	Kind    EventKind
	Reason  string // code
	Load    int64  // key of the load that made it; 0: none did
	Before  []byte // what it was, see Former; empty when created, and when the record was erased
}

// Former is a record as it was before it changed. Both images are sealed under the subject's key:
// the clear one when the record changed, as PartBefore, the other one as it lay in the store, as
// PartSealed. Both are bound to the version that they are of.
type Former struct {
	Version       int
	Clear, Sealed []byte // empty: the record had no such image
}

// Append appends the bytes that an event keeps: uvarint version, then for each image, the clear
// one first, uvarint length and its bytes.
func (f Former) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(f.Version))
	b = AppendItem(b, f.Clear)
	return AppendItem(b, f.Sealed)
}

// ParseFormer reads what Append wrote. The images are slices of b.
func ParseFormer(b []byte) (f Former, err error) {
	version, n := binary.Uvarint(b)
	if n <= 0 || version == 0 || version > maxVersion {
		return f, errFormer()
	}
	f.Version = int(version)
	rest := b[n:]
	if f.Clear, rest, err = cut(rest); err != nil {
		return f, errFormer()
	}
	if f.Sealed, rest, err = cut(rest); err != nil || len(rest) > 0 {
		return f, errFormer()
	}
	return f, nil
}

// maxVersion is more often than any record changes.
const maxVersion = 1 << 31

func errFormer() error {
	return Internal("read an event: what the record was does not decode", nil)
}

// LogState is how far the log of changes goes.
type LogState struct {
	Epoch  UID   // another one after each restore: a position of a former log is none of this one
	Head   int64 // number of the last event; 0 when there is none
	Oldest int64 // the oldest position that can be continued: every event behind it is there
	Areas  int64 // moves with every change of the areas on file
}

// Moment is a position of the log and the day on which somebody stood there. The day matters
// because people come into sight and leave it by date alone.
type Moment struct {
	Seq int64
	Day Date
}

// Log is the one order of changes, for those who read it from a position.
type Log interface {
	// LogState returns how far the log goes at this moment.
	LogState(ctx context.Context) (LogState, error)
	// AwaitLog returns when the log goes further than seq, or with the error of ctx.
	AwaitLog(ctx context.Context, seq int64) error
	// Concerned returns the numbers of the records of a root dataset that may look otherwise, to
	// whomever, because of an event behind since.Seq up to until.Seq, or because a membership,
	// consent or restriction began or ended behind since.Day up to until.Day: the records
	// themselves, who lives with them and where, and who names them as relatives. They ascend.
	// When they are too many to name, it returns all instead.
	Concerned(ctx context.Context, dataset *Dataset, since, until Moment) (numbers []Number, all bool, err error)
	// PruneLog removes the events from the log's beginning up to the first one that is not older
	// than before, except for the last event there is, and what was remembered of views that no
	// position needs any more. It returns how many events went.
	PruneLog(ctx context.Context, before time.Time) (removed int64, err error)
	// RenewLog gives the log another epoch and forgets all views: no position of before can be
	// continued. A restore does so.
	RenewLog(ctx context.Context) error
}

// Past reads records as they were at an earlier position of the log. What a record was lies sealed
// in the first event behind the position that changed it; a store cannot open it. So whoever reads
// walks the events, opens what they keep, and gives the store what it needs for one reading as a
// World.
type Past interface {
	// SettledLog returns the number of the last event, once every change that a reading before the
	// call may have seen stands in the log.
	SettledLog(ctx context.Context) (head int64, err error)
	// EventsBehind returns at most limit events behind seq, in their order: Seq, Dataset, Record,
	// Version, Kind and Before of each.
	EventsBehind(ctx context.Context, seq int64, limit int) ([]Event, error)
	// EventsAt returns events by their numbers, which ascend, likewise. One that is not there is left
	// out.
	EventsAt(ctx context.Context, seqs []int64) ([]Event, error)
	// Ties returns what ties individuals and households together now: all memberships of those
	// individuals and of those households, and the relationships of those individuals, also to
	// somebody who is deleted.
	Ties(ctx context.Context, individuals, households []Number) ([]Tie, error)
	// ReadPast appends the rows of the scope that have one of those numbers, in ascending order of
	// number, as they were in a world. Areas, restrictions and consents are those of now.
	ReadPast(ctx context.Context, scope Scope, w *World, numbers []Number, page *Page) error
}

// Tie joins an individual to a household or to another individual; the other number is 0.
type Tie struct {
	Individual, Household, To Number
}

// World is what a reading needs to know of how records were. What is not in it was not there.
type World struct {
	Day Date // on which memberships count for the household lines
	// Individuals and Households are the numbers of those who are now what they were. They ascend.
	Individuals, Households []Number
	Former                  []FormerRecord // of others
}

// FormerRecord is a record as it was: with all of what StoredRecord says but digests, keys and
// identifiers. Its Sealed is sealed for its Version.
type FormerRecord struct {
	StoredRecord
	Marks Marks
}

// ViewTag is a keyed hash of what somebody was shown of a record; 0: nothing.
type ViewTag uint64

// View is what a follower was shown of a record at one generation of its memory.
type View struct {
	Number     Number
	Generation int64
	Tag        ViewTag
}

// Follower is the memory of one reader of the log: what that reader has been shown, so that a
// change which leaves it as it is can be told from one that does not. Each observation is kept
// under the generation that made it: what was shown at a generation is, of each record, the
// latest observation that is not younger.
type Follower struct {
	Key        int64 // never given out again
	Generation int64 // of the latest observation; 0 before the first
}

// Observation is what was seen of records in one look.
type Observation struct {
	Seq   int64  // up to which the log was looked at
	Views []View // in ascending order of number; the store gives the generation
}

// Departed is what is left of a record that somebody does not see any more.
type Departed struct {
	UID    UID
	Erased bool  // or deleted
	Into   []UID // of a record that was merged or replaced, those on file that took its place
}

// Views remembers what followers were shown.
type Views interface {
	// Follower returns the memory under that id, and begins one where there is none.
	Follower(ctx context.Context, id [16]byte) (Follower, error)
	// ViewsIn returns all views of records with after < number ≤ until, by number and generation.
	ViewsIn(ctx context.Context, follower int64, after, until Number) ([]View, error)
	// ViewsOf does so for numbers, which ascend.
	ViewsOf(ctx context.Context, follower int64, numbers []Number) ([]View, error)
	// ViewedSince returns the numbers with after < number ≤ until that have a view of a later
	// generation. They ascend.
	ViewedSince(ctx context.Context, follower, generation int64, after, until Number) ([]Number, error)
	// Observe keeps an observation under the generation after f.Generation and returns that. It
	// fails with the code views_moved when somebody else has made that generation.
	Observe(ctx context.Context, f Follower, o Observation) (generation int64, err error)
	// Departed returns what is left of records by their numbers, for telling a follower that they
	// have left its sight. The numbers are those of records that it was shown.
	Departed(ctx context.Context, dataset *Dataset, numbers []Number) (map[Number]Departed, error)
}

// ManyViews is how many views a store keeps together as one packed list rather than one by one.
const ManyViews = 64

// ErrViewsMoved says that two readers of one memory have looked at once; the later one looks again.
var ErrViewsMoved = Conflict("views_moved", "another reader with this position was faster; ask again")

// AppendViews packs views: for each the difference of its number to the one before as uvarint,
// and its tag in 8 bytes.
func AppendViews(b []byte, views []View) []byte {
	last := Number(0)
	for _, v := range views {
		b = binary.AppendUvarint(b, uint64(v.Number-last))
		b = binary.BigEndian.AppendUint64(b, uint64(v.Tag))
		last = v.Number
	}
	return b
}

// ParseViews calls take for each packed view.
func ParseViews(b []byte, generation int64, take func(View)) error {
	last := uint64(0)
	for len(b) > 0 {
		step, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+8 || last+step > math.MaxInt64 {
			return Internal("read remembered views: they do not decode", nil)
		}
		last += step
		take(View{Number: Number(last), Generation: generation, Tag: ViewTag(binary.BigEndian.Uint64(b[n:]))})
		b = b[n+8:]
	}
	return nil
}
