package cluster

import (
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/sample"
	"fauxlet/testcerts"
)

// The list "credentials" has all credentials that the function "measure" sends. Each list of expected statuses has the
// same order. The expected statuses were measured on the kubelet's own server.
var credentials = []string{
	"none", "good certificate", "certificate of an unknown CA", "expired certificate",
	"bad token", "service account token",
	"good certificate + bad token", "certificate of an unknown CA + good token",
}

// TestAnonymousIsTheLastResort sends GET /pods with each credential to kubelets that allow anonymous requests. Each
// list of expected statuses has the same order as the list "credentials".
//
// The test proves statement 6 of docs/claims.md.
func TestAnonymousIsTheLastResort(t *testing.T) {
	t.Parallel()
	measure(t, "webhook on, anonymous on, Webhook", kubelet.Settings{"authentication.anonymous.enabled": true},
		[]int{200, 200, 401, 401, 401, 403, 200, 403})
	measure(t, "webhook off, anonymous on, Webhook",
		kubelet.Settings{"authentication.anonymous.enabled": true, "authentication.webhook.enabled": false},
		[]int{200, 200, 401, 401, 200, 200, 200, 401})
}

// TestCertificateThenToken sends GET /pods with each credential to kubelets that refuse anonymous requests.
//
// The test proves statement 7 of docs/claims.md.
func TestCertificateThenToken(t *testing.T) {
	t.Parallel()
	measure(t, "webhook on, anonymous off, Webhook", kubelet.Settings{},
		[]int{401, 200, 401, 401, 401, 403, 200, 403})
	measure(t, "webhook on, anonymous off, AlwaysAllow", kubelet.Settings{"authorization.mode": "AlwaysAllow"},
		[]int{401, 200, 401, 401, 401, 200, 200, 200})
	measure(t, "no method at all", kubelet.Settings{"authentication.x509.clientCAFile": "",
		"authentication.webhook.enabled": false},
		[]int{401, 401, 401, 401, 401, 401, 401, 401})
}

// measure sends GET /pods to a kubelet with each entry of the list "credentials", and compares the statuses of the
// responses with the expected ones. The user kubelet-client has the role system:kubelet-api-admin. If anonymous
// authentication is on, the user system:anonymous has that role too. The service account has no role.
func measure(t *testing.T, name string, configuration kubelet.Settings, statuses []int) {
	t.Run(name, func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		good, err := plane.PKI.CA.Client("kubelet-client", nil)
		expect.NoError(t, err)
		expired, err := plane.PKI.CA.Client("kubelet-client", nil, testcerts.Expired)
		expect.NoError(t, err)
		untrusted, err := plane.PKI.UnknownCA.Client("kubelet-client", nil)
		expect.NoError(t, err)
		token, _ := plane.Token(t, "metrics")
		identities := map[string]kubelet.Credential{
			"none":                                      {},
			"good certificate":                          {Pair: good},
			"certificate of an unknown CA":              {Pair: untrusted},
			"expired certificate":                       {Pair: expired},
			"bad token":                                 {Token: "bad"},
			"service account token":                     {Token: token},
			"good certificate + bad token":              {Pair: good, Token: "bad"},
			"certificate of an unknown CA + good token": {Pair: untrusted, Token: token},
		}
		plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
		anonymous := configuration["authentication.anonymous.enabled"] == true
		if anonymous {
			plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("system:anonymous"))
		}
		k := kubelet.Start(t, plane, kubelet.Options{Settings: configuration})
		for i, credential := range credentials {
			if got := k.Get(t, "/pods", identities[credential]); got.Status != statuses[i] {
				t.Errorf("%s: %d %q, want %d", credential, got.Status, got.Body, statuses[i])
			}
		}
	})
}

// TestServiceAccountToken proves statement 8 of docs/claims.md: a kubelet accepts the tokens of service accounts.
func TestServiceAccountToken(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	k := kubelet.Start(t, plane, kubelet.Options{})
	token, account := plane.Token(t, "metrics-server")
	as := kubelet.Credential{Token: token}
	const user = "system:serviceaccount:default:metrics-server"
	k.Expect(t, "/containerLogs/default/nginx/nginx", as, 403, kubelet.Forbidden(user))
	k.Expect(t, "/pods", as, 403, "Forbidden (user="+user+", verb=get, resource=nodes, subresource(s)=[pods proxy])\n")

	plane.Bind(t, controlplane.KubeletAPIAdmin, account)
	expect.Eventually(t, time.Minute, "the cached denial has expired", func() string {
		if got := k.Get(t, "/containerLogs/default/nginx/nginx", as); got.Status != 200 || got.Body != sample.NginxLog {
			return got.Body
		}
		return ""
	})
	k.Expect(t, "/pods", as, 200, "")
}

// TestKubeletFailsClosedWithoutAPIServer stops kube-apiserver. The kubelet must refuse every request until
// kube-apiserver runs again.
func TestKubeletFailsClosedWithoutAPIServer(t *testing.T) {
	t.Parallel()
	plane := controlplane.New(t, controlplane.WithClientCertificate)
	token, account := plane.Token(t, "metrics-server")
	plane.Bind(t, controlplane.KubeletAPIAdmin, account)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	client, err := plane.PKI.CA.Client("kubelet-client", nil)
	expect.NoError(t, err)
	k := kubelet.Start(t, plane, kubelet.Options{})
	plane.Register(t, k.Node, k.Port, sample.Nginx())
	const path = "/containerLogs/default/nginx/nginx"
	byToken, byCertificate := kubelet.Credential{Token: token}, kubelet.Credential{Pair: client}
	k.Expect(t, path, byToken, 200, sample.NginxLog)
	k.Expect(t, path, byCertificate, 200, sample.NginxLog)

	expect.NoError(t, plane.APIServer.Stop())
	k.Expect(t, path, byToken, 401, "Unauthorized")
	k.Expect(t, path, byCertificate, 500,
		"Authorization error (user=kubelet-client, verb=get, resource=nodes, subresource=proxy)")
	k.Expect(t, path, kubelet.Credential{}, 401, "Unauthorized")

	expect.NoError(t, plane.Start())
	k.Expect(t, path, byToken, 200, sample.NginxLog)
	k.Expect(t, path, byCertificate, 200, sample.NginxLog)
	plane.LogsPrinted(t)
}
