package sqlite

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

func TestKeys(t *testing.T) {
	storetest.Keys(t, func(t *testing.T) annona.KeyStore { return newSecrets(t, t.TempDir()) })
}

func newSecrets(t *testing.T, dir string) *Secrets {
	t.Helper()
	s, err := OpenSecrets(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSecretsAreKeptInAFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenSecrets(dir, false); annona.CodeOf(err) != "secrets_missing" {
		t.Fatalf("a folder without secrets: %v", err)
	}
	s, err := OpenSecrets(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(annona.Secret{Label: "realm", Version: 1, At: storetest.Clock(), Wrapped: []byte("one")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenSecrets(dir, false); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if one, err := s.Get("realm", 1); string(one.Wrapped) != "one" || err != nil {
		t.Errorf("get: %v %v", one, err)
	}
}
