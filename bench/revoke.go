package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sizes of the figure about revocations.
const (
	revokeRounds = 4
	readRate     = 2 << 20 // bytes a second that a download is read with: all of it takes far longer than a revocation may
	readAtOnce   = 16 << 10
	partRows     = 2_000 // of a file of the export that is revoked while it is written
	consentNoted = "living-conditions-research"
)

// revoking are two servers on one database: what runs on the second is revoked through the first, and through
// the command line, which is a node as well.
type revoking struct {
	*bench
	set           *dataset
	first, second *server
	after         int64    // the ledger's last entry when the figure began
	ids           []string // of everybody, in the order of a download under the agreement for which people consent
}

// revocable is something that can be taken away, and what is downloaded with it.
type revocable struct {
	header, value      string
	agreement, purpose string
	revoke, restore    func(ctx context.Context) error
	left               string // id of an individual who leaves; empty: all of it ends
}

// revokeP99 is the time from the beginning of a revocation until no more byte leaves that it is about: of a
// streamed download, of an export that a worker writes, and of the download of a file. In each round the ledger
// has to have released what was received, and the abort.
func (b *bench) revokeP99(ctx context.Context) (float64, error) {
	r := &revoking{bench: b}
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	defer r.first.stop()
	defer r.second.stop()
	kinds := map[string]func(context.Context) (*revocable, error){"token": r.token, "client": r.client, "key": r.key, "agreement": r.agreement, "consent": r.consent}
	ways := map[string]func(context.Context, *revocable) (time.Duration, error){"stream": r.stream, "export": r.export, "file": r.file}
	var took []time.Duration
	for round := range revokeRounds {
		for _, kind := range []string{"token", "client", "key", "consent", "agreement"} {
			for _, way := range []string{"stream", "export", "file"} {
				if way == "export" && (kind == "consent" || kind == "token") {
					continue // its parts are written again without who has left; it was its client that asked for it, not the token
				}
				one, err := r.once(ctx, kinds[kind], ways[way])
				for range 5 {
					if !errors.Is(err, errLate) {
						break
					}
					one, err = r.once(ctx, kinds[kind], ways[way])
				}
				if err != nil {
					return 0, fmt.Errorf("%s in a running %s: %w", kind, way, err)
				}
				note("round %d, %s in a running %s: %.2f s", round+1, kind, way, one.Seconds())
				took = append(took, one)
			}
		}
	}
	slices.Sort(took)
	note("%d revocations: p50 %.2f s, the longest %.2f s", len(took), took[len(took)/2].Seconds(), took[len(took)-1].Seconds())
	return took[(len(took)*99+99)/100-1].Seconds(), nil
}

// once revokes something of a kind while something runs that needs it.
func (r *revoking) once(ctx context.Context, kind func(context.Context) (*revocable, error), way func(context.Context, *revocable) (time.Duration, error)) (time.Duration, error) {
	what, err := kind(ctx)
	if err != nil {
		return 0, err
	}
	one, err := way(ctx, what)
	if what.restore != nil {
		err = errors.Join(err, what.restore(ctx))
	}
	return one, err
}

// open puts the agreements and the specification in force and starts both servers.
func (r *revoking) open(ctx context.Context) (err error) {
	if r.set, err = r.dataset(ctx, country{postgres, small}); err != nil {
		return err
	}
	for _, name := range []string{"eligibility", "research"} {
		if err := r.apply(ctx, name, "active"); err != nil {
			return err
		}
		for part, rows := range map[string]int{"": small, "-parts": partRows} {
			if err := r.specify(ctx, name, part, rows); err != nil {
				return err
			}
		}
	}
	if err := r.consents(ctx); err != nil {
		return err
	}
	last, err := r.set.cluster.query(ctx, r.set.database(), "SELECT coalesce(max(idx), -1) FROM annona.ledger_leaves")
	if err != nil {
		return err
	}
	if r.after, err = strconv.ParseInt(last, 10, 64); err != nil {
		return err
	}
	if r.first, err = r.serve(ctx, r.set, "--export-workers", "0"); err != nil {
		return err
	}
	if r.second, err = r.serve(ctx, r.set); err != nil {
		r.first.stop()
		return err
	}
	if r.ids, err = r.everybody(ctx); err != nil {
		r.first.stop()
		r.second.stop()
	}
	return err
}

// consents has everybody consent: one at the command line, and the others in the same words. A command for each
// would take longer than all else.
func (r *revoking) consents(ctx context.Context) error {
	about := "annona.consents WHERE purposes LIKE '%" + consentNoted + "%'"
	if _, err := r.set.cluster.query(ctx, r.set.database(), "DELETE FROM "+about); err != nil {
		return err
	}
	_, err := r.run(ctx, "subject", "consent", "--source", "synthetic", "--key", "I0000001", "--purpose", consentNoted, "--recipient", "Institute for Social Research")
	if err != nil {
		return err
	}
	_, err = r.set.cluster.query(ctx, r.set.database(), `INSERT INTO annona.consents (id, subject, purposes, recipients, status, medium, signed_date, effective_date, expiry_date, recorded_at)
		SELECT gen_random_uuid(), number, purposes, recipients, status, medium, signed_date, effective_date, expiry_date, recorded_at
		FROM annona.individuals, `+about+` AND number <> subject`)
	return err
}

// apply puts a copy of an example agreement in force, under which everybody may be exported.
func (r *revoking) apply(ctx context.Context, name, status string) error {
	text, err := os.ReadFile("examples/agreements/" + name + ".yaml")
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "row_ceiling:") })
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "name:"):
			lines[i] = "name: revoked-" + name
		case strings.HasPrefix(line, "id_realm:"):
			lines[i] = "id_realm: revoked-" + name
		case strings.HasPrefix(line, "status:"):
			lines[i] = "status: " + status
		}
	}
	if name == "research" {
		lines = append(lines, "api_key: {row_ceiling: 0, special_fields: false, reason: It is read as a whole.}")
	}
	return r.command(ctx, []byte(strings.Join(lines, "\n")), "agreement", "apply")
}

// specify puts a specification of everybody under the agreement in force, in files of so many rows.
func (r *revoking) specify(ctx context.Context, agreement, part string, rows int) error {
	spec := map[string]any{
		"name": "revoked-" + agreement + part, "agreement": "revoked-" + agreement, "purpose": purposes[agreement], "dataset": "individuals",
		"format": "csv", "compression": "none", "part_rows": rows,
	}
	var fields []map[string]string
	for _, column := range shownTo(agreement) {
		fields = append(fields, map[string]string{"field": column})
	}
	spec["fields"] = fields
	text, err := json.Marshal(spec) // JSON is YAML
	if err != nil {
		return err
	}
	return r.command(ctx, text, "export-spec", "put")
}

// purposes are those of the agreements.
var purposes = map[string]string{"eligibility": purpose, "research": consentNoted}

// shownTo are the columns that an agreement shows.
func shownTo(agreement string) []string {
	if agreement == "eligibility" {
		return columns
	}
	return []string{"individual_id", "household_id", "role", "area_code", "sex", "date_of_birth", "marital_status", "education_level", "in_school", "employment_status", "occupation"}
}

// command runs a command of the program on a file that holds text.
func (r *revoking) command(ctx context.Context, text []byte, words ...string) error {
	file := filepath.Join(r.set.folder, "revoked.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	_, err := r.run(ctx, append(words, file)...)
	return err
}

func (r *revoking) run(ctx context.Context, words ...string) ([]byte, error) {
	return r.annona(ctx, append(words, r.set.as(appRole)...)...)
}

func (r *revoking) key(ctx context.Context) (*revocable, error) { return r.keyOf(ctx, "eligibility") }

func (r *revoking) keyOf(ctx context.Context, agreement string) (*revocable, error) {
	out, err := r.run(ctx, "key", "create", "--agreement", "revoked-"+agreement, "--json")
	if err != nil {
		return nil, err
	}
	var made benchKey
	if err := json.Unmarshal(lastLine(out), &made); err != nil {
		return nil, err
	}
	revoke := func(ctx context.Context) error {
		_, err := r.run(ctx, "key", "revoke", made.ID)
		return err
	}
	return &revocable{header: "X-API-Key", value: made.Key, agreement: agreement, purpose: purposes[agreement], revoke: revoke}, nil
}

// agreement is a key whose agreement is suspended.
func (r *revoking) agreement(ctx context.Context) (*revocable, error) {
	what, err := r.key(ctx)
	if err != nil {
		return nil, err
	}
	what.revoke = func(ctx context.Context) error { return r.apply(ctx, "eligibility", "suspended") }
	what.restore = func(ctx context.Context) error { return r.apply(ctx, "eligibility", "active") }
	return what, nil
}

// consent is a key of an agreement for which everybody has consented. Who withdraws is chosen when a download runs.
func (r *revoking) consent(ctx context.Context) (*revocable, error) {
	what, err := r.keyOf(ctx, "research")
	if err != nil {
		return nil, err
	}
	what.left = "to be chosen"
	what.revoke = func(ctx context.Context) error {
		_, err := r.run(ctx, "subject", "consent", "--withdraw", "--realm", "revoked-research", "--id", what.left)
		return err
	}
	return what, nil
}

// token is an access token that its client revokes at the first server.
func (r *revoking) token(ctx context.Context) (*revocable, error) { return r.tokenOf(ctx, false) }

// client is a client that is revoked itself, and asks with a token.
func (r *revoking) client(ctx context.Context) (*revocable, error) { return r.tokenOf(ctx, true) }

func (r *revoking) tokenOf(ctx context.Context, whole bool) (*revocable, error) {
	out, err := r.run(ctx, "client", "create", "--agreement", "revoked-eligibility", "--secret", "--json")
	if err != nil {
		return nil, err
	}
	var made struct {
		ID     string `json:"client_id"`
		Client string `json:"id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(lastLine(out), &made); err != nil {
		return nil, err
	}
	post := func(path string, form url.Values) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.first.url+path, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(made.ID, made.Secret)
		return answered(request, http.StatusOK)
	}
	body, err := post("/oauth2/token", url.Values{"grant_type": {"client_credentials"}})
	if err != nil {
		return nil, err
	}
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return nil, err
	}
	revoke := func(ctx context.Context) error {
		if whole {
			_, err := r.run(ctx, "client", "revoke", made.Client)
			return err
		}
		_, err := post("/oauth2/revoke", url.Values{"token": {got.Token}})
		return err
	}
	return &revocable{header: "Authorization", value: "Bearer " + got.Token, agreement: "eligibility", purpose: purpose, revoke: revoke}, nil
}

// answered makes a small request that has to be answered with that status.
func answered(request *http.Request, status int) ([]byte, error) {
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != status {
		err = fmt.Errorf("%s is answered with %d: %.200s", request.URL.Path, answer.StatusCode, body)
	}
	return body, err
}

// request is one with the credential.
func (w *revocable) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err == nil {
		request.Header.Set(w.header, w.value)
		request.Header.Set("Content-Type", "application/json")
	}
	return request, err
}

// everybody downloads the ids of all who consent.
func (r *revoking) everybody(ctx context.Context) ([]string, error) {
	what, err := r.consent(ctx)
	if err != nil {
		return nil, err
	}
	request, err := what.request(ctx, http.MethodGet, r.second.url+"/v1/individuals/export?format=csv&fields=individual_id&purpose="+what.purpose, nil)
	if err != nil {
		return nil, err
	}
	body, err := answered(request, http.StatusOK)
	ids := strings.Fields(string(body))
	if err == nil && len(ids) != r.set.size+1 {
		err = fmt.Errorf("%d individuals consent, not %d", len(ids)-1, r.set.size)
	}
	return ids, err
}

// stream revokes while everybody is downloaded.
func (r *revoking) stream(ctx context.Context, what *revocable) (time.Duration, error) {
	return r.whileReading(ctx, what, "/v1/individuals/export?format=csv&purpose="+what.purpose+"&fields="+strings.Join(shownTo(what.agreement), ","))
}

// file revokes while a file of an export is downloaded.
func (r *revoking) file(ctx context.Context, what *revocable) (time.Duration, error) {
	id, err := r.start(ctx, what, "")
	if err != nil {
		return 0, err
	}
	for state := ""; state != "complete"; {
		if state, _, _, err = r.stateOf(ctx, id); err != nil {
			return 0, err
		}
		if state == "failed" {
			return 0, errors.New("the export failed")
		}
	}
	return r.whileReading(ctx, what, "/v1/exports/"+id+"/files/revoked-"+what.agreement+"-00001.csv")
}

// narrowly is a client whose connections take in little at a time: what it does not read stays with the server.
var narrowly = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: (&net.Dialer{
	Control: func(_, _ string, c syscall.RawConn) (failed error) {
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10)
		})
		return errors.Join(err, failed)
	},
}).DialContext}}

// whileReading reads an answer of the second server at a steady rate, revokes in the midst of it, and returns
// how long after that a byte came that should not.
func (r *revoking) whileReading(ctx context.Context, what *revocable, path string) (time.Duration, error) {
	request, err := what.request(ctx, http.MethodGet, r.second.url+path, nil)
	if err != nil {
		return 0, err
	}
	answer, err := narrowly.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s is answered with %d", path, answer.StatusCode)
	}
	d := &slowly{of: answer, began: time.Now()}
	if err := d.read(time.Duration(200+rand.IntN(1500)) * time.Millisecond); err != nil {
		return 0, fmt.Errorf("before anything was revoked: %w", err)
	}
	if what.left != "" { // somebody who comes within the next seconds
		what.left = r.ids[min(len(r.ids)-1, d.rows()+1+rand.IntN(60_000))]
	}
	revoked := make(chan error, 1)
	started := time.Now()
	go func() {
		err := what.revoke(ctx)
		note("revoking took %.2f s", time.Since(started).Seconds())
		revoked <- err
	}()
	failed := d.read(time.Hour)
	if err := <-revoked; err != nil {
		return 0, err
	}
	if what.left != "" {
		d.last = time.Time{}
		if at, seen := d.seen(what.left); seen {
			d.last = at
		}
	} else if failed == nil {
		return 0, errors.New("the download ended well")
	}
	if id := answer.Header.Get("Annona-Request"); strings.Contains(path, "/individuals/") {
		if err := r.covered(ctx, id, d.rows(), failed != nil); err != nil {
			return 0, err
		}
	}
	return max(0, d.last.Sub(started)), nil
}

// slowly is a download that is read at a steady rate.
type slowly struct {
	of    *http.Response
	began time.Time
	last  time.Time // when a byte came
	got   bytes.Buffer
	came  []time.Time // each piece of readAtOnce
}

// read reads for that long, or to the end: nil when that is a good one.
func (s *slowly) read(long time.Duration) error {
	piece := make([]byte, readAtOnce)
	for end := time.Now().Add(long); time.Now().Before(end); {
		n, err := io.ReadFull(s.of.Body, piece)
		if n > 0 {
			s.last = time.Now()
			s.got.Write(piece[:n])
			s.came = append(s.came, s.last)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && s.whole() {
			return nil
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Until(s.began.Add(time.Duration(s.got.Len()) * time.Second / readRate)))
	}
	return nil
}

// whole reports whether the answer came to its end: ReadFull says of a short last piece what it says of a cut.
func (s *slowly) whole() bool {
	if s.of.ContentLength >= 0 {
		return int64(s.got.Len()) == s.of.ContentLength
	}
	return s.of.Trailer.Get("Annona-Rows") != ""
}

// rows are those that came, without the header.
func (s *slowly) rows() int { return max(0, bytes.Count(s.got.Bytes(), []byte("\n"))-1) }

// seen says when the row with an id came.
func (s *slowly) seen(id string) (time.Time, bool) {
	at := bytes.Index(s.got.Bytes(), []byte(id))
	if at < 0 {
		return time.Time{}, false
	}
	return s.came[at/readAtOnce], true
}

// entry is what the figure reads of the ledger.
type entry struct {
	Kind  string
	At    time.Time
	Facts struct {
		Rows    int
		Outcome string
		Details map[string]string
	}
}

// entries are those of a request; of all that were made since the figure began when none is named.
func (r *revoking) entries(ctx context.Context, request string) (all []entry, err error) {
	words := []string{"ledger", "show", "--after", strconv.FormatInt(r.after, 10)}
	if request != "" {
		words = append(words, "--request", request)
	}
	out, err := r.run(ctx, words...)
	for line := range bytes.Lines(out) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, err
}

// covered fails unless the ledger has released all rows that were received, and says how the request ended.
func (r *revoking) covered(ctx context.Context, request string, rows int, aborted bool) error {
	for range 100 {
		all, err := r.entries(ctx, request)
		if err != nil {
			return err
		}
		released, outcome := 0, ""
		for _, e := range all {
			outcome = cmp.Or(e.Facts.Outcome, outcome)
			if e.Kind == "release" {
				released += e.Facts.Rows
			}
		}
		if outcome == "" {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if released < rows || aborted != (outcome == "aborted") {
			return fmt.Errorf("%d rows were received, the ledger has released %d and ends with %q", rows, released, outcome)
		}
		return nil
	}
	return errors.New("the ledger has no end of the download")
}

// start asks the first server, which works on none, for an export.
func (r *revoking) start(ctx context.Context, what *revocable, part string) (id string, err error) {
	request, err := what.request(ctx, http.MethodPost, r.first.url+"/v1/exports", strings.NewReader(`{"specification": "revoked-`+what.agreement+part+`"}`))
	if err != nil {
		return "", err
	}
	body, err := answered(request, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	var job struct{ ID string }
	err = json.Unmarshal(body, &job)
	return job.ID, err
}

// stateOf asks the database how an export stands: its client may not ask any more.
func (r *revoking) stateOf(ctx context.Context, id string) (state string, rows int, ended time.Time, err error) {
	out, err := r.set.cluster.query(ctx, r.set.database(), "SELECT state, row_count, coalesce(ended_at, 0) FROM annona.export_jobs WHERE replace(id::text, '-', '') = replace('"+id+"', '-', '')")
	if err != nil {
		return "", 0, ended, err
	}
	parts := strings.Split(out, "|")
	if len(parts) != 3 {
		return "", 0, ended, fmt.Errorf("the export is not in the database: %q", out)
	}
	rows, _ = strconv.Atoi(parts[1])
	nanos, err := strconv.ParseInt(parts[2], 10, 64)
	return parts[0], rows, time.Unix(0, nanos), err
}

// export revokes while the second server writes an export, and returns how long it went on.
func (r *revoking) export(ctx context.Context, what *revocable) (time.Duration, error) {
	id, err := r.start(ctx, what, "-parts")
	if err != nil {
		return 0, err
	}
	for rows := 0; rows == 0; {
		if _, rows, _, err = r.stateOf(ctx, id); err != nil {
			return 0, err
		}
	}
	started := time.Now()
	if err := what.revoke(ctx); err != nil {
		return 0, err
	}
	revoked := time.Now()
	for {
		state, rows, ended, err := r.stateOf(ctx, id)
		switch {
		case err != nil:
			return 0, err
		case state == "complete" && ended.Before(revoked):
			return 0, errLate
		case state == "complete":
			return 0, fmt.Errorf("the export was complete: %d rows", rows)
		case state == "failed":
			return max(0, ended.Sub(started)), r.endedInLedger(ctx, id, ended)
		}
	}
}

// errLate says that an export was faster than whoever wanted to revoke it.
var errLate = errors.New("the export was complete before anything was revoked")

// endedInLedger fails when the ledger has nothing of an export that was running, or has released something of
// it behind its end.
func (r *revoking) endedInLedger(ctx context.Context, id string, ended time.Time) error {
	all, err := r.entries(ctx, "")
	if err != nil {
		return err
	}
	aborted := false
	for _, e := range all {
		if !strings.HasPrefix(e.Facts.Details["export"], id+"/") {
			continue
		}
		aborted = aborted || e.Facts.Outcome == "aborted"
		if e.Kind == "release" && e.At.After(ended) {
			return errors.New("something was released behind the end of the export")
		}
	}
	if !aborted {
		return errors.New("the ledger does not say that the export was broken off")
	}
	return nil
}
