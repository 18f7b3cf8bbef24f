package recordings

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"time"

	"fauxlet/testcerts"
)

// uidAttribute is the attribute of a certificate's subject that holds the user's UID. (k8s.io/apiserver,
// pkg/authentication/request/x509)
var uidAttribute = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

// oddClients adds clients whose certificates or headers are unusual.
func oddClients(p authorities, all map[string]Client) error {
	var failed error
	mint := func(ca *testcerts.Authority, commonName string, groups []string,
		mutate ...testcerts.Mutate) *tls.Certificate {
		pair, err := ca.Client(commonName, groups, mutate...)
		if err != nil {
			failed = errors.Join(failed, err)
			return nil
		}
		certificate := pair.TLS()
		return &certificate
	}
	intermediate := func(mutate ...testcerts.Mutate) *testcerts.Authority {
		ca, err := p.CA.Intermediate("middle", mutate...)
		failed = errors.Join(failed, err)
		return ca
	}
	add := func(name string, certificate *tls.Certificate, header ...string) {
		all["odd:"+name] = Client{Certificate: certificate, Header: strings.Join(append(header, ""), "\r\n")}
	}
	// The function "followed" returns a certificate pair with additional certificates at the end of its chain.
	followed := func(first *tls.Certificate, more ...[]byte) *tls.Certificate {
		chain := *first
		chain.Certificate = append(append([][]byte{}, first.Certificate...), more...)
		return &chain
	}
	subject := func(names ...pkix.AttributeTypeAndValue) testcerts.Mutate {
		return func(c *x509.Certificate) { c.Subject.ExtraNames = append(c.Subject.ExtraNames, names...) }
	}
	name := func(oid asn1.ObjectIdentifier, value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: oid, Value: value}
	}
	commonName, organization := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}
	good, unknown := mint(p.CA, "kubelet-client", nil), mint(p.UnknownCA, "kubelet-client", nil)
	viewer := mint(p.CA, "viewer", []string{"watchers"})
	long := strings.Repeat("long-", 3000)
	var many []string
	for i := range 300 {
		many = append(many, "group-"+strings.Repeat("x", i%40))
	}

	// Several certificates.
	add("good-then-unknown-ca", followed(good, unknown.Certificate...))
	add("good-then-good", followed(good, good.Certificate...))
	add("good-then-viewer", followed(good, viewer.Certificate...))
	add("good-then-root", followed(good, p.CA.Cert.Raw))
	add("unknown-ca-then-good", followed(unknown, good.Certificate...))
	add("unknown-ca-then-roots", followed(unknown, p.UnknownCA.Cert.Raw, p.CA.Cert.Raw))
	middle := intermediate()
	add("middle-then-root", followed(mint(middle, "viewer", nil), p.CA.Cert.Raw))
	add("middle-expired", mint(intermediate(testcerts.Expired), "kubelet-client", nil))
	add("middle-server-only", mint(intermediate(testcerts.ServerAuthOnly), "kubelet-client", nil))
	add("middle-no-ca", mint(intermediate(func(c *x509.Certificate) { c.IsCA = false }), "kubelet-client", nil))
	add("middle-constrained", mint(intermediate(func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	}), "kubelet-client", nil, func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }))
	below, err := intermediate(func(c *x509.Certificate) {
		c.MaxPathLen, c.MaxPathLenZero = 0,
			true
	}).Intermediate("below")
	if err != nil {
		return err
	}
	add("path-too-long", mint(below, "kubelet-client", nil))

	// These clients have certificates with unusual usages, algorithms and extensions.
	usage := func(usages ...x509.ExtKeyUsage) testcerts.Mutate {
		return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
	}
	add("any-usage", mint(p.CA, "kubelet-client", nil, usage(x509.ExtKeyUsageAny)))
	add("both-usages", mint(p.CA, "kubelet-client", nil, usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)))
	add("signing-usage", mint(p.CA, "kubelet-client", nil, usage(x509.ExtKeyUsageCodeSigning)))
	add("rsa", mint(p.CA, "kubelet-client", nil, testcerts.RSA))
	add("is-ca", mint(p.CA, "kubelet-client", nil,
		func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }))
	add("critical-extension", mint(p.CA, "kubelet-client", nil, func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions,
			pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
	}))
	add("serial-1", mint(p.CA, "kubelet-client", nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(1) }))
	add("expired-long-ago", mint(p.CA, "kubelet-client", nil, testcerts.ValidFor(time.Unix(0, 0), time.Unix(1, 0))))
	add("ends-never", mint(p.CA, "kubelet-client", nil,
		testcerts.ValidFor(time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))))
	add("expired-unknown-ca", mint(p.UnknownCA, "kubelet-client", nil, testcerts.Expired))

	// Names and groups.
	add("long-name", mint(p.CA, long, nil))
	add("many-groups", mint(p.CA, "outsider", many))
	add("long-group", mint(p.CA, "outsider", []string{long}))
	add("space-name", mint(p.CA, " ", nil))
	add("spaced-name", mint(p.CA, " kubelet-client ", nil))
	add("unicode-name", mint(p.CA, "Jürgen 中文", []string{"größe"}))
	add("percent-name", mint(p.CA, "100%s %d\n<b>", nil))
	add("node-name", mint(p.CA, "system:node:node-1", []string{"system:nodes"}))
	add("two-names", mint(p.CA, "", nil, testcerts.EmptyCN,
		subject(name(commonName, "viewer"), name(commonName, "kubelet-client"))))
	add("two-names-admin-first", mint(p.CA, "", nil, testcerts.EmptyCN,
		subject(name(commonName, "kubelet-client"), name(commonName, "viewer"))))
	add("empty-group", mint(p.CA, "outsider", nil, subject(name(commonName, "outsider"), name(organization, ""))))
	add("same-group-twice", mint(p.CA, "outsider", nil,
		subject(name(commonName, "outsider"), name(organization, "a"), name(organization, "a"))))
	add("masters", mint(p.CA, "outsider", []string{"system:masters"}))
	add("authenticated", mint(p.CA, "outsider", []string{"system:authenticated"}))
	add("unauthenticated", mint(p.CA, "outsider", []string{"system:unauthenticated"}))
	add("anonymous-authenticated", mint(p.CA, "system:anonymous",
		[]string{"system:authenticated", "system:unauthenticated"}))
	add("comma-group", mint(p.CA, "outsider", []string{"a,b", "c=d", "\"e\""}))
	add("uid", mint(p.CA, "kubelet-client", nil,
		subject(name(commonName, "kubelet-client"), name(uidAttribute, "uid-1"))))
	add("two-uids", mint(p.CA, "kubelet-client", nil,
		subject(name(commonName, "kubelet-client"), name(uidAttribute, "uid-1"), name(uidAttribute, "uid-2"))))
	add("empty-uid", mint(p.CA, "kubelet-client", nil,
		subject(name(commonName, "kubelet-client"), name(uidAttribute, ""))))

	// Tokens.
	const admin, websocket = "Authorization: Bearer admin-token",
		"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io."
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	add("admin-then-bad", nil, admin, "Authorization: Bearer bad")
	add("admin-twice", nil, admin, admin)
	add("bearer-then-admin", nil, "Authorization: Bearer", admin)
	add("upper-bearer", nil, "Authorization: BEARER admin-token")
	add("tab", nil, "Authorization: Bearer\tadmin-token")
	add("space-before", nil, "Authorization:  Bearer admin-token")
	add("comma", nil, "Authorization: Bearer admin-token, Bearer bad")
	add("long-token", nil, "Authorization: Bearer "+strings.Repeat("t", 20000))
	add("unicode-token", nil, "Authorization: Bearer tökén")
	add("jwt", nil, "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.")
	add("proxy-authorization", nil, "Proxy-Authorization: Bearer admin-token")
	add("both-tokens", nil, append([]string{"Authorization: Bearer good-token",
		websocket + "YWRtaW4tdG9rZW4, v4.channel.k8s.io"}, upgrade...)...)
	add("websocket-padded", nil, append([]string{websocket + "YWRtaW4tdG9rZW4=, v4.channel.k8s.io"}, upgrade...)...)
	add("websocket-garbage", nil, append([]string{websocket + "!!, v4.channel.k8s.io"}, upgrade...)...)
	add("websocket-not-utf8", nil, append([]string{websocket + "_w, v4.channel.k8s.io"}, upgrade...)...)
	add("websocket-empty", nil, append([]string{websocket + ", v4.channel.k8s.io"}, upgrade...)...)
	add("websocket-twice", nil, append([]string{websocket + "YWRtaW4tdG9rZW4, " +
		websocket[len("Sec-WebSocket-Protocol: "):] + "YmFk, v4.channel.k8s.io"}, upgrade...)...)
	add("websocket-two-headers", nil, append([]string{websocket + "YWRtaW4tdG9rZW4",
		"Sec-WebSocket-Protocol: v5.channel.k8s.io"}, upgrade...)...)
	add("expired+websocket-token", mint(p.CA, "kubelet-client", nil, testcerts.Expired),
		append([]string{websocket + "YWRtaW4tdG9rZW4, v5.channel.k8s.io"}, upgrade...)...)
	add("unknown-ca+basic", unknown, "Authorization: Basic YWRtaW46YWRtaW4=")
	return failed
}
