package vault

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

func newRecovery(t *testing.T, v *Vault) string {
	t.Helper()
	secret, err := v.NewRecoverySecret()
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// C-16: from the recovery secret and the key store, on an empty machine, the same answers.
func TestRecover(t *testing.T) {
	_, keys, v := newVault(t, Production)
	d := shapeOf(t, registry(t), "individuals").Dataset
	images := people(t, v, d, 1, 5)
	secret := newRecovery(t, v)
	if !regexp.MustCompile(`^([A-Z2-7]{4}-){13}[A-Z2-7]{4}$`).MatchString(secret) {
		t.Fatal("not 14 groups of four")
	}
	for name, typed := range map[string]string{
		"as printed": secret, "by hand": strings.ToLower(strings.ReplaceAll(secret, "-", " ")) + "\n",
		"misread": strings.NewReplacer("O", "0", "I", "1", "B", "8", "-", "").Replace(secret),
	} {
		t.Run(name, func(t *testing.T) {
			empty := t.TempDir()
			again, err := Recover(Installation{Folder: empty, Keys: keys}, typed)
			if err != nil {
				t.Fatal(err)
			}
			for _, node := range []*Vault{again, reopen(t, empty, keys)} {
				if node.Demo() || node.Digest([]byte("x")) != v.Digest([]byte("x")) || !bytes.Equal(node.BlindIndex("a", "", "b"), v.BlindIndex("a", "", "b")) {
					t.Error("it gives other answers")
				}
				for n, image := range images {
					if err := openOne(t.Context(), node, d, n, image); err != nil {
						t.Error(err)
					}
				}
			}
			info, err := os.Stat(filepath.Join(empty, RootFile))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func TestRecoverRefuses(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	_, err := Recover(Installation{Folder: t.TempDir(), Keys: keys}, formatRecovery(make([]byte, 32)))
	wantCode(t, err, "recovery_missing")
	former := newRecovery(t, v)
	secret := newRecovery(t, v)
	mistyped := []byte(secret)
	mistyped[0], mistyped[1] = mistyped[1], mistyped[0]
	if string(mistyped) == secret {
		mistyped[0] = map[bool]byte{true: 'B', false: 'A'}[mistyped[0] == 'A']
	}
	for name, c := range map[string]struct{ text, code string }{
		"empty": {"", "recovery_malformed"}, "cut off": {secret[:60], "recovery_malformed"}, "mistyped": {string(mistyped), "recovery_mistyped"},
		"of another registry": {formatRecovery(fresh(32)), "recovery_wrong"}, "the one before": {former, "recovery_wrong"},
		"other letters": {strings.Repeat("9", 52) + checksum(strings.Repeat("9", 52)), "recovery_malformed"},
	} {
		folder := t.TempDir()
		_, err := Recover(Installation{Folder: folder, Keys: keys}, c.text)
		if annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if files, _ := os.ReadDir(folder); len(files) > 0 {
			t.Errorf("%s: left %v behind", name, files)
		}
		if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
	_, err = Recover(Installation{Folder: dir, Keys: keys}, secret)
	wantCode(t, err, "root_key_works")
	keys.secrets["recovery"][2].Wrapped[30] ^= 1
	_, err = Recover(Installation{Folder: t.TempDir(), Keys: keys}, secret)
	wantCode(t, err, "recovery_wrong")
}

// A root key that does not open the registry is set aside, and only one.
func TestRecoverSetsAside(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	secret := newRecovery(t, v)
	path := filepath.Join(dir, RootFile)
	for _, code := range []string{"", "root_key_exists"} {
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Recover(Installation{Folder: dir, Keys: keys}, secret)
		if code == "" && err != nil || code != "" && annona.CodeOf(err) != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	if text, err := os.ReadFile(path + ".unusable"); err != nil || string(text) != "damaged" {
		t.Errorf("what was there is gone: %v", err)
	}
}

func TestReroot(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	d := shapeOf(t, registry(t), "individuals").Dataset
	images := people(t, v, d, 1, 5)
	realm := mustRealm(t, v, "program")
	uid := annona.NewUID()
	id := realm.AppendID(nil, uid[:])
	former := newRecovery(t, v)
	if err := v.RecordDrill(v.DrillProof()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, RootFile))
	if err != nil {
		t.Fatal(err)
	}
	index := v.BlindIndex("a", "", "b")

	secret, err := v.Reroot(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []*Vault{v, reopen(t, dir, keys)} {
		if !bytes.Equal(node.BlindIndex("a", "", "b"), index) || !bytes.Equal(mustRealm(t, node, "program").AppendID(nil, uid[:]), id) {
			t.Error("an index or an id moved")
		}
		for n, image := range images {
			if err := openOne(t.Context(), node, d, n, image); err != nil {
				t.Error(err)
			}
		}
		if at, err := node.Drilled(); err != nil || at.IsZero() {
			t.Errorf("the drill is forgotten: %v", err)
		}
	}
	stale := t.TempDir()
	if err := os.WriteFile(filepath.Join(stale, RootFile), before, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Installation{Folder: stale, Keys: keys})
	wantCode(t, err, "root_key_foreign")
	_, err = Recover(Installation{Folder: t.TempDir(), Keys: keys}, former)
	wantCode(t, err, "recovery_wrong")
	if _, err = Recover(Installation{Folder: t.TempDir(), Keys: keys}, secret); err != nil {
		t.Error(err)
	}
}

// A change of root keys is killed at each of its steps: the folder opens, with one or the other.
func TestInterruptedReroot(t *testing.T) {
	for name, taken := range map[string]bool{"before the key store takes it": false, "after the key store took it": true} {
		t.Run(name, func(t *testing.T) {
			dir, keys, v := newVault(t, Production)
			i := Installation{Folder: dir, Keys: keys}
			path := filepath.Join(dir, RootFile)
			digest := v.Digest([]byte("x"))
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !taken {
				err = i.writeRoot(newRoot(Production, fresh(keySize)), nextRootFile)
			} else if _, err = v.Reroot(i); err == nil { // then as it was before the last step
				err = errors.Join(os.Rename(path, filepath.Join(dir, nextRootFile)), os.WriteFile(path, before, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			again := reopen(t, dir, keys)
			if again.Digest([]byte("x")) != digest {
				t.Error("it gives other answers")
			}
			after, err := os.ReadFile(path)
			if err != nil || bytes.Equal(after, before) == taken {
				t.Errorf("the wrong root key is in force, %v", err)
			}
			if _, err := again.Reroot(i); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

func TestDrills(t *testing.T) {
	dir, keys, v := newVault(t, Production)
	if at, err := v.Drilled(); err != nil || !at.IsZero() {
		t.Errorf("before: %v, %v", at, err)
	}
	for _, wrong := range []string{"", "x", "AAAA", mustDrillProof(t)} {
		wantCode(t, v.RecordDrill(wrong), "drill_proof")
	}
	secret := newRecovery(t, v)
	elsewhere, err := Recover(Installation{Folder: t.TempDir(), Keys: copyOf(keys)}, secret)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.RecordDrill(elsewhere.DrillProof() + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if at, err := reopen(t, dir, keys).Drilled(); err != nil || at.IsZero() || v.clock().Sub(at).Hours() > 1 {
		t.Errorf("after: %v, %v", at, err)
	}
	if len(keys.secrets["drill"]) != 1 {
		t.Error("former drills stay on file")
	}
}

// mustDrillProof returns a proof of another registry.
func mustDrillProof(t *testing.T) string {
	t.Helper()
	_, _, other := newVault(t, Production)
	return other.DrillProof()
}

// service is a key management service: it turns bytes around, or does not answer.
type service struct{ down bool }

func (s *service) turn(_ context.Context, b []byte) ([]byte, error) {
	if s.down {
		return nil, errors.New("connection refused")
	}
	b = bytes.Clone(b)
	for i := range b {
		b[i] ^= 0x55
	}
	return b, nil
}

func (s *service) Encrypt(ctx context.Context, b []byte) ([]byte, error) { return s.turn(ctx, b) }
func (s *service) Decrypt(ctx context.Context, b []byte) ([]byte, error) { return s.turn(ctx, b) }
func (s *service) Close() error                                          { return nil }

func TestRootKeyInAService(t *testing.T) {
	kms := &service{}
	asked := ""
	i := Installation{Folder: t.TempDir(), Keys: newKeys(), RootURL: "hashivault://annona", Keepers: func(_ context.Context, url string) (Keeper, error) {
		asked = url
		return kms, nil
	}}
	v, err := Create(i, Production)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(i.Folder, RootFile))
	if err != nil || !strings.HasPrefix(string(text), "annona root key 2 production\nhashivault://annona\n") || bytes.Contains(text, v.root.key) {
		t.Errorf("%s, %v", text, err)
	}
	i.RootURL = ""
	again, err := Open(i)
	if err != nil || again.Digest(nil) != v.Digest(nil) || asked != "hashivault://annona" {
		t.Errorf("opened again: %v, asked %q", err, asked)
	}
	kms.down = true
	_, err = Open(i)
	wantCode(t, err, "root_key_service")
	kms.down = false
	i.Keepers = nil
	_, err = Open(i)
	wantCode(t, err, "root_key_remote")
	for name, damaged := range map[string]string{"no key": "annona root key 2 production\nhashivault://annona\n\n", "no lines": "annona root key 2 production\n", "format 3": "annona root key 3 production\nx\n"} {
		if err := os.WriteFile(filepath.Join(i.Folder, RootFile), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(i); annona.CodeOf(err) != "root_key_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
