package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"fauxlet/internal/admin"
	"fauxlet/internal/host"
)

// pageClients sends requests from the admin page on behalf of the demo's clients. It implements admin.Sender.
type pageClients struct {
	sender *sender
	open   atomic.Pointer[host.Addresses] // nil until the ports are open
}

// Clients returns the names and descriptions of the demo's clients for the admin page.
func (p *pageClients) Clients() []admin.SendClient {
	var all []admin.SendClient
	for _, c := range script().Clients {
		all = append(all, admin.SendClient{Name: c.Name, Description: c.Description})
	}
	return all
}

// pageMethods are the HTTP methods that a request from the page may have.
var pageMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions}

// pageReadTimeout is how long the response to a request from the page is read. It is short, because the response to a
// request for a followed log never ends.
const pageReadTimeout = 3 * time.Second

// Send sends one request to the stand-in kubelet. If a field of the argument "wanted" is invalid, the error begins with
// the name of this field.
func (p *pageClients) Send(ctx context.Context, wanted admin.SendRequest) (*admin.SendResult, error) {
	clients := script().Clients
	i := slices.IndexFunc(clients, func(c client) bool { return c.Name == wanted.Client })
	switch {
	case i < 0:
		return nil, fmt.Errorf("client: there is no client %q; GET /api/clients lists the clients", wanted.Client)
	case !slices.Contains(pageMethods, wanted.Method):
		return nil, fmt.Errorf("method: %q is not one of %s", wanted.Method, strings.Join(pageMethods, ", "))
	case !strings.HasPrefix(wanted.Path, "/"):
		return nil, fmt.Errorf("path: %q does not begin with a slash; for example /pods", wanted.Path)
	}
	r := &request{Client: clients[i], Method: wanted.Method, Path: wanted.Path}
	if r.Method == http.MethodGet { // curl needs no -X for GET
		r.Method = ""
	}
	address := ""
	if open := p.open.Load(); open != nil {
		address = r.address(*open)
	}
	if address == "" {
		return nil, errors.New("the port is not open: see port and readOnlyPort in kubelet.yaml")
	}
	got, err := p.sender.send(ctx, r, address, pageReadTimeout)
	if err != nil {
		return nil, err
	}
	if got.err != nil {
		return nil, got.err
	}
	sent := &admin.SendResult{Status: got.status, Command: p.sender.folder.curl(r, address),
		Remote: got.decision.Remote}
	if utf8.Valid(got.body) {
		sent.Body = string(got.body)
	}
	return sent, nil
}
