package explain

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// verifier verifies a certificate against root CAs, and finds out why a verification fails.
type verifier struct {
	leaf                 *x509.Certificate
	intermediates, roots []*x509.Certificate
	// The field "source" is the name of the setting that contains the root CAs, and "sender" is what sends the leaf
	// and the intermediates: "client" or "kubelet". The messages use both.
	source, sender string
	// file has the leaf and the intermediates in the order in which they were sent.
	file []*x509.Certificate
}

func newVerifier(sent, roots []*x509.Certificate, source, sender string) verifier {
	return verifier{sent[0], sent[1:], roots, source, sender, sent}
}

// path is a sequence of certificates in which each one is signed by the next one. It begins with the leaf. A complete
// path ends with a root CA. In another path, nothing is known that signed the last certificate.
type path struct {
	certificates []*x509.Certificate
	complete     bool
}

// These constants limit the search for paths, because a client can send any certificates. crypto/x509, too, checks at
// most 100 signatures.
const (
	maxChecks = 100
	maxPaths  = 20
)

// verify is the verification by crypto/x509. Its result decides whether the certificate is accepted.
func (v *verifier) verify(now time.Time, usage x509.ExtKeyUsage) error {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{usage},
	}
	for _, c := range v.roots {
		options.Roots.AddCert(c)
	}
	for _, c := range v.intermediates {
		options.Intermediates.AddCert(c)
	}
	_, err := v.leaf.Verify(options)
	return err
}

// problems returns the problems of the path that has the fewest. The error is the error of crypto/x509. If no problem
// is found, the only result is a problem that states the error.
func (v *verifier) problems(now time.Time, usage x509.ExtKeyUsage, err error) []problem {
	if strings.Contains(err.Error(), "signature check attempts limit") {
		tooMany := newProblem(problemTooMany, "Go's crypto/x509 gave up after 100 signature checks: the %s's file "+
			"has %d certificates, and too many of them are of CAs with the same name; keep only those of one "+
			"chain", v.sender,
			len(v.file))
		tooMany.At = v.leaf
		return []problem{tooMany}
	}
	var best []problem
	least := -1
	for _, p := range v.paths() {
		found := v.pathProblems(p, now, usage)
		cost := len(found)
		if !p.complete {
			cost += len(v.intermediates) + 100
		}
		if least < 0 || cost < least {
			best, least = found, cost
		}
	}
	if len(best) == 0 {
		return []problem{newProblem(problemUnknown, "refused for a reason that fauxlet does not know; the error of "+
			"Go's crypto/x509, with which a kubelet and kube-apiserver verify certificates, is %q",
			strings.TrimPrefix(err.Error(), "x509: "))}
	}
	return best
}

// paths returns all paths from the leaf. Like crypto/x509, it compares the names byte by byte, and no certificate
// occurs twice in a path.
func (v *verifier) paths() (all []path) {
	checks := 0
	var extend func(certificates []*x509.Certificate)
	extend = func(certificates []*x509.Certificate) {
		last := certificates[len(certificates)-1]
		if contains(v.roots, last) {
			all = append(all, path{certificates, true})
			return
		}
		found := false
		for _, parent := range slices.Concat(v.roots, v.intermediates) {
			if !bytes.Equal(parent.RawSubject, last.RawIssuer) || contains(certificates, parent) {
				continue
			}
			if checks++; checks > maxChecks || len(all) >= maxPaths {
				return
			}
			if signedBy(last, parent) {
				found = true
				extend(append(slices.Clone(certificates), parent))
			}
		}
		if !found {
			all = append(all, path{certificates, false})
		}
	}
	extend([]*x509.Certificate{v.leaf})
	return all
}

func contains(certificates []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(certificates, c.Equal)
}

// signedBy reports whether the key of the parent made the signature of the child. If the signature cannot be checked,
// because its algorithm or the parent's key is unknown or too weak, the key identifiers decide.
func signedBy(child, parent *x509.Certificate) bool {
	err := checkSignature(child, parent)
	if err == nil {
		return true
	}
	insecure := x509.InsecureAlgorithmError(0)
	uncheckable := shortRSA(parent) || errors.As(err, &insecure) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
	return uncheckable && !otherKeyIdentifier(child, parent)
}

// checkSignature checks a signature without regard to whether the parent may sign certificates. It accepts SHA-1.
func checkSignature(child, parent *x509.Certificate) error {
	return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
}

// otherKeyIdentifier reports whether the key identifiers state that another key than the parent's signed the child.
func otherKeyIdentifier(child, parent *x509.Certificate) bool {
	return len(child.AuthorityKeyId) > 0 && len(parent.SubjectKeyId) > 0 &&
		!bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId)
}

// shortRSA reports whether a certificate has an RSA key that crypto/rsa refuses, because it has fewer than 1024 bits.
func shortRSA(c *x509.Certificate) bool { return rsaBits(c) > 0 && rsaBits(c) < 1024 }

// rsaBits returns the length of a certificate's RSA key in bits, or 0 if it has another kind of key.
func rsaBits(c *x509.Certificate) int {
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok {
		return key.N.BitLen()
	}
	return 0
}

// pathProblems returns all problems of the certificates in a path.
func (v *verifier) pathProblems(p path, now time.Time, usage x509.ExtKeyUsage) []problem {
	var all []problem
	add := func(i int, id problemID, message string, values ...any) {
		all = append(all, v.problemAt(p, i, newProblem(id, message, values...)))
	}
	last := len(p.certificates) - 1
	if !p.complete {
		all = append(all, v.problemAt(p, last, v.missingSigner(p)))
	}
	for i, c := range p.certificates {
		if i < last {
			if insecure := x509.InsecureAlgorithmError(0); errors.As(c.CheckSignatureFrom(p.certificates[i+1]),
				&insecure) {
				add(i, problemWeakSignature, "%s with %v, which is no longer accepted", v.signed(p, i),
					c.SignatureAlgorithm)
			} else if errors.Is(checkSignature(c, p.certificates[i+1]), x509.ErrUnsupportedAlgorithm) {
				add(i, problemWeakSignature, "%s with an algorithm that Go does not support (%v)", v.signed(p, i),
					cmp.Or(c.SignatureAlgorithm.String(), "unknown"))
			}
		}
		if i > 0 {
			all = append(all, v.signerProblems(p, i)...)
		}
	}
	for i, c := range p.certificates {
		for _, found := range dateProblems(v.which(p, i), c.NotBefore, c.NotAfter, now) {
			all = append(all, v.problemAt(p, i, found))
		}
	}
	for i, c := range p.certificates {
		if len(c.UnhandledCriticalExtensions) > 0 {
			add(i, problemExtension, "%s has a critical extension that Go does not support: %s. A verifier must "+
				"refuse such a certificate", v.which(p, i), extensions(c))
		}
	}
	for i, c := range p.certificates {
		if !allowsUsage(c, usage) {
			add(i, problemUsage, "the extended key usage of %s is %s, without %s", v.which(p, i), usages(c), usage)
		}
	}
	for i := 1; i <= last; i++ {
		if constraints(p.certificates[i]) == "" {
			continue
		}
		if err := onlyError(p.certificates[:i+1], false); err != nil && err.Reason == x509.CANotAuthorizedForThisName {
			add(i, problemConstraint, "%s has name constraints (%s), and may not sign for the names of the "+
				"certificates below it: %s", v.which(p, i), constraints(p.certificates[i]), err.Detail)
		}
	}
	if err := onlyError(p.certificates, true); err != nil && err.Reason == x509.NoValidChains {
		for i, c := range p.certificates {
			if c.RequireExplicitPolicy > 0 || c.RequireExplicitPolicyZero {
				add(i, problemPolicy, "%s requires certificate policies (requireExplicitPolicy), and the certificates "+
					"below it have no policy that it allows", v.which(p, i))
			}
		}
	}
	return all
}

// signerProblems returns the reasons why a certificate in a path must not sign the certificate before it.
func (v *verifier) signerProblems(p path, i int) (all []problem) {
	c, which := p.certificates[i], v.which(p, i)
	add := func(id problemID, message string, values ...any) {
		all = append(all, v.problemAt(p, i, newProblem(id, message, values...)))
	}
	isRoot := p.complete && i == len(p.certificates)-1
	signs := fmt.Sprintf("signed the certificate of %q, but must not sign "+
		"certificates", nameOf(p.certificates[i-1].Subject))
	switch {
	case c.BasicConstraintsValid && !c.IsCA:
		add(problemNotCA, "%s %s: its basic constraints are CA:FALSE", which, signs)
	case !c.BasicConstraintsValid && c.Version == 3:
		add(problemNotCA, "%s %s: it has no basic constraints, and a CA needs CA:TRUE", which, signs)
	case !c.BasicConstraintsValid && !isRoot:
		add(problemNotCA, "%s %s: it is a certificate of X.509 version %d, which has no basic "+
			"constraints", which, signs,
			c.Version)
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		add(problemNotCA, "%s %s: its key usage does not contain keyCertSign", which, signs)
	}
	if shortRSA(c) {
		add(problemWeakKey, "%s has an RSA key of %d bits; Go refuses signatures by RSA keys of fewer than 1024 bits",
			which, rsaBits(c))
	}
	if c.BasicConstraintsValid && c.MaxPathLen >= 0 && i-1 > c.MaxPathLen {
		allows := fmt.Sprintf("at most %d intermediate CAs", c.MaxPathLen)
		if c.MaxPathLen == 0 {
			allows = "no intermediate CA"
		}
		var between []*x509.Certificate
		for _, c := range slices.Backward(p.certificates[1:i]) {
			between = append(between, c)
		}
		add(problemPathLength, "%s has the path length constraint %d, so it allows %s below it, but there are %d: %s",
			which, c.MaxPathLen, allows, i-1, quotedNames(between))
	}
	return all
}

// onlyError returns the error that one kind of restriction causes: the certificate policies of all certificates in a
// path, or the name constraints of the last one. To find it, crypto/x509 verifies copies of the certificates without
// all other restrictions. If the signatures cannot be verified, the error is another one.
func onlyError(certificates []*x509.Certificate, policies bool) *x509.CertificateInvalidError {
	now := time.Now()
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	var leaf *x509.Certificate
	for i, c := range certificates {
		free := *c
		free.NotBefore, free.NotAfter = now, now
		free.UnhandledCriticalExtensions = nil
		free.MaxPathLen, free.KeyUsage = -1, 0
		free.BasicConstraintsValid, free.IsCA = true, true
		isLast := i == len(certificates)-1
		if !isLast || policies {
			free.PermittedDNSDomains, free.ExcludedDNSDomains = nil, nil
			free.PermittedIPRanges, free.ExcludedIPRanges = nil, nil
			free.PermittedURIDomains, free.ExcludedURIDomains = nil, nil
			free.PermittedEmailAddresses, free.ExcludedEmailAddresses = nil, nil
		}
		if !policies {
			free.RequireExplicitPolicy, free.RequireExplicitPolicyZero = 0, false
		}
		if i == 0 {
			leaf = &free
		} else if !isLast {
			options.Intermediates.AddCert(&free)
		} else {
			options.Roots.AddCert(&free)
		}
	}
	_, err := leaf.Verify(options)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		return &invalid
	}
	return nil
}

// missingSigner states why nothing is known that signed the last certificate of a path.
func (v *verifier) missingSigner(p path) problem {
	i := len(p.certificates) - 1
	last := p.certificates[i]
	signed, issuer := v.signed(p, i), nameOf(last.Issuer)
	selfSigned := bytes.Equal(last.RawIssuer, last.RawSubject) && checkSignature(last, last) == nil
	for _, c := range slices.Concat(v.roots, v.intermediates) {
		if !bytes.Equal(c.RawSubject, last.RawIssuer) || c.Equal(last) {
			continue
		}
		where := fmt.Sprintf("the CA of that name in %s", v.source)
		if !contains(v.roots, c) {
			where = fmt.Sprintf("the CA of that name that is certificate %d in the %s's file", v.position(c), v.sender)
		}
		if !selfSigned && len(last.AuthorityKeyId) > 0 && bytes.Equal(last.AuthorityKeyId, c.SubjectKeyId) {
			return newProblem(problemDamaged, "%s by the CA %q, but its signature is wrong, although its authority "+
				"key identifier matches %s: the certificate was changed or damaged after it was signed", signed, issuer,
				where)
		}
		if selfSigned && i > 0 { // the sender added the root CA to the file
			signed = v.signed(p, i-1)
		}
		return newProblem(problemOtherKey, "%s by a CA named %q with another key than %s: the CA was recreated, or "+
			"there are two CAs with the same name", signed, issuer, where)
	}
	if selfSigned {
		return newProblem(problemSelfSigned, "%s by itself (self-signed), and not contained in %s, which contains %s",
			signed, v.source, quotedNames(v.roots))
	}
	for _, c := range slices.Concat(v.roots, v.intermediates) {
		switch {
		case c.Equal(last) || checkSignature(last, c) != nil:
		case c.Subject.String() == last.Issuer.String():
			return newProblem(problemIssuerName, "%s by the CA %q, but its issuer's name is encoded differently from "+
				"the name in that CA's certificate (such as UTF8String and PrintableString). Go compares the bytes; "+
				"OpenSSL does not", signed, issuer)
		default:
			return newProblem(problemIssuerName, "%s with the key of the CA %q, but its issuer is %q: the CA's "+
				"certificate was made again with another name", signed, c.Subject.String(), last.Issuer.String())
		}
	}
	names := quotedNames(v.roots)
	if strings.Contains(names, fmt.Sprintf("%q", issuer)) { // the common names are equal, so the full names differ
		issuer, names = last.Issuer.String(), fullNames(v.roots)
	}
	return newProblem(problemUnknownCA, "%s by the CA %[2]q, but %[3]s contains %[4]s. If one of these signed "+
		"%[2]q, the %[5]s must send the certificate of %[2]q too", signed, issuer, v.source, names, v.sender)
}

// own returns the words for the leaf in a message.
func (v *verifier) own() string {
	words := map[string]string{"client": "the client certificate", "kubelet": "the serving certificate"}[v.sender]
	if name := nameOf(v.leaf.Subject); name != "" {
		words += fmt.Sprintf(" %q", name)
	}
	return words
}

// The method "which" returns the words for a certificate of a path in a message.
func (v *verifier) which(p path, i int) string {
	c := p.certificates[i]
	switch {
	case i == 0:
		return v.own()
	case bytes.Equal(c.RawIssuer, c.RawSubject) && !p.complete:
		return fmt.Sprintf("its CA %q (certificate %d in the %s's file)", nameOf(c.Subject), v.position(c), v.sender)
	case p.complete && i == len(p.certificates)-1 && bytes.Equal(c.RawIssuer, c.RawSubject):
		return fmt.Sprintf("its root CA %q (in %s)", nameOf(c.Subject), v.source)
	case p.complete && i == len(p.certificates)-1:
		return fmt.Sprintf("its CA %q (in %s)", nameOf(c.Subject), v.source)
	}
	return fmt.Sprintf("its intermediate CA %q (certificate %d in the %s's file)", nameOf(c.Subject), v.position(c),
		v.sender)
}

// The method "signed" returns the beginning of a message about the signature of a certificate of a path.
func (v *verifier) signed(p path, i int) string {
	return v.which(p, i) + " is signed"
}

// position returns the position of a certificate in the file of the sender, beginning with 1.
func (v *verifier) position(c *x509.Certificate) int { return slices.IndexFunc(v.file, c.Equal) + 1 }

// problemAt completes a problem of a certificate in a path.
func (v *verifier) problemAt(p path, i int, found problem) problem {
	found.At = p.certificates[i]
	if i == 0 {
		return found
	}
	found.place = fmt.Sprintf("the %s's file, after its own certificate", v.sender)
	if p.complete && i == len(p.certificates)-1 {
		found.place = v.source
	}
	if found.ID == problemExpired || found.ID == problemNotYetValid || found.ID == problemUsage {
		found.ID = "CA " + found.ID
	}
	return found
}

func quotedNames(certificates []*x509.Certificate) string {
	return quoted(certificates, func(c *x509.Certificate) string { return nameOf(c.Subject) })
}

func fullNames(certificates []*x509.Certificate) string {
	return quoted(certificates, func(c *x509.Certificate) string { return c.Subject.String() })
}

func quoted(certificates []*x509.Certificate, name func(*x509.Certificate) string) string {
	if len(certificates) == 0 {
		return "no certificate"
	}
	all := make([]string, len(certificates))
	for i, c := range certificates {
		all[i] = fmt.Sprintf("%q", name(c))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// extensions lists the critical extensions that crypto/x509 does not handle.
func extensions(c *x509.Certificate) string {
	known := map[string]string{
		"2.5.29.9": "subject directory attributes", "2.5.29.16": "private key usage period",
		"2.5.29.17": "subject alternative names, but no DNS name, IP address, e-mail address or URI",
		"2.5.29.18": "issuer alternative name", "2.5.29.30": "name constraints of another kind than DNS names, IP " +
			"addresses, e-mail addresses and URIs",
		"1.3.6.1.4.1.11129.2.4.3": "precertificate of Certificate Transparency",
		"1.3.6.1.5.5.7.1.3":       "qualified certificate statements", "1.3.6.1.5.5.7.1.24": "TLS feature, such as " +
			"must-staple",
	}
	var all []string
	for _, oid := range c.UnhandledCriticalExtensions {
		text := oid.String()
		if name := known[text]; name != "" {
			text += " (" + name + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// constraints lists the name constraints of a CA.
func constraints(c *x509.Certificate) string {
	var all []string
	add := func(kind string, permitted, excluded []string) {
		for _, name := range permitted {
			all = append(all, "permitted: "+kind+name)
		}
		for _, name := range excluded {
			all = append(all, "excluded: "+kind+name)
		}
	}
	texts := func(networks []*net.IPNet) (all []string) {
		for _, n := range networks {
			all = append(all, n.String())
		}
		return all
	}
	add("DNS:", c.PermittedDNSDomains, c.ExcludedDNSDomains)
	add("IP:", texts(c.PermittedIPRanges), texts(c.ExcludedIPRanges))
	add("URI:", c.PermittedURIDomains, c.ExcludedURIDomains)
	add("email:", c.PermittedEmailAddresses, c.ExcludedEmailAddresses)
	return strings.Join(all, ", ")
}
