// Package vectors is the corpus of requests to a kubelet with the decision that each is expected to meet: a few files of
// text, described in README.md, read by several suites. They hold of the kubelet's own server, which is asked them too,
// and so of every server that stands in for one.
package vectors

import (
	"embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed *.txt rbac.yaml tokens.csv
var files embed.FS

// RBAC is what the reviewer that is asked allows, Tokens a token file with the tokens that it knows.
var (
	//go:embed rbac.yaml
	RBAC []byte
	//go:embed tokens.csv
	Tokens []byte
)

// NodeName is that of the kubelet which is asked.
const NodeName = "node-1"

// Corpus is all that the files say.
type Corpus struct {
	Configurations map[string]Settings
	Clients        map[string]Client
	Cases          []Case
}

// Settings are fields of a KubeletConfiguration by their paths, as in "authentication.anonymous.enabled".
type Settings map[string]any

// YAML is a KubeletConfiguration with those fields.
func (s Settings) YAML() ([]byte, error) {
	root := map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
	for path, value := range s {
		at, names := root, strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			below, ok := at[name].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[name] = below
			}
			at = below
		}
		at[names[len(names)-1]] = value
	}
	return yaml.Marshal(root)
}

// Client is who sends a request: a certificate, headers, both or neither.
type Client struct {
	// Kind is one of testcerts.Kinds; empty: there is no certificate.
	Kind          string
	CommonName    string
	Organizations []string
	// Headers are lines, "Name: value".
	Headers []string
}

// Case is one request in one configuration.
type Case struct {
	// Where is the file and line that it stands in.
	Where         string
	Configuration string
	Client        string
	// ReadOnly: it is sent to the read-only port.
	ReadOnly bool
	// Faults are the ways in which reviews fail meanwhile, by their kinds.
	Faults map[string]string

	// Protocol is HTTP/1.1 or HTTP/1.0.
	Protocol     string
	Method, Path string
	Headers      []string
	Body         string

	Want Expectation
}

// Name tells cases apart, for people.
func (c *Case) Name() string {
	port := ""
	if c.ReadOnly {
		port = "read-only/"
	}
	name := fmt.Sprintf("%s/%s/%s%s %s", c.Configuration, c.Client, port, c.Method, c.Path)
	for _, header := range c.Headers {
		name += " " + header
	}
	return name
}

// Bytes are the request as it is sent, byte by byte, with the client's own headers.
func (c *Case) Bytes(client Client) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: node-1:10250\r\n", c.Method, c.Path, c.Protocol)
	headers := slices.Concat(client.Headers, c.Headers)
	named := func(name string) bool {
		return slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), name+":") })
	}
	if !named("connection") {
		b.WriteString("Connection: close\r\n")
	}
	if c.Body != "" && !named("content-length") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(c.Body))
	}
	for _, header := range headers {
		b.WriteString(header + "\r\n")
	}
	b.WriteString("\r\n" + c.Body)
	return []byte(b.String())
}

// Authorization is how the questions about a user ended.
type Authorization int

const (
	// NoAuthorization: nobody was asked who the client is, or nobody found out.
	NoAuthorization Authorization = iota
	// Allowed: the last question was answered with yes, those before it with no.
	Allowed
	// Denied: all were answered with no.
	Denied
	// CheckError: the last could not be answered.
	CheckError
	// AlwaysAllow: there were no questions.
	AlwaysAllow
)

// Expectation is what is expected of a request.
type Expectation struct {
	Status int
	// NoAuthentication: nobody asks who the client is.
	NoAuthentication bool
	// TokenReviews is how many are sent.
	TokenReviews int

	User string
	// Groups are those of the user; nil: it is not said.
	Groups        []string
	Authorization Authorization
	Verb          string
	Subresources  []string

	// Reason is a part of the reason why the client was refused, in the words of a stand-in; a kubelet gives none.
	Reason string
	// BodyContains is a part of the body. Headers are header lines of the response.
	BodyContains string
	Headers      []string
}

// AccessReview is a question that was put to the reviewer.
type AccessReview struct {
	User                              string
	Groups                            []string
	Verb, Resource, Subresource, Name string
}

// Observed is what became of a request.
type Observed struct {
	Status        int
	Header        http.Header
	Body          string
	TokenReviews  int
	AccessReviews []AccessReview
}

// Problems says in what the observed differs from the decision that is expected.
func (c *Case) Problems(got Observed) []string {
	var all []string
	problem := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	want := &c.Want
	if got.Status != want.Status {
		problem("status %d, want %d", got.Status, want.Status)
	}
	if got.TokenReviews != want.TokenReviews {
		problem("%d TokenReviews, want %d", got.TokenReviews, want.TokenReviews)
	}
	if exact := want.refusal(); exact != "" && c.Method != http.MethodHead && got.Body != exact {
		problem("body %q, want %q", got.Body, exact)
	}
	if !strings.Contains(got.Body, want.BodyContains) {
		problem("body %q, want one with %q", got.Body, want.BodyContains)
	}
	for _, header := range want.Headers {
		name, value, _ := strings.Cut(header, ": ")
		if got.Header.Get(name) != value {
			problem("header %s: %q, want %q", name, got.Header.Get(name), value)
		}
	}

	var asked []string
	for _, access := range got.AccessReviews {
		asked = append(asked, access.Subresource)
		if access.User != want.User || access.Verb != want.Verb || access.Resource != "nodes" || access.Name != NodeName {
			problem("asked whether %q may %q %s/%s of %s, want %q, %q and nodes of %s",
				access.User, access.Verb, access.Resource, access.Subresource, access.Name, want.User, want.Verb, NodeName)
		}
		if want.Groups != nil && !sameSet(access.Groups, want.Groups) {
			problem("groups %q, want %q", access.Groups, want.Groups)
		}
	}
	if !slices.Equal(asked, want.Subresources) {
		problem("asked about nodes/%v, want %v", asked, want.Subresources)
	}
	return all
}

// refusal is the body of a request that did not pass.
func (d *Expectation) refusal() string {
	switch {
	case d.Authorization == Denied:
		return fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)\n", d.User, d.Verb, d.Subresources)
	case d.Authorization == CheckError:
		return fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s)", d.User, d.Verb, d.Subresources[len(d.Subresources)-1])
	case d.Status == http.StatusUnauthorized:
		return "Unauthorized"
	}
	return ""
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
