package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"fauxlet/conformance"
	"fauxlet/conformance/stage"
)

func tlsChecks() []Check {
	needs := []string{"reach.dialled"}
	return []Check{
		{
			ID: "tls.versions", Title: "no TLS before 1.2 is offered, and 1.3 is",
			Proves: "kube-apiserver offers kubelets TLS 1.3, and none before TLS 1.2.",
			Needs:  needs, run: checkVersions,
		},
		{
			ID: "tls.ciphers", Title: "no weak cipher suite is offered",
			Proves: "kube-apiserver offers kubelets no cipher suite that crypto/tls takes for insecure. Its evidence has all that it offers.",
			Needs:  needs, run: checkCiphers,
		},
		{
			ID: "tls.sni", Title: "the name of a node is told, its address is not",
			Proves: "The server name in the handshake is the node's name where it is dialled by one, and empty where it is dialled by address (RFC 6066).",
			Needs:  needs, run: checkSNI,
		},
		{
			ID: "tls.alpn", Title: "HTTP/2 and HTTP/1.1 are offered, and either works",
			Proves: "kube-apiserver offers h2 and http/1.1, and talks to kubelets that have one of them alone, or know nothing of ALPN.",
			Needs:  needs, run: checkALPN,
		},
		{
			ID: "tls.resumption", Title: "who comes again says again who it is",
			Proves: "On a second connection, resumed or not, a kubelet sees the client certificate of the first.",
			Needs:  []string{"client.presented"}, run: checkResumption,
		},
		{
			ID: "tls.only-1.2", Title: "a kubelet that has TLS 1.2 alone is talked to",
			Proves: "A kubelet with TLS 1.2 alone is talked to.",
			Needs:  needs,
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkOnly(ctx, "only-12", tls.VersionTLS12)
			},
		},
		{
			ID: "tls.only-1.3", Title: "a kubelet that has TLS 1.3 alone (tlsMinVersion) is talked to",
			Proves: "A kubelet with tlsMinVersion: VersionTLS13 is talked to.",
			Needs:  needs,
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkOnly(ctx, "only-13", tls.VersionTLS13)
			},
		},
	}
}

// newer is what to do about TLS: kube-apiserver has no flag for it as a client.
const newer = "kubectl version # kube-apiserver has no flag for the TLS that it offers kubelets: take a supported version, and look for a proxy between it and the nodes that ends TLS"

func checkVersions(_ context.Context, r *run) (conformance.Result, error) {
	s, err := r.shaken()
	if err != nil {
		return conformance.Result{}, err
	}
	var names []string
	old, newest := false, false
	for _, v := range s.Hello.Versions {
		names = append(names, tls.VersionName(v))
		old, newest = old || v < tls.VersionTLS12, newest || v == tls.VersionTLS13
	}
	evidence := []string{"offered: " + strings.Join(names, ", "), "agreed on: " + tls.VersionName(s.TLS.Version)}
	switch {
	case old:
		return warn("kube-apiserver offers kubelets TLS before 1.2", newer, evidence...), nil
	case !newest:
		return warn("kube-apiserver does not offer kubelets TLS 1.3", newer, evidence...), nil
	}
	return pass(evidence...), nil
}

func checkCiphers(_ context.Context, r *run) (conformance.Result, error) {
	s, err := r.shaken()
	if err != nil {
		return conformance.Result{}, err
	}
	var all, weak []string
	for _, id := range s.Hello.CipherSuites {
		name := tls.CipherSuiteName(id)
		all = append(all, name)
		if slices.ContainsFunc(tls.InsecureCipherSuites(), func(c *tls.CipherSuite) bool { return c.ID == id }) {
			weak = append(weak, name)
		}
	}
	evidence := []string{"offered: " + strings.Join(all, ", "), "agreed on: " + tls.CipherSuiteName(s.TLS.CipherSuite)}
	if weak != nil {
		return warn("kube-apiserver offers kubelets weak cipher suites: "+strings.Join(weak, ", "), newer, evidence...), nil
	}
	return pass(evidence...), nil
}

func checkSNI(ctx context.Context, r *run) (conformance.Result, error) {
	s, err := r.shaken()
	if err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{fmt.Sprintf("dialled at %s, server name %q", r.nodeIP, s.Hello.ServerName)}
	if s.Hello.ServerName != "" {
		return warn("kube-apiserver tells the address of a node as its server name, or what is between tells another", newer, evidence...), nil
	}
	if r.hostname == "" {
		return pass(append(evidence, "not dialled by name: no --node-hostname was given")...), nil
	}
	came, said, err := r.visited(ctx, "sni", r.nodeIP, stage.AddressesOfEveryType(r.hostname))
	if err != nil {
		return conformance.Result{}, err
	}
	if s := came; s != nil && s.Hello != nil {
		evidence = append(evidence, fmt.Sprintf("dialled at %s, server name %q", r.hostname, s.Hello.ServerName))
		if s.Hello.ServerName != r.hostname {
			return warn("kube-apiserver does not tell a node's name as its server name", newer, evidence...), nil
		}
		return pass(evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("not dialled at %s: %s", r.hostname, said))...), nil
}

func checkALPN(ctx context.Context, r *run) (conformance.Result, error) {
	s, err := r.shaken()
	if err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{fmt.Sprintf("offered: %s; agreed on: %s", strings.Join(s.Hello.Protocols, ", "), s.TLS.NegotiatedProtocol)}
	for _, wanted := range []string{"h2", "http/1.1"} {
		if !slices.Contains(s.Hello.Protocols, wanted) {
			return warn("kube-apiserver does not offer kubelets "+wanted, "DISABLE_HTTP2= # in kube-apiserver's environment, and no proxy between it and the nodes that ends TLS", evidence...), nil
		}
	}
	for i, protocols := range [][]string{{"h2"}, {"http/1.1"}, nil} {
		words := "has " + strings.Join(protocols, ", ") + " alone"
		if protocols == nil {
			words = "knows nothing of ALPN"
		}
		said, all, err := r.talk(ctx, fmt.Sprintf("alpn-%d", i), func(c *tls.Config) { c.NextProtos = protocols })
		if err != nil {
			return conformance.Result{}, err
		}
		came := requests(all)
		if len(came) == 0 {
			return fail("kube-apiserver does not talk to a kubelet that "+words, newer, append(evidence, "answered: "+said)...), nil
		}
		evidence = append(evidence, fmt.Sprintf("to a kubelet that %s: %s", words, came[0].Protocol))
	}
	return pass(evidence...), nil
}

// talk has the apiserver come to a kubelet with that TLS, and gives what it said and what was seen of it.
func (r *run) talk(ctx context.Context, name string, change func(*tls.Config)) (said string, all []seen, err error) {
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: name}, certificate: r.anybodys, tls: change})
	if err != nil {
		return "", nil, err
	}
	defer k.Close()
	said, err = k.logsInsecurely(ctx).told()
	return said, k.seen(), err
}

func checkResumption(ctx context.Context, r *run) (conformance.Result, error) {
	k, err := r.kubelet(ctx, kubeletOptions{
		node: nodeOptions{name: "resumption"}, certificate: r.anybodys,
		// Each request has a connection of its own.
		tls: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprintln(w, "good bye")
		}),
	})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	for range 2 {
		if answer := k.logsInsecurely(ctx); answer.err != nil {
			return conformance.Result{}, fmt.Errorf("the apiserver, asked for a log: %w", answer.err)
		}
	}
	all := k.seen()
	if len(all) != 2 || all[1].TLS == nil {
		return conformance.Result{}, fmt.Errorf("%d connections came, and there should be 2", len(all))
	}
	how := "shook hands anew"
	if all[1].TLS.DidResume {
		how = "resumed the session of the first"
	}
	evidence := "the second connection " + how
	if !slices.EqualFunc(all[0].TLS.PeerCertificates, all[1].TLS.PeerCertificates, (*x509.Certificate).Equal) {
		return fail("on its second connection kube-apiserver did not present the client certificate of the first", newClientCertificate, evidence), nil
	}
	return pass(evidence, "and came with the same client certificate"), nil
}

func (r *run) checkOnly(ctx context.Context, name string, version uint16) (conformance.Result, error) {
	if _, err := r.shaken(); err != nil {
		return conformance.Result{}, err
	}
	said, all, err := r.talk(ctx, name, func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
	if err != nil {
		return conformance.Result{}, err
	}
	if len(requests(all)) == 0 {
		return fail("kube-apiserver does not talk to a kubelet that has "+tls.VersionName(version)+" alone", newer, "answered: "+said), nil
	}
	return pass(fmt.Sprintf("agreed on %s, %s", tls.VersionName(all[0].TLS.Version), tls.CipherSuiteName(all[0].TLS.CipherSuite))), nil
}
