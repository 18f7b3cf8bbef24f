package probe

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// row is one of the fixed requests.
type row struct {
	method, path string
	// asks are the subresources of nodes that the authorizer is asked about, until one is allowed: as authchain has them.
	asks []string
	// readOnly: the read-only port is asked too.
	readOnly bool
	// body is whether the whole of an answer is of interest.
	body bool
}

func (r *row) String() string { return r.method + " " + r.path }

// verb is what RBAC calls the method; HEAD and OPTIONS are the empty string.
func (r *row) verb() string {
	switch r.method {
	case http.MethodGet:
		return "get"
	case http.MethodPost:
		return "create"
	}
	return ""
}

// rights are the questions to the authorizer in words.
func (r *row) rights() []string {
	verb := r.verb()
	if verb == "" {
		verb = `""`
	}
	var all []string
	for _, subresource := range r.asks {
		all = append(all, verb+" nodes/"+subresource)
	}
	return all
}

// nowhere is a container that cannot be: no apiserver and no kubelet takes such a pod's name.
const nowhere = "/fauxlet-probe/No_Such_Pod/none"

// rows are all that is asked. Nothing here can change anything or run anything: exec is asked for a pod that cannot be, and
// for no stream at all, which a kubelet refuses before it looks for the pod; /debug/pprof/ names no profile; and
// /debug/flags/v takes what it is to set from a PUT alone.
var rows = []row{
	{method: "GET", path: "/healthz", asks: []string{"healthz", "proxy"}, readOnly: true},
	{method: "GET", path: "/pods", asks: []string{"pods", "proxy"}, readOnly: true},
	{method: "GET", path: "/runningpods/", asks: []string{"pods", "proxy"}, readOnly: true},
	{method: "GET", path: "/configz", asks: []string{"configz", "proxy"}, readOnly: true, body: true},
	{method: "GET", path: "/flagz", asks: []string{"configz"}},
	{method: "GET", path: "/statusz", asks: []string{"statusz"}},
	{method: "GET", path: "/metrics", asks: []string{"metrics"}, readOnly: true, body: true},
	{method: "GET", path: "/metrics/resource", asks: []string{"metrics"}, readOnly: true},
	{method: "GET", path: "/stats/summary?only_cpu_and_memory=true", asks: []string{"stats"}, readOnly: true},
	{method: "GET", path: "/logs/", asks: []string{"log"}, readOnly: true},
	{method: "GET", path: "/containerLogs" + nowhere, asks: []string{"proxy"}, readOnly: true},
	{method: "GET", path: "/exec" + nowhere, asks: []string{"proxy"}},
	{method: "POST", path: "/exec" + nowhere, asks: []string{"proxy"}},
	{method: "GET", path: "/debug/pprof/", asks: []string{"proxy"}},
	{method: "GET", path: "/debug/flags/v", asks: []string{"proxy"}},
	{method: "HEAD", path: "/pods", asks: []string{"pods", "proxy"}},
	{method: "OPTIONS", path: "/containerLogs" + nowhere, asks: []string{"proxy"}},
}

// rowOf is the row of a path that is asked with GET.
func rowOf(path string) string { return "GET " + path }

// Access is how far a request came.
type Access string

const (
	// Admitted: authenticated and authorized, whatever the status says then.
	Admitted Access = "admitted"
	// Disabled is admitted, to be told that the endpoint is turned off.
	Disabled Access = "disabled"
	// Forbidden: authenticated, and not authorized (403).
	Forbidden Access = "forbidden"
	// AuthorizationError: authenticated, and the authorizer could not be asked (500).
	AuthorizationError Access = "authorization error"
	// Unauthenticated is 401.
	Unauthenticated Access = "unauthenticated"
	// NotServed: the kubelet has no such endpoint, and says so before it asks who the client is.
	NotServed Access = "not served"
	// NoResponse: there was no answer.
	NoResponse Access = "no response"
	// NotSent: there was no asking, for the reason in Error.
	NotSent Access = "not sent"
)

// Response is what became of one request.
type Response struct {
	Access Access `json:"access"`
	// Status is that of HTTP; 0 where there was none.
	Status int `json:"status,omitempty"`
	// Error says why there is no status.
	Error string `json:"error,omitempty"`

	// user is whom the kubelet took the client for, and subresources what it asked about, where a refusal says so.
	user         string
	subresources []string
	// handler is what is turned off, in the words of a kubelet: Debug, logs, profiling, flags.
	handler string
	// kubelet: the answer is in the words of a kubelet.
	kubelet bool
	cause   error // of Error
	took    time.Duration
	slow    bool // it took so long that the client was asked nothing more
	body    []byte
}

// admitted says whether the request was let through.
func (a *Response) admitted() bool { return a.Access == Admitted || a.Access == Disabled }

// authenticated says whether the client was accepted as somebody.
func (a *Response) authenticated() bool {
	return a.admitted() || a.Access == Forbidden || a.Access == AuthorizationError
}

var (
	forbidden = regexp.MustCompile(`^Forbidden \(user=(.*), verb=[a-z]*, resource=nodes, subresource(?:=|\(s\)=\[)([a-z ]*)\]?\)\s*$`)
	undecided = regexp.MustCompile(`^Authorization error \(user=(.*), verb=[a-z]*, resource=nodes, subresource=`)
	disabled  = regexp.MustCompile(`^(Debug|logs|profiling|flags) endpoints? (?:is|are) disabled\.\s*$`)
)

// classify says what an answer means. The words are those of a kubelet. (kubelet: pkg/kubelet/server/server.go,
// InstallAuthFilter, getHandlerForDisabledEndpoint)
func classify(r *row, status int, body []byte) Response {
	a := Response{Status: status, Access: Admitted}
	text := string(body[:min(len(body), 4<<10)])
	switch {
	case status == http.StatusUnauthorized:
		a.Access, a.kubelet = Unauthenticated, text == "Unauthorized"
	case status == http.StatusForbidden:
		a.Access = Forbidden
		if m := forbidden.FindStringSubmatch(text); m != nil {
			a.kubelet, a.user, a.subresources = true, m[1], strings.Fields(m[2])
		}
	case status == http.StatusInternalServerError && undecided.MatchString(text):
		a.Access, a.kubelet, a.user = AuthorizationError, true, undecided.FindStringSubmatch(text)[1]
	case status == http.StatusInternalServerError && r.method == http.MethodHead:
		a.Access = AuthorizationError // the words would be in the body, and nothing that is served of HEAD can fail
	case status == http.StatusNotFound && text == "404 page not found\n", status/100 == 3:
		a.Access = NotServed
	case status == http.StatusMethodNotAllowed && disabled.MatchString(text):
		a.Access, a.kubelet, a.handler = Disabled, true, disabled.FindStringSubmatch(text)[1]
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		a.Access, a.Error = NoResponse, "the answer is of something between: "+http.StatusText(status)
	case status == http.StatusOK && r.path == "/pods":
		a.kubelet = bytes.Contains(body, []byte(`"kind":"PodList"`))
	}
	return a
}
