package vault

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

var update = flag.Bool("update", false, "write the generated parts of docs/spec/at-rest.md")

const atRestPage = "../docs/spec/at-rest.md"

// The page that says what a stolen database shows is made from the dictionary and the table of keys.
func TestAtRestIsFresh(t *testing.T) {
	page, err := os.ReadFile(atRestPage)
	if err != nil {
		t.Fatal(err)
	}
	fresh := between(t, string(page), "fields", fieldsAtRest(annona.Standard()))
	fresh = between(t, fresh, "keys", tableOfKeys())
	if *update {
		if err := os.WriteFile(atRestPage, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if fresh != string(page) {
		t.Errorf("%s is not fresh; run go test ./vault -run AtRest -update", atRestPage)
	}
}

// between replaces what stands behind a mark.
func between(t *testing.T, page, mark, content string) string {
	t.Helper()
	begin := "<!-- " + mark + " -->\n"
	before, rest, found := strings.Cut(page, begin)
	_, after, ended := strings.Cut(rest, "<!-- end -->")
	if !found || !ended {
		t.Fatalf("%s has no place for %s", atRestPage, mark)
	}
	return before + begin + content + "<!-- end -->" + after
}

// inColumns are the datasets that stores keep in columns of their own, in clear, for the sake of scopes.
var inColumns = []string{"memberships", "relationships"}

func fieldsAtRest(d *annona.Dictionary) string {
	var out strings.Builder
	out.WriteString("| Field | At rest |\n|---|---|\n")
	for s := range d.Datasets() {
		for _, f := range s.Fields {
			if f.Derived {
				continue
			}
			fmt.Fprintf(&out, "| `%s.%s` | %s |\n", s.Name, f.Code, atRest(d, s, f))
		}
	}
	return out.String()
}

func atRest(d *annona.Dictionary, s *annona.Dataset, f *annona.Field) string {
	if slices.Contains(inColumns, s.Name) {
		return "clear"
	}
	if s.Root {
		return text(f)
	}
	// The rows of a group lie where the group lies.
	var places []string
	for outer := range d.Datasets() {
		for _, group := range outer.Fields {
			if group.Group == s.Name && group.Type == annona.TypeGroup && !group.Derived {
				if place := text(group); !slices.Contains(places, place) {
					places = append(places, place)
				}
			}
		}
	}
	if f.AtRest == annona.SealedIndexed && len(places) == 1 {
		return places[0] + ", and a blind index"
	}
	return strings.Join(places, " or ")
}

func text(f *annona.Field) string {
	if f.IsSealed() {
		return "sealed"
	}
	return "clear"
}

func tableOfKeys() string {
	var out strings.Builder
	out.WriteString("| Class | Algorithm | What for | Lost with it |\n|---|---|---|---|\n")
	fmt.Fprint(&out, "| root key | AES-256-GCM wrap | wraps class secrets and generations | everything, unless the recovery secret is at hand |\n")
	fmt.Fprint(&out, "| subject key | ChaCha20-Poly1305, one random key for each individual and household | seals images | that subject: this is what erasure does |\n")
	for _, c := range keyTable {
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", c.label, c.algorithm, c.use, c.lost)
	}
	return out.String()
}

// The vectors of the page, which another implementation has computed.
func TestAtRestVectors(t *testing.T) {
	page, err := os.ReadFile(atRestPage)
	if err != nil {
		t.Fatal(err)
	}
	vector := func(name string) []byte {
		for line := range strings.Lines(string(page)) {
			if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
				b, err := hex.DecodeString(fields[1])
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
		}
		t.Fatalf("no vector %s", name)
		return nil
	}
	counted := func(from byte) []byte {
		b := make([]byte, keySize)
		for i := range b {
			b[i] = from + byte(i)
		}
		return b
	}
	_, keys, v := newVault(t, Production)
	keys.secrets["generation"][7] = &annona.Secret{Label: "generation", Version: 7, At: v.clock(), Wrapped: vector("wrap")}
	v.root = newRoot(Production, counted(0x40))
	keys.blocks[place{"individual", 0}] = annona.KeyBlock{Noun: "individual", Block: 0, Generation: 7, Wrapped: vector("block")}

	d := shapeOf(t, registry(t), "individuals").Dataset
	for want, c := range map[string]annona.Cell{
		"0803416d610c0403040137": {Dataset: d, Number: 5, Version: 3, Part: annona.PartSealed, Image: vector("cell")},
		"0803416d61":             {Dataset: d, Number: 5, Version: 2, Part: annona.PartBefore, Image: vector("before")},
	} {
		if err := v.OpenCell(t.Context(), &c); err != nil || hex.EncodeToString(c.Image) != want {
			t.Errorf("%s: %x, %v", c.Part, c.Image, err)
		}
	}
	if g, known := v.generation(7); !known || g.aead == nil {
		t.Error("the generation was not read")
	}
}
