package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// cutBeginnings cuts the power while a registry is made. A registry that was reported as made is
// there, with its root key; before that, init can run again.
func (c *cuttable) cutBeginnings(ctx context.Context, n int, r *rand.Rand) ([]problem, error) {
	young := *c.registry
	young.folder = filepath.Join(c.folder, "young")
	s, err := startShell(ctx, &young, young.folder)
	if err != nil {
		return nil, err
	}
	made, err := s.start("init")
	if err == nil {
		err = succeed(made.wait(ctx))
	}
	if err := errors.Join(err, s.end()); err != nil {
		return nil, err
	}
	calls, err := readTracedFile(s.trace())
	if err != nil {
		return nil, err
	}
	for i := range n {
		at := r.IntN(len(calls))
		if i == 0 {
			at = len(calls) - 1
		}
		problems, err := young.cutBeginning(ctx, calls, at, made.out(), r)
		if err != nil || len(problems) > 0 {
			return problems, err
		}
		c.report.hit["while a registry was made"]++
		c.report.blows++
	}
	return nil, nil
}

// cutBeginning cuts the power when a call of init has begun.
func (y *registry) cutBeginning(ctx context.Context, calls []*call, at int, out string, r *rand.Rand) ([]problem, error) {
	d := &disk{root: y.data(), names: map[string]*file{}, certain: map[string]*file{}}
	sent, err := d.replay(calls, calls[at].began)
	if err != nil {
		return nil, err
	}
	after := *y
	after.folder = filepath.Join(y.folder, "after")
	kept := likelihood(r)
	if err := errors.Join(os.RemoveAll(after.folder), d.cut(after.data(), kept, r)); err != nil {
		return nil, err
	}
	found := func(err error) []problem {
		return []problem{{checkLost, fmt.Sprintf("power was cut at call %d of init, with %.2f of what was not synced: %v", at, kept, err)}}
	}
	if sent[out] == nil { // nothing was promised
		if _, err := after.run(ctx, "init"); err != nil && !isMade(err) {
			return found(err), nil
		}
	}
	if _, err := after.verify(ctx); err != nil {
		return found(err), nil
	}
	return nil, nil
}

// isMade reports whether init refused because the registry is there already.
func isMade(err error) bool { return strings.Contains(err.Error(), "code: registry_exists") }
