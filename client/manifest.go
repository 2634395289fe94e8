package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Manifest says what an export is and which files it has. Its specification is docs/spec/manifest.md.
type Manifest struct {
	Version       int               `json:"manifest"` // of the form: 1
	Export        string            `json:"export"`
	Specification string            `json:"specification"` // name@version
	Partner       string            `json:"partner"`
	Agreement     string            `json:"agreement"` // name@version
	Purpose       string            `json:"purpose"`
	Dataset       string            `json:"dataset"`
	Schema        string            `json:"schema"`
	CodeLists     string            `json:"code_lists"`
	Format        string            `json:"format"`
	Layout        string            `json:"layout"`
	Profile       string            `json:"profile"`
	Compression   string            `json:"compression"`
	Joinable      bool              `json:"joinable"`
	AsOf          string            `json:"as_of"`
	Mode          string            `json:"mode"`  // full or delta
	Since         string            `json:"since"` // position behind which a delta begins
	Position      string            `json:"position"`
	Fields        []string          `json:"fields"`
	Derived       []string          `json:"derived"`
	Withheld      []string          `json:"withheld"`
	RaisedCap     string            `json:"raised_cap"`
	Rows          int64             `json:"rows"`
	LeftOut       map[string]string `json:"left_out"`
	AlteredCells  int64             `json:"altered_cells"`
	Recipient     string            `json:"recipient"` // SHA-256 of the public key it is sealed to; empty: to none
	Files         []File            `json:"files"`
	AskedAt       time.Time         `json:"asked_at"`
	MadeAt        time.Time         `json:"made_at"`
	DeletedBy     time.Time         `json:"deleted_by"`
	Checkpoint    string            `json:"checkpoint"`
}

// File is one file of an export: as it is downloaded, and the document that it holds once it is opened
// and unpacked.
type File struct {
	Name           string `json:"name"`
	Part           int    `json:"part"`
	Rows           int64  `json:"rows"`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	DocumentSize   int64  `json:"document_size"`
	DocumentSHA256 string `json:"document_sha256"`
}

// The names of keys begin so.
const (
	manifestKeys = "annona.manifest.v1/"
	ledgerKeys   = "annona.ledger.v1/"
)

// OpenManifest checks the signature of a manifest against the public keys of the registry, and reads it.
// Keys of its ledger may be among them. Code manifest_invalid: it was changed, or is another registry's.
func OpenManifest(signed string, keys []string) (*Manifest, error) {
	text, _, err := openNote(signed, keys, manifestKeys)
	if err != nil {
		return nil, &Error{Code: "manifest_invalid", Detail: "this is no manifest that the registry with this key has signed, or it was changed; fetch it again", cause: err}
	}
	return readManifest(text)
}

// ReadManifest reads a manifest without a look at its signature: one that was checked before.
func ReadManifest(signed string) (*Manifest, error) {
	text, _, _ := strings.Cut(signed, "\n\n— ")
	return readManifest(text)
}

func readManifest(text string) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, &Error{Code: "manifest_invalid", Detail: "the manifest is not of its form", cause: err}
	}
	if m.Version != 1 {
		return nil, &Error{Code: "manifest_version", Detail: "the manifest is of a later form; use a newer client"}
	}
	return &m, m.check()
}

// openNote opens a note that one of the keys of a kind has signed.
func openNote(signed string, keys []string, kind string) (text, name string, err error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		if !strings.HasPrefix(strings.TrimSpace(key), kind) {
			continue
		}
		v, err := note.NewVerifier(strings.TrimSpace(key))
		if err != nil {
			return "", "", err
		}
		verifiers = append(verifiers, v)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifiers...))
	if err != nil {
		return "", "", err
	}
	return opened.Text, opened.Sigs[0].Name, nil
}

// check refuses names that lead out of a folder, or are there twice.
func (m *Manifest) check() error {
	var names []string
	for _, f := range m.Files {
		for _, name := range []string{f.Name, document(f.Name)} {
			if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\:") || path.Base(name) != name {
				return &Error{Code: "manifest_invalid", Detail: "a file of the manifest has a name that is none"}
			}
		}
		names = append(names, document(f.Name))
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(m.Files) {
		return &Error{Code: "manifest_invalid", Detail: "the manifest names a file twice"}
	}
	return nil
}

// document is the name of what a file holds once it is opened and unpacked.
func document(name string) string {
	name = strings.TrimSuffix(name, ".age")
	return strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
}

// Documents are the names of what the files hold, in their order.
func (m *Manifest) Documents() (names []string) {
	for _, f := range m.Files {
		names = append(names, document(f.Name))
	}
	return names
}

// size is how many bytes there are to download.
func (m *Manifest) size() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// fingerprint is what a manifest says of a public key.
func fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:])
}
