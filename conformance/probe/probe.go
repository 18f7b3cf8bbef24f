// Package probe walks a kubelet from outside, in a fixed set of requests that change nothing, and tells who may do what,
// which settings that comes of, and what is dangerous in them.
//
// [Run] does it: first handshakes, then every request as every identity, then the read-only port. What is inferred from
// them is in settings.go, a function for each setting; what is judged of them in findings.go. A setting whose values would
// give the same answers is unknown. With [Options.Compare] a stand-in of that configuration is asked the same.
//
// Nothing that is secret gets into a [Report]: no token, no body of an answer. A token is sent to a server only whose
// certificate is verified, unless [Options.SendTokensUnverified].
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// DefaultReadOnlyPort is that of kubelets that have one.
const DefaultReadOnlyPort = 10255

// Options say what to probe, and as whom.
type Options struct {
	Target Target
	// Lookup finds the target's addresses. Required where it is a name.
	Lookup Lookup
	// AllowPublicAddresses allows addresses that are neither of this machine nor private.
	AllowPublicAddresses bool

	// Identities are asked as beside [NoCredential], [UnknownCA] and [InvalidToken].
	Identities []Identity
	// CA verifies the serving certificate, for ServerName (empty: the target's host). Nil: it is not verified.
	CA         *x509.CertPool
	ServerName string
	// SendTokensUnverified has tokens sent to a server that is not verified. Whoever is in its place can use them.
	SendTokensUnverified bool

	// ReadOnlyPort is looked at too, and so is the one that the kubelet's own /configz names; 0: none is.
	ReadOnlyPort int
	// Timeout is how long each connection, handshake and request may take; 0: 10 s.
	Timeout time.Duration
	// Patience is how long a 401 may take before its client is asked nothing more; 0: 2 s. A kubelet that cannot have a token
	// reviewed tries for some seconds before it refuses it, each time.
	Patience time.Duration

	// Compare holds the kubelet against a configuration, if it is not nil.
	Compare *CompareOptions

	// Progress, if it is not nil, is called with what was just done, from many goroutines, one at a time.
	Progress func(what string)
}

// prober is one Run.
type prober struct {
	options Options
	mu      sync.Mutex
}

func (p *prober) step(what string) {
	if p.options.Progress == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options.Progress(what)
}

// Run probes. The error says why there is no report: the target may not be probed or cannot be reached, an identity makes
// no sense, ctx has ended. Whatever the kubelet answers is a report.
func Run(ctx context.Context, options Options) (*Report, error) {
	options.Timeout, options.Patience = cmp.Or(options.Timeout, 10*time.Second), cmp.Or(options.Patience, 2*time.Second)
	options.ServerName = cmp.Or(options.ServerName, options.Target.Host)
	p := &prober{options: options}
	all, err := identities(options.Identities)
	if err != nil {
		return nil, err
	}
	s := &peer{target: options.Target, name: options.ServerName}
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
	port := options.ReadOnlyPort
	if told, _ := seen.configz(); told != nil && told.ReadOnlyPort > 0 && port != 0 {
		port = int(told.ReadOnlyPort)
	}
	seen.readOnly = p.askReadOnly(ctx, s, port)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	report := &Report{
		URL: options.Target.String(), Address: s.address, Version: seen.version(), Requests: seen.requests(), ReadOnly: seen.readOnly,
		TLS: seen.tls, Certificate: seen.chain, Settings: seen.settings(),
	}
	for _, i := range all {
		report.Identities = append(report.Identities, IdentityReport{i.Name, i.credential(), seen.userOf(i.Name)})
	}
	values := map[string]string{}
	for _, setting := range report.Settings {
		values[setting.Name] = setting.Value
	}
	report.Findings = seen.findings(values, time.Now())
	if options.Compare != nil {
		if report.Comparison, err = p.compare(ctx, seen, report.Settings); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// ErrUnverified is what Run says of a token that it would have to send to nobody knows whom.
var ErrUnverified = errors.New("its token is not sent to a server that nothing vouches for")

// observe asks all there is to ask of the secure port.
func (p *prober) observe(ctx context.Context, s *peer, all []Identity, roots *x509.CertPool) *observation {
	o := &observation{identities: all, tls: p.handshakes(ctx, s)}
	if len(o.tls.chain) > 0 {
		o.chain = look(o.tls.chain, s.name, roots, time.Now())
		o.answers = p.matrix(ctx, s, all)
	}
	return o
}
