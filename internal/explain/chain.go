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

// chainOf returns a chain from leaf to a root, and a time at which it is valid. It ignores the current time.
// Instead, it tries the times at which the certificates become valid and expire, because verification succeeds at
// one of them if it succeeds at any time.
func chainOf(leaf *x509.Certificate, intermediates, roots []*x509.Certificate, usage []x509.ExtKeyUsage) (
	chain []*x509.Certificate, at time.Time, err error) {
	times := []time.Time{leaf.NotBefore, leaf.NotAfter}
	for _, c := range slices.Concat(intermediates, roots) {
		times = append(times, c.NotBefore, c.NotAfter)
	}
	var first error
	for _, at := range times {
		chains, err := verify(leaf, intermediates, roots, at, usage)
		if err == nil {
			return chains[0], at, nil
		}
		expired := x509.CertificateInvalidError{}
		if first == nil || errors.As(first, &expired) && expired.Reason == x509.Expired {
			first = err
		}
	}
	return nil, time.Time{}, first
}

func verify(leaf *x509.Certificate, intermediates, roots []*x509.Certificate, at time.Time, usage []x509.ExtKeyUsage) (
	[][]*x509.Certificate, error) {
	return leaf.Verify(x509.VerifyOptions{
		Roots: poolOf(roots), Intermediates: poolOf(intermediates), CurrentTime: at, KeyUsages: usage,
	})
}

func poolOf(certificates []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certificates {
		pool.AddCert(c)
	}
	return pool
}

// chainProblem states why there is no chain from leaf to a root. Source names the setting that contains the roots.
func chainProblem(leaf *x509.Certificate, intermediates, roots []*x509.Certificate, source string, err error) problem {
	last := lastOfChain(leaf, intermediates)
	signed := "signed"
	if last != leaf {
		signed = fmt.Sprintf("its CA %q is signed", subjectOf(last))
	}
	issuer := nameOf(last.Issuer.CommonName, last.Issuer.String())
	known := false
	for _, root := range roots {
		if !bytes.Equal(root.RawSubject, last.RawIssuer) {
			continue
		}
		known = true
		var weak x509.InsecureAlgorithmError
		switch err := last.CheckSignatureFrom(root); {
		case errors.As(err, &weak):
			return problem{ID: problemWeakSignature, Message: fmt.Sprintf(
				"%s with %v, which is no longer accepted", signed, x509.SignatureAlgorithm(weak))}
		case err != nil:
			return problem{ID: problemOtherKey,
				Message: fmt.Sprintf("%s by a CA named %q with another key than the CA of "+
					"that name in %s: the CA was recreated, or there are two CAs with the same name", signed, issuer,
					source)}
		}
	}
	switch {
	case bytes.Equal(last.RawIssuer, last.RawSubject):
		return problem{ID: problemSelfSigned,
			Message: fmt.Sprintf("%s by itself (self-signed), and not contained in %s, "+
				"which contains %s", signed, source, namesOf(roots))}
	case !known:
		return problem{ID: problemUnknownCA,
			Message: fmt.Sprintf("%s by the CA %q, but %s contains %s. If one of these signed "+
				"%q, the client must send the certificate of %q too", signed, issuer, source, namesOf(roots), issuer,
				issuer)}
	}
	return problem{ID: problemChain, Message: strings.TrimPrefix(err.Error(), "x509: ")}
}

// lastOfChain follows the issuers from leaf through the intermediates, and returns the last certificate that it finds.
func lastOfChain(leaf *x509.Certificate, intermediates []*x509.Certificate) *x509.Certificate {
	last := leaf
	for range intermediates {
		next := slices.IndexFunc(intermediates, func(c *x509.Certificate) bool {
			return c != last && bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
		if next < 0 {
			break
		}
		last = intermediates[next]
	}
	return last
}

func namesOf(certificates []*x509.Certificate) string {
	if len(certificates) == 0 {
		return "no certificate"
	}
	all := make([]string, len(certificates))
	for i, c := range certificates {
		all[i] = fmt.Sprintf("%q", subjectOf(c))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

func subjectOf(c *x509.Certificate) string { return nameOf(c.Subject.CommonName, c.Subject.String()) }

// nameOf returns the common name, or the whole distinguished name if the common name is empty.
func nameOf(commonName, distinguishedName string) string {
	if commonName != "" {
		return commonName
	}
	return distinguishedName
}
