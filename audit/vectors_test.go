package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

var update = flag.Bool("update", false, "write the vectors anew")

// span is first, last and step of a run of numbers.
type span [3]annona.Number

func numbers(spans ...span) (all []annona.Number) {
	for _, s := range spans {
		for n := s[0]; n <= s[1]; n += s[2] {
			all = append(all, n)
		}
	}
	return all
}

// vectorSource is what an entry of the vectors is made from.
type vectorSource struct {
	kind   annona.EntryKind
	at     time.Time
	facts  Facts
	filter string
	caller annona.Caller
	noun   []string
	fields [][]string
	spans  [][]span
}

var vectorSources = []vectorSource{
	{
		kind:   annona.EntryAdministration,
		at:     time.Unix(0, 0),
		facts:  Facts{Verb: annona.VerbApplyAgreement, Details: map[string]string{"agreement": "eligibility", "version": "1"}},
		caller: annona.Caller{Strength: annona.StrengthOperator, Operator: "registrar"},
	},
	{
		kind: annona.EntryRelease,
		at:   time.Date(2026, 3, 1, 12, 30, 45, 123456789, time.FixedZone("", 3600)),
		facts: Facts{
			Verb: annona.VerbExport, Dataset: "households", Purpose: "eligibility-assessment", Agreement: "eligibility",
			AgreementVersion: 3, Partner: "Ministère de l’Assistance", Basis: annona.BasisPublicInterest,
			Fields: []string{"id", "area", "members.full_name"}, Withheld: []string{"members.religion"}, Format: "csv",
			Layout: "linked", Page: 1, Rows: 1000, AsOf: "2026-03-01", SchemaVersion: 1, Raised: "full load; \"agreed\" 2026-02-28",
		},
		filter: "household.poverty_score < 35 && household.area != \"\u2028\\\"",
		caller: annona.Caller{Client: fixedUID(77), Agreement: "eligibility", Strength: annona.StrengthAPIKey, Network: netip.MustParseAddr("2001:db8::7")},
		noun:   []string{"household", "individual", "individual"},
		fields: [][]string{{"id", "area"}, {"full_name", "sex"}, {"sex"}},
		spans:  [][]span{{{1, 1000, 1}}, {{1, 8000, 3}, {70000, 190000, 7}, {262144, 272144, 1}, {1 << 33, 1<<33 + 20, 2}}, {{5, 5, 1}}},
	},
	{
		kind:   annona.EntryRelease,
		at:     time.Date(2026, 3, 1, 11, 31, 0, 0, time.UTC),
		facts:  Facts{Verb: annona.VerbGet, Dataset: "individuals", Purpose: "eligibility-assessment", Rows: 1, Page: 1},
		caller: annona.Caller{Client: fixedUID(77), Agreement: "eligibility", Strength: annona.StrengthAPIKey, Network: netip.MustParseAddr("192.0.2.1")},
		noun:   []string{"individual"},
		fields: [][]string{{}},
		spans:  [][]span{{{1, 30000, 2}}},
	},
	{
		kind:   annona.EntryOutcome,
		at:     time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),
		facts:  Facts{Verb: annona.VerbExport, Dataset: "households", Outcome: Aborted, Pages: 1, Rows: 1000, Reason: "revoked"},
		caller: annona.Caller{Client: fixedUID(77), Agreement: "eligibility", Strength: annona.StrengthAPIKey},
	},
	{
		kind:   annona.EntryChange,
		at:     time.Date(2026, 3, 2, 0, 0, 0, 1000, time.UTC),
		facts:  Facts{Verb: annona.VerbSubjectRights, Details: map[string]string{"tab\tline\nbell\a": "<&>", "é": "", "z": "\u007f\U0001F33E", "": "no name"}},
		caller: annona.Caller{Strength: annona.StrengthOperator, Operator: "registrar"},
		noun:   []string{"individual"},
		fields: [][]string{nil},
		spans:  [][]span{{{1 << 40, 1 << 40, 1}}},
	},
}

func fixedUID(n byte) (uid annona.UID) {
	sum := sha256.Sum256([]byte{n})
	copy(uid[:], sum[:])
	return uid
}

// row composes the entry with an id and salts that are not random.
func (s vectorSource) row(i int) annona.LedgerRow {
	var subjects []Subjects
	for n := range s.noun {
		subjects = append(subjects, Subjects{Noun: s.noun[n], Fields: s.fields[n], Numbers: numbers(s.spans[n]...)})
	}
	row := compose(s.kind, s.at, fixedUID(100), s.facts, s.filter, s.caller, subjects)
	row.ID = fixedUID(byte(i))
	for n := range row.Parts {
		row.Parts[n].Salt = sha256.Sum256(fmt.Appendf(nil, "salt %d.%d", i, n))
	}
	return commit(row)
}

type vectorPart struct {
	Name       string          `json:"name"`
	JSON       json.RawMessage `json:"json,omitempty"`
	Text       string          `json:"text,omitempty"`
	Noun       string          `json:"noun,omitempty"`
	Fields     []string        `json:"fields,omitzero"`
	Ranges     []span          `json:"ranges,omitempty"`
	Salt       string          `json:"salt"`
	Content    string          `json:"content"`
	Commitment string          `json:"commitment"`
}

type vectorEntry struct {
	ID      string       `json:"id"`
	TimeUS  int64        `json:"time_us"`
	Kind    string       `json:"kind"`
	Request string       `json:"request"`
	Fields  []string     `json:"fields,omitempty"` // that the facts name by their hash
	Parts   []vectorPart `json:"parts"`
	Leaf    string       `json:"leaf"`
	Hash    string       `json:"hash"`
	Root    string       `json:"root"`
}

func (s vectorSource) part(p annona.LedgerPart, set int) vectorPart {
	c := commitTo(p)
	v := vectorPart{Name: p.Name, Salt: hex.EncodeToString(p.Salt[:]), Content: hex.EncodeToString(p.Content), Commitment: hex.EncodeToString(c.hash[:])}
	switch {
	case p.Noun != "":
		v.Noun, v.Fields, v.Ranges = p.Noun, append([]string{}, s.fields[set]...), s.spans[set]
	case p.Name == partFilter:
		v.Text = s.filter
	default:
		v.JSON = p.Content
	}
	return v
}

func makeVectors(t *testing.T) []byte {
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	var entries []vectorEntry
	for i, s := range vectorSources {
		row := s.row(i)
		if err := tree.Append(row.Hash[:], nil); err != nil {
			t.Fatal(err)
		}
		root, err := tree.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		e := vectorEntry{ID: row.ID.String(), TimeUS: row.At.UnixMicro(), Kind: string(row.Kind), Request: row.Request.String(), Fields: s.facts.Fields, Leaf: hex.EncodeToString(row.Leaf), Hash: hex.EncodeToString(row.Hash[:]), Root: hex.EncodeToString(root)}
		set := 0
		for _, p := range row.Parts {
			e.Parts = append(e.Parts, s.part(p, set))
			if p.Noun != "" {
				set++
			}
		}
		entries = append(entries, e)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(map[string]any{"format": leafFormat, "empty_root": hex.EncodeToString(rfc6962.DefaultHasher.EmptyRoot()), "entries": entries}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var vectorsFile = filepath.Join("testdata", "vectors.json")

func TestVectorsAreReproduced(t *testing.T) {
	made := makeVectors(t)
	if *update {
		if err := os.WriteFile(vectorsFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), string(made)); diff != "" {
		t.Errorf("the encoding of the ledger changed; entries written before could not be verified (-kept +made):\n%s", diff)
	}
}

func TestSecondImplementationReproducesVectors(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the second implementation of the ledger's encoding is not run")
	}
	script := filepath.Join("testdata", "verify_vectors.py")
	out, err := exec.Command(python, script, vectorsFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := fmt.Sprintf("%d entries reproduced", len(vectorSources)); strings.TrimSpace(string(out)) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestSecondImplementationFindsAChangedVector(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the second implementation of the ledger's encoding is not run")
	}
	kept, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed.json")
	if err := os.WriteFile(changed, bytes.Replace(kept, []byte(`"kind": "release"`), []byte(`"kind": "Release"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, filepath.Join("testdata", "verify_vectors.py"), changed).CombinedOutput(); err == nil {
		t.Errorf("the second implementation accepted a changed vector: %s", out)
	}
}
