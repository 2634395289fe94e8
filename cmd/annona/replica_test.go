package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// replicaMetrics reads how many pages came from where.
func replicaMetrics(t testing.TB, address string) map[string]int {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`annona_replica_pages_total\{read="(\w+)"\} (\d+)`).FindAllStringSubmatch(string(text), -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	if len(counts) != 4 {
		t.Fatalf("metrics: %v", counts)
	}
	return counts
}

// TestServingWithAReplica runs the product as a ministry would: a role that serves, a role for the
// keys, and a standby that reads pages. Whoever is restricted is gone from the next page, whatever
// the standby knows.
func TestServingWithAReplica(t *testing.T) {
	t.Parallel()
	const people = 3000
	r := newInDatabase(t, ownCluster(t))
	must(t, "migrate", "--database", r.owner(), "--app-role", r.role, "--keys-role", "keeper")
	keys := r.URL("keeper", r.name)
	refused(t, "store_keys_not_allowed", r.serving("verify")...)
	refused(t, "keys_foreign", append(r.serving("verify"), "--keys-database", r.URL("postgres", otherRegistry(t, r)))...)
	must(t, append(r.importing(surveyOf(t, people)), "--keys-database", keys)...)

	follower, err := r.Standby()
	check(t, err)
	t.Cleanup(follower.Remove)
	refused(t, "store_read_only", r.at("verify", "--database", follower.URL(r.role, r.name), "--keys-database", keys)...)
	refused(t, "replica_promoted", append(r.serving("serve", "--listen", "127.0.0.1:0"), "--keys-database", keys, "--replica", r.app())...)
	metrics := freeAddress(t)
	s := r.serve(t, "--keys-database", keys, "--replica", follower.URL(r.role, r.name), "--metrics", metrics)
	export := func() int {
		t.Helper()
		return countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id")))
	}
	eventually(t, "pages from the replica", func() bool { export(); return replicaMetrics(t, metrics)["replica"] > 0 })
	if n := export(); n != people {
		t.Fatalf("%d people, want %d", n, people)
	}

	there, err := pgx.Connect(t.Context(), follower.URL("postgres", r.name))
	check(t, err)
	defer there.Close(context.Background())
	_, err = there.Exec(t.Context(), "SELECT pg_wal_replay_pause()")
	check(t, err)
	before := replicaMetrics(t, metrics)
	must(t, append(r.serving("subject", "restrict", "--source", "ghana-glss", "--key", "1/1"), "--keys-database", keys)...)
	if n := export(); n != people-1 {
		t.Errorf("%d people after a restriction that the replica does not know, want %d", n, people-1)
	}
	if a := s.get("/v1/individuals", about(eligibility, "limit", "1000", "fields", "individual_id")); a.status != http.StatusOK || strings.Count(string(a.body), `"individual_id"`) != 1000 {
		t.Errorf("a page: status %d", a.status)
	}
	if after := replicaMetrics(t, metrics); after["replica"] != before["replica"] || after["lagging"] <= before["lagging"] {
		t.Errorf("pages came from a replica that lags: %v, before %v", after, before)
	}
	_, err = there.Exec(t.Context(), "SELECT pg_wal_replay_resume()")
	check(t, err)
	eventually(t, "pages from the replica", func() bool {
		n := replicaMetrics(t, metrics)["replica"]
		export()
		return replicaMetrics(t, metrics)["replica"] > n
	})
	if n := export(); n != people-1 {
		t.Errorf("%d people from the replica, want %d", n, people-1)
	}
	check(t, follower.Down("immediate"))
	if n := export(); n != people-1 {
		t.Errorf("%d people without the replica, want %d", n, people-1)
	}
	s.stop()
	must(t, append(r.serving("verify"), "--keys-database", keys)...)
}

// otherRegistry makes another registry in the same cluster and returns the name of its database.
func otherRegistry(t *testing.T, r inDatabase) string {
	t.Helper()
	return newInDatabase(t, r.Cluster).name
}
