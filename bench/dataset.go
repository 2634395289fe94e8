package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Files of the repository that a registry is made with. The harness runs in its root.
const (
	mapping   = "examples/synthetic/mapping.yaml"
	agreement = "examples/agreements/eligibility.yaml"
	purpose   = "eligibility-assessment"
)

// The stores that a registry can lie in.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// country names a data set: so many individuals in that store.
type country struct {
	store string
	size  int
}

func (c country) String() string {
	if c.store == sqlite {
		return sizeName(c.size)
	}
	return c.store + "-" + sizeName(c.size)
}

// dataset is a registry with a synthetic country in it, and a key for this run.
type dataset struct {
	country
	folder  string // holds registry/, the stamp, and what is made of the registry
	cluster *cluster
	keyID   string
	named   string // the database, when it is one of its own
}

func (d *dataset) registry() string { return filepath.Join(d.folder, "registry") }

// database is where a registry in PostgreSQL lies.
func (d *dataset) database() string {
	if d.named != "" {
		return d.named
	}
	return "annona_" + sizeName(d.size)
}

// as are the flags that name the registry to the program, which connects to a database as role.
func (d *dataset) as(role string) []string {
	if d.cluster == nil {
		return []string{"--data", d.registry()}
	}
	return []string{"--data", d.registry(), "--database", d.cluster.url(role, d.database())}
}

// header is the file that curl reads the key from, so that no list of processes shows it.
func (d *dataset) header() string { return filepath.Join(d.folder, "header") }

// dataset returns the registry of a country, made anew when what it is made of has changed.
func (b *bench) dataset(ctx context.Context, of country) (*dataset, error) {
	if d, ok := b.sets[of]; ok {
		return d, nil
	}
	d := &dataset{country: of, folder: filepath.Join(b.folder, of.String())}
	stamp, err := b.stamp(ctx, of.store)
	if err != nil {
		return nil, err
	}
	if of.store == postgres {
		if d.cluster, err = b.cluster(ctx); err != nil {
			return nil, err
		}
	}
	if found, err := d.found(ctx, stamp); err != nil {
		return nil, err
	} else if !found {
		if err := b.build(ctx, d, stamp); err != nil {
			return nil, err
		}
	}
	if err := b.admit(ctx, d); err != nil {
		return nil, err
	}
	b.sets[of] = d
	return d, nil
}

// found reports whether the registry of an earlier run can be used again.
func (d *dataset) found(ctx context.Context, stamp string) (bool, error) {
	if found, _ := os.ReadFile(filepath.Join(d.folder, "stamp")); string(found) != stamp {
		return false, nil
	}
	if d.cluster == nil {
		return true, nil
	}
	return d.cluster.hasDatabase(ctx, d.database())
}

// layout moves when the harness makes its data sets in another way.
const layout = "2"

// stamp is the fingerprint of what a registry is made of: what the generator writes, the
// mapping, the dictionary and the tables of the store.
func (b *bench) stamp(ctx context.Context, store string) (string, error) {
	hash := sha256.New()
	hash.Write([]byte(layout))
	for _, args := range [][]string{{"generate", "--individuals", "2000", "--seed", "1"}, {"dictionary", "print"}} {
		out, err := b.annona(ctx, args...)
		if err != nil {
			return "", err
		}
		hash.Write(out)
	}
	tables, err := filepath.Glob("store/" + store + "/*.sql")
	if err != nil {
		return "", err
	}
	for _, path := range append(tables, mapping) {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// build makes the registry. The stamp is written last: a run that is interrupted leaves a
// folder that the next one makes anew.
func (b *bench) build(ctx context.Context, d *dataset, stamp string) error {
	note("making %s: %d individuals in %s, once; this takes a while", d.folder, d.size, d.store)
	started := time.Now()
	if err := errors.Join(os.RemoveAll(d.folder), os.MkdirAll(d.folder, 0o700)); err != nil {
		return err
	}
	if err := b.begin(ctx, d); err != nil {
		return err
	}
	if err := b.fill(ctx, d); err != nil {
		return err
	}
	if d.cluster != nil {
		if err := d.cluster.settle(ctx, d.database()); err != nil {
			return err
		}
	}
	note("made %s in %.0f s", d.folder, time.Since(started).Seconds())
	return os.WriteFile(filepath.Join(d.folder, "stamp"), []byte(stamp), 0o600)
}

// begin makes the empty registry.
func (b *bench) begin(ctx context.Context, d *dataset) error {
	args := append([]string{"init"}, d.as(superuser)...)
	if d.cluster != nil {
		if err := d.cluster.renewDatabase(ctx, d.database()); err != nil {
			return err
		}
		args = append(args, "--app-role", appRole)
	}
	_, err := b.annona(ctx, args...)
	return err
}

// fill pipes the generator into the import and checks that everybody arrived.
func (b *bench) fill(ctx context.Context, d *dataset) error {
	generate := exec.CommandContext(ctx, b.program, "generate", "--individuals", fmt.Sprint(d.size), "--seed", "1")
	generate.Stderr = os.Stderr
	pipe, err := generate.StdoutPipe()
	if err != nil {
		return err
	}
	load := exec.CommandContext(ctx, b.program, append([]string{"import", "--mapping", mapping, "--json", "-"}, d.as(appRole)...)...)
	load.Stdin, load.Stderr = pipe, os.Stderr
	if err := generate.Start(); err != nil {
		return err
	}
	out, failed := load.Output()
	pipe.Close() // the generator ends, also when the import stopped early
	if err := errors.Join(failed, generate.Wait()); err != nil {
		return fmt.Errorf("generate | import: %w", err)
	}
	var report struct{ Individuals, Rejected int }
	if err := json.Unmarshal(lastLine(out), &report); err != nil {
		return fmt.Errorf("the last line of the import is not its report: %w", err)
	}
	if report.Individuals != d.size || report.Rejected != 0 {
		return fmt.Errorf("of %d individuals %d were imported, %d rows refused", d.size, report.Individuals, report.Rejected)
	}
	return nil
}

// admit puts the agreement in force and makes a key for this run.
func (b *bench) admit(ctx context.Context, d *dataset) error {
	if _, err := b.annona(ctx, append([]string{"agreement", "apply", agreement}, d.as(appRole)...)...); err != nil {
		return err
	}
	out, err := b.annona(ctx, append([]string{"key", "create", "--agreement", "eligibility", "--json"}, d.as(appRole)...)...)
	if err != nil {
		return err
	}
	var key struct{ Key, ID string }
	if err := json.Unmarshal(lastLine(out), &key); err != nil {
		return fmt.Errorf("key create --json: %w", err)
	}
	d.keyID = key.ID
	return os.WriteFile(d.header(), []byte("X-API-Key: "+key.Key+"\n"), 0o600)
}

// tidy revokes the keys of this run and stops the server of databases.
func (b *bench) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, d := range b.sets {
		_, err := b.annona(ctx, append([]string{"key", "revoke", d.keyID}, d.as(appRole)...)...)
		if err = errors.Join(err, os.Remove(d.header())); err != nil {
			note("a key of %s stays in force: %v", d.folder, err)
		}
	}
	if b.postgres != nil {
		b.postgres.stop()
		b.postgres = nil
	}
}
