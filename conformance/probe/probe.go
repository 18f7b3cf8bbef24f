// Package probe examines a kubelet from outside with a fixed set of requests that change nothing. It reports which
// requests each client may make, which settings explain the responses, and which findings are dangerous.
//
// [Run] makes TLS handshakes, sends every request as every identity, and then sends requests to the read-only port.
// The file settings.go has one function for each setting, which infers the value of the setting from the responses.
// The file findings.go decides which observations are dangerous. A setting is unknown if other values would give the
// same responses. With [Options.Compare], Run also probes a stand-in kubelet with a given configuration and reports
// the differences.
//
// A [Report] contains no secrets: no tokens and no response bodies. Tokens are sent only to a server whose certificate
// is verified, unless [Options.SendTokensUnverified] is set.
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// DefaultReadOnlyPort is the usual number of a kubelet's read-only port.
const DefaultReadOnlyPort = 10255

// Options configure a probe. Target is required.
type Options struct {
	Target Target
	// Lookup resolves the target's host name. If nil, Run uses the default resolver.
	Lookup Lookup
	// AllowPublicAddresses allows targets that are neither loopback nor private addresses.
	AllowPublicAddresses bool

	// Identities send the requests, in addition to [NoCredential], [UnknownCA] and [InvalidToken].
	Identities []Identity
	// CA verifies the serving certificate for ServerName (default: the target's host). If nil, the certificate is
	// not verified.
	CA         *x509.CertPool
	ServerName string
	// SendTokensUnverified sends tokens to a server whose certificate is not verified. An impostor could use them.
	SendTokensUnverified bool

	// ReadOnlyPort is the read-only port to probe; 0 means none. A port in the kubelet's /configz takes precedence.
	ReadOnlyPort int
	// NodeVersion is the kubelet's version according to its Node; empty if there is no Node.
	NodeVersion string
	// Timeout is the maximum duration of each connection attempt, handshake and request. 0 means 10 seconds.
	Timeout time.Duration
	// If an identity waits longer than Patience for a 401, the probe sends no further requests as this identity,
	// because a kubelet retries a failed TokenReview for some seconds before every 401. 0 means 2 seconds.
	Patience time.Duration

	// ThroughAPIServer makes RunCluster send the requests through the proxy subresource of the Nodes. Then Identities,
	// CA and the other options for connections to kubelets have no effect, and Report.NotProbed lists what the API
	// server hides. The user of the client configuration must be allowed to get nodes/proxy.
	ThroughAPIServer bool

	// Compare, if set, compares the kubelet with a configuration.
	Compare *CompareOptions

	// Progress, if set, is called after each step. Calls come from several goroutines, but one at a time.
	Progress func(step string)
}

// prober has the options of one call of Run. The mutex ensures that only one goroutine at a time calls
// Options.Progress.
type prober struct {
	options Options
	mu      sync.Mutex
}

func (p *prober) progress(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.options.Progress != nil {
		p.options.Progress(step)
	}
}

// Run probes a kubelet. It returns an error if the target is not allowed or cannot be reached, it does not respond like
// a kubelet, an identity is invalid, or ctx is done. Any response of the kubelet is part of the report.
func Run(ctx context.Context, options Options) (*Report, error) {
	options.Timeout, options.Patience = cmp.Or(options.Timeout, 10*time.Second), cmp.Or(options.Patience, 2*time.Second)
	options.ServerName = cmp.Or(options.ServerName, options.Target.Host)
	if options.Lookup == nil {
		options.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	p := &prober{options: options}
	all, err := identities(options.Identities)
	if err != nil {
		return nil, err
	}
	s := &endpoint{target: options.Target, name: options.ServerName}
	for i := range all {
		if all[i].secret() && options.CA == nil && !options.SendTokensUnverified {
			return nil, fmt.Errorf("identity %q: %w", all[i].Name, ErrUnverified)
		}
	}
	if !options.SendTokensUnverified {
		s.verify = &tls.Config{RootCAs: options.CA}
	}
	addresses, err := options.Target.resolve(ctx, options.Lookup, options.AllowPublicAddresses)
	if err != nil {
		return nil, err
	}
	address, err := p.connect(ctx, addresses, options.Target.Port)
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	s.address = net.JoinHostPort(address.String(), options.Target.Port)

	seen := p.observe(ctx, s, all, options.CA)
	seen.nodeVersion = options.NodeVersion
	seen.readOnly = p.probeReadOnly(ctx, s, seen.readOnlyTarget(options.ReadOnlyPort))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := seen.notKubelet(); err != nil {
		return nil, fmt.Errorf("%s: %w", options.Target, err)
	}
	report := seen.report(time.Now())
	report.URL, report.Address = options.Target.String(), s.address
	if options.Compare != nil {
		if report.Comparison, err = p.compare(ctx, seen, report.Settings); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// Run returns an error that wraps ErrUnverified if an identity has a token, but Options has no CA to verify the
// server. The wrapping error begins with the name of the identity, so that "its token" is clear.
var ErrUnverified = errors.New("its token is not sent to a server that is not verified")

// observe makes the TLS handshakes, sends every request to the secure port, and returns the results.
func (p *prober) observe(ctx context.Context, s *endpoint, all []Identity, roots *x509.CertPool) *observation {
	o := &observation{identities: all, tls: p.handshakes(ctx, s)}
	if len(o.tls.chain) > 0 {
		o.certificate = describeCertificate(o.tls.chain, s.name, roots, time.Now())
		o.responses = p.sendAll(ctx, s, all)
	}
	if !o.isKubelet() && o.find(func(a *Response) bool { return a.bare }) != nil {
		c := p.client(s, &all[0]) // no credential
		defer c.close()
		o.refusals = &refusals{pods: c.send(ctx, &podsRow), unserved: c.send(ctx, &unservedRow)}
	}
	return o
}
