package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

// invented is somebody invented, as a source's tables need them.
type invented struct {
	key, household, name, given, family, sex, born, role, phone, national string
}

type dwelling struct{ key, area, village, registered string }

// country invents a few hundred people, each with a name, a sex and a day of birth.
func inventCountry(t testing.TB, count int) (households []dwelling, people []invented) {
	t.Helper()
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: count, Seed: 7, Duplicates: -1})
	check(t, err)
	for h := range r.Households() {
		households = append(households, dwelling{h.Record.Key, valueIn(h.Record, "area_code"), valueIn(h.Record, "locality"), valueIn(h.Record, "registration_date")})
		for _, m := range h.Members {
			p := invented{
				key: m.Key, household: h.Record.Key, name: valueIn(m, "full_name"), given: valueIn(m, "given_name"), family: valueIn(m, "family_name"), sex: valueIn(m, "sex"),
				born: valueIn(m, "date_of_birth"), national: identifierIn(m, "national_id_number"), phone: strings.Split(valueIn(m, "phone_numbers"), "\x1f")[0],
			}
			if len(m.Memberships) > 0 {
				p.role = m.Memberships[0].Role
			}
			if p.sex != "male" && p.sex != "female" {
				p.sex = "female"
			}
			people = append(people, p)
		}
	}
	return households, people
}

func valueIn(r annona.Record, code string) string {
	for _, v := range r.Values {
		if v.Field.Code == code {
			return v.Text
		}
	}
	return ""
}

func identifierIn(r annona.Record, scheme string) string {
	for _, g := range r.Groups {
		if g.Field.Code != "identifiers" {
			continue
		}
		for _, item := range g.Items {
			text := map[string]string{}
			for _, v := range item {
				text[v.Field.Code] = v.Text
			}
			if text["scheme"] == scheme {
				return text["value"]
			}
		}
	}
	return ""
}

// shape is a schema with the SQL that fills it.
type shape struct {
	folder string
	fill   func(h []dwelling, p []invented) []string // statements
	touch  string                                    // gives somebody another name, a day later
	gone   string                                    // takes three people away
	roles  func(role string) string                  // what of a role the shape can say
}

func quoted(text string) string {
	if text == "" {
		return "NULL"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

const written = "'2026-11-01 10:00:00'"

func onlyHead(role string) string {
	if role == "head" {
		return role
	}
	return ""
}

func shapes() map[string]shape {
	return map[string]shape{
		"household and member": {
			folder: "household-member",
			fill: func(households []dwelling, people []invented) (sql []string) {
				for _, h := range households {
					sql = append(sql, fmt.Sprintf("INSERT INTO household VALUES (%s, %s, %s, %s, 'iron', 1, %s)", quoted(h.key), quoted(h.village), quoted(h.area), quoted(h.registered), written))
				}
				roles := map[string]string{"head": "head", "spouse": "spouse", "child": "child", "parent": "parent", "other_relative": "other", "non_relative": "none"}
				for _, p := range people {
					sql = append(sql, fmt.Sprintf("INSERT INTO member VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
						quoted(p.key), quoted(p.household), quoted(p.name), quoted(p.sex[:1]), quoted(p.born), quoted(roles[p.role]), quoted(p.national), written))
				}
				return sql
			},
			touch: "UPDATE member SET name = 'Somebody Else', changed_at = '2026-11-02 10:00:00' WHERE no = (SELECT min(no) FROM member)",
			gone:  "DELETE FROM member WHERE no IN (SELECT no FROM member WHERE relation = 'child' ORDER BY no LIMIT 3)",
			roles: func(role string) string {
				if slices.Contains([]string{"head", "spouse", "child", "parent", "other_relative", "non_relative"}, role) {
					return role
				}
				return ""
			},
		},
		"one table of partners": {
			folder: "res-partner",
			fill: func(households []dwelling, people []invented) []string {
				sql := []string{
					"INSERT INTO g2p_group_membership_kind VALUES (1, 'Head'), (2, 'Principal Recipient')",
					"INSERT INTO g2p_id_type VALUES (1, 'National ID')",
				}
				ids := map[string]int{}
				for i, h := range households {
					ids[h.key] = i + 1
					sql = append(sql, fmt.Sprintf("INSERT INTO res_partner (id, name, is_registrant, is_group, active, city, registration_date, write_date) VALUES (%d, %s, true, true, true, %s, %s, %s)",
						i+1, quoted(h.key), quoted(h.village), quoted(h.registered), written))
				}
				for i, p := range people {
					id := 100_000 + i
					sql = append(sql,
						fmt.Sprintf("INSERT INTO res_partner (id, name, given_name, family_name, is_registrant, is_group, active, gender, birthdate, write_date) VALUES (%d, %s, %s, %s, true, false, true, %s, %s, %s)",
							id, quoted(p.name), quoted(p.given), quoted(p.family), quoted(strings.ToUpper(p.sex[:1])+p.sex[1:]), quoted(p.born), written),
						fmt.Sprintf(`INSERT INTO g2p_group_membership (id, "group", individual, start_date, is_ended, write_date) VALUES (%d, %d, %d, '2020-01-01 00:00:00', false, %s)`, i+1, ids[p.household], id, written))
					if p.role == "head" {
						sql = append(sql, fmt.Sprintf("INSERT INTO g2p_group_membership_kind_rel VALUES (%d, 1), (%[1]d, 2)", i+1))
					}
					if p.national != "" {
						sql = append(sql, fmt.Sprintf("INSERT INTO g2p_reg_id VALUES (%d, %d, 1, %s, NULL, %s)", i+1, id, quoted(p.national), written))
					}
					if p.phone != "" {
						sql = append(sql, fmt.Sprintf("INSERT INTO g2p_phone_number VALUES (%d, %d, %s, %s)", i+1, id, quoted(p.phone), written))
					}
				}
				// What is no registrant, or not active, does not arrive.
				return append(sql, "INSERT INTO res_partner (id, name, is_registrant, is_group, active, write_date) VALUES (900001, 'A company', false, false, true, "+written+"), (900002, 'Archived', true, false, false, "+written+")")
			},
			touch: "UPDATE res_partner SET name = 'Somebody Else', write_date = '2026-11-02 10:00:00' WHERE id = 100000",
			gone:  "UPDATE res_partner SET active = false WHERE id IN (SELECT individual FROM g2p_group_membership m JOIN res_partner p ON p.id = m.individual WHERE p.active AND NOT EXISTS (SELECT 1 FROM g2p_group_membership_kind_rel r WHERE r.membership_id = m.id) ORDER BY m.id LIMIT 3)",
			roles: onlyHead,
		},
		"individuals and groups": {
			folder: "individual-group",
			fill: func(households []dwelling, people []invented) (sql []string) {
				ids := map[string]string{}
				for i, h := range households {
					ids[h.key] = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
					sql = append(sql, fmt.Sprintf("INSERT INTO individual_group VALUES ('%s', %s, '{\"water\": \"tap\", \"pmt_score\": 31.5}', NULL, false, %s, %s, NULL)", ids[h.key], quoted(h.key), quoted(h.registered), written))
				}
				roles := map[string]string{"head": "HEAD", "spouse": "SPOUSE", "child": "SON", "parent": "MOTHER", "grandparent": "GRANDMOTHER", "grandchild": "GRANDSON", "sibling": "SISTER", "other_relative": "OTHER RELATIVE", "non_relative": "NOT RELATED"}
				for i, p := range people {
					id := fmt.Sprintf("00000000-0000-4000-9000-%012d", i)
					extra := map[string]any{"gender": strings.ToUpper(p.sex[:1]), "nested": map[string]string{"note": "two\nlines"}}
					if p.national != "" {
						extra["national_id"] = p.national
					}
					if p.phone != "" {
						extra["phone"] = []string{p.phone}
					}
					text, _ := json.MarshalIndent(extra, "", "  ")
					sql = append(sql,
						fmt.Sprintf("INSERT INTO individual_individual VALUES ('%s', %s, NULL, %s, %s, NULL, false, %s, %[5]s, %[5]s, NULL)", id, quoted(p.name), quoted(p.born), quoted(string(text)), written),
						fmt.Sprintf("INSERT INTO individual_groupindividual VALUES ('00000000-0000-4000-a000-%012d', '%s', '%s', %s, NULL, false, %s)", i, ids[p.household], id, quoted(roles[p.role]), written))
				}
				return append(sql, "INSERT INTO individual_individual VALUES ('00000000-0000-4000-b000-000000000000', 'Deleted', NULL, NULL, NULL, NULL, true, "+written+", "+written+", "+written+", NULL)",
					"INSERT INTO individual_individual VALUES ('00000000-0000-4000-b000-000000000001', 'Expired', NULL, NULL, NULL, NULL, false, "+written+", "+written+", "+written+", '2020-01-01 00:00:00')")
			},
			touch: "UPDATE individual_individual SET first_name = 'Somebody Else', date_updated = '2026-11-02 10:00:00' WHERE id = '00000000-0000-4000-9000-000000000000'",
			gone:  "UPDATE individual_individual SET is_deleted = true WHERE id IN (SELECT m.individual_id FROM individual_groupindividual m JOIN individual_individual i ON i.id = m.individual_id WHERE m.role = 'SON' AND NOT i.is_deleted ORDER BY m.id LIMIT 3)",
			roles: func(role string) string {
				if role == "dependent" {
					return ""
				}
				return role
			},
		},
	}
}

// foreign is a database of a source.
type foreign struct {
	exec   func(statements ...string)
	config string // the example's configuration, for this database
}

// newForeign makes the tables of a shape and a configuration that asks for them.
func newForeign(t testing.TB, s shape, kind string) foreign {
	t.Helper()
	example := filepath.Join("../../examples/sync", s.folder)
	schema, err := os.ReadFile(filepath.Join(example, "schema.sql"))
	check(t, err)
	dir := t.TempDir()
	copyFile(t, filepath.Join(example, "mapping.yaml"), filepath.Join(dir, "mapping.yaml"))
	f := foreign{config: filepath.Join(dir, "sync.yaml")}
	path := filepath.Join(example, "sync-"+kind+".yaml")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(example, "sync.yaml") // one for both
	}
	text, err := os.ReadFile(path)
	check(t, err)
	config := string(text)
	if kind == kindSQLite {
		file := filepath.Join(dir, "source.sqlite")
		c, err := sqlite.OpenConn(file)
		check(t, err)
		t.Cleanup(func() { check(t, c.Close()) })
		f.exec = func(statements ...string) {
			t.Helper()
			check(t, sqlitex.ExecuteScript(c, strings.Join(statements, ";\n")+";", nil))
		}
		config = replaceLine(config, "    file:", "    file: source.sqlite")
	} else {
		c := sharedCluster(t)
		name := fmt.Sprintf("source%d", shared.count.Add(1))
		sql(t, c.URL("postgres", "postgres"), "CREATE DATABASE "+name)
		f.exec = func(statements ...string) {
			t.Helper()
			sql(t, c.URL("postgres", name), strings.Join(statements, ";\n"))
		}
		config = strings.Replace(config, "kind: sqlite", "kind: postgres", 1)
		config = replaceLine(config, "    password_env:", "    retries: 0")
		config = replaceLine(config, "    file:", "    address:")
		config = replaceLine(config, "    address:", "    address: "+c.URL("postgres", name))
	}
	f.exec(strings.TrimSuffix(strings.TrimSpace(string(schema)), ";"))
	writeFile(t, f.config, []byte(config))
	return f
}

func replaceLine(text, prefix, line string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		if strings.HasPrefix(lines[i], prefix) {
			lines[i] = line
		}
	}
	return strings.Join(lines, "\n")
}

// syncNow synchronizes once and returns what the status says of each source.
func syncNow(t testing.TB, data, config string, more ...string) map[string]syncLine {
	t.Helper()
	must(t, append([]string{"sync", "--data", data, "--config", config, "--once"}, more...)...)
	return syncStatusOf(t, data)
}

func syncStatusOf(t testing.TB, data string) map[string]syncLine {
	t.Helper()
	lines := map[string]syncLine{}
	for line := range strings.Lines(must(t, "sync", "status", "--data", data, "--json")) {
		var l syncLine
		check(t, json.Unmarshal([]byte(line), &l))
		lines[l.Source] = l
	}
	return lines
}

// only returns the one source there is.
func onlySource(t testing.TB, lines map[string]syncLine) syncLine {
	t.Helper()
	for _, l := range lines {
		if len(lines) == 1 {
			return l
		}
	}
	t.Fatalf("%d sources", len(lines))
	return syncLine{}
}

// onFile returns the people that a registry shows, one text each, sorted.
func onFile(t testing.TB, data string) []string {
	t.Helper()
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	defer s.stop()
	file, _ := plainCSV(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "full_name,sex,date_of_birth,role,phone_numbers")))
	var people []string
	for _, row := range file.rows {
		people = append(people, strings.Join(row, "|"))
	}
	slices.Sort(people)
	return people
}

func expected(people []invented, roles func(string) string, phones bool) []string {
	var all []string
	for _, p := range people {
		phone := p.phone
		if !phones {
			phone = ""
		}
		all = append(all, strings.Join([]string{roles(p.role), p.name, p.sex, p.born, phone}, "|"))
	}
	slices.Sort(all)
	return all
}

// Each shape of a registry, in each kind of database: everybody arrives as they are there; a second
// run asks for what has changed and finds nothing; a third finds the one who has; a comparison finds
// those who are gone, and refuses when they are too many.
func TestSyncShapes(t *testing.T) {
	t.Parallel()
	households, people := inventCountry(t, 300)
	for name, s := range shapes() {
		for _, kind := range []string{kindPostgres, kindSQLite} {
			t.Run(name+" in "+kind, func(t *testing.T) {
				t.Parallel()
				f := newForeign(t, s, kind)
				f.exec(s.fill(households, people)...)
				data := newRegistry(t)
				l := onlySource(t, syncNow(t, data, f.config))
				if l.Last.Created != len(people)+len(households) || l.Last.Rejected != 0 || l.Last.Individuals != len(people) || l.Last.NotJSON != 0 || l.Failures != 0 || l.SucceededAt.IsZero() {
					t.Fatalf("first run: %+v", l)
				}
				want := expected(people, s.roles, s.folder != "household-member")
				if got := onFile(t, data); !slices.Equal(got, want) {
					t.Errorf("%d on file, %d at the source, the first who differ: %v", len(got), len(want), differ(got, want))
				}
				if l = onlySource(t, syncNow(t, data, f.config)); l.Last.Created+l.Last.Changed != 0 || l.Last.Rows != len(people)+len(households) || l.Runs != 1 {
					t.Errorf("second run: %+v", l)
				}
				f.exec(s.touch)
				if l = onlySource(t, syncNow(t, data, f.config)); l.Last.Created != 0 || l.Last.Changed != 1 {
					t.Errorf("one has changed: %+v", l)
				}
				if l = onlySource(t, syncNow(t, data, f.config)); l.Last.Rows > 1+len(households) || l.Last.Changed != 0 {
					t.Errorf("behind the mark is one: %+v", l)
				}
				f.exec(s.gone)
				if l = onlySource(t, syncNow(t, data, f.config)); l.Last.Deleted != 0 {
					t.Errorf("marks do not tell who is gone: %+v", l)
				}
				l = onlySource(t, syncNow(t, data, f.config, "--compare"))
				if d := l.Drift["individuals"]; l.Last.Deleted != 3 || l.Last.Changed != 0 || l.Runs != 0 || d.Source != len(people)-3 || d.OnFile != d.Source || l.Drift["households"].OnFile != len(households) {
					t.Errorf("compared: %+v", l)
				}
				f.exec(s.gone, s.gone, s.gone) // nine of 297 are more than two percent
				refused(t, "delete_guard", "sync", "--data", data, "--config", f.config, "--once", "--compare")
				if l = onlySource(t, syncStatusOf(t, data)); l.Code != "delete_guard" || l.Last.Deleted != 0 || l.Drift["individuals"].OnFile != len(people)-3 {
					t.Errorf("refused: %+v", l)
				}
				must(t, "verify", "--data", data)
			})
		}
	}
}

func differ(got, want []string) []string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return []string{at(got, i), at(want, i)}
		}
	}
	return nil
}

func at(all []string, i int) string {
	if i < len(all) {
		return all[i]
	}
	return "nobody"
}
