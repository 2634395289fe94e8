package exchange_test

import (
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// Behind the last day of a dataset every door is closed for it, also what runs, and others are open as before.
func TestADatasetOfAnAgreementEnds(t *testing.T) {
	r := newRegistry(t, 3000)
	now := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	today := annona.DateOf(now)
	r.Clock, r.Uses = func() time.Time { return now }, r.store
	var in annona.Agreement
	r.partner(t, func(a *annona.Agreement) {
		people := a.Datasets["individuals"]
		people.ValidUntil = today
		a.Datasets["individuals"] = people
		in = *a
	})
	for _, s := range []annona.ExportSpec{
		{Name: "people", Agreement: "program", Purpose: purpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "individual_id"}}},
		{Name: "homes", Agreement: "program", Purpose: purpose, Dataset: "households", Format: "json", Fields: []annona.SpecField{{Field: "household_id"}, {Field: "members.full_name"}}},
	} {
		_, _, err := r.PutExportSpec(t.Context(), operator, s)
		check(t, err)
	}
	jobs := map[string]annona.ExportJob{}
	for _, spec := range []string{"people", "homes"} {
		job, _, err := r.StartExport(t.Context(), r.caller, exchange.ExportRequest{Spec: spec})
		check(t, err)
		jobs[spec] = job
	}
	people := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id"}}
	homes := exchange.Question{Dataset: "households", Purpose: purpose}
	page, err := r.Search(t.Context(), r.caller, people, 1, "", exchange.Form{})
	check(t, err)
	somebody := string(page.Page.Page().Cell(0, 0))
	changes, err := r.Follow(t.Context(), r.caller, people, "", 10, 0, exchange.Form{})
	check(t, err)
	doors := map[string]func() error{
		"get": func() error {
			_, err := r.Get(t.Context(), r.caller, people, somebody, exchange.Form{})
			return err
		},
		"search": func() error {
			_, err := r.Search(t.Context(), r.caller, people, 1, "", exchange.Form{})
			return err
		},
		"the next page": func() error {
			_, err := r.Search(t.Context(), r.caller, people, 1, page.Next, exchange.Form{})
			return err
		},
		"lookup": func() error {
			_, _, err := r.Lookup(t.Context(), r.caller, people, []exchange.Identifier{{Type: "national_id", Value: "1"}}, exchange.Form{})
			if codeOf(err) == "dataset_ended" {
				return err
			}
			return nil // what else it says is not the point here
		},
		"export": func() error {
			_, err := r.Export(t.Context(), r.caller, people, exchange.Form{})
			return err
		},
		"export by a specification": func() error {
			_, _, err := r.ExportBySpec(t.Context(), r.caller, "people", 0)
			return err
		},
		"an export that becomes files": func() error {
			_, _, err := r.StartExport(t.Context(), r.caller, exchange.ExportRequest{Spec: "people"})
			return err
		},
		"an export that waits": func() error {
			_, err := r.ResumeExport(t.Context(), jobs["people"])
			return err
		},
		"a download": func() error {
			job := jobs["people"]
			return r.MayFetch(t.Context(), r.caller, &job)
		},
		"changes": func() error {
			_, err := r.Follow(t.Context(), r.caller, people, changes.Next, 10, 0, exchange.Form{})
			return err
		},
		"a token": func() error {
			return r.AdmitToken(t.Context(), r.caller, annona.Authorization{Datasets: []string{"individuals"}})
		},
	}
	for door, try := range doors {
		if err := try(); err != nil {
			t.Errorf("on the last day: %s: %v", door, err)
		}
	}
	if _, err := r.ResumeExport(t.Context(), jobs["homes"]); err != nil {
		t.Errorf("on the last day: %v", err)
	}
	to := receiver{onPage: func(n int) error {
		if n == 1 {
			now = now.AddDate(0, 0, 1)
		}
		return nil
	}}
	if _, err := r.download(t, people, &to); codeOf(err) != "dataset_ended" || to.ended {
		t.Errorf("an export into the next day: %v", err)
	}
	for door, try := range doors {
		want := "dataset_ended"
		if door == "a token" {
			want = "dataset_not_granted"
		}
		if err := try(); codeOf(err) != want {
			t.Errorf("behind the last day: %s: %v", door, err)
		}
	}
	page, err = r.Search(t.Context(), r.caller, homes, 5, "", exchange.Form{})
	if err != nil || page.Page.Count() != 5 || slices.ContainsFunc(page.Page.Shape().Groups, func(g annona.GroupShape) bool {
		return g.Field.Code == "members" && len(g.Shape.Columns) > 0 && g.Shape.Dataset.Name == "individuals"
	}) {
		t.Errorf("households behind it: %v, %+v", err, page)
	}
	if _, err := r.ResumeExport(t.Context(), jobs["homes"]); err == nil {
		t.Error("an export with members goes on")
	}
	u, err := r.Exchange.Usage(t.Context(), operator, r.caller.Client.String(), 0)
	if err == nil && slices.ContainsFunc(u.Fields, func(f exchange.GrantedField) bool { return f.Dataset == "individuals" }) {
		t.Error("it counts as granted all the same")
	}
	people2 := in.Datasets["individuals"]
	people2.ValidUntil = ""
	in.Datasets["individuals"] = people2
	_, err = r.ApplyAgreement(t.Context(), operator, in)
	check(t, err)
	if err := doors["search"](); err != nil {
		t.Errorf("lengthened: %v", err)
	}
}

// To end a dataset earlier waits for nobody. To let it last longer does, and so does whatever comes with it.
func TestEndsOfDatasetsAndTheSecondPerson(t *testing.T) {
	h := newBureau(t)
	h.comes("ama", nil)
	h.comes("kofi", nil)
	h.now = h.now.Add(25 * time.Hour)
	h.asked("desk") // from now on everything waits
	ends := func(day annona.Date, more func(*annona.Agreement)) error {
		onFile, err := h.store.Agreement(t.Context(), "program")
		h.must(err)
		a := *onFile
		datasets := map[string]annona.DatasetTerms{}
		for name, terms := range a.Datasets {
			if name == "individuals" {
				terms.ValidUntil = day
			}
			datasets[name] = terms
		}
		a.Datasets = datasets
		if more != nil {
			more(&a)
		}
		_, err = h.ApplyAgreement(t.Context(), operator, a)
		return err
	}
	h.must(ends("2031-06-30", nil))
	h.must(ends("2031-05-31", func(a *annona.Agreement) { a.ValidUntil = "2090-12-31" }))
	for name, err := range map[string]error{
		"later":     ends("2031-06-01", nil),
		"for ever":  ends("", nil),
		"with more": ends("2031-01-01", func(a *annona.Agreement) { a.Disclosures = true }),
		"a dataset more": ends("2031-01-01", func(a *annona.Agreement) {
			a.Datasets["memberships"] = annona.DatasetTerms{Fields: []string{"role"}, ValidUntil: "2031-01-01"}
		}),
		"a dataset gone": ends("2031-01-01", func(a *annona.Agreement) { delete(a.Datasets, "households") }),
	} {
		if codeOf(err) != "approval_needed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ends("tomorrow", nil); codeOf(err) != "agreement_malformed" {
		t.Errorf("no day: %v", err)
	}
}
