package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
	"fauxlet/internal/explain"
	"fauxlet/internal/faults"
)

// serve starts a Server on loopback until the test ends, and returns its URL.
func serve(t *testing.T, options admin.Options) (*admin.Server, string) {
	t.Helper()
	if options.Recorder == nil {
		options.Recorder = decisions.NewRecorder(0)
	}
	s, err := admin.Listen("127.0.0.1:0", options)
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	return s, "http://" + s.Addr()
}

func start(t *testing.T, s *admin.Server) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// The function "ask" sends a request with the given headers, each in the form "Name: value". It returns the response
// and its body.
func ask(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(data)
}

// recorded returns a Recorder with six Decisions of two nodes, made one minute apart from 12:01 to 12:06.
func recorded() *decisions.Recorder {
	r := decisions.NewRecorder(0)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	at := func(node string, minute int, d authchain.Decision) {
		d.Time, d.Remote = noon.Add(time.Duration(minute)*time.Minute), "127.0.0.1:1"
		r.For(node)(&d)
	}
	steps := func(outcome authchain.Outcome) []authchain.Step {
		return []authchain.Step{{Method: authchain.MethodX509, Outcome: outcome, Reason: "why"}}
	}
	question := func(answer authchain.CheckResult) []authchain.Check {
		return []authchain.Check{{Verb: "get", Resource: "nodes", Subresource: "proxy", Name: "node-1", Result: answer}}
	}
	admin, viewer := &user.DefaultInfo{Name: "admin"}, &user.DefaultInfo{Name: "viewer"}
	at("node-1", 1, authchain.Decision{Method: "GET", Path: "/containerLogs/default/nginx/nginx", Status: 200,
		Authentication: steps(authchain.OutcomeAuthenticated), User: admin,
		Authorization: question(authchain.CheckAllowed)})
	at("node-1", 2, authchain.Decision{Method: "GET", Path: "/containerLogs/default/nginx/nginx", Status: 403,
		Authentication: steps(authchain.OutcomeAuthenticated), User: viewer,
		Authorization: question(authchain.CheckDenied)})
	at("node-2", 3, authchain.Decision{Method: "GET", Path: "/pods", Status: 401,
		Authentication: steps(authchain.OutcomeRefused)})
	at("node-2", 4, authchain.Decision{Method: "GET", Path: "/pods", Status: 500,
		Authentication: steps(authchain.OutcomeAuthenticated), User: viewer,
		Authorization: question(authchain.CheckError)})
	at("node-1", 5, authchain.Decision{Method: "GET", Path: "/healthz", Status: 200})
	at("node-1", 6, authchain.Decision{Handshake: "the client does not speak TLS"})
	return r
}

// TestFilters checks which Decisions each query of /api/decisions and /api/export selects. The expected value lists
// their IDs.
func TestFilters(t *testing.T) {
	_, base := serve(t, admin.Options{Recorder: recorded()})
	for query, want := range map[string]string{
		"":                                      "1 2 3 4 5 6",
		"outcome=allowed":                       "1",
		"outcome=refused":                       "2 3 6",
		"outcome=error":                         "4",
		"outcome=none":                          "5",
		"user=viewer":                           "2 4",
		"user=unknown":                          "",
		"node=node-2":                           "3 4",
		"path=/pods":                            "3 4",
		"path=/containerLogs/":                  "1 2",
		"path=nginx":                            "1 2",
		"path=/nginx":                           "",
		"status=200":                            "1 5",
		"status=4xx":                            "2 3",
		"status=5xx":                            "4",
		"since=4":                               "5 6",
		"since=0":                               "1 2 3 4 5 6",
		"since=2026-01-02T12:03:00Z":            "4 5 6",
		"since=2026-01-02T13:04:30%2B01:00":     "5 6",
		"limit=2":                               "5 6",
		"limit=2&outcome=refused":               "3 6",
		"limit=1&explanation=true":              "6",
		"limit=2&since=1":                       "2 3",
		"limit=2&since=2026-01-02T12:01:00Z":    "5 6",
		"node=node-1&status=2xx&path=/healthz":  "5",
		"outcome=refused&user=viewer&limit=100": "2",
	} {
		response, body := ask(t, "GET", base+"/api/decisions?"+query, "")
		var got admin.Decisions
		if err := json.Unmarshal([]byte(body), &got); err != nil || response.StatusCode != 200 ||
			response.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("query %s: error %v, status %s, body %s", query, err, response.Status, body)
		}
		last := uint64(6)
		if query == "limit=2&since=1" {
			last = 3 // the limit has left out 4 to 6
		}
		if ids := numbers(got.Decisions); ids != want || got.Last != last || got.Recorded != 6 || got.Instance == "" {
			t.Errorf("query %q: IDs %q, want %q; last ID %d, recorded %d", query, ids, want, got.Last, got.Recorded)
		}
		_, export := ask(t, "GET", base+"/api/export?"+query, "")
		var lines []decisions.Record
		for line := range strings.Lines(export) {
			var record decisions.Record
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, record)
		}
		if ids := numbers(lines); ids != want {
			t.Errorf("export with query %q: IDs %q, want %q", query, ids, want)
		}
		if filter, err := decisions.ParseFilter(mustQuery(t, query)); err != nil {
			t.Errorf("parsing the query %q: error %v", query, err)
		} else if again, err := decisions.ParseFilter(filter.Query()); err != nil || !again.Since.Equal(filter.Since) {
			t.Errorf("query %q becomes %q when parsed and encoded: %v", query, filter.Query().Encode(), err)
		} else if again.Since = filter.Since; again != filter {
			t.Errorf("the query %q becomes %q after parsing and encoding it", query, filter.Query().Encode())
		}
	}
}

// TestPages checks that a client which passes "last" as "since" gets every Decision that a filter selects, once, and
// that the last response covers all Decisions.
func TestPages(t *testing.T) {
	_, base := serve(t, admin.Options{Recorder: recorded()})
	c := admin.NewClient(strings.TrimPrefix(base, "http://"), "")
	defer c.Close()
	for _, test := range []struct {
		filter decisions.Filter
		want   string // the IDs of each response
	}{
		{decisions.Filter{After: 1, Limit: 2}, "2 3, 4 5, 6"},
		{decisions.Filter{After: 2, Limit: 2}, "3 4, 5 6"},
		{decisions.Filter{After: 1, Limit: 1, Outcome: "refused"}, "2, 3, 6"},
		{decisions.Filter{After: 1, Limit: 1, User: "viewer"}, "2, 4"},
		{decisions.Filter{After: 1, Limit: 1, User: "admin"}, ""},
	} {
		filter, pages := test.filter, []string{}
		for len(pages) <= 6 {
			response, err := c.Decisions(t.Context(), filter)
			if err != nil {
				t.Fatal(err)
			}
			if len(response.Decisions) > 0 {
				pages = append(pages, numbers(response.Decisions))
			}
			if filter.After = response.Last; filter.After == 6 {
				break
			}
		}
		if got := strings.Join(pages, ", "); got != test.want || filter.After != 6 {
			t.Errorf("filter %+v: pages %q up to ID %d, want %q up to ID 6", test.filter, got, filter.After, test.want)
		}
	}
}

func mustQuery(t *testing.T, text string) url.Values {
	t.Helper()
	query, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	return query
}

func numbers(records []decisions.Record) string {
	var all []string
	for _, d := range records {
		all = append(all, strconv.FormatUint(d.ID, 10))
	}
	return strings.Join(all, " ")
}

func TestOneDecisionHasExplanation(t *testing.T) {
	nodes := make(chan string, 10)
	facts := func(node string) explain.Facts {
		nodes <- node
		return explain.Facts{}
	}
	_, base := serve(t, admin.Options{Recorder: recorded(), Facts: facts})
	_, body := ask(t, "GET", base+"/api/decisions/2", "")
	var got decisions.Record
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != 2 || got.Node != "node-1" || got.Outcome != "refused" || got.User.Name != "viewer" ||
		got.Status != 403 ||
		got.Why != `refused: user "viewer" may not get nodes/proxy` || got.Explanation == nil ||
		got.Explanation.Outcome != explain.Refused || len(got.Explanation.Remedies) == 0 {
		t.Errorf("%s", body)
	}
	if node := <-nodes; node != "node-1" {
		t.Errorf("facts were looked up for the node %q", node)
	}
	// Listing all Decisions with explanations must look up the facts of each node only once.
	for _, query := range []string{"decisions", "export"} {
		if _, body := ask(t, "GET", base+"/api/"+query+"?explanation=true", ""); strings.Count(body,
			`"explanation":{"stages":[`) != 6 || len(nodes) != 2 {
			t.Errorf("%s: facts were looked up %d times for %s", query, len(nodes), body)
		}
		_, _ = <-nodes, <-nodes
	}
	if _, body := ask(t, "GET", base+"/api/decisions?explanation=false", ""); strings.Contains(body, "explanation") {
		t.Errorf("a Decision has an explanation that the query does not request: %s", body)
	}
}

// TestBadRequests checks that the error response to an invalid request is JSON and names the invalid parameter.
func TestBadRequests(t *testing.T) {
	_, base := serve(t, admin.Options{Recorder: recorded()})
	for target, want := range map[string]string{
		"GET /api/decisions?outcome=maybe": `400 outcome: "maybe" is not one of allowed, refused, error, none`,
		"GET /api/decisions?status=forbidden": `400 status: "forbidden" is not a status code or a class of status ` +
			`codes; examples: 403, 4xx`,
		"GET /api/decisions?status=9xx": `400 status: "9xx" is not a status code or a class of status codes; ` +
			`examples: 403, 4xx`,
		"GET /api/decisions?since=yesterday": `400 since: "yesterday" is not a decision ID or a time; examples: 17, ` +
			`2026-01-02T15:04:05Z`,
		"GET /api/decisions?limit=-1": `400 limit: "-1" is not a number of decisions; example: 10`,
		"GET /api/decisions?verb=get": `400 verb: unknown parameter; the parameters are outcome, user, node, ` +
			`path, status, since, limit, explanation`,
		"GET /api/decisions?user=a&user=b": `400 user: given 2 times, but it may be given only once`,
		"GET /api/decisions?since=x&limit=x&explanation=long&f=&e=&d=": `400 d: unknown parameter; the ` +
			`parameters are outcome, user, node, path, status, since, limit, explanation`,
		"GET /api/decisions?explanation=long": `400 explanation: "long" is neither true nor false`,
		"GET /api/export?limit=x":             `400 limit: "x" is not a number of decisions; example: 10`,
		"GET /api/events?limit=3": `400 limit: an event stream has no limit; use /api/decisions for the ` +
			`most recent decisions`,
		"GET /api/events?user=a&user=b": `400 user: given 2 times, but it may be given only once`,
		"GET /api/decisions/7":          `404 decision 7 is no longer kept, or does not exist; the last one is 6`,
		"GET /api/decisions/first":      `400 "first" is not a decision ID, which is a number`,
		"GET /api/faults/none":          `404 no fault "none" is active`,
		"POST /api/faults":              `501 fault injection is not enabled on this server`,
		"DELETE /api/faults":            `501 fault injection is not enabled on this server`,
		"DELETE /api/faults/none":       `501 fault injection is not enabled on this server`,
		"POST /api/whatif":              `501 what-if is not available on this server`,
		"GET /api/decisions/1/settings": `501 what-if is not available on this server`,
		"POST /api/send":                `501 sending requests is available in fauxlet demo only`,
		"GET /api/clients":              `501 sending requests is available in fauxlet demo only`,
		"GET /api/targets":              `501 targets are not available on this server`,
		"GET /api/nothing":              "404",
		"GET /nothing":                  "404",
		"POST /api/decisions":           "405",
		"PUT /api/faults":               "405",
		"OPTIONS /api/faults":           "405",
	} {
		method, path, _ := strings.Cut(target, " ")
		response, body := ask(t, method, base+path, "{}", "Content-Type: application/json")
		var refused struct{ Error string }
		_ = json.Unmarshal([]byte(body), &refused)
		if got := strings.TrimSpace(response.Status[:3] + " " + refused.Error); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// TestTargets checks the response to the HTTP service discovery of Prometheus. The type of the response must be JSON,
// and the list must not be null.
func TestTargets(t *testing.T) {
	got := []admin.TargetGroup{}
	s, base := serve(t, admin.Options{Targets: func(otherwise string) []admin.TargetGroup {
		if otherwise != "127.0.0.1" {
			t.Errorf("the client reached the server at %q", otherwise)
		}
		return got
	}})
	for want, groups := range map[string][]admin.TargetGroup{
		"[]": {},
		`[{"targets":["192.0.2.7:10250"],"labels":{"node":"node-1"}}]`: {
			{Targets: []string{"192.0.2.7:10250"}, Labels: map[string]string{"node": "node-1"}}},
	} {
		got = groups
		response, body := ask(t, "GET", base+"/api/targets", "", "Host: "+s.Addr())
		if response.Header.Get("Content-Type") != "application/json" || strings.TrimSpace(body) != want {
			t.Errorf("%s %s, want %s", response.Header.Get("Content-Type"), body, want)
		}
	}
}

func TestIndexBuildReady(t *testing.T) {
	ready := make(chan error, 1)
	_, base := serve(t, admin.Options{Build: map[string]string{"version": "v1"},
		Ready: func() error { return <-ready }})
	if _, body := ask(t, "GET", base+"/", ""); !strings.Contains(body, "/api/events") {
		t.Errorf("/: %q", body)
	}
	if _, body := ask(t, "GET", base+"/api/build", ""); !strings.Contains(body, `"build":{"version":"v1"}`) {
		t.Errorf("/api/build: %q", body)
	}
	ready <- io.EOF
	if response, body := ask(t, "GET", base+"/readyz", ""); response.StatusCode != 503 || body != `{"error":"EOF"}`+
		"\n" {
		t.Errorf("/readyz before the process is ready: %s %q", response.Status, body)
	}
	client := admin.NewClient(strings.TrimPrefix(base, "http://"), "")
	defer client.Close()
	ready <- io.EOF
	if err := client.Ready(t.Context()); err == nil || err.Error() != "EOF" {
		t.Errorf("Ready before the process is ready: %v", err)
	}
	ready <- nil
	if err := client.Ready(t.Context()); err != nil {
		t.Errorf("Ready when the process is ready: %v", err)
	}
	ready <- nil
	if response, body := ask(t, "GET", base+"/readyz", ""); response.StatusCode != 200 || body != "ok" {
		t.Errorf("/readyz when the process is ready: %s %q", response.Status, body)
	}
}

// TestPageDoesNotHandleAPI checks that the page's handler receives every request except requests to paths of the
// API.
func TestPageDoesNotHandleAPI(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		_, _ = io.WriteString(w, "the page at "+r.URL.Path)
	})
	_, base := serve(t, admin.Options{Page: page, Token: strings.Repeat("t", 20)})
	for path, want := range map[string]string{
		"/": "the page at /", "/app.js": "the page at /app.js", "/readyz": "ok",
	} {
		if _, body := ask(t, "GET", base+path, ""); body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
	}
	for _, path := range []string{"/api/nothing", "/api/", "/api/whatif", "/api/send", "//api/decisions",
		"/x/../api/decisions", "/%61pi/decisions"} {
		if response, body := ask(t, "GET", base+path, ""); response.StatusCode != 401 ||
			strings.Contains(body, "page") {
			t.Errorf("%s: status %s, body %q", path, response.Status, body)
		}
	}
	if response, _ := ask(t, "GET", base+"/",
		""); response.Header.Get("Content-Security-Policy") != "default-src 'self'" {
		t.Error("the page's own Content-Security-Policy was replaced")
	}
}

func TestFaults(t *testing.T) {
	set := faults.NewSet()
	var logged strings.Builder
	logger := zap.New(newCore(&logged))
	s, base := serve(t, admin.Options{Faults: set, Logger: logger})
	c := admin.NewClient(s.Addr(), "")
	defer c.Close()
	if active, err := c.Faults(t.Context()); err != nil || active == nil || len(active) != 0 {
		t.Errorf("Faults returned %v, error %v", active, err)
	}
	added, err := c.AddFault(t.Context(),
		faults.Fault{Kind: faults.Status, Status: 503, Scope: faults.Scope{Route: "/pods", Count: 2}})
	if err != nil || added.Name != "status-1" || added.Since.IsZero() {
		t.Fatalf("%+v %v", added, err)
	}
	if _, err := c.AddFault(t.Context(), faults.Fault{Name: "slow", Kind: faults.CachesFlushed}); err != nil {
		t.Fatal(err)
	}
	active, err := c.Faults(t.Context())
	if err != nil || len(active) != 2 || active[0].Route != "/pods" || active[0].Status != 503 ||
		active[0].Count != 2 || active[1].Name != "slow" {
		t.Errorf("%+v %v", active, err)
	}
	if _, body := ask(t, "GET", base+"/api/faults/slow", ""); !strings.Contains(body, `"kind":"caches-flushed"`) {
		t.Errorf("/api/faults/slow: %s", body)
	}
	for _, bad := range []struct {
		fault  faults.Fault
		status int
		text   string
	}{
		{faults.Fault{Kind: "status"}, 400, "status: missing"},
		{faults.Fault{Kind: "bad-luck"}, 400, `kind: "bad-luck" is not a kind of fault`},
		{faults.Fault{Kind: faults.CachesFlushed, Name: "slow"}, 409, `name: "slow": an active fault`},
	} {
		_, err := c.AddFault(t.Context(), bad.fault)
		denied, ok := err.(*admin.StatusError)
		if !ok || denied.Status != bad.status || !strings.HasPrefix(denied.Message, bad.text) {
			t.Errorf("%+v: %v, want %d %s", bad.fault, err, bad.status, bad.text)
		}
	}
	for body, want := range map[string]string{
		`{"kind":"caches-flushed","color":"red"}`: "400",
		`[]`: "400",
		``:   "400",
		`{"kind":"status","status":503,"body":"` + strings.Repeat("x", 2<<20) + `"}`: "413",
	} {
		if response, text := ask(t, "POST", base+"/api/faults", body,
			"Content-Type: application/json"); response.Status[:3] != want {
			t.Errorf("injecting %.40s: status %s, body %s", body, response.Status, text)
		}
	}
	if err := c.RemoveFault(t.Context(), "slow"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveFault(t.Context(), "slow"); err == nil || err.Error() != `no fault "slow" is active` {
		t.Errorf("removing the fault a second time: error %v", err)
	}
	if cleared, err := c.ClearFaults(t.Context()); err != nil || cleared != 1 || len(set.List()) != 0 {
		t.Errorf("ClearFaults returned %d, %v, and %d faults are still active", cleared, err, len(set.List()))
	}
	for _, want := range []string{"fault injected", `"name":"status-1"`, "fault removed", "all faults removed"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log does not contain %q: %s", want, logged.String())
		}
	}
	_, body := ask(t, "GET", base+"/api/fault-kinds", "")
	var kinds struct{ Kinds []faults.Kind }
	if err := json.Unmarshal([]byte(body), &kinds); err != nil || len(kinds.Kinds) != len(faults.Kinds()) ||
		kinds.Kinds[0].Name == "" || kinds.Kinds[0].Explains == "" {
		t.Errorf("%v %s", err, body)
	}
}

func TestIncompleteRequestsTimeOut(t *testing.T) {
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Recorder: decisions.NewRecorder(0)})
	if err != nil {
		t.Fatal(err)
	}
	s.SetLimits(20*time.Millisecond, time.Minute, time.Minute)
	start(t, s)
	conn := dial(t, s)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: local"); err != nil {
		t.Fatal(err)
	}
	if answer, err := bufio.NewReader(conn).ReadString('\n'); err == nil && !strings.Contains(answer, "408") {
		t.Errorf("the server responded with %q, want no response", answer)
	}
	// The request header is larger than the limit and never ends.
	s, _ = serve(t, admin.Options{})
	conn = dial(t, s)
	go io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 40<<10))
	if answer, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(answer, "431") {
		t.Errorf("response %q to a request header of 40 KiB", answer)
	}
}

// TestRBAC checks the roles that are derived from Decisions.
func TestRBAC(t *testing.T) {
	recorder := decisions.NewRecorder(0)
	record := recorder.For("node-1")
	for _, path := range []string{"/pods", "/metrics", "/metrics"} {
		record(&authchain.Decision{Method: http.MethodGet, Path: path,
			User: &user.DefaultInfo{Name: "agent", Groups: []string{"agents"}}, Status: 403})
	}
	record(&authchain.Decision{Method: http.MethodGet, Path: "/stats/summary", User: &user.DefaultInfo{Name: "other"}})
	record(&authchain.Decision{Method: http.MethodGet, Path: "/stats/summary", Status: 401})
	record(&authchain.Decision{Handshake: "failed"})
	_, url := serve(t, admin.Options{Recorder: recorder})

	response, body := ask(t, http.MethodGet, url+"/api/rbac?user=agent", "")
	var got admin.RBAC
	if err := json.Unmarshal([]byte(body), &got); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %v: %s", response.StatusCode, err, body)
	}
	var rules []string
	for _, role := range got.Roles {
		for _, rule := range role.Rules {
			rules = append(rules, role.From+" "+rule.Subresource)
		}
	}
	if want := "1.30 metrics,1.30 proxy,1.33 metrics,1.33 pods"; strings.Join(rules, ",") != want || got.Decisions != 3 ||
		len(got.Manifests) != 2 || fmt.Sprint(got.Requests, got.Groups) != "[{GET /metrics} {GET /pods}] [agents]" {
		t.Errorf("%s\nwant the rules %s, from 3 decisions", body, want)
	}

	// For its own version, the feature gates of the stand-in count.
	flags := config.NewFlags()
	if err := errors.Join(flags.Version.Set("1.35"), flags.Set("hostname-override", "node-1"),
		flags.Set("feature-gates", "KubeletFineGrainedAuthz=false")); err != nil {
		t.Fatal(err)
	}
	own, err := flags.Load()
	if err != nil {
		t.Fatal(err)
	}
	_, gated := serve(t, admin.Options{Recorder: recorder, Facts: func(node string) explain.Facts {
		return map[string]explain.Facts{"node-1": {Config: own}}[node]
	}})
	_, body = ask(t, http.MethodGet, gated+"/api/rbac?user=agent", "")
	got = admin.RBAC{}
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Roles) != 4 {
		t.Fatalf("%v: %s", err, body)
	}
	if got.Version != "v1.35.4" || fmt.Sprint(got.Gates) != "[KubeletFineGrainedAuthz=false]" {
		t.Errorf("the stand-in is %s with %q", got.Version, got.Gates)
	}
	if role := got.Roles[2]; role.From != "1.35" || role.To != "1.35" || role.Rules[1].Subresource != "proxy" ||
		!strings.Contains(got.Manifests[2],
			"# with the feature gate KubeletFineGrainedAuthz=false, as this stand-in has it\n") {
		t.Errorf("the role for the stand-in's own version: %+v\n%s", role, got.Manifests[2])
	}
	for query, want := range map[string]string{
		"user=nobody": `404 user "nobody" has sent no request that is still kept; users with requests: agent, other`,
		"":            `404 user "" has sent no request`,
		"usr=agent":   `400 unknown parameter "usr"; the only parameter is user`,
	} {
		response, body := ask(t, http.MethodGet, url+"/api/rbac?"+query, "")
		var refused struct{ Error string }
		_ = json.Unmarshal([]byte(body), &refused)
		if got := strconv.Itoa(response.StatusCode) + " " + refused.Error; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
