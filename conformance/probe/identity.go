package probe

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"fauxlet/testcerts"
)

// Identity is somebody whom the kubelet is asked as.
type Identity struct {
	// Name heads its column.
	Name string
	// Certificate is presented to whoever requests one. Token is sent as a bearer token; it never gets into a report.
	// Either may be missing, and both may be there.
	Certificate *tls.Certificate
	Token       string

	// worthless: the token is a made-up one, which nobody needs to keep from anybody.
	worthless bool
}

// The identities that every probe has.
const (
	// NoCredential has no credential.
	NoCredential = "no-credential"
	// UnknownCA has a certificate of a CA that nobody knows, minted for the probe.
	UnknownCA = "unknown-ca"
	// InvalidToken has a token that nobody has issued.
	InvalidToken = "invalid-token"
)

// identities are those of every probe, then the given ones.
func identities(given []Identity) ([]Identity, error) {
	ca, err := testcerts.NewAuthority("fauxlet-probe-stranger-ca")
	if err != nil {
		return nil, err
	}
	pair, err := ca.Client("fauxlet-probe-stranger", nil)
	if err != nil {
		return nil, err
	}
	certificate := pair.TLS()
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	all := []Identity{{Name: NoCredential}, {Name: UnknownCA, Certificate: &certificate}, {Name: InvalidToken, Token: "fauxlet-probe-" + hex.EncodeToString(random), worthless: true}}
	for _, g := range given {
		for _, other := range all {
			if g.Name == other.Name {
				return nil, fmt.Errorf("identity %q: there is another of that name; every probe has %s, %s and %s", g.Name, NoCredential, UnknownCA, InvalidToken)
			}
		}
		if g.Name == "" {
			return nil, errors.New("an identity has no name")
		}
		if g.Certificate == nil && g.Token == "" {
			return nil, fmt.Errorf("identity %q: it has neither a certificate nor a token; %s is asked without being named", g.Name, NoCredential)
		}
		all = append(all, g)
	}
	return all, nil
}

// secret says whether i has something that whoever receives it could use.
func (i *Identity) secret() bool { return i.Token != "" && !i.worthless }

// commonName is the user that its certificate would make of it.
func (i *Identity) commonName() string {
	if leaf := i.leaf(); leaf != nil {
		return leaf.Subject.CommonName
	}
	return ""
}

func (i *Identity) leaf() *x509.Certificate {
	if i.Certificate == nil {
		return nil
	}
	if i.Certificate.Leaf != nil {
		return i.Certificate.Leaf
	}
	if len(i.Certificate.Certificate) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(i.Certificate.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// credential says in words what i has.
func (i *Identity) credential() string {
	var what string
	if leaf := i.leaf(); leaf != nil {
		what = fmt.Sprintf("client certificate %q of %q", leaf.Subject.String(), leaf.Issuer.String())
	}
	switch {
	case i.Token == "":
	case i.worthless:
		what = "a made-up bearer token"
	case what == "":
		what = "bearer token"
	default:
		what += " and bearer token"
	}
	if what == "" {
		return "no credential"
	}
	return what
}
