package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/ptr"

	"fauxlet/testcerts"
)

// noServing is why there is no serving certificate that the apiserver is to accept.
const noServing = skipped("there is no serving certificate that kube-apiserver is to accept: give the CA that signs the kubelets' by --serving-ca-file and --serving-ca-key-file, or have one issued by --approve-serving-certificate")

// issued is how long the cluster's signer may take.
const issued = 15 * time.Second

// servingLife is how long the serving certificates of a run are good for, beyond what clocks may differ.
const servingLife = time.Hour

// errNotIssued is that the cluster has no signer, or one that refused.
var errNotIssued = errors.New("the cluster issued no serving certificate")

// hosts are those that a serving certificate of the run is for.
func (r *run) hosts() []string {
	hosts := make([]string, len(r.addresses))
	for i, a := range r.addresses {
		hosts[i] = a.String()
	}
	if r.hostname != "" {
		hosts = append(hosts, r.hostname)
	}
	return hosts
}

// newGood makes or obtains the serving certificate that the apiserver is to accept. Where there is none to be had, the
// error is noServing.
func (r *run) newGood(ctx context.Context) (*tls.Certificate, error) {
	if ca := r.options.ServingCA; ca != nil {
		now := time.Now()
		pair, err := ca.Server(r.objects.name(), r.hosts(), testcerts.ValidFor(now.Add(-servingLife), now.Add(servingLife)))
		if err != nil {
			return nil, err
		}
		return ptr.To(pair.TLS()), nil
	}
	if r.options.ApproveServing {
		return r.issue(ctx)
	}
	return nil, noServing
}

// issue has the cluster's own signer issue one, by a request that the run approves.
func (r *run) issue(ctx context.Context) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	var names []string
	var ips []net.IP
	for _, host := range r.hosts() {
		if ip := net.ParseIP(host); ip != nil {
			ips = append(ips, ip)
		} else {
			names = append(names, host)
		}
	}
	// What the signer wants of a kubelet's request. (k8s.io/kubernetes: pkg/apis/certificates/helpers.go)
	subject := &pkix.Name{CommonName: "system:node:" + r.objects.name(), Organization: []string{"system:nodes"}}
	content, err := certutil.MakeCSR(key, subject, names, ips)
	if err != nil {
		return nil, err
	}
	request, err := r.objects.createRequest(ctx, content)
	if err != nil {
		return nil, err
	}
	requests := r.client.CertificatesV1().CertificateSigningRequests()
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue, Reason: "FauxletCheck", Message: "approved by fauxlet check --approve-serving-certificate",
	})
	if _, err = requests.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(issued)
	for len(request.Status.Certificate) == 0 {
		for _, c := range request.Status.Conditions {
			if c.Type == certificatesv1.CertificateFailed {
				return nil, fmt.Errorf("%w: %s", errNotIssued, c.Message)
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w within %v of its approval", errNotIssued, issued)
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
	pair, err := tls.X509KeyPair(request.Status.Certificate, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w that is of any use: %w", errNotIssued, err)
	}
	return &pair, nil
}

// newWorking finds a serving certificate with which the apiserver talks to a kubelet: the good one, or else one that
// nobody signed.
func (r *run) newWorking(ctx context.Context) (*tls.Certificate, error) {
	if _, err := r.shaken(); err != nil {
		return nil, err
	}
	candidate, err := r.good()
	what := "good"
	if err != nil {
		pair, err := testcerts.SelfSigned(r.objects.name(), r.hosts())
		if err != nil {
			return nil, err
		}
		candidate, what = ptr.To(pair.TLS()), "self-signed"
	}
	tried, err := r.try(ctx, "working", candidate)
	if err != nil {
		return nil, err
	}
	if !tried.accepted {
		if what == "good" {
			return nil, skipped("kube-apiserver accepts no serving certificate that there is; see serving.accepted")
		}
		return nil, skipped("kube-apiserver verifies serving certificates, and " + string(noServing))
	}
	return candidate, nil
}

// trial is what became of a serving certificate.
type trial struct {
	accepted bool
	// said is what the apiserver said of it to its own client.
	said string
}

// try serves with a certificate, and has the apiserver come.
func (r *run) try(ctx context.Context, name string, certificate *tls.Certificate) (trial, error) {
	k, err := r.kubelet(ctx, kubeletOptions{
		node: nodeOptions{name: name}, certificate: certificate,
		handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "accepted") }),
	})
	if err != nil {
		return trial{}, err
	}
	defer k.Close()
	answer := k.logs(ctx, nil)
	if answer.err == nil {
		return trial{accepted: string(answer.body) == "accepted", said: answer.said()}, nil
	}
	if _, err := answer.told(); err != nil {
		return trial{}, err
	}
	// The answer may be there before the end of the handshake is noticed.
	all, err := k.await(ctx, "the end of the handshake; the apiserver said: "+answer.said(), func(all []seen) bool {
		return len(all) == 0 || all[0].HandshakeError != nil || all[0].TLS != nil
	})
	switch {
	case err != nil:
		return trial{}, err
	case len(all) == 0:
		return trial{}, fmt.Errorf("the apiserver did not come: %w", answer.err)
	case len(requests(all)) > 0:
		return trial{}, fmt.Errorf("the apiserver came, and did not pass on the answer: %w", answer.err)
	}
	return trial{said: answer.said()}, nil
}

// describe is a certificate in a line.
func describe(c *x509.Certificate) string {
	return fmt.Sprintf("subject %q, issuer %q, valid from %s to %s", c.Subject, c.Issuer, c.NotBefore.UTC().Format(time.DateTime), c.NotAfter.UTC().Format(time.DateTime))
}

// leafOf is the certificate itself.
func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	return x509.ParseCertificate(c.Certificate[0])
}
