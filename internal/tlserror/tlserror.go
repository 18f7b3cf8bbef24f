// Package tlserror finds out why a TLS handshake with a kubelet failed. It recognizes the reason by the error texts of
// Go's crypto/tls and net/http.
package tlserror

import (
	"fmt"
	"regexp"
	"strings"
)

// Kind is a reason why a handshake failed. The zero Kind is an unknown reason.
type Kind string

const (
	NoServingCertificate Kind = "no serving certificate"
	UnknownAuthority     Kind = "unknown authority"
	ExpiredCertificate   Kind = "expired certificate"
	BadCertificate       Kind = "bad certificate"
	UnsupportedVersion   Kind = "unsupported version"
	NoCipherSuite        Kind = "no cipher suite"
	InternalError        Kind = "internal error"
	OtherAlert           Kind = "other alert"
	PlainHTTP            Kind = "plain HTTP"
	NotTLS               Kind = "not TLS"
	UnreadableAlert      Kind = "unreadable alert"
	ConnectionClosed     Kind = "connection closed"
	ConnectionReset      Kind = "connection reset"
)

// The variable "table" lists the reasons with parts of their error texts. A longer text comes before a text that it
// contains. Texts with "remote error" are about an alert that the client sent to the kubelet.
var table = []struct {
	kind  Kind
	texts []string
	// cause describes the failed handshake from the kubelet's point of view.
	cause string
}{
	{NoServingCertificate, []string{"no serving certificate available"}, "there is no serving certificate yet"},
	{UnknownAuthority, []string{"remote error: tls: unknown certificate authority"},
		"the client does not trust the serving certificate: its CA is unknown to the client"},
	{ExpiredCertificate, []string{"remote error: tls: expired certificate"},
		"the client does not accept the serving certificate: it has expired"},
	{BadCertificate, []string{"remote error: tls: bad certificate", "remote error: tls: unknown certificate",
		"remote error: tls: certificate unknown"}, "the client does not accept the serving certificate"},
	{UnsupportedVersion, []string{"client offered only unsupported versions"},
		"the client offers no TLS version that tlsMinVersion allows"},
	{UnsupportedVersion, []string{"tls: protocol version not supported"}, "the client does not accept the TLS version"},
	{NoCipherSuite, []string{"no cipher suite supported by both client and server"},
		"the client offers no cipher suite that tlsCipherSuites allows"},
	{NoCipherSuite, []string{"remote error: tls: handshake failure"},
		"the client accepts neither the cipher suite nor the TLS version"},
	{InternalError, []string{"remote error: tls: internal error"}, "the client ended the handshake"},
	{OtherAlert, []string{"remote error: tls"}, "the client ended the handshake"},
	{PlainHTTP, []string{"client sent an HTTP request to an HTTPS server"}, "the client sent plain HTTP to a TLS port"},
	{NotTLS, []string{"first record does not look like a TLS handshake"}, "the client does not speak TLS"},
	// OpenSSL sends its alert unencrypted if it has no keys yet, although crypto/tls already expects an encrypted
	// record.
	{UnreadableAlert, []string{"local error: tls: bad record MAC"},
		"the client ended the handshake with an alert that cannot be decrypted; a client with OpenSSL, such as " +
			"curl, does so if it does not accept the serving certificate"},
	{ConnectionClosed, []string{"EOF"}, "the client closed the connection during the handshake"},
	{ConnectionReset, []string{"connection reset by peer"}, "the client reset the connection during the handshake"},
}

// Recognize returns the reason that the text of an error states, or "" if the text contains no known reason.
func Recognize(text string) Kind {
	kind, _ := find(text)
	return kind
}

// Explain returns a description of the cause, followed by the text of the server's handshake error in parentheses:
// "CAUSE (TEXT)". If the reason is unknown, it returns the text unchanged.
func Explain(text string) string {
	if _, cause := find(text); cause != "" {
		return fmt.Sprintf("%s (%s)", cause, text)
	}
	return text
}

func find(text string) (Kind, string) {
	for i := range table {
		for _, part := range table[i].texts {
			if strings.Contains(text, part) {
				return table[i].kind, table[i].cause
			}
		}
	}
	return "", ""
}

// Pattern returns a regular expression, in the syntax of package regexp, that matches the texts of a kind.
func Pattern(kind Kind) string {
	var all []string
	for i := range table {
		if table[i].kind == kind {
			for _, text := range table[i].texts {
				all = append(all, regexp.QuoteMeta(text))
			}
		}
	}
	return "(?:" + strings.Join(all, "|") + ")"
}
