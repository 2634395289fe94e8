package exchange

import (
	"context"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// The bounds of how long the log is kept. Positions that are older cannot be continued.
const (
	MinRetention     = 24 * time.Hour
	DefaultRetention = 30 * 24 * time.Hour
)

// PruneLog removes events that are older than that, with what the records were before them, and
// returns how many went. The ledger stays.
func (x *Exchange) PruneLog(ctx context.Context, caller annona.Caller, olderThan time.Duration) (int64, error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	if olderThan < MinRetention {
		return 0, annona.Invalid("retention_too_short", "the log is kept for a day at least: readers need time to come back")
	}
	before := x.Clock().Add(-olderThan)
	removed, err := x.Log.PruneLog(ctx, before)
	if err != nil || removed == 0 {
		return removed, err
	}
	entry := x.administration(caller, audit.Facts{Verb: annona.VerbPruneLog, Details: map[string]string{
		"before": annona.Instant(before), "events": strconv.FormatInt(removed, 10),
	}})
	return removed, x.Ledger.Append(ctx, entry)
}
