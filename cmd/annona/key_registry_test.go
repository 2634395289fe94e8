package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recoverySecret takes the recovery secret out of the file where init has left it.
func recoverySecret(t *testing.T, data string) string {
	t.Helper()
	path := filepath.Join(data, recoveryFile)
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the recovery secret has mode %04o", info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

// C-16: the root key is lost, and found again from the recovery secret. The secret is printed
// nowhere, and read from standard input.
func TestLostRootKey(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "registry")
	said := must(t, "init", "--data", data)
	secret := recoverySecret(t, data)
	if strings.Contains(said, secret[:9]) {
		t.Error("init prints the recovery secret where there is no terminal")
	}
	root := filepath.Join(data, "root.key")
	before, err := os.ReadFile(root)
	check(t, err)

	if r := annonaReading(strings.NewReader(secret), "key", "recover", "--data", data); !strings.Contains(r.err, "code: root_key_works\n") {
		t.Errorf("over a root key that works: %s", r)
	}
	check(t, os.Remove(root))
	refused(t, "root_key_missing", "verify", "--data", data)
	for text, code := range map[string]string{"": "recovery_malformed", strings.Repeat("AAAA-", 14): "recovery_mistyped"} {
		if r := annonaReading(strings.NewReader(text), "key", "recover", "--data", data); !strings.Contains(r.err, "code: "+code+"\n") {
			t.Errorf("%q: %s", text, r)
		}
	}
	if r := annonaReading(strings.NewReader(strings.ToLower(secret)), "key", "recover", "--data", data); r.code != 0 {
		t.Fatal(r)
	}
	after, err := os.ReadFile(root)
	check(t, err)
	if string(after) != string(before) {
		t.Error("it is another root key")
	}
	must(t, "verify", "--data", data)
}

// A root key may be in a service, and move there and back.
func TestRootKeyInAService(t *testing.T) {
	t.Parallel()
	const service = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="
	data := filepath.Join(t.TempDir(), "registry")
	for address, code := range map[string]int{service: exitUsage, "ftp://x": exitUsage, "hashivault://user:word@x": exitUsage} {
		if r := command("init", "--data", data, "--root-key", address); r.code != code || strings.Contains(r.String(), "word@") {
			t.Errorf("%s", r)
		}
	}
	must(t, "init", "--data", data, "--root-key", service, "--insecure-local-root-key")
	text, err := os.ReadFile(filepath.Join(data, "root.key"))
	check(t, err)
	if !strings.HasPrefix(string(text), "annona root key 2 production\n"+service+"\n") {
		t.Errorf("root.key is %s", text)
	}
	first := recoverySecret(t, data)
	must(t, "key", "reroot", "--data", data)
	if text, err = os.ReadFile(filepath.Join(data, "root.key")); err != nil || !strings.HasPrefix(string(text), "annona root key 1 production\n") {
		t.Errorf("root.key is %s, %v", text, err)
	}
	if recoverySecret(t, data) == first {
		t.Error("the recovery secret is the one of the former root key")
	}
	must(t, "verify", "--data", data)
}

func TestRotateKeys(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, ghanaSample)
	if said := must(t, "key", "rotate", "--data", data); !strings.Contains(said, "generations made: 0\n") {
		t.Errorf("before its time: %s", said)
	}
	if said := must(t, "key", "rotate", "--data", data, "--force"); !strings.Contains(said, "generations made: 1\n") || strings.Contains(said, "anew: 0\n") {
		t.Errorf("by force: %s", said)
	}
	if said := must(t, "key", "status", "--data", data); len(strings.Split(strings.TrimSpace(said), "\n")) != 3 || !strings.Contains(said, "newest") {
		t.Errorf("status: %s", said)
	}
	must(t, "key", "rotate", "--data", data, "--class", "index")
	if said := command("doctor", "--data", data).out; !strings.Contains(said, "identifier_index: ") {
		t.Errorf("on the way: %s", said)
	}
	must(t, "key", "reindex", "--data", data)
	if said := command("doctor", "--data", data).out; strings.Contains(said, "identifier_index: ") {
		t.Errorf("in the end: %s", said)
	}
	must(t, "verify", "--data", data)
}
