package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/backup"
	"github.com/annona-exchange/annona/vault"
)

// inspectKeys reads the wrapped secrets of the key store that will be in force, so that the vault
// can say whether root key, keys and backup belong together before anything is loaded.
func (r restoreCommand) inspectKeys(ctx context.Context, c console, p *restorePlan) error {
	found := &wrappedSecrets{}
	if r.Keys == kept {
		err := keyDumper{p.folder}.Dump(ctx, func(annona.StoreState) (annona.TableSink, error) { return found, nil })
		if err != nil {
			return err
		}
		return r.openVault(c, p, found)
	}
	reader, file, err := openSealed(r.Keys, p.identities, backup.Keys)
	if err != nil {
		return err
	}
	defer file.Close()
	defer reader.Close()
	if p.keyParts, err = reader.Read(found); err != nil {
		return err
	}
	p.keys = &reader.Header
	if err := r.openVault(c, p, found); err != nil {
		return err
	}
	return reader.Verify(proving(p.vault))
}

// openVault opens the vault over keys in memory, with the root key that is there or the one that the
// recovery secret gives.
func (r restoreCommand) openVault(c console, p *restorePlan, keys annona.KeyStore) (err error) {
	i := installation(r.Data, keys)
	if !r.Recover {
		p.vault, err = vault.Open(i)
		return err
	}
	secret, err := c.readSecret()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Data, 0o700); err != nil {
		return annona.Invalid("folder_unusable", "the data folder cannot be made: %s", reason(err))
	}
	p.vault, err = vault.Recover(i, secret)
	if annona.CodeOf(err) == "root_key_works" { // an earlier run has made it
		p.vault, err = vault.Open(i)
	}
	return err
}

// wrappedSecrets takes the secrets out of a dump of a key store. It is a key store without subject
// keys, in memory.
type wrappedSecrets struct {
	annona.SubjectKeys
	all     []annona.Secret
	columns map[string]int // of the table of secrets; nil in others
}

func (w *wrappedSecrets) Table(t annona.Table) error {
	w.columns = nil
	if t.Name != "secrets" {
		return nil
	}
	w.columns = map[string]int{}
	for i, c := range t.Columns {
		w.columns[c.Name] = i
	}
	for _, name := range []string{"label", "version", "at", "wrapped"} {
		if _, known := w.columns[name]; !known {
			return annona.Conflict("backup_too_new", "the copy of the keys has another form than this version knows; use the version that wrote it")
		}
	}
	return nil
}

func (w *wrappedSecrets) Row(row annona.TableRow) error {
	if w.columns == nil {
		return nil
	}
	cell := func(name string) []byte { return row[w.columns[name]] }
	number := func(name string) int64 {
		if b := cell(name); len(b) == 8 {
			return int64(binary.BigEndian.Uint64(b))
		}
		return 0
	}
	w.all = append(w.all, annona.Secret{
		Label: string(cell("label")), Version: int(number("version")), At: time.Unix(0, number("at")).UTC(), Wrapped: bytes.Clone(cell("wrapped")),
	})
	return nil
}

func (w *wrappedSecrets) Get(label string, version int) (found annona.Secret, err error) {
	for _, s := range w.all {
		if s.Label == label && s.Version == version {
			found = s
		}
	}
	return found, nil
}

func (w *wrappedSecrets) Latest(label string) (latest annona.Secret, err error) {
	for _, s := range w.all {
		if s.Label == label && s.Version > latest.Version {
			latest = s
		}
	}
	return latest, nil
}

func (w *wrappedSecrets) List() ([]annona.Secret, error) { return slices.Clone(w.all), nil }

// Put keeps a secret for this restore only: the registry makes its own when it is opened.
func (w *wrappedSecrets) Put(s annona.Secret) error {
	w.all = append(w.all, s)
	return nil
}

func (w *wrappedSecrets) Rewrap([]annona.Secret) error { return errReadOnlyKeys }

func (w *wrappedSecrets) Destroy(string, int) error { return errReadOnlyKeys }

var errReadOnlyKeys = annona.Internal("change keys that are only looked at", nil)

// tombstoneIDs takes the ids of the tombstones out of a backup.
type tombstoneIDs struct {
	ids map[string]bool
	id  int // column; −1 in other tables
}

func (t *tombstoneIDs) Table(table annona.Table) error {
	t.id = -1
	if table.Name == "tombstones" {
		t.id = slices.IndexFunc(table.Columns, func(c annona.TableColumn) bool { return c.Name == "id" })
	}
	return nil
}

func (t *tombstoneIDs) Row(row annona.TableRow) error {
	if t.id >= 0 {
		t.ids[string(row[t.id])] = true
	}
	return nil
}
