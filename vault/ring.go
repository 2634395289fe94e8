package vault

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/annona-exchange/annona"
)

// ring holds every version of a class secret that is alive, as what is made of it: the latest is
// used for what is new, the others for what is on file from before a rotation.
type ring[T any] struct {
	class keyClass
	use   func(classSecret) T

	mu     sync.RWMutex
	latest int
	keys   map[int]T
}

func newRing[T any](class keyClass, use func(classSecret) T) *ring[T] {
	return &ring[T]{class: class, use: use}
}

// newest returns the latest version and its key.
func (r *ring[T]) newest() (version int, key T) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.latest, r.keys[r.latest]
}

// of returns the key of a version; false when it is not there (anymore).
func (r *ring[T]) of(version int) (key T, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	key, ok = r.keys[version]
	return key, ok
}

// opener takes the version (uvarint) off what was sealed and returns its key; false when there is none.
func (r *ring[T]) opener(sealed []byte) (version int, key T, rest []byte, ok bool) {
	n, length := binary.Uvarint(sealed)
	if length <= 0 || n > math.MaxInt32 {
		return 0, key, nil, false
	}
	key, ok = r.of(int(n))
	return int(n), key, sealed[length:], ok
}

// all returns the keys of all versions, the latest first.
func (r *ring[T]) all() (keys []T) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for version := r.latest; version > 0; version-- {
		if key, ok := r.keys[version]; ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// load reads the versions on file, and makes the first one.
func (r *ring[T]) load(v *Vault) error {
	latest, err := v.latest(r.class.label)
	if err != nil {
		return err
	}
	keys := make(map[int]T, latest.Version)
	for version := latest.Version; version > 0; version-- {
		s, err := v.keys.Get(r.class.label, version)
		if err != nil {
			return annona.Internal("read the key store", err)
		}
		if s.Version == 0 {
			continue // destroyed
		}
		secret, err := v.root.unwrap(s)
		if err != nil {
			return err
		}
		keys[version] = r.use(secret)
	}
	r.mu.Lock()
	r.latest, r.keys = latest.Version, keys
	r.mu.Unlock()
	return nil
}
