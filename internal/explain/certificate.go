package explain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Problem is one thing that is wrong with a certificate.
type Problem struct {
	ID ProblemID `json:"id"`
	// Says names the certificate's own facts, and is a sentence without a full stop.
	Message string `json:"message"`
	// Harmless: it is no reason to refuse the certificate, and yet hardly meant.
	Harmless bool `json:"harmless,omitempty"`
}

// ProblemID names a sort of Problem.
type ProblemID string

const (
	ProblemExpired       ProblemID = "expired"
	ProblemNotYetValid   ProblemID = "not yet valid"
	ProblemUnknownCA     ProblemID = "unknown authority"
	ProblemSelfSigned    ProblemID = "self-signed"
	ProblemOtherKey      ProblemID = "signed with another key"
	ProblemWeakSignature ProblemID = "weak signature"
	ProblemChain         ProblemID = "chain"
	ProblemUsage         ProblemID = "usage"
	ProblemName          ProblemID = "name"
	ProblemNoSAN         ProblemID = "no subject alternative name"
)

// ClientCertificateProblems is all that is wrong with a client's certificate, first in presented, for a kubelet whose client CA file has
// the certificates in roots; those after it are of the CAs between, as the client sent them. Nil roots: the file is not
// known, and nothing is said of the chain.
func ClientCertificateProblems(presented, roots []*x509.Certificate, now time.Time) []Problem {
	if len(presented) == 0 {
		return nil
	}
	faults := check(presented, roots, x509.ExtKeyUsageClientAuth, now, "clientCAFile")
	subject := presented[0].Subject
	harmless := func(says string) {
		faults = append(faults, Problem{ID: ProblemName, Message: says, Harmless: true})
	}
	switch {
	case subject.CommonName == "":
		harmless("it has no common name, and so stands for nobody: the token decides, or else anonymous")
	case subject.CommonName == user.Anonymous:
		harmless("its common name is system:anonymous: whoever has it may do what nobody in particular may")
	}
	if slices.Contains(subject.Organization, user.SystemPrivilegedGroup) {
		harmless("its organization is system:masters: whoever has it may do everything, and no binding can take that away")
	}
	return faults
}

// ServingCertificateProblems is all that is wrong with a kubelet's certificate, first in served, for a client that trusts roots and
// reaches the kubelet as host, a DNS name or an IP address; an empty host is not compared.
func ServingCertificateProblems(served, roots []*x509.Certificate, host string, now time.Time) []Problem {
	if len(served) == 0 {
		return nil
	}
	faults := check(served, roots, x509.ExtKeyUsageServerAuth, now, "--kubelet-certificate-authority")
	leaf := served[0]
	switch {
	case host == "" || leaf.VerifyHostname(host) == nil:
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		faults = append(faults, Problem{ID: ProblemNoSAN, Message: fmt.Sprintf("it has no subject alternative names, and its common name %q is not looked at: it is for no host at all, and so not for %s", leaf.Subject.CommonName, host)})
	default:
		faults = append(faults, Problem{ID: ProblemName, Message: fmt.Sprintf("valid for %s, but not for %s", strings.Join(hostsOf(leaf), ", "), host)})
	}
	return faults
}

// hostsOf are the names and addresses that a serving certificate is for.
func hostsOf(c *x509.Certificate) []string {
	hosts := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

// check says what is wrong with a certificate's chain, dates and usage: each by itself, so that one does not hide another.
// where is what the roots are configured by.
func check(presented, roots []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time, where string) []Problem {
	leaf, between := presented[0], presented[1:]
	var faults []Problem
	chain := []*x509.Certificate{leaf}
	usable := leafHas(leaf, usage)
	if roots != nil {
		anyUsage := []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		found, at, err := chainOf(leaf, between, roots, anyUsage)
		if err != nil {
			faults = append(faults, chainProblem(leaf, between, roots, where, err))
		} else {
			chain = found
			_, err := verify(leaf, between, roots, at, []x509.ExtKeyUsage{usage})
			usable = err == nil
		}
	}
	for i, c := range chain {
		which := "it"
		if i > 0 {
			which = fmt.Sprintf("the CA %q above it", nameOf(c.Subject.CommonName, c.Subject.String()))
		}
		faults = append(faults, dateProblems(which, c.NotBefore, c.NotAfter, now)...)
	}
	if !usable {
		faults = append(faults, Problem{ID: ProblemUsage, Message: fmt.Sprintf("its extended key usage is %s, and %s is not among that%s", usages(leaf), usageNames[usage], usageAbove(leaf, chain, usage))})
	}
	return faults
}

// dateProblems says what is wrong with the dates of a certificate, if anything is.
func dateProblems(which string, notBefore, notAfter, now time.Time) []Problem {
	switch {
	case now.After(notAfter):
		return []Problem{{ID: ProblemExpired, Message: fmt.Sprintf("%s expired at %s, %s ago", which, notAfter.UTC().Format(time.RFC3339), roughly(now.Sub(notAfter)))}}
	case now.Before(notBefore):
		return []Problem{{ID: ProblemNotYetValid, Message: fmt.Sprintf("%s is not valid before %s, in %s", which, notBefore.UTC().Format(time.RFC3339), roughly(notBefore.Sub(now)))}}
	}
	return nil
}

// usageAbove says which CA does not pass the usage on, where the certificate itself has it.
func usageAbove(leaf *x509.Certificate, chain []*x509.Certificate, usage x509.ExtKeyUsage) string {
	if !leafHas(leaf, usage) {
		return ""
	}
	for _, c := range chain[1:] {
		if !leafHas(c, usage) {
			return fmt.Sprintf(" of the CA %q above it, whose usage is %s", nameOf(c.Subject.CommonName, c.Subject.String()), usages(c))
		}
	}
	return " of a CA above it"
}

// chainOf finds a way from leaf to a root whatever the date: the moments that are tried are those at which certificates
// begin and end. It gives the moment at which the way is good.
func chainOf(leaf *x509.Certificate, between, roots []*x509.Certificate, usage []x509.ExtKeyUsage) (chain []*x509.Certificate, at time.Time, err error) {
	moments := []time.Time{leaf.NotBefore, leaf.NotAfter}
	for _, c := range slices.Concat(between, roots) {
		moments = append(moments, c.NotBefore, c.NotAfter)
	}
	var first error
	for _, at := range moments {
		chains, err := verify(leaf, between, roots, at, usage)
		if err == nil {
			return chains[0], at, nil
		}
		if expired := (x509.CertificateInvalidError{}); first == nil || errors.As(first, &expired) && expired.Reason == x509.Expired {
			first = err
		}
	}
	return nil, time.Time{}, first
}

func verify(leaf *x509.Certificate, between, roots []*x509.Certificate, at time.Time, usage []x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	return leaf.Verify(x509.VerifyOptions{Roots: poolOf(roots), Intermediates: poolOf(between), CurrentTime: at, KeyUsages: usage})
}

func poolOf(certificates []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certificates {
		pool.AddCert(c)
	}
	return pool
}

// chainProblem says why there is no way from leaf to a root. It follows the issuers' names as far as they lead.
func chainProblem(leaf *x509.Certificate, between, roots []*x509.Certificate, where string, err error) Problem {
	last := leaf
	for range between {
		next := slices.IndexFunc(between, func(c *x509.Certificate) bool {
			return c != last && bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
		if next < 0 {
			break
		}
		last = between[next]
	}
	issuer := nameOf(last.Issuer.CommonName, last.Issuer.String())
	of := "it is"
	if last != leaf {
		of = fmt.Sprintf("it is of the CA %q, which is", nameOf(last.Subject.CommonName, last.Subject.String()))
	}
	for _, root := range roots {
		if !bytes.Equal(root.RawSubject, last.RawIssuer) {
			continue
		}
		var weak x509.InsecureAlgorithmError
		signed := last.CheckSignatureFrom(root)
		switch {
		case errors.As(signed, &weak):
			return Problem{ID: ProblemWeakSignature, Message: fmt.Sprintf("%s signed with %v, which is not accepted any more", of, x509.SignatureAlgorithm(weak))}
		case signed != nil:
			return Problem{ID: ProblemOtherKey, Message: fmt.Sprintf("%s signed by a CA that is called %q, as one in %s is, but with another key: the CA was made anew, or there are two of that name", of, issuer, where)}
		}
	}
	if bytes.Equal(last.RawIssuer, last.RawSubject) {
		return Problem{ID: ProblemSelfSigned, Message: fmt.Sprintf("%s signed by its own key, and is not itself in %s, which has %s", of, where, names(roots))}
	}
	if !slices.ContainsFunc(roots, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, last.RawIssuer) }) {
		return Problem{ID: ProblemUnknownCA, Message: fmt.Sprintf("%s signed by the CA %q, and %s has %s; if %q is of one of these, its certificate must follow in the same file", of, issuer, where, names(roots), issuer)}
	}
	return Problem{ID: ProblemChain, Message: strings.TrimPrefix(err.Error(), "x509: ")}
}

// leafHas says whether a certificate by itself may be used so. Without any usage it may be used for everything.
func leafHas(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

var usageNames = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageServerAuth: "server authentication", x509.ExtKeyUsageClientAuth: "client authentication",
	x509.ExtKeyUsageCodeSigning: "code signing", x509.ExtKeyUsageEmailProtection: "e-mail protection",
}

// usages are those of a certificate in words.
func usages(c *x509.Certificate) string {
	var all []string
	for _, usage := range c.ExtKeyUsage {
		name, ok := usageNames[usage]
		if !ok {
			name = fmt.Sprintf("usage %d", usage)
		}
		all = append(all, name)
	}
	for _, oid := range c.UnknownExtKeyUsage {
		all = append(all, oid.String())
	}
	if len(all) == 0 {
		return "none, which is any"
	}
	return strings.Join(all, ", ")
}

func names(certificates []*x509.Certificate) string {
	if len(certificates) == 0 {
		return "nothing"
	}
	all := make([]string, len(certificates))
	for i, c := range certificates {
		all[i] = fmt.Sprintf("%q", nameOf(c.Subject.CommonName, c.Subject.String()))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

func nameOf(commonName, whole string) string {
	if commonName != "" {
		return commonName
	}
	return whole
}

// roughly is a duration in days, or, where it is less than two, to the minute.
func roughly(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
