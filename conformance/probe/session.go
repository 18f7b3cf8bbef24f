package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The probe reads at most longBody bytes of a response whose body it needs, and shortBody bytes of any other response.
const longBody, shortBody = 16 << 20, 64 << 10

// endpoint is the probed server. The host name of the target was resolved once, and all connections go to the field
// "address".
type endpoint struct {
	target  Target
	address string
	verify  *tls.Config // verifies the server's certificate before a token is sent; nil means no verification
	name    string      // the server name of the handshake, and the name for which the certificate is verified
}

// client sends the requests of one identity over one connection, and dials again when the server closes the connection.
// It does not use http.Transport, which logs data that arrives without a request: such data may contain the token.
type client struct {
	p                   *prober
	identity, token     string
	address, hostHeader string
	tls                 *tls.Config // nil for plain HTTP
	conn                net.Conn    // nil if there is no connection
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
	}
}

// client returns a client for an identity. A client with a token verifies the server, because an impostor could use
// the token. An impostor cannot use a client certificate, because the client does not send the key.
func (p *prober) client(s *endpoint, i *Identity) *client {
	config := &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	if i.secret() && s.verify != nil {
		config = s.verify.Clone()
		config.ServerName = s.name
	}
	if i.Certificate != nil {
		// GetClientCertificate makes Go send the certificate even if the server does not list its CA.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.Certificate, nil
		}
	}
	return &client{p: p, identity: i.Name, token: i.Token, address: s.address, hostHeader: s.target.authority(),
		tls: config}
}

// send sends one request. It follows no redirect and uses no proxy.
func (c *client) send(ctx context.Context, r *row) Response {
	ctx, cancel := context.WithTimeout(ctx, c.p.options.Timeout)
	defer cancel()
	start := time.Now()
	reused := c.conn != nil
	a, err := c.exchange(ctx, r)
	if err != nil && reused && ctx.Err() == nil {
		a, err = c.exchange(ctx, r) // the server may have closed the connection after its previous response
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no response in time: %w", ctx.Err())
		}
		a = Response{Access: NoResponse, Error: err.Error(), cause: err}
	}
	a.identity, a.row, a.took = c.identity, r, time.Since(start)
	if c.token != "" { // the server may repeat the token
		hide := strings.NewReplacer(c.token, "(the token)")
		a.user, a.Error = hide.Replace(a.user), hide.Replace(a.Error)
	}
	return a
}

func (c *client) exchange(ctx context.Context, r *row) (a Response, err error) {
	conn := c.conn
	if conn == nil {
		if conn, err = c.p.dial(ctx, c.address); err != nil {
			return a, err
		}
		if c.tls != nil {
			conn = tls.Client(conn, c.tls)
		}
	}
	// The connection can be reused only after a complete response. Until then, c.conn is nil.
	c.conn = nil
	defer func() {
		if c.conn == nil {
			conn.Close()
		}
	}()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	request, err := http.NewRequest(r.method, "https://"+c.hostHeader+r.path, nil)
	if err != nil {
		return a, err
	}
	request.Header.Set("User-Agent", "fauxlet-probe")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if err := request.Write(conn); err != nil {
		return a, err
	}
	limit := int64(shortBody)
	if r.body {
		limit = longBody
	}
	reader := bufio.NewReader(io.LimitReader(conn, limit))
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && !response.Close && reader.Buffered() == 0 && ctx.Err() == nil {
		c.conn = conn
	}
	a = classify(r, response.StatusCode, body)
	if r.body && a.Status == http.StatusOK {
		a.body = body
	}
	return a, nil
}

// sendAll sends every request as every identity. The keys of the returned map are names of identities. The responses
// to each identity have the order of the variable "rows".
func (p *prober) sendAll(ctx context.Context, s *endpoint, all []Identity) map[string][]Response {
	responses := map[string][]Response{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for n := range all {
		group.Go(func() {
			column := p.sendAs(ctx, s, &all[n])
			mu.Lock()
			defer mu.Unlock()
			responses[all[n].Name] = column
		})
	}
	group.Wait()
	return responses
}

// sendAs sends every request as one identity. It stops early if the kubelet takes too long to send a 401 (see
// Options.Patience), or if the token must not be sent because the server's certificate is not verified.
func (p *prober) sendAs(ctx context.Context, s *endpoint, i *Identity) []Response {
	client := p.client(s, i)
	defer client.close()
	var responses []Response
	stopped := "" // the reason why no further requests are sent
	for n := range rows {
		notSent := Response{Access: NotSent, Error: stopped, identity: i.Name, row: &rows[n]}
		if stopped != "" {
			responses = append(responses, notSent)
			continue
		}
		a := client.send(ctx, &rows[n])
		p.progress(fmt.Sprintf("%s as %s", &rows[n], i.Name))
		var verification *tls.CertificateVerificationError
		switch {
		case errors.As(a.cause, &verification):
			stopped = "the token is not sent to a server whose certificate is not verified"
			a = notSent
			a.Error = stopped
		case a.Access == Unauthenticated && a.took > p.options.Patience:
			a.slow = true
			stopped = fmt.Sprintf("the refusal took %v", a.took.Round(100*time.Millisecond))
		}
		responses = append(responses, a)
	}
	return responses
}
