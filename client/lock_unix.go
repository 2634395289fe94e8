//go:build unix

package client

import (
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps a second pull out of a folder. It is let go with the process, however that ends.
func lock(folder string) (release func(), err error) {
	file, err := os.OpenFile(filepath.Join(folder, ".annona.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, onDisk(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, &Error{Code: "folder_busy", Detail: "another pull works in this folder; wait until it ends"}
	}
	return func() { file.Close() }, nil
}
