package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

func TestFault(t *testing.T) {
	for code, want := range map[sqlite.ResultCode]string{
		sqlite.ResultBusySnapshot:    "store_busy",
		sqlite.ResultFull:            "store_full",
		sqlite.ResultReadOnly:        "store_read_only",
		sqlite.ResultCantOpen:        "store_unreadable",
		sqlite.ResultCorruptVTab:     "store_damaged",
		sqlite.ResultIOErrWrite:      "store_io",
		sqlite.ResultConstraintCheck: "internal",
	} {
		err := fault("do something", fmt.Errorf("step: %w", code.ToError()))
		if annona.CodeOf(err) != want {
			t.Errorf("%v: got %s, want %s", code, annona.CodeOf(err), want)
		}
	}
	known := annona.Invalid("known", "known")
	if err := fault("do something", known); err != error(known) {
		t.Errorf("an error of ours became %v", err)
	}
	if err := fault("do something", context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancellation became %v", err)
	}
}
