package postgres

import (
	"testing"

	"github.com/annona-exchange/annona"
)

func TestSecrets(t *testing.T) {
	c := testCluster(t)
	if _, err := OpenSecrets(t.Context(), c.URL("app", "postgres")); annona.CodeOf(err) != "store_missing" {
		t.Fatalf("a database without secrets: %v", err)
	}
	s, err := OpenSecrets(t.Context(), c.URL("app", c.newRegistry(t)))
	if err != nil {
		t.Fatal(causes(err))
	}
	defer s.Close()
	if version, wrapped, err := s.Latest("realm"); version != 0 || wrapped != nil || err != nil {
		t.Fatalf("latest of none: %d, %v", version, err)
	}
	for version, wrapped := range map[int]string{1: "one", 2: "two"} {
		if err := s.Put("realm", version, []byte(wrapped)); err != nil {
			t.Fatal(causes(err))
		}
	}
	if err := s.Put("realm", 1, []byte("other")); annona.CodeOf(err) != "secret_exists" {
		t.Errorf("a second secret of one version: %v", err)
	}
	for _, err := range []error{s.Put("", 1, []byte("x")), s.Put("a", 0, []byte("x")), s.Put("a", 1, nil)} {
		if annona.KindOf(err) != annona.KindInvalid {
			t.Errorf("a malformed secret: %v", err)
		}
	}
	if version, wrapped, err := s.Latest("realm"); version != 2 || string(wrapped) != "two" || err != nil {
		t.Errorf("latest: %d %s %v", version, wrapped, err)
	}
	if one, err := s.Get("realm", 1); string(one) != "one" || err != nil {
		t.Errorf("get: %s %v", one, err)
	}
	if none, err := s.Get("realm", 3); none != nil || err != nil {
		t.Errorf("get of none: %s %v", none, err)
	}
}
