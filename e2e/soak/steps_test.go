package soak

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
	"fauxlet/internal/faults"
	"fauxlet/testcerts"
)

// scenario has a static pod, and makes the pod "steady" log a line every 5 ms.
const scenario = `apiVersion: fauxlet/v1alpha1
kind: Scenario
pods:
- metadata: {name: static}
  spec: {containers: [{name: nginx, image: nginx}]}
containers:
- {pod: static, log: {text: "one\ntwo\nthree\n"}}
- {pod: steady, log: {interval: 5ms, start: "2026-01-01T00:00:00Z"}}
`

// credential is a kind of client, and the status that it gets for GET /pods.
type credential struct {
	name   string
	pair   *testcerts.Pair
	token  func() string // nil: no token
	status int
	client *http.Client
}

// makeClients makes the clients of the run. The first one is an administrator with a certificate.
func (r *run) makeClients(t *testing.T) {
	ca := r.plane.PKI.CA
	certificate := func(a *testcerts.Authority, user, group string, mutate ...testcerts.Mutate) *testcerts.Pair {
		pair, err := a.Client(user, []string{group}, mutate...)
		expect.NoError(t, err)
		return pair
	}
	accounts := r.plane.Client.CoreV1().ServiceAccounts("default")
	for _, name := range []string{"reader", "stranger"} {
		_, err := accounts.Create(t.Context(), &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}},
			metav1.CreateOptions{})
		expect.NoError(t, err)
	}
	r.plane.BindGroup(t, controlplane.KubeletAPIAdmin, "readers")
	r.plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("system:serviceaccount:default:reader"))
	// Each request with a good token has another token, so that the cache of tokens is in use.
	fresh := func(name string) func() string {
		return func() string {
			lifetime := int64(3600)
			request, err := accounts.CreateToken(context.Background(), name, &authenticationv1.TokenRequest{
				Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}, metav1.CreateOptions{})
			if err != nil {
				return err.Error()
			}
			return request.Status.Token
		}
	}
	var count int
	var mu sync.Mutex
	unknown := func() string {
		mu.Lock()
		defer mu.Unlock()
		count++
		return fmt.Sprintf("unknown-token-%d", count)
	}
	r.credentials = []credential{
		{name: "certificate", pair: certificate(ca, "admin", "system:masters"), status: 200},
		{name: "certificate of a user without permission", pair: certificate(ca, "nobody", "none"), status: 403},
		{name: "certificate of an unknown CA", pair: certificate(r.plane.PKI.UnknownCA, "admin", "system:masters"),
			status: 401},
		{name: "expired certificate", pair: certificate(ca, "admin", "system:masters", testcerts.Expired), status: 401},
		{name: "token", token: fresh("reader"), status: 200},
		{name: "token without permission", token: fresh("stranger"), status: 403},
		{name: "unknown token", token: unknown, status: 401},
		{name: "anonymous", status: 403},
	}
	for i := range r.credentials {
		r.credentials[i].client = httpClient(r.credentials[i].pair)
	}
	administrator := r.credentials[0].pair
	r.config = &rest.Config{Host: "https://" + r.secure, TLSClientConfig: rest.TLSClientConfig{Insecure: true,
		CertData: administrator.CertPEM, KeyData: administrator.KeyPEM}}
	var err error
	r.viaPlane, err = clientcmd.BuildConfigFromFlags("", r.plane.Kubeconfig)
	expect.NoError(t, err)
	r.viaPlane.QPS = -1
}

func httpClient(pair *testcerts.Pair) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true} // this test does not check the serving certificate
	if pair != nil {
		certificate := pair.TLS()
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificate, nil
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 2}}
}

// get sends a GET and returns the body. It returns an error unless the response has the given status.
func (r *run) get(ctx context.Context, as credential, url string, status int) ([]byte, error) {
	response, err := r.open(ctx, as, url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != status {
		return nil, fmt.Errorf("GET %s as %s: status %d, want %d: %.200s", url, as.name, response.StatusCode, status,
			body)
	}
	return body, nil
}

// open sends a GET. The caller closes the body of the response.
func (r *run) open(ctx context.Context, as credential, url string) (*http.Response, error) {
	r.requests.Add(1)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if as.token != nil {
		request.Header.Set("Authorization", "Bearer "+as.token())
	}
	return as.client.Do(request)
}

func (r *run) credentialSteps() (steps []step) {
	for _, c := range r.credentials {
		for _, path := range []string{"/pods", "/containerLogs/default/" + pod + "/nginx?tailLines=1", "/nonsense"} {
			steps = append(steps, step{"GET " + path + " as " + c.name, func(ctx context.Context) error {
				status := c.status
				if path == "/nonsense" {
					status = http.StatusNotFound // a kubelet answers unknown paths before it authenticates
				}
				_, err := r.get(ctx, c, "https://"+r.secure+path, status)
				return err
			}})
		}
	}
	return steps
}

func (r *run) pageSteps() (steps []step) {
	authorized := r.credentials[0]
	var urls []string
	for _, path := range []string{"/healthz", "/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes",
		"/stats/summary", "/runningpods/", "/configz", "/debug/pprof/goroutine", "/logs/"} {
		urls = append(urls, "https://"+r.secure+path)
	}
	for _, path := range []string{"/healthz", "/metrics", "/metrics/cadvisor", "/stats/summary", "/pods"} {
		urls = append(urls, "http://"+r.readOnly+path)
	}
	urls = append(urls, "http://"+r.healthz+"/healthz", "http://"+r.metrics+"/metrics")
	for _, url := range urls {
		steps = append(steps, step{"GET " + url, func(ctx context.Context) error {
			_, err := r.get(ctx, authorized, url, http.StatusOK)
			return err
		}})
	}
	return steps
}

func (r *run) logSteps() []step {
	authorized := r.credentials[0]
	const container = "/containerLogs/default/" + pod + "/nginx"
	lines := func(ctx context.Context, query string, want int) error {
		body, err := r.get(ctx, authorized, "https://"+r.secure+container+"?"+query, http.StatusOK)
		if got := bytes.Count(body, []byte("\n")); err == nil && got != want {
			return fmt.Errorf("%d lines, want %d", got, want)
		}
		return err
	}
	// follow reads some lines of a followed log and disconnects.
	follow := func(response io.ReadCloser) error {
		defer response.Close()
		return readLines(response, 20)
	}
	return []step{
		{"short log", func(ctx context.Context) error { return lines(ctx, "tailLines=10", 10) }},
		{"long log", func(ctx context.Context) error { return lines(ctx, "tailLines=20000&timestamps=true", 20000) }},
		{"log that the client does not read to its end", func(ctx context.Context) error {
			response, err := r.open(ctx, authorized, "https://"+r.secure+container+"?tailLines=1000000")
			if err != nil {
				return err
			}
			return follow(response.Body)
		}},
		{"followed log", func(ctx context.Context) error {
			response, err := r.open(ctx, authorized, "https://"+r.secure+container+"?follow=true&tailLines=1")
			if err != nil {
				return err
			}
			return follow(response.Body)
		}},
		{"followed log through kube-apiserver", func(ctx context.Context) error {
			r.requests.Add(1)
			tail := int64(1)
			stream, err := r.plane.Client.CoreV1().Pods("default").GetLogs(pod,
				&v1.PodLogOptions{Follow: true, TailLines: &tail}).Stream(ctx)
			if err != nil {
				return err
			}
			return follow(stream)
		}},
	}
}

func readLines(from io.Reader, count int) error {
	buffer := make([]byte, 4096)
	for count > 0 {
		n, err := from.Read(buffer)
		if count -= bytes.Count(buffer[:n], []byte("\n")); err != nil && count > 0 {
			return fmt.Errorf("%d lines are missing: %w", count, err)
		}
	}
	return nil
}

// path is a way to a container's streams: directly to the kubelet or through kube-apiserver, by SPDY or WebSocket.
type path struct {
	name      string
	config    *rest.Config
	websocket bool
	direct    bool
}

func (p path) url(verb string, query url.Values) *url.URL {
	u, err := url.Parse(p.config.Host)
	if err != nil {
		panic(err) // impossible: clients have used this URL
	}
	switch {
	case !p.direct:
		query.Set("container", "nginx")
		u.Path = "/api/v1/namespaces/default/pods/" + pod + "/" + strings.ToLower(verb)
	case verb == "portForward":
		u.Path = "/portForward/default/" + pod
	default:
		u.Path = "/" + verb + "/default/" + pod + "/nginx"
	}
	u.RawQuery = query.Encode()
	return u
}

// request adds a stream to the query. A kubelet and kube-apiserver have different parameters.
func (p path) request(query url.Values, stream string) {
	if p.direct {
		query.Set(map[string]string{"stdin": "input", "stdout": "output", "stderr": "error"}[stream], "1")
	} else {
		query.Set(stream, "true")
	}
}

func (r *run) streamSteps() (steps []step) {
	for _, p := range []path{{"SPDY", r.config, false, true}, {"WebSocket", r.config, true, true},
		{"SPDY through kube-apiserver", r.viaPlane, false, false},
		{"WebSocket through kube-apiserver", r.viaPlane, true, false}} {
		add := func(name string, do func(context.Context) error) {
			steps = append(steps, step{name + " by " + p.name, do})
		}
		add("exec", func(ctx context.Context) error {
			var out bytes.Buffer
			err := r.stream(ctx, p, "exec", []string{"echo", "hello"}, remotecommand.StreamOptions{Stdout: &out})
			if err == nil && out.String() != "hello\n" {
				return fmt.Errorf("exec printed %q", out.String())
			}
			return err
		})
		add("exec with stdin", func(ctx context.Context) error {
			var out bytes.Buffer
			err := r.stream(ctx, p, "exec", []string{"sh", "-c", "wc -c; exit 3"}, remotecommand.StreamOptions{
				Stdin: strings.NewReader(strings.Repeat("x", 100_000)), Stdout: &out, Stderr: io.Discard})
			exit, ok := err.(interface{ ExitStatus() int })
			if !ok || exit.ExitStatus() != 3 || out.String() != "100000\n" {
				return fmt.Errorf("exec printed %q and ended with %v", out.String(), err)
			}
			return nil
		})
		add("exec that the client leaves", func(ctx context.Context) error {
			return r.leave(ctx, p, "exec", []string{"sh", "-c", "while true; do echo tick; sleep 0.1; done"})
		})
		add("silent exec that the client leaves", func(ctx context.Context) error {
			return r.leave(ctx, p, "exec", []string{"sh", "-c", "echo started; sleep 100000"})
		})
		add("attach that the client leaves", func(ctx context.Context) error {
			return r.leave(ctx, p, "attach", nil)
		})
		add("port-forward", func(ctx context.Context) error { return r.forward(ctx, p) })
	}
	return steps
}

// stream runs exec or attach to its end.
func (r *run) stream(ctx context.Context, p path, verb string, command []string, o remotecommand.StreamOptions) error {
	r.requests.Add(1)
	query := url.Values{"command": command}
	for name, used := range map[string]bool{"stdin": o.Stdin != nil, "stdout": o.Stdout != nil,
		"stderr": o.Stderr != nil} {
		if used {
			p.request(query, name)
		}
	}
	var executor remotecommand.Executor
	var err error
	if p.websocket {
		executor, err = remotecommand.NewWebSocketExecutor(p.config, http.MethodGet, p.url(verb, query).String())
	} else {
		executor, err = remotecommand.NewSPDYExecutor(p.config, http.MethodPost, p.url(verb, query))
	}
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, o)
}

// leave runs exec or attach, and disconnects after the first output.
func (r *run) leave(ctx context.Context, p path, verb string, command []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &firstOutput{then: cancel}
	err := r.stream(ctx, p, verb, command, remotecommand.StreamOptions{Stdout: out})
	if !out.some() {
		return fmt.Errorf("no output: %w", err)
	}
	return nil
}

// firstOutput is a writer that calls a function at the first output.
type firstOutput struct {
	mu   sync.Mutex
	got  bool
	then func()
}

func (o *firstOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.got {
		o.got = true
		o.then()
	}
	return len(p), nil
}

func (o *firstOutput) some() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got
}

// forward forwards a port, and sends two requests over it.
func (r *run) forward(ctx context.Context, p path) error {
	r.requests.Add(1)
	target := p.url("portForward", url.Values{})
	var dialer httpstream.Dialer
	if p.websocket {
		var err error
		if dialer, err = portforward.NewSPDYOverWebsocketDialerForStreaming(target, p.config); err != nil {
			return err
		}
	} else {
		transport, upgrader, err := spdy.RoundTripperFor(p.config)
		if err != nil {
			return err
		}
		dialer = spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"},
		[]string{"0:80"}, ready, io.Discard, io.Discard)
	if err != nil {
		cancel()
		return err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	defer func() {
		cancel()
		<-ended
	}()
	select {
	case err := <-ended:
		ended <- err
		return err
	case <-ready:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}
	client := credential{name: "client of a forwarded port", client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}}}
	for range 2 {
		if _, err := r.get(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/index.html", ports[0].Local),
			http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) adminSteps() []step {
	return []step{
		{"decisions", func(ctx context.Context) error {
			r.requests.Add(1)
			_, err := r.adminClient.Decisions(ctx, decisions.Filter{Limit: 50, Explanation: true})
			return err
		}},
		{"events that the client leaves", func(ctx context.Context) error {
			r.requests.Add(1)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			enough := errors.New("enough")
			// Requests of other steps, or this one, make the events.
			go func() { _, _ = r.get(ctx, r.credentials[0], "https://"+r.secure+"/healthz", http.StatusOK) }()
			count := 0
			err := r.adminClient.Events(ctx, "", decisions.Filter{}, func(admin.Event) error {
				if count++; count == 2 {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				return err
			}
			return nil
		}},
	}
}

// podSteps creates a pod, uses it and deletes it.
func (r *run) podSteps() []step {
	return []step{{"life of a pod", func(ctx context.Context) error {
		pods, name := r.plane.Client.CoreV1().Pods("default"), fmt.Sprintf("short-%d", time.Now().UnixNano())
		if _, err := pods.Create(ctx, controlplane.BoundTo(node, name), metav1.CreateOptions{}); err != nil {
			return err
		}
		r.requests.Add(2)
		if err := until(ctx, func() error {
			p, err := pods.Get(ctx, name, metav1.GetOptions{})
			if err == nil && p.Status.Phase != v1.PodRunning {
				err = fmt.Errorf("phase %s", p.Status.Phase)
			}
			return err
		}); err != nil {
			return fmt.Errorf("pod %s does not run: %w", name, err)
		}
		if _, err := pods.GetLogs(name, &v1.PodLogOptions{}).DoRaw(ctx); err != nil {
			return err
		}
		grace := int64(1)
		if err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
			return err
		}
		return until(ctx, func() error {
			if _, err := pods.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("pod %s still exists: %w", name, err)
			}
			return nil
		})
	}}}
}

// until calls a function until it returns no error. When ctx is done, until returns the last error.
func until(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if !wait(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// writeServingCertificate writes a new serving certificate, and returns it.
func (r *run) writeServingCertificate(t *testing.T) *x509.Certificate {
	pair, err := r.plane.PKI.CA.Server("system:node:"+node, []string{"127.0.0.1"})
	expect.NoError(t, err)
	expect.NoError(t, pair.Write(r.file("serving.crt"), r.file("serving.key")))
	return pair.Leaf
}

func (r *run) rotateServing(ctx context.Context, t *testing.T) error {
	leaf := r.writeServingCertificate(t)
	return until(ctx, func() error {
		r.requests.Add(1)
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", r.secure)
		if err != nil {
			return err
		}
		defer conn.Close()
		if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]; !got.Equal(leaf) {
			return fmt.Errorf("the serving certificate has the serial number %v, want %v", got.SerialNumber,
				leaf.SerialNumber)
		}
		return nil
	})
}

// rotateClientCA adds a CA to the bundle of client CAs, and removes it.
func (r *run) rotateClientCA(ctx context.Context) error {
	another, err := testcerts.NewAuthority("another-ca")
	if err != nil {
		return err
	}
	pair, err := another.Client("admin", []string{"system:masters"})
	if err != nil {
		return err
	}
	as := credential{name: "client of another CA", pair: pair, client: httpClient(pair)}
	defer as.client.CloseIdleConnections()
	old := r.plane.PKI.CA.CertPEM()
	for _, rotation := range []struct {
		bundle []byte
		status int
	}{{append(bytes.Clone(old), another.CertPEM()...), http.StatusOK}, {old, http.StatusUnauthorized}} {
		if err := replaceFile(r.file("clients.crt"), rotation.bundle); err != nil {
			return err
		}
		if err := until(ctx, func() error {
			_, err := r.get(ctx, as, "https://"+r.secure+"/pods", rotation.status)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func replaceFile(path string, data []byte) error {
	temporary := filepath.Join(filepath.Dir(path), ".new")
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// faultSteps injects three faults in each cycle, another three in the next one. While a fault is active requests may
// fail. Afterwards they must succeed.
func (r *run) faultSteps() (steps []step) {
	all := []string{
		`{"kind": "serving-certificate", "certificate": "server-expired"}`, `{"kind": "connection-refused"}`,
		`{"kind": "connection-reset"}`, `{"kind": "connection-black-hole", "count": 3}`,
		`{"kind": "slow-handshake", "delay": "300ms"}`, `{"kind": "slow-first-byte", "delay": "300ms"}`,
		`{"kind": "slow-body", "rate": 1000}`, `{"kind": "cut", "after": 12}`, `{"kind": "status", "status": 503}`,
		`{"kind": "reviewer-down"}`, `{"kind": "reviewer-slow", "delay": "300ms"}`,
		`{"kind": "reviewer-error", "status": 403}`, `{"kind": "reviewer-wrong"}`, `{"kind": "reviewer-revoking"}`,
		`{"kind": "caches-flushed"}`, `{"kind": "clock-skew", "skew": "10000h"}`,
		`{"kind": "memory-heavy", "memory": "3Gi"}`,
	}
	const each = 3
	for i := range each {
		text := all[(each*r.cycles+i)%len(all)]
		var fault faults.Fault
		if err := json.Unmarshal([]byte(text), &fault); err != nil {
			panic(err) // impossible: each text is valid
		}
		steps = append(steps, step{"fault " + text, func(ctx context.Context) error { return r.inject(ctx, fault) }})
	}
	return steps
}

func (r *run) inject(ctx context.Context, fault faults.Fault) error {
	active, err := r.adminClient.AddFault(ctx, fault)
	if err != nil {
		return err
	}
	affected, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for _, c := range r.credentials {
		group.Go(func() { _, _ = r.get(affected, c, "https://"+r.secure+"/pods", http.StatusOK) })
	}
	group.Go(func() {
		_ = r.stream(affected, path{"SPDY", r.config, false, true}, "exec", []string{"echo", "hello"},
			remotecommand.StreamOptions{Stdout: io.Discard})
	})
	group.Wait()
	if err := r.adminClient.RemoveFault(ctx, active.Name); err != nil {
		return err
	}
	return until(ctx, r.works(ctx))
}

// works returns a function that reports whether the kubelet and its reviewer work: a certificate and a token are
// accepted.
func (r *run) works(ctx context.Context) func() error {
	return func() error {
		for _, c := range r.credentials {
			if c.status == http.StatusOK {
				if _, err := r.get(ctx, c, "https://"+r.secure+"/pods", http.StatusOK); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (r *run) restartAPIServer(ctx context.Context) error {
	if err := r.plane.APIServer.Stop(); err != nil {
		return err
	}
	for _, c := range r.credentials {
		if c.token == nil || c.status == http.StatusUnauthorized { // tokens come from kube-apiserver
			limited, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, _ = r.get(limited, c, "https://"+r.secure+"/pods", http.StatusOK)
			cancel()
		}
	}
	if err := r.plane.Start(); err != nil {
		return err
	}
	return until(ctx, func() error {
		object, err := r.plane.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if problem := controlplane.ReadyIs(v1.ConditionTrue)(object); problem != "" {
			return errors.New(problem)
		}
		return r.works(ctx)()
	})
}

// heldConns are connections that stay open during a cycle.
type heldConns struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (h *heldConns) add(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, conn)
}

// release closes all connections. Every second one is reset, as if the client had crashed.
func (h *heldConns) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, conn := range h.conns {
		if c, ok := conn.(*tls.Conn); ok {
			conn = c.NetConn() // without close_notify
		}
		if c, ok := conn.(*net.TCPConn); ok && i%2 == 0 {
			_ = c.SetLinger(0)
		}
		conn.Close()
	}
	h.conns = nil
}

// connectSilently opens connections that stop in the middle: before TLS, before a request, within a request, and within
// a SPDY stream whose client no longer sends anything.
func (r *run) connectSilently(ctx context.Context) {
	certificate := r.credentials[0].pair.TLS()
	config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}}
	const exec = "/exec/default/" + pod + "/nginx?command=cat&input=1&output=1"
	for _, begin := range []struct {
		name, address, sends string
		tls                  bool
		answer               string
	}{
		{name: "no handshake", address: r.secure},
		{name: "half a ClientHello", address: r.secure, sends: "\x16\x03\x01\x02\x00\x01"},
		{name: "no request", address: r.secure, tls: true},
		{name: "half a request", address: r.secure, tls: true, sends: "GET /pods HTTP/1.1\r\nHo"},
		{name: "half a body", address: r.secure, tls: true,
			sends: "POST /run/default/" + pod + "/nginx?cmd=ls HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx"},
		{name: "SPDY without a stream", address: r.secure, tls: true, answer: "HTTP/1.1 101 ",
			sends: "POST " + exec + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
				"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"},
		{name: "WebSocket without a frame", address: r.secure, tls: true, answer: "HTTP/1.1 101 ",
			sends: "GET " + exec + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
				"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"},
		{name: "followed log that is not read", address: r.secure, tls: true, answer: "HTTP/1.1 200 ",
			sends: "GET /containerLogs/default/" + pod + "/nginx?follow=true HTTP/1.1\r\nHost: a\r\n\r\n"},
		{name: "no request to the read-only port", address: r.readOnly},
		{name: "half a request to the read-only port", address: r.readOnly, sends: "GET /pods HTTP/1.1\r\nHo"},
		{name: "half a request to the healthz port", address: r.healthz, sends: "GET /hea"},
		{name: "half a request to the admin port", address: r.admin, sends: "GET /api/"},
		{name: "half a request to the metrics port", address: r.metrics, sends: "GET /met"},
	} {
		for range repeats {
			r.do(ctx, step{"connection with " + begin.name, func(ctx context.Context) error {
				r.requests.Add(1)
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", begin.address)
				if err != nil {
					return err
				}
				if begin.tls {
					conn = tls.Client(conn, config)
				}
				r.held.add(conn)
				if c, ok := conn.(*tls.Conn); ok {
					if err := c.HandshakeContext(ctx); err != nil {
						return err
					}
				}
				if _, err := io.WriteString(conn, begin.sends); err != nil || begin.answer == "" {
					return err
				}
				answer := make([]byte, len(begin.answer))
				if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != begin.answer {
					return fmt.Errorf("answer %q, want %q: %w", answer, begin.answer, err)
				}
				return nil
			}})
		}
	}
}

func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err) // impossible: this test made the address
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	return n
}
