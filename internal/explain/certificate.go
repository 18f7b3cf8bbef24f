package explain

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/pemfile"
)

// problem is a reason why a certificate is refused, or a probable mistake in a certificate.
type problem struct {
	ID problemID
	// Message is a sentence, without a full stop, that states the problem. It contains values from the certificate.
	Message string
	// Harmless is true if the problem is probably a mistake, but does not cause a refusal.
	Harmless bool
	// At is the certificate that has the problem. If it is a CA, "place" is the file or setting that contains it.
	At    *x509.Certificate
	place string
	// The field "command" is the command that mends the file, if the order of its certificates is the problem.
	command string
}

func newProblem(id problemID, message string, values ...any) problem {
	return problem{ID: id, Message: fmt.Sprintf(message, values...)}
}

// problemID identifies a kind of problem.
type problemID string

const (
	problemExpired       problemID = "expired"
	problemNotYetValid   problemID = "not yet valid"
	problemUsage         problemID = "usage" // with the prefix "CA " if a CA of the chain has one of these problems
	problemUnknownCA     problemID = "unknown authority"
	problemSelfSigned    problemID = "self-signed"
	problemOtherKey      problemID = "signed with another key"
	problemIssuerName    problemID = "issuer name"
	problemDamaged       problemID = "damaged"
	problemWeakSignature problemID = "weak signature"
	problemWeakKey       problemID = "weak key"
	problemNotCA         problemID = "not a CA"
	problemPathLength    problemID = "path length"
	problemConstraint    problemID = "name constraint"
	problemExtension     problemID = "critical extension"
	problemPolicy        problemID = "policy"
	problemOrder         problemID = "order"
	problemIsCA          problemID = "CA certificate"
	problemTooMany       problemID = "too many certificates"
	problemUnknown       problemID = "unknown"
	problemName          problemID = "name"
	problemAddress       problemID = "address as a DNS name"
	problemNoSAN         problemID = "no subject alternative name"
)

// clientCertificateProblems returns all problems of a client certificate. The first certificate in "presented" is the
// client's own; the others are the intermediate CAs that the client sent. The argument "roots" contains the kubelet's
// client CAs. If it is nil, the certificate chain is not checked.
func clientCertificateProblems(presented, roots []*x509.Certificate, now time.Time) []problem {
	v := newVerifier(presented, roots, "clientCAFile", "client")
	problems := commonProblems(v, x509.ExtKeyUsageClientAuth, now)
	harmless := func(id problemID, message string, values ...any) {
		p := newProblem(id, message, values...)
		p.Harmless, p.At = true, v.leaf
		problems = append(problems, p)
	}
	subject := presented[0].Subject
	if v.leaf.IsCA && !slices.ContainsFunc(problems, func(p problem) bool { return p.ID == problemOrder }) {
		harmless(problemIsCA, "it is the certificate of a CA; a client normally has a certificate that a CA has signed")
	}
	node, isNode := strings.CutPrefix(subject.CommonName, "system:node:")
	switch {
	case subject.CommonName == "":
		harmless(problemName, "it has no common name, so it authenticates no user; the token decides, or else "+
			"anonymous")
	case subject.CommonName == user.Anonymous:
		harmless(problemName, "its common name is system:anonymous, so it grants the rights of an anonymous client "+
			"only")
	case isNode:
		harmless(problemName, "it is the client certificate of the node %q, which a kubelet sends to kube-apiserver "+
			"(kubelet-client-current.pem). Do not use it for requests to kubelets, and grant system:node:%[1]s no "+
			"rights on them: kube-apiserver needs a client certificate of its own, such as kubeadm's "+
			"apiserver-kubelet-client.crt", node)
	}
	if slices.Contains(subject.Organization, user.SystemPrivilegedGroup) {
		harmless(problemName, "its organization is system:masters, so its owner may do everything, and no role "+
			"binding can change that")
	}
	return problems
}

// servingCertificateProblems returns all problems that a kubelet's serving certificate has for a client. The first
// certificate in "served" is the kubelet's own; the others are intermediate CAs. The argument "roots" contains the CAs
// that the client trusts. The argument "host" is the DNS name or the IP address to which the client connects. If "host"
// is empty, the names in the certificate are not checked.
func servingCertificateProblems(served, roots []*x509.Certificate, host string, now time.Time) []problem {
	leaf := served[0]
	problems := commonProblems(newVerifier(served, roots, "--kubelet-certificate-authority", "kubelet"),
		x509.ExtKeyUsageServerAuth, now)
	add := func(id problemID, message string, values ...any) {
		p := newProblem(id, message, values...)
		p.At = leaf
		problems = append(problems, p)
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	switch {
	case host == "" || leaf.VerifyHostname(host) == nil:
	case ip != nil && slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return ip.Equal(net.ParseIP(name)) }):
		add(problemAddress, "not valid for the address %s: it stands there as a DNS name; an address must be "+
			"IP:%[1]s", ip)
	case ip == nil && slices.Contains(leaf.DNSNames, host):
		add(problemName, "not valid for %q: the name stands there, but it is not a valid DNS name", host)
	case len(leaf.URIs)+len(leaf.EmailAddresses) > 0 && len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		add(problemNoSAN, "it has no DNS name and no IP address among its subject alternative names, so it is valid "+
			"for no host, and not for %s", host)
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		add(problemNoSAN, "it has no subject alternative names, so it is valid for "+
			"no host, and not for %s; clients ignore its common name %q", host, leaf.Subject.CommonName)
	case leaf.Subject.CommonName == host:
		add(problemName, "valid for %s, but not for %s; clients ignore its common name %[2]q", hostsOf(leaf), host)
	default:
		add(problemName, "valid for %s, but not for %s", hostsOf(leaf), host)
	}
	return problems
}

// hostsOf lists the DNS names and IP addresses of a certificate. An address that stands there as a DNS name is valid
// for nothing, and gets the prefix "DNS:".
func hostsOf(c *x509.Certificate) string {
	hosts := slices.Clone(c.DNSNames)
	for i, name := range hosts {
		if net.ParseIP(name) != nil {
			hosts[i] = "DNS:" + name
		}
	}
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return strings.Join(hosts, ", ")
}

// commonProblems checks the certificate chain, the dates and the usage of a certificate. Whether the certificate is
// refused is the decision of crypto/x509; the problems are its reasons. They are found independently of each other, so
// that all of them are reported, not only the first. If v.roots is nil, only the leaf is checked.
func commonProblems(v verifier, usage x509.ExtKeyUsage, now time.Time) (problems []problem) {
	var err error
	if v.roots == nil {
		problems = v.pathProblems(path{[]*x509.Certificate{v.leaf}, true}, now, usage)
	} else {
		err = v.verify(now, usage)
	}
	if order, sorted, ok := v.order(); ok {
		order.Harmless = err == nil
		problems = append(problems, order)
		v = sorted
		if v.roots == nil || err != nil && v.verify(now, usage) == nil {
			return problems
		}
	}
	if err != nil {
		problems = append(problems, v.problems(now, usage, err)...)
	}
	for i, c := range v.file {
		bits, owner := rsaBits(c), v.own()
		if bits == 0 || bits >= 2048 || i > 0 && shortRSA(c) {
			continue // a CA with fewer than 1024 bits is one of the problems of the chain
		}
		if i > 0 {
			owner = fmt.Sprintf("the CA %q (certificate %d in the %s's file)", nameOf(c.Subject), i+1, v.sender)
		}
		weak := newProblem(problemWeakKey, "the RSA key of %s has %d bits, which Go accepts; OpenSSL and many "+
			"policies require 2048 bits or more", owner, bits)
		if shortRSA(c) {
			weak = newProblem(problemWeakKey, "the RSA key of %s has %d bits; Go refuses keys of fewer than 1024 "+
				"bits, so TLS handshakes with this certificate fail, although its chain is valid", owner, bits)
		}
		weak.Harmless, weak.At = true, c
		problems = append(problems, weak)
	}
	return problems
}

// order reports whether the first certificate is a CA that signed another one in the same file, so that the first
// certificate is not the one that the file is for. The second result is the verifier of the right one.
func (v verifier) order() (found problem, sorted verifier, wrong bool) {
	own := v.leaf
	for range v.file { // from the first certificate down to one that signed no other
		next := slices.IndexFunc(v.file, func(c *x509.Certificate) bool {
			return !c.Equal(own) && bytes.Equal(c.RawIssuer, own.RawSubject) && signedBy(c, own)
		})
		if next < 0 {
			break
		}
		own = v.file[next]
	}
	if own == v.leaf || bytes.Equal(own.RawIssuer, own.RawSubject) {
		return problem{}, v, false
	}
	found = newProblem(problemOrder, "the certificates are in the wrong order: the first one is of the CA %q. The "+
		"%s's own certificate, %q, is certificate %d in the file, and must be the first. With this file a program "+
		"does not start, because the private key does not belong to the first "+
		"certificate", nameOf(v.leaf.Subject), v.sender,
		nameOf(own.Subject), v.position(own))
	found.At, found.command = own, pemfile.Reorder("certificate.crt", v.position(own))
	sorted = v
	sorted.leaf, sorted.intermediates = own, slices.DeleteFunc(slices.Clone(v.file), own.Equal)
	return found, sorted, true
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

// addCertificateCause adds what the server's reason does not state. If the client certificate was refused, the server's
// reason is the first error of crypto/x509, which does not always name the cause. If the client certificate was
// accepted, but is not the certificate of a client, its user must get no rights.
func (e *explainer) addCertificateCause(explanation *Explanation) {
	step := e.step(authchain.MethodX509)
	if explanation.Outcome != Refused || step == nil || len(e.facts.Presented) == 0 {
		return
	}
	for _, p := range clientCertificateProblems(e.facts.Presented, e.facts.ClientCAs, e.d.Time) {
		if p.Harmless {
			if e.d.By == authchain.MethodX509 && slices.Contains(noClient, p.ID) {
				explanation.Remedies = problemRemedies(table().Client, []problem{p})
			}
			continue
		}
		if step.Outcome == authchain.OutcomeRefused && !slices.Contains(statedByServer, p.ID) {
			explanation.Reason += "; the cause: " + p.Message
		}
		return
	}
}

// noClient are the problems of certificates that are good, but not meant for a client of a kubelet.
var noClient = []problemID{problemOrder, problemIsCA}

// statedByServer are the problems that the server's reason describes completely.
var statedByServer = []problemID{problemExpired, "CA " + problemExpired, problemNotYetValid, "CA " + problemNotYetValid,
	problemUsage, problemUnknownCA, problemSelfSigned}
