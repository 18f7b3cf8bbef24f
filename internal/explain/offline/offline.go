// Package offline finds out how a kubelet would handle a request, without running the kubelet. It makes a
// [server.Server] from the configuration and passes the request to it in memory. The result comes from the server
// itself, so it cannot differ from the result of a running stand-in kubelet.
//
// There is no TLS handshake. Package offline passes the client's certificates to the server as if the handshake had
// succeeded, so it does not need their private keys. If [Request.Roots] is set, it first verifies the serving
// certificate as a client would.
package offline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
)

// Options configure a Kubelet.
type Options struct {
	// Config is the kubelet's configuration. It is required.
	Config *config.Config
	// TokenReviews and AccessReviews send TokenReviews and SubjectAccessReviews to a cluster. To get the answers from
	// manifests instead, use the clients that [reviewapi.Server.Clients] returns. The rules for nil are the same as in
	// [server.Options].
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface
	// Policy has the manifests from which AccessReviews answers, for the remedies. It is nil if a cluster answers.
	Policy *reviewapi.Policy
	// Pods are the node's pods. If Pods is nil, every pod that a request names exists.
	Pods *pods.Store
}

// Kubelet handles requests like a kubelet that has just started with the configuration. Later requests can use cached
// review results of earlier requests. A Kubelet handles one request at a time.
type Kubelet struct {
	options Options
	facts   explain.Facts
	server  *server.Server
	made    *pods.Store         // pods that makePod adds; nil if Options.Pods is set
	decided *authchain.Decision // the Decision about the last request
}

// New returns a Kubelet with the given options. Its errors are the errors of [server.New].
func New(options Options) (*Kubelet, error) {
	k := &Kubelet{options: options, facts: explain.FactsOf(options.Config)}
	k.facts.Policy = options.Policy
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
		ReadOnce: true, Observe: func(d *authchain.Decision) { k.decided = d },
	})
	return k, err
}

// Request is a client's request.
type Request struct {
	// Method is the HTTP method; empty means GET. Target is the path with an optional query.
	Method, Target string
	// Certificates are the certificates that the client sends: its own certificate, then the intermediate CAs.
	Certificates []*x509.Certificate
	// Token is a bearer token. Header contains all other headers.
	Token  string
	Header http.Header
	// ReadOnly is true if the request goes to the read-only port.
	ReadOnly bool
	// Roots are the CAs with which the client verifies the serving certificate. If Roots is nil, the client does not
	// verify the certificate. Host is the DNS name or the IP address that the client connects to. If Host is empty, the
	// client does not verify the name. Only [Kubelet.Explain] uses Roots and Host.
	Roots []*x509.Certificate
	Host  string
}

// errConnectionRefused means that the configuration does not open the port of the request. [Kubelet.Decide] wraps it.
var errConnectionRefused = errors.New("connection refused: the port is not open")

// Decide returns the Decision about a request. It waits only for the beginning of the response, so streams and followed
// logs do not block it. It returns an error if the request cannot be sent.
func (k *Kubelet) Decide(ctx context.Context, request Request) (*authchain.Decision, error) {
	d, _, err := k.decide(ctx, request)
	return d, err
}

func (k *Kubelet) decide(ctx context.Context, request Request) (*authchain.Decision, *responseStart, error) {
	handler, err := k.handler(request.ReadOnly)
	if err != nil {
		return nil, nil, err
	}
	ctx, begun := context.WithCancel(ctx)
	defer begun()
	r, err := k.httpRequest(ctx, &request)
	if err != nil {
		return nil, nil, err
	}
	if err := k.makePod(r.URL.Path); err != nil {
		return nil, nil, err
	}
	w := &responseStart{header: http.Header{}, begun: begun}
	serve(handler, w, r)
	return k.decided, w, nil
}

func (k *Kubelet) handler(readOnly bool) (http.Handler, error) {
	kubelet := &k.options.Config.Kubelet
	switch {
	case readOnly && kubelet.ReadOnlyPort == 0:
		return nil, fmt.Errorf("%w: readOnlyPort is 0", errConnectionRefused)
	case readOnly:
		return k.server.ReadOnlyHandler(), nil
	case kubelet.EnableServer != nil && !*kubelet.EnableServer:
		return nil, fmt.Errorf("%w: enableServer is false", errConnectionRefused)
	}
	return k.server.Handler(), nil
}

// Explain explains how the kubelet would handle a request.
func (k *Kubelet) Explain(ctx context.Context, request Request) (explain.Explanation, error) {
	var serving *explain.Serving
	now := time.Now()
	if request.Roots != nil && !request.ReadOnly {
		served, err := k.servingCertificates()
		if err != nil {
			return explain.Explanation{}, err
		}
		serving = &explain.Serving{Served: served, Roots: request.Roots, Host: request.Host}
		if failed := serving.Explain(now); failed != nil {
			return *failed, nil
		}
	}
	d, response, err := k.decide(ctx, request)
	if errors.Is(err, errConnectionRefused) {
		d, err = &authchain.Decision{NoRequest: err.Error(), Method: request.Method, Path: request.Target}, nil
	}
	if err != nil {
		return explain.Explanation{}, err
	}
	explanation := explain.Decision(d, k.facts)
	if explanation.Outcome == explain.Allowed && response.wantsUpgrade() {
		explainUpgrade(&explanation)
	}
	if tls := explanation.Stage(explain.StageTLS); tls.State == explain.Passed {
		tls.Message, tls.Facts = "assumed to succeed", nil
		if serving != nil {
			tls.Message = "the client accepts the serving certificate"
			serving.AddFacts(tls, now)
		}
	}
	return explanation, nil
}

// explainUpgrade corrects the explanation of a streaming request, such as exec. A stream requires an upgrade of the
// connection, which is impossible offline, so the server's handler returned an error. A running kubelet would respond
// with 101 Switching Protocols, so explainUpgrade puts this response in place of the error.
func explainUpgrade(e *explain.Explanation) {
	response := e.Stage(explain.StageResponse)
	response.State, response.Facts = explain.Passed, nil
	response.Message = "the stream would begin now; explain does not open it"
	e.Status = http.StatusSwitchingProtocols
}

func (k *Kubelet) httpRequest(ctx context.Context, request *Request) (*http.Request, error) {
	target, err := url.ParseRequestURI(request.Target)
	if err != nil || target.Host != "" || target.Scheme != "" {
		return nil, fmt.Errorf("%q: not a path; a path begins with a slash, such as /pods", request.Target)
	}
	r, err := http.NewRequestWithContext(ctx, request.Method, request.Target, nil)
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.Host = request.Target, k.options.Config.NodeName
	if request.Header != nil {
		r.Header = request.Header.Clone()
	}
	if request.Token != "" {
		r.Header.Set("Authorization", "Bearer "+request.Token)
	}
	if !request.ReadOnly {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13,
			CipherSuite: tls.TLS_AES_128_GCM_SHA256}
		// Without a client CA the kubelet requests no client certificate, so the client sends none.
		if k.options.Config.Kubelet.Authentication.X509.ClientCAFile != "" {
			r.TLS.PeerCertificates = request.Certificates
		}
	}
	r.RemoteAddr = "offline"
	return r, nil
}
