// Package offline asks a kubelet that does not run: a request that is made in memory goes through the [server.Server] of a
// configuration, and what becomes of it is what became of it if it were sent. So there is one chain and one table of
// routes, and an answer from here is the server's own.
//
// What is not here is TLS: a client certificate is put before the chain as if its handshake had been done, for which no key
// is needed.
package offline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/pods"
	"fauxlet/server"
)

// Options is what a Kubelet is made of.
type Options struct {
	// Config is the kubelet's configuration. Required.
	Config *config.Config
	// TokenReviews and AccessReviews are where the chain asks: those of a cluster, or of a [Reviewer]. Nil as in
	// [server.Options].
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface
	// Pods are those of the node. Nil: there is each pod that a request names.
	Pods *pods.Store
}

// Kubelet answers as a kubelet of its configuration would that has just been started: nothing is remembered from one
// question to the next but as the configuration says. It is safe for concurrent use.
type Kubelet struct {
	options Options
	facts   explain.Facts
	server  *server.Server
	made    *pods.Store // nil where Options.Pods are those of the node

	mu      sync.Mutex
	decided map[string]*authchain.Decision // by the remote address, which is each request's own
	asked   int
}

// New makes a Kubelet. It fails as [server.New] does.
func New(options Options) (*Kubelet, error) {
	if options.Config == nil {
		return nil, errors.New("offline: Options.Config is required")
	}
	k := &Kubelet{options: options, facts: explain.FactsOf(options.Config), decided: map[string]*authchain.Decision{}}
	store := options.Pods
	if store == nil {
		var err error
		if store, err = pods.NewStore(); err != nil {
			return nil, err
		}
		k.made = store
	}
	var err error
	k.server, err = server.New(server.Options{
		Config: options.Config, TokenReviews: options.TokenReviews, AccessReviews: options.AccessReviews, Pods: store,
		ReadOnce: true, Observe: k.observe,
	})
	return k, err
}

func (k *Kubelet) observe(d *authchain.Decision) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.decided[d.Remote] = d
}

// Request is one that a client would send.
type Request struct {
	// Method is GET where it is empty. Target is the path, with the query if there is one.
	Method, Target string
	// Certificates are the client's, its own first, then those of the CAs between that it sends along.
	Certificates []*x509.Certificate
	// Token is a bearer token. Header has what else is sent.
	Token  string
	Header http.Header
	// ReadOnly: it is sent to the read-only port.
	ReadOnly bool
	// Client says whether the serving certificate is accepted, for Explain.
	Client Client
}

// ErrNobodyListens is in the error of [Kubelet.Ask] about a port that the configuration does not open.
var ErrNobodyListens = errors.New("connection refused: nothing listens there")

// Ask gives the Decision about a request. Of a stream, or of a log that is followed, it waits for the beginning alone. The error
// is about a request that cannot be sent.
func (k *Kubelet) Ask(ctx context.Context, asked Request) (*authchain.Decision, error) {
	d, _, err := k.ask(ctx, asked)
	return d, err
}

// ask gives the beginning of the answer, too.
func (k *Kubelet) ask(ctx context.Context, asked Request) (*authchain.Decision, *beginning, error) {
	kubelet := &k.options.Config.Kubelet
	handler := k.server.Handler()
	switch {
	case asked.ReadOnly && kubelet.ReadOnlyPort == 0:
		return nil, nil, fmt.Errorf("%w: readOnlyPort is 0", ErrNobodyListens)
	case asked.ReadOnly:
		handler = k.server.ReadOnlyHandler()
	case kubelet.EnableServer != nil && !*kubelet.EnableServer:
		return nil, nil, fmt.Errorf("%w: enableServer is false", ErrNobodyListens)
	}
	ctx, begun := context.WithCancel(ctx)
	defer begun()
	r, err := k.request(ctx, &asked)
	if err != nil {
		return nil, nil, err
	}
	if err := k.makePod(r.URL.Path); err != nil {
		return nil, nil, err
	}
	w := &beginning{header: http.Header{}, begun: begun}
	serve(handler, w, r)
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.decided[r.RemoteAddr]
	delete(k.decided, r.RemoteAddr)
	return d, w, nil
}

// Explain gives the Road of a request.
func (k *Kubelet) Explain(ctx context.Context, asked Request) (explain.Road, error) {
	var serving *explain.Serving
	if asked.Client.Trusts != nil && !asked.ReadOnly {
		var failed *explain.Road
		var err error
		if serving, failed, err = k.shake(asked.Client); err != nil {
			return explain.Road{}, err
		}
		if failed != nil {
			return *failed, nil
		}
	}
	d, w, err := k.ask(ctx, asked)
	if errors.Is(err, ErrNobodyListens) {
		d, err = &authchain.Decision{NoRequest: err.Error(), Method: asked.Method, Path: asked.Target}, nil
	}
	if err != nil {
		return explain.Road{}, err
	}
	road := explain.Of(d, k.facts)
	if road.Verdict == explain.Allowed && w.wantsUpgrade() {
		answer := road.Stop(explain.StopAnswer)
		answer.Outcome, answer.Says, answer.Facts = explain.Passed, "let in; this is a stream, whose connection would be upgraded now, which is not done here", nil
		road.Status = http.StatusSwitchingProtocols
	}
	if tls := road.Stop(explain.StopTLS); tls.Outcome == explain.Passed {
		tls.Says, tls.Facts = "taken for granted", nil
		if serving != nil {
			tls.Says = "the client accepts the serving certificate"
			serving.Tell(tls)
		}
	}
	return road, nil
}

func (k *Kubelet) request(ctx context.Context, asked *Request) (*http.Request, error) {
	target, err := url.ParseRequestURI(asked.Target)
	if err != nil || target.Host != "" || target.Scheme != "" {
		return nil, fmt.Errorf("%q: not a path; give one that begins with a slash, as in /pods", asked.Target)
	}
	method := asked.Method
	if method == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, asked.Target, nil)
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.Host = asked.Target, k.options.Config.NodeName
	if asked.Header != nil {
		r.Header = asked.Header.Clone()
	}
	if asked.Token != "" {
		r.Header.Set("Authorization", "Bearer "+asked.Token)
	}
	if !asked.ReadOnly {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
		// Without a client CA no certificate is asked for, and so none is sent.
		if k.options.Config.Kubelet.Authentication.X509.ClientCAFile != "" {
			r.TLS.PeerCertificates = asked.Certificates
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	r.RemoteAddr = fmt.Sprintf("offline:%d", k.asked)
	return r, nil
}
