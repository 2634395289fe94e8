package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// kept takes tables and rows and keeps them.
type kept struct{ lines []string }

func (k *kept) Table(t annona.Table) error {
	k.lines = append(k.lines, fmt.Sprintf("table %q", t))
	return nil
}

func (k *kept) Row(row annona.TableRow) error {
	line := "row"
	for _, cell := range row {
		line += fmt.Sprintf(" %t %q", cell == nil, cell)
	}
	k.lines = append(k.lines, line)
	return nil
}

func prove(digest []byte) []byte {
	sum := sha256.Sum256(append([]byte("secret"), digest...))
	return sum[:]
}

var people = annona.Table{Name: "people", Columns: []annona.TableColumn{{Name: "number", Type: annona.CellInteger}, {Name: "name", Type: annona.CellText}, {Name: "sealed", Type: annona.CellBytes}}}

func integer(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func header() Header {
	return Header{Kind: Registry, Program: "1.2.3", Made: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), StoreState: annona.StoreState{Kind: "sqlite", Schema: 1, Position: 9, LedgerSize: 7, LedgerRoot: []byte{1}}}
}

// written writes a file with that many people, and what a reader has to get from it.
func written(t testing.TB, to *age.X25519Identity, count int) ([]byte, []string) {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, []age.Recipient{to.Recipient()}, header())
	if err != nil {
		t.Fatal(err)
	}
	want := &kept{}
	for _, to := range []annona.TableSink{w, want} {
		_ = to.Table(people)
		for n := range count {
			row := annona.TableRow{integer(int64(n) - 5), []byte(fmt.Sprint("Ama ", n)), bytes.Repeat([]byte{byte(n)}, n%300)}
			if n%7 == 0 {
				row[1], row[2] = nil, []byte{}
			}
			_ = to.Row(row)
		}
		_ = to.Table(annona.Table{Name: "empty", Columns: people.Columns[:1]})
		_ = to.Table(annona.Table{Name: "last", Columns: people.Columns[:1]})
		_ = to.Row(annona.TableRow{integer(1)})
	}
	m, err := w.Close(prove)
	if err != nil || m.Rows() != int64(count)+1 || len(m.Parts) != 3 || m.Parts[0].Rows != int64(count) {
		t.Fatalf("%+v, %v", m, err)
	}
	return file.Bytes(), want.lines
}

func read(file []byte, identities ...age.Identity) (Header, []string, error) {
	r, err := NewReader(bytes.NewReader(file), identities)
	if err != nil {
		return Header{}, nil, err
	}
	defer r.Close()
	got := &kept{}
	if _, err := r.Read(got); err != nil {
		return Header{}, nil, err
	}
	return r.Header, got.lines, r.Verify(prove)
}

func TestRoundTrip(t *testing.T) {
	id := identity(t)
	for _, count := range []int{0, 1, 8, 3000} {
		file, want := written(t, id, count)
		h, got, err := read(file, id)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d people: %v; %d lines, want %d", count, err, len(got), len(want))
		}
		h.Format = 0
		if fmt.Sprintf("%+v", h) != fmt.Sprintf("%+v", header()) {
			t.Errorf("the header was %+v and is %+v", header(), h)
		}
	}
}

func TestAnyRow(t *testing.T) {
	id := identity(t)
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 2, 2), 0, 20).Draw(t, "rows")
		var file bytes.Buffer
		w, err := NewWriter(&file, []age.Recipient{id.Recipient()}, header())
		if err != nil {
			t.Fatal(err)
		}
		want := &kept{}
		for _, to := range []annona.TableSink{w, want} {
			_ = to.Table(annona.Table{Name: "t", Columns: people.Columns[1:]})
			for _, row := range rows {
				if err := to.Row(row); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := w.Close(prove); err != nil {
			t.Fatal(err)
		}
		if _, got, err := read(file.Bytes(), id); err != nil || !slices.Equal(got, want.lines) {
			t.Fatalf("%v: %q, want %q", err, got, want.lines)
		}
	})
}

// TestDamage cuts a file at every length and flips a bit of every byte: each time it is refused.
func TestDamage(t *testing.T) {
	id := identity(t)
	file, _ := written(t, id, 8)
	for n := range file {
		for what, damaged := range map[string][]byte{
			"cut":     file[:n],
			"flipped": append(append(append([]byte{}, file[:n]...), file[n]^1), file[n+1:]...),
		} {
			if _, _, err := read(damaged, id); !slices.Contains([]string{"backup_damaged", "backup_foreign", "backup_identity"}, annona.CodeOf(err)) {
				t.Fatalf("%s at byte %d: %v", what, n, err)
			}
		}
	}
	if _, _, err := read(append(slices.Clone(file), 0), id); annona.CodeOf(err) != "backup_damaged" {
		t.Errorf("one byte more: %v", err)
	}
	if _, _, err := read(append(slices.Clone(file), file...), id); annona.CodeOf(err) != "backup_damaged" {
		t.Errorf("twice: %v", err)
	}
}

// TestCutLarge cuts a file where its seal cannot tell by itself: between two chunks.
func TestCutLarge(t *testing.T) {
	id := identity(t)
	var file bytes.Buffer
	w, err := NewWriter(&file, []age.Recipient{id.Recipient()}, header())
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Table(people)
	noise := make([]byte, 1000)
	for n := range 2000 {
		for i := range noise {
			noise[i] = byte(n * i * 7919 >> 3)
		}
		sum := sha256.Sum256(noise)
		if err := w.Row(annona.TableRow{integer(int64(n)), nil, append(noise[:500:500], bytes.Repeat(sum[:], 10)...)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(prove); err != nil {
		t.Fatal(err)
	}
	for at := 1000; at < file.Len(); at += 4001 {
		if _, _, err := read(file.Bytes()[:at], id); annona.CodeOf(err) != "backup_damaged" {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
}

// TestUnended: without Close there is no end, whatever reached the file.
func TestUnended(t *testing.T) {
	id := identity(t)
	var file bytes.Buffer
	w, err := NewWriter(&file, []age.Recipient{id.Recipient()}, header())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Table(people), w.Row(annona.TableRow{nil, nil, nil}), w.packed.Close(), w.sealed.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(file.Bytes(), id); annona.CodeOf(err) != "backup_damaged" {
		t.Errorf("%v", err)
	}
}

func TestWhoMayRead(t *testing.T) {
	one, two, other := identity(t), identity(t), identity(t)
	var file bytes.Buffer
	w, err := NewWriter(&file, []age.Recipient{one.Recipient(), two.Recipient()}, header())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(prove); err != nil {
		t.Fatal(err)
	}
	for _, id := range []age.Identity{one, two} {
		if _, _, err := read(file.Bytes(), id); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := read(file.Bytes(), other); annona.CodeOf(err) != "backup_identity" {
		t.Errorf("somebody else's identity: %v", err)
	}
}

// TestForged: whoever knows the recipient can write a file that looks right; it lacks the proof.
func TestForged(t *testing.T) {
	id := identity(t)
	file, _ := written(t, id, 3)
	r, err := NewReader(bytes.NewReader(file), []age.Identity{id})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Verify(prove); err == nil {
		t.Error("a file that was not read counts as proved")
	}
	if _, err := r.Read(Nowhere{}); err != nil {
		t.Fatal(err)
	}
	other := func(digest []byte) []byte { return prove(append(digest, 0)) }
	if err := r.Verify(other); annona.CodeOf(err) != "backup_of_another" {
		t.Errorf("the proof of somebody else: %v", err)
	}
	if err := r.Verify(prove); err != nil {
		t.Error(err)
	}
}

// sealed seals a payload that this package did not write.
func sealed(t *testing.T, id *age.X25519Identity, payload string) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, []age.Recipient{id.Recipient()}, Header{})
	if err != nil {
		t.Fatal(err)
	}
	file.Reset()
	to, err := age.Encrypt(&file, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	w.packed.Reset(to)
	if _, err := io.WriteString(w.packed, payload); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.packed.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func frame(kind byte, content string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(content)))) + content
}

// TestHostilePayload: what a well sealed file says is not believed.
func TestHostilePayload(t *testing.T) {
	id := identity(t)
	head := magic + frame('H', `{"format":1}`)
	table := frame('T', `{"name":"t","columns":[{"name":"n","type":"integer"}]}`)
	for name, c := range map[string]struct{ payload, code string }{
		"another program":    {"something else entirely", "backup_foreign"},
		"nothing":            {"", "backup_damaged"},
		"newer":              {magic + frame('H', `{"format":2}`), "backup_too_new"},
		"no header":          {magic + table, "backup_damaged"},
		"header no JSON":     {magic + frame('H', `{`), "backup_damaged"},
		"no end":             {head + table, "backup_damaged"},
		"unknown frame":      {head + frame('X', ""), "backup_damaged"},
		"rows, no table":     {head + frame('R', "\x01"), "backup_damaged"},
		"no columns":         {head + frame('T', `{"name":"t"}`), "backup_damaged"},
		"long integer":       {head + table + frame('R', "\x0a123456789"), "backup_damaged"},
		"cell beyond frame":  {head + table + frame('R', "\x09123"), "backup_damaged"},
		"endless length":     {head + table + frame('R', strings.Repeat("\xff", 11)), "backup_damaged"},
		"frame beyond file":  {head + "R\x30\x00\x00\x00", "backup_damaged"},
		"immense frame":      {head + "R\xff\xff\xff\xff", "backup_damaged"},
		"manifest of others": {head + table + frame('M', `{"parts":[{"table":"t","rows":1}]}`) + frame('P', "p"), "backup_damaged"},
		"no proof":           {head + frame('M', `{}`), "backup_damaged"},
		"behind the end":     {head + frame('M', `{}`) + frame('P', "p") + "more", "backup_damaged"},
		"empty proof":        {head + frame('M', `{}`) + frame('P', ""), "backup_of_another"},
	} {
		if _, _, err := read(sealed(t, id, c.payload), id); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := read([]byte("age-encryption.org/v1\nnonsense"), id); annona.CodeOf(err) != "backup_foreign" {
		t.Errorf("no age: %v", err)
	}
	if _, _, err := read(nil, id); annona.CodeOf(err) != "backup_foreign" {
		t.Errorf("an empty file: %v", err)
	}
}

// TestWriterFails: a disk that is full is told, and the rows have to fit their table.
func TestWriterFails(t *testing.T) {
	id := identity(t)
	w, err := NewWriter(&limited{left: 4000}, []age.Recipient{id.Recipient()}, header())
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Table(people)
	if err := w.Row(annona.TableRow{nil}); err == nil {
		t.Error("a row with too few cells was taken")
	}
	for n := 0; err == nil && n < 100_000; n++ {
		sum := sha256.Sum256(integer(int64(n)))
		err = w.Row(annona.TableRow{integer(int64(n)), nil, sum[:]})
	}
	if !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

var errFull = errors.New("full")

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestRecipients(t *testing.T) {
	id := identity(t)
	r, err := ParseRecipient(id.Recipient().String())
	if err != nil || len(r.Fingerprint()) != 64 {
		t.Errorf("%v", err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRecipient(hybrid.Recipient().String()); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "age1", id.String(), r.text + "\n" + r.text, "ssh-ed25519 AAAA"} {
		if _, err := ParseRecipient(wrong); annona.CodeOf(err) != "recipient_malformed" || strings.Contains(err.Error(), id.String()) {
			t.Errorf("%q is taken as a recipient", wrong)
		}
	}
	ids, err := ParseIdentities(strings.NewReader("# created\n# public key: x\n" + id.String() + "\n"))
	if err != nil || len(ids) != 1 {
		t.Errorf("%v", err)
	}
	for text, code := range map[string]string{
		"": "identity_malformed", id.Recipient().String(): "identity_malformed", "age-encryption.org/v1\n": "identity_sealed",
		"-----BEGIN AGE ENCRYPTED FILE-----": "identity_sealed", id.String()[:20]: "identity_malformed",
	} {
		if _, err := ParseIdentities(strings.NewReader(text)); annona.CodeOf(err) != code {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// TestOtherPrograms opens a file with age and zstd, as docs/spec/backup.md shows it.
func TestOtherPrograms(t *testing.T) {
	for _, program := range []string{"age", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	id := identity(t)
	file, _ := written(t, id, 10)
	c := exec.Command("bash", "-c", "age -d -i <(echo '"+id.String()+"') | zstd -dc")
	c.Stdin = bytes.NewReader(file)
	payload, err := c.Output()
	if err != nil || !bytes.HasPrefix(payload, []byte(magic+"H")) {
		t.Errorf("%v: %.40q", err, payload)
	}
}

func BenchmarkWrite(b *testing.B) {
	id := identity(b)
	row := annona.TableRow{integer(7), []byte("a text of some length that repeats"), make([]byte, 300)}
	w, err := NewWriter(io.Discard, []age.Recipient{id.Recipient()}, header())
	if err != nil {
		b.Fatal(err)
	}
	_ = w.Table(people)
	b.ReportAllocs()
	b.SetBytes(350)
	for n := 0; b.Loop(); n++ {
		sum := sha256.Sum256(row[2])
		copy(row[2][32*(n%9):], sum[:])
		if err := w.Row(row); err != nil {
			b.Fatal(err)
		}
	}
}
