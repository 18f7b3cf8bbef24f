package check

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"fauxlet/conformance"
)

const (
	clientCertificate = "--kubelet-client-certificate"
	// newClientCertificate is what to do about one that is of no use.
	newClientCertificate = "--kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key"
	// soon is how long before its end a certificate should have been replaced.
	soon = 30 * 24 * time.Hour
)

func clientChecks() []Check {
	return []Check{
		{
			ID: "client.presented", Title: "kube-apiserver presents a client certificate", Flag: clientCertificate,
			Proves: "When a kubelet asks for one, kube-apiserver presents a client certificate and has its key. Its evidence has the subject, issuer, dates and chain.",
			Needs:  []string{"reach.dialled"},
			run:    checkPresented,
		},
		{
			ID: "client.trusted", Title: "the nodes know who signed it", Flag: clientCertificate,
			Proves: "The certificate, with the chain that comes with it, leads to a CA in `--client-ca`, which is what the kubelets have as clientCAFile; no signature on the way is weak.",
			Needs:  []string{"client.presented"},
			run:    checkTrusted,
		},
		{
			ID: "client.valid", Title: "it is valid, and will be for 30 days", Flag: clientCertificate,
			Proves: "The certificate is good now and for 30 days. Its evidence has the days that are left.",
			Needs:  []string{"client.presented"},
			run:    checkValid,
		},
		{
			ID: "client.usage", Title: "it may be used by a client", Flag: clientCertificate,
			Proves: "The extended key usage has client authentication, or there is none at all.",
			Needs:  []string{"client.presented"},
			run:    checkUsage,
		},
		{
			ID: "client.subject", Title: "it says who the user is", Flag: clientCertificate,
			Proves: "There is a common name, which a kubelet takes as the user, and it is not system:anonymous.",
			Needs:  []string{"client.presented"},
			run:    checkSubject,
		},
	}
}

// visit is one connection of the apiserver with a kubelet that has nothing special, for what can be seen on any.
type visit struct {
	seen
	// said is what the apiserver said of it to its own client.
	said string
}

func (r *run) newVisit(ctx context.Context) (visit, error) {
	came, said, err := r.visited(ctx, "visit", r.nodeIP, nil)
	if err != nil {
		return visit{}, err
	}
	if came == nil || came.Hello == nil {
		return visit{}, fmt.Errorf("kube-apiserver did not come, or began no TLS: %s", said)
	}
	return visit{*came, said}, nil
}

// shaken is the visit of an apiserver that shook hands with a kubelet whose certificate it did not look at.
func (r *run) shaken() (visit, error) {
	v, err := r.visit()
	if err == nil && v.TLS == nil {
		err = skipped("kube-apiserver shakes hands with no kubelet at all; see client.presented")
	}
	return v, err
}

// presented are the certificates that the apiserver presents, its own first.
func (r *run) presented() ([]*x509.Certificate, error) {
	v, err := r.shaken()
	if err != nil {
		return nil, err
	}
	return v.TLS.PeerCertificates, nil
}

func checkPresented(_ context.Context, r *run) (conformance.Result, error) {
	v, err := r.visit()
	if err != nil {
		return conformance.Result{}, err
	}
	if v.TLS == nil {
		return fail("kube-apiserver cannot shake hands with a kubelet whose certificate it does not look at: its client certificate and key may be of no use, or not belong together",
			newClientCertificate+" # a certificate and its own key", "answered: "+v.said, fmt.Sprintf("the end of the handshake: %v", v.HandshakeError)), nil
	}
	chain := v.TLS.PeerCertificates
	if len(chain) == 0 {
		return fail("kube-apiserver presents no client certificate: a kubelet takes it for nobody (401), or for system:anonymous where that is allowed",
			newClientCertificate+" # the certificate is signed by a CA in the kubelets' clientCAFile",
			"a client certificate was asked for; presented: none"), nil
	}
	evidence := []string{"presented: " + describe(chain[0])}
	for _, c := range chain[1:] {
		evidence = append(evidence, "in its chain: "+describe(c))
	}
	return pass(evidence...), nil
}

func checkTrusted(_ context.Context, r *run) (conformance.Result, error) {
	chain, err := r.presented()
	if err != nil {
		return conformance.Result{}, err
	}
	leaf := chain[0]
	presented := fmt.Sprintf("presented: subject %q, issuer %q, with %d certificates in its chain", leaf.Subject, leaf.Issuer, len(chain)-1)
	if r.options.ClientCA == nil {
		for i, c := range chain[1:] {
			if err := chain[i].CheckSignatureFrom(c); err != nil {
				return skip("the CAs that the nodes trust are not known: give --client-ca; and the chain does not hold together: "+err.Error(), presented), nil
			}
		}
		return skip("the CAs that the nodes trust are not known: give --client-ca, the kubelets' clientCAFile", presented), nil
	}
	options := x509.VerifyOptions{
		Roots: r.options.ClientCA, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // its usage is another check's
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	dated := *leaf
	dated.NotBefore, dated.NotAfter = time.Time{}, time.Now().Add(soon) // so are its dates; the signature is of the bytes
	verified, err := dated.Verify(options)
	if err != nil {
		return fail("no CA in --client-ca vouches for kube-apiserver's client certificate: kubelets with that clientCAFile answer 401",
			newClientCertificate+" # signed by a CA in --client-ca, with its intermediates after it in the file",
			presented, "verified: "+err.Error()), nil
	}
	return pass(presented, fmt.Sprintf("vouched for by %q", verified[0][len(verified[0])-1].Subject)), nil
}

func checkValid(_ context.Context, r *run) (conformance.Result, error) {
	chain, err := r.presented()
	if err != nil {
		return conformance.Result{}, err
	}
	return validity(chain[0], time.Now()), nil
}

// validity judges a certificate by its dates.
func validity(c *x509.Certificate, now time.Time) conformance.Result {
	left := c.NotAfter.Sub(now)
	presented := fmt.Sprintf("presented: %s; %d days are left", describe(c), int(left.Hours()/24))
	const remedy = newClientCertificate + " # with a new certificate; the files are read again by themselves. kubeadm: kubeadm certs renew apiserver-kubelet-client"
	switch {
	case left <= 0:
		return fail("kube-apiserver's client certificate has expired: kubelets answer 401", remedy, presented)
	case now.Before(c.NotBefore):
		return fail("kube-apiserver's client certificate is not valid yet: kubelets answer 401; a clock may be wrong", remedy, presented)
	case left < soon:
		return warn(fmt.Sprintf("kube-apiserver's client certificate expires in %d days, and kubelets answer 401 from then on", int(left.Hours()/24)), remedy, presented)
	}
	return pass(presented)
}

func checkUsage(_ context.Context, r *run) (conformance.Result, error) {
	chain, err := r.presented()
	if err != nil {
		return conformance.Result{}, err
	}
	return usage(chain[0]), nil
}

// usageNames are the extended key usages that one meets here.
var usageNames = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageClientAuth: "client authentication", x509.ExtKeyUsageServerAuth: "server authentication",
}

// usage judges a certificate by what it may be used for.
func usage(c *x509.Certificate) conformance.Result {
	names := make([]string, len(c.ExtKeyUsage))
	for i, u := range c.ExtKeyUsage {
		if names[i] = usageNames[u]; names[i] == "" {
			names[i] = fmt.Sprintf("usage %d", u)
		}
	}
	for _, other := range c.UnknownExtKeyUsage {
		names = append(names, other.String())
	}
	presented := "extended key usage: " + strings.Join(names, ", ")
	if len(names) == 0 {
		return pass("extended key usage: none, which allows all")
	}
	if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return pass(presented)
	}
	return fail("kube-apiserver's client certificate is not for client authentication: kubelets answer 401",
		newClientCertificate+" # with extendedKeyUsage=clientAuth", presented)
}

func checkSubject(_ context.Context, r *run) (conformance.Result, error) {
	chain, err := r.presented()
	if err != nil {
		return conformance.Result{}, err
	}
	subject := chain[0].Subject
	presented := fmt.Sprintf("user %q, groups %q", subject.CommonName, subject.Organization)
	switch subject.CommonName {
	case "":
		return fail("kube-apiserver's client certificate has no common name: kubelets have no opinion of it, and answer 401, or take it for system:anonymous",
			newClientCertificate+" # with a common name, as in -subj /CN=kube-apiserver-kubelet-client", presented), nil
	case "system:anonymous":
		return fail("kube-apiserver's client certificate is that of nobody", newClientCertificate+" # with another common name, as in -subj /CN=kube-apiserver-kubelet-client", presented), nil
	}
	return pass(presented), nil
}
