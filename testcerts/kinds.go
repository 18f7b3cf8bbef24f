package testcerts

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Request says what a certificate of a [Kind] is for.
type Request struct {
	CommonName    string
	Organizations []string
	// Hosts are the DNS names and IP addresses of a serving certificate.
	Hosts []string
	// Life is how long the certificate is good for; 0: a year. The kinds that are wrong about dates take no notice.
	Life time.Duration
	// RSA asks for an RSA key of 2048 bits rather than an ECDSA key on P-256.
	RSA bool
}

// Kind is a sort of certificate, good or broken, by a name.
type Kind struct {
	Name string
	// Serving: it is a kubelet's serving certificate, and Hosts are its subject alternative names. Otherwise it is one
	// that a client presents to a kubelet.
	Serving bool
	// NeedsHosts: it cannot be made without Hosts.
	NeedsHosts bool
	// Explains says what becomes of it between a kube-apiserver and a kubelet.
	Explains string

	make maker
}

// kinds is all that can be minted by name. What becomes of clients was measured on a kubelet v1.37, of serving
// certificates on a kube-apiserver v1.37 with --kubelet-certificate-authority; without that flag it accepts them all.
var kinds = []Kind{
	{Name: "client", make: client,
		Explains: "good: the common name is the user, the organizations are the groups"},
	{Name: "client-intermediate", make: ofIntermediate(client),
		Explains: "good: of an intermediate CA, whose certificate the file carries"},
	{Name: "client-no-usage", make: with(NoUsage, client),
		Explains: "no extended key usage at all: accepted"},
	{Name: "client-no-name", make: with(EmptyCN, client),
		Explains: "no common name: no opinion, so the token decides, or else anonymous"},
	{Name: "client-expired", make: with(Expired, client),
		Explains: "expired: 401, even where anonymous is on; a good token rescues it"},
	{Name: "client-not-yet-valid", make: with(NotYetValid, client),
		Explains: "not valid before tomorrow: 401, even where anonymous is on"},
	{Name: "client-stranger", make: ofStranger(client),
		Explains: "of a CA that the kubelet's clientCAFile does not have: 401, even where anonymous is on"},
	{Name: "client-chain-missing", make: withoutChain(ofIntermediate(client)),
		Explains: "of an intermediate CA, whose certificate the file lacks: 401, as a stranger's"},
	{Name: "client-server-usage", make: with(ServerAuthOnly, client),
		Explains: "its usage is server authentication alone: 401, even where anonymous is on"},
	{Name: "client-sha1", make: with(SHA1, client),
		Explains: "weak: signed with SHA-1: 401, as a stranger's"},

	{Name: "server", Serving: true, NeedsHosts: true, make: server,
		Explains: "good, for the given hosts"},
	{Name: "server-intermediate", Serving: true, NeedsHosts: true, make: ofIntermediate(server),
		Explains: "good: of an intermediate CA, whose certificate the file carries"},
	{Name: "server-kubelet-default", Serving: true, make: kubeletSelfSigned,
		Explains: "what a kubelet makes for itself, for its host name alone: certificate signed by unknown authority; by address: doesn't contain any IP SANs"},
	{Name: "server-self-signed", Serving: true, NeedsHosts: true, make: selfSigned,
		Explains: "signed by its own key: x509: certificate signed by unknown authority"},
	{Name: "server-stranger", Serving: true, NeedsHosts: true, make: ofStranger(server),
		Explains: "of a CA that kube-apiserver was not given: x509: certificate signed by unknown authority"},
	{Name: "server-chain-missing", Serving: true, NeedsHosts: true, make: withoutChain(ofIntermediate(server)),
		Explains: "of an intermediate CA, whose certificate the file lacks: x509: certificate signed by unknown authority"},
	{Name: "server-expired", Serving: true, NeedsHosts: true, make: with(Expired, server),
		Explains: "x509: certificate has expired or is not yet valid: current time … is after …"},
	{Name: "server-not-yet-valid", Serving: true, NeedsHosts: true, make: with(NotYetValid, server),
		Explains: "x509: certificate has expired or is not yet valid: current time … is before …"},
	{Name: "server-other-host", Serving: true, make: forHosts(otherHosts, server),
		Explains: "for other.invalid and 192.0.2.1 alone: x509: certificate is valid for 192.0.2.1, not …"},
	{Name: "server-common-name-only", Serving: true, make: forHosts(nil, server),
		Explains: "no subject alternative names: x509: … doesn't contain any IP SANs; by name: relies on legacy Common Name field"},
	{Name: "server-client-usage", Serving: true, NeedsHosts: true, make: with(ClientAuthOnly, server),
		Explains: "its usage is client authentication alone: x509: certificate specifies an incompatible key usage"},
	{Name: "server-sha1", Serving: true, NeedsHosts: true, make: with(SHA1, server),
		Explains: "weak: signed with SHA-1: x509: certificate signed by unknown authority, because of an insecure algorithm"},
}

// Kinds lists the kinds: a client's, then a kubelet's, the good ones of each first.
func Kinds() []Kind { return slices.Clone(kinds) }

// KindNamed finds a kind. The error lists those that there are.
func KindNamed(name string) (Kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names[i] = k.Name
	}
	return Kind{}, fmt.Errorf("%q is no kind of certificate; there are %s", name, strings.Join(names, ", "))
}

// Mint makes a certificate of the kind, signed by a unless the kind is one that its verifiers' CA did not sign.
func (k Kind) Mint(a *Authority, r Request) (*Pair, error) {
	if k.make == nil {
		return nil, fmt.Errorf("kind %q: not one of Kinds", k.Name)
	}
	if k.NeedsHosts && len(r.Hosts) == 0 {
		return nil, fmt.Errorf("kind %s: a serving certificate needs the hosts that it is for; give a DNS name or an IP address", k.Name)
	}
	if r.Life < 0 {
		return nil, fmt.Errorf("kind %s: life %v: must be more than 0; for one that has expired take a kind of that name", k.Name, r.Life)
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
