// Package vectors contains requests to a kubelet with the expected results, as data for tests. The requests are in text
// files; README.md describes the format. Several test suites send the requests. One of the suites sends them to the
// real kubelet's server, which proves that the expected results are correct.
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

// RBAC contains RBAC manifests, and Tokens contains a token file. The review API uses both to answer reviews.
var (
	//go:embed rbac.yaml
	RBAC []byte
	//go:embed tokens.csv
	Tokens []byte
)

// nodeName is the name of the node on which the kubelet runs.
const nodeName = "node-1"

// Corpus is the parsed content of the *.txt files.
type Corpus struct {
	Configurations map[string]Settings
	Clients        map[string]Client
	Cases          []Case
}

// Settings maps paths of KubeletConfiguration fields to values, for example "authentication.anonymous.enabled" to true.
type Settings map[string]any

// YAML returns a KubeletConfiguration with the settings.
func (s Settings) YAML() ([]byte, error) {
	root := map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
	for path, value := range s {
		if err := unstructured.SetNestedField(root, value, strings.Split(path, ".")...); err != nil {
			return nil, err
		}
	}
	return yaml.Marshal(root)
}

// Client is a client of the kubelet. It may have a certificate and headers.
type Client struct {
	// Kind is the kind of the client certificate, one of testcerts.Kinds. It is empty if the client has no certificate.
	Kind          string
	CommonName    string
	Organizations []string
	// Headers are lines of the form "Name: value", which the client adds to each request.
	Headers []string
}

// Case is one request to a kubelet with one configuration, and the expected result.
type Case struct {
	// Where is the position at which the case is defined: the name of the file and the number of the line.
	Where         string
	Configuration string
	Client        string
	// ReadOnly means that the request is sent to the read-only port.
	ReadOnly bool
	// Faults are active during the request. They make TokenReviews or SubjectAccessReviews fail.
	Faults []faults.Fault

	// Protocol is HTTP/1.1 or HTTP/1.0.
	Protocol     string
	Method, Path string
	Headers      []string
	Body         string

	Want Expectation
}

// Name returns a short description of the case for the output of tests.
func (c *Case) Name() string {
	port := ""
	if c.ReadOnly {
		port = "read-only/"
	}
	name := fmt.Sprintf("%s/%s/%s%s %s", c.Configuration, c.Client, port, c.Method, c.Path)
	return strings.Join(slices.Concat([]string{name}, c.Headers), " ")
}

// Bytes returns the HTTP request as it is sent, including the client's headers.
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

// Authorization is the result of all authorization checks for a request.
type Authorization int

const (
	// noAuthorization means that there were no checks, because the kubelet did not authenticate the request, or because
	// authentication failed.
	noAuthorization Authorization = iota
	// Allowed means that the last check was allowed, and all checks before it were denied.
	Allowed
	// Denied means that all checks were denied.
	Denied
	// CheckError means that the last check failed with an error.
	CheckError
	// AlwaysAllow means that the authorization mode is AlwaysAllow, which makes no checks.
	AlwaysAllow
)

// Expectation is the expected result of a request to a kubelet.
type Expectation struct {
	Status int
	// NoAuthentication means that the kubelet does not authenticate the request, either because it does not serve the
	// path, or because the request goes to the read-only port.
	NoAuthentication bool
	// TokenReviews is the number of TokenReviews that the kubelet sends for the request.
	TokenReviews int

	User string
	// Groups are the user's groups. If Groups is nil, the groups are not compared.
	Groups        []string
	Authorization Authorization
	Verb          string
	Subresources  []string

	// Reason is a part of the reason that fauxlet reports for a refusal. A real kubelet does not report reasons.
	Reason string
	// BodyContains is a part of the response body. Headers are lines of the form "Name: value" that the response
	// contains.
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

// AddReview records a review that the kubelet has sent. The parameter "access" is nil for a TokenReview.
func (o *Observed) AddReview(access *authorizationv1.SubjectAccessReviewSpec) {
	if access == nil {
		o.TokenReviews++
	} else {
		o.AccessReviews = append(o.AccessReviews, *access)
	}
}

// Problems describes each difference between the observed and the expected result. Without a difference it returns nil.
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

// refusal returns the body that a kubelet sends when it refuses a request. It is empty if no refusal is expected.
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
