package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time { return time.Unix(0, c.at.Load()).UTC() }

func (c *clock) pass(days float64) { c.at.Add(int64(days * 24 * float64(time.Hour))) }

func newVaultAt(t *testing.T, c *clock) (dir string, keys *keptKeys, v *Vault) {
	t.Helper()
	dir, keys = t.TempDir(), newKeys()
	v, err := Create(Installation{Folder: dir, Keys: keys, Clock: c.now}, Production)
	if err != nil {
		t.Fatal(err)
	}
	return dir, keys, v
}

func reopen(t *testing.T, dir string, keys *keptKeys) *Vault {
	t.Helper()
	v, err := Open(Installation{Folder: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// people seals images of individuals and returns their sealed bytes by number.
func people(t *testing.T, v *Vault, d *annona.Dataset, from, to annona.Number) map[annona.Number][]byte {
	t.Helper()
	images := map[annona.Number][]byte{}
	for n := from; n <= to; n++ {
		images[n] = sealed(t, v, d, n, person(fmt.Sprint("person ", n)))
	}
	return images
}

func openOne(ctx context.Context, v *Vault, d *annona.Dataset, n annona.Number, image []byte) error {
	c := annona.Cell{Dataset: d, Number: n, Version: 1, Part: annona.PartSealed, Image: image}
	err := v.OpenCell(ctx, &c)
	if err == nil && !bytes.Equal(c.Image, person(fmt.Sprint("person ", n))) {
		return errors.New("it is somebody else's image")
	}
	return err
}

func rotate(t *testing.T, v *Vault, force bool, want string) {
	t.Helper()
	done, err := v.Rotate(t.Context(), force)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(done); got != want {
		t.Errorf("rotated %s, want %s", got, want)
	}
}

// A generation lives four weeks: two as the newest one, two more beside the next.
func TestGenerationsComeAndGo(t *testing.T) {
	now := newClock()
	dir, keys, v := newVaultAt(t, now)
	d := shapeOf(t, registry(t), "individuals").Dataset
	images := people(t, v, d, 1, 40)
	rotate(t, v, false, "{[] [] 0}")
	now.pass(13.9)
	rotate(t, v, false, "{[] [] 0}")
	now.pass(0.1)
	rotate(t, v, false, "{[2] [] 3}")
	maps.Copy(images, people(t, v, d, 41, 60))
	now.pass(13.9)
	rotate(t, v, false, "{[] [] 0}")
	now.pass(0.1)
	rotate(t, v, false, "{[3] [1] 4}")
	now.pass(100)
	rotate(t, v, false, "{[4] [2] 4}") // the third was superseded just now
	if len(keys.secrets["generation"]) != 2 {
		t.Errorf("%d generations on file", len(keys.secrets["generation"]))
	}
	for _, node := range []*Vault{v, reopen(t, dir, keys)} {
		for n, image := range images {
			if err := openOne(t.Context(), node, d, n, image); err != nil {
				t.Fatalf("number %d: %v", n, err)
			}
		}
	}
}

func TestRotateByForce(t *testing.T) {
	_, _, v := newVaultAt(t, newClock())
	rotate(t, v, true, "{[2] [] 0}")
	rotate(t, v, true, "{[3] [] 0}")
}

// C-05: records are written and read on two nodes while both rotate. Nothing is lost.
func TestRotateWhileWriting(t *testing.T) {
	now := newClock()
	dir, keys, v := newVaultAt(t, now)
	other, err := Open(Installation{Folder: dir, Keys: keys, Clock: now.now})
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*Vault{v, other}
	d := shapeOf(t, registry(t), "individuals").Dataset
	var all sync.WaitGroup
	images := make([]map[annona.Number][]byte, 4)
	for w := range images {
		all.Go(func() {
			images[w] = map[annona.Number][]byte{}
			for n := annona.Number(1); n <= 150; n++ {
				number := n*4 + annona.Number(w) // four writers share each block
				cells := []annona.Cell{{Dataset: d, Number: number, Version: 1, Part: annona.PartSealed, Image: person(fmt.Sprint("person ", number))}}
				if err := nodes[w%2].Seal(context.Background(), cells); err != nil {
					t.Error(err)
					return
				}
				images[w][number] = cells[0].Image
				if err := openOne(context.Background(), nodes[1-w%2], d, number, cells[0].Image); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, node := range nodes {
		all.Go(func() {
			for range 20 {
				now.pass(8)
				if _, err := node.Rotate(context.Background(), false); err != nil && annona.CodeOf(err) != "generation_gone" && annona.CodeOf(err) != "generation_in_use" {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, some := range images {
		for n, image := range some {
			if err := openOne(t.Context(), reopen(t, dir, keys), d, n, image); err != nil {
				t.Fatalf("number %d: %v", n, err)
			}
		}
	}
}

// C-06: a generation that wraps keys which cannot be wrapped anew stays; all others are.
func TestDamagedKeysDoNotStopARotation(t *testing.T) {
	now := newClock()
	_, keys, v := newVaultAt(t, now)
	d := shapeOf(t, registry(t), "individuals").Dataset
	images := people(t, v, d, 1, 60)
	edit(keys, func(b *annona.KeyBlock) { b.Wrapped[50]++ })
	now.pass(14)
	done, err := v.Rotate(t.Context(), false)
	wantCode(t, err, "keys_tampered")
	if done.Rewrapped != 3 {
		t.Errorf("%d blocks were wrapped anew, want 3", done.Rewrapped)
	}
	now.pass(14)
	_, err = v.Rotate(t.Context(), false)
	wantCode(t, err, "keys_tampered")
	wantCode(t, keys.Destroy("generation", 1), "generation_in_use")
	if err := openOne(t.Context(), v, d, 20, images[20]); err != nil {
		t.Error(err)
	}
}

// An interrupted rotation goes on the next time.
func TestRotateGoesOn(t *testing.T) {
	now := newClock()
	_, keys, v := newVaultAt(t, now)
	d := shapeOf(t, registry(t), "individuals").Dataset
	images := people(t, v, d, 1, 60)
	now.pass(14)
	keys.failing = errors.New("the disk is full")
	if _, err := v.Rotate(t.Context(), false); err == nil {
		t.Error("rotated without a key store")
	}
	keys.failing = nil
	rotate(t, v, false, "{[2] [] 4}")
	for n, image := range images {
		if err := openOne(t.Context(), v, d, n, image); err != nil {
			t.Fatal(err)
		}
	}
}

// C-14: erasure is effective at once and complete when the generation is destroyed.
func TestShred(t *testing.T) {
	now := newClock()
	dir, keys, v := newVaultAt(t, now)
	d := shapeOf(t, registry(t), "individuals").Dataset
	images := people(t, v, d, 1, 20)
	other := reopen(t, dir, keys)
	if err := openOne(t.Context(), other, d, 5, images[5]); err != nil {
		t.Fatal(err)
	}
	old := copyOf(keys)

	now.pass(3)
	complete, err := v.Shred(t.Context(), d, 5)
	if err != nil {
		t.Fatal(err)
	}
	for name, node := range map[string]*Vault{"this node": v, "another one": other, "one started later": reopen(t, dir, keys)} {
		if err := openOne(t.Context(), node, d, 5, images[5]); annona.CodeOf(err) != "key_gone" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := openOne(t.Context(), v, d, 6, images[6]); err != nil {
		t.Errorf("a neighbor went with it: %v", err)
	}

	// Until then, an old copy of the key store still opens it, with the root key.
	if err := openOne(t.Context(), reopen(t, dir, old), d, 5, images[5]); err != nil {
		t.Errorf("an old copy, before: %v", err)
	}
	for now.now().Before(complete) {
		now.pass(1)
		if _, err := v.Rotate(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if days := complete.Sub(newClock().now()).Hours() / 24; days > 30 {
		t.Errorf("complete after %v days", days)
	}
	// The thief has every old file of the key store and the folder, and the generations of today.
	// Of the destroyed one he has nothing but what the files of today hold.
	for version := range keys.secrets["generation"] {
		old.secrets["generation"][version] = keys.secrets["generation"][version]
	}
	if keys.secrets["generation"][1] != nil {
		t.Fatal("the first generation is still there")
	}
	delete(old.secrets["generation"], 1)
	if err := openOne(t.Context(), reopen(t, dir, old), d, 5, images[5]); annona.CodeOf(err) != "generation_gone" {
		t.Errorf("an old copy, after: %v", err)
	}
}

func copyOf(k *keptKeys) *keptKeys {
	c := newKeys()
	for label, versions := range k.secrets {
		c.secrets[label] = maps.Clone(versions)
	}
	c.blocks = maps.Clone(k.blocks)
	return c
}

func TestShredTheLastOfABlock(t *testing.T) {
	_, keys, v := newVaultAt(t, newClock())
	d := shapeOf(t, registry(t), "individuals").Dataset
	people(t, v, d, 3, 4)
	for _, n := range []annona.Number{3, 4, 4, 400} { // again, and one that never was
		if _, err := v.Shred(t.Context(), d, n); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys.blocks) != 0 {
		t.Errorf("%d blocks are left", len(keys.blocks))
	}
}

func TestStatus(t *testing.T) {
	now := newClock()
	_, _, v := newVaultAt(t, now)
	people(t, v, shapeOf(t, registry(t), "individuals").Dataset, 1, 40)
	now.pass(14)
	if status, err := v.Status(t.Context()); err != nil || status.Overdue || len(status.Generations) != 1 || status.Generations[0].Blocks != 3 {
		t.Errorf("on the day: %+v, %v", status, err)
	}
	now.pass(1.5)
	if status, _ := v.Status(t.Context()); !status.Overdue {
		t.Error("nobody says that no generation was made")
	}
	rotate(t, v, false, "{[2] [] 3}")
	status, err := v.Status(t.Context())
	if err != nil || status.Overdue || len(status.Generations) != 2 || status.Generations[0].Blocks != 0 || !status.Generations[0].Superseded.Equal(now.now()) {
		t.Errorf("after it: %+v, %v", status, err)
	}
	now.pass(10)
	rotate(t, v, true, "{[3] [] 3}")
	now.pass(6)
	if status, _ := v.Status(t.Context()); !status.Overdue {
		t.Error("nobody says that no generation was destroyed")
	}
}

func TestClassesThatDoNotRotate(t *testing.T) {
	_, _, v := newVault(t, Production)
	for _, class := range []string{"generation", "record-key", "realm", "", "index/x"} {
		_, err := v.RotateClass(class)
		wantCode(t, err, "class_unknown")
		wantCode(t, v.DestroyClass(class), "class_unknown")
	}
}

// What lies in the folder beside the key store is the root key alone.
func TestNothingElseIsWritten(t *testing.T) {
	dir, _, v := newVaultAt(t, newClock())
	people(t, v, shapeOf(t, registry(t), "individuals").Dataset, 1, 3)
	rotate(t, v, true, "{[2] [] 1}")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != filepath.Base(RootFile) {
		t.Errorf("%v, %v", files, err)
	}
}
