package controlplane

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// CertificateControllers lists two controllers: one approves the certificate requests of nodes for client
// certificates, the other signs all approved requests.
const CertificateControllers = "certificatesigningrequest-signing-controller," +
	"certificatesigningrequest-approving-controller"

// StartControllerManager starts a kube-controller-manager that runs the named controllers. It signs certificates with
// the CA of the PKI, and they are valid for the given duration. The process is stopped when the test ends.
func (c *Plane) StartControllerManager(t testing.TB, controllers string, signing time.Duration,
	args ...string) *programs.Process {
	t.Helper()
	return c.StartController(t, "kube-controller-manager", append([]string{
		"--controllers=" + controllers, "--cluster-signing-cert-file=" + c.PKI.CAFile,
		"--cluster-signing-key-file=" + c.PKI.CAKeyFile,
		"--cluster-signing-duration=" + signing.String(),
	}, args...)...)
}

// StartController starts a component of the control plane, such as kube-scheduler, and waits until the component is
// healthy. The component is stopped when the test ends.
func (c *Plane) StartController(t testing.TB, name string, args ...string) *programs.Process {
	t.Helper()
	port := programs.FreePort(t)
	p, err := programs.Start(name, programs.Path(t, name), append([]string{
		"--kubeconfig=" + c.Kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + t.TempDir(),
	}, args...)...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		p.LogOnFailure(t, 0)
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true}}
	expect.Eventually(t, time.Minute, name+" is healthy", func() string {
		select {
		case <-p.Ended:
			t.Fatalf("%s has ended: %v\n%s", name, p.Err, p.Out.String())
		default:
		}
		answer, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/healthz", port))
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return answer.Status
		}
		return ""
	})
	return p
}
