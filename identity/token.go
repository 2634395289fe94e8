package identity

import (
	"context"
	"strings"

	"github.com/annona-exchange/annona"
)

// Tokens recognizes callers by the access tokens that they show. It is safe for concurrent use.
type Tokens struct {
	Installation
	proofs *Proofs
}

// NewTokens returns a recognizer of tokens.
func NewTokens(i Installation, proofs *Proofs) *Tokens { return &Tokens{i, proofs} }

var (
	errToken        = annona.Unauthenticated("invalid_token", "the access token is not valid here: ask for another one at the token endpoint")
	errTokenExpired = annona.Unauthenticated("invalid_token", "the access token has expired: ask for another one at the token endpoint")
	errTokenScheme  = annona.Unauthenticated("invalid_token", "this access token is bound to a key: show it as Authorization: DPoP, with a proof")
	errTokenUnbound = annona.Unauthenticated("invalid_token", "this access token is bound to no key: a proof does not make it stronger; show it as Authorization: Bearer, without one")
	errTokenOfOther = annona.Unauthenticated("invalid_token", "the access token is bound to another certificate than the one of this connection")
)

// Recognize returns the caller who shows a token, once what the token is bound to has been proved. The
// proof is claimed last, so that only its holder can use it up.
//
// Errors: invalid_token, invalid_dpop_proof, use_dpop_nonce, network_not_allowed (forbidden), and of a token
// that others have issued those of Outside.
func (t *Tokens) Recognize(ctx context.Context, shown annona.ShownToken) (annona.Caller, error) {
	token, err := t.find(ctx, shown)
	now := t.Clock()
	switch {
	case err != nil:
		return annona.Caller{}, err
	case token == nil || !token.RevokedAt.IsZero():
		return annona.Caller{}, errToken
	case !now.Before(token.ExpiresAt):
		return annona.Caller{}, errTokenExpired
	}
	client, err := t.Standings.ClientByID(ctx, token.Client)
	if err != nil {
		return annona.Caller{}, err
	}
	if err := t.Keys.Check(client, now, shown.From); err != nil {
		if annona.KindOf(err) == annona.KindForbidden {
			return annona.Caller{}, err
		}
		return annona.Caller{}, errToken
	}
	if err := t.checkBinding(ctx, token, shown); err != nil {
		return annona.Caller{}, err
	}
	return annona.Caller{
		Client: client.ID, Agreement: client.Agreement, Strength: strengthOf(client, token),
		Network: plainAddr(shown.From), Token: token.Hash, Acting: token.Acting,
	}, nil
}

// find returns what is on file of a token: one of ours, or of others who issue them; nil when there is none.
func (t *Tokens) find(ctx context.Context, shown annona.ShownToken) (*annona.Token, error) {
	foreign := t.Outside != nil && isSigned(shown.Token)
	if !foreign && !isToken(shown.Token) {
		return nil, nil
	}
	token, err := t.Standings.TokenByHash(ctx, t.HashToken([]byte(shown.Token)))
	if token != nil || err != nil || !foreign {
		return token, err
	}
	return t.Outside.takeIn(ctx, shown.Token, shown.From)
}

// checkBinding holds whoever shows a token to all that the token is bound to.
func (t *Tokens) checkBinding(ctx context.Context, token *annona.Token, shown annona.ShownToken) error {
	if token.Certificate != nil {
		if shown.Certificate == nil || !holdsNow(shown.Certificate, t.Clock()) || !same(token.Certificate, thumbprint(shown.Certificate)) {
			return errTokenOfOther
		}
	}
	proves := strings.EqualFold(shown.Scheme, "DPoP")
	switch {
	case token.Key == nil && (proves || len(shown.Proofs) > 0):
		return errTokenUnbound
	case token.Key == nil:
		return nil
	case !proves:
		return errTokenScheme
	}
	made, err := t.proofs.check(ctx, shown.Proofs, shown.Method, shown.Path, shown.Token)
	if err != nil {
		return err
	}
	if !same(made.thumbprint, token.Key) {
		return badProof(errProofOfOther)
	}
	if err := t.proofs.claim(ctx, token.Client, made); err != nil {
		if annona.CodeOf(err) == annona.ErrClaimed.Code {
			return badProof(errProofReplayed)
		}
		return err
	}
	return nil
}

// isToken reports whether a text can be one of our tokens: no look-up is needed for others.
func isToken(text string) bool {
	body := len(text) - checksumLength
	return len(text) == len(tokenPrefix)+32+checksumLength && strings.HasPrefix(text, tokenPrefix) && checksum(text[:body]) == text[body:]
}

// Nonce returns a fresh nonce for the next proof.
func (t *Tokens) Nonce(ctx context.Context) (string, error) { return t.proofs.Nonce(ctx) }
