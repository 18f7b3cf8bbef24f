package server_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

// TestNodeLogs expects /logs/ to serve the log files in memory, and never files of the host.
func TestNodeLogs(t *testing.T) {
	f := newFixture(t, fixtureOptions{nodeLogs: map[string]string{"kubelet.log": "one\ntwo\n",
		"containers/web.log": "web\n", "pods/a/b/0.log": "deep\n"}})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for _, test := range []struct {
		path   string
		status int
		body   string
	}{
		{"/logs/kubelet.log", 200, "one\ntwo\n"},
		{"/logs/containers/web.log", 200, "web\n"},
		{"/logs/pods/a/b/0.log", 200, "deep\n"},
		{"/logs/", 200, "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a " +
			"href=\"containers/\">containers/</a>\n<a href=\"kubelet.log\">kubelet.log</a>\n<a " +
			"href=\"pods/\">pods/</a>\n</pre>\n"},
		{"/logs/" + strings.Repeat("n", 255), 404, "404 page not found\n"},
		{"/logs/" + strings.Repeat("n", 256), 500, "500 Internal Server Error\n"},
		{"/logs/" + strings.Repeat("n/", 2100), 500, "500 Internal Server Error\n"},
		{"/logs/syslog", 404, "404 page not found\n"},
		{"/logs/etc/passwd", 404, "404 page not found\n"},
		{"/logs/%2e%2e/%2e%2e/etc/passwd", 404, "404 page not found\n"},
		{"/logs/..%2f..%2fetc%2fpasswd", 404, "404 page not found\n"},
		{"/logs/%2fetc%2fpasswd", 404, "404 page not found\n"},
		{"/logs/?query=kubelet", 200, "<!doctype html>…"}, // without NodeLogQuery the query is ignored
	} {
		got, body := f.ask(t, client, http.MethodGet, test.path)
		begin, open := strings.CutSuffix(test.body, "…")
		if got.StatusCode != test.status || open && !strings.HasPrefix(body, begin) || !open && body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.path, got.StatusCode, body, test.status, test.body)
		}
	}
	if got, body := f.ask(t, client, http.MethodGet, "/logs/kubelet.log",
		"Range: bytes=4-6"); got.StatusCode != 206 || body != "two" {
		t.Errorf("a range: %d %q", got.StatusCode, body)
	}
}

// TestNodeLogQuery checks that /logs/?query= returns the logs of services, from the journal and from files, and the
// kubelet's validation errors.
func TestNodeLogQuery(t *testing.T) {
	f := newFixture(t, fixtureOptions{
		yaml: "featureGates: {NodeLogQuery: true}\nenableSystemLogQuery: true\n",
		nodeLogs: map[string]string{"kube-proxy.log": "proxy\n", "audit/audit.log": "audited\n",
			"audit/deep/d.log": "deep\n"},
	})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	ask := func(query string) (int, string) {
		t.Helper()
		got, body := f.ask(t, client, http.MethodGet, "/logs/?"+query)
		return got.StatusCode, body
	}
	status, journal := ask("query=kubelet")
	if lines := strings.Count(journal, "\n"); status != 200 || lines < 300 ||
		strings.Count(journal, " node-1 kubelet[802]: ") != lines {
		t.Errorf("the journal: %d, %d lines\n%.300s", status, lines, journal)
	}
	last := journal[strings.LastIndex(strings.TrimSuffix(journal, "\n"), "\n")+1:]
	for _, test := range []struct {
		query  string
		status int
		body   string
	}{
		{"query=kubelet&tailLines=1", 200, last},
		{"query=kubelet&tailLines=0", 200, "-- No entries --\n"},
		{"query=kubelet&pattern=LEASE&tailLines=1", 200, "-- No entries --\n"},
		{"query=kubelet&sinceTime=2126-01-01T00:00:00Z", 200, "-- No entries --\n"},
		{"query=kubelet&sinceTime=2500-01-01T00:00:00Z", 200, "-- No entries --\n"},
		{"query=kubelet&untilTime=2006-01-01T00:00:00Z", 200, "-- No entries --\n"},
		{"query=kubelet&boot=-1", 200,
			"Data from the specified boot (-1) is not available: No such boot ID in journal\n"},
		{"query=kube-proxy", 200, "proxy\n"},
		{"query=audit", 200, "audited\n"},
		{"query=unknown", 200, "\nlog not found for unknown\n"},
		{"query=kube-proxy&tailLines=1", 200,
			"\noptions present and query resolved to log files for [kube-proxy]\ntry without specifying options\n"},
		{"query=/kube-proxy.log", 406,
			`query: Invalid value: ["/kube-proxy.log"]: statat /kube-proxy.log: path escapes from parent` + "\n"},
		{"query=audit/audit.log", 200, "audited\n"},
		{"query=./kube-proxy.log", 200, "proxy\n"},
		{"query=audit//deep/../audit.log", 200, "audited\n"},
		{"query=audit/deep/", 200, "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n" +
			"<a href=\"d.log\">d.log</a>\n</pre>\n"},
		{`query=audit\audit.log`, 406,
			`query: Invalid value: ["audit\\audit.log"]: statat audit\audit.log: no such file or directory` + "\n"},
		{"query=kube-proxy.log/", 406,
			`query: Invalid value: ["kube-proxy.log/"]: statat kube-proxy.log/: not a directory` + "\n"},
		{"query=nope/a%00", 406,
			`query: Invalid value: ["nope/a\u0000"]: statat nope/a` + "\x00: no such file or directory\n"},
		{"query=audit/a%00", 406,
			`query: Invalid value: ["audit/a\u0000"]: statat audit/a` + "\x00: invalid argument\n"},
		{"query=..", 200, "\nerror getting log for ..: openat ..: path escapes from parent\n"},
		{"query=.", 200, "\nlog not found for .\n"},
		{"query=" + strings.Repeat("n", 256), 200, "\nerror getting log for " + strings.Repeat("n", 256) +
			": openat " + strings.Repeat("n", 256) + ": file name too long\n"},
		{"query=" + strings.Repeat("n", 252), 200, "\nerror getting log for " + strings.Repeat("n", 252) +
			": openat " + strings.Repeat("n", 252) + ".log: file name too long\n"},
		{"query=audit/nope.log", 406,
			`query: Invalid value: ["audit/nope.log"]: statat audit/nope.log: no such file or directory` + "\n"},
		{"query=../etc/passwd", 406,
			`query: Invalid value: ["../etc/passwd"]: statat ../etc/passwd: path escapes from parent` + "\n"},
		{"query=%20", 400, `query: Invalid value: [" "]: may not be empty` + "\n"},
		{"query=a%3Bb", 406, `query: Invalid value: "a;b": input contains unsupported characters` + "\n"},
		{"query=kubelet&sinceTime=x", 400, `sinceTime: Invalid value: "x": invalid time format` + "\n"},
		{"query=kubelet&boot=1", 406, "boot: Invalid value: 1: must be less than 1\n"},
		{"query=kubelet&tailLines=100001", 406,
			"tailLines: Invalid value: 100001: must be between 0 and 100000, inclusive\n"},
		{"query=kubelet&pattern=(", 406,
			"pattern: Invalid value: \"(\": error parsing regexp: missing closing ): `(`\n"},
		{"tailLines=1", 406, "query: Required value: cannot be empty with options\n"},
		{"query=kubelet&query=a/b", 406,
			`query: Invalid value: "[a/b], [kubelet]": cannot specify a file and service` + "\n"},
	} {
		if status, body := ask(test.query); status != test.status || body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.query, status, body, test.status, test.body)
		}
	}
	if got, body := f.ask(t, client, http.MethodGet, "/logs/kube-proxy.log?query=kubelet"); got.StatusCode != 406 ||
		body != "path not allowed in query mode\n" {
		t.Errorf("a path and a query: %d %q", got.StatusCode, body)
	}
	got, body := f.ask(t, client, http.MethodGet, "/logs/?query=kube-proxy", "Accept-Encoding: gzip")
	reader, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v %q: %v", got.Header, body, err)
	}
	if text, err := io.ReadAll(reader); string(text) != "proxy\n" || err != nil {
		t.Errorf("compressed: %q, %v", text, err)
	}
}

// TestHealthzPort checks that healthzPort serves /healthz in plain HTTP, without authentication.
func TestHealthzPort(t *testing.T) {
	port := freePort(t)
	f := newFixture(t, fixtureOptions{flags: []string{fmt.Sprintf("--healthz-port=%d", port)}})
	address := fmt.Sprintf("http://127.0.0.1:%d", port)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var body string
	eventually(t, "/healthz", func() bool {
		response, err := client.Get(address + "/healthz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		all, _ := io.ReadAll(response.Body)
		body = string(all)
		return response.StatusCode == 200
	})
	if body != "ok" {
		t.Errorf("/healthz: %q", body)
	}
	for path, status := range map[string]int{"/healthz/ping": 200, "/healthz/syncloop": 404, "/pods": 404,
		"/metrics": 404} {
		response, err := client.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, status)
		}
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(address + "/healthz"); err == nil {
		t.Error("the port is still open after the Server has stopped")
	}
}

// TestVerbosity checks that /debug/flags/v responds as a kubelet does, and that the verbosity stays below the level at
// which client-go logs tokens.
func TestVerbosity(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for _, test := range []struct {
		value  string
		status int
		body   string
	}{
		{"3", 200, "successfully set klog.logging.verbosity to 3\n"},
		{"10", 200, "successfully set klog.logging.verbosity to 10\n"},
		{"x", 400, "strconv.ParseUint: parsing \"x\": invalid syntax\n"},
		{"-1", 400, "strconv.ParseUint: parsing \"-1\": invalid syntax\n"},
		{"4294967295", 400, "failed set klog.logging.verbosity 4294967295: strconv.ParseInt: parsing " +
			"\"4294967295\": value out of range\n"},
		{strings.Repeat("1", 2<<20), 400, "error reading request body: http: request body too large\n"},
		{"0", 200, "successfully set klog.logging.verbosity to 0\n"},
	} {
		request, err := http.NewRequest(http.MethodPut, f.url+"/debug/flags/v", strings.NewReader(test.value))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != test.status || string(body) != test.body {
			t.Errorf("%.20s: %d %q, want %d %q", test.value, response.StatusCode, body, test.status, test.body)
		}
		if test.value == "10" && klogVerbosity() != 7 {
			t.Errorf("10 sets the verbosity to %d, want 7", klogVerbosity())
		}
	}
}

// TestFlagz checks that /flagz returns the flags with their values, in the format that the client accepts.
func TestFlagz(t *testing.T) {
	f := newFixture(t, fixtureOptions{flags: []string{"--max-pods=7"}})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for accept, want := range map[string]string{
		"": "\nmax-pods[:= ]+7\n", // component-base chooses one of four separators at random
		"application/json;v=v1beta1;g=config.k8s.io;as=Flagz": `"max-pods":"7"`,
	} {
		got, body := f.ask(t, client, http.MethodGet, "/flagz", "Accept: "+accept)
		if got.StatusCode != 200 || !regexp.MustCompile(want).MatchString(body) ||
			strings.Contains(body, "scenario") {
			t.Errorf("Accept %q: %d, want %q in\n%s", accept, got.StatusCode, want, body)
		}
	}
}

// klogVerbosity returns the verbosity of klog.
func klogVerbosity() int {
	level := 0
	for klog.V(klog.Level(level + 1)).Enabled() {
		level++
	}
	return level
}
