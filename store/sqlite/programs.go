package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Program returns the version of a program that holds. See annona.Programs.
func (s *Store) Program(ctx context.Context, code string) (*annona.Program, error) {
	all, err := s.programs(ctx, "SELECT body FROM programs WHERE code = ? ORDER BY version DESC LIMIT 1", code)
	if len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Programs returns the version of each program that holds. See annona.Programs.
func (s *Store) Programs(ctx context.Context) ([]annona.Program, error) {
	return s.programs(ctx, "SELECT body FROM programs p WHERE version = (SELECT max(version) FROM programs WHERE code = p.code) ORDER BY code")
}

func (s *Store) programs(ctx context.Context, sql string, args ...any) (all []annona.Program, err error) {
	err = s.readers.read(ctx, "read programs", func(c *conn) error {
		all = nil
		return c.each(sql, func(stmt *sqlite.Stmt) error {
			var p annona.Program
			err := json.Unmarshal([]byte(stmt.ColumnText(0)), &p)
			all = append(all, p)
			return err
		}, args...)
	})
	return all, err
}

// PutProgram writes the next version of a program. See annona.ProgramTx.
func (t *tx) PutProgram(ctx context.Context, p annona.Program) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return annona.Internal("write a program", err)
	}
	last, err := t.conn.integer("SELECT coalesce(max(version), 0) FROM programs WHERE code = ?", p.Code)
	if err != nil {
		return fault("write a program", err)
	}
	if p.Version != int(last)+1 {
		return annona.ErrProgramVersion
	}
	return fault("write a program", t.conn.exec("INSERT INTO programs (code, version, body) VALUES (?, ?, ?)", p.Code, p.Version, string(body)))
}
