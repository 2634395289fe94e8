package postgres

import (
	"context"
	"encoding/json"

	"github.com/annona-exchange/annona"
)

// Program returns the version of a program that holds. See annona.Programs.
func (s *Store) Program(ctx context.Context, code string) (*annona.Program, error) {
	all, err := s.programs(ctx, "SELECT body FROM programs WHERE code = $1 ORDER BY version DESC LIMIT 1", code)
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
	err = s.lookups.ask(ctx, "read programs", func(c *conn) error {
		all = nil
		return c.each(sql, func(r row) error {
			var p annona.Program
			err := json.Unmarshal([]byte(r.text(0)), &p)
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
	n, err := t.conn.changes(`INSERT INTO programs (code, version, body)
		SELECT $1, $2, $3 WHERE $2 = (SELECT coalesce(max(version), 0) + 1 FROM programs WHERE code = $1) ON CONFLICT DO NOTHING`, p.Code, p.Version, string(body))
	if err != nil {
		return t.fault("write a program", err)
	}
	if n == 0 {
		return annona.ErrProgramVersion
	}
	return nil
}
