package demo

import (
	"cmp"
	"net"
	"net/http"
	"strings"

	"fauxlet/internal/host"
	"fauxlet/internal/shellword"
)

// client is an identity that sends requests: a client certificate, a bearer token, both, or neither.
type client struct {
	// name identifies the client on the page and in the admin API.
	name        string
	description string
	// certificate is the name of a pair in the pki folder. Empty: the client presents no certificate.
	certificate string
	// token is the user in tokens.csv whose token the client sends, or invalidToken. Empty: it sends none.
	token string
	// readOnlyPort sends plain HTTP to the read-only port. No credential is sent there.
	readOnlyPort bool
}

const (
	// invalidToken is a bearer token that is not in tokens.csv.
	invalidToken = "invalid-token"
	// prometheusUser is the user of the one token in tokens.csv.
	prometheusUser = "system:serviceaccount:monitoring:prometheus"
)

var (
	noCredential  = client{name: "no credential", description: "no client certificate and no token"}
	kubeletClient = client{
		name: "kubelet-client", description: "the identity of a kube-apiserver; rbac.yaml allows it everything",
		certificate: "kubelet-client",
	}
	viewer = client{
		name: "viewer", description: "certificate signed by the client CA; rbac.yaml does not mention it",
		certificate: "viewer",
	}
	untrusted = client{name: "untrusted", description: "certificate signed by an unknown CA", certificate: "untrusted"}
	expired   = client{
		name: "expired", description: "certificate signed by the client CA, but expired",
		certificate: "expired",
	}
	prometheus = client{
		name: "prometheus", description: "token of a service account; rbac.yaml allows it to read metrics",
		token: prometheusUser,
	}
	withInvalidToken = client{
		name: "invalid token", description: "a token that no TokenReview accepts",
		token: invalidToken,
	}
	kubeletClientWithInvalidToken = client{
		name: "kubelet-client, invalid token", description: "kubelet-client's certificate and an invalid token",
		certificate: "kubelet-client", token: invalidToken,
	}
	untrustedWithToken = client{
		name: "untrusted, valid token", description: "certificate signed by an unknown CA, and prometheus's token",
		certificate: "untrusted", token: prometheusUser,
	}
	onReadOnlyPort = client{
		name: "read-only port", description: "plain HTTP to the port without authentication",
		readOnlyPort: true,
	}
)

// clients are the clients that the page offers, in its order.
var clients = []client{
	noCredential, kubeletClient, viewer, untrusted, expired, prometheus,
	withInvalidToken, kubeletClientWithInvalidToken, untrustedWithToken, onReadOnlyPort,
}

// request is one request of a client.
type request struct {
	client
	about  string // description of the request
	method string // empty means GET
	path   string // including the query
	// serverName is the name that the client connects to and verifies in the serving certificate. Empty means the
	// address itself.
	serverName string
	// insecure is true if the client does not verify the serving certificate.
	insecure bool
}

func (r request) verb() string { return cmp.Or(r.method, http.MethodGet) }

func (r request) scheme() string {
	if r.readOnlyPort {
		return "http://"
	}
	return "https://"
}

// address returns the address of the listener to which the request is sent. It is empty if the listener is not open.
func (r request) address(open host.Addresses) string {
	if r.readOnlyPort {
		return open.ReadOnly
	}
	return open.Secure
}

// curl returns a shell command that sends the request to address. The command reads a valid token from tokens.csv,
// so that the token is not printed.
func (f *Folder) curl(r request, address string) string {
	words := []string{"curl", "-i"}
	if r.method != "" {
		words = append(words, "-X", r.method)
	}
	switch {
	case r.readOnlyPort:
	case r.insecure:
		words = append(words, "--insecure")
	default:
		words = append(words, "--cacert", shellword.Quote(f.caFile()))
	}
	if r.certificate != "" {
		words = append(words,
			"--cert", shellword.Quote(f.path("pki", r.certificate+".crt")),
			"--key", shellword.Quote(f.path("pki", r.certificate+".key")))
	}
	switch r.token {
	case "":
	case invalidToken:
		words = append(words, "-H", shellword.Quote("Authorization: Bearer "+invalidToken))
	default:
		words = append(words, "-H", `"Authorization: Bearer `+f.tokenCommand(r.token)+`"`)
	}
	if r.serverName != "" {
		host, port, _ := net.SplitHostPort(address)
		words = append(words, "--connect-to", strings.Join([]string{r.serverName, port, host, port}, ":"))
		address = net.JoinHostPort(r.serverName, port)
	}
	return strings.Join(append(words, shellword.Quote(r.scheme()+address+r.path)), " ")
}
