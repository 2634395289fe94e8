package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/annona-exchange/annona"
)

// The times of tokens that others issue.
const (
	outsideAhead = 60 * time.Second // of their clock before ours; behind its exp a token counts for nothing
	longestLife  = 60 * time.Minute // of a token, unless its provider is given another time
	endsKept     = 25 * time.Hour   // how long an end is remembered: no token lives longer than a day
	logoutLife   = 10 * time.Minute // behind the iat of a logout token
	providersOld = time.Second      // of the list of providers
)

// OutsideWiring is what the recognition of tokens of others is wired to.
type OutsideWiring struct {
	Providers annona.Outside
	Standings annona.Standings
	Clock     annona.Clock
	// HashName is the keyed hash by which people and sign-ins get their ids; HashToken that of tokens.
	HashName  func([]byte) []byte
	HashToken func([]byte) annona.TokenHash
	// Outbound makes what fetches from a provider, see NewOutbound.
	Outbound func(networks []netip.Prefix) *http.Client
	// TakeIn keeps a token that was verified, and who is behind it; nil: a machine. End ends tokens. The gate
	// has both: it enters them in the ledger.
	TakeIn func(ctx context.Context, caller annona.Caller, t annona.Token, person *annona.User) (holds bool, err error)
	End    func(ctx context.Context, provider string, e annona.OutsideEnd) error
	// Trouble is told when the keys of a provider could not be fetched.
	Trouble func(provider string, err error)
}

// Outside recognizes access tokens that identity providers of others have issued: signed ones, as
// RFC 9068 describes them. A token is verified once, when it is first shown, and kept like one of our
// own: what is said of tokens holds of it from then on, while its provider is away too.
type Outside struct {
	OutsideWiring

	mu     sync.Mutex
	known  map[string]*published // by issuer
	listed time.Time
}

// NewOutside returns a recognizer. It is safe for concurrent use.
func NewOutside(w OutsideWiring) *Outside {
	return &Outside{OutsideWiring: w, known: map[string]*published{}}
}

var (
	errOutsideType     = errors.New("its typ is not at+jwt: it is no access token")
	errOutsideIssuer   = errors.New("its iss is no identity provider that counts here")
	errOutsideAudience = errors.New("its aud does not name this registry")
	errOutsideTimes    = errors.New("it has expired, lives for too long, was issued ahead of time, or does not say when")
	errOutsideClient   = errors.New("its client_id is none of the clients that are registered here for this issuer")
	errOutsideSubject  = errors.New("it has no sub of at most 256 characters")
	errOutsideScope    = errors.New("its scope does not have what this registry wants")
	errOutsideBinding  = errors.New("its cnf is not a jkt or an x5t#S256, or both")
	errOutsideDetails  = errors.New("its authorization_details of type " + DetailType + " are not one that can be read")
	errOutsideEnded    = errors.New("its sign-in is over, or a later token of the same person says something else")
	errLogout          = errors.New("it is no logout token for this registry: typ, aud, iat, exp, jti, events, and sub or sid, and no nonce")
)

// badToken says what is wrong with a token of others. It repeats nothing of it.
func badToken(reason error) error {
	return annona.Unauthenticated("invalid_token", "the access token is refused: %s", reason)
}

// outsideClaims are those that are looked at, of access tokens and of logout tokens.
type outsideClaims struct {
	ID        string            `json:"jti"`
	Issuer    string            `json:"iss"`
	Subject   string            `json:"sub"`
	Audience  json.RawMessage   `json:"aud"`
	Client    string            `json:"client_id"`
	Party     string            `json:"azp"`
	Scope     string            `json:"scope"`
	Session   string            `json:"sid"`
	Class     string            `json:"acr"`
	Expires   numericDate       `json:"exp"`
	NotBefore numericDate       `json:"nbf"`
	IssuedAt  numericDate       `json:"iat"`
	SignedIn  numericDate       `json:"auth_time"`
	Bound     map[string]string `json:"cnf"`
	Details   []json.RawMessage `json:"authorization_details"`
	Nonce     json.RawMessage   `json:"nonce"`
	Events    map[string]any    `json:"events"`
}

// isSigned reports whether a text can be a token of others.
func isSigned(text string) bool {
	return strings.Count(text, ".") == 2 && strings.HasPrefix(text, "ey")
}

// verified is a signed text whose signature holds.
type verified struct {
	provider annona.IdentityProvider
	outsideClaims
	all map[string]any
}

// verify checks that one of the providers that count has signed a text of that typ.
func (o *Outside) verify(ctx context.Context, text string, types ...string) (v verified, err error) {
	s, err := parseSigned(text)
	if err != nil {
		return v, err
	}
	if !slices.Contains(types, strings.TrimPrefix(strings.ToLower(s.header.Type), "application/")) {
		return v, errOutsideType
	}
	from, err := o.issuerOf(ctx, s.claimedIssuer())
	if err != nil {
		return v, err
	}
	keys, err := from.find(ctx, s.header.KeyID, s.header.Algorithm)
	if err != nil {
		return v, err
	}
	v.provider, err = from.provider, errSignature
	for i := 0; i < len(keys) && errors.Is(err, errSignature); i++ {
		err = s.verify(&keys[i], &v.outsideClaims)
	}
	if err != nil {
		return v, err
	}
	return v, s.peek(&v.all)
}

// issuerOf finds the provider that has that name for itself. The list of them is read at most once a
// second: whoever makes issuers up costs the store nothing.
func (o *Outside) issuerOf(ctx context.Context, issuer string) (*published, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.Clock(); now.Sub(o.listed) >= providersOld {
		all, err := o.Providers.IdentityProviders(ctx)
		if err != nil {
			return nil, err
		}
		o.listed, o.known = now, o.renewed(all)
	}
	if found := o.known[issuer]; found != nil {
		return found, nil
	}
	return nil, errOutsideIssuer
}

// renewed keeps the keys of those providers that are as they were.
func (o *Outside) renewed(all []annona.IdentityProvider) map[string]*published {
	known := make(map[string]*published, len(all))
	for _, p := range all {
		was := o.known[p.Issuer]
		if was == nil || was.provider.Name != p.Name || was.provider.Version != p.Version {
			was = &published{provider: p, client: o.Outbound(networksOf(p)), clock: o.Clock, trouble: o.Trouble}
		}
		known[p.Issuer] = was
	}
	return known
}

func networksOf(p annona.IdentityProvider) (networks []netip.Prefix) {
	for _, text := range p.Networks {
		if n, err := netip.ParsePrefix(text); err == nil { // the gate has looked at it
			networks = append(networks, n.Masked())
		}
	}
	return networks
}

// Probe fetches the keys of a provider and returns how many of them may sign here.
func (o *Outside) Probe(ctx context.Context, p annona.IdentityProvider) (keys int, err error) {
	from := &published{provider: p, client: o.Outbound(networksOf(p)), clock: o.Clock, trouble: o.Trouble}
	found, err := from.fetch(ctx)
	if err != nil {
		return 0, annona.Unavailable("identity_provider_unavailable", "the identity provider %s does not do: %s", p.Name, err)
	}
	return len(found), nil
}

// takeIn verifies a token that was not shown before, and has it kept.
//
// Errors: invalid_token, identity_provider_unavailable, person_not_known_here, person_of_two_partners,
// and those of TakeIn.
func (o *Outside) takeIn(ctx context.Context, text string, from netip.Addr) (*annona.Token, error) {
	v, err := o.verify(ctx, text, "at+jwt")
	if err != nil {
		return nil, refusedToken(err)
	}
	client, token, err := o.read(ctx, v)
	if err != nil {
		return nil, refusedToken(err)
	}
	token.Hash = o.HashToken([]byte(text))
	caller := annona.Caller{Client: client.ID, Agreement: client.Agreement, Strength: strengthOf(client, &token), Network: plainAddr(from)}
	var person *annona.User
	if !v.isMachine() {
		if person, err = o.behind(v, &token); err != nil {
			return nil, err
		}
	}
	caller.Acting = token.Acting
	holds, err := o.TakeIn(ctx, caller, token, person)
	if err != nil {
		return nil, err
	}
	if !holds {
		return nil, badToken(errOutsideEnded)
	}
	return &token, nil
}

// refusedToken gives what is wrong with a token its code; what has one keeps it.
func refusedToken(err error) error {
	if own := (*annona.Error)(nil); errors.As(err, &own) {
		return err
	}
	return badToken(err)
}

// read makes a token of ours of what was verified, and finds its client.
func (o *Outside) read(ctx context.Context, v verified) (*annona.Client, annona.Token, error) {
	var token annona.Token
	switch id := v.client(); {
	case !names(v.Audience, v.provider.Audience):
		return nil, token, errOutsideAudience
	case !o.inTime(v):
		return nil, token, errOutsideTimes
	case v.Subject == "" || len(v.Subject) > maxNameLen || len(v.Session) > maxNameLen:
		return nil, token, errOutsideSubject
	case v.provider.Scope != "" && !slices.Contains(strings.Fields(v.Scope), v.provider.Scope):
		return nil, token, errOutsideScope
	case id == "":
		return nil, token, errOutsideClient
	}
	client, err := o.Standings.ClientByKeyID(ctx, OutsideKeyID(v.Issuer, v.client()))
	if err != nil {
		return nil, token, err
	}
	if client == nil || client.Method != annona.MethodOutside {
		return nil, token, errOutsideClient
	}
	token = annona.Token{Client: client.ID, IssuedAt: v.IssuedAt.Time().UTC(), ExpiresAt: v.Expires.Time().UTC()}
	if token.Key, token.Certificate, err = v.binding(); err != nil {
		return nil, token, err
	}
	token.Within, err = v.within(client.Agreement)
	return client, token, err
}

// client is the client_id, which some providers call azp; empty when it says two things.
func (c outsideClaims) client() string {
	if c.Client != "" && c.Party != "" && c.Client != c.Party {
		return ""
	}
	return cmp.Or(c.Client, c.Party)
}

// names reports whether an audience, one text or a list, names somebody.
func names(audience json.RawMessage, who string) bool {
	var one string
	if json.Unmarshal(audience, &one) == nil {
		return one == who
	}
	var list []string
	return json.Unmarshal(audience, &list) == nil && slices.Contains(list, who)
}

// inTime holds a token to its times.
func (o *Outside) inTime(v verified) bool {
	longest := longestLife
	if v.provider.LongestToken > 0 {
		longest = time.Duration(v.provider.LongestToken) * time.Minute
	}
	now := o.Clock()
	ahead := func(d numericDate) bool { return d != nil && d.Time().After(now.Add(outsideAhead)) }
	switch {
	case v.Expires == nil || v.IssuedAt == nil || !now.Before(v.Expires.Time()):
		return false
	case ahead(v.IssuedAt) || ahead(v.NotBefore) || ahead(v.SignedIn):
		return false
	}
	return v.Expires.Time().Sub(v.IssuedAt.Time()) <= longest
}

// binding is what the token is bound to. What we cannot hold anybody to makes it worthless here, not free.
func (c outsideClaims) binding() (key, certificate []byte, err error) {
	for name, value := range c.Bound {
		sum, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil || len(sum) != sha256.Size {
			return nil, nil, errOutsideBinding
		}
		switch name {
		case "jkt":
			key = sum
		case "x5t#S256":
			certificate = sum
		default:
			return nil, nil, errOutsideBinding
		}
	}
	if c.Bound != nil && key == nil && certificate == nil {
		return nil, nil, errOutsideBinding
	}
	return key, certificate, nil
}

// within is what the token is good for: one of its authorization_details may be about us.
func (c outsideClaims) within(agreement string) (within annona.Authorization, err error) {
	ours := 0
	for _, text := range c.Details {
		var kind struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(text, &kind) != nil {
			return within, errOutsideDetails
		}
		if kind.Type != DetailType {
			continue
		}
		if ours++; ours > 1 {
			return within, errOutsideDetails
		}
		if within, err = readDetails("["+string(text)+"]", agreement); err != nil {
			return within, errOutsideDetails
		}
	}
	if c.Details != nil && ours == 0 {
		return within, errOutsideDetails // it is for something else
	}
	return within, nil
}

// isMachine reports whether nobody is behind a token.
func (v verified) isMachine() bool {
	if v.provider.Machines != nil {
		return says(v.all, *v.provider.Machines)
	}
	return v.Subject == v.client()
}

// behind says who is behind a token, and what the rules of the provider give them.
func (o *Outside) behind(v verified, token *annona.Token) (*annona.User, error) {
	partner, roles, err := placeOf(v.provider, v.all)
	if err != nil {
		return nil, err
	}
	id := o.personID(v.Issuer, v.Subject)
	token.Acting = annona.SignedIn{Person: id, Assurance: annona.AssuranceOutside}
	if worth, ok := annona.ParseAssurance(v.provider.Assurance[v.Class]); ok {
		token.Acting.Assurance = worth
	}
	if v.SignedIn != nil {
		token.Acting.At = v.SignedIn.Time().UTC()
	}
	if v.Session != "" {
		token.Delegation = o.signInID(v.Issuer, v.Session)
	}
	return &annona.User{ID: id, Provider: v.provider.Name, Name: outsideName(id), Partner: partner, Roles: roles, Status: annona.UserActive, Version: 1, CreatedAt: o.Clock()}, nil
}

// outsideName is the login name of somebody who never signs in here: no name of theirs, and no address.
func outsideName(id annona.UID) string { return "outside-" + keyDigits.EncodeToString(id[:10]) }

func (o *Outside) personID(issuer, subject string) annona.UID {
	return o.id("person of an outside issuer", issuer, subject)
}

func (o *Outside) signInID(issuer, session string) annona.UID {
	return o.id("sign-in at an outside issuer", issuer, session)
}

// id is a keyed hash: whoever reads the ledger cannot try out subs.
func (o *Outside) id(parts ...string) (id annona.UID) {
	copy(id[:], o.HashName(joined(parts...)))
	return id
}

// joined joins texts so that no two lists join alike.
func joined(parts ...string) (b []byte) {
	for _, part := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return b
}

// OutsideKeyID is by what a client of an outside issuer is on file: it has the shape of every other
// client_id.
func OutsideKeyID(issuer, clientID string) string {
	sum := sha256.Sum256(joined("client of an outside issuer", issuer, clientID))
	return keyDigits.EncodeToString(sum[:idBytes])
}

// PersonID returns the id of somebody at a provider, for whoever knows their sub.
func (o *Outside) PersonID(p annona.IdentityProvider, subject string) (id annona.UID, name string) {
	id = o.personID(p.Issuer, subject)
	return id, outsideName(id)
}

// backChannel is the event of a logout token (OpenID Connect Back-Channel Logout 1.0).
const backChannel = "http://schemas.openid.net/event/backchannel-logout"

// Logout ends the tokens of a sign-in or of a person, as the logout token of their provider says. Shown
// again it says the same: it need not be claimed.
//
// Errors: invalid_request, identity_provider_unavailable.
func (o *Outside) Logout(ctx context.Context, text string) error {
	refused := func(reason error) error {
		if own := (*annona.Error)(nil); errors.As(reason, &own) {
			return reason
		}
		return annona.Invalid("invalid_request", "the logout token is refused: %s", reason)
	}
	v, err := o.verify(ctx, text, "logout+jwt", "jwt", "")
	if err != nil {
		return refused(err)
	}
	if err := o.checkLogout(ctx, v); err != nil {
		return refused(err)
	}
	if v.Session != "" {
		return o.EndSignIn(ctx, v.provider, v.Session)
	}
	return o.EndPerson(ctx, v.provider, v.Subject, v.IssuedAt.Time())
}

// checkLogout holds a logout token to its claims. Its aud is this registry, or a client of ours at the provider.
func (o *Outside) checkLogout(ctx context.Context, v verified) error {
	_, isLogout := v.Events[backChannel].(map[string]any)
	now := o.Clock()
	switch {
	case !isLogout || v.Nonce != nil || v.ID == "" || v.Subject == "" && v.Session == "" || len(v.Subject) > maxNameLen || len(v.Session) > maxNameLen:
		return errLogout
	case v.IssuedAt == nil || v.IssuedAt.Time().After(now.Add(outsideAhead)) || v.IssuedAt.Time().Before(now.Add(-logoutLife)):
		return errLogout
	case v.Expires != nil && !now.Before(v.Expires.Time()):
		return errLogout
	}
	var list []string
	if json.Unmarshal(v.Audience, &list) != nil {
		list = make([]string, 1)
		if json.Unmarshal(v.Audience, &list[0]) != nil {
			return errLogout
		}
	}
	for _, who := range list[:min(len(list), 10)] {
		if who == v.provider.Audience {
			return nil
		}
		client, err := o.Standings.ClientByKeyID(ctx, OutsideKeyID(v.Issuer, who))
		if err != nil {
			return err
		}
		if client != nil && client.Method == annona.MethodOutside {
			return nil
		}
	}
	return errLogout
}

// EndSignIn ends all tokens of one sign-in at a provider, its sid.
func (o *Outside) EndSignIn(ctx context.Context, p annona.IdentityProvider, session string) error {
	now := o.Clock()
	return o.End(ctx, p.Name, annona.OutsideEnd{ID: o.signInID(p.Issuer, session), Until: now.Add(endsKept), Kept: now.Add(endsKept), At: now})
}

// EndPerson ends the tokens of a person at a provider, its sub, that were issued at that moment or before.
func (o *Outside) EndPerson(ctx context.Context, p annona.IdentityProvider, subject string, until time.Time) error {
	now := o.Clock()
	return o.End(ctx, p.Name, annona.OutsideEnd{ID: o.personID(p.Issuer, subject), Until: until, Kept: now.Add(endsKept), At: now})
}
