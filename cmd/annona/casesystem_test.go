package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestCaseSystem runs the example against a demo: stale edits are merged, are a conflict, and are decided.
func TestCaseSystem(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "demo")
	program := filepath.Join(t.TempDir(), "case-system")
	build := exec.Command("go", "build", "-o", program, "./examples/case-system")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	startDemo(t, data)
	for range 2 { // a second day is like the first
		out, err := exec.Command(program, "-demo", filepath.Join(data, demoFile)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := regexp.MustCompile(`(?s)Ama: changed\n  Ben: merged\n.*Ama: changed\n  Ben: conflict\n    due_date was .*; theirs is 2027-04-0\d, yours is 2027-04-0\d\n.*\n    due_date: 2027-04-0\d since [\d:]{8}; wanted is 2027-04-0\d\n  Ben: applied\n$`)
		if !want.Match(out) {
			t.Errorf("%s", out)
		}
	}
}
