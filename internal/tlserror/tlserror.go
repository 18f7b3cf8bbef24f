// Package tlserror finds out why a TLS handshake with a kubelet failed. It recognizes the reason by the error texts of
// Go's crypto/tls and net/http.
package tlserror

import (
	"fmt"
	"regexp"
	"strings"
)

// Kind is a reason why a handshake failed, such as "unknown authority". The zero Kind is an unknown reason.
type Kind string

// The variable "table" lists the reasons with parts of their error texts. A longer text comes before a text that it
// contains. Texts with "remote error" are about an alert that the client sent to the kubelet.
var table = []struct {
	kind  Kind
	texts []string
	// cause describes the failed handshake from the kubelet's point of view.
	cause string
}{
	{"no serving certificate", []string{"no serving certificate available"}, "there is no serving certificate yet"},
	{"unknown authority", []string{"remote error: tls: unknown certificate authority"},
		"the client does not trust the serving certificate: its CA is unknown to the client"},
	{"expired certificate", []string{"remote error: tls: expired certificate"},
		"the client does not accept the serving certificate: it has expired"},
	{"bad certificate", []string{"remote error: tls: bad certificate", "remote error: tls: unknown certificate",
		"remote error: tls: certificate unknown"}, "the client does not accept the serving certificate"},
	{"unsupported version", []string{"client offered only unsupported versions"},
		"the client offers no TLS version that tlsMinVersion allows"},
	{"unsupported version", []string{"tls: protocol version not supported"},
		"the client does not accept the TLS version"},
	{"no cipher suite", []string{"no cipher suite supported by both client and server"},
		"the client offers no cipher suite that tlsCipherSuites allows"},
	{"no cipher suite", []string{"remote error: tls: handshake failure"},
		"the client accepts neither the cipher suite nor the TLS version"},
	{"internal error", []string{"remote error: tls: internal error"}, "the client ended the handshake"},
	{"other alert", []string{"remote error: tls"}, "the client ended the handshake"},
	{"plain HTTP", []string{"client sent an HTTP request to an HTTPS server"},
		"the client sent plain HTTP to a TLS port"},
	{"not TLS", []string{"first record does not look like a TLS handshake"}, "the client does not speak TLS"},
	// OpenSSL sends an unencrypted alert if it has no keys yet, although crypto/tls already expects encrypted records.
	{"unreadable alert", []string{"local error: tls: bad record MAC"},
		"the client ended the handshake with an alert that cannot be decrypted; a client with OpenSSL, such as " +
			"curl, does so if it does not accept the serving certificate"},
	{"connection closed", []string{"EOF"}, "the client closed the connection during the handshake"},
	{"connection reset", []string{"connection reset by peer"}, "the client reset the connection during the handshake"},
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
