package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

// fault turns a failure into an annona.Error. The server's message, detail, hint and context
// can hold values, so only the SQLSTATE is kept as the cause.
func fault(doing string, err error) error {
	var known *annona.Error
	var server *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &server):
		return serverFault(doing, server.Code)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &connect):
		return bare(err)
	case errors.As(err, &connect):
		return annona.Unavailable("store_unreachable", "the database cannot be reached; check its address and that it runs")
	case isCut(err):
		return annona.Unavailable("store_io", "the connection to the database was lost; nothing that was not confirmed counts as done. Try again").Because(errCut)
	}
	return annona.Internal(doing, errDriver)
}

var (
	errCut    = errors.New("the connection was cut")
	errDriver = errors.New("the database driver failed")
)

// bare returns the context's own error without what a driver has put around it.
func bare(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return context.DeadlineExceeded
}

// isCut reports whether the connection broke.
func isCut(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network) || errors.Is(err, pgx.ErrTxClosed) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// serverFault maps an SQLSTATE: the five characters that the standard gives to a failure.
func serverFault(doing, state string) error {
	cause := errors.New("SQLSTATE " + state)
	unavailable := func(code, message string) error { return annona.Unavailable(code, "%s", message).Because(cause) }
	switch state {
	case "28P01", "28000":
		return unavailable("store_denied", "the database refuses the role or its password; check the role in the URL, and the password file that --database-password-file names")
	case "42501":
		return unavailable("store_not_allowed", "the database role may not do this; commands that change the schema run as the owner of the registry")
	case "3D000", "3F000", "42P01", "42703", "42883":
		return unavailable("store_missing", "the database holds no registry, or an older one; run annona migrate as its owner")
	case "53100":
		return unavailable("store_full", "the disk of the database is full; nothing of this change was kept. Make room and try again")
	case "25006":
		return unavailable("store_read_only", "the database accepts no changes: it is a replica, or read only")
	case "55P03", "40001", "40P01":
		return errBusy().Because(cause)
	case "53300":
		return unavailable("store_busy", "the database lets no more connections in; try again, or raise its max_connections or the limit of the role")
	case "53000", "53200", "53400":
		return unavailable("store_busy", "the database has no memory left for this; try again, or ask for less")
	case "57014":
		return unavailable("store_busy", "the database took too long; try again, or ask for less")
	case "57P03":
		return unavailable("store_unreachable", "the database is starting or stopping; try again")
	case "XX001", "XX002":
		return unavailable("store_damaged", "the database reports damaged data; stop, keep a copy, and restore a backup")
	case "22021", "22P05":
		return annona.Invalid("text_malformed", "a text is not UTF-8, or holds a character that cannot be stored").Because(cause)
	case "54000":
		return annona.Invalid("value_too_long", "a value that records are selected by is too long; it has at most about 2,000 characters").Because(cause)
	}
	switch state[:2] {
	case "08", "57", "58":
		return unavailable("store_io", "the database went away or reports errors of its disk; nothing that was not confirmed counts as done. Try again")
	}
	return annona.Internal(doing, cause)
}

func errBusy() *annona.Error {
	return annona.Unavailable("store_busy", "others are changing the same records for too long; try again")
}

func errClosed() error {
	return annona.Unavailable("store_closed", "the registry is being closed; try again")
}

// isRepeatable reports whether the same transaction, run again, may succeed: it lost against
// another one, or another one has just made the record that this one was about to make.
func isRepeatable(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	switch server.Code {
	case "40001", "40P01":
		return true
	case "23505":
		return strings.HasSuffix(server.ConstraintName, "_source")
	}
	return false
}
