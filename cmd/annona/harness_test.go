package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram makes the test binary stand in for the program: started with it, it is annona.
const asProgram = "ANNONA_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	code := m.Run()
	os.RemoveAll(sharedFolder)
	stopSharedCluster()
	os.Exit(code)
}

// patience is how long a test waits for something that must happen; it decides nothing else.
const patience = 60 * time.Second

// The agreements of the examples, by their purpose.
const (
	eligibility = "eligibility-assessment"
	research    = "living-conditions-research"
)

// ran is what a command line did.
type ran struct {
	out, err string
	code     int
}

func (r ran) String() string { return fmt.Sprintf("exit %d\n%s%s", r.code, r.out, r.err) }

// command runs a command line in this process.
func command(args ...string) ran { return annonaReading(nil, args...) }

func annonaReading(in io.Reader, args ...string) ran {
	var out, failed bytes.Buffer
	code := run(context.Background(), args, console{in, &out, &failed})
	return ran{out.String(), failed.String(), code}
}

// must runs a command line that has to work, and returns what it printed.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := command(args...)
	if r.code != 0 {
		t.Fatalf("annona %s: %s", args[0], r)
	}
	return r.out
}

// refused runs a command line that has to fail with that code of error.
func refused(t testing.TB, code string, args ...string) ran {
	t.Helper()
	r := command(args...)
	if r.code != exitFailure || !strings.Contains(r.err, "code: "+code+"\n") {
		t.Errorf("annona %s: want exit 1 and code %s, got %s", strings.Join(args[:min(2, len(args))], " "), code, r)
	}
	checkMannerly(t, r)
	return r
}

// checkMannerly holds an error to what everybody may expect of it.
func checkMannerly(t testing.TB, r ran) {
	t.Helper()
	for _, bad := range []string{"panic", "goroutine ", ".go:", "code: internal"} {
		if strings.Contains(r.err, bad) {
			t.Errorf("an error shows %q: %s", bad, r.err)
		}
	}
}

// importReport is the last line of import --json.
type importReport struct {
	Rows        int `json:"rows"`
	Individuals int `json:"individuals"`
	Households  int `json:"households"`
	Rejected    int `json:"rejected"`
	Created     int `json:"created"`
	Changed     int `json:"changed"`
	Unchanged   int `json:"unchanged"`
	Rejects     []string
	Flags       map[string]int
}

func parseImport(t testing.TB, out string) (r importReport) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("the last line of import --json is no JSON: %q", out)
	}
	return r
}

func importInto(t testing.TB, data, mapping string, inputs ...string) importReport {
	t.Helper()
	args := append([]string{"import", "--data", data, "--mapping", mapping, "--json"}, inputs...)
	return parseImport(t, must(t, args...))
}

// The files of examples/ that tests use.
const (
	ghanaMapping     = "../../examples/ghana-glss/mapping.yaml"
	ghanaDictionary  = "../../examples/ghana-glss/dictionary.yaml"
	ghanaSample      = "../../examples/ghana-glss/sample.csv"
	syntheticMapping = "../../examples/synthetic/mapping.yaml"
)

func agreementFile(name string) string { return "../../examples/agreements/" + name + ".yaml" }

// apiKey is what key create --json prints.
type apiKey struct {
	Key       string `json:"key"`
	ID        string `json:"id"`
	ExpiresAt string `json:"expires_at"`
}

func createKey(t testing.TB, data, agreement string) (k apiKey) {
	t.Helper()
	out := must(t, "key", "create", "--data", data, "--agreement", agreement, "--json")
	if err := json.Unmarshal([]byte(out), &k); err != nil {
		t.Fatalf("key create --json: %v", err)
	}
	return k
}

// newRegistry makes a registry with the survey's dictionary and both agreements.
func newRegistry(t testing.TB) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "registry")
	fillEmpty(t, data)
	return data
}

func fillEmpty(t testing.TB, data string) {
	t.Helper()
	must(t, "init", "--data", data)
	must(t, "dictionary", "apply", "--data", data, ghanaDictionary)
	for _, name := range []string{"eligibility", "research"} {
		must(t, "agreement", "apply", "--data", data, agreementFile(name))
	}
}

// sharedFolder holds what several tests start from.
var sharedFolder = filepath.Join(os.TempDir(), fmt.Sprintf("annona-test-%d", os.Getpid()))

// The synthetic country that several tests start from.
const countryPeople = 4000

// country is a registry with a synthetic country in it, and the file it was imported from. It
// is made once; whoever writes to it takes a copy.
var country = sync.OnceValue(func() (c struct {
	folder, file string
	report       importReport
	err          error
}) {
	c.folder, c.file = filepath.Join(sharedFolder, "country"), filepath.Join(sharedFolder, "country.ndjson")
	c.err = func() error {
		if err := os.MkdirAll(sharedFolder, 0o700); err != nil {
			return err
		}
		made := command("generate", "--individuals", fmt.Sprint(countryPeople), "--seed", "7")
		if err := os.WriteFile(c.file, []byte(made.out), 0o600); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"init", "--data", c.folder},
			{"agreement", "apply", "--data", c.folder, agreementFile("eligibility")},
			{"agreement", "apply", "--data", c.folder, agreementFile("research")},
			{"import", "--data", c.folder, "--mapping", syntheticMapping, "--json", c.file},
		} {
			r := command(args...)
			if r.code != 0 {
				return errors.New(r.String())
			}
			if args[0] == "import" {
				return json.Unmarshal([]byte(r.out), &c.report)
			}
		}
		return nil
	}()
	return c
})

// copyOfCountry returns a folder of one's own with the synthetic country.
func copyOfCountry(t testing.TB) (data string) {
	t.Helper()
	c := country()
	if c.err != nil {
		t.Fatal(c.err)
	}
	data = filepath.Join(t.TempDir(), "registry")
	copyFolder(t, c.folder, data)
	return data
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "root.key"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// surveyOf writes a survey of that many people who live alone.
func surveyOf(t testing.TB, people int) (file string) {
	t.Helper()
	var text strings.Builder
	text.WriteString(surveyHeader)
	for n := range people {
		text.WriteString(surveyRow(n+1, "clerks"))
	}
	file = filepath.Join(t.TempDir(), "survey.csv")
	writeFile(t, file, []byte(text.String()))
	return file
}

// openFolder opens a registry that lies in its folder.
func openFolder(ctx context.Context, path string) (*folder, error) {
	return dataFlag{Data: path}.open(ctx)
}
