package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	authorizationapi "k8s.io/api/authorization/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/internal/pods"
	"fauxlet/server"
)

// FuzzRouter sends requests with any method and target, without a credential. net/http parses the target, so a line
// feed in the target begins the headers. For every request:
//
//   - No handler panics, and sending the same request twice gives the same status.
//   - On the secure port, the first router redirects to the cleaned path (301, 307) or answers 404, or the request
//     is authenticated. net/http itself answers 400 to the target `*`.
//   - A chain without authentication methods always answers 401.
//   - A chain with Webhook authorization answers 403 if all checks were denied, and 2xx only if the last check was
//     allowed.
//   - On the read-only port no request is authenticated, and only the paths of that port answer 2xx.
func FuzzRouter(f *testing.F) {
	closed := newUnserved(f, "{anonymous: {enabled: false}, webhook: {enabled: false}}",
		"authorization: {mode: AlwaysAllow}\n", nil)
	reviews := &reviewer{}
	// Profiles take seconds and change the process, so this configuration turns them off.
	asking := newUnserved(f, "{anonymous: {enabled: true}, webhook: {enabled: false}}",
		"enableProfilingHandler: false\nauthorization: {webhook: {cacheAuthorizedTTL: 1ns, "+
			"cacheUnauthorizedTTL: 1ns}}\n", reviews.client(f))

	for _, target := range []string{
		"/", "/pods", "/pods/", "/pods/x", "//pods", "/./pods", "/pods/../exec", "/runningpods/", "/runningpods",
		"/allocatedPods", "/allocatedPods/default/nginx",
		"/containerLogs/default/nginx/nginx", "/containerLogs/default/nginx", "/containerLogs//nginx/nginx",
		"/containerLogs/default/ng%2finx/nginx", "/containerLogs/%zz",
		"/run/default/nginx/nginx", "/exec/default/nginx/nginx", "/exec/default/nginx/uid/nginx",
		"/attach/default/nginx/nginx/", "/portForward/default/nginx", "/checkpoint/default/nginx/nginx",
		"/stats/", "/stats/summary", "/stats/summary/", "/metrics", "/metrics/", "/metrics/cadvisor", "/metrics/probes",
		"/metrics/resource", "/metrics/slis",
		"/healthz", "/healthz/ping", "/healthz/nope", "/configz", "/flagz", "/statusz", "/logs/", "/logs",
		"/logs/kubelet.log", "/logs/..%2f..%2fetc/passwd",
		"/debug/pprof/", "/debug/pprof/cmdline", "/debug/flags/v", "*", "http://other/pods", "/%", "/\x80", "/pods?x=y",
		"/pods HTTP/1.1\r\nAuthorization: Bearer x\r\nX: ", "/pods HTTP/1.1\nAccept: text/html\nX:",
		"/run/default/nginx/nginx HTTP/1.1\nContent-Length: 1\n\nx",
		"/exec/default/nginx/nginx HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\nX:",
		"/portForward/default/nginx HTTP/1.1\nConnection: Upgrade\nUpgrade: SPDY/3.1\nX:",
	} {
		f.Add("GET", target, "proxy")
		f.Add("POST", target, "")
	}
	for _, method := range []string{"HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE", "get", "PRI"} {
		f.Add(method, "/pods", "pods")
		f.Add(method, "/debug/flags/v", "proxy")
		f.Add(method, "node:10250", "proxy")
	}
	f.Fuzz(func(t *testing.T, method, target, allowed string) {
		raw := method + " " + target + " HTTP/1.1\r\nHost: node-1\r\n\r\n"
		reviews.allowed = allowed

		status, decision := closed.twice(t, raw, false)
		if decision == nil {
			return // net/http refuses it
		}
		if len(decision.Authentication) == 0 {
			ofFirstRouter(t, status, target)
		} else if status != http.StatusUnauthorized {
			t.Errorf("%d without a credential", status)
		}

		status, decision = asking.twice(t, raw, false)
		passed := false
		for i, question := range decision.Authorization {
			passed = question.Subresource == allowed
			if passed != (question.Result == authchain.CheckAllowed) || passed && i != len(decision.Authorization)-1 {
				t.Errorf("check %d of %+v: only %q is allowed", i, decision.Authorization, allowed)
			}
		}
		switch {
		case len(decision.Authentication) == 0:
			ofFirstRouter(t, status, target)
		case !passed && status != http.StatusForbidden:
			t.Errorf("status %d, want 403 after the denied checks %+v", status, decision.Authorization)
		}

		status, decision = asking.twice(t, raw, true)
		if len(decision.Authentication)+len(decision.Authorization) > 0 || decision.User != nil {
			t.Error("a request on the read-only port was authenticated or authorized")
		}
		if 200 <= status && status < 300 &&
			!slices.ContainsFunc([]string{"/pods", "/stats", "/metrics", "/healthz"}, func(open string) bool {
				return strings.HasPrefix(decision.Path+"/", open+"/")
			}) {
			t.Errorf("the read-only port answers %d to %q", status, decision.Path)
		}
	})
}

// ofFirstRouter checks a response of the first router, which answers some requests before authentication.
func ofFirstRouter(t *testing.T, status int, target string) {
	t.Helper()
	switch status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusNotFound:
	case http.StatusBadRequest:
		if !strings.HasPrefix(target, "*") {
			t.Errorf("status %d without authentication", status)
		}
	default:
		t.Errorf("status %d without authentication", status)
	}
}

// unserved is a Server whose handlers are called without a listener.
type unserved struct {
	*server.Server
	last *authchain.Decision
}

func newUnserved(f testing.TB, authentication, yaml string,
	access authorizationv1.AuthorizationV1Interface) *unserved {
	f.Helper()
	files := prepare(f, fixtureOptions{authentication: authentication, yaml: yaml})
	store, err := pods.NewStore(nginx(0)...)
	if err != nil {
		f.Fatal(err)
	}
	u := &unserved{}
	u.Server, err = server.New(server.Options{
		Config: files.load(f,
			nil), Pods: store, AccessReviews: access, Observe: func(d *authchain.Decision) { u.last = d },
	})
	if err != nil {
		f.Fatal(err)
	}
	return u
}

// twice sends the same request twice, without its query, and returns the status and the last Decision. The Decision
// is nil if net/http cannot parse the request.
func (u *unserved) twice(t *testing.T, raw string, readOnly bool) (int, *authchain.Decision) {
	t.Helper()
	var statuses [2]int
	for i := range statuses {
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return 0, nil
		}
		request.URL.RawQuery = ""
		statuses[i], _ = u.call(t, request, readOnly)
	}
	if statuses[0] != statuses[1] {
		t.Errorf("the first response is %d, the second %d", statuses[0], statuses[1])
	}
	return statuses[0], u.last
}

// call calls a handler. The handler may abort the response (then the status is 0), but must not panic.
func (u *unserved) call(t *testing.T, request *http.Request, readOnly bool) (status int, body string) {
	t.Helper()
	request.RemoteAddr = "192.0.2.1:1234"
	handler := u.Handler()
	if readOnly {
		handler = u.ReadOnlyHandler()
	}
	recorder := httptest.NewRecorder()
	u.last = nil
	func() {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				recorder.Code = 0
			} else if p != nil {
				panic(p)
			}
		}()
		handler.ServeHTTP(recorder, request)
	}()
	if u.last == nil {
		t.Fatal("there is no Decision")
	}
	if strings.HasPrefix(u.last.Err, "panic: ") {
		t.Errorf("%s %s: %s", request.Method, request.URL, u.last.Err)
	}
	return recorder.Code, recorder.Body.String()
}

// reviewer is an http.RoundTripper that answers SubjectAccessReviews. It allows only one subresource.
type reviewer struct{ allowed string }

func (r *reviewer) client(f testing.TB) authorizationv1.AuthorizationV1Interface {
	f.Helper()
	client, err := authorizationv1.NewForConfigAndClient(&rest.Config{Host: "http://reviews.invalid", QPS: -1},
		&http.Client{Transport: r})
	if err != nil {
		f.Fatal(err)
	}
	return client
}

func (r *reviewer) RoundTrip(request *http.Request) (*http.Response, error) {
	var review authorizationapi.SubjectAccessReview
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
		return nil, err
	}
	review.Status.Allowed = review.Spec.ResourceAttributes.Subresource == r.allowed
	body, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), Request: request,
	}, nil
}
