package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/host"
)

// guest is somebody as whom a request is sent from the page.
type guest struct {
	name string
	as   visitor
}

var guests = []guest{
	{"nobody", visitor{says: "no certificate, and no token"}},
	{"kubelet-client", visitor{says: "as a kube-apiserver: rbac.yaml lets it do all", certificate: "kubelet-client"}},
	{"viewer", visitor{says: "of the CA, and unknown to rbac.yaml", certificate: "viewer"}},
	{"stranger", visitor{says: "its certificate is of another CA", certificate: "stranger"}},
	{"expired", visitor{says: "its certificate was good once", certificate: "expired"}},
	{"prometheus", visitor{says: "a service account's token, which may read metrics", token: "system:serviceaccount:monitoring:prometheus"}},
	{"bad token", visitor{says: "a token that nobody knows", token: badToken}},
	{"kubelet-client, bad token", visitor{says: "a good certificate and a bad token", certificate: "kubelet-client", token: badToken}},
	{"stranger, good token", visitor{says: "a stranger's certificate and prometheus's token", certificate: "stranger", token: "system:serviceaccount:monitoring:prometheus"}},
	{"read-only port", visitor{says: "plain HTTP to the port that asks nobody", readOnly: true}},
}

// visits send requests from the page.
type visits struct {
	tour *tour

	mu   sync.Mutex
	open host.Addresses
}

// opened has them know where to send.
func (v *visits) opened(open host.Addresses) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = open
}

func (v *visits) Clients() []admin.SendClient {
	all := make([]admin.SendClient, len(guests))
	for i, g := range guests {
		all[i] = admin.SendClient{Name: g.name, Description: g.as.says}
	}
	return all
}

// visitMethods are those that can be sent.
var visitMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// visitPatience is how long an answer from the page is read: a log may be followed for ever.
const visitPatience = 3 * time.Second

func (v *visits) Send(ctx context.Context, visit admin.SendRequest) (*admin.SendResult, error) {
	i := slices.IndexFunc(guests, func(g guest) bool { return g.name == visit.Client })
	switch {
	case i < 0:
		return nil, fmt.Errorf("client: no client is named %q; /api/clients lists them", visit.Client)
	case !slices.Contains(visitMethods, visit.Method):
		return nil, fmt.Errorf("method: %q is none of %s", visit.Method, strings.Join(visitMethods, ", "))
	case !strings.HasPrefix(visit.Path, "/"):
		return nil, fmt.Errorf("path: %q does not begin with a slash, as in /pods", visit.Path)
	}
	who := guests[i].as
	if who.path = visit.Path; visit.Method != http.MethodGet { // which needs no saying
		who.method = visit.Method
	}
	v.mu.Lock()
	address := v.open.Secure
	if who.readOnly {
		address = v.open.ReadOnly
	}
	v.mu.Unlock()
	if address == "" {
		return nil, errors.New("nothing listens there: see port and readOnlyPort in kubelet.yaml")
	}
	answer, err := v.tour.send(ctx, who, address, visitPatience)
	if err != nil {
		return nil, err
	}
	visited := &admin.SendResult{Status: answer.status, Command: v.tour.curl(who, address), Remote: answer.decision.Remote}
	if utf8.Valid(answer.body) {
		visited.Body = string(answer.body)
	}
	return visited, nil
}

// sentMost is how many requests are remembered.
const sentMost = 200

// remember keeps a request that was sent, with its Decision.
func (t *tour) remember(v visitor, token string, d *authchain.Decision) {
	request := &offline.Request{Method: cmp.Or(v.method, http.MethodGet), Target: v.path, Token: token, Header: http.Header{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[d] = request
	if t.order = append(t.order, d); len(t.order) > sentMost {
		delete(t.sent, t.order[0])
		t.order = t.order[1:]
	}
}

// request is what was sent that a Decision is about, nil where it was not sent from here.
func (t *tour) request(d *authchain.Decision) *offline.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent[d]
}
