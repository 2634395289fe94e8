package identity

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// The bounds of a fetch from somebody else's server.
const (
	outboundTime   = 5 * time.Second
	outboundHeader = 64 << 10
)

var (
	errAddress       = errors.New("its address is not a public one, and in none of the networks that are named for it")
	errSentElsewhere = errors.New("it sends us elsewhere, and we go nowhere but where the operator has said")
)

// reserved are networks that are nobody's server: inside a machine, a building or a carrier, or not
// in use. Those that carry an IPv4 address within IPv6 reach any of them.
var reserved = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8")

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// NewOutbound returns the client by which anything is fetched from servers of others: within five
// seconds, without a proxy, a redirect or compression, and only from public addresses and those in the
// networks that were named. The address is looked at when it has been resolved, with every connection: a
// name that means another address the second time gets no further.
func NewOutbound(networks []netip.Prefix) *http.Client {
	dialer := &net.Dialer{Timeout: outboundTime, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !mayReach(to.Addr(), networks) {
			return errAddress
		}
		return nil
	}}
	return &http.Client{
		Timeout: outboundTime,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: outboundHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errSentElsewhere },
	}
}

func mayReach(to netip.Addr, networks []netip.Prefix) bool {
	to = to.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(to) }
	return slices.ContainsFunc(networks, in) || !slices.ContainsFunc(reserved, in)
}
