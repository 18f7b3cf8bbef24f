package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/lru"

	"fauxlet/authchain"
	"fauxlet/internal/explain/offline"
)

// sender sends requests of the demo's clients, and waits for the kubelet's Decision about each request.
type sender struct {
	folder *Folder
	// waiting maps the client's address of each connection to a channel for the next Decision about that connection.
	waiting sync.Map
	// sent maps the latest Decisions to the requests that they are about. A what-if needs the original request, because
	// a Decision does not contain the token.
	sent *lru.Cache
}

func newSender(folder *Folder) *sender { return &sender{folder: folder, sent: lru.New(200)} }

// observe passes each Decision of the stand-in kubelet to the client that waits for this Decision. It does not block.
func (s *sender) observe(d *authchain.Decision) {
	if decided, ok := s.waiting.LoadAndDelete(d.Remote); ok {
		decided.(chan *authchain.Decision) <- d
	}
}

// sentRequest returns the request that a Decision is about. It returns nil if the demo did not send the request, or if
// the request is too old to be kept.
func (s *sender) sentRequest(d *authchain.Decision) *offline.Request {
	request, _ := s.sent.Get(d)
	r, _ := request.(*offline.Request)
	return r
}

// response is what a client received.
type response struct {
	// status is the HTTP status. If there was no HTTP response, status is 0 and err is the client's error.
	status int
	err    error
	body   []byte // the first maxBody bytes of the response body
	// decision is the kubelet's Decision. It is nil if there was no connection, or if the request failed and the
	// kubelet recorded no Decision in time.
	decision *authchain.Decision
}

const (
	// responseTimeout is the maximum duration of a request, and also of the wait for the Decision about the request.
	responseTimeout = 30 * time.Second
	// handshakeTimeout is the maximum wait for the Decision about a request that failed in the client, for example in
	// the TLS handshake.
	handshakeTimeout = 5 * time.Second
	// maxBody is how much of a response body is kept, in bytes.
	maxBody = 4 << 10
)

// send sends r to address, over a new connection, and reads the response for at most readTimeout, because a followed
// log never ends. If the request fails, the returned response contains the client's error. send itself returns an error
// if it cannot create the request, if ctx is done, or if there is a response but no Decision.
func (s *sender) send(ctx context.Context, r *request, address string, readTimeout time.Duration) (*response, error) {
	config, err := s.folder.tlsConfig(r)
	if err != nil {
		return nil, err
	}
	token, err := s.folder.token(r.Client.Token)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "tcp", address)
	if err != nil {
		return &response{err: err}, ctx.Err()
	}
	defer conn.Close()
	// A kubelet records the Decision after it has sent its response, so the client has to wait for the Decision.
	remote, decided := conn.LocalAddr().String(), make(chan *authchain.Decision, 1)
	s.waiting.Store(remote, decided)
	defer s.waiting.Delete(remote)
	httpRequest, err := http.NewRequestWithContext(limited, r.method(), r.url(address), nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		httpRequest.Header.Set("Authorization", "Bearer "+token)
	}
	got := roundTrip(httpRequest, &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: config,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	})
	timeout := responseTimeout
	if got.err != nil {
		timeout = handshakeTimeout
	}
	select {
	case got.decision = <-decided:
		s.sent.Add(got.decision, &offline.Request{Method: r.method(), Target: httpRequest.URL.RequestURI(),
			Token: token, Header: http.Header{}})
	case <-time.After(timeout):
		if got.err == nil {
			return nil, errors.New("the stand-in kubelet recorded no decision about the request")
		}
	case <-ctx.Done():
	}
	return got, ctx.Err()
}

// roundTrip sends the request and reads the response until its end or until the deadline of the request.
func roundTrip(request *http.Request, transport *http.Transport) *response {
	r, err := transport.RoundTrip(request)
	if err != nil {
		return &response{err: err}
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil && !errors.Is(request.Context().Err(), context.DeadlineExceeded) {
		return &response{err: err}
	}
	return &response{status: r.StatusCode, body: body}
}

// tlsConfig returns the TLS configuration for a client's request. Unless the request is Insecure, the client verifies
// the serving certificate with the demo's CA.
func (f *Folder) tlsConfig(r *request) (*tls.Config, error) {
	roots, err := certutil.NewPool(f.caFile())
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, ServerName: r.ServerName, InsecureSkipVerify: r.Insecure}
	if r.Client.Certificate == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(f.clientFiles(r.Client))
	if err != nil {
		return nil, err
	}
	// Like curl, present the certificate even if its CA is not in the server's list of acceptable CAs.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}
