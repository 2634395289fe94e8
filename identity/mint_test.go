package identity

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func TestMintedClient(t *testing.T) {
	d := newDesk(t, false, netip.MustParsePrefix("192.0.2.77/24"), netip.MustParsePrefix("::ffff:10.1.2.3/104"))
	secret := d.text[29:61]
	if strings.Contains(fmt.Sprintf("%+v", *d.client), secret) || bytes.Contains(d.client.Hash, []byte(secret)) {
		t.Error("the client on file holds the secret")
	}
	if got := fmt.Sprint(d.client.Networks); got != "[192.0.2.0/24 10.0.0.0/8]" {
		t.Errorf("networks %s", got)
	}
	if until := d.client.ExpiresAt.Sub(noon); until <= 0 || until > 366*24*time.Hour {
		t.Errorf("AK-05: the key expires in %v", until)
	}
	again, other, err := Mint(keyedHash, false, noon, noon.Add(MaxLife), "eligibility", "", nil)
	if err != nil || again[29:61] == secret || other.ID == d.client.ID || other.KeyID == d.client.KeyID {
		t.Errorf("a second key is like the first: %v", err)
	}
}

func TestMintRefuses(t *testing.T) {
	cases := map[string]struct {
		expires   time.Time
		agreement string
		label     string
		networks  []netip.Prefix
		code      string
	}{
		"no expiry":           {time.Time{}, "a", "", nil, "expiry_required"},
		"expiry now":          {noon, "a", "", nil, "expiry_past"},
		"expiry past":         {noon.Add(-1), "a", "", nil, "expiry_past"},
		"expiry too far":      {noon.Add(MaxLife + 1), "a", "", nil, "expiry_too_far"},
		"no agreement":        {noon.Add(1), "", "", nil, "agreement_required"},
		"label too long":      {noon.Add(1), "a", strings.Repeat("é", MaxLabel+1), nil, "label_malformed"},
		"label with line end": {noon.Add(1), "a", "a\nb", nil, "label_malformed"},
		"label not UTF-8":     {noon.Add(1), "a", "\xff", nil, "label_malformed"},
		"network not set":     {noon.Add(1), "a", "", []netip.Prefix{{}}, "network_malformed"},
		"network half mapped": {noon.Add(1), "a", "", []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/90")}, "network_malformed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text, client, err := Mint(keyedHash, false, noon, c.expires, c.agreement, c.label, c.networks)
			if annona.CodeOf(err) != c.code || annona.KindOf(err) != annona.KindInvalid {
				t.Errorf("got %v, want code %s", err, c.code)
			}
			if text != "" || client.Hash != nil {
				t.Error("a refused key was handed out")
			}
		})
	}
}
