package exchange

import (
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// A registrar is a client whose agreement lets it load some sources (docs/spec/agreement.md). It loads
// only these, in the modes and within the guard that the agreement names, and is told of their loads
// alone. It is asked for its standing again with every batch: who is revoked loads no more.

// LoadRequest is a load as a registrar asks for it.
type LoadRequest struct {
	Mapping string // name of one on file, or name@version
	Source  string // to be sure: that of the mapping; empty: whatever it is
	Order   LoadOrder
	Guard   *annona.Percent // of a full load; nil: as the agreement says
	// Key is of the client's making: a load that it asks for again with the same key is the same load.
	// Empty: each request is another load.
	Key string
}

// Reception is a load that a registrar may begin once its rows are there.
type Reception struct {
	Mapping annona.StoredMapping
	// Earlier is the load that was asked for with the same key; nil: there is none. What has been
	// asked for must then be the same, see Repeats.
	Earlier *LoadInfo

	request LoadRequest
	id      annona.UID
}

// ReceiveLoad decides whether a registrar may load what it asks for, before any row is read. Codes:
// those of policy.DecideLoad, mapping_unknown, source_differs, load_running, key_malformed.
func (x *Exchange) ReceiveLoad(ctx context.Context, caller annona.Caller, r LoadRequest) (*Reception, error) {
	sources, err := x.sourcesOf(ctx, caller)
	if err != nil {
		return nil, err
	}
	if r.Source != "" && !slices.Contains(sources, r.Source) {
		return nil, annona.Forbidden("source_not_granted", "the agreement does not let you load this source").On("source")
	}
	mapping, err := x.mappingFor(ctx, sources, r.Mapping)
	if err != nil {
		return nil, err
	}
	if r.Source != "" && r.Source != mapping.Source {
		return nil, annona.Invalid("source_differs", "the mapping is for another source; name that one, or the mapping of this one").On("source")
	}
	r.Order.Source, r.Order.Mapping = mapping.Source, mapping.Name+"@"+strconv.Itoa(mapping.Version)
	if r.Order.Mode == "" {
		r.Order.Mode = ModeUpsert
	}
	guard, err := x.decideLoad(ctx, caller, r.Order, r.Guard)
	if err != nil {
		return nil, err
	}
	r.Order.Guard = float64(guard)
	reception := &Reception{Mapping: *mapping, request: r, id: annona.NewUID()}
	if err := x.recognizeRequest(ctx, caller, reception); err != nil || reception.Earlier != nil {
		return reception, err
	}
	return reception, x.free(ctx, mapping.Source)
}

// mappingFor finds a mapping for one of the sources. That there is one for another source is nobody's
// business.
func (x *Exchange) mappingFor(ctx context.Context, sources []string, name string) (*annona.StoredMapping, error) {
	unknown := annona.Invalid("mapping_unknown", "no mapping of this name is on file for a source of yours; ask the registry to put it there").On("mapping")
	name, text, versioned := strings.Cut(name, "@")
	version := 0
	if versioned {
		var err error
		if version, err = strconv.Atoi(text); err != nil || version < 1 || strconv.Itoa(version) != text {
			return nil, unknown
		}
	}
	if !mappingName.MatchString(name) {
		return nil, unknown
	}
	m, err := x.Mappings.Mapping(ctx, name, version)
	if err != nil {
		return nil, err
	}
	if m == nil || m.Dropped || !slices.Contains(sources, m.Source) {
		return nil, unknown
	}
	return m, nil
}

// longestKey is how long the key of a request may be, in bytes.
const longestKey = 200

// recognizeRequest finds the load that was asked for with the same key. Its id is a keyed hash of client and
// key, so that there can be only one.
func (x *Exchange) recognizeRequest(ctx context.Context, caller annona.Caller, r *Reception) error {
	key := r.request.Key
	if key == "" {
		return nil
	}
	if len(key) > longestKey || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return annona.Invalid("key_malformed", "the key of a request is 1 to %d visible characters of ASCII", longestKey).On("Idempotency-Key")
	}
	r.id = annona.UID(x.Vault.Digest([]byte("load request\x00" + caller.Client.String() + "\x00" + key)))
	load, err := x.Loads.LoadByID(ctx, r.id)
	if err != nil || load == nil {
		return err
	}
	info, err := x.infoOf(load)
	r.Earlier = &info
	return err
}

// Repeats refuses when the earlier load was asked for with something else than these rows: code
// key_reused. rows is a hash of them.
func (x *Exchange) Repeats(r *Reception, rows []byte) error {
	if r.Earlier.Report.Request != x.requested(r, rows) {
		return annona.Conflict("key_reused", "this key has been used for another load; give each load a key of its own").On("Idempotency-Key")
	}
	return nil
}

// requested is a keyed digest of all that was asked for.
func (x *Exchange) requested(r *Reception, rows []byte) string {
	o := r.request.Order
	asOf := ""
	if !o.AsOf.IsZero() {
		asOf = annona.Instant(o.AsOf)
	}
	text := strings.Join([]string{"load", o.Mapping, o.Mode, asOf, strconv.FormatFloat(o.Guard, 'g', -1, 64), hex.EncodeToString(rows)}, "\x00")
	digest := x.Vault.Digest([]byte(text))
	return hex.EncodeToString(digest[:])
}

// free refuses a load while one of its source runs, before its rows are taken in. BeginLoad looks again.
func (x *Exchange) free(ctx context.Context, source string) error {
	loads, err := x.Loads.Loads(ctx, source, recentLoads)
	if err != nil {
		return err
	}
	for i := range loads {
		other, err := x.infoOf(&loads[i])
		if err != nil {
			return err
		}
		if other.State == StateRunning {
			return errLoadRunning(source)
		}
	}
	return nil
}

func errLoadRunning(source string) error {
	return annona.Conflict("load_running", "another load of this source is running; wait for its end").On(source)
}

// BeginReceived begins the load, once its rows are there; rows is a hash of them. complete adds what the
// mapping says of the source.
func (x *Exchange) BeginReceived(ctx context.Context, caller annona.Caller, r *Reception, rows []byte, complete func(*LoadOrder)) (*Loading, error) {
	order := r.request.Order
	complete(&order)
	order.id, order.request = r.id, x.requested(r, rows)
	return x.BeginLoad(ctx, caller, order)
}

// sourcesOf returns the sources whose registrar a client is.
func (x *Exchange) sourcesOf(ctx context.Context, caller annona.Caller) (sources []string, err error) {
	defer func() { x.denied(x.Standings, caller, annona.VerbImport, "", err) }()
	by, err := x.importing(ctx, caller)
	if err != nil {
		return nil, err
	}
	return policy.Sources(by.terms, by.roles, by.request)
}

// mayLoad refuses what neither the operator nor a registrar may do at this moment.
func (x *Exchange) mayLoad(ctx context.Context, caller annona.Caller, order LoadOrder) error {
	if caller.IsOperator() {
		return nil
	}
	guard := annona.Percent(order.Guard)
	_, err := x.decideLoad(ctx, caller, order, &guard)
	return err
}

func (x *Exchange) decideLoad(ctx context.Context, caller annona.Caller, order LoadOrder, guard *annona.Percent) (granted annona.Percent, err error) {
	defer func() { x.denied(x.Standings, caller, annona.VerbImport, "", err) }()
	by, err := x.importing(ctx, caller)
	if err != nil {
		return 0, err
	}
	if order.Mode != ModeFull {
		if guard != nil && *guard != 0 {
			return 0, annona.Invalid("guard_misplaced", "only a load of the mode full has a delete guard").On("delete_guard")
		}
		guard = nil
	}
	granted, err = policy.DecideLoad(by.terms, by.roles, policy.Load{Request: by.request, Source: order.Source, Mode: order.Mode, Guard: guard})
	if err == nil {
		x.usedVerb(caller, annona.VerbImport, "", "")
	}
	if order.Mode != ModeFull {
		granted = 0
	}
	return granted, err
}

// importing is what it is decided from whether a client may import.
func (x *Exchange) importing(ctx context.Context, caller annona.Caller) (grounds, error) {
	if caller.IsOperator() {
		return grounds{}, annona.Forbidden("clients_only", "a registrar is a client with an API key; the operator has annona import")
	}
	return x.groundsOf(ctx, x.Standings, caller, annona.VerbImport, Question{})
}
