package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"fauxlet/internal/decisions"
	"fauxlet/internal/faults"
)

// Client is a client of the admin API. It is safe for concurrent use.
type Client struct {
	address   string
	token     string
	tokenFile string // if set, the token is read from this file for each request
	http      *http.Client
}

const (
	dialTimeout   = 5 * time.Second
	headerTimeout = 30 * time.Second // how long a Client waits for the header of a response
)

// NewClient returns a Client of the Server at an address, HOST:PORT. The token is empty if the Server requires none.
// The caller should call Close when it no longer needs the Client.
func NewClient(address, token string) *Client {
	return &Client{address: address, token: token, http: &http.Client{
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
			ResponseHeaderTimeout: headerTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// NewLocalClient returns a Client of a Server of the same user on this machine. The Client looks up the token in the
// file of [TokenFile] for each request, because a Server that starts again makes another token. It sends no token if
// there is no file, or if the address is not a loopback IP address.
func NewLocalClient(address string) *Client {
	c := NewClient(address, "")
	if ip, err := netip.ParseAddrPort(address); err == nil && ip.Addr().Unmap().IsLoopback() {
		c.tokenFile, _ = TokenFile(address) // without a folder for the file there is no token
	}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is the error for a response with a status code of 300 or more.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// Ready returns an error until all nodes listen. It needs no token.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, nil)
}

// Decisions returns the Decisions that a filter selects.
func (c *Client) Decisions(ctx context.Context, filter decisions.Filter) (*Decisions, error) {
	var response Decisions
	return &response, c.call(ctx, http.MethodGet, "/api/decisions?"+filter.Query().Encode(), nil, &response)
}

// Faults returns the active faults.
func (c *Client) Faults(ctx context.Context) ([]ActiveFault, error) {
	var response struct{ Faults []ActiveFault }
	err := c.call(ctx, http.MethodGet, "/api/faults", nil, &response)
	return response.Faults, err
}

// AddFault injects a fault.
func (c *Client) AddFault(ctx context.Context, fault faults.Fault) (*ActiveFault, error) {
	var active ActiveFault
	return &active, c.call(ctx, http.MethodPost, "/api/faults", fault, &active)
}

// RemoveFault removes an active fault.
func (c *Client) RemoveFault(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/api/faults/"+url.PathEscape(name), nil, nil)
}

// ClearFaults removes all faults and returns their number.
func (c *Client) ClearFaults(ctx context.Context) (int, error) {
	var response struct{ Cleared int }
	err := c.call(ctx, http.MethodDelete, "/api/faults", nil, &response)
	return response.Cleared, err
}

// The method "call" sends a request and decodes the JSON response into the argument "result". The arguments "body" and
// "result" may be nil.
func (c *Client) call(ctx context.Context, method, path string, body, result any) error {
	response, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if result == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(result); err != nil {
		return errors.New(c.notAdmin(err.Error()))
	}
	return nil
}

// notAdmin returns an error text for a response that does not come from a fauxlet admin API, for example because the
// address is a kubelet's port.
func (c *Client) notAdmin(problem string) string {
	return fmt.Sprintf("the server on %s is not a fauxlet admin API: %s; fauxlet writes the address of its admin "+
		"listener to its log and to its ready file. The ports 10250, 10255 and 10248 are the kubelet's", c.address,
		problem)
}

// The method "send" sends a request. If body is not nil, it is sent as JSON. If the response has a status code of 300
// or more, the error is a *StatusError.
func (c *Client) send(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	if c.tokenFile == "" {
		return c.sendWith(ctx, c.token, method, path, body, header)
	}
	token := tokenOf(c.tokenFile)
	response, err := c.sendWith(ctx, token, method, path, body, header)
	if refused, ok := errors.AsType[*StatusError](err); ok && refused.Status == http.StatusUnauthorized {
		// The Server may have started after the file was read.
		if current := tokenOf(c.tokenFile); current != token {
			return c.sendWith(ctx, current, method, path, body, header)
		}
	}
	return response, err
}

func (c *Client) sendWith(ctx context.Context, token, method, path string, body any,
	header http.Header) (*http.Response, error) {
	var data bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&data).Encode(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.address+path, &data)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	if method != http.MethodGet {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // omit the URL, because its query may be long
		}
		return nil, err
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	defer response.Body.Close()
	var refused struct{ Error string }
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if json.Unmarshal(text, &refused) != nil || refused.Error == "" {
		refused.Error = c.notAdmin(response.Status)
	}
	return nil, &StatusError{response.StatusCode, refused.Error}
}
