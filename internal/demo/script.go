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
	Clients     []client // in the order in which the admin page lists them
	FirstScreen []request
	Scenes      []scene
}) {
	if err := yaml.UnmarshalStrict(scriptFile, &s); err != nil {
		panic("script.yaml: " + err.Error())
	}
	return s
})

// client is a sender of requests. It has a client certificate, a bearer token, both, or neither.
type client struct {
	// Name identifies the client on the page and in the admin API.
	Name, Description string
	// Certificate is the name of the client certificate and its key in the folder pki. Empty means no certificate.
	Certificate string
	// Token is the user in tokens.csv whose token the client sends, or invalidToken. Empty means no token.
	Token string
	// ReadOnlyPort is true if the client sends plain HTTP to the read-only port, without a credential.
	ReadOnlyPort bool
}

const (
	// invalidToken is a bearer token that is not in tokens.csv.
	invalidToken = "invalid-token"
	// prometheusUser is the user of the only token in tokens.csv.
	prometheusUser = "system:serviceaccount:monitoring:prometheus"
)

// request is one request of a client.
type request struct {
	Client client
	About  string // describes the request to the reader
	Method string // empty means GET
	Path   string // path and query; empty means the log of a container
	// ServerName, if not empty, is the host name by which the client addresses the kubelet. The client then expects
	// this name in the serving certificate. If ServerName is empty, the client uses the kubelet's IP address. In a
	// scene of the tour, any ServerName is replaced by the name of the scene's node.
	ServerName string
	// Insecure is true if the client does not verify the serving certificate.
	Insecure bool
}

// scene is one lesson of the tour.
type scene struct {
	Title string
	// Claim is a common belief about kubelets. The scene shows whether it is true. Claim may be empty.
	Claim string
	Steps []step
	// Why explains the results. Try suggests what to do in the reader's own cluster.
	Why, Try string
}

// step sends one request, either to a new stand-in kubelet with the given configuration, or to the stand-in kubelet
// of the previous step.
type step struct {
	// Configured describes the configuration of a new stand-in kubelet. It is empty if there is no new one.
	Configured string
	// Fields are the fields of kubelet.yaml that differ from the recommended configuration. If the value of
	// readOnlyPort is FREE, a free port replaces it.
	Fields map[string]string
	// RBAC contains manifests that are added to the demo's rbac.yaml. Bound is a text for the reader that describes
	// these manifests.
	Bound, RBAC string
	// Unreachable is true if the request goes to an address where no process listens.
	Unreachable bool

	Send request
	// Status is the expected HTTP status. 0 means that the client is expected to fail without a response.
	Status int
	// Reason is a text that the reason of the Decision must contain. If no response is expected, the client's error
	// must contain it.
	Reason string
}

func (r *request) method() string { return cmp.Or(r.Method, http.MethodGet) }

// url returns the URL of the request for a server at the address.
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
