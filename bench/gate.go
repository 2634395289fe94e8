package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// Some figures are of the gate itself, without a wire. The program's own package has benchmarks
// of them, which know how the gate is wired; they are run here against databases of this cluster.

// audited is how many pages a second the gate releases, each behind its durable entry.
func (b *bench) audited(ctx context.Context) (float64, error) {
	set, err := b.dataset(ctx, country{postgres, large})
	if err != nil {
		return 0, err
	}
	return b.gate(ctx, "BenchmarkAuditedReads", 10*time.Second, "pages/s", set.registry(), set.cluster.url(appRole, set.database()),
		"ANNONA_BENCH_CLIENT="+set.keyID)
}

// tokens are access tokens a second, of both stores the slower one: a fresh registry each.
func (b *bench) tokens(ctx context.Context) (float64, error) {
	c, err := b.cluster(ctx)
	if err != nil {
		return 0, err
	}
	w, err := b.prepareWrites(ctx, c)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(w.folder)
	inPostgres, err := b.gate(ctx, "BenchmarkTokens", writeTime, "tokens/s", w.folder, c.url(appRole, writesDatabase))
	if err != nil {
		return 0, err
	}
	folder := filepath.Join(b.folder, "tokens")
	defer os.RemoveAll(folder)
	if _, err := b.annona(ctx, "init", "--data", folder); err != nil {
		return 0, err
	}
	inSQLite, err := b.gate(ctx, "BenchmarkTokens", writeTime, "tokens/s", folder, "")
	note("sqlite %.0f, postgres %.0f", inSQLite, inPostgres)
	return min(inSQLite, inPostgres), err
}

// writeTime is how long each side of a comparison of writes writes, writePairs how often.
const (
	writeTime  = 8 * time.Second
	writePairs = 3
)

// overPgbench compares records that are changed through the gate, one in each transaction, with
// pgbench doing an UPDATE and two INSERTs in each: the median ratio of transactions a second.
func (b *bench) overPgbench(clients int) measurement {
	return func(ctx context.Context) (float64, error) {
		c, err := b.cluster(ctx)
		if err != nil {
			return 0, err
		}
		w, err := b.prepareWrites(ctx, c)
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(w.folder)
		ratios := make([]float64, writePairs)
		for i := range ratios {
			ours, err := b.gate(ctx, "BenchmarkWrites", writeTime, "writes/s", w.folder, c.url(appRole, writesDatabase), "ANNONA_BENCH_WRITERS="+fmt.Sprint(clients))
			if err != nil {
				return 0, err
			}
			theirs, err := w.pgbench(ctx, clients)
			if err != nil {
				return 0, err
			}
			note("%d clients: %.0f writes/s, pgbench %.0f", clients, ours, theirs)
			ratios[i] = ours / theirs
		}
		return median(ratios), nil
	}
}

// The databases of the two sides, made anew for every figure.
const (
	writesDatabase  = "annona_writes"
	pgbenchDatabase = "pgbench"
)

// pgbenchWrite is what a plain write is to a database: the record, the event, the entry.
const pgbenchWrite = `\set aid random(1, 100000 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (2, 2, :aid, :delta, CURRENT_TIMESTAMP);
END;
`

// writes is a place for both sides to write to.
type writes struct {
	cluster *cluster
	folder  string
	script  string
}

func (b *bench) prepareWrites(ctx context.Context, c *cluster) (*writes, error) {
	w := &writes{cluster: c, folder: filepath.Join(b.folder, "writes"), script: filepath.Join(c.home, "write.sql")}
	if err := os.RemoveAll(w.folder); err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.script, []byte(pgbenchWrite), 0o644); err != nil {
		return nil, err
	}
	for _, database := range []string{writesDatabase, pgbenchDatabase} {
		if err := c.renewDatabase(ctx, database); err != nil {
			return nil, err
		}
	}
	if _, err := b.annona(ctx, "init", "--data", w.folder, "--database", c.url(superuser, writesDatabase), "--app-role", appRole); err != nil {
		return nil, err
	}
	_, err := output(w.pgbenchCommand(ctx, "-i", "-q", "-s", "1"))
	return w, err
}

func (w *writes) pgbenchCommand(ctx context.Context, args ...string) *exec.Cmd {
	c := w.cluster
	all := append([]string{"-h", c.host, "-p", c.port, "-U", superuser}, args...)
	return exec.CommandContext(ctx, filepath.Join(c.bin, "pgbench"), append(all, pgbenchDatabase)...)
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench returns its transactions a second.
func (w *writes) pgbench(ctx context.Context, clients int) (float64, error) {
	out, err := output(w.pgbenchCommand(ctx, "-n", "-M", "prepared", "-f", w.script, "-c", fmt.Sprint(clients), "-j", "2", "-T", fmt.Sprint(int(writeTime.Seconds()))))
	if err != nil {
		return 0, err
	}
	return number(tps, out)
}

func number(pattern *regexp.Regexp, out []byte) (float64, error) {
	found := pattern.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("no figure in %q", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// microseconds is what one round of a benchmark of a package takes.
func microseconds(folder, name string) measurement {
	return func(ctx context.Context) (float64, error) {
		out, err := output(exec.CommandContext(ctx, "go", "test", folder, "-run", "^$", "-bench", "^"+name+"$"))
		if err != nil {
			return 0, fmt.Errorf("%w: %s", err, out)
		}
		ns, err := number(regexp.MustCompile(`([0-9.]+) ns/op`), out)
		return ns / 1000, err
	}
}

// gate runs one of the benchmarks of the program's package and returns its figure of that unit.
func (b *bench) gate(ctx context.Context, name string, d time.Duration, unit, folder, database string, more ...string) (float64, error) {
	if b.gateTest == "" {
		compiled, err := filepath.Abs(filepath.Join(b.folder, "gate.test"))
		if err != nil {
			return 0, err
		}
		if _, err := output(exec.CommandContext(ctx, "go", "test", "-c", "-o", compiled, "./cmd/annona")); err != nil {
			return 0, err
		}
		b.gateTest = compiled
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.gateTest, "-test.run", "^$", "-test.bench", "^"+name+"$", "-test.benchtime", d.String())
	cmd.Dir = "cmd/annona"
	cmd.Env = append(os.Environ(), "ANNONA_BENCH_DATA="+folder, "ANNONA_BENCH_DATABASE="+database)
	cmd.Env = append(cmd.Env, more...)
	out, err := output(cmd)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	return number(regexp.MustCompile(`([0-9.]+) `+regexp.QuoteMeta(unit)), out)
}
