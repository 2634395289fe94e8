package exchange_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// TestLoadsKeepTheirRules interleaves loads of two sources and of the registry's own corrections:
// upserts, full loads, older ones, repeated ones, ones that break off or are killed, what a person
// sets by hand, what a partner patches after reading it just now or long ago, and undos. After each the
// registry is what a plain model of the rules says.
func TestLoadsKeepTheirRules(t *testing.T) {
	t.Parallel()
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			law(t, func(rt *rapid.T) {
				w := &lawOfLoads{rt: rt, model: newPlainRegistry(), sent: map[string][][]saidRow{}, blocks: map[string]bool{}}
				p, err := g.open(t.Context())
				check(rt, err)
				defer func() { check(rt, p.store.Close()) }()
				w.place, p.now = p, time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
				if rapid.Bool().Draw(rt, "authority") {
					w.model.decides = map[string]string{"occupation": "program"}
					decided, err := annona.Standard().Extend(annona.Extension{Country: "XA", Authorities: []annona.Authority{{Dataset: "individuals", Field: "occupation", Source: "program"}}})
					check(rt, err)
					p.UseDictionary(decided)
				}
				w.partner()
				for range rapid.IntRange(1, 12).Draw(rt, "steps") {
					w.step()
					w.compare()
				}
			})
		})
	}
}

// What sources tell of: the registry's own corrections cover one field only.
var lawSources = map[string][]string{
	"survey": {"full_name", "occupation"}, "program": {"full_name", "occupation"}, "registry": {"occupation"},
}

type lawOfLoads struct {
	rt     *rapid.T
	place  *place
	model  *plainRegistry
	caller annona.Caller
	loads  []annona.UID
	sent   map[string][][]saidRow // by source
	blocks map[string]bool        // of what rows became: all that there ever were
	read   []readRecord           // by the partner
}

// readRecord is what a partner has read of a record.
type readRecord struct {
	of      *plainRecord
	id, tag string
	shown   string
}

// saidRow is a row of a source: who, and what it says of them.
type saidRow struct {
	person int
	fields map[string]string
}

func (w *lawOfLoads) partner() {
	r := &registry{Exchange: w.place.Exchange}
	a := annona.Agreement{
		Name: "law", Realm: "law", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "Law", Country: "XA"},
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31",
		Purposes: []annona.PurposeTerms{{Code: purpose, Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{"individuals": {Sensitivities: []annona.Sensitivity{annona.Personal}}},
		APIKey:   &annona.CredentialTerms{Reason: "tests read everything"},
		Updates:  map[string]annona.UpdateTerms{"individuals": {Fields: []string{"occupation"}}},
	}
	_, err := r.ApplyAgreement(w.place.ctx, operator, a)
	check(w.rt, err)
	client := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: a.Name, Hash: []byte{1},
		CreatedAt: w.place.now, ExpiresAt: w.place.now.Add(9000 * time.Hour)}
	check(w.rt, r.CreateClient(w.place.ctx, operator, client))
	w.caller = annona.Caller{Client: client.ID, Agreement: a.Name, Strength: annona.StrengthAPIKey}
}

func (w *lawOfLoads) step() {
	w.place.now = w.place.now.Add(time.Second)
	if rapid.Bool().Draw(w.rt, "read") {
		w.look()
	}
	if len(w.loads) > 0 && rapid.IntRange(0, 3).Draw(w.rt, "undo") == 0 {
		w.undo()
		return
	}
	if rapid.IntRange(0, 4).Draw(w.rt, "edit") == 0 {
		w.set()
		return
	}
	if rapid.IntRange(0, 3).Draw(w.rt, "patch") == 0 {
		w.patch()
		return
	}
	source := rapid.SampledFrom([]string{"survey", "program", "registry"}).Draw(w.rt, "source")
	mode := exchange.ModeUpsert
	if source != "registry" && rapid.Bool().Draw(w.rt, "full") {
		mode = exchange.ModeFull
	}
	day := rapid.IntRange(1, 9).Draw(w.rt, "day")
	var rows []saidRow
	if sent := w.sent[source]; len(sent) > 0 && rapid.Bool().Draw(w.rt, "repeat") {
		rows = rapid.SampledFrom(sent).Draw(w.rt, "which")
	} else {
		rows = w.rows(source)
		w.sent[source] = append(sent, rows)
	}
	end := "whole"
	if len(rows) > 1 {
		end = rapid.SampledFrom([]string{"whole", "whole", "whole", "whole", "breaks off", "killed"}).Draw(w.rt, "end")
	}
	w.load(source, mode, day, rows, end)
}

func (w *lawOfLoads) rows(source string) (rows []saidRow) {
	people := rapid.SliceOfNDistinct(rapid.IntRange(1, 3), 1, 3, rapid.ID[int]).Draw(w.rt, "people")
	for _, person := range people {
		r := saidRow{person, map[string]string{}}
		for _, field := range lawSources[source] {
			if text := rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(w.rt, field); text != "" {
				r.fields[field] = text
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func (r saidRow) record(source string) annona.Record {
	d, _ := annona.Standard().Dataset("individuals")
	record := annona.Record{Dataset: d, Source: source, Key: fmt.Sprint("p", r.person), Groups: []annona.GroupItems{nationalID(fmt.Sprint("ID", r.person))}}
	for _, code := range slices.Sorted(maps.Keys(r.fields)) {
		f, _ := d.Field(code)
		record.Values = append(record.Values, annona.Value{Field: f, Text: r.fields[code]})
	}
	return record
}

// load runs a load. Of one that breaks off or is killed half of the rows are committed; nobody hears
// again of one that is killed.
func (w *lawOfLoads) load(source, mode string, day int, rows []saidRow, end string) {
	ctx, kill := context.WithCancel(w.place.ctx)
	defer kill()
	l, err := w.place.BeginLoad(ctx, operator, exchange.LoadOrder{
		Source: source, Mode: mode, AsOf: january(day), Guard: 100, Match: []string{"national_id_number"},
		Covers: map[string][]string{"individuals": append([]string{"identifiers"}, lawSources[source]...)},
	})
	check(w.rt, err)
	w.loads = append(w.loads, l.ID())
	records := make([]annona.Record, len(rows))
	for i, r := range rows {
		records[i] = r.record(source)
	}
	known := w.known(ctx, l)
	if mode == exchange.ModeFull {
		check(w.rt, l.NameRows(ctx, toldRows(known, records)))
		check(w.rt, l.Decide(ctx))
	}
	half := len(records)
	if end != "whole" {
		half = len(records) / 2
	}
	cut := rapid.IntRange(0, half).Draw(w.rt, "batches")
	for _, some := range [][]annona.Record{records[:cut], records[cut:half]} {
		if len(some) == 0 {
			continue
		}
		batch, err := l.MakeReadyRows(toldRows(known, some))
		check(w.rt, err)
		_, err = l.Write(ctx, batch)
		check(w.rt, err)
	}
	switch end {
	case "whole":
		_, err = l.Finish(ctx)
		check(w.rt, err)
	case "breaks off":
		check(w.rt, l.Fail(ctx, annona.Unavailable("broken", "broken")))
	case "killed":
		w.place.now = w.place.now.Add(2 * time.Minute) // it is known by its silence
		w.model.lost[l.ID()] = true
	}
	w.model.load(l.ID(), source, mode, day, rows[:half], end != "whole")
}

// known is what the load knows of rows of its source; nil: it does not ask.
func (w *lawOfLoads) known(ctx context.Context, l *exchange.Loading) *exchange.KnownRows {
	if rapid.IntRange(0, 4).Draw(w.rt, "forgetful") == 0 {
		return nil
	}
	w.keepBlocks(l)
	known, err := l.KnownRows(ctx)
	check(w.rt, err)
	return known
}

// keepBlocks puts all blocks on file again that the registry has let go: what an old one says of a row is
// a hint that does no harm, whatever has happened to its records since.
func (w *lawOfLoads) keepBlocks(l *exchange.Loading) {
	info, err := l.Info(w.place.ctx)
	check(w.rt, err)
	ids, err := w.place.Loads.RowBlocks(w.place.ctx, info.Source)
	check(w.rt, err)
	for _, id := range ids {
		rows, err := w.place.Loads.RowBlock(w.place.ctx, id)
		check(w.rt, err)
		w.blocks[info.Source+":"+string(rows)] = true
	}
	check(w.rt, w.place.Writer.Update(w.place.ctx, func(tx annona.Tx) error {
		if err := tx.DropRowBlocks(w.place.ctx, ids); err != nil {
			return err
		}
		for _, block := range slices.Sorted(maps.Keys(w.blocks)) {
			source, rows, _ := strings.Cut(block, ":")
			if source != info.Source {
				continue
			}
			if _, err := tx.PutRowBlock(w.place.ctx, annona.RowBlock{Source: source, Rows: []byte(rows)}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// toldRows are rows that say no more than a record, known ones without it.
func toldRows(known *exchange.KnownRows, records []annona.Record) []annona.SourceRow {
	rows := make([]annona.SourceRow, len(records))
	for i, r := range records {
		if rows[i].Individuals = []annona.Record{r}; known == nil {
			continue
		}
		said := []string{r.Key}
		for _, v := range r.Values {
			said = append(said, v.Field.Code+"="+v.Text)
		}
		if rows[i].Sum, rows[i].Known = known.Recall(nil, []byte(strings.Join(said, "|"))); rows[i].Known != nil {
			rows[i].Map = func() (households, individuals []annona.Record, err error) { return nil, []annona.Record{r}, nil }
			rows[i].Individuals = nil
		}
	}
	return rows
}

func (w *lawOfLoads) undo() {
	id := rapid.SampledFrom(w.loads).Draw(w.rt, "load")
	info, err := w.place.UndoLoad(w.place.ctx, operator, id)
	if w.model.undone[id] {
		if annona.CodeOf(err) != "load_undone" {
			w.rt.Fatalf("undone twice: %v", err)
		}
		return
	}
	check(w.rt, err)
	w.model.undo(id, info.ID)
	w.loads = append(w.loads, info.ID)
}

// set lets a person say what a field is, or take that back.
func (w *lawOfLoads) set() {
	source := rapid.SampledFrom([]string{"survey", "program"}).Draw(w.rt, "whose key")
	person := rapid.IntRange(1, 3).Draw(w.rt, "person")
	text := rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(w.rt, "text")
	done, err := w.place.Set(w.place.ctx, operator, exchange.Setting{
		Record: exchange.Subject{Source: source, Key: fmt.Sprint("p", person)}, Why: exchange.Why{Reason: "law"},
		Values: []exchange.Assignment{{Field: "occupation", Text: text}},
	})
	want := w.model.set(done.Load, source, person, text)
	if (err == nil) != (want == "") || err != nil && annona.CodeOf(err) != want {
		w.rt.Fatalf("set: %v, want %q", err, want)
	}
	if err == nil {
		w.loads = append(w.loads, done.Load)
	}
}

// lawPartner is the source of what the partner says.
const lawPartner = "partner:law"

// lawView is how the partner reads.
var lawView = exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name", "occupation"}}

// patch lets the partner say what an occupation is, of a record that it has read.
func (w *lawOfLoads) patch() {
	if w.look(); len(w.read) == 0 {
		return
	}
	r := rapid.SampledFrom(w.read).Draw(w.rt, "reading")
	text := rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(w.rt, "text")
	updated, err := w.place.Update(w.place.ctx, w.caller, exchange.Update{
		Question: lawView, ID: r.id, Read: r.tag, Key: annona.NewUID().String(), Values: []exchange.Assignment{{Field: "occupation", Text: text}},
	}, exchange.Form{})
	got := annona.CodeOf(err)
	if err == nil {
		got = updated.Verdict
	}
	want, writes := w.model.verdict(r, text)
	if got != want {
		w.rt.Fatalf("a patch to %q of what was read as %q: %s, want %s", text, r.shown, got, want)
	}
	if !writes {
		return
	}
	all, err := w.place.ListLoads(w.place.ctx, operator, lawPartner, 1)
	check(w.rt, err)
	w.loads = append(w.loads, all[0].ID)
	w.model.patch(all[0].ID, r, text)
}

// look lets the partner read a record.
func (w *lawOfLoads) look() {
	source, person := rapid.SampledFrom([]string{"survey", "program"}).Draw(w.rt, "whose key"), rapid.IntRange(1, 3).Draw(w.rt, "person")
	key := fmt.Sprint("p", person)
	ids, err := w.place.IDsByKey(w.place.ctx, operator, "law", "individuals", source, []string{key})
	check(w.rt, err)
	if ids[key] == "" {
		return
	}
	answer, err := w.place.Get(w.place.ctx, w.caller, lawView, ids[key], exchange.Form{})
	if annona.KindOf(err) == annona.KindNotFound {
		return
	}
	check(w.rt, err)
	w.read = append(w.read, readRecord{w.model.holder(source, person), ids[key], answer.ETag, shownIn(answer.Page.Page(), 0)})
}

// shownIn is a row as the partner sees it.
func shownIn(p *annona.Page, row int) string {
	return string(p.Cell(p.Shape.Column("full_name"), row)) + "|" + string(p.Cell(p.Shape.Column("occupation"), row))
}

// compare holds what a partner sees against the model.
func (w *lawOfLoads) compare() {
	answer, err := w.place.Search(w.place.ctx, w.caller, lawView, 100, "", exchange.Form{})
	check(w.rt, err)
	var seen []string
	if answer.Page != nil {
		p := answer.Page.Page()
		for row := range p.Count {
			seen = append(seen, shownIn(p, row))
		}
	}
	slices.Sort(seen)
	if want := w.model.live(); !slices.Equal(seen, want) {
		w.rt.Fatalf("a partner sees %v, the rules say %v", seen, want)
	}
}

// plainRegistry is the rules, said again without the gate's code: small, slow, in days and maps.
type plainRegistry struct {
	decides map[string]string // field → source
	records []*plainRecord
	undone  map[annona.UID]bool
	undoes  map[annona.UID]annona.UID
	lost    map[annona.UID]bool // loads that were killed: what they confirmed is not known
	sources map[annona.UID]string
}

func newPlainRegistry() *plainRegistry {
	return &plainRegistry{undone: map[annona.UID]bool{}, undoes: map[annona.UID]annona.UID{}, lost: map[annona.UID]bool{}, sources: map[annona.UID]string{}}
}

type plainRecord struct {
	first   string                 // source
	person  map[string]int         // key of each source
	told    map[string]plainReport // last report of each source
	words   map[string]*plainWord  // by field; "id" is the identifier
	deleted bool
	gone    int // day for which the source said so
	history []plainChange
	again   map[string][]plainConfirmed // by source: loads that have said the same again
}

type plainConfirmed struct {
	load annona.UID
	day  int
}

type plainReport struct {
	text string // empty: it says nothing
	day  int
}

type plainWord struct {
	text string
	by   map[string]int // source → day
}

// plainChange is a version: what the record was before it.
type plainChange struct {
	load  annona.UID
	kind  string
	words map[string]*plainWord
	told  map[string]*plainReport // of the keys that were reported; nil: it was not there
	gone  int
}

func cloneWords(words map[string]*plainWord) map[string]*plainWord {
	c := map[string]*plainWord{}
	for f, w := range words {
		c[f] = &plainWord{w.text, maps.Clone(w.by)}
	}
	return c
}

func (m *plainRegistry) live() (all []string) {
	for _, r := range m.records {
		if r.deleted {
			continue
		}
		all = append(all, r.shown())
	}
	slices.Sort(all)
	return all
}

func (r *plainRecord) text(field string) string {
	if w := r.words[field]; w != nil {
		return w.text
	}
	return ""
}

func (r *plainRecord) shown() string { return r.text("full_name") + "|" + r.text("occupation") }

func textOf(r saidRow) string {
	var parts []string
	for f, t := range r.fields {
		parts = append(parts, f+"="+t)
	}
	slices.Sort(parts)
	return "said " + strings.Join(parts, " ")
}

func (m *plainRegistry) load(id annona.UID, source, mode string, day int, rows []saidRow, broken bool) {
	m.sources[id] = source
	named := map[*plainRecord]bool{}
	for _, row := range rows {
		named[m.report(id, source, day, row)] = true
	}
	if mode != exchange.ModeFull || broken {
		return
	}
	for _, r := range slices.Clone(m.records) {
		if _, has := r.person[source]; has && !r.deleted && !named[r] {
			m.missing(id, r, source, day)
		}
	}
}

func (m *plainRegistry) find(source string, person int) *plainRecord {
	for _, r := range m.records {
		if p, has := r.person[source]; has && p == person {
			return r
		}
	}
	var holders []*plainRecord
	for _, r := range m.records {
		if w := r.words["id"]; !r.deleted && w != nil && w.text == fmt.Sprint(person) {
			holders = append(holders, r)
		}
	}
	if len(holders) == 1 {
		return holders[0]
	}
	return nil
}

func (m *plainRegistry) report(id annona.UID, source string, day int, row saidRow) *plainRecord {
	said := map[string]string{"id": fmt.Sprint(row.person)}
	maps.Copy(said, row.fields)
	r := m.find(source, row.person)
	if r == nil {
		r = &plainRecord{first: source, person: map[string]int{source: row.person}, told: map[string]plainReport{source: {textOf(row), day}}, words: map[string]*plainWord{}}
		for f, t := range said {
			r.words[f] = &plainWord{t, map[string]int{source: day}}
		}
		r.history = append(r.history, plainChange{load: id, kind: "created"})
		m.records = append(m.records, r)
		return r
	}
	last, known := r.told[source]
	if known && !r.deleted && last.text == textOf(row) {
		if r.again == nil {
			r.again = map[string][]plainConfirmed{}
		}
		r.again[source] = append(r.again[source], plainConfirmed{id, day})
		return r
	}
	if known && day < m.spoke(r, source) || r.deleted && day < r.gone {
		return r
	}
	before := plainChange{load: id, kind: "changed", words: cloneWords(r.words), told: map[string]*plainReport{source: nil}, gone: r.gone}
	if known {
		before.told[source] = &last
	}
	restored := r.deleted
	m.merge(r, source, day, said, lawSources[source])
	r.told[source], r.person[source] = plainReport{textOf(row), day}, row.person
	if restored {
		before.kind, r.deleted, r.gone = "restored", false, 0
	}
	if restored || !known || source == r.first || !sameWords(before.words, r.words) {
		r.history = append(r.history, before)
	}
	return r
}

// spoke is the latest day for which a source has said what it says of a record.
func (m *plainRegistry) spoke(r *plainRecord, source string) int {
	day := r.told[source].day
	for _, c := range r.again[source] {
		if !m.undone[c.load] && !m.lost[c.load] {
			day = max(day, c.day)
		}
	}
	return day
}

// set is what a person says of an occupation. It returns the code of its refusal.
func (m *plainRegistry) set(id annona.UID, source string, person int, text string) string {
	r := m.holder(source, person)
	if r == nil {
		return "not_found"
	}
	before := plainChange{load: id, kind: "changed", words: cloneWords(r.words), told: map[string]*plainReport{}, gone: r.gone}
	w := r.words["occupation"]
	decided := false
	if w != nil {
		_, decided = w.by[m.decides["occupation"]]
	}
	switch {
	case text == "" && w == nil:
	case text == "":
		if delete(w.by, annona.OwnSource); len(w.by) == 0 {
			delete(r.words, "occupation")
		}
	case w != nil && w.text == text:
		w.by[annona.OwnSource] = 1000 + len(r.history)
	case decided:
		return "outside_authority"
	default:
		r.words["occupation"] = &plainWord{text, map[string]int{annona.OwnSource: 1000 + len(r.history)}}
	}
	m.sources[id] = annona.OwnSource
	if text != "" || !sameWords(before.words, r.words) {
		r.history = append(r.history, before)
	}
	return ""
}

// verdict is what comes of a patch of an occupation by somebody who has read a record, and whether it writes.
func (m *plainRegistry) verdict(read readRecord, text string) (verdict string, writes bool) {
	r := read.of
	if r.deleted {
		return "not_found", false
	}
	now, w := r.text("occupation"), r.words["occupation"]
	held := false // by a person of the registry
	if w != nil {
		_, held = w.by[annona.OwnSource]
	}
	_, before, _ := strings.Cut(read.shown, "|")
	switch decider := m.decides["occupation"]; {
	case now != before && now != text:
		return exchange.VerdictConflict, false
	case now != text && (decider != "" || held):
		return exchange.VerdictQueued, false
	case r.shown() == read.shown:
		return exchange.VerdictApplied, now != text
	default:
		return exchange.VerdictMerged, now != text
	}
}

// holder is the record that a key of a source leads to, unless it is gone.
func (m *plainRegistry) holder(source string, person int) *plainRecord {
	for _, r := range m.records {
		if p, has := r.person[source]; has && p == person && !r.deleted {
			return r
		}
	}
	return nil
}

// patch puts what a partner says in the place of what stood there.
func (m *plainRegistry) patch(id annona.UID, read readRecord, text string) {
	r := read.of
	m.sources[id] = lawPartner
	r.history = append(r.history, plainChange{load: id, kind: "changed", words: cloneWords(r.words), told: map[string]*plainReport{}, gone: r.gone})
	if delete(r.words, "occupation"); text != "" {
		r.words["occupation"] = &plainWord{text, map[string]int{lawPartner: 1000 + len(r.history)}}
	}
}

func sameWords(a, b map[string]*plainWord) bool {
	return maps.EqualFunc(a, b, func(x, y *plainWord) bool { return x.text == y.text && maps.Equal(x.by, y.by) })
}

func (m *plainRegistry) merge(r *plainRecord, source string, day int, said map[string]string, covers []string) {
	for _, f := range append([]string{"id"}, covers...) {
		w, t := r.words[f], said[f]
		if w != nil {
			delete(w.by, source)
			if len(w.by) == 0 {
				w = nil
			}
		}
		youngest := -1
		if w != nil {
			youngest = slices.Max(slices.Collect(maps.Values(w.by)))
		}
		decider := m.decides[f]
		_, decided := map[string]int{}[decider], false
		held := false // by a person
		if w != nil {
			_, held = w.by[annona.OwnSource]
		}
		if w != nil && decider != "" {
			_, decided = w.by[decider]
		}
		switch {
		case t == "":
		case w == nil:
			w = &plainWord{t, map[string]int{source: day}}
		case w.text == t:
			w.by[source] = day
		case source == decider || !decided && !held && day >= youngest:
			w = &plainWord{t, map[string]int{source: day}}
		}
		if r.words[f] = w; w == nil {
			delete(r.words, f)
		}
	}
}

// missing is what becomes of a record that a full load of one of its sources does not name.
func (m *plainRegistry) missing(id annona.UID, r *plainRecord, source string, day int) {
	if day < m.spoke(r, source) {
		return // the file is older than what the source has said of it
	}
	others := 0
	for s, told := range r.told {
		if s != source && told.text != "" {
			others++
		}
	}
	if others == 0 {
		r.history = append(r.history, plainChange{load: id, kind: "deleted", gone: r.gone})
		r.deleted, r.gone = true, day
		return
	}
	last := r.told[source]
	if source == r.first && last.text == "" {
		return
	}
	before := plainChange{load: id, kind: "changed", words: cloneWords(r.words), told: map[string]*plainReport{source: &last}}
	for f, w := range r.words {
		if delete(w.by, source); len(w.by) == 0 {
			delete(r.words, f)
		}
	}
	if source == r.first {
		r.told[source] = plainReport{"", day}
	} else {
		delete(r.told, source)
		delete(r.person, source)
	}
	r.history = append(r.history, before)
}

func (m *plainRegistry) undo(id, by annona.UID) {
	m.sources[by] = m.sources[id]
	for _, r := range m.records {
		last := len(r.history) - 1
		if last < 0 || r.history[last].load != id {
			continue
		}
		for last > 0 && r.history[last-1].load == id {
			last--
		}
		m.back(r, r.history[last], by)
		delete(r.again, m.sources[id])
	}
	m.undone[id], m.undoes[by] = true, id
	if again, isUndo := m.undoes[id]; isUndo {
		m.undone[again] = false
	}
}

// back makes a record what it was before a change.
func (m *plainRegistry) back(r *plainRecord, c plainChange, by annona.UID) {
	now := plainChange{load: by, kind: "changed", words: cloneWords(r.words), told: map[string]*plainReport{}, gone: r.gone}
	switch c.kind {
	case "created":
		now.kind, r.deleted, r.gone = "deleted", true, 0
	case "restored":
		now.kind, r.deleted, r.words, r.gone = "deleted", true, cloneWords(c.words), c.gone
	case "deleted":
		now.kind, r.deleted, r.gone = "restored", false, 0
		if c.words != nil { // it was deleted by an undo, which brought older words with it
			r.words = cloneWords(c.words)
		}
	default:
		r.words = cloneWords(c.words)
		for s, told := range c.told {
			if old, has := r.told[s]; has {
				now.told[s] = &old
			} else {
				now.told[s] = nil
			}
			if told == nil {
				delete(r.told, s)
				delete(r.person, s)
				continue
			}
			r.told[s] = *told
			r.person[s] = cmp.Or(r.person[s], m.personOf(r))
		}
	}
	r.history = append(r.history, now)
}

// personOf returns who a record is about: all of its keys are about one.
func (m *plainRegistry) personOf(r *plainRecord) int {
	for _, p := range r.person {
		return p
	}
	return 0
}
