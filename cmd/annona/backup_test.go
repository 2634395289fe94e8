package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/vault"
)

// TestBackupHoldsNoKeys (C-15) takes a backup apart: no key is in it, neither wrapped nor plain, and
// nothing of what is sealed in the registry. The sealed file itself shows nothing at all, and
// neither do the folders for temporary files. The copy of the keys has no key in clear.
func TestBackupHoldsNoKeys(t *testing.T) {
	temporary, err := os.MkdirTemp("", "annona-temporary")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(temporary) })
	check(t, os.Chmod(temporary, 0o777)) // the database runs as another account
	t.Setenv("TMPDIR", temporary)
	inBothStores(t, func(t *testing.T, p place) {
		home, head := plant(t, "households", "home"), plant(t, "individuals", "head")
		head.Memberships = []annona.Membership{{HouseholdKey: home.Key, Role: "head"}}
		p.load(t, home, head)
		must(t, append(p.flags("agreement", "apply"), agreementFile("eligibility"))...)
		s := putAway(t)
		s.take(t, p)
		records, keys := s.payload(t, s.backup), s.payload(t, s.keys)
		for _, part := range []struct {
			name    string
			content []byte
		}{{"the backup", records}, {"the copy of the keys", keys}} {
			for _, found := range append(plantedText.FindAll(part.content, -1), plantedNumber.FindAll(part.content, -1)...) {
				if !bytes.HasPrefix(found, []byte("planted-in-clear-")) {
					t.Errorf("%s holds %s in clear", part.name, found)
				}
			}
		}
		if !bytes.Contains(records, []byte("planted-in-clear-")) {
			t.Error("not even what lies in clear is found in the backup")
		}
		wrapped, plain := p.allKeys(t)
		for _, key := range wrapped {
			if bytes.Contains(records, key) {
				t.Error("the backup holds a wrapped key")
			}
			if !bytes.Contains(keys, key) {
				t.Error("the copy of the keys lacks one")
			}
		}
		for _, key := range plain {
			for name, content := range map[string][]byte{"the backup": records, "the copy of the keys": keys} {
				if bytes.Contains(content, key) || bytes.Contains(content, []byte(hex.EncodeToString(key))) {
					t.Errorf("%s holds a key in clear", name)
				}
			}
		}
		if len(wrapped) < 10 || len(plain) < 12 {
			t.Errorf("only %d wrapped and %d plain keys were looked for", len(wrapped), len(plain))
		}
		for _, file := range []string{s.backup, s.keys} {
			content, err := os.ReadFile(file)
			check(t, err)
			if bytes.Contains(content, []byte("planted")) || bytes.Contains(content, []byte("annona")) {
				t.Errorf("%s shows what it holds", filepath.Base(file))
			}
		}
		search(t, temporary)
		other := p.elsewhere(t)
		must(t, s.restore(other)...)
		search(t, other.Data)
	})
}

// allKeys returns every key of a registry, wrapped and plain. It does by itself what the vault does,
// so that a mistake there does not hide one here.
func (p place) allKeys(t *testing.T) (wrapped, plain [][]byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Data, vault.RootFile))
	check(t, err)
	header, digits, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	root, err := hex.DecodeString(digits)
	check(t, err)
	kind := header[strings.LastIndex(header, " ")+1:]
	plain = append(plain, root)
	generations := map[int][]byte{}
	check(t, p.with(t.Context(), func(f *folder) error {
		all, err := f.secrets.List()
		if err != nil {
			return err
		}
		for _, s := range all {
			if strings.HasPrefix(s.Label, "milestone/") {
				continue // not a key
			}
			if s.Label == "recovery" { // the root key, under a secret that is nowhere
				wrapped = append(wrapped, s.Wrapped[1:])
				continue
			}
			secret := unseal(t, root, s.Wrapped[1:], bound("wrap", 1, kind, string(bound(s.Label, s.Version))))
			wrapped, plain = append(wrapped, s.Wrapped[1:]), append(plain, secret)
			if s.Label == annona.GenerationLabel {
				generations[s.Version] = secret
			}
		}
		for _, noun := range []string{"household", "individual"} {
			err := f.secrets.ReadKeys(t.Context(), []annona.WantedKeys{{Noun: noun, Blocks: []int64{0}}}, func(b annona.KeyBlock) error {
				wrapped = append(wrapped, bytes.Clone(b.Wrapped[1:]))
				keys := unseal(t, generations[b.Generation], b.Wrapped[1:], blockData(b))
				plain = append(plain, keys[32:64]) // of number 1
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return wrapped, plain
}

func unseal(t *testing.T, key, sealed, data []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	check(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	check(t, err)
	opened, err := aead.Open(nil, nil, sealed, data)
	check(t, err)
	return opened
}

func bound(label string, version int, more ...string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(label)))
	b = binary.BigEndian.AppendUint32(append(b, label...), uint32(version))
	for _, text := range more {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return b
}

func blockData(b annona.KeyBlock) (data []byte) {
	text := func(s string) { data = append(binary.BigEndian.AppendUint32(data, uint32(len(s))), s...) }
	number := func(n int64) { text(string(binary.BigEndian.AppendUint64(nil, uint64(n)))) }
	text(annona.GenerationLabel)
	number(int64(b.Generation))
	text(b.Noun)
	number(b.Block)
	number(1)
	return data
}

// TestBackupWhileImporting takes a backup in the middle of an import: it is one state. The ledger
// of what was restored is whole, everybody opens, and the import can be made good.
func TestBackupWhileImporting(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		const people = 15_000
		input := surveyOf(t, people)
		must(t, append(p.owner().flags("dictionary", "apply"), ghanaDictionary)...)
		importing := append(p.flags("import"), "--mapping", ghanaMapping, "--json", input)
		done := make(chan ran, 1)
		go func() { done <- command(importing...) }()
		f, err := p.open(t.Context())
		check(t, err)
		defer f.Close()
		for head := int64(0); head < 2500; time.Sleep(5 * time.Millisecond) { // some batches are committed
			log, err := f.store.LogState(t.Context())
			check(t, err)
			head = log.Head
		}
		s := putAway(t)
		s.take(t, p)
		if r := <-done; r.code != 0 {
			t.Fatalf("the import: %s", r)
		}
		other := p.elsewhere(t)
		var report revived
		check(t, json.Unmarshal([]byte(must(t, s.restore(other, "--json")...)), &report))
		if report.Opened == 0 || report.Opened >= 2*people {
			t.Errorf("%d records were there when the backup was taken: it was not in the middle", report.Opened)
		}
		must(t, other.flags("verify")...)
		importing = append(other.flags("import"), "--mapping", ghanaMapping, "--json", input)
		if r := parseImport(t, must(t, importing...)); int64(r.Unchanged) != report.Opened || r.Created+r.Unchanged != 2*people || r.Changed != 0 {
			t.Errorf("%d records were restored; the same file again: %+v", report.Opened, r)
		}
	})
}

// TestBackupCommand: what the command line promises.
func TestBackupCommand(t *testing.T) {
	t.Parallel()
	p := place{dataFlag: dataFlag{Data: newRegistry(t)}}
	s := putAway(t)
	to := s.identity.Recipient().String()
	out := must(t, append(p.flags("backup"), "--recipient", to, "--out", s.backup, "--json")...)
	var report taken
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Rows == 0 || report.Ledger == 0 {
		t.Errorf("the report is %s", out)
	}
	info, err := os.Stat(s.backup)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != report.Bytes {
		t.Errorf("the file: %v, %v", info, err)
	}
	refused(t, "file_exists", append(p.flags("backup"), "--recipient", to, "--out", s.backup)...)
	refused(t, "file_exists", append(p.flags("key", "copy"), "--recipient", to, "--out", s.backup)...)
	refused(t, "recipient_malformed", append(p.flags("backup"), "--recipient", s.identity.String(), "--out", s.keys)...)
	refused(t, "file_unwritable", append(p.flags("backup"), "--recipient", to, "--out", filepath.Join(t.TempDir(), "missing", "file"))...)
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(s.backup), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	piped := command(append(p.flags("backup"), "--recipient", to, "--out", "-")...)
	if piped.code != 0 || !strings.HasPrefix(piped.out, "age-encryption.org/") || !strings.Contains(piped.err, "rows") {
		t.Errorf("into a pipe: exit %d, %.40q, %s", piped.code, piped.out, piped.err)
	}
	if r := command(append(p.flags("backup"), "--recipient", to)...); r.code != exitUsage {
		t.Errorf("without --out: %s", r)
	}
	told := p.facts(t)
	if last := told[len(told)-1]; last.Outcome != audit.Complete || last.Details["recipients"] == "" || strings.Contains(fmt.Sprint(last), to) {
		t.Errorf("the ledger says %+v", last)
	}
}

// TestBackupThatCannotBeWritten is recorded as aborted, and leaves no file.
func TestBackupThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	p := place{dataFlag: dataFlag{Data: copyOfCountry(t)}}
	s := putAway(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	check(t, err)
	defer full.Close()
	var failed bytes.Buffer
	code := run(context.Background(), append(p.flags("backup"), "--recipient", s.identity.Recipient().String(), "--out", "-"), console{out: full, err: &failed})
	if code != exitFailure || !strings.Contains(failed.String(), "code: output_failed") {
		t.Errorf("exit %d: %s", code, failed.String())
	}
	told := p.facts(t)
	if last := told[len(told)-1]; last.Verb != annona.VerbBackup || last.Outcome != audit.Aborted || last.Reason != "output_failed" {
		t.Errorf("the ledger says %+v", last)
	}
	if r := command(p.flags("doctor")...); !strings.Contains(r.out, "no backup was ever taken") {
		t.Errorf("doctor believes it: %s", r)
	}
}

// TestKilledBackup: a backup that is killed has no name, and the ledger knows that it was begun.
func TestKilledBackup(t *testing.T) {
	t.Parallel()
	p := place{dataFlag: dataFlag{Data: copyOfCountry(t)}}
	s := putAway(t)
	process := start(t, append(p.flags("backup"), "--recipient", s.identity.Recipient().String(), "--out", s.backup)...)
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		partial, _ := filepath.Glob(filepath.Join(filepath.Dir(s.backup), ".*.partial"))
		select {
		case <-process.ended:
			t.Skip("the backup was faster than the test")
		default:
		}
		begun = len(partial) > 0
	}
	process.kill()
	if _, err := os.Stat(s.backup); err == nil {
		t.Skip("the backup was faster than the test")
	}
	for _, facts := range p.facts(t) {
		if facts.Verb == annona.VerbBackup && facts.Outcome == audit.Complete {
			t.Error("the ledger says that it is whole")
		}
	}
	must(t, append(p.flags("backup"), "--recipient", s.identity.Recipient().String(), "--out", s.backup)...)
}
