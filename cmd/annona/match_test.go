package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMergeAtTheCommandLine merges two people of the example district and takes that back; the partner sees one
// person less, and then all again.
func TestMergeAtTheCommandLine(t *testing.T) {
	d := newDistrict(t)
	before := d.names()
	keys := districtKeys()
	survivor, merged := "district-registry:"+keys[0], "district-registry:"+keys[1]
	var made shownMerge
	if err := json.Unmarshal([]byte(d.subject("merge", survivor, merged, "--reason", "same_card", "--json")), &made); err != nil || made.Reason != "same_card" || made.By == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	if names := d.names(); len(names) != len(before)-1 {
		t.Errorf("the partner sees %d people, and saw %d", len(names), len(before))
	}
	for code, args := range map[string][]string{
		"already_one":     {survivor, merged, "--reason", "same_card"},
		"subject_unnamed": {survivor, "nobody", "--reason", "same_card"},
		"code_malformed":  {survivor, merged, "--reason", "Because of Ama"},
		"not_found":       {survivor, "district-registry:nobody", "--reason", "same_card"},
	} {
		refused(t, code, append([]string{"subject", "merge", "--data", d.data}, args...)...)
	}
	if out := d.subject("merges", append(inDistrict(keys[1]), "--json")...); !strings.Contains(out, made.ID) {
		t.Errorf("listed: %s", out)
	}
	if out := d.subject("unmerge", made.ID); !strings.Contains(out, "both records are on file") {
		t.Errorf("taken back: %s", out)
	}
	refused(t, "unmerged_already", "subject", "unmerge", "--data", d.data, made.ID)
	if names := d.names(); len(names) != len(before) {
		t.Errorf("the partner sees %d people, and saw %d", len(names), len(before))
	}
}

// districtKeys are the keys of two members of the example.
func districtKeys() []string { return []string{"P-1001", "P-1002"} }

// TestMatchesAtTheCommandLine imports pairs of an outside system, with bad rows among them, and decides.
func TestMatchesAtTheCommandLine(t *testing.T) {
	d := newDistrict(t)
	keys := districtKeys()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	row := func(a, b, score string) string {
		return "district-registry," + a + ",district-registry," + b + "," + score + ",same_name\n"
	}
	const header = "\xef\xbb\xbfa_source,a_key,b_source,b_key,score,reason\n"
	csv := file("pairs.csv", header+row(keys[0], keys[1], "0.75")+row(keys[0], "nobody", "1")+row(keys[0], keys[1], "high")+"too,few\n"+row("", keys[1], "1"))
	load := func(path string) (r matchReport) {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, "match", "import", "--data", d.data, path, "--engine", "linker", "--json")), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := load(csv)
	if r.New != 1 || r.Rejected["not_found"] != 1 || r.Rejected["score_out_of_range"] != 1 || r.Rejected["row_malformed"] != 1 || r.Rejected["subject_unnamed"] != 1 || len(r.Rows) != 4 {
		t.Errorf("%+v", r)
	}
	lines := file("pairs.ndjson", `{"a_source":"district-registry","a_key":"`+keys[1]+`","b_source":"district-registry","b_key":"`+keys[0]+`","score":0.5}`+"\n{\n[]\n"+`{"name":"Ama"}`+"\n")
	if r := load(lines); r.New != 0 || r.Known != 1 || r.Rejected["row_malformed"] != 3 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"name,score\n", "a,a\n", ""} {
		refused(t, "pairs_malformed", "match", "import", "--data", d.data, file("bad.csv", bad))
	}
	refused(t, "format_unknown", "match", "import", "--data", d.data, file("bad.txt", "a,b\n"))

	list := func(state string) (all []shownCandidate) {
		t.Helper()
		for line := range strings.Lines(must(t, "match", "list", "--data", d.data, "--realm", "eligibility", "--state", state, "--json")) {
			var c shownCandidate
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		return all
	}
	open := list("open")
	if len(open) != 1 || open[0].Score != 0.75 || open[0].Engine != "linker" || open[0].A == "" || open[0].Evidence != "same_name" {
		t.Fatalf("%+v", open)
	}
	must(t, "match", "decide", "--data", d.data, open[0].ID, "--different", "--reason", "met_both")
	if r := load(csv); r.New != 0 || r.Decided != 1 {
		t.Errorf("after it was decided: %+v", r)
	}
	if got := list("different"); len(got) != 1 || got[0].By == "" || got[0].Decision != "met_both" {
		t.Errorf("%+v", got)
	}
	refused(t, "decided_different", "subject", "merge", "--data", d.data, "district-registry:"+keys[0], "district-registry:"+keys[1], "--reason", "same_card")
	if out := must(t, "match", "decide", "--data", d.data, open[0].ID, "--same", "--keep", "b", "--reason", "met_again"); !strings.Contains(out, "annona subject unmerge ") {
		t.Errorf("same: %s", out)
	}
	if out := must(t, "match", "show", "--data", d.data, open[0].ID, "--realm", "eligibility"); !strings.Contains(out, `"state": "same"`) {
		t.Errorf("shown: %s", out)
	}
	must(t, "match", "find", "--data", d.data)
}
