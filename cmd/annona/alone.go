package main

import (
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/annona-exchange/annona"
)

// servingFile is locked by the server of a data folder. The system drops the lock with the process.
const servingFile = "serving.lock"

// serveAlone keeps other servers from the folder until end is called. A registry in a file has one server: it
// ends what an earlier run has left open, and counts what clients ask for. One in PostgreSQL has as many as
// it needs. Code already_served.
func (f *folder) serveAlone() (end func(), err error) {
	if f.database != "" {
		return func() {}, nil
	}
	lock := flock.New(filepath.Join(f.path, servingFile), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, annona.Unavailable("folder_unwritable", "the data folder cannot be written; check its rights").Because(err)
	case !locked:
		return nil, annona.Conflict("already_served", "another server serves this folder; stop it first. Several servers share a registry in PostgreSQL: give --database")
	}
	return func() { _ = lock.Unlock() }, nil
}
