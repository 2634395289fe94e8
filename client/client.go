// Package client speaks to an Annona registry in the name of one partner: it starts exports and fetches
// their files, follows changes, and sends back what a program has decided.
//
//	c, err := client.New("https://exchange.example", client.APIKey(key), nil)
//	pulled, err := c.Pull(ctx, client.Order{Spec: "monthly-transfer", Into: "incoming", Keys: keys})
//
// Pull is the whole way of a file: it starts an export or attaches to one, survives cuts, and checks
// hashes, signature and ledger before anything gets its final name.
//
// The package imports nothing else of Annona: copy it into a program of your own, or read it as the
// example of how the interface is used. It keeps no personal data but in the folder it is told, and puts
// none into an error.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Client talks to one registry. It is safe for concurrent use.
type Client struct {
	base       *url.URL
	credential Credential
	http       *http.Client
	attempts   int
	pause      time.Duration // before the first repetition; twice as long each time
}

// The patience of a client: a request that fails for the moment is made again that often.
const (
	usualAttempts = 6
	firstPause    = 250 * time.Millisecond
	longestPause  = 30 * time.Second
	maxAnswer     = 64 << 20 // of an answer that is no file
)

// New returns a client of the registry at an address, https://host or http://127.0.0.1:8080. transport
// may be nil. An address without TLS is refused unless it is on this machine: a credential would be
// read on the way.
func New(address string, credential Credential, transport http.RoundTripper) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" || base.Path != "" || base.RawQuery != "" || base.User != nil {
		return nil, &Error{Code: "address_malformed", Detail: "the address of a registry is https:// and a host, without a path"}
	}
	if base.Scheme != "https" && (base.Scheme != "http" || !isLoopback(base.Hostname())) {
		return nil, &Error{Code: "address_insecure", Detail: "a registry on another machine is spoken to by https only"}
	}
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 8, ResponseHeaderTimeout: 2 * time.Minute}
	}
	return &Client{
		base: base, credential: credential, attempts: usualAttempts, pause: firstPause,
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Error is a refusal by the registry, or a failure on the way. Code is stable; Detail says what to do.
type Error struct {
	Status  int    // of the answer; 0: there was none, or the client itself refuses
	Code    string // as unknown_field
	Detail  string
	Name    string // of the parameter, field or file concerned
	Request string // id of the request, for questions to the registry

	after  time.Duration // to wait, as the answer says
	answer []byte        // as it came, cut
	header http.Header
	cause  error
}

func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Code
	}
	if e.Name != "" {
		text = e.Name + ": " + text
	}
	return text
}

// Unwrap returns what a failure on the way came from.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf is the code of an error of this package; empty for others.
func CodeOf(err error) string {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// passing reports whether a request that failed so may succeed when it is made again.
func passing(err error) bool {
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Code == "unreachable" || e.Code == "cut_off"
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
}

// again does something until it succeeds, fails for good, or fails too often without moving: progress
// says that it has moved, and may be nil.
func (c *Client) again(ctx context.Context, progress func() bool, do func() error) error {
	pause := c.pause
	for failed := 1; ; failed++ {
		err := do()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		if progress != nil && progress() {
			failed, pause = 1, c.pause
		}
		if failed >= c.attempts {
			return err
		}
		wait := pause
		if e := (*Error)(nil); errors.As(err, &e) && e.after > 0 {
			wait = min(e.after, longestPause)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// get asks for a document, as often as it takes.
func (c *Client) get(ctx context.Context, path string, query url.Values) (answer []byte, header http.Header, err error) {
	err = c.again(ctx, nil, func() error {
		answer, header, err = c.once(ctx, call{method: http.MethodGet, path: path, query: query})
		return err
	})
	return answer, header, err
}

// getJSON asks for a document and reads it.
func (c *Client) getJSON(ctx context.Context, path string, query url.Values, into any) error {
	answer, _, err := c.get(ctx, path, query)
	if err != nil {
		return err
	}
	return readJSON(answer, into)
}

func readJSON(answer []byte, into any) error {
	if err := json.Unmarshal(answer, into); err != nil {
		return &Error{Code: "answer_malformed", Detail: "the answer is none of a registry; check the address", cause: err}
	}
	return nil
}

// once makes a request once and reads its whole answer.
func (c *Client) once(ctx context.Context, what call) ([]byte, http.Header, error) {
	response, err := c.do(ctx, what)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, cutOff(ctx, err)
	}
	if len(answer) > maxAnswer {
		return nil, nil, &Error{Status: response.StatusCode, Code: "answer_malformed", Detail: "the answer is too long to be one of a registry"}
	}
	return answer, response.Header, nil
}

// do makes a request, whose answer has a status below 400. Its body is still to be read and closed.
func (c *Client) do(ctx context.Context, what call) (*http.Response, error) {
	for asked := 0; ; asked++ {
		response, err := c.try(ctx, what)
		if err != nil {
			return nil, err
		}
		if response.StatusCode < 300 {
			return response, nil
		}
		err = refusalOf(response)
		response.Body.Close()
		if asked == 0 && response.StatusCode == http.StatusUnauthorized && c.credential.refused(response) {
			continue
		}
		return nil, err
	}
}

func (c *Client) try(ctx context.Context, what call) (*http.Response, error) {
	at := *c.base
	at.Path, at.RawQuery = what.path, what.query.Encode()
	request, err := http.NewRequestWithContext(ctx, what.method, at.String(), bytes.NewReader(what.body))
	if err != nil {
		return nil, &Error{Code: "address_malformed", Detail: "the request cannot be made: a name in it is none", cause: err}
	}
	for name, values := range what.header {
		request.Header[name] = values
	}
	if err := c.credential.authorize(ctx, c, request); err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &Error{Code: "unreachable", Detail: "the registry does not answer: " + plainly(err), cause: err}
	}
	return response, nil
}

// plainly is a failure of a connection without the address, whose query could tell something.
func plainly(err error) string {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func cutOff(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{Code: "cut_off", Detail: "the answer broke off; ask again", cause: err}
}

// refusalOf reads a refusal: an RFC 9457 problem, or what a proxy on the way says.
func refusalOf(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // what is there says enough
	e := &Error{Status: response.StatusCode, answer: text, header: response.Header}
	var problem struct {
		Code, Detail, Name string
		Request            string `json:"request_id"`
		OAuth              string `json:"error"`
		Description        string `json:"error_description"`
	}
	if json.Unmarshal(text, &problem) == nil {
		e.Code, e.Detail, e.Name, e.Request = printable(problem.Code), printable(problem.Detail), printable(problem.Name), printable(problem.Request)
		if e.Code == "" {
			e.Code, e.Detail = printable(problem.OAuth), printable(problem.Description)
		}
	}
	if e.Code == "" {
		e.Code, e.Detail = "refused", fmt.Sprintf("the answer has the status %d and does not come from a registry", e.Status)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.after = time.Duration(seconds) * time.Second
	}
	return e
}

// printable is text of somebody else without what would steer a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}
