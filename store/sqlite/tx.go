package sqlite

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/annona-exchange/annona"
)

// tx is one transaction of writing. It is used by one goroutine and ends with its function.
type tx struct {
	ctx       context.Context
	conn      *conn
	tree      *tree
	now       time.Time
	instant   string           // now, as records say it
	counters  map[string]int64 // those in use, as they will be written back
	nextSeq   int64            // of the log; 0 until the first event
	runs      []run            // of the events written
	evented   map[subject]bool // records that have an event of this transaction
	tables    map[string]*table
	known     map[householdKey]household // households looked up in this transaction
	erased    bool                       // a record was erased
	found     map[subject]*found         // records found and not written yet
	elsewhere elsewhere
	names     bool                        // names are indexed
	due       map[annona.Number]bool      // whose names are to be
	findable  map[uint64][]annona.Number  // entries added to the finder, not written yet
	forgotten map[finderEntry]bool        // entries that are to be removed from it
	here      map[recordKey]annona.Number // records that this transaction has brought on file, by first key
}

// subject is a record of a root dataset.
type subject struct {
	dataset string
	number  annona.Number
}

func newTx(ctx context.Context, w *writer) *tx {
	now := w.clock()
	return &tx{
		ctx: ctx, conn: w.conn, tree: &w.tree, now: now, instant: annona.Instant(now),
		counters: map[string]int64{},
		evented:  map[subject]bool{},
		tables:   map[string]*table{},
		known:    map[householdKey]household{},
		found:    map[subject]*found{},
		findable: map[uint64][]annona.Number{}, forgotten: map[finderEntry]bool{},
		here: map[recordKey]annona.Number{},
	}
}

// finish writes back what was counted in memory.
func (t *tx) finish() error {
	if err := t.settleFinder(); err != nil {
		return err
	}
	if err := t.settleRuns(); err != nil {
		return err
	}
	for name, value := range t.counters {
		if err := t.conn.exec("UPDATE counters SET value = ? WHERE name = ?", value, name); err != nil {
			return err
		}
	}
	return nil
}

// next gives out the next number of a counter.
func (t *tx) next(name string) (int64, error) {
	n, loaded := t.counters[name]
	if !loaded {
		var err error
		if n, err = t.conn.counter(name); err != nil {
			return 0, err
		}
	}
	t.counters[name] = n + 1
	return n + 1, nil
}

// moveEpoch says that what was decided before has to be decided anew.
func (t *tx) moveEpoch() error {
	_, err := t.next("policy_epoch")
	return err
}

// PutRestriction writes a restriction by its ID, with a touched event for its subject.
func (t *tx) PutRestriction(ctx context.Context, r annona.Restriction) error {
	if err := t.checkSubject(ctx, r.Subject); err != nil {
		return err
	}
	if r.Kind != annona.KindRestriction && r.Kind != annona.KindObjection {
		return annona.Invalid("restriction_kind", "a restriction is of kind restriction or objection")
	}
	err := t.conn.exec(`INSERT OR REPLACE INTO restrictions
		(id, subject, kind, purposes, recipients, ground, effective_date, expiry_date, lifted_at, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.Subject, string(r.Kind), joinList(r.Purposes), joinList(r.Recipients), r.Ground, r.EffectiveDate, r.ExpiryDate, r.LiftedAt, r.RecordedAt)
	if err != nil {
		return fault("write a restriction", err)
	}
	return t.rightsChanged(r.Subject, string(r.Kind))
}

// PutConsent writes a consent by its ID, with a touched event for its subject.
func (t *tx) PutConsent(ctx context.Context, c annona.Consent) error {
	if err := t.checkSubject(ctx, c.Subject); err != nil {
		return err
	}
	if c.Status != "given" && c.Status != "withdrawn" {
		return annona.Invalid("consent_status", "a consent is given or withdrawn")
	}
	err := t.conn.exec(`INSERT OR REPLACE INTO consents
		(id, subject, purposes, recipients, status, notice_version, medium, signed_date, effective_date, expiry_date, withdrawn_at, recorded_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID, c.Subject, joinList(c.Purposes), joinList(c.Recipients), c.Status, c.NoticeVersion, c.Medium,
		c.SignedDate, c.EffectiveDate, c.ExpiryDate, c.WithdrawnAt, c.RecordedAt)
	if err != nil {
		return fault("write a consent", err)
	}
	return t.rightsChanged(c.Subject, "consent")
}

// checkSubject refuses rights of somebody who is not on file. One who was merged into another has
// rights: they hold for what the record was, and when it comes back.
func (t *tx) checkSubject(ctx context.Context, subject annona.Number) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := t.conn.integer(`SELECT number FROM individuals WHERE number = ?1
		UNION ALL SELECT number FROM successors WHERE dataset = 'individuals' AND number = ?1 LIMIT 1`, subject)
	if err == nil && n == 0 {
		return annona.NotFound("the individual is not on file")
	}
	return fault("find an individual", err)
}

func (t *tx) rightsChanged(number annona.Number, reason string) error {
	if err := t.moveEpoch(); err != nil {
		return fault("move the policy epoch", err)
	}
	return fault("write an event", t.touch(subject{"individuals", number}, annona.Author{}, reason))
}

// PutAgreement writes the next version of an agreement and returns it.
func (t *tx) PutAgreement(ctx context.Context, a annona.Agreement) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	last, err := t.conn.integer("SELECT coalesce(max(version), 0) FROM agreements WHERE name = ?", a.Name)
	if err != nil {
		return 0, fault("write an agreement", err)
	}
	a.Version = int(last) + 1
	body, err := json.Marshal(a)
	if err != nil {
		return 0, annona.Internal("write an agreement", err)
	}
	err = t.conn.exec("INSERT INTO agreements (name, version, body, at) VALUES (?, ?, ?, ?)", a.Name, a.Version, string(body), t.now)
	if err == nil {
		err = t.moveEpoch()
	}
	return a.Version, fault("write an agreement", err)
}

// PutClient writes a client by its ID.
func (t *tx) PutClient(ctx context.Context, c annona.Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO clients (id, key_id, hash, agreement, label, demo, networks, created_at, expires_at, revoked_at, method, keys, subject, redirects, role)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id, hash = excluded.hash, agreement = excluded.agreement,
			label = excluded.label, demo = excluded.demo, networks = excluded.networks, created_at = excluded.created_at,
			expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
			method = excluded.method, keys = excluded.keys, subject = excluded.subject, redirects = excluded.redirects, role = excluded.role`,
		c.ID, c.KeyID, c.Hash, c.Agreement, c.Label, c.Demo, joinNetworks(c.Networks), c.CreatedAt, c.ExpiresAt, c.RevokedAt, string(c.Method), c.Keys, c.Subject, joinList(c.Redirects), c.Role)
	if err == nil {
		err = t.moveEpoch()
	}
	return fault("write a client", err)
}

// AppendEntry appends to the ledger.
func (t *tx) AppendEntry(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkEntries(rows); err != nil {
		return err
	}
	return fault("append to the ledger", t.appendEntries(rows))
}

func joinNetworks(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, n := range networks {
		texts[i] = n.String()
	}
	return joinList(texts)
}
