package authchain

import (
	stdx509 "crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/x509"
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
		authenticator: x509.NewDynamic(verify, x509.CommonNameUserConversion),
		explain: func(r *http.Request, s *Step) {
			switch {
			case s.Outcome == OutcomeRefused:
				s.Reason = certificateError(s.err)
			case s.Outcome == OutcomeAuthenticated:
			case r.TLS == nil || len(r.TLS.PeerCertificates) == 0:
				s.Reason = "no client certificate was presented"
			case ca == nil:
				s.Reason = "the client certificate was not looked at: authentication.x509.clientCAFile is not set"
			default:
				s.Reason = "the client certificate has no common name"
			}
		},
	}
}

// certificateError says what is wrong with a certificate, in words that name the certificate's own facts.
func certificateError(err error) string {
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
			if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
				return "certificate is not valid before " + invalid.Cert.NotBefore.UTC().Format(time.RFC3339)
			}
			return "certificate expired at " + invalid.Cert.NotAfter.UTC().Format(time.RFC3339)
		case stdx509.IncompatibleUsage:
			return "certificate's extended key usage does not include client authentication"
		}
	}
	return strings.TrimPrefix(err.Error(), "x509: ")
}
