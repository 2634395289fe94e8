package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// planted stands in what is imported and asked; no message, log or metric may repeat it.
const planted = "Zuberi-Kamau-7731"

const surveyHeader = `"hhid","hsize","region","clust","age","sex","relate","nation","ethnic","religion","highest_degree","occupation","income","weight"` + "\n"

// surveyRow is the row of somebody who lives alone.
func surveyRow(hhid int, occupation string) string {
	return fmt.Sprintf(`%d,1,"volta","7001",30,"male","head","ghanaian birth","ewe","methodist","none","%s",100,1.5`+"\n", hhid, occupation)
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // to memory: cannot fail
	_ = w.Close()
	return b.Bytes()
}

func inUTF16(text string) []byte {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return b
}

// TestBadRows: a row that cannot be read is refused by itself. It is kept with the reason, for its
// owner only, and everything around it loads.
func TestBadRows(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]string{
		"column_count":      "2,1," + planted + "\n",
		"encoding":          surveyRow(2, planted+"\xe9"),
		"cell_too_large":    surveyRow(2, planted+strings.Repeat("x", 10<<20)),
		"control_character": surveyRow(2, planted+"\x00"),
		"quote_malformed":   `2,1,"volta","70` + planted + "\n",
		"key_missing":       `,1,"volta","7001",30,"male","head","ghanaian birth","ewe","methodist","none","` + planted + `",100,1.5` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			data := newRegistry(t)
			input := filepath.Join(t.TempDir(), "input.csv")
			writeFile(t, input, []byte(surveyHeader+surveyRow(1, "none")+bad+surveyRow(3, "none")))
			r := command("import", "--data", data, "--mapping", ghanaMapping, "--json", input)
			report := parseImport(t, r.out)
			if r.code != 0 || report.Rejected != 1 || report.Individuals != 2 || len(report.Rejects) != 1 {
				t.Fatalf("%s", r)
			}
			if strings.Contains(r.out+r.err, planted) {
				t.Error("a message repeats a cell")
			}
			checkRejects(t, report.Rejects[0], name, bad)
			must(t, "verify", "--data", data)
		})
	}
}

// checkRejects looks at a file of refused rows: its mode, the reason, and the row as it was.
func checkRejects(t *testing.T, path, reason, row string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the refused rows: mode %v, %v", info.Mode(), err)
	}
	kept, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(kept, []byte(strings.TrimSuffix(row, "\n"))) || !bytes.Contains(kept, []byte(","+reason+",")) {
		t.Errorf("the refused row is not kept with the reason %s: %v", reason, err)
	}
}

// TestMendedRows imports refused rows again once they are mended.
func TestMendedRows(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	input := filepath.Join(t.TempDir(), "input.csv")
	writeFile(t, input, []byte(surveyHeader+surveyRow(1, "none")+"2,1,volta\n"+surveyRow(3, "none")))
	rejects := importInto(t, data, ghanaMapping, input).Rejects[0]
	kept, err := os.ReadFile(rejects)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, rejects, bytes.Replace(kept, []byte("2,1,volta\n"), []byte(surveyRow(2, "clerks")), 1))
	if r := importInto(t, data, ghanaMapping, rejects); r.Created != 2 || r.Rejected != 0 {
		t.Errorf("the mended row: %+v", r)
	}
	writeFile(t, input, []byte(surveyHeader+surveyRow(1, "none")+surveyRow(2, "clerks")+surveyRow(3, "none")))
	if r := importInto(t, data, ghanaMapping, input); r.Created+r.Changed != 0 || r.Unchanged != 6 {
		t.Errorf("the mended file: %+v", r)
	}
}

func TestBrokenLineOfNDJSON(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "registry")
	must(t, "init", "--data", data)
	input := filepath.Join(t.TempDir(), "input.ndjson")
	writeFile(t, input, []byte(must(t, "generate", "--individuals", "20")+`{"household_id":"`+planted+"\n"))
	r := command("import", "--data", data, "--mapping", syntheticMapping, "--json", input)
	if report := parseImport(t, r.out); r.code != 0 || report.Rejected != 1 || report.Individuals < 20 {
		t.Errorf("%s", r)
	}
	if strings.Contains(r.out+r.err, planted) {
		t.Error("a message repeats the line")
	}
}

// TestBadFiles: a file that cannot be read is an error; what was loaded before it stays.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	data, folder := newRegistry(t), t.TempDir()
	must(t, "import", "--data", data, "--mapping", ghanaMapping, ghanaSample)
	rows := surveyRow(901, planted)
	whole := gzipped(surveyHeader + strings.Repeat(rows, 500))
	for name, c := range map[string]struct {
		content []byte
		code    string
	}{
		"cut off.csv.gz":       {whole[:len(whole)-20], "input_unreadable"},
		"no gzip.csv.gz":       {[]byte("\x1f\x8b" + rows), "input_unreadable"},
		"empty.csv":            {nil, "input_empty"},
		"utf-16.csv":           {inUTF16(surveyHeader + rows), "input_encoding"},
		"another table.csv":    {[]byte("name,age\n" + planted + ",7\n"), "input_columns"},
		"column twice.csv":     {[]byte(strings.Replace(surveyHeader, `"clust"`, `"clust","clust"`, 1) + rows), "input_columns"},
		"binary.csv":           {bytes.Repeat([]byte("\x00\xff"+planted), 100), "input_header"},
		"json where csv is.js": {[]byte(`{"hhid":1,"name":"` + planted + `"}` + "\n"), "input_header"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder, name)
			writeFile(t, path, c.content)
			r := refused(t, c.code, "import", "--data", data, "--mapping", ghanaMapping, path)
			if strings.Contains(r.out+r.err, planted) {
				t.Error("a message repeats a cell")
			}
		})
	}
	t.Run("folder", func(t *testing.T) {
		refused(t, "file_unreadable", "import", "--data", data, "--mapping", ghanaMapping, folder)
	})
	t.Run("only a header", func(t *testing.T) {
		path := filepath.Join(folder, "header.csv")
		writeFile(t, path, []byte(surveyHeader))
		if r := importInto(t, data, ghanaMapping, path); r.Rows != 0 || r.Created+r.Changed != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("the same file twice", func(t *testing.T) {
		again := filepath.Join(folder, "copy.csv")
		copyFile(t, ghanaSample, again)
		refused(t, "input_twice", "import", "--data", data, "--mapping", ghanaMapping, ghanaSample, ghanaSample)
		refused(t, "input_twice", "import", "--data", data, "--mapping", ghanaMapping, ghanaSample, again)
	})
	must(t, "verify", "--data", data)
	if r := importInto(t, data, ghanaMapping, ghanaSample); r.Created+r.Changed != 0 || r.Unchanged != 16 {
		t.Errorf("what was on file before: %+v", r)
	}
}

// TestDryRun reads everything and writes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	input := filepath.Join(t.TempDir(), "input.csv")
	writeFile(t, input, []byte(surveyHeader+surveyRow(1, "none")+"2,1,"+planted+"\n"))
	out := must(t, "import", "--data", data, "--mapping", ghanaMapping, "--dry-run", input)
	if !strings.Contains(out, "individuals 1, households 1, rejected 1") || !strings.Contains(out, "nothing was written") || exists(data, "rejects") {
		t.Errorf("%s", out)
	}
	if r := importInto(t, data, ghanaMapping, ghanaSample); r.Created != 16 {
		t.Errorf("after a dry run: %+v", r)
	}
}

// TestBadMappings: a mapping that says what nobody knows is refused with its line, before a row
// is read.
func TestBadMappings(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	good, err := os.ReadFile(ghanaMapping)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, code string }{
		"unknown key":       {"survey_date:", "surveyed_on:", "file_malformed"},
		"unknown field":     {"nationality: {", "nationhood: {", "mapping_malformed"},
		"unknown column":    {"gh_cluster: clust", "gh_cluster: cluster", "input_columns"},
		"unknown code list": {"codes: roles}", "codes: ranks}", "mapping_malformed"},
		"unknown code":      {"spouse: spouse", "spouse: partner", "mapping_malformed"},
		"no yaml":           {"source:", "\tsource: [", "file_malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			mapping := filepath.Join(t.TempDir(), "mapping.yaml")
			changed := strings.Replace(string(good), c.from, c.to, 1)
			if changed == string(good) {
				t.Fatalf("the mapping does not say %q", c.from)
			}
			writeFile(t, mapping, []byte(changed))
			refused(t, c.code, "import", "--data", data, "--mapping", mapping, ghanaSample)
		})
	}
	if r := importInto(t, data, ghanaMapping, ghanaSample); r.Created != 16 {
		t.Errorf("after refused mappings: %+v", r)
	}
}

// hostileNames are names that have broken one file format or another.
var hostileNames = []string{
	`O'Neil "Baba" Otieno`, "two\nlines", "a\ttab", "lone \r return", `=cmd|'/c calc'!A1`, "+233 20", "-1+1", "@SUM(A1)",
	"]]>", "<script>alert(1)</script>", "&amp; &lt; &#10;", "<!-- - -->", "\u202Eesrever\u202C", "zero\u200Bwidth", "para\u2028graph\u2029",
	"semi;colon,comma", `back\slash \n \u0041`, " spaces around ", "'quoted'", "😀 Ḿ̈́ 漢字", "null", "NULL", "true", "0012", "1e5", "no\u00a0break",
}

// TestHostileNames imports them and gets them back, to the byte, in every format.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "registry")
	must(t, "init", "--data", data)
	must(t, "agreement", "apply", "--data", data, agreementFile("eligibility"))
	var members []map[string]string
	for n, name := range hostileNames {
		members = append(members, map[string]string{"individual_id": fmt.Sprintf("I%d", n), "role": "child", "full_name": name, "sex": "female"})
	}
	line, err := json.Marshal(map[string]any{"household_id": "H1", "area_code": "AN-01", "as_of": "2026-01-01", "members": members})
	if err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(t.TempDir(), "input.ndjson")
	writeFile(t, input, append(line, '\n'))
	if r := importInto(t, data, syntheticMapping, input); r.Individuals != len(hostileNames) || r.Rejected != 0 {
		t.Fatalf("%+v", r)
	}
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	bodies := map[string][]byte{}
	for _, dataset := range []string{"individuals", "households"} {
		for _, format := range []string{"csv", "xml", "json", "ndjson"} {
			bodies[dataset+"."+format] = s.export(dataset, about(eligibility, "format", format))
		}
	}
	var got []string
	inAllForms(t, "individuals", bodies, func(_ int, r item) { got = append(got, r.values["full_name"]) })
	inAllForms(t, "households", bodies, func(_ int, h item) {
		var inside []string
		for _, m := range h.groups["members"] {
			inside = append(inside, m.values["full_name"])
		}
		if !slices.Equal(inside, hostileNames) {
			t.Errorf("as members: %q", inside)
		}
	})
	if !slices.Equal(got, hostileNames) {
		t.Errorf("got %q", got)
	}
	validateXSD(t, s.public(t, "/v1/schemas/individuals.xsd", nil), bodies["individuals.xml"])
	validateJSON(t, s.public(t, "/v1/schemas/individuals.schema.json", nil), bodies["individuals.json"])
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
