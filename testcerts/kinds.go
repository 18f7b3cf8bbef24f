package testcerts

import (
	"fmt"
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
	RSA  bool
}

// Kind is a sort of certificate, good or broken, by a name.
type Kind struct {
	Name string
	// Serving: it is a serving certificate, and Hosts are its subject alternative names; else a client's.
	Serving bool
	// Explains says what becomes of it between a kube-apiserver and a kubelet.
	Explains string

	selfSigned, otherCA, intermediate, otherHosts bool
	mutate                                        []Mutate
}

// kinds is all that can be minted by name. What they say was measured on a kubelet and a kube-apiserver v1.37.
var kinds = []Kind{
	{Name: "client", Explains: "a good client certificate: the common name is the user, the organizations are the groups"},
	{Name: "client-expired", Explains: "401, even where anonymous is on", mutate: []Mutate{Expired}},
	{Name: "client-not-yet-valid", Explains: "401, even where anonymous is on", mutate: []Mutate{NotYetValid}},
	{Name: "client-stranger", Explains: "of a CA of its own that nobody knows: 401, even where anonymous is on", otherCA: true},
	{Name: "client-server-usage", Explains: "its usage is server authentication alone: 401, even where anonymous is on", mutate: []Mutate{ServerAuthOnly}},
	{Name: "client-no-usage", Explains: "no extended key usage at all: accepted", mutate: []Mutate{NoUsage}},
	{Name: "client-no-name", Explains: "no common name: as if there were no certificate", mutate: []Mutate{EmptyCN}},
	{Name: "client-intermediate", Explains: "of an intermediate CA, whose certificate the file carries: accepted", intermediate: true},
	{Name: "server", Serving: true, Explains: "a good serving certificate for the given hosts"},
	{Name: "server-self-signed", Serving: true, Explains: "x509: certificate signed by unknown authority, where --kubelet-certificate-authority is set", selfSigned: true},
	{Name: "server-stranger", Serving: true, Explains: "of a CA of its own that nobody knows: certificate signed by unknown authority", otherCA: true},
	{Name: "server-expired", Serving: true, Explains: "x509: certificate has expired or is not yet valid", mutate: []Mutate{Expired}},
	{Name: "server-not-yet-valid", Serving: true, Explains: "x509: certificate has expired or is not yet valid", mutate: []Mutate{NotYetValid}},
	{Name: "server-other-host", Serving: true, Explains: "for the host other.invalid alone: x509: certificate is valid for other.invalid, not …", otherHosts: true},
	{Name: "server-common-name-only", Serving: true, Explains: "no subject alternative names: x509: cannot validate certificate … because it doesn't contain any IP SANs", mutate: []Mutate{NoSANs}},
	{Name: "server-client-usage", Serving: true, Explains: "its usage is client authentication alone: x509: certificate specifies an incompatible key usage", mutate: []Mutate{ClientAuthOnly}},
}

// Kinds lists the kinds.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

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

// Mint makes a certificate of the kind, signed by a where the kind is signed by a CA that its verifiers know.
func (k Kind) Mint(a *Authority, r Request) (*Pair, error) {
	if k.Serving && len(r.Hosts) == 0 && !k.otherHosts {
		return nil, fmt.Errorf("kind %s: a serving certificate needs the hosts that it is for", k.Name)
	}
	var mutate []Mutate
	if r.Life != 0 {
		mutate = append(mutate, ValidFor(time.Now().Add(-backdate), time.Now().Add(r.Life)))
	}
	if r.RSA {
		mutate = append(mutate, RSA)
	}
	mutate = append(mutate, k.mutate...)

	var err error
	switch {
	case k.otherCA:
		a, err = NewAuthority("stranger-ca")
	case k.intermediate:
		a, err = a.Intermediate(a.Cert.Subject.CommonName + "-intermediate")
	}
	if err != nil {
		return nil, err
	}
	hosts := r.Hosts
	if k.otherHosts {
		hosts = []string{"other.invalid"}
	}
	switch {
	case k.selfSigned:
		return SelfSigned(r.CommonName, hosts, mutate...)
	case k.Serving:
		return a.Server(r.CommonName, hosts, mutate...)
	}
	return a.Client(r.CommonName, r.Organizations, mutate...)
}
