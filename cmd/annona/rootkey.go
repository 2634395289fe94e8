package main

import (
	"context"
	"net/url"
	"slices"

	kms "gocloud.dev/secrets"
	"gocloud.dev/secrets/awskms"
	"gocloud.dev/secrets/hashivault"
	"gocloud.dev/secrets/localsecrets"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/vault"
)

// installation says where the parts of a registry's vault lie.
func installation(path string, keys annona.KeyStore) vault.Installation {
	return vault.Installation{Folder: path, Keys: keys, Keepers: openKeeper}
}

// rootKeyFlag says where a root key that is being made is kept.
type rootKeyFlag struct {
	RootKey      string `name:"root-key" placeholder:"URL" help:"Key of a key management service that keeps the root key, as awskms://alias/annona?region=eu-central-1 or hashivault://annona. Without it the root key lies in the data folder."`
	LocalRootKey bool   `name:"insecure-local-root-key" help:"Allow a root key that is kept by a key within its own URL (base64key://), for tests: it protects nothing."`
}

// Validate refuses URLs that hold a secret, and services that we do not know.
func (r rootKeyFlag) Validate() error {
	if r.RootKey == "" {
		return nil
	}
	parsed, err := url.Parse(r.RootKey)
	if err != nil || !slices.Contains(keeperSchemes(), parsed.Scheme) {
		return errRootKeyURL
	}
	if parsed.User != nil {
		return annona.Invalid("root_key_url", "no name and no password stand in the URL of a root key: the service takes them from where it always does").On("root-key")
	}
	if parsed.Scheme == localsecrets.Scheme && !r.LocalRootKey {
		return annona.Invalid("root_key_url", "a base64key:// URL holds the key itself, so that it protects nothing; it is for tests, with --insecure-local-root-key").On("root-key")
	}
	return nil
}

func keeperSchemes() []string {
	return []string{awskms.Scheme, hashivault.Scheme, localsecrets.Scheme}
}

var errRootKeyURL = annona.Invalid("root_key_url", "a root key is kept by a key that a URL names: awskms:// for AWS KMS, hashivault:// for the transit engine of HashiCorp Vault or OpenBao").On("root-key")

// openKeeper connects to a key management service.
func openKeeper(ctx context.Context, address string) (vault.Keeper, error) {
	parsed, err := url.Parse(address)
	if err != nil || !slices.Contains(keeperSchemes(), parsed.Scheme) {
		return nil, errRootKeyURL
	}
	keeper, err := kms.OpenKeeper(ctx, address)
	if err != nil {
		return nil, annona.Conflict("root_key_service", "the key management service that keeps the root key cannot be asked: its settings are missing or wrong").Because(err)
	}
	return keeper, nil
}
