package kubelettest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
	"fauxlet/kubelettest"
	"fauxlet/scenario"
	"fauxlet/testcerts"
)

const (
	logsPath   = "/containerLogs/default/nginx/nginx"
	prometheus = "system:serviceaccount:monitoring:prometheus"
)

func TestNewWithoutOptions(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t)
	expect(t, k, "kubelet-client", logsPath+"?tailLines=1", 200, "GET")
	expect(t, k, kubelettest.NoCredential, logsPath, 401, "Unauthorized")
	expect(t, k, "kubelet-client", "/pods", 200, `"name":"nginx"`)

	var decided []string
	for _, d := range k.Decisions() {
		decided = append(decided, d.Path+" "+d.Outcome())
	}
	if want := []string{logsPath + " allowed", logsPath + " refused", "/pods allowed"}; !slices.Equal(decided, want) {
		t.Errorf("Decisions: %q, want %q", decided, want)
	}
	k.AssertChecked(t, "kubelet-client", "get nodes/proxy", "get nodes/pods")
	k.AssertChecked(t, "system:anonymous")
	if reviews := k.Reviews(); len(reviews) != 2 || reviews[0].Access.ResourceAttributes.Name != "node-1" ||
		reviews[0].Code != 201 {
		t.Errorf("reviews: %+v", reviews)
	}
	if k.NodeName != "node-1" || k.ReadOnlyURL != "" {
		t.Errorf("node %q, read-only port %q", k.NodeName, k.ReadOnlyURL)
	}
}

func TestUsersHaveCredentialsAndRights(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t,
		kubelettest.WithUser(kubelettest.User{Name: prometheus, Token: true,
			Allow: []string{"get nodes/metrics,nodes/stats"}}),
		kubelettest.WithUser(kubelettest.User{Name: "alice", Groups: []string{"operators"}}),
		kubelettest.WithUser(kubelettest.User{Name: "a/b", Allow: []string{"get,create nodes/proxy"}}),
		kubelettest.WithRBAC(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: logs}
rules: [{apiGroups: [""], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: logs}
roleRef: {kind: ClusterRole, name: logs}
subjects: [{kind: Group, name: operators}]
`))
	expect(t, k, prometheus, "/metrics/resource", 200, "container_memory_working_set_bytes")
	expect(t, k, prometheus, "/stats/summary", 200, `"nodeName": "node-1"`)
	expect(t, k, prometheus, logsPath, 403,
		"Forbidden (user="+prometheus+", verb=get, resource=nodes, subresource(s)=[proxy])")
	expect(t, k, "alice", logsPath, 200, "GET")
	expect(t, k, "a/b", logsPath, 200, "GET")
	k.AssertChecked(t, prometheus, "get nodes/metrics", "get nodes/stats", "get nodes/proxy")
	if groups, want := k.Decisions()[0].User.GetGroups(),
		[]string{"system:serviceaccounts", "system:serviceaccounts:monitoring",
			"system:authenticated"}; !slices.Equal(groups, want) {
		t.Errorf("groups of a service account: %q, want %q", groups, want)
	}

	k.SetAllowed(prometheus, "get nodes/proxy")
	expect(t, k, prometheus, logsPath, 200, "GET")
	expect(t, k, prometheus, "/metrics/resource", 403, "metrics")
	k.SetAllowed("alice")
	expect(t, k, "alice", logsPath, 200, "GET") // the manifest of WithRBAC grants this right

	old := k.Client(prometheus)
	before := k.Token(prometheus)
	after := k.RotateToken(prometheus)
	if before == after || k.Token(prometheus) != after {
		t.Error("the token is the same")
	}
	if status, _ := get(t, old, k.URL+logsPath); status != 401 {
		t.Errorf("the old token: %d", status)
	}
	expect(t, k, prometheus, logsPath, 200, "GET")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	t.Run("a configuration without authorization", func(t *testing.T) {
		t.Parallel()
		k := kubelettest.New(t, kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
			c.Authentication.Anonymous.Enabled = ptr.To(true)
			c.Authorization.Mode = kubeletconfigv1beta1.KubeletAuthorizationModeAlwaysAllow
		}))
		expect(t, k, kubelettest.NoCredential, logsPath, 200, "GET")
		if reviews := k.Reviews(); len(reviews) != 0 {
			t.Errorf("reviews: %+v", reviews)
		}
	})
	t.Run("a configuration that caches", func(t *testing.T) {
		t.Parallel()
		k := kubelettest.New(t, kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
			c.Authorization.Webhook.CacheAuthorizedTTL.Duration = time.Hour
		}))
		expect(t, k, "kubelet-client", logsPath, 200, "")
		k.SetAllowed("kubelet-client")
		expect(t, k, "kubelet-client", logsPath, 200, "")
		k.AssertChecked(t, "kubelet-client", "get nodes/proxy")
		if d := k.Decisions(); !d[1].Cached() {
			t.Error("the Decision does not record that the check was cached")
		}
	})
	t.Run("ports that the configuration names", func(t *testing.T) {
		t.Parallel()
		k := kubelettest.New(t)
		_, configz := get(t, k.Client("kubelet-client"), k.URL+"/configz")
		if port := k.URL[strings.LastIndex(k.URL, ":"):]; !strings.Contains(configz, `"port"`+port) {
			t.Errorf("%s: /configz returned %s", k.URL, configz)
		}
	})
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		k := kubelettest.New(t, kubelettest.WithReadOnlyPort(),
			kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
				c.EnableServer = ptr.To(false)
			}))
		if k.URL != "" {
			t.Errorf("URL %s", k.URL)
		}
		if status, _ := get(t, http.DefaultClient, k.ReadOnlyURL+"/pods"); status != 200 {
			t.Errorf("read-only port: %d", status)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	t.Run("node, pods and logs", func(t *testing.T) {
		t.Parallel()
		k := kubelettest.New(t,
			kubelettest.WithNodeName("node-7"),
			kubelettest.WithNodeLogs(map[string]string{"kubelet.log": "started\n"}),
			kubelettest.WithPods(kubelettest.Pod("shop", "web", map[string]scenario.Container{
				"proxy": {Log: scenario.Log{Text: "ready\n"}}, "app": {},
			})))
		expect(t, k, "kubelet-client", "/containerLogs/shop/web/proxy", 200, "ready\n")
		expect(t, k, "kubelet-client", "/logs/kubelet.log", 200, "started\n")
		expect(t, k, "kubelet-client", logsPath, 404, `pod "nginx" does not exist`)
		if asked := k.Reviews()[0].Access.ResourceAttributes.Name; asked != "node-7" {
			t.Errorf("the review is about the node %q", asked)
		}
		if containers := k.Pods.List()[0].Spec.Containers; containers[0].Name != "app" ||
			containers[1].Name != "proxy" {
			t.Errorf("containers %v", containers)
		}
	})
	t.Run("one client for two nodes", func(t *testing.T) {
		t.Parallel()
		one := kubelettest.New(t)
		other := kubelettest.New(t, kubelettest.WithCA(one.CA), kubelettest.WithNodeName("node-2"))
		if status, _ := get(t, one.Client("kubelet-client"), other.URL+logsPath); status != 200 {
			t.Errorf("the client got status %d from the other node", status)
		}
	})
	t.Run("a certificate that the test mints", func(t *testing.T) {
		t.Parallel()
		k := kubelettest.New(t)
		expired, err := k.CA.Client("kubelet-client", nil, testcerts.Expired)
		if err != nil {
			t.Fatal(err)
		}
		config := k.RESTConfig(kubelettest.NoCredential)
		config.CertData, config.KeyData = expired.CertPEM, expired.KeyPEM
		if status, _ := get(t, httpClient(t, config), k.URL+logsPath); status != 401 {
			t.Errorf("with a certificate that has expired: %d", status)
		}
		if why := k.Decisions()[0].Why(); !strings.Contains(why, "expired") {
			t.Errorf("the Decision's reason is %s", why)
		}
	})
}

// TestNewFailsForInvalidOptions checks that New reports an error that names the invalid option, and leaves no goroutine
// running.
func TestNewFailsForInvalidOptions(t *testing.T) {
	for name, test := range map[string]struct {
		options []kubelettest.Option
		want    string
	}{
		"no name": {of(kubelettest.WithUser(kubelettest.User{})), "WithUser: User.Name is empty"},
		"twice":   {of(user(), user()), `WithUser: two users have the name "a"`},
		"half a right": {of(user("get")),
			`WithUser: user "a": right "get": want a verb and a resource, as in "get nodes/metrics"`},
		"another verb": {of(user("list nodes/pods")),
			`a kubelet does not check the verb "list"; it checks get, create, update, patch, delete, *`},
		"another object": {of(user("get pods/log")), `a kubelet does not check "pods/log", only subresources of nodes`},
		"a pattern":      {of(user("get nodes/*")), `RBAC has no nodes/*`},
		"no manifest":    {of(kubelettest.WithRBAC("kind: Pod\napiVersion: v1")), "WithRBAC: no role and no binding"},
		"a bad manifest": {of(kubelettest.WithRBAC(
			`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole",` +
				`"metadata":{"name":"x"},"rules":[{"resources":["nodes"]}]}`)), "verbs"},
		"a bad pod": {of(kubelettest.WithPods(kubelettest.Pod("default", "no_name", nil))),
			"WithPods: [pods[0].metadata.name: Invalid value"},
		"a bad node": {of(kubelettest.WithNodeName(" ")), "WithNodeName"},
		"a bad log":  {of(kubelettest.WithNodeLogs(map[string]string{"../x": ""})), "../x"},
		"a bad field": {of(config(
			func(c *kubeletconfigv1beta1.KubeletConfiguration) { c.Authorization.Mode = "Never" })), "WithConfig"},
		"a bad fault": {of(kubelettest.WithFaults(faults.Fault{Kind: faults.Status})), "WithFaults: status: "},
		"no such file": {of(config(
			func(c *kubeletconfigv1beta1.KubeletConfiguration) { c.TLSCertFile = "/nowhere" })), "/nowhere"},
		"a port in use": {of(config(func(c *kubeletconfigv1beta1.KubeletConfiguration) { c.Address = "192.0.2.1" })),
			"192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			said := failing(t, func(t testing.TB) { kubelettest.New(t, test.options...) })
			if !strings.HasPrefix(said, "kubelettest: ") || !strings.Contains(said, test.want) {
				t.Errorf("the failure was %q, want %q", said, test.want)
			}
			if err := goleak.Find(append(slices.Clone(leaks), before)...); err != nil {
				t.Error(err)
			}
		})
	}
}

func of(options ...kubelettest.Option) []kubelettest.Option { return options }

func user(may ...string) kubelettest.Option {
	return kubelettest.WithUser(kubelettest.User{Name: "a", Allow: may})
}

func config(change func(*kubeletconfigv1beta1.KubeletConfiguration)) kubelettest.Option {
	return kubelettest.WithConfig(change)
}

func TestMisuseFailsTheTest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		use  func(testing.TB, *kubelettest.Kubelet)
		want string
	}{
		"an unknown user": {func(_ testing.TB, k *kubelettest.Kubelet) { k.Client("alice") },
			`unknown user "alice"; the users are ["kubelet-client"]`},
		"no token": {func(_ testing.TB, k *kubelettest.Kubelet) { k.Token("kubelet-client") },
			`Token: user "kubelet-client" has a client certificate`},
		"invalid right": {func(_ testing.TB, k *kubelettest.Kubelet) { k.SetAllowed("kubelet-client", "all") },
			`SetAllowed: user "kubelet-client": right "all"`},
		"missing checks": {func(t testing.TB, k *kubelettest.Kubelet) {
			k.AssertChecked(t, "alice", "get nodes/log", "get nodes/proxy")
		}, "the kubelet's checks for user \"alice\": (nothing)\nwant: get nodes/log, then get nodes/proxy"},
		"an invalid fault": {func(_ testing.TB, k *kubelettest.Kubelet) { k.Inject(faults.Fault{Kind: "fire"}) },
			`Inject: fire: kind: "fire" is not a kind of fault`},
		"no such Decision": {func(t testing.TB, k *kubelettest.Kubelet) {
			get(t, k.Client("kubelet-client"), k.URL+"/healthz")
			k.Await(func(d *authchain.Decision) bool { return d.Status == http.StatusTeapot })
		}, "Await: no such Decision has arrived, only these:\n\tGET /healthz: 200 allowed: "},
		"a followed log": {func(t testing.TB, k *kubelettest.Kubelet) {
			response, err := k.Client("kubelet-client").Get(k.URL + logsPath + "?follow=true")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			k.Decisions()
		}, "Decisions: these requests have not ended:\n\tGET " + logsPath + "\nend them first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if said := failing(t, func(t testing.TB) { test.use(t, kubelettest.New(t)) }); !strings.Contains(said,
				test.want) {
				t.Errorf("the failure was %q, want %q", said, test.want)
			}
		})
	}
}

func TestDecisionsNameTheFaultsThatAffectedThem(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t, kubelettest.WithFaults(
		faults.Fault{Name: "broken", Kind: faults.Status, Status: 503,
			Scope: faults.Scope{User: "kubelet-client", Count: 1}},
	))
	expect(t, k, kubelettest.NoCredential, logsPath, 401, "") // the request is outside the fault's scope
	expect(t, k, "kubelet-client", logsPath, 503, "")
	expect(t, k, "kubelet-client", logsPath, 200, "")
	end := k.Inject(faults.Fault{Name: "no", Kind: faults.ReviewerWrong})
	expect(t, k, "kubelet-client", logsPath, 403, "")
	end()
	expect(t, k, "kubelet-client", logsPath, 200, "")
	var affectedBy []string
	for _, d := range k.Decisions() {
		affectedBy = append(affectedBy, strings.Join(d.AffectedBy, " "))
	}
	if want := []string{"", "broken", "", "no", ""}; !slices.Equal(affectedBy, want) {
		t.Errorf("affected by %q, want %q", affectedBy, want)
	}
}

func TestAwaitWaitsForHandshakesAndLaterRequests(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t)
	if conn, err := net.Dial("tcp", strings.TrimPrefix(k.URL, "https://")); err != nil {
		t.Fatal(err)
	} else {
		conn.Close()
	}
	k.Await(func(d *authchain.Decision) bool { return strings.Contains(d.Handshake, "EOF") })
	config := k.RESTConfig(kubelettest.NoCredential)
	config.CAData = nil // without CAData, the client trusts only the CAs of the system
	if _, err := httpClient(t, config).Get(k.URL); err == nil {
		t.Fatal("a client that does not trust the CA connected")
	}
	d := k.Await(func(d *authchain.Decision) bool { return strings.Contains(d.Handshake, "the client does not") })
	if d.Status != 0 || d.User != nil {
		t.Errorf("the Decision about the failed handshake is %+v", d)
	}

	client := k.Client("kubelet-client")
	go func() {
		if response, err := client.Get(k.URL + "/pods"); err == nil {
			response.Body.Close()
		}
	}()
	if d := k.Await(func(d *authchain.Decision) bool { return d.Path == "/pods" }); d.Status != 200 {
		t.Errorf("status %d", d.Status)
	}
	if all := k.Decisions(); len(all) != 3 || all[1] != d || all[2].Path != "/pods" {
		t.Errorf("Decisions: %v", all)
	}
}

// TestCloseEndsRequestsUnderWay checks that Close ends requests in progress, even if a reviewer ignores the context. It
// checks that Close leaves no files or goroutines behind, and that Decisions can be read after Close.
func TestCloseEndsRequestsUnderWay(t *testing.T) {
	before := goleak.IgnoreCurrent()
	asked, release := make(chan struct{}), make(chan struct{})
	webhook := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte(prometheus)) {
			asked <- struct{}{}
			<-r.Context().Done()
		}
		w.Write([]byte(`{"status":{"allowed":true}}`))
	})
	client := fake.NewClientset() // the fake clientset does not pass the context to its reactors
	client.PrependReactor("create", "tokenreviews", func(k8stesting.Action) (bool, runtime.Object, error) {
		asked <- struct{}{}
		<-release
		return true, nil, errors.New("the test has ended")
	})
	client.PrependReactor("create", "subjectaccessreviews", func(k8stesting.Action) (bool, runtime.Object, error) {
		status := authorizationv1.SubjectAccessReviewStatus{Allowed: true}
		return true, &authorizationv1.SubjectAccessReview{Status: status}, nil
	})
	t.Run("webhook", func(t *testing.T) { closesRequests(t, kubelettest.WithAuthorizer(webhook), asked) })
	t.Run("review client that ignores the context", func(t *testing.T) {
		closesRequests(t, kubelettest.WithReviewClient(client), asked)
	})
	close(release)
	if err := goleak.Find(append(slices.Clone(leaks), before)...); err != nil {
		t.Error(err)
	}
}

// closesRequests closes a kubelet while a request of the user prometheus waits for the reviewer. The channel "asked"
// receives a value when the reviewer has received a review for that request.
func closesRequests(t *testing.T, reviewer kubelettest.Option, asked <-chan struct{}) {
	k := kubelettest.New(t, kubelettest.WithReadOnlyPort(), reviewer,
		kubelettest.WithPods(kubelettest.Pod("default", "nginx",
			map[string]scenario.Container{"nginx": {Log: scenario.Log{Lines: 10_000_000}}})),
		kubelettest.WithUser(kubelettest.User{Name: prometheus, Token: true}))
	client := k.Client("kubelet-client")
	for _, path := range []string{logsPath, logsPath + "?follow=true"} {
		if _, err := client.Get(k.URL + path); err != nil { // the response's body is neither read nor closed
			t.Fatal(err)
		}
	}
	hanging := k.Client(prometheus)
	hung := make(chan error, 1)
	go func() {
		response, err := hanging.Get(k.URL + logsPath)
		if err == nil {
			response.Body.Close()
		}
		hung <- err
	}()
	<-asked
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if err := <-hung; err == nil {
		t.Error("the request that waited for the reviewer got a response")
	}
	if _, err := k.Client("kubelet-client").Get(k.URL); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a request to a closed kubelet: error %v", err)
	}
	if n := len(k.Decisions()); n != 3 {
		t.Errorf("%d Decisions, want 3", n)
	}
	k.Close()
}

func TestStartLogsToTheGivenLogger(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.InfoLevel)
	k, err := kubelettest.Start(kubelettest.WithLogger(zap.New(core)))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, k, "kubelet-client", logsPath, 200, "GET")
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if len(logged.FilterMessageSnippet("allowed").All()) != 1 {
		t.Errorf("logged %v, want one decision", logged.All())
	}
	if err := k.Start(); err == nil {
		t.Error("a closed kubelet was started again")
	}
}

func TestMisusePanicsWithoutATest(t *testing.T) {
	t.Parallel()
	k, err := kubelettest.NewUnstarted()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, `unknown user "alice"`) {
			t.Errorf("the panic was %s", text)
		}
	}()
	k.Client("alice")
}

func TestStartReturnsErrorsAndLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for name, option := range map[string]kubelettest.Option{
		"invalid fault":       kubelettest.WithFaults(faults.Fault{Kind: faults.Status}),
		"unavailable address": config(func(c *kubeletconfigv1beta1.KubeletConfiguration) { c.Address = "192.0.2.1" }),
		"missing file": config(
			func(c *kubeletconfigv1beta1.KubeletConfiguration) { c.TLSCertFile = "/nowhere" }),
	} {
		if k, err := kubelettest.Start(option); err == nil {
			t.Errorf("%s: no error", name)
			k.Close()
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files remain after the failure: %v, error %v", files, err)
	}
	if err := goleak.Find(append(slices.Clone(leaks), before)...); err != nil {
		t.Error(err)
	}
}

func TestManyKubeletsAtOnce(t *testing.T) {
	t.Parallel()
	for range 12 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			k := kubelettest.New(t)
			for range 3 {
				expect(t, k, "kubelet-client", logsPath, 200, "GET")
			}
			if n := len(k.Decisions()); n != 3 {
				t.Errorf("%d Decisions, want 3", n)
			}
		})
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	f := &logged{TB: t}
	k := kubelettest.New(f, kubelettest.WithUser(kubelettest.User{Name: prometheus, Token: true}))
	expect(t, k, prometheus, logsPath, 403, "Forbidden")
	token := k.Token(prometheus)
	client := k.Client(prometheus)
	k.RotateToken(prometheus)
	if status, _ := get(t, client, k.URL+logsPath); status != 401 {
		t.Errorf("status %d", status)
	}
	k.Close()
	text := f.text()
	if !strings.Contains(text, "may not get nodes/proxy") || !strings.Contains(text, "401") {
		t.Errorf("the decisions were not logged: %s", text)
	}
	if strings.Contains(text, token) || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("a secret was logged: %s", text)
	}
}
