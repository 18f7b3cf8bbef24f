package probe

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"fauxlet/authchain"
)

// row is one of the requests that every probe sends, and so one row of the report's table of responses.
type row struct {
	method, path string
	readOnly     bool // the request is also sent to the read-only port
	body         bool // the probe needs the response body
}

func (r *row) String() string { return r.method + " " + r.path }

// verb returns the RBAC verb for the HTTP method of the request. For HEAD and OPTIONS, the verb is "".
func (r *row) verb() string {
	return map[string]string{http.MethodGet: "get", http.MethodPost: "create"}[r.method]
}

// subresources returns the subresources of nodes that authorize the request, in the order in which the kubelet checks
// the client's permissions. The kubelet stops at the first subresource that the client may access.
func (r *row) subresources() []string { return authchain.Subresources(r.path, true) }

// rights returns the permissions for the request as "VERB nodes/SUBRESOURCE". One of them is sufficient. The parameter
// fineGrained is the value of the setting with this name.
func (r *row) rights(v *version.Version, fineGrained string) []string {
	var all []string
	for _, subresource := range r.subresourcesOf(v, fineGrained) {
		all = append(all, cmp.Or(r.verb(), `""`)+" nodes/"+subresource)
	}
	return all
}

// impossiblePod is the path of a container that cannot exist, because the pod name is invalid.
const impossiblePod = "/fauxlet-probe/No_Such_Pod/none"

// rows has the requests that every probe sends. None of them changes or runs anything. The exec requests name a pod
// that cannot exist and request no stream, so a kubelet refuses them before it looks for the pod. The request for
// /debug/pprof/ names no profile. A kubelet changes the flag of /debug/flags/v only in response to PUT, and makes a
// checkpoint only in response to POST: it answers GET with 405 where it serves /checkpoint.
var rows = []row{
	{method: "GET", path: "/healthz", readOnly: true},
	{method: "GET", path: "/pods", readOnly: true},
	{method: "GET", path: "/runningpods/", readOnly: true},
	{method: "GET", path: "/configz", readOnly: true, body: true},
	{method: "GET", path: "/flagz"},
	{method: "GET", path: "/statusz"},
	{method: "GET", path: "/metrics", readOnly: true, body: true},
	{method: "GET", path: "/metrics/resource", readOnly: true},
	{method: "GET", path: "/stats/summary?only_cpu_and_memory=true", readOnly: true},
	{method: "GET", path: "/logs/", readOnly: true},
	{method: "GET", path: "/containerLogs" + impossiblePod, readOnly: true},
	{method: "GET", path: "/checkpoint" + impossiblePod, readOnly: true},
	{method: "GET", path: "/exec" + impossiblePod},
	{method: "POST", path: "/exec" + impossiblePod},
	{method: "GET", path: "/debug/pprof/"},
	{method: "GET", path: "/debug/flags/v"},
	{method: "HEAD", path: "/pods"},
	{method: "OPTIONS", path: "/containerLogs" + impossiblePod},
}

// The probe sends these two requests only if the server's responses do not show whether it is a kubelet. No kubelet has
// a handler for the path of unservedRow: a kubelet answers 404 before it authenticates the client.
var podsRow, unservedRow = row{method: "GET", path: "/pods"}, row{method: "GET", path: "/fauxlet-probe"}

// Access is the result of authentication and authorization for a request.
type Access string

const (
	// Admitted means that the client was authenticated and authorized. The status may still be an error of the handler.
	Admitted Access = "admitted"
	// Disabled means that the client was authenticated and authorized, but the endpoint is disabled.
	Disabled Access = "disabled"
	// Forbidden means that the client was authenticated, but is not authorized (403).
	Forbidden Access = "forbidden"
	// AuthorizationError means that the authorization check of an authenticated client ended with an error (500).
	AuthorizationError Access = "authorization error"
	// Unauthenticated means that authentication failed (401).
	Unauthenticated Access = "unauthenticated"
	// NotServed means that the endpoint does not exist. The kubelet responds before it authenticates the client.
	NotServed Access = "not served"
	// NoResponse means that the connection or the request failed.
	NoResponse Access = "no response"
	// NotSent means that the probe did not send the request. Error has the reason.
	NotSent Access = "not sent"
)

// Response is the result of one request.
type Response struct {
	Access Access `json:"access"`
	// Status is the HTTP status; 0 if there was no response.
	Status int `json:"status,omitempty"`
	// Error is the reason why there is no status.
	Error string `json:"error,omitempty"`

	identity string // the client that sent the request
	row      *row
	// user and subresources come from the text of the kubelet's response, if the status is 403 or 500.
	user         string
	subresources []string
	handler      string // the kubelet's name for a disabled handler: Debug, logs, profiling or flags
	kubelet      bool   // the response text is typical of a kubelet
	bare         bool   // a 401 with the text Unauthorized, which kubelets send, but also other servers
	apiServer    bool   // the response text is a Status, as a kube-apiserver sends
	cause        error  // the error behind Error
	took         time.Duration
	slow         bool // the client sent no further requests because this one took too long
	body         []byte
}

// String returns the identity, the request and the status. The report shows this text as the evidence for a setting or
// a finding.
func (a *Response) String() string { return fmt.Sprintf("%s: %s: %d", a.identity, a.row, a.Status) }

// admitted reports whether the request was authenticated and authorized.
func (a *Response) admitted() bool { return a.Access == Admitted || a.Access == Disabled }

// authenticated reports whether the client was authenticated, possibly as anonymous.
func (a *Response) authenticated() bool {
	return a.admitted() || a.Access == Forbidden || a.Access == AuthorizationError
}

var (
	forbidden = regexp.MustCompile(`^Forbidden \(user=(.*), verb=[a-z]*, resource=nodes, ` +
		`subresource(?:=|\(s\)=\[)([a-z ]*)\]?\)\s*$`)
	undecided    = regexp.MustCompile(`^Authorization error \(user=(.*), verb=[a-z]*, resource=nodes, subresource=`)
	statusObject = regexp.MustCompile(`^\s*{\s*"kind":\s*"Status",\s*"apiVersion":\s*"v1"`)
	disabled     = regexp.MustCompile(`^(Debug|logs|profiling|flags) endpoints? (?:is|are) disabled\.\s*$`)
)

// classify derives the result of authentication and authorization from the status and the body of a response. It
// recognizes the texts that a kubelet sends. (k8s.io/kubernetes: pkg/kubelet/server/server.go, InstallAuthFilter,
// getHandlerForDisabledEndpoint)
func classify(r *row, status int, body []byte) Response {
	text := string(body[:min(len(body), 4<<10)])
	a := Response{Status: status, Access: Admitted, apiServer: statusObject.MatchString(text)}
	switch {
	case status == http.StatusUnauthorized:
		a.Access, a.bare = Unauthenticated, text == "Unauthorized"
	case status == http.StatusForbidden:
		a.Access = Forbidden
		if m := forbidden.FindStringSubmatch(text); m != nil {
			a.kubelet, a.user, a.subresources = true, m[1], strings.Fields(m[2])
		}
	case status == http.StatusInternalServerError && undecided.MatchString(text):
		a.Access, a.kubelet, a.user = AuthorizationError, true, undecided.FindStringSubmatch(text)[1]
	case status == http.StatusInternalServerError && r.method == http.MethodHead:
		a.Access = AuthorizationError // a response to HEAD has no body, and no handler for HEAD can fail
	case status == http.StatusNotFound && text == "404 page not found\n", status/100 == 3:
		a.Access = NotServed
	case status == http.StatusMethodNotAllowed && disabled.MatchString(text):
		a.Access, a.kubelet, a.handler = Disabled, true, disabled.FindStringSubmatch(text)[1]
	case status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout: // 502, 503 or 504
		a.Access, a.Error = NoResponse, "a proxy answered: "+http.StatusText(status)
	case status == http.StatusOK && r.path == "/pods":
		a.kubelet = bytes.Contains(body, []byte(`"kind":"PodList"`))
	}
	return a
}
