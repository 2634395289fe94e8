package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Request is what a decision is about.
type Request struct {
	Caller  annona.Caller
	Role    string   // in which the caller acts; empty: annona.RolePartner
	Person  []string // roles of the person for whom it acts; nil: it acts for itself, none: they may do nothing
	Verb    annona.Verb
	Dataset string // a root dataset
	Purpose string
	Today   annona.Date
	At      time.Time            // in the zone of the installation
	Binding string               // what the access token is bound to: none, key, certificate
	Within  annona.Authorization // of the access token that was shown
	// Emergency says that glass is broken: Person are the emergency roles of the person then.
	Emergency bool
	annona.Weighed
	// Supposing takes what is not known of Weighed as the caller would like it: so a gate finds out what it could at
	// most show, and counts that.
	Supposing bool
}

// What an access token is bound to.
const (
	BoundToNothing     = "none"
	BoundToKey         = "key"
	BoundToCertificate = "certificate"
)

func (r *Request) role() string {
	if r.Role == "" {
		return annona.RolePartner
	}
	return r.Role
}

// requests is what a condition of a rule can name about a request, as request.hour.
var requests = annona.Dataset{Name: "requests", Noun: "request", Root: true, Fields: []*annona.Field{
	fact(1, "hour", annona.TypeInt),      // 0 to 23, in the zone of the installation
	fact(2, "weekday", annona.TypeInt),   // 1, Monday, to 7
	fact(3, "strength", annona.TypeText), // api_key, oauth, sender_constrained
	fact(4, "binding", annona.TypeText),
	fact(5, "network", annona.TypeText),   // the policy's name of the narrowest network that the request came from; absent: none
	fact(6, "assurance", annona.TypeText), // how the person for whom the client acts has signed in: outside, mfa, phr; absent: it acts for itself
	fact(7, "auth_age", annona.TypeInt),   // minutes since that person has proved who they are; absent: it acts for itself
	fact(8, factRows, annona.TypeInt),     // that the act would release, see Estimate
	fact(9, factRisk, annona.TypeText),    // low, medium, high, see WeighRisk
}}

func fact(tag uint32, code string, t annona.Type) *annona.Field {
	return &annona.Field{Tag: tag, Dataset: "requests", Code: code, Type: t, Sensitivity: annona.Public, AtRest: annona.Clear, Filter: annona.FilterRange}
}

// facts are those of one request, as a condition looks at them.
type facts struct {
	*Request
	networks []namedNetwork
}

type namedNetwork struct {
	name   string
	prefix netip.Prefix
}

// Value returns a fact as text.
func (f facts) Value(p annona.Path) (text string, present bool) {
	switch p.Field.Code {
	case "hour":
		return strconv.Itoa(f.At.Hour()), true
	case "weekday":
		return strconv.Itoa((int(f.At.Weekday())+6)%7 + 1), true
	case "strength":
		return f.Caller.Strength.String(), true
	case "binding":
		return f.Binding, f.Binding != ""
	case "network":
		return f.network()
	case "assurance":
		return f.Caller.Acting.Assurance.String(), f.acting()
	case "auth_age":
		return strconv.Itoa(int(f.At.Sub(f.Caller.Acting.At) / time.Minute)), f.acting()
	case factRows:
		return strconv.FormatInt(f.Rows.Rows, 10), f.Rows.Known
	case factRisk:
		return f.Risk.Level, f.Risk.Level != ""
	}
	return "", false
}

// acting reports whether the client acts for a person.
func (f facts) acting() bool { return f.Caller.Acting.Person != annona.UID{} }

func (f facts) network() (name string, known bool) {
	narrowest := -1
	for _, n := range f.networks {
		if n.prefix.Contains(f.Caller.Network.Unmap()) && n.prefix.Bits() > narrowest {
			name, narrowest = n.name, n.prefix.Bits()
		}
	}
	return name, narrowest >= 0
}

// Members yields nothing: a request has none.
func (facts) Members(func(filter.Row) bool) {}

// Within is never true: a request is in no area.
func (facts) Within(annona.Path, string) bool { return false }

// inputs is the hash of all that a request was decided from, so that two decisions can be compared
// without keeping what was asked.
func (r *Request) inputs(agreement string, version, policy int) [32]byte {
	all := []any{
		agreement, version, policy, r.role(), r.Person, r.Verb, r.Dataset, r.Purpose, r.Today, r.At.Hour(), r.At.Weekday(),
		r.Caller.Strength.String(), r.Binding, hex.EncodeToString(r.Caller.Client[:]), r.Caller.Network.String(),
		hex.EncodeToString(r.Caller.Acting.Person[:]), r.Caller.Acting.Assurance.String(), r.Caller.Acting.At.Unix(), r.Within.Purpose, slices.Sorted(slices.Values(r.Within.Datasets)), r.Emergency,
	}
	if r.Rows.Known || r.Risk.Level != "" {
		all = append(all, r.Rows.Known, r.Rows.Rows, r.Risk.Level, r.Risk.Factors)
	}
	text, _ := json.Marshal(all) // strings, numbers and lists of them always encode
	return sha256.Sum256(text)
}
