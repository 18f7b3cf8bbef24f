package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"fauxlet/authchain"
	"fauxlet/internal/explain/offline"
)

// sender sends requests of the folder's clients, and waits for the Decision about each request.
type sender struct {
	folder    *Folder
	decisions decisions
	sent      sentRequests
}

// response is what a client received.
type response struct {
	// status is the HTTP status. 0 means that there was no HTTP response; err is then the client's error.
	status int
	err    error
	body   []byte // at most maxBody bytes, from its beginning
	// decision is the kubelet's Decision. It is nil if there was no connection, or if the kubelet recorded no
	// Decision in time.
	decision *authchain.Decision
}

const (
	// responseTimeout limits the total time of a request and the wait for its Decision.
	responseTimeout = 30 * time.Second
	// handshakeTimeout limits the wait for the Decision about a handshake that failed in the client.
	handshakeTimeout = 5 * time.Second
	// maxBody is how much of a response body is kept, in bytes.
	maxBody = 4 << 10
)

// send sends r to address, over a new connection, and reads the response for at most readTimeout, because a followed
// log never ends. If the request fails, the response contains the error. send itself returns an error only if it
// cannot create the request.
func (s *sender) send(ctx context.Context, r request, address string, readTimeout time.Duration) (*response, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if !r.readOnlyPort {
		config, err := s.folder.tlsConfig(r)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	token := r.token
	if token != "" && token != invalidToken {
		var err error
		if token, err = s.folder.token(r.token); err != nil {
			return nil, err
		}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, responseTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return &response{err: err}, parent.Err()
	}
	defer conn.Close()
	wait, forget := s.decisions.expect(conn.LocalAddr().String())
	defer forget()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return conn, nil }

	reading, stop := context.WithTimeout(ctx, readTimeout)
	defer stop()
	got := &response{}
	if got.status, got.body, got.err = roundTrip(reading, transport, r, address, token); got.err != nil {
		handshake, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		got.decision, _ = wait(handshake)
		return got, parent.Err()
	}
	if got.decision, err = wait(ctx); err != nil {
		return nil, fmt.Errorf("the stand-in kubelet recorded no decision about the request: %w", err)
	}
	s.sent.add(got.decision, &offline.Request{Method: r.verb(), Target: r.path, Token: token, Header: http.Header{}})
	return got, nil
}

// roundTrip sends the request and reads its response until the end of the body or of ctx.
func roundTrip(
	ctx context.Context, transport *http.Transport, r request, address, token string,
) (status int, body []byte, err error) {
	httpRequest, err := http.NewRequestWithContext(ctx, r.verb(), r.scheme()+address+r.path, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		httpRequest.Header.Set("Authorization", "Bearer "+token)
	}
	httpResponse, err := transport.RoundTrip(httpRequest)
	if err != nil {
		return 0, nil, err
	}
	defer httpResponse.Body.Close()
	body, err = io.ReadAll(io.LimitReader(httpResponse.Body, maxBody))
	if err == nil {
		_, err = io.Copy(io.Discard, httpResponse.Body)
	}
	if err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 0, nil, err
	}
	return httpResponse.StatusCode, body, nil
}

// tlsConfig returns the TLS configuration of a client. It verifies the serving certificate with the folder's CA.
func (f *Folder) tlsConfig(r request) (*tls.Config, error) {
	roots, err := certutil.NewPool(f.caFile())
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, ServerName: r.serverName, InsecureSkipVerify: r.insecure}
	if r.certificate == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(f.path("pki", r.certificate+".crt"), f.path("pki", r.certificate+".key"))
	if err != nil {
		return nil, err
	}
	// Present the certificate even if its CA is not in the server's list of acceptable CAs, as curl does.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}
