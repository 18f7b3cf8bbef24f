package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"fauxlet/conformance/stage"
)

func tlsChecks() []Check {
	return []Check{
		{ID: "tls.versions", Title: "TLS 1.3 is offered, and no version before 1.2",
			Proves: "kube-apiserver offers TLS 1.3 to kubelets, and no version before TLS 1.2.",
			run:    withHandshake(checkVersions), remedy: updateTLSRemedy},
		{ID: "tls.ciphers", Title: "no weak cipher suite is offered",
			Proves: "kube-apiserver offers no cipher suite that Go's crypto/tls lists as insecure. The evidence " +
				"lists all offered suites.", run: withHandshake(checkCiphers), remedy: updateTLSRemedy},
		{ID: "tls.sni", Title: "the server name is a node's host name, never its address",
			Proves: "The server name in the handshake is the node's host name, or empty if kube-apiserver dials " +
				"an address (RFC 6066).", run: withHandshake(checkSNI), remedy: updateTLSRemedy},
		{ID: "tls.alpn", Title: "HTTP/2 and HTTP/1.1 are offered, and both work",
			Proves: "kube-apiserver offers h2 and http/1.1, and works with kubelets that support only one of them, " +
				"or no ALPN.", run: withHandshake(checkALPN), remedy: updateTLSRemedy},
		{ID: "tls.resumption", Title: "a resumed session has the same client certificate",
			Proves: "On a second connection, resumed or not, kube-apiserver presents the same client certificate.",
			Needs:  []string{"client.presented"}, run: withKubelet(kubeletOptions{
				node: nodeOptions{name: "resumption"}, selfSigned: true,
				tls: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
			}, checkResumption), remedy: newClientCertificate},
		{ID: "tls.only-1.2", Title: "a kubelet with only TLS 1.2 works",
			Proves: "kube-apiserver connects to a kubelet that supports only TLS 1.2.",
			run:    withHandshake(checkOnly("only-12", tls.VersionTLS12)), remedy: updateTLSRemedy},
		{ID: "tls.only-1.3", Title: "a kubelet with only TLS 1.3 (tlsMinVersion) works",
			Proves: "kube-apiserver connects to a kubelet with tlsMinVersion: VersionTLS13.",
			run:    withHandshake(checkOnly("only-13", tls.VersionTLS13)), remedy: updateTLSRemedy},
	}
}

// updateTLSRemedy advises to update kube-apiserver, because no flag changes the TLS that it offers to kubelets.
const updateTLSRemedy = "kubectl version # kube-apiserver has no flag for the TLS that it offers to kubelets: use " +
	"a supported version, and look for a proxy that terminates TLS between it and the nodes"

func names(ids []uint16, name func(uint16) string) string {
	var all []string
	for _, id := range ids {
		all = append(all, name(id))
	}
	return strings.Join(all, ", ")
}

func checkVersions(_ context.Context, _ *run, f *finding, first *observed) error {
	offered := first.Hello.SupportedVersions
	f.note("offered: %s", names(offered, tls.VersionName))
	f.note("negotiated: %s", tls.VersionName(first.TLS.Version))
	switch {
	case slices.ContainsFunc(offered, func(v uint16) bool { return v < tls.VersionTLS12 }):
		f.warn("kube-apiserver offers TLS versions before 1.2")
	case !slices.Contains(offered, tls.VersionTLS13):
		f.warn("kube-apiserver does not offer TLS 1.3")
	}
	return nil
}

func checkCiphers(_ context.Context, _ *run, f *finding, first *observed) error {
	f.note("offered: %s", names(first.Hello.CipherSuites, tls.CipherSuiteName))
	f.note("negotiated: %s", tls.CipherSuiteName(first.TLS.CipherSuite))
	weak := slices.DeleteFunc(slices.Clone(first.Hello.CipherSuites), func(id uint16) bool {
		return !slices.ContainsFunc(tls.InsecureCipherSuites(), func(c *tls.CipherSuite) bool { return c.ID == id })
	})
	if len(weak) > 0 {
		f.warn("kube-apiserver offers weak cipher suites: %s", names(weak, tls.CipherSuiteName))
	}
	return nil
}

func checkSNI(ctx context.Context, r *run, f *finding, first *observed) error {
	const evidence = "dialed %s, server name %q"
	f.note(evidence, r.nodeIP, first.Hello.ServerName)
	if first.Hello.ServerName != "" {
		return f.warn("the server name is not empty although kube-apiserver dialed an address; perhaps a proxy sets it")
	}
	if r.hostname == "" {
		f.note("not tried with a host name: --node-hostname was not given")
		return nil
	}
	node := nodeOptions{name: "sni", addresses: stage.AddressesOfEveryType(r.hostname)}
	d, err := r.connectTo(ctx, kubeletOptions{node: node})
	switch {
	case err != nil:
		return err
	case d.observed == nil || d.Hello == nil:
		f.note("not dialed: %s: %s", r.hostname, d.message)
		return nil
	}
	f.note(evidence, r.hostname, d.Hello.ServerName)
	if d.Hello.ServerName != r.hostname {
		f.warn("the server name is not the node's host name")
	}
	return nil
}

func checkALPN(ctx context.Context, r *run, f *finding, first *observed) error {
	offered := first.Hello.SupportedProtos
	f.note("offered: %s; negotiated: %s", strings.Join(offered, ", "), first.TLS.NegotiatedProtocol)
	for _, wanted := range []string{"h2", "http/1.1"} {
		if !slices.Contains(offered, wanted) {
			f.remedy = "DISABLE_HTTP2= # in kube-apiserver's environment; and no proxy that terminates TLS between " +
				"it and the nodes"
			return f.warn("kube-apiserver does not offer %s", wanted)
		}
	}
	for i, protocols := range [][]string{{"h2"}, {"http/1.1"}, nil} {
		words := "only " + strings.Join(protocols, ", ")
		if protocols == nil {
			words = "no ALPN"
		}
		name := fmt.Sprintf("alpn-%d", i)
		d, err := r.mustServe(ctx, f, name, words, func(c *tls.Config) { c.NextProtos = protocols })
		if d == nil {
			return err
		}
		f.note("to a kubelet with %s: %s", words, d.Requests[0].Protocol)
	}
	return nil
}

func checkResumption(ctx context.Context, k *kubelet, f *finding) error {
	k.handle(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // so that each request uses a new connection
		fmt.Fprintln(w, "good bye")
	})
	for range 2 {
		if got := k.logsInsecurely(ctx); got.err != nil {
			return fmt.Errorf("kube-apiserver's response to a request for a log: %w", got.err)
		}
	}
	all := k.states.All()
	if len(all) != 2 || all[1].TLS == nil {
		return fmt.Errorf("kube-apiserver opened %d connections for two requests, want 2", len(all))
	}
	how := "made a full handshake"
	if all[1].TLS.DidResume {
		how = "resumed the session of the first"
	}
	f.note("the second connection %s", how)
	if !slices.EqualFunc(all[0].TLS.PeerCertificates, all[1].TLS.PeerCertificates, (*x509.Certificate).Equal) {
		return f.fail("on its second connection kube-apiserver did not present the client certificate of its first " +
			"connection")
	}
	f.note("it presented the same client certificate")
	return nil
}

// checkOnly returns a check that fails if the kube-apiserver cannot connect to a kubelet with only one TLS version.
func checkOnly(name string, version uint16) func(context.Context, *run, *finding, *observed) error {
	return func(ctx context.Context, r *run, f *finding, _ *observed) error {
		d, err := r.mustServe(ctx, f, name, "only "+tls.VersionName(version), func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = version, version
		})
		if d != nil {
			f.note("negotiated %s, %s", tls.VersionName(d.TLS.Version), tls.CipherSuiteName(d.TLS.CipherSuite))
		}
		return err
	}
}

// mustServe makes the kube-apiserver send a request to a kubelet. The function "change" sets the kubelet's TLS
// configuration, and the text "words" describes it for the report. If no request arrives, the check fails, and the
// returned connection is nil.
func (r *run) mustServe(
	ctx context.Context, f *finding, name, words string, change func(*tls.Config),
) (*observed, error) {
	d, err := r.connectTo(ctx, kubeletOptions{node: nodeOptions{name: name}, tls: change})
	switch {
	case err != nil:
		return nil, err
	case d.observed == nil || len(d.Requests) == 0:
		f.note("answered: %s", d.message)
		return nil, f.fail("kube-apiserver does not connect to a kubelet with %s", words)
	}
	return d.observed, nil
}
