package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// position says what a follower has been shown. Mostly that is one moment for all records. In
// the midst of a first snapshot, or of a delta of several pages, it is one for the records up to
// a number and another one for those behind it.
type position struct {
	epoch  annona.UID // of the log
	memory int64      // key of the follower's memory; 0: nothing is remembered of it
	cursor annona.Number
	terms  uint64      // of the scope when the position was given out, see inquiry.terms
	areas  int64       // version of the areas then
	ranges []seenRange // they ascend, the last one has no end
}

// seenRange is what a follower has been shown of records up to a number: that of a generation of
// its memory, which no event up to seq, no day up to day and nothing under that version of the
// scope had made otherwise.
type seenRange struct {
	until      annona.Number
	generation int64
	seq        int64
	day        annona.Date
	scope      uint64 // 0: of none or of several, so that every record is compared
	rough      bool   // it may have been shown some of what is younger than generation
}

// noEnd is the until of the last range.
const noEnd annona.Number = math.MaxInt64

// maxRanges bounds the ranges of a position, which others who read with it can make many.
const maxRanges = 16

// rangeSize is the size of a range in a sealed position, in bytes: every one has the same, so
// that the length of a token tells nothing.
const rangeSize = 8 + 8 + 8 + 4 + 8 + 1

// fresh reports whether nothing of the range was shown yet.
func (r seenRange) fresh() bool { return r.generation == 0 && r.scope == 0 }

func (r seenRange) moment() annona.Moment { return annona.Moment{Seq: r.seq, Day: r.day} }

// beginning is the position of somebody who has been shown nothing.
func beginning(epoch annona.UID, memory int64) *position {
	return &position{epoch: epoch, memory: memory, ranges: []seenRange{{until: noEnd}}}
}

func (p *position) encode() []byte {
	b := append([]byte(nil), p.epoch[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.memory))
	b = binary.BigEndian.AppendUint64(b, uint64(p.cursor))
	b = binary.BigEndian.AppendUint64(b, p.terms)
	b = binary.BigEndian.AppendUint64(b, uint64(p.areas))
	for _, r := range p.ranges {
		b = binary.BigEndian.AppendUint64(b, uint64(r.until))
		b = binary.BigEndian.AppendUint64(b, uint64(r.generation))
		b = binary.BigEndian.AppendUint64(b, uint64(r.seq))
		b = binary.BigEndian.AppendUint32(b, uint32(dayNumber(r.day)))
		b = binary.BigEndian.AppendUint64(b, r.scope)
		rough := byte(0)
		if r.rough {
			rough = 1
		}
		b = append(b, rough)
	}
	return b
}

// decodePosition reads what encode wrote; nil when it is something else.
func decodePosition(b []byte) *position {
	const head = 16 + 4*8
	if len(b) < head+rangeSize || (len(b)-head)%rangeSize != 0 {
		return nil
	}
	next := func() int64 {
		n := int64(binary.BigEndian.Uint64(b))
		b = b[8:]
		return n
	}
	p := &position{epoch: annona.UID(b[:16])}
	b = b[16:]
	p.memory, p.cursor, p.terms, p.areas = next(), annona.Number(next()), uint64(next()), next()
	for len(b) > 0 {
		r := seenRange{until: annona.Number(next()), generation: next(), seq: next()}
		r.day = dateOfDay(int64(binary.BigEndian.Uint32(b)))
		b = b[4:]
		r.scope = uint64(next())
		r.rough = b[0] == 1
		b = b[1:]
		p.ranges = append(p.ranges, r)
	}
	return p
}

const firstDay annona.Date = "1970-01-01"

// dayNumber counts days since 1970; 0: no day.
func dayNumber(d annona.Date) int64 {
	if d == "" {
		return 0
	}
	return d.Time().Unix() / (24 * 60 * 60)
}

func dateOfDay(n int64) annona.Date {
	if n == 0 {
		return ""
	}
	return firstDay.AddDays(int(n))
}

// piece is a range, or what is left of one, that a look goes through.
type piece struct {
	seenRange
	after annona.Number
	upto  annona.Number // how far the look has got; until: to the end
}

// pieces cuts a position at its cursor and begins there, so that everything gets its turn.
func (p *position) pieces() []piece {
	var before, behind []piece
	after := annona.Number(0)
	for _, r := range p.ranges {
		if after < p.cursor && p.cursor < r.until {
			head := r
			head.until = p.cursor
			before = append(before, piece{head, after, after})
			after = p.cursor
		}
		if next := (piece{r, after, after}); r.until <= p.cursor {
			before = append(before, next)
		} else {
			behind = append(behind, next)
		}
		after = r.until
	}
	return append(behind, before...)
}

// advance returns the ranges after a look: what it went through stands at now.
func advance(pieces []piece, now seenRange) []seenRange {
	pieces = slices.Clone(pieces)
	slices.SortFunc(pieces, func(a, b piece) int { return int(min(1, max(-1, a.until-b.until))) })
	var ranges []seenRange
	for _, p := range pieces {
		if p.upto > p.after {
			done := now
			done.until = p.upto
			ranges = append(ranges, done)
		}
		if p.upto < p.until {
			ranges = append(ranges, p.seenRange)
		}
	}
	return ranges
}

// join makes one range of two neighbors where that loses nothing: what was shown of the one that
// is older has no younger view. Beyond maxRanges it joins them all the same, roughly.
func (x *Exchange) join(ctx context.Context, memory int64, ranges []seenRange) ([]seenRange, error) {
	var joined []seenRange
	after := annona.Number(0) // of the last of joined
	for _, r := range ranges {
		if len(joined) == 0 {
			joined = append(joined, r)
			continue
		}
		last := &joined[len(joined)-1]
		one, ok, err := x.asOne(ctx, memory, after, *last, r)
		if err != nil {
			return nil, err
		}
		if ok {
			*last = one
			continue
		}
		after = last.until
		joined = append(joined, r)
	}
	for len(joined) > maxRanges {
		joined = append([]seenRange{roughly(joined[0], joined[1])}, joined[2:]...)
	}
	return joined, nil
}

func (x *Exchange) asOne(ctx context.Context, memory int64, after annona.Number, a, b seenRange) (one seenRange, ok bool, err error) {
	one = b
	if a.scope != b.scope || a.rough != b.rough {
		return one, false, nil
	}
	one.generation, one.seq, one.day = max(a.generation, b.generation), min(a.seq, b.seq), min(a.day, b.day)
	older, until := a.generation, a.until
	if b.generation < a.generation {
		older, after, until = b.generation, a.until, b.until
	}
	if a.generation == b.generation {
		return one, true, nil
	}
	younger, err := x.Views.ViewedSince(ctx, memory, older, after, until)
	return one, len(younger) == 0, err
}

// roughly joins two ranges to one of which too little is claimed.
func roughly(a, b seenRange) seenRange {
	one := seenRange{until: b.until, generation: min(a.generation, b.generation), seq: min(a.seq, b.seq), day: min(a.day, b.day), rough: true}
	if a.scope == b.scope {
		one.scope = a.scope
	}
	return one
}

// followContext binds a position to whoever was given it and to the question.
func (i *inquiry) followContext() []byte {
	asked := slices.Clone(i.question.Fields)
	if key := i.shape.Dataset.Key; len(asked) > 0 && !slices.Contains(asked, key) {
		asked = append(asked, key) // a follower has it always
	}
	slices.Sort(asked)
	return digestOf("follow", i.caller.Client.String(), i.grant.Agreement.Name, i.question.Dataset, i.grant.Purpose.Code,
		strings.Join(slices.Compact(asked), ","), i.filterText())
}

// digestOf hashes texts so that no two lists hash alike.
func digestOf(texts ...string) []byte {
	h := sha256.New()
	for _, text := range texts {
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	return h.Sum(nil)
}

func (x *Exchange) sealFollow(i *inquiry, p *position) string {
	return x.Vault.SealPosition(i.followContext(), p.encode())
}

// openFollow returns the position in a token. One that was never given to this caller for this
// question is invalid. One that cannot be continued any more says so: there is no silence about
// changes that were missed.
func (x *Exchange) openFollow(i *inquiry, token string, f annona.Follower, state annona.LogState) (*position, error) {
	if token == "" {
		return beginning(state.Epoch, f.Key), nil
	}
	sealed, ok := x.Vault.OpenPosition(i.followContext(), token)
	if !ok {
		return nil, annona.Invalid("cursor_invalid", "after is a position of this client for the same dataset, purpose, fields and filter; start again without it").On("after")
	}
	p := decodePosition(sealed)
	if p != nil && p.memory == 0 {
		return nil, annona.Invalid("position_not_followed",
			"this is the position of an export that was read over some time; export at it with position, and go on from the position at the end of that one").On("after")
	}
	if p == nil || !p.usable(f, state) {
		return nil, errResync()
	}
	return p, nil
}

// usable reports whether the log and a memory still tell what comes behind a position.
func (p *position) usable(f annona.Follower, state annona.LogState) bool {
	return p.epoch == state.Epoch && p.memory == f.Key && !slices.ContainsFunc(p.ranges, func(r seenRange) bool {
		return r.generation > f.Generation || r.seq > state.Head || !r.fresh() && r.seq < state.Oldest
	})
}

func errResync() error {
	return annona.Gone("resync", "the log does not reach back to this position; start again without it, and drop what the new snapshot does not name").On("after")
}
