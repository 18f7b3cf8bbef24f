package testcerts

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Request describes the certificate that [Kind.Mint] makes.
type Request struct {
	// CommonName is the user name in a client certificate. In a serving certificate it is the name of the Node: the
	// subject comes from [ForNode], except in the kinds server-kubelet-default and server-common-name-only.
	CommonName string
	// Organizations are the groups of a client certificate. Serving certificates ignore them.
	Organizations []string
	// Hosts are the DNS names and IP addresses of a serving certificate. Client certificates ignore them.
	Hosts []string
	// Life is the time for which the certificate is valid. 0 means one year. Kinds of expired and not yet valid
	// certificates ignore it.
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

	signer signer
	mutate Mutate
	hosts  []string // if not nil, these replace Request.Hosts
	// If hostSubject is true, the common name of a serving certificate is the host name itself.
	hostSubject bool
}

// signer selects what signs the certificates of a [Kind].
type signer int

const (
	byAuthority    signer = iota
	byIntermediate        // signed by an intermediate CA, which the pair contains
	withoutChain          // signed by an intermediate CA, which the pair does not contain
	byUnknownCA           // signed by a CA that no client or kubelet trusts
	bySelf                // signed by the certificate's own key
	byKubeletsCA          // see KubeletSelfSigned
)

// otherHosts are a DNS name and an IP address that never belong to a real host (RFC 2606, RFC 5737).
var otherHosts = []string{"other.invalid", "192.0.2.1"}

// kinds lists all kinds. The results in Explains were measured. The client certificates were sent to a kubelet v1.37,
// and the serving certificates to a kube-apiserver v1.37 with the flag --kubelet-certificate-authority. Without that
// flag, kube-apiserver accepts every serving certificate.
var kinds = []Kind{
	{Name: "client", Explains: "valid: the common name is the user, the organizations are the groups"},
	{Name: "client-intermediate", signer: byIntermediate,
		Explains: "valid: signed by an intermediate CA, which the file contains"},
	{Name: "client-no-usage", mutate: NoUsage, Explains: "no extended key usage at all: accepted"},
	{Name: "client-no-name", mutate: EmptyCN,
		Explains: "no common name: the kubelet skips it, and tries the token, then anonymous"},
	{Name: "client-expired", mutate: Expired,
		Explains: "expired: 401, even if anonymous is on, unless the request also has a valid bearer token"},
	{Name: "client-not-yet-valid", mutate: NotYetValid,
		Explains: "not valid before tomorrow: 401, even if anonymous is on"},
	{Name: "client-unknown-ca", signer: byUnknownCA,
		Explains: "signed by a CA that is not in the kubelet's clientCAFile: 401, even if anonymous is on"},
	{Name: "client-chain-missing", signer: withoutChain,
		Explains: "signed by an intermediate CA, which the file does not contain: 401, as with an unknown CA"},
	{Name: "client-server-usage", mutate: ServerAuthOnly,
		Explains: "extended key usage is server authentication only: 401, even if anonymous is on"},
	{Name: "client-sha1", mutate: SHA1, Explains: "weak: signed with SHA-1: 401, as with an unknown CA"},

	{Name: "server", Serving: true, NeedsHosts: true, Explains: "valid for the given hosts"},
	{Name: "server-intermediate", Serving: true, NeedsHosts: true, signer: byIntermediate,
		Explains: "valid: signed by an intermediate CA, which the file contains"},
	{Name: "server-other-node", Serving: true, NeedsHosts: true, mutate: ForNode("other-node"),
		Explains: "valid for the given hosts, but its subject is the node other-node: accepted, because " +
			"kube-apiserver up to v1.37 does not verify the name of the node (KEP-4872)"},
	{Name: "server-kubelet-default", Serving: true, signer: byKubeletsCA, hostSubject: true,
		Explains: "self-signed for one name, as a kubelet without tlsCertFile generates it. Dialed by name: x509: " +
			"certificate signed by unknown authority. Dialed by address: x509: … doesn't contain any IP SANs"},
	{Name: "server-self-signed", Serving: true, NeedsHosts: true, signer: bySelf,
		Explains: "signed by its own key: x509: certificate signed by unknown authority"},
	{Name: "server-unknown-ca", Serving: true, NeedsHosts: true, signer: byUnknownCA,
		Explains: "signed by a CA that kube-apiserver does not trust: x509: certificate signed by unknown authority"},
	{Name: "server-chain-missing", Serving: true, NeedsHosts: true, signer: withoutChain,
		Explains: "signed by an intermediate CA, which the file does not contain: " +
			"x509: certificate signed by unknown authority"},
	{Name: "server-expired", Serving: true, NeedsHosts: true, mutate: Expired,
		Explains: "x509: certificate has expired or is not yet valid: current time … is after …"},
	{Name: "server-not-yet-valid", Serving: true, NeedsHosts: true, mutate: NotYetValid,
		Explains: "x509: certificate has expired or is not yet valid: current time … is before …"},
	{Name: "server-other-host", Serving: true, hosts: otherHosts,
		Explains: "for other.invalid and 192.0.2.1 only: x509: certificate is valid for 192.0.2.1, not …"},
	{Name: "server-common-name-only", Serving: true, hosts: []string{}, hostSubject: true,
		Explains: "no subject alternative names. Dialed by name: x509: certificate relies on legacy Common Name " +
			"field. Dialed by address: x509: … doesn't contain any IP SANs"},
	{Name: "server-client-usage", Serving: true, NeedsHosts: true, mutate: ClientAuthOnly,
		Explains: "extended key usage is client authentication only: x509: certificate specifies an incompatible " +
			"key usage"},
	{Name: "server-sha1", Serving: true, NeedsHosts: true, mutate: SHA1,
		Explains: "weak: signed with SHA-1: x509: certificate signed by unknown authority, because of an insecure " +
			"algorithm"},
}

// Kinds returns all kinds: first the client certificates, then the serving certificates. In both groups the kinds that
// are accepted come first.
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

// Mint makes a certificate of the kind. The given Authority signs it. For some kinds the signer is instead an
// intermediate CA below the Authority, an unknown CA, or the certificate's own key.
func (k Kind) Mint(a *Authority, r Request) (*Pair, error) {
	k, err := KindNamed(k.Name) // the caller may have made a Kind with this name, without the unexported fields
	if err != nil {
		return nil, err
	}
	if k.NeedsHosts && len(r.Hosts) == 0 {
		return nil, fmt.Errorf("kind %s: a serving certificate needs hosts; give a DNS name or an IP address", k.Name)
	}
	if r.Life < 0 {
		return nil, fmt.Errorf("kind %s: life %v: must not be negative; for an expired certificate use an expired kind",
			k.Name, r.Life)
	}
	p, err := k.mint(a, r)
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	return p, nil
}

func (k Kind) mint(a *Authority, r Request) (p *Pair, err error) {
	var mutate []Mutate
	if k.Serving && !k.hostSubject && r.CommonName != "" {
		mutate = append(mutate, ForNode(r.CommonName))
	}
	if r.Life != 0 {
		mutate = append(mutate, ValidFor(time.Now().Add(-backdate), time.Now().Add(r.Life)))
	}
	if r.RSA {
		mutate = append(mutate, RSA)
	}
	if k.mutate != nil {
		mutate = append(mutate, k.mutate) // comes last, so that it also overrides Request.Life
	}
	if k.hosts != nil {
		r.Hosts = k.hosts
	}
	switch k.signer {
	case bySelf:
		return SelfSigned(r.CommonName, r.Hosts, mutate...)
	case byKubeletsCA:
		return KubeletSelfSigned(r.CommonName, r.Hosts, mutate...)
	case byUnknownCA:
		a, err = NewAuthority("unknown-ca")
	case byIntermediate, withoutChain:
		a, err = a.Intermediate(a.Cert.Subject.CommonName + "-intermediate")
	}
	if err != nil {
		return nil, err
	}
	if k.Serving {
		p, err = a.Server(r.CommonName, r.Hosts, mutate...)
	} else {
		p, err = a.Client(r.CommonName, r.Organizations, mutate...)
	}
	if err == nil && k.signer == withoutChain {
		return newPair(p.Leaf, p.key, nil)
	}
	return p, err
}
