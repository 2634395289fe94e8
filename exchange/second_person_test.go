package exchange_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// careful is a registry with people who approve, in which the role of the client asks for a second person wherever a
// request can wait for one.
type careful struct {
	*bureau
	ama annona.User
}

func newCareful(t *testing.T) *careful {
	t.Helper()
	h := &careful{bureau: newBureau(t)}
	for name, mode := range map[string]string{"all": "", "deltas": annona.SpecDelta} {
		_, _, err := h.PutExportSpec(t.Context(), operator, annona.ExportSpec{
			Name: name, Mode: mode, Agreement: "program", Purpose: purpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "individual_id"}, {Field: "sex"}},
		})
		h.must(err)
	}
	_, err := h.ApplyPolicy(t.Context(), operator, narrower("careful", secondPerson(), annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch, annona.VerbTryExport}}))
	h.must(err)
	h.must(h.SetRole(t.Context(), operator, h.caller.Client, "careful"))
	h.ama = h.comes("ama", nil)
	h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	return h
}

func secondPerson() annona.RoleRule {
	return annona.RoleRule{Name: "waits", Verbs: []annona.Verb{annona.VerbExport, annona.VerbFollow}, SecondPerson: true}
}

var (
	waitsFor = exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "sex"}}
	asCSV    = exchange.Form{Format: "csv"}
)

// doors are all through which a request comes that can wait.
func (h *careful) doors() map[string]func() error {
	ctx := h.t.Context()
	return map[string]func() error{
		"a stream":                    func() error { _, err := h.download(h.t, waitsFor, &receiver{}); return err },
		"a stream by a specification": func() error { _, _, err := h.ExportBySpec(ctx, h.caller, "all", 0); return err },
		"an export that becomes files": func() error {
			_, _, err := h.StartExport(ctx, h.caller, exchange.ExportRequest{Spec: "all"})
			return err
		},
		"changes":                    func() error { _, err := h.Follow(ctx, h.caller, waitsFor, "", 100, 0, asCSV); return err },
		"changes of a specification": func() error { _, _, err := h.FollowSpec(ctx, h.caller, "deltas", 0, "", 100, 0, asCSV); return err },
		"an export that its schedule starts": func() error {
			_, err := h.StartScheduled(ctx, &annona.ExportSpec{Name: "all", Version: 1, Agreement: "program", Schedule: &annona.Schedule{Client: h.caller.Client.String()}}, h.now)
			return err
		},
	}
}

// A rule that asks for a second person holds on every door: nothing leaves before somebody has approved the very same
// request, and the ledger says who asked, who approved and what was released by it.
func TestARequestWaitsForASecondPerson(t *testing.T) {
	for name := range newCareful(t).doors() {
		h := newCareful(t)
		ask := h.doors()[name]
		h.refuses(name, ask(), "second_person_needed")
		a := h.waiting()
		if a.Kind != annona.ApproveRequest || a.By != h.caller.Actor() || !strings.Contains(strings.Join(a.Shows, "\n"), "fields: individual_id, sex") {
			t.Errorf("%s: what waits is %+v", name, a)
		}
		h.refuses(name+", again", ask(), "second_person_needed")
		if all, err := h.ListApprovals(t.Context(), operator, annona.ApprovalWaiting); err != nil || len(all) != 1 {
			t.Errorf("%s: %d requests wait, %v", name, len(all), err)
		}
		for _, e := range h.entries(t) {
			if e.Kind == "release" || e.Facts != nil && e.Facts.Verb == annona.VerbStartExport {
				t.Errorf("%s: something left before anybody had looked: %+v", name, e.Facts)
			}
		}
		h.must(h.approve(h.as(h.ama), a))
		if err := ask(); err != nil {
			t.Errorf("%s, approved: %v", name, err)
		}
		h.now = h.now.Add(7*24*time.Hour - time.Second)
		if err := ask(); err != nil {
			t.Errorf("%s, almost a week later: %v", name, err)
		}
		h.now = h.now.Add(2 * time.Second)
		h.refuses(name+", a week later", ask(), "second_person_needed")
		if again := h.waiting(); again.ID == a.ID {
			t.Errorf("%s: an approval of a week ago is asked for again under its id", name)
		}
	}
}

// An approval is for one request of one client: whatever else is asked is another one.
func TestAnApprovalIsForOneRequest(t *testing.T) {
	h := newCareful(t)
	export := func(by annona.Caller, change func(*exchange.Question)) error {
		q := waitsFor
		if change != nil {
			change(&q)
		}
		_, err := h.Export(t.Context(), by, q, asCSV)
		return err
	}
	h.refuses("before", export(h.caller, nil), "second_person_needed")
	a := h.waiting()
	h.must(h.approve(h.as(h.ama), a))
	to := &receiver{}
	if _, err := h.download(t, waitsFor, to); err != nil || to.began == 0 {
		t.Fatalf("approved: %v", err)
	}
	obligation, act := "second_person="+a.ID.String(), 0
	for _, e := range h.entries(t) {
		switch {
		case e.Facts == nil:
		case e.Kind == "release" && !slices.Contains(strings.Fields(e.Facts.Details["obligations"]), obligation):
			t.Errorf("a release says %q", e.Facts.Details["obligations"])
		case e.Facts.Verb == annona.VerbApproval:
			act++
		}
	}
	if act != 2 {
		t.Errorf("the ledger has %d acts of approving", act)
	}

	second := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: "program", Role: "careful", Hash: []byte{1}, CreatedAt: h.now, ExpiresAt: h.now.Add(time.Hour)}
	h.must(h.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutClient(t.Context(), second) }))
	other := h.caller
	other.Client = second.ID
	esi := h.comes("esi", func(u *annona.User) { u.Partner, u.Roles = "Program", []string{"careful"} })
	acting := h.caller
	acting.Acting = annona.SignedIn{Person: esi.ID, Assurance: annona.AssurancePasskey, At: h.now}
	for name, err := range map[string]error{
		"other fields":   export(h.caller, func(q *exchange.Question) { q.Fields = []string{"individual_id", "sex", "date_of_birth"} }),
		"fewer fields":   export(h.caller, func(q *exchange.Question) { q.Fields = q.Fields[:1] }),
		"other rows":     export(h.caller, func(q *exchange.Question) { q.Filter = `individual.sex == "female"` }),
		"another day":    export(h.caller, func(q *exchange.Question) { q.AsOf = "2020-01-01" }),
		"another set":    export(h.caller, func(q *exchange.Question) { q.Dataset, q.Fields = "households", nil }),
		"another client": export(other, nil),
		"a person":       export(acting, nil),
		"to follow it":   h.doors()["changes"](),
	} {
		h.refuses(name, err, "second_person_needed")
	}
	h.refuses("a question that is none", export(h.caller, func(q *exchange.Question) { q.Fields = []string{"nothing"} }), "unknown_field")
	if got, err := h.TryExport(t.Context(), h.caller, "all", 0, nil); err != nil || got.Exact {
		t.Errorf("a trial counts exactly before anybody has looked: %+v, %v", got, err)
	}

	h.must(h.applyAlone(func(a *annona.Agreement) { a.RowCeiling = 100 }))
	h.refuses("after the agreement has moved", export(h.caller, nil), "second_person_needed")
	b := h.waiting()
	if _, err := h.Reject(t.Context(), h.as(h.ama), b.ID.String()); err != nil {
		t.Fatal(err)
	}
	h.refuses("what was refused", export(h.caller, nil), "second_person_refused")
	h.now = h.now.Add(7*24*time.Hour + time.Second)
	h.refuses("what was refused a week ago", export(h.caller, nil), "second_person_needed")

	c := h.waiting()
	h.must(h.RevokeClient(t.Context(), operator, h.caller.Client))
	h.refuses("of a client that was revoked", h.approve(h.as(h.ama), c), "approval_void")
}

// applyAlone puts a changed agreement in force as if two people had done it.
func (h *careful) applyAlone(change func(*annona.Agreement)) error {
	approvals := h.Approvals
	h.Approvals = nil
	defer func() { h.Approvals = approvals }()
	a, err := h.store.Agreement(h.t.Context(), "program")
	if err != nil {
		return err
	}
	change(a)
	_, err = h.ApplyAgreement(h.t.Context(), operator, *a)
	return err
}

// What becomes files is looked at again when it is written: an approval that is void by then lets nothing go.
func TestFilesWaitForASecondPersonToo(t *testing.T) {
	h := newCareful(t)
	start := func() (annona.ExportJob, error) {
		job, _, err := h.StartExport(t.Context(), h.caller, exchange.ExportRequest{Spec: "all"})
		return job, err
	}
	_, err := start()
	h.refuses("before", err, "second_person_needed")
	h.must(h.approve(h.as(h.ama), h.waiting()))
	job, err := start()
	h.must(err)
	if _, err := h.ResumeExport(t.Context(), job); err != nil {
		t.Errorf("the worker: %v", err)
	}
	h.now = h.now.Add(8 * 24 * time.Hour)
	_, err = h.ResumeExport(t.Context(), job)
	h.refuses("the worker, a week later", err, "second_person_needed")
}

// Somebody who asks for ever other things fills no list: twenty of their requests wait at once. Without anybody who
// approves nothing leaves.
func TestFewRequestsWaitAtOnce(t *testing.T) {
	h := newCareful(t)
	ask := func(day int) error {
		q := waitsFor
		q.AsOf = annona.DateOf(h.now.AddDate(0, 0, -day))
		_, err := h.Export(t.Context(), h.caller, q, asCSV)
		return err
	}
	for day := range 20 {
		h.refuses("one of twenty", ask(day), "second_person_needed")
	}
	h.refuses("one more", ask(20), "second_person_busy")
	h.refuses("one of those that wait", ask(3), "second_person_needed")
	h.must(h.approve(h.as(h.ama), h.waiting()))
	h.refuses("one more, when one is decided", ask(21), "second_person_needed")
	h.Approvals = nil
	h.refuses("where nobody approves", ask(3), "second_person_needed")
}

// A rule that newly asks for a second person ends what runs without one.
func TestANewSecondPersonEndsWhatRuns(t *testing.T) {
	r := newRegistry(t, 3000)
	to := &receiver{}
	to.onPage = func(n int) error {
		if n != 1 {
			return nil
		}
		p := narrower("desk", annona.RoleRule{Name: "reads"})
		p.Roles[0].Rules = append(p.Roles[0].Rules, secondPerson())
		_, err := r.ApplyPolicy(t.Context(), operator, p)
		return err
	}
	if _, err := r.download(t, everybody, to); annona.CodeOf(err) != "policy_changed" {
		t.Errorf("got %v", err)
	}
}
