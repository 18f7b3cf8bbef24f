package same

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"fauxlet/internal/recordings"
)

// handshakes compares the TLS parameters that both servers offer on the secure port: versions, cipher suites, key
// exchanges, protocols, certificates, the hints for client certificates, and resumption.
func (c *comparison) handshakes() {
	var seen [2]map[string]string
	for i, s := range c.sides {
		seen[i] = s.probe()
	}
	for _, name := range sortedKeys(seen[0]) {
		if want, got := seen[0][name], seen[1][name]; want != got {
			c.t.Errorf("%s: TLS: %s: reference: %s; fauxlet: %s", c.name, name, want, got)
		}
	}
	offered := 0
	for _, what := range seen[0] {
		if !strings.HasPrefix(what, "refused") {
			offered++
		}
	}
	if offered < 10 {
		c.t.Errorf("%s: TLS: only %d of %d probes were accepted", c.name, offered, len(seen[0]))
	}
}

var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768,
	tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}

// probe makes many different TLS handshakes and returns the result of each.
func (s *side) probe() map[string]string {
	results := map[string]string{}
	try := func(name string, change func(*tls.Config)) {
		config := client{}.TLS()
		change(config)
		results[name] = s.handshake(config)
	}
	try("as it comes", func(*tls.Config) {})
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		try("version "+tls.VersionName(version), func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		try("suite "+suite.Name, func(c *tls.Config) {
			c.CipherSuites, c.MaxVersion = []uint16{suite.ID},
				tls.VersionTLS12
		})
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, curve := range curves {
			try(fmt.Sprintf("key exchange %v in %s", curve, tls.VersionName(version)), func(c *tls.Config) {
				c.CurvePreferences, c.MinVersion, c.MaxVersion = []tls.CurveID{curve}, version, version
			})
		}
	}
	for _, protocols := range [][]string{{"h2", "http/1.1"}, {"http/1.1", "h2"}, {"h2"}, {"http/1.1"}, {"http/1.0"},
		{"spdy/3.1"}, {"h3", "http/1.1"}} {
		try("protocols "+strings.Join(protocols, ", "), func(c *tls.Config) { c.NextProtos = protocols })
	}
	for _, name := range []string{"node-1", "localhost", "nope.example"} {
		try("server name "+name, func(c *tls.Config) { c.ServerName = name })
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		try("client certificates in "+tls.VersionName(version), func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = version, version
			c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				var names []string
				for _, name := range info.AcceptableCAs {
					names = append(names, string(name))
				}
				results["hints in "+tls.VersionName(version)] = fmt.Sprintf("%q %v", names, info.SignatureSchemes)
				return &tls.Certificate{}, nil
			}
		})
		for _, as := range []string{"no-credential", "kubelet-client", "unknown-ca"} {
			config := s.clients[as].TLS()
			config.MinVersion, config.MaxVersion, config.ClientSessionCache = version, version,
				tls.NewLRUClientSessionCache(4)
			name := fmt.Sprintf("resumption in %s as %s", tls.VersionName(version), as)
			results[name] = s.handshake(config) + ", then " + s.handshake(config)
		}
	}
	results["plain HTTP"] = s.plain("GET /pods HTTP/1.1\r\nHost: node-1\r\n\r\n")
	results["no TLS at all"] = s.plain("\x00\x01\x02 what?\r\n\r\n")
	return results
}

// handshake makes a TLS handshake and returns a description of the result. It also sends one request, because
// session tickets arrive with the answer.
func (s *side) handshake(config *tls.Config) string {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: recordings.Patience}, "tcp", s.Secure, config)
	if err != nil {
		return "refused: " + recordings.Reason(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(recordings.Patience))
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		_, _ = io.WriteString(conn, "GET /and/then HTTP/1.1\r\nHost: node-1\r\n"+hangUp+"\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			return "refused afterwards: " + recordings.Reason(err)
		} else if !strings.Contains(line, "404") {
			return line
		}
	}
	var names []string
	for _, certificate := range state.PeerCertificates {
		names = append(names, fmt.Sprintf("%x", sha256.Sum256(certificate.Raw))[:8])
	}
	slices.Sort(names)
	return fmt.Sprintf("%s, %s, %v, protocol %q, certificates %v, resumed %v", tls.VersionName(state.Version),
		tls.CipherSuiteName(state.CipherSuite), state.CurveID, state.NegotiatedProtocol, names, state.DidResume)
}

// plain sends the given text to the secure port without a TLS handshake, and returns a description of the response.
func (s *side) plain(text string) string {
	conn, err := net.DialTimeout("tcp", s.Secure, recordings.Patience)
	if err != nil {
		return "refused: " + recordings.Reason(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(recordings.Patience))
	_, _ = io.WriteString(conn, text)
	answer, err := io.ReadAll(conn)
	return fmt.Sprintf("%q, %s", answer, recordings.Reason(err))
}
