// Post-quantum key exchange would take most of the time of a handshake under the race detector.
//
//go:debug tlsmlkem=0
package server_test

import (
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/faults"
	"fauxlet/internal/faulty"
	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
	"fauxlet/server"
	"fauxlet/testcerts"
)

func TestMain(m *testing.M) {
	redirectKlog()
	// New starts a goroutine for the queue through which the Server reloads its client CA. If the Server never serves,
	// this goroutine never ends.
	unserved := goleak.IgnoreTopFunction("k8s.io/client-go/util/workqueue.(*delayingType[...]).waitingLoop")
	goleak.VerifyTestMain(m, append(slices.Clone(goleakOptions), unserved)...)
}

// goleakOptions ignore goroutines that live as long as the process.
var goleakOptions = []goleak.Option{
	goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
	goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"), // started by /healthz/log
	// The client of a WebSocket detects only at its next ping that the WebSocket is closed.
	goleak.IgnoreTopFunction("k8s.io/client-go/tools/remotecommand.(*heartbeat).start"),
	// If the context of client-go's WebSocket executor is cancelled while it creates the streams, it closes only those
	// that exist, and the goroutines of the others wait forever.
	goleak.IgnoreAnyFunction("k8s.io/client-go/tools/remotecommand.(*wsStreamExecutor).StreamWithContext.func1"),
	goleak.IgnoreAnyFunction("k8s.io/client-go/tools/remotecommand.(*stream).Read"),
	// After a SPDY connection is closed, a goroutine waits some time for a reader of the connection's last error.
	goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Connection).shutdown"),
	// A port-forward waits 30 s for the second stream of a forwarded connection, even if the client has left.
	goleak.IgnoreTopFunction("k8s.io/cri-streaming/pkg/streaming/portforward.(*httpStreamHandler).monitorStreamPair"),
	// If a client leaves before it has created all streams of an exec or attach, the Server waits 30 s for them.
	goleak.IgnoreAnyFunction("k8s.io/cri-streaming/pkg/streaming/remotecommand.createHTTPStreamStreams"),
	goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Stream).WaitTimeout"),
	// If a client stops during a port-forward, it leaves a goroutine that reads the error stream.
	goleak.IgnoreTopFunction("k8s.io/client-go/tools/portforward.(*PortForwarder).handleConnection.func1"),
}

// rbac allows kubelet-client all access to nodes. No other user may do anything.
const rbac = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: [{apiGroups: [""], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kubelet-client}]
`

const tokens = `the-token-of-prometheus,system:serviceaccount:monitoring:prometheus,7,system:serviceaccounts
the-token-of-kubelet-client,kubelet-client,8
`

// noClientCA configures authentication by bearer token only.
const noClientCA = "{webhook: {cacheTTL: 1ns}}"

// fixture is a Server on loopback, with a review API.
type fixture struct {
	dir string
	// args, if not nil, is the whole command line of the Server.
	args []string
	// inMemory is true if the Server sends its reviews without a connection, which takes less time.
	inMemory bool
	// version is the version of Kubernetes whose kubelet the Server emulates. Empty means the newest.
	version  string
	certDir  string // --cert-dir, the directory of self-signed serving certificates
	ca       *testcerts.Authority
	serving  *testcerts.Pair
	url      string // URL of the secure port
	readOnly string // URL of the read-only port
	address  string

	reviews  *reviewapi.Server
	reviewed string // address of the review API

	// faults are the active faults of the node. Tests add faults to this set. The field "node" makes the Server behave
	// according to them.
	faults *faults.Set
	node   *faulty.Node

	// stop stops the Server, and returns when Serve has returned.
	stop func() error
	// stopReviews stops the review API. startReviews starts it again on the same address.
	stopReviews func()

	mu        sync.Mutex
	decisions []*authchain.Decision
	// unasked are the Decisions about connections without a request. Clients open some connections that they then do
	// not use.
	unasked []*authchain.Decision
}

type fixtureOptions struct {
	// The field "yaml" has lines for the KubeletConfiguration, which follow the lines that every fixture has.
	yaml string
	// authentication is the YAML of the field authentication in the KubeletConfiguration. The default is a client CA,
	// and a token webhook whose reviews are not cached.
	authentication string
	// flags are additional kubelet flags for the command line.
	flags []string
	// lines is the number of lines in the log of default/nginx. 0 means 100.
	lines  int64
	logger *zap.Logger
	// pods are the pods of the node. Nil means only default/nginx.
	pods []scenario.Pod
	// executor runs the commands in containers. The default is the fake shell.
	executor pods.Executor
	// machine is the machine that the node reports in statistics.
	machine podstats.Machine
	// nodeLogs is the field NodeLogs of server.Options.
	nodeLogs map[string]string
	// drain, readOnce and begin are the fields Drain, ReadOnce and Begin of server.Options.
	drain    time.Duration
	readOnce bool
	begin    func(*authchain.Decision)
	// observe is called with each Decision. The default is fixture.observe, which keeps all Decisions.
	observe func(*authchain.Decision)
	// connections is the field Connections of server.Options.
	connections *server.ConnectionLimit
	// reviewer is the URL of a reviewer that replaces the fixture's review API. It may be empty.
	reviewer string
	// The function "before" is called before the configuration is loaded. It may change the fixture's files. It may be
	// nil.
	before func(*fixture)
}

// prepare writes the files of a fixture.
func prepare(t testing.TB, options fixtureOptions) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), faults: faults.NewSet()}
	f.certDir = f.dir
	var err error
	if f.ca, err = testcerts.NewAuthority("cluster-ca"); err != nil {
		t.Fatal(err)
	}
	f.serving = f.mint(t, f.ca, "node-1")
	f.write(t, "ca.crt", string(f.ca.CertPEM()))
	f.writePair(t, "kubelet", f.serving)
	f.write(t, "rbac.yaml", rbac)
	f.write(t, "tokens.csv", tokens)
	f.write(t, "kubelet.yaml", strings.TrimSpace(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
healthzPort: 0
`)+"\nauthentication: "+
		cmp.Or(options.authentication, "{x509: {clientCAFile: ca.crt}, webhook: {cacheTTL: 1ns}}")+"\n"+options.yaml)
	if options.before != nil {
		options.before(f)
	}
	return f
}

// newServer returns a Server for the fixture's files, and starts the review API, which stops when the test ends.
func (f *fixture) newServer(t testing.TB, options fixtureOptions) (*server.Server, error) {
	t.Helper()
	var err error
	if f.reviews, err = reviewapi.New(reviewapi.Options{RBAC: []string{f.path("rbac.yaml")},
		Tokens: f.path("tokens.csv")}); err != nil {
		t.Fatal(err)
	}
	f.startReviews(t)
	t.Cleanup(func() { f.stopReviews() })
	f.node = faulty.NewNode("node-1", f.faults, options.logger)
	tokenReviews, accessReviews := f.clients(t, options.reviewer)
	if options.pods == nil {
		options.pods = nginx(options.lines)
	}
	if options.executor == nil {
		options.executor = shell.Executor{}
	}
	store, err := pods.NewStoreWith(options.executor, options.pods...)
	if err != nil {
		t.Fatal(err)
	}
	if options.observe == nil {
		options.observe = f.observe
	}
	return server.New(server.Options{
		Config: f.load(t, options.flags), TokenReviews: tokenReviews, AccessReviews: accessReviews,
		Pods: store, Machine: options.machine, NodeLogs: options.nodeLogs, Logger: options.logger,
		ReadOnce: options.readOnce, Drain: options.drain, Begin: options.begin, Observe: options.observe,
		Connections: options.connections,
		Collectors:  []prometheus.Collector{f.node.Collector()},
		Decorators: server.Decorators{
			ClockSkew: f.node.ClockSkew, WrapClientCA: f.node.ClientCA, WrapHandler: f.node.Handler(server.PathTarget),
			ConfigureHTTP: f.node.ConfigureHTTP, Usage: f.node.Usage,
		},
	})
}

// clients returns the clients with which a Server sends reviews to the review API, or to the given URL of another
// reviewer.
func (f *fixture) clients(t testing.TB, reviewer string) (authenticationv1.AuthenticationV1Interface,
	authorizationv1.AuthorizationV1Interface) {
	t.Helper()
	config := f.reviews.RESTConfig(f.reviewed)
	if f.inMemory {
		config.Wrap(f.node.RoundTripper)
		tokenReviews, accessReviews, err := reviewapi.ClientsOf(config, f.reviews.Handler())
		if err != nil {
			t.Fatal(err)
		}
		return tokenReviews, accessReviews
	}
	if reviewer != "" {
		config = &rest.Config{Host: reviewer, QPS: -1}
		config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	}
	asker, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	// When an HTTP/2 server stops, it waits a second for open connections.
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(asker.Transport) })
	asker.Transport = f.node.RoundTripper(asker.Transport)
	tokenReviews, err := authenticationv1.NewForConfigAndClient(config, asker)
	if err != nil {
		t.Fatal(err)
	}
	accessReviews, err := authorizationv1.NewForConfigAndClient(config, asker)
	if err != nil {
		t.Fatal(err)
	}
	return tokenReviews, accessReviews
}

// newFixture starts a Server with webhook authentication and authorization. It stops when the test ends.
func newFixture(t testing.TB, options fixtureOptions) *fixture {
	t.Helper()
	f := prepare(t, options)
	standin, err := f.newServer(t, options)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := standin.Listen()
	if err != nil {
		t.Fatal(err)
	}
	f.address = listeners.Secure.Addr().String()
	f.url = "https://" + f.address
	listeners.Secure = f.node.Listener(listeners.Secure, true)
	f.node.FollowCaches(standin.ResetCaches)
	if listeners.ReadOnly != nil {
		listeners.ReadOnly = f.node.Listener(listeners.ReadOnly, false)
		f.readOnly = "http://" + listeners.ReadOnly.Addr().String()
	}
	serving := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { serving <- standin.Serve(ctx, listeners) }()
	f.stop = sync.OnceValue(func() error {
		stop()
		return <-serving
	})
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// mint creates a serving certificate for the loopback address.
func (f *fixture) mint(t testing.TB, ca *testcerts.Authority, commonName string) *testcerts.Pair {
	t.Helper()
	pair, err := ca.Server(commonName, []string{"127.0.0.1", "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (f *fixture) writePair(t testing.TB, name string, pair *testcerts.Pair) {
	t.Helper()
	if err := pair.Write(f.path(name+".crt"), f.path(name+".key")); err != nil {
		t.Fatal(err)
	}
}

// nginx is the pod default/nginx. Its log has the given number of lines; 0 means 100.
func nginx(lines int64) []scenario.Pod {
	return []scenario.Pod{{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx",
				UID: "8a5a2b1c-0000-4000-8000-000000000005"},
			Spec: v1.PodSpec{Containers: []v1.Container{{Name: "nginx", Image: "nginx"}}},
		},
		Containers: map[string]scenario.Container{"nginx": {Log: scenario.Log{Lines: cmp.Or(lines, 100)}}},
	}}
}

// startReviews starts the review API. If the review API has run before, it keeps its address.
func (f *fixture) startReviews(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", cmp.Or(f.reviewed, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	f.reviewed = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.reviews.Serve(ctx, listener) }()
	f.stopReviews = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the review API: %v", err)
		}
	})
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load loads kubelet.yaml with flags, as `fauxlet serve` does.
func (f *fixture) load(t testing.TB, args []string) *config.Config {
	t.Helper()
	cfg, err := f.tryLoad(t, args)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// tryLoad is like load, but returns the error of a wrong configuration.
func (f *fixture) tryLoad(t testing.TB, args []string) (*config.Config, error) {
	t.Helper()
	kubelet := config.NewFlags()
	flags := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	flags.SetOutput(io.Discard) // discards the warnings about deprecated flags
	kubelet.AddTo(flags)
	if f.version != "" {
		if err := kubelet.Version.Set(f.version); err != nil {
			t.Fatal(err)
		}
	}
	own := []string{"--config=" + f.path("kubelet.yaml"), "--port=0", "--hostname-override=node-1",
		"--cert-dir=" + f.certDir}
	args = append(own, args...)
	if f.args != nil {
		args = f.args
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return kubelet.Load()
}

func (f *fixture) observe(d *authchain.Decision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.NoRequest != "" {
		f.unasked = append(f.unasked, d)
		return
	}
	f.decisions = append(f.decisions, d)
}

// find waits for a Decision that meets the given condition, and returns the Decision.
func (f *fixture) find(t testing.TB, what string, is func(*authchain.Decision) bool) *authchain.Decision {
	t.Helper()
	var found *authchain.Decision
	eventually(t, "a Decision: "+what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, d := range f.decisions {
			if found == nil && is(d) {
				found = d
			}
		}
		return found != nil
	})
	return found
}

// eventually waits until a condition is true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the condition was never true: %s", what)
		}
	}
}
