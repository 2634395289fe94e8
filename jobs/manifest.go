package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/schema"
)

// Manifest says what an export is and which files it has. It is signed; docs/spec/manifest.md is its
// specification.
type Manifest struct {
	Version       int               `json:"manifest"` // of this form: 1
	Export        string            `json:"export"`
	Specification string            `json:"specification"` // name@version
	Partner       string            `json:"partner"`
	Agreement     string            `json:"agreement"` // name@version
	Purpose       string            `json:"purpose"`
	Dataset       string            `json:"dataset"`
	Schema        string            `json:"schema"`
	CodeLists     string            `json:"code_lists"`
	Format        string            `json:"format"`
	Layout        string            `json:"layout,omitempty"`
	Profile       string            `json:"profile,omitempty"`
	Compression   string            `json:"compression"`
	Joinable      bool              `json:"joinable"` // the documents of the parts, one behind the other, are one
	AsOf          annona.Date       `json:"as_of"`
	Mode          string            `json:"mode"`            // full: it has everything; delta: what has changed since
	Since         string            `json:"since,omitempty"` // position behind which a delta begins
	Position      string            `json:"position"`
	Fields        []string          `json:"fields"`
	Derived       []string          `json:"derived,omitempty"` // columns of the specification that are no field
	Withheld      []string          `json:"withheld"`
	RaisedCap     string            `json:"raised_cap,omitempty"`
	Rows          int64             `json:"rows"`
	LeftOut       map[string]string `json:"left_out"` // who was in it when it began and is not any more, by noun
	AlteredCells  int64             `json:"altered_cells"`
	Recipient     string            `json:"recipient,omitempty"` // SHA-256 of the public key it is sealed to
	Files         []ManifestFile    `json:"files"`
	AskedAt       time.Time         `json:"asked_at"`
	MadeAt        time.Time         `json:"made_at"`
	DeletedBy     time.Time         `json:"deleted_by"` // then the registry's files are gone
	Checkpoint    string            `json:"checkpoint,omitempty"`
}

// ManifestFile is one file. Size and SHA256 are of the file as it is downloaded, the others of what it
// holds once it is opened and unpacked.
type ManifestFile struct {
	Name           string `json:"name"`
	Part           int    `json:"part"`
	Rows           int64  `json:"rows"`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	DocumentSize   int64  `json:"document_size"`
	DocumentSHA256 string `json:"document_sha256"`
}

// Sent is the size and hash of a part as it is downloaded.
func Sent(p annona.ExportPart, recipient string) annona.Hashed {
	if recipient != "" {
		return p.Stored
	}
	return p.Content
}

// manifest makes and signs the manifest of an export all of whose parts are complete.
func (r *running) manifest(ctx context.Context, keep time.Duration) (string, error) {
	spec, o := r.export.Spec(), &r.job.ExportOrder
	individuals, households, err := r.export.Missing(r.parts)
	if err != nil {
		return "", err
	}
	m := Manifest{
		Version: 1, Export: r.job.ID.String(), Specification: spec.Name + "@" + strconv.Itoa(spec.Version), Partner: o.Partner,
		Agreement: o.Agreement + "@" + strconv.Itoa(o.AgreementVersion), Purpose: o.Purpose, Dataset: o.Dataset,
		Schema: o.Dataset + "/" + strconv.Itoa(o.Schema), CodeLists: schema.CodeLists(r.Gate.CurrentDictionary(), r.export.Shape()),
		Format: spec.Format, Layout: string(encode.LayoutOf(o.Dataset, r.options)), Profile: spec.Profile, Compression: r.compression(), Joinable: spec.Format == string(encode.NDJSON),
		AsOf: r.export.AsOf(), Mode: annona.SpecFull, Since: r.Gate.ExportSince(r.job), Position: r.Gate.ExportPosition(r.job), Withheld: append([]string{}, r.export.Withheld()...), RaisedCap: r.export.Raised(),
		LeftOut: r.leftOut(individuals, households),
		AskedAt: o.AskedAt, MadeAt: r.now(), DeletedBy: r.now().Add(keep),
	}
	if m.Since != "" {
		m.Mode = annona.SpecDelta
	}
	for _, f := range spec.Fields {
		m.Fields = append(m.Fields, f.Field)
	}
	for _, d := range spec.Derived {
		m.Derived = append(m.Derived, d.As)
	}
	if spec.Recipient != "" {
		m.Recipient = Fingerprint(spec.Recipient)
	}
	for _, p := range r.parts {
		sent := Sent(p, spec.Recipient)
		m.Rows, m.AlteredCells = m.Rows+p.Rows, m.AlteredCells+p.Altered
		m.Files = append(m.Files, ManifestFile{
			Name: p.Name, Part: p.Number, Rows: p.Rows, Size: sent.Size, SHA256: hex.EncodeToString(sent.SHA256),
			DocumentSize: p.Document.Size, DocumentSHA256: hex.EncodeToString(p.Document.SHA256),
		})
	}
	checkpoint, err := r.Checkpoints.LatestCheckpoint(ctx)
	if err != nil {
		return "", err
	}
	if checkpoint != nil {
		m.Checkpoint = checkpoint.Note
	}
	var text strings.Builder
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false) // <10 is for people to read
	out.SetIndent("", "  ")
	if err := out.Encode(m); err != nil {
		return "", annona.Internal("write a manifest", err)
	}
	return r.Vault.SignManifest(text.String())
}

// leftOut counts who has left, by noun. Where the specification shows nobody of a noun there is nobody to
// leave, and that is no secret.
func (r *running) leftOut(individuals, households int64) map[string]string {
	told := map[string]string{"individuals": "0", "households": "0"}
	for noun, n := range map[string]int64{"individual": individuals, "household": households} {
		if shows(r.export.Shape(), noun) {
			told[noun+"s"] = exchange.Blurred(n)
		}
	}
	return told
}

// shows reports whether rows of a shape, or of what is nested in it, are records of that noun, or name some.
func shows(shape *annona.Shape, noun string) bool {
	if shape.Dataset.Root && shape.Dataset.Noun == noun {
		return true
	}
	return slices.ContainsFunc(shape.Groups, func(g annona.GroupShape) bool {
		names := slices.ContainsFunc(g.Shape.Columns, func(f *annona.Field) bool { return f.Shows().Code == "to_individual_id" })
		return shows(g.Shape, noun) || noun == "individual" && names
	})
}

func (r *running) now() time.Time { return r.Gate.Clock().UTC().Truncate(time.Second) }

// Fingerprint is what a manifest says of a public key.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:])
}

// OpenManifest checks the signature of a manifest against public keys of the registry that has made it,
// and reads it. Code manifest_invalid when it was changed, or is another registry's.
func OpenManifest(signed string, keys ...string) (*Manifest, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		v, err := note.NewVerifier(strings.TrimSpace(key))
		if err != nil {
			return nil, annona.Invalid("key_malformed", "this is no public key of manifests; annona export key prints it").Because(err)
		}
		verifiers = append(verifiers, v)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifiers...))
	if err != nil {
		return nil, errManifest.Because(err)
	}
	var m Manifest
	if err := json.Unmarshal([]byte(opened.Text), &m); err != nil {
		return nil, errManifest.Because(err)
	}
	if m.Version != 1 {
		return nil, annona.Invalid("manifest_version", "the manifest is of a later form; use a newer version of Annona")
	}
	return &m, nil
}

var errManifest = annona.Invalid("manifest_invalid", "this is no manifest that the registry with this key has signed, or it was changed; fetch it again")

// CheckFile compares a file in a folder with what a manifest says of it. found: it is there. Code
// file_differs when it is another one, or not whole.
func CheckFile(folder string, f ManifestFile) (found bool, err error) {
	if f.Name != filepath.Base(f.Name) {
		return false, errManifest
	}
	file, err := os.Open(filepath.Join(folder, f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, annona.Invalid("file_unreadable", "a file of the export cannot be read").On(f.Name).Because(err)
	}
	defer file.Close()
	t := newTally(io.Discard)
	if _, err := io.Copy(t, file); err != nil {
		return true, annona.Invalid("file_unreadable", "a file of the export cannot be read").On(f.Name).Because(err)
	}
	if t.size != f.Size || hex.EncodeToString(t.hash.Sum(nil)) != f.SHA256 {
		return true, annona.Conflict("file_differs", "the file is not what the registry sent; download it again").On(f.Name)
	}
	return true, nil
}
