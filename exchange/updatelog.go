package exchange

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// The update log tells who has changed what. It is a view on the one log: what a record was lies with the
// events, and what an update was lies with its load. Each reader sees what its grant shows of a change,
// before and after; a change that leaves all that it sees as it was is not there for it.

// UpdatesShown is a page of an update log. Whoever writes it says with Sent how that ended.
type UpdatesShown struct {
	Answer
	Entries []UpdateEntry
	// Complete is false when the registry keeps its log of changes no longer than some time, or when the
	// record has changed more than maxUpdates times: what was earlier is not told.
	Complete bool
}

// UpdateEntry is one change, or what was asked and has not taken effect.
type UpdateEntry struct {
	Dataset string // of the record
	ID      string // of the record, where the page is about several
	At      time.Time
	Action  string // one of the Action constants
	Verdict string // one of the Verdict constants
	By      UpdateAuthor
	Purpose string // code; of what a partner has said
	// Reason, Request and ChangeRequest are told to the agreement that has said it. Reason is told of what
	// the registry did, too.
	Reason                 string
	Request, ChangeRequest annona.UID
	// DecidedAt and DecidedBy say when, and by whom, what was asked has ended without effect; zero: it has not.
	DecidedAt time.Time
	DecidedBy UpdateAuthor
	// Before and After have one row each. Their columns are what has changed for the reader.
	Before, After *privacy.Disclosed

	position updatePosition
	number   annona.Number // of the record
}

// UpdateAuthor is who has changed something, as far as a reader may know: another partner, and a source,
// have a name that this agreement alone knows them by.
type UpdateAuthor struct {
	Kind   string // partner, source or registry
	Mine   bool   // under the reader's own agreement
	System string // pseudonym; empty: the registry, or the reader's own
	Client annona.UID
	User   string // pseudonym of the person for whom the client has acted; of the reader's own
}

// What was done.
const (
	ActionUpdate        = "update"         // by a partner
	ActionChangeRequest = "change_request" // of a partner, decided here
	ActionLoad          = "load"
	ActionUndo          = "undo" // of a load
	ActionEdit          = "edit" // by the registry
	ActionLifeEvent     = "life_event"
)

// VerdictRejected is that of a change request which has taken no effect and will not.
const VerdictRejected = "rejected"

// MaxUpdates is how many entries a page of an update log has at most, and of a list of change requests.
const MaxUpdates = 100

// maxUpdates is how many changes of one record are told, and how many requests.
const maxUpdates = 1000

// updatesField is what a release of an update log names beside the fields: it is none of the dictionary.
const updatesField = "updates"

// Updates returns a page of what has changed of one record, the newest first. Codes: those of decisions,
// update_log_not_granted, not_found, cursor_invalid.
func (x *Exchange) Updates(ctx context.Context, caller annona.Caller, purpose, dataset, id, after string, limit int) (*UpdatesShown, error) {
	if err := checkLimit(limit, MaxUpdates); err != nil {
		return nil, err
	}
	t, err := x.tellingOf(ctx, caller, purpose, dataset)
	if err != nil {
		return nil, err
	}
	if err := t.continueBehind(id, after); err != nil {
		return nil, err
	}
	number, err := x.numberOf(ctx, t.i, id)
	if err != nil {
		return nil, err
	}
	seen, err := t.record(ctx, number)
	if err != nil {
		return nil, err
	}
	return t.page(ctx, seen, []audit.Subjects{{Noun: t.shape.Dataset.Noun, Numbers: seen.Numbers}}, id, limit)
}

// record tells what has changed of a record, and returns it.
func (t *updateTelling) record(ctx context.Context, number annona.Number) (*annona.Page, error) {
	seen, formers, err := t.read(ctx, number)
	if err != nil {
		return nil, err
	}
	if err := t.events(ctx, valuesOn(seen), formers); err != nil {
		return nil, err
	}
	return seen, t.requests(ctx, number)
}

// updateTelling gathers what an update log tells one reader.
type updateTelling struct {
	x       *Exchange
	i       *inquiry
	shape   *annona.Shape // what lies with a record itself, and changes with it
	behind  updatePosition
	entries []UpdateEntry
	full    bool // there is more than is looked at
}

// tellingOf is one for a reader who asks of a dataset of records.
func (x *Exchange) tellingOf(ctx context.Context, caller annona.Caller, purpose, dataset string) (*updateTelling, error) {
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbReadUpdates, Question{Dataset: dataset, Purpose: purpose, NilReasons: true})
	if err != nil {
		return nil, err
	}
	if x.ChangeRequests == nil {
		return nil, annona.Unavailable("updates_unavailable", "this registry takes no updates over the wire")
	}
	i.form = Form{Format: "json"}
	return newUpdateTelling(x, i), nil
}

func newUpdateTelling(x *Exchange, i *inquiry) *updateTelling {
	t := &updateTelling{x: x, i: i, shape: &annona.Shape{Dataset: i.shape.Dataset}}
	for _, f := range i.shape.Columns {
		if liesWith(f) && f.Type != annona.TypeID && f.Type != annona.TypeRef {
			t.shape.Columns = append(t.shape.Columns, f)
		}
	}
	return t
}

// read returns a record as it is, and what it was before each change, the last one first.
func (t *updateTelling) read(ctx context.Context, number annona.Number) (*annona.Page, []former, error) {
	for range readAttempts {
		events, err := t.x.ChangeRequests.FormersOf(ctx, t.shape.Dataset, number, 0, maxUpdates)
		if err != nil {
			return nil, nil, err
		}
		page := annona.NewPage(t.shape)
		err = t.x.readOpen(ctx, page, func() error {
			return t.x.Records.ReadNumbers(ctx, t.i.scope(t.shape, t.x.today(t.x.Clock())), []annona.Number{number}, page)
		})
		if err != nil {
			return nil, nil, err
		}
		if page.Count == 0 {
			return nil, nil, annona.NotFound("no such record, or not one that you may see")
		}
		last, err := t.x.ChangeRequests.FormersOf(ctx, t.shape.Dataset, number, 0, 1)
		if err != nil {
			return nil, nil, err
		}
		if len(last) != min(1, len(events)) || len(last) == 1 && last[0].ID != events[0].ID {
			continue // it has changed in this moment
		}
		t.full = len(events) == maxUpdates
		formers, err := t.x.openFormers(ctx, events, true)
		return page, formers, err
	}
	return nil, nil, annona.Unavailable("record_moving", "the record changes faster than it can be read; try again")
}

func valuesOn(page *annona.Page) []annona.Value { return valuesAt(page, 0) }

// events tells the changes of a record that is now what after says.
func (t *updateTelling) events(ctx context.Context, after []annona.Value, formers []former) error {
	loads, err := t.loads(ctx, formers)
	if err != nil {
		return err
	}
	for n := range formers {
		f := &formers[n]
		r, err := recordOf(t.x.CurrentDictionary(), f.dataset, f.was.clear, f.sealed)
		if err != nil {
			return err
		}
		e := UpdateEntry{At: f.event.At, position: updatePosition{at: f.event.At.UnixMilli(), kind: updateOfEvent, key: int64(f.event.Version)}}
		if t.tell(&e, f.event.Record, r.Values, after) {
			t.attribute(&e, &f.event, loads[f.event.Load])
			t.entries = append(t.entries, e)
		}
		after = r.Values
	}
	return nil
}

// tell fills in what an entry shows of a change; false: nothing.
func (t *updateTelling) tell(e *UpdateEntry, number annona.Number, before, after []annona.Value) bool {
	e.Dataset, e.number, e.position.of = t.shape.Dataset.Name, number, int64(number)*updatedDatasets+int64(slices.Index(updated, t.shape.Dataset.Name))
	if t.behind != (updatePosition{}) && e.position.compare(t.behind) >= 0 {
		return false
	}
	plan := t.i.plan(t.shape)
	was, is := plan.Redact(pageOf(t.shape, number, before)).Page(), plan.Redact(pageOf(t.shape, number, after)).Page()
	changed := &annona.Shape{Dataset: t.shape.Dataset}
	for c, f := range t.shape.Columns {
		if !bytes.Equal(was.Cell(c, 0), is.Cell(c, 0)) {
			changed.Columns = append(changed.Columns, f)
		}
	}
	if len(changed.Columns) == 0 {
		return false
	}
	plan = t.i.plan(changed)
	e.Before, e.After = plan.Redact(pageOf(changed, number, before)), plan.Redact(pageOf(changed, number, after))
	return true
}

// loads returns the loads and edits by which records have changed, by their keys.
func (t *updateTelling) loads(ctx context.Context, formers []former) (map[int64]*annona.Load, error) {
	var keys []int64
	for i := range formers {
		if key := formers[i].event.Load; key > 0 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	found, err := t.x.Loads.LoadsByKey(ctx, slices.Compact(keys))
	if err != nil {
		return nil, err
	}
	byKey := make(map[int64]*annona.Load, len(found))
	for i := range found {
		byKey[found[i].Key] = &found[i]
	}
	return byKey, nil
}

// attribute fills in by whom a change was, and why. Of another partner it tells no more than that.
func (t *updateTelling) attribute(e *UpdateEntry, event *annona.Event, load *annona.Load) {
	e.Action, e.Verdict, e.By.Kind, e.Reason = ActionEdit, VerdictApplied, "registry", event.Reason
	if load == nil {
		return
	}
	var report LoadReport
	if json.Unmarshal(load.Report, &report) == nil && report.Update != nil {
		t.attributeUpdate(e, event, &report)
		return
	}
	switch load.Mode {
	case ModeEdit:
	case ModeUndo:
		e.Action = ActionUndo
	default:
		e.Action, e.By.Kind = ActionLoad, "source"
		e.By.System = t.pseudonym("source", load.Source)
		t.claim(e, load.Author.Client)
	}
}

func (t *updateTelling) attributeUpdate(e *UpdateEntry, event *annona.Event, report *LoadReport) {
	note := report.Update
	e.Action, e.Purpose, e.By.Kind = ActionUpdate, note.Purpose, "partner"
	switch {
	case note.Event != "":
		e.Action = ActionLifeEvent
	case report.Act == ActionChangeRequest:
		e.Action = ActionChangeRequest
	}
	if note.Agreement != t.i.caller.Agreement {
		// Whether it was merged tells of changes that this reader may not see.
		e.By.System, e.Reason = t.pseudonym("agreement", note.Agreement), ""
		return
	}
	e.By.Mine, e.Request, e.ChangeRequest, e.Verdict = true, note.Request, note.Record, note.Verdict
	if report.Act != ActionChangeRequest {
		e.By.Client = event.Client
	}
	if note.Person != (annona.UID{}) {
		e.By.User = string(t.i.realm.AppendID(nil, note.Person[:]))
	}
}

// claim says of what the reader's own client has loaded that it is its own, and of what others have loaded
// not why.
func (t *updateTelling) claim(e *UpdateEntry, client annona.UID) {
	if e.By.Mine = client != (annona.UID{}) && client == t.i.caller.Client; e.By.Mine {
		e.By.Client = client
		return
	}
	e.Reason = ""
}

// pseudonym is by what name this agreement alone knows another system.
func (t *updateTelling) pseudonym(kind, name string) string {
	digest := digestOf("update log", kind, name)
	return string(t.i.realm.AppendID(nil, digest[:len(annona.UID{})]))
}

// requests tells what the reader's agreement has asked for and what has not taken effect. What has is a
// change of the record.
func (t *updateTelling) requests(ctx context.Context, number annona.Number) error {
	for _, conflicts := range []bool{false, true} {
		which := annona.WhichRequests{Conflicts: conflicts, Agreement: t.i.caller.Agreement, Dataset: t.shape.Dataset.Name, Subject: number}
		all, err := t.x.ChangeRequests.ChangeRequests(ctx, which, 0, maxUpdates)
		if err != nil {
			return err
		}
		t.full = t.full || len(all) == maxUpdates
		for n := range all {
			if err := t.request(ctx, &all[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *updateTelling) request(ctx context.Context, c *annona.ChangeRequest) error {
	e := UpdateEntry{
		At: c.At, Action: ActionUpdate, Verdict: verdictOf(c), Purpose: c.Purpose, ChangeRequest: c.ID, Reason: c.DecidedBy.Reason,
		By: UpdateAuthor{Kind: "partner", Mine: true, Client: c.Client}, position: updatePosition{at: c.At.UnixMilli(), kind: updateOfRequest, key: c.Key},
	}
	if e.Verdict == "" {
		return nil
	}
	content, event, err := t.x.openRequest(ctx, c)
	if err != nil || event != nil && event.Type == annona.LifeBirth { // which is about a child that is not on file
		return err
	}
	if event != nil {
		e.Action = ActionLifeEvent
	}
	if c.Person != (annona.UID{}) {
		e.By.User = string(t.i.realm.AppendID(nil, c.Person[:]))
	}
	if err := t.decided(ctx, &e, c); err != nil {
		return err
	}
	var before, after []annona.Value
	for _, a := range content {
		f, ok := t.shape.Dataset.Field(a.Field)
		if !ok {
			continue
		}
		was := a.Before
		if !a.At.IsZero() {
			was = a.Now // a conflict: what is on file is what somebody else has said
		}
		before, after = append(before, annona.Value{Field: f, Text: was}), append(after, annona.Value{Field: f, Text: a.After})
	}
	if t.tell(&e, c.Subject, before, after) {
		t.entries = append(t.entries, e)
	}
	return nil
}

// decided fills in who has ended what was asked, and when.
func (t *updateTelling) decided(ctx context.Context, e *UpdateEntry, c *annona.ChangeRequest) (err error) {
	if c.DecidedAt.IsZero() {
		return nil
	}
	e.DecidedAt = c.DecidedAt
	e.DecidedBy, err = t.authorOf(ctx, c.DecidedBy.Client)
	return err
}

// verdictOf is the verdict of an update that was kept; empty: it has taken effect.
func verdictOf(c *annona.ChangeRequest) string {
	switch c.State {
	case RequestOpen:
		return VerdictConflict
	case RequestPending, RequestAtSource:
		return VerdictQueued
	case RequestApplied, RequestConfirmed:
		return ""
	}
	return VerdictRejected
}

// page releases the newest entries. Its release covers the subject, whatever there is to tell.
func (t *updateTelling) page(ctx context.Context, seen *annona.Page, about []audit.Subjects, id string, limit int) (*UpdatesShown, error) {
	slices.SortFunc(t.entries, newestFirst)
	shown := &UpdatesShown{Answer: Answer{Request: t.i.request, Schema: t.i.schema}, Entries: t.entries, Complete: !t.full}
	if ceiling := t.i.grant.RowCeiling; ceiling > 0 {
		limit = int(min(int64(limit), ceiling))
	}
	if len(t.entries) > limit {
		shown.Entries = t.entries[:limit]
		shown.Next = t.x.Vault.SealPosition(t.context(id), shown.Entries[limit-1].position.encode())
	}
	state, err := t.x.Log.LogState(ctx)
	if err != nil {
		return nil, err
	}
	shown.Complete = shown.Complete && state.Oldest == 0
	return shown, t.release(ctx, seen, about, shown)
}

func (t *updateTelling) release(ctx context.Context, seen *annona.Page, about []audit.Subjects, shown *UpdatesShown) error {
	key := &annona.Shape{Dataset: seen.Shape.Dataset}
	page := annona.NewPage(key)
	page.Count, page.Numbers, page.UIDs = seen.Count, seen.Numbers, seen.UIDs
	page.Subjects = seen.Subjects
	shown.Answer.Page = t.i.plan(key).Redact(page)
	facts := t.i.facts()
	facts.AsOf = ""
	facts.Fields, facts.Rows, facts.Page = t.fields(shown.Entries), int64(len(shown.Entries)), 1
	for n := range about {
		about[n].Fields = facts.Fields
	}
	if err := t.x.disclose(ctx, audit.Release(t.x.Clock(), t.i.request, facts, "", t.i.caller, about)); err != nil {
		return err
	}
	shown.ending = ending{x: t.x, request: t.i.request, facts: facts, caller: t.i.caller}
	return nil
}

// fields are the names of what some entry tells, in the order of the dictionary: those of other datasets than
// the one that was asked for with its name before them.
func (t *updateTelling) fields(entries []UpdateEntry) []string {
	names := []string{updatesField}
	for _, dataset := range updated {
		of, prefix := t.shape.Dataset, ""
		if dataset != of.Name {
			of, _ = t.x.CurrentDictionary().Dataset(dataset)
			prefix = dataset + "."
		}
		for _, f := range of.Fields {
			if slices.ContainsFunc(entries, func(e UpdateEntry) bool { return e.Dataset == dataset && e.After.Shape().Column(f.Code) >= 0 }) {
				names = append(names, prefix+f.Code)
			}
		}
	}
	return names
}

// newestFirst is the order of an update log.
func newestFirst(a, b UpdateEntry) int { return b.position.compare(a.position) }

// updated are the datasets that have an update log.
var updated = []string{"individuals", "households", "enrollments", "benefits", "cases"}

const updatedDatasets = 8 // more than there are

// updatePosition is where an entry stands in the log of a record.
type updatePosition struct {
	at   int64 // in milliseconds
	kind int64
	key  int64 // version, or key of a request
	of   int64 // where the log is about several records: which of them
}

// The kinds of entries.
const (
	updateOfEvent   = 1
	updateOfRequest = 2
)

func (p updatePosition) compare(q updatePosition) int {
	return cmp.Or(cmp.Compare(p.at, q.at), cmp.Compare(p.kind, q.kind), cmp.Compare(p.key, q.key), cmp.Compare(p.of, q.of))
}

func (p updatePosition) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.at))
	b = binary.BigEndian.AppendUint64(b, uint64(p.kind))
	b = binary.BigEndian.AppendUint64(b, uint64(p.key))
	return binary.BigEndian.AppendUint64(b, uint64(p.of))
}

// context binds a cursor to who asks, to how, and to the record.
func (t *updateTelling) context(id string) []byte {
	return digestOf("updates", string(t.i.cursorContext()), id)
}

func (t *updateTelling) continueBehind(id, token string) error {
	if token == "" {
		return nil
	}
	b, ok := t.x.Vault.OpenPosition(t.context(id), token)
	if !ok || len(b) != 32 {
		return annona.Invalid("cursor_invalid", "after is a cursor of this client for the updates of the same record and purpose; start again without it").On("after")
	}
	part := func(n int) int64 { return int64(binary.BigEndian.Uint64(b[8*n:])) }
	t.behind = updatePosition{part(0), part(1), part(2), part(3)}
	return nil
}
