package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A policy from the command line: shown, narrowed, told, explained and rolled back, while a server runs.
func TestPolicyCommands(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	key := createKey(t, data, "eligibility")
	s := serveFolder(t, data, key.Key)
	shipped := must(t, "policy", "show", "--data", data)
	for _, role := range []string{"partner", "case-worker", "auditor"} {
		if !strings.Contains(shipped, "name: "+role+"\n") {
			t.Fatalf("what Annona comes with has no %s:\n%s", role, shipped)
		}
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(shipped + "- name: desk\n  rules:\n  - {name: reads, verbs: [get, search], datasets: {individuals: {fields: [individual_id, sex]}}, row_ceiling: 3}\n")
	if out := must(t, "policy", "apply", "--data", data, "--check", file); !strings.Contains(out, "desk may newly get, search individuals (individual_id, sex, sex_nil_reason), for every purpose\n") {
		t.Errorf("what it newly allows: %s", out)
	}
	if out := must(t, "policy", "apply", "--data", data, file); !strings.HasSuffix(out, "Version 1 of the policy is in force.\n") {
		t.Errorf("applied: %s", out)
	}
	must(t, "policy", "role", "--data", data, key.ID, "desk")
	if a := s.get("/v1/individuals/export", about(eligibility, "format", "csv")); a.status != http.StatusForbidden || a.code() != "role_not_granted" {
		t.Errorf("an export in the role: %d %s", a.status, a.code())
	}
	a := s.get("/v1/individuals", about(eligibility, "limit", "2"))
	if a.status != http.StatusOK || !strings.Contains(string(a.body), `"sex"`) || strings.Contains(string(a.body), "full_name") {
		t.Errorf("a page in the role: %d %s", a.status, a.body)
	}
	if out := must(t, "policy", "decision", "--data", data, a.header.Get("Annona-Request")); !strings.Contains(out, `"role": "desk"`) || !strings.Contains(out, `"reads"`) || !strings.Contains(out, `"row_ceiling=3"`) {
		t.Errorf("the decision: %s", out)
	}
	explain := func(verb string) string {
		t.Helper()
		return must(t, "policy", "explain", "--data", data, "--client", key.ID, "--verb", verb, "--purpose", "eligibility-assessment")
	}
	if out := explain("search"); !strings.Contains(out, "obligation: row_ceiling=3\ngranted: 3 columns, at most 3 rows") {
		t.Errorf("explained: %s", out)
	}
	if out := explain("export"); !strings.Contains(out, "does not hold: verb") || !strings.Contains(out, "denied: role_not_granted") {
		t.Errorf("explained: %s", out)
	}
	if out := command("policy", "rollback", "--data", data, "0"); out.code == 0 || !strings.Contains(out.err, "desk") {
		t.Errorf("rolled back beneath a client: %+v", out)
	}
	must(t, "policy", "role", "--data", data, key.ID, "exporter")
	if out := must(t, "policy", "rollback", "--data", data, "0"); !strings.HasSuffix(out, "Version 0 is in force again, as version 2.\n") {
		t.Errorf("rolled back: %s", out)
	}
	if out := must(t, "policy", "list", "--data", data); strings.Count(out, "\n") != 4 {
		t.Errorf("the versions: %s", out)
	}
	if a := s.get("/v1/individuals/export", about(eligibility, "format", "csv")); a.status != http.StatusOK || a.err != nil {
		t.Errorf("an export in the role exporter: %d %s", a.status, a.code())
	}
}
