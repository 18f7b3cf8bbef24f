package stage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/ptr"

	"fauxlet/testcerts"
)

// issued is how long the cluster's signer may take.
const issued = 15 * time.Second

// ServingCertificateLifetime is how long the serving certificates of a run are good for, beyond what clocks may differ.
const ServingCertificateLifetime = time.Hour

// ErrNotIssued is that the cluster has no signer, or one that refused.
var ErrNotIssued = errors.New("the cluster issued no serving certificate")

// createRequest asks the cluster for a kubelet's serving certificate.
func (o *Stage) createRequest(ctx context.Context, request []byte) (*certificatesv1.CertificateSigningRequest, error) {
	return create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: o.Name(), Labels: o.labels()},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: request, SignerName: certificatesv1.KubeletServingSignerName,
			ExpirationSeconds: ptr.To(int32(ServingCertificateLifetime / time.Second)),
			Usages:            []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		},
	}, o.client.CertificatesV1().CertificateSigningRequests().Create)
}

// IssueServingCertificate has the cluster's own signer issue a kubelet's serving certificate for hosts, by a request that the run approves.
func (o *Stage) IssueServingCertificate(ctx context.Context, hosts []string) (*testcerts.Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
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
	// What the signer wants of a kubelet's request. (k8s.io/kubernetes: pkg/apis/certificates/helpers.go)
	subject := &pkix.Name{CommonName: "system:node:" + o.Name(), Organization: []string{"system:nodes"}}
	content, err := certutil.MakeCSR(key, subject, names, ips)
	if err != nil {
		return nil, err
	}
	request, err := o.createRequest(ctx, content)
	if err != nil {
		return nil, err
	}
	requests := o.client.CertificatesV1().CertificateSigningRequests()
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue, Reason: o.program.Reason, Message: "approved by " + o.program.ApprovedBy,
	})
	if _, err = requests.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(issued)
	for len(request.Status.Certificate) == 0 {
		for _, c := range request.Status.Conditions {
			if c.Type == certificatesv1.CertificateFailed {
				return nil, fmt.Errorf("%w: %s", ErrNotIssued, c.Message)
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w within %v of its approval", ErrNotIssued, issued)
		}
		select {
		case <-time.After(looking):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if request, err = requests.Get(ctx, request.Name, metav1.GetOptions{}); err != nil {
			return nil, err
		}
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, err
	}
	pair, err := testcerts.ParsePair(request.Status.Certificate, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w that is of any use: %w", ErrNotIssued, err)
	}
	return pair, nil
}
