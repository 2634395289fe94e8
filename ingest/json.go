package ingest

import (
	"encoding/json"
	"slices"
	"strings"
)

// A line of NDJSON is parsed into values that are used again for the next line: a source sends
// millions of lines, and maps of all their members would be most of what a load throws away. Texts
// are pieces of the line itself.

// maxDepth is how deep lists and objects may lie in each other.
const maxDepth = 1000

type jsonKind byte

const (
	jsonNull jsonKind = iota
	jsonFalse
	jsonTrue
	jsonNumber
	jsonString
	jsonList
	jsonObject
)

// jsonValue is a value and, where it is a member of an object, its name. The members or items of a
// value follow each other from first on.
type jsonValue struct {
	kind        jsonKind
	name        string
	text        string // of a string, and of a number its digits as they are
	first, last *jsonValue
	next        *jsonValue
	asked       *jsonValue // the member that was asked for last: most rows are asked in their own order
}

// member returns the member of that name; nil when there is none, it is null, or v is no object.
func (v *jsonValue) member(name string) *jsonValue {
	if v == nil || v.kind != jsonObject || v.first == nil {
		return nil
	}
	if v.asked == nil {
		v.asked = v.last
	}
	from := v.asked
	for at := from; ; {
		if at = at.next; at == nil {
			at = v.first
		}
		if at.name == name {
			v.asked = at
			return at.orNil()
		}
		if at == from {
			return nil
		}
	}
}

// has reports whether an object has a member of that name, null or not.
func (v *jsonValue) has(name string) bool {
	for inner := v.first; inner != nil; inner = inner.next {
		if inner.name == name {
			return true
		}
	}
	return false
}

func (v *jsonValue) orNil() *jsonValue {
	if v.kind == jsonNull {
		return nil
	}
	return v
}

// isObject reports whether v is there and an object.
func (v *jsonValue) isObject() bool { return v != nil && v.kind == jsonObject }

// byName returns the members of an object in order of their names.
func (v *jsonValue) byName() (members []*jsonValue) {
	for inner := v.first; inner != nil; inner = inner.next {
		members = append(members, inner)
	}
	slices.SortFunc(members, func(a, b *jsonValue) int { return strings.Compare(a.name, b.name) })
	return members
}

// count returns how many members or items v has.
func (v *jsonValue) count() (n int) {
	for inner := v.first; inner != nil; inner = inner.next {
		n++
	}
	return n
}

// jsonParser parses lines as RFC 8259 writes them. Of two members of one name the last one counts.
type jsonParser struct {
	text   string
	at     int
	depth  int
	chunks [][]jsonValue
	used   int // of all chunks together
}

const jsonChunk = 512 // values that are allocated together

// parse parses a line that is one object; nil when it is something else. What it returns is good
// until the next line.
func (p *jsonParser) parse(line string) *jsonValue {
	p.text, p.at, p.depth, p.used = line, 0, 0, 0
	v := p.value()
	if v == nil || v.kind != jsonObject || p.peek() != 0 || p.at < len(p.text) {
		return nil
	}
	return v
}

func (p *jsonParser) fresh(kind jsonKind) *jsonValue {
	chunk := p.used / jsonChunk
	if chunk == len(p.chunks) {
		p.chunks = append(p.chunks, make([]jsonValue, jsonChunk))
	}
	v := &p.chunks[chunk][p.used%jsonChunk]
	p.used++
	*v = jsonValue{kind: kind}
	return v
}

// peek passes white space and returns the character behind it; 0 at the end.
func (p *jsonParser) peek() byte {
	for ; p.at < len(p.text); p.at++ {
		if c := p.text[p.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// take passes a character that has to come next.
func (p *jsonParser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

// value parses the next value; nil when there is none.
func (p *jsonParser) value() *jsonValue {
	switch c := p.peek(); c {
	case '{':
		return p.object()
	case '[':
		return p.list()
	case '"':
		text, ok := p.string()
		if !ok {
			return nil
		}
		v := p.fresh(jsonString)
		v.text = text
		return v
	case 'n':
		return p.word("null", jsonNull)
	case 't':
		return p.word("true", jsonTrue)
	case 'f':
		return p.word("false", jsonFalse)
	}
	return p.number()
}

func (p *jsonParser) word(word string, kind jsonKind) *jsonValue {
	if !strings.HasPrefix(p.text[p.at:], word) {
		return nil
	}
	p.at += len(word)
	return p.fresh(kind)
}

func (p *jsonParser) object() *jsonValue {
	object := p.fresh(jsonObject)
	var seen [4]uint64 // of hashes of names: most objects name nothing twice
	ok := p.inside('}', func() bool {
		if p.peek() != '"' {
			return false
		}
		name, ok := p.string()
		if !ok || !p.take(':') {
			return false
		}
		v := p.value()
		if v == nil {
			return false
		}
		v.name = name
		if h := nameHash(name); seen[h>>6]&(1<<(h&63)) == 0 {
			seen[h>>6] |= 1 << (h & 63)
			object.add(v)
		} else {
			object.replace(v)
		}
		return true
	})
	if !ok {
		return nil
	}
	return object
}

// nameHash is 8 bits that differ for most names.
func nameHash(name string) (h byte) {
	for i := 0; i < len(name); i++ {
		h = h*31 + name[i]
	}
	return h
}

func (p *jsonParser) list() *jsonValue {
	list := p.fresh(jsonList)
	ok := p.inside(']', func() bool {
		v := p.value()
		if v == nil {
			return false
		}
		list.add(v)
		return true
	})
	if !ok {
		return nil
	}
	return list
}

// inside parses what stands between the bracket at which the parser is and the one that ends it.
func (p *jsonParser) inside(end byte, one func() bool) bool {
	p.at++
	if p.depth++; p.depth > maxDepth {
		return false
	}
	defer func() { p.depth-- }()
	if p.take(end) {
		return true
	}
	for {
		if !one() {
			return false
		}
		if p.take(end) {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
}

func (v *jsonValue) add(inner *jsonValue) {
	if v.last == nil {
		v.first = inner
	} else {
		v.last.next = inner
	}
	v.last = inner
}

// replace puts a member in the place of one that has its name, or behind all others.
func (v *jsonValue) replace(member *jsonValue) {
	for had := v.first; had != nil; had = had.next {
		if had.name == member.name {
			member.next = had.next
			*had = *member
			return
		}
	}
	v.add(member)
}

// string parses the string at which the parser is.
func (p *jsonParser) string() (string, bool) {
	from := p.at + 1
	for i := from; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return p.text[from:i], true
		case c == '\\':
			return p.escaped(from - 1)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// escaped parses a string with escapes in it.
func (p *jsonParser) escaped(from int) (text string, ok bool) {
	for i := from + 1; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
		case '"':
			p.at = i + 1
			return text, json.Unmarshal([]byte(p.text[from:p.at]), &text) == nil
		}
	}
	return "", false
}

func (p *jsonParser) number() *jsonValue {
	from := p.at
	p.pass("-", 1)
	if !p.pass("0", 1) && !p.digits() {
		return nil
	}
	if p.pass(".", 1) && !p.digits() {
		return nil
	}
	if p.pass("eE", 1) {
		p.pass("+-", 1)
		if !p.digits() {
			return nil
		}
	}
	v := p.fresh(jsonNumber)
	v.text = p.text[from:p.at]
	return v
}

func (p *jsonParser) digits() bool { return p.pass("0123456789", len(p.text)) }

// pass passes some characters, at most so many, and reports whether there was any.
func (p *jsonParser) pass(any string, most int) bool {
	from := p.at
	for p.at < len(p.text) && p.at-from < most && strings.IndexByte(any, p.text[p.at]) >= 0 {
		p.at++
	}
	return p.at > from
}
