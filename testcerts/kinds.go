package testcerts

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Request describes the certificate that [Kind.Mint] makes.
type Request struct {
	// CommonName is the user of a client certificate, or the name of the node.
	CommonName string
	// Organizations are the groups of a client certificate. Serving certificates ignore them.
	Organizations []string
	// Hosts are the DNS names and IP addresses of a serving certificate. Client certificates ignore them.
	Hosts []string
	// Life is how long the certificate is valid. 0 means one year. Kinds that are expired or not yet valid ignore
	// it.
	Life time.Duration
	// RSA selects an RSA key of 2048 bits instead of an ECDSA key on P-256.
	RSA bool
}

// Kind is a named kind of certificate, either valid or with one defect. Kinds come from [Kinds] and [KindNamed].
type Kind struct {
	// Name is unique, such as client-expired or server-other-host.
	Name string
	// Serving is true for a kubelet's serving certificate, and false for a client certificate that a kubelet receives.
	Serving bool
	// NeedsHosts is true if the Request must have Hosts.
	NeedsHosts bool
	// Explains describes the certificate and the result of using it between a kube-apiserver and a kubelet. For a
	// client certificate, the result is the kubelet's HTTP status; for a serving certificate, it is the
	// kube-apiserver's error.
	Explains string

	make maker
}

// kinds lists all kinds. The results were measured: for client certificates with a kubelet v1.37, for serving
// certificates with a kube-apiserver v1.37 and --kubelet-certificate-authority. Without that flag, kube-apiserver
// accepts every serving certificate.
var kinds = []Kind{
	{Name: "client", make: client, Explains: "valid: the common name is the user, the organizations are the groups"},
	{Name: "client-intermediate", make: byIntermediate(client),
		Explains: "valid: signed by an intermediate CA, which the file contains"},
	{Name: "client-no-usage", make: with(NoUsage, client), Explains: "no extended key usage at all: accepted"},
	{Name: "client-no-name", make: with(EmptyCN, client),
		Explains: "no common name: the kubelet skips it, and tries the token, then anonymous"},
	{Name: "client-expired", make: with(Expired, client),
		Explains: "expired: 401, even if anonymous is on, unless there is a valid token"},
	{Name: "client-not-yet-valid", make: with(NotYetValid, client),
		Explains: "not valid before tomorrow: 401, even if anonymous is on"},
	{Name: "client-unknown-ca", make: byUnknownCA(client),
		Explains: "signed by a CA that is not in the kubelet's clientCAFile: 401, even if anonymous is on"},
	{Name: "client-chain-missing", make: withoutChain(byIntermediate(client)),
		Explains: "signed by an intermediate CA, which the file does not contain: 401, as with an unknown CA"},
	{Name: "client-server-usage", make: with(ServerAuthOnly, client),
		Explains: "extended key usage is server authentication only: 401, even if anonymous is on"},
	{Name: "client-sha1", make: with(SHA1, client), Explains: "weak: signed with SHA-1: 401, as with an unknown CA"},

	{Name: "server", Serving: true, NeedsHosts: true, make: server, Explains: "valid for the given hosts"},
	{Name: "server-intermediate", Serving: true, NeedsHosts: true, make: byIntermediate(server),
		Explains: "valid: signed by an intermediate CA, which the file contains"},
	{Name: "server-kubelet-default", Serving: true, make: kubeletSelfSigned,
		Explains: "the one that a kubelet makes for itself, for its host name only: " +
			"x509: certificate signed by unknown authority; by address: doesn't contain any IP SANs"},
	{Name: "server-self-signed", Serving: true, NeedsHosts: true, make: selfSigned,
		Explains: "signed by its own key: x509: certificate signed by unknown authority"},
	{Name: "server-unknown-ca", Serving: true, NeedsHosts: true, make: byUnknownCA(server),
		Explains: "signed by a CA that kube-apiserver does not trust: x509: certificate signed by unknown authority"},
	{Name: "server-chain-missing", Serving: true, NeedsHosts: true, make: withoutChain(byIntermediate(server)),
		Explains: "signed by an intermediate CA, which the file does not contain: " +
			"x509: certificate signed by unknown authority"},
	{Name: "server-expired", Serving: true, NeedsHosts: true, make: with(Expired, server),
		Explains: "x509: certificate has expired or is not yet valid: current time … is after …"},
	{Name: "server-not-yet-valid", Serving: true, NeedsHosts: true, make: with(NotYetValid, server),
		Explains: "x509: certificate has expired or is not yet valid: current time … is before …"},
	{Name: "server-other-host", Serving: true, make: forHosts(otherHosts, server),
		Explains: "for other.invalid and 192.0.2.1 only: x509: certificate is valid for 192.0.2.1, not …"},
	{Name: "server-common-name-only", Serving: true, make: forHosts(nil, server),
		Explains: "no subject alternative names: x509: … doesn't contain any IP SANs; " +
			"by name: relies on legacy Common Name field"},
	{Name: "server-client-usage", Serving: true, NeedsHosts: true, make: with(ClientAuthOnly, server),
		Explains: "extended key usage is client authentication only: x509: certificate specifies an incompatible " +
			"key usage"},
	{Name: "server-sha1", Serving: true, NeedsHosts: true, make: with(SHA1, server),
		Explains: "weak: signed with SHA-1: x509: certificate signed by unknown authority, because of an insecure " +
			"algorithm"},
}

// Kinds returns all kinds: client certificates, then serving certificates, the valid ones of each first.
func Kinds() []Kind { return slices.Clone(kinds) }

// KindNamed returns the kind with the given name. If there is none, the error lists all names.
func KindNamed(name string) (Kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names[i] = k.Name
	}
	return Kind{}, fmt.Errorf("%q is no kind of certificate; the kinds are %s", name, strings.Join(names, ", "))
}

// Mint makes a certificate of the kind. It is signed by a, or by an intermediate CA below a, unless the kind is
// self-signed or signed by an unknown CA.
func (k Kind) Mint(a *Authority, r Request) (*Pair, error) {
	if k.make == nil {
		return nil, fmt.Errorf("kind %q: Kinds does not list it", k.Name)
	}
	if k.NeedsHosts && len(r.Hosts) == 0 {
		return nil, fmt.Errorf("kind %s: a serving certificate needs hosts; give a DNS name or an IP address", k.Name)
	}
	if r.Life < 0 {
		return nil, fmt.Errorf("kind %s: life %v: must be more than 0; for an expired certificate use an expired kind",
			k.Name, r.Life)
	}
	var mutate []Mutate
	if r.Life != 0 {
		mutate = append(mutate, ValidFor(time.Now().Add(-backdate), time.Now().Add(r.Life)))
	}
	if r.RSA {
		mutate = append(mutate, RSA)
	}
	p, err := k.make(a, r, mutate...)
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	return p, nil
}
