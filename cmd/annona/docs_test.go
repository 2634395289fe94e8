package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

func page(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blockOf returns the code block of a page that begins so.
func blockOf(t *testing.T, file, begin string) string {
	t.Helper()
	block := regexp.MustCompile("(?s)```[a-z]+\n(" + regexp.QuoteMeta(begin) + ".*?)```").FindStringSubmatch(page(t, file))
	if block == nil {
		t.Fatalf("%s has no block that begins with %q", file, begin)
	}
	return block[1]
}

// The block under "Run it" makes a registry that can be served, word for word but for the folder.
func TestREADMERunsARegistry(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "annona")
	var last []string
	for line := range strings.Lines(strings.ReplaceAll(blockOf(t, "README.md", "make build\n"), "/srv/annona", data)) {
		args, ours := strings.CutPrefix(strings.TrimSpace(line), "bin/annona ")
		if !ours {
			continue
		}
		last = strings.Fields(args)
		for i, arg := range last {
			if strings.HasPrefix(arg, "examples/") {
				last[i] = "../../" + arg
			}
		}
		if last[0] != "serve" {
			must(t, last...)
		}
	}
	if len(last) != 5 || last[0] != "serve" {
		t.Fatalf("the last line is %v", last)
	}
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	if people := s.export("individuals", about(eligibility, "format", "csv", "fields", "sex")); strings.Count(string(people), "\n") != 13 {
		t.Errorf("the export is %q", people)
	}
}

// The blocks about PostgreSQL make a registry that is served, word for word but for folder and host.
func TestREADMERunsARegistryOnPostgreSQL(t *testing.T) {
	t.Parallel()
	c, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		t.Skip(err)
	}
	check(t, err)
	t.Cleanup(c.Remove)
	for statement := range strings.Lines(blockOf(t, "README.md", "CREATE ROLE annona_owner")) {
		sql(t, c.URL("postgres", "postgres"), statement)
	}
	data := filepath.Join(t.TempDir(), "annona")
	lines := strings.ReplaceAll(blockOf(t, "README.md", "bin/annona init --data /srv/annona --database"), "/srv/annona", data)
	for _, role := range []string{"annona_owner", "annona_app"} {
		lines = strings.ReplaceAll(lines, "postgres://"+role+"@localhost/annona", c.URL(role, "annona"))
	}
	initialize, serve, _ := strings.Cut(lines, "\n")
	must(t, strings.Fields(initialize)[1:]...)
	on := strings.Fields(serve)[2:]
	must(t, append([]string{"agreement", "apply", agreementFile("eligibility")}, on...)...)
	s := startServing(t, keyOf(must(t, append([]string{"key", "create", "--agreement", "eligibility"}, on...)...)), append([]string{"serve", "--listen", "127.0.0.1:0"}, on...)...)
	if people := s.export("individuals", about(eligibility, "format", "csv", "fields", "sex")); strings.Count(string(people), "\n") != 1 {
		t.Errorf("of an empty registry: %q", people)
	}
}

// The second partner of the README sees nobody, and then the one who consented.
func TestREADMEAsksForConsent(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := startDemo(t, filepath.Join(folder, "build", "demo"))
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	program := "#!/bin/sh\n" + asProgram + "=1 exec " + os.Args[0] + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(folder, "bin", "annona"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(blockOf(t, "README.md", "bin/annona subject consent"), "http://127.0.0.1:8080", s.url)
	consent, ask, _ := strings.Cut(script, "KEY=")
	for n, step := range []string{"KEY=" + ask, consent + "KEY=" + ask} {
		out := bash(t, folder, "set -e\n"+step)
		if people := strings.Count(out, `"individual_id"`); people != n || strings.Contains(out, "full_name") {
			t.Errorf("the institute sees %d people, want %d: %s", people, n, out)
		}
	}
}

// The welfare office of the README sees a household with what is kept about it.
func TestREADMEShowsABeneficiary(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := startDemo(t, filepath.Join(folder, "build", "demo"))
	_, script, _ := strings.Cut(page(t, "README.md"), "Here, that of its first case")
	_, script, _ = strings.Cut(script, "```sh\n")
	script, _, _ = strings.Cut(script, "```")
	out := bash(t, folder, "set -e\n"+strings.ReplaceAll(script, "http://127.0.0.1:8080", s.url))
	for _, member := range []string{`"household"`, `"members"`, `"enrollments"`, `"benefits"`, `"cases"`} {
		if !strings.Contains(out, member) {
			t.Errorf("%s is missing: %.500s", member, out)
		}
	}
}

// docs/spec/agreement.md explains every key of an agreement, and its example is one.
func TestAgreementPage(t *testing.T) {
	t.Parallel()
	text := page(t, "docs/spec/agreement.md")
	for _, of := range []any{annona.Agreement{}, annona.Partner{}, annona.PurposeTerms{}, annona.DatasetTerms{}, annona.CredentialTerms{}} {
		for i := range reflect.TypeOf(of).NumField() {
			key, _, _ := strings.Cut(reflect.TypeOf(of).Field(i).Tag.Get("yaml"), ",")
			if key != "-" && !strings.Contains(text, "`"+key+"`") {
				t.Errorf("the page does not explain %s of %T", key, of)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "school-meals.yaml")
	writeFile(t, file, []byte(blockOf(t, "docs/spec/agreement.md", "name: school-meals")))
	data := newRegistry(t)
	must(t, "agreement", "apply", "--data", data, file)
	createKey(t, data, "school-meals")
}

// docs/operations.md names every metric and the limits as they are.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	text := page(t, "docs/operations.md")
	names := regexp.MustCompile(`Name: "(annona_\w+)"`).FindAllStringSubmatch(page(t, "rest/metrics.go"), -1)
	if len(names) == 0 {
		t.Error("there are no metrics")
	}
	for _, name := range names {
		if !strings.Contains(text, "`"+name[1]+"`") {
			t.Errorf("the page does not name the metric %s", name[1])
		}
	}
	for _, limit := range []string{
		fmt.Sprintf("| 1 to %d; without it %d |", exchange.MaxLimit, exchange.DefaultLimit),
		fmt.Sprintf("| %d KiB, %d comparisons, %d deep, %d values in a list |", filter.MaxLength>>10, filter.MaxLeaves, filter.MaxDepth, filter.MaxValues),
	} {
		if !strings.Contains(text, limit) {
			t.Errorf("the page does not have the limit %q", limit)
		}
	}
	command := regexp.MustCompile(`(?m)^ExecStart=\S+ serve (.*)$`).FindStringSubmatch(text)
	if command == nil {
		t.Fatal("the page shows no service")
	}
	missing := strings.Replace(command[1], "/srv/annona", t.TempDir(), 1)
	missing = strings.Replace(missing, "127.0.0.1:8080", "127.0.0.1:0", 1)
	refused(t, "store_missing", append([]string{"serve"}, strings.Fields(missing)...)...)
}
