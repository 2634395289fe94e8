package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// disk is the files of a folder as a disk knows them: what was synced lies on it for certain,
// what was only written may, in any part and in any order.
//
// It is stricter than most file systems: a name is certain only once its folder was synced.
type disk struct {
	root    string
	names   map[string]*file // as the program sees them
	certain map[string]*file // as they are after a cut
	renamed []naming         // what lies between
}

// file is the content of a file.
type file struct {
	certain []byte
	pending []change
}

// change is a write or a truncation that was not synced.
type change struct {
	at       int64
	data     []byte
	truncate bool
	ended    int
}

// naming is a change of names; a nil file takes the name away.
type naming struct {
	paths []string
	files []*file
	ended int
}

// sector is what a disk writes whole.
const sector = 512

// readDisk takes the files of a folder as certain.
func readDisk(root string) (*disk, error) {
	d := &disk{root: root, names: map[string]*file{}, certain: map[string]*file{}}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		path := filepath.Join(root, e.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f := &file{certain: content}
		d.names[path], d.certain[path] = f, f
	}
	return d, nil
}

// move has the files lie in another folder: where they lay when the trace was made.
func (d *disk) move(root string) {
	moved := map[string]*file{}
	for path, f := range d.names {
		moved[filepath.Join(root, filepath.Base(path))] = f
	}
	d.root, d.names, d.certain = root, moved, maps.Clone(moved)
}

// holds reports whether the path is one of the folder's files. The file of shared memory is
// none: it is made anew from the others.
func (d *disk) holds(path string) bool {
	return strings.HasPrefix(path, d.root+"/") && !strings.HasSuffix(path, "-shm")
}

// apply lets a call that has ended have its effect.
func (d *disk) apply(c *call) error {
	if c.result < 0 {
		return nil
	}
	switch c.name {
	case "open", "openat", "creat":
		d.open(c)
	case "pwrite64":
		d.write(c, c.number(3))
	case "ftruncate":
		if f := d.names[c.path]; f != nil {
			f.pending = append(f.pending, change{at: c.number(1), truncate: true, ended: c.ended})
		}
	case "fsync", "fdatasync":
		d.sync(c)
	case "unlink":
		d.name(c.ended, []string{c.args[0]}, []*file{nil})
	case "unlinkat":
		d.name(c.ended, []string{c.args[1]}, []*file{nil})
	case "rename":
		d.name(c.ended, []string{c.args[0], c.args[1]}, []*file{nil, d.names[c.args[0]]})
	case "renameat", "renameat2":
		d.name(c.ended, []string{c.args[1], c.args[3]}, []*file{nil, d.names[c.args[1]]})
	case "write":
		if f := d.names[c.path]; f != nil { // at the end: nothing seeks
			d.write(c, f.size())
		}
	case "mmap":
		if d.holds(pathOf(c.arg(4))) && strings.Contains(c.arg(2), "PROT_WRITE") && strings.Contains(c.arg(3), "MAP_SHARED") {
			return fmt.Errorf("%s is written through memory, which no trace shows", pathOf(c.arg(4)))
		}
	case "linkat":
		d.name(c.ended, []string{c.arg(3)}, []*file{d.names[c.arg(1)]})
	case "mkdir", "mkdirat": // folders in the folder hold nothing that is promised
	default:
		if d.holds(c.path) || slices.ContainsFunc(c.args, d.holds) {
			return fmt.Errorf("the program uses %s, which the model of a disk does not know", c.name)
		}
	}
	return nil
}

func (c *call) arg(n int) string {
	if n >= len(c.args) {
		return ""
	}
	return c.args[n]
}

func (d *disk) open(c *call) {
	if !d.holds(c.path) || d.names[c.path] != nil && !strings.Contains(strings.Join(c.args, " "), "O_TRUNC") {
		return
	}
	if !strings.Contains(strings.Join(c.args, " "), "O_CREAT") {
		return
	}
	if f := d.names[c.path]; f != nil {
		f.pending = append(f.pending, change{truncate: true, ended: c.ended})
		return
	}
	d.name(c.ended, []string{c.path}, []*file{{}})
}

func (d *disk) write(c *call, at int64) {
	if f := d.names[c.path]; f != nil {
		f.pending = append(f.pending, change{at: at, data: c.written(), ended: c.ended})
	}
}

// size is the size of a file as the program sees it.
func (f *file) size() int64 { return int64(len(f.content(func() bool { return true }))) }

func (d *disk) name(ended int, paths []string, files []*file) {
	if !slices.ContainsFunc(paths, d.holds) {
		return
	}
	n := naming{paths: paths, files: files, ended: ended}
	n.apply(d.names)
	d.renamed = append(d.renamed, n)
}

func (n naming) apply(to map[string]*file) {
	for i, path := range n.paths {
		if n.files[i] == nil {
			delete(to, path)
		} else {
			to[path] = n.files[i]
		}
	}
}

// sync makes certain what had ended before the call began.
func (d *disk) sync(c *call) {
	if c.path == d.root {
		d.renamed = slices.DeleteFunc(d.renamed, func(n naming) bool {
			if n.ended < c.began {
				n.apply(d.certain)
			}
			return n.ended < c.began
		})
		return
	}
	f := d.names[c.path]
	if f == nil {
		return
	}
	f.pending = slices.DeleteFunc(f.pending, func(p change) bool {
		if p.ended < c.began {
			f.certain = p.apply(f.certain, func() bool { return true })
		}
		return p.ended < c.began
	})
}

// apply writes those sectors of a change that keep says.
func (p change) apply(to []byte, keep func() bool) []byte {
	if p.truncate {
		if !keep() {
			return to
		}
		return resize(to, p.at)
	}
	for from := int64(0); from < int64(len(p.data)); {
		until := min(int64(len(p.data)), (p.at+from)/sector*sector+sector-p.at)
		if keep() {
			if end := p.at + until; end > int64(len(to)) {
				to = resize(to, end)
			}
			copy(to[p.at+from:], p.data[from:until])
		}
		from = until
	}
	return to
}

func resize(to []byte, size int64) []byte {
	if size <= int64(len(to)) {
		return to[:size]
	}
	return append(to, make([]byte, size-int64(len(to)))...)
}

// content is what a file may hold after a cut.
func (f *file) content(keep func() bool) []byte {
	out := slices.Clone(f.certain)
	for _, p := range f.pending {
		out = p.apply(out, keep)
	}
	return out
}

// cut writes the files as they may be after a cut into another folder. kept is how likely a
// sector is to be there that was written and not synced: 0 loses all, 1 none.
func (d *disk) cut(to string, kept float64, r *rand.Rand) error {
	keep := func() bool { return r.Float64() < kept }
	names := map[string]*file{}
	for path, f := range d.certain {
		names[path] = f
	}
	for _, n := range d.renamed { // names are kept in their order
		if !keep() {
			break
		}
		n.apply(names)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for path, f := range names {
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), f.content(keep), 0o600); err != nil {
			return err
		}
	}
	return nil
}
