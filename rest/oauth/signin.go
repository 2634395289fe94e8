package oauth

import (
	"net/http"

	"github.com/annona-exchange/annona"
)

// SignIn is what the authorization endpoint needs of the pages on which people sign in. It sends a
// browser there, and is asked again when the browser comes back: nothing that a URL says about a person
// counts.
//
// The page of consent shows what identity.Issuer.Asked says of the request, and ends with Allow or
// Refuse of the same issuer: both return where the browser goes next, with 303.
type SignIn interface {
	// Signed returns who has signed in in the browser that sends the request; the zero SignedIn: nobody.
	Signed(r *http.Request) (annona.SignedIn, error)
	// SignInURL is where somebody signs in, or signs in again, as demanded. The browser then comes back
	// to back, a path with a query on this server.
	SignInURL(back string, demand annona.Demand) string
	// ConsentURL is where the person who has signed in says whether the client may act for them. client
	// and request are client_id and request_uri, as the browser brought them.
	ConsentURL(client, request string) string
}
