package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/backup"
	"github.com/annona-exchange/annona/vault"
)

// safe is what a registry has put away: files that are sealed to one recipient.
type safe struct {
	identity  *age.X25519Identity
	file      string // of the identity
	backup    string
	keys      string
	tombstone string
}

// putAway makes a place for backups.
func putAway(t testing.TB) safe {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	check(t, err)
	folder := t.TempDir()
	s := safe{identity: id, file: filepath.Join(folder, "identity"), backup: filepath.Join(folder, "backup"), keys: filepath.Join(folder, "keys"), tombstone: filepath.Join(folder, "tombstones")}
	writeFile(t, s.file, []byte(id.String()+"\n"))
	writeFile(t, s.tombstone, nil)
	return s
}

// take takes a backup and a copy of the keys.
func (s safe) take(t testing.TB, p place) {
	t.Helper()
	must(t, append(p.flags("backup"), "--recipient", s.identity.Recipient().String(), "--out", s.backup)...)
	s.takeKeys(t, p)
}

func (s safe) takeKeys(t testing.TB, p place) {
	t.Helper()
	must(t, append(p.flags("key", "copy"), "--recipient", s.identity.Recipient().String(), "--out", s.keys)...)
}

// copyTombstones copies the newest file of tombstones.
func (s safe) copyTombstones(t testing.TB, p place) {
	t.Helper()
	copyFile(t, filepath.Join(p.Data, tombstonesFile), s.tombstone)
}

// payload opens a file and returns what is inside.
func (s safe) payload(t testing.TB, path string) []byte {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	opened, err := age.Decrypt(file, s.identity)
	check(t, err)
	packed, err := zstd.NewReader(opened)
	check(t, err)
	defer packed.Close()
	all, err := io.ReadAll(packed)
	check(t, err)
	return all
}

// elsewhere returns an empty place of the same kind, with nothing but the root key.
func (p place) elsewhere(t *testing.T) place {
	t.Helper()
	other := place{dataFlag: dataFlag{Data: filepath.Join(t.TempDir(), "restored")}}
	check(t, os.Mkdir(other.Data, 0o700))
	copyFile(t, filepath.Join(p.Data, vault.RootFile), filepath.Join(other.Data, vault.RootFile))
	check(t, os.Chmod(filepath.Join(other.Data, vault.RootFile), 0o600))
	if p.Database != "" {
		name := fmt.Sprintf("restored%d", rand.Uint32())
		p.ask(t, "CREATE DATABASE "+name)
		other.Database = strings.Replace(p.Database, "/registry", "/"+name, 1)
	}
	return other
}

// owner returns the place in the role that owns its database.
func (p place) owner() place {
	p.Database = strings.Replace(p.Database, "annona_app", "postgres", 1)
	return p
}

// restore is the command line of a restore into a place.
func (s safe) restore(into place, more ...string) []string {
	args := append(into.owner().flags("restore"), "--from", s.backup, "--identity", s.file, "--keys", s.keys, "--tombstones", s.tombstone)
	if into.Database != "" {
		args = append(args, "--app-role", "annona_app")
	}
	return append(args, more...)
}

// village writes a small synthetic country into a file.
func village(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "village.ndjson")
	writeFile(t, file, []byte(must(t, "generate", "--individuals", "500", "--seed", "7")))
	return file
}

// country puts the synthetic country, agreements and a key into a place.
func (p place) country(t *testing.T) (key string) {
	t.Helper()
	must(t, append(p.flags("import"), "--mapping", syntheticMapping, village(t))...)
	must(t, append(p.flags("agreement", "apply"), agreementFile("eligibility"))...)
	return keyOf(must(t, append(p.flags("key", "create"), "--agreement", "eligibility")...))
}

// layouts are those whose files have no dates of their own.
var layouts = map[string]string{"csv": "plain", "ndjson": "nested"}

// everything exports all that the agreement grants, in a form of each kind.
func (p place) everything(t *testing.T, key string) (bodies []string) {
	t.Helper()
	s := startServing(t, key, append(p.flags("serve"), "--listen", "127.0.0.1:0")...)
	for _, dataset := range []string{"individuals", "households"} {
		for _, format := range []string{"csv", "ndjson"} {
			bodies = append(bodies, string(s.export(dataset, about(eligibility, "format", format, "layout", layouts[format]))))
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("the server ended with exit code %d", code)
	}
	return bodies
}

// TestRestoreGivesTheSameAnswers (C-16) takes a backup while a server serves, loses everything but
// the root key, and restores: the same key gets the same exports, byte for byte. The ledger is
// whole, and tells of backup and restore; the log has a new epoch, numbers go on.
func TestRestoreGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		key := p.country(t)
		before := p.everything(t, key)
		s := putAway(t)
		serving := startServing(t, key, append(p.flags("serve"), "--listen", "127.0.0.1:0")...)
		s.take(t, p)
		serving.stop()
		other := p.elsewhere(t)
		if p.Database != "" {
			refused(t, "backup_store", append(dataFlagOnly(other, "restore"), "--from", s.backup, "--identity", s.file, "--keys", s.keys, "--tombstones", s.tombstone)...)
		}
		out := must(t, s.restore(other)...)
		for _, told := range []string{"The ledger is whole", "410 resync", "rolled back", "revoke again"} {
			if !strings.Contains(out, told) {
				t.Errorf("restore does not say %q: %s", told, out)
			}
		}
		refused(t, "registry_exists", s.restore(other)...)
		for i, body := range other.everything(t, key) {
			if body != before[i] {
				t.Errorf("export %d has %d bytes, and had %d", i, len(body), len(before[i]))
			}
		}
		must(t, other.flags("verify")...)
		if out := must(t, append(other.flags("import"), "--mapping", syntheticMapping, "--json", village(t))...); parseImport(t, out).Created+parseImport(t, out).Changed != 0 {
			t.Errorf("the same file again: %s", out)
		}
		p.tellsOf(t, annona.VerbBackup, annona.VerbCopyKeys)
		other.tellsOf(t, annona.VerbBackup, annona.VerbRestore)
	})
}

// TestRecoveredFromNothing (C-16): an empty machine, the recovery secret, a copy of the keys and a
// backup give the same answers as before.
func TestRecoveredFromNothing(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		key := p.country(t)
		before := p.everything(t, key)
		former, secret := p.makeRecoverySecret(t), p.makeRecoverySecret(t)
		s := putAway(t)
		s.take(t, p)
		other := p.elsewhere(t)
		check(t, os.RemoveAll(other.Data))
		refused(t, "root_key_missing", s.restore(other)...)
		for code, wrong := range map[string]string{"recovery_wrong": former, "recovery_mistyped": "A" + secret[1:len(secret)-1] + "A", "recovery_malformed": "none"} {
			if code == "recovery_mistyped" && wrong == secret {
				continue
			}
			r := annonaReading(strings.NewReader(wrong+"\n"), s.restore(other, "--recover")...)
			if r.code != exitFailure || !strings.Contains(r.err, "code: "+code) || exists(other.Data, vault.RootFile) {
				t.Errorf("want %s: %s", code, r)
			}
		}
		r := annonaReading(strings.NewReader(strings.ToLower(secret)+"\n"), s.restore(other, "--recover")...)
		if r.code != 0 {
			t.Fatalf("restore: %s", r)
		}
		for i, body := range other.everything(t, key) {
			if body != before[i] {
				t.Errorf("export %d has %d bytes, and had %d", i, len(body), len(before[i]))
			}
		}
		if info, err := os.Stat(filepath.Join(other.Data, vault.RootFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the root key: %v, %v", info, err)
		}
	})
}

// dataFlagOnly names the folder and no database.
func dataFlagOnly(p place, words ...string) []string { return append(words, "--data", p.Data) }

// tellsOf fails unless the ledger has entries of these verbs.
func (p place) tellsOf(t *testing.T, verbs ...annona.Verb) {
	t.Helper()
	told := map[annona.Verb]audit.Facts{}
	for _, facts := range p.facts(t) {
		told[facts.Verb] = facts
	}
	for _, verb := range verbs {
		facts, ok := told[verb]
		if !ok {
			t.Errorf("the ledger does not tell of %s", verb)
		}
		t.Logf("%s: %v %v", verb, facts.Outcome, facts.Details)
	}
}

// facts returns what the ledger states, in its order.
func (p place) facts(t *testing.T) (all []audit.Facts) {
	t.Helper()
	check(t, p.with(t.Context(), func(f *folder) error {
		opener := audit.Opener{Vault: f.vault, Ledger: f.store}
		return f.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
			entry, err := opener.Open(t.Context(), row)
			if err == nil && entry.Facts != nil {
				all = append(all, *entry.Facts)
			}
			return err
		})
	}))
	return all
}

// TestErasedStayAway (C-07): somebody is erased after the backup was made. The restore without a
// tombstone as new as the backup is refused; with it, the person is not there, cannot be imported
// again, and the key that the copy has brought back is destroyed.
func TestErasedStayAway(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		key := p.country(t)
		people := strings.Split(p.everything(t, key)[0], "\n")
		s := putAway(t)
		erase := func(who string) {
			must(t, append(p.flags("subject", "erase"), "--source", "synthetic", "--key", who, "--reason", "unlawful")...)
		}
		erase("I0000001")
		s.take(t, p)
		refused(t, "tombstones_too_old", s.restore(p.elsewhere(t))...) // an empty file
		check(t, os.Remove(s.tombstone))
		refused(t, "tombstones_missing", s.restore(p.elsewhere(t))...)
		s.copyTombstones(t, p)
		erase("I0000002")
		erase("I0000003")
		s.copyTombstones(t, p)
		other := p.elsewhere(t)
		if out := must(t, s.restore(other)...); !strings.Contains(out, "2 erased again") {
			t.Errorf("%s", out)
		}
		if after := strings.Split(other.everything(t, key)[0], "\n"); len(after) != len(people)-3 {
			t.Errorf("%d people, before anybody was erased %d", len(after), len(people))
		}
		if out := must(t, append(other.flags("import"), "--mapping", syntheticMapping, village(t))...); !strings.Contains(out, "because they were erased: 3\n") || !strings.Contains(out, "created 0, changed 0") {
			t.Errorf("a re-import: %s", out)
		}
		if list := must(t, other.flags("subject", "erased")...); strings.Count(list, "\n") != 3 || strings.Contains(list, "not known yet") {
			t.Errorf("the erasures are not finished: %s", list)
		}
		must(t, other.flags("verify")...)
		// The new place keeps the tombstones as the old one did.
		again := putAway(t)
		again.take(t, other)
		again.copyTombstones(t, other)
		must(t, again.restore(p.elsewhere(t))...)
	})
}

// TestKeysThatWereKept: the records are lost, the key store is not. Those who were erased since the
// backup have no key: without their tombstones the registry stays shut.
func TestKeysThatWereKept(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		key := p.country(t)
		s := putAway(t)
		s.take(t, p)
		s.keys = kept
		refused(t, "secrets_missing", s.restore(p.elsewhere(t))...)
		refused(t, "registry_exists", s.restore(p)...)
		erased := append(p.flags("subject", "erase"), "--source", "synthetic", "--key", "I0000001", "--reason", "unlawful")
		must(t, erased...)
		before := p.everything(t, key)
		if p.Database != "" {
			p.ask(t, "DROP SCHEMA annona CASCADE")
		} else {
			check(t, os.Remove(filepath.Join(p.Data, "annona.sqlite")))
		}
		refused(t, "tombstones_too_old", s.restore(p)...)
		for _, args := range [][]string{p.flags("verify"), append(p.flags("serve"), "--listen", "127.0.0.1:0"), p.flags("subject", "erased")} {
			refused(t, "restore_unfinished", args...)
		}
		s.copyTombstones(t, p)
		must(t, s.restore(p)...)
		for i, body := range p.everything(t, key) {
			if body != before[i] {
				t.Errorf("export %d has %d bytes, and had %d", i, len(body), len(before[i]))
			}
		}
	})
}

// TestNumbersAreGivenOnce: whoever came after the backup had a number, which nobody gets again.
func TestNumbersAreGivenOnce(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		p.load(t, plant(t, "households", "home"), plant(t, "individuals", "early"))
		s := putAway(t)
		must(t, append(p.flags("backup"), "--recipient", s.identity.Recipient().String(), "--out", s.backup)...)
		var late []annona.Record
		for n := range 40 {
			late = append(late, plant(t, "individuals", fmt.Sprint("late-", n)))
		}
		p.load(t, late...)
		s.takeKeys(t, p)
		other := p.elsewhere(t)
		must(t, s.restore(other)...)
		other.load(t, plant(t, "individuals", "new"))
		check(t, other.with(t.Context(), func(f *folder) error {
			number, err := f.store.SubjectByKey(t.Context(), "planted-in-clear-source", f.vault.RecordKey("individuals", "planted-in-clear-source", "planted-key-new"))
			if number <= 41 {
				t.Errorf("number %d is given out again", number)
			}
			return err
		}))
	})
}

// TestRestoreRefuses: what does not belong together, or is not whole, is refused in words, and
// nothing of it is applied.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		p.load(t, plant(t, "households", "home"), plant(t, "individuals", "a"))
		s := putAway(t)
		s.take(t, p)
		foreign := putAway(t)
		foreign.identity, foreign.file = s.identity, s.file
		stranger := p.elsewhere(t) // of another installation
		check(t, os.Remove(filepath.Join(stranger.Data, vault.RootFile)))
		must(t, stranger.owner().flags("init")...)
		foreign.take(t, stranger.owner())
		older := s
		older.keys = filepath.Join(t.TempDir(), "older")
		other := p.elsewhere(t)
		content, err := os.ReadFile(s.backup)
		check(t, err)
		flipped := bytes.Clone(content)
		flipped[len(flipped)/2] ^= 1
		file := func(content []byte) string {
			path := filepath.Join(t.TempDir(), "file")
			writeFile(t, path, content)
			return path
		}
		stolen := putAway(t)
		for name, c := range map[string]struct {
			change func(s *safe)
			code   string
		}{
			"truncated":            {func(s *safe) { s.backup = file(content[:len(content)-100]) }, "backup_damaged"},
			"half":                 {func(s *safe) { s.backup = file(content[:len(content)/2]) }, "backup_damaged"},
			"empty":                {func(s *safe) { s.backup = file(nil) }, "backup_foreign"},
			"a bit flipped":        {func(s *safe) { s.backup = file(flipped) }, "backup_damaged"},
			"no backup":            {func(s *safe) { s.backup = s.file }, "backup_foreign"},
			"keys for records":     {func(s *safe) { s.backup = s.keys }, "backup_kind"},
			"records for keys":     {func(s *safe) { s.keys = s.backup }, "backup_kind"},
			"another's identity":   {func(s *safe) { s.file = stolen.file }, "backup_identity"},
			"a recipient":          {func(s *safe) { s.file = file([]byte(s.identity.Recipient().String())) }, "identity_malformed"},
			"another's backup":     {func(s *safe) { s.backup = foreign.backup }, "backup_of_another"},
			"another's keys":       {func(s *safe) { s.keys = foreign.keys }, "root_key_foreign"},
			"another's everything": {func(s *safe) { *s = foreign }, "root_key_foreign"},
			"no keys to keep":      {func(s *safe) { s.keys = kept }, "secrets_missing"},
			"another's tombstones": {func(s *safe) { s.tombstone = file([]byte("bm9uc2Vuc2U\n")) }, "tombstones_damaged"},
			"expired keys": {func(s *safe) {
				s.keys = s.forged(t, p, s.keys, func(h *backup.Header) { h.Expires = time.Now().Add(-time.Hour) })
			}, "keys_expired"},
			"keys before the backup": {func(s *safe) {
				s.keys = s.forged(t, p, s.keys, func(h *backup.Header) { h.Made = h.Made.Add(-time.Hour) })
			}, "keys_too_old"},
			"a newer schema": {func(s *safe) { s.backup = s.forged(t, p, s.backup, func(h *backup.Header) { h.Schema = 99 }) }, "store_too_new"},
			"another kind of store": {func(s *safe) {
				s.backup = s.forged(t, p, s.backup, func(h *backup.Header) { h.StoreState.Kind = "papyrus" })
			}, "backup_store"},
		} {
			changed := s
			c.change(&changed)
			r := refused(t, c.code, changed.restore(other)...)
			if t.Failed() {
				t.Fatalf("%s: %s", name, r)
			}
			if left, err := os.ReadDir(other.Data); err != nil || len(left) != 1 {
				t.Fatalf("%s: files are left behind: %v, %v", name, left, err)
			}
			refused(t, "store_missing", other.owner().flags("verify")...)
		}
		s.keys = s.forged(t, p, s.keys, func(h *backup.Header) { h.Expires = time.Now().Add(-time.Hour) })
		must(t, s.restore(other, "--expired-keys")...)
	})
}

// forged returns a file with another header, which the registry itself has proved.
func (s safe) forged(t *testing.T, p place, path string, change func(*backup.Header)) (forged string) {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	r, err := backup.NewReader(file, []age.Identity{s.identity})
	check(t, err)
	defer r.Close()
	change(&r.Header)
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, []age.Recipient{s.identity.Recipient()}, r.Header)
	check(t, err)
	_, err = r.Read(w)
	check(t, err)
	check(t, p.with(t.Context(), func(f *folder) error {
		_, err := w.Close(proving(f.vault))
		return err
	}))
	forged = filepath.Join(t.TempDir(), "forged")
	writeFile(t, forged, out.Bytes())
	return forged
}

// TestKilledRestore kills a restore at any moment: nothing is served that is not finished, and the
// same command finishes it.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		key := p.country(t)
		s := putAway(t)
		s.take(t, p)
		must(t, append(p.flags("subject", "erase"), "--source", "synthetic", "--key", "I0000001", "--reason", "unlawful")...)
		s.copyTombstones(t, p)
		before := p.everything(t, key)
		other := p.elsewhere(t)
		began := time.Now()
		must(t, s.restore(p.elsewhere(t))...)
		whole := time.Since(began)
		states := map[string]int{}
		for range 5 {
			process := start(t, s.restore(other)...)
			time.Sleep(rand.N(whole))
			process.kill()
			r := command(other.flags("verify")...)
			if r.code == 0 {
				states["finished"]++
				break
			}
			for _, code := range []string{"restore_unfinished", "store_missing", "store_denied", "secrets_missing", "store_not_allowed"} {
				if strings.Contains(r.err, "code: "+code+"\n") {
					states[code]++
				}
			}
		}
		if states["finished"] == 0 {
			must(t, s.restore(other)...)
		}
		t.Logf("a restore takes %s; after being killed: %v", whole, states)
		for i, body := range other.everything(t, key) {
			if body != before[i] {
				t.Errorf("export %d has %d bytes, and had %d", i, len(body), len(before[i]))
			}
		}
	})
}

func swapCase(r rune) rune {
	if unicode.IsLetter(r) {
		return r ^ 0x20
	}
	return r
}

// TestDrill (C-16) rehearses a restore: everything is done and checked, nothing is left, and the
// receipt makes doctor quiet.
func TestDrill(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		home, head := plant(t, "households", "home"), plant(t, "individuals", "a")
		head.Memberships = []annona.Membership{{HouseholdKey: home.Key, Role: "head"}}
		p.load(t, home, head)
		s := putAway(t)
		s.take(t, p)
		if r := command(p.flags("doctor")...); !strings.Contains(r.out, "restore_drill: nobody has tried") {
			t.Errorf("doctor does not ask for a drill: %s", r)
		}
		other := p.elsewhere(t)
		var report revived
		check(t, json.Unmarshal([]byte(must(t, s.restore(other, "--drill", "--json")...)), &report))
		if report.Opened != 2 || report.Receipt == "" {
			t.Errorf("%+v", report)
		}
		if left, err := os.ReadDir(other.Data); err != nil || len(left) != 1 {
			t.Errorf("the drill leaves %v, %v", left, err)
		}
		refused(t, "store_missing", other.owner().flags("verify")...)
		for _, receipt := range []string{"x", report.Receipt[:30] + strings.Map(swapCase, report.Receipt[30:]), report.Receipt + "AAAA"} {
			refused(t, "drill_proof", append(p.flags("doctor"), "--drill", receipt)...)
		}
		r := command(append(p.flags("doctor"), "--drill", report.Receipt)...)
		if strings.Contains(r.out, "restore_drill") {
			t.Errorf("doctor still asks: %s", r)
		}
		if r := command(p.flags("doctor")...); strings.Contains(r.out, "restore_drill") {
			t.Errorf("doctor asks again: %s", r)
		}
	})
}
