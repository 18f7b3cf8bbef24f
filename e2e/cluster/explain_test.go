package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// TestExplainAgreesWithKubelet compares what fauxlet explain predicts for a configuration with the response of a
// running kubelet that has the same configuration. Both send their reviews to a real kube-apiserver.
func TestExplainAgreesWithKubelet(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	k := kubelet.Start(t, plane, kubelet.Options{})
	secret, account := plane.Token(t, "scraper")
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	expect.NoError(t, os.WriteFile(token, []byte(secret), 0o600))
	untrusted, err := plane.PKI.UnknownCA.Client("kubelet-client", nil)
	expect.NoError(t, err)
	untrustedFile := filepath.Join(dir, "unknown-ca.crt")
	expect.NoError(t, os.WriteFile(untrustedFile, untrusted.CertPEM, 0o644))

	const path = "/containerLogs/default/nginx/nginx"
	explained := func(as kubelet.Credential, status, code int, verdict string, args ...string) {
		t.Helper()
		k.Expect(t, path, as, status, "")
		line := "fauxlet explain --config " + filepath.Join(k.Dir, "kubelet.yaml") + " --kubeconfig " +
			filepath.Join(k.Dir, "kubeconfig") + " --hostname-override node-1"
		for _, arg := range args {
			line += " " + arg
		}
		got := programs.Run(t, shell(t, plane, line+" "+path))
		if got.Status != code {
			t.Errorf("%s: %+v, want exit code %d", line, got, code)
		}
		expect.Contains(t, line, got.Stdout, "\n"+verdict)
	}
	forbidden := `refused (403): user "system:serviceaccount:default:scraper" may not get nodes/proxy`
	explained(kubelet.Credential{Token: secret}, 403, 1, forbidden, "--token-file", token)
	explained(kubelet.Credential{Token: "nonsense"}, 401, 1, "refused (401): the TokenReview of token ", "--bad-token")
	explained(kubelet.Credential{Pair: untrusted}, 401, 1,
		`refused (401): certificate signed by unknown authority "unknown-ca"`, "--client-cert", untrustedFile)
	explained(kubelet.Credential{}, 401, 1, "refused (401): no client certificate was presented", "")

	plane.Bind(t, controlplane.KubeletAPIAdmin, account)
	explained(kubelet.Credential{Token: secret}, 200, 0,
		`allowed (200): user "system:serviceaccount:default:scraper" may get nodes/proxy`, "--token-file", token)
}
