package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/identity/people"
	"github.com/annona-exchange/annona/rest/oauth"
	"github.com/annona-exchange/annona/rest/signin"
)

// authorization wires the authorization server, and whoever recognizes its tokens, to the registry. signIn
// makes the pages on which people sign in; nil: nobody does.
func (f *folder) authorization(public string, certificates bool, signIn func(*identity.Issuer) oauth.SignIn, log *slog.Logger) (*identity.Tokens, *oauth.Wire) {
	i := identity.Installation{
		Standings: f.remembered, Store: f.store, Claims: f.store, Delegations: f.store, Keys: f.keys, Clock: time.Now, Origin: public,
		HashSecret: f.vault.KeyHash, HashToken: f.vault.TokenHash, HashNonce: f.vault.ProofNonce,
		Signing: f.signingKeys, Admit: f.gate.AdmitToken, Delegated: f.gate.RecordDelegation,
		Outside: f.outsiders(log),
	}
	proofs := identity.NewProofs(i)
	issuer := identity.NewIssuer(i, proofs)
	var pages oauth.SignIn
	if signIn != nil {
		pages = signIn(issuer)
	}
	return identity.NewTokens(i, proofs), oauth.New(issuer, pages, certificates)
}

// outsiders wires the recognition of tokens of others to the registry. What goes wrong with a provider is
// logged by its name.
func (f *folder) outsiders(log *slog.Logger) *identity.Outside {
	return identity.NewOutside(identity.OutsideWiring{
		Providers: f.store, Standings: f.remembered, Clock: time.Now, HashName: f.vault.KeyHash, HashToken: f.vault.TokenHash, Outbound: identity.NewOutbound,
		TakeIn: f.gate.TakeInToken,
		End: func(ctx context.Context, provider string, e annona.OutsideEnd) error {
			return f.gate.EndOutside(ctx, annona.Caller{}, provider, e)
		},
		Trouble: func(provider string, err error) {
			log.Warn("the keys of an identity provider could not be fetched; those that are known count on for a day", "identity_provider", provider, "error", err.Error())
		},
	})
}

// pages wires the pages on which people sign in to the registry.
func (f *folder) pages(public string) (*signin.Wire, error) {
	desk, err := f.desk(public)
	if err != nil {
		return nil, err
	}
	return signin.New(desk)
}

// desk wires whoever signs people in to the registry.
func (f *folder) desk(public string) (*people.Desk, error) {
	return people.New(people.Wiring{
		Users: f.store, Claims: f.store, Delegations: f.store, Clients: f.store, Vault: f.vault, Clock: time.Now, Origin: public, Record: f.gate.SignIn,
	})
}

func (f *folder) signingKeys() (keys []identity.SigningKey) {
	for _, k := range f.vault.IssuerKeys() {
		keys = append(keys, identity.SigningKey{ID: k.ID, Private: k.Private})
	}
	return keys
}

// keepTokens removes each minute what is over of access tokens, of what may be shown once, of sessions, and
// of keys of requests. It settles change requests whose source has spoken.
func (f *folder) keepTokens(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.gate.EnterRefusals(false)
			if err := f.gate.KeepUses(ctx); err != nil && ctx.Err() == nil {
				log.Error("what clients use could not be noted", "code", annona.CodeOf(err))
			}
			if err := f.gate.DropTokens(ctx, f.store, f.store); err != nil && ctx.Err() == nil {
				log.Error("expired access tokens could not be removed", "code", annona.CodeOf(err))
			}
			if err := f.gate.DropSignIns(ctx); err != nil && ctx.Err() == nil {
				log.Error("sessions that are over could not be removed", "code", annona.CodeOf(err))
			}
			if err := f.gate.SettleChangeRequests(ctx); err != nil && ctx.Err() == nil {
				log.Error("change requests could not be settled", "code", annona.CodeOf(err))
			}
			if err := f.gate.DropRequests(ctx); err != nil && ctx.Err() == nil {
				log.Error("keys of requests that are over could not be removed", "code", annona.CodeOf(err))
			}
		}
	}
}

var errPublicURL = annona.Invalid("public_url_malformed", "the public address is written https://host or https://host:port, without a path; plain http only for a loopback address").On("public-url")

// publicURL returns the address under which clients know the server: what they write into proofs,
// whatever a proxy does to their requests.
func publicURL(text string, listener net.Addr, secured bool) (string, error) {
	if text == "" {
		scheme := "http://"
		if secured {
			scheme = "https://"
		}
		return scheme + listener.String(), nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errPublicURL
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "", errPublicURL
	}
	return u.Scheme + "://" + u.Host, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
