package main

import (
	"errors"
	"net/netip"
)

// network is a network as a flag takes it: 192.0.2.0/24, or a single address.
type network struct{ netip.Prefix }

var errNetwork = errors.New("a network is written 192.0.2.0/24 or 2001:db8::/32, a single address 192.0.2.7")

// UnmarshalText reads a network.
func (n *network) UnmarshalText(text []byte) (err error) {
	if address, err := netip.ParseAddr(string(text)); err == nil && address.Zone() == "" {
		n.Prefix = netip.PrefixFrom(address, address.BitLen())
		return nil
	}
	if n.Prefix, err = netip.ParsePrefix(string(text)); err != nil {
		return errNetwork
	}
	return nil
}

func prefixes(networks []network) []netip.Prefix {
	var all []netip.Prefix
	for _, n := range networks {
		all = append(all, n.Prefix)
	}
	return all
}
