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

// TLS is what the secure port says in handshakes.
type TLS struct {
	// Error says why there was no handshake at all.
	Error    string    `json:"error,omitempty"`
	Versions []Version `json:"versions"`
	// Protocols are those that ALPN agrees to.
	Protocols []string `json:"protocols"`
	// ClientCertificateRequested says whether clients are asked for a certificate, ClientCAs of which CAs.
	ClientCertificateRequested bool     `json:"clientCertificateRequested"`
	ClientCAs                  []string `json:"clientCAs,omitempty"`

	chain []*x509.Certificate
}

// Version is a version of TLS.
type Version struct {
	// Name is that of tlsMinVersion: VersionTLS12.
	Name     string `json:"name"`
	Accepted bool   `json:"accepted"`
	// CipherSuites are those that the server takes, in its order, where they can be told: TLS 1.3 has what it has. Of those
	// for another kind of key than its certificate's it takes none, whatever its configuration.
	CipherSuites []string `json:"cipherSuites,omitempty"`
	Error        string   `json:"error,omitempty"`

	// refused: the server said no, rather than nothing.
	refused bool
}

// versions are those of tlsMinVersion.
var versions = []struct {
	id   uint16
	name string
}{
	{tls.VersionTLS10, "VersionTLS10"}, {tls.VersionTLS11, "VersionTLS11"}, {tls.VersionTLS12, "VersionTLS12"}, {tls.VersionTLS13, "VersionTLS13"},
}

// pending is what a kubelet's handshakes end with while it has no serving certificate.
const pending = "tls: internal error"

func (t *TLS) pending() bool { return strings.Contains(t.Error, pending) }

// handshakes finds out what the server offers, one handshake for each question.
func (p *prober) handshakes(ctx context.Context, s *peer) TLS {
	t := TLS{Versions: []Version{}, Protocols: []string{}}
	_, err := p.handshake(ctx, s, func(c *tls.Config) {
		c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.ClientCertificateRequested = true
			t.ClientCAs = nil
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
		return t // no other handshake ends otherwise
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

// version asks for one version: with all cipher suites, and then with one less each time, until none is left that both
// have.
func (p *prober) version(ctx context.Context, s *peer, id uint16, name string) Version {
	v := Version{Name: name}
	suites := allSuites()
	for len(suites) > 0 {
		state, err := p.handshake(ctx, s, func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = id, id, suites })
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

// allSuites are those up to TLS 1.2, the weak ones too.
func allSuites() []uint16 {
	var all []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] < tls.VersionTLS13 {
			all = append(all, suite.ID)
		}
	}
	return all
}

// handshake makes one, and closes the connection.
func (p *prober) handshake(ctx context.Context, s *peer, change func(*tls.Config)) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	raw, err := p.dial(ctx, s.address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	// Nothing is sent but the handshake, and the certificate is what is looked at.
	config := &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	change(config)
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	p.step("TLS handshakes")
	return conn.ConnectionState(), err
}

// distinguishedName reads the DER of a name.
func distinguishedName(der []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return fmt.Sprintf("%d bytes that are no name", len(der))
	}
	var name pkix.Name
	name.FillFromRDNSequence(&sequence)
	return name.String()
}
