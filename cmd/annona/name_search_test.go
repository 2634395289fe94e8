package main

import (
	"strings"
	"testing"
)

// The search by names is off, is switched on and off again, and says so; the doctor says what it means.
func TestNameSearchSwitch(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, ghanaSample)
	says := func(wants string, args ...string) {
		t.Helper()
		if said := must(t, append(args, "--data", data)...); !strings.Contains(said, wants) {
			t.Errorf("%v: %s", args, said)
		}
	}
	says("Names cannot be searched.\nrows of the index: 0\n", "name-search", "status")
	refused(t, "name_search_off", "name-search", "rebuild", "--data", data)
	says("Done.", "name-search", "on")
	says("Names can be searched", "name-search", "status")
	if said := command("doctor", "--data", data).out; !strings.Contains(said, "name_search: names can be searched") {
		t.Errorf("doctor: %s", said)
	}
	says("Nothing changed.", "name-search", "on")
	says("Done.", "name-search", "rebuild")
	says("Done.", "name-search", "off")
	says("rows of the index: 0\n", "name-search", "status")
	must(t, "verify", "--data", data)
}
