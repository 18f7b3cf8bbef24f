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

// longBody limits the size of a response whose body is needed, shortBody the size of any other response.
const longBody, shortBody = 16 << 20, 64 << 10

// endpoint is the probed server at one address. Its name was resolved once.
type endpoint struct {
	target  Target
	address string
	// verify is used to verify the certificate before a token is sent. If nil, tokens are sent unverified.
	verify *tls.Config
	// name is the server name of the handshake, and the name for which the certificate is verified.
	name string
}

// session sends the requests of one client over one connection. When the server closes the connection, session makes
// a new one. It does not use http.Transport, because http.Transport logs data that arrives without a request, and
// such data may contain the token.
type session struct {
	p       *prober
	address string
	host    string      // the Host header
	tls     *tls.Config // nil for plain HTTP
	token   string

	conn net.Conn
}

// session returns a session of an identity. It verifies the server's certificate only before it sends a token, which
// an impostor could use. An impostor cannot use a client certificate, because the key is not sent.
func (p *prober) session(s *endpoint, i *Identity) *session {
	config := &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	if i.secret() && s.verify != nil {
		config = s.verify.Clone()
		config.ServerName = s.name
	}
	if i.Certificate != nil {
		// Without this, Go does not send a certificate of a CA that the server does not list.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.Certificate, nil
		}
	}
	return &session{p: p, address: s.address, host: s.target.authority(), tls: config, token: i.Token}
}

func (c *session) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// connect makes the connection, unless one exists.
func (c *session) connect(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	conn, err := c.p.dial(ctx, c.address)
	if err != nil {
		return err
	}
	if c.tls != nil {
		secure := tls.Client(conn, c.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		conn = secure
	}
	c.conn = conn
	return nil
}

// send sends one request. It follows no redirect and uses no proxy.
func (c *session) send(ctx context.Context, r *row) Response {
	ctx, cancel := context.WithTimeout(ctx, c.p.options.Timeout)
	defer cancel()
	start := time.Now()
	reused := c.conn != nil
	a, err := c.exchange(ctx, r)
	if err != nil && reused && ctx.Err() == nil {
		a, err = c.exchange(ctx, r) // the server may have closed the connection after its previous response
	}
	if err != nil {
		a = Response{Access: NoResponse, Error: err.Error(), cause: err}
	}
	a.took = time.Since(start)
	if c.token != "" { // the server may repeat the token
		a.user, a.Error = strings.ReplaceAll(a.user, c.token, "(the token)"), strings.ReplaceAll(
			a.Error,
			c.token,
			"(the token)",
		)
	}
	return a
}

func (c *session) exchange(ctx context.Context, r *row) (a Response, err error) {
	if err := c.connect(ctx); err != nil {
		return a, err
	}
	whole := false
	defer func() {
		if !whole {
			c.close()
		}
	}()
	conn := c.conn // close sets c.conn to nil
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request, err := http.NewRequest(r.method, "https://"+c.host+r.path, nil)
	if err != nil {
		return a, err
	}
	request.Header.Set("User-Agent", "fauxlet-probe")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if err := request.Write(conn); err != nil {
		return a, timeoutOr(ctx, err)
	}
	limit := int64(shortBody)
	if r.body {
		limit = longBody
	}
	reader := bufio.NewReader(io.LimitReader(conn, limit))
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return a, timeoutOr(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	whole = err == nil && !response.Close && reader.Buffered() == 0 && ctx.Err() == nil
	a = classify(r, response.StatusCode, body)
	if r.body && a.Status == http.StatusOK {
		a.body = body
	}
	return a, nil
}

// timeoutOr replaces the error of an exchange that was interrupted by ctx.
func timeoutOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no response in time: %w", ctx.Err())
	}
	return err
}

// sendAll sends every request as every identity. The responses of an identity are in the order of rows.
func (p *prober) sendAll(ctx context.Context, s *endpoint, all []Identity) map[string][]Response {
	columns := make([][]Response, len(all))
	var group sync.WaitGroup
	for n := range all {
		group.Go(func() { columns[n] = p.sendAs(ctx, s, &all[n]) })
	}
	group.Wait()
	responses := map[string][]Response{}
	for n := range all {
		responses[all[n].Name] = columns[n]
	}
	return responses
}

// sendAs sends every request as one identity. It stops after a slow refusal (see Options.Patience).
func (p *prober) sendAs(ctx context.Context, s *endpoint, i *Identity) []Response {
	session := p.session(s, i)
	defer session.close()
	responses := make([]Response, len(rows))
	stopped := "" // the reason why no further requests are sent
	for n := range rows {
		if stopped != "" {
			responses[n] = Response{Access: NotSent, Error: stopped}
			continue
		}
		a := session.send(ctx, &rows[n])
		p.progress(fmt.Sprintf("%s as %s", &rows[n], i.Name))
		var verification *tls.CertificateVerificationError
		switch {
		case errors.As(a.cause, &verification):
			stopped = "the token is not sent to a server whose certificate is not verified"
			a = Response{Access: NotSent, Error: stopped}
		case a.Access == Unauthenticated && a.took > p.options.Patience:
			a.slow = true
			stopped = fmt.Sprintf("the refusal took %v", a.took.Round(100*time.Millisecond))
		}
		responses[n] = a
	}
	return responses
}
