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
			ID: "tls.versions", Title: "TLS 1.3 is offered, and no version before 1.2",
			Proves: "kube-apiserver offers TLS 1.3 to kubelets, and no version before TLS 1.2.",
			Needs:  needs, run: checkVersions,
		},
		{
			ID: "tls.ciphers", Title: "no weak cipher suite is offered",
			Proves: "kube-apiserver offers no cipher suite that Go's crypto/tls lists as insecure. The evidence " +
				"lists all offered suites.",
			Needs: needs, run: checkCiphers,
		},
		{
			ID: "tls.sni", Title: "the server name is a node's host name, never its address",
			Proves: "The server name in the handshake is the node's host name, or empty if kube-apiserver dials " +
				"an address (RFC 6066).",
			Needs: needs, run: checkSNI,
		},
		{
			ID: "tls.alpn", Title: "HTTP/2 and HTTP/1.1 are offered, and both work",
			Proves: "kube-apiserver offers h2 and http/1.1, and works with kubelets that support only one of them, " +
				"or no ALPN.",
			Needs: needs, run: checkALPN,
		},
		{
			ID: "tls.resumption", Title: "a resumed session has the same client certificate",
			Proves: "On a second connection, resumed or not, kube-apiserver presents the same client certificate.",
			Needs:  []string{"client.presented"}, run: checkResumption,
		},
		{
			ID: "tls.only-1.2", Title: "a kubelet with only TLS 1.2 works",
			Proves: "kube-apiserver connects to a kubelet that supports only TLS 1.2.",
			Needs:  needs,
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkOnly(ctx, "only-12", tls.VersionTLS12)
			},
		},
		{
			ID: "tls.only-1.3", Title: "a kubelet with only TLS 1.3 (tlsMinVersion) works",
			Proves: "kube-apiserver connects to a kubelet with tlsMinVersion: VersionTLS13.",
			Needs:  needs,
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkOnly(ctx, "only-13", tls.VersionTLS13)
			},
		},
	}
}

// updateTLSRemedy is the remedy for TLS problems: an update, because kube-apiserver has no flags for TLS as a
// client.
const updateTLSRemedy = "kubectl version # kube-apiserver has no flag for the TLS that it offers to kubelets: use " +
	"a supported version, and look for a proxy that terminates TLS between it and the nodes"

func checkVersions(_ context.Context, r *run) (conformance.Result, error) {
	s, err := r.handshake()
	if err != nil {
		return conformance.Result{}, err
	}
	var names []string
	old, newest := false, false
	for _, v := range s.Hello.Versions {
		names = append(names, tls.VersionName(v))
		old, newest = old || v < tls.VersionTLS12, newest || v == tls.VersionTLS13
	}
	evidence := []string{"offered: " + strings.Join(names, ", "), "negotiated: " + tls.VersionName(s.TLS.Version)}
	switch {
	case old:
		return warn("kube-apiserver offers TLS versions before 1.2", updateTLSRemedy, evidence...), nil
	case !newest:
		return warn("kube-apiserver does not offer TLS 1.3", updateTLSRemedy, evidence...), nil
	}
	return pass(evidence...), nil
}

func checkCiphers(_ context.Context, r *run) (conformance.Result, error) {
	s, err := r.handshake()
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
	evidence := []string{"offered: " + strings.Join(all, ", "), "negotiated: " + tls.CipherSuiteName(s.TLS.CipherSuite)}
	if weak != nil {
		return warn(
			"kube-apiserver offers weak cipher suites: "+strings.Join(weak, ", "),
			updateTLSRemedy,
			evidence...), nil
	}
	return pass(evidence...), nil
}

func checkSNI(ctx context.Context, r *run) (conformance.Result, error) {
	s, err := r.handshake()
	if err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{fmt.Sprintf("dialed %s, server name %q", r.nodeIP, s.Hello.ServerName)}
	if s.Hello.ServerName != "" {
		return warn(
			"the server name is not empty although kube-apiserver dialed an address; perhaps a proxy sets it",
			updateTLSRemedy,
			evidence...), nil
	}
	if r.hostname == "" {
		return pass(append(evidence, "not tried with a host name: --node-hostname was not given")...), nil
	}
	conn, message, err := r.connectTo(ctx, "sni", r.nodeIP, stage.AddressesOfEveryType(r.hostname))
	if err != nil {
		return conformance.Result{}, err
	}
	if s := conn; s != nil && s.Hello != nil {
		evidence = append(evidence, fmt.Sprintf("dialed %s, server name %q", r.hostname, s.Hello.ServerName))
		if s.Hello.ServerName != r.hostname {
			return warn("the server name is not the node's host name", updateTLSRemedy, evidence...), nil
		}
		return pass(evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("not dialed: %s: %s", r.hostname, message))...), nil
}

func checkALPN(ctx context.Context, r *run) (conformance.Result, error) {
	s, err := r.handshake()
	if err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{
		fmt.Sprintf("offered: %s; negotiated: %s", strings.Join(s.Hello.Protocols, ", "), s.TLS.NegotiatedProtocol),
	}
	for _, wanted := range []string{"h2", "http/1.1"} {
		if !slices.Contains(s.Hello.Protocols, wanted) {
			return warn(
				"kube-apiserver does not offer "+wanted,
				"DISABLE_HTTP2= # in kube-apiserver's environment; and no proxy that terminates TLS between it and "+
					"the nodes",
				evidence...), nil
		}
	}
	for i, protocols := range [][]string{{"h2"}, {"http/1.1"}, nil} {
		words := "only " + strings.Join(protocols, ", ")
		if protocols == nil {
			words = "no ALPN"
		}
		message, all, err := r.connectWithTLS(
			ctx,
			fmt.Sprintf("alpn-%d", i),
			func(c *tls.Config) { c.NextProtos = protocols },
		)
		if err != nil {
			return conformance.Result{}, err
		}
		conn := requests(all)
		if len(conn) == 0 {
			return fail(
				"kube-apiserver does not connect to a kubelet with "+words,
				updateTLSRemedy,
				append(evidence, "answered: "+message)...), nil
		}
		evidence = append(evidence, fmt.Sprintf("to a kubelet with %s: %s", words, conn[0].Protocol))
	}
	return pass(evidence...), nil
}

// connectWithTLS makes the kube-apiserver connect to a kubelet with a modified TLS configuration.
func (r *run) connectWithTLS(
	ctx context.Context,
	name string,
	change func(*tls.Config),
) (message string, all []observed, err error) {
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: name}, certificate: r.selfSigned, tls: change})
	if err != nil {
		return "", nil, err
	}
	defer k.Close()
	message, err = k.logsInsecurely(ctx).text()
	return message, k.observed(), err
}

func checkResumption(ctx context.Context, r *run) (conformance.Result, error) {
	k, err := r.kubelet(ctx, kubeletOptions{
		node: nodeOptions{name: "resumption"}, certificate: r.selfSigned,
		// Each request uses a new connection.
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
		if logResponse := k.logsInsecurely(ctx); logResponse.err != nil {
			return conformance.Result{}, fmt.Errorf(
				"kube-apiserver's response to a request for a log: %w",
				logResponse.err,
			)
		}
	}
	all := k.observed()
	if len(all) != 2 || all[1].TLS == nil {
		return conformance.Result{}, fmt.Errorf("%d connections, want 2", len(all))
	}
	how := "made a full handshake"
	if all[1].TLS.DidResume {
		how = "resumed the session of the first"
	}
	evidence := "the second connection " + how
	if !slices.EqualFunc(all[0].TLS.PeerCertificates, all[1].TLS.PeerCertificates, (*x509.Certificate).Equal) {
		return fail(
			"on its second connection kube-apiserver did not present the client certificate of the first",
			newClientCertificate,
			evidence,
		), nil
	}
	return pass(evidence, "it presented the same client certificate"), nil
}

func (r *run) checkOnly(ctx context.Context, name string, version uint16) (conformance.Result, error) {
	if _, err := r.handshake(); err != nil {
		return conformance.Result{}, err
	}
	message, all, err := r.connectWithTLS(
		ctx,
		name,
		func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version },
	)
	if err != nil {
		return conformance.Result{}, err
	}
	if len(requests(all)) == 0 {
		return fail(
			"kube-apiserver does not connect to a kubelet with only "+tls.VersionName(version),
			updateTLSRemedy,
			"answered: "+message,
		), nil
	}
	return pass(
		fmt.Sprintf(
			"negotiated %s, %s",
			tls.VersionName(all[0].TLS.Version),
			tls.CipherSuiteName(all[0].TLS.CipherSuite),
		),
	), nil
}
