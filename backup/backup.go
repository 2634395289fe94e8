// Package backup is the form of a backup: the tables of a store as rows of typed cells, with what
// it takes to notice that one bit is missing or another one came from somewhere else, compressed,
// and sealed as a whole to recipients of age. docs/spec/backup.md fixes every byte.
//
// A file is written in one go and read in one go, in flat memory; nothing of it ever lies in clear
// on a disk. The package knows neither a store's tables nor a key of the registry: who gives the
// rows, who takes them, and who proves that the registry wrote them is handed to it.
package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// Kind says what a file carries.
type Kind string

// The kinds of files. No file carries both.
const (
	Registry Kind = "registry" // everything but keys
	Keys     Kind = "keys"     // the key store as it lies: every key in it is wrapped
)

// Format is the version of the form.
const Format = 1

// Header is the first thing in a file.
type Header struct {
	Format  int    `json:"format"`
	Kind    Kind   `json:"kind"`
	Program string `json:"program_version"`
	// Made is when the state was taken.
	Made time.Time `json:"made_at"`
	// Expires is the day from which a copy of keys must not be kept any more; zero for a registry.
	Expires time.Time `json:"expires_at,omitzero"`
	annona.StoreState
}

// Manifest is the last thing in a file but its proof. A file without one is not whole.
type Manifest struct {
	Parts []Part `json:"parts"`
}

// Part is a table of a file.
type Part struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of its rows as they are encoded, in hexadecimal
}

// Rows counts the rows of all parts.
func (m Manifest) Rows() (rows int64) {
	for _, p := range m.Parts {
		rows += p.Rows
	}
	return rows
}

// Equal reports whether two manifests speak of the same content.
func (m Manifest) Equal(other Manifest) bool { return slices.Equal(m.Parts, other.Parts) }

// Prove returns the proof of a digest that only the registry can make.
type Prove func(digest []byte) []byte

// A payload is a magic line and then frames: a letter, the length in four bytes big-endian, content.
const (
	magic         = "annona backup\n"
	frameHeader   = 'H' // JSON; the first frame
	frameTable    = 'T' // JSON; begins a table
	frameRows     = 'R' // rows of the table
	frameManifest = 'M' // JSON
	frameProof    = 'P' // of header and manifest; the last frame
)

const (
	fullFrame = 256 << 10 // rows are gathered up to here
	maxFrame  = 1 << 30   // of a single row that is longer; more than an engine keeps in one
	maxText   = 16 << 20  // of a frame of JSON
	maxWindow = 64 << 20  // of the compression; a file that asks for more was not written here
)

// digest is what the proof covers. The hashes in the manifest cover the rows.
func digest(header, manifest []byte) []byte {
	a, b := sha256.Sum256(header), sha256.Sum256(manifest)
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte(magic), a[:], b[:]}, nil))
	return sum[:]
}

func sumText(sum []byte) string { return hex.EncodeToString(sum) }

var (
	errDamaged = annona.Conflict("backup_damaged", "the file is damaged, was cut short or was changed; nothing of it was applied. Copy it again, or use another backup")
	errTooNew  = annona.Conflict("backup_too_new", "the file was written by a newer version of Annona; use that version or a newer one")
)
