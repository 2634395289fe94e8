package annona

import (
	"context"
	"io"
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

// WantedKeys are blocks of one noun.
type WantedKeys struct {
	Noun   string
	Blocks []int64 // ascending, each once
}

// SubjectKeys keeps wrapped subject keys, block by block. Blocks are handed to callbacks; their
// bytes are good during the call only.
type SubjectKeys interface {
	// ReadKeys calls take for each of the blocks that is on file, one noun behind the other as they are
	// asked for, in ascending order. It may give others between them too.
	ReadKeys(ctx context.Context, wanted []WantedKeys, take func(KeyBlock) error) error
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
	// DestroyClass destroys all versions of the secret of a class but the latest. Of the classes of signing
	// in it keeps the one before too: another node may seal by it until it has taken over the latest.
	DestroyClass(class string) error
	// SealFactorAnew seals what a factor is checked by with the latest key; nil: it was. false: it does not
	// open.
	SealFactorAnew(user, factor UID, sealed []byte) (anew []byte, ok bool)
	// Refresh takes over what another process has made or destroyed.
	Refresh() error
}

// Cell is one image that is sealed for storage. All of its fields but Image are what the sealed
// bytes are bound to: they open nowhere else.
type Cell struct {
	Dataset *Dataset
	Number  Number
	Version int // of the record that the image belongs to
	Part    CellPart
	Image   []byte // to be sealed; then the sealed bytes. An empty image stays empty
}

// CellPart says which image of a record a cell holds.
type CellPart string

// The parts. PartBefore is the clear image that a record had before it changed; the sealed one of
// that version lies behind it as it was. PartOwn is what a record's own sources say, see Part.
const (
	PartSealed CellPart = "sealed"
	PartBefore CellPart = "before"
	PartOwn    CellPart = "own"
	// PartRequest is what a change request asks of a record, at the version of that moment.
	PartRequest CellPart = "request"
	// PartContent is a part of the content of an attachment; the parts count as its versions do, from 1.
	PartContent CellPart = "content"
)

// Vault seals and opens, hashes and enciphers ids. It alone knows keys. It owns no rule about who
// may see what.
type Vault interface {
	Hashes
	// Seal seals images in place, each under the key of its subject. Keys of new subjects are
	// made, and durable, before it returns.
	Seal(ctx context.Context, cells []Cell) error
	// Open opens the sealed images of pages and of the pages nested in them, and appends their
	// fields to the columns and groups of their page. It fails with code key_gone when a subject has no
	// key (anymore): whoever asked reads all of the pages again.
	Open(ctx context.Context, pages ...*Page) error
	// Realm returns the id realm of that name.
	Realm(name string) (Realm, error)
	// SealPosition seals a cursor; OpenPosition opens it or fails when it was forged, was
	// made for another context (client, dataset, filter, fields, purpose) or is not ours.
	SealPosition(context, position []byte) string
	OpenPosition(context []byte, token string) ([]byte, bool)
}

// Cells opens and seals images in place, for those who write what is on file anew.
type Cells interface {
	// Seal is that of Vault.
	Seal(ctx context.Context, cells []Cell) error
	// OpenCells opens what Seal has sealed, at the version that it is of. It fails with code key_gone
	// when a subject has no key anymore.
	OpenCells(ctx context.Context, cells []Cell) error
}

// CellVault opens and seals images by themselves.
type CellVault interface {
	Cells
	// Holding reads the keys of the rows of pages at once and calls do with what opens and seals their images
	// without asking for keys again. The keys are forgotten behind do. Those that are not on file are asked for,
	// or made, as Seal does it.
	Holding(ctx context.Context, pages []*Page, do func(cells Cells) error) error
}

// FileVault seals exports that become files, each under a key of its own, and signs what is said of them.
type FileVault interface {
	// SealFile returns a writer that seals to w, in the format of age: to the recipient, a public key of
	// age, or under the export's own key when it is empty. What was not closed is not whole, and opens
	// nowhere. Code recipient_malformed.
	SealFile(w io.Writer, export UID, recipient string) (io.WriteCloser, error)
	// OpenFile opens a file that was sealed under the export's own key. Code export_gone when that is
	// destroyed.
	OpenFile(sealed io.ReaderAt, size int64, export UID) (content io.ReaderAt, length int64, err error)
	// SealNote and OpenNote seal what is remembered of an export, bound to its name.
	SealNote(export UID, name string, text []byte) ([]byte, error)
	OpenNote(export UID, name string, sealed []byte) ([]byte, error)
	// DestroyExport destroys the key of an export, durably. Again, it does nothing.
	DestroyExport(export UID) error
	// SignManifest returns a text as a signed note; ManifestKeys returns the public keys, the one in
	// use last.
	SignManifest(text string) (note string, err error)
	ManifestKeys() ([]string, error)
}

// Hashes are keyed, one-way and always the same: what stands in a store in the place of a value.
type Hashes interface {
	// RecordKey returns the keyed hash under which a record is on file, of the key that its source
	// gave it. The source's own key lies nowhere.
	RecordKey(dataset, source, key string) string
	// BlindIndex returns the 256-bit index of a normalized identifier under the current version of
	// its key; BlindIndexes returns it under every version that rows on file may have. The issuer
	// may be empty.
	BlindIndex(scheme, issuer, normalized string) []byte
	BlindIndexes(scheme, issuer, normalized string) [][]byte
	// NameTokens returns 24 bits of the hash of a token of a name within an area, under every version
	// of its key that rows on file may have, the current one first.
	NameTokens(area, token string) []uint32
	// Digest returns a keyed digest that shows only whether content changed.
	Digest(content []byte) [16]byte
	// Tag returns a keyed 128-bit hash of a view, for entity tags.
	Tag(view []byte) [16]byte
}

// Shredder destroys keys. One verb may: erasure.
type Shredder interface {
	// Shred destroys the key of a subject, durably; again, when it is gone already. What was sealed
	// under it opens nowhere from then on. complete is when the last thing that could open an old
	// copy of the key is destroyed as well.
	Shred(ctx context.Context, dataset *Dataset, number Number) (complete time.Time, err error)
}

// TombstoneKeeper keeps tombstones outside of the registry, where its loss does not reach and no
// backup brings an older state back.
type TombstoneKeeper interface {
	// Keep keeps a tombstone, durably. It may get one twice, and one whose erasure was not
	// committed afterwards.
	Keep(ctx context.Context, t Tombstone) error
}

// Spool keeps what has to be read again for a while, sealed under a key that lies in memory only. It
// is written, ended, and then read.
type Spool interface {
	io.Writer
	// End completes what was written.
	End() error
	// Open reads it from its beginning.
	Open() (io.ReadCloser, error)
	// Close gives it up.
	Close() error
}
