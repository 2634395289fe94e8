package exchange

import (
	"context"
	"regexp"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Mappings on file are what a registrar names when it loads over a wire. The gate keeps them and knows
// whose records they make; whoever reads with a mapping checks it against the dictionary before.

var mappingName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){0,59}$`)

const maxMapping = 1 << 20 // bytes

// PutMapping puts the next version of a mapping on file and returns it. The same again changes
// nothing, unless the mapping was dropped. m needs a name, a source and a body.
func (x *Exchange) PutMapping(ctx context.Context, caller annona.Caller, m annona.StoredMapping) (version int, changed bool, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, false, err
	}
	switch {
	case !mappingName.MatchString(m.Name):
		return 0, false, annona.Invalid("mapping_name", "a mapping has a name of lower-case letters, digits and hyphens, at most 60 characters long").On("name")
	case m.Source == "":
		return 0, false, annona.Invalid("mapping_malformed", "a mapping names its source").On("source")
	case len(m.Body) > maxMapping:
		return 0, false, annona.TooLarge("mapping_too_large", "a mapping has at most %d bytes", maxMapping)
	}
	last, err := x.Mappings.Mapping(ctx, m.Name, 0)
	if err != nil {
		return 0, false, err
	}
	m.Version = 1
	if last != nil {
		if last.Body == m.Body && !last.Dropped {
			return last.Version, false, nil
		}
		m.Version = last.Version + 1
	}
	m.PutAt, m.Dropped = x.Clock().UTC(), false
	return m.Version, true, x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutMapping(ctx, m); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbPutMapping, Details: map[string]string{
			"mapping": m.Name, "version": strconv.Itoa(m.Version), "source": m.Source,
		}}))
	})
}

// DropMapping lets no load be asked for with a mapping any more. Its versions stay on file: loads name
// them.
func (x *Exchange) DropMapping(ctx context.Context, caller annona.Caller, name string) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	m, err := x.Mappings.Mapping(ctx, name, 0)
	switch {
	case err != nil:
		return err
	case m == nil:
		return errNoMapping
	case m.Dropped:
		return nil
	}
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.DropMapping(ctx, name); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbDropMapping, Details: map[string]string{"mapping": name}}))
	})
}

var errNoMapping = annona.NotFound("no mapping of this name and version is on file").On("mapping")

// ShowMapping returns a version of a mapping, also of a dropped one; version 0 is the latest.
func (x *Exchange) ShowMapping(ctx context.Context, caller annona.Caller, name string, version int) (annona.StoredMapping, error) {
	if err := operatorOnly(caller); err != nil {
		return annona.StoredMapping{}, err
	}
	m, err := x.Mappings.Mapping(ctx, name, version)
	if err == nil && m == nil {
		err = errNoMapping
	}
	if err != nil {
		return annona.StoredMapping{}, err
	}
	return *m, nil
}

// ListMappings returns the latest version of each mapping, by name, also of dropped ones.
func (x *Exchange) ListMappings(ctx context.Context, caller annona.Caller) ([]annona.StoredMapping, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	return x.Mappings.Mappings(ctx)
}
