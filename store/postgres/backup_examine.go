package postgres

import "context"

// Examination is what a database is like for the role that serves.
type Examination struct {
	Version    int  // of the server, as 150004
	Superuser  bool // the role may do anything
	Owner      bool // the role may change the schema
	Checksums  bool // the server notices damaged pages
	Autovacuum bool // residues of erased records are removed
}

// Examine looks at a database in the role that serves, and changes nothing.
func Examine(ctx context.Context, url string) (e Examination, err error) {
	p, err := newPool(ctx, url, reading, 1)
	if err != nil {
		return e, err
	}
	defer p.close()
	err = p.ask(ctx, "examine the database", func(c *conn) error {
		_, err := c.one(`SELECT current_setting('server_version_num')::bigint,
			coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false),
			coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'annona'), false),
			current_setting('data_checksums') = 'on', current_setting('autovacuum') = 'on'`, func(r row) {
			e = Examination{Version: int(r.integer(0)), Superuser: r.truth(1), Owner: r.truth(2), Checksums: r.truth(3), Autovacuum: r.truth(4)}
		})
		return err
	})
	return e, err
}
