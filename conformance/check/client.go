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
	// newClientCertificate is the remedy if the client certificate is unusable.
	newClientCertificate = "--kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key"
	// soon is the remaining lifetime below which a certificate should be renewed.
	soon = 30 * 24 * time.Hour
)

func clientChecks() []Check {
	return []Check{
		{
			ID: "client.presented", Title: "kube-apiserver presents a client certificate", Flag: clientCertificate,
			Proves: "When a kubelet requests one, kube-apiserver presents a client certificate and has its key. " +
				"The evidence has the subject, issuer, dates and chain.",
			Needs: []string{"reach.dialled"},
			run:   checkPresented,
		},
		{
			ID: "client.trusted", Title: "the nodes trust the client certificate's CA", Flag: clientCertificate,
			Proves: "The certificate and its chain are signed by a CA in `--client-ca`, which is the kubelets' " +
				"clientCAFile, without weak signatures.",
			Needs: []string{"client.presented"},
			run:   checkTrusted,
		},
		{
			ID: "client.valid", Title: "the client certificate is valid for at least 30 days", Flag: clientCertificate,
			Proves: "The certificate is valid now and for the next 30 days. The evidence has the remaining days.",
			Needs:  []string{"client.presented"},
			run:    checkValid,
		},
		{
			ID: "client.usage", Title: "the client certificate is for client authentication", Flag: clientCertificate,
			Proves: "The extended key usage includes client authentication, or there is none.",
			Needs:  []string{"client.presented"},
			run:    checkUsage,
		},
		{
			ID: "client.subject", Title: "the client certificate has a user name", Flag: clientCertificate,
			Proves: "The certificate has a common name, which a kubelet uses as the user name, and it is not " +
				"system:anonymous.",
			Needs: []string{"client.presented"},
			run:   checkSubject,
		},
	}
}

// firstConnection is the connection to an ordinary kubelet that most checks examine.
type firstConnection struct {
	observed
	// message is what the kube-apiserver responded to the API client.
	message string
}

func (r *run) newFirstConnection(ctx context.Context) (firstConnection, error) {
	conn, message, err := r.connectTo(ctx, "visit", r.nodeIP, nil)
	if err != nil {
		return firstConnection{}, err
	}
	if conn == nil || conn.Hello == nil {
		return firstConnection{}, fmt.Errorf("kube-apiserver did not connect, or did not start TLS: %s", message)
	}
	return firstConnection{*conn, message}, nil
}

// handshake returns the first connection if its handshake succeeded, with a kubelet certificate that was not verified.
func (r *run) handshake() (firstConnection, error) {
	v, err := r.firstConnection()
	if err == nil && v.TLS == nil {
		err = skipped("no handshake with kube-apiserver succeeds; see client.presented")
	}
	return v, err
}

// presented returns the certificates that the kube-apiserver presented, its client certificate first; possibly none.
func (r *run) presented() ([]*x509.Certificate, error) {
	v, err := r.handshake()
	if err != nil {
		return nil, err
	}
	return v.TLS.PeerCertificates, nil
}

func checkPresented(_ context.Context, r *run) (conformance.Result, error) {
	v, err := r.firstConnection()
	if err != nil {
		return conformance.Result{}, err
	}
	if v.TLS == nil {
		return fail(
			"the TLS handshake fails although kube-apiserver does not verify the kubelet: perhaps its client "+
				"certificate and key do not match",
			newClientCertificate+" # a certificate and the key that belongs to it",
			"answered: "+v.message,
			fmt.Sprintf("handshake error: %v", v.HandshakeError),
		), nil
	}
	chain := v.TLS.PeerCertificates
	if len(chain) == 0 {
		return fail(
			"kube-apiserver presents no client certificate: a kubelet answers 401, or authenticates it as "+
				"system:anonymous",
			newClientCertificate+" # the certificate is signed by a CA in the kubelets' clientCAFile",
			"a client certificate was requested; presented: none",
		), nil
	}
	evidence := []string{"presented: " + describeCertificate(chain[0])}
	for _, c := range chain[1:] {
		evidence = append(evidence, "chain: "+describeCertificate(c))
	}
	return pass(evidence...), nil
}

func checkTrusted(_ context.Context, r *run) (conformance.Result, error) {
	chain, err := r.presented()
	if err != nil {
		return conformance.Result{}, err
	}
	leaf := chain[0]
	presented := fmt.Sprintf(
		"presented: subject %q, issuer %q, with a chain of %d certificates",
		leaf.Subject,
		leaf.Issuer,
		len(chain)-1,
	)
	if r.options.ClientCA == nil {
		for i, c := range chain[1:] {
			if err := chain[i].CheckSignatureFrom(c); err != nil {
				return skip(
					"the kubelets' client CA is unknown; give --client-ca. The chain is also inconsistent: "+
						err.Error(),
					presented,
				), nil
			}
		}
		return skip("the kubelets' client CA is unknown; give --client-ca, the kubelets' clientCAFile", presented), nil
	}
	options := x509.VerifyOptions{
		Roots: r.options.ClientCA, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // client.usage checks the usage
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	dated := *leaf
	dated.NotBefore, dated.NotAfter = time.Time{}, time.Now().Add(soon) // client.valid checks the dates
	verified, err := dated.Verify(options)
	if err != nil {
		return fail(
			"kube-apiserver's client certificate is not signed by a CA in --client-ca: kubelets with that "+
				"clientCAFile answer 401",
			newClientCertificate+" # signed by a CA in --client-ca, with its intermediates after it in the file",
			presented,
			"verified: "+err.Error(),
		), nil
	}
	return pass(presented, fmt.Sprintf("signed by %q", verified[0][len(verified[0])-1].Subject)), nil
}

func checkValid(_ context.Context, r *run) (conformance.Result, error) {
	chain, err := r.presented()
	if err != nil {
		return conformance.Result{}, err
	}
	return validity(chain[0], time.Now()), nil
}

// validity judges the dates of a certificate.
func validity(c *x509.Certificate, now time.Time) conformance.Result {
	left := c.NotAfter.Sub(now)
	presented := fmt.Sprintf("presented: %s; %d days remain", describeCertificate(c), int(left.Hours()/24))
	const remedy = newClientCertificate + " # with a new certificate; kube-apiserver reloads the files. With " +
		"kubeadm: kubeadm certs renew apiserver-kubelet-client"
	switch {
	case left <= 0:
		return fail("kube-apiserver's client certificate has expired: kubelets answer 401", remedy, presented)
	case now.Before(c.NotBefore):
		return fail(
			"kube-apiserver's client certificate is not valid yet: kubelets answer 401; check the clocks",
			remedy,
			presented,
		)
	case left < soon:
		return warn(
			fmt.Sprintf(
				"kube-apiserver's client certificate expires in %d days; kubelets then answer 401",
				int(left.Hours()/24),
			),
			remedy,
			presented,
		)
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

// usageNames are names of common extended key usages.
var usageNames = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageClientAuth: "client authentication",
	x509.ExtKeyUsageServerAuth: "server authentication",
}

// usage judges the extended key usage of a certificate.
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
		return pass("extended key usage: none, which allows every usage")
	}
	if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
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
		return fail(
			"kube-apiserver's client certificate has no common name: kubelets ignore it and answer 401, or "+
				"authenticate it as system:anonymous",
			newClientCertificate+" # with a common name, as in -subj /CN=kube-apiserver-kubelet-client",
			presented,
		), nil
	case "system:anonymous":
		return fail(
			"kube-apiserver's client certificate has the user name system:anonymous",
			newClientCertificate+" # with another common name, as in -subj /CN=kube-apiserver-kubelet-client",
			presented,
		), nil
	}
	return pass(presented), nil
}
