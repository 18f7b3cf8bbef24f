package controlplane

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/expect"
	"fauxlet/testcerts"
)

// These are the signers of a node's client certificate and serving certificate.
const (
	ClientSigner  = certificatesv1.KubeAPIServerClientKubeletSignerName
	ServingSigner = certificatesv1.KubeletServingSignerName
)

// CertificateRequests returns the certificate requests that a node sent to a signer, oldest first.
func (c *Plane) CertificateRequests(t testing.TB, node, signer string) []certificatesv1.CertificateSigningRequest {
	t.Helper()
	list, err := c.Client.CertificatesV1().CertificateSigningRequests().List(context.Background(),
		metav1.ListOptions{FieldSelector: "spec.signerName=" + signer})
	expect.NoError(t, err)
	var found []certificatesv1.CertificateSigningRequest
	for _, request := range list.Items {
		if ParseRequest(t, request).Subject.CommonName == "system:node:"+node {
			found = append(found, request)
		}
	}
	slices.SortFunc(found, func(a, b certificatesv1.CertificateSigningRequest) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return found
}

// PendingRequest waits until a node has a certificate request that is neither approved nor denied. It returns the
// newest pending request.
func (c *Plane) PendingRequest(t testing.TB, node, signer string) certificatesv1.CertificateSigningRequest {
	t.Helper()
	var found certificatesv1.CertificateSigningRequest
	expect.Eventually(t, 2*time.Minute, "a request of "+node+" to "+signer+" is pending", func() string {
		all := c.CertificateRequests(t, node, signer)
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

// ParseRequest parses the certificate request in a CertificateSigningRequest.
func ParseRequest(t testing.TB, request certificatesv1.CertificateSigningRequest) *x509.CertificateRequest {
	t.Helper()
	block, _ := pem.Decode(request.Spec.Request)
	content, err := x509.ParseCertificateRequest(block.Bytes)
	expect.NoError(t, err)
	return content
}

// ReadCertificate reads the first certificate from a file. A kubelet stores a certificate and its key in one such
// file.
func ReadCertificate(t testing.TB, file string) *x509.Certificate {
	t.Helper()
	pair, err := testcerts.LoadPair(file, file)
	expect.NoError(t, err)
	return pair.Leaf
}
