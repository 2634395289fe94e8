package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// The times of proofs and assertions, in the words of RFC 9449 and of FAPI 2.0.
const (
	nonceLife = 60 * time.Second // of a nonce of ours
	proofLife = 60 * time.Second // behind iat
	aheadMost = 10 * time.Second // of a client's clock
	nodesSkew = 5 * time.Second  // between the clocks of our nodes
	epochLook = time.Second      // between two looks for another epoch because of a nonce that is none of this one
)

// Proofs checks that requests are signed by the key that their sender names: DPoP, RFC 9449. A proof
// holds a nonce of this server, so that it cannot be made ahead, and counts once.
type Proofs struct {
	claims annona.Tokens
	mac    func(epoch annona.UID, message []byte) []byte
	clock  annona.Clock
	origin string // the public one: https://host

	mu     sync.Mutex
	epoch  annona.UID // zero: not read yet
	looked time.Time
}

// NewProofs returns a checker of proofs.
func NewProofs(i Installation) *Proofs {
	return &Proofs{claims: i.Claims, mac: i.HashNonce, clock: i.Clock, origin: i.Origin}
}

// proof is a proof that holds. It is not claimed yet.
type proof struct {
	thumbprint []byte // of the key, RFC 7638
	name       [32]byte
	epoch      annona.UID
	until      time.Time
}

// claim returns what the store remembers of a proof of that client: another client's jti is another.
func (p proof) claim(client annona.UID) annona.Claim {
	return annona.Claim{Client: client, Hash: p.name, Until: p.until}
}

type proofClaims struct {
	ID       string      `json:"jti"`
	Method   string      `json:"htm"`
	URL      string      `json:"htu"`
	IssuedAt numericDate `json:"iat"`
	Nonce    string      `json:"nonce"`
	Token    string      `json:"ath"`
}

var (
	errProofCount    = errors.New("a request has one header DPoP")
	errProofType     = errors.New("its typ is not dpop+jwt")
	errProofKey      = errors.New("its header has no jwk, or one with a private part")
	errProofMissing  = errors.New("it lacks one of jti, htm, htu and iat")
	errProofMethod   = errors.New("its htm is not the method of this request")
	errProofURL      = errors.New("its htu is not the public address of this request")
	errProofTime     = errors.New("its iat is more than a minute ago or more than 10 seconds ahead; set the clock")
	errProofToken    = errors.New("its ath is not the hash of the access token")
	errProofReplayed = errors.New("it was shown before; sign another one for each request")
	errProofOfOther  = errors.New("it is signed by another key than the one that the access token is bound to")
)

// badProof says what is wrong with a proof. It repeats nothing of it.
func badProof(reason error) error {
	return annona.Unauthenticated("invalid_dpop_proof", "the proof is refused: %s", reason)
}

// check checks everything about the proof of a request but whether it was shown before: the caller
// claims it last. token is empty when the request shows none.
//
// Errors: invalid_dpop_proof; use_dpop_nonce when all that is wrong is the nonce.
func (p *Proofs) check(ctx context.Context, proofs []string, method, path, token string) (proof, error) {
	if len(proofs) != 1 {
		return proof{}, badProof(errProofCount)
	}
	s, err := parseSigned(proofs[0])
	if err != nil {
		return proof{}, badProof(err)
	}
	key := s.embedded()
	switch {
	case s.header.Type != "dpop+jwt":
		return proof{}, badProof(errProofType)
	case key == nil || !key.IsPublic():
		return proof{}, badProof(errProofKey)
	}
	var claims proofClaims
	if err := s.verify(key, &claims); err != nil {
		return proof{}, badProof(err)
	}
	if err := p.about(claims, method, path, token); err != nil {
		return proof{}, badProof(err)
	}
	made := proof{name: sha256.Sum256([]byte(claims.ID)), until: p.clock().Add(nonceLife + nodesSkew)}
	if made.epoch, err = p.checkNonce(ctx, claims.Nonce); err != nil {
		return proof{}, err
	}
	if made.thumbprint, err = key.Thumbprint(crypto.SHA256); err != nil {
		return proof{}, badProof(errKeyKind)
	}
	return made, nil
}

// about checks that the claims are about this request.
func (p *Proofs) about(c proofClaims, method, path, token string) error {
	if c.ID == "" || len(c.ID) > maxNameLen || c.Method == "" || c.URL == "" || c.IssuedAt == nil {
		return errProofMissing
	}
	now, issued := p.clock(), c.IssuedAt.Time()
	switch {
	case c.Method != method:
		return errProofMethod
	case !sameURL(c.URL, p.origin+path):
		return errProofURL
	case issued.Before(now.Add(-proofLife)) || issued.After(now.Add(aheadMost)):
		return errProofTime
	case !same([]byte(c.Token), []byte(tokenDigest(token))):
		return errProofToken
	}
	return nil
}

// tokenDigest is the ath of a token; empty for none.
func tokenDigest(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Nonce returns a fresh nonce: a time and a keyed hash of it, under the key of the epoch.
func (p *Proofs) Nonce(ctx context.Context) (string, error) {
	epoch, err := p.current(ctx)
	if err != nil {
		return "", err
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(p.clock().UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(append(at, p.mac(epoch, at)...)), nil
}

// checkNonce checks that a nonce is one of ours, of this epoch and younger than a minute, and returns
// the epoch.
func (p *Proofs) checkNonce(ctx context.Context, nonce string) (annona.UID, error) {
	raw, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(raw) != 8+16 {
		return annona.UID{}, annona.ErrProofEpoch
	}
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(raw[:8])))
	if now := p.clock(); now.Sub(at) > nonceLife || at.Sub(now) > nodesSkew {
		return annona.UID{}, annona.ErrProofEpoch
	}
	epoch, err := p.current(ctx)
	if err != nil {
		return annona.UID{}, err
	}
	if same(raw[8:], p.mac(epoch, raw[:8])) {
		return epoch, nil
	}
	if epoch, err = p.look(ctx, epoch); err != nil { // another node may have found another epoch
		return annona.UID{}, err
	}
	if !same(raw[8:], p.mac(epoch, raw[:8])) {
		return annona.UID{}, annona.ErrProofEpoch
	}
	return epoch, nil
}

// claim claims a proof for a client: it is the last thing that is done with it, so that nobody else
// can use it up.
func (p *Proofs) claim(ctx context.Context, client annona.UID, made proof) error {
	err := p.claims.ClaimProof(ctx, made.claim(client), made.epoch)
	p.ended(made.epoch, err)
	return err
}

// ended forgets an epoch that the store does not know any more.
func (p *Proofs) ended(epoch annona.UID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, annona.ErrProofEpoch) && p.epoch == epoch {
		p.epoch = annona.UID{}
	}
}

// current returns the epoch in force, as far as this node knows.
func (p *Proofs) current(ctx context.Context) (annona.UID, error) {
	p.mu.Lock()
	known := p.epoch
	p.mu.Unlock()
	if known != (annona.UID{}) {
		return known, nil
	}
	return p.read(ctx)
}

// look asks the store for the epoch again, at most once a second: forged nonces cost it nothing.
func (p *Proofs) look(ctx context.Context, known annona.UID) (annona.UID, error) {
	now := p.clock()
	p.mu.Lock()
	recently := now.Sub(p.looked) < epochLook
	if !recently {
		p.looked = now
	}
	p.mu.Unlock()
	if recently {
		return known, nil
	}
	return p.read(ctx)
}

func (p *Proofs) read(ctx context.Context) (annona.UID, error) {
	epoch, err := p.claims.ProofEpoch(ctx)
	if err != nil {
		return annona.UID{}, err
	}
	p.mu.Lock()
	p.epoch = epoch
	p.mu.Unlock()
	return epoch, nil
}

// sameURL compares the address in a proof with that of the request, without query and fragment, after
// the normalization of RFC 3986 by syntax and scheme.
func sameURL(shown, asked string) bool {
	a, ok := plainURL(shown)
	b, known := plainURL(asked)
	return ok && known && a == b
}

func plainURL(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	path := plainPath(u.EscapedPath())
	if path == "" {
		path = "/"
	}
	return scheme + "://" + strings.TrimSuffix(host, ":") + path, true
}

// plainPath writes escapes of what need not be escaped as what they are, and all others in capitals.
func plainPath(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var plain bytes.Buffer
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			plain.WriteByte(path[i])
			continue
		}
		decoded, err := url.PathUnescape(path[i : i+3])
		if err == nil && len(decoded) == 1 && isUnreserved(decoded[0]) {
			plain.WriteString(decoded)
		} else {
			plain.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return plain.String()
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
