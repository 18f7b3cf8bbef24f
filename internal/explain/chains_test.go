package explain

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// chain is a generated certificate chain. Index 0 is the leaf, and the last index is the root CA.
type chain struct {
	serving   bool
	templates []*x509.Certificate
	keys      []crypto.Signer
	certs     []*x509.Certificate
	// sent is the file that the client or the kubelet sends, and roots is the file of trusted CAs.
	sent, roots []*x509.Certificate
	t           testing.TB
}

const (
	serverName  = "node-1.cluster.example"
	fault30days = 30 * 24 * time.Hour
)

// newChain returns the templates of a good chain with the given number of intermediate CAs.
func newChain(t testing.TB, serving bool, intermediates int) *chain {
	c := &chain{serving: serving, t: t}
	for i := range intermediates + 2 {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(100 + i)), Subject: pkix.Name{CommonName: fmt.Sprintf("intermediate-ca-%d",
				i)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(fault30days),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		switch i {
		case 0:
			template.IsCA, template.KeyUsage = false, x509.KeyUsageDigitalSignature
			template.Subject.CommonName = "the-leaf"
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			if serving {
				template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
				template.DNSNames, template.IPAddresses = []string{serverName}, []net.IP{net.ParseIP(host)}
			}
		case intermediates + 1:
			template.Subject.CommonName = "root-ca"
		}
		c.templates, c.keys = append(c.templates, template), append(c.keys, newKey(t))
	}
	return c
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

// shortKey returns an RSA key that crypto/rsa refuses by default.
func shortKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	defer t.Setenv("GODEBUG", "")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	check(t, err)
	return key
}

func (c *chain) root() int { return len(c.templates) - 1 }

// The method "sign" makes the certificate at an index from its template.
func (c *chain) sign(i int) *x509.Certificate {
	c.t.Helper()
	parent, signer := c.templates[i], c.keys[i]
	if i < c.root() {
		parent, signer = c.certs[i+1], c.keys[i+1]
	}
	if id := c.templates[i].SubjectKeyId; id == nil {
		c.templates[i].SubjectKeyId = keyIdentifier(c.t, c.keys[i])
	}
	der, err := x509.CreateCertificate(rand.Reader, c.templates[i], parent, c.keys[i].Public(), signer)
	check(c.t, err)
	cert, err := x509.ParseCertificate(der)
	check(c.t, err)
	return cert
}

func keyIdentifier(t testing.TB, key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(t, err)
	return der[len(der)-20:]
}

// build makes all certificates and the two files.
func (c *chain) build() {
	c.certs = make([]*x509.Certificate, len(c.templates))
	for i := c.root(); i >= 0; i-- {
		c.certs[i] = c.sign(i)
	}
	c.sent, c.roots = slices.Clone(c.certs[:c.root()]), []*x509.Certificate{c.certs[c.root()]}
}

// The method "replace" puts another certificate in place of one in the files. The certificates that the old one has
// signed stay.
func (c *chain) replace(i int, other *x509.Certificate) {
	for _, file := range [][]*x509.Certificate{c.sent, c.roots} {
		if at := slices.Index(file, c.certs[i]); at >= 0 {
			file[at] = other
		}
	}
	c.certs[i] = other
}

// fault is one way to break a certificate of a chain.
type fault struct {
	name string
	// The function "before" changes the templates, and "after" changes the certificates and files.
	before, after func(c *chain, at int)
	// The function "at" returns the indexes of the certificates that the fault can break.
	at func(c *chain) (first, last int)
	// want is the problem, or empty if the chain stays good. The problem is reported for the certificate at the index
	// at+shift. Its message contains the name of the broken certificate, and the text in "says".
	want  problemID
	shift int
	says  string
}

func all(c *chain) (int, int)           { return 0, c.root() }
func leafOnly(*chain) (int, int)        { return 0, 0 }
func belowRoot(c *chain) (int, int)     { return 0, c.root() - 1 }
func anyCA(c *chain) (int, int)         { return 1, c.root() }
func intermediates(c *chain) (int, int) { return 1, c.root() - 1 }
func rootOnly(c *chain) (int, int)      { return c.root(), c.root() }
func none(*chain) (int, int)            { return 1, 0 }

func servingOnly(at func(*chain) (int, int)) func(*chain) (int, int) {
	return func(c *chain) (int, int) {
		if !c.serving {
			return none(c)
		}
		return at(c)
	}
}

func template(change func(*x509.Certificate)) func(*chain, int) {
	return func(c *chain, at int) { change(c.templates[at]) }
}

func extension(oid asn1.ObjectIdentifier, critical bool, value ...byte) func(*chain, int) {
	return template(func(x *x509.Certificate) {
		x.ExtraExtensions = append(x.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
	})
}

// commonName encodes a name with the given ASN.1 type of string.
func commonName(t testing.TB, name string, tag int) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3},
		Value: asn1.RawValue{Tag: tag, Bytes: []byte(name)}}}})
	check(t, err)
	return der
}

// newCertificate signs the certificate at an index again, with another key, other names or another signer.
func (c *chain) newCertificate(i int, change func(*x509.Certificate)) *x509.Certificate {
	c.t.Helper()
	copied := *c.templates[i]
	copied.SubjectKeyId = nil
	old := c.templates[i]
	c.templates[i] = &copied
	defer func() { c.templates[i] = old }()
	change(&copied)
	return c.sign(i)
}

const directoryConstraint = "directory name constraint"

var faults = []fault{
	{name: "none", at: leafOnly},
	{name: "expired", at: all, want: problemExpired, says: "expired at 2021-05-04T03:02:01Z",
		before: template(func(x *x509.Certificate) {
			x.NotBefore, x.NotAfter = time.Unix(0, 0), time.Date(2021, 5, 4, 3, 2, 1, 0, time.UTC)
		})},
	{name: "not yet valid", at: all, want: problemNotYetValid, says: "is not valid before 2091-05-04T03:02:01Z",
		before: template(func(x *x509.Certificate) {
			x.NotBefore = time.Date(2091, 5, 4, 3, 2, 1, 0, time.UTC)
			x.NotAfter = time.Date(2092, 5, 4, 3, 2, 1, 0, time.UTC)
		})},
	{name: "unknown critical extension", at: all, want: problemExtension, says: "1.2.3.4",
		before: extension(asn1.ObjectIdentifier{1, 2, 3, 4}, true, 5, 0)},
	{name: "unknown extension", at: all, before: extension(asn1.ObjectIdentifier{1, 2, 3, 4}, false, 5, 0)},
	{name: directoryConstraint, at: anyCA, want: problemExtension, says: "2.5.29.30 (name constraints",
		before: extension(asn1.ObjectIdentifier{2, 5, 29, 30}, true,
			// permitted: a directory name with the organization A
			0x30, 0x18, 0xa0, 0x16, 0x30, 0x14, 0xa4, 0x12, 0x30, 0x10, 0x31, 0x0e, 0x30, 0x0c, 6, 3, 0x55, 4, 0x0a,
			0x0c,
			5, 'O', 't', 'h', 'e', 'r')},
	{name: "other usage", at: all, want: problemUsage, says: "codeSigning",
		before: template(func(x *x509.Certificate) {
			x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		})},
	{name: "private usage", at: all, want: problemUsage, says: "1.2.3.5",
		before: template(func(x *x509.Certificate) {
			x.ExtKeyUsage, x.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3, 5}}
		})},
	{name: "any usage", at: all,
		before: template(func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
	{name: "signed with SHA-1", at: belowRoot, want: problemWeakSignature, says: "ECDSA-SHA1",
		before: template(func(x *x509.Certificate) { x.SignatureAlgorithm = x509.ECDSAWithSHA1 })},
	{name: "root signed with SHA-1", at: rootOnly,
		before: template(func(x *x509.Certificate) { x.SignatureAlgorithm = x509.ECDSAWithSHA1 })},
	{name: "CA:FALSE", at: anyCA, want: problemNotCA, says: "CA:FALSE",
		before: template(func(x *x509.Certificate) { x.IsCA = false })},
	{name: "no basic constraints", at: anyCA, want: problemNotCA, says: "no basic constraints",
		before: template(func(x *x509.Certificate) { x.IsCA, x.BasicConstraintsValid = false, false })},
	{name: "no keyCertSign", at: anyCA, want: problemNotCA, says: "keyCertSign",
		before: template(func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageDigitalSignature })},
	{name: "no key usage", at: all, before: template(func(x *x509.Certificate) { x.KeyUsage = 0 })},
	{name: "path length too short", want: problemPathLength, says: "path length constraint",
		at: func(c *chain) (int, int) { return 2, c.root() },
		before: func(c *chain, at int) {
			c.templates[at].MaxPathLen, c.templates[at].MaxPathLenZero = at-2, at == 2
		}},
	{name: "path length sufficient", at: anyCA, before: func(c *chain, at int) {
		c.templates[at].MaxPathLen, c.templates[at].MaxPathLenZero = at-1, at == 1
	}},
	{name: "DNS name not " +
		"permitted", at: servingOnly(anyCA), want: problemConstraint, says: "permitted: DNS:other.example",
		before: template(func(x *x509.Certificate) {
			x.PermittedDNSDomains, x.PermittedDNSDomainsCritical = []string{"other.example"}, true
		})},
	{name: "DNS name permitted", at: servingOnly(anyCA), before: template(func(x *x509.Certificate) {
		x.PermittedDNSDomains, x.PermittedDNSDomainsCritical = []string{"cluster.example"}, true
	})},
	{name: "DNS name excluded", at: servingOnly(anyCA), want: problemConstraint, says: serverName,
		before: template(func(x *x509.Certificate) { x.ExcludedDNSDomains = []string{"cluster.example"} })},
	{name: "address excluded", at: servingOnly(anyCA), want: problemConstraint, says: "192.0.2.0/24",
		before: template(func(x *x509.Certificate) {
			x.ExcludedIPRanges = []*net.IPNet{{IP: net.IP{192, 0, 2, 0}, Mask: net.CIDRMask(24, 32)}}
		})},
	{name: "address not " +
		"permitted", at: servingOnly(anyCA), want: problemConstraint, says: "permitted: IP:198.51.100.0/24",
		before: template(func(x *x509.Certificate) {
			x.PermittedIPRanges = []*net.IPNet{{IP: net.IP{198, 51, 100, 0}, Mask: net.CIDRMask(24, 32)}}
		})},
	{name: "policy required", at: intermediates, want: problemPolicy, says: "requireExplicitPolicy",
		before: extension(asn1.ObjectIdentifier{2, 5, 29, 36}, true, 0x30, 3, 0x80, 1, 0)},
	{name: "other key", at: anyCA, want: problemOtherKey, shift: -1, says: "with another key than the CA of that name",
		after: func(c *chain, at int) {
			c.keys[at] = newKey(c.t)
			c.replace(at, c.newCertificate(at, func(*x509.Certificate) {}))
		}},
	{name: "other key, no identifiers", at: anyCA, want: problemOtherKey, shift: -1,
		says: "with another key than the CA of that name",
		before: func(c *chain, at int) {
			for _, x := range c.templates {
				x.SubjectKeyId = []byte{}
			}
		},
		after: func(c *chain, at int) {
			c.keys[at] = newKey(c.t)
			c.replace(at, c.newCertificate(at, func(x *x509.Certificate) { x.SubjectKeyId = []byte{} }))
		}},
	{name: "damaged", at: belowRoot, want: problemDamaged, says: "changed or damaged",
		after: func(c *chain, at int) {
			der := slices.Clone(c.certs[at].Raw)
			der[len(der)-1] ^= 1
			damaged, err := x509.ParseCertificate(der)
			check(c.t, err)
			c.replace(at, damaged)
		}},
	{name: "missing in the file", at: intermediates, want: problemUnknownCA, shift: -1, says: "must send the " +
		"certificate",
		after: func(c *chain, at int) {
			c.sent = slices.Delete(c.sent, at, at+1)
		}},
	{name: "CA not trusted", at: rootOnly, want: problemUnknownCA, shift: -1, says: `contains "another-ca"`,
		after: func(c *chain, _ int) { c.roots = []*x509.Certificate{newRoot(c.t, "another-ca")} }},
	{name: "CA in the file and not trusted", at: rootOnly, want: problemSelfSigned, says: `contains "another-ca"`,
		after: func(c *chain, at int) {
			c.sent = append(c.sent, c.certs[at])
			c.roots = []*x509.Certificate{newRoot(c.t, "another-ca")}
		}},
	{name: "CA in the file, and another of that name " +
		"trusted", at: rootOnly, want: problemOtherKey, says: "with another key",
		after: func(c *chain, at int) {
			c.sent = append(c.sent, c.certs[at])
			c.roots = []*x509.Certificate{newRoot(c.t, "root-ca")}
		}},
	{name: "CA in the file too", at: rootOnly, after: func(c *chain, at int) { c.sent = append(c.sent, c.certs[at]) }},
	{name: "another CA of that name trusted too", at: rootOnly, after: func(c *chain, at int) {
		c.roots = append([]*x509.Certificate{newRoot(c.t, "root-ca")}, c.roots...)
	}},
	{name: "the same name with other attributes", at: rootOnly, want: problemUnknownCA, shift: -1,
		says: `clientCAFile contains "CN=root-ca,O=other"`,
		after: func(c *chain, at int) {
			c.keys[at] = newKey(c.t)
			c.roots = []*x509.Certificate{c.newCertificate(at, func(x *x509.Certificate) {
				x.Subject.Organization = []string{"other"}
			})}
		}},
	{name: "CA made again with another name", at: anyCA, want: problemIssuerName, shift: -1,
		says: `with the key of the CA "CN=renamed-ca"`,
		after: func(c *chain, at int) {
			c.replace(at, c.newCertificate(at, func(x *x509.Certificate) { x.Subject.CommonName = "renamed-ca" }))
		}},
	{name: "name encoded otherwise", at: anyCA, want: problemIssuerName, shift: -1, says: "encoded differently",
		after: func(c *chain, at int) {
			c.replace(at, c.newCertificate(at, func(x *x509.Certificate) {
				x.RawSubject = commonName(c.t, x.Subject.CommonName, asn1.TagUTF8String)
			}))
		}},
	{name: "expired certificate of the same CA in the file", at: intermediates, after: func(c *chain, at int) {
		expired := c.newCertificate(at, func(x *x509.Certificate) { x.NotAfter = time.Now().Add(-time.Minute) })
		c.sent = slices.Insert(c.sent, 1, expired)
	}},
	{name: "sorted the other way", at: rootOnly, after: func(c *chain, _ int) { slices.Reverse(c.sent[1:]) }},
	{name: "a foreign certificate in the file", at: rootOnly, after: func(c *chain, _ int) {
		c.sent = append(c.sent, newRoot(c.t, "foreign-ca"))
	}},
	{name: "CA trusted itself", at: intermediates, after: func(c *chain, at int) {
		c.roots = []*x509.Certificate{c.certs[at]}
	}},
	{name: "leaf trusted itself", at: leafOnly, after: func(c *chain, _ int) { c.roots = c.certs[:1] }},
	{name: "nothing trusted", at: rootOnly, want: problemUnknownCA, shift: -1, says: "contains no certificate",
		after: func(c *chain, _ int) { c.roots = []*x509.Certificate{} }},
	{name: "address as a DNS name", at: servingOnly(leafOnly), want: problemAddress,
		says:   "192.0.2.7: it stands there as a DNS name; an address must be IP:192.0.2.7",
		before: template(func(x *x509.Certificate) { x.DNSNames, x.IPAddresses = []string{host}, nil })},
	{name: "other address", at: servingOnly(leafOnly), want: problemName, says: "valid for 192.0.2.8, but not for " +
		"192.0.2.7",
		before: template(func(x *x509.Certificate) { x.DNSNames, x.IPAddresses = nil, []net.IP{{192, 0, 2, 8}} })},
	{name: "no names", at: servingOnly(leafOnly), want: problemNoSAN, says: `ignore its common name "192.0.2.7"`,
		before: template(func(x *x509.Certificate) {
			x.DNSNames, x.IPAddresses, x.Subject.CommonName = nil, nil, host
		})},
	{name: "only an e-mail address", at: servingOnly(leafOnly), want: problemNoSAN, says: "no DNS name and no IP " +
		"address",
		before: template(func(x *x509.Certificate) {
			x.DNSNames, x.IPAddresses, x.EmailAddresses = nil, nil, []string{"node@cluster.example"}
		})},
}

func newRoot(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	c := newChain(t, false, 0)
	c.templates[1].Subject.CommonName = name
	c.build()
	return c.certs[1]
}

// generated is a chain with up to two faults, and the problems that must be found.
type generated struct {
	*chain
	name   string
	faults []*fault
	want   []wanted
}

type wanted struct {
	id   problemID
	at   *x509.Certificate
	says []string
}

// alone are problems that hide others: name constraints and policies are not checked below a signature that cannot be
// verified, and a certificate with other names can be within the name constraints.
var alone = []problemID{problemWeakSignature, problemAddress, problemName, problemNoSAN}

// generateChains returns each fault, in clients' and in serving certificates, with 0 to 2 intermediate CAs, in each
// certificate of the chain. It adds chains with random faults in several certificates.
func generateChains(t testing.TB) (chains []generated) {
	for _, serving := range []bool{false, true} {
		for depth := range 3 {
			for i := range faults {
				f := &faults[i]
				first, last := f.at(newChain(t, serving, depth))
				for at := first; at <= last; at++ {
					chains = append(chains, generate(t, serving, depth, []*fault{f}, []int{at}))
				}
			}
		}
	}
	for seed := range uint64(600) {
		random := mathrand.New(mathrand.NewPCG(seed, 0))
		serving, depth := random.IntN(2) == 0, random.IntN(4)
		var broken []*fault
		var positions []int
		for at := range depth + 2 {
			f := &faults[random.IntN(len(faults))]
			first, last := f.at(newChain(t, serving, depth))
			if first <= at && at <= last && f.before != nil && f.after == nil && !slices.Contains(alone, f.want) {
				broken, positions = append(broken, f), append(positions, at)
			}
		}
		if len(broken) > 1 {
			chains = append(chains, generate(t, serving, depth, broken, positions))
		}
	}
	return chains
}

func generate(t testing.TB, serving bool, depth int, broken []*fault, at []int) generated {
	c := newChain(t, serving, depth)
	g := generated{chain: c, faults: broken, name: fmt.Sprintf("serving=%v/intermediates=%d", serving, depth)}
	for i, f := range broken {
		g.name += fmt.Sprintf("/%s at %d", f.name, at[i])
		if f.before != nil {
			f.before(c, at[i])
		}
	}
	c.build()
	for i, f := range broken {
		name := c.certs[at[i]].Subject.CommonName
		if f.after != nil {
			f.after(c, at[i])
		}
		if f.want == "" {
			continue
		}
		want := wanted{id: f.want, at: c.certs[at[i]+f.shift], says: []string{f.says}}
		if serving {
			want.says[0] = strings.ReplaceAll(f.says, "clientCAFile", "--kubelet-certificate-authority")
		}
		if at[i] > 0 || f.want != problemName && f.want != problemAddress && f.want != problemNoSAN {
			want.says = append(want.says, name)
		}
		if at[i] > 0 && (f.want == problemExpired || f.want == problemNotYetValid || f.want == problemUsage) {
			want.id = "CA " + want.id
		}
		g.want = append(g.want, want)
	}
	return g
}

// TestChains compares the verdict about generated chains with the verdict of crypto/x509 and of openssl verify, and
// checks that the problems name the certificate that was broken, and no other.
func TestChains(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("this test runs openssl verify: %v; install the package openssl", err)
	}
	chains := generateChains(t)
	var single []generated // the chains with one fault
	for _, g := range chains {
		if len(g.faults) == 1 && len(g.roots) > 0 {
			single = append(single, g)
		}
	}
	byOpenSSL := opensslVerify(t, openssl, single)
	counts := map[string]int{}
	for _, g := range chains {
		t.Run(g.name, func(t *testing.T) {
			problems := g.problems()
			good := !slices.ContainsFunc(problems, func(p problem) bool { return !p.Harmless })
			byGo := g.verify()
			if good != (byGo == nil) {
				t.Errorf("good: %v, but crypto/x509 returns %v", good, byGo)
			}
			if depth, compared := byOpenSSL[g.chain]; compared {
				counts[fmt.Sprintf("Go: %v, OpenSSL: %v", byGo == nil, depth < 0)]++
				if depth >= 0 && !good && !g.sameDepth(depth) {
					t.Errorf("openssl names the certificate at depth %d, but the problems are %s", depth,
						texts(problems))
				}
			}
			if good != (len(g.want) == 0) {
				t.Errorf("good: %v, want problems %+v", good, g.want)
			}
			for _, want := range g.want {
				if !slices.ContainsFunc(problems, want.is) {
					t.Errorf("no problem %q of %q with the words %q in %s", want.id, want.at.Subject, want.says,
						texts(problems))
				}
			}
			for _, p := range problems {
				if !p.Harmless && !slices.ContainsFunc(g.want, func(w wanted) bool { return w.is(p) }) {
					t.Errorf("unexpected problem %q of %q: %s", p.ID, p.At.Subject, p.Message)
				}
				if strings.Contains(p.Message, "current time") {
					t.Errorf("the message %q states a time of the verification", p.Message)
				}
			}
		})
	}
	compared := 0
	for _, n := range counts {
		compared += n
	}
	docs, err := os.ReadFile("../../docs/explain.md")
	check(t, err)
	text := strings.Join(strings.Fields(string(docs)), " ")
	for _, want := range []string{fmt.Sprintf("generates %d chains", len(chains)),
		fmt.Sprintf("%d of the chains are verified with `openssl verify`", compared)} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/explain.md does not contain %q", want)
		}
	}
	t.Logf("%d chains, %d of them compared with OpenSSL: good is %v", len(chains), compared, counts)
	if compared < 300 {
		t.Errorf("only %d chains were compared with OpenSSL, want at least 300", compared)
	}
}

// TestWrongOrder checks files in which the own certificate is not the first one. If the first certificate is good, the
// wrong order is only a note, because a kubelet would accept it as the certificate of a CA.
func TestWrongOrder(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*chain)
		harmless bool
		want     []string
	}{
		{"CA first", func(c *chain) { slices.Reverse(c.sent) }, true,
			[]string{`the first one is of the CA "intermediate-ca-1". The client's own certificate, "the-leaf", is ` +
				`certificate 2`}},
		{"root first", func(c *chain) { c.sent = []*x509.Certificate{c.certs[2], c.certs[1], c.certs[0]} }, true,
			[]string{`the first one is of the CA "root-ca". The client's own certificate, "the-leaf", is certificate ` +
				"3"}},
		{"untrusted CA first", func(c *chain) {
			slices.Reverse(c.sent)
			c.roots = []*x509.Certificate{newRoot(t, "another-ca")}
		}, false, []string{"wrong order", `its intermediate CA "intermediate-ca-1" (certificate 1 in the client's ` +
			`file) is signed by the CA "root-ca", but clientCAFile contains "another-ca"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newChain(t, false, 1)
			c.build()
			test.change(c)
			problems := c.problems()
			if good := c.verify() == nil; good != test.harmless {
				t.Fatalf("crypto/x509 accepts the chain: %v, want %v", good, test.harmless)
			}
			if len(problems) != len(test.want) || problems[0].ID != problemOrder ||
				problems[0].Harmless != test.harmless {
				t.Fatalf("problems %s\nwant %q", texts(problems), test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(problems[i].Message, want) {
					t.Errorf("message %q does not contain %q", problems[i].Message, want)
				}
			}
		})
	}
}

// TestShortRSA checks RSA keys that are shorter than Go or OpenSSL require.
func TestShortRSA(t *testing.T) {
	for _, test := range []struct {
		at, bits int
		want     string
	}{
		{0, 1024, `note: the RSA key of the client certificate "the-leaf" has 1024 bits, which Go accepts`},
		{0, 512, `note: the RSA key of the client certificate "the-leaf" has 512 bits; Go refuses keys of fewer than ` +
			`1024`},
		{1, 1024, `note: the RSA key of the CA "intermediate-ca-1" (certificate 2 in the client's file) has 1024 bits`},
		{1, 512, `problem: its intermediate CA "intermediate-ca-1" (certificate 2 in the client's file) has an RSA ` +
			`key of 512`},
		{2, 768, `problem: its root CA "root-ca" (in clientCAFile) has an RSA key of 768 bits`},
	} {
		c := newChain(t, false, 1)
		c.keys[test.at] = shortKey(t, test.bits)
		t.Setenv("GODEBUG", "rsa1024min=0")
		c.build()
		t.Setenv("GODEBUG", "")
		problems := c.problems()
		if len(problems) != 1 {
			t.Fatalf("problems of %d bits at %d: %s", test.bits, test.at, texts(problems))
		}
		got := "problem: " + problems[0].Message
		if problems[0].Harmless {
			got = "note: " + problems[0].Message
		}
		if good := c.verify() == nil; good != problems[0].Harmless || !strings.HasPrefix(got, test.want) {
			t.Errorf("%d bits at %d: crypto/x509 accepts it: %v; %s", test.bits, test.at, good, got)
		}
	}
}

// TestManyNamesakes checks that the search for paths ends early, if a client sends many CAs with the same name that
// have signed each other.
func TestManyNamesakes(t *testing.T) {
	c := newChain(t, false, 1)
	c.templates[1].Subject, c.keys[1] = c.templates[2].Subject, c.keys[2]
	c.build()
	for i := range 300 {
		c.sent = append(c.sent, c.newCertificate(1,
			func(x *x509.Certificate) { x.SerialNumber = big.NewInt(int64(1000 + i)) }))
	}
	c.roots = []*x509.Certificate{newRoot(t, "another-ca")}
	v := newVerifier(c.sent, c.roots, "clientCAFile", "client")
	if paths := v.paths(); len(paths) > maxPaths {
		t.Errorf("%d paths, want at most %d", len(paths), maxPaths)
	}
	problems := c.problems()
	if len(problems) != 1 || problems[0].ID != problemTooMany ||
		!strings.Contains(problems[0].Message, "the client's file has 302 certificates") {
		t.Errorf("problems %s", texts(problems))
	}
}

// TestUnknownProblem checks that a refusal without a known cause is reported as such, with the words of crypto/x509.
func TestUnknownProblem(t *testing.T) {
	c := newChain(t, false, 0)
	c.build()
	v := newVerifier(c.sent, c.roots, "clientCAFile", "client")
	problems := v.problems(time.Now(), x509.ExtKeyUsageClientAuth, errors.New("x509: the moon is full"))
	if len(problems) != 1 || problems[0].ID != problemUnknown ||
		!strings.Contains(problems[0].Message, `a reason that fauxlet does not know`) ||
		!strings.Contains(problems[0].Message, `is "the moon is full"`) {
		t.Errorf("problems %s", texts(problems))
	}
}

func (w wanted) is(p problem) bool {
	return p.ID == w.id && p.At.Equal(w.at) && !p.Harmless &&
		!slices.ContainsFunc(w.says, func(text string) bool { return !strings.Contains(p.Message, text) })
}

func texts(problems []problem) string {
	var all strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&all, "\n%s: %s", p.ID, p.Message)
	}
	return all.String()
}

func (c *chain) problems() []problem {
	if c.serving {
		return servingCertificateProblems(c.sent, c.roots, host, time.Now())
	}
	return clientCertificateProblems(c.sent, c.roots, time.Now())
}

// The method "verify" verifies the chain as a kubelet or a kube-apiserver does.
func (c *chain) verify() error {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if c.serving {
		options.KeyUsages, options.DNSName = nil, host
	}
	for _, root := range c.roots {
		options.Roots.AddCert(root)
	}
	for _, intermediate := range c.sent[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	_, err := c.sent[0].Verify(options)
	return err
}

// opensslVerify runs openssl verify for the given chains, one process for all clients' certificates and one for all
// serving certificates, because starting a process takes longer than verifying a chain. The result has the index of the
// certificate that OpenSSL names in its first error about each chain, or -1 if it accepts the chain. The processes get
// the CAs of all chains. That changes no verdict: the CAs of the chains have the same names, but each has its own key,
// and OpenSSL compares the key identifiers.
func opensslVerify(t *testing.T, openssl string, chains []generated) map[*chain]int {
	t.Helper()
	depths := map[*chain]int{}
	for _, serving := range []bool{false, true} {
		dir := t.TempDir()
		roots, untrusted := filepath.Join(dir, "roots.pem"), filepath.Join(dir, "untrusted.pem")
		args := []string{"verify", "-no-CApath", "-no-CAstore", "-CAfile", roots, "-untrusted", untrusted, "-purpose"}
		if serving {
			args = append(args, "sslserver", "-verify_ip", host)
		} else {
			args = append(args, "sslclient")
		}
		byFile := map[string]*chain{}
		var trusted, sent []*x509.Certificate
		for i, g := range chains {
			if g.serving != serving {
				continue
			}
			file := filepath.Join(dir, fmt.Sprint(i))
			byFile[file] = g.chain
			writePEM(t, file, g.sent)
			args = append(args, file)
			trusted, sent = append(trusted, g.roots...), append(sent, g.sent...)
		}
		writePEM(t, roots, trusted)
		writePEM(t, untrusted, sent)
		var stdout, stderr bytes.Buffer
		command := exec.Command(openssl, args...)
		command.Stdout, command.Stderr = &stdout, &stderr
		_ = command.Run() // the exit code is 2 if a verification fails; the loops below read what was printed
		for line := range strings.Lines(stdout.String()) {
			if file, ok := strings.CutSuffix(line, ": OK\n"); ok {
				depths[byFile[file]] = -1
			}
		}
		first := -1
		for line := range strings.Lines(stderr.String()) {
			var number, depth int
			if _, err := fmt.Sscanf(line, "error %d at %d depth", &number, &depth); err == nil && first < 0 {
				first = depth
			}
			file, ok := strings.CutSuffix(strings.TrimPrefix(line, "error "), ": verification failed\n")
			if ok && first >= 0 {
				depths[byFile[file]], first = first, -1
			}
		}
	}
	if len(depths) != len(chains) {
		t.Fatalf("openssl verify printed a result for %d of %d chains", len(depths), len(chains))
	}
	return depths
}

// sameDepth reports whether OpenSSL, which names only the first problem, names a certificate with an expected problem.
// If a name is outside the name constraints of a CA, OpenSSL names the certificate with that name, not the CA.
func (g *generated) sameDepth(depth int) bool {
	return g.want[0].at.Equal(g.certs[depth]) || g.want[0].id == problemConstraint && depth == 0 ||
		g.faults[0].name == directoryConstraint && g.want[0].at.Equal(g.certs[depth+1])
}

func writePEM(t *testing.T, file string, certificates []*x509.Certificate) {
	t.Helper()
	var data []byte
	for _, c := range certificates {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	check(t, os.WriteFile(file, data, 0o600))
}
