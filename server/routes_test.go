package server_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// response is a kubelet's response. If body ends in "…", it is only the beginning of the expected body.
type response struct {
	status      int
	body        string
	contentType string
	// nosniff is true if the response has the header `X-Content-Type-Options: nosniff`. Only some of the kubelet's
	// handlers send it.
	nosniff  bool
	allow    string
	location string
}

const text = "text/plain; charset=utf-8"

var (
	// The first router sends the response noSuchService before authentication.
	noSuchService = response{status: 404, body: "404 page not found\n", contentType: text, nosniff: true}
	// The second router and the handlers send the responses below after authorization.
	noSuchPath = response{status: 404, body: "404: Page Not Found", contentType: text}
	noSuchPod  = response{status: 404, body: "pod does not exist", contentType: text}
	noText     = response{status: 406,
		body: "406: Not Acceptable\n\nAvailable representations: application/json", contentType: text}
	noAccept = response{status: 406, body: "406: Not Acceptable\n\nAvailable representations: ",
		contentType: text}
	noStreams = response{status: 400, body: "you must specify at least 1 of stdin, stdout, stderr",
		contentType: text}
	missingPod   = response{status: 400, body: `{"message": "Missing podID."}`, contentType: text}
	missingSpace = response{status: 400, body: `{"message": "Missing podNamespace."}`, contentType: text}
	noAllocated  = response{status: 404, body: "pod not found", contentType: text}
	badAllocated = response{status: 400, body: "podNamespace and podID are required", contentType: text}
	podList      = response{status: 200,
		body: `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"nginx",` +
			`"namespace":"default",…`, contentType: "application/json"}
	well          = response{status: 200, body: "ok", contentType: text}
	ok            = response{status: 200, body: "ok", contentType: text, nosniff: true}
	log           = response{status: 200, body: "…"}
	configuration = response{status: 200,
		body: `{"kubeletconfig":{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1",` +
			`"enableServer":true,…`, contentType: "application/json", nosniff: true}
	noSuchFile = response{status: 404, body: "404 page not found\n…", contentType: text, nosniff: true}
	noUpgrade  = response{status: 500, body: "Upgrade request required\n", contentType: text, nosniff: true}
	summary    = response{status: 200, body: "{\n \"node\": {\n  \"nodeName\": \"node-1\",…",
		contentType: "application/json"}
	promText = response{status: 200, body: "# HELP …",
		contentType: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"}
)

func noMethod(allow string) response {
	return response{status: 405, body: "405: Method Not Allowed", contentType: text, allow: allow}
}

// The function "off" returns the expected response of an endpoint that the configuration has turned off.
func off(message string) response {
	return response{status: 405, body: message + "\n", contentType: text, nosniff: true}
}

func redirect(to string) response {
	return response{status: 307, body: `<a href="` + to + `">Temporary Redirect</a>.` + "\n\n",
		contentType: "text/html; charset=utf-8", location: to}
}

func (want response) check(t *testing.T, got *http.Response, body string) {
	t.Helper()
	if got.Request.Method == http.MethodHead {
		want.body = ""
	}
	if got.StatusCode != want.status {
		t.Errorf("status %d, want %d", got.StatusCode, want.status)
	}
	if begin, open := strings.CutSuffix(want.body, "…"); open && !strings.HasPrefix(body, begin) || !open &&
		body != want.body {
		t.Errorf("body %q, want %q", body, want.body)
	}
	nosniff := ""
	if want.nosniff {
		nosniff = "nosniff"
	}
	for name, value := range map[string]string{
		"Content-Type": want.contentType, "X-Content-Type-Options": nosniff, "Allow": want.allow,
		"Location": want.location,
	} {
		if got := got.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

// isAuthenticated returns whether a request with this response has been authenticated. It returns false for the
// responses of the first router, which answers before authentication.
func (want response) isAuthenticated() bool { return want.status != 307 && want != noSuchService }

// exchange is a request, written as `METHOD path [Header: value]`, with the response to a client that may do
// everything. The responses were recorded from the server of k8s.io/kubernetes v1.37.2.
type exchange struct {
	request string
	want    response
}

func (e exchange) parts() (method, path string, headers []string) {
	parts := strings.SplitN(e.request, " ", 3)
	return parts[0], parts[1], parts[2:]
}

// The function "run" sends each request twice: with the certificate of a client that may do everything, and without a
// credential.
func run(t *testing.T, f *fixture, exchanges []exchange) {
	allowed, anonymous := f.client(t, f.certificate(t, "kubelet-client")), f.client(t, nil)
	for _, e := range exchanges {
		t.Run(e.request, func(t *testing.T) {
			method, path, headers := e.parts()
			before := f.seen()
			got, body := f.ask(t, allowed, method, path, headers...)
			e.want.check(t, got, body)
			if asked := len(f.decision(t, before+1).Authentication) > 0; asked != e.want.isAuthenticated() {
				t.Errorf("authenticated: %v, want %v", asked, e.want.isAuthenticated())
			}

			want := e.want
			if want.isAuthenticated() {
				want = response{status: 401, body: "Unauthorized", contentType: text}
			}
			got, body = f.ask(t, anonymous, method, path, headers...)
			want.check(t, got, body)
			if d := f.decision(t, before+2); d.Status != want.status || d.Method != method || d.Err != "" {
				t.Errorf("the Decision says %s %d %q, want %s %d", d.Method, d.Status, d.Err, method, want.status)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	const path = "/containerLogs/default/nginx/nginx"
	run(t, newFixture(t, fixtureOptions{}), []exchange{
		{"GET /", noSuchService},
		{"GET /nothing", noSuchService},
		{"POST /nothing", noSuchService},
		{"GET /containerlogs/default/nginx/nginx", noSuchService},
		{"GET /containerLogs%2Fdefault/nginx/nginx", noSuchService},
		{"TRACE /", noSuchService},

		// Paths are cleaned before authentication.
		{"GET //pods", redirect("/pods")},
		{"GET /pods//", redirect("/pods/")},
		{"GET /foo/../pods", redirect("/pods")},
		{"GET /../../pods", redirect("/pods")},
		{"GET /containerLogs/default//nginx", redirect("/containerLogs/default/nginx")},
		{"GET /containerLogs/./default/nginx/nginx", redirect(path)},
		{"GET /containerLogs/default/../pods", redirect("/containerLogs/pods")},
		{"GET /stats", redirect("/stats/")},
		{"GET /logs", redirect("/logs/")},
		{"GET /runningpods", redirect("/runningpods/")},
		{"GET /checkpoint", redirect("/checkpoint/")},
		{"GET /debug/pprof", redirect("/debug/pprof/")},
		{"POST /runningpods", response{status: 307, location: "/runningpods/"}},

		{"GET /healthz", ok},
		{"GET /healthz/ping", well},
		{"GET /healthz/log", well},
		{"GET /healthz/syncloop", well},
		{"GET /healthz/device-plugin", well},
		{"POST /healthz", ok},
		{"HEAD /healthz", ok},
		{"GET /healthz Accept: text/html", ok},
		{"GET /healthz?verbose", response{status: 200, contentType: text, nosniff: true,
			body: "[+]ping ok\n[+]log ok\n[+]syncloop ok\n[+]device-plugin ok\nhealthz check passed\n"}},
		{"GET /healthz/", noSuchService},
		{"GET /healthz/nope", noSuchService},

		{"GET /pods", podList},
		{"GET /pods/", podList},
		{"GET /pods?x=%zz&;", podList},
		{"GET /pods Accept: application/json;q=0.5", podList},
		{"GET /pods Accept: text/html, */*;q=0.1", podList},
		{"GET /pods Accept: text/plain", noText},
		{"GET /pods Accept: application/*", noText},
		{"GET /pods Accept: application/vnd.kubernetes.protobuf", noText},
		{"GET /pods/x", noSuchPath},
		{"POST /pods", noMethod("GET")},
		{"POST /pods Accept: text/plain", noMethod("GET")},
		{"HEAD /pods", noMethod("GET")},
		{"OPTIONS /pods", noMethod("GET")},
		{"TRACE /pods", noMethod("GET")},
		{"FOO /pods", noMethod("GET")},

		{"GET /runningpods/", podList},
		{"GET /runningpods/ Accept: text/plain", noText},
		{"POST /runningpods/", noMethod("GET")},
		{"GET /runningpods/x", noSuchPath},

		{"GET " + path, log},
		{"GET " + path + "/", log},
		{"GET /containerLogs/default/%6eginx/nginx", log},
		{"GET " + path + " Accept: text/html, */*", log},
		{"GET " + path + " Accept: text/plain", noAccept},
		{"HEAD " + path, noMethod("GET")},
		{"POST " + path, noMethod("GET")},
		{"POST /containerLogs/default", noSuchPath},
		{"GET /containerLogs", noSuchPath},
		{"GET /containerLogs/", noSuchPath},
		{"GET /containerLogs/default", noSuchPath},
		{"GET /containerLogs/default/nginx", noSuchPath},
		{"GET /containerLogs/default/nginx/", noSuchPath},
		{"GET " + path + "/x", noSuchPath},
		// The router of a service splits the path into segments after the path has been decoded, so %2F separates
		// segments.
		{"GET /containerLogs/default%2Fnginx%2Fnginx", log},
		{"GET /containerLogs/default/nginx%2Fnginx", log},
		{"GET " + path + "%2F", log},
		{"GET " + path + "%2F%2F", log},
		{"GET /containerLogs/default/nginx/%2F", noSuchPath},
		{"GET /containerLogs/default%2F/nginx", missingPod},
		{"GET /containerLogs/%2Fnginx/nginx", missingSpace},
		{"GET /containerLogs/default/%2e%2e/nginx",
			response{status: 404, body: `pod ".." does not exist`, contentType: text}},
		{"GET /containerLogs/{namespace}/{pod}/{c}",
			response{status: 404, body: `pod "{pod}" does not exist`, contentType: text}},
		{"GET /containerLogs/default/nginx/ngi%20nx",
			response{status: 404, body: `container "ngi nx" not found in pod "nginx"`, contentType: text}},
		{"GET /containerLogs/default/nginx/ngi%00nx",
			response{status: 404, body: `container "ngi\x00nx" not found in pod "nginx"`, contentType: text}},
		{"GET /containerLogs/default/nginx/%FF",
			response{status: 404, body: `container "\xff" not found in pod "nginx"`, contentType: text}},

		{"POST /run/default/nginx/nginx",
			response{status: 500, body: "command '' exited with 127: …", contentType: text}},
		{"POST /run/default/nginx/nginx Accept: text/plain", noAccept},
		{"POST /run/default/nginx/uid/nginx",
			response{status: 500, body: "command '' exited with 127: …", contentType: text}},
		{"POST /run/default/nope/nginx", noSuchPod},
		{"GET /run/default/nginx/nginx", noMethod("POST")},
		{"GET /run", noSuchPath},
		{"POST /run/default/nginx", noSuchPath},
		{"POST /run/default/nginx/uid/nginx/x", noSuchPath},
		{"GET /exec/default/nginx/nginx?output=1", noUpgrade},
		{"POST /exec/default/nginx/uid/nginx?output=1", noUpgrade},
		{"GET /exec/default/nope/nginx?output=1", noSuchPod},
		{"GET /exec/default/nope/nginx", noStreams},
		{"POST /attach/default/nginx/nginx?error=1&tty=1", noStreams},
		{"PUT /exec/default/nginx/nginx", noMethod("GET, POST")},
		{"GET /attach/default/nginx/nginx?output=1", noUpgrade},
		{"POST /attach/default/nope/uid/nginx?output=1", noSuchPod},
		{"DELETE /attach/default/nginx/nginx", noMethod("GET, POST")},
		{"POST /portForward/default/nginx", noUpgrade},
		{"GET /portForward/default/nope/uid", noSuchPod},
		{"PUT /portForward/default/nginx", noMethod("GET, POST")},
		{"GET /portForward/default", noSuchPath},
		{"GET /portforward/default/nginx", noSuchService},
		{"POST /checkpoint/default/nginx/nginx",
			response{status: 500,
				body: "checkpointing of default/nginx/nginx failed (rpc error: code = Unimplemented desc = method " +
					"CheckpointContainer not implemented)", contentType: text}},
		{"POST /checkpoint/default/nginx/nginx Accept: text/plain", noText},
		{"POST /checkpoint/default/nope/nginx", noSuchPod},
		{"POST /checkpoint/default/nginx/nope",
			response{status: 404, body: "container nope does not exist", contentType: text}},
		{"GET /checkpoint/default/nginx/nginx", noMethod("POST")},

		{"GET /configz", configuration},
		{"POST /configz Accept: text/plain", configuration},
		{"GET /configz/", noSuchService},
		{"GET /metrics", promText},
		{"POST /metrics Accept: text/html", promText},
		{"GET /metrics/slis", promText},
		{"GET /metrics/", noSuchService},
		{"GET /metrics/cadvisor", promText},
		{"GET /metrics/resource", promText},
		{"GET /metrics/probes", promText},
		{"GET /stats/summary", summary},
		{"POST /stats/summary", summary},
		{"GET /stats/summary Accept: text/plain", noText},
		{"PUT /stats/summary", noMethod("GET, POST")},
		{"GET /stats/", noSuchPath},
		{"GET /stats/container", noSuchPath},
		{"GET /flagz", response{status: 200, body: "\nkubelet flagz\nWarning: …", contentType: text}},
		{"GET /flagz/", noSuchService},
		{"GET /statusz", response{status: 200, body: "\nkubelet statusz\nWarning: …", contentType: text}},

		{"GET /logs/", response{status: 200,
			body: "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a " +
				"href=\"kubelet.log\">kubelet.log</a>\n<a href=\"syslog\">syslog</a>\n</pre>\n",
			contentType: "text/html; charset=utf-8"}},
		{"GET /logs/a/b", noSuchFile},
		{"GET /logs/ Accept: text/plain", noAccept},
		{"POST /logs/", noMethod("GET")},
		{"GET /debug/pprof/cmdline", response{status: 200, body: "…", contentType: text, nosniff: true}},
		{"GET /debug/pprof/symbol",
			response{status: 200, body: "num_symbols: 1\n", contentType: text, nosniff: true}},
		{"GET /debug/pprof/heap?debug=1",
			response{status: 200, body: "heap profile: …", contentType: text, nosniff: true}},
		{"GET /debug/pprof/nope", response{status: 404, body: "Unknown profile\n", contentType: text, nosniff: true}},
		{"POST /debug/pprof/cmdline", noMethod("GET")},
		{"GET /debug/pprof/", noSuchPath},
		{"GET /debug", noSuchService},
		{"GET /debug/flags/v",
			response{status: 406, body: "unsupported http method\n", contentType: "text/plain", nosniff: true}},
		{"GET /debug/flags/v/", noSuchService},

		{"GET /allocatedPods", noSuchService},
	})
}

func TestRoutesWithDebuggingOff(t *testing.T) {
	debuggingOff := off("Debug endpoints are disabled.")
	run(t, newFixture(t, fixtureOptions{yaml: "enableDebuggingHandlers: false\n"}), []exchange{
		{"GET /run/", debuggingOff},
		{"POST /run/a/b/c", debuggingOff},
		{"GET /exec/default/nginx/nginx", debuggingOff},
		{"GET /attach/x", debuggingOff},
		{"GET /portForward/x", debuggingOff},
		{"GET /containerLogs/default/nginx/nginx", debuggingOff},
		{"HEAD /containerLogs/default/nginx/nginx", debuggingOff},
		{"GET /containerLogs", redirect("/containerLogs/")},
		{"GET /run", redirect("/run/")},
		{"GET /runningpods/", debuggingOff},
		{"GET /debug/pprof/heap", debuggingOff},
		{"GET /logs/x", debuggingOff},
		{"GET /debug/flags/v", noSuchService},
		{"GET /configz", noSuchService},
		{"GET /flagz", noSuchService},
		{"GET /statusz", noSuchService},
		{"POST /checkpoint/default/nginx/nginx", noSuchService},
		{"GET /allocatedPods", noSuchService},
		{"GET /pods", podList},
		{"GET /healthz", ok},
		{"GET /metrics", promText},
		{"GET /metrics/slis", promText},
	})
}

func TestRoutesWithHandlersOff(t *testing.T) {
	run(t, newFixture(t, fixtureOptions{yaml: `
enableSystemLogHandler: false
enableProfilingHandler: false
enableDebugFlagsHandler: false
`}), []exchange{
		{"GET /logs", redirect("/logs/")},
		{"GET /logs/", off("logs endpoint is disabled.")},
		{"POST /logs/x", off("logs endpoint is disabled.")},
		{"GET /debug/pprof", redirect("/debug/pprof/")},
		{"GET /debug/pprof/", off("profiling endpoint is disabled.")},
		{"POST /debug/pprof/heap", off("profiling endpoint is disabled.")},
		{"GET /debug/flags/v", off("flags endpoint is disabled.")},
		{"PUT /debug/flags/v", off("flags endpoint is disabled.")},
		{"GET /debug/flags/v/", noSuchService},
		{"GET /containerLogs/default/nginx/nginx", log},
	})
}

func TestRoutesByFeatureGates(t *testing.T) {
	const uid = "8a5a2b1c-0000-4000-8000-000000000005"
	allocatedPod := response{status: 200, contentType: "application/json",
		body: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"nginx","namespace":"default","uid":"` + uid +
			`",…`}
	f := newFixture(t, fixtureOptions{yaml: `
featureGates:
  {KubeletAllocatedPodsEndpoint: true, ContainerCheckpoint: false, ComponentFlagz: false, ComponentStatusz: false}
`})
	run(t, f, []exchange{
		{"GET /allocatedPods", podList},
		{"GET /allocatedPods/", podList},
		{"GET /allocatedPods Accept: text/plain", noText},
		{"POST /allocatedPods", noMethod("GET")},
		{"GET /allocatedPods/default", noSuchPath},
		{"GET /allocatedPods/default/nginx", allocatedPod},
		{"GET /allocatedPods/default/nginx/" + uid, allocatedPod},
		{"GET /allocatedPods/default/nginx/other", noAllocated},
		{"GET /allocatedPods/default/nope", noAllocated},
		{"GET /allocatedPods/default%2F/x", badAllocated},
		{"GET /allocatedPods/%2Fnginx", badAllocated},
		{"GET /checkpoint", noSuchService},
		{"POST /checkpoint/default/nginx/nginx", noSuchService},
		{"GET /flagz", noSuchService},
		{"GET /statusz", noSuchService},
	})
	for _, path := range []string{"/allocatedPods", "/allocatedPods/default/nginx"} {
		_, body := get(t, f.client(t, f.certificate(t, "kubelet-client")), f.url+path)
		if !strings.Contains(body, `"status":{}`) || strings.Contains(body, "Running") {
			t.Errorf("%s: an allocated pod has no status: %s", path, body)
		}
	}
}

func TestReadOnlyPort(t *testing.T) {
	f := newFixture(t, fixtureOptions{flags: []string{"--read-only-port=" + strconv.Itoa(freePort(t))}})
	debuggingOff := off("Debug endpoints are disabled.")
	client := f.client(t, nil)
	f.url = f.readOnly
	for _, e := range []exchange{
		{"GET /", noSuchService},
		{"GET /healthz", ok},
		{"GET /healthz/ping", well},
		{"GET /healthz/x", noSuchService},
		{"GET /pods", podList},
		{"GET /pods Accept: text/plain", noText},
		{"POST /pods", noMethod("GET")},
		{"GET /pods/x", noSuchPath},
		{"GET /stats/summary", summary},
		{"GET /stats/", noSuchPath},
		{"GET /metrics", promText},
		{"GET /metrics/slis", promText},
		{"GET /metrics/cadvisor", promText},
		{"GET /metrics/resource", promText},
		{"GET /metrics/probes", promText},
		{"GET /run/a/b/c", debuggingOff},
		{"POST /exec/x", debuggingOff},
		{"GET /attach/", debuggingOff},
		{"GET /portForward/", debuggingOff},
		{"GET /containerLogs/default/nginx/nginx", debuggingOff},
		{"GET /containerLogs", redirect("/containerLogs/")},
		{"GET /runningpods/", debuggingOff},
		{"GET /debug/pprof/", debuggingOff},
		{"GET /logs/x", debuggingOff},
		{"GET /debug/flags/v", noSuchService},
		{"GET /configz", noSuchService},
		{"GET /checkpoint/", noSuchService},
		{"GET /flagz", noSuchService},
		{"GET /statusz", noSuchService},
		{"GET /allocatedPods", noSuchService},
	} {
		t.Run(e.request, func(t *testing.T) {
			method, path, headers := e.parts()
			before := f.seen()
			got, body := f.ask(t, client, method, path, headers...)
			e.want.check(t, got, body)
			if d := f.decision(t, before+1); len(d.Authentication)+len(d.Authorization) != 0 || d.TLS != nil ||
				d.Outcome() != "" {
				t.Errorf("authenticated: %+v", d)
			}
		})
	}
}
