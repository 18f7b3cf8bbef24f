package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/testcerts"
)

// certificateControllers approve and sign.
const certificateControllers = "certificatesigningrequest-signing-controller,certificatesigningrequest-approving-controller"

// startControllerManager starts a kube-controller-manager with these controllers, which signs with the CA of the PKI, for
// that long. It is stopped with the test.
func (c *controlPlane) startControllerManager(t testing.TB, controllers string, signing time.Duration, args ...string) *process {
	t.Helper()
	key := filepath.Join(c.pki.dir, "ca.key")
	must(t, c.pki.ca.Write(filepath.Join(c.pki.dir, "signer.crt"), key))
	return c.startController(t, "kube-controller-manager", append([]string{
		"--controllers=" + controllers, "--cluster-signing-cert-file=" + c.pki.caFile, "--cluster-signing-key-file=" + key,
		"--cluster-signing-duration=" + signing.String(),
	}, args...)...)
}

// startController starts a program of the control plane that is one of the apiserver's clients. It is stopped with the test.
func (c *controlPlane) startController(t testing.TB, name string, args ...string) *process {
	t.Helper()
	port := freePort(t)
	p, err := start(name, binary(t, name), append([]string{
		"--kubeconfig=" + c.kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + t.TempDir(),
	}, args...)...)
	must(t, err)
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		p.tell(t, 0)
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	eventually(t, time.Minute, name+" is healthy", func() string {
		select {
		case <-p.ended:
			t.Fatalf("it has ended: %v\n%s", p.err, p.out.String())
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

// The signers of a node's certificates.
const (
	clientSigner  = certificatesv1.KubeAPIServerClientKubeletSignerName
	servingSigner = certificatesv1.KubeletServingSignerName
)

// requests are a node's CertificateSigningRequests of a signer, oldest first.
func (c *controlPlane) requests(t testing.TB, node, signer string) []certificatesv1.CertificateSigningRequest {
	t.Helper()
	list, err := c.client.CertificatesV1().CertificateSigningRequests().List(context.Background(), metav1.ListOptions{FieldSelector: "spec.signerName=" + signer})
	must(t, err)
	var found []certificatesv1.CertificateSigningRequest
	for _, request := range list.Items {
		if requested(t, request).Subject.CommonName == "system:node:"+node {
			found = append(found, request)
		}
	}
	slices.SortFunc(found, func(a, b certificatesv1.CertificateSigningRequest) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return found
}

// pending waits for a request that nobody has approved yet, and gives the newest.
func (c *controlPlane) pending(t testing.TB, node, signer string) certificatesv1.CertificateSigningRequest {
	t.Helper()
	var found certificatesv1.CertificateSigningRequest
	eventually(t, 2*time.Minute, "a request of "+node+" to "+signer+" is pending", func() string {
		all := c.requests(t, node, signer)
		for i := len(all) - 1; i >= 0; i-- {
			if len(all[i].Status.Conditions) == 0 {
				found = all[i]
				return ""
			}
		}
		return fmt.Sprintf("%d requests, none of them pending", len(all))
	})
	return found
}

func requested(t testing.TB, request certificatesv1.CertificateSigningRequest) *x509.CertificateRequest {
	t.Helper()
	block, _ := pem.Decode(request.Spec.Request)
	content, err := x509.ParseCertificateRequest(block.Bytes)
	must(t, err)
	return content
}

// allow binds a cluster role to a group, until the test ends.
func (c *controlPlane) allow(t testing.TB, role, group string) {
	t.Helper()
	bindings := c.client.RbacV1().ClusterRoleBindings()
	binding, err := bindings.Create(context.Background(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{groupNamed(group)},
	}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, bindings.Delete(context.Background(), binding.Name, metav1.DeleteOptions{})) })
}

// issuedTo reads a certificate and its key from a file as the kubelet keeps them.
func issuedTo(t testing.TB, file string) *x509.Certificate {
	t.Helper()
	pair, err := testcerts.LoadPair(file, file)
	must(t, err)
	return pair.Leaf
}
