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

// noServing is why there is no serving certificate that the apiserver is to accept.
const noServing = skipped("there is no serving certificate that kube-apiserver is to accept: give the CA that signs the kubelets' by --serving-ca-file and --serving-ca-key-file, or have one issued by --approve-serving-certificate")

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
		pair, err := ca.Server(r.objects.Name(), r.hosts(), testcerts.ValidFor(now.Add(-stage.ServingCertificateLifetime), now.Add(stage.ServingCertificateLifetime)))
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

// newWorking finds a serving certificate with which the apiserver talks to a kubelet: the good one, or else one that
// nobody signed.
func (r *run) newWorking(ctx context.Context) (*tls.Certificate, error) {
	if _, err := r.shaken(); err != nil {
		return nil, err
	}
	candidate, err := r.good()
	what := "good"
	if err != nil {
		pair, err := testcerts.SelfSigned(r.objects.Name(), r.hosts())
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
