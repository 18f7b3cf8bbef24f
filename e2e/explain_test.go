package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestExplainAsksTheCluster: what fauxlet explain says of a kubelet that does not run, with reviews that a real apiserver
// answers, is what that kubelet answers when it runs.
func TestExplainAsksTheCluster(t *testing.T) {
	plane := withFlags(t, certified)
	k := startKubelet(t, plane, kubeletOptions{})
	secret, account := plane.token(t, "scraper")
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	must(t, os.WriteFile(token, []byte(secret), 0o600))
	stranger, err := plane.pki.strangerCA.Client("kubelet-client", nil)
	must(t, err)
	strangers := filepath.Join(dir, "stranger.crt")
	must(t, os.WriteFile(strangers, stranger.CertPEM, 0o644))

	const path = "/containerLogs/default/nginx/nginx"
	explained := func(as identity, status, code int, verdict string, args ...string) {
		t.Helper()
		k.wants(t, path, as, status, "")
		line := "fauxlet explain --config " + filepath.Join(k.dir, "kubelet.yaml") + " --kubeconfig " + filepath.Join(k.dir, "kubeconfig") + " --hostname-override node-1"
		for _, arg := range args {
			line += " " + arg
		}
		got := run(t, shell(t, plane, line+" "+path))
		if got.status != code {
			t.Errorf("%s: %+v, want exit code %d", line, got, code)
		}
		contains(t, line, got.stdout, "\n"+verdict)
	}
	forbidden := `refused (403): user "system:serviceaccount:default:scraper" may not get nodes/proxy`
	explained(identity{token: secret}, 403, 1, forbidden, "--token-file", token)
	explained(identity{token: "nonsense"}, 401, 1, "refused (401): the TokenReview of token ", "--bad-token")
	explained(identity{pair: stranger}, 401, 1, `refused (401): certificate signed by unknown authority "stranger"`, "--client-cert", strangers)
	explained(identity{}, 401, 1, "refused (401): no client certificate was presented", "")

	plane.bind(t, kubeletAPIAdmin, account)
	explained(identity{token: secret}, 200, 0, `allowed (200): user "system:serviceaccount:default:scraper" may get nodes/proxy`, "--token-file", token)
}
