package postgres

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
)

// tx is one transaction of writing. It is used by one goroutine and ends with its function.
type tx struct {
	conn     *conn
	now      time.Time
	later    pgx.Batch          // statements that wait for the end, where they go at once, and their answers tell nothing anymore
	entries  []annona.LedgerRow // that wait too
	claims   []annona.KeyedRequest
	foreseen foreseen
	events   []annona.Event
	evented  map[subject]bool // records that have an event of this transaction
	tables   map[string]*table
	prepared *preparedTables                        // of the store
	lists    *knownLists                            // of the store
	early    bool                                   // a table is as an earlier transaction has found it
	known    map[householdKey]household             // households locked by this transaction
	homes    map[annona.Number]household            // the same, by number
	about    map[annona.MatterRef]annona.SubjectRef // whom matters are about that are locked
	beside   bool                                   // other keys or deleted records lie in the registry, as far as known
	found    map[subject]*found                     // records found and not written yet
	moves    int64                                  // of the policy epoch
	expected int64                                  // version of the areas that the transaction relies on, plus one; 0: on none
	follows  bool                                   // the indexes have moved so many times, as far as known
	moved    int64
	hashed   bool                   // something was written that is indexed by hashes
	names    bool                   // names are indexed
	due      map[annona.Number]bool // whose names are to be
	failed   error                  // the first failure of the database
	again    bool                   // the transaction has lost against another one
	believes bool                   // it has not looked for records that are believed to come for the first time
}

// subject is a record of a root dataset.
type subject struct {
	dataset string
	number  annona.Number
}

func (s *Store) newTx(ctx context.Context, db database) *tx {
	return &tx{
		conn: &conn{ctx: ctx, db: db}, now: s.clock(), prepared: &s.prepared, lists: &s.lists,
		evented: map[subject]bool{}, tables: map[string]*table{}, known: map[householdKey]household{}, homes: map[annona.Number]household{}, found: map[subject]*found{},
		about: map[annona.MatterRef]annona.SubjectRef{},
	}
}

// fault is what the package's fault is, and remembers what it means for the transaction.
func (t *tx) fault(doing string, err error) error {
	t.again = t.again || isRepeatable(err)
	err = fault(doing, err)
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// commit writes what was left to the end and commits, all in one round trip: the policy epoch last, because others
// wait for its row. It goes on when the request ends meanwhile: half a commit does not exist.
func (t *tx) commit() error {
	if err := t.confirmBelief(); err != nil {
		return err
	}
	t.queueClaims()
	if err := t.writeEvents(); err != nil {
		return err
	}
	entries := t.entries
	if t.entries = nil; len(entries) > 0 {
		sql, args := inserting(entries, t.lists.has, 0)
		t.later.Queue(sql, args...)
	}
	t.queueExpectation()
	t.queueIndexes()
	if t.moves > 0 {
		t.later.Queue("UPDATE counters SET value = value + $1 WHERE name = 'policy_epoch'", t.moves)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.conn.ctx), commitTimeout)
	defer cancel()
	if err := commitBehind(ctx, t.conn.db, &t.later); err != nil {
		return err
	}
	t.lists.committed(entries)
	return nil
}

// sendLater sends the statements that wait.
func (t *tx) sendLater() error {
	b := t.later
	t.later = pgx.Batch{}
	return t.conn.send(&b)
}

// next gives out so many numbers of a sequence, ascending.
func (t *tx) next(sequence string, count int) (numbers []int64, err error) {
	if count == 0 {
		return nil, nil
	}
	err = t.conn.each("SELECT array_agg(nextval('"+sequence+"')) FROM generate_series(1, $1)", func(r row) error { // a sequence in a parameter is looked up for each number
		numbers = r.integers(0)
		return nil
	}, count)
	return numbers, err
}

// PutRestriction writes a restriction by its ID, with a touched event for its subject.
func (t *tx) PutRestriction(ctx context.Context, r annona.Restriction) error {
	if err := t.lockSubject(ctx, r.Subject); err != nil {
		return err
	}
	if r.Kind != annona.KindRestriction && r.Kind != annona.KindObjection {
		return annona.Invalid("restriction_kind", "a restriction is of kind restriction or objection")
	}
	err := t.conn.exec(`INSERT INTO restrictions
		(id, subject, kind, purposes, recipients, ground, effective_date, expiry_date, lifted_at, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, kind = excluded.kind, purposes = excluded.purposes, recipients = excluded.recipients,
			ground = excluded.ground, effective_date = excluded.effective_date, expiry_date = excluded.expiry_date,
			lifted_at = excluded.lifted_at, recorded_at = excluded.recorded_at`,
		r.ID, r.Subject, string(r.Kind), joinList(r.Purposes), joinList(r.Recipients), r.Ground, r.EffectiveDate, r.ExpiryDate, r.LiftedAt, r.RecordedAt)
	if err != nil {
		return t.fault("write a restriction", err)
	}
	return t.rightsChanged(r.Subject, string(r.Kind))
}

// PutConsent writes a consent by its ID, with a touched event for its subject.
func (t *tx) PutConsent(ctx context.Context, c annona.Consent) error {
	if err := t.lockSubject(ctx, c.Subject); err != nil {
		return err
	}
	if c.Status != "given" && c.Status != "withdrawn" {
		return annona.Invalid("consent_status", "a consent is given or withdrawn")
	}
	err := t.conn.exec(`INSERT INTO consents
		(id, subject, purposes, recipients, status, notice_version, medium, signed_date, effective_date, expiry_date, withdrawn_at, recorded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, purposes = excluded.purposes, recipients = excluded.recipients, status = excluded.status,
			notice_version = excluded.notice_version, medium = excluded.medium, signed_date = excluded.signed_date, effective_date = excluded.effective_date,
			expiry_date = excluded.expiry_date, withdrawn_at = excluded.withdrawn_at, recorded_at = excluded.recorded_at`,
		c.ID, c.Subject, joinList(c.Purposes), joinList(c.Recipients), c.Status, c.NoticeVersion, c.Medium,
		c.SignedDate, c.EffectiveDate, c.ExpiryDate, c.WithdrawnAt, c.RecordedAt)
	if err != nil {
		return t.fault("write a consent", err)
	}
	return t.rightsChanged(c.Subject, "consent")
}

// lockSubject refuses rights of somebody who is not on file, and holds the others' row: what
// is said about one individual has an order. One who was merged into another has rights: they hold
// for what the record was, and when it comes back.
func (t *tx) lockSubject(ctx context.Context, number annona.Number) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := t.conn.integer("SELECT number FROM individuals WHERE number = $1 FOR NO KEY UPDATE", number)
	if err == nil && n == 0 {
		n, err = t.conn.integer("SELECT number FROM successors WHERE dataset = 'individuals' AND number = $1 LIMIT 1", number)
	}
	if err != nil {
		return t.fault("find an individual", err)
	}
	if n == 0 {
		return annona.NotFound("the individual is not on file")
	}
	return nil
}

func (t *tx) rightsChanged(number annona.Number, reason string) error {
	t.moves++
	err := t.touchAll(touches{subject{"individuals", number}: reason}, annona.Author{})
	if err != nil {
		return t.fault("write an event", err)
	}
	return nil
}

// PutAgreement writes the next version of an agreement and returns it.
func (t *tx) PutAgreement(ctx context.Context, a annona.Agreement) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// Two who amend one agreement take turns; the lock is that of its name.
	if err := t.conn.exec("SELECT pg_advisory_xact_lock($1::int, hashtext($2::text))", int64(agreementLock), a.Name); err != nil {
		return 0, t.fault("write an agreement", err)
	}
	last, err := t.conn.integer("SELECT coalesce(max(version), 0) FROM agreements WHERE name = $1", a.Name)
	if err != nil {
		return 0, t.fault("write an agreement", err)
	}
	a.Version = int(last) + 1
	body, err := json.Marshal(a)
	if err != nil {
		return 0, annona.Internal("write an agreement", err)
	}
	err = t.conn.exec("INSERT INTO agreements (name, version, body, at) VALUES ($1, $2, $3, $4)", a.Name, a.Version, string(body), t.now)
	if err != nil {
		return 0, t.fault("write an agreement", err)
	}
	t.moves++
	return a.Version, nil
}

// PutClient writes a client by its ID.
func (t *tx) PutClient(ctx context.Context, c annona.Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO clients (id, key_id, hash, agreement, label, demo, networks, created_at, expires_at, revoked_at, method, keys, subject, redirects, role)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id, hash = excluded.hash, agreement = excluded.agreement,
			label = excluded.label, demo = excluded.demo, networks = excluded.networks, created_at = excluded.created_at,
			expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
			method = excluded.method, keys = excluded.keys, subject = excluded.subject, redirects = excluded.redirects, role = excluded.role`,
		c.ID, c.KeyID, c.Hash, c.Agreement, c.Label, c.Demo, joinNetworks(c.Networks), c.CreatedAt, c.ExpiresAt, c.RevokedAt, string(c.Method), c.Keys, c.Subject, joinList(c.Redirects), c.Role)
	if err != nil {
		return t.fault("write a client", err)
	}
	t.moves++
	return nil
}

// AppendEntry appends to the ledger.
func (t *tx) AppendEntry(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkEntries(rows); err != nil || len(rows) == 0 {
		return err
	}
	t.entries = append(t.entries, rows...)
	return nil
}

func joinNetworks(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, n := range networks {
		texts[i] = n.String()
	}
	return joinList(texts)
}
