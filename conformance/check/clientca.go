package check

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
)

// clientCA is a list of CAs that the kubelets may have as their clientCAFile.
type clientCA struct {
	name string // where the list comes from
	pool *x509.CertPool
	// certain is true if a kubelet with another clientCAFile is a mistake or very unusual. If it is false, a client
	// certificate that is not signed by these CAs proves nothing.
	certain bool
}

// publishedCAs are the ConfigMaps in kube-system in which a cluster publishes CAs. kube-apiserver itself writes the
// first: its --client-ca-file, which nearly all installers also use as the kubelets' clientCAFile.
// kube-controller-manager writes the second: the CA of kube-apiserver's serving certificate, which may be another CA.
// (k8s.io/kubernetes: pkg/controlplane/controller/clusterauthenticationtrust,
// pkg/controller/certificates/rootcacertpublisher)
var publishedCAs = []struct {
	name, key string
	certain   bool
}{
	{"extension-apiserver-authentication", "client-ca-file", true},
	{"kube-root-ca.crt", "ca.crt", false},
}

// publishedClientCAs returns the lists of CAs that the cluster publishes, the most probable first. If there are none,
// it returns the reason.
func (r *run) publishedClientCAs(ctx context.Context) (all []clientCA, reason string) {
	var reasons []string
	for _, published := range publishedCAs {
		name := "ConfigMap kube-system/" + published.name
		object, err := r.client.CoreV1().ConfigMaps("kube-system").Get(ctx, published.name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			reasons = append(reasons, name+" does not exist")
			continue
		case err != nil:
			reasons = append(reasons, fmt.Sprintf("%s cannot be read: %v", name, err))
			continue
		case object.Data[published.key] == "":
			reasons = append(reasons, fmt.Sprintf("%s has no %s", name, published.key))
			continue
		}
		pool, err := certutil.NewPoolFromBytes([]byte(object.Data[published.key]))
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%s in %s has no valid certificate", published.key, name))
			continue
		}
		all = append(all, clientCA{name, pool, published.certain})
	}
	return all, strings.Join(reasons, "; ")
}

// clientCAs returns the CAs of Options.ClientCA or, by default, those that the cluster publishes. If there are none,
// the error has the type [skipped].
func (r *run) clientCAs(ctx context.Context) ([]clientCA, error) {
	if r.options.ClientCA != nil {
		return []clientCA{{"--client-ca", r.options.ClientCA, true}}, nil
	}
	all, reason := r.publishedClientCAs(ctx)
	if len(all) == 0 {
		return nil, skipped("the CAs that kubelets trust are unknown, because the cluster publishes none (" + reason +
			"); give the kubelets' clientCAFile with --client-ca")
	}
	r.options.OnNotice("the kubelets' clientCAFile is assumed to have the CAs in " + all[0].name +
		"; if it has others, give it with --client-ca")
	return all, nil
}

// checkTrusted verifies kube-apiserver's client certificate as a kubelet does. It ignores the dates and the usage,
// because client.valid and client.usage check them.
func checkTrusted(ctx context.Context, r *run, f *finding, first *observed) error {
	chain := first.TLS.PeerCertificates
	f.note("presented: subject %q, issuer %q, with a chain of %d certificates", chain[0].Subject, chain[0].Issuer,
		len(chain)-1)
	all, err := r.clientCAs(ctx)
	if err != nil {
		return err
	}
	certain := false
	for i, ca := range all {
		signer, err := verifyClient(chain, ca.pool)
		if err != nil {
			f.note("not signed by a CA in %s: %v", ca.name, err)
			certain = certain || ca.certain
			continue
		}
		f.note("signed by %q, a CA in %s", signer.Subject, ca.name)
		if i > 0 { // the cluster has other CAs for clients
			return skipped("the CAs that kubelets trust are unknown: the client certificate is signed by a CA in " +
				ca.name + ", and not by one in " + all[0].name + "; give the kubelets' clientCAFile with --client-ca")
		}
		return nil
	}
	switch {
	case !certain:
		return skipped("the CAs that kubelets trust are unknown: the client certificate is not signed by a CA in " +
			all[0].name + ", but kubelets may trust other CAs; give their clientCAFile with --client-ca")
	case r.options.ClientCA == nil:
		f.remedy = newClientCertificate + " # signed by a CA in client-ca-file of " + all[0].name + ", with its " +
			"intermediates after it in the file. If the kubelets have another clientCAFile, run check with it as " +
			"--client-ca first"
		return f.fail("kube-apiserver's client certificate is not signed by a CA for clients that the cluster " +
			"publishes: kubelets with these CAs in their clientCAFile answer 401")
	}
	return f.fail("kube-apiserver's client certificate is not signed by a CA in --client-ca: kubelets with that " +
		"clientCAFile answer 401")
}

// verifyClient returns the root CA that signed the first certificate of the chain, with the other certificates as
// intermediate CAs.
func verifyClient(chain []*x509.Certificate, roots *x509.CertPool) (*x509.Certificate, error) {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	dated := *chain[0]
	dated.NotBefore, dated.NotAfter = time.Time{}, time.Now().Add(soon)
	verified, err := dated.Verify(options)
	if err != nil {
		return nil, err
	}
	return verified[0][len(verified[0])-1], nil
}
