package postgres

import (
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

// leftOut is what a URL need not say. The driver would take each of these from the environment or
// from the home folder; because all of them are set, the URL alone decides where a connection
// leads and how it is proved.
func leftOut() map[string]string {
	return map[string]string{
		"port": "5432", "password": "", "passfile": "", "connect_timeout": "10", "target_session_attrs": "any",
		"sslcert": "", "sslkey": "", "sslcertmode": "allow", "sslrootcert": "", "sslpassword": "", "sslsni": "", "sslnegotiation": "",
		"channel_binding": "", "require_auth": "", "min_protocol_version": "", "max_protocol_version": "",
	}
}

// mayBeNamed are the parameters that a URL may have.
func mayBeNamed() []string {
	return []string{
		"host", "port", "passfile", "connect_timeout", "target_session_attrs", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslnegotiation",
		"channel_binding", "require_auth",
	}
}

// parseAddress turns the URL of a database into the driver's configuration.
// Of several hosts it means those of that kind: primary or standby.
func parseAddress(address, kind string) (*pgxpool.Config, error) {
	named, err := readAddress(address, kind)
	if err != nil {
		return nil, err
	}
	if err := checkPasswordFile(named["passfile"]); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(inKeywords(named))
	if err != nil {
		return nil, errURL() // the driver's text repeats the address
	}
	if err := checkTransport(&config.ConnConfig.Config); err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams = map[string]string{}
	return config, nil
}

// readAddress returns all settings of the driver that the URL means.
func readAddress(address, kind string) (map[string]string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errURL()
	}
	query := u.Query()
	if _, has := u.User.Password(); has || query.Has("password") || query.Has("sslpassword") {
		return nil, annona.Invalid("store_password_in_url", "a password never stands in the URL of the database: put it into a file that --database-password-file names, or let the server know the role by its account or its certificate").On("database")
	}
	named := leftOut()
	named["user"], named["database"] = u.User.Username(), strings.TrimPrefix(u.Path, "/")
	if u.Host != "" {
		named["host"], named["port"] = hostAndPort(u)
	}
	for name, values := range query {
		if !slices.Contains(mayBeNamed(), name) || len(values) != 1 || u.Host != "" && (name == "host" || name == "port") {
			return nil, annona.Invalid("store_url", "the URL of a database has each parameter once, and only these: %s", strings.Join(mayBeNamed(), ", ")).On("database")
		}
		named[name] = values[0]
	}
	if named["user"] == "" || named["host"] == "" || named["database"] == "" {
		return nil, errURL()
	}
	chooseAmong(named, strings.Split(named["host"], ","), query, kind)
	return named, nil
}

func hostAndPort(u *url.URL) (host, port string) {
	if host, port, err := net.SplitHostPort(u.Host); err == nil && port != "" {
		return host, port
	}
	return strings.Trim(u.Host, "[]"), "5432"
}

// chooseAmong decides what the URL left open: a connection over a network is checked against the
// server's certificate, and of several hosts the one is meant that is of the kind.
func chooseAmong(named map[string]string, hosts []string, query url.Values, kind string) {
	if !query.Has("sslmode") {
		named["sslmode"] = "prefer"
		if slices.ContainsFunc(hosts, func(h string) bool { return !isLocal(h) }) {
			named["sslmode"] = "verify-full"
		}
	}
	if len(hosts) > 1 && !query.Has("target_session_attrs") {
		named["target_session_attrs"] = kind
	}
}

// inKeywords writes settings in the driver's other form, which has no default for what is named.
func inKeywords(named map[string]string) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(named)) {
		b.WriteString(name + "='" + escape.Replace(named[name]) + "' ")
	}
	return b.String()
}

func errURL() error {
	return annona.Invalid("store_url", "a database is named by a URL with role, host and name, such as postgres://annona@localhost:5432/annona; a socket is ?host=/its/folder").On("database")
}

// checkPasswordFile refuses a password file that is not there or that others may read. The driver
// would go on without it.
func checkPasswordFile(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return annona.Invalid("password_file_missing", "there is no %s; it has lines of host:port:database:role:password", path).On("database-password-file")
	case err != nil || !info.Mode().IsRegular():
		return annona.Invalid("password_file_unreadable", "%s cannot be read by this account, or is no file", path).On("database-password-file")
	case info.Mode().Perm()&0o077 != 0:
		return annona.Invalid("password_file_exposed", "%s may be read by other accounts (mode %04o); run chmod 600, and change the password if somebody may have read it", path, info.Mode().Perm()).On("database-password-file")
	}
	file, err := os.Open(path)
	if err != nil {
		return annona.Invalid("password_file_unreadable", "%s cannot be read by this account", path).On("database-password-file")
	}
	return file.Close()
}

// checkTransport refuses to send records over a network in the clear.
func checkTransport(c *pgconn.Config) error {
	if isLocal(c.Host) && !slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return !isLocal(f.Host) }) {
		return nil
	}
	if c.TLSConfig == nil || slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil }) {
		return annona.Invalid("store_without_tls", "a database on another machine is reached through TLS only: leave sslmode out of its URL, or write sslmode=verify-full").On("database")
	}
	return nil
}

// isLocal reports whether the host is a socket in a folder or this machine.
func isLocal(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
