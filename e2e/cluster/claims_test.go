package cluster

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

// The tests of this file prove most of the numbered statements of docs/claims.md. Each test provokes the error that
// kubectl prints, applies the remedy, and reads the logs.

func logsURL(port int) string {
	return fmt.Sprintf("https://127.0.0.1:%d/containerLogs/default/nginx/nginx", port)
}

// TestLogsFailWithoutKubelet proves statement 1 of docs/claims.md.
func TestLogsFailWithoutKubelet(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	port := programs.FreePort(t)
	plane.Register(t, "node-1", port, sample.Nginx())
	plane.LogsFail(t, fmt.Sprintf("Error from server: Get %q: dial tcp 127.0.0.1:%d: connect: connection refused",
		logsURL(port), port))

	kubelet.Start(t, plane, kubelet.Options{Port: port})
	plane.LogsPrinted(t)
}

// TestLogsFailWithUnknownServingCA proves statement 2 of docs/claims.md.
func TestLogsFailWithUnknownServingCA(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.VerifyingServingCertificates)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	// The self-signed certificate is valid for the node's name. The node is named like the address that
	// kube-apiserver dials; otherwise kubectl would print an error about the name.
	k := kubelet.Start(t, plane, kubelet.Options{Node: "127.0.0.1"})
	plane.Register(t, k.Node, k.Port, sample.Nginx())
	plane.LogsFail(t,
		fmt.Sprintf("Error from server: Get %q: tls: failed to verify certificate: x509: certificate signed by "+
			"unknown authority",
			logsURL(k.Port)))
	expect.Eventually(t, time.Minute, "the kubelet logs the failed handshake", func() string {
		const words = "remote error: tls: bad certificate"
		if !strings.Contains(k.Out.String(), words) {
			return "no " + words
		}
		return ""
	})

	t.Run("without the flag", func(t *testing.T) {
		trusting := controlplane.Shared(t, controlplane.WithClientCertificate)
		trusting.Register(t, k.Node, k.Port, sample.Nginx())
		trusting.LogsPrinted(t)
	})
	t.Run("with a certificate of the CA", func(t *testing.T) {
		expect.NoError(t, k.Stop())
		kubelet.Start(t, plane, kubelet.Options{Node: k.Node, Port: k.Port, Settings: kubelet.ServingCertificate(t)})
		plane.LogsPrinted(t)
	})
}

// TestLogsFailWithoutIPSAN proves statement 2 of docs/claims.md.
func TestLogsFailWithoutIPSAN(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.VerifyingServingCertificates)
	k := kubelet.Start(t, plane, kubelet.Options{})
	plane.Register(t, k.Node, k.Port, sample.Nginx())
	plane.LogsFail(t,
		fmt.Sprintf("Error from server: Get %q: tls: failed to verify certificate: x509: cannot validate "+
			"certificate for 127.0.0.1 because it doesn't contain any IP SANs",
			logsURL(k.Port)))
}

// TestAnonymousLogsAreForbidden proves statement 3 of docs/claims.md.
func TestAnonymousLogsAreForbidden(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.NoKubeletFlags)
	t.Run("anonymous off", func(t *testing.T) {
		k := kubelet.Start(t, plane, kubelet.Options{})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		plane.LogsFail(t,
			"error: You must be logged in to the server (the server has asked for the client to provide "+
				"credentials ( pods/log nginx))")
	})
	anonymous := kubelet.Settings{"authentication.anonymous.enabled": true}
	t.Run("anonymous on", func(t *testing.T) {
		k := kubelet.Start(t, plane, kubelet.Options{Settings: anonymous})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		plane.LogsFail(t, "Error from server (Forbidden): "+kubelet.Forbidden("system:anonymous")+" ( pods/log nginx)")

		plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("system:anonymous"))
		plane.LogsPrinted(t)
	})
	t.Run("AlwaysAllow", func(t *testing.T) {
		k := kubelet.Start(t, plane,
			kubelet.Options{Settings: kubelet.Settings{"authentication.anonymous.enabled": true,
				"authorization.mode": "AlwaysAllow"}})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		plane.LogsPrinted(t)
	})
}

// TestSecureAndReadOnlyPorts proves statement 4 of docs/claims.md.
func TestSecureAndReadOnlyPorts(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.Settings{"readOnlyPort": programs.FreePort(t)}})
	k.Expect(t, "/pods", kubelet.Credential{}, http.StatusUnauthorized, "Unauthorized")

	plain := func(method, address, path string) kubelet.Response {
		request, err := http.NewRequest(method, "http://"+address+path, nil)
		expect.NoError(t, err)
		return kubelet.Send(t, &http.Transport{DisableKeepAlives: true}, request)
	}
	if got := plain("GET", k.Secure, "/pods"); got.Status != 400 ||
		got.Body != "Client sent an HTTP request to an HTTPS server.\n" {
		t.Errorf("plain HTTP to the secure port: %+v", got)
	}
	if got := plain("GET", k.ReadOnly, "/pods"); got.Status != 200 {
		t.Errorf("/pods of the read-only port: %+v", got)
	}
	for _, path := range []string{"/containerLogs/default/nginx/nginx", "/exec/default/nginx/nginx",
		"/run/default/nginx/nginx", "/attach/default/nginx/nginx", "/portForward/default/nginx"} {
		for _, method := range []string{"GET", "POST"} {
			if got := plain(method, k.ReadOnly, path); got.Status != 405 ||
				got.Body != "Debug endpoints are disabled.\n" {
				t.Errorf("%s %s of the read-only port: %+v", method, path, got)
			}
		}
	}

	off := kubelet.Start(t, plane, kubelet.Options{})
	if off.ReadOnly != "" {
		t.Errorf("the read-only port listens on %s, want it off by default", off.ReadOnly)
	}
}

// TestServingCertificateByHand proves statement 9 of docs/claims.md.
func TestServingCertificateByHand(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.VerifyingServingCertificates)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	if text, ok := programs.OpenSSL(t, "verify", "-CAfile", plane.PKI.CAFile,
		filepath.Join(plane.PKI.Dir, "kubelet-client.crt")); !ok {
		t.Errorf("openssl verify kubelet-client.crt: %s", text)
	}
	k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.ServingCertificate(t)})
	plane.Register(t, k.Node, k.Port, sample.Nginx())
	plane.LogsPrinted(t)
}

// TestSelfSignedByDefault proves statement 10 of docs/claims.md.
func TestSelfSignedByDefault(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	certDir := filepath.Join(t.TempDir(), "pki")
	first := kubelet.Start(t, plane, kubelet.Options{CertDir: certDir})
	cert, key := filepath.Join(certDir, "kubelet.crt"), filepath.Join(certDir, "kubelet.key")
	text, ok := programs.OpenSSL(t, "verify", "-CAfile", plane.PKI.CAFile, cert)
	if ok {
		t.Error("openssl verify kubelet.crt succeeds")
	}
	expect.Contains(t, "openssl verify kubelet.crt", text,
		"error 20 at 0 depth lookup: unable to get local issuer certificate")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubelet.key: %v, %v", info, err)
	}
	plane.Register(t, first.Node, first.Port, sample.Nginx())
	plane.LogsPrinted(t)

	before := expect.File(t, cert) + expect.File(t, key)
	expect.NoError(t, first.Stop())
	kubelet.Start(t, plane, kubelet.Options{CertDir: certDir, Port: first.Port})
	if expect.File(t, cert)+expect.File(t, key) != before {
		t.Error("the restarted kubelet wrote another certificate")
	}
	plane.LogsPrinted(t)
}

// TestUserOfEachCredential proves statement 12 of docs/claims.md.
func TestUserOfEachCredential(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.Settings{"authentication.anonymous.enabled": true}})
	const path = "/containerLogs/default/nginx/nginx"
	viewer, err := plane.PKI.CA.Client("viewer", []string{"watchers", "readers"})
	expect.NoError(t, err)
	token, account := plane.Token(t, "prometheus")
	k.Expect(t, path, kubelet.Credential{Pair: viewer}, 403, kubelet.Forbidden("viewer"))
	k.Expect(t, path, kubelet.Credential{Token: token}, 403,
		kubelet.Forbidden("system:serviceaccount:default:prometheus"))
	k.Expect(t, path, kubelet.Credential{}, 403, kubelet.Forbidden("system:anonymous"))

	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.Group("readers"))
	k.Expect(t, path, kubelet.Credential{Pair: viewer}, 200, sample.NginxLog)
	plane.Bind(t, controlplane.KubeletAPIAdmin, account)
	k.Expect(t, path, kubelet.Credential{Token: token}, 200, sample.NginxLog)
	k.Expect(t, path, kubelet.Credential{}, 403, kubelet.Forbidden("system:anonymous"))
}

// TestBindingFixesForbidden proves statement 13 of docs/claims.md.
func TestBindingFixesForbidden(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	k := kubelet.Start(t, plane, kubelet.Options{})
	plane.Register(t, k.Node, k.Port, sample.Nginx())
	plane.LogsFail(t, "Error from server (Forbidden): "+kubelet.Forbidden("kubelet-client")+" ( pods/log nginx)")

	cure := []string{"create", "clusterrolebinding", "kubelet-client", "--clusterrole=" + controlplane.KubeletAPIAdmin,
		"--user=kubelet-client"}
	if got := plane.Kubectl(t, cure...); got.Status != 0 {
		t.Fatalf("kubectl %v: %+v", cure, got)
	}
	t.Cleanup(func() {
		plane.Kubectl(t, "delete", "clusterrolebinding", "kubelet-client")
		plane.AwaitAccess(t, controlplane.User("kubelet-client"), false)
	})
	plane.AwaitAccess(t, controlplane.User("kubelet-client"), true)
	expect.Eventually(t, time.Minute, "kubectl logs", func() string { return plane.Kubectl(t, "logs", "nginx").Stderr })
	plane.LogsPrinted(t)
}

// TestDenialIsCached proves statement 13 of docs/claims.md.
func TestDenialIsCached(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	k := kubelet.Start(t, plane,
		kubelet.Options{Settings: kubelet.Settings{"authorization.webhook.cacheUnauthorizedTTL": "1h"}})
	plane.Register(t, k.Node, k.Port, sample.Nginx())
	words := "Error from server (Forbidden): " + kubelet.Forbidden("kubelet-client") + " ( pods/log nginx)"
	plane.LogsFail(t, words)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	plane.LogsFail(t, words)
}

// TestRecipes proves statement 14 of docs/claims.md.
func TestRecipes(t *testing.T) {
	t.Parallel()
	t.Run("development", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.NoKubeletFlags)
		k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.Settings{
			"authentication.anonymous.enabled": true, "authentication.webhook.enabled": false,
			"authorization.mode": "AlwaysAllow",
		}})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		plane.LogsPrinted(t)
		k.Expect(t, "/pods", kubelet.Credential{}, 200, "")
	})
	// A serving certificate that the node requests from the cluster is tested by TestBootstrap in package node.
	t.Run("production", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.VerifyingServingCertificates)
		plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
		hardened := kubelet.ServingCertificate(t)
		hardened["authentication.anonymous.enabled"] = false
		hardened["authentication.webhook.enabled"] = true
		hardened["authorization.mode"] = "Webhook"
		hardened["readOnlyPort"] = 0
		k := kubelet.Start(t, plane, kubelet.Options{Settings: hardened})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		plane.LogsPrinted(t)
		k.Expect(t, "/pods", kubelet.Credential{}, 401, "Unauthorized")
	})
}

// TestRemovedFlags proves statement 15 of docs/claims.md: kube-apiserver no longer has the flag --kubelet-https,
// because it always uses TLS to connect to kubelets.
func TestRemovedFlags(t *testing.T) {
	t.Parallel()
	p, err := programs.Start("kube-apiserver", programs.Path(t, programs.APIServer()), "--kubelet-https=false")
	expect.NoError(t, err)
	<-p.Ended
	expect.Contains(t, "kube-apiserver", p.Out.String(), "unknown flag: --kubelet-https")
}
