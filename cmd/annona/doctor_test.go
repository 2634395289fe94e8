package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/vault"
)

// ail runs doctor and returns what is not well, by check.
func (p place) ail(t *testing.T) map[string]string {
	t.Helper()
	r := command(append(p.flags("doctor"), "--json")...)
	found := map[string]string{}
	wrong := 0
	for line := range strings.Lines(r.out) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %q", err, line)
		}
		if f.State != well {
			found[f.Check] = string(f.State) + ": " + f.Message
		}
		if f.State == problem {
			wrong++
		}
	}
	if (r.code == 0) != (wrong == 0) {
		t.Errorf("%d problems: %s", wrong, r)
	}
	checkMannerly(t, r)
	return found
}

// mustAil fails unless doctor finds exactly what is expected beside what depends on the machine.
func (p place) mustAil(t *testing.T, when string, checks ...string) {
	t.Helper()
	found := p.ail(t)
	for _, machine := range []string{"disk_space", "database_checksums", "api_keys_expiring"} {
		delete(found, machine)
	}
	for _, c := range checks {
		if _, ok := found[c]; !ok {
			t.Errorf("%s: doctor does not find %s", when, c)
		}
		delete(found, c)
	}
	for c, message := range found {
		t.Errorf("%s: doctor finds %s: %s", when, c, message)
	}
}

// makeRecoverySecret makes one and returns it.
func (p place) makeRecoverySecret(t *testing.T) (secret string) {
	t.Helper()
	check(t, p.with(t.Context(), func(f *folder) (err error) {
		secret, err = f.vault.NewRecoverySecret()
		return err
	}))
	return secret
}

// healthy returns a registry that has been looked after.
func healthy(t *testing.T, p place) safe {
	t.Helper()
	home, head := plant(t, "households", "home"), plant(t, "individuals", "head")
	head.Memberships = []annona.Membership{{HouseholdKey: home.Key, Role: "head"}}
	p.load(t, home, head)
	s := putAway(t)
	s.take(t, p)
	var report revived
	check(t, json.Unmarshal([]byte(must(t, s.restore(p.elsewhere(t), "--drill", "--json")...)), &report))
	command(append(p.flags("doctor"), "--drill", report.Receipt)...)
	return s
}

// TestDoctor finds what is wrong, each thing as it is brought about, and is quiet once it is mended.
func TestDoctor(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		p.mustAil(t, "new", "backup", "key_copy", "restore_drill", "recovery_secret")
		check(t, os.Remove(filepath.Join(p.Data, recoveryFile)))
		p.mustAil(t, "the secret is away", "backup", "key_copy", "restore_drill")
		s := healthy(t, p)
		p.mustAil(t, "looked after")
		if out := must(t, p.flags("doctor")...); !strings.Contains(out, "Nothing is wrong.") {
			t.Errorf("%s", out)
		}

		root := filepath.Join(p.Data, vault.RootFile)
		stray := filepath.Join(p.Data, "rejects")
		check(t, os.Mkdir(stray, 0o755))
		check(t, os.Chmod(stray, 0o755))
		p.mustAil(t, "a folder for all", "file_modes")
		check(t, os.Chmod(root, 0o644))
		p.mustAil(t, "the root key for all", "file_modes", "open")
		check(t, os.Chmod(root, 0o600))
		check(t, os.Remove(stray))

		must(t, append(p.flags("subject", "erase"), "--source", "planted-in-clear-source", "--key", "planted-key-head", "--reason", "unlawful")...)
		p.mustAil(t, "erased")
		tombstones := filepath.Join(p.Data, tombstonesFile)
		kept, err := os.ReadFile(tombstones)
		check(t, err)
		check(t, os.Remove(tombstones))
		p.mustAil(t, "tombstones lost", "tombstones")
		if out := must(t, p.flags("subject", "tombstones")...); !strings.Contains(out, "added to the file: 1") {
			t.Errorf("%s", out)
		}
		p.mustAil(t, "tombstones found")
		writeFile(t, tombstones, append([]byte("nonsense\n"), kept...))
		p.mustAil(t, "tombstones changed", "tombstones")
		writeFile(t, tombstones, kept)

		remember := func(m vault.Milestone, age time.Duration) {
			check(t, p.with(t.Context(), func(f *folder) error { return f.vault.Remember(m, time.Now().Add(-age)) }))
		}
		drilled := func(age time.Duration) {
			check(t, p.with(t.Context(), func(f *folder) error {
				then, err := vault.Open(vault.Installation{Folder: p.Data, Keys: f.secrets, Clock: func() time.Time { return time.Now().Add(-age) }})
				if err != nil {
					return err
				}
				return then.RecordDrill(then.DrillProof())
			}))
		}
		const days = 24 * time.Hour
		drilled(400 * days)
		p.mustAil(t, "an old drill", "restore_drill")
		drilled(days)
		remember(vault.MilestoneBackup, 20*days)
		p.mustAil(t, "an old backup", "backup")
		remember(vault.MilestoneKeyCopy, 15*days)
		p.mustAil(t, "old keys", "backup", "key_copy")
		remember(vault.MilestoneBackup, days)
		p.mustAil(t, "keys older than the backup", "key_copy")
		check(t, os.Remove(s.keys))
		s.takeKeys(t, p)
		drilled(-days)
		p.mustAil(t, "the clock went back", "clock")
		drilled(days)
		p.mustAil(t, "mended")

		if p.Database != "" {
			p.owner().mustAil(t, "as the owner", "database_role")
		}
	})
}

// TestDoctorOfNothing says so, and makes nothing.
func TestDoctorOfNothing(t *testing.T) {
	t.Parallel()
	p := place{dataFlag: dataFlag{Data: filepath.Join(t.TempDir(), "registry")}}
	p.mustAil(t, "no folder", "file_modes", "open")
	check(t, os.Mkdir(p.Data, 0o700))
	p.mustAil(t, "an empty folder", "open")
	if left, err := os.ReadDir(p.Data); err != nil || len(left) > 0 {
		t.Errorf("doctor makes %v, %v", left, err)
	}
}

// TestUnfinishedErasure: the file knows of an erasure that the registry lost; it is finished.
func TestUnfinishedErasure(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	p := place{dataFlag: dataFlag{Data: data}}
	before := filepath.Join(t.TempDir(), "before")
	copyFolder(t, data, before)
	must(t, append(p.flags("subject", "erase"), "--source", "synthetic", "--key", "I0000001", "--reason", "unlawful")...)
	lost := place{dataFlag: dataFlag{Data: before}}
	copyFile(t, filepath.Join(data, tombstonesFile), filepath.Join(before, tombstonesFile))
	check(t, os.Chmod(filepath.Join(before, tombstonesFile), 0o600))
	if found := lost.ail(t); !strings.Contains(found["tombstones"], "did not come to their end") {
		t.Errorf("%v", found)
	}
	if out := must(t, lost.flags("subject", "tombstones", "--finish")...); !strings.Contains(out, "records erased: 1") {
		t.Errorf("%s", out)
	}
	if found := lost.ail(t); found["tombstones"] != "" {
		t.Errorf("%v", found)
	}
	refused(t, "erased_already", append(lost.flags("subject", "erase"), "--source", "synthetic", "--key", "I0000001", "--reason", "unlawful")...)
	must(t, lost.flags("verify")...)
}
