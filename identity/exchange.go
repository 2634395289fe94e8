package identity

import (
	"context"

	"github.com/annona-exchange/annona"
)

// exchangeGrant is the grant_type of RFC 8693.
const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

// AccessTokenType names an access token in a token exchange.
const AccessTokenType = "urn:ietf:params:oauth:token-type:access_token"

var (
	errSubject      = annona.Invalid("invalid_request", "the subject_token is no access token of this server that acts for a person under the client's own agreement, or it is not good any more")
	errSubjectType  = annona.Invalid("invalid_request", "a subject_token is of the type "+AccessTokenType+", and so is what is given for it")
	errExchangeWeak = annona.Forbidden("unauthorized_client", "a client with a secret acts for nobody but itself: register keys or a certificate")
)

// exchange gives a client a token for a person whom another client acts for, under the same agreement: a
// service behind the one that the person works with. The token is for no more than both, lives no longer
// than the one it was given for, is bound to the client that asks, and ends with the delegation.
func (i *Issuer) exchange(ctx context.Context, r TokenRequest) (Issued, error) {
	if r.SubjectType != AccessTokenType || r.Requested != "" && r.Requested != AccessTokenType {
		return Issued{}, errSubjectType
	}
	a, err := i.begin(ctx, r)
	if err != nil {
		return Issued{}, err
	}
	if a.client.Method == annona.MethodSecret {
		return Issued{}, errExchangeWeak
	}
	subject, err := i.subject(ctx, a.client, r.Subject)
	if err != nil {
		return Issued{}, err
	}
	if a.token.Within, err = i.narrower(r.Details, a.client.Agreement, subject.Within); err != nil {
		return Issued{}, err
	}
	a.token.Acting, a.token.Delegation = subject.Acting, subject.Delegation
	if subject.ExpiresAt.Before(a.token.ExpiresAt) {
		a.token.ExpiresAt = subject.ExpiresAt
	}
	if err := i.admit(ctx, &a); err != nil {
		return Issued{}, err
	}
	issued := i.write(&a, a.token.Within.Purpose != "" || a.token.Within.Datasets != nil)
	return issued, i.keep(ctx, &a, issued.Token)
}

// subject finds the token of a person. Only clients of one agreement hand such tokens to each other: a
// token that another partner has got hold of is good for nothing there.
func (i *Issuer) subject(ctx context.Context, client *annona.Client, text string) (*annona.Token, error) {
	if !isToken(text) {
		return nil, errSubject
	}
	token, err := i.Store.TokenByHash(ctx, i.HashToken([]byte(text)))
	if err != nil {
		return nil, err
	}
	if token == nil || token.Acting.Person == (annona.UID{}) || !isActive(token, i.clock()) {
		return nil, errSubject
	}
	holder, err := i.Store.ClientByID(ctx, token.Client)
	if err != nil {
		return nil, err
	}
	if holder == nil || !holder.RevokedAt.IsZero() || !i.clock().Before(holder.ExpiresAt) || holder.Agreement != client.Agreement {
		return nil, errSubject
	}
	return token, nil
}
