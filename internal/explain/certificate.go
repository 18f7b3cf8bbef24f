package explain

import (
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

// problem is a reason why a certificate is refused, or a probable mistake in a certificate.
type problem struct {
	ID problemID
	// Message is a sentence, without a full stop, that states the problem. It contains values from the certificate.
	Message string
	// Harmless is true if the problem is probably a mistake, but does not cause a refusal.
	Harmless bool
}

func newProblem(id problemID, message string, values ...any) problem {
	return problem{ID: id, Message: fmt.Sprintf(message, values...)}
}

// problemID identifies a kind of problem.
type problemID string

const (
	problemExpired       problemID = "expired"
	problemNotYetValid   problemID = "not yet valid"
	problemUnknownCA     problemID = "unknown authority"
	problemSelfSigned    problemID = "self-signed"
	problemOtherKey      problemID = "signed with another key"
	problemWeakSignature problemID = "weak signature"
	problemChain         problemID = "chain"
	problemUsage         problemID = "usage"
	problemName          problemID = "name"
	problemNoSAN         problemID = "no subject alternative name"
)

// clientCertificateProblems returns all problems of a client certificate. The first certificate in "presented" is the
// client's own; the others are the intermediate CAs that the client sent. The argument "roots" contains the kubelet's
// client CAs. If it is nil, the certificate chain is not checked.
func clientCertificateProblems(presented, roots []*x509.Certificate, now time.Time) []problem {
	problems := commonProblems(presented, roots, x509.ExtKeyUsageClientAuth, now, "clientCAFile")
	harmless := func(message string) {
		problems = append(problems, problem{ID: problemName, Message: message, Harmless: true})
	}
	subject := presented[0].Subject
	switch {
	case subject.CommonName == "":
		harmless("it has no common name, so it authenticates no user; the token decides, or else anonymous")
	case subject.CommonName == user.Anonymous:
		harmless("its common name is system:anonymous, so it grants the rights of an anonymous client only")
	}
	if slices.Contains(subject.Organization, user.SystemPrivilegedGroup) {
		harmless("its organization is system:masters, so its owner may do everything, and no role binding can " +
			"change that")
	}
	return problems
}

// servingCertificateProblems returns all problems that a kubelet's serving certificate has for a client. The first
// certificate in "served" is the kubelet's own; the others are intermediate CAs. The argument "roots" contains the CAs
// that the client trusts. The argument "host" is the DNS name or the IP address to which the client connects. If "host"
// is empty, the names in the certificate are not checked.
func servingCertificateProblems(served, roots []*x509.Certificate, host string, now time.Time) []problem {
	problems := commonProblems(served, roots, x509.ExtKeyUsageServerAuth, now, "--kubelet-certificate-authority")
	leaf := served[0]
	switch {
	case host == "" || leaf.VerifyHostname(host) == nil:
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		problems = append(problems, newProblem(problemNoSAN, "it has no subject alternative names, so it is valid for "+
			"no host, and not for %s; clients ignore its common name %q", host, leaf.Subject.CommonName))
	default:
		problems = append(problems, newProblem(problemName, "valid for %s, but not for %s", hostsOf(leaf), host))
	}
	return problems
}

func hostsOf(c *x509.Certificate) string {
	hosts := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return strings.Join(hosts, ", ")
}

// commonProblems checks the certificate chain, the dates and the usage of a certificate. It checks them independently
// and reports all problems, not only the first. The argument "source" is the name of the setting that contains the root
// CAs. The messages use this name.
func commonProblems(presented, roots []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time,
	source string) []problem {
	v := verifier{presented[0], presented[1:], roots, source}
	var problems []problem
	chain := []*x509.Certificate{v.leaf}
	usable := allowsUsage(v.leaf, usage)
	if roots != nil {
		if found, at, err := v.chain(); err != nil {
			problems = append(problems, v.chainProblem(err))
		} else {
			chain = found
			_, err := v.verify(at, usage)
			usable = err == nil
		}
	}
	for i, c := range chain {
		which := "it"
		if i > 0 {
			which = fmt.Sprintf("its CA %q", nameOf(c.Subject))
		}
		problems = append(problems, dateProblems(which, c.NotBefore, c.NotAfter, now)...)
	}
	if !usable {
		problems = append(problems, usageProblem(chain, usage))
	}
	return problems
}

func dateProblems(which string, notBefore, notAfter, now time.Time) []problem {
	switch {
	case now.After(notAfter):
		return []problem{newProblem(problemExpired, "%s expired at %s, %s ago",
			which, notAfter.UTC().Format(time.RFC3339), roughly(now.Sub(notAfter)))}
	case now.Before(notBefore):
		return []problem{newProblem(problemNotYetValid, "%s is not valid before %s, in %s",
			which, notBefore.UTC().Format(time.RFC3339), roughly(notBefore.Sub(now)))}
	}
	return nil
}

func roughly(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// usageProblem returns the problem of a certificate chain that does not allow a usage. The message names the
// certificate whose extended key usages exclude the usage. The extended key usages of a CA also restrict the
// certificates that the CA signs.
func usageProblem(chain []*x509.Certificate, usage x509.ExtKeyUsage) problem {
	which, c := "its extended key usage", chain[0]
	for i := 1; i < len(chain) && allowsUsage(c, usage); i++ {
		c = chain[i]
		which = fmt.Sprintf("the extended key usage of its CA %q", nameOf(c.Subject))
	}
	return newProblem(problemUsage, "%s is %s, without %s", which, usages(c), usage)
}

// allowsUsage reports whether a certificate allows a usage, without regard to its issuers. A certificate without
// extended key usages allows every usage.
func allowsUsage(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func usages(c *x509.Certificate) string {
	var all []string
	for _, usage := range c.ExtKeyUsage {
		all = append(all, usage.String())
	}
	for _, oid := range c.UnknownExtKeyUsage {
		all = append(all, oid.String())
	}
	if len(all) == 0 {
		return "any (the certificate has no extended key usage)"
	}
	return strings.Join(all, ", ")
}

func nameOf(name pkix.Name) string { return cmp.Or(name.CommonName, name.String()) }
