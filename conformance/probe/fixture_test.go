package probe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"go.uber.org/goleak"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"sigs.k8s.io/yaml"

	"fauxlet/config"
	"fauxlet/conformance/probe"
	"fauxlet/internal/freeport"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
	"fauxlet/testcerts"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
		goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"), // runs for /healthz/log
		// This goroutine belongs to the work queue of a Server's file watchers. It does not end if the method Serve of
		// the Server is never called.
		goleak.IgnoreTopFunction("k8s.io/client-go/util/workqueue.(*delayingType[...]).waitingLoop"),
	)
}

// The type "world" has a CA, a directory, and a review API. The user kubelet-client has the rights of
// system:kubelet-api-admin, the user pods-reader may get nodes/pods, the user proxy-getter may get nodes/proxy, and the
// user outsider has no rights. The token scraper-token belongs to pods-reader.
type world struct {
	dir    string
	ca     *testcerts.Authority
	tokens authenticationv1.AuthenticationV1Interface
	access authorizationv1.AuthorizationV1Interface
}

const worldRBAC = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: admin}
rules:
- apiGroups: [""]
  resources: [nodes/proxy, nodes/metrics, nodes/stats, nodes/log, nodes/pods, nodes/healthz, nodes/configz]
  verbs: ["*"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pods}
rules: [{apiGroups: [""], resources: [nodes/pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: proxy}
rules: [{apiGroups: [""], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: admin}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kubelet-client}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: pods}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pods}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: pods-reader}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: proxy}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: proxy-getter}]
`

// anonymousReads has a ClusterRoleBinding that lets unauthenticated users get pods.
const anonymousReads = `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: anonymous}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pods}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:unauthenticated"}]
`

const scraperToken = "the-token-of-a-scraper"

func newWorld(t *testing.T, rbac string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	var err error
	if w.ca, err = testcerts.NewAuthority("cluster-ca"); err != nil {
		t.Fatal(err)
	}
	w.write(t, "ca.crt", w.ca.CertPEM())
	reviews, err := reviewapi.New(reviewapi.Options{
		RBAC:   []string{w.write(t, "rbac.yaml", []byte(worldRBAC+rbac))},
		Tokens: w.write(t, "tokens.csv", []byte(scraperToken+",pods-reader,1\n")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.tokens, w.access, err = reviews.Clients(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// The method "as" returns an identity with a client certificate that is signed by the CA of the given "world".
func (w *world) as(t *testing.T, name string, mutate ...testcerts.Mutate) probe.Identity {
	t.Helper()
	pair, err := w.ca.Client(name, nil, mutate...)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pair.TLS()
	return probe.Identity{Name: name, Certificate: &certificate}
}

// withToken returns an identity with a bearer token and no client certificate.
func withToken(name, token string) probe.Identity { return probe.Identity{Name: name, Token: token} }

// The type "settings" is a KubeletConfiguration, or a part of it. The keys are names of fields.
type settings map[string]any

// configuration writes a KubeletConfiguration to the file with the given name. The client CA is the CA of the "world".
// The parameter "changed" has fields that replace or supplement the other fields.
func (w *world) configuration(t *testing.T, name string, changed settings) string {
	t.Helper()
	all := settings{
		"apiVersion":  "kubelet.config.k8s.io/v1beta1",
		"kind":        "KubeletConfiguration",
		"address":     "127.0.0.1",
		"healthzPort": 0,
	}
	all["authentication"] = settings{"x509": settings{"clientCAFile": "ca.crt"}}
	maps.Copy(all, changed)
	data, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return w.write(t, name, data)
}

// kubelet is a stand-in kubelet on loopback that a test probes.
type kubelet struct {
	target   probe.Target
	readOnly int
}

// start serves a configuration until the test ends. By default, the serving certificate is signed by the CA of the
// given "world" and valid for 127.0.0.1. The configuration or the flags can set another serving certificate.
func (w *world) start(t *testing.T, changed settings, flags ...string) *kubelet {
	t.Helper()
	pair, err := w.ca.Server("system:node:node-1", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(w.dir, "serving.crt"), filepath.Join(w.dir, "serving.key")
	if err := pair.Write(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	given := config.NewFlags()
	all := append(
		[]string{
			"config",
			w.configuration(t, "kubelet.yaml", changed),
			"port",
			"0",
			"hostname-override",
			"node-1",
			"cert-dir",
			w.dir,
			"tls-cert-file",
			certFile,
			"tls-private-key-file",
			keyFile,
		},
		flags...)
	for pair := range slices.Chunk(all, 2) {
		if err := given.Set(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := given.Load()
	if err != nil {
		t.Fatal(err)
	}
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Config: cfg, Pods: store, TokenReviews: w.tokens, AccessReviews: w.access})
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{target: targetOf(listeners.Secure), readOnly: int(cfg.Kubelet.ReadOnlyPort)}
	if k.readOnly == 0 {
		k.readOnly = closedPort(t)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return k
}

func targetOf(listener net.Listener) probe.Target {
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	return probe.Target{Host: host, Port: port}
}

// closedPort returns a port on which nothing listens.
func closedPort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run probes a kubelet and fails the test if the probe returns an error.
func (w *world) run(t *testing.T, k *kubelet, as ...probe.Identity) *probe.Report {
	t.Helper()
	return run(t, probe.Options{Target: k.target, Identities: as, CA: w.ca.Pool(), ReadOnlyPort: k.readOnly})
}

func run(t *testing.T, options probe.Options) *probe.Report {
	t.Helper()
	report, err := probe.Run(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// values returns a map from the name of each setting in a report to its inferred value.
func values(r *probe.Report) map[string]string {
	all := map[string]string{}
	for _, s := range r.Settings {
		all[s.Name] = s.Value
	}
	return all
}

// The function "found" returns the IDs of the findings in a report.
func found(r *probe.Report) []string {
	ids := []string{}
	for _, f := range r.Findings {
		ids = append(ids, f.ID)
	}
	return ids
}

// table returns the report as a table.
func table(t *testing.T, r *probe.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// serve accepts TLS connections until the test ends and passes them to the function "answer".
func serve(t *testing.T, certificate tls.Certificate, answer func(net.Conn)) probe.Target {
	t.Helper()
	listener := listen(t)
	secure := tls.NewListener(
		listener,
		&tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert},
	)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return targetOf(listener)
}

func (k *kubelet) port() string { return strconv.Itoa(k.readOnly) }

func (w *world) closed(t *testing.T) string { return strconv.Itoa(closedPort(t)) }
