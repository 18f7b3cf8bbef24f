package check

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	clientCertificate = "--kubelet-client-certificate"
	// The remedies for an unusable client certificate begin with newClientCertificate.
	newClientCertificate = "--kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key"
	// The constant "soon" is a remaining lifetime. A certificate with a shorter remaining lifetime should be renewed.
	soon = 30 * 24 * time.Hour
)

func clientChecks() []Check {
	presented := []string{"client.presented"}
	return []Check{
		{ID: "client.presented", Title: "kube-apiserver presents a client certificate", Flag: clientCertificate,
			Proves: "When a kubelet requests one, kube-apiserver presents a client certificate and has its key. " +
				"The evidence has the subject, issuer, dates and chain.", run: checkPresented},
		{ID: "client.trusted", Title: "kube-apiserver's client certificate is signed by the nodes' client CA",
			Flag: clientCertificate,
			Proves: "The certificate and its chain are signed, without weak signatures, by a CA in the kubelets' " +
				"clientCAFile. This file is `--client-ca` or, by default, the CAs for clients that the cluster " +
				"publishes in the ConfigMap extension-apiserver-authentication. The evidence has the origin.",
			Needs: presented, run: withHandshake(checkTrusted),
			remedy: newClientCertificate + " # signed by a CA in --client-ca, with its intermediates after it in the " +
				"file"},
		{ID: "client.valid", Title: "the client certificate is valid for at least 30 days", Flag: clientCertificate,
			Proves: "The certificate is valid now and for the next 30 days. The evidence has the remaining days.",
			Needs:  presented, run: withClientCertificate(checkDates),
			remedy: newClientCertificate + " # with a new certificate; kube-apiserver reloads the files. With " +
				"kubeadm: kubeadm certs renew apiserver-kubelet-client"},
		{ID: "client.usage", Title: "the client certificate is for client authentication", Flag: clientCertificate,
			Proves: "The extended key usage includes client authentication, or there is none.",
			Needs:  presented, run: withClientCertificate(checkUsage),
			remedy: newClientCertificate + " # with extendedKeyUsage=clientAuth"},
		{ID: "client.subject", Title: "the client certificate has a user name", Flag: clientCertificate,
			Proves: "The certificate has a common name, which a kubelet uses as the user name, and it is not " +
				"system:anonymous.", Needs: presented, run: withClientCertificate(checkSubject)},
	}
}

// withClientCertificate returns the run function of a check that examines the kube-apiserver's client certificate.
func withClientCertificate(check func(*finding, *x509.Certificate) error) runFunc {
	return withHandshake(func(_ context.Context, _ *run, f *finding, first *observed) error {
		return check(f, first.TLS.PeerCertificates[0])
	})
}

func checkPresented(_ context.Context, r *run, f *finding) error {
	first, err := r.firstConnection()
	if err != nil {
		return err
	}
	if first.TLS == nil {
		f.note("answered: %s", first.message)
		f.note("handshake error: %v", first.HandshakeError)
		f.remedy = newClientCertificate + " # a certificate and the key that belongs to it"
		return f.fail("the TLS handshake fails although kube-apiserver does not verify the kubelet: perhaps " +
			"kube-apiserver's client certificate and key do not match")
	}
	for i, c := range first.TLS.PeerCertificates {
		word := "chain"
		if i == 0 {
			word = "presented"
		}
		f.note("%s: %s", word, describeCertificate(c))
	}
	if len(f.evidence) == 0 {
		f.note("a client certificate was requested; presented: none")
		f.remedy = newClientCertificate + " # the certificate is signed by a CA in the kubelets' clientCAFile"
		return f.fail("kube-apiserver presents no client certificate: a kubelet answers 401, or authenticates it as " +
			"system:anonymous")
	}
	return nil
}

// describeCertificate returns the subject, the issuer and the validity of a certificate in one line of evidence.
func describeCertificate(c *x509.Certificate) string {
	return fmt.Sprintf("subject %q, issuer %q, valid from %s to %s", c.Subject, c.Issuer,
		c.NotBefore.UTC().Format(time.DateTime), c.NotAfter.UTC().Format(time.DateTime))
}

func checkDates(f *finding, c *x509.Certificate) error {
	now := time.Now()
	left := c.NotAfter.Sub(now)
	days := int(left.Hours() / 24)
	f.note("presented: %s; %d days remain", describeCertificate(c), days)
	switch {
	case left <= 0:
		f.fail("kube-apiserver's client certificate has expired: kubelets answer 401")
	case now.Before(c.NotBefore):
		f.fail("kube-apiserver's client certificate is not valid yet: kubelets answer 401; check the clocks")
	case left < soon:
		f.warn("kube-apiserver's client certificate expires in %d days; kubelets then answer 401", days)
	}
	return nil
}

func checkUsage(f *finding, c *x509.Certificate) error {
	var names []string
	for _, usage := range c.ExtKeyUsage {
		names = append(names, usage.String())
	}
	for _, other := range c.UnknownExtKeyUsage {
		names = append(names, other.String())
	}
	if names == nil {
		f.note("extended key usage: none, which allows every usage")
		return nil
	}
	f.note("extended key usage: %s", strings.Join(names, ", "))
	if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) &&
		!slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		f.fail("kube-apiserver's client certificate is not for client authentication: kubelets answer 401")
	}
	return nil
}

func checkSubject(f *finding, c *x509.Certificate) error {
	f.note("user %q, groups %q", c.Subject.CommonName, c.Subject.Organization)
	switch c.Subject.CommonName {
	case "":
		f.remedy = newClientCertificate + " # with a common name, as in -subj /CN=kube-apiserver-kubelet-client"
		f.fail("kube-apiserver's client certificate has no common name: kubelets ignore it and answer 401, or " +
			"authenticate it as system:anonymous")
	case "system:anonymous":
		f.remedy = newClientCertificate + " # with another common name, as in -subj /CN=kube-apiserver-kubelet-client"
		f.fail("kube-apiserver's client certificate has the user name system:anonymous")
	}
	return nil
}
