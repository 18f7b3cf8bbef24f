package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// TLS has the results of the TLS handshakes with the secure port.
type TLS struct {
	// Error is the reason why no handshake succeeded; empty if one succeeded.
	Error    string    `json:"error,omitempty"`
	Versions []Version `json:"versions"`
	// Protocols are the protocols that the server accepts by ALPN.
	Protocols []string `json:"protocols"`
	// ClientCertificateRequested means that the server requests a client certificate. Its request lists ClientCAs.
	ClientCertificateRequested bool     `json:"clientCertificateRequested"`
	ClientCAs                  []string `json:"clientCAs,omitempty"`

	chain []*x509.Certificate
}

// Version describes whether the server accepts one version of TLS, and with which cipher suites.
type Version struct {
	// Name is the name of the version in the field tlsMinVersion of a KubeletConfiguration, for example VersionTLS12.
	Name     string `json:"name"`
	Accepted bool   `json:"accepted"`
	// CipherSuites are the suites that the server accepts, in the order of its preference. For TLS 1.3, only the first
	// suite can be observed. A server accepts only suites for the type of its key, even if others are configured.
	CipherSuites []string `json:"cipherSuites,omitempty"`
	Error        string   `json:"error,omitempty"`

	refused bool // the server sent a TLS alert
}

// versions has all TLS versions that the field tlsMinVersion can have, the lowest first.
var versions = []struct {
	id   uint16
	name string
}{
	{tls.VersionTLS10, "VersionTLS10"}, {tls.VersionTLS11, "VersionTLS11"},
	{tls.VersionTLS12, "VersionTLS12"}, {tls.VersionTLS13, "VersionTLS13"},
}

// pending reports whether the server sent the TLS alert that a kubelet without a serving certificate sends.
func (t *TLS) pending() bool { return strings.Contains(t.Error, "tls: internal error") }

// handshakes detects the TLS properties of the server, with one handshake for each property.
func (p *prober) handshakes(ctx context.Context, s *endpoint) TLS {
	t := TLS{Versions: []Version{}, Protocols: []string{}}
	_, err := p.handshake(ctx, s, func(c *tls.Config) {
		c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.ClientCertificateRequested, t.ClientCAs = true, nil
			for _, der := range asked.AcceptableCAs {
				t.ClientCAs = append(t.ClientCAs, distinguishedName(der))
			}
			return &tls.Certificate{}, nil
		}
		c.VerifyConnection = func(state tls.ConnectionState) error {
			t.chain = state.PeerCertificates
			return nil
		}
	})
	if err != nil {
		t.Error = err.Error()
	}
	if t.pending() || len(t.chain) == 0 {
		return t // every other handshake would fail in the same way
	}
	for _, version := range versions {
		t.Versions = append(t.Versions, p.version(ctx, s, version.id, version.name))
	}
	for _, protocol := range []string{"h2", "http/1.1"} {
		state, err := p.handshake(ctx, s, func(c *tls.Config) { c.NextProtos = []string{protocol} })
		if err == nil && state.NegotiatedProtocol == protocol {
			t.Protocols = append(t.Protocols, protocol)
		}
	}
	return t
}

// version finds the cipher suites that the server accepts with one TLS version. It offers all suites, and then repeats
// the handshake without the suite that the server chose, until the handshake fails.
func (p *prober) version(ctx context.Context, s *endpoint, id uint16, name string) Version {
	v := Version{Name: name}
	var suites []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] < tls.VersionTLS13 { // Go cannot select the suites of TLS 1.3
			suites = append(suites, suite.ID)
		}
	}
	for len(suites) > 0 {
		state, err := p.handshake(ctx, s, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion, c.CipherSuites = id, id, suites
		})
		if err != nil {
			if !v.Accepted {
				v.Error, v.refused = err.Error(), strings.HasPrefix(err.Error(), "remote error: ")
			}
			return v
		}
		v.Accepted = true
		v.CipherSuites = append(v.CipherSuites, tls.CipherSuiteName(state.CipherSuite))
		if id == tls.VersionTLS13 || !slices.Contains(suites, state.CipherSuite) {
			return v
		}
		suites = slices.DeleteFunc(suites, func(suite uint16) bool { return suite == state.CipherSuite })
	}
	return v
}

// handshake makes a TLS handshake and then closes the connection.
func (p *prober) handshake(ctx context.Context, s *endpoint, change func(*tls.Config)) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	raw, err := p.dial(ctx, s.address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	// No data is sent, so there is no need to verify the certificate.
	config := &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	change(config)
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	p.progress("TLS handshakes")
	return conn.ConnectionState(), err
}

// distinguishedName decodes a DER name.
func distinguishedName(der []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return fmt.Sprintf("%d bytes that are not a distinguished name", len(der))
	}
	var name pkix.Name
	name.FillFromRDNSequence(&sequence)
	return name.String()
}
