package symptoms

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/faults"
	"fauxlet/internal/reviewapi"
	"fauxlet/kubelettest"
)

// klogged contains everything that the test process has logged with klog.
var klogged buffer

func TestMain(m *testing.M) {
	flags := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			panic(err)
		}
	}
	klog.SetOutput(&klogged)
	os.Exit(m.Run())
}

// TestErrorsOfKubelets reproduces error responses and log lines of kubelets with a stand-in kubelet.
func TestErrorsOfKubelets(t *testing.T) {
	const logs = "/containerLogs/default/nginx/nginx"
	var (
		prometheus = kubelettest.User{Name: "system:serviceaccount:monitoring:prometheus", Token: true,
			Allow: []string{"get nodes/stats"}}
		node   = kubelettest.User{Name: "system:node:node-2", Groups: []string{"system:nodes"}}
		viewer = kubelettest.User{Name: "viewer"}
	)
	k := kubelettest.New(t, kubelettest.WithUser(prometheus), kubelettest.WithUser(node), kubelettest.WithUser(viewer))
	prove(t, ofKubelets, []reproduction{
		{id: "forbidden-node", reproduce: func(t *testing.T) string { return body(t, k, node.Name, logs) },
			values: map[string]string{"user": node.Name, "verb": "get", "subresource": "proxy"}},
		{id: "forbidden-service-account",
			reproduce: func(t *testing.T) string { return body(t, k, prometheus.Name, "/metrics") },
			values:    map[string]string{"account": "monitoring:prometheus", "subresource": "metrics"}},
		{id: "forbidden-service-account", variant: "two rights",
			reproduce: func(t *testing.T) string { return body(t, k, prometheus.Name, "/pods") },
			values:    map[string]string{"subresource": "pods"}},
		{id: "forbidden-subresource",
			reproduce: func(t *testing.T) string { return body(t, k, viewer.Name, "/stats/summary") },
			values:    map[string]string{"user": "viewer", "subresource": "stats"}},
		{id: "forbidden-subresource", variant: "two rights",
			reproduce: func(t *testing.T) string { return body(t, k, viewer.Name, "/configz") },
			values:    map[string]string{"subresource": "configz"}},
		{id: "forbidden", reproduce: func(t *testing.T) string { return body(t, k, viewer.Name, logs) },
			values: map[string]string{"user": "viewer", "verb": "get", "resource": "nodes", "subresource": "proxy"}},
		{id: "scraper-forbidden", variant: "Prometheus",
			reproduce: func(t *testing.T) string { return prometheusError(status(t, k, prometheus.Name, "/metrics")) }},
		{id: "scraper-forbidden", variant: "metrics-server", reproduce: func(t *testing.T) string {
			return metricsServerError(status(t, k, prometheus.Name, "/metrics/resource"))
		}},
		{id: "unauthorized-at-kubelet", reproduce: func(t *testing.T) string {
			return "curl -k https://192.0.2.7:10250/metrics\n" + body(t, k, kubelettest.NoCredential, "/metrics")
		}},
		{id: "scraper-unauthorized", variant: "Prometheus",
			reproduce: func(t *testing.T) string {
				return prometheusError(status(t, k, kubelettest.NoCredential,
					"/metrics"))
			}},
		{id: "scraper-unauthorized", variant: "metrics-server without token authentication",
			reproduce: func(t *testing.T) string {
				k := kubelettest.New(t, kubelettest.WithUser(prometheus),
					kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
						c.Authentication.Webhook.Enabled = ptr.To(false)
					}))
				return metricsServerError(status(t, k, prometheus.Name, "/metrics/resource"))
			}},
		{id: "token-refused", reproduce: func(t *testing.T) string {
			k := kubelettest.New(t, kubelettest.WithUser(prometheus))
			k.Reviewer.SetTokens(reviewapi.NewTokens(map[string]*user.DefaultInfo{}))
			status(t, k, prometheus.Name, "/metrics")
			return k.Decisions()[0].Why()
		}},
		{id: "authorization-error", reproduce: func(t *testing.T) string {
			k := kubelettest.New(t)
			forbidReviews(k, faults.SubjectAccessReview)
			return body(t, k, "kubelet-client", logs)
		}, values: map[string]string{"user": "kubelet-client"}},
		{id: "reviewer-failed", reproduce: func(t *testing.T) string {
			k := kubelettest.New(t, kubelettest.WithUser(prometheus))
			forbidReviews(k, faults.TokenReview)
			status(t, k, prometheus.Name, "/metrics")
			return klogged.lineWith(t, "webhook authenticator")
		}, values: map[string]string{"which": "authenticator"}},
		{id: "reviewer-failed", variant: "rights", reproduce: func(t *testing.T) string {
			k := kubelettest.New(t)
			forbidReviews(k, faults.SubjectAccessReview)
			status(t, k, "kubelet-client", logs)
			return klogged.lineWith(t, "webhook authorizer")
		}, values: map[string]string{"which": "authorizer"}},
		{id: "not-served", variant: "the first router",
			reproduce: func(t *testing.T) string { return body(t, k, kubelettest.NoCredential, "/spec/") }},
		{id: "not-served", variant: "the second router",
			reproduce: func(t *testing.T) string { return body(t, k, "kubelet-client", "/pods/x") }},
		{id: "pod-does-not-exist",
			reproduce: func(t *testing.T) string {
				return body(t, k, "kubelet-client",
					"/containerLogs/default/web/nginx")
			}},
		{id: "handlers-off", reproduce: func(t *testing.T) string {
			k := kubelettest.New(t, kubelettest.WithConfig(
				func(c *kubeletconfigv1beta1.KubeletConfiguration) { c.EnableDebuggingHandlers = ptr.To(false) }))
			return body(t, k, "kubelet-client", logs)
		}},
	})
}

// prometheusError returns the error of Prometheus after a kubelet's response with the given HTTP status.
// (github.com/prometheus/prometheus: scrape/scrape.go)
func prometheusError(status string) string { return "server returned HTTP status " + status }

// metricsServerError returns the line that metrics-server logs after a kubelet's response with the given HTTP status.
// (sigs.k8s.io/metrics-server: pkg/scraper/client/resource/client.go, scraper.go)
func metricsServerError(status string) string {
	return fmt.Sprintf("E0102 03:04:05.000000 1 scraper.go:149] \"Failed to scrape node\" err=%q node=\"node-1\"",
		fmt.Sprintf("request failed, status: %q", status))
}

func ask(t *testing.T, k *kubelettest.Kubelet, user, path string) (status, body string) {
	t.Helper()
	response, err := k.Client(user).Get(k.URL + path)
	check(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	check(t, err)
	if response.StatusCode == http.StatusOK {
		t.Fatalf("GET %s as %q succeeded, want an error: %s", path, user, data)
	}
	return response.Status, string(data)
}

func status(t *testing.T, k *kubelettest.Kubelet, user, path string) string {
	t.Helper()
	status, _ := ask(t, k, user, path)
	return status
}

func body(t *testing.T, k *kubelettest.Kubelet, user, path string) string {
	t.Helper()
	_, body := ask(t, k, user, path)
	return body
}

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// lineWith returns the last line that contains the text.
func (b *buffer) lineWith(t *testing.T, text string) (found string) {
	t.Helper()
	klog.Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, text) {
			found = line
		}
	}
	if found == "" {
		t.Fatalf("no log line contains %q: %s", text, b.text.String())
	}
	return found
}

// forbidReviews makes all reviews of a kind, TokenReviews or SubjectAccessReviews, fail with status 403.
func forbidReviews(k *kubelettest.Kubelet, review string) {
	k.Inject(faults.Fault{Kind: faults.ReviewerError, Status: 403, Scope: faults.Scope{Review: review}})
}
