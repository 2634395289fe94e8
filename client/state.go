package client

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stateFile lies in the folder that exports are pulled into.
const stateFile = ".annona.json"

// state is what one pull tells the next one. It holds no personal data and no secret.
type state struct {
	Checkpoint string             `json:"checkpoint,omitempty"` // the last one that was seen
	Specs      map[string]*pulled `json:"specifications"`

	path string
}

// pulled is what is known of a specification.
type pulled struct {
	Last    string    `json:"last,omitempty"`    // export that is here
	AskedAt time.Time `json:"asked_at,omitzero"` // for it
	Since   string    `json:"since,omitempty"`   // its position: where the next delta begins
	Pending string    `json:"pending,omitempty"` // export that is on its way here
	Key     string    `json:"key,omitempty"`     // of the request that asks for one
}

func readState(folder string) (*state, error) {
	s := &state{Specs: map[string]*pulled{}, path: filepath.Join(folder, stateFile)}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil || s.Specs == nil {
		return nil, &Error{Code: "state_unreadable", Detail: "what was kept of earlier pulls cannot be read; without it a ledger that was changed goes unnoticed", Name: stateFile, cause: err}
	}
	return s, nil
}

func (s *state) of(spec string) *pulled {
	if s.Specs[spec] == nil {
		s.Specs[spec] = &pulled{}
	}
	return s.Specs[spec]
}

// keep replaces the file as a whole, durably.
func (s *state) keep() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(s.path, append(text, '\n'))
}

// writeFile gives a file its name when all of it has reached the disk.
func writeFile(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return onDisk(err)
	}
	defer os.Remove(file.Name()) // when it has not got its name
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return onDisk(err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return onDisk(err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return onDisk(err)
	}
	defer folder.Close()
	_ = folder.Sync() // some file systems cannot
	return nil
}

// onDisk is a failure of this side.
func onDisk(err error) error {
	if e := (*Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	e := &Error{Code: "output_failed", Detail: "the folder cannot be written: " + err.Error(), cause: err}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		e.Detail, e.Name = "the folder cannot be written: "+path.Err.Error(), filepath.Base(path.Path)
	}
	return e
}
