package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/backup"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// restoreCommand makes a registry from a backup, a copy of its keys, its root key and the
// tombstones. It looks through all of them before it writes anything, and nothing that it has
// written is served before the last step.
type restoreCommand struct {
	dataFlag
	tombstonesFlag
	AppRole     string `placeholder:"ROLE" help:"Database role that will serve, as annona init takes it."`
	KeysRole    string `placeholder:"ROLE" help:"Database role that alone will reach the keys, as annona init takes it."`
	From        string `required:"" type:"existingfile" placeholder:"FILE" help:"The backup."`
	Identity    string `required:"" type:"existingfile" placeholder:"FILE" help:"File with the identity of age that opens backup and keys. Remove it from this machine afterwards."`
	Keys        string `required:"" placeholder:"FILE" help:"A copy of the keys, at least as new as the backup; or kept: the key store in the folder or in the database, which was not lost."`
	Recover     bool   `help:"Rebuild root.key from the recovery secret, which is read from standard input. Without it, root.key lies in the data folder already."`
	ExpiredKeys bool   `help:"Take a copy of the keys also after its day of expiry. The ledger tells."`
	Drill       bool   `help:"Rehearse: take every step, print a receipt for annona doctor --drill, and remove the registry that was made."`
	JSON        bool   `name:"json" help:"Print the report as JSON."`
}

// kept stands for the key store that is there.
const kept = "kept"

// revived is the report of a restore.
type revived struct {
	MadeAt   time.Time `json:"made_at"` // of the backup
	Rows     int64     `json:"rows"`
	Opened   int64     `json:"records_opened"`
	Erased   int       `json:"erased_again"`
	Position int64     `json:"log_position"`
	Ledger   int64     `json:"ledger_size"` // of the backup
	Root     string    `json:"ledger_root"`
	Seconds  float64   `json:"seconds"`
	Receipt  string    `json:"receipt,omitempty"` // of a drill
}

func (r restoreCommand) Run(ctx context.Context, c console) error {
	started := time.Now()
	plan, err := r.prepare(ctx, c)
	if err != nil {
		return err
	}
	report, err := r.restore(ctx, c, plan)
	if r.Drill && plan.loaded {
		err = errors.Join(err, plan.remove(ctx))
	}
	if err != nil {
		return err
	}
	report.Seconds = time.Since(started).Seconds()
	return r.print(c, report)
}

// restorePlan is what a restore has found out before it writes.
type restorePlan struct {
	identities []age.Identity
	header     backup.Header
	manifest   backup.Manifest
	proof      string // tells the backup from every other
	keys       *backup.Header
	keyParts   backup.Manifest
	stones     []annona.Tombstone
	folder     *folder
	vault      *vault.Vault // over the keys that will be in force, as far as they are needed here
	loaded     bool         // something was written
}

// prepare looks through everything that the restore needs, and writes nothing.
func (r restoreCommand) prepare(ctx context.Context, c console) (p *restorePlan, err error) {
	p = &restorePlan{}
	if p.folder, err = r.folder(r.Tombstones); err != nil {
		return nil, err
	}
	if p.identities, err = readIdentities(r.Identity); err != nil {
		return nil, err
	}
	if err := r.inspectKeys(ctx, c, p); err != nil {
		return nil, err
	}
	buried, err := r.inspectBackup(p)
	if err != nil {
		return nil, err
	}
	if err := r.checkKeys(p); err != nil {
		return nil, err
	}
	return p, r.readTombstones(p, buried)
}

func readIdentities(path string) ([]age.Identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err)).On("identity")
	}
	defer file.Close()
	return backup.ParseIdentities(file)
}

// openSealed opens a backup or a copy of keys for one reading.
func openSealed(path string, identities []age.Identity, kind backup.Kind) (*backup.Reader, *os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err)).On(string(kind))
	}
	reader, err := backup.NewReader(file, identities)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	if reader.Header.Kind != kind {
		reader.Close()
		return nil, nil, errors.Join(annona.Invalid("backup_kind", "--from takes a backup, --keys a copy of the keys; this file is the other one").On(string(kind)), file.Close())
	}
	return reader, file, nil
}

// inspectBackup reads the whole backup and checks that this registry wrote it. It returns the ids
// of the tombstones in it.
func (r restoreCommand) inspectBackup(p *restorePlan) (map[string]bool, error) {
	reader, file, err := openSealed(r.From, p.identities, backup.Registry)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	defer reader.Close()
	p.header = reader.Header
	if want := r.storeKind(); p.header.Kind != backup.Registry || p.header.StoreState.Kind != want {
		return nil, annona.Conflict("backup_store", "the backup is of a registry in %s, and is restored into the same kind of store: %s", p.header.StoreState.Kind, r.storeHint(p.header.StoreState.Kind))
	}
	buried := &tombstoneIDs{ids: map[string]bool{}}
	if p.manifest, err = reader.Read(buried); err != nil {
		return nil, err
	}
	if err := reader.Verify(proving(p.vault)); err != nil {
		return nil, err
	}
	p.proof = reader.Proof()
	return buried.ids, nil
}

func (r restoreCommand) storeKind() string {
	if r.Database != "" {
		return postgres.Kind
	}
	return sqlite.Kind
}

func (r restoreCommand) storeHint(kind string) string {
	if kind == postgres.Kind {
		return "name an empty database with --database"
	}
	return "leave --database out"
}

// checkKeys refuses a copy of keys that is another registry's, older than the backup, or too old.
func (r restoreCommand) checkKeys(p *restorePlan) error {
	switch {
	case p.keys == nil:
		return nil
	case p.keys.StoreState.Kind != p.header.StoreState.Kind:
		return annona.Conflict("backup_store", "the copy of the keys is of a registry in %s, the backup of one in %s; use two of the same registry", p.keys.StoreState.Kind, p.header.StoreState.Kind)
	case p.keys.Made.Before(p.header.Made):
		return annona.Conflict("keys_too_old", "the copy of the keys is older than the backup, so that people who came in between could not be read; use one that was taken after the backup, or an older backup").On("keys")
	case time.Now().After(p.keys.Expires) && !r.ExpiredKeys:
		return annona.Conflict("keys_expired", "the copy of the keys should have been deleted on %s: it can bring keys back that were destroyed since. Use a newer one. When there is none, --expired-keys takes it; then give all tombstones", p.keys.Expires.Format(time.DateOnly)).On("keys")
	}
	return nil
}

// readTombstones reads those that keep erased people away, and refuses a file that is older than
// the backup: it lacks some that the backup has.
func (r restoreCommand) readTombstones(p *restorePlan, buried map[string]bool) (err error) {
	file := backup.Tombstones{Path: p.folder.tombstones, Sealer: p.vault}
	if p.stones, err = file.Read(); err != nil {
		return err
	}
	missing := len(buried)
	for _, stone := range p.stones {
		if buried[string(stone.ID[:])] {
			missing--
		}
	}
	if missing > 0 {
		return annona.Conflict("tombstones_too_old", "the file of tombstones is older than the backup: it lacks %d that the backup has, and so may lack those of later erasures. Use the newest copy of the file", missing).On("tombstones")
	}
	return nil
}

// restore takes the steps that write.
func (r restoreCommand) restore(ctx context.Context, c console, p *restorePlan) (report revived, err error) {
	report = revived{MadeAt: p.header.Made, Rows: p.manifest.Rows(), Position: p.header.Position, Ledger: p.header.LedgerSize, Root: fmt.Sprintf("%x", p.header.LedgerRoot)}
	if err := r.load(ctx, c, p); err != nil {
		return report, err
	}
	p.loaded = true
	f, err := r.folder("") // the file of tombstones that was given stays as it is
	if err != nil {
		return report, err
	}
	f.unfinished = true
	if err := f.open(ctx); err != nil {
		return report, errors.Join(err, f.Close())
	}
	return report, errors.Join(r.finish(ctx, f, p, &report), f.Close())
}

// load makes the registry.
func (r restoreCommand) load(ctx context.Context, c console, p *restorePlan) error {
	rows := newProgress(c, p.manifest.Rows()+p.keyParts.Rows(), "rows")
	defer rows.done()
	contents := annona.Contents{Schema: p.header.Schema, Records: filling(r.From, p.identities, backup.Registry, p.manifest, rows)}
	if p.keys != nil {
		contents.KeySchema = p.keys.Schema
		contents.Keys = filling(r.Keys, p.identities, backup.Keys, p.keyParts, rows)
	}
	if r.Database != "" {
		return postgres.Load(ctx, p.folder.database, postgres.Setup{Dictionary: annona.Standard(), App: r.AppRole, Keys: r.KeysRole}, contents)
	}
	return sqlite.Load(ctx, r.Data, contents)
}

// filling reads a file that was looked through before, and refuses it when it has changed since.
func filling(path string, identities []age.Identity, kind backup.Kind, seen backup.Manifest, rows *progress) annona.Fill {
	return func(to annona.TableSink) error {
		reader, file, err := openSealed(path, identities, kind)
		if err != nil {
			return err
		}
		defer file.Close()
		defer reader.Close()
		m, err := reader.Read(counting{to, rows})
		if err == nil && !m.Equal(seen) {
			err = annona.Conflict("backup_changed", "the file was changed while it was restored; nothing of it counts. Run the restore again")
		}
		return err
	}
}

// finish makes what was loaded fit to serve.
func (r restoreCommand) finish(ctx context.Context, f *folder, p *restorePlan, report *revived) (err error) {
	restored := exchange.Restored{
		Made: annona.Instant(p.header.Made), Position: p.header.Position, LedgerSize: p.header.LedgerSize, Proof: p.proof, Keys: kept, Drill: r.Drill,
	}
	if p.keys != nil {
		restored.Keys = "copy of " + annona.Instant(p.keys.Made)
	}
	if restored.Last, err = lastNumbers(ctx, f, p.stones); err != nil {
		return err
	}
	if err := f.gate.Revive(ctx, operator(), f.store, restored); err != nil {
		return err
	}
	if report.Erased, err = f.gate.Rebury(ctx, operator(), p.stones, p.keys != nil); err != nil {
		return err
	}
	report.Opened, err = f.gate.CheckSealed(ctx, operator())
	if annona.CodeOf(err) == "key_gone" {
		return annona.Conflict("tombstones_too_old", "records of the backup have no key: their people were erased after the tombstones were copied, or the keys are older than the backup. Use the newest copies of both; the registry stays shut until then").On("tombstones")
	}
	if err != nil {
		return err
	}
	keys, err := f.vault.CheckpointKeys()
	if err != nil {
		return err
	}
	checked, err := audit.Verify(ctx, f.ledger(), audit.Evidence{Keys: keys})
	if err != nil {
		return err
	}
	if !checked.Whole() {
		return annona.Conflict("ledger_deviates", "the ledger in the backup is not what was written; the registry stays shut. Use another backup, and tell the data protection officer")
	}
	if r.Drill {
		report.Receipt = f.vault.DrillProof()
		return nil
	}
	if err := f.keepTombstones(ctx); err != nil {
		return err
	}
	return f.store.Release(ctx)
}

// lastNumbers returns the highest numbers that keys and tombstones know: none of them is given out
// again, although the registry of the backup does not know them.
func lastNumbers(ctx context.Context, f *folder, stones []annona.Tombstone) (map[string]annona.Number, error) {
	keys, err := f.secrets.LastKeys(ctx)
	if err != nil {
		return nil, err
	}
	last := map[string]annona.Number{}
	for _, name := range []string{"households", "individuals"} {
		dataset, _ := f.gate.CurrentDictionary().Dataset(name)
		last[name] = keys[dataset.Noun]
	}
	for _, stone := range stones {
		last[stone.Dataset] = max(last[stone.Dataset], stone.Number)
	}
	return last, nil
}

// remove removes what a drill has made, and leaves what was there before.
func (p *restorePlan) remove(ctx context.Context) error {
	if p.folder.database != "" {
		return postgres.Unload(ctx, p.folder.database)
	}
	return sqlite.Unload(p.folder.path)
}

func (r restoreCommand) print(c console, report revived) error {
	if r.JSON {
		return json.NewEncoder(c.out).Encode(report)
	}
	fmt.Fprintf(c.out, "%d rows restored, %d records opened, %d erased again, in %.1f s\n", report.Rows, report.Opened, report.Erased, report.Seconds)
	if r.Drill {
		_, err := fmt.Fprintf(c.out, "The drill has succeeded; what it made is removed again. On the machine that serves, run:\n  annona doctor --data %s --drill %s\nThen delete this folder, with its root key.\n", "DIR", report.Receipt)
		return err
	}
	made := report.MadeAt.Format(time.RFC3339)
	_, err := fmt.Fprintf(c.out, `The registry is as it was at %[1]s, and may be served. The ledger is whole.
Before you serve:
  - record again what came in since %[1]s: restrictions, objections, withdrawn consents
  - revoke again the API keys that were revoked since, and apply agreements that were changed since
  - import again what was imported since
Tell your partners:
  - the registry was restored to its state of %[1]s: ledger entry %[2]d, root %[3]s
  - whoever holds a later checkpoint will find that the ledger was rolled back; this is why
  - positions from before are answered 410 resync: load again from a full export
Remove the identity %[4]s from this machine.
`, made, report.Ledger, report.Root, filepath.Base(r.Identity))
	return err
}
