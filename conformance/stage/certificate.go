package stage

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/ptr"

	"fauxlet/testcerts"
)

// signerTimeout is the time that the signer has to issue a certificate after the approval of the request.
const signerTimeout = 15 * time.Second

// ServingCertificateLifetime is how long a run's serving certificates are valid after they are signed. A certificate
// that the run signs itself is also valid for the same time before that, because clocks differ.
const ServingCertificateLifetime = time.Hour

// ErrNotIssued means that the cluster has no signer for kubelet serving certificates, or that the signer failed.
var ErrNotIssued = errors.New("the cluster issued no usable serving certificate")

// CreateRequest creates a CertificateSigningRequest with the credential of the given client. The name must be Name, or
// the result of NodeName. The certificate is valid for ServingCertificateLifetime.
func (s *Stage) CreateRequest(
	ctx context.Context, client kubernetes.Interface, name string, spec certificatesv1.CertificateSigningRequestSpec,
) (*certificatesv1.CertificateSigningRequest, error) {
	spec.ExpirationSeconds = ptr.To(int32(ServingCertificateLifetime / time.Second))
	return create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: s.labels()}, Spec: spec,
	}, client.CertificatesV1().CertificateSigningRequests().Create)
}

// IssueServingCertificate obtains a serving certificate for a Node and its hosts from the cluster's own signer. It
// creates a CertificateSigningRequest, approves it, and waits for the certificate.
func (s *Stage) IssueServingCertificate(ctx context.Context, node string, hosts []string) (*testcerts.Pair, error) {
	keyPEM, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return nil, err
	}
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, err
	}
	var names []string
	var ips []net.IP
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			ips = append(ips, ip)
		} else {
			names = append(names, host)
		}
	}
	// The signer of serving certificates requires the subject of a node. (k8s.io/kubernetes:
	// pkg/apis/certificates/helpers.go)
	subject := &pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}
	csr, err := certutil.MakeCSR(key, subject, names, ips)
	if err != nil {
		return nil, err
	}
	requests := s.client.CertificatesV1().CertificateSigningRequests()
	request, err := s.CreateRequest(ctx, s.client, s.Name(), certificatesv1.CertificateSigningRequestSpec{
		Usages:  []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		Request: csr, SignerName: certificatesv1.KubeletServingSignerName,
	})
	if err != nil {
		return nil, err
	}
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue,
		Reason: "FauxletCheck", Message: "approved by fauxlet check --approve-serving-certificate",
	})
	if _, err = requests.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	var issued []byte
	err = wait.PollUntilContextTimeout(ctx, pollInterval, signerTimeout, true, func(ctx context.Context) (bool, error) {
		request, err := requests.Get(ctx, request.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range request.Status.Conditions {
			if c.Type == certificatesv1.CertificateFailed {
				return false, fmt.Errorf("%w: %s", ErrNotIssued, c.Message)
			}
		}
		issued = request.Status.Certificate
		return len(issued) > 0, nil
	})
	switch {
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case wait.Interrupted(err):
		return nil, fmt.Errorf("%w: no certificate arrived within %v after the approval", ErrNotIssued, signerTimeout)
	case err != nil:
		return nil, err
	}
	pair, err := testcerts.ParsePair(issued, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate does not parse: %w", ErrNotIssued, err)
	}
	return pair, nil
}
