package demo

import (
	"cmp"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"fauxlet/internal/host"
	"fauxlet/internal/shellword"
)

//go:embed script.yaml
var scriptFile []byte

// script is the content of script.yaml.
var script = sync.OnceValue(func() (s struct {
	Clients     []client // the clients that the page offers, in its order
	FirstScreen []request
	Scenes      []scene
}) {
	if err := yaml.UnmarshalStrict(scriptFile, &s); err != nil {
		panic("script.yaml: " + err.Error())
	}
	return s
})

// client is an identity that sends requests: a client certificate, a bearer token, both, or neither.
type client struct {
	// Name identifies the client on the page and in the admin API.
	Name, Description string
	// Certificate is the name of a pair in the pki folder. Empty: the client presents no certificate.
	Certificate string
	// Token is the user in tokens.csv whose token the client sends, or invalidToken. Empty: it sends none.
	Token string
	// ReadOnlyPort sends plain HTTP to the read-only port. No credential is sent there.
	ReadOnlyPort bool
}

const (
	// invalidToken is a bearer token that is not in tokens.csv.
	invalidToken = "invalid-token"
	// prometheusUser is the user of the one token in tokens.csv.
	prometheusUser = "system:serviceaccount:monitoring:prometheus"
)

// request is one request of a client.
type request struct {
	Client client
	About  string // description of the request
	Method string // empty means GET
	Path   string // with the query. Empty means the log of a container
	// ServerName is the name that the client connects to and verifies in the serving certificate. Empty means the
	// address itself. In a scene, any name stands for the name of the node to which the request is sent.
	ServerName string
	// Insecure is true if the client does not verify the serving certificate.
	Insecure bool
}

// scene is one lesson of the tour.
type scene struct {
	Title string
	// Claim is a common belief that the scene tests. Empty means that there is none.
	Claim string
	Steps []step
	// Why explains the results. Try suggests what to do in the reader's own cluster.
	Why, Try string
}

// step sends one request, either to a new stand-in kubelet with the given configuration, or to the stand-in kubelet
// of the previous step.
type step struct {
	// Configured describes the configuration. Empty means that the request goes to the stand-in kubelet of the
	// previous step.
	Configured string
	// Fields are the fields of kubelet.yaml that differ from the recommended configuration. The value FREE of
	// readOnlyPort stands for any free port.
	Fields map[string]string
	// Bound describes RBAC. The manifests in RBAC are added to the demo's rbac.yaml.
	Bound, RBAC string
	// Unreachable is true if the request goes to an address where no process listens.
	Unreachable bool

	Send request
	// Status is the expected HTTP status. 0 means that the client fails without a response.
	Status int
	// Reason is a text expected in the Decision, or, if there is no response, in the client's error.
	Reason string
}

func (r *request) method() string { return cmp.Or(r.Method, http.MethodGet) }

// url returns the URL of the request at an address.
func (r *request) url(address string) string {
	scheme := "https://"
	if r.Client.ReadOnlyPort {
		scheme = "http://"
	}
	return scheme + address + cmp.Or(r.Path, "/containerLogs/default/nginx/nginx?tailLines=1")
}

// address returns the address of the listener to which the request is sent. It is empty if the listener is not open.
func (r *request) address(open host.Addresses) string {
	if r.Client.ReadOnlyPort {
		return open.ReadOnly
	}
	return open.Secure
}

// curl returns a shell command that sends the request to address. The command reads a valid token from tokens.csv,
// so that the token is not printed.
func (f *Folder) curl(r *request, address string) string {
	words := []string{"curl", "-i"}
	if r.Method != "" {
		words = append(words, "-X", r.Method)
	}
	switch {
	case r.Client.ReadOnlyPort:
	case r.Insecure:
		words = append(words, "--insecure")
	default:
		words = append(words, "--cacert", shellword.Quote(f.caFile()))
	}
	if r.Client.Certificate != "" {
		certFile, keyFile := f.clientFiles(r.Client)
		words = append(words, "--cert", shellword.Quote(certFile), "--key", shellword.Quote(keyFile))
	}
	switch r.Client.Token {
	case "":
	case invalidToken:
		words = append(words, "-H", shellword.Quote("Authorization: Bearer "+invalidToken))
	default:
		words = append(words, "-H", fmt.Sprintf(`"Authorization: Bearer $(grep %s %s | cut -d, -f1)"`,
			r.Client.Token, shellword.Quote(f.path("tokens.csv"))))
	}
	if r.ServerName != "" {
		host, port, _ := net.SplitHostPort(address)
		words = append(words, "--connect-to", strings.Join([]string{r.ServerName, port, host, port}, ":"))
		address = net.JoinHostPort(r.ServerName, port)
	}
	return strings.Join(append(words, shellword.Quote(r.url(address))), " ")
}
