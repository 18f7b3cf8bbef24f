package offline_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
	"fauxlet/kubelettest"
	"fauxlet/scenario"
	"fauxlet/testcerts"
)

// claims is the table in docs/claims.md. It contains the status of GET /pods for each configuration (column) and
// credential (row). RBAC allows kubelet-client and system:anonymous, but not the service account.
var claims = struct {
	configurations []vectors.Settings
	rows           []claim
}{
	[]vectors.Settings{
		{},
		{"authentication.anonymous.enabled": true},
		{"authentication.anonymous.enabled": true, "authentication.webhook.enabled": false},
		{"authorization.mode": "AlwaysAllow"},
		{"authentication.x509.clientCAFile": "", "authentication.webhook.enabled": false},
	},
	[]claim{
		{vectors.Client{}, [5]int{401, 200, 200, 401, 401}},
		{vectors.Client{Kind: "client", CommonName: "kubelet-client"}, [5]int{200, 200, 200, 200, 401}},
		{vectors.Client{Kind: "client-unknown-ca", CommonName: "kubelet-client"}, [5]int{401, 401, 401, 401, 401}},
		{vectors.Client{Kind: "client-expired", CommonName: "kubelet-client"}, [5]int{401, 401, 401, 401, 401}},
		{vectors.Client{Headers: bearer("bad")}, [5]int{401, 401, 200, 401, 401}},
		{vectors.Client{Headers: bearer("account")}, [5]int{403, 403, 200, 200, 401}},
		{vectors.Client{Kind: "client", CommonName: "kubelet-client", Headers: bearer("bad")},
			[5]int{200, 200, 200, 200, 401}},
		{vectors.Client{Kind: "client-unknown-ca", CommonName: "kubelet-client", Headers: bearer("account")},
			[5]int{403, 403, 401, 200, 401}},
	},
}

type claim struct {
	client   vectors.Client
	statuses [5]int
}

func bearer(token string) []string { return []string{"Authorization: Bearer " + token} }

// The table in docs/claims.md assumes the RBAC manifests in claimsRBAC and the token file in the constant "tokens".
const (
	claimsRBAC = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pods}
rules: [{apiGroups: [""], resources: [nodes/pods, nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: pods}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pods}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: kubelet-client}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: system:anonymous}
`
	tokens = `account,system:serviceaccount:default:metrics,1,"system:serviceaccounts,system:serviceaccounts:default"
`
)

// TestOverridesDecideLikeServer compares an offline kubelet with a running server for each cell of the table in
// docs/claims.md. The server has the configuration of the cell's column. The offline kubelet has the configuration file
// of the next column, and overrides that change it to the configuration of the cell's column. Both must make the same
// Decision.
func TestOverridesDecideLikeServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for column, settings := range claims.configurations {
		running := w.run(t, settings, claimsRBAC, tokens)
		base := claims.configurations[(column+1)%len(claims.configurations)]
		kubelet := w.offline(t, running, base, settings)
		for row, claim := range claims.rows {
			name := fmt.Sprintf("row %d, column %d", row+1, column+1)
			status := w.compare(t, name, running, kubelet, claim.client, http.MethodGet, "/pods")
			if status != claim.statuses[column] {
				t.Errorf("%s: status %d, want %d", name, status, claim.statuses[column])
			}
		}
	}
}

// TestRandomCasesDecideLikeServer checks that an offline kubelet and a running server make the same Decisions for
// random configurations, credentials and paths.
func TestRandomCasesDecideLikeServer(t *testing.T) {
	const configurations, cases = 12, 25
	t.Parallel()
	w := newWorld(t)
	random := rand.New(rand.NewPCG(7, 20260101))
	corpus, err := vectors.Load()
	check(t, err)
	clients := slices.Sorted(maps.Keys(corpus.Clients))
	statuses := map[int]int{}
	for i := range configurations {
		settings, base := randomSettings(random), randomSettings(random)
		running := w.run(t, settings, string(vectors.RBAC), string(vectors.Tokens))
		kubelet := w.offline(t, running, base, settings)
		for range cases {
			client := clients[random.IntN(len(clients))]
			method, target := randomTarget(random)
			name := fmt.Sprintf("configuration %d %v, %s, %s %s", i, settings, client, method, target)
			statuses[w.compare(t, name, running, kubelet, corpus.Clients[client], method, target)]++
		}
	}
	for _, status := range []int{200, 401, 403, 404, 405} {
		if statuses[status] < 5 {
			t.Errorf("%d responses have status %d, want at least 5: %v", statuses[status], status, statuses)
		}
	}
}

// randomSettings returns a random configuration. All random configurations set the same fields, so that overrides can
// change any configuration into any other.
func randomSettings(random *rand.Rand) vectors.Settings {
	toss := func() bool { return random.IntN(2) == 0 }
	s := vectors.Settings{"authentication.anonymous.enabled": toss(),
		"authentication.webhook.enabled": random.IntN(3) > 0, "authorization.mode": "Webhook"}
	if random.IntN(4) == 0 {
		s["authorization.mode"] = "AlwaysAllow"
	}
	s["authentication.x509.clientCAFile"] = []string{"", caFile, caFile, caFile}[random.IntN(4)]
	for _, field := range []string{"enableDebuggingHandlers", "enableProfilingHandler", "enableSystemLogHandler",
		"enableDebugFlagsHandler"} {
		s[field] = random.IntN(5) > 0
	}
	return s
}

func randomTarget(random *rand.Rand) (method, target string) {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	target = pick("/pods", "/pods/", "/pods/x", "/runningpods/", "/healthz", "/healthz/ping", "/configz", "/metrics",
		"/metrics/cadvisor",
		"/metrics/resource", "/stats/summary", "/stats/", "/logs/", "/containerLogs/default/nginx/nginx",
		"/containerLogs/default/nginx/nginx?tailLines=no",
		"/containerLogs/default/other/nginx", "/run/default/nginx/nginx?cmd=true", "/attach/", "/portForward/",
		"/checkpoint/default/nginx/nginx", "/debug/pprof/",
		"/debug/flags/v", "/statusz", "/flagz", "/allocatedPods", "/", "/nothing", "//pods", "/metrics/../pods")
	return pick("GET", "GET", "GET", "GET", "POST", "HEAD", "DELETE", "OPTIONS"), target
}

// caFile stands for the path of the client CA file in settings.
const caFile = "CA-FILE"

// world contains the client CA and the client certificates that running and offline kubelets share.
type world struct {
	ca     *testcerts.Authority
	caFile string
	minted map[string]*testcerts.Pair
}

func newWorld(t *testing.T) *world {
	ca, err := testcerts.NewAuthority("cluster-ca")
	check(t, err)
	w := &world{ca: ca, caFile: filepath.Join(t.TempDir(), "ca.crt"), minted: map[string]*testcerts.Pair{}}
	check(t, os.WriteFile(w.caFile, ca.CertPEM(), 0o600))
	return w
}

// run starts a kubelet with the given settings, and a review API with the given RBAC manifests and token file.
func (w *world) run(t *testing.T, settings vectors.Settings, rbac, tokens string) *kubelettest.Kubelet {
	t.Helper()
	k := kubelettest.New(t, kubelettest.WithCA(w.ca), kubelettest.WithPods(nginx()),
		kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
			text, err := w.inFile(settings).YAML()
			check(t, err)
			check(t, yaml.Unmarshal(text, c))
		}))
	objects, err := reviewapi.ParseManifests("rbac", []byte(rbac))
	check(t, err)
	policy, err := reviewapi.NewPolicy(objects...)
	check(t, err)
	k.Reviewer.SetPolicy(policy)
	file := filepath.Join(t.TempDir(), "tokens.csv")
	check(t, os.WriteFile(file, []byte(tokens), 0o600))
	known, err := reviewapi.LoadTokens(file)
	check(t, err)
	k.Reviewer.SetTokens(known)
	return k
}

// inFile returns settings for a configuration file. It replaces the constant caFile by the real path of the client CA
// file, and disables the review caches.
func (w *world) inFile(settings vectors.Settings) vectors.Settings {
	all := vectors.Settings{"authentication.x509.clientCAFile": w.caFile, "authentication.webhook.cacheTTL": "1ns",
		"authorization.webhook.cacheAuthorizedTTL": "1ns", "authorization.webhook.cacheUnauthorizedTTL": "1ns"}
	for field, value := range settings {
		if value != caFile {
			all[field] = value
		}
	}
	return all
}

// The method "offline" returns an offline kubelet. Its configuration file contains the settings in the argument "base".
// Overrides then change these settings to the settings in the argument "settings".
func (w *world) offline(t *testing.T, running *kubelettest.Kubelet, base, settings vectors.Settings) *offline.Kubelet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubelet.yaml")
	text, err := w.inFile(base).YAML()
	check(t, err)
	check(t, os.WriteFile(file, text, 0o600))
	flags := config.NewFlags()
	check(t, flags.Set("config", file))
	check(t, flags.Set("hostname-override", running.NodeName))
	overrides := maps.Clone(w.inFile(settings))
	for field := range base { // a field that is only in base gets its default value
		if _, ok := overrides[field]; !ok {
			overrides[field] = defaults[field]
		}
	}
	for field, value := range overrides {
		written, err := json.Marshal(value)
		check(t, err)
		check(t, flags.Override(field, string(written)))
	}
	c, err := flags.Load()
	check(t, err)
	store, err := pods.NewStore(nginx())
	check(t, err)
	tokens, access, err := running.Reviewer.Clients()
	check(t, err)
	k, err := offline.New(offline.Options{Config: c, TokenReviews: tokens, AccessReviews: access, Pods: store})
	check(t, err)
	return k
}

// defaults are the default values of the fields that differ between the columns of docs/claims.md.
var defaults = vectors.Settings{
	"authentication.anonymous.enabled": false, "authentication.webhook.enabled": true, "authorization.mode": "Webhook",
}

// compare sends a request to the running and the offline kubelet, checks that both make the same Decision, and returns
// the status of the response.
func (w *world) compare(t *testing.T, name string, running *kubelettest.Kubelet, kubelet *offline.Kubelet,
	client vectors.Client, method, target string) int {
	t.Helper()
	request := offline.Request{Method: method, Target: target, Header: http.Header{}}
	for _, header := range client.Headers {
		key, value, _ := strings.Cut(header, ": ")
		request.Header.Add(key, value)
	}
	var certificate *tls.Certificate
	if pair := w.pair(t, client); pair != nil {
		made := pair.TLS()
		certificate = &made
		for _, der := range certificate.Certificate {
			parsed, err := x509.ParseCertificate(der)
			check(t, err)
			request.Certificates = append(request.Certificates, parsed)
		}
	}
	got, err := kubelet.Decide(t.Context(), request)
	check(t, err)
	send(t, running, certificate, request)
	decisions := running.Decisions()
	want := decisions[len(decisions)-1]
	if diff := cmp.Diff(comparable(want), comparable(got)); diff != "" {
		t.Errorf("%s: the Decisions of the running (-) and the offline (+) kubelet differ:\n%s", name, diff)
	}
	return want.Status
}

// The function "comparable" returns the parts of a Decision that must be equal in two Decisions about the same request:
// all parts except times, addresses and TLS parameters.
func comparable(d *authchain.Decision) any {
	explanation := explain.Decision(d, explain.Facts{})
	isDuration := func(f explain.Fact) bool { return f.Name == "duration" }
	for i := range explanation.Stages {
		explanation.Stages[i].Facts = slices.DeleteFunc(explanation.Stages[i].Facts, isDuration)
	}
	explanation.Stages[0].Facts = nil
	report := d.Report()
	var steps []string
	for _, s := range report.Authentication {
		steps = append(steps, fmt.Sprint(s.Method, s.Outcome, s.Reason, s.Token, s.Cached))
	}
	for _, c := range report.Authorization {
		steps = append(steps, fmt.Sprint(c.Verb, c.Resource, c.Subresource, c.Name, c.Result, c.Reason, c.Reviews,
			c.Cached))
	}
	return map[string]any{
		"explanation": explanation, "steps": steps, "user": report.User, "status": report.Status, "error": report.Err,
		"method": report.Method, "path": report.Path, "why": report.Why,
	}
}

func (w *world) pair(t *testing.T, client vectors.Client) *testcerts.Pair {
	t.Helper()
	if client.Kind == "" {
		return nil
	}
	key := fmt.Sprint(client.Kind, client.CommonName, client.Organizations)
	if w.minted[key] == nil {
		kind, err := testcerts.KindNamed(client.Kind)
		check(t, err)
		w.minted[key], err = kind.Mint(w.ca,
			testcerts.Request{CommonName: client.CommonName, Organizations: client.Organizations})
		check(t, err)
	}
	return w.minted[key]
}

// send sends a request over a new connection.
func send(t *testing.T, k *kubelettest.Kubelet, certificate *tls.Certificate, request offline.Request) {
	t.Helper()
	settings := &tls.Config{RootCAs: k.CA.Pool()}
	if certificate != nil {
		settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate,
			error) {
			return certificate, nil
		}
	}
	r, err := http.NewRequest(request.Method, k.URL, nil)
	check(t, err)
	r.URL.Opaque = request.Target // send the target unchanged, even if it is not a clean path
	r.Header = request.Header.Clone()
	transport := &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	check(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	check(t, err)
}

func nginx() scenario.Pod {
	return kubelettest.Pod("default", "nginx", map[string]scenario.Container{"nginx": {Log: scenario.Log{Lines: 3}}})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
