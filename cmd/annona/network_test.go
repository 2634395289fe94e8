package main

import "testing"

func TestNetworkFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.0/24", "192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32", "2001:db8::1": "2001:db8::1/128",
	} {
		var n network
		if err := n.UnmarshalText([]byte(text)); err != nil || n.String() != want {
			t.Errorf("%s: %s, %v; want %s", text, n, err, want)
		}
	}
	for _, text := range []string{"", "everywhere", "192.0.2.0/33", "192.0.2", "fe80::1%eth0"} {
		if err := new(network).UnmarshalText([]byte(text)); err != errNetwork {
			t.Errorf("%q: %v", text, err)
		}
	}
}
