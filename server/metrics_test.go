package server_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"fauxlet/authchain"
)

// scrape parses /metrics into samples, indexed by `name{labels}`. The metrics of the k8s.io libraries are global in
// the process, so other tests change them too.
func (f *fixture) scrape(t testing.TB, client *http.Client) map[string]float64 {
	t.Helper()
	_, body := get(t, client, f.url+"/metrics")
	samples := map[string]float64{}
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line[strings.LastIndex(line, "}")+1:], " ")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("sample %q: %v", line, err)
		}
		samples[line[:strings.LastIndex(line, "}")+1]+name] = number
	}
	return samples
}

// TestRequestMetrics checks that the metrics kubelet_http_* have the labels that a kubelet sets.
func TestRequestMetrics(t *testing.T) {
	f := newFixture(t, fixtureOptions{flags: []string{"--read-only-port=" + strconv.Itoa(freePort(t))}})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	secure := f.url
	before := f.scrape(t, client)
	for _, test := range []struct {
		request, method, path string
		long                  bool
	}{
		{"GET /pods", "GET", "pods", false},
		{"HEAD /pods/x/y", "HEAD", "pods", false},
		{"PATCH /pods", "other", "pods", false},
		{"FOO /nothing", "other", "other", false},
		{"GET /", "GET", "other", false},
		{"GET //pods", "GET", "other", false},
		{"GET /healthz/ping?verbose", "GET", "healthz", false},
		{"GET /healthz%2Fping", "GET", "healthz", false},
		{"GET /stats/summary", "GET", "stats", false},
		{"DELETE /metrics", "DELETE", "metrics", false},
		{"OPTIONS /metrics/cadvisor", "OPTIONS", "metrics/cadvisor", false},
		{"GET /metrics/resource", "GET", "metrics/resource", false},
		{"GET /metrics/probes", "GET", "metrics/probes", false},
		{"GET /metrics/slis", "GET", "other", false},
		{"GET /metrics/", "GET", "other", false},
		{"GET /containerLogs/default/nginx/nginx?tailLines=1", "GET", "containerLogs", false},
		{"PUT /run/a/b/c", "PUT", "run", false},
		{"POST /exec/default/nope/nginx", "POST", "exec", true},
		{"GET /attach/default/nope/nginx", "GET", "attach", true},
		{"GET /portForward/default/nope", "GET", "portForward", false},
		{"GET /runningpods/", "GET", "runningpods", false},
		{"GET /checkpoint/", "GET", "checkpoint", false},
		{"GET /configz", "GET", "configz", false},
		{"GET /flagz", "GET", "flagz", false},
		{"GET /statusz", "GET", "statusz", false},
		{"GET /logs/x", "GET", "logs", false},
		{"GET /debug/pprof/cmdline", "GET", "debug", true},
		{"GET /debug/flags/v", "GET", "debug", true},
		{"GET /allocatedPods", "GET", "other", false},
	} {
		t.Run(test.request, func(t *testing.T) {
			method, path, _ := exchange{request: test.request}.parts()
			labels := `{long_running="` + strconv.FormatBool(test.long) + `",method="` + test.method + `",path="` +
				test.path + `",server_type="readwrite"}`
			seen := f.seen()
			f.ask(t, client, method, path)
			f.decision(t, seen+1)
			after := f.scrape(t, client)
			for _, name := range []string{"kubelet_http_requests_total",
				"kubelet_http_requests_duration_seconds_count"} {
				if got := after[name+labels] - before[name+labels]; got != 1 &&
					!(test.path == "metrics" && test.method == "GET") {
					t.Errorf("%s%s grew by %v", name, labels, got)
				}
			}
			if value, there := after["kubelet_http_inflight_requests"+labels]; !there || value != 0 {
				t.Errorf("requests in flight: %v, metric exists: %v", value, there)
			}
			before = after // so the next case needs no scrape of its own, which is slow
		})
	}

	// On the read-only port the debugging handlers are off. A kubelet then counts /debug/pprof/ with the `path` label
	// "other".
	f.url = f.readOnly
	for path, bucket := range map[string]string{"/pods": "pods", "/containerLogs/a/b/c": "containerLogs",
		"/logs/": "logs", "/debug/pprof/": "other", "/configz": "other"} {
		f.ask(t, client, "PUT", path)
		f.url = secure
		name := `kubelet_http_requests_total{long_running="false",method="PUT",path="` + bucket +
			`",server_type="readonly"}`
		if f.scrape(t, client)[name] == 0 {
			t.Errorf("after a request for %s, /metrics does not have %s", path, name)
		}
		f.url = f.readOnly
	}
	f.url = secure
}

// TestInflightMetric expects a followed log to count as a request in flight.
func TestInflightMetric(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: talkers()})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	response, _ := follow(t.Context(), t, f, client)
	const name = `kubelet_http_inflight_requests{long_running="false",method="GET",path="containerLogs",` +
		`server_type="readwrite"}`
	if got := f.scrape(t, client)[name]; got != 1 {
		t.Errorf("%v are in flight, want 1", got)
	}
	response.Body.Close()
	f.find(t, "of the followed log", isFollow)
	if got := f.scrape(t, client)[name]; got != 0 {
		t.Errorf("%v are in flight, want 0", got)
	}
}

// TestDecisionMetrics expects Decisions to be counted by step, outcome and cache, and reviews to be counted under
// the metric names of k8s.io/apiserver.
func TestDecisionMetrics(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: "{x509: {clientCAFile: ca.crt}}"})
	admin := f.client(t, f.certificate(t, "kubelet-client"))
	viewer, anonymous, prometheus := f.client(t, f.certificate(t, "viewer")), f.client(t, nil), f.withToken(t,
		"the-token-of-prometheus")
	const authn, authz = `apiserver_delegated_authn_request_total{code="201"}`,
		`apiserver_delegated_authz_request_total{code="201"}`
	decisions := func(by, cached, outcome string) string {
		return `fauxlet_decisions_total{authenticated_by="` + by + `",cached="` + cached + `",outcome="` + outcome +
			`"}`
	}
	f.scrape(t, admin) // caches the access of admin, so that later scrapes send no reviews
	for _, test := range []struct {
		name         string
		client       *http.Client
		path         string
		want         string
		authn, authz float64
	}{
		{"first", admin, "/containerLogs/default/nginx/nginx", decisions("x509", "false", "allowed"), 0, 1},
		{"again", admin, "/containerLogs/default/nginx/nginx", decisions("x509", "true", "allowed"), 0, 0},
		{"viewer", viewer, "/pods", decisions("x509", "false", "refused"), 0, 2},
		{"viewer again", viewer, "/pods", decisions("x509", "true", "refused"), 0, 0},
		{"token", prometheus, "/metrics", decisions("bearer token", "false", "refused"), 1, 1},
		{"token again", prometheus, "/metrics", decisions("bearer token", "true", "refused"), 0, 0},
		{"no credential", anonymous, "/pods", `authenticated_by="none"`, 0, 0},
		{"no such path", anonymous, "/nothing", "", 0, 0},
		{"unknown token", f.withToken(t, "an-unknown-token"), "/pods", `authenticated_by="none"`, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, seen := f.scrape(t, admin), f.seen()
			get(t, test.client, f.url+test.path)
			f.decision(t, seen+1)
			after := f.scrape(t, admin)
			if got := after[authn] - before[authn]; got != test.authn {
				t.Errorf("%v TokenReviews, want %v", got, test.authn)
			}
			if got := after[authz] - before[authz]; got != test.authz {
				t.Errorf("%v SubjectAccessReviews, want %v", got, test.authz)
			}
			want := 1.0 // the previous scrape has caused one Decision
			if test.want != "" {
				want++
				// The request for the previous scrape has itself caused a Decision. If that Decision has the same
				// labels as the expected one, the counter has grown by 2.
				if got := sum(after, test.want) - sum(before, test.want); got != 1 &&
					!(got == 2 && test.want == decisions("x509", "true", "allowed")) {
					t.Errorf("decisions with %s: %v more, want 1", test.want, got)
				}
			}
			if got := sum(after, "fauxlet_decisions_total") - sum(before, "fauxlet_decisions_total"); got != want {
				t.Errorf("%v decisions, want %v", got, want)
			}
		})
	}
}

// sum adds the values of all samples whose names contain the given text.
func sum(samples map[string]float64, part string) float64 {
	total := 0.0
	for name, value := range samples {
		if strings.Contains(name, part) {
			total += value
		}
	}
	return total
}

// TestFailClosed expects that no request is allowed while the apiserver is down, and that requests succeed again
// when the apiserver is back, without a restart of the Server.
func TestFailClosed(t *testing.T) {
	f := newFixture(t, fixtureOptions{yaml: "authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 1ns, " +
		"cacheUnauthorizedTTL: 1ns}}\n"})
	certificate, token := f.client(t, f.certificate(t, "kubelet-client")), f.withToken(t,
		"the-token-of-kubelet-client")
	expect := func(what string, client *http.Client, status int, wantBody string) *authchain.Decision {
		t.Helper()
		seen := f.seen()
		got, body := get(t, client, f.url+"/configz")
		if got.StatusCode != status || wantBody != "" && body != wantBody {
			t.Errorf("%s: %d %q, want %d %q", what, got.StatusCode, body, status, wantBody)
		}
		return f.decision(t, seen+1)
	}
	expect("certificate", certificate, 200, "")
	expect("token", token, 200, "")

	f.stopReviews()
	const cannotTell = "Authorization error (user=kubelet-client, verb=get, resource=nodes, subresource=configz)"
	if d := expect("certificate, no apiserver", certificate, 500, cannotTell); d.Outcome() != "error" ||
		!strings.Contains(d.Why(), "connection refused") {
		t.Errorf("%s: %s", d.Outcome(), d.Why())
	}
	if d := expect("token, no apiserver", token, 401, "Unauthorized"); d.Outcome() != "error" ||
		!strings.Contains(d.Why(), "connection refused") {
		t.Errorf("%s: %s", d.Outcome(), d.Why())
	}
	if got, body := get(t, certificate, f.url+"/nothing"); got.StatusCode != 404 || body != "404 page not found\n" {
		t.Errorf("/healthz without the apiserver: %d %q", got.StatusCode, body)
	}

	f.startReviews(t)
	expect("certificate, apiserver back", certificate, 200, "")
	expect("token, apiserver back", token, 200, "")
}
