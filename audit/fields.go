package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/annona-exchange/annona"
)

// hash names a list of fields; the zero hash names no list.
type hash [32]byte

// String writes the hash in hexadecimal; the zero hash is empty.
func (h hash) String() string {
	if h == (hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

func parseHash(text string) (h hash, err error) {
	if text == "" {
		return h, nil
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) || text != hex.EncodeToString(b) {
		return h, annona.Invalid("part_malformed", "the facts name a list of fields by no hash")
	}
	copy(h[:], b)
	return h, nil
}

// lists collects the lists of fields that one entry names.
type lists struct {
	asked  [][]string // as they were given, for those that come again
	hashes []hash
	all    []annona.FieldList // each once
}

// add returns the hash of a list, in the order in which it was given. No names are no list.
func (l *lists) add(fields []string) hash {
	if len(fields) == 0 {
		return hash{}
	}
	if i := slices.IndexFunc(l.asked, func(have []string) bool { return slices.Equal(have, fields) }); i >= 0 {
		return l.hashes[i]
	}
	content := encodeFields(fields)
	h := hash(sha256.Sum256(content))
	l.asked, l.hashes = append(l.asked, fields), append(l.hashes, h)
	if !slices.ContainsFunc(l.all, func(have annona.FieldList) bool { return have.Hash == h }) {
		l.all = append(l.all, annona.FieldList{Hash: h, Content: content})
	}
	return h
}

// encodeFields writes a list: how many, then each name behind its length.
func encodeFields(fields []string) []byte {
	size := 4
	for _, f := range fields {
		size += 4 + len(f)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(len(fields)))
	for _, f := range fields {
		b = appendText(b, f)
	}
	return b
}

// decodeFields reads what encodeFields wrote, and nothing else.
func decodeFields(b []byte) ([]string, error) {
	r := reader{rest: b}
	var fields []string
	for n := r.uint32(); n > 0 && !r.failed; n-- {
		fields = append(fields, r.text())
	}
	if r.failed || len(r.rest) > 0 {
		return nil, annona.Invalid("part_malformed", "a list of fields does not decode")
	}
	return fields, nil
}

// resolve finds the list of that hash among those that a row brings.
func resolve(h hash, brought []annona.FieldList) ([]string, error) {
	if h == (hash{}) {
		return nil, nil
	}
	i := slices.IndexFunc(brought, func(l annona.FieldList) bool { return l.Hash == h })
	if i < 0 || sha256.Sum256(brought[i].Content) != h {
		return nil, errFields
	}
	return decodeFields(brought[i].Content)
}

var errFields = annona.Conflict("fields_missing", "a list of fields that the entry names is not there, or was changed")
