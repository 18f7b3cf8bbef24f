package e2e

import (
	"testing"
	"time"

	"fauxlet/testcerts"
)

// credentials are the rows of the measured table.
var credentials = []string{
	"none", "good certificate", "stranger's certificate", "expired certificate", "bad token", "service account token",
	"good certificate + bad token", "stranger's certificate + good token",
}

// TestClaim06AnonymousIsTheLastResort and TestClaim07CertificateThenToken are the table's columns: what GET /pods is
// answered, in the order of credentials.
func TestClaim06AnonymousIsTheLastResort(t *testing.T) {
	measure(t, "webhook on, anonymous on, Webhook", settings{"authentication.anonymous.enabled": true},
		[]int{200, 200, 401, 401, 401, 403, 200, 403})
	measure(t, "webhook off, anonymous on, Webhook", settings{"authentication.anonymous.enabled": true, "authentication.webhook.enabled": false},
		[]int{200, 200, 401, 401, 200, 200, 200, 401})
}

func TestClaim07CertificateThenToken(t *testing.T) {
	measure(t, "webhook on, anonymous off, Webhook", settings{},
		[]int{401, 200, 401, 401, 401, 403, 200, 403})
	measure(t, "webhook on, anonymous off, AlwaysAllow", settings{"authorization.mode": "AlwaysAllow"},
		[]int{401, 200, 401, 401, 401, 200, 200, 200})
	measure(t, "no method at all", settings{"authentication.x509.clientCAFile": "", "authentication.webhook.enabled": false},
		[]int{401, 401, 401, 401, 401, 401, 401, 401})
}

// measure asks with every credential. kubelet-client is bound to system:kubelet-api-admin and, where anonymous is on, so
// is system:anonymous; the service account is bound to nothing.
func measure(t *testing.T, name string, configuration settings, statuses []int) {
	t.Run(name, func(t *testing.T) {
		plane := withFlags(t, certified)
		good, err := plane.pki.ca.Client("kubelet-client", nil)
		must(t, err)
		expired, err := plane.pki.ca.Client("kubelet-client", nil, testcerts.Expired)
		must(t, err)
		stranger, err := plane.pki.strangerCA.Client("kubelet-client", nil)
		must(t, err)
		token, _ := plane.token(t, "metrics")
		identities := map[string]identity{
			"none":                                {},
			"good certificate":                    {pair: good},
			"stranger's certificate":              {pair: stranger},
			"expired certificate":                 {pair: expired},
			"bad token":                           {token: "bad"},
			"service account token":               {token: token},
			"good certificate + bad token":        {pair: good, token: "bad"},
			"stranger's certificate + good token": {pair: stranger, token: token},
		}
		plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
		anonymous := configuration["authentication.anonymous.enabled"] == true
		if anonymous {
			plane.bind(t, kubeletAPIAdmin, userNamed("system:anonymous"))
		}
		k := startKubelet(t, plane, kubeletOptions{settings: configuration})
		for i, credential := range credentials {
			if got := k.get(t, "/pods", identities[credential]); got.status != statuses[i] {
				t.Errorf("%s: %d %q, want %d", credential, got.status, got.body, statuses[i])
			}
		}
	})
}

func TestServiceAccountTokenAgainstTheKubelet(t *testing.T) {
	plane := withFlags(t, certified)
	k := startKubelet(t, plane, kubeletOptions{})
	token, account := plane.token(t, "metrics-server")
	as := identity{token: token}
	const user = "system:serviceaccount:default:metrics-server"
	k.wants(t, "/containerLogs/default/nginx/nginx", as, 403, forbidden(user))
	k.wants(t, "/pods", as, 403, "Forbidden (user="+user+", verb=get, resource=nodes, subresource(s)=[pods proxy])\n")

	plane.bind(t, kubeletAPIAdmin, account)
	eventually(t, time.Minute, "the cached denial is over", func() string {
		if got := k.get(t, "/containerLogs/default/nginx/nginx", as); got.status != 200 || got.body != nginxLog {
			return got.body
		}
		return ""
	})
	k.wants(t, "/pods", as, 200, "")
}

func TestTheApiserverGoesAwayAndComesBack(t *testing.T) {
	plane := newControlPlane(t, certified)
	t.Cleanup(func() { plane.apiserver.tell(t, 0) })
	token, account := plane.token(t, "metrics-server")
	plane.bind(t, kubeletAPIAdmin, account)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	client, err := plane.pki.ca.Client("kubelet-client", nil)
	must(t, err)
	k := startKubelet(t, plane, kubeletOptions{})
	plane.register(t, k.node, k.port, nginx())
	const path = "/containerLogs/default/nginx/nginx"
	byToken, byCertificate := identity{token: token}, identity{pair: client}
	k.wants(t, path, byToken, 200, nginxLog)
	k.wants(t, path, byCertificate, 200, nginxLog)

	must(t, plane.apiserver.stop())
	k.wants(t, path, byToken, 401, "Unauthorized")
	k.wants(t, path, byCertificate, 500, "Authorization error (user=kubelet-client, verb=get, resource=nodes, subresource=proxy)")
	k.wants(t, path, identity{}, 401, "Unauthorized")

	must(t, plane.start())
	k.wants(t, path, byToken, 200, nginxLog)
	k.wants(t, path, byCertificate, 200, nginxLog)
	plane.printsLogs(t)
}
