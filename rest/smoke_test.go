package rest

import "testing"

func TestSmoke(t *testing.T) {
	r := newRegistry(t)
	for _, path := range []string{"/healthz", "/readyz", "/v1/individuals?purpose=eligibility-assessment&limit=2&fields=individual_id,full_name,sex",
		"/v1/households?purpose=eligibility-assessment&limit=1", "/v1/individuals/export?purpose=eligibility-assessment&format=csv&fields=individual_id,full_name",
		"/v1/households/export?purpose=eligibility-assessment&format=xml&fields=household_id,poverty_score,members.full_name",
		"/v1/code-lists/sex/1", "/v1/schemas/individuals.xsd", "/docs", "/docs/swagger-ui.css", "/nowhere", "/v1/individuals"} {
		a := r.get(path, r.full)
		if len(a.body) > 600 {
			a.body = a.body[:600]
		}
		t.Log(path, a.status, a.header, a.trailer, a.err, "\n", a.body)
	}
	t.Log(r.logged())
}
