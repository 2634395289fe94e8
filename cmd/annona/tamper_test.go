package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// victim is a registry whose ledger is attacked: each attack has a copy of its own.
type victim interface {
	// where returns the flags that name a fresh copy.
	where(t *testing.T) []string
	// attack runs SQL on a copy, with all the rights there are.
	attack(t *testing.T, where []string, sql string)
}

type fileVictim struct{ folder string }

func (v fileVictim) where(t *testing.T) []string {
	data := filepath.Join(t.TempDir(), "registry")
	copyFolder(t, v.folder, data)
	return []string{"--data", data}
}

func (fileVictim) attack(t *testing.T, where []string, sql string) {
	c, err := sqlite.OpenConn(filepath.Join(where[1], "annona.sqlite"), sqlite.OpenReadWrite)
	check(t, err)
	defer c.Close()
	check(t, sqlitex.ExecuteScript(c, sql, nil))
}

type databaseVictim struct {
	keys    string
	cluster *postgrestest.Cluster
	copies  *int
}

func (v databaseVictim) where(t *testing.T) []string {
	*v.copies++
	name := fmt.Sprint("copy", *v.copies)
	v.run(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE registry")
	return []string{"--data", v.keys, "--database", v.cluster.URL("postgres", name)}
}

func (v databaseVictim) attack(t *testing.T, where []string, sql string) {
	name := where[3][strings.LastIndex(where[3], "copy"):]
	name, _, _ = strings.Cut(name, "?")
	v.run(t, name, "SET search_path = annona; "+sql)
}

func (v databaseVictim) run(t *testing.T, database, sql string) {
	t.Helper()
	session, err := pgx.Connect(context.Background(), v.cluster.URL("postgres", database))
	check(t, err)
	defer session.Close(context.Background())
	if _, err := session.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// growLedger appends releases of two requests and their outcomes.
func growLedger(t *testing.T, where []string) {
	t.Helper()
	ctx := context.Background()
	f, err := flagsOf(where).open(ctx)
	check(t, err)
	defer func() { check(t, f.Close()) }()
	caller := annona.Caller{Client: annona.NewUID(), Agreement: "eligibility", Strength: annona.StrengthAPIKey}
	for range 2 {
		request, facts := annona.NewUID(), audit.Facts{Verb: annona.VerbExport, Partner: "Program", Fields: []string{"sex", "full_name"}}
		people := []audit.Subjects{{Noun: "individual", Fields: facts.Fields, Numbers: []annona.Number{3, 5, 900}}}
		for range 2 {
			check(t, f.gate.Ledger.Append(ctx, audit.Release(time.Now(), request, facts, "individual.sex == 'female'", caller, people)))
		}
		check(t, f.gate.Ledger.Append(ctx, audit.Outcome(time.Now(), request, audit.Facts{Outcome: audit.Complete}, caller)))
	}
}

func flagsOf(where []string) dataFlag {
	d := dataFlag{Data: where[1]}
	if len(where) > 2 {
		d.Database = where[3]
	}
	return d
}

// signedAt signs the ledger and returns the file of the checkpoint.
func signedAt(t *testing.T, where []string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "checkpoint")
	writeFile(t, file, []byte(must(t, slices.Concat([]string{"ledger", "checkpoint"}, where)...)))
	return file
}

// verified runs annona verify and returns the codes of what it found.
func verified(t *testing.T, args ...string) (codes []string) {
	t.Helper()
	r := command(slices.Concat([]string{"verify", "--json"}, args)...)
	var report audit.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("annona verify %v: %s", args, r)
	}
	for _, f := range report.Findings {
		codes = append(codes, f.Code)
	}
	if (r.code == 0) != (len(codes) == 0) {
		t.Errorf("exit code %d, findings %v", r.code, codes)
	}
	return codes
}

// attackCases change a ledger as somebody with all rights on the database would: it has ten
// entries, checkpoints of 4 and 10, and the indexes 4 to 9 are of growLedger.
var attackCases = []struct {
	name, code       string
	sqlite, postgres string // postgres: empty when it is the same
}{
	{"a leaf is edited", "id_changed", "UPDATE ledger SET leaf = (SELECT leaf FROM ledger WHERE idx = 5) WHERE idx = 4",
		"UPDATE ledger SET leaf = (SELECT leaf FROM ledger WHERE entry = 6) WHERE entry = 5"},
	{"a leaf and its hash are edited", "root_changed",
		"UPDATE ledger SET (leaf, hash, id, at, request) = (SELECT leaf, hash, id, at, request FROM ledger WHERE idx = 5) WHERE idx = 4",
		"UPDATE ledger SET (leaf, hash, id, at, request) = (SELECT leaf, hash, id, at, request FROM ledger WHERE entry = 6) WHERE entry = 5"},
	{"an entry is moved in time", "time_changed", "UPDATE ledger SET at = at + 1000000 WHERE idx = 4", "UPDATE ledger SET at = at + 1000000 WHERE entry = 5"},
	{"sealed content is edited", "part_unopened",
		"UPDATE ledger_content SET parts = CAST(substr(parts, 1, length(parts) - 2) || X'0000' AS BLOB) WHERE idx = 4",
		"UPDATE ledger_content SET parts = set_byte(parts, length(parts) - 1, (get_byte(parts, length(parts) - 1) + 1) % 256) WHERE entry = 5"},
	{"sealed content is no content anymore", "part_unopened",
		"UPDATE ledger_content SET parts = CAST(substr(parts, 1, length(parts) - 1) AS BLOB) WHERE idx = 4",
		"UPDATE ledger_content SET parts = substr(parts, 1, length(parts) - 1) WHERE entry = 5"},
	{"sealed content comes from another entry", "part_unopened",
		"UPDATE ledger_content SET parts = (SELECT parts FROM ledger_content WHERE idx = 5) WHERE idx = 4",
		"UPDATE ledger_content SET parts = (SELECT parts FROM ledger_content WHERE entry = 6) WHERE entry = 5"},
	{"sealed content comes from another part", "part_unopened",
		"UPDATE ledger_content SET parts = unhex(" + swapped("hex(parts)", strings.ToUpper) + ") WHERE idx = 4",
		"UPDATE ledger_content SET parts = decode(" + swapped("encode(parts, 'hex')", strings.ToLower) + ", 'hex') WHERE entry = 5"},
	{"a set is filed under another least number", "subjects_misfiled", "UPDATE ledger_subjects SET min = min + 1 WHERE idx = 4 AND noun = 'individual'",
		"UPDATE ledger_subjects SET min = min + 1 WHERE entry = 5 AND noun = 'individual'"},
	{"a set is filed under another reach", "subjects_misfiled", "UPDATE ledger_subjects SET reach = reach + 1 WHERE idx = 4 AND noun = 'individual'",
		"UPDATE ledger_subjects SET reach = reach + 1 WHERE entry = 5 AND noun = 'individual'"},
	{"a set is filed under nobody", "subjects_misfiled", "DELETE FROM ledger_subjects WHERE idx = 4 AND noun = 'individual'",
		"DELETE FROM ledger_subjects WHERE entry = 5 AND noun = 'individual'"},
	{"a set is deleted", "content_missing", "UPDATE ledger_content SET parts = CAST(substr(parts, 1, instr(parts, X'0A7375626A656374732E30') - 1) AS BLOB) WHERE idx = 4",
		`UPDATE ledger_content SET parts = substr(parts, 1, position('\x0a'::bytea || 'subjects.0'::bytea IN parts) - 1) WHERE entry = 5`},
	{"all content of an entry is deleted", "content_missing", "DELETE FROM ledger_content WHERE idx = 4", "DELETE FROM ledger_content WHERE entry = 5"},
	{"the lists of fields are deleted", "fields_missing", "DELETE FROM ledger_fields", ""},
	{"a list of fields is edited", "fields_missing", "UPDATE ledger_fields SET content = X'00000000'", `UPDATE ledger_fields SET content = '\x00000000'`},
	{"an entry is deleted", "position_wrong", "DELETE FROM ledger WHERE idx = 4; DELETE FROM ledger_content WHERE idx = 4",
		"DELETE FROM ledger WHERE entry = 5; DELETE FROM ledger_content WHERE entry = 5; DELETE FROM ledger_leaves WHERE entry = 5"},
	{"an entry is inserted", "entries_added", "INSERT INTO ledger SELECT 10, id, at, kind, leaf, hash, request FROM ledger WHERE idx = 9; INSERT INTO ledger_content SELECT 10, parts FROM ledger_content WHERE idx = 9; INSERT INTO ledger_subjects SELECT noun, reach, min, max, 10 FROM ledger_subjects WHERE idx = 9",
		"INSERT INTO ledger_leaves SELECT 10, entry FROM ledger_leaves WHERE idx = 4 ON CONFLICT DO NOTHING; DROP INDEX ledger_leaves_entry; INSERT INTO ledger_leaves VALUES (10, 10)"},
	{"two entries change places", "root_changed",
		changePlaces("ledger") + changePlaces("ledger_content") + changePlaces("ledger_subjects"),
		"UPDATE ledger_leaves SET entry = entry + 100 WHERE entry IN (5, 6); UPDATE ledger_leaves SET entry = 111 - entry WHERE entry > 100"},
	{"the end is cut off", "entries_missing", "DELETE FROM ledger WHERE idx > 6; DELETE FROM ledger_content WHERE idx > 6",
		"DELETE FROM ledger WHERE entry > 7; DELETE FROM ledger_content WHERE entry > 7; DELETE FROM ledger_leaves WHERE idx > 6"},
	{"the end and its tree are cut off", "entries_missing", cutEntries + cutTree, cutRows + cutTree},
	{"a checkpoint is edited", "checkpoint_unsigned", "UPDATE ledger_checkpoints SET size = 5 WHERE size = 4", ""},
	{"a checkpoint is forged", "checkpoint_unsigned", "UPDATE ledger_checkpoints SET note = replace(note, 'annona.ledger.v1/', 'annona.ledger.v1/0') WHERE size = 4", ""},
	{"everything behind a checkpoint is cut off", "", cutEntries + cutTree + cutCheckpoints, cutRows + cutTree + cutCheckpoints},
}

// swapped is SQL that has the facts and the caller change their names in the parts of an entry, written in hexadecimal.
func swapped(parts string, digits func(string) string) string {
	name := func(s string) string {
		return "'" + digits(hex.EncodeToString(append([]byte{byte(len(s))}, s...))) + "'"
	}
	facts, caller, neither := name("facts"), name("caller"), name("neither of them")
	return "replace(replace(replace(" + parts + ", " + facts + ", " + neither + "), " + caller + ", " + facts + "), " + neither + ", " + caller + ")"
}

// changePlaces is SQL that has two entries of a table change places.
func changePlaces(table string) string {
	return "UPDATE " + table + " SET idx = idx + 100 WHERE idx IN (4, 5); UPDATE " + table + " SET idx = 109 - idx WHERE idx > 100; "
}

// The end of a ledger behind its fourth entry, part by part.
const (
	cutEntries     = "DELETE FROM ledger WHERE idx > 3; DELETE FROM ledger_content WHERE idx > 3; DELETE FROM ledger_subjects WHERE idx > 3;"
	cutRows        = "DELETE FROM ledger WHERE entry > 4; DELETE FROM ledger_content WHERE entry > 4; DELETE FROM ledger_subjects WHERE entry > 4; DELETE FROM ledger_leaves WHERE idx > 3;"
	cutTree        = "DELETE FROM ledger_nodes WHERE place > 6;"
	cutCheckpoints = "DELETE FROM ledger_checkpoints WHERE size > 4;"
)

// TestTamperingIsFound performs each attack on a real store of both kinds and on a copy.
func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "registry")
	must(t, "init", "--data", folder)
	t.Run("sqlite", func(t *testing.T) { tamper(t, fileVictim{folder}, []string{"--data", folder}, false) })
	t.Run("postgres", func(t *testing.T) {
		c, err := postgrestest.Start()
		if errors.Is(err, postgrestest.ErrNotInstalled) {
			t.Skip(err)
		}
		check(t, err)
		t.Cleanup(c.Remove)
		copies := 0
		v := databaseVictim{keys: filepath.Join(t.TempDir(), "keys"), cluster: c, copies: &copies}
		v.run(t, "postgres", "CREATE DATABASE registry")
		where := []string{"--data", v.keys, "--database", c.URL("postgres", "registry")}
		must(t, slices.Concat([]string{"init"}, where)...)
		tamper(t, v, where, true)
	})
}

func tamper(t *testing.T, v victim, where []string, postgres bool) {
	// Four entries, signed; a copy that an older backup would bring back; six more, signed.
	must(t, slices.Concat([]string{"agreement", "apply"}, where, []string{agreementFile("eligibility")})...)
	for range 3 {
		must(t, slices.Concat([]string{"key", "create"}, where, []string{"--agreement", "eligibility"})...)
	}
	signedAt(t, where)
	older := v.where(t)
	growLedger(t, where)
	noted := signedAt(t, where)
	key := strings.TrimSpace(must(t, slices.Concat([]string{"ledger", "key"}, where)...))

	if found := verified(t, append(v.where(t), "--key", key, "--checkpoint", noted)...); found != nil {
		t.Fatalf("an untouched ledger deviates: %v", found)
	}
	for _, c := range attackCases {
		t.Run(c.name, func(t *testing.T) {
			sql := c.sqlite
			if postgres && c.postgres != "" {
				sql = c.postgres
			}
			copied := v.where(t)
			v.attack(t, copied, sql)
			if found := verified(t, copied...); c.code != "" && !slices.Contains(found, c.code) || c.code == "" && found != nil {
				t.Errorf("found %v, want %q", found, c.code)
			}
			if found := verified(t, append(copied, "--checkpoint", noted)...); found == nil {
				t.Error("not found by a checkpoint noted elsewhere")
			}
		})
	}
	t.Run("an older copy is put back", func(t *testing.T) {
		if found := verified(t, older...); found != nil {
			t.Errorf("an older copy by itself deviates: %v", found)
		}
		if found := verified(t, append(older, "--checkpoint", noted)...); !slices.Contains(found, "entries_missing") {
			t.Errorf("found %v", found)
		}
	})
	t.Run("an older copy continues", func(t *testing.T) {
		growLedger(t, older)
		growLedger(t, older)
		other := signedAt(t, older)
		if found := verified(t, older...); found != nil {
			t.Errorf("the other history by itself deviates: %v", found)
		}
		if found := verified(t, append(older, "--checkpoint", noted)...); !slices.Contains(found, "checkpoint_contradicted") {
			t.Errorf("the fork was not found: %v", found)
		}
		if found := verified(t, append(v.where(t), "--checkpoint", other)...); !slices.Contains(found, "entries_missing") {
			t.Errorf("the fork was not found from the other side: %v", found)
		}
		checkWitness(t, older, key, noted)
	})
	t.Run("copies", func(t *testing.T) { tamperWithCopies(t, v.where(t), key) })
}

// checkWitness asks a ledger that forked for the proof that it continues what a witness holds.
func checkWitness(t *testing.T, where []string, key, noted string) {
	t.Helper()
	ctx := context.Background()
	f, err := flagsOf(where).open(ctx)
	check(t, err)
	defer func() { check(t, f.Close()) }()
	text, err := os.ReadFile(noted)
	check(t, err)
	held, err := audit.OpenCheckpoint(string(text), []string{key})
	check(t, err)
	latest, err := f.gate.Checkpoint(ctx, operator())
	check(t, err)
	proof, err := f.gate.Consistency(ctx, operator(), held.Size, latest.Size)
	check(t, err)
	if audit.CheckConsistency(held, latest, proof) {
		t.Error("a fork proves that it continues what the witness holds")
	}
}

// tamperWithCopies attacks the lines of a copy with content: the first line is its head.
func tamperWithCopies(t *testing.T, where []string, key string) {
	file := filepath.Join(t.TempDir(), "copy")
	must(t, slices.Concat([]string{"ledger", "export"}, where, []string{"--with-content", file})...)
	refused(t, "file_exists", slices.Concat([]string{"ledger", "export"}, where, []string{file})...)
	noted := signedAt(t, where)
	text, err := os.ReadFile(file)
	check(t, err)
	whole := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	var leaves, notes []int
	for i, line := range whole {
		if strings.Contains(line, `"leaf"`) {
			leaves = append(leaves, i)
		}
		if strings.Contains(line, `"checkpoint"`) {
			notes = append(notes, i)
		}
	}
	if len(leaves) != 11 || len(notes) != 3 {
		t.Fatalf("the copy has %d leaves and %d checkpoints", len(leaves), len(notes))
	}
	edit := func(line int, old, new string) func([]string) []string {
		return func(l []string) []string {
			if !strings.Contains(l[line], old) {
				t.Fatalf("line %d has no %s", line, old)
			}
			l[line] = strings.Replace(l[line], old, new, 1)
			return l
		}
	}
	for name, c := range map[string]struct {
		code   string
		change func([]string) []string
	}{
		"nothing":                     {"", func(l []string) []string { return l }},
		"a leaf edited":               {"leaf_malformed", edit(leaves[4], `"leaf":"A`, `"leaf":"B`)},
		"content edited":              {"part_changed", edit(leaves[4], `"content":"ey`, `"content":"ez`)},
		"a salt edited":               {"part_changed", edit(leaves[4], `"name":"caller","salt":"`, `"name":"caller","salt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","x":"`)},
		"a line deleted":              {"checkpoint_contradicted", func(l []string) []string { return slices.Delete(l, leaves[4], leaves[4]+1) }},
		"a line inserted":             {"checkpoint_contradicted", func(l []string) []string { return slices.Insert(l, leaves[4], l[leaves[5]]) }},
		"two lines changed":           {"checkpoint_contradicted", func(l []string) []string { l[leaves[5]], l[leaves[6]] = l[leaves[6]], l[leaves[5]]; return l }},
		"the end cut off":             {"entries_unsigned", func(l []string) []string { return l[:leaves[8]] }},
		"the end cut off, and signed": {"", func(l []string) []string { return l[:notes[1]+1] }},
		"a checkpoint of another":     {"checkpoint_unsigned", edit(notes[0], "annona.ledger.v1/", "annona.ledger.v1/0")},
		"a signature edited":          {"checkpoint_unsigned", edit(notes[0], " ", " A")},
		"a checkpoint moved":          {"checkpoint_contradicted", func(l []string) []string { l[notes[0]], l[notes[0]-1] = l[notes[0]-1], l[notes[0]]; return l }},
		"the lists gone": {"fields_missing", func(l []string) []string {
			return slices.DeleteFunc(l, func(line string) bool { return strings.HasPrefix(line, `{"fields"`) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := filepath.Join(t.TempDir(), "copy")
			writeFile(t, changed, []byte(strings.Join(c.change(slices.Clone(whole)), "")))
			r := command("verify", "--json", changed, "--key", key)
			var report audit.Report
			_ = json.Unmarshal([]byte(r.out), &report)
			found := slices.ContainsFunc(report.Findings, func(f audit.Finding) bool { return f.Code == c.code })
			if malformed := strings.Contains(r.err, "code: copy_malformed"); !found && !malformed && c.code != "" || c.code == "" && r.code != 0 {
				t.Errorf("want %q, got %s", c.code, r)
			}
			if r := command("verify", changed, "--key", key, "--checkpoint", noted); (r.code == 0) != (name == "nothing") {
				t.Errorf("with a checkpoint noted elsewhere: %s", r)
			}
		})
	}
	t.Run("keys", func(t *testing.T) {
		refused(t, "public_key_missing", "verify", file)
		refused(t, "public_key_malformed", "verify", file, "--key", "abc")
		other := filepath.Join(t.TempDir(), "other")
		must(t, "init", "--data", other)
		foreign := strings.TrimSpace(must(t, "ledger", "key", "--data", other))
		if found := verified(t, file, "--key", foreign); !slices.Contains(found, "checkpoint_unsigned") {
			t.Errorf("the key of another ledger: %v", found)
		}
		keys := filepath.Join(t.TempDir(), "keys")
		writeFile(t, keys, []byte(foreign+"\n"+key+"\n"))
		if found := verified(t, file, "--key", keys); found != nil {
			t.Errorf("a file with both keys: %v", found)
		}
		rotated := strings.Fields(must(t, slices.Concat([]string{"ledger", "key", "--rotate"}, where)...))
		if len(rotated) != 2 || rotated[0] != key {
			t.Fatalf("the keys after a rotation are %v", rotated)
		}
		after := filepath.Join(t.TempDir(), "copy")
		must(t, slices.Concat([]string{"ledger", "export"}, where, []string{after})...)
		if found := verified(t, after, "--key", rotated[0], "--key", rotated[1], "--checkpoint", noted); found != nil {
			t.Errorf("after a rotation: %v", found)
		}
		if found := verified(t, after, "--key", rotated[1]); !slices.Contains(found, "checkpoint_unsigned") {
			t.Errorf("without the earlier key: %v", found)
		}
		if found := verified(t, where...); found != nil {
			t.Errorf("the store after a rotation: %v", found)
		}
	})
}
