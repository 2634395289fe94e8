package main

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres"
)

// modes looks for what other accounts may read or write.
func (x *examination) modes() {
	open := 0
	err := filepath.WalkDir(x.Data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return nil // it has gone meanwhile, or is looked at where it leads
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			open++
			x.found("file_modes", problem, "other accounts may use %s (mode %04o); run chmod go= on it, and find out who could have read it", path, mode)
		}
		return nil
	})
	switch {
	case err != nil:
		x.found("file_modes", problem, "the data folder cannot be read: %s; run as the account that owns it", reason(err))
	case open == 0:
		x.found("file_modes", well, "only its account may use the data folder")
	}
}

// The least free space: what an import of a large file or a repack needs without anybody looking.
const (
	leastFree      = 1 << 30
	leastFreeShare = 10       // one part in
	enoughFree     = 10 << 30 // on a disk of any size
)

func (x *examination) space() {
	free, size, known := freeSpace(x.Data)
	switch {
	case !known:
		x.found("disk_space", note, "the free space of the disk is not known here; watch it: when the ledger cannot be written, nothing leaves")
	case free < max(leastFree, min(size/leastFreeShare, enoughFree)):
		x.found("disk_space", problem, "the disk of the data folder has %d MiB left of %d; make room: when it is full, nothing is written and nothing leaves", free>>20, size>>20)
	default:
		x.found("disk_space", well, "the disk of the data folder has %d MiB left", free>>20)
	}
}

// schema looks at the schema of a database. That of a folder is brought up to date by opening it.
func (x *examination) schema(ctx context.Context) {
	if x.folder.database == "" {
		return
	}
	status, err := postgres.MigrationStatus(ctx, x.folder.database)
	switch {
	case err != nil:
		x.failed("schema", err)
	case status.Version < status.Latest:
		x.found("schema", problem, "the schema has version %d, the program brings %d; run annona migrate as its owner", status.Version, status.Latest)
	default:
		x.found("schema", well, "the schema has version %d, the latest", status.Version)
	}
}

// database looks at the role and the server.
func (x *examination) database(ctx context.Context) {
	if x.folder.database == "" {
		return
	}
	e, err := postgres.Examine(ctx, x.folder.database)
	if err != nil {
		x.failed("database", err)
		return
	}
	before := len(x.findings)
	if e.Superuser || e.Owner {
		x.found("database_role", problem, "the role of the URL may change the schema and what is written once; serve in a role of its own: annona init --app-role, or annona migrate --app-role")
	}
	if e.Version < 150000 {
		x.found("database_version", problem, "the server is older than PostgreSQL 15; upgrade it")
	}
	if !e.Autovacuum {
		x.found("database_vacuum", problem, "autovacuum is off, so that what was erased stays in the files; set autovacuum = on")
	}
	if !e.Checksums {
		x.found("database_checksums", note, "the server does not notice damaged pages; pg_checksums --enable switches that on while it is stopped")
	}
	if len(x.findings) == before {
		x.found("database", well, "role and settings of the database are right")
	}
}

func (x *examination) requests(ctx context.Context) {
	open, err := x.folder.store.OpenRequests(ctx)
	switch {
	case err != nil:
		x.failed("open_requests", err)
	case len(open) > 0:
		x.found("open_requests", note, "%d requests have no outcome in the ledger; those that are not running now get one when the server starts", len(open))
	default:
		x.found("open_requests", well, "every request has its outcome in the ledger")
	}
}

func (x *examination) erasures(ctx context.Context) {
	stones, err := x.folder.gate.Erasures(ctx, operator())
	if err != nil {
		x.failed("erasures", err)
		return
	}
	unfinished := 0
	for _, stone := range stones {
		if stone.ShreddedAt.IsZero() {
			unfinished++
		}
	}
	if unfinished > 0 {
		x.found("erasures", problem, "%d erasures were interrupted before the key was destroyed; start annona serve, which finishes them", unfinished)
		return
	}
	x.found("erasures", well, "every erasure has destroyed its key")
}

// tombstones compares the registry with the file that a restore needs.
func (x *examination) tombstones(ctx context.Context) {
	unkept, unburied, err := x.folder.strayTombstones(ctx)
	switch {
	case err != nil:
		x.failed("tombstones", err)
	case len(unkept) > 0:
		x.found("tombstones", problem, "the file of tombstones lacks %d that the registry has, so that a restore would be refused; run annona subject tombstones", len(unkept))
	case len(unburied) > 0:
		x.found("tombstones", problem, "the file of tombstones has %d of erasures that did not come to their end; run annona subject tombstones --finish", len(unburied))
	default:
		x.found("tombstones", well, "the file of tombstones has all that the registry has; keep a copy where the loss of this machine does not reach")
	}
}

// keys looks at the key store: whether the clock can be right, and what is due.
func (x *examination) keys(ctx context.Context) {
	all, err := x.folder.secrets.List()
	if err != nil {
		x.failed("keys", err)
		return
	}
	newest := slices.MaxFunc(all, func(a, b annona.Secret) int { return a.At.Compare(b.At) })
	if newest.At.After(x.now.Add(clockPatience)) {
		x.found("clock", problem, "the clock of this machine says %s, and keys were made %s later; set the clock, and keep it with NTP", x.now.UTC().Format(time.RFC3339), newest.At.Sub(x.now).Round(time.Minute))
	} else {
		x.found("clock", well, "the clock is later than everything in the key store")
	}
	x.generations(ctx)
	x.recovery()
}

// generations looks whether keys are rotated in time: until then no erasure becomes complete.
func (x *examination) generations(ctx context.Context) {
	status, err := x.folder.vault.Status(ctx)
	switch {
	case err != nil:
		x.failed("generations", err)
	case status.Overdue:
		x.found("generations", problem, "the keys should have been rotated by now, and erasures do not become complete; keep annona serve running, or run annona key rotate")
	default:
		x.found("generations", well, "the keys are rotated in time")
	}
}

func (x *examination) recovery() {
	recoverable, err := x.folder.vault.HasRecoverySecret()
	switch {
	case err != nil:
		x.failed("recovery_secret", err)
	case !recoverable:
		x.found("recovery_secret", problem, "there is no recovery secret: whoever loses root.key loses the registry; make one with annona key recovery-secret, and keep it on paper")
	case exists(x.Data, recoveryFile):
		x.found("recovery_secret", problem, "the recovery secret still lies beside what it recovers, in %s; write it on paper, then delete the file", filepath.Join(x.Data, recoveryFile))
	default:
		x.found("recovery_secret", well, "a recovery secret opens the registry when root.key is lost")
	}
}

// indexes looks how the indexes of hashes stand.
func (x *examination) indexes(ctx context.Context) {
	identifiers, err := x.folder.gate.IndexStatus(ctx, operator(), annona.IndexIdentifiers)
	if err != nil {
		x.failed("identifier_index", err)
		return
	}
	if identifiers.Whole {
		x.found("identifier_index", well, "the index of identifiers has one key")
	} else {
		x.found("identifier_index", note, "the index of identifiers is being written anew, and look-ups use two keys; keep annona serve running, or run annona key reindex")
	}
	names, err := x.folder.gate.IndexStatus(ctx, operator(), annona.IndexNames)
	switch {
	case err != nil:
		x.failed("name_search", err)
	case !names.On && names.Rows > 0:
		x.found("name_search", problem, "the search by names is off, and %d rows of its index are left; keep annona serve running, or run annona key reindex", names.Rows)
	case !names.On:
		x.found("name_search", well, "names cannot be searched, and nothing of them is indexed")
	default:
		x.found("name_search", note, "names can be searched: whoever steals the records sees which hashes of names are frequent in them; switch it off with annona name-search off when nobody needs it")
	}
}

// clients looks for keys of a demonstration.
func (x *examination) clients(ctx context.Context) {
	clients, err := x.folder.store.Clients(ctx)
	if err != nil {
		x.failed("api_keys", err)
		return
	}
	var demo, expiring []string
	for _, client := range clients {
		switch {
		case !client.RevokedAt.IsZero() || x.now.After(client.ExpiresAt):
		case client.Demo != x.folder.vault.Demo():
			demo = append(demo, client.ID.String())
		case client.ExpiresAt.Sub(x.now) < soon:
			expiring = append(expiring, client.ID.String())
		}
	}
	if x.folder.vault.Demo() {
		x.found("demo", note, "this is a demonstration: invented people, loopback only")
	}
	if len(demo) > 0 {
		x.found("api_keys", problem, "API keys of a demonstration are on file: %s; revoke them with annona key revoke", strings.Join(demo, ", "))
	}
	if len(expiring) > 0 {
		x.found("api_keys", note, "API keys expire within two weeks: %s; give their partners new ones", strings.Join(expiring, ", "))
	}
	if len(demo)+len(expiring) == 0 {
		x.found("api_keys", well, "no API key is of a demonstration or about to expire")
	}
}

const soon = 14 * 24 * time.Hour
