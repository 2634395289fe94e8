package annona

import (
	"context"
	"time"
)

// KeyStore keeps the wrapped keys of the vault, apart from the records that they protect. What it
// holds is worthless without the root key.
type KeyStore interface {
	Secrets
	SubjectKeys
}

// Secret is one version of a class secret or of a generation, as it lies in the key store.
type Secret struct {
	Label   string
	Version int // from 1
	At      time.Time
	Wrapped []byte
}

// GenerationLabel is the label of generations: the secrets that wrap subject keys.
const GenerationLabel = "generation"

// Secrets keeps wrapped class secrets and generations.
type Secrets interface {
	// Get returns a secret; the zero Secret when there is none.
	Get(label string, version int) (Secret, error)
	// Latest returns the highest version of a label; the zero Secret when there is none.
	Latest(label string) (Secret, error)
	// List returns all secrets, by label and version.
	List() ([]Secret, error)
	// Put stores a secret, durably. The first one stays: when that version is there already, Put
	// changes nothing and may refuse. The vault reads back which one is in force.
	Put(s Secret) error
	// Rewrap replaces the wrapped bytes of all secrets there are, in one transaction, durably. It
	// refuses with code secrets_changed when these are not all, or one of them is not there.
	Rewrap(secrets []Secret) error
	// Destroy deletes one version of a secret, durably, if it is there. A generation
	// that wraps subject keys is refused with code generation_in_use, also against whoever is
	// changing subject keys at that moment.
	Destroy(label string, version int) error
}

// KeyBlock is the wrapped keys of the subjects of one noun whose numbers follow each other.
type KeyBlock struct {
	Noun       string
	Block      int64 // number / SubjectsPerBlock
	Generation int   // that wraps it
	Wrapped    []byte
}

// SubjectKeys keeps wrapped subject keys, block by block. Blocks are handed to callbacks; their
// bytes are good during the call only.
type SubjectKeys interface {
	// ReadKeys calls take for each of the blocks of a noun that is on file, in ascending order. It
	// may give others between them too. blocks ascend, each stands there once.
	ReadKeys(ctx context.Context, noun string, blocks []int64, take func(KeyBlock) error) error
	// ChangeKeys calls change for each of the blocks, in ascending order, and keeps what it returns
	// as the block's wrapped bytes under that generation: nil leaves the block as it is, an empty
	// slice deletes it. A block that is not on file has no wrapped bytes. All of it is one
	// transaction, durable when ChangeKeys returns; nobody changes these blocks meanwhile. change
	// may be called again for every block, from the first. It refuses with code generation_gone
	// when the generation is not on file.
	ChangeKeys(ctx context.Context, noun string, blocks []int64, generation int, change func(KeyBlock) ([]byte, error)) error
	// StaleKeys returns at most limit blocks that an earlier generation wraps, those behind after,
	// by generation, noun and number; their wrapped bytes are not filled.
	StaleKeys(ctx context.Context, generation int, after KeyBlock, limit int) ([]KeyBlock, error)
	// CountKeys returns how many blocks each generation wraps. It looks at every block.
	CountKeys(ctx context.Context) (map[int]int64, error)
	// Wipe removes what deleted keys have left behind in files, as far as it can be done at this
	// moment. What it cannot reach is worthless once its generation is destroyed.
	Wipe(ctx context.Context) error
}

// SubjectsPerBlock is how many consecutive numbers share a block of keys.
const SubjectsPerBlock = 16

// KeyRotation is what one rotation of generations did.
type KeyRotation struct {
	Made      []int // generations
	Destroyed []int
	Rewrapped int64 // blocks of subject keys
}

// KeyRotator makes keys anew in time.
type KeyRotator interface {
	// Rotate does what is due: it makes a generation, or one now when it is forced to, wraps subject
	// keys by it anew, and destroys those before it when their time is over. What it says it did is
	// done, also when it fails later.
	Rotate(ctx context.Context, force bool) (KeyRotation, error)
	// RotateClass makes a new version of the secret of a class, for what is new.
	RotateClass(class string) (version int, err error)
	// ClassVersion returns the latest version of the secret of a class.
	ClassVersion(class string) (int, error)
	// DestroyClass destroys all versions of the secret of a class but the latest.
	DestroyClass(class string) error
	// Refresh takes over what another process has made or destroyed.
	Refresh() error
}
