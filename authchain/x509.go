package authchain

import (
	stdx509 "crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
)

// newX509Step verifies the client certificate and takes its common name as the user, its organizations as the groups.
// Without a CA it has no opinion of any certificate.
func newX509Step(ca CAProvider) authenticator.Request {
	verify := func() (stdx509.VerifyOptions, bool) { return stdx509.VerifyOptions{}, false }
	if ca != nil {
		verify = ca.VerifyOptions
	}
	return step{
		method:        MethodX509,
		authenticator: &rememberingX509{verify: verify, ask: x509.NewDynamic(verify, userOfChain(ca))},
		explain: func(r *http.Request, s *Step) {
			switch {
			case s.Outcome == OutcomeRefused:
				options, _ := verify()
				s.Reason = certificateError(s.err, options.CurrentTime)
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

// rememberingX509 verifies the same certificates once, rather than at each request: the verdict on them by the same roots
// changes with the time alone, and a P-256 signature costs more than all the rest of the chain. Only success is
// remembered.
type rememberingX509 struct {
	verify func() (stdx509.VerifyOptions, bool)
	ask    authenticator.Request
	// last has one place for all certificates whose signatures begin alike; the later of two takes it.
	last places[verified]
}

// verified are certificates with the user that they were found to stand for.
type verified struct {
	certificates []*stdx509.Certificate
	roots        *stdx509.CertPool
	usages       []stdx509.ExtKeyUsage
	user         *dated
}

func (m *rememberingX509) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || len(r.TLS.PeerCertificates[0].Signature) < 8 {
		return m.ask.AuthenticateRequest(r)
	}
	// The roots are looked at before they are used, so that an answer is never remembered for roots newer than its own.
	options, ok := m.verify()
	if !ok || options.Roots == nil || options.Intermediates != nil || !options.CurrentTime.IsZero() || len(options.CertificatePolicies) > 0 {
		return m.ask.AuthenticateRequest(r)
	}
	presented := r.TLS.PeerCertificates
	tail := presented[0].Signature[len(presented[0].Signature)-8:]
	slot := m.last.at(binary.LittleEndian.Uint64(tail))
	if v := slot.Load(); v != nil && v.roots == options.Roots && slices.Equal(v.usages, options.KeyUsages) && slices.EqualFunc(v.certificates, presented, (*stdx509.Certificate).Equal) && v.user.holds(time.Now()) {
		return &authenticator.Response{User: v.user.Info}, true, nil
	}
	response, ok, err := m.ask.AuthenticateRequest(r)
	if !ok || err != nil {
		return response, ok, err
	}
	if user, isDated := response.User.(*dated); isDated {
		slot.Store(&verified{presented, options.Roots, slices.Clone(options.KeyUsages), user})
		response.User = user.Info
	}
	return response, true, nil
}

// dated is a user for as long as every certificate of the chain, up to the root, is valid.
type dated struct {
	user.Info
	notBefore, notAfter time.Time
}

func (d *dated) holds(now time.Time) bool { return !now.Before(d.notBefore) && !now.After(d.notAfter) }

// chainVerifier is a CAProvider that refuses some of the chains that verify.
type chainVerifier interface {
	VerifyChain(chain []*stdx509.Certificate) error
}

// userOfChain returns the conversion of a verified chain into a user.
func userOfChain(ca CAProvider) x509.UserConversionFunc {
	verifier, ok := ca.(chainVerifier)
	if !ok {
		return datedUser
	}
	return func(chain []*stdx509.Certificate) (*authenticator.Response, bool, error) {
		if err := verifier.VerifyChain(chain); err != nil {
			return nil, false, err
		}
		return datedUser(chain)
	}
}

func datedUser(chain []*stdx509.Certificate) (*authenticator.Response, bool, error) {
	response, ok, err := x509.CommonNameUserConversion(chain)
	if !ok || err != nil {
		return response, ok, err
	}
	d := &dated{Info: response.User, notBefore: chain[0].NotBefore, notAfter: chain[0].NotAfter}
	for _, c := range chain[1:] {
		if c.NotBefore.After(d.notBefore) {
			d.notBefore = c.NotBefore
		}
		if c.NotAfter.Before(d.notAfter) {
			d.notAfter = c.NotAfter
		}
	}
	response.User = d
	return response, true, nil
}

// certificateError says what is wrong with a certificate at a time (zero: now), in words that name the certificate's own
// facts.
func certificateError(err error, now time.Time) string {
	var unknown stdx509.UnknownAuthorityError
	if errors.As(err, &unknown) && unknown.Cert != nil {
		issuer := unknown.Cert.Issuer.CommonName
		if issuer == "" {
			issuer = unknown.Cert.Issuer.String()
		}
		return fmt.Sprintf("certificate signed by unknown authority %q", issuer)
	}
	var invalid stdx509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Cert != nil {
		switch invalid.Reason {
		case stdx509.Expired:
			if now.IsZero() {
				now = time.Now()
			}
			if now.Before(invalid.Cert.NotBefore) {
				return "certificate is not valid before " + invalid.Cert.NotBefore.UTC().Format(time.RFC3339)
			}
			return "certificate expired at " + invalid.Cert.NotAfter.UTC().Format(time.RFC3339)
		case stdx509.IncompatibleUsage:
			return "certificate's extended key usage does not include client authentication"
		}
	}
	return strings.TrimPrefix(err.Error(), "x509: ")
}
