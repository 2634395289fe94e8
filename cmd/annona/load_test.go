package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

const peopleMapping = `source: office
inputs:
  - name: people
    format: csv
    individual:
      key: id
      match: [national_id_number]
      fields:
        full_name: name
        occupation: job
      groups:
        identifiers: [{scheme: {constant: national_id_number}, value: card}]
`

const peopleHeader = "id,name,job,card\n"

// TestLoads drives full loads, their refusals, the list and the undo from the command line.
func TestLoads(t *testing.T) {
	t.Parallel()
	data, folder := newRegistry(t), t.TempDir()
	mapping, file := filepath.Join(folder, "mapping.yaml"), filepath.Join(folder, "people.csv")
	writeFile(t, mapping, []byte(peopleMapping))
	load := func(rows string, args ...string) []string {
		writeFile(t, file, []byte(peopleHeader+rows))
		return append([]string{"import", "--data", data, "--mapping", mapping, "--json", file}, args...)
	}
	both := "1,Ama,1,GHA-1\n2,Kofi,2,GHA-2\n"
	must(t, load(both, "--as-of", "2026-01-05", "--source", "office")...)
	refused(t, "source_differs", load(both, "--source", "survey")...)
	refused(t, "delete_guard", load("1,Ama,1,GHA-1\n", "--mode", "full")...)
	refused(t, "full_load_empty", load("", "--mode", "full")...)
	refused(t, "input_once", "import", "--data", data, "--mapping", mapping, "--mode", "full", "-")
	var done importReport
	out := must(t, load("1,Ama,3,GHA-1\n", "--mode", "full", "--delete-guard", "50%")...)
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, `"deleted":1`) || !strings.Contains(out, `"changed":1`) {
		t.Errorf("a full load: %s", out)
	}
	if out := must(t, load("1,Ama,9,GHA-1\n", "--as-of", "2026-01-04T12:00:00Z")...); !strings.Contains(out, `"stale":1`) {
		t.Errorf("an older file: %s", out)
	}
	var shown struct{ ID, State, Mode string }
	states := map[string]int{}
	full := ""
	for _, line := range strings.Split(strings.TrimSpace(must(t, "load", "list", "--data", data, "--source", "office", "--json")), "\n") {
		if err := json.Unmarshal([]byte(line), &shown); err != nil {
			t.Fatal(err)
		}
		states[shown.State]++
		if shown.Mode == "full" && shown.State == "finished" {
			full = shown.ID
		}
		if strings.Contains(line, "Ama") || strings.Contains(line, "GHA") {
			t.Errorf("a report tells of people: %s", line)
		}
	}
	if states["finished"] != 3 || states["refused"] != 2 {
		t.Errorf("loads are %v", states)
	}
	if out := must(t, "load", "show", "--data", data, full); !strings.Contains(out, "deleted") || !strings.Contains(out, "1 of 2 individuals") {
		t.Errorf("shown as\n%s", out)
	}
	if out := must(t, "load", "undo", "--data", data, "--json", full); !strings.Contains(out, `"restored":1`) || !strings.Contains(out, `"mode":"undo"`) {
		t.Errorf("undone: %s", out)
	}
	refused(t, "load_undone", "load", "undo", "--data", data, full)
	if out := must(t, load(both)...); !strings.Contains(out, `"unchanged":2`) {
		t.Errorf("after the undo: %s", out)
	}
	if out := must(t, "load", "list", "--data", data); !strings.Contains(out, "undone") {
		t.Errorf("listed as\n%s", out)
	}
}

// TestAProcessHasAName: this one lives, and one of its number that began at another time does not.
func TestAProcessHasAName(t *testing.T) {
	if gone, known := processGone(processName()); gone || !known {
		t.Errorf("this process: gone %t, known %t", gone, known)
	}
	if gone, known := processGone(processName() + "1"); !gone || !known {
		t.Errorf("another one: gone %t, known %t", gone, known)
	}
	if _, known := processGone("elsewhere/1/1"); known {
		t.Error("somebody knows the processes of another computer")
	}
}
