package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"k8s.io/utils/ptr"

	"fauxlet/conformance/stage"
	"fauxlet/testcerts"
)

// noServing is the error if the run has no serving certificate that the kube-apiserver should accept.
const noServing = skipped(
	"there is no serving certificate that kube-apiserver should accept; give the kubelets' signer " +
		"with --serving-ca-file and --serving-ca-key-file, or let the cluster issue one with " +
		"--approve-serving-certificate",
)

// hosts are the names and addresses in the run's serving certificates.
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

// newTrusted issues or obtains a serving certificate that the kube-apiserver should accept. If neither is configured,
// the error is noServing.
func (r *run) newTrusted(ctx context.Context) (*tls.Certificate, error) {
	if ca := r.options.ServingCA; ca != nil {
		now := time.Now()
		pair, err := ca.Server(
			r.objects.Name(),
			r.hosts(),
			testcerts.ValidFor(now.Add(-stage.ServingCertificateLifetime), now.Add(stage.ServingCertificateLifetime)),
		)
		if err != nil {
			return nil, err
		}
		return ptr.To(pair.TLS()), nil
	}
	if r.options.ApproveServingCertificate {
		pair, err := r.objects.IssueServingCertificate(ctx, r.hosts())
		if err != nil {
			return nil, err
		}
		return ptr.To(pair.TLS()), nil
	}
	return nil, noServing
}

// newAccepted determines a serving certificate that the kube-apiserver accepts: the trusted certificate or, if the
// kube-apiserver does not verify certificates, a self-signed one.
func (r *run) newAccepted(ctx context.Context) (*tls.Certificate, error) {
	if _, err := r.handshake(); err != nil {
		return nil, err
	}
	candidate, err := r.trusted()
	what := "trusted"
	if err != nil {
		pair, err := testcerts.SelfSigned(r.objects.Name(), r.hosts())
		if err != nil {
			return nil, err
		}
		candidate, what = ptr.To(pair.TLS()), "self-signed"
	}
	tried, err := r.tryCertificate(ctx, "working", candidate)
	if err != nil {
		return nil, err
	}
	if !tried.accepted {
		if what == "trusted" {
			return nil, skipped("kube-apiserver accepts no available serving certificate; see serving.accepted")
		}
		return nil, skipped("kube-apiserver verifies serving certificates, and " + string(noServing))
	}
	return candidate, nil
}

// attempt is the result of a connection with a serving certificate.
type attempt struct {
	accepted bool
	// message is what the kube-apiserver responded to the API client.
	message string
}

// tryCertificate makes the kube-apiserver connect to a kubelet with a serving certificate.
func (r *run) tryCertificate(ctx context.Context, name string, certificate *tls.Certificate) (attempt, error) {
	k, err := r.kubelet(ctx, kubeletOptions{
		node: nodeOptions{name: name}, certificate: certificate,
		handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "accepted") }),
	})
	if err != nil {
		return attempt{}, err
	}
	defer k.Close()
	logResponse := k.logs(ctx, nil)
	if logResponse.err == nil {
		return attempt{accepted: string(logResponse.body) == "accepted", message: logResponse.String()}, nil
	}
	if _, err := logResponse.text(); err != nil {
		return attempt{}, err
	}
	// The response may arrive before the kubelet notices the end of the handshake.
	all, err := k.await(
		ctx,
		"waiting for the end of the handshake; kube-apiserver answered: "+logResponse.String(),
		func(all []observed) bool {
			return len(all) == 0 || all[0].HandshakeError != nil || all[0].TLS != nil
		},
	)
	switch {
	case err != nil:
		return attempt{}, err
	case len(all) == 0:
		return attempt{}, fmt.Errorf("kube-apiserver did not connect: %w", logResponse.err)
	case len(requests(all)) > 0:
		return attempt{}, fmt.Errorf(
			"kube-apiserver sent a request, but did not pass on the response: %w",
			logResponse.err,
		)
	}
	return attempt{message: logResponse.String()}, nil
}

// describeCertificate describes a certificate in one line.
func describeCertificate(c *x509.Certificate) string {
	return fmt.Sprintf(
		"subject %q, issuer %q, valid from %s to %s",
		c.Subject,
		c.Issuer,
		c.NotBefore.UTC().Format(time.DateTime),
		c.NotAfter.UTC().Format(time.DateTime),
	)
}

// leafOf returns the parsed leaf certificate.
func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	return x509.ParseCertificate(c.Certificate[0])
}
