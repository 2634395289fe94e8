package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// superuser owns the cluster; appRole is who the server of a registry connects as.
const (
	superuser = "postgres"
	appRole   = "annona_app"
)

// cluster is a PostgreSQL server of the harness's own, on a free loopback port. Its databases are
// kept from one run to the next; it stops with the run.
type cluster struct {
	home  string // folder of its data and its log
	bin   string // folder of its programs
	host  string
	port  string
	owner *syscall.Credential // nil: the user of the harness
}

// cluster starts the server, once in a run.
func (b *bench) cluster(ctx context.Context) (*cluster, error) {
	if b.postgres != nil {
		return b.postgres, nil
	}
	c, err := newCluster(b.folder)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	b.postgres = c
	return c, c.printSettings(ctx)
}

func newCluster(folder string) (*cluster, error) {
	bin, err := postgrestest.Programs()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c := &cluster{home: filepath.Join(folder, "postgres"), bin: bin}
	c.host, c.port, _ = strings.Cut(address, ":")
	if os.Getuid() != 0 {
		return c, os.MkdirAll(c.home, 0o700)
	}
	return c, c.dropRights(folder)
}

// dropRights has the server run as an account of its own: it refuses to run as root. A folder that
// this account cannot reach is replaced by one in the folder for temporary files.
func (c *cluster) dropRights(folder string) error {
	account, err := user.Lookup(superuser)
	if err != nil {
		return fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32) // the system's own numbers
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chmod(folder, 0o711); err != nil { // what lies in it has rights of its own
		return err
	}
	if c.reach(folder) != nil {
		place, err := filepath.Abs(folder)
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(place))
		c.home = filepath.Join(os.TempDir(), fmt.Sprintf("annona-bench-%x", sum[:6]))
	}
	if err := os.MkdirAll(c.home, 0o700); err != nil {
		return err
	}
	return os.Chown(c.home, int(uid), int(gid))
}

// reach reports whether the account of the server can stand in a folder.
func (c *cluster) reach(folder string) error {
	cmd := exec.Command("/bin/true")
	cmd.Dir, cmd.SysProcAttr = folder, &syscall.SysProcAttr{Credential: c.owner}
	return cmd.Run()
}

func (c *cluster) data() string { return filepath.Join(c.home, "data") }

// start makes the cluster where there is none and starts its server.
func (c *cluster) start(ctx context.Context) error {
	home, err := filepath.Abs(c.home)
	if err != nil {
		return err
	}
	c.home = home
	if _, err := os.Stat(filepath.Join(c.data(), "PG_VERSION")); err != nil {
		if err := c.control(ctx, "initdb", "-D", c.data(), "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C"); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("-c listen_addresses=%s -c port=%s -c unix_socket_directories='' -c max_connections=200 -c shared_buffers=%dMB -c max_wal_size=4GB -c min_wal_size=2GB",
		c.host, c.port, sharedMiB())
	return c.control(ctx, "pg_ctl", "-D", c.data(), "-l", filepath.Join(c.home, "log"), "-w", "-o", options, "start")
}

// sharedMiB is a quarter of the memory, as the manual of PostgreSQL advises, and two GiB at most.
func sharedMiB() int {
	const most = 2048
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return most / 8
	}
	return int(min(most, uint64(info.Totalram)*uint64(info.Unit)/4>>20))
}

// control runs a program of the cluster as its owner.
func (c *cluster) control(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir, cmd.Env = c.home, append(os.Environ(), "LC_ALL=C")
	if c.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	}
	_, err := output(cmd)
	return err
}

func (c *cluster) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.control(ctx, "pg_ctl", "-D", c.data(), "-w", "-m", "fast", "stop"); err != nil {
		note("the PostgreSQL server in %s goes on: %v", c.home, err)
	}
}

// url names a database for a role.
func (c *cluster) url(role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(role), Host: c.host + ":" + c.port, Path: "/" + database}
	return u.String()
}

// psql prepares a run of psql as the superuser.
func (c *cluster) psql(ctx context.Context, database string, args ...string) *exec.Cmd {
	all := append([]string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", c.url(superuser, database)}, args...)
	return exec.CommandContext(ctx, filepath.Join(c.bin, "psql"), all...)
}

// query runs SQL and returns what it printed.
func (c *cluster) query(ctx context.Context, database, sql string) (string, error) {
	out, err := output(c.psql(ctx, database, "-c", sql))
	return strings.TrimSpace(string(out)), err
}

func (c *cluster) hasDatabase(ctx context.Context, name string) (bool, error) {
	found, err := c.query(ctx, superuser, "SELECT 1 FROM pg_database WHERE datname = '"+name+"'")
	return found != "", err
}

// renewDatabase makes an empty database of that name.
func (c *cluster) renewDatabase(ctx context.Context, name string) error {
	_, err := c.query(ctx, superuser, "DROP DATABASE IF EXISTS "+name)
	if err == nil {
		_, err = c.query(ctx, superuser, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
	}
	return err
}

// settle does what the server would do by itself some time after a large load, so that no part of
// it falls into a measurement.
func (c *cluster) settle(ctx context.Context, database string) error {
	if _, err := c.query(ctx, database, "VACUUM (ANALYZE)"); err != nil {
		return err
	}
	_, err := c.query(ctx, database, "CHECKPOINT")
	return err
}

// printSettings says under which settings both sides of a comparison run.
func (c *cluster) printSettings(ctx context.Context) error {
	out, err := c.query(ctx, superuser, `SELECT 'PostgreSQL: ' || name || ' = ' || current_setting(name) FROM pg_settings
		WHERE name IN ('server_version', 'shared_buffers', 'work_mem', 'effective_cache_size', 'jit', 'max_parallel_workers',
			'max_parallel_workers_per_gather', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'max_wal_size', 'min_wal_size',
			'wal_compression', 'data_checksums', 'server_encoding', 'lc_collate', 'max_connections', 'autovacuum') ORDER BY name`)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		note("%s", strings.TrimSpace(line))
	}
	return nil
}
