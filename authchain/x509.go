package authchain

import (
	"cmp"
	stdx509 "crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
)

// newX509Step returns the step that verifies the client certificate. The user name is the certificate's common name,
// and the groups are its organizations. If ca is nil, the step is always skipped.
func newX509Step(ca CAProvider, legacy Legacy) authenticator.Request {
	verify := func() (stdx509.VerifyOptions, bool) { return stdx509.VerifyOptions{}, false }
	if ca != nil {
		verify = ca.VerifyOptions
	}
	convert := func(chain []*stdx509.Certificate) (*authenticator.Response, bool, error) {
		return userOfChain(chain, legacy)
	}
	conversion := x509.UserConversionFunc(convert)
	if verifier, ok := ca.(ChainVerifier); ok {
		conversion = func(chain []*stdx509.Certificate) (*authenticator.Response, bool, error) {
			if err := verifier.VerifyChain(chain); err != nil {
				return nil, false, err
			}
			return convert(chain)
		}
	}
	return recordedStep{
		method:        MethodX509,
		authenticator: &cachingX509{verify: verify, authenticator: x509.NewDynamic(verify, conversion)},
		explain: func(r *http.Request, s *Step) {
			switch {
			case s.Outcome == OutcomeRefused:
				options, _ := verify()
				s.Reason = certificateError(s.err, options.CurrentTime, r.TLS.PeerCertificates[0])
			case s.Outcome == OutcomeAuthenticated:
			case r.TLS == nil || len(r.TLS.PeerCertificates) == 0:
				s.Reason = "no client certificate was presented"
			case ca == nil:
				s.Reason = "the client certificate was not looked at: authentication.x509.clientCAFile is not set"
			default:
				s.Reason = "the client certificate has no common name"
				if _, ok := verify(); !ok {
					s.Reason = "the client certificate was not looked at: there is no client CA yet"
				}
			}
		},
	}
}

// cachingX509 verifies a certificate once and not for each request, because verifying a P-256 signature costs more
// than the rest of the chain. The result depends only on the certificates, the verify options and the time. Only
// successful verifications are cached.
type cachingX509 struct {
	verify        func() (stdx509.VerifyOptions, bool)
	authenticator authenticator.Request
	// The cache is indexed by the last bytes of the leaf certificate's signature. A later certificate with the same
	// index replaces an earlier one.
	cache slots[verified]
}

// verified is an entry of the cache: the certificates of a client, the options with which they were verified, and the
// result.
type verified struct {
	certificates []*stdx509.Certificate
	roots        *stdx509.CertPool
	usages       []stdx509.ExtKeyUsage
	chain        certificateChain
	response     *authenticator.Response
}

func (v *verified) matches(presented []*stdx509.Certificate, options *stdx509.VerifyOptions, now time.Time) bool {
	return v != nil && v.roots == options.Roots && slices.Equal(v.usages, options.KeyUsages) &&
		slices.EqualFunc(v.certificates, presented, (*stdx509.Certificate).Equal) && v.chain.validAt(now)
}

func (c *cachingX509) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || len(r.TLS.PeerCertificates[0].Signature) < 8 {
		return c.authenticator.AuthenticateRequest(r)
	}
	// Read the options before the authenticator reads them. If the root CAs change between the two reads, the result is
	// cached for the old root CAs, so the cache never returns it for the new ones.
	options, ok := c.verify()
	if !ok || options.Roots == nil || options.Intermediates != nil || !options.CurrentTime.IsZero() ||
		len(options.CertificatePolicies) > 0 {
		return c.authenticator.AuthenticateRequest(r)
	}
	presented := r.TLS.PeerCertificates
	tail := presented[0].Signature[len(presented[0].Signature)-8:]
	slot := c.cache.at(binary.LittleEndian.Uint64(tail))
	if v := slot.Load(); v.matches(presented, &options, time.Now()) {
		return v.response, true, nil
	}
	response, ok, err := c.authenticator.AuthenticateRequest(r)
	if !ok || err != nil {
		return response, ok, err
	}
	if user, hasChain := response.User.(*userWithChain); hasChain {
		response.User = user.Info
		// The user of the cached response already has the group system:authenticated. Otherwise the group adder behind
		// this step would copy the user for each request.
		adder := group.NewAuthenticatedGroupAdder(authenticator.RequestFunc(
			func(*http.Request) (*authenticator.Response, bool, error) { return response, true, nil }))
		if response, ok, err = adder.AuthenticateRequest(r); ok && err == nil {
			slot.Store(&verified{presented, options.Roots, slices.Clone(options.KeyUsages), user.chain, response})
		}
	}
	return response, ok, err
}

// userWithChain is the user of a client certificate, with the verified chain of certificates.
type userWithChain struct {
	user.Info
	chain certificateChain
}

type certificateChain []*stdx509.Certificate

// validAt reports whether all certificates in the chain are valid at the time "now".
func (c certificateChain) validAt(now time.Time) bool {
	return !slices.ContainsFunc(c, func(c *stdx509.Certificate) bool {
		return now.Before(c.NotBefore) || now.After(c.NotAfter)
	})
}

func userOfChain(chain []*stdx509.Certificate, legacy Legacy) (*authenticator.Response, bool, error) {
	named := chain
	if legacy.NoUID { // the library looks for a UID in Names
		leaf := *chain[0]
		leaf.Subject.Names = nil
		named = append([]*stdx509.Certificate{&leaf}, chain[1:]...)
	}
	response, ok, err := x509.CommonNameUserConversion(named)
	if !ok || err != nil {
		return response, ok, err
	}
	if legacy.NoCredentialID {
		response.User = &user.DefaultInfo{Name: response.User.GetName(), UID: response.User.GetUID(),
			Groups: response.User.GetGroups()}
	}
	response.User = &userWithChain{response.User, chain}
	return response, ok, err
}

// certificateError returns the reason why a certificate was refused, from the error of its verification. The reason
// names the certificate's issuer or dates if they are the problem, and the CA if the dates are those of a CA. The
// parameter now is the time of the verification; the zero time means the current time. The parameter leaf is the
// client's own certificate.
func certificateError(err error, now time.Time, leaf *stdx509.Certificate) string {
	var unknown stdx509.UnknownAuthorityError
	if errors.As(err, &unknown) && unknown.Cert != nil {
		return fmt.Sprintf("certificate signed by unknown authority %q",
			cmp.Or(unknown.Cert.Issuer.CommonName, unknown.Cert.Issuer.String()))
	}
	var invalid stdx509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Cert != nil {
		switch invalid.Reason {
		case stdx509.Expired:
			which := "certificate"
			if !invalid.Cert.Equal(leaf) {
				which = fmt.Sprintf("the certificate of the CA %q", cmp.Or(invalid.Cert.Subject.CommonName,
					invalid.Cert.Subject.String()))
			}
			if now.IsZero() {
				now = time.Now()
			}
			if now.Before(invalid.Cert.NotBefore) {
				return which + " is not valid before " + invalid.Cert.NotBefore.UTC().Format(time.RFC3339)
			}
			return which + " expired at " + invalid.Cert.NotAfter.UTC().Format(time.RFC3339)
		case stdx509.IncompatibleUsage:
			return "certificate's extended key usage does not include client authentication"
		}
	}
	if inner := errors.Unwrap(err); inner != nil { // without serial number and key identifiers
		err = inner
	}
	return strings.TrimPrefix(err.Error(), "x509: ")
}
