package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func newVault(t *testing.T, kind Kind) (dir string, keys *keptKeys, v *Vault) {
	t.Helper()
	dir, keys = t.TempDir(), newKeys()
	v, err := Create(Installation{Folder: dir, Keys: keys}, kind)
	if err != nil {
		t.Fatal(err)
	}
	return dir, keys, v
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if annona.CodeOf(err) != code || err == nil {
		t.Errorf("got %v, want an error with code %s", err, code)
	}
}

func TestReopenedVaultGivesTheSameAnswers(t *testing.T) {
	dir, keys, first := newVault(t, Production)
	uid := annona.NewUID()
	answers := func(v *Vault) [][]byte {
		realm, err := v.Realm("eligibility")
		if err != nil {
			t.Fatal(err)
		}
		digest, tag := v.Digest([]byte("a record")), v.Tag([]byte("a view"))
		return [][]byte{realm.AppendID(nil, uid[:]), v.BlindIndex("national_id", "", "1"), v.KeyHash([]byte("k")), digest[:], tag[:]}
	}
	before := answers(first)
	token := first.SealPosition([]byte("context"), []byte("position"))

	again, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range answers(again) {
		if !bytes.Equal(answer, before[i]) {
			t.Errorf("answer %d changed when the vault was opened again", i)
		}
	}
	if position, ok := again.OpenPosition([]byte("context"), token); !ok || string(position) != "position" {
		t.Error("a cursor from before cannot be read")
	}
}

func TestRootKeyFile(t *testing.T) {
	dir, _, v := newVault(t, Production)
	info, err := os.Stat(filepath.Join(dir, RootFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	text, err := os.ReadFile(filepath.Join(dir, RootFile))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "annona root key 1 production\n") || v.Demo() {
		t.Error("the file does not say what it is the key of")
	}
	_, _, demo := newVault(t, Demo)
	if !demo.Demo() {
		t.Error("the vault of a demonstration does not say so")
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	dir, _, _ := newVault(t, Production)
	before, err := os.ReadFile(filepath.Join(dir, RootFile))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Create(Installation{Folder: dir, Keys: newKeys()}, Production)
	wantCode(t, err, "root_key_exists")
	after, err := os.ReadFile(filepath.Join(dir, RootFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Error("the root key was touched")
	}
}

func TestFinish(t *testing.T) {
	dir, keys, made := newVault(t, Production)
	_, err := Finish(Installation{Folder: dir, Keys: keys}, Demo)
	wantCode(t, err, "root_key_kind")
	again, err := Finish(Installation{Folder: dir, Keys: keys}, Production)
	if err != nil || again.Digest(nil) != made.Digest(nil) {
		t.Errorf("a finished vault is another one: %v", err)
	}
	clear(keys.secrets)
	if _, err := Finish(Installation{Folder: dir, Keys: keys}, Production); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Installation{Folder: dir, Keys: keys}); err != nil {
		t.Errorf("what was finished does not open: %v", err)
	}
	_, err = Finish(Installation{Folder: t.TempDir(), Keys: newKeys()}, Production)
	wantCode(t, err, "root_key_missing")
}

func TestCreateRefuses(t *testing.T) {
	_, keys, _ := newVault(t, Production)
	_, err := Create(Installation{Folder: t.TempDir(), Keys: keys}, Production)
	wantCode(t, err, "root_key_lost")
	_, err = Create(Installation{Folder: t.TempDir(), Keys: newKeys()}, "test")
	wantCode(t, err, "root_key_kind")
	_, err = Create(Installation{Folder: filepath.Join(t.TempDir(), "nowhere"), Keys: newKeys()}, Production)
	wantCode(t, err, "internal")
	_, err = Create(Installation{Folder: t.TempDir(), Keys: &keptKeys{failing: errors.New("disk full")}}, Production)
	wantCode(t, err, "internal")
}

// Each case spoils one thing in a folder that was fine.
func TestOpenRefuses(t *testing.T) {
	edit := func(old, new string) func(*testing.T, string, *keptKeys) {
		return func(t *testing.T, path string, _ *keptKeys) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(text), old, new, 1)
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	overwrite := func(text string) func(*testing.T, string, *keptKeys) {
		return func(t *testing.T, path string, _ *keptKeys) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	mode := func(m os.FileMode) func(*testing.T, string, *keptKeys) {
		return func(t *testing.T, path string, _ *keptKeys) {
			if err := os.Chmod(path, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	const digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	cases := map[string]struct {
		spoil func(t *testing.T, path string, keys *keptKeys)
		code  string
	}{
		"readable by the group":     {mode(0o640), "root_key_exposed"},
		"readable by everybody":     {mode(0o604), "root_key_exposed"},
		"writable by the group":     {mode(0o620), "root_key_exposed"},
		"missing":                   {func(t *testing.T, path string, _ *keptKeys) { os.Remove(path) }, "root_key_missing"},
		"empty":                     {overwrite(""), "root_key_malformed"},
		"without a marker":          {overwrite(digits + "\n"), "root_key_malformed"},
		"of another sort":           {edit("production", "staging"), "root_key_malformed"},
		"too short":                 {overwrite(rootHeader + "1 production\n" + digits[2:] + "\n"), "root_key_malformed"},
		"too long":                  {overwrite(rootHeader + "1 production\n" + digits + "00\n"), "root_key_malformed"},
		"huge":                      {overwrite(rootHeader + "1 production\n" + strings.Repeat(digits, 100)), "root_key_malformed"},
		"no digits":                 {overwrite(rootHeader + "1 production\n" + strings.Repeat("x", 64) + "\n"), "root_key_malformed"},
		"of another installation":   {overwrite(rootHeader + "1 production\n" + digits + "\n"), "root_key_foreign"},
		"turned into a demo by pen": {edit("production", "demo"), "root_key_foreign"},
		"a folder": {func(t *testing.T, path string, _ *keptKeys) {
			os.Remove(path)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "root_key_malformed"},
		"secrets gone":       {func(_ *testing.T, _ string, k *keptKeys) { clear(k.secrets) }, "secrets_missing"},
		"secrets unreadable": {func(_ *testing.T, _ string, k *keptKeys) { k.failing = errors.New("bad block") }, "internal"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir, keys, _ := newVault(t, Production)
			c.spoil(t, filepath.Join(dir, RootFile), keys)
			_, err := Open(Installation{Folder: dir, Keys: keys})
			wantCode(t, err, c.code)
			if err != nil && strings.Contains(err.Error(), digits[:16]) {
				t.Error("the error holds key material")
			}
		})
	}
}

// Whatever is done to a wrapped secret, it does not open.
func TestTamperedSecretsDoNotOpen(t *testing.T) {
	cases := map[string]func(k *keptKeys, wrapped []byte){
		"format":    func(_ *keptKeys, w []byte) { w[0]++ },
		"nonce":     func(_ *keptKeys, w []byte) { w[1] ^= 1 },
		"secret":    func(_ *keptKeys, w []byte) { w[20] ^= 1 },
		"tag":       func(_ *keptKeys, w []byte) { w[len(w)-1] ^= 1 },
		"shortened": func(k *keptKeys, w []byte) { k.secrets["index"][1].Wrapped = w[:12] },
		"emptied":   func(k *keptKeys, w []byte) { k.secrets["index"][1].Wrapped = []byte{} },
		"of another class": func(k *keptKeys, _ []byte) {
			k.secrets["index"][1].Wrapped = k.secrets["digest"][1].Wrapped
		},
		"of another version": func(k *keptKeys, w []byte) {
			k.secrets["index"][2] = &annona.Secret{Label: "index", Version: 2, At: time.Now(), Wrapped: w}
		},
	}
	for name, tamper := range cases {
		t.Run(name, func(t *testing.T) {
			dir, keys, _ := newVault(t, Production)
			tamper(keys, keys.secrets["index"][1].Wrapped)
			if _, err := Open(Installation{Folder: dir, Keys: keys}); annona.KindOf(err) != annona.KindConflict {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// lateKeys shows the secret of another process only when it is too late.
type lateKeys struct {
	*keptKeys
	hidden string
}

func (l *lateKeys) Latest(label string) (annona.Secret, error) {
	if label == l.hidden {
		l.hidden = ""
		return annona.Secret{}, nil
	}
	return l.keptKeys.Latest(label)
}

// Another process stored the secret between our look and our Put: both use the first one.
func TestFirstStoredSecretWins(t *testing.T) {
	dir, keys, first := newVault(t, Production)
	late := &lateKeys{keptKeys: keys, hidden: "realm/shared"}
	second, err := Open(Installation{Folder: dir, Keys: late})
	if err != nil {
		t.Fatal(err)
	}
	uid := annona.NewUID()
	one := mustRealm(t, first, "shared").AppendID(nil, uid[:])
	if other := mustRealm(t, second, "shared").AppendID(nil, uid[:]); !bytes.Equal(one, other) {
		t.Error("two processes use different keys for one realm")
	}
	if late.hidden != "" {
		t.Error("the race was not run")
	}
}

// Two processes make the same realm at once, each from several requests.
func TestRealmsAreSharedUnderConcurrency(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	other, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	uid := annona.NewUID()
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			realm, err := []*Vault{v, other}[i%2].Realm("shared")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = string(realm.AppendID(nil, uid[:]))
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatal("two processes use different keys for one realm")
		}
	}
}
