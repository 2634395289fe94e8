package exchange_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/vault"
)

// What people sign in by is sealed anew while they sign in: nothing is lost, and nothing is left under a key
// that the second rotation destroys.
func TestFactorKeysRotateWhileServing(t *testing.T) {
	r := newRegistry(t, 1)
	now := time.Now()
	keys := r.Vault.(*vault.Vault)
	r.Users, r.Rotator = r.store, keys
	var factors []annona.Factor
	for n := range 20 {
		u := annona.User{ID: annona.NewUID(), Name: fmt.Sprint("person-", n), Status: annona.UserActive, Version: 1, CreatedAt: now}
		check(t, r.store.Update(t.Context(), func(tx annona.Tx) error {
			if err := tx.PutUser(t.Context(), u); err != nil {
				return err
			}
			for range 3 {
				f := annona.Factor{ID: annona.NewUID(), User: u.ID, Kind: annona.FactorPasskey, CreatedAt: now}
				f.Sealed = keys.SealFactor(u.ID, f.ID, []byte(f.ID.String()))
				factors = append(factors, f)
				if err := tx.PutFactor(t.Context(), f); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	const signIns = 60
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := range signIns {
			err := r.store.Update(t.Context(), func(tx annona.Tx) error {
				_, held, err := tx.HoldUser(t.Context(), factors[n%len(factors)].User)
				if err != nil {
					return err
				}
				held[0].Counter++
				return tx.PutFactor(t.Context(), held[0])
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	version, err := r.RotateClass(t.Context(), operator, "factor")
	serving.Wait()
	if err != nil || version != 2 {
		t.Fatalf("version %d, %v", version, err)
	}
	counted := int64(0)
	for n := 0; n < len(factors); n += 3 {
		held, err := r.store.Factors(t.Context(), factors[n].User)
		check(t, err)
		for _, f := range held {
			message, ok := keys.OpenFactor(f.User, f.ID, f.Sealed)
			if sealedBy, _ := binary.Uvarint(f.Sealed); !ok || sealedBy != 2 || string(message) != f.ID.String() {
				t.Errorf("a factor is sealed by version %d, opens %v", sealedBy, ok)
			}
			counted += f.Counter
		}
	}
	if counted != signIns {
		t.Errorf("of %d sign-ins %d were kept", signIns, counted)
	}

	// What does not open is somebody's way in: no key is destroyed before it does.
	broken := factors[0]
	broken.Sealed = []byte{1, 2, 3}
	check(t, r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutFactor(t.Context(), broken) }))
	if err := r.sealsAnew(t); err == nil || annona.KindOf(err) != annona.KindInternal {
		t.Errorf("a factor that does not open: %v", err)
	}
	if _, ok := keys.OpenFactor(factors[0].User, factors[0].ID, factors[0].Sealed); !ok {
		t.Error("a key is destroyed while a factor does not open")
	}
	if _, err := r.RotateClass(t.Context(), operator, "sign-in"); err != nil {
		t.Errorf("the key of what browsers keep: %v", err)
	}
	if _, err := r.RotateClass(t.Context(), r.caller, "factor"); err == nil {
		t.Error("a client rotates keys")
	}
}

// sealsAnew rotates again, as if the two hours were over.
func (r *registry) sealsAnew(t *testing.T) error {
	t.Helper()
	r.Rotator = atOnce{r.Rotator}
	_, err := r.RotateClass(t.Context(), operator, "factor")
	return err
}

// atOnce forgets how long ago a key was rotated.
type atOnce struct{ annona.KeyRotator }

func (atOnce) RotateClass(string) (int, error) { return 3, nil }
