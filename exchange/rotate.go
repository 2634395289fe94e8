package exchange

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// RotateKeys does what is due to the generations of keys, and records which were made and
// destroyed. A server asks for it each hour.
func (x *Exchange) RotateKeys(ctx context.Context, caller annona.Caller, force bool) (annona.KeyRotation, error) {
	if err := operatorOnly(caller); err != nil {
		return annona.KeyRotation{}, err
	}
	done, err := x.Rotator.Rotate(ctx, force)
	if len(done.Made)+len(done.Destroyed) == 0 {
		return done, err
	}
	return done, errors.Join(err, x.recordKeys(ctx, caller, map[string]string{
		"class": "generation", "made": fmt.Sprint(done.Made), "destroyed": fmt.Sprint(done.Destroyed), "rewrapped": strconv.FormatInt(done.Rewrapped, 10),
	}))
}

// RotateClass makes a new version of the secret of a class for what is new, and records it.
func (x *Exchange) RotateClass(ctx context.Context, caller annona.Caller, class string) (version int, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	if version, err = x.rotateClass(ctx, caller, class); err != nil {
		return 0, err
	}
	return version, x.recordKeys(ctx, caller, map[string]string{"class": class, "made": strconv.Itoa(version)})
}

// The classes of signing in, as the vault calls them.
const (
	classFactor = "factor"
	classSignIn = "sign-in"
)

// rotateClass begins to make the rows of an index anew when it is the key of one that is kept. What lies sealed
// under the keys of signing in is sealed anew at once; the second rotation destroys a key.
func (x *Exchange) rotateClass(ctx context.Context, caller annona.Caller, class string) (version int, err error) {
	if class == classFactor || class == classSignIn {
		return x.rotateSignIn(ctx, class)
	}
	kind := annona.IndexKind(class)
	if kind != annona.IndexIdentifiers && kind != annona.IndexNames || x.Indexes == nil {
		return x.Rotator.RotateClass(class)
	}
	i, err := x.readIndexes(ctx)
	if err != nil {
		return 0, err
	}
	if !i.states[kind].On {
		return x.Rotator.RotateClass(class)
	}
	return x.renew(ctx, caller, kind, "renew")
}

func (x *Exchange) rotateSignIn(ctx context.Context, class string) (version int, err error) {
	if version, err = x.Rotator.RotateClass(class); err != nil {
		return 0, err
	}
	if class == classFactor {
		if err := x.sealFactorsAnew(ctx); err != nil {
			return version, err // so that nothing is destroyed
		}
	}
	return version, x.Rotator.DestroyClass(class)
}

// sealFactorsAnew seals what all people sign in by with the latest key, one person after the other, while
// they go on signing in.
func (x *Exchange) sealFactorsAnew(ctx context.Context) error {
	if x.Users == nil {
		return nil
	}
	users, err := x.Users.Users(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		err := x.Writer.Update(ctx, func(tx annona.Tx) error {
			_, factors, err := tx.HoldUser(ctx, u.ID)
			for _, f := range factors {
				anew, ok := x.Rotator.SealFactorAnew(f.User, f.ID, f.Sealed)
				if !ok {
					return annona.Internal("seal anew what a user has registered", errors.New("it does not open"))
				}
				if f.Sealed = anew; anew == nil {
					continue
				}
				if err := tx.PutFactor(ctx, f); err != nil {
					return err
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *Exchange) recordKeys(ctx context.Context, caller annona.Caller, details map[string]string) error {
	return x.Ledger.Append(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbRotateKeys, Details: details}))
}
