package main

import (
	"path/filepath"
	"strings"
	"testing"
)

const homesMapping = `source: office
inputs:
  - name: homes
    format: ndjson
    household:
      key: id
      fields: {area_code: area}
    individual:
      each: members
      key: id
      membership: {role: role}
      fields: {full_name: name, sex: sex, date_of_birth: born}
`

const (
	firstHome  = `{"id":"h1","members":[{"id":"1","role":"head","name":"Ama","sex":"female","born":"1990-01-01"},{"id":"2","role":"spouse","name":"Kofi","sex":"male","born":"1989-01-01"},{"id":"3","role":"child","name":"Esi","sex":"female","born":"2012-01-01"}]}` + "\n"
	secondHome = `{"id":"h2","members":[{"id":"4","role":"head","name":"Yaw","sex":"male","born":"1970-01-01"}]}` + "\n"
)

// TestLivesFromTheCommandLine drives what becomes of households and people, and takes one step back.
func TestLivesFromTheCommandLine(t *testing.T) {
	t.Parallel()
	data, folder := newRegistry(t), t.TempDir()
	mapping, file := filepath.Join(folder, "mapping.yaml"), filepath.Join(folder, "homes.ndjson")
	writeFile(t, mapping, []byte(homesMapping))
	writeFile(t, file, []byte(firstHome+secondHome))
	must(t, "import", "--data", data, "--mapping", mapping, file)
	edit := func(words ...string) []string {
		return append(append(words[:2:2], "--data", data, "--reason", "reported", "--on", "2026-03-01"), words[2:]...)
	}
	does := func(want string, words ...string) string {
		t.Helper()
		out := must(t, edit(words...)...)
		if !strings.Contains(out, want) {
			t.Errorf("annona %s: %q, want %q in it", strings.Join(words[:2], " "), out, want)
		}
		return out
	}
	born := mustFind(t, `New: (\S+)`, does("created 1, changed 1", "household", "birth", "office/1", "full_name=Adwoa", "sex=female"))
	does("changed 2", "household", "head", "office/h1", "office/2", "--former-role", "spouse")
	out := does("New: annona/", "household", "split", "office/h1", "office/1", "office/3", "--head", "office/1")
	does("", "household", "join", "office/4", "office/h1", "--role", "other_relative")
	does("", "household", "primary", "office/4", "office/h1")
	does("changed", "household", "leave", "office/4", "office/h2")
	does("deleted 1", "household", "merge", "office/h2", "office/h1")
	does("changed 1", "record", "set", "office/2", "full_name=Kofi A.")
	must(t, "load", "undo", "--data", data, mustFind(t, `annona load undo (\S+)`, out))

	refused(t, "unknown_field", edit("record", "set", "office/2", "shoe_size=43")...)
	refused(t, "assignment_malformed", edit("record", "set", "office/2", "full_name")...)
	refused(t, "subject_unnamed", edit("household", "head", "h1", "office/2")...)
	refused(t, "not_found", edit("household", "leave", "office/77", "office/h1")...)
	refused(t, "area_unknown", edit("household", "move", "office/h1", "XX99")...)
	refused(t, "split_everybody", edit("household", "split", "office/h1", "office/1", "office/2", "office/3", "office/4", born)...)
}

// TestChangeRequestsFromTheCommandLine: a registry without any says so, and one that nobody made is not there.
func TestChangeRequestsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	if out := must(t, "change-request", "list", "--data", data); strings.Count(strings.TrimSpace(out), "\n") > 0 {
		t.Errorf("requests of nobody: %s", out)
	}
	const nobodys = "00000000000000000000000000000001"
	refused(t, "not_found", "change-request", "show", "--data", data, nobodys)
	for _, verb := range []string{"approve", "reject"} {
		refused(t, "not_found", "change-request", verb, "--data", data, "--reason", "checked", nobodys)
	}
}

const cashTransfer = `code: cash-transfer
names: {en: Cash transfer}
assistance_unit: household
benefit_types: [cash]
cycles:
  - {code: "2026-1", period_start: 2026-01-01, period_end: 2026-12-31, status: open}
`

// TestProgramsFromTheCommandLine: a program comes on file once for each thing that it says.
func TestProgramsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	data, file := newRegistry(t), filepath.Join(t.TempDir(), "program.yaml")
	apply := func(text string) []string {
		writeFile(t, file, []byte(text))
		return []string{"program", "apply", "--data", data, file}
	}
	for _, step := range []struct{ text, want string }{
		{cashTransfer, "Version 1 of the program cash-transfer holds, with 1 cycles"},
		{cashTransfer, "Nothing changed: version 1"},
		{strings.Replace(cashTransfer, "[cash]", "[cash, voucher]", 1), "Version 2"},
	} {
		if out := must(t, apply(step.text)...); !strings.Contains(out, step.want) {
			t.Errorf("%q, want %q", out, step.want)
		}
	}
	if out := must(t, "program", "list", "--data", data); !strings.Contains(out, "cash-transfer") {
		t.Errorf("the list: %s", out)
	}
	for _, text := range []string{
		strings.Replace(cashTransfer, "household", "village", 1),
		strings.Replace(cashTransfer, "code: cash", "code: CASH", 1),
		strings.Replace(cashTransfer, "names:", "nombres:", 1),
	} {
		r := command(apply(text)...)
		if r.code != exitFailure {
			t.Errorf("a program that is none: %s", r)
		}
		checkMannerly(t, r)
	}
}
