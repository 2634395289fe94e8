package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // schedules in time zones, also where the system has none

	"filippo.io/age"
	"github.com/cenkalti/backoff/v4"
	"github.com/goccy/go-yaml"
	"github.com/robfig/cron/v3"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/backup"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/pull"
)

// The kinds of sources.
const (
	kindFolder   = "folder"
	kindPostgres = "postgres"
	kindSQLite   = "sqlite"
)

// syncConfig is the file that names the sources.
type syncConfig struct {
	Sources []*syncSource `yaml:"sources"`
}

// syncSource is one source as the file says, completed and checked by complete.
type syncSource struct {
	Name     string `yaml:"name"`
	Kind     string `yaml:"kind"`
	Mapping  string `yaml:"mapping"`
	Mode     string `yaml:"mode"`
	Guard    string `yaml:"delete_guard"`
	Schedule string `yaml:"schedule"`
	TimeZone string `yaml:"time_zone"`
	Retries  *int   `yaml:"retries"`

	// of a folder
	Folder         string   `yaml:"folder"`
	Keep           string   `yaml:"keep"`
	SealTo         []string `yaml:"seal_to"`
	ArchiveDays    *int     `yaml:"archive_days"`
	QuarantineDays int      `yaml:"quarantine_days"`
	Settle         string   `yaml:"settle"`
	AsOf           string   `yaml:"as_of"`

	// of a database
	Address      string      `yaml:"address"`
	PasswordFile string      `yaml:"password_file"`
	PasswordEnv  string      `yaml:"password_env"`
	File         string      `yaml:"file"`
	Timeout      string      `yaml:"timeout"`
	Compare      string      `yaml:"compare"`
	Queries      []syncQuery `yaml:"queries"`

	guard      float64
	every      cron.Schedule
	settle     time.Duration
	timeout    time.Duration
	compare    comparing
	queries    []pull.Query
	recipients []age.Recipient
}

type syncQuery struct {
	Name    string   `yaml:"name"`
	SQL     string   `yaml:"sql"`
	Mark    string   `yaml:"mark"`
	Overlap string   `yaml:"overlap"`
	JSON    []string `yaml:"json"`
}

// comparing says when a source is read whole. The zero value: in every run.
type comparing struct {
	span time.Duration // since the last time
	runs int           // likewise
}

const maxSyncConfig = 1 << 20

// readSyncConfig reads the file. Paths in it are relative to its folder. only names the sources that
// are wanted; none: all.
func readSyncConfig(path string, only []string) ([]*syncSource, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, annona.Invalid("file_unreadable", "the configuration cannot be read: %s", reason(err)).On("config")
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSyncConfig))
	if err != nil {
		return nil, annona.Invalid("file_unreadable", "the configuration cannot be read: %s", reason(err)).On("config")
	}
	var config syncConfig
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := decoder.Decode(&config); err != nil && !errors.Is(err, io.EOF) {
		return nil, configFault(err)
	}
	if len(config.Sources) == 0 {
		return nil, annona.Invalid("config_malformed", "the configuration names no sources").On("sources")
	}
	seen := map[string]bool{}
	for _, s := range config.Sources {
		if s == nil || !syncName.MatchString(s.Name) {
			return nil, annona.Invalid("config_malformed", "a source has a name of lower-case letters, digits and hyphens, at most 60 characters long").On("name")
		}
		if seen[s.Name] {
			return nil, annona.Invalid("config_malformed", "two sources have this name").On(s.Name)
		}
		seen[s.Name] = true
		if err := s.complete(filepath.Dir(path)); err != nil {
			return nil, onSource(err, s.Name)
		}
	}
	for _, name := range only {
		if !seen[name] {
			return nil, annona.Invalid("source_unknown", "the configuration has no source of this name").On(name)
		}
	}
	if err := eachItsOwn(config.Sources); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(config.Sources, func(s *syncSource) bool { return len(only) > 0 && !slices.Contains(only, s.Name) }), nil
}

// eachItsOwn refuses two sources whose mappings make records of one source system: a full load of one
// would delete what the other one brings.
func eachItsOwn(sources []*syncSource) error {
	of := map[string]string{}
	for _, s := range sources {
		system, err := sourceNamed(s.Mapping)
		if err != nil || system == "" {
			continue // what is wrong with the mapping is said when it is read
		}
		if other, twice := of[system]; twice {
			return annona.Invalid("config_malformed", "its mapping makes records of the same source as that of %s: each would take the other's records for its own; give one mapping a source of its own, or make one of both", other).On(s.Name + ".mapping")
		}
		of[system] = s.Name
	}
	return nil
}

// sourceNamed reads which source system a mapping names.
func sourceNamed(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var mapping struct {
		Source string `yaml:"source"`
	}
	err = yaml.Unmarshal(text, &mapping)
	return strings.TrimSpace(mapping.Source), err
}

var syncName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){0,59}$`)

// configFault keeps the line of what the YAML library has found, and none of the file's text.
func configFault(err error) error {
	var fault yaml.Error
	if errors.As(err, &fault) && fault.GetToken() != nil {
		line := fault.GetToken().Position.Line
		return annona.Invalid("config_malformed", "line %d of the configuration: %s", line, fault.GetMessage()).AtPosition(line)
	}
	return annona.Invalid("config_malformed", "the configuration is not valid YAML")
}

// onSource names the source in an error that names a key of it.
func onSource(err error, source string) error {
	var known *annona.Error
	if !errors.As(err, &known) {
		return err
	}
	return known.On(strings.TrimSuffix(source+"."+known.Name, "."))
}

func malformed(key, format string, args ...any) error {
	return annona.Invalid("config_malformed", format, args...).On(key)
}

// complete checks a source and reads what is written as text in it.
func (s *syncSource) complete(dir string) error {
	for _, path := range []*string{&s.Mapping, &s.Folder, &s.Keep, &s.File, &s.PasswordFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	for _, step := range []func() error{s.completeCommon, s.completeSchedule, s.completeKind} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *syncSource) completeCommon() error {
	s.Mode = cmp.Or(s.Mode, exchange.ModeUpsert)
	var err error
	switch {
	case s.Mapping == "":
		return malformed("mapping", "a source names its mapping")
	case s.Mode != exchange.ModeUpsert && s.Mode != exchange.ModeFull:
		return malformed("mode", "the mode is upsert or full")
	case s.Guard != "" && s.Mode != exchange.ModeFull:
		return malformed("delete_guard", "a delete guard goes with mode full")
	case s.Retries != nil && (*s.Retries < 0 || *s.Retries > 20):
		return malformed("retries", "a run is tried again 0 to 20 times")
	}
	if s.guard, err = strconv.ParseFloat(strings.TrimSuffix(cmp.Or(s.Guard, "2%"), "%"), 64); err != nil || !(s.guard >= 0 && s.guard <= 100) {
		return malformed("delete_guard", "a delete guard is a share of the source's records, such as 2%%")
	}
	return nil
}

func (s *syncSource) completeSchedule() error {
	zone, err := time.LoadLocation(cmp.Or(s.TimeZone, "UTC"))
	if err != nil || strings.EqualFold(s.TimeZone, "local") {
		return malformed("time_zone", "a time zone is named as Africa/Accra")
	}
	if s.Schedule == "" {
		return malformed("schedule", "a source says how often it is synchronized: 15m, or a cron expression such as 30 2 * * *")
	}
	if every, err := time.ParseDuration(s.Schedule); err == nil {
		if every < time.Second {
			return malformed("schedule", "an interval is a second or longer")
		}
		s.every = cron.Every(every)
		return nil
	}
	if strings.Contains(s.Schedule, "TZ=") || strings.HasPrefix(s.Schedule, "@every") {
		return malformed("schedule", "write the time zone as time_zone, and an interval as 15m")
	}
	if s.every, err = cron.ParseStandard("CRON_TZ=" + zone.String() + " " + s.Schedule); err != nil {
		return malformed("schedule", "this is neither an interval such as 15m nor a cron expression of five parts such as 30 2 * * *")
	}
	return nil
}

// next returns when the source is to be synchronized after what its state says. The zero time:
// it never was.
func (s *syncSource) next(state syncState) time.Time {
	if state.StartedAt.IsZero() {
		return time.Time{}
	}
	return s.every.Next(state.StartedAt)
}

func (s *syncSource) completeKind() error {
	isFolder := s.Folder != "" || s.Keep != "" || len(s.SealTo) > 0 || s.ArchiveDays != nil || s.QuarantineDays != 0 || s.Settle != "" || s.AsOf != ""
	isDatabase := s.Timeout != "" || s.Compare != "" || len(s.Queries) > 0
	isServer := s.Address != "" || s.PasswordFile != "" || s.PasswordEnv != ""
	switch s.Kind {
	case kindFolder:
		if isDatabase || isServer || s.File != "" {
			return malformed("kind", "a folder has no keys of a database")
		}
		return s.completeFolder()
	case kindPostgres:
		if isFolder || s.File != "" || s.Address == "" {
			return malformed("kind", "a source of kind postgres has an address, and no keys of a folder or a file")
		}
		if s.PasswordFile != "" && s.PasswordEnv != "" {
			return malformed("password_env", "the password stands in a file or in a variable of the environment, not in both")
		}
	case kindSQLite:
		if isFolder || isServer || s.File == "" {
			return malformed("kind", "a source of kind sqlite has a file, and no keys of a folder or a server")
		}
	default:
		return malformed("kind", "the kind of a source is folder, postgres or sqlite")
	}
	return s.completeDatabase()
}

func (s *syncSource) completeFolder() (err error) {
	if s.Folder == "" || s.Keep == "" || within(s.Folder, s.Keep) || within(s.Keep, s.Folder) {
		return malformed("keep", "a folder source names the folder that the sender fills, and apart from it one on the same disk to keep what was taken from there")
	}
	if s.settle, err = time.ParseDuration(cmp.Or(s.Settle, "1s")); err != nil || s.settle < 0 || s.settle > time.Hour {
		return malformed("settle", "how long a file must not have grown is written 5s")
	}
	if s.ArchiveDays == nil {
		kept := 30
		s.ArchiveDays = &kept
	}
	if *s.ArchiveDays < 0 || s.QuarantineDays < 0 {
		return malformed("archive_days", "a number of days is 0 or more")
	}
	if s.AsOf = cmp.Or(s.AsOf, asOfModified); s.AsOf != asOfModified && s.AsOf != asOfArrived {
		return malformed("as_of", "a delivery reports for the moment in which it was modified or arrived")
	}
	for _, text := range s.SealTo {
		r, err := backup.ParseRecipient(text)
		if err != nil {
			return onSource(err, "seal_to")
		}
		s.recipients = append(s.recipients, r)
	}
	return nil
}

// The moments for which a delivery may report.
const (
	asOfModified = "modified"
	asOfArrived  = "arrived"
)

func within(outer, inner string) bool {
	path, err := filepath.Rel(outer, inner)
	return err == nil && path != ".." && !strings.HasPrefix(path, ".."+string(filepath.Separator))
}

func (s *syncSource) completeDatabase() (err error) {
	if s.timeout, err = time.ParseDuration(cmp.Or(s.Timeout, "5m")); err != nil || s.timeout < time.Second || s.timeout > 24*time.Hour {
		return malformed("timeout", "how long a query may take is written 5m")
	}
	if len(s.Queries) == 0 {
		return malformed("queries", "a database is asked by at least one query")
	}
	marked := false
	for _, q := range s.Queries {
		if !syncName.MatchString(q.Name) || slices.ContainsFunc(s.queries, func(other pull.Query) bool { return other.Name == q.Name }) {
			return malformed("queries", "each query has a name of its own, of lower-case letters, digits and hyphens")
		}
		if strings.TrimSpace(q.SQL) == "" {
			return malformed("queries."+q.Name, "a query has its sql")
		}
		if (q.Mark == "") != (q.Overlap == "") {
			return malformed("queries."+q.Name, "a query with a mark says by overlap how far behind it to read again, and one without a mark does not")
		}
		query := pull.Query{Name: q.Name, SQL: q.SQL, Mark: q.Mark, JSON: q.JSON}
		if q.Mark != "" {
			marked = true
			if query.Overlap, err = pull.ParseOverlap(q.Overlap); err != nil {
				return onSource(err, "queries."+q.Name)
			}
		}
		s.queries = append(s.queries, query)
	}
	return s.completeCompare(marked)
}

// completeCompare reads how often the source is read whole. Queries without a mark are read whole
// always, and then there is nothing to say.
func (s *syncSource) completeCompare(marked bool) error {
	if !marked {
		if s.Compare != "" {
			return malformed("compare", "no query has a mark, so that every run reads the source whole")
		}
		return nil
	}
	if number, unit, ok := strings.Cut(s.Compare, " "); ok && (unit == "runs" || unit == "run") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return malformed("compare", "a number of runs is 1 or more")
		}
		s.compare.runs = n
		return nil
	}
	span, err := time.ParseDuration(s.Compare)
	if err != nil || span <= 0 {
		return malformed("compare", "a source that is read by marks says how often it is read whole, so that what marks miss is found, deletions too: 24h, or 20 runs")
	}
	s.compare.span = span
	return nil
}

// due reports whether the source is to be read whole.
func (c comparing) due(state *syncState) bool {
	switch {
	case c.runs > 0:
		return state.ComparedAt.IsZero() || state.Runs >= c.runs
	case c.span > 0:
		return time.Since(state.ComparedAt) >= c.span
	}
	return true
}

// retries are the pauses between the attempts of one run.
func (s *syncSource) retries(ctx context.Context) backoff.BackOff {
	times := 3
	if s.Retries != nil {
		times = *s.Retries
	}
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(3), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	return backoff.WithContext(backoff.WithMaxRetries(b, uint64(times)), ctx)
}

func (s *syncSource) readMapping(ctx context.Context, f *folder) (*ingest.Mapping, error) {
	return importCommand{Mapping: s.Mapping}.readMapping(ctx, f)
}

// content is a hash of all that decides what rows of the source become. When it changes, the source
// is read whole.
func (s *syncSource) content() (string, error) {
	mapping, err := os.ReadFile(s.Mapping)
	if err != nil {
		return "", annona.Invalid("file_unreadable", "the mapping cannot be read: %s", reason(err)).On("mapping")
	}
	queries, err := json.Marshal(s.Queries)
	if err != nil {
		return "", annona.Internal("describe the queries", err)
	}
	sum := sha256.Sum256(slices.Concat(queries, []byte{0}, mapping))
	return hex.EncodeToString(sum[:]), nil
}

const maxPassword = 4096

// password reads the password of a server, which lies in a file of this account or in the
// environment. It is read for every connection, so that a new one holds at once.
func (s *syncSource) password() (string, error) {
	switch {
	case s.PasswordEnv != "":
		text, ok := os.LookupEnv(s.PasswordEnv)
		if !ok {
			return "", annona.Unavailable("password_missing", "the environment has no variable of the name that password_env gives").On("password_env")
		}
		return text, nil
	case s.PasswordFile == "":
		return "", nil
	}
	file, err := os.Open(s.PasswordFile)
	if err != nil {
		return "", annona.Unavailable("password_missing", "the file with the password cannot be read: %s", reason(err)).On("password_file")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", annona.Invalid("password_missing", "the password does not lie in a file").On("password_file")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", annona.Invalid("password_file_exposed", "the file with the password may be read by other accounts (mode %04o); run chmod 600, and change the password if somebody may have read it", info.Mode().Perm()).On("password_file")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxPassword))
	if err != nil {
		return "", annona.Unavailable("password_missing", "the file with the password cannot be read: %s", reason(err)).On("password_file")
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
