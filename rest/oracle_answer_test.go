package rest

import (
	"archive/zip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/annona-exchange/annona"
)

// ask makes a call and follows its cursors to the end.
func (in *installation) ask(c call) []answer {
	var answers []answer
	query := maps.Clone(c.query)
	for range 12 {
		a := in.serve(c.method, in.target(c, query), c.body, c.headers)
		answers = append(answers, a)
		in.tally[fmt.Sprint("answers ", a.status, " ", c.method, " ", c.path)]++
		if position := a.header.Get("Annona-Position"); position != "" && a.status == 200 && c.method == http.MethodGet {
			query.Set("position", position)
			in.stands = append(in.stands, stand{call{method: c.method, path: c.path, query: query, headers: c.headers}, a})
		}
		next := a.header.Get("Annona-Next")
		if next == "" {
			break
		}
		query.Set("after", next)
		if c.path == changesPath && strings.Contains(in.text(a), `"more":false`) {
			in.tails = append(in.tails, call{method: c.method, path: c.path, query: query, headers: c.headers})
			break
		}
	}
	return answers
}

// stand is an export at the position of an export that was answered.
type stand struct {
	call   call
	answer answer
}

func (in *installation) target(c call, query url.Values) string {
	target := c.path
	if c.record != "" {
		target = strings.Replace(target, "{id}", in.wireID(c), 1)
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return target
}

// wireID is the id of the call's record in this world; of one that is not here, nobody's.
func (in *installation) wireID(c call) string {
	if c.realm == "no id" {
		return c.record
	}
	uid, ok := in.ids[c.record]
	if !ok {
		uid = annona.NewUID()
	}
	realm, err := in.vault.Realm(c.realm)
	in.check(err)
	return string(realm.AppendID(nil, uid[:]))
}

// plain is what was answered but for what differs between any two worlds: random ids become
// the order of their first appearance, tags only whether there is one.
func (in *installation) plain(answers []answer) string {
	text := wireIDs.ReplaceAllStringFunc(in.exact(answers), in.nth)
	return entityTags.ReplaceAllString(text, "Etag")
}

// exact is what was answered but for what differs between any two answers: request ids and
// sealed tokens.
func (in *installation) exact(answers []answer) string {
	var b strings.Builder
	for _, a := range answers {
		fmt.Fprintln(&b, a.status, a.err)
		writeHeader(&b, a, a.header)
		text := in.text(a)
		if next := a.header.Get("Annona-Next"); next != "" {
			text = strings.ReplaceAll(text, next, "NEXT")
		}
		fmt.Fprintln(&b, ledgerID.ReplaceAllString(text, "REQUEST"))
		writeHeader(&b, a, a.trailer)
	}
	return b.String()
}

var (
	ledgerID   = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	wireIDs    = regexp.MustCompile(`\b[a-z2-7]{26}\b`)
	entityTags = regexp.MustCompile(`(?m)^Etag .*$`)
)

// nth numbers an id by its first appearance.
func (in *installation) nth(id string) string {
	if in.ordinal[id] == "" {
		in.ordinal[id] = fmt.Sprintf("ID%d", len(in.ordinal))
	}
	return in.ordinal[id]
}

func writeHeader(w io.Writer, a answer, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		value := strings.Join(h[name], "; ")
		switch name {
		case "Annona-Next", "Annona-Position":
			value = fmt.Sprintf("%d characters", len(value))
		case "Annona-Request", "Annona-Release":
			value = ledgerID.ReplaceAllString(value, "REQUEST")
		case "Content-Length":
			if a.header.Get("Content-Encoding") != "" {
				continue
			}
		}
		fmt.Fprintln(w, name, value)
	}
}

// text is the body, decoded; of an archive, the names and the content of its files.
func (in *installation) text(a answer) string {
	if a.err == nil && strings.HasPrefix(a.body, "PK") {
		return in.files(a.body)
	}
	if a.err == nil && strings.HasPrefix(a.body, parquetMagic) {
		return in.table(a.body)
	}
	text, err := decoded(a)
	if err != nil && a.err == nil && a.body != "" {
		in.Fatalf("%d %v: %v", a.status, a.header, err)
	}
	return text
}

func (in *installation) files(body string) string {
	archive, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	in.check(err)
	var b strings.Builder
	for _, f := range archive.File {
		content, err := f.Open()
		in.check(err)
		text, err := io.ReadAll(content)
		in.check(err)
		if strings.HasPrefix(string(text), parquetMagic) {
			text = []byte(in.table(string(text)))
		}
		fmt.Fprintf(&b, "%s %s\n%s", f.Name, f.Modified.UTC(), text)
	}
	return b.String()
}

// parquetMagic begins every Parquet file.
const parquetMagic = "PAR1"

// table prints the schema and the rows of a Parquet file. Its bytes also hold the least and the
// greatest of the ids, which differ in two worlds.
func (in *installation) table(body string) string {
	file, err := parquet.OpenFile(strings.NewReader(body), int64(len(body)))
	in.check(err)
	b := &strings.Builder{}
	fmt.Fprintln(b, file.Schema(), file.NumRows())
	rows := make([]parquet.Row, 10)
	for _, group := range file.RowGroups() {
		reader := group.Rows()
		for err = error(nil); err == nil; {
			var n int
			n, err = reader.ReadRows(rows)
			for _, row := range rows[:n] {
				fmt.Fprintf(b, "%v\n", row)
			}
		}
		if err != io.EOF {
			in.Fatal(err)
		}
		in.check(reader.Close())
	}
	return b.String()
}
