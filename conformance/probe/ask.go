package probe

import (
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

const (
	// longBody and shortBody bound how much of an answer is read: of one that is of interest, and of another.
	longBody, shortBody = 16 << 20, 64 << 10

	// patience is how long a refusal may take. A kubelet that cannot have tokens reviewed tries for some seconds before it
	// refuses one: the client is then asked nothing more, because the rest would be refused as slowly.
	patience = 2 * time.Second
)

// peer is what is asked: at one address, whatever its name may mean by now.
type peer struct {
	target  Target
	address string
	// verify is how its certificate is verified before a token is sent; nil: not at all.
	verify *tls.Config
	// name is sent as the server name, and verified.
	name string
}

// transport connects as i does. The server's certificate is looked at elsewhere, and holds up nobody here but a client
// with a token, whose receiver could use it. A client certificate gives nothing away: its key stays here.
func (p *prober) transport(s *peer, i *Identity) *http.Transport {
	config := &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	if i.secret() && s.verify != nil {
		config = s.verify.Clone()
		config.ServerName = s.name
	}
	if i.Certificate != nil {
		// Go leaves a certificate at home whose CA is not among those that the server names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.Certificate, nil }
	}
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dial(ctx, s.address) },
		TLSClientConfig:     config,
		TLSHandshakeTimeout: p.options.Timeout,
		DisableCompression:  true,
		DisableKeepAlives:   true, // net/http logs what comes on an idle connection, and it may be the token that was sent
	}
}

// matrix has every identity ask every row. Answers are in the order of rows.
func (p *prober) matrix(ctx context.Context, s *peer, all []Identity) map[string][]Answer {
	columns := make([][]Answer, len(all))
	var group sync.WaitGroup
	for n := range all {
		group.Go(func() { columns[n] = p.column(ctx, s, &all[n]) })
	}
	group.Wait()
	answers := map[string][]Answer{}
	for n := range all {
		answers[all[n].Name] = columns[n]
	}
	return answers
}

// column asks all rows as i.
func (p *prober) column(ctx context.Context, s *peer, i *Identity) []Answer {
	transport := p.transport(s, i)
	answers := make([]Answer, len(rows))
	refused := ""
	for n := range rows {
		if refused != "" {
			answers[n] = Answer{Outcome: NotAsked, Error: refused}
			continue
		}
		r := &rows[n]
		a := p.ask(ctx, transport, s.target.String()+r.path, r, i.Token)
		a.redact(i.Token)
		answers[n] = a
		p.step(fmt.Sprintf("%s as %s", r, i.Name))
		var verification *tls.CertificateVerificationError
		switch {
		case errors.As(a.cause, &verification):
			refused = "the token is not sent to a server whose certificate is not verified"
		case a.Outcome == Unauthenticated && a.took > patience:
			refused = fmt.Sprintf("the refusal took %v", a.took.Round(100*time.Millisecond))
		}
	}
	return answers
}

// ask sends one request. It follows no redirect, and takes no proxy from the environment.
func (p *prober) ask(ctx context.Context, transport http.RoundTripper, url string, r *row, token string) Answer {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, r.method, url, nil)
	if err != nil {
		return failed(err)
	}
	request.Header.Set("User-Agent", "fauxlet-probe")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	start := time.Now()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return failed(err)
	}
	defer response.Body.Close()
	limit := int64(shortBody)
	if r.body {
		limit = longBody
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit))
	if err != nil && len(body) == 0 {
		return failed(err)
	}
	a := classify(r, response.StatusCode, body)
	a.took = time.Since(start)
	if r.body && a.Status == http.StatusOK {
		a.body = body
	}
	return a
}

// redact takes a token out of what a server may have repeated.
func (a *Answer) redact(token string) {
	if token != "" {
		a.user, a.Error = strings.ReplaceAll(a.user, token, "(the token)"), strings.ReplaceAll(a.Error, token, "(the token)")
	}
}

func failed(err error) Answer { return Answer{Outcome: Failed, Error: err.Error(), cause: err} }
