// Package vectors has a corpus of requests to a kubelet with their expected results. The corpus is in text files;
// README.md describes their format. Several test suites send the requests. One suite sends them to the real
// kubelet's server, which proves that the expectations are correct.
package vectors

import (
	"embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fauxlet/internal/faults"
)

//go:embed *.txt rbac.yaml tokens.csv
var files embed.FS

// RBAC contains the RBAC manifests, and Tokens the token file, for the review API that answers the kubelet's
// reviews.
var (
	//go:embed rbac.yaml
	RBAC []byte
	//go:embed tokens.csv
	Tokens []byte
)

// nodeName is the node name of the kubelet.
const nodeName = "node-1"

// Corpus is the content of the files.
type Corpus struct {
	Configurations map[string]Settings
	Clients        map[string]Client
	Cases          []Case
}

// Settings maps paths of KubeletConfiguration fields to values, for example "authentication.anonymous.enabled" to
// true.
type Settings map[string]any

// YAML returns a KubeletConfiguration with these fields.
func (s Settings) YAML() ([]byte, error) {
	root := map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
	for path, value := range s {
		if err := unstructured.SetNestedField(root, value, strings.Split(path, ".")...); err != nil {
			return nil, err
		}
	}
	return yaml.Marshal(root)
}

// Client is a client with a certificate, headers, both or neither.
type Client struct {
	// Kind is the kind of certificate, one of testcerts.Kinds; empty for no certificate.
	Kind          string
	CommonName    string
	Organizations []string
	// Headers are header lines, "Name: value".
	Headers []string
}

// Case is one request in one configuration.
type Case struct {
	// Where is the file and line of the case.
	Where         string
	Configuration string
	Client        string
	// ReadOnly means that the request is sent to the read-only port.
	ReadOnly bool
	// Faults are the faults of the reviewer during the request.
	Faults []faults.Fault

	// Protocol is HTTP/1.1 or HTTP/1.0.
	Protocol     string
	Method, Path string
	Headers      []string
	Body         string

	Want Expectation
}

// Name identifies the case in test output.
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

// Bytes returns the bytes of the request as they are sent, including the client's headers.
func (c *Case) Bytes(client Client) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: node-1:10250\r\n", c.Method, c.Path, c.Protocol)
	headers := slices.Concat(client.Headers, c.Headers)
	named := func(name string) bool {
		return slices.ContainsFunc(headers,
			func(h string) bool { return strings.HasPrefix(strings.ToLower(h), name+":") })
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

// Authorization is the result of the authorization checks.
type Authorization int

const (
	// noAuthorization means that there were no checks: the request was not authenticated, or its authentication failed.
	noAuthorization Authorization = iota
	// Allowed means that the last check was allowed and those before it denied.
	Allowed
	// Denied means that all checks were denied.
	Denied
	// CheckError means that the last check failed with an error.
	CheckError
	// AlwaysAllow means that the authorization mode is AlwaysAllow, which makes no checks.
	AlwaysAllow
)

// Expectation is the expected result of a request.
type Expectation struct {
	Status int
	// NoAuthentication means that the kubelet does not authenticate the request.
	NoAuthentication bool
	// TokenReviews is the number of TokenReviews.
	TokenReviews int

	User string
	// Groups are the user's groups; nil for any.
	Groups        []string
	Authorization Authorization
	Verb          string
	Subresources  []string

	// Reason is a part of the reason for a refusal, as a stand-in kubelet reports it. A real kubelet does not report
	// reasons.
	Reason string
	// BodyContains is a part of the response body. Headers are header lines of the response.
	BodyContains string
	Headers      []string
}

// Observed is the observed result of a request.
type Observed struct {
	Status        int
	Header        http.Header
	Body          string
	TokenReviews  int
	AccessReviews []authorizationv1.SubjectAccessReviewSpec
}

// AddReview counts a TokenReview, for which access is nil, or adds a SubjectAccessReview.
func (o *Observed) AddReview(access *authorizationv1.SubjectAccessReviewSpec) {
	if access == nil {
		o.TokenReviews++
	} else {
		o.AccessReviews = append(o.AccessReviews, *access)
	}
}

// Problems lists the differences between the observed and the expected result.
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

	var checked []string
	for _, access := range got.AccessReviews {
		of := access.ResourceAttributes
		checked = append(checked, of.Subresource)
		if access.User != want.User || of.Verb != want.Verb || of.Resource != "nodes" || of.Name != nodeName {
			problem("review for user %q: verb %q, resource %s/%s of %s; want user %q, verb %q, nodes of %s",
				access.User, of.Verb, of.Resource, of.Subresource, of.Name, want.User, want.Verb, nodeName)
		}
		if want.Groups != nil && !sameSet(access.Groups, want.Groups) {
			problem("groups %q, want %q", access.Groups, want.Groups)
		}
	}
	if !slices.Equal(checked, want.Subresources) {
		problem("reviews for nodes/%v, want %v", checked, want.Subresources)
	}
	return all
}

// refusal is the body of the response to a refused request.
func (d *Expectation) refusal() string {
	switch {
	case d.Authorization == Denied:
		return fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)\n", d.User, d.Verb,
			d.Subresources)
	case d.Authorization == CheckError:
		return fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s)", d.User, d.Verb,
			d.Subresources[len(d.Subresources)-1])
	case d.Status == http.StatusUnauthorized:
		return "Unauthorized"
	}
	return ""
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
