package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

// The claims are those of the article on why `kubectl logs` fails: each test shows the failure in kubectl's words, then
// the cure, then the logs.

func logsURL(port int) string {
	return fmt.Sprintf("https://127.0.0.1:%d/containerLogs/default/nginx/nginx", port)
}

func TestClaim01ConnectionRefused(t *testing.T) {
	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	port := freePort(t)
	plane.register(t, "node-1", port, nginx())
	plane.refuses(t, fmt.Sprintf("Error from server: Get %q: dial tcp 127.0.0.1:%d: connect: connection refused", logsURL(port), port))

	startKubelet(t, plane, kubeletOptions{port: port})
	plane.printsLogs(t)
}

func TestClaim02UnknownAuthority(t *testing.T) {
	plane := withFlags(t, verifying)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	// The self-signed certificate is for the node's name: with another name than the address that the apiserver dials, the
	// name would be what it complains of.
	k := startKubelet(t, plane, kubeletOptions{node: "127.0.0.1"})
	plane.register(t, k.node, k.port, nginx())
	plane.refuses(t, fmt.Sprintf("Error from server: Get %q: tls: failed to verify certificate: x509: certificate signed by unknown authority", logsURL(k.port)))
	eventually(t, time.Minute, "the kubelet tells of the failed handshake", func() string {
		const words = "remote error: tls: bad certificate"
		if !strings.Contains(k.out.String(), words) {
			return "no " + words
		}
		return ""
	})

	t.Run("without the flag", func(t *testing.T) {
		trusting := withFlags(t, certified)
		trusting.register(t, k.node, k.port, nginx())
		trusting.printsLogs(t)
	})
	t.Run("with a certificate of the CA", func(t *testing.T) {
		must(t, k.stop())
		startKubelet(t, plane, kubeletOptions{node: k.node, port: k.port, settings: servingCertificate(t)})
		plane.printsLogs(t)
	})
}

func TestClaim02NoIPSAN(t *testing.T) {
	plane := withFlags(t, verifying)
	k := startKubelet(t, plane, kubeletOptions{})
	plane.register(t, k.node, k.port, nginx())
	plane.refuses(t, fmt.Sprintf("Error from server: Get %q: tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs", logsURL(k.port)))
}

// servingCertificate has the kubelet serve a certificate of the cluster's CA.
func servingCertificate(t testing.TB) settings {
	t.Helper()
	p, err := certificates()
	must(t, err)
	cert, key, err := p.pair("kubelet-server", func() (*testcerts.Pair, error) {
		return p.ca.Server("system:node:node-1", []string{"127.0.0.1"})
	})
	must(t, err)
	return settings{"tlsCertFile": cert, "tlsPrivateKeyFile": key}
}

func TestClaim03AnonymousIsStillForbidden(t *testing.T) {
	plane := withFlags(t, bare)
	t.Run("anonymous off", func(t *testing.T) {
		k := startKubelet(t, plane, kubeletOptions{})
		plane.register(t, k.node, k.port, nginx())
		plane.refuses(t, "error: You must be logged in to the server (the server has asked for the client to provide credentials ( pods/log nginx))")
	})
	anonymous := settings{"authentication.anonymous.enabled": true}
	t.Run("anonymous on", func(t *testing.T) {
		k := startKubelet(t, plane, kubeletOptions{settings: anonymous})
		plane.register(t, k.node, k.port, nginx())
		plane.refuses(t, "Error from server (Forbidden): "+forbidden("system:anonymous")+" ( pods/log nginx)")

		plane.bind(t, kubeletAPIAdmin, userNamed("system:anonymous"))
		plane.printsLogs(t)
	})
	t.Run("AlwaysAllow", func(t *testing.T) {
		k := startKubelet(t, plane, kubeletOptions{settings: settings{"authentication.anonymous.enabled": true, "authorization.mode": "AlwaysAllow"}})
		plane.register(t, k.node, k.port, nginx())
		plane.printsLogs(t)
	})
}

func TestClaim04TheTwoPorts(t *testing.T) {
	plane := withFlags(t, certified)
	k := startKubelet(t, plane, kubeletOptions{settings: settings{"readOnlyPort": freePort(t)}})
	k.wants(t, "/pods", identity{}, http.StatusUnauthorized, "Unauthorized")

	plain := func(method, address, path string) answer {
		request, err := http.NewRequest(method, "http://"+address+path, nil)
		must(t, err)
		return send(t, &http.Transport{DisableKeepAlives: true}, request)
	}
	if got := plain("GET", k.secure, "/pods"); got.status != 400 || got.body != "Client sent an HTTP request to an HTTPS server.\n" {
		t.Errorf("plain HTTP to the secure port: %+v", got)
	}
	if got := plain("GET", k.readOnly, "/pods"); got.status != 200 {
		t.Errorf("/pods of the read-only port: %+v", got)
	}
	for _, path := range []string{"/containerLogs/default/nginx/nginx", "/exec/default/nginx/nginx", "/run/default/nginx/nginx", "/attach/default/nginx/nginx", "/portForward/default/nginx"} {
		for _, method := range []string{"GET", "POST"} {
			if got := plain(method, k.readOnly, path); got.status != 405 || got.body != "Debug endpoints are disabled.\n" {
				t.Errorf("%s %s of the read-only port: %+v", method, path, got)
			}
		}
	}

	off := startKubelet(t, plane, kubeletOptions{})
	if off.readOnly != "" {
		t.Errorf("the read-only port listens on %s without being asked for", off.readOnly)
	}
}

func TestClaim09ServingCertificateByHand(t *testing.T) {
	plane := withFlags(t, verifying)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	if text, ok := openssl(t, "verify", "-CAfile", plane.pki.caFile, filepath.Join(plane.pki.dir, "kubelet-client.crt")); !ok {
		t.Errorf("openssl verify kubelet-client.crt: %s", text)
	}
	k := startKubelet(t, plane, kubeletOptions{settings: servingCertificate(t)})
	plane.register(t, k.node, k.port, nginx())
	plane.printsLogs(t)
}

func TestClaim10SelfSignedByDefault(t *testing.T) {
	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	certDir := filepath.Join(t.TempDir(), "pki")
	first := startKubelet(t, plane, kubeletOptions{certDir: certDir})
	cert, key := filepath.Join(certDir, "kubelet.crt"), filepath.Join(certDir, "kubelet.key")
	text, ok := openssl(t, "verify", "-CAfile", plane.pki.caFile, cert)
	if ok {
		t.Error("openssl verify kubelet.crt succeeds")
	}
	contains(t, "openssl verify kubelet.crt", text, "error 20 at 0 depth lookup: unable to get local issuer certificate")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubelet.key: %v, %v", info, err)
	}
	plane.register(t, first.node, first.port, nginx())
	plane.printsLogs(t)

	before := content(t, cert) + content(t, key)
	must(t, first.stop())
	startKubelet(t, plane, kubeletOptions{certDir: certDir, port: first.port})
	if content(t, cert)+content(t, key) != before {
		t.Error("the next start made another certificate")
	}
	plane.printsLogs(t)
}

func TestClaim12WhoIsWho(t *testing.T) {
	plane := withFlags(t, certified)
	k := startKubelet(t, plane, kubeletOptions{settings: settings{"authentication.anonymous.enabled": true}})
	const path = "/containerLogs/default/nginx/nginx"
	viewer, err := plane.pki.ca.Client("viewer", []string{"watchers", "readers"})
	must(t, err)
	token, account := plane.token(t, "prometheus")
	k.wants(t, path, identity{pair: viewer}, 403, forbidden("viewer"))
	k.wants(t, path, identity{token: token}, 403, forbidden("system:serviceaccount:default:prometheus"))
	k.wants(t, path, identity{}, 403, forbidden("system:anonymous"))

	plane.bind(t, kubeletAPIAdmin, groupNamed("readers"))
	k.wants(t, path, identity{pair: viewer}, 200, nginxLog)
	plane.bind(t, kubeletAPIAdmin, account)
	k.wants(t, path, identity{token: token}, 200, nginxLog)
	k.wants(t, path, identity{}, 403, forbidden("system:anonymous"))
}

func TestClaim13WebhookAsksRBAC(t *testing.T) {
	plane := withFlags(t, certified)
	k := startKubelet(t, plane, kubeletOptions{})
	plane.register(t, k.node, k.port, nginx())
	plane.refuses(t, "Error from server (Forbidden): "+forbidden("kubelet-client")+" ( pods/log nginx)")

	cure := []string{"create", "clusterrolebinding", "kubelet-client", "--clusterrole=" + kubeletAPIAdmin, "--user=kubelet-client"}
	if got := plane.kubectl(t, cure...); got.status != 0 {
		t.Fatalf("kubectl %v: %+v", cure, got)
	}
	t.Cleanup(func() {
		plane.kubectl(t, "delete", "clusterrolebinding", "kubelet-client")
		plane.awaitAccess(t, userNamed("kubelet-client"), false)
	})
	plane.awaitAccess(t, userNamed("kubelet-client"), true)
	eventually(t, time.Minute, "kubectl logs", func() string { return plane.kubectl(t, "logs", "nginx").stderr })
	plane.printsLogs(t)
}

func TestClaim13ADenialIsCached(t *testing.T) {
	plane := withFlags(t, certified)
	k := startKubelet(t, plane, kubeletOptions{settings: settings{"authorization.webhook.cacheUnauthorizedTTL": "1h"}})
	plane.register(t, k.node, k.port, nginx())
	words := "Error from server (Forbidden): " + forbidden("kubelet-client") + " ( pods/log nginx)"
	plane.refuses(t, words)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	plane.refuses(t, words)
}

func TestClaim14Recipes(t *testing.T) {
	t.Run("development", func(t *testing.T) {
		plane := withFlags(t, bare)
		k := startKubelet(t, plane, kubeletOptions{settings: settings{
			"authentication.anonymous.enabled": true, "authentication.webhook.enabled": false, "authorization.mode": "AlwaysAllow",
		}})
		plane.register(t, k.node, k.port, nginx())
		plane.printsLogs(t)
		k.wants(t, "/pods", identity{}, 200, "")
	})
	// The serving certificate is given by hand: its bootstrap is a claim of its own.
	t.Run("production", func(t *testing.T) {
		plane := withFlags(t, verifying)
		plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
		hardened := servingCertificate(t)
		hardened["authentication.anonymous.enabled"] = false
		hardened["authentication.webhook.enabled"] = true
		hardened["authorization.mode"] = "Webhook"
		hardened["readOnlyPort"] = 0
		k := startKubelet(t, plane, kubeletOptions{settings: hardened})
		plane.register(t, k.node, k.port, nginx())
		plane.printsLogs(t)
		k.wants(t, "/pods", identity{}, 401, "Unauthorized")
	})
}
