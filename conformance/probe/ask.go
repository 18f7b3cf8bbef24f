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

// longBody and shortBody bound how much of an answer is read: of one that is of interest, and of another.
const longBody, shortBody = 16 << 20, 64 << 10

// peer is what is asked: at one address, whatever its name may mean by now.
type peer struct {
	target  Target
	address string
	// verify is how its certificate is verified before a token is sent; nil: not at all.
	verify *tls.Config
	// name is sent as the server name, and verified.
	name string
}

// session is how one client asks, over one connection as long as it holds. It is no http.Transport because that logs what
// comes where no answer is due, and a server may repeat a token there.
type session struct {
	p       *prober
	address string
	host    string      // the Host header
	tls     *tls.Config // nil: in the clear
	token   string

	conn net.Conn
}

// session connects as i does. The server's certificate is looked at elsewhere, and holds up nobody here but a client with
// a token, whose receiver could use it. A client certificate gives nothing away: its key stays here.
func (p *prober) session(s *peer, i *Identity) *session {
	config := &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	if i.secret() && s.verify != nil {
		config = s.verify.Clone()
		config.ServerName = s.name
	}
	if i.Certificate != nil {
		// Go leaves a certificate at home whose CA is not among those that the server names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.Certificate, nil }
	}
	return &session{p: p, address: s.address, host: s.target.authority(), tls: config, token: i.Token}
}

func (c *session) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// connect makes the connection, unless there is one.
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

// ask sends one request. No redirect is followed, and no proxy is in the way.
func (c *session) ask(ctx context.Context, r *row) Response {
	ctx, cancel := context.WithTimeout(ctx, c.p.options.Timeout)
	defer cancel()
	start := time.Now()
	kept := c.conn != nil
	a, err := c.exchange(ctx, r)
	if err != nil && kept && ctx.Err() == nil {
		a, err = c.exchange(ctx, r) // the server may close a connection after any answer
	}
	if err != nil {
		a = Response{Access: NoResponse, Error: err.Error(), cause: err}
	}
	a.took = time.Since(start)
	if c.token != "" { // which a server may repeat
		a.user, a.Error = strings.ReplaceAll(a.user, c.token, "(the token)"), strings.ReplaceAll(a.Error, c.token, "(the token)")
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
	conn := c.conn // which close, at a deadline, takes from c
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
		return a, because(ctx, err)
	}
	limit := int64(shortBody)
	if r.body {
		limit = longBody
	}
	reader := bufio.NewReader(io.LimitReader(conn, limit))
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return a, because(ctx, err)
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

// because is why an exchange came to nothing: the time that was over, rather than the deadline that was set then.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	return err
}

// matrix has every identity ask every row. Responses are in the order of rows.
func (p *prober) matrix(ctx context.Context, s *peer, all []Identity) map[string][]Response {
	columns := make([][]Response, len(all))
	var group sync.WaitGroup
	for n := range all {
		group.Go(func() { columns[n] = p.column(ctx, s, &all[n]) })
	}
	group.Wait()
	answers := map[string][]Response{}
	for n := range all {
		answers[all[n].Name] = columns[n]
	}
	return answers
}

// column asks all rows as i.
func (p *prober) column(ctx context.Context, s *peer, i *Identity) []Response {
	session := p.session(s, i)
	defer session.close()
	answers := make([]Response, len(rows))
	refused := ""
	for n := range rows {
		if refused != "" {
			answers[n] = Response{Access: NotSent, Error: refused}
			continue
		}
		a := session.ask(ctx, &rows[n])
		p.step(fmt.Sprintf("%s as %s", &rows[n], i.Name))
		var verification *tls.CertificateVerificationError
		switch {
		case errors.As(a.cause, &verification):
			refused = "the token is not sent to a server whose certificate is not verified"
			a = Response{Access: NotSent, Error: refused}
		case a.Access == Unauthenticated && a.took > p.options.Patience:
			a.slow = true
			refused = fmt.Sprintf("the refusal took %v", a.took.Round(100*time.Millisecond))
		}
		answers[n] = a
	}
	return answers
}
