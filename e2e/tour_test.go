package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

// tourCommand is a tour through the apiserver, in a folder of its own, with kubectl on its PATH.
func (c *controlPlane) tourCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Symlink(binary(t, "kubectl"), filepath.Join(dir, "kubectl")))
	cmd := exec.Command(binary(t, "fauxlet"), append([]string{"demo", "--tour", "--yes", "--trace-address=", "--kubeconfig", c.kubeconfig, "--dir", filepath.Join(dir, "demo")}, args...)...)
	cmd.Env = []string{"HOME=" + scratch, "PATH=" + dir}
	return cmd
}

// midTour starts a tour, and waits until a scene has begun.
func (c *controlPlane) midTour(t testing.TB, scene string, args ...string) *background {
	t.Helper()
	b := &background{Cmd: c.tourCommand(t, args...)}
	b.Stdout, b.Stderr = &b.stdout, &b.stderr
	must(t, b.Start())
	t.Cleanup(func() { _ = b.Process.Kill() })
	eventually(t, time.Minute, "the tour is at "+scene, func() string {
		if !strings.Contains(b.stdout.String(), scene) {
			return "it said: " + b.stdout.String() + b.stderr.String()
		}
		return ""
	})
	return b
}

// TestTour takes the tour through an apiserver that does not verify kubelets and through one that does, and looks what kubectl
// says in each scene, and what is left in the cluster.
func TestTour(t *testing.T) {
	const (
		unauthorized = `Happened  error: You must be logged in to the server (the server has asked for the client to provide credentials ( pods/log `
		callerMay    = `Kubelet   200, allowed: user "kubelet-client" may get nodes/proxy: RBAC: allowed by ClusterRoleBinding`
	)
	for _, test := range []struct {
		name         string
		flags        []string
		args         func(testing.TB, *controlPlane) []string
		yours, scene string
	}{
		{
			"not verified", certified, func(testing.TB, *controlPlane) []string { return nil },
			"does not verify their serving certificates (no --kubelet-certificate-authority)", callerMay,
		},
		{
			"verified", verifying, func(t testing.TB, c *controlPlane) []string { return c.pki.servingCA(t) },
			"verifies their serving certificates (--kubelet-certificate-authority)",
			"cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs Kubelet   refused: TLS handshake failed: the client does not accept the serving certificate",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			plane := withFlags(t, test.flags)
			plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
			before := plane.objects(t)
			got := run(t, plane.tourCommand(t, test.args(t, plane)...))
			if got.status != 0 || got.stderr != "" {
				t.Fatalf("status %d\n%s\n%s", got.status, got.stdout, got.stderr)
			}
			plane.leaves(t, before)

			parts := regexp.MustCompile(`(?m)^\d+ of 11  `).Split(got.stdout, -1)
			if len(parts) != 12 {
				t.Fatalf("%d scenes\n%s", len(parts)-1, got.stdout)
			}
			for i, wanted := range [][]string{
				{`comes to the stand-ins as "kubelet-client", by a certificate that`, test.yours},
				{"Connection refused", "dial tcp 127.0.0.1:", "connect: connection refused"},
				{"Unknown authority", test.scene, "--insecure-skip-tls-verify-backend Expected  the log", callerMay},
				{"A stranger's certificate", unauthorized, "Kubelet   401, refused: certificate signed by unknown authority", callerMay},
				{"No credential", unauthorized, "Kubelet   401, refused: no client certificate was presented"},
				{"Anonymous on", "Happened  Error from server (Forbidden): Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[proxy]) ( pods/log ", `Kubelet   403, refused: user "system:anonymous" may not get nodes/proxy`},
				{"A token", "Happened  200, allowed: user \"system:serviceaccount:fauxlet-tour-", "may get nodes/metrics: RBAC: allowed by ClusterRoleBinding", "Happened  403, refused", "Happened  401, refused: no client certificate was presented; the bearer token was not read"},
				{"The order of the chain", callerMay, `:viewer" may not get nodes/proxy`, "says: invalid bearer token", `Happened  403, refused: user "system:anonymous" may not get nodes/proxy`},
				{"Forbidden, and", `Happened  403, refused`, "We bind   the service account viewer to nodes/proxy, of this Node alone", `Happened  200, allowed`},
				{"Caches", "may not get nodes/proxy (remembered: nobody was asked again)", `Happened  200, allowed`},
				{"The read-only port", "Happened  200, and nobody was asked", "Happened  405, and nobody was asked"},
				{"Two recipes", `Kubelet   200, allowed: user "system:anonymous" may get nodes/proxy`, callerMay, "anonymous authentication is off", "11 scenes, 26 requests, and each ended as it was said to.", "All that the tour has made in the cluster is removed."},
			} {
				rest := strings.Join(strings.Fields(parts[i]), " ")
				for _, want := range wanted { // in this order
					_, after, ok := strings.Cut(rest, strings.Join(strings.Fields(want), " "))
					if !ok {
						t.Errorf("scene %d has no %q where it should:\n%s", i, want, parts[i])
						break
					}
					rest = after
				}
			}
			for _, secret := range []string{"eyJ", "PRIVATE KEY"} {
				if strings.Contains(got.stdout, secret) {
					t.Errorf("%.10q… is in what was printed", secret)
				}
			}
		})
	}
}

// TestTourCannot has what keeps the scenes from ending as they say, and wants to be told, and that nothing is left.
func TestTourCannot(t *testing.T) {
	ca, err := testcerts.NewAuthority("other")
	must(t, err)
	other := filepath.Join(t.TempDir(), "other.crt")
	must(t, os.WriteFile(other, ca.CertPEM(), 0o644))
	for _, test := range []struct {
		name  string
		flags []string
		bound bool
		args  []string
		want  string
	}{
		{"no client certificate", bare, false, nil, "the kube-apiserver shows no client certificate, and so there is nobody to tell from a stranger: set its --kubelet-client-certificate and --kubelet-client-key"},
		{"no rights", certified, false, nil, "kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=kubelet-client\n"},
		{"a serving CA is wanted", verifying, true, nil, "give the CA that signs the kubelets' by --serving-ca-file and --serving-ca-key-file, or have one issued by --approve-serving-certificate. kubectl says: Error from server: Get "},
		{"another CA of clients", certified, true, []string{"--client-ca", other}, "does not vouch for the kube-apiserver's client certificate \"CN=kubelet-client\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			plane := withFlags(t, test.flags)
			if test.bound {
				plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
			}
			before := plane.objects(t)
			got := run(t, plane.tourCommand(t, test.args...))
			if got.status != 1 || !strings.HasPrefix(got.stderr, "fauxlet: ") || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stdout, "1 of 11") {
				t.Errorf("%+v, want %q and no scene", got, test.want)
			}
			plane.leaves(t, before)
		})
	}

	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	before := plane.objects(t)
	b := plane.midTour(t, "7 of 11")
	must(t, b.Process.Signal(os.Interrupt))
	if got := b.end(t); got.status != 1 || !strings.Contains(got.stderr, "interrupt signal received") || !strings.Contains(got.stdout, "All that the tour has made in the cluster is removed.") {
		t.Errorf("interrupted: %+v", got)
	}
	plane.leaves(t, before)
}
