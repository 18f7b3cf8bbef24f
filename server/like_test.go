package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/authchain"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
	"fauxlet/server"
)

// twoNodes serves two nodes in one process, and returns the URL of each node. Both stop when the test ends.
func twoNodes(t *testing.T, options fixtureOptions, metrics prometheus.Registerer) (f *fixture, urls [2]string) {
	t.Helper()
	f = prepare(t, options)
	var first *server.Server
	for i, name := range []string{"node-1", "node-2"} {
		store, err := pods.NewStore(scenario.Pod{Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "on-" + name},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c"}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		cfg := *f.load(t, append([]string{"--hostname-override=" + name}, options.flags...))
		cfg.CertDir = filepath.Join(cfg.CertDir, name)
		s, err := server.New(server.Options{Config: &cfg, Pods: store, Like: first, Observe: f.observe,
			Metrics: metrics})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		listeners, err := s.Listen()
		if err != nil {
			t.Fatal(err)
		}
		urls[i] = "https://" + listeners.Secure.Addr().String()
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, listeners) }()
		t.Cleanup(func() {
			stop()
			if err := <-served; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	return f, urls
}

const byCertificateAlone = "authorization: {mode: AlwaysAllow}\n"

// getAs sends a request with a client certificate, and returns the response and the serving certificate.
func (f *fixture) getAs(t *testing.T, url, path string, config *tls.Config) (int, string, *tls.ConnectionState) {
	t.Helper()
	config.InsecureSkipVerify = true
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	response, err := client.Get(url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.TLS
}

// TestLikeServersDiffer expects two nodes of one process to have their own pods, configuration, and node name in
// authorization checks, although they share other parts.
func TestLikeServersDiffer(t *testing.T) {
	f, urls := twoNodes(t,
		fixtureOptions{authentication: "{x509: {clientCAFile: ca.crt}, webhook: {enabled: false}}",
			yaml: byCertificateAlone + "enableSystemLogQuery: true\n"}, nil)
	pair, err := f.ca.Client("jane", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &tls.Config{Certificates: []tls.Certificate{pair.TLS()}}
	for i, name := range []string{"node-1", "node-2"} {
		status, body, _ := f.getAs(t, urls[i], "/pods", client.Clone())
		if status != http.StatusOK || !strings.Contains(body, `"on-`+name+`"`) ||
			strings.Count(body, `"on-node-`) != 1 {
			t.Errorf("%s: /pods: %d %s", name, status, body)
		}
		if status, _, _ := f.getAs(t, urls[i], "/containerLogs/default/on-"+name+"/c?tailLines=1",
			client.Clone()); status != http.StatusOK {
			t.Errorf("%s: logs of its own pod: %d", name, status)
		}
		if status, body, _ := f.getAs(t, urls[i], "/logs/kubelet.log", client.Clone()); status != http.StatusOK ||
			!strings.Contains(body, name) {
			t.Errorf("%s: the node's own log: %d %.200s", name, status, body)
		}
		if status, _, _ := f.getAs(t, urls[i], "/pods", &tls.Config{}); status != http.StatusUnauthorized {
			t.Errorf("%s: without a certificate: %d, want 401", name, status)
		}
		other := []string{"node-2", "node-1"}[i]
		if status, _, _ := f.getAs(t, urls[i], "/containerLogs/default/on-"+other+"/c",
			client.Clone()); status != http.StatusNotFound {
			t.Errorf("%s: logs of a pod of %s: %d, want 404", name, other, status)
		}
	}
}

// TestLikeServerChecksItsOwnNode expects the authorization check to name the node that received the request.
func TestLikeServerChecksItsOwnNode(t *testing.T) {
	options := fixtureOptions{}
	f := prepare(t, options)
	first, err := f.newServer(t, options)
	if err != nil {
		t.Fatal(err)
	}
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	tokens, access := f.clients(t, "")
	second, err := server.New(server.Options{
		Config: f.load(t, []string{"--hostname-override=node-2"}), Pods: store, Like: first, Observe: f.observe,
		TokenReviews: tokens, AccessReviews: access,
	})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	request, _ := http.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Authorization", "Bearer the-token-of-prometheus")
	second.Handler().ServeHTTP(recorder, request)
	d := f.find(t, "of the second node", func(d *authchain.Decision) bool { return d.Path == "/metrics" })
	names := []string{}
	for _, question := range d.Authorization {
		names = append(names, question.Name)
	}
	if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return name != "node-2" }) {
		t.Errorf("the authorization checks name the nodes %q, want only node-2", names)
	}
}

// TestLikeServersSelfSign checks that each node has its own self-signed certificate, and that the second node makes its
// certificate when the first client connects.
func TestLikeServersSelfSign(t *testing.T) {
	f, urls := twoNodes(t, fixtureOptions{
		authentication: "{x509: {clientCAFile: ca.crt}, webhook: {enabled: false}}", yaml: byCertificateAlone,
		before: func(f *fixture) { f.certDir = f.path("own/pki") },
	}, nil)
	made := func() []string {
		files, err := filepath.Glob(f.path("own/pki/*/kubelet.key"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	if files := made(); len(files) != 1 {
		t.Errorf("before the first client connects: key files %v, want one", files)
	}
	for i, name := range []string{"node-1", "node-2"} {
		for range 2 {
			_, _, state := f.getAs(t, urls[i], "/healthz", &tls.Config{})
			if cn := state.PeerCertificates[0].Subject.CommonName; !strings.HasPrefix(cn, name+"@") {
				t.Errorf("%s serves the certificate of %s", name, cn)
			}
		}
	}
	if files := made(); len(files) != 2 {
		t.Errorf("after both nodes have had clients: key files %v, want two", files)
	}
}

// TestMetricsOfAllNodes checks that one registry has the metrics of all serving nodes. It also uses two Servers of the
// same name. Before the first Server serves, it must not prevent the second Server from registering its metrics. If the
// first Server tries to serve while the second one serves, the metrics of the second Server stay.
func TestMetricsOfAllNodes(t *testing.T) {
	registry := prometheus.NewRegistry()
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	unserved, err := server.New(server.Options{Config: prepare(t, fixtureOptions{}).load(t,
		[]string{"--hostname-override=node-1", "--authorization-mode=AlwaysAllow",
			"--authentication-token-webhook=false"}), Pods: store, Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	nodes := func() (names []string) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() != "kubelet_http_requests_total" {
				continue
			}
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					if label.GetName() == "node" {
						names = append(names, label.GetValue())
					}
				}
			}
		}
		return names
	}
	t.Run("running", func(t *testing.T) {
		f, urls := twoNodes(t,
			fixtureOptions{authentication: "{x509: {clientCAFile: ca.crt}, webhook: {enabled: false}}",
				yaml: byCertificateAlone}, registry)
		for _, url := range urls {
			f.getAs(t, url, "/healthz", &tls.Config{})
		}
		if err := unserved.Serve(t.Context(), &server.Listeners{}); err == nil ||
			!strings.Contains(err.Error(), "metrics of node node-1") {
			t.Errorf("a second node-1: error %v, want the name of the node", err)
		}
		if got := nodes(); !slices.Equal(got, []string{"node-1", "node-2"}) {
			t.Errorf("metrics of %v, want of node-1 and node-2", got)
		}
	})
	if got := nodes(); len(got) != 0 {
		t.Errorf("after they have stopped: metrics of %v", got)
	}
}
