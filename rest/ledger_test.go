package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// sign makes a checkpoint of the ledger as it is.
func (r *registry) sign() {
	r.Helper()
	s := &audit.Signer{Ledger: r.store, Checkpoints: r.store, Key: r.gate.Vault.(annona.CheckpointSigner), Clock: time.Now}
	_, err := s.Sign(r.Context())
	r.check(err)
}

// TestEveryRequestEnds: whatever becomes of an answer about people, its request gets an outcome.
func TestEveryRequestEnds(t *testing.T) {
	r := newRegistry(t)
	const purpose = "purpose=eligibility-assessment"
	id := r.somebody(r.full, "eligibility-assessment")
	record := "/v1/individuals/" + id + "?" + purpose
	tag := r.get(record, r.full).header.Get("ETag")
	lookup := `{"type":"national_id_number","value":"GHA-0012345","purpose":"eligibility-assessment"}`
	for name, want := range map[string]int{"200": 7, "304": 1, "HEAD": 1} {
		var answers []answer
		switch name {
		case "200":
			for _, accept := range []string{"application/json", "application/xml", "text/csv", "application/x-ndjson"} {
				answers = append(answers, r.get("/v1/individuals?"+purpose, r.full, "Accept", accept))
			}
			answers = append(answers, r.get(record, r.full), r.ask("POST", "/v1/lookup", r.full, lookup), r.get("/v1/households/export?format=csv&"+purpose, r.full))
		case "304":
			answers = append(answers, r.get(record, r.full, "If-None-Match", tag))
		case "HEAD":
			answers = append(answers, r.ask("HEAD", "/v1/individuals/export?format=csv&"+purpose, r.full, ""))
		}
		for _, a := range answers {
			if status := fmt.Sprint(a.status); status != name && name != "HEAD" {
				t.Errorf("%s: %s %s", name, status, a.body)
			}
		}
		if len(answers) != want {
			t.Fatalf("%d answers", len(answers))
		}
	}
	r.gate.Settle()
	open, err := r.store.OpenRequests(t.Context())
	if err != nil || len(open) > 0 {
		t.Errorf("%d requests have no outcome, %v", len(open), err)
	}
	outcomes := map[audit.Ending]int{}
	opener := audit.Opener{Vault: r.gate.Vault, Ledger: r.store}
	r.check(r.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(t.Context(), row)
		if err == nil && e.Kind == annona.EntryOutcome {
			outcomes[e.Facts.Outcome]++
		}
		return err
	}))
	if outcomes[audit.Complete] < 8 || len(outcomes) != 1 {
		t.Errorf("outcomes: %v", outcomes)
	}
}

func TestLedgerOverHTTP(t *testing.T) {
	r := newRegistry(t)
	if p := r.get("/v1/ledger/checkpoint", r.full).problem(t); p.Code != "checkpoint_missing" || p.Status != 503 {
		t.Errorf("before the first signature: %+v", p)
	}
	r.sign()
	keys, err := r.gate.Vault.(annona.CheckpointSigner).CheckpointKeys()
	r.check(err)
	held := func() annona.Checkpoint {
		t.Helper()
		a := r.get("/v1/ledger/checkpoint", r.narrow)
		if a.status != 200 || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Fatalf("%d %v %s", a.status, a.header, a.body)
		}
		c, err := audit.OpenCheckpoint(a.body, keys)
		r.check(err)
		return c
	}
	first := held()
	page := r.get("/v1/individuals?purpose=eligibility-assessment", r.full)
	r.gate.Settle()
	r.sign()
	second := held()

	var proof struct {
		Consistency [][]byte
		Checkpoint  string
		Entries     []struct {
			Index int64
			Leaf  []byte
			Proof [][]byte
		}
	}
	r.check(json.Unmarshal([]byte(r.get(fmt.Sprintf("/v1/ledger/proof?from=%d&to=%d", first.Size, second.Size), r.other).body), &proof))
	if !audit.CheckConsistency(first, second, proof.Consistency) {
		t.Error("the second checkpoint does not continue the first")
	}
	request := page.header.Get("Annona-Request")
	a := r.get("/v1/ledger/proof?request="+request, r.full)
	r.check(json.Unmarshal([]byte(a.body), &proof))
	if proof.Checkpoint != second.Note || len(proof.Entries) != 2 {
		t.Fatalf("%s", a.body)
	}
	for _, e := range proof.Entries {
		if !audit.CheckInclusion(second, e.Index, e.Leaf, e.Proof) {
			t.Errorf("the proof of entry %d does not hold", e.Index)
		}
	}
	for _, word := range planted {
		if strings.Contains(a.body, word) {
			t.Errorf("a proof shows %q", word)
		}
	}
	if p := r.get("/v1/ledger/proof?request="+request, r.other).problem(t); p.Status != 404 {
		t.Errorf("another's request: %+v", p)
	}
	for query, code := range map[string]string{
		"":                         "proof_unspecific",
		"?from=1":                  "proof_unspecific",
		"?from=1&to=2&request=abc": "proof_unspecific",
		"?from=x&to=2":             "parameter_malformed",
		"?from=-1&to=2":            "parameter_malformed",
		"?from=2&to=1":             "proof_out_of_range",
		"?from=1&to=999999":        "proof_out_of_range",
		"?request=abc":             "request_malformed",
		"?request=" + strings.Repeat("0", 32) + "&after=x": "parameter_malformed",
	} {
		if p := r.get("/v1/ledger/proof"+query, r.full).problem(t); p.Code != code || p.Status != http.StatusBadRequest {
			t.Errorf("%s: %+v, want %s", query, p, code)
		}
	}
	for _, path := range []string{"/v1/ledger/checkpoint", "/v1/ledger/proof?from=1&to=2", "/v1/subjects/" + strings.Repeat("a", 26) + "/disclosures?purpose=monitoring"} {
		if a := r.get(path, ""); a.status != 401 {
			t.Errorf("%s without a key: %d", path, a.status)
		}
		if a := r.get(path, r.expired); a.status != 401 {
			t.Errorf("%s with an expired key: %d", path, a.status)
		}
	}
}

func TestDisclosuresOverHTTP(t *testing.T) {
	r := newRegistry(t)
	id := r.somebody(r.full, "eligibility-assessment")
	path := "/v1/subjects/" + id + "/disclosures?purpose=eligibility-assessment"
	if p := r.get(path, r.full).problem(t); p.Code != "disclosures_not_granted" || p.Status != 403 {
		t.Errorf("not granted: %+v", p)
	}
	full, err := r.store.Agreement(t.Context(), "full")
	r.check(err)
	full.Disclosures = true
	_, err = r.gate.ApplyAgreement(t.Context(), operator, *full)
	r.check(err)
	r.get("/v1/individuals?purpose=monitoring&fields=sex", r.other)
	r.gate.Settle()
	a := r.get(path, r.full)
	var told disclosuresBody
	r.check(json.Unmarshal([]byte(a.body), &told))
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" || len(told.Disclosures) != 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d := told.Disclosures[0]
	if d.Recipient != "other-partner" || d.Purpose != "monitoring" || d.Verb != "search" || d.Outcome != "complete" || d.Pages != 1 || !slices.Equal(d.Fields, []string{"sex", "sex_nil_reason"}) {
		t.Errorf("%+v", d)
	}
	r.gate.Settle()
	if open, err := r.store.OpenRequests(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("%d requests have no outcome, %v", len(open), err)
	}
	if p := r.get(strings.Replace(path, id, strings.Repeat("a", 26), 1), r.full).problem(t); p.Status != 404 {
		t.Errorf("an unknown id: %+v", p)
	}
	if p := r.get("/v1/subjects/"+id+"/disclosures", r.full).problem(t); p.Code != "purpose_missing" {
		t.Errorf("without a purpose: %+v", p)
	}
}
