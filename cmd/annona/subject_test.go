package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// The names of the partners in the example agreements.
const (
	program   = "National Cash Transfer Program"
	institute = "Institute for Social Research"
)

// district is a registry of a few people with identifiers, and a server of it for each agreement.
type district struct {
	t    *testing.T
	data string
	*server
	institute string // key of the agreement research
}

func newDistrict(t *testing.T) *district {
	t.Helper()
	data := newRegistry(t)
	folder := "../../examples/two-files/"
	must(t, "import", "--data", data, "--mapping", folder+"mapping.yaml", folder+"households.csv", folder+"members.csv")
	return &district{t: t, data: data, server: serveFolder(t, data, createKey(t, data, "eligibility").Key), institute: createKey(t, data, "research").Key}
}

// inDistrict names somebody by the key of the source.
func inDistrict(key string) []string { return []string{"--source", "district-registry", "--key", key} }

func (d *district) subject(act string, more ...string) string {
	d.t.Helper()
	return must(d.t, append([]string{"subject", act, "--data", d.data}, more...)...)
}

// names returns the full names in an export of individuals for the program.
func (d *district) names() (names []string) {
	d.t.Helper()
	for r := range records(d.t, "ndjson", "individuals", d.export("individuals", about(eligibility, "format", "ndjson"))) {
		names = append(names, r.values["full_name"])
	}
	return names
}

// sees reports how often the program sees somebody: as an individual, as a member of a
// household, and by look-up of a national id.
func (d *district) sees(name, id string) (individual, member, found bool) {
	d.t.Helper()
	for _, n := range d.names() {
		individual = individual || n == name
	}
	for h := range records(d.t, "ndjson", "households", d.export("households", about(eligibility, "format", "ndjson"))) {
		for _, m := range h.groups["members"] {
			member = member || m.values["full_name"] == name
		}
	}
	a := d.lookUp(id)
	if a.status != http.StatusOK && a.status != http.StatusNotFound {
		d.t.Fatalf("look-up: status %d %s", a.status, a.code())
	}
	return individual, member, a.status == http.StatusOK
}

func (d *district) lookUp(id string) answer {
	d.t.Helper()
	body := fmt.Sprintf(`{"purpose":%q,"type":"national_id_number","value":%q}`, eligibility, id)
	return d.ask(d.request(http.MethodPost, "/v1/lookup", nil, strings.NewReader(body)))
}

func (d *district) mustSee(what string, want bool) {
	d.t.Helper()
	individual, member, found := d.sees("Hassan Ali", "23456789")
	if individual != want || member != want || found != want {
		d.t.Errorf("%s: seen as an individual %v, as a member %v, by look-up %v; want %v", what, individual, member, found, want)
	}
	if individual, member, found := d.sees("Wanjiru", "34567890"); !individual || !member || !found {
		d.t.Errorf("%s: somebody else disappeared", what)
	}
}

func TestRestriction(t *testing.T) {
	t.Parallel()
	d := newDistrict(t)
	hassan := inDistrict("P-1002")
	before := d.export("households", about(eligibility, "format", "json"))
	d.mustSee("before", true)
	for what, terms := range map[string][]string{
		"for another purpose":   {"--purpose", "research"},
		"for another recipient": {"--recipient", institute},
		"in the past":           {"--from", "2020-01-01", "--until", "2020-12-31"},
		"in the future":         {"--from", "2999-01-01"},
	} {
		d.subject("restrict", append(terms, hassan...)...)
		d.mustSee(what, true)
	}
	d.subject("restrict", append([]string{"--lift"}, hassan...)...)
	for what, terms := range map[string][]string{
		"for all":            nil,
		"for the purpose":    {"--purpose", eligibility},
		"for the recipient":  {"--recipient", program},
		"for now":            {"--from", "2020-01-01", "--until", "2999-12-31"},
		"with a ground code": {"--ground", "accuracy_contested"},
	} {
		d.subject("restrict", append(terms, hassan...)...)
		d.mustSee(what, false)
		if out := d.subject("restrict", append([]string{"--lift"}, hassan...)...); out != "Lifted: 1.\n" {
			t.Errorf("%s: %s", what, out)
		}
		d.mustSee(what+", lifted", true)
	}
	if after := d.export("households", about(eligibility, "format", "json")); !bytes.Equal(before, after) {
		t.Error("after all was lifted the export is another one")
	}
}

// TestRestrictionByID names somebody by the id that a partner knows.
func TestRestrictionByID(t *testing.T) {
	t.Parallel()
	d := newDistrict(t)
	var found struct {
		ID string `json:"individual_id"`
	}
	check(t, json.Unmarshal(d.lookUp("23456789").body, &found))
	id := found.ID
	refused(t, "not_found", "subject", "restrict", "--data", d.data, "--id", id, "--realm", "research")
	d.subject("restrict", "--id", id, "--realm", "eligibility")
	d.mustSee("by id", false)
	if a := d.get("/v1/individuals/"+id, about(eligibility)); a.status != http.StatusNotFound {
		t.Errorf("the record by its id: status %d", a.status)
	}
}

func TestSubjectRefusals(t *testing.T) {
	t.Parallel()
	d := newDistrict(t)
	for code, args := range map[string][]string{
		"subject_unnamed": {"--source", "district-registry"},
		"not_found":       {"--source", "district-registry", "--key", planted},
		"date_malformed":  append([]string{"--from", "yesterday"}, inDistrict("P-1002")...),
		"days_reversed":   append([]string{"--from", "2026-02-01", "--until", "2026-01-01"}, inDistrict("P-1002")...),
	} {
		for _, act := range []string{"restrict", "object"} {
			r := refused(t, code, append([]string{"subject", act, "--data", d.data}, args...)...)
			if strings.Contains(r.err, planted) {
				t.Error("a message repeats a key")
			}
		}
	}
	refused(t, "consent_unspecific", append([]string{"subject", "consent", "--data", d.data}, inDistrict("P-1002")...)...)
	d.mustSee("after refusals", true)
}

// researched counts the individuals, and the members of households, that the institute gets.
func (d *district) researched() (individuals, members int) {
	d.t.Helper()
	s := *d.server
	s.key = d.institute
	for range records(d.t, "ndjson", "individuals", s.export("individuals", about(research, "format", "ndjson"))) {
		individuals++
	}
	for h := range records(d.t, "ndjson", "households", s.export("households", about(research, "format", "ndjson"))) {
		members += len(h.groups["members"])
	}
	return individuals, members
}

func (d *district) mustResearch(what string, want int) {
	d.t.Helper()
	if individuals, members := d.researched(); individuals != want || members != want {
		d.t.Errorf("%s: the institute gets %d individuals and %d members, want %d", what, individuals, members, want)
	}
}

// TestConsent: under the basis consent nobody is shown who did not give it, and objection does not
// matter; under another basis it is the other way round.
func TestConsent(t *testing.T) {
	t.Parallel()
	d := newDistrict(t)
	hassan, wanjiru := inDistrict("P-1002"), inDistrict("P-1004")
	d.mustResearch("without consent", 0)
	for what, terms := range map[string][]string{
		"for another purpose":   {"--purpose", eligibility, "--recipient", institute},
		"for another recipient": {"--purpose", research, "--recipient", program},
		"expired":               {"--purpose", research, "--recipient", institute, "--from", "2020-01-01", "--until", "2020-12-31"},
		"not yet":               {"--purpose", research, "--recipient", institute, "--from", "2999-01-01"},
	} {
		d.subject("consent", append(terms, hassan...)...)
		d.mustResearch("consent "+what, 0)
	}
	for _, who := range [][]string{hassan, wanjiru} {
		d.subject("consent", append([]string{"--purpose", research, "--recipient", institute}, who...)...)
	}
	d.mustResearch("with consent", 2)

	d.subject("object", hassan...)
	d.mustResearch("objection under consent", 2)
	d.mustSee("objection under public interest", false)
	d.subject("object", append([]string{"--lift"}, hassan...)...)
	d.mustSee("objection lifted", true)

	d.subject("restrict", hassan...)
	d.mustResearch("restriction under consent", 1)
	d.subject("restrict", append([]string{"--lift"}, hassan...)...)
	d.mustResearch("restriction lifted", 2)

	d.subject("consent", append([]string{"--withdraw", "--purpose", eligibility}, wanjiru...)...)
	d.mustResearch("consent for another purpose withdrawn", 2)
	if out := d.subject("consent", append([]string{"--withdraw"}, wanjiru...)...); !strings.HasPrefix(out, "Withdrawn: 1.") {
		t.Errorf("withdrawal: %s", out)
	}
	d.mustResearch("consent withdrawn", 1)
	d.mustSee("consent does not matter under public interest", true)
	d.stop()
	must(t, "verify", "--data", d.data)
}

// TestWithdrawalDuringExport: who withdraws consent or is restricted while an export runs is not in
// the pages that have not left.
func TestWithdrawalDuringExport(t *testing.T) {
	t.Parallel()
	const people = 30_000 // the last page leaves long after the connection has taken all it can hold
	data := newRegistry(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, surveyOf(t, people))
	everybodyConsents(t, data, people)
	must(t, "agreement", "apply", "--data", data, changedAgreement(t, "research", "row_ceiling: 10000",
		"api_key: {row_ceiling: 0, special_fields: false, reason: The whole register is read once.}"))
	s := serveFolder(t, data, createKey(t, data, "research").Key)
	slow := s.slowExport("individuals", about(research, "format", "xml"))
	time.Sleep(500 * time.Millisecond) // the server reads ahead meanwhile: what it has read is stale then
	withdrawn, restricted := fmt.Sprintf("%d/1", people), fmt.Sprintf("%d/1", people-1)
	must(t, "subject", "consent", "--data", data, "--source", "ghana-glss", "--key", withdrawn, "--withdraw")
	must(t, "subject", "restrict", "--data", data, "--source", "ghana-glss", "--key", restricted)
	rest, err := io.ReadAll(slow.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := 1 + bytes.Count(rest, []byte("<individual>")); slow.Trailer.Get("Annona-Rows") != fmt.Sprint(people-2) || got < people-2 || got > people-1 {
		t.Errorf("%s rows, %d of them after the first bytes; %d consented until the end", slow.Trailer.Get("Annona-Rows"), got, people-2)
	}
	s.stop()
	must(t, "verify", "--data", data)
}

// everybodyConsents records the consent of all to research, in one transaction.
func everybodyConsents(t testing.TB, data string, people int) {
	t.Helper()
	ctx := context.Background()
	f, err := openFolder(ctx, data)
	check(t, err)
	check(t, f.store.Update(ctx, func(tx annona.Tx) error {
		for n := 1; n <= people; n++ {
			err := tx.PutConsent(ctx, annona.Consent{
				ID: annona.NewUID(), Subject: annona.Number(n), Purposes: []string{research}, Recipients: []string{institute},
				Status: "given", EffectiveDate: "2026-01-01",
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	check(t, f.Close())
}

// TestRightsAreInTheLedger: each act is an entry of its own that names the person by number only.
func TestRightsAreInTheLedger(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, ghanaSample)
	entries := func() (n int64) {
		f, err := openFolder(context.Background(), data)
		check(t, err)
		n, _, err = f.store.LedgerTree(context.Background())
		check(t, err)
		check(t, f.Close())
		return n
	}
	before := entries()
	who := []string{"--data", data, "--source", "ghana-glss", "--key", "1/1"}
	must(t, append([]string{"subject", "restrict"}, who...)...)
	must(t, append([]string{"subject", "restrict", "--lift"}, who...)...)
	must(t, append([]string{"subject", "consent", "--purpose", research, "--recipient", institute}, who...)...)
	if n := entries() - before; n != 3 {
		t.Errorf("three acts left %d entries", n)
	}
	must(t, "verify", "--data", data)
}

// TestErase erases somebody at the command line: it holds for every way of asking, and for every
// import that follows.
func TestErase(t *testing.T) {
	t.Parallel()
	d := newDistrict(t)
	hassan := inDistrict("P-1002")
	d.mustSee("before", true)
	for code, args := range map[string][]string{
		"unknown_reason":  append([]string{"--reason", "because"}, hassan...),
		"subject_unnamed": {"--reason", "unlawful"},
		"not_found":       append([]string{"--reason", "unlawful"}, inDistrict(planted)...),
	} {
		refused(t, code, append([]string{"subject", "erase", "--data", d.data}, args...)...)
	}
	if out := d.subject("erase", append([]string{"--refuse", "--reason", "legal_claims"}, hassan...)...); !strings.Contains(out, "erasure refused (legal_claims)") {
		t.Errorf("a refusal prints %q", out)
	}
	refused(t, "refusal_stands", append([]string{"subject", "erase", "--data", d.data, "--reason", "consent_withdrawn"}, hassan...)...)
	refused(t, "unknown_reason", append([]string{"subject", "erase", "--data", d.data, "--lift-refusal", "--reason", "legal_claims"}, hassan...)...)
	d.mustSee("after a refusal", true)
	if out := d.subject("erase", append([]string{"--lift-refusal", "--reason", "consent_withdrawn"}, hassan...)...); !strings.Contains(out, "can be erased") {
		t.Errorf("a refusal that is lifted prints %q", out)
	}
	refused(t, "no_refusal", append([]string{"subject", "erase", "--data", d.data, "--lift-refusal", "--reason", "consent_withdrawn"}, hassan...)...)
	d.mustSee("when the refusal is lifted", true)

	certificate := d.subject("erase", append([]string{"--reason", "consent_withdrawn"}, hassan...)...)
	id, _, _ := strings.Cut(strings.TrimPrefix(certificate, "Erasure "), "\n")
	for _, line := range []string{"Reason:    consent_withdrawn\n", "\nEffective: 20", "\nComplete:  20", "then old backups do not open it either"} {
		if !strings.Contains(certificate, line) {
			t.Errorf("the certificate lacks %q: %s", line, certificate)
		}
	}
	for _, personal := range []string{"Hassan", "P-1002", "23456789"} {
		if strings.Contains(certificate, personal) {
			t.Errorf("the certificate holds personal data: %s", certificate)
		}
	}
	if list := d.subject("erased", "--json"); strings.Count(list, "\n") != 1 || !strings.Contains(list, id) {
		t.Errorf("erasures: %s", list)
	}
	d.mustSee("erased", false)
	folder := "../../examples/two-files/"
	args := []string{"import", "--data", d.data, "--mapping", folder + "mapping.yaml", folder + "households.csv", folder + "members.csv"}
	if out := must(t, args...); !strings.Contains(out, "left out, because they were erased: 1\n") {
		t.Errorf("the report of an import: %s", out)
	}
	d.mustSee("imported again", false)
	refused(t, "erased_already", append([]string{"subject", "erase", "--data", d.data, "--reason", "unlawful"}, hassan...)...)
	must(t, "verify", "--data", d.data)
}
