package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// testMappings keeps mappings in versions that never change, and drops them.
func testMappings(t *testing.T, r *registry) {
	put := func(name string, version int, source string) error {
		return r.Update(r.ctx, func(tx annona.Tx) error {
			return tx.PutMapping(r.ctx, annona.StoredMapping{Name: name, Version: version, Source: source, Body: fmt.Sprint("source: ", source, " #", version, "\n"), PutAt: Clock().Add(time.Duration(version) * time.Hour)})
		})
	}
	for _, m := range []struct {
		name    string
		version int
	}{{"people", 1}, {"people", 2}, {"clinics", 1}} {
		if err := put(m.name, m.version, "office"); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []int{1, 2, 4, 0} {
		if err := put("people", version, "another"); annona.CodeOf(err) != "mapping_version" {
			t.Errorf("version %d after 2: %v", version, err)
		}
	}
	show := func(m *annona.StoredMapping, err error) string {
		if err != nil || m == nil {
			return fmt.Sprint(m, err)
		}
		return fmt.Sprintf("%s %d %s %q %s %t", m.Name, m.Version, m.Source, m.Body, m.PutAt.UTC().Format(time.TimeOnly), m.Dropped)
	}
	for _, c := range []struct {
		version int
		want    string
	}{
		{0, `people 2 office "source: office #2\n" 14:00:00 false`}, {1, `people 1 office "source: office #1\n" 13:00:00 false`}, {3, "<nil> <nil>"},
	} {
		if got := show(r.Mapping(r.ctx, "people", c.version)); got != c.want {
			t.Errorf("version %d: %s, want %s", c.version, got, c.want)
		}
	}
	if got := show(r.Mapping(r.ctx, "nothing", 0)); got != "<nil> <nil>" {
		t.Errorf("no mapping: %s", got)
	}
	r.update(func(tx annona.Tx) error { return tx.DropMapping(r.ctx, "people") })
	all, err := r.Mappings(r.ctx)
	if err != nil || len(all) != 2 || all[0].Name != "clinics" || all[0].Dropped || all[1].Version != 2 || !all[1].Dropped {
		t.Errorf("all mappings: %+v, %v", all, err)
	}
	if m, err := r.Mapping(r.ctx, "people", 1); err != nil || !m.Dropped {
		t.Errorf("an earlier version of a dropped one: %+v, %v", m, err)
	}
	if err := put("people", 3, "office"); err != nil {
		t.Errorf("the next version of a dropped one: %v", err)
	}
	if m, err := r.Mapping(r.ctx, "people", 0); err != nil || m.Dropped || m.Version != 3 {
		t.Errorf("put again: %+v, %v", m, err)
	}
}
