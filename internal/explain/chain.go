package explain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verifier verifies a certificate against root CAs. The field "source" is the name of the setting that contains the
// root CAs. The messages use this name.
type verifier struct {
	leaf                 *x509.Certificate
	intermediates, roots []*x509.Certificate
	source               string
}

// The method "chain" returns a certificate chain from the certificate to a root CA, and a time at which that chain is
// valid. It does not use the current time. Instead, it tries each time at which a certificate becomes valid or expires.
// If verification succeeds at any time, it succeeds at one of these times. If verification fails at all these times,
// the result is the first error that has a cause other than the validity period of a certificate. If there is no such
// error, the result is the last error.
func (v *verifier) chain() (chain []*x509.Certificate, at time.Time, err error) {
	for _, c := range slices.Concat([]*x509.Certificate{v.leaf}, v.intermediates, v.roots) {
		for _, at := range []time.Time{c.NotBefore, c.NotAfter} {
			chain, verifyError := v.verify(at, x509.ExtKeyUsageAny)
			if verifyError == nil {
				return chain, at, nil
			}
			expired := x509.CertificateInvalidError{}
			if err == nil || errors.As(err, &expired) && expired.Reason == x509.Expired {
				err = verifyError
			}
		}
	}
	return nil, time.Time{}, err
}

func (v *verifier) verify(at time.Time, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{usage},
	}
	for _, c := range v.roots {
		options.Roots.AddCert(c)
	}
	for _, c := range v.intermediates {
		options.Intermediates.AddCert(c)
	}
	chains, err := v.leaf.Verify(options)
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// chainProblem states why no certificate chain leads from the certificate to a root CA. The parameter err is the error
// from the method "chain".
func (v *verifier) chainProblem(err error) problem {
	last := v.last()
	signed, issuer := "signed", nameOf(last.Issuer)
	if last != v.leaf {
		signed = fmt.Sprintf("its CA %q is signed", nameOf(last.Subject))
	}
	known := false
	for _, root := range v.roots {
		if !bytes.Equal(root.RawSubject, last.RawIssuer) {
			continue
		}
		known = true
		var weak x509.InsecureAlgorithmError
		switch err := last.CheckSignatureFrom(root); {
		case errors.As(err, &weak):
			return newProblem(problemWeakSignature, "%s with %v, which is no longer accepted",
				signed, x509.SignatureAlgorithm(weak))
		case err != nil:
			return newProblem(problemOtherKey, "%s by a CA named %q with another key than the CA of that name in %s: "+
				"the CA was recreated, or there are two CAs with the same name", signed, issuer, v.source)
		}
	}
	switch {
	case bytes.Equal(last.RawIssuer, last.RawSubject):
		return newProblem(problemSelfSigned, "%s by itself (self-signed), and not contained in %s, which contains %s",
			signed, v.source, namesOf(v.roots))
	case !known:
		return newProblem(problemUnknownCA, "%s by the CA %[2]q, but %[3]s contains %[4]s. If one of these signed "+
			"%[2]q, the client must send the certificate of %[2]q too", signed, issuer, v.source, namesOf(v.roots))
	}
	return newProblem(problemChain, "%s", strings.TrimPrefix(err.Error(), "x509: "))
}

// The method "last" follows the chain from the certificate through the intermediates. It returns the first certificate
// whose issuer is not an intermediate.
func (v *verifier) last() *x509.Certificate {
	last := v.leaf
	for range v.intermediates {
		next := slices.IndexFunc(v.intermediates, func(c *x509.Certificate) bool {
			return c != last && bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
		if next < 0 {
			break
		}
		last = v.intermediates[next]
	}
	return last
}

func namesOf(certificates []*x509.Certificate) string {
	if len(certificates) == 0 {
		return "no certificate"
	}
	all := make([]string, len(certificates))
	for i, c := range certificates {
		all[i] = fmt.Sprintf("%q", nameOf(c.Subject))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}
