package sqlite

import (
	"os"
	"syscall"

	"github.com/annona-exchange/annona"
)

// turns tells the processes that write to one registry of each other: whoever waits for its turn holds
// a shared lock on the folder, and whoever has just written looks for it. The engine itself has no
// queue: a load that begins again at once would win each time. The lock is not part of the file, and
// the system drops it with the process.
type turns struct{ folder *os.File }

// tellsTurns: there are such locks on this system.
const tellsTurns = true

func openTurns(dir string) (turns, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return turns{}, annona.Unavailable("store_unreadable", "the data folder cannot be opened; check its rights").Because(err)
	}
	return turns{folder}, nil
}

func (t turns) lock(how int) bool {
	return t.folder != nil && syscall.Flock(int(t.folder.Fd()), how|syscall.LOCK_NB) == nil
}

// wait says that this process waits, until over is called. It may have to be said again.
func (t turns) wait() bool { return t.lock(syscall.LOCK_SH) }
func (t turns) over()      { t.lock(syscall.LOCK_UN) }

// waiting reports whether another process waits.
func (t turns) waiting() bool {
	if t.folder == nil {
		return false
	}
	alone := t.lock(syscall.LOCK_EX)
	t.over()
	return !alone
}

func (t turns) close() error {
	if t.folder == nil {
		return nil
	}
	return t.folder.Close()
}
