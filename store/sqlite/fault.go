package sqlite

import (
	"context"
	"errors"
	"io/fs"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// fault turns a failure into an annona.Error. The text of the engine's error can hold values,
// so only its result code is kept as the cause.
func fault(doing string, err error) error {
	var known *annona.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	code := sqlite.ErrCode(err)
	cause := errors.New(code.String())
	switch code.ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultLocked:
		return errBusy().Because(cause)
	case sqlite.ResultFull:
		return annona.Unavailable("store_full", "the disk of the data folder is full; nothing of this change was kept. Make room and try again").Because(cause)
	case sqlite.ResultReadOnly, sqlite.ResultPerm, sqlite.ResultAuth:
		return annona.Unavailable("store_read_only", "the data folder cannot be written; nothing of this change was kept. Check its owner and permissions").Because(cause)
	case sqlite.ResultCantOpen:
		return annona.Unavailable("store_unreadable", "the data folder cannot be opened for writing; check its owner, its permissions, and that its disk is mounted for writing").Because(cause)
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return annona.Unavailable("store_damaged", "the registry's file is damaged; stop, keep a copy of the folder, and restore a backup").Because(cause)
	case sqlite.ResultIOErr:
		return annona.Unavailable("store_io", "the disk of the data folder is full or reports errors; nothing of this change was kept. Look at its free space first").Because(cause)
	}
	return annona.Internal(doing, cause)
}

func errBusy() *annona.Error {
	return annona.Unavailable("store_busy", "another process is writing to the data folder for too long; try again")
}

func fileFault(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return annona.Unavailable("store_read_only", "the data folder cannot be written; check its owner and permissions")
	}
	return annona.Unavailable("store_unreadable", "the data folder cannot be made or opened; check its path")
}

// isBusy reports whether somebody else holds the lock that err was refused for.
func isBusy(err error) bool {
	primary := sqlite.ErrCode(err).ToPrimary()
	return primary == sqlite.ResultBusy || primary == sqlite.ResultLocked
}
