package probe

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fauxlet/testcerts"
)

// Identity is a client of the kubelet and its credentials.
type Identity struct {
	// Name identifies the client in the report.
	Name string
	// Certificate is the client certificate. Its field Leaf should be set, so that the report can describe the
	// certificate. Token is a bearer token, which is never reported. At least one of Certificate and Token is set.
	Certificate *tls.Certificate
	Token       string

	madeUp bool // the probe generated the token, so the token is not a secret
}

// The identities of every probe.
const (
	// NoCredential sends no credential.
	NoCredential = "no-credential"
	// UnknownCA sends a client certificate of a CA that was generated for this probe, so no kubelet trusts it.
	UnknownCA = "unknown-ca"
	// InvalidToken sends a bearer token that was generated for this probe, so the token cannot be valid.
	InvalidToken = "invalid-token"
)

// identities returns the identities of every probe, followed by the given identities.
func identities(given []Identity) ([]Identity, error) {
	ca, err := testcerts.NewAuthority("fauxlet-probe-unknown-ca")
	if err != nil {
		return nil, err
	}
	pair, err := ca.Client("fauxlet-probe-unknown", nil)
	if err != nil {
		return nil, err
	}
	certificate := pair.TLS()
	all := []Identity{{Name: NoCredential}, {Name: UnknownCA, Certificate: &certificate},
		{Name: InvalidToken, Token: "fauxlet-probe-" + rand.Text(), madeUp: true}}
	for _, g := range given {
		switch {
		case g.Name == "":
			return nil, errors.New("an identity has no name")
		case slices.ContainsFunc(all, func(other Identity) bool { return g.Name == other.Name }):
			return nil, fmt.Errorf("identity %q: the name is already in use; every probe has the identities %s, %s "+
				"and %s", g.Name, NoCredential, UnknownCA, InvalidToken)
		case g.Certificate == nil && g.Token == "":
			return nil, fmt.Errorf("identity %q has neither a certificate nor a token; every probe has the "+
				"identity %s", g.Name, NoCredential)
		}
		all = append(all, g)
	}
	return all, nil
}

// secret reports whether the identity has a real token, which an impostor that receives it could use. A token that the
// probe generated is not secret, because no kubelet accepts it.
func (i *Identity) secret() bool { return i.Token != "" && !i.madeUp }

// commonName is the user name in the client certificate, or "".
func (i *Identity) commonName() string {
	if i.Certificate == nil || i.Certificate.Leaf == nil {
		return ""
	}
	return i.Certificate.Leaf.Subject.CommonName
}

// credential describes the identity's credentials for the report.
func (i *Identity) credential() string {
	var all []string
	if i.Certificate != nil && i.Certificate.Leaf != nil {
		leaf := i.Certificate.Leaf
		all = append(all, fmt.Sprintf("client certificate %q issued by %q", leaf.Subject, leaf.Issuer))
	}
	if i.madeUp {
		all = append(all, "a made-up bearer token")
	} else if i.Token != "" {
		all = append(all, "bearer token")
	}
	return cmp.Or(strings.Join(all, " and "), "no credential")
}
