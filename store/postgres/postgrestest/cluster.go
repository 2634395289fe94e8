// Package postgrestest starts a PostgreSQL server of a test's own, in a temporary folder,
// reached through a socket in that folder. It knows how to start and stop one, and nothing of
// what is kept in it. It is for tests and benchmarks only.
package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrNotInstalled says that this machine has no PostgreSQL, and how it gets one. Tests skip.
var ErrNotInstalled = errors.New("PostgreSQL is not installed; on Debian or Ubuntu: sudo apt-get install postgresql")

// Cluster is a server with its databases. Everybody who reaches its folder is let in, except
// for roles named needs_password and sync_reader.
type Cluster struct {
	dir   string
	bin   string
	owner *syscall.Credential // nil: the user of the test
}

// Start makes a cluster and starts its server. Whoever calls it calls Remove.
func Start() (*Cluster, error) {
	bin, err := Programs()
	if err != nil {
		return nil, err
	}
	return start(bin, (*Cluster).make)
}

// Standby makes a copy of the cluster that follows it, and starts its server. Whoever calls it
// calls Remove.
func (c *Cluster) Standby() (*Cluster, error) {
	return start(c.bin, func(s *Cluster) error {
		if err := s.run("pg_basebackup", "-D", s.data(), "-h", c.dir, "-U", "postgres", "-c", "fast", "-R", "--no-sync"); err != nil {
			return err
		}
		return s.Up()
	})
}

// start has build make a cluster in a folder of its own.
func start(bin string, build func(*Cluster) error) (*Cluster, error) {
	dir, err := os.MkdirTemp(home(), "annona-pg")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin}
	if err := c.dropRights(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := build(c); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// home is the folder in which clusters are made: one that lies in memory, where the system has one with
// enough room. There a commit waits for no disk, and none of these clusters outlives its machine.
func home() string {
	const inMemory, room = "/dev/shm", 4 << 30
	var s syscall.Statfs_t
	if err := syscall.Statfs(inMemory, &s); err != nil || int64(s.Bavail)*int64(s.Bsize) < room {
		return os.TempDir()
	}
	return inMemory
}

// Programs returns the folder of initdb, pg_ctl and the other programs of a server, or
// ErrNotInstalled.
func Programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well formed
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	for i := len(found) - 1; i >= 0; i-- {
		if path, err := filepath.EvalSymlinks(found[i]); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", ErrNotInstalled
}

func (c *Cluster) make() error {
	if err := c.run("initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	access := "local all needs_password,sync_reader scram-sha-256\nlocal all all trust\nlocal replication all trust\n"
	if err := os.WriteFile(filepath.Join(c.data(), "pg_hba.conf"), []byte(access), 0o644); err != nil {
		return err
	}
	return c.Up()
}

// dropRights has the server run as somebody else: it refuses to run as root.
func (c *Cluster) dropRights() error {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32) // the system's own numbers
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(c.dir, int(uid), int(gid))
	}
	return errors.New("there is no user postgres or nobody to run the server as")
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// LogFile is where the server writes what happens.
func (c *Cluster) LogFile() string { return filepath.Join(c.dir, "log") }

// URL names a database of the cluster, for a role.
func (c *Cluster) URL(role, database string) string {
	return fmt.Sprintf("postgres://%s@/%s?host=%s", role, database, c.dir)
}

// Up starts the server.
func (c *Cluster) Up() error {
	const settings = "-c listen_addresses='' -c max_connections=200 -c shared_buffers=128MB -c max_wal_size=512MB -c unix_socket_directories="
	return c.run("pg_ctl", "-D", c.data(), "-l", c.LogFile(), "-w", "-o", settings+c.dir, "start")
}

// Down stops the server: smart, fast or immediate.
func (c *Cluster) Down(mode string) error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "-m", mode, "stop")
}

// Give makes a folder the server's own, so that it can keep tables there.
func (c *Cluster) Give(folder string) error {
	if c.owner == nil {
		return nil
	}
	return os.Chown(folder, int(c.owner.Uid), int(c.owner.Gid))
}

// Promote makes a standby a server of its own.
func (c *Cluster) Promote() error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "promote")
}

// Dump returns the SQL that makes a database again, with its content.
func (c *Cluster) Dump(database string) (string, error) {
	return c.output("pg_dump", "-h", c.dir, "-U", "postgres", "--no-owner", "--inserts", database)
}

// Remove stops the server and deletes all that it kept.
func (c *Cluster) Remove() {
	_ = c.Down("immediate") // nothing of it is wanted any more
	_ = os.RemoveAll(c.dir)
}

func (c *Cluster) run(program string, args ...string) error {
	_, err := c.output(program, args...)
	return err
}

func (c *Cluster) output(program string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if c.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return string(out), nil
}
