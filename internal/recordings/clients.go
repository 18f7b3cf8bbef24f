package recordings

import (
	"crypto/tls"
	"strings"

	"fauxlet/internal/vectors"
	"fauxlet/testcerts"
)

// Client is a client certificate and the headers that the client adds to every request.
type Client struct {
	Certificate *tls.Certificate // nil: the client has no certificate
	Header      string           // complete header lines
}

// authorities are a kubelet's client CA, and a CA that the kubelet does not trust.
type authorities struct{ CA, UnknownCA *testcerts.Authority }

// NewClients returns the clients of the vectors, and other clients with unusual certificates or headers. The first
// authority is the kubelet's client CA. The kubelet does not trust the second one.
func NewClients(corpus *vectors.Corpus, ca, unknownCA *testcerts.Authority) (map[string]Client, error) {
	all := map[string]Client{}
	for name, c := range corpus.Clients {
		var header strings.Builder
		for _, line := range c.Headers {
			header.WriteString(line + "\r\n")
		}
		made := Client{Header: header.String()}
		if c.Kind != "" {
			kind, err := testcerts.KindNamed(c.Kind)
			if err != nil {
				return nil, err
			}
			pair, err := kind.Mint(ca, testcerts.Request{CommonName: c.CommonName, Organizations: c.Organizations})
			if err != nil {
				return nil, err
			}
			certificate := pair.TLS()
			made.Certificate = &certificate
		}
		all[name] = made
	}
	return all, oddClients(authorities{ca, unknownCA}, all)
}
