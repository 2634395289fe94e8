package vault

import (
	"context"
	"errors"
	"time"

	"github.com/annona-exchange/annona"
)

// Generations come and go so that erasure can be completed: a new one is made every fortnight, all
// subject keys are wrapped by it anew, and the one before is destroyed a fortnight later. From then
// on no copy of the key store from before opens the keys of those who were erased since, whoever
// holds it and whatever other keys he has. Rows stay as they are.
const (
	generationAge   = 14 * 24 * time.Hour // after which a new one is made
	generationGrace = 14 * 24 * time.Hour // between being superseded and being destroyed
)

// rewrapBatch is how many blocks are wrapped anew in one transaction.
const rewrapBatch = 256

// Rotate does what is due: it makes a generation when the newest is two weeks old, or when forced
// to, wraps subject keys anew that an earlier one wraps, and destroys generations that were
// superseded two weeks ago. It takes over what other nodes have done to the keys. Interrupted, it
// goes on where it was the next time; several nodes may rotate at once, also while records are
// written.
func (v *Vault) Rotate(ctx context.Context, force bool) (annona.KeyRotation, error) {
	var done annona.KeyRotation
	if err := v.Refresh(); err != nil {
		return done, err
	}
	newest, err := v.currentGeneration(force, &done)
	if err != nil {
		return done, err
	}
	if err := v.rewrapAll(ctx, newest, &done); err != nil {
		return done, err
	}
	if err := v.destroySuperseded(&done); err != nil {
		return done, err
	}
	if done.Rewrapped == 0 && len(done.Destroyed) == 0 {
		return done, nil
	}
	return done, v.keys.Wipe(ctx)
}

// currentGeneration returns the newest generation, a new one when that is due.
func (v *Vault) currentGeneration(force bool, done *annona.KeyRotation) (generation, error) {
	s, err := v.latest(classGeneration.label)
	if err != nil {
		return generation{}, err
	}
	if force || v.clock().Sub(s.At) >= generationAge {
		if s, err = v.add(classGeneration.label, s.Version+1); err != nil {
			return generation{}, err
		}
		done.Made = append(done.Made, s.Version)
	}
	return v.keepGeneration(s)
}

// rewrapAll wraps all keys of earlier generations by g. A block that does not open is left for its
// generation, which then stays; the others go on.
func (v *Vault) rewrapAll(ctx context.Context, g generation, done *annona.KeyRotation) error {
	var failed error
	for after := (annona.KeyBlock{}); ; {
		stale, err := v.keys.StaleKeys(ctx, g.version, after, rewrapBatch)
		if err != nil || len(stale) == 0 {
			return errors.Join(err, failed)
		}
		for len(stale) > 0 {
			n := sameNoun(stale)
			if err := v.rewrap(ctx, g, stale[0].Noun, stale[:n], done, &failed); err != nil {
				return errors.Join(err, failed)
			}
			after, stale = stale[n-1], stale[n:]
		}
	}
}

// sameNoun returns how many of the first blocks are of one noun and one generation, hence in
// ascending order.
func sameNoun(blocks []annona.KeyBlock) int {
	for i, b := range blocks {
		if b.Noun != blocks[0].Noun || b.Generation != blocks[0].Generation {
			return i
		}
	}
	return len(blocks)
}

func (v *Vault) rewrap(ctx context.Context, g generation, noun string, stale []annona.KeyBlock, done *annona.KeyRotation, damaged *error) error {
	numbers := make([]int64, len(stale))
	for i, b := range stale {
		numbers[i] = b.Block
	}
	s := v.takeScratch()
	defer v.putScratch(s)
	var rewrapped int64
	change := func(b annona.KeyBlock) ([]byte, error) {
		if b.Block == numbers[0] {
			rewrapped = 0
		}
		if len(b.Wrapped) == 0 || b.Generation >= g.version {
			return nil, nil // somebody else was faster
		}
		err := v.openBlock(&s.subjectKeys, b)
		switch {
		case s.missing != 0:
			return nil, err
		case err != nil:
			*damaged = err
			return nil, nil
		}
		rewrapped++
		return g.sealBlock(b, s.block), nil
	}
	err := v.withGenerations(&s.subjectKeys, func() error { return v.keys.ChangeKeys(ctx, noun, numbers, g.version, change) })
	switch {
	case err == errGenerationGone: // the whole lot belongs to a generation that is nowhere
		*damaged = err
		return nil
	case err == nil:
		done.Rewrapped += rewrapped
	}
	return err
}

// destroySuperseded destroys the generations whose time is over. One that still wraps keys stays.
func (v *Vault) destroySuperseded(done *annona.KeyRotation) error {
	all, err := v.generationsOnFile()
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(all); i++ {
		if v.clock().Sub(all[i+1].At) < generationGrace {
			break
		}
		if err := v.keys.Destroy(classGeneration.label, all[i].Version); err != nil {
			return err
		}
		done.Destroyed = append(done.Destroyed, all[i].Version)
	}
	return v.forgetGenerations()
}

// generationsOnFile returns the generations, oldest first.
func (v *Vault) generationsOnFile() (generations []annona.Secret, err error) {
	all, err := v.keys.List()
	if err != nil {
		return nil, annona.Internal("read the key store", err)
	}
	for _, s := range all {
		if s.Label == classGeneration.label {
			generations = append(generations, s)
		}
	}
	return generations, nil
}

// Shred destroys the key of a subject, durably, and wraps those of its neighbors anew. From then on
// nothing that was sealed under it opens, on any node. It returns when that holds for every old copy
// of the key store too: when the generation that wrapped the key is destroyed, given that Rotate
// runs in time. Shredding again is fine, and so is shredding a subject that never had a key.
func (v *Vault) Shred(ctx context.Context, dataset *annona.Dataset, number annona.Number) (complete time.Time, err error) {
	s := v.takeScratch()
	defer v.putScratch(s)
	err = v.changeKeys(ctx, &s.subjectKeys, dataset.Noun, []int64{blockOf(number)}, func(newest generation, b annona.KeyBlock) ([]byte, error) {
		if err := v.openBlock(&s.subjectKeys, b); err != nil {
			return nil, err
		}
		key := slotKey(s.block, number)
		if isAbsent(key) {
			return nil, nil
		}
		clear(key)
		if isAbsent(s.block) {
			return []byte{}, nil
		}
		return newest.sealBlock(b, s.block), nil
	})
	if err != nil {
		return time.Time{}, err
	}
	if err := v.keys.Wipe(ctx); err != nil {
		return time.Time{}, err
	}
	return v.completeAt()
}

// completeAt returns when everything that the generations of this moment wrap will be out of reach.
func (v *Vault) completeAt() (time.Time, error) {
	s, err := v.latest(classGeneration.label)
	superseded := s.At.Add(generationAge)
	if now := v.clock(); superseded.Before(now) {
		superseded = now
	}
	return superseded.Add(generationGrace), err
}

// RotateClass makes a new version of the secret of a class for what is new. Those before it stay:
// cursors are read, indexes searched and signatures verified under each, until DestroyClass. Classes
// are position, index, name-search, issuer, factor and sign-in.
func (v *Vault) RotateClass(class string) (version int, err error) {
	if err := rotates(class); err != nil {
		return 0, err
	}
	latest, err := v.latest(class)
	if err != nil {
		return 0, err
	}
	if signsIn(class) && latest.Version > 1 && v.clock().Sub(latest.At) < takenOver {
		return 0, annona.Conflict("rotation_early", "this key was rotated less than two hours ago, and not every server may have taken it over; rotate it later")
	}
	s, err := v.add(class, latest.Version+1)
	if err != nil {
		return 0, err
	}
	return s.Version, v.Refresh()
}

// ClassVersion returns the latest version of the secret of a class.
func (v *Vault) ClassVersion(class string) (int, error) {
	latest, err := v.latest(class)
	return latest.Version, err
}

// DestroyClass destroys all versions of the secret of a class but the latest, and of the classes of signing in
// but the latest two: what another node seals before it has taken over the latest still opens.
func (v *Vault) DestroyClass(class string) error {
	if err := rotates(class); err != nil {
		return err
	}
	latest, err := v.latest(class)
	if err != nil {
		return err
	}
	kept := latest.Version
	if signsIn(class) {
		kept--
	}
	for version := 1; version < kept; version++ {
		if err := v.keys.Destroy(class, version); err != nil {
			return err
		}
	}
	return v.Refresh()
}

// takenOver is when every server seals by the latest keys: it looks for them each hour.
const takenOver = 2 * time.Hour

func signsIn(class string) bool { return class == classFactor.label || class == classSignIn.label }

func rotates(class string) error {
	switch class {
	case classPosition.label, classIndex.label, classNameSearch.label, classIssuer.label, classFactor.label, classSignIn.label:
		return nil
	}
	return annona.Invalid("class_unknown", "the classes whose secrets rotate are %s, %s, %s, %s, %s and %s",
		classPosition.label, classIndex.label, classNameSearch.label, classIssuer.label, classFactor.label, classSignIn.label).On("class")
}

// Status is the state of the keys that rotate, for whoever looks after the installation.
type Status struct {
	Generations []GenerationStatus // oldest first
	// Overdue: a generation should have been made or destroyed a day ago. Erasures do not become
	// complete in time.
	Overdue bool
}

// GenerationStatus is the state of one generation.
type GenerationStatus struct {
	Version    int
	MadeAt     time.Time
	Superseded time.Time // zero: it is the newest
	Blocks     int64     // of subject keys that it wraps: at most 16 subjects each
}

// Status looks at every block of keys: it is for a report, not for every scrape of metrics.
func (v *Vault) Status(ctx context.Context) (Status, error) {
	var status Status
	all, err := v.generationsOnFile()
	if err != nil {
		return status, err
	}
	blocks, err := v.keys.CountKeys(ctx)
	if err != nil {
		return status, err
	}
	const patience = 24 * time.Hour
	for i, s := range all {
		g := GenerationStatus{Version: s.Version, MadeAt: s.At, Blocks: blocks[s.Version]}
		due := s.At.Add(generationAge)
		if i+1 < len(all) {
			g.Superseded = all[i+1].At
			due = g.Superseded.Add(generationGrace)
		}
		status.Overdue = status.Overdue || v.clock().Sub(due) > patience
		status.Generations = append(status.Generations, g)
	}
	return status, nil
}
