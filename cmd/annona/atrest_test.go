package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// place is a registry and the files that a thief of its disk would have.
type place struct {
	dataFlag
	files string // a folder
	// ask runs a statement as the owner of the database and returns the first column of its first
	// row. Parameters are written ?.
	ask func(t *testing.T, sql string, args ...any) []byte
}

func (p place) flags(words ...string) []string {
	words = append(words, "--data", p.Data)
	if p.Database != "" {
		words = append(words, "--database", p.Database)
	}
	return words
}

// inBothStores runs a test on a registry of its own in each store.
func inBothStores(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		p := place{dataFlag: dataFlag{Data: filepath.Join(t.TempDir(), "registry")}}
		p.files = p.Data
		p.ask = func(t *testing.T, sql string, args ...any) (first []byte) {
			c, err := sqlite.OpenConn(filepath.Join(p.Data, "annona.sqlite"), sqlite.OpenReadWrite)
			check(t, err)
			defer c.Close()
			check(t, sqlitex.Execute(c, sql, &sqlitex.ExecOptions{Args: args, ResultFunc: func(s *sqlite.Stmt) error {
				first = make([]byte, s.ColumnLen(0))
				s.ColumnBytes(0, first)
				return nil
			}}))
			return first
		}
		must(t, "init", "--data", p.Data)
		test(t, p)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		c, err := postgrestest.Start()
		if errors.Is(err, postgrestest.ErrNotInstalled) {
			t.Skip(err)
		}
		check(t, err)
		t.Cleanup(c.Remove)
		connect := func(database string) *pgx.Conn {
			session, err := pgx.Connect(context.Background(), c.URL("postgres", database))
			check(t, err)
			t.Cleanup(func() { _ = session.Close(context.Background()) })
			return session
		}
		_, err = connect("postgres").Exec(context.Background(), "CREATE DATABASE registry")
		check(t, err)
		p := place{dataFlag: dataFlag{Data: filepath.Join(t.TempDir(), "keys"), Database: c.URL("annona_app", "registry")}, files: filepath.Dir(c.LogFile())}
		must(t, "init", "--data", p.Data, "--database", c.URL("postgres", "registry"), "--app-role", "annona_app")
		owner := connect("registry")
		p.ask = func(t *testing.T, sql string, args ...any) (first []byte) {
			for n := 1; strings.Contains(sql, "?"); n++ {
				sql = strings.Replace(sql, "?", fmt.Sprintf("$%d", n), 1)
			}
			rows, err := owner.Query(context.Background(), sql, args...)
			check(t, err)
			for rows.Next() {
				first = bytes.Clone(rows.RawValues()[0])
			}
			check(t, rows.Err())
			return first
		}
		_, err = owner.Exec(context.Background(), "SET search_path = annona")
		check(t, err)
		test(t, p)
	})
}

// load writes records through the gate.
func (p place) load(t *testing.T, records ...annona.Record) annona.Loaded {
	t.Helper()
	var loaded annona.Loaded
	check(t, p.with(t.Context(), func(f *folder) error {
		load, err := f.gate.StartLoad(t.Context(), operator(), "planted-in-clear-source", nil)
		if err != nil {
			return err
		}
		loaded, err = load.Put(t.Context(), records)
		return err
	}))
	return loaded
}

func (p place) serve(t *testing.T) *server {
	t.Helper()
	must(t, append(p.flags("agreement", "apply"), agreementFile("eligibility"))...)
	key := keyOf(must(t, append(p.flags("key", "create"), "--agreement", "eligibility")...))
	return startServing(t, key, append(p.flags("serve"), "--listen", "127.0.0.1:0")...)
}

// plantedText is what is planted in a text, plantedNumber in a decimal.
var (
	plantedText   = regexp.MustCompile(`planted-[a-z0-9_.-]+`)
	plantedNumber = regexp.MustCompile(`[0-9]+\.7731[0-9]{3}`)
)

// plant fills every sealed field of a record with something that is nowhere else, and every clear
// text with something that tells that it may be found.
func plant(t *testing.T, dataset, key string) annona.Record {
	t.Helper()
	d, _ := annona.Standard().Dataset(dataset)
	r := annona.Record{Dataset: d, Source: "planted-in-clear-source", Key: "planted-key-" + key}
	r.Values, r.Groups = plantFields(d, d.Name+"-"+key, false)
	return r
}

func plantFields(d *annona.Dataset, where string, sealed bool) (values []annona.Value, groups []annona.GroupItems) {
	for _, f := range d.Fields {
		sealed := sealed || f.IsSealed()
		switch {
		case f.Derived:
		case f.Type == annona.TypeGroup && sealed:
			group, _ := annona.Standard().Dataset(f.Group)
			item, _ := plantFields(group, where+"."+f.Code, true)
			groups = append(groups, annona.GroupItems{Field: f, Items: [][]annona.Value{item}})
		case f.Code == "scheme":
			values = append(values, annona.Value{Field: f, Text: "national_id_number"}) // the index of identifiers names it
		case f.Type == annona.TypeDec && sealed:
			values = append(values, annona.Value{Field: f, Text: fmt.Sprintf("%d.7731%03d", f.Tag, len(where))})
		case sealed:
			values = append(values, annona.Value{Field: f, Text: "planted-sealed-" + where + "." + f.Code})
		case f.Type == annona.TypeText || f.Type == annona.TypeCode:
			values = append(values, annona.Value{Field: f, Text: "planted-in-clear-" + where + "." + f.Code})
		}
	}
	return values, groups
}

// TestNothingPlantedIsFound (C-01) plants a value in every personal field that is sealed, and keys
// of the source, and looks for them in every file that there is: the database, its log of writes,
// its own log and that of the server, and in whatever else has been left.
func TestNothingPlantedIsFound(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		home, head, child := plant(t, "households", "home"), plant(t, "individuals", "head"), plant(t, "individuals", "child")
		head.Memberships = []annona.Membership{{HouseholdKey: home.Key, Role: "head"}}
		child.Relationships = []annona.Relationship{{ToKey: head.Key, Type: "child"}, {ToKey: "planted-key-nobody", Type: "child"}}
		if loaded := p.load(t, home, head, child); loaded.Created != 3 {
			t.Fatalf("loaded: %+v", loaded)
		}
		again, _ := plantFields(head.Dataset, "individuals-head-again", false)
		head.Values = again
		if loaded := p.load(t, home, head, child); loaded.Changed != 1 || loaded.Unchanged != 2 {
			t.Fatalf("loaded again: %+v", loaded)
		}
		s := p.serve(t)
		names := string(s.export("individuals", about(eligibility, "format", "csv", "fields", "full_name")))
		if !strings.Contains(names, "planted-sealed-individuals-head-again.full_name") {
			t.Fatalf("the program does not see what was planted: %.200s", names)
		}
		body := fmt.Sprintf(`{"purpose":%q,"type":"national_id_number","value":"planted-sealed-individuals-child.identifiers.value"}`, eligibility)
		if a := s.ask(s.request(http.MethodPost, "/v1/lookup", nil, strings.NewReader(body))); a.status != http.StatusOK {
			t.Fatalf("look-up by what was planted: %d %s", a.status, a.code())
		}
		subject := []string{"--source", head.Source, "--key", head.Key}
		must(t, append(p.flags("subject", "restrict"), subject...)...)
		out := must(t, append(p.flags("subject", "erase", "--reason", "unlawful"), subject...)...)
		if p.Database != "" {
			p.ask(t, "CHECKPOINT")
		}
		found := search(t, p.files, []byte(s.err.String()+s.out.String()+out))
		for text := range found {
			if p.Database == "" && strings.Contains(text, "individuals-head") { // a database waits for its vacuum
				t.Errorf("%s is left of who was erased", text)
			}
		}
		s.stop()
		search(t, p.Data)
	})
}

// search looks for what was planted, in all files of a folder and in texts, and returns what it has
// found that may be found. That must be something, otherwise the search finds nothing at all.
func search(t *testing.T, folder string, texts ...[]byte) (clear map[string]bool) {
	t.Helper()
	clear = map[string]bool{}
	look := func(where string, text []byte) {
		for _, found := range append(plantedText.FindAll(text, -1), plantedNumber.FindAll(text, -1)...) {
			if bytes.HasPrefix(found, []byte("planted-in-clear-")) {
				clear[string(found)] = true
				continue
			}
			t.Errorf("%s holds %s", where, found)
		}
	}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil // a socket, or a file that the server has removed meanwhile
		}
		if content, err := os.ReadFile(path); err == nil {
			look(path, content)
		}
		return nil
	})
	check(t, err)
	for _, text := range texts {
		look("what was printed or logged", text)
	}
	if len(clear) == 0 && len(texts) > 0 {
		t.Error("not even what lies in clear is found")
	}
	return clear
}

// TestSwappedCellsAreNoticed (C-02) puts sealed images where they do not belong, and changes single
// bytes of them. Nothing of the page is shown then.
func TestSwappedCellsAreNoticed(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		home, a, b := plant(t, "households", "home"), plant(t, "individuals", "a"), plant(t, "individuals", "b")
		p.load(t, home, a, b)
		a.Values = a.Values[1:] // something else: the next version
		if loaded := p.load(t, a); loaded.Changed != 1 {
			t.Fatalf("loaded: %+v", loaded)
		}
		sealed := func(table string, number int64) []byte {
			return p.ask(t, "SELECT sealed FROM "+table+" WHERE number = ?", number)
		}
		own := sealed("individuals", 1)
		former, err := annona.ParseFormer(p.ask(t, "SELECT before FROM events WHERE record = ? AND dataset = 'individuals' AND kind = 'changed'", int64(1)))
		check(t, err)
		if former.Version != 1 || len(former.Clear) == 0 || bytes.Equal(former.Sealed, own) {
			t.Fatalf("former version %d", former.Version)
		}
		flipped := func(at int) []byte {
			c := bytes.Clone(own)
			c[(at+len(c))%len(c)] ^= 1
			return c
		}
		s := p.serve(t)
		ask := func(what, code string) {
			t.Helper()
			for _, a := range []answer{
				s.get("/v1/individuals", about(eligibility, "fields", "full_name")),
				s.get("/v1/individuals/export", about(eligibility, "fields", "full_name", "format", "csv")),
			} {
				if code == "" && a.status != http.StatusOK || code != "" && (a.code() != code || strings.Contains(string(a.body), "planted-")) {
					t.Errorf("%s: status %d, code %q, %.200s", what, a.status, a.code(), a.body)
				}
			}
		}
		ask("as it was", "")
		for what, cell := range map[string][]byte{
			"of another individual":            sealed("individuals", 2),
			"of a household":                   sealed("households", 1),
			"of an older version of itself":    former.Sealed,
			"the clear image that it had":      former.Clear,
			"format changed":                   flipped(0),
			"version of the key changed":       flipped(1),
			"nonce changed":                    flipped(5),
			"ciphertext changed":               flipped(20),
			"tag changed":                      flipped(-1),
			"cut off":                          own[:len(own)-1],
			"nothing but the format":           own[:1],
			"one byte behind":                  append(bytes.Clone(own), 0),
			"in clear, as an image of its own": annona.Image{}.AppendValue(9<<2, []byte("planted-name")),
		} {
			p.ask(t, "UPDATE individuals SET sealed = ? WHERE number = ?", cell, int64(1))
			ask(what, "record_tampered")
		}
		p.ask(t, "UPDATE individuals SET sealed = ?, version = ? WHERE number = ?", own, int64(1), int64(1))
		ask("another version of the record", "record_tampered")
		p.ask(t, "UPDATE individuals SET version = ? WHERE number = ?", int64(2), int64(1))
		ask("as it was again", "")
	})
}

// awayKeys cannot destroy a key.
type awayKeys struct{}

func (awayKeys) Shred(context.Context, *annona.Dataset, annona.Number) (time.Time, error) {
	return time.Time{}, errors.New("the key store is away")
}

// TestInterruptedErasureIsFinished erases somebody while no key can be destroyed. The server
// destroys it when it starts.
func TestInterruptedErasureIsFinished(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		person := plant(t, "individuals", "a")
		p.load(t, person, plant(t, "individuals", "b"))
		hasKey := func() (has bool) {
			t.Helper()
			check(t, p.with(t.Context(), func(f *folder) error {
				cell := annona.Cell{Dataset: person.Dataset, Number: 1, Version: 1, Part: annona.PartSealed, Image: []byte{1}}
				has = annona.CodeOf(f.vault.OpenCell(t.Context(), &cell)) != "key_gone"
				return nil
			}))
			return has
		}
		check(t, p.with(t.Context(), func(f *folder) error {
			f.gate.Shredder = awayKeys{}
			_, err := f.gate.Erase(t.Context(), operator(), exchange.Subject{Source: person.Source, Key: person.Key}, "unlawful")
			if annona.CodeOf(err) != "shred_pending" {
				t.Errorf("erased without a key store: %v", err)
			}
			return nil
		}))
		if list := must(t, p.flags("subject", "erased")...); !strings.Contains(list, "the key is still to be destroyed") {
			t.Errorf("erasures: %s", list)
		}
		if !hasKey() {
			t.Error("the key is gone before it was destroyed")
		}
		s := p.serve(t)
		if !strings.Contains(s.err.String(), "erasures of an earlier run were interrupted") {
			t.Errorf("the server says nothing of it: %s", s.err)
		}
		if names := string(s.export("individuals", about(eligibility, "format", "csv", "fields", "full_name"))); strings.Contains(names, "individuals-a.") {
			t.Error("the program sees who was erased")
		}
		s.stop()
		if list := must(t, p.flags("subject", "erased")...); !strings.Contains(list, "complete 20") {
			t.Errorf("erasures: %s", list)
		}
		if hasKey() {
			t.Error("the key is still there")
		}
	})
}
