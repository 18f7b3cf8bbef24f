package check

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"fauxlet/conformance"
	"fauxlet/testcerts"
)

// TestTrusted checks the verdict on the client certificate for each combination of CAs that a cluster can publish. A
// certificate is only refused if it is known which CAs the kubelets trust.
func TestTrusted(t *testing.T) {
	authority := func(name string) *testcerts.Authority {
		ca, err := testcerts.NewAuthority(name)
		must(t, err)
		return ca
	}
	clients, servers, unknown := authority("clients"), authority("servers"), authority("unknown")
	certificate := func(ca *testcerts.Authority) []*x509.Certificate {
		pair, err := ca.Client("kubelet-client", nil)
		must(t, err)
		return []*x509.Certificate{pair.Leaf}
	}
	publish := func(authentication, root []byte) map[string]map[string]string {
		all := map[string]map[string]string{}
		if authentication != nil {
			all["extension-apiserver-authentication"] = map[string]string{"client-ca-file": string(authentication)}
		}
		if root != nil {
			all["kube-root-ca.crt"] = map[string]string{"ca.crt": string(root)}
		}
		return all
	}
	both := publish(clients.CertPEM(), servers.CertPEM())
	for _, test := range []struct {
		name      string
		published map[string]map[string]string
		clientCA  *testcerts.Authority // of --client-ca
		signer    *testcerts.Authority
		verdict   conformance.Verdict
		contains  string // part of the reason, or of the evidence if the verdict is pass
	}{
		{name: "the CA for clients", published: both, signer: clients, verdict: conformance.Pass,
			contains: `signed by "CN=clients", a CA in ConfigMap kube-system/extension-apiserver-authentication`},
		{name: "no published CA", published: both, signer: unknown, verdict: conformance.Fail,
			contains: "not signed by a CA for clients that the cluster publishes"},
		{name: "another CA than --client-ca", published: both, clientCA: unknown, signer: clients,
			verdict: conformance.Fail, contains: "not signed by a CA in --client-ca"},
		{name: "the CA of --client-ca, which is not published", published: both, clientCA: unknown, signer: unknown,
			verdict: conformance.Pass, contains: `signed by "CN=unknown", a CA in --client-ca`},
		{name: "the CA for servers, although there is one for clients", published: both, signer: servers,
			verdict:  conformance.Skipped,
			contains: "signed by a CA in ConfigMap kube-system/kube-root-ca.crt, and not"},
		{name: "the only published CA", published: publish(nil, servers.CertPEM()), signer: servers,
			verdict: conformance.Pass, contains: "a CA in ConfigMap kube-system/kube-root-ca.crt"},
		{name: "only the CA for servers is published", published: publish(nil, servers.CertPEM()), signer: clients,
			verdict: conformance.Skipped, contains: "kubelets may trust other CAs; give their clientCAFile"},
		{name: "nothing is published", signer: clients, verdict: conformance.Skipped,
			contains: "ConfigMap kube-system/extension-apiserver-authentication does not exist; ConfigMap " +
				"kube-system/kube-root-ca.crt does not exist"},
		{name: "invalid data", published: publish([]byte("x"), []byte{}), signer: clients, verdict: conformance.Skipped,
			contains: "client-ca-file in ConfigMap kube-system/extension-apiserver-authentication has no valid " +
				"certificate; ConfigMap kube-system/kube-root-ca.crt has no ca.crt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startAPIServerWith(t, "", test.published)
			if test.clientCA != nil {
				r.options.ClientCA = test.clientCA.Pool()
			}
			var f finding
			err := checkTrusted(t.Context(), r, &f,
				&observed{TLS: &tls.ConnectionState{PeerCertificates: certificate(test.signer)}})
			got := f.result(err)
			text := got.Reason
			if got.Verdict == conformance.Pass {
				text = strings.Join(got.Evidence, "\n")
			}
			if got.Verdict != test.verdict || !strings.Contains(text, test.contains) {
				t.Errorf("%s %s\n%s\nwant %s and %q", got.Verdict, got.Reason, strings.Join(got.Evidence, "\n"),
					test.verdict, test.contains)
			}
			if got.Verdict == conformance.Skipped && !strings.Contains(text, "--client-ca") {
				t.Errorf("the reason %q does not name the flag that helps", text)
			}
		})
	}
}
