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

// Outcome is how far a request came.
type Outcome string

const (
	// Admitted: authenticated and authorized, whatever the status says then.
	Admitted Outcome = "admitted"
	// Disabled is admitted, to be told that the endpoint is turned off.
	Disabled Outcome = "disabled"
	// Forbidden: authenticated, and not authorized (403).
	Forbidden Outcome = "forbidden"
	// Undecided: authenticated, and the authorizer could not be asked (500).
	Undecided Outcome = "undecided"
	// Unauthenticated is 401.
	Unauthenticated Outcome = "unauthenticated"
	// NotServed: the kubelet has no such endpoint, and says so before it asks who the client is.
	NotServed Outcome = "not served"
	// Failed: there was no answer.
	Failed Outcome = "failed"
	// NotAsked: there was no asking, for the reason in Error.
	NotAsked Outcome = "not asked"
)

// Answer is what became of one request.
type Answer struct {
	Outcome Outcome `json:"outcome"`
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
func (a *Answer) admitted() bool { return a.Outcome == Admitted || a.Outcome == Disabled }

// authenticated says whether the client was accepted as somebody.
func (a *Answer) authenticated() bool {
	return a.admitted() || a.Outcome == Forbidden || a.Outcome == Undecided
}

var (
	forbidden = regexp.MustCompile(`^Forbidden \(user=(.*), verb=[a-z]*, resource=nodes, subresource(?:=|\(s\)=\[)([a-z ]*)\]?\)\s*$`)
	undecided = regexp.MustCompile(`^Authorization error \(user=(.*), verb=[a-z]*, resource=nodes, subresource=`)
	disabled  = regexp.MustCompile(`^(Debug|logs|profiling|flags) endpoints? (?:is|are) disabled\.\s*$`)
)

// classify says what an answer means. The words are those of a kubelet. (kubelet: pkg/kubelet/server/server.go,
// InstallAuthFilter, getHandlerForDisabledEndpoint)
func classify(r *row, status int, body []byte) Answer {
	a := Answer{Status: status, Outcome: Admitted}
	text := string(body[:min(len(body), 4<<10)])
	switch {
	case status == http.StatusUnauthorized:
		a.Outcome, a.kubelet = Unauthenticated, text == "Unauthorized"
	case status == http.StatusForbidden:
		a.Outcome = Forbidden
		if m := forbidden.FindStringSubmatch(text); m != nil {
			a.kubelet, a.user, a.subresources = true, m[1], strings.Fields(m[2])
		}
	case status == http.StatusInternalServerError && undecided.MatchString(text):
		a.Outcome, a.kubelet, a.user = Undecided, true, undecided.FindStringSubmatch(text)[1]
	case status == http.StatusInternalServerError && r.method == http.MethodHead:
		a.Outcome = Undecided // the words would be in the body, and nothing that is served of HEAD can fail
	case status == http.StatusNotFound && text == "404 page not found\n", status/100 == 3:
		a.Outcome = NotServed
	case status == http.StatusMethodNotAllowed && disabled.MatchString(text):
		a.Outcome, a.kubelet, a.handler = Disabled, true, disabled.FindStringSubmatch(text)[1]
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		a.Outcome, a.Error = Failed, "the answer is of something between: "+http.StatusText(status)
	case status == http.StatusOK && r.path == "/pods":
		a.kubelet = bytes.Contains(body, []byte(`"kind":"PodList"`))
	}
	return a
}
