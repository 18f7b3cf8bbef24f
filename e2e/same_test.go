package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fauxlet/authchain/review"
)

// configurations are those that the two are compared in. Nothing is cached, so that each request asks all that it asks.
var configurations = map[string]settings{
	"defaults":     {},
	"anonymous":    {"authentication.anonymous.enabled": true},
	"always-allow": {"authentication.webhook.enabled": false, "authentication.anonymous.enabled": true, "authorization.mode": "AlwaysAllow"},
	"no-ca":        {"authentication.x509.clientCAFile": ""},
	"no-debugging": {"enableDebuggingHandlers": false},
	"handlers-off": {"enableSystemLogHandler": false, "enableProfilingHandler": false, "enableDebugFlagsHandler": false},
}

// TestSameAnswers sends the same requests to the reference and to fauxlet, with the same configuration, files, ports and
// reviewer, and compares status, body, headers (but Date) and the reviews that were sent. What may differ is listed in
// divergences.json; a listed difference that is gone fails the test as well.
func TestSameAnswers(t *testing.T) {
	known := readDivergences(t)
	reviews := startReviews(t)
	clients := newClients(t)
	for _, name := range sortedKeys(configurations) {
		t.Run(name, func(t *testing.T) {
			shared := settings{
				"readOnlyPort":                               freePort(t),
				"authentication.webhook.cacheTTL":            "1ns",
				"authorization.webhook.cacheAuthorizedTTL":   "1ns",
				"authorization.webhook.cacheUnauthorizedTTL": "1ns",
			}
			for path, value := range servingCertificate(t) {
				shared[path] = value
			}
			for path, value := range configurations[name] {
				shared[path] = value
			}
			o := kubeletOptions{port: freePort(t), kubeconfig: reviews.kubeconfig, settings: shared, pods: []pod{comparedPod()}}
			requests := requestsFor(name, clients)
			want := collect(t, "reference", o, requests, clients, reviews)
			got := collect(t, "fauxlet", o, requests, clients, reviews)
			for i, request := range requests {
				id := name + " " + request.id()
				for _, d := range compare(want[i], got[i]) {
					if !known.allow(id, d.aspect, want[i], got[i]) {
						t.Errorf("%s\n  %s: %s", id, d.aspect, d.detail)
					}
				}
			}
			t.Logf("%d requests compared", len(requests))
		})
	}
	for _, d := range known.gone() {
		t.Errorf("divergences.json: %q, %s: it no longer occurs; remove it", d.Requests, strings.Join(d.Differs, ", "))
	}
}

// comparedPod has logs that are long past, so that no answer depends on the time.
func comparedPod() pod {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return pod{"default", "nginx", []container{
		{name: "nginx", log: []line{{at, "one"}, {at.Add(time.Minute), "two"}, {at.Add(2 * time.Minute), "three"}}, previous: []line{{at, "before"}}},
		{name: "sidecar", log: []line{{at, "beside"}}},
	}}
}

// observation is what became of a request.
type observation struct {
	failed  string // why there is no response
	status  string
	header  http.Header
	body    string
	reviews []string
}

type difference struct{ aspect, detail string }

func compare(want, got observation) []difference {
	var all []difference
	add := func(aspect string, want, got any) {
		if diff := cmp.Diff(want, got); diff != "" {
			all = append(all, difference{aspect, "(-reference +fauxlet)\n" + diff})
		}
	}
	add("connection", want.failed, got.failed)
	add("status", want.status, got.status)
	names := map[string]bool{}
	for name := range want.header {
		names[name] = true
	}
	for name := range got.header {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		add("header "+name, want.header[name], got.header[name])
	}
	// What a comparison of lines shows of JSON on one line is its differing part.
	add("body", lines(want.body), lines(got.body))
	add("reviews", want.reviews, got.reviews)
	return all
}

func lines(body string) string { return strings.ReplaceAll(body, ",", ",\n") }

// collect starts a kubelet of that kind, sends it the requests one by one, and stops it.
func collect(t *testing.T, kind string, o kubeletOptions, requests []request, clients map[string]client, reviews *reviewer) []observation {
	t.Helper()
	var seen []observation
	t.Run(kind, func(t *testing.T) { // so that it is stopped, and its port free, at the end
		o.kind = kind
		k := startKubelet(t, nil, o)
		for _, request := range requests {
			address := k.secure
			if request.readOnly {
				address = k.readOnly
			}
			seen = append(seen, request.send(t, address, clients[request.as], reviews))
		}
	})
	if len(seen) != len(requests) {
		t.FailNow()
	}
	return seen
}

// reviewer is the review API that both ask.
type reviewer struct {
	server     *review.Server
	kubeconfig string
	last       uint64
}

func startReviews(t testing.TB) *reviewer {
	t.Helper()
	dir := t.TempDir()
	tokens, rbac := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "rbac.yaml")
	must(t, os.WriteFile(tokens, []byte("good-token,system:serviceaccount:default:metrics,1234,\"system:serviceaccounts\"\nadmin-token,admin,1,\"watchers,readers\"\n"), 0o600))
	must(t, os.WriteFile(rbac, []byte(comparedRBAC), 0o644))
	server, err := review.New(review.Options{Tokens: tokens, RBAC: []string{rbac}, Records: 64})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() { stop(); must(t, <-ended) })
	r := &reviewer{server: server, kubeconfig: filepath.Join(dir, "kubeconfig")}
	must(t, server.WriteKubeconfig(r.kubeconfig, listener.Addr().String()))
	return r
}

// comparedRBAC lets kubelet-client, admin and system:anonymous do everything that a kubelet can be asked, and viewer a part.
const comparedRBAC = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: [{apiGroups: [""], resources: [nodes/proxy, nodes/stats, nodes/log, nodes/metrics, nodes/checkpoint, nodes/statusz], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: some}
rules: [{apiGroups: [""], resources: [nodes/pods, nodes/healthz, nodes/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: kubelet-client}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: admin}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:anonymous"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: some}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: some}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: viewer}
`

// take gives the reviews since it was last asked, in words.
func (r *reviewer) take(t *testing.T) []string {
	t.Helper()
	var words []string
	for _, record := range r.server.Reviews() {
		if record.Number <= r.last {
			continue
		}
		r.last = record.Number
		asked, err := json.Marshal(struct {
			Token, Audiences, Access any
			Code                     int
		}{record.Token, record.Audiences, record.Access, record.Code})
		must(t, err)
		words = append(words, record.Kind+" "+string(asked))
	}
	return words
}

// divergence is a difference that is known and allowed.
type divergence struct {
	Requests string   `json:"requests"` // a regular expression for ids, from their beginning to their end
	Differs  []string `json:"differs"`  // status, body, reviews, connection, header NAME
	Fauxlet  string   `json:"fauxlet"`  // the status that fauxlet answers with; with another, nothing may differ
	Reason   string   `json:"reason"`

	matches *regexp.Regexp
	seen    map[string]bool
}

type divergences []*divergence

func readDivergences(t *testing.T) divergences {
	t.Helper()
	file, err := os.Open("divergences.json")
	must(t, err)
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	var all divergences
	must(t, decoder.Decode(&all))
	for _, d := range all {
		if d.Reason == "" || d.Fauxlet == "" || len(d.Differs) == 0 {
			t.Fatalf("divergences.json: %q: it needs a reason, fauxlet's status, and what differs", d.Requests)
		}
		d.matches, err = regexp.Compile("^(?:" + d.Requests + ")$")
		must(t, err)
		d.seen = map[string]bool{}
	}
	return all
}

// allow says whether a difference is listed. Whom the kubelet refuses may be answered in no other way.
func (all divergences) allow(id, aspect string, want, got observation) bool {
	allowed := false
	if strings.Contains(want.status, "401") || strings.Contains(want.status, "403") {
		return false
	}
	for _, d := range all {
		if strings.Contains(got.status, d.Fauxlet) && slices.Contains(d.Differs, aspect) && d.matches.MatchString(id) {
			d.seen[aspect], allowed = true, true
		}
	}
	return allowed
}

// gone are those of which an aspect was not seen.
func (all divergences) gone() divergences {
	return slices.DeleteFunc(slices.Clone(all), func(d *divergence) bool { return len(d.seen) == len(d.Differs) })
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
